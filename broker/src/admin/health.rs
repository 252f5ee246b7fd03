//! What `/healthz` and `/readyz` say: reasons against, one a line; none is good.
//!
//! Healthy is a node whose shards all answer: restarting one that is not may help. Ready is one that clients should be
//! sent to: a node that starts, stops or has no room on its disk is healthy and not ready.

use std::path::PathBuf;
use std::sync::Arc;

use super::Phase;
use super::courier::{ANSWER_MAX, Answers};
use crate::shard::report::Health;

/// Why the node is not healthy. While it starts there are no shards to be ill.
pub(super) fn healthz(shards: &Answers<Health>) -> Vec<String> {
    let silent = |(shard, health): (usize, &Option<_>)| {
        health.is_none().then(|| format!("shard {shard} has not answered for {} s", ANSWER_MAX.as_secs()))
    };
    shards.iter().enumerate().filter_map(silent).collect()
}

/// What does not keep the node from its work, and should be looked after: data directories that are offline. All shards
/// know the same ones.
pub(super) fn troubles(shards: &Answers<Health>) -> Vec<String> {
    let knows = shards.iter().flatten().max_by_key(|health| health.offline.len());
    let offline = knows.iter().flat_map(|health| &health.offline);
    let trouble =
        |(path, reason): &(PathBuf, Arc<str>)| format!("data directory {} is offline: {reason}", path.display());
    let partitions: usize = shards.iter().flatten().map(|health| health.offline_partitions).sum();
    let lost = format!("{partitions} partitions are not served, because their data directories are offline or missing");
    offline.map(trouble).chain((partitions > 0).then_some(lost)).collect()
}

/// Why the node is not ready for clients.
pub(super) fn readyz(phase: Phase, shards: &Answers<Health>) -> Vec<String> {
    match phase {
        Phase::Starting => {
            return vec!["the node is starting: it recovers its data or waits for its shards".to_owned()];
        }
        Phase::Stopping | Phase::Stopped => return vec!["the node is stopping".to_owned()],
        Phase::Serving => {}
    }
    let mut reasons = healthz(shards);
    for (shard, health) in shards.iter().enumerate().filter_map(|(shard, health)| Some((shard, health.as_deref()?))) {
        if health.is_stopping {
            reasons.push(format!("shard {shard} is stopping"));
        } else if !health.is_serving {
            reasons.push(format!("shard {shard} does not serve yet"));
        }
        if health.is_disk_full {
            reasons.push(format!(
                "shard {shard} refuses produce requests: the disk is full; free some space, or shorten the retention of \
                 topics"
            ));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Health = Health {
        is_serving: true,
        is_stopping: false,
        is_disk_full: false,
        offline: Vec::new(),
        offline_partitions: 0,
    };

    fn shards(healths: &[Option<Health>]) -> Answers<Health> {
        healths.iter().map(|health| health.clone().map(Arc::new)).collect()
    }

    #[test]
    fn a_node_is_ready_when_all_of_it_serves() {
        let all = shards(&[Some(WELL), Some(WELL)]);
        assert!(healthz(&all).is_empty() && readyz(Phase::Serving, &all).is_empty());
    }

    #[test]
    fn a_silent_shard_is_named() {
        let all = shards(&[Some(WELL), None]);
        for reasons in [healthz(&all), readyz(Phase::Serving, &all)] {
            assert_eq!(reasons, ["shard 1 has not answered for 2 s"]);
        }
    }

    #[test]
    fn a_node_that_starts_or_stops_is_healthy_and_not_ready() {
        let all = shards(&[Some(WELL)]);
        for phase in [Phase::Starting, Phase::Stopping] {
            assert_eq!(readyz(phase, &all).len(), 1, "{phase:?}");
        }
        let late = shards(&[Some(Health { is_serving: false, ..WELL })]);
        assert_eq!(readyz(Phase::Serving, &late), ["shard 0 does not serve yet"]);
        assert!(healthz(&late).is_empty());
    }

    #[test]
    fn a_directory_that_is_offline_is_told_of_and_leaves_the_node_healthy() {
        let offline = vec![(PathBuf::from("/data2"), Arc::from("Input/output error"))];
        let all = shards(&[Some(WELL), Some(Health { offline, offline_partitions: 3, ..WELL })]);
        assert!(healthz(&all).is_empty() && readyz(Phase::Serving, &all).is_empty());
        assert_eq!(
            troubles(&all),
            [
                "data directory /data2 is offline: Input/output error",
                "3 partitions are not served, because their data directories are offline or missing"
            ]
        );
        assert!(troubles(&shards(&[Some(WELL), None])).is_empty());
    }

    #[test]
    fn a_full_disk_makes_a_node_unready_and_says_so() {
        let all = shards(&[Some(WELL), Some(Health { is_disk_full: true, ..WELL })]);
        let reasons = readyz(Phase::Serving, &all);
        assert!(
            reasons.len() == 1 && reasons[0].contains("shard 1") && reasons[0].contains("disk is full"),
            "{reasons:?}"
        );
        assert!(healthz(&all).is_empty());
    }
}

//! From the lags of all groups to a bounded number of lines.

use std::sync::Arc;

use super::topics::OTHER;
use crate::shard::lags::GroupLag;

/// Pairs of a group and a topic with samples of their own: those furthest behind in time, then in records. All others are
/// one line.
pub(super) const PAIRS_MAX: usize = 200;

/// The pairs furthest behind, in the order of their names, and behind them all others together: their records added up,
/// their largest age. A group that is called as the others are is among them.
pub(super) fn furthest_behind(lags: &[&GroupLag]) -> Vec<GroupLag> {
    let (others, mut named): (Vec<&GroupLag>, Vec<&GroupLag>) = lags.iter().partition(|lag| &*lag.group == OTHER);
    named.sort_by(|a, b| (b.age_ms, b.records).cmp(&(a.age_ms, a.records)).then_with(|| names(a).cmp(&names(b))));
    let rest = named.split_off(named.len().min(PAIRS_MAX));
    named.sort_by(|a, b| names(a).cmp(&names(b)));
    let mut shown: Vec<GroupLag> = named.into_iter().cloned().collect();
    let unnamed = others.into_iter().chain(rest).cloned().reduce(|sum, lag| GroupLag {
        partitions: sum.partitions.saturating_add(lag.partitions),
        records: sum.records.saturating_add(lag.records),
        age_ms: sum.age_ms.max(lag.age_ms),
        ..sum
    });
    let other: Arc<str> = OTHER.into();
    shown.extend(unnamed.map(|sum| GroupLag { group: Arc::clone(&other), topic: other, ..sum }));
    shown
}

fn names(lag: &GroupLag) -> (&str, &str) {
    (&lag.group, &lag.topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(group: &str, records: u64, age_ms: u64) -> GroupLag {
        GroupLag { group: group.into(), topic: "t".into(), partitions: 1, records, age_ms }
    }

    #[test]
    fn few_groups_are_shown_as_they_are_in_the_order_of_their_names() {
        let (b, a) = (lag("b", 5, 9), lag("a", 1, 0));
        assert_eq!(furthest_behind(&[&b, &a]), [a.clone(), b.clone()]);
        assert!(furthest_behind(&[]).is_empty());
    }

    #[test]
    fn of_many_groups_those_furthest_behind_are_shown_and_the_others_summed_up() {
        let lags: Vec<GroupLag> = (0..300).map(|n| lag(&format!("g{n:03}"), 2, n)).collect();
        let lags: Vec<&GroupLag> = lags.iter().collect();
        let shown = furthest_behind(&lags);
        assert_eq!(shown.len(), PAIRS_MAX + 1);
        assert_eq!(&*shown[0].group, "g100");
        let other = shown.last().expect("there are some");
        assert_eq!((&*other.group, &*other.topic), (OTHER, OTHER));
        assert_eq!((other.partitions, other.records, other.age_ms), (100, 200, 99));
    }

    #[test]
    fn a_group_that_is_called_other_is_among_the_others() {
        let (mine, behind) = (lag(OTHER, 5, 1000), lag("a", 1, 1));
        let shown = furthest_behind(&[&mine, &behind]);
        assert_eq!(shown.iter().filter(|lag| &*lag.group == OTHER).count(), 1);
        assert_eq!(shown.len(), 2);
    }
}

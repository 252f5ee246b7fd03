//! Which shard a partition's log lives on.

/// The log id of the metadata log. The logs of partitions begin at 1.
pub const METADATA_LOG_ID: u64 = 0;

/// The shard of the metadata log and of the controller.
pub const METADATA_SHARD: u16 = 0;

/// The shard of a log, the same at every start with as many shards.
///
/// Log ids are given out densely, so taking them in turn spreads the partitions of a topic, and topics created one
/// after the other, evenly.
pub fn shard_of(log_id: u64, shards: u16) -> u16 {
    assert!(shards > 0, "a node has at least one shard");
    if log_id == METADATA_LOG_ID {
        return METADATA_SHARD;
    }
    let turn = (log_id - 1) % u64::from(shards);
    u16::try_from(turn).expect("less than the number of shards")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_spread_evenly_and_the_metadata_log_stays_on_shard_0() {
        for shards in [1, 3, 4, 7] {
            assert_eq!(shard_of(METADATA_LOG_ID, shards), METADATA_SHARD);
            let mut logs = vec![0; usize::from(shards)];
            for log_id in 1..=u64::from(shards) * 10 {
                logs[usize::from(shard_of(log_id, shards))] += 1;
            }
            assert!(logs.iter().all(|&n| n == 10));
        }
    }
}

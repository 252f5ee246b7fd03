//! Every metric there is: names, types, labels, help. They are documented in `docs/monitoring.md`, and do not change.
//!
//! Names follow Prometheus' conventions: base units (seconds, bytes), `_total` for what only rises.

use super::exposition::{Family, Kind};

const fn family(kind: Kind, name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind, labels, help }
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal $labels:tt $help:literal;)+) => {
        $(pub(super) const $constant: Family = family(Kind::$kind, $name, &$labels, $help);)+

        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[Family] = &[$($constant),+];
    };
}

families! {
    BUILD = Gauge "skein_build_info" ["version"] "The version that runs, as a label; always 1.";
    START = Gauge "skein_start_time_seconds" [] "When the node started, in seconds since 1970.";
    UPTIME = Gauge "skein_uptime_seconds" [] "How long ago the node started.";
    READY = Gauge "skein_ready" [] "1 while the node serves: not while it starts or stops.";
    CPU = Counter "skein_process_cpu_seconds_total" [] "CPU time of the process, user and system.";
    RESIDENT = Gauge "skein_process_resident_bytes" [] "Resident memory of the process.";
    SHARD_UP = Gauge "skein_shard_up" ["shard"] "1 if the shard answered this scrape in time.";

    REQUESTS = Counter "skein_requests_total" ["shard", "api"] "Requests that came in.";
    REQUEST_DURATION = Histogram "skein_request_duration_seconds" ["shard", "api"]
        "From taking a request up to its answer; a fetch's wait for records is not in it.";
    ERRORS = Counter "skein_errors_total" ["shard", "api", "code"] "Errors told to clients, by Kafka's error code.";
    CONNECTIONS = Gauge "skein_connections" ["shard"] "Open connections.";
    CONNECTIONS_OPENED = Counter "skein_connections_opened_total" ["shard"] "Connections that came in.";
    CONNECTIONS_MALFORMED = Counter "skein_connections_malformed_total" ["shard"]
        "Connections closed because of what they sent.";
    CONNECTIONS_REFUSED = Counter "skein_connections_refused_total" ["shard"]
        "Connections that were closed at once because of a limit of connections.";
    CONNECTIONS_WAITING = Gauge "skein_connections_waiting" ["shard"] "Connections that wait because the node has as many as it may.";
    MEMORY_WAITING = Gauge "skein_connections_waiting_memory" ["shard"]
        "Connections that are not received from because they wait for memory.";
    MEMORY_ENDED = Counter "skein_connections_ended_memory_total" ["shard"]
        "Connections closed because they held memory that others waited for, or wanted more than there is.";
    THROTTLES = Counter "skein_throttles_total" ["shard"] "How often connections were muted by a quota.";
    THROTTLED = Counter "skein_throttle_seconds_total" ["shard"] "For how long together.";
    RECEIVED = Counter "skein_received_bytes_total" ["shard"] "Bytes that came in on connections.";
    SENT = Counter "skein_sent_bytes_total" ["shard"] "Bytes that went out on connections.";

    JOURNAL_GROUPS = Counter "skein_journal_groups_total" ["shard", "journal"] "Groups of entries written to the journal.";
    JOURNAL_ENTRIES = Counter "skein_journal_entries_total" ["shard", "journal"] "Entries in these groups.";
    JOURNAL_BYTES = Counter "skein_journal_bytes_total" ["shard", "journal"] "Bytes of these groups, without padding.";
    GROUP_DURATION = Histogram "skein_journal_group_duration_seconds" ["shard", "journal"]
        "From handing a group to the disk until it was written.";
    APPEND_DURATION = Histogram "skein_append_durable_duration_seconds" ["shard", "journal"]
        "From the append of a record batch until it was durable.";
    OLDEST_WAITING = Gauge "skein_journal_oldest_waiting_seconds" ["shard", "journal"]
        "How long the oldest entry that is not written yet has waited; 0 if none waits.";
    JOURNAL_EXTENTS = Gauge "skein_journal_full_extents" ["shard", "journal"]
        "Journal extents that are full and wait for a checkpoint.";
    LARGE_WRITES = Counter "skein_large_writes_total" ["shard"] "Writes of large batches straight to their segments.";
    LARGE_BYTES = Counter "skein_large_bytes_total" ["shard"] "Bytes of these writes.";
    LARGE_FAILED = Counter "skein_large_writes_failed_total" ["shard"]
        "Such writes that failed, so that the journal got the batches.";
    CHECKPOINTS = Counter "skein_checkpoints_total" ["shard"] "Checkpoints: rounds from memory to segments that ended.";
    CHECKPOINTS_FAILED = Counter "skein_checkpoints_failed_total" ["shard"] "Such rounds that were begun anew.";
    COMPACTIONS = Counter "skein_compactions_total" ["shard"] "Passes of compaction over a partition that ended.";
    COMPACTIONS_FAILED = Counter "skein_compactions_failed_total" ["shard"] "Such passes that were given up.";
    COMPACTION_READ = Counter "skein_compaction_read_bytes_total" ["shard"] "Bytes of segments that compaction read.";
    COMPACTION_WRITTEN = Counter "skein_compaction_written_bytes_total" ["shard"]
        "Bytes of segments that compaction wrote.";
    COMPACTION_REPLACED = Counter "skein_compaction_replaced_bytes_total" ["shard"]
        "Bytes of segments that were replaced by those written.";
    COMPACTION_RECORDS = Counter "skein_compaction_records_total" ["shard"] "Records that compaction looked at.";
    COMPACTION_DROPPED = Counter "skein_compaction_dropped_records_total" ["shard"] "Records that it dropped.";
    COMPACTION_DIRTIEST = Gauge "skein_compaction_dirtiest_ratio" ["shard"]
        "The largest share of a partition that waits to be compacted, from 0 to 1.";
    COMPACTION_UNCLEANABLE = Gauge "skein_compaction_uncleanable_partitions" ["shard"]
        "Partitions that are not compacted because a damaged batch was met in them.";
    MEMORY_USED = Gauge "skein_memory_used_bytes" ["shard", "memory"]
        "Memory in use: tails (appended records), lent (what readers hold of it), reads (records from disk), connections and compaction.";
    MEMORY_BUDGET = Gauge "skein_memory_budget_bytes" ["shard", "memory"] "The most memory of that kind.";
    READS_WAITING = Gauge "skein_reads_waiting" ["shard"] "Reads from disk that wait for their turn, or for memory.";
    DISK_FULL = Gauge "skein_disk_full" ["shard"] "1 while appends are refused for want of room on the disk.";
    DAMAGED_PLACES = Gauge "skein_damaged_places" ["shard"] "Damaged places in segments that are known now.";
    DAMAGE_REFUSED = Counter "skein_damage_refused_reads_total" ["shard"] "Reads that were refused because of damage.";
    SCRUBBED = Counter "skein_scrubbed_bytes_total" ["shard"] "Bytes of closed segments read again to find damage.";
    SCRUB_PASSES = Counter "skein_scrub_passes_total" ["shard"] "How often all closed segments were read again.";
    DIRECTORY_ONLINE = Gauge "skein_data_directory_online" ["directory"]
        "1 while the data directory is in use, 0 after it failed.";
    DIRECTORY_TOTAL = Gauge "skein_data_directory_size_bytes" ["directory"] "Size of its file system, as measured last.";
    DIRECTORY_USABLE = Gauge "skein_data_directory_usable_bytes" ["directory"]
        "Bytes of it that the node may still use, as measured last.";
    PARTITIONS_OFFLINE = Gauge "skein_partitions_offline" ["shard"] "Partitions whose data directory is offline.";
    PARTITIONS = Gauge "skein_partitions" ["shard"] "Partitions placed on the shard.";

    TOPIC_PARTITIONS = Gauge "skein_topic_partitions" ["topic"] "Partitions of the topic.";
    TOPIC_PRODUCED_BATCHES = Counter "skein_topic_produced_batches_total" ["topic"] "Record batches appended by producers.";
    TOPIC_PRODUCED_RECORDS = Counter "skein_topic_produced_records_total" ["topic"] "Records appended by producers.";
    TOPIC_PRODUCED_BYTES = Counter "skein_topic_produced_bytes_total" ["topic"] "Bytes of these record batches.";
    TOPIC_FETCHED_RECORDS = Counter "skein_topic_fetched_records_total" ["topic"] "Records given to consumers.";
    TOPIC_FETCHED_BYTES = Counter "skein_topic_fetched_bytes_total" ["topic"] "Bytes of record batches given to consumers.";
    TOPIC_LOG_BYTES = Gauge "skein_topic_log_bytes" ["topic"] "Bytes of the logs of all partitions.";
    TOPIC_START = Gauge "skein_topic_log_start_offset" ["topic"] "First offsets of all partitions, added up.";
    TOPIC_END = Gauge "skein_topic_high_watermark" ["topic"] "High watermarks of all partitions, added up.";

    GROUP_LAG_RECORDS = Gauge "skein_group_lag_records" ["group", "topic"]
        "Records that the group has not consumed yet, by its committed offsets.";
    GROUP_LAG_SECONDS = Gauge "skein_group_lag_seconds" ["group", "topic"]
        "Age of the oldest record that the group has not consumed yet; 0 if there is none.";
    GROUP_PARTITIONS = Gauge "skein_group_partitions" ["group", "topic"] "Partitions with a committed offset of the group.";

    CLIENT_INSTANCES = Gauge "skein_client_metrics_instances" [] "Clients whose metrics are shown.";
    CLIENT_PUSHES = Counter "skein_client_metrics_pushes_total" ["result"]
        "Pushes of clients: taken, or broken because they could not be read.";
    CLIENT_LEFT_OUT = Counter "skein_client_metrics_left_out_total" [] "Values of taken pushes that are not shown.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name is used once");
        for Family { name, kind, help, .. } in ALL {
            assert!(name.starts_with("skein_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_duration_seconds"), *kind == Kind::Histogram, "{name}");
            assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{name}: {help}");
        }
    }

    #[test]
    fn every_metric_is_documented() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/monitoring.md");
        let page = std::fs::read_to_string(page).expect("the page is there");
        for Family { name, labels, .. } in ALL {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/monitoring.md has a row for {name}"));
            for label in *labels {
                assert!(row.contains(&format!("`{label}`")), "{name}: the label {label}");
            }
        }
    }
}

//! `/metrics`: the shards' reports as a page. What they count is on the shards; here is only naming and adding up.

use std::time::UNIX_EPOCH;

use storage::io::Volume;
use storage::store::metrics::Journal;

use super::Phase;
use super::courier::Answers;
use super::exposition::{Family, Page, seconds};
use super::families::*;
use super::groups;
use super::http::Site;
use super::topics::{self, Sums};
use crate::shard::directories::Status;
use crate::shard::lags::GroupLag;
use crate::shard::report::Report;

/// What is known of the process without asking a shard.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) is_serving: bool,
    /// When it started, in seconds since 1970.
    pub(super) started_at: f64,
    pub(super) uptime: f64,
    /// CPU time in seconds, and resident bytes, where the system tells.
    pub(super) usage: Option<(f64, u64)>,
}

impl Process {
    pub(super) fn of(site: &Site) -> Self {
        Self {
            is_serving: site.phase() == Phase::Serving,
            started_at: site.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            uptime: site.started.elapsed().as_secs_f64(),
            usage: usage(),
        }
    }
}

/// The process's CPU seconds and resident bytes, as Linux tells them.
fn usage() -> Option<(f64, u64)> {
    /// Linux counts CPU time for user space in hundredths of a second, on every architecture that io_uring runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; the fields are counted from behind it, the third on.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let (user, system) = (number(11)?, number(12)?);
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.split_whitespace().next()?.parse().ok()?;
    Some(((user + system) as f64 / TICKS_PER_SECOND, kib * 1024))
}

/// The page. A shard that was silent has no samples but that it is not up.
pub(super) fn page(reports: &Answers<Report>, lags: &Answers<Vec<GroupLag>>, process: &Process) -> String {
    let mut page = Page::default();
    of_process(&mut page, process);
    let mut up = page.family(&SHARD_UP);
    for (shard, report) in reports.iter().enumerate() {
        up.sample(&[&shard.to_string()], u8::from(report.is_some()));
    }
    let numbered = reports
        .iter()
        .enumerate()
        .filter_map(|(shard, report)| Some(Shard { number: shard.to_string(), report: report.as_deref()? }));
    let shards: Vec<Shard<'_>> = numbered.collect();
    of_requests(&mut page, &shards);
    of_connections(&mut page, &shards);
    of_journals(&mut page, &shards);
    of_stores(&mut page, &shards);
    of_topics(&mut page, &shards);
    of_groups(&mut page, lags);
    page.into_text()
}

/// A report with its shard's label.
struct Shard<'a> {
    number: String,
    report: &'a Report,
}

fn of_process(page: &mut Page, process: &Process) {
    page.family(&BUILD).sample(&[env!("CARGO_PKG_VERSION")], 1);
    page.single(&START, process.started_at);
    page.single(&UPTIME, process.uptime);
    page.single(&READY, u8::from(process.is_serving));
    if let Some((cpu, resident)) = process.usage {
        page.single(&CPU, cpu);
        page.single(&RESIDENT, resident);
    }
}

fn of_requests(page: &mut Page, shards: &[Shard<'_>]) {
    let apis = || shards.iter().flat_map(|shard| shard.report.apis.iter().map(move |api| (shard, api)));
    let mut requests = page.family(&REQUESTS);
    for (shard, api) in apis() {
        requests.sample(&[&shard.number, api.key.name()], api.requests);
    }
    let mut durations = page.family(&REQUEST_DURATION);
    for (shard, api) in apis() {
        durations.distribution(&[&shard.number, api.key.name()], &api.latency);
    }
    let mut errors = page.family(&ERRORS);
    for shard in shards {
        for (key, code, count) in &shard.report.errors {
            errors.sample(&[&shard.number, key.name(), &code.to_string()], count);
        }
    }
}

/// A sample a shard.
fn each(page: &mut Page, shards: &[Shard<'_>], family: &Family, value: impl Fn(&Report) -> u64) {
    let mut samples = page.family(family);
    for shard in shards {
        samples.sample(&[&shard.number], value(shard.report));
    }
}

fn of_connections(page: &mut Page, shards: &[Shard<'_>]) {
    each(page, shards, &CONNECTIONS, |report| report.connections.open as u64);
    each(page, shards, &CONNECTIONS_OPENED, |report| report.connections.opened);
    each(page, shards, &CONNECTIONS_MALFORMED, |report| report.connections.malformed);
    each(page, shards, &CONNECTIONS_REFUSED, |report| report.connections.refused);
    each(page, shards, &CONNECTIONS_WAITING, |report| report.connections.waiting as u64);
    each(page, shards, &MEMORY_WAITING, |report| report.connections.memory_waiting as u64);
    each(page, shards, &MEMORY_ENDED, |report| report.connections.memory_ended);
    each(page, shards, &THROTTLES, |report| report.connections.throttles);
    let mut throttled = page.family(&THROTTLED);
    for Shard { number, report } in shards {
        throttled.sample(&[number], seconds(report.connections.throttled_ns));
    }
    each(page, shards, &RECEIVED, |report| report.connections.received_bytes);
    each(page, shards, &SENT, |report| report.connections.sent_bytes);
}

fn of_journals(page: &mut Page, shards: &[Shard<'_>]) {
    // The cached journal exists for topics that chose it only.
    let journals: Vec<(&str, &str, &Journal)> = shards
        .iter()
        .flat_map(|shard| {
            let store = &shard.report.store;
            [("durable", &store.durable_journal), ("cached", &store.cached_journal)]
                .into_iter()
                .filter(|(name, journal)| *name == "durable" || journal.groups > 0 || journal.oldest_waiting_ns > 0)
                .map(|(name, journal)| (&*shard.number, name, journal))
        })
        .collect();
    let mut count = |family: &Family, value: fn(&Journal) -> u64| {
        let mut samples = page.family(family);
        for (shard, name, journal) in &journals {
            samples.sample(&[shard, name], value(journal));
        }
    };
    count(&JOURNAL_GROUPS, |journal| journal.groups);
    count(&JOURNAL_ENTRIES, |journal| journal.entries);
    count(&JOURNAL_BYTES, |journal| journal.bytes);
    count(&JOURNAL_EXTENTS, |journal| journal.used_extents as u64);
    let mut durations = page.family(&GROUP_DURATION);
    for (shard, name, journal) in &journals {
        durations.distribution(&[shard, name], &journal.group_write);
    }
    let mut durations = page.family(&APPEND_DURATION);
    for (shard, name, journal) in &journals {
        durations.distribution(&[shard, name], &journal.append_to_durable);
    }
    let mut waiting = page.family(&OLDEST_WAITING);
    for (shard, name, journal) in &journals {
        waiting.sample(&[shard, name], seconds(journal.oldest_waiting_ns));
    }
}

fn of_stores(page: &mut Page, shards: &[Shard<'_>]) {
    each(page, shards, &LARGE_WRITES, |report| report.store.large.writes);
    each(page, shards, &LARGE_BYTES, |report| report.store.large.bytes);
    each(page, shards, &LARGE_FAILED, |report| report.store.large.failed);
    each(page, shards, &CHECKPOINTS, |report| report.store.checkpoints);
    each(page, shards, &CHECKPOINTS_FAILED, |report| report.store.checkpoints_failed);
    of_compaction(page, shards);
    let mut used = page.family(&MEMORY_USED);
    for Shard { number, report } in shards {
        used.sample(&[number, "tails"], report.store.tails.used_bytes);
        used.sample(&[number, "lent"], report.store.lent.used_bytes);
        used.sample(&[number, "reads"], report.store.buffers.used_bytes);
        used.sample(&[number, "connections"], report.connections.memory.used_bytes);
        used.sample(&[number, "compaction"], report.store.compaction.memory_bytes);
    }
    let mut budget = page.family(&MEMORY_BUDGET);
    for Shard { number, report } in shards {
        budget.sample(&[number, "tails"], report.store.tails.budget_bytes);
        budget.sample(&[number, "lent"], report.store.lent.budget_bytes);
        budget.sample(&[number, "reads"], report.store.buffers.budget_bytes);
        budget.sample(&[number, "connections"], report.connections.memory.budget_bytes);
    }
    each(page, shards, &READS_WAITING, |report| report.store.reads_waiting as u64);
    each(page, shards, &DISK_FULL, |report| report.store.is_disk_full.into());
    each(page, shards, &DAMAGED_PLACES, |report| report.store.damage.places as u64);
    each(page, shards, &DAMAGE_REFUSED, |report| report.store.damage.refused_reads);
    each(page, shards, &SCRUBBED, |report| report.store.scrub.bytes);
    each(page, shards, &SCRUB_PASSES, |report| report.store.scrub.passes);
    each(page, shards, &PARTITIONS, |report| report.logs.len() as u64);
    each(page, shards, &PARTITIONS_OFFLINE, |report| report.offline_partitions as u64);
    of_directories(page, shards);
}

/// All shards know the same; only the first one measures file systems unless it is asked.
fn of_directories(page: &mut Page, shards: &[Shard<'_>]) {
    let Some(Shard { report, .. }) = shards.first() else { return };
    let path = |status: &Status| status.path.display().to_string();
    let mut online = page.family(&DIRECTORY_ONLINE);
    for status in &report.directories {
        online.sample(&[&path(status)], u8::from(status.offline.is_none()));
    }
    let mut volumes = |family: &Family, value: fn(Volume) -> u64| {
        let mut samples = page.family(family);
        for status in &report.directories {
            if let Some(volume) = status.volume {
                samples.sample(&[&path(status)], value(volume));
            }
        }
    };
    volumes(&DIRECTORY_TOTAL, |volume| volume.total_bytes);
    volumes(&DIRECTORY_USABLE, |volume| volume.usable_bytes);
}

fn of_compaction(page: &mut Page, shards: &[Shard<'_>]) {
    each(page, shards, &COMPACTIONS, |report| report.store.compaction.counted.passes);
    each(page, shards, &COMPACTIONS_FAILED, |report| report.store.compaction.counted.failed);
    each(page, shards, &COMPACTION_READ, |report| report.store.compaction.counted.read_bytes);
    each(page, shards, &COMPACTION_WRITTEN, |report| report.store.compaction.counted.written_bytes);
    each(page, shards, &COMPACTION_REPLACED, |report| report.store.compaction.counted.replaced_bytes);
    each(page, shards, &COMPACTION_RECORDS, |report| report.store.compaction.counted.records);
    each(page, shards, &COMPACTION_DROPPED, |report| report.store.compaction.counted.dropped_records);
    let mut dirtiest = page.family(&COMPACTION_DIRTIEST);
    for Shard { number, report } in shards {
        dirtiest.sample(&[number], f64::from(report.store.compaction.dirtiest_millionths) / 1e6);
    }
    each(page, shards, &COMPACTION_UNCLEANABLE, |report| report.store.compaction.uncleanable);
}

fn of_topics(page: &mut Page, shards: &[Shard<'_>]) {
    let reports: Vec<&Report> = shards.iter().map(|shard| shard.report).collect();
    // Shards serve images of about the same age; the newest knows most names.
    let Some(newest) = reports.iter().max_by_key(|report| report.image.next_offset()) else { return };
    let topics = topics::sums(&newest.image, &reports);
    let mut count = |family: &Family, value: fn(&Sums) -> u64| {
        let mut samples = page.family(family);
        for (topic, sums) in &topics {
            samples.sample(&[topic], value(sums));
        }
    };
    count(&TOPIC_PARTITIONS, |sums| sums.partitions as u64);
    count(&TOPIC_PRODUCED_BATCHES, |sums| sums.produced.batches);
    count(&TOPIC_PRODUCED_RECORDS, |sums| sums.produced.records);
    count(&TOPIC_PRODUCED_BYTES, |sums| sums.produced.bytes);
    count(&TOPIC_FETCHED_RECORDS, |sums| sums.fetched.records);
    count(&TOPIC_FETCHED_BYTES, |sums| sums.fetched.bytes);
    count(&TOPIC_LOG_BYTES, |sums| sums.size_bytes);
    count(&TOPIC_START, |sums| sums.start_offsets);
    count(&TOPIC_END, |sums| sums.high_watermarks);
}

fn of_groups(page: &mut Page, lags: &Answers<Vec<GroupLag>>) {
    let lags: Vec<&GroupLag> = lags.iter().flatten().flat_map(|lags| lags.iter()).collect();
    let lags = groups::furthest_behind(&lags);
    let mut records = page.family(&GROUP_LAG_RECORDS);
    for lag in &lags {
        records.sample(&[&lag.group, &lag.topic], lag.records);
    }
    let mut age = page.family(&GROUP_LAG_SECONDS);
    for lag in &lags {
        age.sample(&[&lag.group, &lag.topic], seconds(lag.age_ms.saturating_mul(1_000_000)));
    }
    let mut partitions = page.family(&GROUP_PARTITIONS);
    for lag in &lags {
        partitions.sample(&[&lag.group, &lag.topic], lag.partitions);
    }
}

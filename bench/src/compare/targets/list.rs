//! The targets, group by group.

use super::check::{Check, Figure};
use crate::diff::number;

const ALL: [&str; 3] = ["durable", "cached", "headline"];
/// Against what Kafka does by default.
const DEFAULT: [&str; 2] = ["cached", "headline"];
const DURABLE: [&str; 1] = ["durable"];

const KIB: f64 = 1024.0;

pub(super) fn small_requests(check: &mut Check<'_>) {
    check.group("Small requests");
    let scenarios = [("single-64x5", "64 × 5", 12.0, 50.0), ("single-1x5", "1 × 5", 2.0, 6.0)];
    for (scenario, title, by_default, durable) in scenarios {
        let figure = Figure::less(scenario, "cpu_us_per_request", "µs");
        let what = format!("one 100 B record a request, {title}: CPU a request");
        check.lanes(&what, figure, &DEFAULT, by_default);
        check.lanes(&what, figure, &DURABLE, durable);
        for (id, lane) in [("skein-cached", "cached"), ("skein-durable", "durable")] {
            let echo = check.of(scenario, "echo", "cpu_us_per_request");
            let pair = check.of(scenario, id, "cpu_us_per_request").zip(echo);
            let detail = pair.map_or_else(String::new, |(ours, echo)| format!("{ours:.2} against {echo:.2} µs"));
            let (name, ratio) = (format!("{what}, skein {lane}"), pair.map(|(ours, echo)| ours / echo));
            if scenario == "single-64x5" {
                check.at_most(&name, ratio, 1.6, "× echo", detail);
            } else {
                check.told(&name, ratio, "× echo", detail);
            }
        }
    }
    let throughput = Figure::more("producers-100", "requests_per_second", "requests/s");
    check.lanes("one 100 B record a request, 100 producers: throughput", throughput, &DURABLE, 30.0);
}

pub(super) fn bytes(check: &mut Check<'_>) {
    check.group("Bytes");
    for (scenario, title, least, aim) in
        [("batch-16k", "16 KiB batches", 8.0, 0.45), ("batch-1m", "1 MiB batches", 7.0, 0.35)]
    {
        let what = format!("produce 1 KiB records in {title}: CPU for a GiB");
        check.lanes(&what, Figure::less(scenario, "cpu_s_per_gib", "CPU-s/GiB"), &ALL, least);
        for (id, lane) in [("skein-cached", "cached"), ("skein-durable", "durable")] {
            let value = check.of(scenario, id, "cpu_s_per_gib");
            check.at_most(&format!("{what}, skein {lane}"), value, aim, "CPU-s/GiB", String::new());
        }
    }
    let written = check.of("batch-1m", "skein-durable", "mib_per_second");
    let raw = check.disk("mib_per_second").zip(check.disk("mib_per_second_4")).map(|(one, four)| one.max(four));
    let ceiling = check.of("batch-1m", "ceiling", "mib_per_second");
    let share = written.zip(raw.zip(ceiling)).map(|(written, (raw, ceiling))| 100.0 * written / raw.min(ceiling));
    let detail = written.zip(raw.zip(ceiling)).map_or_else(String::new, |(written, (raw, ceiling))| {
        format!("{} of the disk's {} and the ceiling's {} MiB/s", number(written), number(raw), number(ceiling))
    });
    check.at_least(
        "durable bandwidth, 1 MiB batches: of the lesser of raw DSYNC writes and receive, CRC, copy",
        share,
        90.0,
        "%",
        detail,
    );
}

pub(super) fn latency(check: &mut Check<'_>) {
    check.group("Latency");
    for (scenario, title) in [("ack", "at 500/s"), ("ack-tenth", "at 10 % load")] {
        let p50 = |check: &Check<'_>, id| check.of(scenario, id, "p50_us");
        let (sync, echo) = (check.disk("sync_p50_us"), p50(check, "echo"));
        let floor = sync.zip(echo).map(|(sync, echo)| sync + echo);
        let over = p50(check, "skein-durable").zip(floor).map(|(ours, floor)| ours - floor);
        let detail = match (p50(check, "skein-durable"), sync, echo) {
            (Some(ours), Some(sync), Some(echo)) => {
                format!("{} µs; the disk's sync {}, echo {}", number(ours), number(sync), number(echo))
            }
            _ => String::new(),
        };
        let what = format!("durable acknowledgement {title}");
        check.at_most(&format!("{what}: p50 above the disk's sync and the echo"), over, 20.0, "µs", detail);
        let figure = Figure::less(scenario, "p999_us", "µs");
        check.lanes(&format!("{what}: p99.9"), figure, &DURABLE, 10.0);
        check.lanes(&format!("{what}: p99.9"), figure, &["headline"], 1.0);
    }
    for (metric, echo, title) in [("end_to_end_p50_us", "p50_us", "p50"), ("end_to_end_p999_us", "p999_us", "p99.9")] {
        let pair = check.of("end-to-end", "skein-cached", metric).zip(check.of("end-to-end", "echo", echo));
        let detail =
            pair.map_or_else(String::new, |(ours, echo)| format!("{} against {} µs", number(ours), number(echo)));
        let ratio = pair.map(|(ours, echo)| ours / echo);
        check.at_most(&format!("end to end, 10,000/s, cached: {title}"), ratio, 3.0, "× echo", detail);
    }
    let figure = Figure::less("end-to-end", "end_to_end_p999_us", "µs");
    check.lanes("end to end, 10,000/s: p99.9", figure, &["cached"], 20.0);
}

pub(super) fn reads(check: &mut Check<'_>) {
    check.group("Reads");
    let tail = Figure::less("tail-read", "read_cpu_s_per_gib", "CPU-s/GiB");
    check.lanes("tail read: CPU for a GiB", tail, &DEFAULT, 3.0);
    let own = check.of("tail-read", "skein-durable", "read_cpu_s_per_gib");
    check.at_most("tail read: CPU for a GiB, skein durable", own, 0.4, "CPU-s/GiB", String::new());
    let cold = Figure::less("cold-read", "read_cpu_s_per_gib", "CPU-s/GiB");
    check.lanes("cold read: CPU for a GiB", cold, &DEFAULT, 1.5);
    let raw = check.disk("read_mib_per_second").zip(check.disk("read_mib_per_second_4"));
    let raw = raw.map(|(one, four)| one.max(four));
    let read = check.of("cold-read", "skein-durable", "cold_mib_per_second");
    let share = read.zip(raw).map(|(read, raw)| 100.0 * read / raw);
    let detail =
        read.zip(raw).map_or_else(String::new, |(read, raw)| format!("{} of {} MiB/s", number(read), number(raw)));
    check.at_least("cold read, one consumer: of the disk's raw sequential read", share, 80.0, "%", detail);
    for (ours, theirs, title) in [
        ("skein-durable", "kafka-durable", "durable against durable"),
        ("skein-cached", "kafka-default", "cached against cached"),
        ("skein-durable", "kafka-default", "durable against Kafka's default"),
    ] {
        let added = |id: &str| {
            let disturbed = check.of("catch-up", &format!("{id}.disturbed"), "p999_us")?;
            Some((disturbed - check.of("catch-up", id, "p999_us")?).max(0.0))
        };
        let pair = added(ours).zip(added(theirs));
        let what = format!("produce p99.9 that a catching-up consumer adds, {title}");
        check.times(&what, pair, "µs more", false, 20.0);
    }
}

pub(super) fn partitions(check: &mut Check<'_>) {
    check.group("Many partitions");
    let throughput = Figure::more("many-partitions", "requests_per_second", "requests/s");
    check.lanes("one 100 B record a request over 10,000 partitions: throughput", throughput, &DURABLE, 50.0);
    let idle = check.footprint("skein", "many_idle_cpu_percent");
    check.at_most("10,000 partitions: CPU, idle", idle, 0.1, "% of a core", String::new());
    let (ours, theirs) = (check.memory("skein", 10_000), check.memory("kafka", 10_000));
    let pair = ours.zip(theirs).map(|((_, ours), (_, theirs))| (ours, theirs));
    check.times("10,000 partitions: resident", pair, "MiB", false, 10.0);
    let first = check.memory("skein", 1);
    let each = first.zip(ours).map(|((_, before), (count, mib))| (mib - before) * KIB / f64::from(count));
    check.at_most("resident for an idle partition, before any record", each, 4.0, "KiB", String::new());
    let after = (|| {
        let (before, after) = (
            check.footprint("skein", "spread_resident_before_mib")?,
            check.footprint("skein", "spread_resident_after_mib")?,
        );
        let fresh = each.unwrap_or(0.0);
        Some(fresh + (after - before) * KIB / check.footprint("skein", "spread_partitions")?)
    })();
    let detail = "with what pools and buffers keep".to_owned();
    check.at_most("resident for an idle partition, after a load over all", after, 4.0, "KiB", detail);
    let created = check.footprint("skein", "create_10000_s").map(|seconds| 9_000.0 / seconds);
    check.at_least("partitions created in a second", created, 5_000.0, "", String::new());
    let spread = check.footprint("skein", "spread_device_bytes_per_byte");
    let groups = check.footprint("skein", "spread_appends_per_group");
    let detail = groups.map_or_else(String::new, |groups| format!("{} appends a group", number(groups)));
    check.at_most("device bytes a byte, 100 B records over 10,000 partitions, drained", spread, 2.5, "", detail);
    let large = check.footprint("skein", "large_device_bytes_per_byte");
    check.at_most("device bytes a byte, 1 MiB batches, drained", large, 1.15, "", String::new());
    let pair = spread.zip(check.footprint("kafka", "spread_device_bytes_per_byte"));
    check.times(
        "device bytes, 100 B records over 10,000 partitions, durable against durable",
        pair,
        "a byte",
        false,
        10.0,
    );
    check.compaction_rows();
}

pub(super) fn starting(check: &mut Check<'_>) {
    check.group("Starting, and doing nothing");
    let pair = |check: &Check<'_>, metric| check.footprint("skein", metric).zip(check.footprint("kafka", metric));
    let first = pair(check, "first_ack_ms");
    check.times("start to the first acknowledged record", first, "ms", false, 80.0);
    let recovery = pair(check, "recovery_ms");
    check.times("the same after kill -9 with 10,000 partitions", recovery, "ms", false, 45.0);
    let recovery = check.footprint("skein", "recovery_ms");
    check.at_most("the same, skein", recovery, 1_000.0, "ms", String::new());
    let resident = check.footprint("skein", "idle_mib");
    check.at_most("resident, idle", resident, 15.0, "MiB", String::new());
    let cpu = check.footprint("skein", "idle_cpu_percent");
    check.at_most("CPU, idle", cpu, 0.1, "% of a core", String::new());
    let binary = check.footprint("skein", "binary_mb");
    check.at_most("the program", binary, 15.0, "MB", String::new());
}

pub(super) fn growth(check: &mut Check<'_>) {
    check.group("Growth");
    let cost = |check: &Check<'_>, scenario, id: String| check.of(scenario, &id, "cpu_us_per_request");
    for (scenario, kind, counts) in [
        ("growth-partitions", "partitions", [(100, 1), (10_000, 1)]),
        ("growth-connections", "connections", [(1_000, 64), (10_000, 64)]),
    ] {
        for (many, few) in counts {
            let pair =
                cost(check, scenario, format!("{kind}-{many}")).zip(cost(check, scenario, format!("{kind}-{few}")));
            let mut detail =
                pair.map_or_else(String::new, |(many, few)| format!("{} against {} µs", number(many), number(few)));
            let echo = cost(check, scenario, format!("echo-{many}")).zip(cost(check, scenario, format!("echo-{few}")));
            if let Some((many, few)) = echo {
                detail += &format!("; echo {} ×", number(many / few));
            }
            let ratio = pair.map(|(many, few)| many / few);
            let what = format!("cost of a request, {} {kind} to {few}", number(f64::from(many)).replace(".0", ""));
            check.at_most(&what, ratio, 1.3, "×", detail);
        }
    }
    let none = check.of("crossing", "crossing-0", "cpu_us_per_request");
    for (id, title) in [("crossing-50", "half of them cross"), ("crossing-100", "all cross")] {
        let some = check.of("crossing", id, "cpu_us_per_request");
        let detail = some.zip(none).map_or_else(String::new, |(some, none)| format!("{some:.2} against {none:.2} µs"));
        let ratio = some.zip(none).map(|(some, none)| some / none);
        check.told(&format!("cost of a request, 2 shards: {title}, to none crosses"), ratio, "×", detail);
    }
}

pub(super) fn background(check: &mut Check<'_>) {
    check.group("Work in the background");
    let p999 = |check: &Check<'_>, id| check.of("background", id, "p999_us");
    for (id, beside, title, most) in [
        ("compacted", "written", "compaction beside", Some(2.0)),
        ("retained", "written", "retention beside", None),
        ("read", "skein-durable", "4 cold readers beside", None),
    ] {
        let pair = p999(check, id).zip(p999(check, beside));
        let detail =
            pair.map_or_else(String::new, |(with, without)| format!("{} against {} µs", number(with), number(without)));
        let (what, ratio) =
            (format!("produce p99.9 with {title}, to without"), pair.map(|(with, without)| with / without));
        match most {
            Some(most) => check.at_most(&what, ratio, most, "×", detail),
            None => check.told(&what, ratio, "×", detail),
        }
    }
}

pub(super) fn instrument(check: &mut Check<'_>) {
    check.group("The load itself");
    let us = check.of("generator", "echo", "load_us_per_request");
    let rate = check.of("generator", "echo", "requests_per_second");
    let detail =
        rate.map_or_else(String::new, |rate| format!("{} requests/s were answered by the echo server", number(rate)));
    let possible = us.map(|us| 1e6 / us);
    check.at_least("requests that a CPU-second of the load makes", possible, 2_000_000.0, "", detail);
}

impl Check<'_> {
    fn compaction_rows(&mut self) {
        self.group("Compaction");
        let figure = |name| self.compaction(name);
        let (map, keys) = (figure("map_peak_mib"), figure("keys"));
        let detail = match (figure("compacted_s"), figure("passes"), figure("resident_peak_mib")) {
            (Some(seconds), Some(passes), Some(resident)) => format!(
                "{} keys in {seconds:.0} s, {passes:.0} passes; the node at most {resident:.0} MiB resident",
                number(keys.unwrap_or_default())
            ),
            _ => String::new(),
        };
        self.at_most("memory for 50 million distinct keys that are compacted", map, 256.0, "MiB", detail);
    }
}

//! The tables of both pages, as data.

use crate::compare::{Footprint, LANES, Results, ScenarioResults, Target};
use crate::diff::number;
use crate::stats::{self, Summary};

/// Rows of cells; the first of each row is its name.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// One figure.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// The least and the greatest, or what else explains the figure.
    pub(super) detail: String,
    /// Whether it compares, and for the better.
    pub(super) is_better: Option<bool>,
}

/// A metric of a scenario.
struct Row {
    metric: &'static str,
    title: &'static str,
    is_more_better: bool,
    /// Whether lanes are compared by it.
    is_compared: bool,
}

const fn less(metric: &'static str, title: &'static str) -> Row {
    Row { metric, title, is_more_better: false, is_compared: true }
}

const fn more(metric: &'static str, title: &'static str) -> Row {
    Row { metric, title, is_more_better: true, is_compared: true }
}

const fn told(metric: &'static str, title: &'static str) -> Row {
    Row { metric, title, is_more_better: false, is_compared: false }
}

const ROWS: [Row; 29] = [
    more("requests_per_second", "requests/s"),
    more("mib_per_second", "MiB/s written"),
    more("read_mib_per_second", "MiB/s read"),
    less("cpu_us_per_request", "broker CPU a request, µs"),
    less("cpu_s_per_gib", "broker CPU-s/GiB written"),
    less("read_cpu_s_per_gib", "broker CPU-s/GiB read"),
    less("machine_us_per_request", "machine beside the load, µs a request"),
    less("machine_above_sink_us", "machine above the load against a null sink, µs a request"),
    told("load_us_per_request", "the load itself, µs a request"),
    more("cold_mib_per_second", "MiB/s from the first record to the last"),
    less("p50_us", "acknowledged: p50, µs"),
    less("p90_us", "p90"),
    less("p99_us", "p99"),
    less("p999_us", "p99.9"),
    less("p9999_us", "p99.99"),
    less("max_us", "max"),
    less("end_to_end_p50_us", "end to end: p50, µs"),
    less("end_to_end_p90_us", "p90"),
    less("end_to_end_p99_us", "p99"),
    less("end_to_end_p999_us", "p99.9"),
    less("end_to_end_p9999_us", "p99.99"),
    less("end_to_end_max_us", "max"),
    less("device_bytes_per_byte", "device bytes a byte"),
    less("resident_mib", "resident, MiB"),
    less("context_switches_per_request", "context switches a request"),
    less("calls_per_request", "calls of the kernel a request"),
    told("submissions_per_request", "requests to rings a request"),
    told("stolen_percent", "stolen, % of the CPUs"),
    told("other_work_percent", "other work of the machine, % of a CPU"),
];

fn cell(summary: Option<Summary>) -> Cell {
    let Some(Summary { min, median, max }) = summary else { return Cell { text: "–".into(), ..Cell::default() } };
    let detail = if min == max { String::new() } else { format!("{}–{}", number(min), number(max)) };
    Cell { text: number(median), detail, is_better: None }
}

fn name(text: &str) -> Cell {
    Cell { text: text.to_owned(), ..Cell::default() }
}

/// How much better ours is: its figure to theirs, or the other way round where less is better.
fn times(ours: &[f64], theirs: &[f64], is_more_better: bool) -> Cell {
    let ratio = if is_more_better { stats::ratio(ours, theirs) } else { stats::ratio(theirs, ours) };
    ratio.map_or_else(Cell::default, |ratio| Cell {
        text: format!("{} ×", number(ratio.ratio)),
        detail: if ours.len() > 1 { format!("{}–{}", number(ratio.low), number(ratio.high)) } else { String::new() },
        is_better: Some(ratio.ratio >= 1.0),
    })
}

/// All metrics of a scenario, and how the lanes compare.
pub(super) fn scenario(results: &Results, scenario: &ScenarioResults) -> Table {
    let lanes: Vec<_> = LANES
        .iter()
        .filter(|lane| scenario.series(lane.ours).is_some() && scenario.series(lane.theirs).is_some())
        .collect();
    let mut head = vec![String::new()];
    head.extend(scenario.series.iter().map(|series| series.title(results).to_owned()));
    head.extend(lanes.iter().map(|lane| format!("{} ×", lane.id)));
    let values = |id: &str, metric: &str| scenario.series(id).and_then(|series| series.metrics.get(metric));
    let known = ROWS.iter().filter(|row| scenario.series.iter().any(|series| series.metrics.contains_key(row.metric)));
    let rows = known.map(|row| {
        let mut cells = vec![name(row.title)];
        cells.extend(
            scenario
                .series
                .iter()
                .map(|series| cell(series.metrics.get(row.metric).and_then(|values| stats::summary(values)))),
        );
        cells.extend(lanes.iter().map(|lane| {
            let pair = values(lane.ours, row.metric).zip(values(lane.theirs, row.metric));
            let pair = pair.filter(|_| row.is_compared);
            pair.map_or_else(Cell::default, |(ours, theirs)| times(ours, theirs, row.is_more_better))
        }));
        cells
    });
    Table { rows: rows.collect(), head }
}

/// One row for each scenario: how the lanes compare in what it is about.
pub(super) fn overview(results: &Results) -> Table {
    const ABOUT: [(&str, &str, bool); 5] = [
        ("end_to_end_p999_us", "end to end, p99.9", false),
        ("read_cpu_s_per_gib", "CPU-s/GiB read", false),
        ("p999_us", "acknowledged, p99.9", false),
        ("requests_per_second", "requests/s", true),
        ("cpu_us_per_request", "CPU a request", false),
    ];
    let mut table = Table { head: vec!["what".into(), "figure".into()], rows: Vec::new() };
    table.head.extend(LANES.iter().map(|lane| lane.title.to_owned()));
    for scenario in &results.scenarios {
        // At a fixed rate throughput is the rate; without one, latency is that of full queues.
        let is_paced = scenario.workload.contains("records_per_second");
        for (metric, title, is_more_better) in ABOUT {
            let is_fit = match metric {
                "p999_us" => is_paced,
                "requests_per_second" => !is_paced,
                _ => true,
            };
            let values = |id: &str| scenario.series(id).and_then(|series| series.metrics.get(metric));
            let ratios: Vec<Cell> = LANES
                .iter()
                .map(|lane| {
                    let pair = values(lane.ours).zip(values(lane.theirs));
                    pair.map_or_else(Cell::default, |(ours, theirs)| times(ours, theirs, is_more_better))
                })
                .collect();
            if is_fit && ratios.iter().any(|cell| !cell.text.is_empty()) {
                // A scenario is named once.
                let is_named = table.rows.iter().any(|row| row[0].text == scenario.title);
                let mut row = vec![name(if is_named { "" } else { &scenario.title }), name(title)];
                row.extend(ratios);
                table.rows.push(row);
            }
        }
    }
    table
}

/// What the figures were to be, and whether they are.
pub(super) fn targets(targets: &[Target]) -> Table {
    let head = ["what", "target", "measured", "met", "figures"].map(str::to_owned).to_vec();
    let mut table = Table { head, rows: Vec::new() };
    let mut group = "";
    for target in targets {
        if target.group != group {
            group = target.group;
            table.rows.push(vec![name(group)]);
        }
        let verdict = match target.is_met {
            Some(true) => "yes",
            Some(false) => "no",
            None => "–",
        };
        table.rows.push(vec![
            name(&target.what),
            name(&target.aim),
            Cell { text: target.measured.clone(), is_better: target.is_met, ..Cell::default() },
            Cell { text: verdict.to_owned(), is_better: target.is_met, ..Cell::default() },
            name(&target.detail),
        ]);
    }
    table
}

/// How many targets are met, as a sentence.
pub(super) fn verdict(targets: &[Target]) -> String {
    let count = |is_met| targets.iter().filter(|target| target.is_met == is_met).count();
    let (met, missed) = (count(Some(true)), count(Some(false)));
    let unknown = targets.iter().filter(|target| target.is_met.is_none() && !target.aim.is_empty()).count();
    format!("{met} met, {missed} missed, {unknown} not measured. Every ratio is one of medians of this run.")
}

/// A compaction of many keys.
pub(super) fn compaction(results: &Results) -> Table {
    const TITLES: [(&str, &str); 12] = [
        ("keys", "distinct keys"),
        ("records", "records"),
        ("written_s", "written in, s"),
        ("compacted_s", "compacted in, s"),
        ("passes", "passes"),
        ("failed_passes", "passes given up"),
        ("dropped_records", "records dropped"),
        ("read_gib", "read, GiB"),
        ("written_gib", "written, GiB"),
        ("map_peak_mib", "memory for keys at most, MiB"),
        ("resident_before_mib", "resident before, MiB"),
        ("resident_peak_mib", "resident at most, MiB"),
    ];
    let rows = TITLES.iter().filter_map(|(metric, title)| {
        let values = results.compaction.get(*metric)?;
        Some(vec![name(title), cell(stats::summary(values))])
    });
    Table { head: vec![String::new(), "skein".into()], rows: rows.collect() }
}

/// Starting and doing nothing, of each server.
pub(super) fn footprints(results: &Results) -> Table {
    const TITLES: [(&str, &str); 17] = [
        ("first_ack_ms", "start to the first acknowledged record, ms"),
        ("first_ack_empty_ms", "the same on an empty directory, with a new topic, ms"),
        ("recovery_ms", "the same after kill -9 with all partitions, ms"),
        ("idle_mib", "resident, idle, MiB"),
        ("idle_cpu_percent", "CPU, idle, % of a core"),
        ("many_idle_cpu_percent", "CPU, idle with all partitions, % of a core"),
        ("create_100_s", "making 100 partitions, s"),
        ("create_1000_s", "making 1,000 partitions, s"),
        ("create_10000_s", "making 10,000 partitions, s"),
        ("binary_mb", "the program, MB"),
        ("spread_device_bytes_per_byte", "device bytes a byte, 100 B over 10,000 partitions, drained"),
        ("spread_appends_per_group", "appends a group meanwhile"),
        ("spread_requests_per_second", "requests/s meanwhile"),
        ("spread_resident_before_mib", "resident before that load, MiB"),
        ("spread_resident_after_mib", "resident after it, at rest, MiB"),
        ("large_device_bytes_per_byte", "device bytes a byte, 1 MiB batches, drained"),
        ("large_requests_per_second", "requests/s meanwhile"),
    ];
    let footprints = &results.footprints;
    let mut head = vec![String::new()];
    head.extend(footprints.iter().map(|footprint| footprint.title.clone()));
    let is_pair = footprints.len() > 1;
    head.extend(is_pair.then(|| "×".to_owned()));
    let values = |footprint: &Footprint, metric: &str| footprint.metrics.get(metric).cloned();
    let mut rows = Vec::new();
    for (metric, title) in TITLES {
        let found: Vec<Option<Vec<f64>>> = footprints.iter().map(|footprint| values(footprint, metric)).collect();
        if found.iter().all(Option::is_none) {
            continue;
        }
        let mut cells = vec![name(title)];
        cells.extend(found.iter().map(|values| cell(values.as_deref().and_then(stats::summary))));
        if let [Some(ours), Some(theirs), ..] = &found[..] {
            cells.push(times(ours, theirs, metric.ends_with("requests_per_second")));
        }
        rows.push(cells);
    }
    for index in 0..footprints.first().map_or(0, |footprint| footprint.memory.len()) {
        let partitions = footprints[0].memory[index].0;
        let mut cells =
            vec![name(&format!("resident with {} partitions, MiB", number(f64::from(partitions)).replace(".00", "")))];
        let found: Vec<Option<f64>> =
            footprints.iter().map(|footprint| footprint.memory.get(index).map(|&(_, mib)| mib)).collect();
        cells.extend(found.iter().map(|mib| cell(mib.and_then(|mib| stats::summary(&[mib])))));
        if let [Some(ours), Some(theirs), ..] = found[..] {
            cells.push(times(&[ours], &[theirs], false));
        }
        rows.push(cells);
    }
    Table { head, rows }
}

/// What the disk does by itself.
pub(super) fn disk(results: &Results) -> Table {
    const TITLES: [(&str, &str); 7] = [
        ("sync_p50_us", "4 KiB over written blocks, direct, O_DSYNC: p50, µs"),
        ("sync_p99_us", "p99"),
        ("sync_max_us", "max"),
        ("mib_per_second", "the same in writes of 1 MiB, one at a time, MiB/s"),
        ("mib_per_second_4", "four at a time"),
        ("read_mib_per_second", "direct reads of 1 MiB in order, one at a time, MiB/s"),
        ("read_mib_per_second_4", "four at a time"),
    ];
    let rows = TITLES.iter().filter_map(|(metric, title)| {
        let values = results.disk.get(*metric)?;
        Some(vec![name(title), cell(stats::summary(values))])
    });
    Table { head: vec![String::new(), "the disk".into()], rows: rows.collect() }
}

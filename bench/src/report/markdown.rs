//! The report as `docs/performance.md`.

use std::fmt::Write as _;

use super::throughput::CASES;
use super::{Figures, Lane, Report};
use crate::stats::Summary;

/// What was aimed at first, as times the echo server's CPU for each request.
const AIM_TIMES_ECHO: f64 = 3.0;

const METHOD: &str = "\
The server has one shard on one CPU, the load another CPU: one thread that sleeps in its ring when it has nothing to
do, with batches that were encoded before (`bench/src/generator.rs`). 64 × 5 is 64 connections with 5 requests in flight on each. Every answer is
checked; one error ends the run, but for refusals for want of room, which clients try again: they are counted apart. Record batches are not compressed, go to 4 partitions, and are acknowledged by the
whole in-sync set. *Durable*: acknowledged when the device has it. *Cached*: acknowledged in memory. *Echo* is a server
on the same ring and the same pump that counts bytes and answers with as many as a broker does, in the same round of the
same run (`bench/src/echo.rs`): what the kernel costs. CPU is the time of all the server's threads in user and system
mode, as the kernel accounts it; a GiB is one of record batches. Work that the kernel does on behalf of the server on
other threads of its own is not in it.

Each figure is the median of the rounds, with the least and the greatest in parentheses. Absolute figures depend on
the machine; ratios within a run travel better.
";

const REASONS: &str = "\
What stands behind the aims that are missed:

- A durable group is one synced write, some 25 µs of CPU in the kernel however small it is. It is shared by all requests
  that came in while the last one was under way: with 64 × 5 by many, with 1 × 5 by five at the most.
- Batches below 256 KiB go through the journal: they are copied once more and written twice.
- The cached lane has a journal as well, written through the page cache.
";

pub(super) fn page(report: &Report, made: &str) -> String {
    let figures = &report.figures;
    let sections = [
        format!("# Performance\n\n{}\n\n{}", made.trim(), machine(report)),
        format!("## How it is measured\n\n{METHOD}"),
        format!("## First aims\n\n{}\n{REASONS}", aims(figures)),
        format!("## CPU for each request\n\n{}", requests(figures)),
        format!("## CPU for each GiB\n\n{}", bytes(figures)),
        format!("## Requests a second, and their latency under that load\n\n{}", rates(figures)),
        format!("## Time to an acknowledgement at 500 requests/s\n\n{}", latency(figures)),
        format!("## Device bytes for each byte of record batches\n\n{}", device(figures)),
        format!("## Start, and doing nothing\n\n{}", footprint(figures)),
    ];
    sections.map(|section| section.trim_end().to_owned() + "\n").join("\n")
}

fn machine(report: &Report) -> String {
    let facts: Vec<_> = report.facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{} rounds on: {}.", report.rounds, facts.join("; "))
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn head(cells: &[&str]) -> String {
    let names: Vec<String> = cells.iter().map(|&cell| cell.to_owned()).collect();
    row(&names) + &format!("|{}\n", "---|".repeat(cells.len()))
}

/// A figure with its spread.
fn cell(figures: &Figures, name: &str, decimals: usize) -> String {
    figures.summary(name).map_or("–".to_owned(), |Summary { min, median, max }| {
        format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
    })
}

fn aims(figures: &Figures) -> String {
    let mut text = head(&["what", "aim", "measured", "met"]);
    for case in &CASES {
        for lane in Lane::ALL {
            let name = format!("{}/{}", case.name, lane.name());
            let title = format!("{}, {}", case.title, lane.name());
            let times = format!("{name}/times_echo");
            aim(&mut text, figures, &format!("CPU for a request: {title}"), &times, AIM_TIMES_ECHO, "× echo");
            if let Some(most) = case.aim_s_per_gib {
                let per_gib = format!("{name}/cpu_s_per_gib");
                aim(&mut text, figures, &format!("CPU for a GiB: {title}"), &per_gib, most, "CPU-s/GiB");
            }
        }
    }
    aim(&mut text, figures, "exec to the first acknowledged record", "start/again/first_ack_ms", 50.0, "ms");
    aim(&mut text, figures, "the same on an empty directory", "start/fresh/first_ack_ms", 50.0, "ms");
    aim(&mut text, figures, "resident memory, idle", "idle/resident_mib", 20.0, "MiB");
    aim(&mut text, figures, "resident memory, 10,000 partitions", "many/resident_mib", 60.0, "MiB");
    aim(&mut text, figures, "CPU, idle", "idle/cpu_percent", 0.1, "% of a core");
    aim(&mut text, figures, "CPU, idle with 10,000 partitions", "many/cpu_percent", 0.1, "% of a core");
    text
}

fn aim(text: &mut String, figures: &Figures, what: &str, name: &str, most: f64, unit: &str) {
    let met = figures.summary(name).map_or("–", |summary| if summary.median <= most { "yes" } else { "no" });
    *text += &row(&[what.to_owned(), format!("≤ {most} {unit}"), cell(figures, name, 2), met.to_owned()]);
}

fn requests(figures: &Figures) -> String {
    let mut text = head(&["µs of CPU", "echo", "durable", "× echo", "cached", "× echo"]);
    for case in &CASES {
        let of = |server: &str, what: &str| cell(figures, &format!("{}/{server}/{what}", case.name), 2);
        text += &row(&[
            case.title.to_owned(),
            of("echo", "cpu_us_per_request"),
            of("durable", "cpu_us_per_request"),
            of("durable", "times_echo"),
            of("cached", "cpu_us_per_request"),
            of("cached", "times_echo"),
        ]);
    }
    text
}

fn bytes(figures: &Figures) -> String {
    let mut text = head(&["CPU-s/GiB", "echo", "durable", "cached"]);
    for case in CASES.iter().filter(|case| case.aim_s_per_gib.is_some()) {
        let of = |server: &str| cell(figures, &format!("{}/{server}/cpu_s_per_gib", case.name), 3);
        text += &row(&[case.title.to_owned(), of("echo"), of("durable"), of("cached")]);
    }
    let share = figures.summary("fetch/from_disk_share").map_or(0.0, |share| share.median * 100.0);
    let _ = write!(
        text,
        "\nFetching what was written last, 1 MiB at a time on 4 connections: {} CPU-s/GiB at {} GiB/s; {share:.0} % of \
         it came from the disk.\n",
        cell(figures, "fetch/cpu_s_per_gib", 3),
        cell(figures, "fetch/gib_per_second", 2)
    );
    text
}

fn rates(figures: &Figures) -> String {
    let mut text =
        head(&["", "echo, 1/s", "durable, 1/s", "cached, 1/s", "durable p50, µs", "durable p99, µs", "refused, %"]);
    for case in &CASES {
        let of = |server: &str, what: &str| cell(figures, &format!("{}/{server}/{what}", case.name), 0);
        text += &row(&[
            case.title.to_owned(),
            of("echo", "requests_per_second"),
            of("durable", "requests_per_second"),
            of("cached", "requests_per_second"),
            of("durable", "p50_us"),
            of("durable", "p99_us"),
            of("durable", "refused_percent"),
        ]);
    }
    text
}

fn latency(figures: &Figures) -> String {
    let mut text = head(&["µs", "p50", "p99"]);
    let rows = [
        ("durable acknowledgement of one 100 B record", "durable"),
        ("the disk's own sync: 4 KiB over written blocks of a file, direct, O_DSYNC", "disk"),
        ("cached acknowledgement", "cached"),
        ("echo", "echo"),
    ];
    for (title, name) in rows {
        let of = |what: &str| cell(figures, &format!("latency/{name}/{what}"), 0);
        text += &row(&[title.to_owned(), of("p50_us"), of("p99_us")]);
    }
    text + "\nOpen loop: latency counts from when a request was due.\n"
}

fn device(figures: &Figures) -> String {
    let mut text = head(&["", "written by the node", "written to the device"]);
    for (title, name) in [("16 KiB batches", "16k"), ("1 MiB batches", "1m")] {
        let of = |what: &str| cell(figures, &format!("device/{name}/{what}"), 2);
        text += &row(&[title.to_owned(), of("node_bytes_per_byte"), of("all_bytes_per_byte")]);
    }
    text + "\nBefore the load until the device is calm again. *By the node*: what the kernel accounts to its process, \
            before it is stopped. *To the device*: all that the device was told to write until after a clean stop; the \
            file system's own writes are in it, and those of everybody else on the machine.\n"
}

fn footprint(figures: &Figures) -> String {
    let mut text = head(&["", "ready line, ms", "first acknowledged record, ms"]);
    let starts = [
        ("on data that is there", "again"),
        ("on an empty directory, with a new topic", "fresh"),
        ("with 10,000 partitions, after kill -9", "many-killed"),
    ];
    for (title, name) in starts {
        let of = |what: &str| cell(figures, &format!("start/{name}/{what}"), 0);
        text += &row(&[title.to_owned(), of("ready_ms"), of("first_ack_ms")]);
    }
    text += "\n";
    text += &head(&["doing nothing", "resident, MiB", "CPU, % of a core"]);
    for (title, name) in [("one partition", "idle"), ("10,000 partitions", "many")] {
        let of = |what: &str, decimals| cell(figures, &format!("{name}/{what}"), decimals);
        text += &row(&[title.to_owned(), of("resident_mib", 1), of("cpu_percent", 3)]);
    }
    text + &format!("\nMaking the 10,000 partitions (10 topics) took {} s.\n", cell(figures, "many/create_s", 2))
}

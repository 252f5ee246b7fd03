//! The comparison as one HTML file: no scripts, no fonts, no images but the plots in it.

use super::plot::{Line, Plot, Scale};
use super::table::{self, Cell, Table};
use crate::compare::{self, ECHO, Results, ScenarioResults, Series};
use crate::diff::number;

const STYLE: &str = include_str!("style.css");

/// The colours of the contestants, in order, and that of the floor.
const COLORS: [(&str, (u8, u8, u8)); 4] = [
    ("skein-durable", (13, 110, 120)),
    ("skein-cached", (94, 190, 196)),
    ("kafka-durable", (190, 60, 20)),
    ("kafka-default", (240, 160, 50)),
];
const FLOOR: (u8, u8, u8) = (130, 140, 155);
const OTHERS: [(u8, u8, u8); 3] = [(105, 80, 190), (60, 150, 70), (180, 60, 140)];

/// The colours of loads that are no contestants, by their places.
const VARIANTS: [(u8, u8, u8); 8] = [
    (37, 99, 160),
    (178, 186, 198),
    (105, 80, 190),
    (216, 150, 60),
    (60, 150, 70),
    (180, 60, 140),
    (120, 170, 220),
    (150, 110, 70),
];

/// The page.
#[must_use]
pub fn html(results: &Results) -> String {
    let mut body = header(results);
    let targets = compare::targets(results);
    body += &format!("<section><h2>Targets</h2><p>{}</p>", escaped(&table::verdict(&targets)));
    body += &of(&table::targets(&targets), "targets");
    body += "</section>";
    let overview = table::overview(results);
    if !overview.rows.is_empty() {
        body += "<section><h2>Overview</h2><p>How many times better skein is, by lane: the ratio of medians, and its \
                 interval of 95 % confidence. Below 1 it is worse.</p>";
        body += &of(&overview, "overview");
        body += "</section>";
    }
    for found in &results.scenarios {
        body += &scenario(results, found);
    }
    for sweep in &results.sweeps {
        body += &format!("<section><h2>{}</h2><p>{}</p>", escaped(&sweep.title), escaped(&sweep.what));
        let ids: Vec<&str> = sweep.sweeps.iter().map(|each| each.id.as_str()).collect();
        let line = |y: fn(&crate::compare::Step) -> f64| {
            sweep.sweeps.iter().map(move |each| Line {
                color: color(results, &each.id),
                points: each.steps.iter().map(|step| (step.per_second, y(step))).collect(),
                has_marks: true,
            })
        };
        let plot = |name, y, scale, of: fn(&crate::compare::Step) -> f64| {
            figure(name, &Plot { x: (Scale::Log, "records/s"), y: (scale, y), lines: line(of).collect() })
        };
        body += &legend(results, &ids);
        body += "<div class=plots>";
        body += &plot("Median", "p50", Scale::LogMicroseconds, |step| step.p50_us);
        body += &plot("99th percentile", "p99", Scale::LogMicroseconds, |step| step.p99_us);
        body += &plot("Broker CPU a request", "µs", Scale::LogMicroseconds, |step| step.cpu_us);
        body += "</div></section>";
    }
    body += &footprints(results);
    for (title, table) in [("Compaction", table::compaction(results)), ("The disk by itself", table::disk(results))] {
        if !table.rows.is_empty() {
            body += &format!("<section><h2>{title}</h2>{}</section>", of(&table, "figures"));
        }
    }
    if !results.failures.is_empty() {
        body += "<section><h2>What failed</h2><ul>";
        results.failures.iter().for_each(|failure| body += &format!("<li>{}</li>", escaped(failure)));
        body += "</ul></section>";
    }
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>skein side by side</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
}

fn header(results: &Results) -> String {
    let mut text = format!("<header><h1>Side by side</h1><p class=made>{}</p><dl>", escaped(&results.made));
    let counted = [
        ("rounds".to_owned(), results.pairs.to_string()),
        ("runs thrown away for stolen CPU".to_owned(), results.thrown_away.to_string()),
        ("took".to_owned(), format!("{:.0} min", results.took_s / 60.0)),
    ];
    let other = results.other_work_percent();
    let other =
        other.map(|percent| ("other work of the machine".to_owned(), format!("{} % of a CPU", number(percent))));
    for (name, value) in results.facts.iter().chain(&counted).chain(&other) {
        text += &format!("<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(value));
    }
    text + "</dl></header>"
}

fn scenario(results: &Results, found: &ScenarioResults) -> String {
    let mut text = format!("<section><h2>{}</h2><p>{}</p>", escaped(&found.title), escaped(&found.what));
    let names = found.series.iter().map(|series| (series.id.as_str(), series.title(results)));
    text += &named_legend(names, results, &found.series);
    text += "<div class=plots>";
    if found.series.iter().any(|series| !series.curve.is_empty()) {
        let what = if found.workload.contains("check = true") { "End to end" } else { "Time to the acknowledgement" };
        text += &figure(what, &curves(results, found));
    }
    text += &bars(results, found);
    if found.series.iter().any(|series| series.timeline.len() > 1) {
        text += &timelines(results, found);
    }
    text += "</div>";
    text += &of(&table::scenario(results, found), "");
    text += &format!(
        "<details><summary>The workload, for <code>skein bench load</code></summary><pre>{}</pre></details></section>",
        escaped(&found.workload)
    );
    text
}

fn curves(results: &Results, found: &ScenarioResults) -> Plot {
    let line = |series: &Series| Line {
        color: color_in(results, found, &series.id),
        points: series.curve.clone(),
        has_marks: false,
    };
    Plot {
        x: (Scale::Percentile, "percentile"),
        y: (Scale::LogMicroseconds, "latency"),
        lines: found.series.iter().map(line).collect(),
    }
}

/// The seconds of the first run: what was read where nothing was written, else requests.
fn timelines(results: &Results, found: &ScenarioResults) -> String {
    let is_written = found.series.iter().any(|series| series.timeline.iter().any(|point| point.requests > 0));
    let is_paced = found.workload.contains("records_per_second");
    let line = |series: &Series| {
        let points = series.timeline.iter().enumerate().map(|(second, point)| {
            let value = match (is_written, is_paced) {
                (false, _) => point.read_mib,
                (true, true) => point.p99_us,
                (true, false) => point.requests as f64,
            };
            (second as f64, value)
        });
        Line { color: color_in(results, found, &series.id), points: points.collect(), has_marks: true }
    };
    let (title, y) = match (is_written, is_paced) {
        (false, _) => ("MiB read, second by second", (Scale::Log, "MiB/s")),
        (true, true) => ("99th percentile, second by second", (Scale::LogMicroseconds, "p99")),
        (true, false) => ("Requests, second by second", (Scale::Log, "requests/s")),
    };
    let lines = found.series.iter().map(line).collect();
    figure(title, &Plot { x: (Scale::Linear, "second of the first run"), y, lines })
}

/// CPU by request or byte, as bars.
fn bars(results: &Results, found: &ScenarioResults) -> String {
    const KINDS: [(&str, &str); 3] = [
        ("read_cpu_s_per_gib", "Broker CPU, s a GiB read"),
        ("cpu_s_per_gib", "Broker CPU, s a GiB written"),
        ("cpu_us_per_request", "Broker CPU, µs a request"),
    ];
    let has_bytes = found.name.starts_with("batch");
    let wanted = |metric: &str| metric == "read_cpu_s_per_gib" || (metric == "cpu_s_per_gib") == has_bytes;
    let mut text = String::new();
    for (metric, title) in KINDS.iter().filter(|(metric, _)| wanted(metric)) {
        let values: Vec<(&Series, f64)> =
            found.series.iter().filter_map(|series| Some((series, series.median(metric)?))).collect();
        let largest = values.iter().map(|&(_, value)| value).fold(0.0, f64::max);
        if values.is_empty() || largest <= 0.0 {
            continue;
        }
        text += &format!("<figure><figcaption>{title}</figcaption><div class=bars>");
        for (series, value) in values {
            let (red, green, blue) = color_in(results, found, &series.id);
            text += &format!(
                "<span>{}</span><span class=bar><i style='width:{:.1}%;background:rgb({red},{green},{blue})'></i></span>\
                 <b>{}</b>",
                escaped(series.title(results)),
                (100.0 * value / largest).max(0.4),
                number(value)
            );
        }
        text += "</div></figure>";
    }
    text
}

fn footprints(results: &Results) -> String {
    if results.footprints.is_empty() {
        return String::new();
    }
    let ids: Vec<&str> = results.footprints.iter().map(|footprint| footprint.id.as_str()).collect();
    let line = |footprint: &crate::compare::Footprint| Line {
        color: color(results, &footprint.id),
        points: footprint.memory.iter().map(|&(partitions, mib)| (f64::from(partitions), mib)).collect(),
        has_marks: true,
    };
    let plot = Plot {
        x: (Scale::Log, "partitions"),
        y: (Scale::Log, "resident, MiB"),
        lines: results.footprints.iter().map(line).collect(),
    };
    let mut text = "<section><h2>Starting, recovering, doing nothing</h2>".to_owned();
    text += &named_legend(ids.iter().map(|id| (*id, *id)), results, &[]);
    text += &format!("<div class=plots>{}</div>", figure("Memory against partitions", &plot));
    text += &of(&table::footprints(results), "");
    text + "</section>"
}

fn figure(caption: &str, plot: &Plot) -> String {
    format!("<figure><figcaption>{}</figcaption>{}</figure>", escaped(caption), plot.svg())
}

fn legend(results: &Results, ids: &[&str]) -> String {
    named_legend(ids.iter().map(|id| (*id, results.title(id))), results, &[])
}

fn named_legend<'a>(names: impl Iterator<Item = (&'a str, &'a str)>, results: &Results, series: &[Series]) -> String {
    let entry = |(id, title): (&str, &str)| {
        let (red, green, blue) = color_among(results, series, id);
        format!("<li><i style='background:rgb({red},{green},{blue})'></i>{}</li>", escaped(title))
    };
    format!("<ul class=legend>{}</ul>", names.map(entry).collect::<String>())
}

fn color_in(results: &Results, found: &ScenarioResults, id: &str) -> (u8, u8, u8) {
    color_among(results, &found.series, id)
}

/// A contestant has its colour wherever it is; a load of its own has one that follows from its place.
fn color_among(results: &Results, series: &[Series], id: &str) -> (u8, u8, u8) {
    let is_known = |id: &str| id == ECHO || results.contestants.iter().any(|(known, _)| known == id);
    let mut own = series.iter().map(|series| series.id.as_str()).filter(|&id| !is_known(id));
    match own.position(|own| own == id) {
        Some(place) => VARIANTS[place % VARIANTS.len()],
        None => color(results, id),
    }
}

fn color(results: &Results, id: &str) -> (u8, u8, u8) {
    // A server as a whole has the colour of its first contestant.
    let known = COLORS.iter().find(|(known, _)| *known == id || known.split('-').next() == Some(id));
    if let Some((_, color)) = known {
        return *color;
    }
    let others = results.contestants.iter().filter(|(id, _)| COLORS.iter().all(|(known, _)| known != id));
    let index = others.map(|(id, _)| id).position(|known| known == id);
    index.map_or(FLOOR, |index| OTHERS[index % OTHERS.len()])
}

fn of(table: &Table, class: &str) -> String {
    let mut text = format!("<div class=scroll><table class='{class}'><thead><tr>");
    table.head.iter().for_each(|title| text += &format!("<th>{}</th>", escaped(title)));
    text += "</tr></thead><tbody>";
    for row in &table.rows {
        if let [heading] = &row[..] {
            text += &format!("<tr class=group><td colspan={}>{}</td></tr>", table.head.len(), escaped(&heading.text));
            continue;
        }
        text += "<tr>";
        row.iter().for_each(|cell| text += &cell_html(cell));
        text += "</tr>";
    }
    text + "</tbody></table></div>"
}

fn cell_html(cell: &Cell) -> String {
    let class = match cell.is_better {
        Some(true) => " class=better",
        Some(false) => " class=worse",
        None => "",
    };
    let detail =
        if cell.detail.is_empty() { String::new() } else { format!("<small>{}</small>", escaped(&cell.detail)) };
    format!("<td{class}>{}{detail}</td>", escaped(&cell.text))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Contestant;

    #[test]
    fn a_page_needs_no_other_file_and_shows_what_is_not_there_as_nothing() {
        let contestants = Contestant::all(true, &["other".to_owned()]);
        let mut results = Results::new("Made by <a test>.".into(), Vec::new(), &contestants, 1);
        results.scenarios.push(ScenarioResults {
            name: "single".into(),
            title: "One".into(),
            ..ScenarioResults::default()
        });
        let page = html(&results);
        assert!(page.contains("Made by &lt;a test&gt;.") && page.contains("<h2>One</h2>"));
        assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("url("));
        assert_eq!(color(&results, "other"), OTHERS[0]);
        assert_eq!(color(&results, "echo"), FLOOR);
        assert_eq!(color(&results, "kafka"), COLORS[2].1);
    }
}

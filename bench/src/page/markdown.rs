//! The comparison as Markdown.

use super::table::{self, Cell, Table};
use crate::compare::{self, Results};
use crate::diff::number;

/// The page.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut page = format!("# Side by side\n\n{}\n\n", results.made);
    for (name, value) in &results.facts {
        page += &format!("- {name}: {value}\n");
    }
    page += &format!("- rounds: {}, runs thrown away for stolen CPU: {}\n", results.pairs, results.thrown_away);
    if let Some(percent) = results.other_work_percent() {
        page += &format!("- other work of the machine, as the median over all runs: {} % of a CPU\n", number(percent));
    }
    page += &format!("- took: {:.0} minutes\n\n", results.took_s / 60.0);
    page += "Medians, with the least and the greatest in parentheses; factors above 1 are in skein's favour, with their interval of 95 % confidence.\n\n";
    let targets = compare::targets(results);
    page += &format!("## Targets\n\n{}\n\n", table::verdict(&targets));
    page += &of(&table::targets(&targets));
    page += "\n## Overview\n\n";
    page += &of(&table::overview(results));
    for scenario in &results.scenarios {
        page += &format!("\n## {}\n\n{}\n\n", scenario.title, scenario.what);
        page += &of(&table::scenario(results, scenario));
    }
    for sweep in &results.sweeps {
        page += &format!("\n## {}\n\n{}\n\n", sweep.title, sweep.what);
        page += "| | records/s | p50, µs | p99, µs | CPU a request, µs |\n|---|---|---|---|---|\n";
        for each in &sweep.sweeps {
            for step in &each.steps {
                page += &format!(
                    "| {} | {:.0} | {:.0} | {:.0} | {:.2} |\n",
                    results.title(&each.id),
                    step.per_second,
                    step.p50_us,
                    step.p99_us,
                    step.cpu_us
                );
            }
        }
    }
    let rest = [
        ("Starting, recovering, doing nothing", table::footprints(results)),
        ("Compaction", table::compaction(results)),
        ("The disk by itself", table::disk(results)),
    ];
    for (title, table) in rest.iter().filter(|(_, table)| !table.rows.is_empty()) {
        page += &format!("\n## {title}\n\n{}", of(table));
    }
    if !results.failures.is_empty() {
        page += "\n## What failed\n\n";
        results.failures.iter().for_each(|failure| page += &format!("- {failure}\n"));
    }
    page
}

fn of(table: &Table) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&table.head);
    text += &line(&vec!["---".to_owned(); table.head.len()]);
    for row in &table.rows {
        let mut cells: Vec<_> = row.iter().map(figure).collect();
        if let [heading] = &mut cells[..] {
            *heading = format!("**{heading}**");
        }
        cells.resize(table.head.len(), String::new());
        text += &line(&cells);
    }
    text
}

fn figure(cell: &Cell) -> String {
    if cell.detail.is_empty() { cell.text.clone() } else { format!("{} ({})", cell.text, cell.detail) }
}

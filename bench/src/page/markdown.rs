//! The comparison as Markdown.

use super::table::{self, Cell, Table};
use crate::compare::Results;

/// The page.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut page = format!("# Side by side\n\n{}\n\n", results.made);
    for (name, value) in &results.facts {
        page += &format!("- {name}: {value}\n");
    }
    page += &format!("- rounds: {}, runs thrown away for stolen CPU: {}\n\n", results.pairs, results.thrown_away);
    page += "Medians, with the least and the greatest in parentheses; factors above 1 are in skein's favour, with their interval of 95 % confidence.\n\n";
    page += "## Overview\n\n";
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
    page += "\n## Starting, recovering, doing nothing\n\n";
    page += &of(&table::footprints(results));
    page += "\n## The disk by itself\n\n";
    page += &of(&table::disk(results));
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
        text += &line(&row.iter().map(figure).collect::<Vec<_>>());
    }
    text
}

fn figure(cell: &Cell) -> String {
    if cell.detail.is_empty() { cell.text.clone() } else { format!("{} ({})", cell.text, cell.detail) }
}

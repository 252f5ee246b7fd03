//! Tables and JSON on standard output.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

use super::failure::Outcome;

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The option `--output`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct OutputArgs {
    /// Form of the result
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub(super) output: Output,
}

/// Prints a text; a line end is added.
pub(super) fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints a JSON document.
pub(super) fn print_json(value: &Value) -> Outcome {
    print(&format!("{value:#}"))
}

/// What a command has done, one thing after another: a sentence each as it is done, or one JSON array at the end.
#[derive(Debug)]
pub(super) struct Done {
    output: Output,
    documents: Vec<Value>,
}

impl Done {
    /// Nothing so far.
    pub(super) fn new(args: OutputArgs) -> Self {
        Self { output: args.output, documents: Vec::new() }
    }

    /// Something was done.
    pub(super) fn tell(&mut self, sentence: &str, document: Value) -> Outcome {
        match self.output {
            Output::Text => print(sentence),
            Output::Json => {
                self.documents.push(document);
                Ok(())
            }
        }
    }

    /// The end, which may be a failure: what was done before is told all the same.
    pub(super) fn finish(self, outcome: Outcome) -> Outcome {
        if self.output == Output::Json {
            print_json(&Value::Array(self.documents))?;
        }
        outcome
    }
}

/// Lays out rows under headings. Columns whose heading starts with `>` are numbers, aligned to the right.
pub(super) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|heading| Cell::new(heading.trim_start_matches('>'))));
    for row in rows {
        table.add_row(row);
    }
    for (index, heading) in headings.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if heading.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// `1 partition`, `2 partitions`.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number as u64), if number == 1 { "" } else { "s" })
}

/// The number with a comma between each three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Numbers separated by commas, `-` for none.
pub(super) fn list(numbers: &[i32]) -> String {
    match numbers {
        [] => "-".to_owned(),
        numbers => numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_have_no_trailing_blanks() {
        let rows = vec![vec!["orders".to_owned(), "3".to_owned()], vec!["x".to_owned(), "12".to_owned()]];
        assert_eq!(table(&["NAME", ">PARTITIONS"], rows), "NAME    PARTITIONS\norders           3\nx               12");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!((count(1, "line"), count(2, "line")), ("1 line".to_owned(), "2 lines".to_owned()));
    }
}

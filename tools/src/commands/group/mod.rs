mod describe;
mod partitions;
mod remove;
mod reset;

use clap::Subcommand;
use serde_json::json;

use super::connect::Connect;
use super::failure::{Failure, Outcome};
use super::output::{Output, OutputArgs, print, print_json, table};
use crate::client::{Cluster, admin, nearest};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List groups
    #[command(after_help = "\
Examples:
  skein group list
  skein group list --state empty
  skein group list --state stable --type classic --output json")]
    List(ListArgs),
    /// Show members, partitions, committed offsets, ends and lags of groups, in records and in time
    #[command(after_help = "\
Examples:
  skein group describe billing
  skein group describe billing --output json | jq '[.[0].partitions[].lag] | add'

BEHIND is the age of the oldest record that the group has not consumed. It is known also for groups without members.")]
    Describe(describe::Args),
    /// Set the offsets that a group without members starts from
    #[command(after_help = "\
Examples:
  skein group reset billing --to-earliest --topic orders --dry-run
  skein group reset billing --to-offset 4711 --topic orders:3
  skein group reset billing --shift-by -100 --topic orders:0,1 --topic payments
  skein group reset billing --to-datetime 2026-11-21T13:00:00Z --all-topics
  skein group reset billing --by-duration PT2H30M --all-topics
  skein group reset billing --from-file offsets.csv

A file has a line TOPIC,PARTITION,OFFSET for each partition; `--dry-run --output csv` writes such a file. Offsets outside
a partition become its first or its end. Nothing is changed while the group has members.")]
    Reset(reset::Args),
    /// Delete groups that have no members, with their offsets
    #[command(after_help = "Examples:\n  skein group delete billing\n  skein group delete old older --if-exists")]
    Delete(remove::DeleteArgs),
    /// Delete committed offsets of topics that no member reads
    #[command(after_help = "\
Examples:
  skein group delete-offsets billing --topic orders
  skein group delete-offsets billing --topic orders:0,1 --topic payments:2
  skein group delete-offsets billing --all-topics")]
    DeleteOffsets(remove::DeleteOffsetsArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only groups in this state: stable, empty, preparingrebalance, completingrebalance, dead; repeat for several
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,

    /// Only groups of this type: classic, consumer, share, streams; repeat for several
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    kind: Vec<String>,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(command: Command) -> Outcome {
    match command {
        Command::List(args) => list(&args),
        Command::Describe(args) => describe::run(&args),
        Command::Reset(args) => reset::run(&args),
        Command::Delete(args) => remove::delete(&args),
        Command::DeleteOffsets(args) => remove::delete_offsets(&args),
    }
}

fn list(args: &ListArgs) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let mut groups = admin::groups(&mut cluster)?;
    groups.retain(|group| is_among(&args.state, group.state.as_deref()) && is_among(&args.kind, group.kind.as_deref()));
    if args.output.output == Output::Json {
        let groups: Vec<_> = groups
            .iter()
            .map(|g| json!({"group": g.id, "state": g.state, "protocol_type": g.protocol_type, "type": g.kind}))
            .collect();
        return print_json(&json!(groups));
    }
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let rows = groups
        .into_iter()
        .map(|group| vec![group.id, or_dash(group.state), or_dash(group.kind), or_dash(Some(group.protocol_type))])
        .collect();
    print(&table(&["GROUP", "STATE", "TYPE", "PROTOCOL"], rows))
}

/// Whether a filter lets this pass. What a broker does not say passes none.
fn is_among(filter: &[String], said: Option<&str>) -> bool {
    let letters = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    filter.is_empty() || said.is_some_and(|said| filter.iter().any(|wanted| letters(wanted) == letters(said)))
}

fn no_group(cluster: &mut Cluster, name: &str) -> Failure {
    let existing = admin::groups(cluster).unwrap_or_default();
    let similar = nearest::names(name, existing.iter().map(|group| group.id.as_str()));
    let remedy = match similar.as_slice() {
        [] => "`skein group list` shows what there is".to_owned(),
        similar => format!("did you mean {}?", similar.join(", ")),
    };
    Failure::with_remedy(format!("there is no group {name:?}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::is_among;

    #[test]
    fn filters_are_compared_without_regard_to_case_and_dashes() {
        let filter = ["preparing-rebalance".to_owned(), "Empty".to_owned()];
        assert!(is_among(&filter, Some("PreparingRebalance")) && is_among(&filter, Some("Empty")));
        assert!(!is_among(&filter, Some("Stable")) && !is_among(&filter, None));
        assert!(is_among(&[], None));
    }
}

//! `skein log repair`: what can be done about damaged segments of a stopped node.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use storage::disk::Directory;
use storage::recovery::{Finding, IDENTITY_FILE, IndexFinding, Recovered, Remedy, identify, recover};
use storage::store;

use crate::commands::failure::{Failure, Outcome};
use crate::commands::output::{Output, OutputArgs, count, grouped, print_json};
use crate::commands::progress::Progress;

#[derive(Debug, clap::Args)]
pub(in crate::commands) struct RepairArgs {
    /// The data directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Do it; without this option nothing is changed
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,

    /// Only say what could be done, which is what happens without --yes
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn repair(args: &RepairArgs) -> Outcome {
    let root = &args.directory;
    if !root.join(IDENTITY_FILE).is_file() {
        return Err(Failure::with_remedy(
            format!("{} is not a skein data directory", root.display()),
            "name the directory that the node was started with (--data)",
        ));
    }
    let disk = Directory::open(root).map_err(failed)?;
    let identity = identify(&disk).map_err(failed)?.expect("its file is there");
    let mut recovered = recover(&disk, &identity).map_err(failed)?;
    let progress = Progress::new(None);
    let mut done = 0;
    let findings = recovered.examine(|file, bytes| {
        done += bytes;
        progress.update(done, &file.display().to_string());
    });
    progress.finish();
    let findings = findings.map_err(failed)?;
    let mut documents = Vec::new();
    for finding in &findings {
        let kept = if args.yes { recovered.repair(finding).map_err(failed)? } else { None };
        match args.output.output {
            Output::Text => tell(disk.root(), finding, kept.as_deref())?,
            Output::Json => documents.push(to_json(finding, kept.as_deref())),
        }
    }
    let mut indexes_left = 0;
    let indexes = recovered.examine_indexes();
    for finding in &indexes {
        let rebuilt = args.yes.then(|| recovered.rebuild_index(finding).map_err(|error| error.to_string()));
        indexes_left += usize::from(!matches!(rebuilt, Some(Ok(()))));
        match args.output.output {
            Output::Text => tell_index(disk.root(), finding, rebuilt.as_ref())?,
            Output::Json => documents.push(index_to_json(finding, rebuilt.as_ref())),
        }
    }
    if args.output.output == Output::Json {
        print_json(&Value::Array(documents))?;
    }
    let concluded = conclude(args, &recovered, &findings, indexes_left, indexes.len());
    if args.yes && indexes_left < indexes.len() {
        // As a start does it: the indexes are written, and then a checkpoint that knows them.
        recovered.into_stores(1, |_| 0, &store::Options::default()).map_err(failed)?;
    }
    concluded
}

fn tell_index(root: &Path, finding: &IndexFinding, rebuilt: Option<&Result<(), String>>) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {}", root.join(&finding.file).display(), finding.reason)?;
    match rebuilt {
        None => writeln!(out, "  can be repaired: it is made anew from its segment, and nothing is lost")?,
        Some(Ok(())) => writeln!(out, "  repaired: it was made anew from its segment; nothing is lost")?,
        Some(Err(why)) => writeln!(out, "  cannot be made anew: {why}")?,
    }
    Ok(())
}

fn index_to_json(finding: &IndexFinding, rebuilt: Option<&Result<(), String>>) -> Value {
    let remedy = match rebuilt {
        Some(Err(why)) => json!({"kind": "none", "reason": why}),
        _ => json!({"kind": "rebuild"}),
    };
    json!({"file": finding.file.display().to_string(), "reason": finding.reason, "remedy": remedy})
}

fn failed(error: storage::Error) -> Failure {
    Failure::failed(error.to_string())
}

fn lost(finding: &Finding) -> String {
    let (from, end) = finding.offsets;
    if end - from == 1 { format!("offset {from}") } else { format!("offsets {from}..{}", end - 1) }
}

fn tell(root: &Path, finding: &Finding, kept: Option<&Path>) -> Outcome {
    let mut out = io::stdout().lock();
    let Finding { file, position, bytes, damage, .. } = finding;
    let lost = lost(finding);
    writeln!(out, "{}: position {position}, {} bytes, {lost}: {damage}", root.join(file).display(), grouped(*bytes))?;
    match (&finding.remedy, kept) {
        (Remedy::None(why), _) => writeln!(out, "  cannot be repaired: {why}; restore the file from a copy")?,
        (Remedy::Replace(_), None) => writeln!(
            out,
            "  can be repaired: a marker takes its place, consumers pass over {lost}, and the damaged bytes are kept aside"
        )?,
        (Remedy::Replace(_), Some(kept)) => {
            writeln!(
                out,
                "  repaired: consumers pass over {lost}; the damaged bytes are in {}",
                root.join(kept).display()
            )?;
        }
    }
    Ok(())
}

fn to_json(finding: &Finding, kept: Option<&Path>) -> Value {
    let remedy = match &finding.remedy {
        Remedy::Replace(_) => json!({"kind": "replace"}),
        Remedy::None(why) => json!({"kind": "none", "reason": why}),
    };
    json!({
        "file": finding.file.display().to_string(), "position": finding.position, "bytes": finding.bytes,
        "first_offset": finding.offsets.0, "last_offset": finding.offsets.1 - 1,
        "reason": finding.damage.to_string(), "remedy": remedy, "kept": kept.map(|kept| kept.display().to_string()),
    })
}

/// What the person should know at the end. Damage that is still there is a failure.
fn conclude(
    args: &RepairArgs,
    recovered: &Recovered<'_>,
    findings: &[Finding],
    indexes_left: usize,
    indexes: usize,
) -> Outcome {
    let is_text = args.output.output == Output::Text;
    if findings.is_empty() && indexes == 0 {
        if is_text {
            let logs = count(recovered.logs().len(), "log");
            writeln!(io::stdout(), "nothing is damaged in {logs} of {}", args.directory.display())?;
        }
        return Ok(());
    }
    let repairable = findings.iter().filter(|finding| matches!(finding.remedy, Remedy::Replace(_))).count();
    let left = indexes_left + if args.yes { findings.len() - repairable } else { findings.len() };
    if left == 0 {
        return Ok(());
    }
    let what = format!("{} of {} damaged", count(left, "place"), args.directory.display());
    Err(if args.yes || repairable + indexes == 0 {
        Failure::with_remedy(what, "restore the files from a copy")
    } else {
        Failure::with_remedy(
            what,
            "restore the files from a copy, which loses nothing; without one, repair what can be repaired: the same command with --yes",
        )
    })
}

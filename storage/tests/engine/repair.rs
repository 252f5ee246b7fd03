//! Damaged segments of a stopped node are repaired without losing what can be read.

use std::fs;
use std::path::Path;

use storage::batch::batches;
use storage::disk::Directory;
use storage::recovery::{Finding, Remedy, recover};
use storage::store::{Read, ReadRequest, ReaderId};
use storage::{LogConfig, LogId};

use crate::damage::{first_segment, flip, offsets_lost, stored};
use crate::node::{Node, START_MS, batch, identity, options};

/// Looks for damage, and repairs it if that is wanted.
fn repair(root: &Path, is_wanted: bool) -> Vec<Finding> {
    let directory = Directory::open(root).expect("nobody uses it");
    let recovered = recover(&directory, &identity()).expect("sound journals");
    let findings = recovered.examine(|_, _| {}).expect("readable");
    for finding in findings.iter().filter(|_| is_wanted) {
        let kept = recovered.repair(finding).expect("writable").expect("there is a remedy");
        let kept = fs::read(root.join(kept)).expect("kept aside");
        assert!(kept.len() as u64 <= finding.bytes);
    }
    findings
}

fn restarted(root: &Path) -> Node {
    let mut node = Node::start(root, 1);
    node.attach(1, LogConfig { retention_ms: None, ..LogConfig::default() });
    node
}

#[test]
fn what_is_repaired_can_be_passed_over_and_everything_else_is_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path();
    let size = batch(1, 1000, START_MS).len();
    stored(root, 1500, 1000).stop();
    let path = first_segment(root);
    assert_eq!(repair(root, false), [], "nothing is wrong");
    for (at, byte) in [(7, 300), (8, 16), (120, 9), (500, 2)] {
        flip(&path, at * size + byte);
    }
    let mut damaged = fs::read(&path).expect("readable");
    // Over several entries of the index.
    damaged[size * 300 + 10..size * 480 - 20].fill(0xaa);
    fs::write(&path, &damaged).expect("writable");

    let findings = repair(root, false);
    let offsets: Vec<_> = findings.iter().map(|finding| finding.offsets).collect();
    assert_eq!(offsets, [(7, 9), (120, 121), (300, 480), (500, 501)]);
    assert!(matches!(&findings[2].remedy, Remedy::Replace(fillers) if fillers.len() > 1), "{:?}", findings[2]);
    assert_eq!(fs::read(&path).expect("readable"), damaged, "nothing was changed");
    assert_eq!(repair(root, true).len(), 4);
    assert_eq!(repair(root, false), [], "nothing is wrong any more");
    let kept = fs::read(root.join(format!("damaged/topic-0.1/00000000000000000000.log.{}", 120 * size)));
    assert_eq!(kept.expect("kept aside"), damaged[120 * size..121 * size]);

    let mut node = restarted(root);
    assert_eq!(offsets_lost(&mut node, 1500, 30_000), [0; 0], "every offset is passed over");
    assert_eq!(node.stores[0].metrics(0).damage.found, 0);
    let slot = node.stores[0].slot_of(LogId(1)).expect("attached");
    let bytes = node.read_all((0, slot), 0);
    let mut offsets = Vec::new();
    for batch in batches(&bytes).map(|batch| batch.expect("whole")) {
        if !batch.attributes().is_control() {
            offsets.push(batch.base_offset());
        }
    }
    let lost = |offset: &i64| matches!(offset, 7 | 8 | 120 | 300..480 | 500);
    assert_eq!(offsets, (0..1500).filter(|offset| !lost(offset)).collect::<Vec<_>>());
    // From the middle of what was lost, too, by the index.
    let request =
        ReadRequest { offset: 400, max_bytes: 1, at_least_one: true, limit_offset: 1500, reader: ReaderId(5) };
    let (outcome, _) = node.read((0, slot), request);
    assert!(matches!(outcome, Read::Ready { next_offset: 401..=480, .. }), "{outcome:?}");
}

#[test]
fn a_file_that_ends_early_gets_its_length_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path();
    stored(root, 40, 100_000).stop();
    let path = first_segment(root);
    let sound = fs::read(&path).expect("readable");
    fs::write(&path, &sound[..sound.len() / 2]).expect("writable");
    let findings = repair(root, true);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(repair(root, false), []);
    assert_eq!(fs::metadata(&path).expect("there").len(), sound.len() as u64);
    assert_eq!(offsets_lost(&mut restarted(root), 40, 100_000), [0; 0]);
}

#[test]
fn metadata_is_not_replaced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path();
    let mut node = Node::start(root, 1);
    let log = node.attach(0, LogConfig { segment_bytes: 1 << 20, retention_ms: None, ..LogConfig::default() });
    for _ in 0..30 {
        node.append(log, &batch(1, 100_000, START_MS));
        node.settle();
    }
    node.stop();
    flip(&root.join("logs/topic-0.0/00000000000000000000.log"), 5000);
    let findings = repair(root, false);
    assert!(matches!(findings[..], [Finding { remedy: Remedy::None(_), .. }]), "{findings:?}");
}

#[test]
fn an_index_that_is_gone_or_damaged_is_made_anew_from_its_segment() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path();
    stored(root, 40, 100_000).stop();
    let index = first_segment(root).with_extension("skein-index");
    for is_gone in [false, true] {
        if is_gone {
            fs::remove_file(&index).expect("there")
        } else {
            flip(&index, 40)
        }
        let disk = Directory::open(root).expect("nobody uses it");
        let mut recovered = recover(&disk, &identity()).expect("sound journals");
        let findings = recovered.examine_indexes();
        assert!(matches!(&findings[..], [finding] if root.join(&finding.file) == index), "{findings:?}");
        recovered.rebuild_index(&findings[0]).expect("its segment is sound");
        recovered.into_stores(1, |_| 0, &options()).expect("writable");
        assert_eq!(recover(&disk, &identity()).expect("sound").examine_indexes(), []);
    }
    assert_eq!(offsets_lost(&mut restarted(root), 40, 100_000), [0; 0]);
}

//! The corpora that targets begin with: pieces of sound files, which random bytes do not come near.
//!
//! `SKEIN_WRITE_CORPORA=1 cargo test -p storage --test fuzz corpora` writes them anew after a format has changed.

use std::fs;
use std::path::{Path, PathBuf};

use storage::io::BLOCK_BYTES;
use storage::simulated::Random;

use crate::{DIRECTORIES, EDIT_BYTES, EDITS_MAX, INPUT_BYTES_MAX};

/// Set to write the corpora.
const VARIABLE: &str = "SKEIN_WRITE_CORPORA";
/// Inputs that change directories.
const CHANGES: usize = 12;
/// Pieces of files of one kind.
const PIECES_MAX: usize = 6;

/// The inputs of a target.
type Corpus = (&'static str, Vec<Vec<u8>>);

fn piece(bytes: &[u8], from: usize, length: usize) -> Vec<u8> {
    let from = from.min(bytes.len());
    bytes[from..(from + length).min(bytes.len())].to_vec()
}

/// Files of the first directory whose paths the test picks.
fn files(is_wanted: impl Fn(&Path) -> bool) -> Vec<&'static [u8]> {
    let all = DIRECTORIES[0].iter().filter(|(path, bytes)| is_wanted(path) && !bytes.is_empty());
    all.map(|(_, bytes)| bytes.as_slice()).take(PIECES_MAX).collect()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|it| it == extension)
}

fn corpora() -> Vec<Corpus> {
    let extents = files(|path| path.starts_with("journal"));
    let checkpoints = files(|path| path.starts_with("checkpoint"));
    let indexes = files(|path| has_extension(path, "skein-index"));
    let segments = files(|path| has_extension(path, "log"));
    let headers = |files: &[&[u8]]| -> Vec<Vec<u8>> { files.iter().map(|file| piece(file, 0, 128)).collect() };
    let blocks = |files: &[&[u8]], at: usize| -> Vec<Vec<u8>> {
        files
            .iter()
            .map(|file| piece(file, at, INPUT_BYTES_MAX))
            .filter(|it| it.iter().any(|&byte| byte != 0))
            .collect()
    };
    // Behind a group's header of 64 bytes stands its first entry.
    let journal = [headers(&extents), blocks(&extents, BLOCK_BYTES), blocks(&extents, BLOCK_BYTES + 64)];
    let checkpoint = [headers(&checkpoints), blocks(&checkpoints, BLOCK_BYTES)];
    let whole = [blocks(&extents, 0), blocks(&checkpoints, 0), blocks(&segments, 0)];
    vec![
        ("journal_formats", journal.concat()),
        ("checkpoint_formats", checkpoint.concat()),
        ("index_files", blocks(&indexes, 0)),
        ("record_batches", blocks(&segments, 0)),
        ("recovery_from_changed_directories", changes()),
        ("recovery_from_arbitrary_files", whole.concat()),
    ]
}

/// One change and many, of every kind, with sums that are right again and ones that are not.
pub(crate) fn changes() -> Vec<Vec<u8>> {
    let mut random = Random::new(7);
    let change = |number: usize| {
        let edits = if number.is_multiple_of(2) { 1 } else { 1 + random.index(EDITS_MAX) };
        let mut input = vec![number as u8];
        input.extend((0..edits * EDIT_BYTES).map(|_| random.bits() as u8));
        input
    };
    (0..CHANGES).map(change).collect()
}

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/__fuzz__").join(target).join("corpus")
}

#[test]
fn corpora_are_there() {
    for (target, inputs) in corpora() {
        let directory = directory(target);
        if std::env::var_os(VARIABLE).is_some() {
            fs::create_dir_all(&directory).unwrap();
            for (number, input) in inputs.iter().enumerate() {
                fs::write(directory.join(format!("sound-{number:02}")), input).unwrap();
            }
        }
        let there = fs::read_dir(&directory).map_or(0, Iterator::count);
        assert!(there >= inputs.len(), "{target}: {there} inputs of {}; {VARIABLE}=1 writes them", inputs.len());
    }
}

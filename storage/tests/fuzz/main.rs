//! Every format of the storage, and recovery as a whole, from arbitrary bytes: never a panic, an endless loop, or memory
//! beyond a bound.
//!
//! `cargo test` replays the corpora in `__fuzz__` and tries some random inputs; `cargo bolero test -p storage NAME` goes on.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod corpus;
mod sample;
mod seal;

use std::panic::RefUnwindSafe;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use peak_alloc::PeakAlloc;
use storage::checkpoint::format as checkpoint;
use storage::index::Index;
use storage::io::BLOCK_BYTES;
use storage::journal::format::{self, Expected, ExtentHeader, GroupHeader};
use storage::scan::Progress;
use storage::validate::{CompressedValidation, Rules, Writer};
use storage::{LogId, batch, record, recovery};

use sample::{Files, directory, disk_with, identity, options, shard_of};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One target at a time, so that the memory that is measured is its own.
static ALONE: Mutex<()> = Mutex::new(());

const MEBIBYTE: usize = 1 << 20;
/// Edits of one input, at the most.
const EDITS_MAX: usize = 12;
/// Bytes of an input, at the most.
const INPUT_BYTES_MAX: usize = 4096;
/// Times that an input may need too much memory before it counts.
const TRIES: usize = 3;
/// Bytes of one edit in the input.
const EDIT_BYTES: usize = 8;

/// Directories that inputs change.
static DIRECTORIES: LazyLock<Vec<Files>> = LazyLock::new(|| (0..4).map(directory).collect());

/// Fails if `act` needs more memory than that. The threads of the test harness allocate as well now and then, so it is
/// only too much if it is so each time.
fn within(bytes_max: usize, act: impl Fn()) {
    let need = || {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        act();
        MEMORY.peak_usage().saturating_sub(before)
    };
    let least = (0..TRIES).map(|_| need()).find(|&bytes| bytes <= bytes_max);
    assert!(least.is_some(), "more than {bytes_max} bytes of memory, {TRIES} times");
}

/// Runs a target over its corpus and random inputs. A macro, since bolero knows a target, and finds its corpus, by the function
/// that it stands in.
macro_rules! fuzz {
    ($bytes_max:expr, $target:expr $(,)?) => {{
        let (bytes_max, target) = checked($bytes_max, $target);
        let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        LazyLock::force(&DIRECTORIES);
        bolero::check!()
            .with_max_len(INPUT_BYTES_MAX)
            .for_each(|input: &[u8]| within(bytes_max(input.len()), || target(input)));
    }};
}

/// Says what closures a target is made of.
fn checked<M, T>(bytes_max: M, target: T) -> (M, T)
where
    M: Fn(usize) -> usize + RefUnwindSafe,
    T: Fn(&[u8]) + RefUnwindSafe,
{
    (bytes_max, target)
}

#[test]
fn journal_formats() {
    fuzz!(|length| MEBIBYTE + 4 * length, |input| {
        let _ = ExtentHeader::decode(input);
        let _ = GroupHeader::decode(input);
        let _ = format::decode_entry(input, Expected { sequence: 0, seed: 0 });
    },);
}

#[test]
fn checkpoint_formats() {
    fuzz!(|length| MEBIBYTE + 4 * length, |input| {
        let _ = checkpoint::FileHeader::decode(input);
        let _ = checkpoint::decode_group(input);
        let _ = checkpoint::for_each_record(input, |_, _| Ok(()));
    },);
}

#[test]
fn index_files() {
    fuzz!(|length| MEBIBYTE + 4 * length, |input| {
        let _ = Index::parse(input, 0);
    },);
}

#[test]
fn record_batches() {
    let rules = Rules {
        writer: Writer::Client,
        batch_bytes_max: 4096,
        decompressed_bytes_max: MEBIBYTE as u64,
        is_compacted: false,
        timestamp_type: batch::TimestampType::CreateTime,
        timestamp_before_ms_max: i64::MAX,
        timestamp_after_ms_max: i64::MAX,
        now_ms: 0,
    };
    fuzz!(|_| 16 * MEBIBYTE, |input| {
        for batch in batch::batches(input) {
            let Ok(batch) = batch else { break };
            let _ = batch.computed_crc();
            record::records(batch.body()).take_while(Result::is_ok).for_each(drop);
        }
        let _ = storage::validate::validate(input, &rules);
        let sealed = sealed_batch(input);
        let _ = storage::validate::validate(&sealed, &rules);
        if let Ok(mut validation) = CompressedValidation::new(&sealed, &rules) {
            while matches!(validation.step(4096), Progress::More) {}
        }
    },);
}

/// A batch whose length, magic and sum are right, with everything else as the input has it.
fn sealed_batch(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    bytes.resize(bytes.len().max(batch::HEADER_BYTES), 0);
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let crc = crc32c::crc32c(&bytes[batch::CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// A directory changed in some places, as the input says. The sums are mended if the first byte is odd.
fn changed(input: &[u8]) -> Files {
    let [choice, edits @ ..] = input else { return DIRECTORIES[0].clone() };
    let mut files = DIRECTORIES[usize::from(choice >> 1) % DIRECTORIES.len()].clone();
    for edit in edits.chunks_exact(EDIT_BYTES).take(EDITS_MAX) {
        let [kind, which, value, from_end, a, b, c, d] = *edit else { unreachable!("chunks have this size") };
        let path: PathBuf = files.keys().nth(usize::from(which) % files.len()).unwrap().clone();
        let bytes = files.get_mut(&path).unwrap();
        let length = bytes.len();
        let at = u32::from_le_bytes([a, b, c, d]) as usize;
        // Most of what matters stands at the beginning of a block.
        let at = if from_end & 1 == 0 { (at >> 8) % 64 * BLOCK_BYTES + at % 160 } else { at };
        let at = at % length.max(1);
        match kind % 6 {
            _ if length == 0 => {}
            0 => bytes[at] = value,
            1 => bytes[at] ^= 1 << (value % 8),
            2 => bytes.truncate(at),
            3 => bytes[at..(at + 8).min(length)].fill(value),
            4 => {
                let other = files.values().nth(usize::from(value) % files.len()).unwrap().clone();
                files.insert(path, other);
            }
            _ => {
                files.remove(&path);
            }
        }
        if files.is_empty() {
            break;
        }
    }
    if choice & 1 == 1 {
        files.iter_mut().for_each(|(path, bytes)| seal::seal(path, bytes));
    }
    files
}

/// Recovers, if it can be, and looks at what was recovered.
fn start(files: &Files) {
    let disk = disk_with(files);
    let Ok(recovered) = recovery::recover(&disk, &identity()) else { return };
    for id in recovered.logs() {
        let _ = recovered.offsets_of(id);
        let _ = recovered.records_of(id);
    }
    let _ = recovered.into_stores(1, |_: LogId| 0, &options());
    let again = recovery::recover(&disk, &identity());
    let _ = again.map(|recovered| recovered.into_stores(2, shard_of, &options()).is_ok());
}

#[test]
fn recovery_from_changed_directories() {
    fuzz!(|_| 96 * MEBIBYTE, |input| start(&changed(input)));
}

/// A debug build is too slow to come through its corpus in the time that a target has.
#[test]
fn every_change_of_the_corpus_is_recovered_or_refused() {
    corpus::changes().iter().for_each(|input| start(&changed(input)));
}

#[test]
fn recovery_from_arbitrary_files() {
    fuzz!(|_| 96 * MEBIBYTE, |input| {
        let mut files = Files::new();
        let sound = &DIRECTORIES[0];
        for (number, path) in sound.keys().enumerate() {
            // The identity is kept, or nothing else would be looked at.
            let bytes = if path.as_os_str() == recovery::IDENTITY_FILE {
                sound[path].clone()
            } else {
                input.iter().copied().cycle().skip(number).take(input.len()).collect()
            };
            files.insert(path.clone(), bytes);
        }
        start(&files);
    },);
}

/// Such a header is followed by itself.
#[test]
fn a_group_without_bytes_does_not_keep_recovery_from_ending() {
    for original in &*DIRECTORIES {
        let mut files = original.clone();
        for (path, bytes) in files.iter_mut().filter(|(path, _)| path.starts_with("journal")) {
            for at in (BLOCK_BYTES..bytes.len()).step_by(BLOCK_BYTES) {
                if bytes[at..].starts_with(b"SKGR") {
                    bytes[at + 48..at + 56].fill(0);
                }
            }
            seal::seal(path, bytes);
        }
        start(&files);
    }
}

#[test]
fn sound_directories_are_recovered() {
    for files in &*DIRECTORIES {
        let disk = disk_with(files);
        let recovered = recovery::recover(&disk, &identity()).unwrap();
        assert!(recovered.logs().len() > 3);
        let mut sealed = files.clone();
        sealed.iter_mut().for_each(|(path, bytes)| seal::seal(path, bytes));
        assert!(recovery::recover(&disk_with(&sealed), &identity()).is_ok(), "sound sums stay as they are");
    }
}

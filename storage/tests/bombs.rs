//! A small batch that decompresses to much must not cost much memory. Alone in its process, whose memory it
//! measures.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;

use storage::batch::TimestampType;
use storage::builder::{BatchBuilder, NewRecord, Options};
use storage::compression::{self, Codec};
use storage::scan::Progress;
use storage::validate::{CompressedValidation, Rejection, Rules, Writer};

const MEBIBYTE: usize = 1 << 20;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_decompression_bomb_costs_little_memory_and_stops_at_the_cap() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(Options { codec, ..Options::default() });
        let value = Some(&vec![0; 20 * MEBIBYTE][..]);
        builder.append(&NewRecord { timestamp: 0, key: None, value, headers: &[] }).unwrap();
        let bytes = builder.finish();
        let rules = Rules {
            writer: Writer::Client,
            batch_bytes_max: bytes.len(),
            decompressed_bytes_max: 16 * MEBIBYTE as u64,
            is_compacted: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_ms_max: i64::MAX,
            timestamp_after_ms_max: i64::MAX,
            now_ms: 0,
        };
        let before = resident_bytes();
        let mut most = before;
        let mut validation = CompressedValidation::new(&bytes, &rules).unwrap();
        let verdict = loop {
            match validation.step(MEBIBYTE) {
                Progress::More => most = most.max(resident_bytes()),
                Progress::Done(verdict) => break verdict,
            }
        };
        let error = compression::Error::TooLarge { codec, output_bytes_max: rules.decompressed_bytes_max };
        assert_eq!(verdict, Err(Rejection::Compression(error)));
        let grown = most - before;
        assert!(grown < 8 * MEBIBYTE, "{codec} took {grown} bytes of memory");
    }
}

//! Record batches against what real clients wrote, against themselves, and against damage.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use storage::batch::{self, Batch, Producer, TimestampType, Timestamps, batches};
use storage::builder::{BatchBuilder, NewHeader, NewRecord, Options};
use storage::compression::{self, Codec, Decompressor, STEP_BYTES, Step, compress, decompress_all};
use storage::record::{Malformed, read_head, read_record, records};
use storage::scan::{Goal, Progress, Search, search};
use storage::validate::{
    BrokenRule, CompressedValidation, RECORD_ERRORS_MAX, Rejection, Rules, Valid, Writer, check_crc, compare_crc,
    validate, walk_records,
};

const MEBIBYTE: usize = 1 << 20;
const NOW: i64 = 1_800_000_000_000;

fn rules() -> Rules {
    Rules {
        writer: Writer::Client,
        batch_bytes_max: 8 * MEBIBYTE,
        decompressed_bytes_max: 64 * MEBIBYTE as u64,
        is_compacted: false,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_ms_max: i64::MAX,
        timestamp_after_ms_max: 3_600_000,
        now_ms: NOW,
    }
}

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn plain(value: &[u8]) -> NewRecord<'_> {
    NewRecord { timestamp: NOW, key: None, value: Some(value), headers: &[] }
}

/// `count` records with ascending timestamps, keys and one header.
fn sample(options: Options, count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for index in 0..count {
        let (key, value) = (format!("key {index}"), format!("a value of record {index}"));
        let headers = [NewHeader { key: "h", value: Some(b"x") }, NewHeader { key: "null", value: None }];
        builder
            .append(&NewRecord {
                timestamp: NOW + index as i64,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &headers,
            })
            .unwrap();
    }
    builder.finish()
}

fn body_of(batch: &Batch<'_>) -> Vec<u8> {
    decompress_all(batch.attributes().codec().unwrap(), batch.body(), 64 * MEBIBYTE as u64).unwrap()
}

/// Sets the CRC right after a deliberate change inside it.
fn seal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[batch::CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// As the producer sent it: the broker's stamp taken off.
fn unstamped(batch: &Batch<'_>) -> Vec<u8> {
    let mut bytes = batch.bytes().to_vec();
    batch::stamp(&mut bytes, 0, -1);
    bytes
}

#[test]
fn what_kcat_and_java_wrote_is_read_and_valid() {
    for codec in Codec::ALL {
        for (client, count, step) in [("kcat", 40, 1), ("java", 10, 4)] {
            if (client, codec) == ("java", Codec::None) {
                continue;
            }
            let bytes = data(&format!("{client}-{codec}.log"));
            let mut numbers = Vec::new();
            for batch in batches(&bytes) {
                let batch = batch.unwrap();
                check_crc(&batch).unwrap();
                assert_eq!(batch.attributes().codec(), Some(codec));
                assert!(batch.producer().is_some());
                let valid = validate(&unstamped(&batch), &rules()).unwrap();
                assert_eq!((valid.rewrite, valid.max_timestamp), (None, batch.max_timestamp()));
                assert_eq!(valid.record_count as i32, batch.record_count());
                for record in records(&body_of(&batch)) {
                    let record = record.unwrap();
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    let number: i64 = value.split(' ').nth(1).unwrap().parse().unwrap();
                    assert_eq!(record.key.unwrap(), format!("key-{}", number % 7).as_bytes());
                    let headers: Vec<_> = record.headers.map(|header| (header.key, header.value)).collect();
                    let expected = [(&b"h1"[..], Some(&b"one"[..])), (b"h2", Some(b""))];
                    assert_eq!(headers, if client == "kcat" { &expected[..] } else { &[] });
                    numbers.push((batch.origin().locate(record.head).offset, number));
                }
            }
            let first = numbers[0].1;
            let expected: Vec<_> = (0..count).map(|index| (index, first + index * step)).collect();
            assert_eq!(numbers, expected, "{client} {codec}");
        }
    }
}

#[test]
fn xerial_framing_is_written_as_java_writes_it() {
    let bytes = data("java-snappy.log");
    let batch = Batch::first(&bytes).unwrap();
    let mut written = Vec::new();
    compress(Codec::Snappy, &body_of(&batch), &mut written);
    // Magic, version, compatible version, then the first block's length, as large as the rest.
    assert_eq!(written[..16], batch.body()[..16]);
    assert_eq!(written[16..20], (written.len() as i32 - 20).to_be_bytes());
    let bare = data("kcat-snappy.log");
    assert!(!bare[batch::HEADER_BYTES..].starts_with(&written[..8]), "librdkafka writes a bare block");
}

#[test]
fn a_built_batch_says_what_it_was_told() {
    for codec in Codec::ALL {
        let producer = Producer { id: 7, epoch: 3, base_sequence: 11 };
        let options =
            Options { codec, producer: Some(producer), base_offset: 100, leader_epoch: 5, ..Options::default() };
        let bytes = sample(options, 200);
        let batch = Batch::first(&bytes).unwrap();
        assert_eq!(batch.size_in_bytes(), bytes.len());
        assert_eq!((batch.base_offset(), batch.last_offset(), batch.next_offset()), (100, 299, 300));
        assert_eq!((batch.leader_epoch(), batch.producer(), batch.record_count()), (5, Some(producer), 200));
        assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (NOW, NOW + 199));
        assert_eq!(batch.delete_horizon(), None);
        check_crc(&batch).unwrap();
        assert_eq!(records(&body_of(&batch)).filter(|record| record.is_ok()).count(), 200);
    }
}

#[test]
fn stamping_leaves_the_crc_right_and_rewriting_mends_it() {
    let mut bytes = sample(Options::default(), 3);
    batch::stamp(&mut bytes, 1 << 40, 9);
    check_crc(&Batch::first(&bytes).unwrap()).unwrap();
    let timestamps = Timestamps { timestamp_type: TimestampType::LogAppendTime, max_timestamp: NOW + 5 };
    batch::rewrite_timestamps(&mut bytes, timestamps);
    let batch = Batch::first(&bytes).unwrap();
    check_crc(&batch).unwrap();
    assert_eq!((batch.base_offset(), batch.leader_epoch(), batch.max_timestamp()), (1 << 40, 9, NOW + 5));
    assert_eq!(batch.attributes().timestamp_type(), TimestampType::LogAppendTime);
    let found = search(&batch, Goal::AtOrAfter { timestamp: NOW + 5, offset_min: 0 }, u64::MAX).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (1 << 40, NOW + 5));
}

#[test]
fn a_copy_in_pieces_has_the_crc_of_the_whole() {
    let bytes = sample(Options::default(), 2000);
    assert!(bytes.len() > 64 * 1024);
    let mut whole = vec![0; bytes.len()];
    let crc = batch::copy_with_crc(&mut whole, &bytes);
    assert_eq!((crc, &whole), (crc32c::crc32c(&bytes[batch::CRC_FROM..]), &bytes));
    compare_crc(&Batch::first(&bytes).unwrap(), crc).unwrap();
    for cut in [1, 20, 21, 22, 61, 30_000] {
        let mut copy = batch::CrcCopy::new();
        let mut pieces = vec![0; bytes.len()];
        let (first, second) = pieces.split_at_mut(cut);
        copy.push(first, &bytes[..cut]);
        copy.push(second, &bytes[cut..]);
        assert_eq!((copy.crc(), &pieces), (crc, &bytes), "cut at {cut}");
    }
}

#[test]
fn batches_end_with_a_clear_error_where_they_are_cut_or_odd() {
    let mut bytes = sample(Options::default(), 2);
    let len = bytes.len();
    bytes.extend(sample(Options::default(), 1));
    for present in 1..bytes.len() - len {
        let mut iterator = batches(&bytes[..len + present]);
        assert!(iterator.next().unwrap().is_ok());
        let malformed = iterator.next().unwrap().unwrap_err();
        assert_eq!(iterator.position(), len);
        let expected = if present < batch::HEADER_BYTES {
            batch::Malformed::HeaderCut { present }
        } else {
            batch::Malformed::BatchCut { present, announced: bytes.len() - len }
        };
        assert_eq!(malformed, expected);
        assert!(iterator.next().is_none());
    }
    for (magic, expected) in [
        (0, batch::Malformed::OldMagic { magic: 0 }),
        (1, batch::Malformed::OldMagic { magic: 1 }),
        (3, batch::Malformed::UnknownMagic { magic: 3 }),
        (0xff, batch::Malformed::UnknownMagic { magic: -1 }),
    ] {
        bytes[16] = magic;
        assert_eq!(Batch::first(&bytes), Err(expected));
    }
    bytes[16] = 2;
    for length in [-1, 0, 48, i32::MIN] {
        bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
        assert_eq!(Batch::first(&bytes), Err(batch::Malformed::LengthTooSmall { length }));
    }
}

/// Header changes, at a position, and what they must be rejected with.
#[test]
fn each_broken_rule_of_the_header_is_named() {
    let good = sample(Options::default(), 3);
    let reject = |at: usize, field: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + field.len()].copy_from_slice(field);
        let unsealed = validate(&bytes, &rules()).unwrap_err();
        if at >= batch::CRC_FROM {
            assert!(matches!(unsealed, Rejection::CrcMismatch { .. }), "damage is not taken for intent: {unsealed}");
        }
        seal(&mut bytes);
        validate(&bytes, &rules()).unwrap_err()
    };
    assert_eq!(reject(0, &1i64.to_be_bytes()), Rejection::BaseOffset { base_offset: 1 });
    assert_eq!(reject(21, &5i16.to_be_bytes()), Rejection::UnknownCodec { id: 5 });
    assert_eq!(reject(21, &0x20i16.to_be_bytes()), Rejection::ControlBatch);
    assert_eq!(reject(21, &0x10i16.to_be_bytes()), Rejection::TransactionWithoutProducer);
    assert_eq!(reject(21, &0x08i16.to_be_bytes()), Rejection::LogAppendTime);
    assert_eq!(reject(23, &3i32.to_be_bytes()), Rejection::OffsetRange { record_count: 3, last_offset_delta: 3 });
    assert_eq!(reject(57, &0i32.to_be_bytes()), Rejection::NoRecords { record_count: 0 });
    assert_eq!(reject(57, &(-1i32).to_be_bytes()), Rejection::NoRecords { record_count: -1 });
    assert!(matches!(reject(43, &9i64.to_be_bytes()), Rejection::ProducerStamp(Producer { id: 9, .. })));
    assert_eq!(validate(&[], &rules()), Err(Rejection::Empty));
    let two = [&good[..], &good[..]].concat();
    assert_eq!(validate(&two, &rules()), Err(Rejection::NotOneBatch { first_bytes: good.len(), bytes: two.len() }));
    let small = Rules { batch_bytes_max: good.len() - 1, ..rules() };
    assert_eq!(validate(&good, &small), Err(Rejection::TooLarge { bytes: good.len(), bytes_max: good.len() - 1 }));
    assert!(validate(&good, &Rules { batch_bytes_max: good.len(), ..rules() }).is_ok());
}

#[test]
fn a_count_that_differs_from_the_records_is_rejected_in_every_codec() {
    for codec in Codec::ALL {
        let good = sample(Options { codec, ..Options::default() }, 3);
        for (claimed, found) in [(2u32, 3u32), (4, 3), (i32::MAX as u32, 3)] {
            let mut bytes = good.clone();
            bytes[23..27].copy_from_slice(&(claimed as i32 - 1).to_be_bytes());
            bytes[57..61].copy_from_slice(&(claimed as i32).to_be_bytes());
            seal(&mut bytes);
            assert_eq!(validate(&bytes, &rules()), Err(Rejection::RecordCount { claimed, found }), "{codec}");
        }
    }
}

#[test]
fn coordinators_may_write_control_records() {
    let marker = storage::builder::EndTransaction { is_commit: true, coordinator_epoch: 4 };
    let producer = Producer { id: 1, epoch: 0, base_sequence: -1 };
    let options = Options { producer: Some(producer), is_control: true, is_transactional: true, ..Options::default() };
    let mut builder = BatchBuilder::new(options);
    let (key, value) = (marker.key(), marker.value());
    builder.append(&NewRecord { key: Some(&key), ..plain(&value) }).unwrap();
    let bytes = builder.finish();
    let valid = validate(&bytes, &Rules { writer: Writer::Coordinator, ..rules() }).unwrap();
    assert!(valid.is_control && valid.is_transactional);
    let batch = Batch::first(&bytes).unwrap();
    let (record, _) = read_record(batch.body()).unwrap();
    let parsed = storage::builder::EndTransaction::parse(record.key.unwrap(), record.value.unwrap());
    assert_eq!(parsed, Some(marker));
    assert_eq!(validate(&bytes, &rules()), Err(Rejection::ControlBatch));
}

#[test]
fn records_that_break_the_topics_rules_are_listed() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(Options { codec, ..Options::default() });
        let old = NOW - 1001;
        for (timestamp, key) in
            [(NOW, None), (NOW, Some(&b""[..])), (old, Some(b"k")), (old + 1, Some(b"k")), (-1, Some(b"k"))]
        {
            builder.append(&NewRecord { timestamp, key, value: None, headers: &[] }).unwrap();
        }
        let bytes = builder.finish();
        let strict = Rules { is_compacted: true, timestamp_before_ms_max: 1000, ..rules() };
        let Err(Rejection::Records(found)) = validate(&bytes, &strict) else { panic!("{codec}") };
        assert_eq!((found.count, found.errors.len()), (2, 2));
        assert_eq!((found.errors[0].index, found.errors[0].rule), (0, BrokenRule::NoKey));
        assert_eq!(found.errors[1].index, 2);
        assert!(matches!(found.errors[1].rule, BrokenRule::Timestamp { timestamp, .. } if timestamp == old));
        assert!(found.has_timestamp());
        let loose = Rules { timestamp_before_ms_max: 1001, ..rules() };
        assert!(validate(&bytes, &loose).is_ok());
        // Under LogAppendTime the producer's timestamps do not matter.
        let append_time = Rules { timestamp_type: TimestampType::LogAppendTime, timestamp_before_ms_max: 0, ..rules() };
        let valid = validate(&bytes, &append_time).unwrap();
        assert_eq!((valid.first_timestamp, valid.max_timestamp, valid.max_timestamp_offset_delta), (NOW, NOW, 0));
        let expected = Timestamps { timestamp_type: TimestampType::LogAppendTime, max_timestamp: NOW };
        assert_eq!(valid.rewrite, Some(expected));
    }
}

#[test]
fn the_list_of_record_errors_is_bounded_and_the_count_is_not() {
    let mut builder = BatchBuilder::new(Options::default());
    for _ in 0..RECORD_ERRORS_MAX + 10 {
        builder.append(&plain(b"v")).unwrap();
    }
    let bytes = builder.finish();
    let Err(Rejection::Records(found)) = validate(&bytes, &Rules { is_compacted: true, ..rules() }) else { panic!() };
    assert_eq!((found.errors.len(), found.count as usize), (RECORD_ERRORS_MAX, RECORD_ERRORS_MAX + 10));
}

#[test]
fn a_wrong_maximum_timestamp_is_corrected() {
    for codec in Codec::ALL {
        let mut bytes = sample(Options { codec, ..Options::default() }, 10);
        bytes[35..43].copy_from_slice(&(NOW + 77).to_be_bytes());
        seal(&mut bytes);
        let valid = validate(&bytes, &rules()).unwrap();
        assert_eq!((valid.max_timestamp, valid.max_timestamp_offset_delta), (NOW + 9, 9));
        batch::rewrite_timestamps(&mut bytes, valid.rewrite.unwrap());
        let again = validate(&bytes, &rules()).unwrap();
        assert_eq!(again, Valid { rewrite: None, ..valid });
    }
}

#[test]
fn offset_deltas_out_of_line_are_rejected() {
    let mut bytes = sample(Options::default(), 3);
    let (_, first) = read_record(&bytes[batch::HEADER_BYTES..]).unwrap();
    // length, attributes, timestamp delta, each one byte, then the second record's offset delta
    let at = batch::HEADER_BYTES + first + 3;
    assert_eq!(bytes[at], 2);
    bytes[at] = 4;
    seal(&mut bytes);
    assert_eq!(validate(&bytes, &rules()), Err(Rejection::OffsetDelta { index: 1, offset_delta: 2 }));
}

#[test]
fn compressed_validation_stops_at_its_budget_and_comes_to_the_same_verdict() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = sample(Options { codec, ..Options::default() }, 20_000);
        let expected = validate(&bytes, &rules());
        assert!(expected.is_ok());
        let mut validation = CompressedValidation::new(&bytes, &rules()).unwrap();
        let mut steps = 0;
        let verdict = loop {
            steps += 1;
            if let Progress::Done(verdict) = validation.step(1) {
                break verdict;
            }
        };
        assert_eq!(verdict, expected);
        let whole = body_of(&Batch::first(&bytes).unwrap()).len();
        assert!(steps > whole / STEP_BYTES, "{codec}: {steps} steps for {whole} bytes");
    }
}

#[test]
fn a_snappy_block_that_announces_more_than_it_holds_allocates_nothing() {
    // A length of 4 GiB - 1, and one literal.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x00];
    let refused = decompress_all(Codec::Snappy, &lie, u64::MAX);
    assert!(matches!(refused, Err(compression::Error::Corrupt { codec: Codec::Snappy, .. })));
    let refused = decompress_all(Codec::Snappy, &lie, 1000);
    assert_eq!(refused, Err(compression::Error::TooLarge { codec: Codec::Snappy, output_bytes_max: 1000 }));
}

#[test]
fn several_gzip_members_are_one_stream() {
    let mut bytes = Vec::new();
    compress(Codec::Gzip, b"one, ", &mut bytes);
    compress(Codec::Gzip, b"two", &mut bytes);
    assert_eq!(decompress_all(Codec::Gzip, &bytes, 100).unwrap(), b"one, two");
    for cut in 1..bytes.len() {
        let read = decompress_all(Codec::Gzip, &bytes[..cut], 100);
        assert!(
            read.as_ref().is_err_and(|error| matches!(error, compression::Error::Cut { .. }))
                || read.unwrap() == b"one, "
        );
    }
}

#[test]
fn a_search_finds_the_exact_record_in_every_codec() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(Options { codec, base_offset: 50, ..Options::default() });
        for delta in [0, 5, 3, 9, 9, 2] {
            builder.append(&NewRecord { timestamp: NOW + delta, ..plain(b"v") }).unwrap();
        }
        let bytes = builder.finish();
        let batch = Batch::first(&bytes).unwrap();
        let find = |goal| search(&batch, goal, u64::MAX).unwrap().map(|found| (found.offset, found.timestamp - NOW));
        assert_eq!(find(Goal::AtOrAfter { timestamp: 0, offset_min: 0 }), Some((50, 0)));
        assert_eq!(find(Goal::AtOrAfter { timestamp: NOW + 1, offset_min: 0 }), Some((51, 5)));
        assert_eq!(find(Goal::AtOrAfter { timestamp: NOW + 6, offset_min: 0 }), Some((53, 9)));
        assert_eq!(find(Goal::AtOrAfter { timestamp: NOW + 10, offset_min: 0 }), None);
        assert_eq!(
            find(Goal::AtOrAfter { timestamp: 0, offset_min: 51 }),
            Some((51, 5)),
            "the log starts inside the batch"
        );
        assert_eq!(find(Goal::Maximum), Some((53, 9)));
        let mut search = Search::new(bytes.clone(), Goal::Maximum, u64::MAX);
        let found = loop {
            if let Progress::Done(found) = search.step(1).unwrap() {
                break found;
            }
        };
        assert_eq!(found.unwrap().offset, 53);
    }
}

/// Key, value, timestamp and headers of a record.
type Owned = (Option<Vec<u8>>, Option<Vec<u8>>, i64, Vec<(String, Option<Vec<u8>>)>);

fn owned_record() -> impl Strategy<Value = Owned> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    let headers = prop::collection::vec(("[a-zé]{0,5}", bytes()), 0..4);
    (bytes(), bytes(), any::<i64>(), headers)
}

fn build(options: Options, owned: &[Owned]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (key, value, timestamp, headers) in owned {
        let headers: Vec<_> = headers.iter().map(|(key, value)| NewHeader { key, value: value.as_deref() }).collect();
        let record =
            NewRecord { timestamp: *timestamp, key: key.as_deref(), value: value.as_deref(), headers: &headers };
        builder.append(&record).unwrap();
    }
    builder.finish()
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_is_read_back(codec in codec(), owned in prop::collection::vec(owned_record(), 1..50)) {
        let bytes = build(Options { codec, ..Options::default() }, &owned);
        let batch = Batch::first(&bytes).unwrap();
        let body = body_of(&batch);
        let read: Vec<Owned> = records(&body).map(|record| {
            let record = record.unwrap();
            let headers = record.headers
                .map(|header| (String::from_utf8(header.key.to_vec()).unwrap(), header.value.map(<[u8]>::to_vec)));
            let timestamp = batch.origin().locate(record.head).timestamp;
            (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), timestamp, headers.collect())
        }).collect();
        prop_assert_eq!(&read, &owned);
        let any_time = Rules { timestamp_after_ms_max: i64::MAX, ..rules() };
        let valid = validate(&bytes, &any_time).unwrap();
        let max = owned.iter().map(|owned| owned.2).max().unwrap().max(-1);
        prop_assert_eq!(valid.max_timestamp, max);
        let first = owned.iter().position(|owned| owned.2 == max).unwrap_or(0);
        prop_assert_eq!(valid.max_timestamp_offset_delta as usize, first);
    }

    /// Damage anywhere is found or harmless, never a panic; the CRC set right again, so that it does not
    /// protect what lies behind it.
    #[test]
    fn damage_never_panics(
        codec in codec(),
        owned in prop::collection::vec(owned_record(), 1..20),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let mut bytes = build(Options { codec, ..Options::default() }, &owned);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()).max(batch::HEADER_BYTES));
            let length = bytes.len() as i32 - 12;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
        }
        bytes[16] = 2;
        seal(&mut bytes);
        let capped = Rules { decompressed_bytes_max: MEBIBYTE as u64, timestamp_after_ms_max: i64::MAX, ..rules() };
        let verdict = validate(&bytes, &capped);
        if let Err(rejection) = &verdict {
            prop_assert!(!rejection.to_string().is_empty());
        }
        let Ok(batch) = Batch::first(&bytes) else { return Ok(()) };
        let Some(codec) = batch.attributes().codec() else { return Ok(()) };
        if batch.size_in_bytes() == bytes.len() {
            let _ = search(&batch, Goal::Maximum, MEBIBYTE as u64);
        }
        let body = decompress_all(codec, batch.body(), MEBIBYTE as u64);
        if let Ok(valid) = verdict {
            let good = records(&body.unwrap()).filter(Result::is_ok).count();
            prop_assert_eq!(good, valid.record_count as usize);
        }
    }

    #[test]
    fn a_head_is_what_the_whole_record_says(bytes in prop::collection::vec(prop_oneof![0u8..24, any::<u8>()], 0..40)) {
        let whole = read_record(&bytes).map(|(record, len)| (record.head, len));
        prop_assert_eq!(read_head(&bytes), whole);
    }

    /// Cutting the body into any slices changes nothing: the walk of a compressed batch sees them cut at will.
    #[test]
    fn walking_slices_is_walking_the_whole(mut body in prop::collection::vec(prop_oneof![0u8..24, any::<u8>()], 1..60), copies in 1usize..5) {
        // Records as long as the first byte says, so that some are good.
        body = body.repeat(copies);
        let plain = wrap(&body, Codec::None);
        let expected = walk_records(&Batch::first(&plain).unwrap(), &rules());
        // One byte per block: each slice is one byte long.
        let mut xerial = Vec::new();
        compress(Codec::Snappy, &[], &mut xerial);
        for byte in &body {
            let block = [1, 0, *byte];
            xerial.extend_from_slice(&(block.len() as i32).to_be_bytes());
            xerial.extend_from_slice(&block);
        }
        let sliced = validate(&wrap(&xerial, Codec::Snappy), &rules());
        match (expected, sliced) {
            (Ok(expected), Ok(sliced)) => prop_assert_eq!(expected.record_count, sliced.record_count),
            (Err(Rejection::Record { index, .. }), Err(Rejection::Record { index: sliced, .. })) => prop_assert_eq!(index, sliced),
            (expected, sliced) => {
                let both = expected.is_err() && sliced.is_err();
                prop_assert!(both, "{:?} and {:?}", expected, sliced);
            }
        }
    }

    #[test]
    fn codecs_give_back_what_they_got(codec in codec(), seed: u64, len in 0usize..400_000, variety in 1u64..300) {
        // Pseudo-random, and the more repetitive the less variety.
        let mut state = seed | 1;
        let input: Vec<u8> = (0..len).map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % variety) as u8
        }).collect();
        let mut compressed = Vec::new();
        compress(codec, &input, &mut compressed);
        prop_assert_eq!(&decompress_all(codec, &compressed, len as u64).unwrap(), &input);
        if len > 0 {
            let too_small = decompress_all(codec, &compressed, len as u64 - 1);
            let too_large = matches!(too_small, Err(compression::Error::TooLarge { .. }));
            prop_assert!(too_large);
        }
        if codec == Codec::Snappy {
            let bare = snap::raw::Encoder::new().compress_vec(&input).unwrap();
            prop_assert_eq!(&decompress_all(codec, &bare, len as u64).unwrap(), &input);
        }
        let mut decompressor = Decompressor::new(codec, &compressed, u64::MAX);
        loop {
            match decompressor.step().unwrap() {
                Step::End => break,
                Step::Output(output) => prop_assert!(!output.is_empty() && output.len() <= STEP_BYTES),
            }
        }
        prop_assert_eq!(decompressor.produced(), len as u64);
    }
}

/// A batch of one claimed record with this body, as it is.
fn wrap(body: &[u8], codec: Codec) -> Vec<u8> {
    let mut bytes = sample(Options::default(), 1)[..batch::HEADER_BYTES].to_vec();
    bytes[22] = codec.id();
    bytes.extend_from_slice(body);
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    seal(&mut bytes);
    bytes
}

#[test]
fn a_record_that_lies_about_itself_is_named() {
    // length 6: attributes, timestamp delta, offset delta, null key, null value, no headers
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert!(read_record(&good).is_ok());
    for (at, value, expected) in [
        (0, 14, Malformed::Cut),
        (0, 10, Malformed::LengthMismatch),
        (0, 1, Malformed::NegativeLength),
        (4, 3, Malformed::NegativeLength),
        (4, 2, Malformed::LengthMismatch),
        (5, 4, Malformed::LengthMismatch),
        (6, 2, Malformed::LengthMismatch),
        (6, 1, Malformed::NegativeLength),
    ] {
        let mut bytes = good;
        bytes[at] = value;
        assert_eq!(read_record(&bytes).map(|_| ()), Err(expected), "byte {at} = {value}");
        assert_eq!(read_head(&bytes).map(|_| ()), Err(expected), "byte {at} = {value}");
    }
    let null_header_key = [16, 0, 0, 0, 1, 1, 2, 1, 1];
    assert_eq!(read_record(&null_header_key).map(|_| ()), Err(Malformed::NullHeaderKey));
}

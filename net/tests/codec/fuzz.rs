//! Arbitrary bytes as frames and messages of every API, by bolero: `cargo test` replays the corpora in `__fuzz__` and tries
//! random inputs for a moment, `cargo bolero test -p net NAME` goes on.

use net::frame::Assembler;
use net::{Message, Reader, RequestHeader, ResponseHeader};

use crate::dispatch::{SIDES, key, recode};
use crate::sample::{Filling, apis, sample};

/// Frames of these tests are no larger.
const FRAME_BYTES_MAX: usize = 1 << 10;
/// Frames from this size on are received where they stay.
const DIRECT_BYTES_MIN: usize = 1 << 8;

#[test]
fn frames_of_arbitrary_bytes() {
    bolero::check!().for_each(|input: &[u8]| {
        let Some((&piece, bytes)) = input.split_first() else { return };
        let mut assembler = Assembler::new(FRAME_BYTES_MAX, DIRECT_BYTES_MIN);
        for mut received in bytes.chunks(usize::from(piece) + 1) {
            loop {
                match assembler.next(&mut received) {
                    Ok(Some(frame)) => assert!(frame.into_bytes().len() <= FRAME_BYTES_MAX),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            assert!(assembler.kept() <= FRAME_BYTES_MAX + 4, "no more is kept than one frame may have");
        }
    });
}

#[test]
fn headers_of_arbitrary_bytes() {
    bolero::check!().for_each(|input: &[u8]| {
        let _ = RequestHeader::decode(&mut Reader::new(input));
        for api in apis() {
            for version in api.min..=api.max {
                let _ = ResponseHeader::decode(&mut Reader::new(input), key(api), version);
            }
        }
    });
}

/// The first bytes choose a message; the others are it, or say where a valid one is changed.
#[test]
fn messages_of_arbitrary_bytes() {
    bolero::check!().for_each(|input: &[u8]| {
        let Some((&[api, version, side, seed], rest)) = input.split_first_chunk::<4>() else { return };
        let api = &apis()[usize::from(api) % apis().len()];
        let version = api.min + i16::from(version) % (api.max - api.min + 1);
        let from = SIDES[usize::from(side & 1)];
        let _ = recode(key(api), from, version, version, rest);
        let mut valid = sample(api, from, version, u64::from(seed), Filling::Mixed).bytes;
        for edit in rest.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % (valid.len() + 1);
            match valid.get_mut(at) {
                Some(byte) => *byte = edit[2],
                None => valid.push(edit[2]),
            }
        }
        if let Ok(canonical) = recode(key(api), from, version, version, &valid) {
            assert_eq!(recode(key(api), from, version, version, &canonical).as_ref(), Ok(&canonical));
        }
    });
}

/// The views that the hot path uses accept what the generated types accept, and nothing else.
#[test]
fn views_of_arbitrary_bytes() {
    bolero::check!().for_each(|input: &[u8]| {
        let Some((&version, bytes)) = input.split_first() else { return };
        let produce_version = 3 + i16::from(version) % 11;
        let mut reader = Reader::new(bytes);
        let view = net::produce::RequestView::decode(&mut reader, produce_version).and_then(|_| reader.finish());
        assert_eq!(view.is_ok(), net::api::produce::Request::from_bytes(bytes, produce_version).is_ok());
        let fetch_version = 4 + i16::from(version) % 15;
        let mut reader = Reader::new(bytes);
        let view = net::fetch::RequestView::decode(&mut reader, fetch_version).and_then(|_| reader.finish());
        assert_eq!(view.is_ok(), net::api::fetch::Request::from_bytes(bytes, fetch_version).is_ok());
    });
}

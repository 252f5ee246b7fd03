//! Bytes that are not, or not quite, a message.

use net::{Message, Reader, RequestHeader};
use proptest::prelude::*;

use crate::dispatch::{SIDES, Side, key, recode};
use crate::sample::{Filling, Random, apis, sample};
use crate::schema::Api;

#[test]
fn a_message_cut_short_anywhere_is_an_error() {
    for api in apis() {
        for (version, side) in (api.min..=api.max).flat_map(|version| SIDES.map(|side| (version, side))) {
            let whole = sample(api, side, version, 3, Filling::Full).bytes;
            for length in 0..whole.len() {
                let result = recode(key(api), side, version, version, &whole[..length]);
                assert!(result.is_err(), "{side:?} of {} v{version} cut to {length}", api.name);
            }
        }
    }
}

/// Changes a few places of valid bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        let value = [0, 1, 0x7f, 0x80, 0xff, random.next() as u8][random.below(6)];
        match random.below(4) {
            0 => bytes.insert(at, value),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ if at < bytes.len() => bytes[at] = value,
            _ => {}
        }
    }
}

fn any_message() -> impl Strategy<Value = (&'static Api, Side, i16)> {
    (0..apis().len(), any::<bool>(), any::<u16>()).prop_map(|(index, is_request, version)| {
        let api = &apis()[index];
        let version = api.min + (version % (api.max - api.min + 1) as u16) as i16;
        (api, if is_request { Side::Request } else { Side::Response }, version)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// What is accepted all the same has one canonical form: writing it and reading it again changes nothing.
    #[test]
    fn mutated_messages_are_refused_or_have_a_canonical_form((api, side, version) in any_message(), seed: u64) {
        let mut bytes = sample(api, side, version, seed, Filling::Mixed).bytes;
        mutate(&mut bytes, &mut Random::new(seed));
        if let Ok(canonical) = recode(key(api), side, version, version, &bytes) {
            let again = recode(key(api), side, version, version, &canonical);
            prop_assert_eq!(again, Ok(canonical));
        }
    }

    #[test]
    fn random_bytes_never_panic((api, side, version) in any_message(), bytes: Vec<u8>) {
        let _ = recode(key(api), side, version, version, &bytes);
        let _ = RequestHeader::decode(&mut Reader::new(&bytes));
    }

    /// The views accept exactly what the generated types accept.
    #[test]
    fn views_refuse_what_the_generated_types_refuse(version in 3..=13_i16, fetch_version in 4..=18_i16, seed: u64) {
        let mut random = Random::new(seed);
        let mut produce = sample(&apis()[0], Side::Request, version, seed, Filling::Mixed).bytes;
        mutate(&mut produce, &mut random);
        let generated = net::api::produce::Request::from_bytes(&produce, version);
        let mut reader = Reader::new(&produce);
        let view = net::produce::RequestView::decode(&mut reader, version).and_then(|_| reader.finish());
        prop_assert_eq!(view.is_ok(), generated.is_ok());
        let mut fetch = sample(&apis()[1], Side::Request, fetch_version, seed, Filling::Mixed).bytes;
        mutate(&mut fetch, &mut random);
        let generated = net::api::fetch::Request::from_bytes(&fetch, fetch_version);
        let mut reader = Reader::new(&fetch);
        let view = net::fetch::RequestView::decode(&mut reader, fetch_version).and_then(|_| reader.finish());
        prop_assert_eq!(view.is_ok(), generated.is_ok());
    }
}

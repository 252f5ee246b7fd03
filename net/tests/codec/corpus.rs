//! The corpora that the fuzz targets begin with: a valid message of each API, and requests in frames.
//!
//! `SKEIN_WRITE_CORPORA=1 cargo test -p net --test codec corpora` writes them anew after the schema has changed.

use std::fs;
use std::path::{Path, PathBuf};

use net::{ApiKey, RequestHeader};

use crate::dispatch::{SIDES, Side, key};
use crate::sample::{Filling, apis, sample};

/// Set to write the corpora.
const VARIABLE: &str = "SKEIN_WRITE_CORPORA";
/// Bytes of an input, at the most.
const INPUT_BYTES_MAX: usize = 700;
/// Every so many APIs give a frame.
const FRAMES_STEP: usize = 6;

fn corpora() -> [(&'static str, Vec<Vec<u8>>); 4] {
    let [mut frames, mut headers, mut messages, mut views] = [const { Vec::new() }; 4];
    for (number, api) in apis().iter().enumerate() {
        let version = api.max;
        for (which, side) in SIDES.into_iter().enumerate() {
            let message = sample(api, side, version, number as u64, Filling::Full).bytes;
            if message.len() <= INPUT_BYTES_MAX {
                // As `messages_of_arbitrary_bytes` reads it: the API, its version, the side, a seed, the message.
                let choice = [number as u8, (version - api.min) as u8, which as u8, 0];
                messages.push([&choice[..], &message].concat());
            }
        }
        let mut request = Vec::new();
        let header = RequestHeader { key: key(api), version, correlation_id: 7, client_id: Some("corpus".into()) };
        header.encode(&mut request);
        if number.is_multiple_of(FRAMES_STEP) {
            headers.push(request.clone());
            request.extend(sample(api, Side::Request, version, 0, Filling::Mixed).bytes);
            let length = (request.len() as u32).to_be_bytes();
            // The first byte says how many bytes are received at once.
            frames.push([&[number as u8 * 3], &length[..], &request].concat());
        }
        // As `views_of_arbitrary_bytes` reads it: a version, counted from the lowest, and the message.
        let lowest = match key(api) {
            ApiKey::Produce => 3,
            ApiKey::Fetch => 4,
            _ => continue,
        };
        for version in [lowest, lowest + 5, api.max] {
            let message = sample(api, Side::Request, version, 1, Filling::Mixed).bytes;
            views.push([&[(version - lowest) as u8], &message[..]].concat());
        }
    }
    [
        ("fuzz__frames_of_arbitrary_bytes", frames),
        ("fuzz__headers_of_arbitrary_bytes", headers),
        ("fuzz__messages_of_arbitrary_bytes", messages),
        ("fuzz__views_of_arbitrary_bytes", views),
    ]
}

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/codec/__fuzz__").join(target).join("corpus")
}

#[test]
fn corpora_are_there() {
    for (target, inputs) in corpora() {
        let directory = directory(target);
        if std::env::var_os(VARIABLE).is_some() {
            fs::create_dir_all(&directory).expect("a directory");
            for (number, input) in inputs.iter().enumerate() {
                fs::write(directory.join(format!("valid-{number:03}")), input).expect("a file");
            }
        }
        let there = fs::read_dir(&directory).map_or(0, Iterator::count);
        assert!(there >= inputs.len(), "{target}: {there} inputs of {}; {VARIABLE}=1 writes them", inputs.len());
    }
}

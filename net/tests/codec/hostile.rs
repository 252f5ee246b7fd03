//! Lengths of 2³¹ − 1, in a process that has little memory.

use std::process::Command;
use std::{env, process};

use crate::dispatch::{SIDES, key, recode};
use crate::sample::{Filling, Form, Length, apis, sample, varint};

/// The child's limit of address space, in KiB as `ulimit` wants it: 256 MiB.
const ADDRESS_SPACE_KIB: usize = 256 * 1024;

/// Set in the child.
const CHILD: &str = "NET_TEST_HOSTILE_CHILD";

/// The bytes with one length replaced by hostile ones: 2³¹ − 1, or as much as there is room for, and one that is
/// negative or, as a varint, the largest of all.
fn replaced(bytes: &[u8], length: Length) -> [Vec<u8>; 2] {
    let hostile = match length.form {
        Form::Int16 => [i16::MAX, -2].map(|length| length.to_be_bytes().to_vec()),
        Form::Int32 => [i32::MAX, -2].map(|length| length.to_be_bytes().to_vec()),
        Form::Varint => [i32::MAX as u32, u32::MAX].map(varint),
    };
    hostile.map(|hostile| {
        let mut result = bytes.to_vec();
        result.splice(length.offset..length.offset + length.bytes, hostile);
        result
    })
}

/// Tries every length of every message, and says how many there were.
fn try_all() -> usize {
    let mut tried = 0;
    for api in apis() {
        for (version, side) in (api.min..=api.max).flat_map(|version| SIDES.map(|side| (version, side))) {
            let original = sample(api, side, version, 11, Filling::Full);
            for &length in &original.lengths {
                for bytes in replaced(&original.bytes, length) {
                    let result = recode(key(api), side, version, version, &bytes);
                    assert!(result.is_err(), "{side:?} of {} v{version}, {length:?}", api.name);
                    tried += 1;
                }
            }
        }
    }
    tried
}

/// A length that is honest about elements of two bytes, each of which is large in memory.
fn try_amplification() {
    let elements = 900_000;
    let mut body = varint(elements + 1);
    body.extend(std::iter::repeat_n([1, 0], elements as usize).flatten());
    body.extend([1, 0, 0, 0]);
    let result = recode(net::ApiKey::Metadata, SIDES[0], 9, 9, &body);
    assert!(result.is_err(), "36 MB of structs out of 1.8 MB of bytes");
}

#[test]
fn hostile_lengths_are_refused_within_256_mib() {
    if env::var_os(CHILD).is_some() {
        println!("tried {}", try_all());
        try_amplification();
        process::exit(0);
    }
    let this = env::current_exe().expect("a test knows its own file");
    let limited = format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited])
        .arg(this)
        .args(["--exact", "hostile::hostile_lengths_are_refused_within_256_mib", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    let tried: usize = said
        .split("tried ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("the child says how many it tried: {said}"));
    assert!(tried > 9000, "only {tried} lengths were tried");
}

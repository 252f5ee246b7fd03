//! Gives damaged files sums that are right again, so that what stands behind the sums is put to the test as well.

use std::path::Path;

use storage::io::BLOCK_BYTES;

/// Mends the sums of a file, as far as its name says what it is and the damage leaves something to sum.
pub(crate) fn seal(path: &Path, bytes: &mut [u8]) {
    let directory = path.components().next().and_then(|first| first.as_os_str().to_str()).unwrap_or_default();
    match directory {
        "skein.meta" => seal_identity(bytes),
        "journal" => seal_extent(bytes),
        "checkpoint" => seal_checkpoint(bytes),
        _ => {}
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("callers checked the length"))
}

fn put(bytes: &mut [u8], at: usize, crc: u32) {
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn seal_identity(bytes: &mut [u8]) {
    if bytes.len() >= 40 {
        let end = 36 + usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
        if end + 4 <= bytes.len() {
            put(bytes, end, crc32c::crc32c(&bytes[..end]));
        }
    }
}

/// The extent's header, and the chain of the groups behind it.
fn seal_extent(bytes: &mut [u8]) {
    if bytes.len() < BLOCK_BYTES {
        return;
    }
    put(bytes, 76, crc32c::crc32c(&bytes[..76]));
    let mut seed = u32_at(bytes, 72);
    let mut at = BLOCK_BYTES;
    while bytes.len() >= at + BLOCK_BYTES && bytes[at..].starts_with(b"SKGR") {
        put(bytes, at + 56, seed);
        put(bytes, at + 60, crc32c::crc32c(&bytes[at..at + 60]));
        let group_bytes = u32_at(bytes, at + 52) as usize;
        let mut entry = at + 64;
        for _ in 0..u32_at(bytes, at + 48).min(10_000) {
            let Some(sealed) = seal_entry(bytes, entry, seed) else { break };
            (entry, seed) = sealed;
        }
        at += group_bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
    }
}

/// Where the next entry is, and its seed.
fn seal_entry(bytes: &mut [u8], at: usize, seed: u32) -> Option<(usize, u32)> {
    let frame = bytes.get(at..at + 32)?;
    let (length, covered) = (u32_at(frame, 4) as usize, u32_at(frame, 24) as usize);
    let crc = crc32c::crc32c_append(seed, &frame[..28]);
    let crc = crc32c::crc32c_append(crc, bytes.get(at + 32..)?.get(..covered)?);
    put(bytes, at + 28, crc);
    Some((at.checked_add(32 + length)?, crc))
}

fn seal_checkpoint(bytes: &mut [u8]) {
    if bytes.len() < BLOCK_BYTES {
        return;
    }
    put(bytes, 44, crc32c::crc32c(&bytes[..44]));
    let mut at = BLOCK_BYTES;
    while bytes.len() >= at + BLOCK_BYTES && bytes[at..].starts_with(b"SKCG") {
        let group_bytes = u32_at(bytes, at + 28) as usize;
        if let Some(records) = bytes[at..].get(40..group_bytes) {
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 36]), records);
            put(bytes, at + 36, crc);
        }
        at += group_bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
    }
}

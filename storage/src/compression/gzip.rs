//! Gzip members (RFC 1952), one after another, as Java's `GZIPInputStream` reads them.

use std::io::Write as _;

use flate2::{Compression, Crc, Decompress, FlushDecompress, Status};

use super::Fault;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Input taken into one call of the inflater, so that data that yields nothing cannot hold a step up.
const INPUT_BYTES_MAX: usize = 256 * 1024;
/// Members one step passes that yield nothing; a batch has one member, and it is not empty.
const EMPTY_MEMBERS_MAX: u32 = 16;

/// Inflates member after member.
pub(super) struct Reader<B> {
    input: B,
    position: usize,
    inflater: Decompress,
    crc: Crc,
    is_in_member: bool,
    members_empty: u32,
}

impl<B: AsRef<[u8]>> Reader<B> {
    pub(super) fn new(input: B) -> Self {
        Self {
            input,
            position: 0,
            inflater: Decompress::new(false),
            crc: Crc::new(),
            is_in_member: false,
            members_empty: 0,
        }
    }

    /// Fills `out` from its start; how far. 0 means the end.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        loop {
            if !self.is_in_member {
                // Bytes after the first member that start no other are passed over, as Java does.
                let rest = &self.input.as_ref()[self.position..];
                if rest.is_empty() || (self.position > 0 && !rest.starts_with(&MAGIC)) {
                    return Ok(0);
                }
                self.position += header_len(rest)?;
                self.inflater.reset(false);
                self.crc.reset();
                self.is_in_member = true;
            }
            let (len, is_end) = self.inflate(out)?;
            if is_end {
                self.end_member()?;
            }
            if len > 0 {
                return Ok(len);
            }
        }
    }

    fn inflate(&mut self, out: &mut [u8]) -> Result<(usize, bool), Fault> {
        let rest = &self.input.as_ref()[self.position..];
        let rest = &rest[..rest.len().min(INPUT_BYTES_MAX)];
        let (taken, given) = (self.inflater.total_in(), self.inflater.total_out());
        let status = self
            .inflater
            .decompress(rest, out, FlushDecompress::None)
            .map_err(|_| Fault::Corrupt("a deflate block is invalid"))?;
        let taken = (self.inflater.total_in() - taken) as usize;
        let given = (self.inflater.total_out() - given) as usize;
        self.position += taken;
        self.crc.update(&out[..given]);
        let is_end = status == Status::StreamEnd;
        if !is_end && taken == 0 && given == 0 {
            return Err(Fault::Cut);
        }
        Ok((given, is_end))
    }

    fn end_member(&mut self) -> Result<(), Fault> {
        let rest = &self.input.as_ref()[self.position..];
        let (crc, size) = match rest.first_chunk::<TRAILER_BYTES>() {
            Some(&[a, b, c, d, e, f, g, h]) => (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])),
            None => return Err(Fault::Cut),
        };
        if crc != self.crc.sum() {
            return Err(Fault::Corrupt("the output's checksum is wrong"));
        }
        if size != self.inflater.total_out() as u32 {
            return Err(Fault::Corrupt("the output's size is not the announced one"));
        }
        self.position += TRAILER_BYTES;
        self.is_in_member = false;
        if size == 0 {
            self.members_empty += 1;
            if self.members_empty > EMPTY_MEMBERS_MAX {
                return Err(Fault::Corrupt("it consists of empty members"));
            }
        }
        Ok(())
    }
}

/// Length of the member header at the start of `bytes`.
fn header_len(bytes: &[u8]) -> Result<usize, Fault> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Fault::Cut)?;
    if header[..2] != MAGIC || header[2] != DEFLATE {
        return Err(Fault::Corrupt("it does not start with a gzip header"));
    }
    let flags = header[3];
    if flags & FLAGS_RESERVED != 0 {
        return Err(Fault::Corrupt("the gzip header has unknown flags"));
    }
    let mut len = HEADER_BYTES;
    if flags & FLAG_EXTRA != 0 {
        let size: &[u8; 2] = bytes[len..].first_chunk().ok_or(Fault::Cut)?;
        len += 2 + usize::from(u16::from_le_bytes(*size));
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let text = bytes.get(len..).ok_or(Fault::Cut)?;
            len += 1 + nul_at(text).ok_or(Fault::Cut)?;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        len += 2;
    }
    if len > bytes.len() { Err(Fault::Cut) } else { Ok(len) }
}

fn nul_at(text: &[u8]) -> Option<usize> {
    text.iter().position(|&byte| byte == 0)
}

/// Writes one member.
pub(super) type Writer = flate2::write::GzEncoder<Vec<u8>>;

/// A writer with a level from 1 to 9, or the library's own for any other.
pub(super) fn writer(level: i32, out: Vec<u8>) -> Writer {
    let level = u32::try_from(level).ok().filter(|level| (1..=9).contains(level));
    Writer::new(out, level.map_or(Compression::default(), Compression::new))
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let mut encoder = flate2::write::GzEncoder::new(out, Compression::default());
    encoder.write_all(input).and_then(|()| encoder.try_finish()).expect("writing to memory does not fail");
}

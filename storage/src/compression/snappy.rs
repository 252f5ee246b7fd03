//! Snappy blocks: in the xerial library's framing, as Java's clients write them, or one bare block, as
//! librdkafka and Go clients do.
//!
//! ```text
//! xerial:  82 S N A P P Y 00 │ version i32 │ compatible i32 │ { length i32 │ block }*      (big-endian)
//! block:   output length varint │ elements
//! ```

//!
//! A block may refer back to any of its own output, so the output of a block is kept until the next; Java's
//! blocks are 32 KiB. A larger one is decoded element by element, so that a step need not do all of it.

use super::{Fault, STEP_BYTES};

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_VERSION: i32 = 1;
/// Input of one block, as Java's writer cuts it.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// The densest element, a copy in three bytes, yields 64: no block yields more than this times its size.
const EXPANSION_MAX: u64 = 22;

/// Decompresses block after block, and hands each out in slices.
pub(super) struct Reader<B> {
    input: B,
    position: usize,
    framing: Framing,
    decoder: snap::raw::Decoder,
    /// What is decoded of the current block.
    block: Vec<u8>,
    /// How much of `block` was handed out.
    given: usize,
    /// The block's elements still to be decoded, if it is a large one.
    pending: Option<Elements>,
    output_bytes_left: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Unknown,
    Xerial,
    Bare,
}

impl<B: AsRef<[u8]>> Reader<B> {
    pub(super) fn new(input: B, output_bytes_max: u64) -> Self {
        Self {
            input,
            position: 0,
            framing: Framing::Unknown,
            decoder: snap::raw::Decoder::new(),
            block: Vec::new(),
            given: 0,
            pending: None,
            output_bytes_left: output_bytes_max,
        }
    }

    /// Fills `out` from its start; how far. 0 means the end.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        while self.given == self.block.len() {
            if let Some(elements) = &mut self.pending {
                if elements.decode(self.input.as_ref(), &mut self.block)? {
                    self.pending = None;
                }
            } else if !self.next_block()? {
                return Ok(0);
            }
        }
        let rest = &self.block[self.given..];
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        self.given += len;
        Ok(len)
    }

    fn next_block(&mut self) -> Result<bool, Fault> {
        if self.framing == Framing::Unknown {
            self.start()?;
        }
        let rest = &self.input.as_ref()[self.position..];
        if rest.is_empty() {
            return Ok(false);
        }
        let (skip, len) = match self.framing {
            Framing::Xerial => {
                let len = i32::from_be_bytes(*rest.first_chunk().ok_or(Fault::Cut)?);
                (4, usize::try_from(len).map_err(|_| Fault::Corrupt("a block has a negative length"))?)
            }
            Framing::Unknown | Framing::Bare => (0, rest.len()),
        };
        let block = rest[skip..].get(..len).ok_or(Fault::Cut)?;
        let size = snap::raw::decompress_len(block).map_err(|_| Fault::Corrupt("a block's length is invalid"))?;
        if size as u64 > self.output_bytes_left {
            return Err(Fault::TooLarge);
        }
        if size as u64 > EXPANSION_MAX * block.len() as u64 {
            return Err(Fault::Corrupt("a block announces more than it can hold"));
        }
        if size > STEP_BYTES {
            let end = self.position + skip + len;
            self.block.clear();
            self.pending = Some(Elements { position: end - len + size_len(block), end, size });
        } else {
            self.block.resize(size, 0);
            self.decoder.decompress(block, &mut self.block).map_err(|_| Fault::Corrupt("a block is invalid"))?;
        }
        self.output_bytes_left -= size as u64;
        self.given = 0;
        self.position += skip + len;
        Ok(true)
    }

    fn start(&mut self) -> Result<(), Fault> {
        let input = self.input.as_ref();
        if !input.starts_with(&XERIAL_MAGIC) {
            self.framing = Framing::Bare;
            return Ok(());
        }
        let header: &[u8; XERIAL_HEADER_BYTES] = input.first_chunk().ok_or(Fault::Cut)?;
        let compatible = i32::from_be_bytes([header[12], header[13], header[14], header[15]]);
        if compatible > XERIAL_VERSION {
            return Err(Fault::Corrupt("its framing is newer than version 1"));
        }
        self.framing = Framing::Xerial;
        self.position = XERIAL_HEADER_BYTES;
        Ok(())
    }
}

/// Bytes that the output length at the start of a block takes.
fn size_len(block: &[u8]) -> usize {
    1 + block.iter().take_while(|&&byte| byte >= 0x80).count()
}

/// The elements of a block that are still to be decoded.
struct Elements {
    position: usize,
    end: usize,
    /// Output of the whole block.
    size: usize,
}

impl Elements {
    /// Decodes elements until there are [`STEP_BYTES`] more of output; whether the block is complete.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, Fault> {
        let target = out.len() + STEP_BYTES;
        while self.position < self.end {
            if out.len() >= target {
                return Ok(false);
            }
            self.position += decode_element(&input[self.position..self.end], out)?;
            if out.len() > self.size {
                return Err(Fault::Corrupt("a block yields more than it announces"));
            }
        }
        if out.len() < self.size { Err(Fault::Corrupt("a block yields less than it announces")) } else { Ok(true) }
    }
}

/// Decodes the element at the start of `bytes`; how many bytes it takes.
///
/// ```text
/// tag bits 0–1:  0 literal, length - 1 in the other bits, or from 60 on in 1–4 bytes that follow
///                1 copy, length - 4 in bits 2–4, offset in bits 5–7 and one byte
///                2 copy, length - 1 in the other bits, offset in 2 bytes
///                3 copy, length - 1 in the other bits, offset in 4 bytes       (little-endian)
/// ```
fn decode_element(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
    let little_endian = |from: usize, len: usize| -> Result<usize, Fault> {
        let bytes = bytes.get(from..from + len).ok_or(Fault::Cut)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    };
    let tag = usize::from(bytes[0]);
    let (len, offset, taken) = match tag & 3 {
        0 => {
            let extra = (tag >> 2).saturating_sub(59);
            let len = 1 + if extra == 0 { tag >> 2 } else { little_endian(1, extra)? };
            let literal = bytes.get(1 + extra..1 + extra + len).ok_or(Fault::Cut)?;
            out.extend_from_slice(literal);
            return Ok(1 + extra + len);
        }
        1 => (4 + (tag >> 2 & 7), (tag >> 5) << 8 | little_endian(1, 1)?, 2),
        2 => (1 + (tag >> 2), little_endian(1, 2)?, 3),
        _ => (1 + (tag >> 2), little_endian(1, 4)?, 5),
    };
    let start = out.len().checked_sub(offset).filter(|_| offset > 0).ok_or(Fault::Corrupt("a copy has no source"))?;
    // A copy may reach into its own output, which then repeats.
    let mut left = len;
    while left > 0 {
        let piece = left.min(out.len() - start);
        out.extend_from_within(start..start + piece);
        left -= piece;
    }
    Ok(taken)
}

/// Writes blocks in the xerial framing.
pub(super) struct Writer {
    out: Vec<u8>,
    encoder: snap::raw::Encoder,
    /// Input of the next block, less than a whole one.
    rest: Vec<u8>,
}

impl Writer {
    pub(super) fn new(mut out: Vec<u8>) -> Self {
        out.extend_from_slice(&XERIAL_MAGIC);
        out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
        out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
        Self { out, encoder: snap::raw::Encoder::new(), rest: Vec::new() }
    }

    pub(super) fn feed(&mut self, mut input: &[u8]) {
        while self.rest.len() + input.len() >= XERIAL_BLOCK_BYTES {
            let (now, later) = input.split_at(XERIAL_BLOCK_BYTES - self.rest.len());
            self.rest.extend_from_slice(now);
            self.write_block();
            input = later;
        }
        self.rest.extend_from_slice(input);
    }

    pub(super) fn output_bytes(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.rest.is_empty() {
            self.write_block();
        }
        self.out
    }

    fn write_block(&mut self) {
        let (out, piece) = (&mut self.out, &self.rest);
        let length_at = out.len();
        out.resize(length_at + 4 + snap::raw::max_compress_len(piece.len()), 0);
        let len = self
            .encoder
            .compress(piece, &mut out[length_at + 4..])
            .expect("the buffer has the size the library asks for");
        let length = i32::try_from(len).expect("a compressed piece of 32 KiB is small");
        out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        out.truncate(length_at + 4 + len);
        self.rest.clear();
    }
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let mut writer = Writer::new(std::mem::take(out));
    writer.feed(input);
    *out = writer.finish();
}

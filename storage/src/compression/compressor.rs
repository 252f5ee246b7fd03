//! Compression that may pause between any two pieces of its input.

use std::fmt;
use std::io::Write as _;

use super::{Codec, gzip, lz4, snappy, zstandard};

/// A codec with the effort it is to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The codec.
    pub codec: Codec,
    /// The codec's level: more is smaller and slower. It says nothing for codecs without levels; lz4's is taken, and
    /// makes no difference.
    pub level: i32,
}

impl Setting {
    /// The level of gzip that stands for the codec's own.
    pub const GZIP_LEVEL_OWN: i32 = -1;
}

/// A compression that is fed piece by piece. What it holds is the codec's window and the output so far.
pub struct Compressor {
    state: State,
}

enum State {
    Stored(Vec<u8>),
    Gzip(Box<gzip::Writer>),
    Snappy(Box<snappy::Writer>),
    Lz4(Box<lz4::Writer>),
    Zstd(zstandard::Writer),
}

impl Compressor {
    /// Starts; the output is appended to `out`.
    pub fn new(setting: Setting, out: Vec<u8>) -> Self {
        let state = match setting.codec {
            Codec::None => State::Stored(out),
            Codec::Gzip => State::Gzip(Box::new(gzip::writer(setting.level, out))),
            Codec::Snappy => State::Snappy(Box::new(snappy::Writer::new(out))),
            Codec::Lz4 => State::Lz4(Box::new(lz4::writer(out))),
            Codec::Zstd => State::Zstd(zstandard::writer(setting.level, out)),
        };
        Self { state }
    }

    /// Takes the next piece of input.
    pub fn feed(&mut self, input: &[u8]) {
        let written = match &mut self.state {
            State::Stored(out) => {
                out.extend_from_slice(input);
                Ok(())
            }
            State::Gzip(writer) => writer.write_all(input),
            State::Snappy(writer) => {
                writer.feed(input);
                Ok(())
            }
            State::Lz4(writer) => writer.write_all(input),
            State::Zstd(writer) => writer.write_all(input),
        };
        written.expect(TO_MEMORY);
    }

    /// Bytes of output so far, what it was appended to included. What the codec still holds back is not counted.
    pub fn output_bytes(&self) -> usize {
        match &self.state {
            State::Stored(out) => out.len(),
            State::Gzip(writer) => writer.get_ref().len(),
            State::Snappy(writer) => writer.output_bytes(),
            State::Lz4(writer) => writer.get_ref().len(),
            State::Zstd(writer) => writer.get_ref().len(),
        }
    }

    /// Ends the output.
    pub fn finish(self) -> Vec<u8> {
        match self.state {
            State::Stored(out) => out,
            State::Gzip(writer) => writer.finish().expect(TO_MEMORY),
            State::Snappy(writer) => writer.finish(),
            State::Lz4(writer) => writer.finish().expect(TO_MEMORY),
            State::Zstd(writer) => writer.finish().expect(TO_MEMORY),
        }
    }
}

/// Why the writers of the codecs do not fail.
const TO_MEMORY: &str = "writing to memory does not fail";

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("output_bytes", &self.output_bytes()).finish_non_exhaustive()
    }
}

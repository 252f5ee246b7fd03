//! The four codecs of record batches, bounded and resumable.
//!
//! A compressed batch comes from a stranger: a mebibyte of gzip can hide a gibibyte. A [`Decompressor`]
//! therefore yields its output in slices of at most [`STEP_BYTES`] and remembers where it was, so that its
//! user may stop between any two of them; what it holds in memory is the codec's window (one block for
//! snappy and lz4), never the whole output, and the output as a whole is capped.

mod compressor;
mod gzip;
mod lz4;
mod snappy;
mod zstandard;

use std::fmt;

pub use compressor::{Compressor, Setting};

/// Most bytes of output that one [`Decompressor::step`] yields.
pub const STEP_BYTES: usize = 64 * 1024;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of the xerial library, as Java writes them; read also without framing.
    Snappy,
    /// LZ4's frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec's number in a batch's attributes.
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec of a number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The codec with the effort that Java's clients take.
    pub fn setting(self) -> Setting {
        let level = match self {
            Self::None | Self::Snappy | Self::Lz4 => 0,
            Self::Gzip => Setting::GZIP_LEVEL_OWN,
            Self::Zstd => zstandard::LEVEL,
        };
        Setting { codec: self, level }
    }

    /// The codec's name as `compression.type` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why compressed bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The bytes end before the compressed stream does.
    Cut {
        /// How they claim to be compressed.
        codec: Codec,
    },
    /// The bytes are not what the codec writes.
    Corrupt {
        /// How they claim to be compressed.
        codec: Codec,
        /// What is wrong, as far as the codec tells.
        what: &'static str,
    },
    /// The output is larger than the cap.
    TooLarge {
        /// How the bytes are compressed.
        codec: Codec,
        /// Most bytes of output allowed.
        output_bytes_max: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { codec } => write!(f, "the {codec} data ends in its middle"),
            Self::Corrupt { codec, what } => write!(f, "the {codec} data cannot be decompressed: {what}"),
            Self::TooLarge { codec, output_bytes_max } => {
                write!(f, "the {codec} data decompresses to more than the {output_bytes_max} bytes allowed")
            }
        }
    }
}

impl std::error::Error for Error {}

/// What one step of a [`Decompressor`] gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The next bytes of the output: at least one, at most [`STEP_BYTES`].
    Output(&'a [u8]),
    /// There are no more.
    End,
}

/// A decompression that may pause between any two slices of its output. It owns the compressed bytes `B`.
pub struct Decompressor<B: AsRef<[u8]>> {
    state: State<B>,
    codec: Codec,
    output: Box<[u8]>,
    produced: u64,
    output_bytes_max: u64,
}

enum State<B: AsRef<[u8]>> {
    Stored { input: B, position: usize },
    Gzip(gzip::Reader<B>),
    Snappy(snappy::Reader<B>),
    Lz4(lz4::Reader<B>),
    Zstd(zstandard::Reader<B>),
}

impl<B: AsRef<[u8]>> Decompressor<B> {
    /// Starts on `input`, which may yield at most `output_bytes_max` bytes.
    pub fn new(codec: Codec, input: B, output_bytes_max: u64) -> Self {
        let state = match codec {
            Codec::None => State::Stored { input, position: 0 },
            Codec::Gzip => State::Gzip(gzip::Reader::new(input)),
            Codec::Snappy => State::Snappy(snappy::Reader::new(input, output_bytes_max)),
            Codec::Lz4 => State::Lz4(lz4::Reader::new(input)),
            Codec::Zstd => State::Zstd(zstandard::Reader::new(input)),
        };
        Self { state, codec, output: vec![0; STEP_BYTES].into_boxed_slice(), produced: 0, output_bytes_max }
    }

    /// The next slice of output.
    ///
    /// # Errors
    /// If the input is not what the codec writes, ends too early, or yields too much. The decompressor is of
    /// no further use then.
    pub fn step(&mut self) -> Result<Step<'_>, Error> {
        let filled = match &mut self.state {
            State::Stored { input, position } => {
                let rest = &input.as_ref()[*position..];
                let len = rest.len().min(self.output.len());
                self.output[..len].copy_from_slice(&rest[..len]);
                *position += len;
                Ok(len)
            }
            State::Gzip(reader) => reader.fill(&mut self.output),
            State::Snappy(reader) => reader.fill(&mut self.output),
            State::Lz4(reader) => reader.fill(&mut self.output),
            State::Zstd(reader) => reader.fill(&mut self.output),
        };
        let codec = self.codec;
        let too_large = Error::TooLarge { codec, output_bytes_max: self.output_bytes_max };
        let len = filled.map_err(|fault| match fault {
            Fault::Cut => Error::Cut { codec },
            Fault::Corrupt(what) => Error::Corrupt { codec, what },
            Fault::TooLarge => too_large,
        })?;
        self.produced += len as u64;
        if self.produced > self.output_bytes_max {
            return Err(too_large);
        }
        if len == 0 { Ok(Step::End) } else { Ok(Step::Output(&self.output[..len])) }
    }

    /// Bytes of output so far.
    pub fn produced(&self) -> u64 {
        self.produced
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Decompressor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("codec", &self.codec)
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

/// Why a codec's reader stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Cut,
    Corrupt(&'static str),
    TooLarge,
}

/// Decompresses all of `input` at once, for clients that want to see it; the broker steps a [`Decompressor`].
///
/// # Errors
/// As [`Decompressor::step`].
pub fn decompress_all(codec: Codec, input: &[u8], output_bytes_max: u64) -> Result<Vec<u8>, Error> {
    let mut decompressor = Decompressor::new(codec, input, output_bytes_max);
    let mut all = Vec::new();
    while let Step::Output(output) = decompressor.step()? {
        all.extend_from_slice(output);
    }
    Ok(all)
}

/// Appends `input`, compressed with the codec's default level, to `out`, in the form that Java's clients write.
pub fn compress(codec: Codec, input: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => gzip::compress(input, out),
        Codec::Snappy => snappy::compress(input, out),
        Codec::Lz4 => lz4::compress(input, out),
        Codec::Zstd => zstandard::compress(input, out),
    }
}

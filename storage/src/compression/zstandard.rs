//! Zstandard frames, one after another.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::Fault;

/// Largest window accepted, as a power of two: what every level up to 22 stays within, and what Java's
/// reader accepts. The library reserves the window when it reads the frame's header, but touches (and so
/// uses) no more of it than the output produced so far.
const WINDOW_LOG_MAX: u32 = 27;
/// The level of Java's clients.
pub(super) const LEVEL: i32 = 3;

pub(super) struct Reader<B> {
    input: B,
    position: usize,
    decoder: Decoder<'static>,
    /// Whether the input read so far ends with a frame's end.
    is_between_frames: bool,
}

impl<B: AsRef<[u8]>> Reader<B> {
    pub(super) fn new(input: B) -> Self {
        let mut decoder = Decoder::new().expect("a context without dictionary can be made");
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).expect("the library allows windows up to 2^31");
        Self { input, position: 0, decoder, is_between_frames: false }
    }

    /// Fills `out` from its start; how far. 0 means the end.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        loop {
            let rest = &self.input.as_ref()[self.position..];
            if rest.is_empty() && self.is_between_frames {
                return Ok(0);
            }
            let mut source = InBuffer::around(rest);
            let mut target = OutBuffer::around(&mut *out);
            let hint = self.decoder.run(&mut source, &mut target).map_err(|_| Fault::Corrupt("a frame is invalid"))?;
            let (taken, given) = (source.pos(), target.pos());
            self.position += taken;
            self.is_between_frames = hint == 0;
            if given > 0 {
                return Ok(given);
            }
            if taken == 0 && !self.is_between_frames {
                return Err(Fault::Cut);
            }
        }
    }
}

/// Largest window written, as a power of two: with it the highest level takes some tens of MiB, without it ten times
/// as much.
const WRITTEN_WINDOW_LOG_MAX: u32 = 21;

/// Writes one frame.
pub(super) type Writer = zstd::stream::write::Encoder<'static, Vec<u8>>;

/// A writer of any level that the library has; a level beyond them is the nearest.
pub(super) fn writer(level: i32, out: Vec<u8>) -> Writer {
    let levels = zstd::compression_level_range();
    let level = level.clamp(*levels.start(), *levels.end());
    let mut writer = Writer::new(out, level).expect("a context without dictionary can be made");
    writer.window_log(WRITTEN_WINDOW_LOG_MAX).expect("the library takes this window");
    writer
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    zstd::stream::copy_encode(input, out, LEVEL).expect("writing to memory does not fail");
}

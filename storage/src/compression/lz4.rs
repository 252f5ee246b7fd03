//! One LZ4 frame. The header checksum is the format's own (Kafka's before message format v2 was not).

use std::io::{Cursor, Error, ErrorKind, Read as _, Write as _};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::Fault;

/// Reads one frame, a block at a time; what follows the frame is not looked at.
pub(super) struct Reader<B: AsRef<[u8]>> {
    decoder: Box<FrameDecoder<Cursor<B>>>,
    is_at_end: bool,
}

impl<B: AsRef<[u8]>> Reader<B> {
    pub(super) fn new(input: B) -> Self {
        Self { decoder: Box::new(FrameDecoder::new(Cursor::new(input))), is_at_end: false }
    }

    /// Fills `out` from its start; how far. 0 means the end.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        if self.is_at_end {
            return Ok(0);
        }
        let len = self.decoder.read(out).map_err(|error| fault(&error))?;
        self.is_at_end = len == 0;
        Ok(len)
    }
}

fn fault(error: &Error) -> Fault {
    if error.kind() == ErrorKind::UnexpectedEof {
        return Fault::Cut;
    }
    use lz4_flex::frame::Error as Frame;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Frame>()) {
        Some(Frame::WrongMagicNumber) => Fault::Corrupt("it does not start with an LZ4 frame"),
        Some(Frame::HeaderChecksumError) => Fault::Corrupt("the frame header's checksum is wrong"),
        Some(Frame::BlockChecksumError) => Fault::Corrupt("a block's checksum is wrong"),
        Some(Frame::ContentChecksumError) => Fault::Corrupt("the output's checksum is wrong"),
        Some(Frame::ContentLengthError { .. }) => Fault::Corrupt("the output's size is not the announced one"),
        Some(Frame::DictionaryNotSupported) => Fault::Corrupt("it needs a dictionary"),
        _ => Fault::Corrupt("a block is invalid"),
    }
}

/// Writes one frame.
pub(super) type Writer = FrameEncoder<Vec<u8>>;

/// A writer of frames as Kafka's clients write them.
pub(super) fn writer(out: Vec<u8>) -> Writer {
    FrameEncoder::with_frame_info(frame_info(), out)
}

/// Kafka's Java reader refuses linked blocks, and so clients write 64 KiB independent ones.
fn frame_info() -> FrameInfo {
    FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB)
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let mut encoder = FrameEncoder::with_frame_info(frame_info(), out);
    encoder.write_all(input).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail");
}

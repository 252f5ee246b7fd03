//! Lines of files, read on a thread of its own.
//!
//! A line ends at `\n` and nowhere else: a `\r` before it belongs to the record, a last line without `\n` is a record,
//! an empty line is an empty record, and an empty file is none.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// Lines that are handed over together at most, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Chunks that wait to be produced.
const CHUNKS_MAX: usize = 16;

/// Some lines of one source, in order.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Index of the source among all.
    pub(super) source: usize,
    /// Number of the first line, from 1.
    pub(super) first_line: u64,
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    /// Where it ends in the chunk's bytes.
    end: usize,
    /// Its real length if it is too long to be kept.
    too_long: Option<usize>,
}

/// What comes from the input.
#[derive(Debug)]
pub(super) enum Input {
    /// Lines.
    Lines(Chunk),
    /// A source cannot be read further; it ends the input.
    Failed {
        /// The source.
        source: usize,
        /// Why.
        error: io::Error,
    },
}

/// Where lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Standard input.
    Standard,
    /// A file.
    File(PathBuf),
}

impl Source {
    /// `-` is standard input, and so is no file at all.
    pub(super) fn all(files: &[PathBuf]) -> Vec<Self> {
        let source = |file: &PathBuf| if file == Path::new("-") { Self::Standard } else { Self::File(file.clone()) };
        if files.is_empty() { vec![Self::Standard] } else { files.iter().map(source).collect() }
    }

    /// Its name for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Standard => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Its size in bytes, if it is a regular file.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Standard => None,
            Self::File(path) => path.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len()),
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Standard => Box::new(io::stdin()),
            Self::File(path) => Box::new(File::open(path)?),
        })
    }
}

impl Chunk {
    /// The lines; one that is longer than allowed is given by its length.
    pub(super) fn lines(&self) -> impl Iterator<Item = Result<&[u8], usize>> {
        let starts = std::iter::once(0).chain(self.lines.iter().map(|line| line.end));
        starts.zip(&self.lines).map(|(start, line)| match line.too_long {
            None => Ok(&self.bytes[start..line.end]),
            Some(length) => Err(length),
        })
    }
}

/// Reads the sources one after another. Lines over `line_bytes_max` are not kept.
pub(super) fn read(sources: Vec<Source>, line_bytes_max: usize) -> Receiver<Input> {
    let (sender, receiver) = bounded(CHUNKS_MAX);
    // The thread may be blocked in a read when the process ends; nobody waits for it.
    thread::spawn(move || {
        for (index, source) in sources.iter().enumerate() {
            let read = source.open().and_then(|file| read_lines(file, index, line_bytes_max, &sender));
            if let Err(error) = read {
                // Nobody listens any more once the producer has stopped.
                let _ = sender.send(Input::Failed { source: index, error });
                return;
            }
        }
    });
    receiver
}

fn read_lines(file: impl Read, source: usize, line_bytes_max: usize, sender: &Sender<Input>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let mut chunk = Chunk { source, first_line: 1, ..Chunk::default() };
    let mut line_length = 0;
    loop {
        let read = match reader.fill_buf() {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read.is_empty() {
            break;
        }
        let newline = read.iter().position(|&byte| byte == b'\n');
        let piece = &read[..newline.unwrap_or(read.len())];
        line_length += piece.len();
        if line_length <= line_bytes_max {
            chunk.bytes.extend_from_slice(piece);
        }
        let consumed = piece.len() + usize::from(newline.is_some());
        reader.consume(consumed);
        if newline.is_some() {
            chunk.end_line(std::mem::take(&mut line_length), line_bytes_max);
            // A person who types must not wait for a full chunk.
            if chunk.bytes.len() >= CHUNK_BYTES || reader.buffer().is_empty() {
                chunk = chunk.hand_over(sender)?;
            }
        }
    }
    if line_length > 0 {
        chunk.end_line(line_length, line_bytes_max);
    }
    if !chunk.lines.is_empty() {
        chunk.hand_over(sender)?;
    }
    Ok(())
}

impl Chunk {
    fn end_line(&mut self, length: usize, line_bytes_max: usize) {
        let too_long = (length > line_bytes_max).then_some(length);
        if too_long.is_some() {
            self.bytes.truncate(self.lines.last().map_or(0, |line| line.end));
        }
        self.lines.push(Line { end: self.bytes.len(), too_long });
    }

    /// Sends the chunk, and gives back the next one.
    fn hand_over(self, sender: &Sender<Input>) -> io::Result<Self> {
        let (source, first_line) = (self.source, self.first_line + self.lines.len() as u64);
        sender.send(Input::Lines(self)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(Self { source, first_line, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], line_bytes_max: usize) -> Vec<Result<Vec<u8>, usize>> {
        let (sender, receiver) = bounded(1000);
        read_lines(text, 0, line_bytes_max, &sender).unwrap();
        drop(sender);
        let mut lines = Vec::new();
        for input in receiver {
            let Input::Lines(chunk) = input else { panic!("{input:?}") };
            assert_eq!(chunk.first_line, lines.len() as u64 + 1);
            lines.extend(chunk.lines().map(|line| line.map(<[u8]>::to_vec)));
        }
        lines
    }

    fn texts(text: &str) -> Vec<String> {
        lines(text.as_bytes(), 1 << 20).into_iter().map(|line| String::from_utf8(line.unwrap()).unwrap()).collect()
    }

    #[test]
    fn a_line_ends_at_a_newline_and_nowhere_else() {
        assert_eq!(texts(""), Vec::<String>::new());
        assert_eq!(texts("a"), ["a"]);
        assert_eq!(texts("a\r\nb\rc\r\n"), ["a\r", "b\rc\r"]);
        assert_eq!(texts("\n\na\n\n"), ["", "", "a", ""]);
    }

    #[test]
    fn long_input_comes_in_chunks_whose_lines_are_numbered_on() {
        let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
        let read = texts(&text);
        assert_eq!(read.len(), 20_000);
        assert_eq!(read[19_999], "line 19999");
    }

    #[test]
    fn a_line_that_is_too_long_costs_only_itself() {
        let text = format!("ab\n{}\ncd", "x".repeat(200_000));
        assert_eq!(lines(text.as_bytes(), 10), [Ok(b"ab".to_vec()), Err(200_000), Ok(b"cd".to_vec())]);
    }
}

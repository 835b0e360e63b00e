//! Where log lines come from: files, compressed or not, and standard input.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use rustix::fs::{Mode, OFlags};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::objects::{self, Objects};
use super::utf16::{Order, Utf16};
use crate::replay::interrupt::Interrupt;
use crate::values::failure::Failure;

const BUFFER: usize = 256 * 1024;

/// An opened log.
pub struct Source {
    pub name: String,
    pub reader: Box<dyn BufRead>,
    /// Bytes taken from the file so far: compressed ones where it is compressed, which is what its size counts, too.
    pub taken: Rc<Cell<u64>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens `path`; `-` is standard input. What may be silent, as a pipe, ends when `interrupt` asks for it.
    pub(crate) fn open(path: &Path, interrupt: &Interrupt) -> Result<Self, Failure> {
        let is_input = path == Path::new("-");
        let name = if is_input { "standard input".to_owned() } else { path.display().to_string() };
        let fail = |error: io::Error| Failure::NoInput(format!("cannot read {}: {error}", path.display()));
        if is_input {
            let input = io::stdin();
            if input.is_terminal() {
                crate::values::output::complain(&"reading a log from standard input; end it with Ctrl-D");
            }
            // Without the buffer of the standard library, of which no poll knows.
            let file = File::from(input.as_fd().try_clone_to_owned().map_err(fail)?);
            return Self::new(name, Silent { file, interrupt: interrupt.clone() });
        }
        let about = std::fs::metadata(path).map_err(fail)?;
        if about.is_dir() {
            return Err(Failure::NoInput(format!("cannot read {name}: it is a directory")));
        }
        if about.is_file() {
            return Self::new(name, File::open(path).map_err(fail)?);
        }
        // To open a named pipe would wait until somebody writes to it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| fail(error.into()))?;
        Self::new(name, Silent { file: file.into(), interrupt: interrupt.clone() })
    }

    /// Whether there is a file at `path` that can be opened.
    pub(crate) fn is_there(path: &Path) -> Result<(), Failure> {
        if path == Path::new("-") {
            return Ok(());
        }
        let name = path.display();
        let fail = |error: io::Error| Failure::NoInput(format!("cannot read {name}: {error}"));
        if std::fs::metadata(path).map_err(fail)?.is_dir() {
            return Err(Failure::NoInput(format!("cannot read {name}: it is a directory")));
        }
        // Opening a pipe can be done once.
        if std::fs::metadata(path).map_err(fail)?.is_file() { File::open(path).map(drop).map_err(fail) } else { Ok(()) }
    }

    /// A log that is in memory.
    pub(crate) fn of_text(name: &str, text: String) -> Result<Self, Failure> {
        Self::new(name.to_owned(), Cursor::new(text))
    }

    fn new(name: String, input: impl Read + 'static) -> Result<Self, Failure> {
        let taken = Rc::new(Cell::new(0));
        let mut counted = Counted { input, taken: Rc::clone(&taken) };
        let start = beginning(&mut counted).map_err(|error| read_failure(&name, &error))?;
        let kind = Compression::of(&start);
        let whole: BufReader<Chain<_, _>> = BufReader::with_capacity(BUFFER, Cursor::new(start.clone()).chain(counted));
        let mut reader: Box<dyn BufRead> = match kind {
            None => Box::new(whole),
            Some(Compression::Gzip) => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole))),
            Some(Compression::Zstd) => Box::new(BufReader::with_capacity(BUFFER, Zstd::new(whole))),
            Some(Compression::Bzip2) => Box::new(BufReader::with_capacity(BUFFER, MultiBzDecoder::new(whole))),
            Some(Compression::Xz) => Box::new(BufReader::with_capacity(BUFFER, Xz(XzReader::new(whole, true)))),
            Some(Compression::Zip) => {
                return Err(Failure::Data(format!(
                    "{name} is compressed in a way that is not read here; try `unzip -p {name} | tollgate replay ... -`"
                )));
            }
        };
        // Of what is in the archive; one that is damaged there says so when it is read.
        let fail = |error: io::Error| read_failure(&name, &error);
        let mut start = start;
        if kind.is_some() {
            start = beginning(&mut reader).map_err(fail)?;
            reader = Box::new(Cursor::new(start.clone()).chain(reader));
        }
        if let Some(order) = Order::of(&start) {
            reader = Box::new(BufReader::with_capacity(BUFFER, Utf16::new(reader, order)));
            start = beginning(&mut reader).map_err(fail)?;
            reader = Box::new(Cursor::new(start.clone()).chain(reader));
        }
        if objects::may_go_on(&start) {
            // It is in the reader still.
            reader.read_exact(&mut vec![0; start.len()]).map_err(fail)?;
            first_line(&mut reader, &mut start);
            reader = Box::new(Cursor::new(start.clone()).chain(reader));
        }
        if objects::is_spread(&start) {
            // A byte order mark is no text between objects.
            if start.starts_with("\u{feff}".as_bytes()) {
                reader.read_exact(&mut [0; 3]).map_err(|error| read_failure(&name, &error))?;
            }
            reader = Box::new(BufReader::with_capacity(BUFFER, Objects::new(reader)));
        }
        Ok(Self { name, reader, taken })
    }
}

/// An error while reading `name`.
///
/// A damaged archive is bad data; everything else is the disk's or the network's fault.
pub(crate) fn read_failure(name: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Failure::Data(format!("{name} is damaged: {error}"))
        }
        _ => Failure::Io(format!("cannot read {name}: {error}")),
    }
}

/// The first few bytes, as many as there are: a pipe may give them one by one.
fn beginning(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(6);
    input.take(6).read_to_end(&mut start)?;
    Ok(start)
}

/// Reads on to the end of the first line, or as much of it as tells what it is. Nothing of a line is used before its end, so nobody waits
/// for longer. An error comes again when the rest is read.
fn first_line(input: &mut impl BufRead, start: &mut Vec<u8>) {
    const ENOUGH: usize = 64 * 1024;
    while start.len() < ENOUGH {
        let chunk = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) | Ok([]) => return,
            Ok(chunk) => chunk,
        };
        let end = memchr::memchr(b'\n', chunk).map(|end| end + 1);
        let count = end.unwrap_or(chunk.len()).min(ENOUGH);
        start.extend_from_slice(&chunk[..count]);
        input.consume(count);
        if end == Some(count) {
            return;
        }
    }
}

/// How a file is compressed, by its first bytes: names lie.
enum Compression {
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    Zip,
}

impl Compression {
    fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // Also a frame that decoders skip, as `pzstd` writes in front.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            _ => None,
        }
    }
}

/// Of xz, whose decoder does not tell damage from other errors; the file's own have a kind.
struct Xz<R: Read>(XzReader<R>);

impl<R: Read> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Other => io::Error::new(io::ErrorKind::InvalidData, error),
            _ => error,
        })
    }
}

/// Zstandard, all frames of a file one after the other.
struct Zstd<R: BufRead> {
    source: R,
    frame: FrameDecoder,
    is_inside: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        Self { source, frame: FrameDecoder::new(), is_inside: false }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let damaged = |error: &dyn fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        loop {
            if self.is_inside {
                let read = self.frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                if !self.frame.is_finished() {
                    let step = BlockDecodingStrategy::UptoBytes(buffer.len());
                    self.frame.decode_blocks(&mut self.source, step).map_err(|error| damaged(&error))?;
                    continue;
                }
                self.is_inside = self.frame.can_collect() > 0;
                let (said, is) = (self.frame.get_checksum_from_data(), self.frame.get_calculated_checksum());
                if !self.is_inside && said.is_some() && said != is {
                    return Err(damaged(&"the checksum is wrong"));
                }
                continue;
            }
            if self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.frame.reset(&mut self.source) {
                Ok(()) => self.is_inside = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
    }
}

/// What may have nothing to read for any time, and ends when somebody asks for an end.
struct Silent {
    file: File,
    interrupt: Interrupt,
}

impl Read for Silent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.interrupt.wait_for(self.file.as_fd())?;
            if self.interrupt.is_on() {
                return Ok(0);
            }
            match self.file.read(buffer) {
                // Somebody else has read it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Counts what passes through, for the progress bar.
struct Counted<R> {
    input: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.taken.set(self.taken.get() + u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

//! Where log lines come from: files, gzip or not, and standard input.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, IsTerminal, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

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
    /// Opens `path`; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let input = io::stdin();
            if input.is_terminal() {
                crate::values::output::complain(&"reading a log from standard input; end it with Ctrl-D");
            }
            return Self::new("standard input".to_owned(), input.lock());
        }
        let name = path.display().to_string();
        let fail = |error: io::Error| Failure::NoInput(format!("cannot read {name}: {error}"));
        let file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.is_dir() {
            return Err(Failure::NoInput(format!("cannot read {name}: it is a directory")));
        }
        Self::new(name, file)
    }

    /// A log that is in memory.
    pub(crate) fn of_text(name: &str, text: String) -> Result<Self, Failure> {
        Self::new(name.to_owned(), Cursor::new(text))
    }

    fn new(name: String, input: impl Read + 'static) -> Result<Self, Failure> {
        let taken = Rc::new(Cell::new(0));
        let mut counted = Counted { input, taken: Rc::clone(&taken) };
        let start = beginning(&mut counted).map_err(|error| read_failure(&name, &error))?;
        if let Some(tool) = other_compression(&start) {
            return Err(Failure::Data(format!(
                "{name} is compressed in a way that is not read here; try `{tool} {name} | tollgate replay ... -`"
            )));
        }
        let is_gzip = start.starts_with(&[0x1f, 0x8b]);
        let whole: BufReader<Chain<_, _>> = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(counted));
        let reader: Box<dyn BufRead> = if is_gzip {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
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

fn other_compression(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstdcat"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("xzcat"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some("bzcat"),
        [b'P', b'K', 3, 4, ..] => Some("unzip -p"),
        _ => None,
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

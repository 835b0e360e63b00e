//! Reading the logs: every line is a record, blank, or counted as unreadable.

use std::fmt;
use std::path::PathBuf;

use super::log::lines::{self, Line, MAX_LINE};
use super::log::source::{Source, read_failure};
use super::log::{self, Reason, Request};
use super::progress::Progress;
use super::record::{Record, Texts};
use crate::values::failure::Failure;
use crate::values::output::{grouped, printable, shortened};

/// How many unreadable lines, and how many odd ones, are shown.
const SHOWN: usize = 5;

/// An input is given up as no log after so many bytes without a readable line, so that an endless one ends.
const GIVE_UP: usize = 64 << 20;

/// What of a request is kept, as a text: requests with the same text are the same in the replay.
pub trait Keep {
    /// Writes what is kept of `request` into `text`, which is empty. Returns whether the request is complete: whether
    /// the log tells an address and a target.
    fn keep(&self, request: &Request<'_>, text: &mut String) -> bool;
}

/// All that the logs hold.
#[derive(Debug, Default)]
pub struct Input {
    pub records: Vec<Record>,
    /// What was kept of the requests, each once.
    pub texts: Texts,
    pub files: Vec<FileCount>,
    /// The first few lines that could not be read.
    pub unreadable: Vec<Flaw>,
    /// The first few lines that were kept although their end is odd.
    pub odd: Vec<Flaw>,
    /// Requests without an address, or without a target.
    pub incomplete: u64,
    /// Requests earlier than one before them in the files.
    pub out_of_order: u64,
}

/// What one file holds.
#[derive(Debug, Default)]
pub struct FileCount {
    pub name: String,
    pub lines: u64,
    pub requests: u64,
    pub blank: u64,
    pub unreadable: u64,
    pub odd: u64,
}

/// Where a line is not as it should be.
#[derive(Debug)]
pub struct Flaw {
    pub file: String,
    pub line: u64,
    pub reason: Reason,
    /// The beginning of the line.
    pub text: String,
}

/// Reads lines into an [`Input`].
pub struct Reader<'p> {
    keep: &'p dyn Keep,
    input: Input,
    latest: u64,
    text: String,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("input", &self.input).finish_non_exhaustive()
    }
}

impl<'p> Reader<'p> {
    pub fn new(keep: &'p dyn Keep) -> Self {
        Self { keep, input: Input::default(), latest: 0, text: String::new() }
    }

    /// Reads several files, one after the other.
    pub(crate) fn files(mut self, paths: &[PathBuf]) -> Result<Input, Failure> {
        let total = paths.iter().map(|path| std::fs::metadata(path).map_or(0, |about| about.len())).sum();
        let mut progress = Progress::reading(total);
        for path in paths {
            self.source(Source::open(path)?, &mut progress)?;
        }
        self.finish()
    }

    /// Reads one log that is open already.
    pub fn one(mut self, source: Source) -> Result<Input, Failure> {
        self.source(source, &mut Progress::none())?;
        self.finish()
    }

    fn source(&mut self, mut source: Source, progress: &mut Progress) -> Result<(), Failure> {
        let mut count = FileCount { name: printable(&source.name), ..FileCount::default() };
        let first_flaw = self.input.unreadable.len();
        let mut buffer = Vec::new();
        let mut unread_bytes = 0;
        let failure = |error: &_, count: &FileCount| match read_failure(&count.name, error) {
            Failure::Data(text) => Failure::Data(format!("{text} (after line {})", count.lines)),
            other => other,
        };
        while let Some(line) = lines::next(&mut *source.reader, &mut buffer).map_err(|error| failure(&error, &count))? {
            count.lines += 1;
            unread_bytes += buffer.len();
            match line {
                Line::Whole => self.line(&buffer, &mut count)?,
                Line::TooLong { goes_on } => {
                    self.unreadable(&mut count, format!("longer than {MAX_LINE} bytes").into(), b"");
                    let mut is_over = !goes_on;
                    unread_bytes += MAX_LINE;
                    while !is_over && (count.requests > 0 || unread_bytes <= GIVE_UP) {
                        let (skipped, end) =
                            lines::skip(&mut *source.reader).map_err(|error| failure(&error, &count))?;
                        unread_bytes += skipped;
                        is_over = end;
                    }
                }
            }
            if count.requests == 0 && unread_bytes > GIVE_UP {
                break;
            }
            if count.lines.is_multiple_of(4_096) {
                progress.at(source.taken.get());
            }
        }
        progress.file_done(source.taken.get());
        // Log rotation leaves empty files; lines without a single request among them are something else.
        if count.requests == 0 && count.unreadable > 0 {
            let why = self
                .input
                .unreadable
                .get(first_flaw)
                .map_or_else(String::new, |flaw| format!(" (line {}: {})", flaw.line, flaw.reason));
            let lines = grouped(count.lines);
            return Err(Failure::Data(format!(
                "{} is not an access log: none of {lines} lines can be read{why}",
                count.name
            )));
        }
        self.input.files.push(count);
        Ok(())
    }

    fn line(&mut self, bytes: &[u8], count: &mut FileCount) -> Result<(), Failure> {
        let text = match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("not UTF-8 from byte {} on", error.valid_up_to() + 1);
                self.unreadable(count, reason.into(), bytes);
                return Ok(());
            }
        };
        // Windows tools put a byte order mark in front of a file.
        let text = if count.lines == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        if text.trim().is_empty() {
            count.blank += 1;
            return Ok(());
        }
        let request = match log::parse(text) {
            Ok(request) => request,
            Err(reason) => {
                self.unreadable(count, reason, bytes);
                return Ok(());
            }
        };
        count.requests += 1;
        if request.odd_tail {
            count.odd += 1;
            if self.input.odd.len() < SHOWN {
                self.input.odd.push(flaw(count, "the line is odd or cut off after the request".into(), bytes));
            }
        }
        if request.time < self.latest {
            self.input.out_of_order += 1;
        }
        self.latest = self.latest.max(request.time);
        self.text.clear();
        self.input.incomplete += u64::from(!self.keep.keep(&request, &mut self.text));
        let id = self.input.texts.intern(&self.text)?;
        self.input.records.push(Record { time: request.time, request: id });
        Ok(())
    }

    fn unreadable(&mut self, count: &mut FileCount, reason: Reason, bytes: &[u8]) {
        count.unreadable += 1;
        if self.input.unreadable.len() < SHOWN {
            self.input.unreadable.push(flaw(count, reason, bytes));
        }
    }

    /// Puts the records in order of time; the sort is stable, so equal times stay in the order of the files.
    fn finish(mut self) -> Result<Input, Failure> {
        if self.input.records.is_empty() {
            let names: Vec<&str> = self.input.files.iter().map(|file| file.name.as_str()).collect();
            return Err(Failure::Data(format!("there is no request in {}", names.join(", "))));
        }
        if self.input.out_of_order > 0 {
            self.input.records.sort_by_key(|record| record.time);
        }
        self.input.texts.seal();
        Ok(self.input)
    }
}

fn flaw(count: &FileCount, reason: Reason, bytes: &[u8]) -> Flaw {
    let start = &bytes[..bytes.len().min(400)];
    let text = shortened(&printable(&String::from_utf8_lossy(start)), 80);
    Flaw { file: count.name.clone(), line: count.lines, reason: printable(&reason).into(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ByClient;

    impl Keep for ByClient {
        fn keep(&self, request: &Request<'_>, text: &mut String) -> bool {
            text.push_str(request.client.as_deref().unwrap_or_default());
            true
        }
    }

    /// Which of two requests at the same instant comes first shows in no count, so it is looked at here.
    #[test]
    fn equal_times_stay_in_the_order_of_the_files() {
        let line = |client: &str, second: u32| format!("{{\"ts\":{second},\"ip\":\"{client}\"}}\n");
        let files =
            [[line("a", 5), line("b", 3), line("c", 5)].concat(), [line("d", 3), line("a", 3), line("e", 4)].concat()];
        let mut reader = Reader::new(&ByClient);
        for text in files {
            reader.source(Source::of_text("text", text).unwrap(), &mut Progress::none()).unwrap();
        }
        let input = reader.finish().unwrap();
        let order: String = input.records.iter().map(|record| input.texts.text(record.request)).collect();
        assert_eq!(order, "bdaeac");
        assert_eq!(input.out_of_order, 4);
    }
}

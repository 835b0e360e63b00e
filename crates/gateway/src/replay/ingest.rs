//! Reading the logs: every line is a record, blank, or counted as unreadable.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::interrupt::Interrupt;
use super::log::form::FORMS;
use super::log::lines::{self, Line, MAX_LINE};
use super::log::source::{Source, read_failure};
use super::log::{Form, Parsed, Parser, Reason, Request, Rules};
use super::progress::Progress;
use super::record::{Record, Records, Texts};
use crate::values::failure::Failure;
use crate::values::output::{grouped, printable, shortened};

/// How many unreadable lines, and how many odd ones, are shown.
const SHOWN: usize = 5;

/// How many of the words are shown that stand in the place of an address.
const STRANGERS: usize = 3;

/// A limiter takes times up to ten years after the one its clock showed when it was built. In nanoseconds.
const LONGEST: u64 = 3_650 * 86_400 * 1_000_000_000;

/// An input is given up as no log after so many bytes without a readable line, so that an endless one ends.
const GIVE_UP: usize = 64 << 20;

/// What of a request is kept, as a text: requests with the same text are the same in the replay.
pub trait Keep {
    /// Writes what is kept of `request` into `text`, which is empty.
    fn keep(&self, request: &Request<'_>, text: &mut String);
}

/// All that the logs hold.
#[derive(Debug, Default)]
pub struct Input {
    pub records: Records,
    /// What was kept of the requests, each once.
    pub texts: Texts,
    pub files: Vec<FileCount>,
    /// The first few lines that could not be read.
    pub unreadable: Vec<Flaw>,
    /// The first few lines that were kept although their end is odd.
    pub odd: Vec<Flaw>,
    /// Requests without an address, or without a target.
    pub incomplete: u64,
    /// Requests without an address.
    pub without_address: u64,
    /// What stands in the place of some of those addresses.
    pub strangers: Vec<String>,
    /// Requests whose client is the last of a list of addresses.
    pub lists: u64,
    /// Times that did not say their zone.
    pub zoneless: u64,
    /// Requests more than ten years from the others, which are left out, and the time of one of them.
    pub far_away: (u64, u64),
    /// Files that were left out, or were read up to where they are damaged, and why.
    pub left_out: Vec<(String, String)>,
    /// Whether somebody ended the reading.
    pub is_interrupted: bool,
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
    /// Lines that are comments, as in W3C logs.
    pub comments: u64,
    /// Pieces of lines that another line ends.
    pub pieces: u64,
    /// Requests before or after what was asked for.
    pub outside: u64,
    /// How many requests had each form.
    pub forms: [u64; FORMS],
}

impl FileCount {
    /// The forms that its requests had, the most frequent first.
    pub(crate) fn forms(&self) -> Vec<(Form, u64)> {
        let mut forms: Vec<(Form, u64)> =
            Form::all().map(|form| (form, self.forms[form.index()])).filter(|(_, count)| *count > 0).collect();
        forms.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        forms
    }
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

/// What is read of the logs, and how.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub rules: Rules,
    /// Requests before this time are left out; in nanoseconds since 1970.
    pub since: u64,
    /// And those at this time or later.
    pub until: u64,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { rules: Rules::default(), since: 0, until: u64::MAX }
    }
}

/// Reads lines into an [`Input`].
pub struct Reader<'p> {
    keep: &'p dyn Keep,
    wanted: &'p Wanted,
    interrupt: &'p Interrupt,
    input: Input,
    latest: u64,
    text: String,
    /// Whether what is being read was given up as no log before its end.
    gave_up: bool,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("input", &self.input).finish_non_exhaustive()
    }
}

impl<'p> Reader<'p> {
    pub fn new(keep: &'p dyn Keep, wanted: &'p Wanted, interrupt: &'p Interrupt) -> Self {
        Self { keep, wanted, interrupt, input: Input::default(), latest: 0, text: String::new(), gave_up: false }
    }

    /// Reads several files, one after the other. One that is no log or is damaged does not keep the others from being read.
    pub(crate) fn files(mut self, paths: &[PathBuf]) -> Result<Input, Failure> {
        let total = paths.iter().map(|path| std::fs::metadata(path).map_or(0, |about| about.len())).sum();
        // A name that was misspelt should not show after the others have been read.
        paths.iter().try_for_each(|path| Source::is_there(path))?;
        let mut progress = Progress::reading(total);
        let mut first = None;
        for path in paths {
            let outcome = Source::open(path, self.interrupt).and_then(|source| self.source(source, &mut progress));
            match outcome {
                // An archive that was not read to its end looks damaged.
                Err(Failure::Data(_)) if self.interrupt.is_on() && !self.input.records.is_empty() => {
                    self.input.is_interrupted = true;
                }
                Err(Failure::Data(text)) if paths.len() > 1 => {
                    self.input.left_out.push((printable(&path.display().to_string()), printable(&text)));
                    first.get_or_insert(text);
                }
                other => other?,
            }
            if self.input.is_interrupted {
                break;
            }
        }
        match first {
            Some(text) if self.input.records.is_empty() => Err(Failure::Data(text)),
            _ => self.finish(),
        }
    }

    /// Reads one log that is open already.
    pub fn one(mut self, source: Source) -> Result<Input, Failure> {
        self.source(source, &mut Progress::none())?;
        self.finish()
    }

    fn source(&mut self, mut source: Source, progress: &mut Progress) -> Result<(), Failure> {
        let mut count = FileCount { name: printable(&source.name), ..FileCount::default() };
        let (flaws, odds) = (self.input.unreadable.len(), self.input.odd.len());
        self.gave_up = false;
        let mut parser = Parser::new(&self.wanted.rules);
        let mut damage = None;
        let read = self.lines(&mut source, &mut parser, &mut count, progress)?;
        self.input.is_interrupted = self.interrupt.is_on();
        if let Err(error) = read
            && !self.input.is_interrupted
        {
            let failure = match read_failure(&count.name, &error) {
                Failure::Data(text) => Failure::Data(format!("{text} (after line {})", count.lines)),
                other => return Err(other),
            };
            damage = Some(failure);
        }
        progress.file_done(source.taken.get());
        for _ in 0..parser.unended() {
            // Its last piece was counted as one, and is what there is of the line.
            count.pieces -= 1;
            self.unreadable(&mut count, "the rest of the line is missing".into(), b"");
        }
        // Log rotation leaves empty files; lines without a single request among them are something else.
        if count.requests + count.outside == 0 && count.unreadable > 0 {
            let flaw = self.input.unreadable.get(flaws);
            let why = flaw.map_or_else(String::new, |flaw| format!(" (line {}: {})", flaw.line, flaw.reason));
            let what = if self.gave_up {
                format!("nothing in its first {} MiB", GIVE_UP >> 20)
            } else {
                format!("none of {} lines", grouped(count.lines))
            };
            self.input.unreadable.truncate(flaws);
            self.input.odd.truncate(odds);
            return Err(damage.unwrap_or_else(|| {
                Failure::Data(format!("{} is not an access log: {what} can be read{why}", count.name))
            }));
        }
        self.input.files.push(count);
        damage.map_or(Ok(()), Err)
    }

    /// Reads all lines of `source`. The inner error is of the source itself.
    fn lines(
        &mut self,
        source: &mut Source,
        parser: &mut Parser<'_>,
        count: &mut FileCount,
        progress: &Progress,
    ) -> Result<io::Result<()>, Failure> {
        let mut buffer = Vec::new();
        let mut unread_bytes = 0;
        loop {
            // What is whole in the reader's buffer is read where it is.
            let mut taken = 0;
            loop {
                let chunk = match source.reader.fill_buf() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                    Err(error) => return Ok(Err(error)),
                    Ok(chunk) => chunk,
                };
                if chunk.is_empty() {
                    // Whoever types is not asked for an end twice.
                    return Ok(Ok(()));
                }
                let Some(rest) = chunk.get(taken..) else { break };
                let Some(end) = memchr::memchr(b'\n', rest).filter(|end| *end <= MAX_LINE) else { break };
                let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                taken += end + 1;
                count.lines += 1;
                unread_bytes += line.len();
                self.line(parser, line, count)?;
                if self.is_over(count, unread_bytes) {
                    return Ok(Ok(()));
                }
            }
            source.reader.consume(taken);
            progress.at(source.taken.get());
            let line = match lines::next(&mut *source.reader, &mut buffer) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            count.lines += 1;
            unread_bytes += buffer.len();
            match line {
                Line::Whole => self.line(parser, &buffer, count)?,
                Line::TooLong { goes_on } => {
                    self.unreadable(count, format!("longer than {MAX_LINE} bytes").into(), b"");
                    let mut is_over = !goes_on;
                    unread_bytes += MAX_LINE;
                    while !is_over && (count.requests > 0 || unread_bytes <= GIVE_UP) {
                        let (skipped, end) = match lines::skip(&mut *source.reader) {
                            Ok(skipped) => skipped,
                            Err(error) => return Ok(Err(error)),
                        };
                        unread_bytes += skipped;
                        is_over = end;
                    }
                }
            }
            if self.is_over(count, unread_bytes) {
                return Ok(Ok(()));
            }
        }
    }

    /// Whether somebody ends the reading, or there were so many bytes and no request.
    fn is_over(&mut self, count: &FileCount, unread_bytes: usize) -> bool {
        self.input.is_interrupted = self.interrupt.is_on();
        self.gave_up = count.requests + count.outside == 0 && unread_bytes > GIVE_UP;
        self.input.is_interrupted || self.gave_up
    }

    fn line(&mut self, parser: &mut Parser<'_>, bytes: &[u8], count: &mut FileCount) -> Result<(), Failure> {
        // Windows tools put a byte order mark in front of a file.
        let bytes = if count.lines == 1 { bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes) } else { bytes };
        // What `logrotate` cuts off under the hands of a server begins with as many zeros; sequences of JSON (RFC 7464) have a mark.
        let zeros = bytes.iter().take_while(|byte| matches!(byte, 0 | 0x1e)).count();
        let bytes = bytes.get(zeros..).unwrap_or_default();
        if bytes.trim_ascii_start().is_empty() {
            count.blank += 1;
            return Ok(());
        }
        let (form, request) = match parser.parse(bytes) {
            Ok(Parsed::Request(form, request)) => (form, request),
            Ok(Parsed::Comment) => {
                count.comments += 1;
                return Ok(());
            }
            Ok(Parsed::Piece) => {
                count.pieces += 1;
                return Ok(());
            }
            Err(reason) => {
                self.unreadable(count, reason, bytes);
                return Ok(());
            }
        };
        if request.time < self.wanted.since || request.time >= self.wanted.until {
            count.outside += 1;
            return Ok(());
        }
        count.requests += 1;
        count.forms[form.index()] += 1;
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
        self.input.zoneless += u64::from(request.is_zoneless);
        self.input.lists += u64::from(request.list.is_some());
        self.input.incomplete += u64::from(!request.is_address || request.target.is_none());
        if !request.is_address {
            self.input.without_address += 1;
            let strangers = &mut self.input.strangers;
            if strangers.len() < STRANGERS
                && let Some(client) = request.client.as_deref()
            {
                let client = shortened(&printable(client), 40);
                if !strangers.contains(&client) {
                    strangers.push(client);
                }
            }
        }
        self.text.clear();
        self.keep.keep(&request, &mut self.text);
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

    /// The records are in order of time now; equal times stay in the order of the files.
    fn finish(mut self) -> Result<Input, Failure> {
        if self.input.records.is_empty() {
            let names: Vec<&str> = self.input.files.iter().map(|file| file.name.as_str()).collect();
            let outside: u64 = self.input.files.iter().map(|file| file.outside).sum();
            let when =
                if outside == 0 { String::new() } else { format!(" in the time asked for, of {}", grouped(outside)) };
            return Err(Failure::Data(format!("there is no request in {}{when}", names.join(", "))));
        }
        self.input.records.seal();
        self.leave_out_far_away();
        self.input.texts.seal();
        Ok(self.input)
    }

    /// A limiter holds ten years. A clock that stood at 1970 when a server booted must not keep the rest from being replayed.
    fn leave_out_far_away(&mut self) {
        let records = &self.input.records;
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        if last - first <= LONGEST {
            return;
        }
        // The ten years with the most requests; of equal ones the latest. Two walks, one behind the other.
        let mut starts = records.iter().map(|record| record.time).peekable();
        let (mut best, mut best_len, mut len) = (first..=first, 0, 0);
        for Record { time: end, .. } in records.iter() {
            len += 1;
            while starts.next_if(|start| end - *start > LONGEST).is_some() {
                len -= 1;
            }
            if len >= best_len
                && let Some(start) = starts.peek()
            {
                (best, best_len) = (*start..=end, len);
            }
        }
        let far = if *best.start() > first { first } else { last };
        let count = u64::try_from(records.len() - best_len).unwrap_or(u64::MAX);
        drop(starts);
        self.input.records.keep(best, best_len);
        self.input.far_away = (count, far);
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
        fn keep(&self, request: &Request<'_>, text: &mut String) {
            text.push_str(request.client.as_deref().unwrap_or_default());
        }
    }

    /// Which of two requests at the same instant comes first shows in no count, so it is looked at here.
    #[test]
    fn equal_times_stay_in_the_order_of_the_files() {
        let line = |client: &str, second: u32| format!("{{\"ts\":{second},\"ip\":\"{client}\"}}\n");
        let files =
            [[line("a", 5), line("b", 3), line("c", 5)].concat(), [line("d", 3), line("a", 3), line("e", 4)].concat()];
        let (wanted, interrupt) = (Wanted::default(), Interrupt::never());
        let mut reader = Reader::new(&ByClient, &wanted, &interrupt);
        for text in files {
            reader.source(Source::of_text("text", text).unwrap(), &mut Progress::none()).unwrap();
        }
        let input = reader.finish().unwrap();
        let order: String = input.records.iter().map(|record| input.texts.text(record.request)).collect();
        assert_eq!(order, "bdaeac");
        assert_eq!(input.out_of_order, 4);
    }
}

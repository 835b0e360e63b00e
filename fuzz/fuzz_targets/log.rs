//! The log lines of `tollgate replay`.
#![no_main]

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::net::IpAddr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tollgate_gateway::replay::ingest::{Flaw, Input, Keep, Reader, Wanted};
use tollgate_gateway::replay::interrupt::Interrupt;
use tollgate_gateway::replay::log::source::Source;
use tollgate_gateway::replay::log::{self, Form, Parsed, Parser, Request, Rules};
use tollgate_gateway::replay::record::Record;
use tollgate_gateway::values::failure::Failure;

/// A whole log: the input as it is, so that the corpus is made of logs.
#[derive(Arbitrary)]
struct Log<'a>(&'a [u8]);

impl fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split_inclusive(|&byte| byte == b'\n').try_for_each(|line| writeln!(f, "{}", line.escape_ascii()))
    }
}

fuzz_target!(|log: Log<'_>| {
    let whole = read(log.0, usize::MAX);
    let told = tell(&whole);
    let step = 1 + log.0.len() % 4;
    assert_eq!(tell(&read(log.0, step)), told, "read {step} bytes at a time");
    match whole {
        Ok(input) => judge(&input, log.0),
        Err(failure) => is_one_line(&failure.to_string()),
    }
    judge_lines(log.0, &Rules::default());
    // The first line as the format of the others.
    let (format, lines) = log.0.split_at(log.0.iter().position(|&byte| byte == b'\n').unwrap_or(0));
    if let Some(Ok(format)) = str::from_utf8(format).ok().map(str::parse) {
        let rules = Rules { format: Some(format), ..Rules::default() };
        judge_lines(lines, &rules);
    }
});

/// The requests that these lines are of.
fn judge_lines(lines: &[u8], rules: &Rules) {
    let mut parser = Parser::new(rules);
    let mut has_pieces = false;
    for line in lines.split(|&byte| byte == b'\n') {
        match parser.parse(line) {
            Ok(Parsed::Piece) => has_pieces = true,
            Ok(Parsed::Request(form, request)) => judge_request(form, &request, line, has_pieces),
            _ => {}
        }
    }
}

/// Everything that a log says, if it comes `step` bytes at a time.
fn read(bytes: &[u8], step: usize) -> Result<Input, Failure> {
    let reader: Box<dyn BufRead> = Box::new(Steps { bytes: bytes.to_vec(), at: 0, step });
    Reader::new(&Kept, &Wanted::default(), &Interrupt::never()).one(Source {
        name: "log".to_owned(),
        reader,
        taken: Default::default(),
    })
}

/// What is kept of a request: all that a policy may ask for.
struct Kept;

impl Keep for Kept {
    fn keep(&self, request: &Request<'_>, text: &mut String) {
        for (_, part) in parts(request) {
            text.push_str(part.as_deref().unwrap_or_default());
            text.push('\u{1f}');
        }
    }
}

/// What a policy may ask for, by name.
fn parts<'r>(request: &'r Request<'_>) -> [(&'static str, Option<Cow<'r, str>>); 5] {
    let header = |name| request.header_lines(name).into_iter().next();
    [
        ("client", request.client.as_deref().map(Cow::Borrowed)),
        ("target", request.target.as_deref().map(Cow::Borrowed)),
        ("method", request.method.as_deref().map(Cow::Borrowed)),
        ("user-agent", header("user-agent")),
        ("x-api-key", header("x-api-key")),
    ]
}

/// A source that gives its bytes in small portions, as a pipe may.
struct Steps {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
}

impl Read for Steps {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Steps {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let rest = &self.bytes[self.at..];
        Ok(&rest[..rest.len().min(self.step)])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

/// All of it as text, for comparison.
fn tell(read: &Result<Input, Failure>) -> String {
    match read {
        Ok(input) => {
            let told = |record: &Record| (record.time, input.texts.text(record.request));
            let records: Vec<_> = input.records.iter().map(|record| told(&record)).collect();
            let counts = [
                input.incomplete,
                input.out_of_order,
                input.without_address,
                input.lists,
                input.zoneless,
                input.far_away.0,
            ];
            let rest = (&input.files, &input.unreadable, &input.odd, &input.strangers, counts);
            format!("{records:?} {rest:?}")
        }
        Err(failure) => format!("{failure:?}"),
    }
}

/// Every line is counted once, and whatever is said of one names it in one line.
fn judge(input: &Input, bytes: &[u8]) {
    // The last line may have no end.
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + usize::from(!bytes.ends_with(b"\n"));
    let count = |number: u64| usize::try_from(number).unwrap();
    let [file] = input.files.as_slice() else { panic!("one file was read") };
    assert_eq!(count(file.lines), lines, "lines");
    assert_eq!(file.lines, file.requests + file.blank + file.comments + file.pieces + file.unreadable + file.outside);
    assert_eq!(count(file.requests - input.far_away.0), input.records.len());
    assert_eq!(file.forms.iter().sum::<u64>(), file.requests);
    assert!(
        input.without_address <= input.incomplete && input.lists <= file.requests && input.zoneless <= file.requests
    );
    assert!(file.odd <= file.requests && input.incomplete <= file.requests && input.out_of_order < file.requests);
    assert!(input.records.iter().is_sorted_by_key(|record| record.time));
    assert_eq!(input.unreadable.len(), count(file.unreadable).min(5));
    for Flaw { line, reason, text, .. } in input.unreadable.iter().chain(&input.odd) {
        assert!((1..=file.lines).contains(line), "line {line} of {}", file.lines);
        is_one_line(reason);
        // Four characters a column: marks over letters take none.
        assert!(text.chars().count() <= 4 * 80 && !text.contains(char::is_control), "{text:?}");
    }
}

/// What one line says is on the line, and its parts make sense by themselves.
fn judge_request(form: Form, request: &Request<'_>, line: &[u8], has_pieces: bool) {
    // What has escapes, colours, or is put together of parts does not stand there as it is, and of pieces not all of it.
    let text = str::from_utf8(line).ok().filter(|line| !has_pieces && !line.contains(['\\', '\u{1b}']));
    let is_plain = matches!(form, Form::Common | Form::Combined | Form::Builtin(_))
        && !text.is_some_and(|line| line.contains('{'));
    let is_json = !is_plain;
    for (name, part) in parts(request) {
        let Some(part) = part else { continue };
        assert!(!part.is_empty(), "an empty {name} is a missing one");
        if is_plain
            && name != "client"
            && let Some(line) = text
        {
            assert!(line.contains(&*part), "{name} {part:?} is not on the line");
        }
    }
    if let Some(client) = &request.client {
        // One client is one key: reading the address again changes nothing.
        assert_eq!(request.is_address, client.parse::<IpAddr>().is_ok_and(|address| address.to_string() == **client));
        if request.is_address {
            let again = format!("{client} - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1");
            let rules = Rules::default();
            let mut parser = Parser::new(&rules);
            let Ok(Parsed::Request(Form::Common, again)) = parser.parse(again.as_bytes()) else { panic!("{client}") };
            assert_eq!(again.client.as_deref(), Some(&**client));
        }
    }
    if let Some(list) = &request.list {
        assert!(list.contains(','), "{list:?} is no list");
    }
    if let Some(method) = request.method.as_deref().filter(|_| !is_json) {
        assert!(!method.contains([' ', '"']), "{method:?} is no method");
    }
    // What was read as this time is this time, as people write it.
    let written = log::time::timestamp(request.time).to_string();
    assert_eq!(log::time::Times::default().any(&written), Ok(request.time), "{written}");
}

fn is_one_line(text: &str) {
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
}

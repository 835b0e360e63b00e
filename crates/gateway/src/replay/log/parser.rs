//! Finds out which form each line has, and reads it.

use std::borrow::Cow;
use std::cell::Cell;

use jiff::tz::TimeZone;

use super::columns::{Columns, Day};
use super::form::{Form, Format};
use super::json::{self, Object, Places};
use super::pieces::{Joined, Piece, Pieces};
use super::template::NOT_IN_THE_FORMAT;
use super::time::Times;
use super::{Reason, Request, Rest, clf, columns, pairs, prefix, uvicorn};

/// How a log is to be read, as far as somebody says so.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The only form that is tried.
    pub format: Option<Format>,
    /// Where the parts of a JSON object are.
    pub places: Places,
    /// The zone of times that do not say theirs; UTC by default.
    pub zone: Option<TimeZone>,
}

/// Reads the lines of one file.
///
/// Each line is first tried as what the last one was, then as everything else: logs are concatenated, and servers change
/// their format overnight. What fits no form is no request.
#[derive(Debug)]
pub struct Parser<'r> {
    rules: &'r Rules,
    times: Times,
    columns: Option<Columns>,
    day: Day,
    last: Cell<Form>,
    /// How many words were in front of the last line that had some of no known collector.
    skipped: Cell<usize>,
    /// A line that had to be mended.
    mended: String,
    /// The line of a server inside the object of a collector.
    inner: String,
    pieces: Pieces,
}

/// What a line is.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A request, and the form it was written in.
    Request(Form, Request<'a>),
    /// A comment, as W3C logs have them.
    Comment,
    /// A piece of a line that a later one ends.
    Piece,
}

/// How deep a line may be inside of others: a server's in Docker's JSON in a cloud's.
const DEEPEST: usize = 4;

impl<'r> Parser<'r> {
    /// For one file.
    #[must_use]
    pub fn new(rules: &'r Rules) -> Self {
        let times = Times::new(rules.zone.clone().unwrap_or(TimeZone::UTC));
        let last = Cell::new(Form::Combined);
        Self {
            rules,
            times,
            columns: None,
            day: Day::default(),
            last,
            skipped: Cell::new(0),
            mended: String::new(),
            inner: String::new(),
            pieces: Pieces::default(),
        }
    }

    /// Reads one line without its end.
    ///
    /// # Errors
    ///
    /// If it is neither a request nor a comment, and why not.
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Parsed<'a>, Reason> {
        let (text, is_mended) = match str::from_utf8(line) {
            Ok(text) if memchr::memchr(b'\x1b', line).is_none() => (text, false),
            Ok(text) => {
                self.mended.clear();
                prefix::without_colors(text, &mut self.mended);
                ("", true)
            }
            Err(_) => {
                let text = percent_encoded(line);
                self.mended.clear();
                prefix::without_colors(&text, &mut self.mended);
                ("", true)
            }
        };
        // As below, without all that such a line has not: most logs are of lines like that.
        if !is_mended && self.is_common(text) {
            self.times.take_zoneless();
            if let Ok(mut request) = clf::parse(text, &self.times) {
                request.is_zoneless = self.times.take_zoneless();
                let form = if let Rest::Common(rest) = &request.rest { rest.name() } else { Form::Combined };
                return Ok(Parsed::Request(form, request));
            }
        }
        let whole = if is_mended { self.mended.as_str() } else { text };
        if whole.starts_with('#') {
            if let Some(columns) = Columns::of(whole) {
                self.columns = Some(columns);
                self.last.set(Form::W3c);
            }
            self.day.heed(whole);
            return Ok(Parsed::Comment);
        }
        let (mut text, mut is_mended) = (text, is_mended);
        if let Some((piece, head)) = Piece::of_cri(whole) {
            match self.pieces.add(&piece, head)? {
                Joined::Whole => {}
                Joined::GoesOn => return Ok(Parsed::Piece),
                Joined::Line(line) => (self.mended, text, is_mended) = (line, "", true),
            }
        }
        // Of collectors' objects only what the server wrote goes on, until there is a line that is none.
        let (mut stamp, mut is_zoneless, mut depth) = (None, false, 0);
        let behind = loop {
            let text = match (depth, is_mended) {
                (0, false) => text,
                (0, true) => self.mended.as_str(),
                _ => self.inner.as_str(),
            };
            let stripped = prefix::strip(text);
            let line = stripped.map_or(text, |stripped| stripped.line);
            if depth == 0
                && line.starts_with('#')
                && let Some(columns) = Columns::of(line)
            {
                self.columns = Some(columns);
                self.last.set(Form::W3c);
                return Ok(Parsed::Comment);
            }
            self.times.take_zoneless();
            let prefixed = stripped.and_then(|stripped| stripped.stamp).and_then(|stamp| self.times.any(stamp).ok());
            is_zoneless = if prefixed.is_some() { self.times.take_zoneless() } else { is_zoneless };
            stamp = prefixed.or(stamp);
            if !self.tries_json() || !is_object(line) {
                break text.len() - line.len();
            }
            // Of an array with one object a line, the objects.
            let object = line.trim_end().strip_suffix(',').unwrap_or(line);
            let mut object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(object).map_err(|error| Reason::from(format!("not a JSON object: {error}")))?;
            if let Some(piece) = Piece::of_docker(&object) {
                match self.pieces.add(&piece, "")? {
                    Joined::Whole => {}
                    Joined::GoesOn => return Ok(Parsed::Piece),
                    Joined::Line(line) => drop(object.insert("log".to_owned(), line.into())),
                }
            }
            self.times.take_zoneless();
            match json::request(object, &self.rules.places, &self.times, stamp)? {
                Object::Request(mut request) => {
                    // Of the object, or of the line that it is on.
                    request.is_zoneless = self.times.take_zoneless() || (is_zoneless && stamp == Some(request.time));
                    return Ok(Parsed::Request(Form::Json, *request));
                }
                Object::Text(inner, time) => {
                    depth += 1;
                    if depth > DEEPEST {
                        return Err("too many objects one inside the other".into());
                    }
                    self.inner = inner;
                    stamp = time.or(stamp);
                }
            }
        };
        let this = &*self;
        let text = match (depth, is_mended) {
            (0, false) => text,
            (0, true) => this.mended.as_str(),
            _ => this.inner.as_str(),
        };
        // Most texts in objects are messages of a server that says nothing of a request.
        let of_object =
            |reason| if depth == 0 { reason } else { "no client address and no path in the JSON object".into() };
        this.line(text, behind, stamp).map_err(of_object)
    }

    /// How many lines have begun, and their ends were not there.
    pub(crate) fn unended(&self) -> u64 {
        self.pieces.open()
    }

    fn tries_json(&self) -> bool {
        matches!(self.rules.format, None | Some(Format::Known(Form::Json)))
    }

    /// Whether a line is first tried as one of the Common Log Format, and begins like an IPv4 address, so like no prefix.
    fn is_common(&self, line: &str) -> bool {
        let is_first = match &self.rules.format {
            None => matches!(self.last.get(), Form::Common | Form::Combined),
            Some(format) => matches!(format, Format::Known(Form::Common | Form::Combined)),
        };
        // The shortest prefix of digits has a blank behind them, and the others have ten digits or a dash or a slash behind four.
        is_first
            && matches!(
                line.as_bytes(),
                [b'0'..=b'9', b'.', ..]
                    | [b'0'..=b'9', b'0'..=b'9', b'.', ..]
                    | [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'.', ..]
            )
            && !matches!(line.as_bytes(), [_, _, _, _, b'-' | b'/', ..])
    }

    /// Reads a line that is no object, which is behind that many bytes of prefixes.
    fn line<'a>(&'a self, text: &'a str, behind: usize, stamp: Option<u64>) -> Result<Parsed<'a>, Reason> {
        let stripped = text.get(behind..).unwrap_or(text);
        let parse = |form: Form, line: &'a str| -> Result<Parsed<'a>, Reason> {
            self.times.take_zoneless();
            let mut request = self.read(form, line, stamp)?;
            request.is_zoneless = self.times.take_zoneless();
            let form = match &request.rest {
                Rest::Common(rest) => rest.name(),
                _ if form == Form::W3c && self.columns.is_none() => Form::Iis,
                _ => form,
            };
            Ok(Parsed::Request(form, request))
        };
        // What is taken for a prefix may be the beginning of the line, such as a time.
        let either = |form: Form| match parse(form, stripped) {
            Err(reason) if stripped.len() < text.len() => parse(form, text).map_err(|_| reason),
            parsed => parsed,
        };
        match &self.rules.format {
            Some(Format::Known(form)) => return either(*form),
            Some(Format::Custom(_)) => {
                // The format may have been written for lines with what is taken for a prefix; if not, that may be a part of what it takes for
                // the client.
                let whole = parse(Form::Custom, text);
                let has_client =
                    |parsed: &Parsed<'_>| matches!(parsed, Parsed::Request(_, request) if request.is_address);
                if stripped.len() == text.len() || whole.as_ref().is_ok_and(has_client) {
                    return whole;
                }
                return match (whole, parse(Form::Custom, stripped)) {
                    (Err(_), stripped @ Ok(_)) => stripped,
                    (Ok(_), Ok(stripped)) if has_client(&stripped) => Ok(stripped),
                    (whole, _) => whole,
                };
            }
            None => {}
        }
        let last = self.last.get();
        let reason = match either(last) {
            Ok(parsed) => return Ok(parsed),
            Err(reason) => reason,
        };
        let others = [Form::W3c, Form::Combined].into_iter().chain(Form::builtin()).chain([Form::Uvicorn, Form::Pairs]);
        let mut advice = None;
        for form in others.filter(|form| *form != last) {
            match either(form) {
                Ok(parsed) => {
                    self.last.set(form);
                    return Ok(parsed);
                }
                Err(why) if why == uvicorn::NO_TIME || why == columns::NO_FIELDS => advice = Some(why),
                Err(_) => {}
            }
        }
        if let Some(parsed) = self.behind_words(stripped, stamp, &parse) {
            return Ok(parsed);
        }
        // Many forms do not fit a line; the one that is expected says what is wrong with it, unless one knows what helps.
        Err(advice.unwrap_or(reason))
    }

    /// What is behind words of a collector that is not known: an object, or a line that a server writes field by field. Neither is taken
    /// for another; of the Common Log Format and of pairs such words would be a part.
    fn behind_words<'a>(
        &'a self,
        line: &'a str,
        stamp: Option<u64>,
        parse: &dyn Fn(Form, &'a str) -> Result<Parsed<'a>, Reason>,
    ) -> Option<Parsed<'a>> {
        const MOST: usize = 12;
        let words = || memchr::memchr3_iter(b' ', b'\t', b'|', line.as_bytes()).take(MOST).enumerate();
        let behind = |at: usize| line.get(at + 1..).filter(|rest| !rest.starts_with([' ', '\t', '|']));
        if self.tries_json()
            && line.trim_end().ends_with('}')
            && let Some(object) = words().filter_map(|(_, at)| behind(at)).find(|rest| is_object(rest))
            && let Ok(Object::Request(mut request)) = json::parse_at(object, &self.rules.places, &self.times, stamp)
        {
            request.is_zoneless = self.times.take_zoneless();
            return Some(Parsed::Request(Form::Json, *request));
        }
        let last = self.skipped.get();
        let first = words().filter(|(number, _)| *number == last);
        for (number, at) in first.chain(words().filter(|(number, _)| *number != last)) {
            // Most lines that come here are messages of servers, and many words of them are soon passed over.
            let Some(rest) = behind(at).filter(|rest| may_begin(rest)) else { continue };
            if let Some(parsed) = Form::builtin().find_map(|form| parse(form, rest).ok()) {
                self.skipped.set(number);
                return Some(parsed);
            }
        }
        None
    }

    fn read<'a>(&'a self, form: Form, line: &'a str, stamp: Option<u64>) -> Result<Request<'a>, Reason> {
        match form {
            Form::Common | Form::Combined => clf::parse(line, &self.times),
            Form::Json => match json::parse(line, &self.rules.places, &self.times)? {
                Object::Request(request) => Ok(*request),
                Object::Text(..) => Err("no client address and no path in the JSON object".into()),
            },
            Form::W3c => match &self.columns {
                Some(columns) => columns.parse(line, &self.times, &self.day),
                None => Columns::of_iis(line)?.parse(line, &self.times, &self.day),
            },
            Form::Iis => Columns::of_iis(line)?.parse(line, &self.times, &self.day),
            Form::Uvicorn => uvicorn::parse(line, &self.times, stamp),
            Form::Pairs => {
                let pairs = pairs::read(line).ok_or("no pairs of names and values")?;
                match json::request(pairs, &self.rules.places, &self.times, stamp)? {
                    Object::Request(request) => Ok(*request),
                    Object::Text(..) => Err("no client and no path among the names and values".into()),
                }
            }
            Form::Builtin(_) => {
                let mut reason = Reason::Borrowed(NOT_IN_THE_FORMAT);
                for template in form.templates() {
                    match template.parse(line, &self.times) {
                        Ok(request) => return Ok(request),
                        Err(other) => reason = other,
                    }
                }
                Err(reason)
            }
            Form::Custom => match &self.rules.format {
                Some(Format::Custom(template)) => template.parse(line, &self.times),
                _ => Err("there is no format".into()),
            },
        }
    }
}

/// Whether a line begins as an object does; that of labels, `{app="web"}`, does not.
fn is_object(line: &str) -> bool {
    let inside = line.trim_start().strip_prefix('{').map(str::trim_start);
    inside.is_some_and(|inside| inside.is_empty() || inside.starts_with(['"', '}']))
}

/// Whether a line that a server writes field by field may begin so: with a time, an address or a bracket, or the word that a form has.
fn may_begin(line: &str) -> bool {
    const WORDS: [&str; 6] = ["Started ", "<request ", "http", "h2 ", "grpc", "ws"];
    matches!(line.as_bytes(), [b'0'..=b'9' | b'[' | b':', ..]) || WORDS.iter().any(|word| line.starts_with(word))
}

/// `line` with the bytes that are no UTF-8 as they would stand in a URL.
fn percent_encoded(line: &[u8]) -> Cow<'_, str> {
    let mut text = String::with_capacity(line.len() + 16);
    for chunk in line.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    Cow::Owned(text)
}

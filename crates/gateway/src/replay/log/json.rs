//! One JSON object a line, as Caddy, nginx, Traefik and most loggers write them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::time::{self, Times};
use super::{Reason, Request, Rest, client_of, names, present, request_line, roles};

/// What an object says.
#[derive(Debug)]
pub(super) enum Object {
    Request(Box<Request<'static>>),
    /// The whole line of a server, in the object of a collector; and what time that put beside it.
    Text(String, Option<u64>),
}

/// Where a user says that the parts of a request are, with dots between an object and what is in it.
#[derive(Debug, Clone, Default)]
pub struct Places(Vec<(Part, String)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Time,
    Client,
    Method,
    Target,
    Status,
    Host,
    Header(String),
}

impl Places {
    /// Adds `PART=PLACE`.
    ///
    /// # Errors
    ///
    /// If it is no such pair, or the part has no such name.
    pub fn add(&mut self, pair: &str) -> Result<(), String> {
        const PARTS: &str = "time, client, method, path, status, host, forwarded-for or header:NAME";
        let expected =
            || format!("`{pair}` is no field: expected PART=PLACE, such as client=request.ip; PART is {PARTS}");
        let (part, place) = pair.split_once('=').ok_or_else(expected)?;
        let part = match part.trim().to_ascii_lowercase().as_str() {
            "time" => Part::Time,
            "client" => Part::Client,
            "method" => Part::Method,
            "path" | "target" | "uri" => Part::Target,
            "status" => Part::Status,
            "host" => Part::Host,
            "forwarded-for" => Part::Header(roles::FORWARDED_FOR.to_owned()),
            other => match other.strip_prefix("header:") {
                Some(name) if !name.is_empty() => Part::Header(name.to_owned()),
                _ => return Err(expected()),
            },
        };
        if place.trim().is_empty() {
            return Err(expected());
        }
        self.0.push((part, place.trim().to_owned()));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find<'v>(&self, object: &'v Map<String, Value>, part: &Part) -> Option<&'v Value> {
        let mut places = self.0.iter().filter(|(of, _)| of == part);
        places
            .find_map(|(_, place)| names::find(object, &[place.as_str()], |value| (!value.is_null()).then_some(value)))
    }

    fn has(&self, part: &Part) -> bool {
        self.0.iter().any(|(of, _)| of == part)
    }
}

/// Reads one line.
pub(super) fn parse(line: &str, places: &Places, times: &Times) -> Result<Object, Reason> {
    parse_at(line, places, times, None)
}

/// The same of one that a collector stamped at `stamp`.
pub(super) fn parse_at(line: &str, places: &Places, times: &Times, stamp: Option<u64>) -> Result<Object, Reason> {
    let object: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| Reason::from(format!("not a JSON object: {error}")))?;
    request(object, places, times, stamp)
}

/// The request that `object` is, which a collector stamped at `stamp`.
pub(super) fn request(
    mut object: Map<String, Value>,
    places: &Places,
    times: &Times,
    stamp: Option<u64>,
) -> Result<Object, Reason> {
    let mut time = time_of(&object, places, times);
    // Elasticsearch's `_source.ip` looks like ECS's `source.ip`, but has no time beside it.
    let has_no_time = time.is_none() && stamp.is_none();
    if places.is_empty() && (has_no_time || !has_request(&object)) {
        if let Some(text) = names::find(&object, names::TEXTS, line_of) {
            return Ok(Object::Text(text, time.and_then(Result::ok).or(stamp)));
        }
        let is_wrapper = |name: &&&str| names::find(&object, &[**name], Value::as_object).is_some_and(has_request);
        if let Some(name) = names::WRAPPERS.iter().find(is_wrapper)
            && let Some(inner) = names::find(&object, &[*name], |value| value.as_object().cloned())
        {
            time = match (time_of(&inner, places, times), time) {
                (Some(Ok(inner)), _) => Some(Ok(inner)),
                (_, outer) => outer,
            };
            object = inner;
        }
    }
    let object = object;
    let time = match (time, stamp) {
        (Some(Ok(time)), _) | (_, Some(time)) => time,
        (Some(Err(reason)), None) => return Err(reason),
        (None, None) => return Err("no time in the JSON object".into()),
    };
    let line = names::find(&object, names::REQUEST, text);
    let (line_method, line_target) = line.as_deref().map_or((None, None), request_line);
    let method = places.find(&object, &Part::Method).and_then(text);
    let method =
        method.or_else(|| names::find(&object, names::METHOD, text).or_else(|| line_method.map(str::to_owned)));
    // The request line is what the client sent; a `uri` beside it may be what the server made of it.
    let target = places.find(&object, &Part::Target).and_then(text);
    let target =
        target.or_else(|| line_target.map(str::to_owned)).or_else(|| names::find(&object, names::TARGET, text));
    // Some call the path so.
    let target = target.or_else(|| line.filter(|path| path.starts_with('/')));
    let client = client_value(&object, places, target.is_some());
    if client.is_none() && target.is_none() {
        // Servers write their own messages to the same file.
        return Err("no client address and no path in the JSON object".into());
    }
    let client = client.map_or_else(Default::default, |client| client_of(Cow::Owned(client)));
    Ok(Object::Request(Box::new(Request {
        time,
        client: client.text,
        is_address: client.is_address,
        list: client.list,
        method: method.map(Cow::Owned),
        target: target.map(Cow::Owned),
        odd_tail: false,
        is_zoneless: false,
        rest: Rest::Json(JsonRest { object, places: places.clone() }),
    })))
}

/// The client, where the object says one: who a server says it is before what the proxies before it say.
fn client_value(object: &Map<String, Value>, places: &Places, has_target: bool) -> Option<String> {
    if places.has(&Part::Client) {
        return places.find(object, &Part::Client).and_then(text);
    }
    let address = |value: &Value| if value.is_number() { None } else { text(value) };
    let only_address = |value: &Value| address(value).filter(|text| client_of(text.as_str().into()).is_address);
    let list = || {
        let header = JsonRest::header_in(object, roles::FORWARDED_FOR).map(|lines| lines.join(", "));
        header.or_else(|| names::find(object, names::FORWARDED_FOR, text))
    };
    let last = || if has_target { names::find(object, names::LAST_RESORT_CLIENT, only_address) } else { None };
    // A name is better than nothing: it is counted as none, and shown.
    names::find(object, names::CLIENT, only_address)
        .or_else(list)
        .or_else(last)
        .or_else(|| names::find(object, names::CLIENT, address))
}

pub(super) fn has_request(object: &Map<String, Value>) -> bool {
    let is_text = |value: &Value| value.as_str().and_then(present).map(|_| ());
    let is_line = |value: &Value| value.as_str().filter(|line| request_line(line).1.is_some()).map(|_| ());
    names::find(object, names::CLIENT, is_text).is_some()
        || names::find(object, names::TARGET, is_text).is_some()
        || names::find(object, names::REQUEST, is_line).is_some()
        || names::find(object, names::FORWARDED_FOR, is_text).is_some()
}

/// A whole line as a collector keeps it: journald writes what is no UTF-8 as a list of bytes.
fn line_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.len() > 8 => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
        Value::Array(values) if values.len() > 8 => {
            let bytes: Option<Vec<u8>> =
                values.iter().map(|value| value.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
            Some(String::from_utf8_lossy(&bytes?).into_owned())
        }
        _ => None,
    }
}

/// The first time that can be read; if none can, why the first cannot.
fn time_of(object: &Map<String, Value>, places: &Places, times: &Times) -> Option<Result<u64, Reason>> {
    let read = |value: &Value| match value {
        Value::String(text) => present(text).map(|text| times.any(text)),
        Value::Number(number) => Some(time::epoch(&number.to_string())),
        // As MongoDB exports it, and as protocol buffers do.
        Value::Object(parts) => match (parts.get("$date"), parts.get("seconds")) {
            (Some(Value::String(text)), _) => Some(times.any(text)),
            (Some(Value::Number(number)), _) | (_, Some(Value::Number(number))) => {
                Some(time::epoch(&number.to_string()))
            }
            _ => None,
        },
        _ => None,
    };
    if places.has(&Part::Time) {
        return places.find(object, &Part::Time).and_then(read);
    }
    let good = |value: &Value| read(value).and_then(Result::ok);
    let perhaps = |value: &Value| {
        let is_time = value.as_str().is_some_and(|text| text.contains(['/', '-', ':']));
        if is_time { good(value) } else { None }
    };
    let found = names::find(object, names::TIME, good).or_else(|| names::find(object, names::PERHAPS_TIME, perhaps));
    let apart = || {
        let part = |name: &str| names::find(object, &[name], Value::as_str);
        part("date").zip(part("time")).and_then(|(date, clock)| times.of_day(date, clock, false).ok())
    };
    found.or_else(apart).map(Ok).or_else(|| names::find(object, names::TIME, read))
}

/// The object itself: what of it matters depends on the policy.
#[derive(Debug)]
pub(super) struct JsonRest {
    object: Map<String, Value>,
    places: Places,
}

impl JsonRest {
    pub(super) fn host(&self) -> Option<String> {
        self.places
            .find(&self.object, &Part::Host)
            .and_then(text)
            .or_else(|| names::find(&self.object, names::HOST, text))
    }

    pub(super) fn status(&self) -> Option<u16> {
        let number = |value: &Value| text(value)?.parse().ok();
        let placed = self.places.find(&self.object, &Part::Status).and_then(number);
        placed.or_else(|| names::find(&self.object, names::STATUS, number))
    }

    /// The values of a header, one for each of its lines.
    pub(super) fn header(&self, name: &str) -> Option<Vec<String>> {
        let placed = self.places.find(&self.object, &Part::Header(name.to_ascii_lowercase())).and_then(texts);
        placed.or_else(|| Self::header_in(&self.object, name)).or_else(|| {
            let is_list = names::same(name, roles::FORWARDED_FOR);
            if is_list { names::find(&self.object, names::FORWARDED_FOR, texts) } else { None }
        })
    }

    fn header_in(object: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
        names::find(object, names::HEADERS, |headers| headers_value(headers, name))
            .or_else(|| Self::at_top(object, name))
    }

    /// `user_agent`, nginx's `http_user_agent`, Traefik's `request_User-Agent`.
    fn at_top(object: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
        let prefixed = |prefix: &str| {
            object
                .iter()
                .find(|(field, _)| names::same_with_prefix(field, prefix, name))
                .and_then(|(_, value)| texts(value))
        };
        value_of(object, name).or_else(|| prefixed("http")).or_else(|| prefixed("request")).or_else(|| {
            let synonyms = match () {
                () if names::same(name, "user-agent") => names::USER_AGENT,
                () if names::same(name, "referer") => names::REFERER,
                () => return None,
            };
            names::find(object, synonyms, texts)
        })
    }
}

/// Of an object with the names of headers, or of AWS's list of names and values.
fn headers_value(headers: &Value, name: &str) -> Option<Vec<String>> {
    match headers {
        Value::Object(headers) => value_of(headers, name),
        Value::Array(headers) => {
            let is_it = |header: &&Value| header["name"].as_str().is_some_and(|of| names::same(of, name));
            let values: Vec<String> =
                headers.iter().filter(is_it).filter_map(|header| text(&header["value"])).collect();
            (!values.is_empty()).then_some(values)
        }
        _ => None,
    }
}

fn value_of(headers: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    headers.iter().find(|(field, _)| names::same(field, name)).and_then(|(_, value)| texts(value))
}

/// A value that can stand in a key; several values of one header count as the list that HTTP makes of them.
fn text(value: &Value) -> Option<String> {
    texts(value).map(|values| values.join(", "))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => present(text).map(|text| vec![text.to_owned()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        Value::Array(values) => {
            Some(values.iter().filter_map(text).collect()).filter(|values: &Vec<_>| !values.is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u64 = 1_431_857_103_000_000_000;

    fn parse(line: &str) -> Result<Request<'static>, Reason> {
        match super::parse(line, &Places::default(), &Times::default())? {
            Object::Request(request) => Ok(*request),
            Object::Text(text, _) => panic!("the line of a server: {text}"),
        }
    }

    fn read(line: &str) -> Request<'static> {
        parse(line).unwrap()
    }

    #[test]
    fn caddy() {
        let request = read(
            r#"{"level":"info","ts":1431857103.25,"logger":"http.log.access","msg":"handled request","request":{
            "remote_ip":"192.0.2.1","remote_port":"41342","client_ip":"198.51.100.7","proto":"HTTP/2.0","method":"GET",
            "host":"example.org","uri":"/a?b=c","headers":{"User-Agent":["curl/7.82.0"],"X-Api-Key":["k1","k2"]}},
            "user_id":"","duration":0.000929675,"size":10900,"status":200}"#,
        );
        assert_eq!(request.time, TIME + 250_000_000);
        assert_eq!(request.client.as_deref(), Some("198.51.100.7"));
        assert_eq!((request.method.as_deref(), request.target.as_deref()), (Some("GET"), Some("/a?b=c")));
        assert_eq!(request.header_lines("user-agent"), ["curl/7.82.0"]);
        assert_eq!(request.header_lines("x-api-key"), ["k1", "k2"]);
        assert_eq!(request.header_lines("x-other"), [""; 0]);
    }

    #[test]
    fn nginx() {
        let request = read(
            r#"{"time_local":"17/May/2015:10:05:03 +0000","remote_addr":"2001:DB8::1","host":"example.org",
            "request":"POST /login HTTP/1.1","uri":"/index.php","status":"200","http_user_agent":"x","http_x_api_key":"k"}"#,
        );
        assert_eq!(request.time, TIME);
        assert_eq!(request.client.as_deref(), Some("2001:db8::1"));
        assert_eq!((request.method.as_deref(), request.target.as_deref()), (Some("POST"), Some("/login")));
        assert_eq!(request.header_lines("User-Agent"), ["x"]);
        assert_eq!(request.header_lines("X-Api-Key"), ["k"]);
    }

    #[test]
    fn others() {
        let traefik = read(
            r#"{"ClientHost":"192.0.2.1","ClientAddr":"192.0.2.1:999","RequestMethod":"GET","RequestPath":"/t",
            "StartUTC":"2015-05-17T10:05:03Z","request_User-Agent":"t"}"#,
        );
        assert_eq!((traefik.client.as_deref(), traefik.target.as_deref()), (Some("192.0.2.1"), Some("/t")));
        assert_eq!(traefik.header_lines("user-agent"), ["t"]);

        let elastic = read(
            r#"{"@timestamp":"2015-05-17T10:05:03Z","source":{"ip":"192.0.2.2"},"url":{"original":"/e?x"},
            "http":{"request":{"method":"PUT"}},"user_agent":{"original":"e"}}"#,
        );
        assert_eq!((elastic.client.as_deref(), elastic.target.as_deref()), (Some("192.0.2.2"), Some("/e?x")));
        assert_eq!(elastic.method.as_deref(), Some("PUT"));
        assert_eq!(elastic.header_lines("user-agent"), ["e"]);

        let fluentd = read(r#"{"time":1431857103000,"host":"192.0.2.3","method":"GET","path":"/f","agent":"f"}"#);
        assert_eq!((fluentd.time, fluentd.client.as_deref()), (TIME, Some("192.0.2.3")));
        assert_eq!(fluentd.header_lines("user-agent"), ["f"]);

        let flat = read(r#"{"timestamp":"1431857103","client.ip":"192.0.2.4:80","url.path":"/g"}"#);
        assert_eq!((flat.client.as_deref(), flat.target.as_deref()), (Some("192.0.2.4"), Some("/g")));
    }

    #[test]
    fn reasons_say_what_is_missing() {
        assert!(parse("{nothing}").unwrap_err().starts_with("not a JSON object"));
        assert_eq!(parse(r#"{"ip":"192.0.2.1"}"#).unwrap_err(), "no time in the JSON object");
        assert!(parse(r#"{"ip":"192.0.2.1","time":"soon"}"#).unwrap_err().starts_with("bad time"));
        assert!(
            parse(r#"{"ts":1431857103.25,"note":"server running","host":"web1"}"#)
                .unwrap_err()
                .starts_with("no client address")
        );
    }
}

//! One JSON object a line, as Caddy, nginx, Traefik and most loggers write them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Reason, Request, Rest, client_address, names, present, request_line, time};

/// Reads one line.
pub(super) fn parse(line: &str) -> Result<Request<'static>, Reason> {
    let object: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| Reason::from(format!("not a JSON object: {error}")))?;
    let time = names::find(&object, names::TIME, |value| match value {
        Value::String(text) => Some(time::any(text)),
        Value::Number(number) => Some(time::epoch(&number.to_string())),
        _ => None,
    })
    .ok_or("no time in the JSON object")??;
    let line = names::find(&object, names::REQUEST, text);
    let (line_method, line_target) = line.as_deref().map_or((None, None), request_line);
    let method = names::find(&object, names::METHOD, text).or_else(|| line_method.map(str::to_owned));
    // The request line is what the client sent; a `uri` beside it may be what the server made of it.
    let target = line_target.map(str::to_owned).or_else(|| names::find(&object, names::TARGET, text));
    let address = |value: &Value| value.as_str().and_then(present).map(str::to_owned);
    let client = names::find(&object, names::CLIENT, address)
        .or_else(|| target.as_ref().and_then(|_| names::find(&object, names::LAST_RESORT_CLIENT, address)));
    if client.is_none() && target.is_none() {
        // Servers write their own messages to the same file.
        return Err("no client address and no path in the JSON object".into());
    }
    let client = client.map(|client| {
        let (address, is_address) = client_address(&client);
        (address.into_owned(), is_address)
    });
    Ok(Request {
        time,
        is_address: client.as_ref().is_some_and(|(_, is_address)| *is_address),
        client: client.map(|(client, _)| Cow::Owned(client)),
        method: method.map(Cow::Owned),
        target: target.map(Cow::Owned),
        odd_tail: false,
        rest: Rest::Json(JsonRest(object)),
    })
}

/// The object itself: what of it matters depends on the policy.
#[derive(Debug)]
pub(super) struct JsonRest(Map<String, Value>);

impl JsonRest {
    pub(super) fn host(&self) -> Option<String> {
        names::find(&self.0, names::HOST, text)
    }

    pub(super) fn status(&self) -> Option<u16> {
        names::find(&self.0, names::STATUS, |value| text(value)?.parse().ok())
    }

    /// The values of a header, one for each of its lines.
    pub(super) fn header(&self, name: &str) -> Option<Vec<String>> {
        names::find(&self.0, names::HEADERS, |headers| value_of(headers.as_object()?, name))
            .or_else(|| self.at_top(name))
    }

    /// `user_agent`, nginx's `http_user_agent`, Traefik's `request_User-Agent`.
    fn at_top(&self, name: &str) -> Option<Vec<String>> {
        let prefixed = |prefix: &str| {
            self.0
                .iter()
                .find(|(field, _)| names::same_with_prefix(field, prefix, name))
                .and_then(|(_, value)| texts(value))
        };
        value_of(&self.0, name).or_else(|| prefixed("http")).or_else(|| prefixed("request")).or_else(|| {
            let synonyms = match () {
                () if names::same(name, "user-agent") => names::USER_AGENT,
                () if names::same(name, "referer") => names::REFERER,
                () => return None,
            };
            names::find(&self.0, synonyms, texts)
        })
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
            parse(r#"{"ts":1431857103.25,"msg":"server running","host":"web1"}"#)
                .unwrap_err()
                .starts_with("no client address")
        );
    }
}

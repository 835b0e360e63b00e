//! One call of a script.

/// A script, and the digest it is called by.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) body: String,
    pub(crate) sha: String,
}

impl Script {
    fn new(body: String) -> Self {
        let sha = sha1_smol::Sha1::from(&body).digest().to_string();
        Self { body, sha }
    }
}

/// All scripts, as the servers are given them.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) check: Script,
    pub(crate) adjust: Script,
    pub(crate) undo: Script,
    pub(crate) lease: Script,
    pub(crate) reserve: Script,
    pub(crate) nodes: Script,
}

impl Scripts {
    /// With the server's own clock; or, for tests, with the number of microseconds that stands under a key.
    pub(crate) fn new(clock_key: Option<&str>) -> Self {
        let script = |body: &str| {
            let body = format!("{}{body}", include_str!("scripts/prelude.lua"));
            Script::new(match clock_key {
                None => body,
                Some(key) => {
                    let read = format!(
                        "{{string.sub(redis.call('GET', '{key}'), 1, 10), string.sub(redis.call('GET', '{key}'), 11)}}"
                    );
                    body.replace("redis.call('TIME')", &read)
                }
            })
        };
        Self {
            check: script(include_str!("scripts/check.lua")),
            adjust: script(include_str!("scripts/adjust.lua")),
            undo: script(include_str!("scripts/undo.lua")),
            lease: script(include_str!("scripts/lease.lua")),
            reserve: script(include_str!("scripts/reserve.lua")),
            nodes: script(include_str!("scripts/nodes.lua")),
        }
    }

    pub(crate) fn all(&self) -> [&Script; 6] {
        [&self.check, &self.adjust, &self.undo, &self.lease, &self.reserve, &self.nodes]
    }
}

/// An argument of a script.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    Static(&'static str),
    Number(u64),
    Text(String),
}

/// A script, the keys it looks at, all in one slot, and what it is told.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) script: &'a Script,
    pub(crate) keys: Vec<String>,
    pub(crate) args: Vec<Arg>,
    pub(crate) slot: u16,
}

#[cfg(feature = "client")]
impl Request<'_> {
    /// As `EVALSHA`, or with the whole script, for a server that does not have it.
    pub(crate) fn command(&self, is_whole: bool) -> redis::Cmd {
        let mut cmd = redis::cmd(if is_whole { "EVAL" } else { "EVALSHA" });
        cmd.arg(if is_whole { &self.script.body } else { &self.script.sha }).arg(self.keys.len());
        for key in &self.keys {
            cmd.arg(key);
        }
        for arg in &self.args {
            match arg {
                Arg::Static(text) => cmd.arg(text),
                Arg::Number(number) => cmd.arg(number),
                Arg::Text(text) => cmd.arg(text),
            };
        }
        cmd
    }
}

//! A small log made by the program itself, for a first run without a log at hand: the same one every time.
//!
//! An hour at a small site: visitors who read pages, and a handful of clients worth limiting. All addresses are from
//! the ranges kept for documentation.

use std::fmt::Write;

use super::log::time::timestamp;

/// 4 March 2024, 12:00 UTC.
const START: u64 = 1_709_553_600;
const HOUR: u64 = 3_600;

const PAGES: [&str; 10] = [
    "/",
    "/about",
    "/products",
    "/products/17",
    "/products/4?ref=home",
    "/cart",
    "/blog",
    "/blog/rate-limits",
    "/search?q=toll",
    "/contact",
];
const ASSETS: [&str; 4] = ["/static/site.css", "/static/site.js", "/static/logo.svg", "/favicon.ico"];
const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:123.0) Gecko/20100101 Firefox/123.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.3 Safari/604.1",
];

/// The log, in Combined format.
pub(crate) fn log() -> String {
    let mut hour = Hour { random: Random(0x7011_6a7e), lines: Vec::new() };
    hour.visitors();
    hour.scraper();
    hour.password_guesser();
    hour.feed_reader();
    hour.broken_client();
    hour.monitor();
    hour.into_text()
}

struct Hour {
    random: Random,
    /// When each line is written, in seconds from the start, and the line.
    lines: Vec<(u64, String)>,
}

impl Hour {
    fn request(&mut self, at: u64, client: &str, request: &str, status: u16, referer: &str, agent: &str) {
        if at >= HOUR {
            return;
        }
        let time = timestamp((START + at) * 1_000_000_000).strftime("%d/%b/%Y:%H:%M:%S +0000");
        let bytes = 200 + self.random.below(30_000);
        let line = format!("{client} - - [{time}] \"{request} HTTP/1.1\" {status} {bytes} \"{referer}\" \"{agent}\"");
        self.lines.push((at, line));
    }

    /// A page with what belongs to it, some time to read, and the next page.
    fn visitors(&mut self) {
        for visitor in 0..60 {
            let client = match visitor % 5 {
                0 => format!("2001:db8:{:x}::{:x}", visitor + 16, visitor * 7 + 1),
                _ => format!("198.51.100.{}", visitor + 20),
            };
            let agent = BROWSERS[self.random.index(BROWSERS.len())];
            let mut at = self.random.below(HOUR);
            for page in 0..=self.random.below(8) {
                let path = PAGES[self.random.index(PAGES.len())];
                let referer = if page == 0 { "-" } else { "https://www.example.org/" };
                self.request(at, &client, &format!("GET {path}"), 200, referer, agent);
                if page == 0 {
                    for asset in ASSETS {
                        self.request(at + 1, &client, &format!("GET {asset}"), 200, "https://www.example.org/", agent);
                    }
                }
                at += 8 + self.random.below(90);
            }
        }
    }

    /// Everything there is, for twelve minutes, as fast as the server answers.
    fn scraper(&mut self) {
        let mut at = 14 * 60;
        while at < 26 * 60 {
            for _ in 0..=self.random.below(2) {
                let page = self.random.below(4_000);
                self.request(at, "203.0.113.77", &format!("GET /products/{page}"), 200, "-", "python-requests/2.31.0");
            }
            at += 1;
        }
    }

    /// Short bursts with pauses between them, from two addresses in turn.
    fn password_guesser(&mut self) {
        for burst in 0..9 {
            let client = if burst % 2 == 0 { "192.0.2.13" } else { "192.0.2.14" };
            let start = 31 * 60 + burst * 180;
            for attempt in 0..40 {
                self.request(start + attempt / 2, client, "POST /login", 401, "-", "curl/8.5.0");
            }
        }
    }

    /// Twenty feeds at once, every ten minutes.
    fn feed_reader(&mut self) {
        for round in 0..6 {
            for feed in 0..20 {
                let request = format!("GET /blog/feed/{feed}.xml");
                self.request(round * 600 + 240 + feed / 10, "2001:db8:feed::5", &request, 304, "-", "FeedFetcher/1.4");
            }
        }
    }

    /// Tries again at once and for ever, but only for three minutes.
    fn broken_client(&mut self) {
        for at in 47 * 60..50 * 60 {
            for _ in 0..3 {
                self.request(at, "203.0.113.150", "GET /api/v1/status", 503, "-", "acme-sync/0.9 \\\"beta\\\"");
            }
        }
    }

    /// Every five seconds: steady, harmless and above many a limit; what `--exempt` is for.
    fn monitor(&mut self) {
        for round in 0..HOUR / 5 {
            self.request(round * 5, "192.0.2.200", "GET /health", 200, "-", "uptime-check/3");
        }
    }

    /// In the order in which a server writes them: nearly that of time, as a line is written when its answer is done.
    fn into_text(mut self) -> String {
        for (at, _) in &mut self.lines {
            *at = *at * 8 + self.random.below(14);
        }
        self.lines.sort();
        let mut text = String::new();
        for (i, (_, line)) in self.lines.iter().enumerate() {
            // Two lines that are none, because real logs have such lines.
            if i == 1_000 || i == 2_000 {
                text.push_str("server restarted\n");
            }
            // Writing into a `String` cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// SplitMix64: the same numbers on every machine, and no dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap_or(1))).unwrap_or(0)
    }
}

//! Reads lists of rates, one a line, and prints what `parse_quotas` makes of each.
//!
//! A line is the text in hexadecimal, UTF-8 bytes two digits each, so that any text fits on a line. The answer is
//! `ok count/period_ns/burst,...` or `err position`. `ci/limits_compare.py` drives it:
//!
//! ```text
//! $ printf '10/minute' | xxd -p | cargo run --quiet --example parse_rates
//! ok 10/60000000000/10
//! ```

use std::error::Error;
use std::io::{BufWriter, Write, stdin, stdout};

use tollgate::parse_quotas;

fn from_hex(line: &str) -> Result<String, Box<dyn Error>> {
    if !line.is_ascii() || !line.len().is_multiple_of(2) {
        return Err(format!("not pairs of hexadecimal digits: {line:?}").into());
    }
    let bytes: Result<Vec<u8>, _> =
        (0..line.len()).step_by(2).map(|i| u8::from_str_radix(&line[i..i + 2], 16)).collect();
    Ok(String::from_utf8(bytes?)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(stdout().lock());
    for line in stdin().lines() {
        match parse_quotas(&from_hex(&line?)?) {
            Ok(quotas) => {
                let rates = quotas.iter().map(|q| format!("{}/{}/{}", q.count(), q.period().as_nanos(), q.burst()));
                writeln!(out, "ok {}", rates.collect::<Vec<_>>().join(","))?;
            }
            Err(error) => writeln!(out, "err {}", error.position())?,
        }
    }
    Ok(out.flush()?)
}

//! Reading the file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tollgate_http::ConfigError;

use super::file::{Config, Files, Problem, parse};
use super::tier_file;
use crate::proxy::tls;
use crate::values::failure::Failure;

/// A settings file is short; whatever is longer is something else.
const MAX_FILE: u64 = 1 << 20;

/// Reads and checks the file at `path`. Names of other files in it are relative to its folder.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    understand(path)?.map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| problem.in_file(path)).collect();
        Failure::Config(lines.join("\n"))
    })
}

/// As [`load`], with the mistakes one by one.
pub(crate) fn understand(path: &Path) -> Result<Result<Config, Vec<Problem>>, Failure> {
    let unreadable = |error| Failure::NoInput(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::Config(format!(
            "{}: longer than 1 MiB, too long for a configuration file",
            path.display()
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::Config(format!("{}: not valid UTF-8", path.display())))?;
    let files = Files {
        folder: path.parent().unwrap_or(Path::new("")),
        certificate: |files| tls::server(files).map(drop).map_err(|error| error.to_string()),
        authorities: |path| tls::connectors(Some(path), true).map(drop).map_err(|error| error.to_string()),
        tiers: tier_file::read,
        secret,
    };
    Ok(parse(&text, &files))
}

/// The bytes of the file of a secret.
fn secret(path: &Path) -> Result<Vec<u8>, String> {
    let said = |what: &dyn std::fmt::Display| format!("cannot read {}: {what}", path.display());
    if std::fs::metadata(path).map_err(|error| said(&error))?.is_file() {
        std::fs::read(path).map_err(|error| said(&error))
    } else {
        // A pipe would be waited for.
        Err(said(&"not a file"))
    }
}

/// Why the limiter of a file that is right by itself cannot be made.
pub(crate) fn no_limiter(path: &Path, error: &ConfigError) -> Failure {
    Failure::Config(format!("{}: limiter: {error}", path.display()))
}

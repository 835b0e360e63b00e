//! What is asked for on the command line.

use std::env;
use std::path::PathBuf;

use crate::common::paired::Length;

/// When a scene is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    Default,
    Full,
}

#[derive(Debug)]
pub struct Options {
    pub full: bool,
    pub tsv: bool,
    pub list: bool,
    /// Shows that everything runs.
    pub smoke: bool,
    /// Only scenes whose name contains this.
    pub filter: String,
    /// Measure for the pictures instead, and put the figures into this folder.
    pub pictures: Option<PathBuf>,
}

impl Options {
    pub fn from_args() -> Self {
        let mut options =
            Self { full: false, tsv: false, list: false, smoke: false, filter: String::new(), pictures: None };
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "full" => options.full = true,
                "--tsv" => options.tsv = true,
                "--list" => options.list = true,
                // `cargo test --benches` passes the one, and criterion's own targets take the other for the same.
                "--test" | "--quick" => options.smoke = true,
                // What `cargo bench` adds by itself.
                "--bench" => {}
                "--pictures" => options.pictures = Some(args.next().expect("--pictures FOLDER").into()),
                _ if arg.starts_with('-') => panic!("unknown option {arg}"),
                _ => options.filter = arg,
            }
        }
        options
    }

    pub fn wants(&self, set: Set) -> bool {
        self.full || set == Set::Default
    }

    pub fn length(&self) -> Length {
        match (self.smoke, self.full) {
            (true, _) => Length::SMOKE,
            (false, true) => Length::LONG,
            (false, false) => Length::USUAL,
        }
    }

    /// Fewer keys where it is only shown that everything runs.
    pub fn keys(&self, keys: u64) -> u64 {
        if self.smoke { keys.min(10_000) } else { keys }
    }
}

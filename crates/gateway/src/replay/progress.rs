//! The progress bar, on standard error and only for somebody who is watching.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Below these a bar would only flicker.
const LONG_READ: u64 = 8 << 20;
const LONG_REPLAY: u64 = 1_000_000;

/// A bar, or nothing.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Bytes of the files that have been read to their end.
    done: u64,
}

impl Progress {
    pub(crate) fn none() -> Self {
        Self { bar: ProgressBar::hidden(), done: 0 }
    }

    /// Over so many bytes; zero if that is unknown, as on standard input.
    pub(crate) fn reading(total: u64) -> Self {
        match total {
            0 => Self::new(None, "reading   {binary_bytes} {binary_bytes_per_sec}"),
            LONG_READ.. => Self::new(
                Some(total),
                "reading   {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left",
            ),
            _ => Self::none(),
        }
    }

    /// Over so many requests.
    pub(crate) fn replaying(total: u64) -> Self {
        if total < LONG_REPLAY {
            return Self::none();
        }
        Self::new(Some(total), "replaying {wide_bar} {human_pos}/{human_len} requests, {eta} left")
    }

    fn new(total: Option<u64>, template: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self::none();
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        Self { bar, done: 0 }
    }

    /// So far into the present file.
    pub(crate) fn at(&self, position: u64) {
        let position = self.done + position;
        if self.bar.length().is_some() || position >= LONG_READ {
            self.bar.set_position(position);
        }
    }

    pub(crate) fn file_done(&mut self, size: u64) {
        self.done += size;
        self.at(0);
    }
}

impl Drop for Progress {
    /// Also on the way out with an error: the message must not be written into a bar.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

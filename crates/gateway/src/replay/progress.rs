//! The progress bar, on standard error and only for somebody who is watching, and how that somebody ends the reading.

use std::io::{self, IsTerminal};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::event::{PollFd, PollFlags};

/// Below these a bar would only flicker.
const LONG_READ: u64 = 8 << 20;
const LONG_REPLAY: u64 = 1_000_000;

/// Whether somebody has asked for an end with Ctrl-C: the first time for the result so far, the second time at once.
#[derive(Debug, Clone)]
pub struct Interrupt {
    is_on: Arc<AtomicBool>,
    /// Has a byte to read when the flag is set, so that somebody who waits for input wakes: a read that a signal interrupts would begin again.
    bell: Option<Arc<UnixStream>>,
}

impl Interrupt {
    /// Nobody asks.
    #[must_use]
    pub fn never() -> Self {
        Self { is_on: Arc::default(), bell: None }
    }

    /// From now on the first Ctrl-C ends the reading.
    pub(crate) fn heed() -> Self {
        let mut interrupt = Self::never();
        let flag = || Arc::clone(&interrupt.is_on);
        // The order matters: what ends the program looks at the flag before the other sets it, and who is woken finds it set. Where signals
        // cannot be had, Ctrl-C ends the program as it always did.
        let signal = signal_hook::consts::SIGINT;
        let _ = signal_hook::flag::register_conditional_default(signal, flag());
        let _ = signal_hook::flag::register(signal, flag());
        if let Ok((bell, ringer)) = UnixStream::pair()
            && signal_hook::low_level::pipe::register(signal, ringer).is_ok()
        {
            interrupt.bell = Some(Arc::new(bell));
        }
        interrupt
    }

    /// Waits until `input` has something to read, or has ended, or somebody asks for an end.
    pub(crate) fn wait_for(&self, input: BorrowedFd<'_>) -> io::Result<()> {
        let input = PollFd::from_borrowed_fd(input, PollFlags::IN);
        let waited = match &self.bell {
            Some(bell) => rustix::event::poll(&mut [input, PollFd::new(bell, PollFlags::IN)], None),
            None => rustix::event::poll(&mut [input], None),
        };
        match waited {
            // The caller looks at the flag and comes again.
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Relaxed: the flag stands for itself alone, and nothing is read because of it.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// The reading is over: Ctrl-C ends the program again.
    pub(crate) fn reading_is_over(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }
}

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

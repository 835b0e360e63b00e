//! How somebody ends the reading: with Ctrl-C, also while there is nothing to read.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};

/// Whether somebody has asked for an end with Ctrl-C: the first time for the result so far, the second time at once.
#[derive(Debug, Clone)]
pub struct Interrupt {
    is_on: Arc<AtomicBool>,
    /// Has a byte to read when the flag is set, so that somebody wakes who has looked at the flag and is about to wait for input. The signal
    /// itself would wake who waits already.
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

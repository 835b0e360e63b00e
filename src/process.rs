//! Which process this is. A child that was forked has its parent's memory and none of its threads, so what a thread was to
//! keep up, or what only one may hold, is void there. A [`Process`] made before a fork is told from the child by one load.
//!
//! On Linux the load is of a page that the kernel empties in a child (`MADV_WIPEONFORK`, since Linux 4.14), however it was
//! forked. Where there is no such page, the process id is asked for each time: right, but for an id that is used again, and as
//! slow as a system call. What else is to be void in a child at once can be a number on that page.

#![cfg_attr(
    all(target_os = "linux", not(tollgate_model)),
    expect(unsafe_code, reason = "one page is handed to the kernel")
)]

/// A process, as long as it lives. Nonzero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u64);

impl Process {
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

#[cfg(not(tollgate_model))]
pub(crate) use here::{EMPTIED, emptied};

#[cfg(not(tollgate_model))]
mod here {
    use super::Process;
    use crate::sync::{Atomic, Ordering};

    /// At least a page of memory of every Linux, so that nothing else is emptied with it.
    const PAGE_SIZE: usize = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) { 4_096 } else { 65_536 };

    #[cfg_attr(any(target_arch = "x86_64", target_arch = "x86"), repr(C, align(4096)))]
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "x86")), repr(C, align(65536)))]
    struct Page {
        /// The process that this memory is in; zero if that has not been asked since it began.
        process: Atomic<u64>,
        /// In a cache line that nobody writes while the process lives.
        _apart: [u64; 15],
        emptied: [Atomic<u64>; EMPTIED],
        _rest: [u64; PAGE_SIZE / size_of::<u64>() - 16 - EMPTIED],
    }

    /// How many numbers are on the page for others.
    pub(crate) const EMPTIED: usize = 256;

    const _: () = assert!(size_of::<Page>() == PAGE_SIZE && align_of::<Page>() == PAGE_SIZE);

    static PAGE: Page = Page {
        process: Atomic::new(0),
        _apart: [0; 15],
        emptied: [const { Atomic::new(0) }; EMPTIED],
        _rest: [0; PAGE_SIZE / size_of::<u64>() - 16 - EMPTIED],
    };
    /// How many processes, from the first ancestor to this one, have asked. Not on the page, so a child counts on.
    static ASKED: Atomic<u64> = Atomic::new(0);
    /// Whether the kernel was asked to empty the page, and would not.
    static KEEPS_PAGES: Atomic<u64> = Atomic::new(0);

    impl Process {
        /// This one. A load; the first call of a process takes three system calls.
        #[inline]
        pub(crate) fn current() -> Self {
            // Relaxed, here and in `is_current`, with the exchange in `begin`: the value is all there is, nothing is
            // published through it, and a thread that does not see it yet makes the same exchange. No model: it is written
            // once in a process.
            match PAGE.process.load(Ordering::Relaxed) {
                0 => Self::begin(),
                process => Self(process),
            }
        }

        /// Whether this is still the same process: one load.
        #[inline]
        pub(crate) fn is_current(self) -> bool {
            // Relaxed: as in `current`. No model.
            PAGE.process.load(Ordering::Relaxed) == self.0 || self.is_current_after_all()
        }

        #[cold]
        #[inline(never)]
        fn is_current_after_all(self) -> bool {
            self == Self::current()
        }

        #[cold]
        #[inline(never)]
        fn begin() -> Self {
            let id = u64::from(std::process::id());
            // Relaxed, both: a flag by itself, and who does not see it set asks the kernel again. No model.
            if KEEPS_PAGES.load(Ordering::Relaxed) != 0 {
                return Self(id);
            }
            // Before anything is written on it: a child that is forked in between must find it empty.
            if !empties_in_a_child(&PAGE) {
                KEEPS_PAGES.swap(1, Ordering::Relaxed);
                return Self(id);
            }
            // Relaxed: a number by itself. No model. The id beside it tells a child from its parent also where the fork came
            // between the copies of two pages, and the count is from before.
            let asked = ASKED.fetch_add(1, Ordering::Relaxed);
            let process = id | asked << 32;
            // Relaxed, both: as in `current`. No model.
            match PAGE.process.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => Self(process),
                Err(other) => Self(other),
            }
        }
    }

    /// Numbers that are zero in every child; `None` where the memory of a child is its parent's.
    pub(crate) fn emptied() -> Option<&'static [Atomic<u64>]> {
        Process::current();
        // Relaxed: as in `current`, which has written it, or seen it, if the page is emptied. No model.
        (PAGE.process.load(Ordering::Relaxed) != 0).then_some(&PAGE.emptied)
    }

    /// Has the kernel empty a page in every child from now on.
    #[cfg(target_os = "linux")]
    fn empties_in_a_child(page: &Page) -> bool {
        let advise = |advice| {
            let start = core::ptr::from_ref(page).cast_mut().cast();
            // SAFETY: the page is whole, aligned, and lives for ever; in this process neither advice changes what is on it,
            // and in a child zeros are as good a `Page` as any.
            unsafe { libc::madvise(start, PAGE_SIZE, advice) == 0 }
        };
        // Emulators that know no advice answer that all went well, to advice that nobody knows as well.
        !advise(-1) && advise(libc::MADV_WIPEONFORK)
    }

    /// Where nothing forks, no child is there to find the page as it was.
    #[cfg(not(target_os = "linux"))]
    const fn empties_in_a_child(_: &Page) -> bool {
        cfg!(not(unix))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_process_stays_what_it_is() {
            let process = Process::current();
            assert!(process.bits() != 0 && process.is_current());
            assert_eq!(std::thread::spawn(Process::current).join().unwrap(), process);
            assert!(!Process(process.bits() ^ 1 << 40).is_current());
        }

        #[test]
        #[cfg(target_os = "linux")]
        fn the_kernel_empties_the_page() {
            // Else the tests that fork would prove the slow way only.
            assert!(empties_in_a_child(&PAGE));
        }
    }
}

/// In a model nothing forks.
#[cfg(tollgate_model)]
impl Process {
    pub(crate) const fn current() -> Self {
        Self(1)
    }

    pub(crate) const fn is_current(self) -> bool {
        self.0 == 1
    }
}

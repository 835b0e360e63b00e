//! Processes, and files for them.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tollgate::shared::{Shared, TableClock};
use tollgate::{Limiter, LimiterBuilder};

/// One test at a time: a process that is forked has all that this one has mapped, and so is somebody else who uses it.
static ONE: Mutex<()> = Mutex::new(());

/// A directory of its own on a tmpfs, gone with its owner.
pub(crate) struct Directory(PathBuf, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Directory {
    pub(crate) fn new(test: &str) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new("/dev/shm").join(format!("tollgate-test-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a tmpfs on /dev/shm");
        Self(path, one)
    }

    pub(crate) fn table(&self) -> PathBuf {
        self.0.join("table")
    }

    pub(crate) fn names(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn builder(quota: &str, capacity: usize) -> LimiterBuilder {
    Limiter::builder(quota).capacity(capacity)
}

pub(crate) fn shared(quota: &str, capacity: usize, path: &Path) -> Limiter<TableClock> {
    builder(quota, capacity).shared(Shared::at(path)).build().unwrap()
}

pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a stopwatch beside the clocks that are tested")]
    Instant::now()
}

/// A forked process, killed with its owner.
pub(crate) struct Child(libc::pid_t);

impl Child {
    /// Runs `body` in it, and ends.
    pub(crate) fn new(body: impl FnOnce()) -> Self {
        // SAFETY: the child runs `body` alone, and ends without returning to the test harness. The C library makes its own
        // allocator and its threads fit for use after a fork.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "no child");
        if child == 0 {
            std::panic::set_hook(Box::new(|panic| drop(writeln!(std::io::stderr(), "in a child: {panic}"))));
            let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err());
            // SAFETY: ends this process; nothing of the parent's is flushed or dropped twice.
            unsafe { libc::_exit(code) }
        }
        Self(child)
    }

    pub(crate) fn send(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so its number is still its own.
        unsafe { libc::kill(self.0, signal) };
    }

    /// Asks for something of a process that is stopped under this one's eyes.
    pub(crate) fn request(&self, request: libc::c_uint) {
        // SAFETY: takes no pointers; the child is traced by this process, and stopped.
        let answer = unsafe { libc::ptrace(request, self.0, 0, 0) };
        assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    }

    /// As `wait`, of what comes at once.
    pub(crate) fn wait_at_once(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is a place for one, and the child is this process's own.
        let waited = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(waited, self.0);
        if !libc::WIFSTOPPED(status) {
            self.0 = 0;
        }
        status
    }

    /// Whatever becomes of it next: its status as `waitpid` has it.
    pub(crate) fn wait(&mut self) -> i32 {
        let started = now();
        loop {
            let mut status = 0;
            // SAFETY: `status` is a place for one, and the child is this process's own.
            let waited = unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG) };
            if waited == self.0 {
                if !libc::WIFSTOPPED(status) {
                    self.0 = 0;
                }
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "the child does not come to an end");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    pub(crate) fn ends_well(mut self) {
        let status = self.wait();
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child ended with {status:#x}");
    }

    pub(crate) fn kill(mut self) {
        self.send(libc::SIGKILL);
        self.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.0 != 0 {
            self.send(libc::SIGKILL);
            // SAFETY: as in `wait`.
            unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        }
    }
}

//! Locks on single bytes far beyond the end of a table's file: one for each process that lives.
//!
//! They are locks of *open file descriptions*: they go when the last descriptor and the last mapping of theirs have gone, and no sooner, so
//! also not while a process is stopped, nor with a `close` somewhere else in it, as the older locks of processes do. Nobody waits for one.

#![expect(unsafe_code, reason = "two calls of the C library for which there is no safe face")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// No table is so long.
const FIRST: i64 = 1 << 50;

fn lock_of(number: u64) -> io::Result<libc::flock> {
    Ok(libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).map_err(io::Error::other)?,
        l_whence: i16::try_from(libc::SEEK_SET).map_err(io::Error::other)?,
        l_start: FIRST + i64::try_from(number).map_err(io::Error::other)?,
        l_len: 1,
        // Must be zero for these locks.
        l_pid: 0,
    })
}

/// Takes a number, if nobody has it; whether that was so.
pub(super) fn take(file: &File, number: u64) -> io::Result<bool> {
    let lock = lock_of(number)?;
    // SAFETY: the descriptor is open, and `lock` is one, which is read only.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        error => Err(error),
    }
}

/// Whether somebody else has a number: another description than this one.
pub(super) fn is_taken(file: &File, number: u64) -> io::Result<bool> {
    let mut lock = lock_of(number)?;
    // SAFETY: the descriptor is open, and `lock` is a place for one.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } == 0 {
        return Ok(i32::from(lock.l_type) != libc::F_UNLCK);
    }
    Err(io::Error::last_os_error())
}

//! Threads that may not be there.

use std::io;
use std::thread::Builder;

use memmap2::MmapMut;

/// The stack of a thread of this crate: they call nothing deep.
const STACK: usize = 64 << 10;
/// What the standard library maps besides, with room to spare.
const BESIDES: usize = 192 << 10;

/// A thread to start.
///
/// # Errors
///
/// If there is no memory for it. The standard library would start a thread that has a stack, and end the process when there is
/// no second one for its signals.
pub(crate) fn small(name: &str) -> io::Result<Builder> {
    MmapMut::map_anon(STACK + BESIDES)?;
    Ok(Builder::new().name(name.into()).stack_size(STACK))
}

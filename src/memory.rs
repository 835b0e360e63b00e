//! The memory of a table: reserved at once; committed by the operating system as it is touched, zero until then, or at once.
//!
//! Unsafe code: it turns a mapping into a slice of lines, gives pages of it back, and gives prefetch hints.

#![expect(unsafe_code, reason = "a mapping is bytes; a table is lines")]

use core::ops::Deref;
use core::ptr::NonNull;

use memmap2::MmapMut;

use crate::error::BuildError;
use crate::probe::SLOTS_PER_LINE;
use crate::slot::Slot;

/// The slots of one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    pub(crate) slots: [Slot; SLOTS_PER_LINE],
}

const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);
/// What the operating system clears and maps at once, at most and at least, on most processors.
const HUGE_PAGE: usize = 2 << 20;
const PAGE: usize = 4 << 10;
/// Up to so many bytes are committed when they are reserved: it takes a millisecond or so.
const COMMITTED_ANYWAY: usize = 8 << 20;

/// A mapping of zeroed lines.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Owns what `first` points into; never moved or resized while mapped.
    _mapping: MmapMut,
    first: NonNull<Line>,
    count: usize,
    /// How many lines make up a page of memory that can be given back; 0 if none can.
    lines_per_page: usize,
}

// SAFETY: `Lines` owns its mapping alone, and hands out shared references to `Line`s, which are atomics throughout.
unsafe impl Send for Lines {}
// SAFETY: as above; nothing is reached through `&Lines` but atomics.
unsafe impl Sync for Lines {}

impl Lines {
    /// Reserves `count` lines, of which every slot reads as never used; commits them, if that is asked for or they are few.
    ///
    /// What is not committed here is committed by whoever writes to it first, who may be a check: so in small pages. To
    /// clear a huge one takes milliseconds on a bad day, and a few keys would touch them all.
    pub(crate) fn reserve(count: usize, commit: bool) -> Result<Self, BuildError> {
        let bytes = count.saturating_mul(size_of::<Line>());
        let has_huge = bytes >= HUGE_PAGE;
        // Room to begin at a huge page if there is at least one: address space, not memory.
        let align = if has_huge { HUGE_PAGE } else { align_of::<Line>() };
        let length = bytes.saturating_add(align);
        let mut mapping = MmapMut::map_anon(length).map_err(|source| BuildError::Memory { bytes, source })?;
        let skip = mapping.as_ptr().align_offset(align);
        assert!(skip < align, "a byte pointer can be aligned within one alignment");
        if commit || bytes <= COMMITTED_ANYWAY {
            // A hint: fewer misses of the address cache. Kernels without huge pages refuse it, and nothing is lost. Not for
            // what is left beyond the last whole one.
            #[cfg(target_os = "linux")]
            if has_huge {
                let _ = mapping.advise_range(memmap2::Advice::HugePage, skip, bytes / HUGE_PAGE * HUGE_PAGE);
            }
            // Written, not read: a page that was only read is everybody's page of zeros.
            mapping[skip..skip + bytes].iter_mut().step_by(PAGE).for_each(|byte| *byte = 0);
        }
        // Whatever the system does of itself; nor shall it make huge pages of small ones later: while it copies one, checks
        // that touch it wait. Those there are stay.
        #[cfg(target_os = "linux")]
        if has_huge {
            let _ = mapping.advise(memmap2::Advice::NoHugePage);
        }
        let start = mapping.as_mut_ptr();
        // SAFETY: skip < align and the mapping is `bytes + align` long, so this stays inside it.
        let first = unsafe { start.add(skip) };
        let first = NonNull::new(first.cast::<Line>()).expect("a mapping is not at address zero");
        let is_committed = commit || bytes <= COMMITTED_ANYWAY;
        // What does not begin at a huge page is committed anyway, so that the first line begins a page.
        let lines_per_page = if is_committed { 0 } else { page_size() / size_of::<Line>() };
        Ok(Self { _mapping: mapping, first, count, lines_per_page })
    }

    /// The lines of each page of memory that can be given back: none of a table that was committed when it was built.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &[Line]> {
        // All of the table as one, of which there is no whole one.
        let lines_per_page = if self.lines_per_page == 0 { self.count + 1 } else { self.lines_per_page };
        self.chunks_exact(lines_per_page)
    }

    /// Gives the memory of a page of [`Self::pages`] back to the system, and says whether it took it. Every slot of it then reads
    /// as never used, whatever it held.
    #[cfg(target_os = "linux")]
    pub(crate) fn forget(page: &[Line]) -> bool {
        let start = page.as_ptr().cast_mut().cast();
        // SAFETY: the page is whole and aligned, and lies in a private anonymous mapping that lives as long as the borrow does: only
        // `pages` makes such slices, from a first line at a multiple of the page size, and its length is a page. What the
        // system does to it is to replace its bytes by zeros, at once and for all threads: a valid `Line`, reached through shared
        // references to atomics, so that it is as if another thread had stored zeros.
        unsafe { libc::madvise(start, size_of_val(page), libc::MADV_DONTNEED) == 0 }
    }

    /// Elsewhere the same call may leave the bytes as they are.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn forget(_: &[Line]) -> bool {
        false
    }
}

/// What the system gives and takes memory in; 0 where it is not asked.
#[cfg(target_os = "linux")]
fn page_size() -> usize {
    // SAFETY: asks for a number, and changes nothing.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // A power of two; anything else, an error among it, is none that lines make up.
    usize::try_from(size).ok().filter(|size| size.is_power_of_two() && *size <= HUGE_PAGE).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
const fn page_size() -> usize {
    0
}

impl Line {
    /// Asks the processor to fetch the line, which will soon be written: a hint.
    #[inline]
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing, and SSE is part of x86-64.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(core::ptr::from_ref(self).cast());
        };
    }
}

impl Deref for Lines {
    type Target = [Line];

    #[inline]
    fn deref(&self) -> &[Line] {
        // SAFETY: `first` is aligned for `Line`, followed by `count` lines inside the mapping that `self` owns; zeroed
        // memory is a valid `Line` (atomics of plain 64-bit words), and all access is through shared references.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

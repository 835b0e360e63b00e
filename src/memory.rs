//! The memory of a table: reserved at once; committed by the operating system as it is touched, zero until then, or at once;
//! or a file that other processes have mapped as well.
//!
//! The only module with unsafe code for tables: it turns a mapping into slices of atomics, gives pages of it back, and gives
//! prefetch hints.
//!
//! **Of a shared mapping** no reference to plain memory is ever formed, and no slice of bytes: only shared references to types
//! that are atomics through and through, of which every bit pattern is a value. What another process does to them is what
//! another thread would do, as long as it goes by the same rules. One that stores single bytes there is outside of what the
//! language speaks of; the processor still loads what is there, and the engine takes whatever that is (`DESIGN.md` 14).

#![expect(unsafe_code, reason = "a mapping is bytes; a table is lines")]

use core::ops::Deref;
use core::ptr::NonNull;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use memmap2::{MmapMut, MmapRaw};

use crate::error::BuildError;
use crate::marks::Marks;
use crate::probe::SLOTS_PER_LINE;
use crate::slot::Slot;
use crate::sync::Atomic;
use crate::table::Counters;

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

/// Kept for as long as it is pointed into.
#[derive(Debug)]
enum Mapping {
    Own(#[expect(dead_code, reason = "held, never read")] MmapMut),
    #[cfg(target_os = "linux")]
    Shared(Arc<SharedMap>),
}

/// A mapping of zeroed lines, or of lines that others use as well.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Owns what `first` points into; never moved or resized while mapped.
    mapping: Mapping,
    first: NonNull<Line>,
    count: usize,
    /// How many lines make up a page of memory that can be given back; 0 if none can.
    lines_per_page: usize,
    /// Where in its file the first line is, of a table for which nothing was reserved.
    #[cfg(target_os = "linux")]
    sparse_at: Option<u64>,
}

// SAFETY: `Lines` owns its mapping, or a part of one, and hands out shared references to `Line`s, which are atomics throughout.
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
        Ok(Self {
            mapping: Mapping::Own(mapping),
            first,
            count,
            lines_per_page,
            #[cfg(target_os = "linux")]
            sparse_at: None,
        })
    }

    /// The lines of each page of memory that can be given back: none of a table that was committed when it was built.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &[Line]> {
        // All of the table as one, of which there is no whole one.
        let lines_per_page = if self.lines_per_page == 0 { self.count + 1 } else { self.lines_per_page };
        self.used().into_iter().flat_map(move |lines| lines.chunks_exact(lines_per_page))
    }

    /// All lines but those of a sparse file that nobody has touched yet. Not by looking at them: a look at a hole of a file in memory
    /// fills it.
    pub(crate) fn used(&self) -> Vec<&[Line]> {
        #[cfg(target_os = "linux")]
        if let (Some(first), Mapping::Shared(map)) = (self.sparse_at, &self.mapping)
            && let Some(runs) = map.runs(first, self.count)
        {
            return runs.into_iter().filter_map(|run| self.get(run)).collect();
        }
        vec![self]
    }

    /// Gives the memory of a page of [`Self::pages`] back to the system, and says whether it took it. Every slot of it then reads
    /// as never used, whatever it held, to all who have it mapped.
    #[cfg(target_os = "linux")]
    pub(crate) fn forget(&self, page: &[Line]) -> bool {
        let start = page.as_ptr().cast_mut().cast();
        let advice = match self.mapping {
            Mapping::Own(_) => libc::MADV_DONTNEED,
            // Of the file, not of this mapping of it alone.
            Mapping::Shared(_) => libc::MADV_REMOVE,
        };
        // SAFETY: the page is whole and aligned, and lies in a mapping that lives as long as the borrow does, private and anonymous or
        // shared, whichever the advice is for: only `pages` makes such slices, from a first line at a multiple of the page size, and its
        // length is a page. What the system does to it is to replace its bytes by zeros, at once and for all threads, those of other
        // processes among them (tmpfs takes the page out of all page tables first, and has who faults wait until its bytes are gone): a
        // valid `Line`, reached through shared references to atomics, so that it is as if another thread had stored zeros.
        unsafe { libc::madvise(start, size_of_val(page), advice) == 0 }
    }

    /// Elsewhere the same call may leave the bytes as they are.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn forget(&self, _: &[Line]) -> bool {
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
        // SAFETY: `first` is aligned for `Line`, followed by `count` lines inside the mapping that `self` keeps; any memory is
        // a valid `Line` (atomics of plain 64-bit words), and all access is through shared references.
        unsafe { core::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

/// Atomics of whole words through and through, without padding that anybody reads.
///
/// # Safety
///
/// Every bit pattern is a value, and nothing is reached through a shared reference but atomics.
pub(crate) unsafe trait Atomics {}

// SAFETY: an atomic of 64 plain bits.
unsafe impl Atomics for Atomic<u64> {}
// SAFETY: atomics of 64 plain bits, in the order that is written; what is between them nobody reads.
unsafe impl Atomics for CachePadded<Counters> {}
// SAFETY: atomics of 64 plain bits, in the order that is written.
unsafe impl Atomics for Marks {}
#[cfg(target_os = "linux")]
// SAFETY: slots, which are atomics of 64 plain bits.
unsafe impl Atomics for Line {}

/// Some atomics beside the lines: a table's own, or a part of a mapping that others have as well.
#[derive(Debug)]
pub(crate) enum Beside<T> {
    Own(Box<[T]>),
    #[cfg(target_os = "linux")]
    Shared {
        /// Keeps what `first` points into.
        _map: Arc<SharedMap>,
        first: NonNull<T>,
        count: usize,
    },
}

// SAFETY: shared references to the atomics are all that is handed out; the mapping is kept as long as this.
unsafe impl<T: Send + Sync> Send for Beside<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Beside<T> {}

impl<T> FromIterator<T> for Beside<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        Self::Own(iter.into_iter().collect())
    }
}

impl<T> Deref for Beside<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Own(own) => own,
            #[cfg(target_os = "linux")]
            // SAFETY: made by `SharedMap::part` alone, of `count` aligned `Atomics` inside the mapping that is kept.
            Self::Shared { first, count, .. } => unsafe { core::slice::from_raw_parts(first.as_ptr(), *count) },
        }
    }
}

/// A file that several processes have mapped. Never moved or resized while it is.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct SharedMap(MmapRaw, std::fs::File);

#[cfg(target_os = "linux")]
impl SharedMap {
    /// The first `bytes` of a file, for reading and writing.
    pub(crate) fn of(file: &std::fs::File, bytes: usize) -> std::io::Result<Arc<Self>> {
        let map = memmap2::MmapOptions::new().len(bytes).map_raw(file)?;
        Ok(Arc::new(Self(map, file.try_clone()?)))
    }

    /// Which of `count` lines from a byte on are no holes; `None` if the system does not say.
    fn runs(&self, first: u64, count: usize) -> Option<Vec<core::ops::Range<usize>>> {
        use rustix::fs::{SeekFrom, seek};

        const LINE: u64 = size_of::<Line>() as u64;
        let line = |byte: u64| usize::try_from(byte.saturating_sub(first) / LINE).unwrap_or(usize::MAX).min(count);
        let end = first.checked_add(u64::try_from(count).ok()?.checked_mul(LINE)?)?;
        let (mut at, mut runs) = (first, Vec::new());
        while at < end {
            let data = match seek(&self.1, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(rustix::io::Errno::NXIO) => break,
                Err(_) => return None,
            };
            let hole = seek(&self.1, SeekFrom::Hole(data)).ok()?;
            // Forward, whatever the answers are.
            let (from, to) = (line(data), line(hole.saturating_add(LINE - 1)));
            if from < to {
                runs.push(from..to);
            }
            at = hole.max(at + LINE);
        }
        Some(runs)
    }

    /// `count` atomics from a byte on; `None` if they are not aligned there, or not all inside.
    fn at<T: Atomics>(&self, offset: usize, count: usize) -> Option<NonNull<T>> {
        let end = count.checked_mul(size_of::<T>())?.checked_add(offset)?;
        let first = NonNull::new(self.0.as_mut_ptr().wrapping_add(offset).cast::<T>())?;
        (end <= self.0.len() && first.is_aligned()).then_some(first)
    }

    /// `count` atomics from a byte on, as long as they are kept.
    pub(crate) fn part<T: Atomics>(self: &Arc<Self>, offset: usize, count: usize) -> Option<Beside<T>> {
        let first = self.at(offset, count)?;
        Some(Beside::Shared { _map: Arc::clone(self), first, count })
    }

    /// `count` lines from a byte on; whether pages of them can be given back, as nothing is reserved for them.
    pub(crate) fn lines(self: &Arc<Self>, offset: usize, count: usize, can_go: bool) -> Option<Lines> {
        let (first, page) = (self.at::<Line>(offset, count)?, page_size());
        let lines_per_page =
            if can_go && page > 0 && offset.is_multiple_of(page) { page / size_of::<Line>() } else { 0 };
        let sparse_at = if can_go { u64::try_from(offset).ok() } else { None };
        Some(Lines { mapping: Mapping::Shared(Arc::clone(self)), first, count, lines_per_page, sparse_at })
    }
}

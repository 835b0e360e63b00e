//! The memory of a table: reserved at once, committed by the operating system as it is touched, zero until then.
//!
//! The only module with unsafe code: it turns a mapping into a slice of lines, and gives prefetch hints.

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
const HUGE_PAGE: usize = 2 << 20;

/// A mapping of zeroed lines.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Owns what `first` points into; never moved or resized while mapped.
    _mapping: MmapMut,
    first: NonNull<Line>,
    count: usize,
}

// SAFETY: `Lines` owns its mapping alone, and hands out shared references to `Line`s, which are atomics throughout.
unsafe impl Send for Lines {}
// SAFETY: as above; nothing is reached through `&Lines` but atomics.
unsafe impl Sync for Lines {}

impl Lines {
    /// Reserves `count` lines. Nothing is committed yet; every slot reads as never used.
    pub(crate) fn reserve(count: usize) -> Result<Self, BuildError> {
        let bytes = count.saturating_mul(size_of::<Line>());
        // Room to begin at a huge page if there is at least one: address space, not memory.
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { align_of::<Line>() };
        let length = bytes.saturating_add(align);
        let mut mapping = MmapMut::map_anon(length).map_err(|source| BuildError::Memory { bytes, source })?;
        #[cfg(target_os = "linux")]
        if bytes >= HUGE_PAGE {
            // A hint: fewer misses of the address cache. Kernels without huge pages refuse it, and nothing is lost. Not for
            // what is left beyond the last whole one, of which small pages are committed as they are touched.
            let whole = bytes / HUGE_PAGE * HUGE_PAGE;
            let skip = mapping.as_ptr().align_offset(align).min(length - whole);
            let _ = mapping.advise_range(memmap2::Advice::HugePage, skip, whole);
        }
        let start = mapping.as_mut_ptr();
        let skip = start.align_offset(align);
        assert!(skip < align, "a byte pointer can be aligned within one alignment");
        // SAFETY: skip < align and the mapping is `bytes + align` long, so this stays inside it.
        let first = unsafe { start.add(skip) };
        let first = NonNull::new(first.cast::<Line>()).expect("a mapping is not at address zero");
        Ok(Self { _mapping: mapping, first, count })
    }
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

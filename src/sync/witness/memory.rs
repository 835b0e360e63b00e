//! The memory of the explorer: cells that are told what to answer.
//!
//! What a thread does next depends on nothing but what it has read so far. So the explorer needs no threads: to learn
//! what one does after it has read certain values it runs the thread's body from the start, answers with those values,
//! and when they run out leaves the body by unwinding, with the access that it wanted to make.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::Witness;
use crate::sync::Ordering;

/// What a thread wants to do to one cell. Sequentially consistent: it does it at once and everybody sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    cell: usize,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    Load,
    Swap(u64),
    CompareExchange(u64, u64),
    Add(u64),
    Max(u64),
    Sub(u64),
}

impl Access {
    /// Does it, and says what the cell held before.
    pub fn apply(self, memory: &mut [u64]) -> u64 {
        let cell = &mut memory[self.cell];
        let old = *cell;
        *cell = match self.how {
            How::Load => old,
            How::Swap(new) => new,
            How::CompareExchange(current, new) => {
                if old == current {
                    new
                } else {
                    old
                }
            }
            How::Add(value) => old.wrapping_add(value),
            How::Max(value) => old.max(value),
            How::Sub(value) => old.wrapping_sub(value),
        };
        old
    }
}

#[derive(Default)]
struct World {
    cells: Vec<u64>,
    /// While a thread's body runs.
    replay: Option<Replay>,
}

struct Replay {
    /// What the body is to read, and how much of that it has read.
    reads: Vec<u64>,
    next: usize,
    here: Here,
}

/// What a body has passed since its last read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Here {
    /// It has entered a loop.
    pub begins_loop: bool,
    /// It is at the head of that loop, and knows this and what it knew when it entered.
    pub begins_again: Option<u32>,
}

/// What a body does next.
pub enum Step<R> {
    /// It returns.
    Through(R),
    /// It makes an access.
    Next(Access, Here),
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Forgets all cells: what is made next begins with cell 0.
pub fn clear() {
    WORLD.take();
}

/// What all cells hold.
pub fn snapshot() -> Vec<u64> {
    WORLD.with_borrow(|world| world.cells.clone())
}

/// Sets all cells.
pub fn restore(cells: &[u64]) {
    WORLD.with_borrow_mut(|world| world.cells.copy_from_slice(cells));
}

/// Runs a thread's body that reads these values: what it does when they have run out.
pub fn replay<R>(reads: Vec<u64>, body: impl FnOnce() -> R) -> Step<R> {
    WORLD.with_borrow_mut(|world| world.replay = Some(Replay { reads, next: 0, here: Here::default() }));
    let ended = catch_unwind(AssertUnwindSafe(body));
    let replay = WORLD.with_borrow_mut(|world| world.replay.take());
    match ended {
        Ok(result) => Step::Through(result),
        Err(payload) => match payload.downcast::<Access>() {
            Ok(access) => Step::Next(*access, replay.map_or_else(Here::default, |replay| replay.here)),
            Err(panic) => resume_unwind(panic),
        },
    }
}

fn note(what: impl FnOnce(&mut Here)) {
    if Witness::chosen() == Witness::Explorer {
        WORLD.with_borrow_mut(|world| world.replay.as_mut().map(|replay| what(&mut replay.here)));
    }
}

pub(crate) fn begin_loop() {
    note(|here| *here = Here { begins_loop: true, begins_again: None });
}

pub(crate) fn begin_again(learnt: u32) {
    note(|here| here.begins_again = Some(learnt));
}

/// One cell.
#[derive(Debug)]
pub(crate) struct AtomicU64(usize);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        WORLD.with_borrow_mut(|world| {
            assert!(world.replay.is_none(), "a thread of a model makes no atomics");
            world.cells.push(value);
            Self(world.cells.len() - 1)
        })
    }

    fn access(&self, how: How) -> u64 {
        let access = Access { cell: self.0, how };
        let answer = WORLD.with_borrow_mut(|world| match &mut world.replay {
            None => Some(access.apply(&mut world.cells)),
            Some(replay) => {
                let read = replay.reads.get(replay.next).copied()?;
                replay.next += 1;
                replay.here = Here::default();
                Some(read)
            }
        });
        // Not a panic: nothing has gone wrong, and nothing is to be printed.
        answer.unwrap_or_else(|| resume_unwind(Box::new(access)))
    }

    pub(crate) fn load(&self, _: Ordering) -> u64 {
        self.access(How::Load)
    }

    pub(crate) fn swap(&self, value: u64, _: Ordering) -> u64 {
        self.access(How::Swap(value))
    }

    pub(crate) fn compare_exchange(&self, current: u64, new: u64, _: Ordering, _: Ordering) -> Result<u64, u64> {
        let old = self.access(How::CompareExchange(current, new));
        if old == current { Ok(old) } else { Err(old) }
    }

    pub(crate) fn fetch_add(&self, value: u64, _: Ordering) -> u64 {
        self.access(How::Add(value))
    }

    pub(crate) fn fetch_max(&self, value: u64, _: Ordering) -> u64 {
        self.access(How::Max(value))
    }

    pub(crate) fn fetch_sub(&self, value: u64, _: Ordering) -> u64 {
        self.access(How::Sub(value))
    }
}

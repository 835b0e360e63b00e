//! Every schedule without a bound, sequentially consistent: a search through the states of a model.
//!
//! A state is what the atomics hold and where each thread stands, and where a thread stands is what it has read so far:
//! given that, its body always does the same. So no thread is ever run beside another. The body is run alone, told what
//! it reads, up to the access it wants to make next ([`memory::replay`]); each thread becomes a tree of such points, grown
//! as the search needs it, and the search is a walk over (atomics, point of each thread) that takes no state twice.
//!
//! A call that starts over knows again what it knew when it began: it says so (`Retry` in `sync.rs`), and points that differ
//! only in what was learnt for nothing are one.
//!
//! The code that is run is the code that ships, so nothing is written twice and nothing can be written differently.
//!
//! **P9 comes with it.** From every state every thread is followed, so also those schedules in which another is stopped
//! there for ever. A thread that waited for it would come back to a state it was in, or read without end
//! ([`MOST_ACCESSES`]), and two that undo each other's work would never be through ([`LONGEST_SCHEDULE`]): all three end the
//! search with an error. How many accesses of its own a thread needs at most, whatever the others do, is the length of the
//! longest path.

use std::collections::BTreeSet;

use ahash::{HashMap, HashMapExt};
use tollgate::witness::memory::{self, Access, Here, Step};

use crate::{Report, Scene};

/// More accesses of one thread than any call makes that waits for nobody.
const MOST_ACCESSES: usize = 2_000;

/// More accesses of all threads than any schedule of a model has: they undo each other's work.
const LONGEST_SCHEDULE: usize = 2_000;

/// More states than that take more memory than most machines have: the search is cut off, and says so.
const MOST_STATES: usize = 40_000_000;

/// A point in a thread's body.
struct Point {
    /// The point before, and what was read there.
    before: Option<(usize, u64)>,
    /// What the thread does next; `None` if it is through.
    next: Option<Access>,
    /// The points after, by what is read here.
    after: HashMap<u64, usize>,
    /// The point at which the loop was entered that the thread is in.
    entered: usize,
}

/// One thread: all its points that were met.
#[derive(Default)]
struct Thread {
    points: Vec<Point>,
    /// The heads of loops, by the point at which the loop was entered and what was learnt since.
    heads: HashMap<(usize, u32), usize>,
}

impl Thread {
    /// What a thread has read that stands at a point.
    fn reads(&self, point: usize) -> Vec<u64> {
        let before = |point: usize| self.points[point].before;
        let back = std::iter::successors(before(point), |&(point, _)| before(point));
        let mut reads: Vec<u64> = back.map(|(_, read)| read).collect();
        reads.reverse();
        reads
    }

    fn add(&mut self, before: Option<(usize, u64)>, next: Option<(Access, Here)>) -> usize {
        let here = next.map_or_else(Here::default, |(_, here)| here);
        let index = self.points.len();
        let outer = before.map_or(index, |(point, _)| self.points[point].entered);
        let entered = if here.begins_loop { index } else { outer };
        if let Some(learnt) = here.begins_again {
            if let Some(&head) = self.heads.get(&(entered, learnt)) {
                return head;
            }
            self.heads.insert((entered, learnt), index);
        }
        self.points.push(Point { before, next: next.map(|(access, _)| access), after: HashMap::new(), entered });
        index
    }
}

/// What the cells hold, and then the point of each thread.
type State = Box<[u64]>;

struct Search<'a, R, O, const N: usize> {
    make: &'a dyn Fn() -> Scene<R, O, N>,
    threads: [Thread; N],
    cells: usize,
    /// How many accesses each thread still makes at most; nothing yet while the search is beyond that state.
    seen: HashMap<State, Option<[u32; N]>>,
    outcomes: BTreeSet<O>,
}

impl<R, O: Ord, const N: usize> Search<'_, R, O, N> {
    /// A new scene; its atomics are the cells of the memory, always in the same order.
    fn scene(&self) -> Scene<R, O, N> {
        memory::clear();
        (self.make)()
    }

    /// Where a thread gets to that has read this.
    fn run(&mut self, thread: usize, before: Option<(usize, u64)>) -> usize {
        let mut reads = before.map_or_else(Vec::new, |(point, _)| self.threads[thread].reads(point));
        reads.extend(before.map(|(_, read)| read));
        assert!(reads.len() < MOST_ACCESSES, "thread {thread} waits: {MOST_ACCESSES} accesses, and no end");
        let body = self.scene().threads.into_iter().nth(thread).expect("a thread of the scene");
        let next = match memory::replay(reads, body) {
            Step::Through(_) => None,
            Step::Next(access, here) => Some((access, here)),
        };
        self.threads[thread].add(before, next)
    }

    /// The state after one access of a thread; `None` if it is through.
    fn step(&mut self, state: &State, thread: usize) -> Option<State> {
        let point = usize::try_from(state[self.cells + thread]).expect("an index");
        let access = self.threads[thread].points[point].next?;
        let mut state = state.clone();
        let read = access.apply(&mut state[..self.cells]);
        let known = self.threads[thread].points[point].after.get(&read).copied();
        let after = known.unwrap_or_else(|| {
            let after = self.run(thread, Some((point, read)));
            self.threads[thread].points[point].after.insert(read, after);
            after
        });
        state[self.cells + thread] = after as u64;
        Some(state)
    }

    /// Goes on from a state, so many accesses after the start, in every way there is.
    fn explore(&mut self, state: State, depth: usize) -> [u32; N] {
        assert!(depth < LONGEST_SCHEDULE, "no end after {LONGEST_SCHEDULE} accesses: the threads keep each other busy");
        if let Some(&seen) = self.seen.get(&state) {
            return seen.expect("a thread waits: it goes in a circle while the others do nothing");
        }
        if self.seen.len() >= MOST_STATES {
            return [0; N];
        }
        self.seen.insert(state.clone(), None);
        let (mut most, mut through) = ([0; N], true);
        for thread in 0..N {
            let Some(next) = self.step(&state, thread) else { continue };
            through = false;
            let mut after = self.explore(next, depth + 1);
            after[thread] += 1;
            most = std::array::from_fn(|i| most[i].max(after[i]));
        }
        if through {
            let outcome = self.outcome(&state);
            self.outcomes.insert(outcome);
        }
        self.seen.insert(state, Some(most));
        most
    }

    /// What comes of it once all are through.
    fn outcome(&self, state: &State) -> O {
        let (cells, points) = state.split_at(self.cells);
        let scene = self.scene();
        let mut threads = self.threads.iter().zip(points);
        let results = scene.threads.map(|body| {
            let (thread, &point) = threads.next().expect("as many points as bodies");
            match memory::replay(thread.reads(usize::try_from(point).expect("an index")), body) {
                Step::Through(result) => result,
                Step::Next(..) => panic!("a body does the same for the same reads"),
            }
        });
        memory::restore(cells);
        (scene.finish)(results)
    }
}

pub(crate) fn outcomes<R, O: Ord, const N: usize>(make: &dyn Fn() -> Scene<R, O, N>) -> Report<O> {
    let threads = std::array::from_fn(|_| Thread::default());
    let mut search = Search { make, threads, cells: 0, seen: HashMap::new(), outcomes: BTreeSet::new() };
    drop(search.scene());
    let mut start = memory::snapshot();
    search.cells = start.len();
    start.extend((0..N).map(|thread| search.run(thread, None) as u64));
    let most = search.explore(start.into_boxed_slice(), 0);
    let (states, most) = (search.seen.len(), most.into_iter().max().unwrap_or(0));
    let complete = states < MOST_STATES;
    let extent = match complete {
        true => format!("{states} states, at most {most} accesses of a thread"),
        false => format!("cut off at {states} states"),
    };
    Report { outcomes: search.outcomes, extent, complete }
}

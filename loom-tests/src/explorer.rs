//! Every schedule without a bound, sequentially consistent: a search through the states of a model.
//!
//! A state is what the atomics hold and where each thread stands, and where a thread stands is what it has read so far:
//! given that, its body always does the same. So no thread is ever run beside another. The body is run alone, told what
//! it reads, up to the access it wants to make next ([`memory::replay`]); each thread becomes a tree of such points, grown
//! as the search needs it, and the search is a walk over (atomics, point of each thread) that takes no state twice.
//!
//! The code that is run is the code that ships, so nothing is written twice and nothing can be written differently.
//!
//! **P9 comes with it.** A thread that waits for another reads without end in the states in which the other is stopped;
//! here it exceeds [`MOST_ACCESSES`]. A search that ends has followed every thread from every state, whoever is stopped
//! there and for how long, and the most accesses that any of them made is said.

use std::collections::BTreeSet;

use ahash::{HashMap, HashMapExt, HashSet};
use tollgate::witness::memory::{self, Access};

use crate::{Report, Scene};

/// More accesses of one thread than any call makes that waits for nobody.
const MOST_ACCESSES: usize = 2_000;

/// A point in a thread's body.
struct Point {
    /// The point before, and what was read there.
    before: Option<(usize, u64)>,
    /// What the thread does next; `None` if it is through.
    next: Option<Access>,
    /// The points after, by what is read here.
    after: HashMap<u64, usize>,
}

/// One thread: all its points that were met.
#[derive(Default)]
struct Thread(Vec<Point>);

impl Thread {
    /// What a thread has read that stands at a point.
    fn reads(&self, point: usize) -> Vec<u64> {
        let mut reads: Vec<u64> =
            std::iter::successors(self.0[point].before, |&(before, _)| self.0[before].before).map(|(_, read)| read).collect();
        reads.reverse();
        reads
    }

    fn add(&mut self, before: Option<(usize, u64)>, next: Option<Access>) -> usize {
        self.0.push(Point { before, next, after: HashMap::new() });
        self.0.len() - 1
    }
}

struct Search<'a, R, O, const N: usize> {
    make: &'a dyn Fn() -> Scene<R, O, N>,
    threads: [Thread; N],
    most_accesses: usize,
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
        self.most_accesses = self.most_accesses.max(reads.len());
        assert!(reads.len() < MOST_ACCESSES, "thread {thread} waits: {MOST_ACCESSES} accesses, and no end");
        let [body] = self.scene().threads.into_iter().skip(thread).take(1).collect::<Vec<_>>().try_into().ok().unwrap();
        let next = memory::replay(reads, body).err();
        self.threads[thread].add(before, next)
    }

    /// What comes of it once all are through.
    fn outcome(&self, cells: &[u64], points: &[u64]) -> O {
        let scene = self.scene();
        let mut index = 0;
        let results = scene.threads.map(|body| {
            let point = usize::try_from(points[index]).expect("an index");
            let reads = self.threads[index].reads(point);
            index += 1;
            memory::replay(reads, body).unwrap_or_else(|_| panic!("a body does the same for the same reads"))
        });
        memory::restore(cells);
        (scene.finish)(results)
    }
}

pub(crate) fn outcomes<R, O: Ord, const N: usize>(make: &dyn Fn() -> Scene<R, O, N>) -> Report<O> {
    let mut search = Search { make, threads: std::array::from_fn(|_| Thread::default()), most_accesses: 0 };
    drop(search.scene());
    // A state: what the cells hold, and then the point of each thread.
    let mut start = memory::snapshot();
    let cells = start.len();
    start.extend((0..N).map(|thread| search.run(thread, None) as u64));

    let mut outcomes = BTreeSet::new();
    let mut seen: HashSet<Box<[u64]>> = HashSet::default();
    let mut open = vec![start.into_boxed_slice()];
    seen.insert(open[0].clone());
    while let Some(state) = open.pop() {
        let mut through = true;
        for thread in 0..N {
            let point = usize::try_from(state[cells + thread]).expect("an index");
            let Some(access) = search.threads[thread].0[point].next else { continue };
            through = false;
            let mut state = state.clone();
            let read = access.apply(&mut state[..cells]);
            let after = search.threads[thread].0[point].after.get(&read).copied().unwrap_or_else(|| {
                let after = search.run(thread, Some((point, read)));
                search.threads[thread].0[point].after.insert(read, after);
                after
            });
            state[cells + thread] = after as u64;
            if seen.insert(state.clone()) {
                open.push(state);
            }
        }
        if through {
            outcomes.insert(search.outcome(&state[..cells], &state[cells..]));
        }
    }
    let extent = format!("{} states, a thread needs at most {} accesses", seen.len(), search.most_accesses);
    Report { outcomes, extent, complete: true }
}

//! Processes that are killed, or stopped and woken up, at any instruction of an insertion.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollgate::clock::Instant;
use tollgate::shared::{Shared, TableClock};
use tollgate::{Limit, Limiter, OnFull};

use crate::process::{Child, Directory, builder, now};

/// The slots of a table for so many keys: each key may use all of them.
const KEYS: usize = 16;
const SLOTS: usize = 20;
/// Where they are in the file.
const FIRST: u64 = 20_480;

/// Twenty slots, of which nineteen are busy for an hour, and one is idle at `at`, two seconds after it was used. One table, copied,
/// so that all of its processes take the same steps.
struct Scene {
    limiter: Limiter<TableClock>,
    second: Limit,
    at: Instant,
}

/// The bytes of a scene's table.
struct Original(Vec<u8>, Instant);

impl Original {
    fn new(path: &Path) -> Self {
        let limiter = Scene::attach(path);
        let (hour, second) = Scene::limits(&limiter);
        let early = limiter.now();
        assert!(limiter.under(&second).at(early).check("before").is_allowed());
        for key in 0..SLOTS - 1 {
            assert!(limiter.under(&hour).at(early).check(&key).is_allowed());
        }
        assert!(limiter.under(&hour).at(early).check("one too many").is_refused());
        Self(std::fs::read(path).unwrap(), early + Duration::from_secs(2))
    }

    fn scene(&self, path: &Path) -> Scene {
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, &self.0).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let limiter = Scene::attach(path);
        Scene { second: Scene::limits(&limiter).1, limiter, at: self.1 }
    }

    /// With other slots, while others use the table.
    fn left_as(&self, path: &Path, slots: &[u8; SLOTS * 16]) -> Scene {
        let scene = self.scene(path);
        std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(slots, FIRST).unwrap();
        scene
    }
}

impl Scene {
    fn attach(path: &Path) -> Limiter<TableClock> {
        builder("1/second", KEYS).on_full(OnFull::RefuseNew).shared(Shared::at(path)).build().unwrap()
    }

    fn limits(limiter: &Limiter<TableClock>) -> (Limit, Limit) {
        (limiter.prepare("busy", "1/hour").unwrap(), limiter.prepare("second", "1/second").unwrap())
    }

    fn take(&self, key: &str, later: u64) -> bool {
        let at = self.at + Duration::from_secs(later);
        self.limiter.under(&self.second).at(at).check(key).is_allowed()
    }
}

/// What the slots hold: what a process that is killed here leaves.
fn slots(file: &std::fs::File) -> [u8; SLOTS * 16] {
    let mut slots = [0; SLOTS * 16];
    file.read_exact_at(&mut slots, FIRST).unwrap();
    slots
}

/// States of all slots that are between owners: claimed, and pending.
fn between_owners(slots: &[u8]) -> [usize; 2] {
    let states = slots.chunks(16).map(|slot| slot[15] >> 6);
    [2, 3].map(|state| states.clone().filter(|found| *found == state).count())
}

/// A worker who checks "mine" at the scene's instant, held before the first instruction of that; ends with 3 if he was admitted, with
/// 4 if not.
fn worker(scene: &Scene) -> Child {
    let mut child = Child::new(|| {
        // Hashed already: that writes nothing.
        let mine = scene.limiter.under(&scene.second).at(scene.at).key("mine");
        // SAFETY: takes no pointers; the parent is this test.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        // SAFETY: stops until the parent goes on.
        unsafe { libc::raise(libc::SIGSTOP) };
        let code = if mine.check().is_allowed() { 3 } else { 4 };
        // SAFETY: ends this process.
        unsafe { libc::_exit(code) }
    });
    let status = child.wait();
    assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGSTOP);
    child
}

/// One instruction; the exit code, if that was the last.
fn step(child: &mut Child) -> Option<i32> {
    child.request(libc::PTRACE_SINGLESTEP);
    let status = child.wait_at_once();
    if libc::WIFEXITED(status) {
        return Some(libc::WEXITSTATUS(status));
    }
    assert!(libc::WIFSTOPPED(status), "{status:#x}");
    None
}

/// After how many instructions what is in the slots has changed, and is what.
fn changes(original: &Original, path: &Path) -> (u64, Vec<(u64, [u8; SLOTS * 16])>) {
    let scene = original.scene(path);
    let file = std::fs::File::open(path).unwrap();
    let mut child = worker(&scene);
    let (mut steps, mut last, mut changes) = (0, slots(&file), Vec::new());
    changes.push((0, last));
    loop {
        let ended = step(&mut child);
        steps += 1;
        let found = slots(&file);
        if found != last {
            changes.push((steps, found));
            last = found;
        }
        if let Some(code) = ended {
            assert_eq!(code, 3, "nobody else was there");
            return (steps, changes);
        }
    }
}

fn after(scene: &Scene, steps: u64) -> Child {
    let mut child = worker(scene);
    for _ in 0..steps {
        assert_eq!(step(&mut child), None);
    }
    child
}

/// Every instruction of an insertion: what stands in the table after it is what a process that is killed there leaves. That is
/// looked at after each, and the process killed, or stopped and woken up, where it has just become something else, and where it
/// is about to.
#[test]
fn killed_or_stopped_at_every_instruction() {
    let directory = Directory::new("every-instruction");
    let path = directory.table();
    let original = Original::new(&path);
    let (all, changes) = changes(&original, &path);
    // Free, claimed, its key written, pending, live.
    let states: Vec<_> = changes.iter().map(|(_, slots)| between_owners(slots)).collect();
    assert_eq!(states, [[0, 0], [1, 0], [1, 0], [0, 1], [0, 0]], "of {all} instructions");
    let steps: std::collections::BTreeSet<u64> =
        changes.iter().flat_map(|(steps, _)| [steps.saturating_sub(1), *steps]).collect();
    for steps in steps {
        let index = changes.iter().rposition(|(since, _)| *since <= steps).unwrap();
        let ([claimed, _], is_done) = (states[index], index + 1 == changes.len());
        killed(&original, &path, steps, &changes[index].1, is_done);
        stopped(&original, &path, steps, claimed, is_done);
    }
}

fn killed(original: &Original, path: &Path, steps: u64, left: &[u8; SLOTS * 16], is_done: bool) {
    let [claimed, pending] = between_owners(left);
    // Others live: the same key.
    let scene = original.scene(path);
    after(&scene, steps).kill();
    assert_eq!(&slots(&std::fs::File::open(path).unwrap()), left, "step {steps}");
    assert_eq!(scene.take("mine", 0), claimed == 0 && !is_done, "step {steps}: the same key");
    assert!(!scene.take("mine", 0), "step {steps}: once");
    // From here on by what he leaves. Another key, which takes over what is pending.
    let scene = original.left_as(path, left);
    assert_eq!(scene.take("other", 0), claimed == 0 && !is_done, "step {steps}: another key");
    assert!(!scene.take("other", 0) && !scene.take("mine", 0), "step {steps}: once");
    // Nobody else: whoever comes next frees what is left.
    let scene = original.left_as(path, left);
    let (second, at) = (scene.second, scene.at);
    drop(scene);
    let limiter = Scene::attach(path);
    assert_eq!(limiter.shared().unwrap().freed_slots(), (claimed + pending) as u64, "step {steps}: freed");
    let scene = Scene { second: Scene::limits(&limiter).1, limiter, at };
    assert_eq!(scene.second.quota(), second.quota());
    // A microsecond later at the latest.
    let later = u64::from(claimed > 0);
    assert_eq!(scene.take("other", later), !is_done, "step {steps}: freed");
    assert!(!scene.take("other", later), "step {steps}: once");
}

/// A slot that is claimed is freed while others live once its claimer is dead, and not before: he has attached by himself, is
/// stopped, and then killed, at each of the two moments between which it is claimed, and beside them.
#[test]
fn what_the_dead_have_claimed_is_freed_while_others_live() {
    let directory = Directory::new("dead");
    let path = directory.table();
    let original = Original::new(&path);
    for (state, frees) in [([0, 0], 0), ([1, 0], 1), ([0, 1], 0)] {
        let scene = original.scene(&path);
        let file = std::fs::File::open(&path).unwrap();
        // He has a number of his own, beside the one that the scene's has.
        let (second, at) = (scene.second, scene.at);
        let mut claimer = Child::new(|| {
            let limiter = Scene::attach(&path);
            let second = limiter.prepare("second", *second.quota()).unwrap();
            let mine = limiter.under(&second).at(at).key("mine");
            // SAFETY: takes no pointers; the parent is this test.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            // SAFETY: stops until the parent goes on.
            unsafe { libc::raise(libc::SIGSTOP) };
            let _ = mine.check();
        });
        assert!(libc::WIFSTOPPED(claimer.wait()));
        while between_owners(&slots(&file)) != state {
            assert_eq!(step(&mut claimer), None, "{state:?}");
        }
        assert_eq!(scene.limiter.free_dead_slots(), 0, "{state:?}: he is stopped, and lives");
        drop(Scene::attach(&path));
        assert_eq!(between_owners(&slots(&file)), state, "who attaches does not take it either");
        claimer.kill();
        if frees > 0 {
            assert!(!scene.take("other", 1), "nobody has looked yet");
        }
        assert_eq!(scene.limiter.free_dead_slots(), frees, "{state:?}");
        assert_eq!(scene.limiter.shared().unwrap().freed_slots(), frees, "{state:?}");
        assert_eq!(scene.limiter.free_dead_slots(), 0, "{state:?}: once");
        assert!(scene.take("other", 1) && !scene.take("other", 1), "{state:?}: it is free again");
    }
}

/// Who attaches while others live frees what the dead have left, be it under the number that he gets himself. Who was forked from one that
/// lives has a number of his own as well; only if he has closed the file that he would need for one, he counts as alive with the rest.
#[test]
fn who_attaches_frees_what_the_dead_have_claimed() {
    let directory = Directory::new("attaches");
    let path = directory.table();
    let original = Original::new(&path);
    for (is_forked, is_open) in [(false, true), (true, true), (true, false)] {
        let scene = original.scene(&path);
        let file = std::fs::File::open(&path).unwrap();
        let (second, at) = (scene.second, scene.at);
        let mut claimer = Child::new(|| {
            let own = (!is_forked).then(|| Scene::attach(&path));
            if !is_open {
                // SAFETY: as a process does that becomes a daemon; nothing here is used again by its descriptor.
                unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
            }
            let limiter = own.as_ref().unwrap_or(&scene.limiter);
            let second = limiter.prepare("second", *second.quota()).unwrap();
            let mine = limiter.under(&second).at(at).key("mine");
            // SAFETY: takes no pointers; the parent is this test.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            // SAFETY: stops until the parent goes on.
            unsafe { libc::raise(libc::SIGSTOP) };
            let _ = mine.check();
        });
        assert!(libc::WIFSTOPPED(claimer.wait()));
        while between_owners(&slots(&file)) != [1, 0] {
            assert_eq!(step(&mut claimer), None);
        }
        claimer.kill();
        let next = Scene::attach(&path);
        let freed = next.shared().unwrap().freed_slots();
        assert_eq!(freed, u64::from(is_open));
        assert_eq!(scene.take("other", 1), is_open);
    }
}

/// Of a table without a path as well: a worker is killed while his parent and his siblings go on.
#[test]
fn what_a_forked_worker_has_claimed_is_freed_by_his_parent() {
    let _one = Directory::new("forked-claim");
    let limiter = builder("1/hour", KEYS).on_full(OnFull::RefuseNew).shared(Shared::before_fork()).build().unwrap();
    let file = std::fs::File::from(limiter.shared().unwrap().descriptor().try_clone_to_owned().unwrap());
    let mut sibling = Child::new(|| {
        assert!(limiter.check("sibling").is_allowed());
        // SAFETY: takes no pointers; the parent is this test.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        // SAFETY: stops for good.
        unsafe { libc::raise(libc::SIGSTOP) };
    });
    assert!(libc::WIFSTOPPED(sibling.wait()));
    let mut worker = Child::new(|| {
        let mine = limiter.key("mine");
        // SAFETY: takes no pointers; the parent is this test.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        // SAFETY: stops until the parent goes on.
        unsafe { libc::raise(libc::SIGSTOP) };
        let _ = mine.check();
    });
    assert!(libc::WIFSTOPPED(worker.wait()));
    while between_owners(&slots(&file)) != [1, 0] {
        assert_eq!(step(&mut worker), None);
    }
    assert_eq!(limiter.free_dead_slots(), 0, "he is stopped, and lives");
    worker.kill();
    assert_eq!(limiter.free_dead_slots(), 1);
    assert_eq!(between_owners(&slots(&file)), [0, 0]);
    assert!(limiter.check("mine").is_allowed() && limiter.check("mine").is_refused());
    assert!(limiter.check("sibling").is_refused());
}

/// He is stopped, his slot is given to others twice, and then he wakes up.
fn stopped(original: &Original, path: &Path, steps: u64, claimed: usize, is_done: bool) {
    let scene = original.scene(path);
    let mut sleeper = after(&scene, steps);
    let other = scene.take("other", 0);
    assert_eq!(other, claimed == 0 && !is_done, "step {steps}: another key");
    let third = scene.take("third", 2);
    assert_eq!(third, claimed == 0, "step {steps}: two seconds later");
    sleeper.request(libc::PTRACE_CONT);
    let status = sleeper.wait();
    assert!(libc::WIFEXITED(status), "{status:#x}");
    // One slot: he has it only if nobody else could take it at his time.
    let is_admitted = libc::WEXITSTATUS(status) == 3;
    assert_eq!(is_admitted, claimed > 0 || is_done, "step {steps}: the sleeper");
    assert_eq!(
        scene.take("third", 2),
        !third,
        "step {steps}: what the third took is counted; if he found no room, he does now"
    );
    assert!(!scene.take("third", 2), "step {steps}: once");
    // And once more: the slot is nobody's grave.
    assert!(scene.take("fourth", 4) && !scene.take("fourth", 4), "step {steps}: afterwards");
}

/// Workers on hot keys near their rate and on fresh ones, of whom one is killed every millisecond or so.
/// `TOLLGATE_KILL_SECONDS` for longer.
#[test]
fn killed_at_random() {
    const WORKERS: usize = 3;
    const HOT: u64 = 16;
    const CAPACITY: usize = 20_000;
    let seconds = std::env::var("TOLLGATE_KILL_SECONDS").map_or(2, |text| text.parse().expect("seconds"));
    let (rate, burst) = (2_000_u64, 400_u64);
    let directory = Directory::new("random");
    let path = directory.table();
    // What was admitted of each hot key, and checks, counted after they were: never too many.
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path.with_extension("counts"))
        .unwrap();
    file.set_len(4_096).unwrap();
    let counts = memmap2::MmapOptions::new().map_raw(&file).unwrap();
    // SAFETY: 4 KiB, aligned, zero, and only ever reached as these atomics.
    let counts: &[AtomicU64] = unsafe { std::slice::from_raw_parts(counts.as_mut_ptr().cast::<AtomicU64>(), 512) };
    let build = || builder("2000/second burst 400", CAPACITY).shared(Shared::at(&path)).build().unwrap();
    let limiter = build();
    let limit = limiter.prepare("fresh", "1/minute").unwrap();
    let start = limiter.now();
    let mut draw = 1_u64;
    let mut next = move || {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        draw >> 33
    };
    let spawn = |seed: u64| {
        let (build, limit) = (&build, &limit);
        Child::new(move || {
            let limiter = build();
            let fresh = limiter.prepare("fresh", *limit.quota()).unwrap();
            let mut number = seed << 24;
            loop {
                number += 1;
                let hot = number % HOT;
                if limiter.check(&hot).is_allowed() {
                    counts[usize::try_from(hot).unwrap()].fetch_add(1, Ordering::Relaxed);
                }
                // Of a few thousand, so that some come back.
                let _ = limiter.under(&fresh).check(&("fresh", number % 30_000));
                counts[500].fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let mut workers: Vec<_> = (0..WORKERS as u64).map(&spawn).collect();
    let (mut kills, watch) = (0_u64, now());
    while watch.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_micros(300 + next() % 1_500));
        let victim = usize::try_from(next()).unwrap() % WORKERS;
        std::mem::replace(&mut workers[victim], spawn(next())).kill();
        kills += 1;
    }
    workers.into_iter().for_each(Child::kill);
    let ran = limiter.now().saturating_duration_since(start);
    let most = burst + rate * u64::try_from(ran.as_nanos()).unwrap() / 1_000_000_000;
    let (mut least, mut sum) = (u64::MAX, 0);
    for (hot, count) in counts.iter().enumerate().take(usize::try_from(HOT).unwrap()) {
        let admitted = count.load(Ordering::Relaxed);
        assert!(admitted <= most, "key {hot}: {admitted} of {most}");
        (least, sum) = (least.min(admitted), sum + admitted);
    }
    let checks = counts[500].load(Ordering::Relaxed);
    drop(limiter);
    let limiter = build();
    let freed = limiter.shared().unwrap().freed_slots();
    println!("{kills} kills, {checks} fresh checks, {sum} admitted, {least} to {most} a hot key, {freed} slots freed");
    assert!(kills > 100 && checks > 10_000 && sum > burst * HOT);
    // Nothing is lost: a day later there is room for all that the table is for, and no key lives twice.
    let later = limiter.now() + Duration::from_secs(86_400);
    let limit = limiter.prepare("later", "3/day").unwrap();
    let view = limiter.under(&limit).at(later);
    for key in 0..CAPACITY {
        assert_eq!(view.key(&key).take_up_to(2), 2, "key {key}");
    }
    assert!((0..CAPACITY).all(|key| view.key(&key).take_up_to(9) == 1));
    assert_eq!(limiter.stats().evictions, 0);
}

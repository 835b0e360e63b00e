//! Calls as a careless or hostile program makes them, and a table that several mappings and threads share: each is answered, none
//! admits what was not decided.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(missing_docs, reason = "a test")]

use std::ffi::{CStr, CString, c_int};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use tollgate_c::{
    Decision, Error, Item, Limit, Options, TOLLGATE_ERROR_ARGUMENT, TOLLGATE_ERROR_RATE, TOLLGATE_ERROR_SHARED,
    TOLLGATE_ERROR_TABLE, TOLLGATE_OK, Tollgate, tollgate_check, tollgate_check_items, tollgate_close,
    tollgate_is_detached, tollgate_limit_free, tollgate_limit_new, tollgate_open, tollgate_peek, tollgate_refund,
};

fn options(path: Option<&CStr>) -> Options {
    let path = path.map_or(null(), CStr::as_ptr);
    Options { size: size_of::<Options>(), capacity: 100, path, exact_for: null(), on_full: 1, reserved: 0 }
}

const fn blank() -> Decision {
    Decision { size: size_of::<Decision>(), allowed: 7, index: 7, remaining: 7, burst: 7, retry_after_ns: 7 }
}

fn error() -> Error {
    Error { size: size_of::<Error>(), code: 0, text: [0; 252] }
}

fn text(error: &Error) -> String {
    // SAFETY: it ends with a zero.
    unsafe { CStr::from_ptr(error.text.as_ptr()) }.to_str().unwrap().to_owned()
}

fn open(options: &Options) -> (c_int, *mut Tollgate, String) {
    let (mut table, mut wrong) = (null_mut(), error());
    // SAFETY: all that it points to lives.
    let code = unsafe { tollgate_open(options, &raw mut table, &raw mut wrong) };
    (code, table, text(&wrong))
}

fn limit(table: *const Tollgate, name: &CStr, rates: &CStr) -> (c_int, *mut Limit, String) {
    let (mut limit, mut wrong) = (null_mut(), error());
    // SAFETY: as above.
    let code = unsafe { tollgate_limit_new(table, name.as_ptr(), rates.as_ptr(), &raw mut limit, &raw mut wrong) };
    (code, limit, text(&wrong))
}

fn check(table: *const Tollgate, limit: *const Limit, key: &[u8], cost: u64) -> (c_int, Decision) {
    let mut decision = blank();
    // SAFETY: as above.
    let code = unsafe { tollgate_check(table, limit, key.as_ptr(), key.len(), cost, &raw mut decision) };
    (code, decision)
}

fn detached(table: *const Tollgate) -> (c_int, u32) {
    let mut detached = 7;
    // SAFETY: as above.
    let code = unsafe { tollgate_is_detached(table, &raw mut detached) };
    (code, detached)
}

/// A folder on a tmpfs, and a path in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = Path::new("/dev/shm").join(format!("tollgate-c-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn table(&self) -> CString {
        CString::new(self.0.join("table").to_str().unwrap()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_opens_says_what_is_wrong_and_leaves_the_rest_alone() {
    let place = Place::new("open");
    let path = place.table();
    // SAFETY: null is answered.
    assert_eq!(unsafe { tollgate_open(null(), null_mut(), null_mut()) }, TOLLGATE_ERROR_ARGUMENT);
    for size in [0, 1, size_of::<Options>() - 1, size_of::<Options>() + 1, usize::MAX] {
        let (code, table, said) = open(&Options { size, ..options(None) });
        assert!(code == TOLLGATE_ERROR_ARGUMENT && table.is_null() && said.contains(&size.to_string()), "{said}");
    }
    for (bad, code) in [
        (Options { on_full: 3, ..options(Some(&path)) }, TOLLGATE_ERROR_ARGUMENT),
        (Options { on_full: u32::MAX, ..options(Some(&path)) }, TOLLGATE_ERROR_ARGUMENT),
        (Options { reserved: 1, ..options(Some(&path)) }, TOLLGATE_ERROR_ARGUMENT),
        (Options { exact_for: c"\xff".as_ptr(), ..options(Some(&path)) }, TOLLGATE_ERROR_ARGUMENT),
        (Options { exact_for: c"1 per fortnight".as_ptr(), ..options(Some(&path)) }, TOLLGATE_ERROR_RATE),
        (Options { capacity: u64::MAX, ..options(Some(&path)) }, TOLLGATE_ERROR_TABLE),
        (Options { capacity: 1 << 36, ..options(Some(&path)) }, TOLLGATE_ERROR_SHARED),
        (options(Some(c"")), TOLLGATE_ERROR_ARGUMENT),
        (options(Some(c"/dev/shm")), TOLLGATE_ERROR_SHARED),
        (options(Some(c"/dev/null")), TOLLGATE_ERROR_SHARED),
        (options(Some(c"/proc/self/exe")), TOLLGATE_ERROR_SHARED),
        (options(Some(c"/dev/shm/\xff/table")), TOLLGATE_ERROR_SHARED),
    ] {
        let (found, table, said) = open(&bad);
        assert!(found == code && table.is_null() && !said.is_empty(), "{found}: {said}");
    }
    assert_eq!(std::fs::read_dir(&place.0).unwrap().count(), 0, "nothing was left behind");
    // An error of another size is not written to.
    let mut small = Error { size: 8, ..error() };
    let mut table = null_mut();
    // SAFETY: as above.
    let code = unsafe { tollgate_open(&options(Some(c"/dev/shm")), &raw mut table, &raw mut small) };
    assert!(code == TOLLGATE_ERROR_SHARED && small.code == 0 && text(&small).is_empty());
}

#[test]
fn nothing_is_admitted_without_a_decision() {
    let place = Place::new("calls");
    for path in [None, Some(place.table())] {
        let (code, table, said) = open(&options(path.as_deref()));
        assert_eq!(code, TOLLGATE_OK, "{said}");
        assert_eq!(limit(null(), c"a", c"1/day").0, TOLLGATE_ERROR_ARGUMENT);
        assert_eq!(limit(table, c"a\xff", c"1/day").0, TOLLGATE_ERROR_ARGUMENT);
        for rates in [c"", c",", c"1/day, 1/day", c"99999999999999999999/s", c"\n"] {
            let (code, limit, said) = limit(table, c"a", rates);
            assert!(code == TOLLGATE_ERROR_RATE && limit.is_null() && !said.is_empty(), "{rates:?}: {said}");
        }
        let (_, three, _) = limit(table, c"a", c"3/day");
        let (key, right) = (b"grace".as_slice(), size_of::<Decision>());
        for (table, limit, key, length, size) in [
            (null(), three.cast_const(), key.as_ptr(), key.len(), right),
            (table.cast_const(), null(), key.as_ptr(), key.len(), right),
            (table, three, null(), 1, right),
            (table, three, null(), usize::MAX, right),
            // Longer than anything can be: not looked at.
            (table, three, key.as_ptr(), usize::MAX, right),
            (table, three, key.as_ptr(), isize::MAX.unsigned_abs() + 1, right),
            (table, three, key.as_ptr(), key.len(), 0),
            (table, three, key.as_ptr(), key.len(), right + 8),
        ] {
            for function in [tollgate_check, tollgate_peek] {
                let mut to = Decision { size, ..blank() };
                // SAFETY: null, or as it says; lengths beyond bounds are refused before anything is read.
                let code = unsafe { function(table, limit, key, length, 1, &raw mut to) };
                assert_eq!(code, TOLLGATE_ERROR_ARGUMENT);
                assert_eq!(to.allowed, if size == right { 0 } else { 7 }, "one of another size is let alone");
            }
            // SAFETY: as above.
            let code = unsafe { tollgate_refund(table, limit, key, length, 1) };
            assert_eq!(code == TOLLGATE_OK, size != right);
        }
        // Costs at the ends of their range.
        assert_eq!(check(table, three, key, u64::MAX).1.allowed, 0);
        assert_eq!(check(table, three, key, u64::MAX).1.retry_after_ns, u64::MAX);
        let free = check(table, three, key, 0).1;
        assert!(free.allowed == 1 && free.remaining == 3, "{free:?}");
        // SAFETY: as above.
        assert_eq!(unsafe { tollgate_refund(table, three, key.as_ptr(), key.len(), u64::MAX) }, TOLLGATE_OK);
        assert_eq!((0..9).filter(|_| check(table, three, key, 1).1.allowed == 1).count(), 3, "no more than full");
        // No bytes are a key, with a pointer or without one.
        assert_eq!(check(table, three, b"", 3).1.allowed, 1);
        let mut decision = blank();
        // SAFETY: as above.
        let code = unsafe { tollgate_check(table, three, null(), 0, 1, &raw mut decision) };
        assert!(code == TOLLGATE_OK && decision.allowed == 0);
        // A limit of one table is none of another, even if both are of one file.
        let (_, other, _) = open(&options(path.as_deref()));
        assert_eq!(check(other, three, b"other", 1).1.allowed, 0);
        // SAFETY: they are not used after this. Limits may outlive their table.
        unsafe { tollgate_close(table) };
        // SAFETY: as above.
        unsafe { tollgate_close(other) };
        // SAFETY: as above.
        unsafe { tollgate_limit_free(three) };
    }
    // SAFETY: null is nothing.
    unsafe { tollgate_limit_free(null_mut()) };
}

/// What a thread may have of a table.
#[derive(Clone, Copy)]
struct Held(*mut Tollgate, *mut Limit);

// SAFETY: any threads may call `tollgate_check` at once; that is what is tested.
unsafe impl Send for Held {}

#[test]
fn threads_and_mappings_of_one_path_admit_one_limit() {
    let place = Place::new("threads");
    let path = place.table();
    let held: Vec<Held> = (0..3)
        .map(|_| {
            let (code, table, said) = open(&options(Some(&path)));
            assert_eq!(code, TOLLGATE_OK, "{said}");
            let (code, limit, said) = limit(table, c"api", c"500/day");
            assert_eq!(code, TOLLGATE_OK, "{said}");
            Held(table, limit)
        })
        .collect();
    let ask = |held: Held| {
        move || {
            let Held(table, limit) = { held };
            (0..200).filter(|_| check(table, limit, b"grace", 1).1.allowed == 1).count()
        }
    };
    let threads: Vec<_> = held.iter().cycle().take(6).map(|held| std::thread::spawn(ask(*held))).collect();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 500);
    // One that is closed takes nothing away from the others, nor does the file's name.
    let [Held(closed, free), Held(table, limit), ..] = held[..] else { panic!("three") };
    // SAFETY: it is not used after this.
    unsafe { tollgate_close(closed) };
    // SAFETY: as above.
    unsafe { tollgate_limit_free(free) };
    assert_eq!(detached(table), (TOLLGATE_OK, 0));
    std::fs::remove_file(path.to_str().unwrap()).unwrap();
    assert_eq!(detached(table), (TOLLGATE_OK, 1));
    assert_eq!(check(table, limit, b"grace", 1).1.allowed, 0);
    assert_eq!(check(table, limit, b"ada", 500).1.allowed, 1);
    for Held(table, limit) in &held[1..] {
        // SAFETY: as above.
        unsafe { tollgate_limit_free(*limit) };
        // SAFETY: as above.
        unsafe { tollgate_close(*table) };
    }
}

#[test]
fn several_limits_with_keys_of_their_own_are_all_or_nothing() {
    let (_, table, _) = open(&options(None));
    assert_eq!((detached(table), detached(null())), ((TOLLGATE_OK, 0), (TOLLGATE_ERROR_ARGUMENT, 7)));
    // SAFETY: null is an answer.
    assert_eq!(unsafe { tollgate_is_detached(table, null_mut()) }, TOLLGATE_ERROR_ARGUMENT);
    let [(_, address, _), (_, user, _)] = [limit(table, c"address", c"5/day, 4/hour"), limit(table, c"user", c"2/day")];
    let item = |limit: *const Limit, key: &[u8], cost| Item {
        size: size_of::<Item>(),
        limit,
        key: key.as_ptr(),
        length: key.len(),
        cost,
    };
    let ask = |items: &[Item], count: usize| {
        let mut decision = blank();
        // SAFETY: as above; a count of more than there are is refused for being too many.
        let code = unsafe { tollgate_check_items(table, items.as_ptr(), count, &raw mut decision) };
        (code, decision)
    };
    let of = |name: &'static [u8]| [item(address, b"192.0.2.7", 1), item(user, name, 1)];
    let go = |name| ask(&of(name), 2).1;
    assert_eq!([go(b"ada"), go(b"ada")].map(|decision| decision.allowed), [1, 1]);
    let refused = go(b"ada");
    assert!(refused.allowed == 0 && refused.index == 1 && refused.burst == 2, "{refused:?}");
    // Nothing was taken of the address: two are left.
    assert_eq!([go(b"grace"), go(b"grace")].map(|decision| decision.allowed), [1, 1]);
    let refused = go(b"mary");
    assert!(refused.allowed == 0 && refused.index == 0 && refused.burst == 4, "{refused:?}");
    assert_eq!(check(table, user, b"mary", 2).1.allowed, 1, "nor of the user");

    let good = of(b"new");
    let bad = |at: usize, change: &dyn Fn(&mut Item)| {
        let mut items = good;
        change(&mut items[at]);
        ask(&items, 2)
    };
    for at in 0..2 {
        for (code, decision) in [
            bad(at, &|item| item.size = 0),
            bad(at, &|item| item.limit = null()),
            bad(at, &|item| item.key = null()),
            bad(at, &|item| item.length = usize::MAX),
        ] {
            assert!(code == TOLLGATE_ERROR_ARGUMENT && decision.allowed == 0, "{at}: {code} {decision:?}");
        }
        assert_eq!(bad(at, &|item| item.cost = u64::MAX).1.allowed, 0);
    }
    for count in [0, 33, usize::MAX] {
        assert_eq!(ask(&good, count).0, TOLLGATE_ERROR_ARGUMENT);
    }
    // Of 17 items with two rates each 34 would have to be decided.
    assert_eq!(ask(&[good[0]; 17], 17).0, TOLLGATE_ERROR_ARGUMENT);
    assert_eq!(ask(&[item(address, b"all", 0); 16], 16).1.allowed, 1);
    for (table, items) in [(null(), good.as_ptr()), (table.cast_const(), null())] {
        let mut to = blank();
        // SAFETY: null is answered.
        assert_eq!(unsafe { tollgate_check_items(table, items, 2, &raw mut to) }, TOLLGATE_ERROR_ARGUMENT);
        assert_eq!(to.allowed, 0);
    }
    // SAFETY: as above.
    assert_eq!(unsafe { tollgate_check_items(table, good.as_ptr(), 2, null_mut()) }, TOLLGATE_ERROR_ARGUMENT);
    // SAFETY: they are not used after this.
    unsafe { tollgate_close(table) };
    for limit in [address, user] {
        // SAFETY: as above.
        unsafe { tollgate_limit_free(limit) };
    }
}

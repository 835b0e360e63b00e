//! `libtollgate`: the engine behind a C interface. `include/tollgate.h` is made of this file, and says the same to who reads C.
//!
//! Every function answers a code, and no panic leaves it. What opens may allocate; `tollgate_check`, `tollgate_peek` and
//! `tollgate_refund` neither allocate nor lock. They work in a child of a fork: on the same table if that is shared, and else on a
//! table of its own.

#![allow(
    clippy::missing_safety_doc,
    reason = "each function says what its pointers must be, in the words of the header"
)]

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tollgate::clock::LimiterClock;
use tollgate::error::BuildError;
use tollgate::{LimitSet, Limiter, LimiterBuilder, OnFull, SetDecision, SetItem};

/// Done.
pub const TOLLGATE_OK: c_int = 0;
/// A pointer is null, a size is unknown, or a text is not UTF-8.
pub const TOLLGATE_ERROR_ARGUMENT: c_int = 1;
/// A rate cannot be read, or cannot be held.
pub const TOLLGATE_ERROR_RATE: c_int = 2;
/// The table cannot be made: capacity, memory, or the operating system's random numbers.
pub const TOLLGATE_ERROR_TABLE: c_int = 3;
/// Not on this system: tables that processes share are on Linux with 64 bits only.
pub const TOLLGATE_ERROR_UNSUPPORTED: c_int = 4;
/// A defect of the library: nothing was admitted.
pub const TOLLGATE_ERROR_PANIC: c_int = 5;
/// The table at options.path can be neither made nor used; the text has the path, what was found there, and what was expected.
pub const TOLLGATE_ERROR_SHARED: c_int = 6;

/// A new key that finds no room takes the place and the debt of the one nearest to full.
pub const TOLLGATE_FULL_EVICT: u32 = 0;
/// It is refused.
pub const TOLLGATE_FULL_REFUSE: u32 = 1;
/// It is admitted, and not recorded.
pub const TOLLGATE_FULL_ADMIT: u32 = 2;

/// A table of buckets.
#[derive(Debug)]
pub struct Tollgate {
    limiter: Limiter<LimiterClock>,
}

/// One rate or several, all of which a request must pass.
#[derive(Debug)]
pub struct Limit {
    set: LimitSet,
}

/// How a table is to be. Set all to zero, then `size`, then what is to be otherwise than by default.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// sizeof(struct tollgate_options).
    pub size: usize,
    /// How many keys may be busy at once; 0: 65,536.
    pub capacity: u64,
    /// The file of a table that all processes of the machine share which name it: on a tmpfs such as /run, made if there is none.
    /// Capacity and on_full must then be those of the table. Null: a table of this process alone.
    pub path: *const c_char,
    /// Rates that will be given later, so that they are held exactly: "300/second, 11/second", or null.
    pub exact_for: *const c_char,
    /// One of TOLLGATE_FULL_EVICT, TOLLGATE_FULL_REFUSE, TOLLGATE_FULL_ADMIT.
    pub on_full: u32,
    /// 0.
    pub reserved: u32,
}

/// The answer to a check. Set `size` before the call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Decision {
    /// sizeof(struct tollgate_decision).
    pub size: usize,
    /// 1: it may go. 0: it may not.
    pub allowed: u32,
    /// Which rate of the limit says so, from 0: the one that is refused, or else has least left.
    pub index: u32,
    /// How many more requests of cost 1 may go now.
    pub remaining: u64,
    /// The most that fits at once.
    pub burst: u64,
    /// When a refused request may go, in nanoseconds from now; 0 if it is allowed, UINT64_MAX if it can never go.
    pub retry_after_ns: u64,
}

/// What went wrong, in words. Set `size` before the call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Error {
    /// sizeof(struct tollgate_error).
    pub size: usize,
    /// The code that the function answers as well.
    pub code: c_int,
    /// One line that ends with a zero, cut if it is longer.
    pub text: [c_char; 252],
}

struct Failure(c_int, String);

type Answer<T> = Result<T, Failure>;

fn wrong(what: &str) -> Failure {
    Failure(TOLLGATE_ERROR_ARGUMENT, what.to_owned())
}

/// Runs `body`, and turns what it answers into a code, and into words where there is room for them.
///
/// # Safety
///
/// `error` is null, or points to an `Error` of which `size` is set.
unsafe fn answer(error: *mut Error, body: impl FnOnce() -> Answer<()>) -> c_int {
    let outcome = catch_unwind(AssertUnwindSafe(body));
    let Failure(code, text) = match outcome {
        Ok(Ok(())) => return TOLLGATE_OK,
        Ok(Err(failure)) => failure,
        Err(_) => Failure(TOLLGATE_ERROR_PANIC, "a defect of the library".to_owned()),
    };
    // SAFETY: by the contract of this function; the size alone, as the rest need not be set.
    if unsafe { error.cast::<usize>().as_ref() } == Some(&size_of::<Error>()) {
        let mut lines = [0; 252];
        let end = (0..lines.len()).rev().find(|&end| text.is_char_boundary(end.min(text.len()))).unwrap_or(0);
        for (to, from) in lines.iter_mut().zip(text.bytes().take(end)) {
            *to = c_char::from_ne_bytes([from]);
        }
        // SAFETY: not null, and as large as it says.
        unsafe { error.write(Error { size: size_of::<Error>(), code, text: lines }) };
    }
    code
}

/// # Safety
///
/// `text` is null, or ends with a zero and lives as long as the answer is used.
unsafe fn text<'a>(text: *const c_char, name: &str) -> Answer<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: by the contract of this function.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| wrong(&format!("{name} is not UTF-8")))
}

/// # Safety
///
/// As of `slice::from_raw_parts`, but that a null pointer is good for no bytes.
unsafe fn bytes<'a>(key: *const u8, length: usize) -> Option<&'a [u8]> {
    if key.is_null() {
        return (length == 0).then_some(&[]);
    }
    // SAFETY: by the contract of this function; more than isize::MAX there cannot be.
    (length <= isize::MAX.unsigned_abs()).then(|| unsafe { std::slice::from_raw_parts(key, length) })
}

/// Makes a table, and puts it into `*table`. `options` may be null: all by default.
///
/// `table` points to a pointer, `options` to a struct of which `size` is set, its texts end with a zero; `error` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_open(options: *const Options, table: *mut *mut Tollgate, error: *mut Error) -> c_int {
    let body = || {
        if table.is_null() {
            return Err(wrong("table is null"));
        }
        // One rate or another is what a limiter begins with; nobody is limited by it.
        let mut builder = Limiter::builder(tollgate::Quota::per_second(1));
        let mut path = None;
        // SAFETY: null, or as this function says.
        if let Some(size) = unsafe { options.cast::<usize>().as_ref() } {
            if *size != size_of::<Options>() {
                return Err(wrong(&format!("options.size is {size}, and must be {}", size_of::<Options>())));
            }
            // SAFETY: not null, and as large as it says.
            let options = unsafe { options.read() };
            if options.reserved != 0 {
                return Err(wrong("options.reserved must be 0"));
            }
            // SAFETY: null, or as this function says.
            path = (!options.path.is_null()).then(|| unsafe { CStr::from_ptr(options.path) });
            if options.capacity != 0 {
                builder = builder.capacity(usize::try_from(options.capacity).unwrap_or(usize::MAX));
            }
            builder = builder.on_full(match options.on_full {
                TOLLGATE_FULL_EVICT => OnFull::EvictNearestIdle,
                TOLLGATE_FULL_REFUSE => OnFull::RefuseNew,
                TOLLGATE_FULL_ADMIT => OnFull::AdmitUntracked,
                other => return Err(wrong(&format!("options.on_full is {other}, and must be 0, 1 or 2"))),
            });
            // SAFETY: null, or as this function says.
            if let Some(rates) = unsafe { text(options.exact_for, "options.exact_for") }? {
                builder = builder.also_exact_for(rates);
            }
        }
        let limiter = match path {
            None => builder.clock(LimiterClock::default()).build().map_err(failed)?,
            Some(path) => shared(builder, path)?,
        };
        // SAFETY: not null, and points to a pointer.
        unsafe { table.write(Box::into_raw(Box::new(Tollgate { limiter }))) };
        Ok(())
    };
    // SAFETY: as this function says.
    unsafe { answer(error, body) }
}

fn failed(error: BuildError) -> Failure {
    let code = match error {
        BuildError::Text(_) | BuildError::Quota(_) => TOLLGATE_ERROR_RATE,
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        BuildError::Shared { .. } => TOLLGATE_ERROR_SHARED,
        _ => TOLLGATE_ERROR_TABLE,
    };
    Failure(code, error.to_string())
}

/// On the table of a file, which is named by octets, as C has it.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn shared(builder: LimiterBuilder, path: &CStr) -> Answer<Limiter<LimiterClock>> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    if path.is_empty() {
        return Err(wrong("options.path is empty; null is a table of this process alone"));
    }
    let place = tollgate::shared::Shared::at(OsStr::from_bytes(path.to_bytes()));
    builder.shared(place).build_either().map_err(failed)
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn shared(_: LimiterBuilder, _: &CStr) -> Answer<Limiter<LimiterClock>> {
    let why = "processes share tables (options.path) on Linux with 64 bits only".to_owned();
    Err(Failure(TOLLGATE_ERROR_UNSUPPORTED, why))
}

/// Closes a table; no other call may use it, then or later. Its limits are freed by themselves. Null is nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_close(table: *mut Tollgate) {
    if !table.is_null() {
        // SAFETY: from `tollgate_open`, and not closed yet.
        drop(unsafe { Box::from_raw(table) });
    }
}

/// Puts 1 into `*detached` if the file of a table with a path is another's by now, or nobody's: then processes that open the path from now
/// on count beside this one, so close the table and open it anew. Else 0, as of a table of this process alone. A system call: ask now and then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_is_detached(table: *const Tollgate, detached: *mut u32) -> c_int {
    // SAFETY: null, or from `tollgate_open`, and not closed yet.
    let Some(table) = (unsafe { table.as_ref() }) else { return TOLLGATE_ERROR_ARGUMENT };
    if detached.is_null() {
        return TOLLGATE_ERROR_ARGUMENT;
    }
    let body = || {
        let is_detached = is_detached(&table.limiter);
        // SAFETY: not null, and points to a number.
        unsafe { detached.write(u32::from(is_detached)) };
        Ok(())
    };
    // SAFETY: null is no place for an error.
    unsafe { answer(std::ptr::null_mut(), body) }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn is_detached(limiter: &Limiter<LimiterClock>) -> bool {
    limiter.shared().is_some_and(tollgate::shared::SharedTable::is_detached)
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn is_detached(_: &Limiter<LimiterClock>) -> bool {
    false
}

/// Makes a limit of this table from a rate or several, "200 per day, 50 per hour", under a name, and puts it into `*limit`.
/// The same name and rate are the same buckets. For this table only: others refuse.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_limit_new(
    table: *const Tollgate,
    name: *const c_char,
    rates: *const c_char,
    limit: *mut *mut Limit,
    error: *mut Error,
) -> c_int {
    let body = || {
        // SAFETY: null, or from `tollgate_open`.
        let table = unsafe { table.as_ref() }.ok_or_else(|| wrong("table is null"))?;
        // SAFETY: null, or as in the header.
        let name = unsafe { text(name, "name") }?.ok_or_else(|| wrong("name is null"))?;
        // SAFETY: as above.
        let rates = unsafe { text(rates, "rates") }?.ok_or_else(|| wrong("rates is null"))?;
        if limit.is_null() {
            return Err(wrong("limit is null"));
        }
        let set = table.limiter.prepare_set(name, rates);
        let set = set.map_err(|error| Failure(TOLLGATE_ERROR_RATE, error.to_string()))?;
        // SAFETY: not null, and points to a pointer.
        unsafe { limit.write(Box::into_raw(Box::new(Limit { set }))) };
        Ok(())
    };
    // SAFETY: as in the header.
    unsafe { answer(error, body) }
}

/// Frees a limit; no other call may use it, then or later. Null is nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_limit_free(limit: *mut Limit) {
    if !limit.is_null() {
        // SAFETY: from `tollgate_limit_new`, and not freed yet.
        drop(unsafe { Box::from_raw(limit) });
    }
}

/// What each call on the way of a request begins with.
///
/// # Safety
///
/// As of the functions below.
unsafe fn with(
    table: *const Tollgate,
    limit: *const Limit,
    key: *const u8,
    length: usize,
    body: impl FnOnce(&Limiter<LimiterClock>, &LimitSet, &[u8]) -> c_int,
) -> c_int {
    // SAFETY: null, or from `tollgate_open`, and not closed.
    let table = unsafe { table.as_ref() };
    // SAFETY: null, or from `tollgate_limit_new`, and not freed.
    let limit = unsafe { limit.as_ref() };
    // SAFETY: null, or `length` bytes.
    let key = unsafe { bytes(key, length) };
    let (Some(table), Some(limit), Some(key)) = (table, limit, key) else { return TOLLGATE_ERROR_ARGUMENT };
    catch_unwind(AssertUnwindSafe(|| body(&table.limiter, &limit.set, key))).unwrap_or(TOLLGATE_ERROR_PANIC)
}

/// # Safety
///
/// `to` is null, or points to a `Decision` of which `size` is set.
unsafe fn decision_at<'a>(to: *mut Decision) -> Option<&'a mut Decision> {
    // SAFETY: by the contract of this function; the size alone, before the rest is touched.
    let size = unsafe { to.cast::<usize>().as_ref() }?;
    if *size != size_of::<Decision>() {
        return None;
    }
    // Whoever does not look at the code reads a refusal.
    let refused = Decision { size: *size, allowed: 0, index: 0, remaining: 0, burst: 0, retry_after_ns: u64::MAX };
    // SAFETY: not null, and as large as it says; written before there is a reference, as it need not be set.
    unsafe { to.write(refused) };
    // SAFETY: as above.
    unsafe { to.as_mut() }
}

/// Admits a request of the key that costs `cost` tokens of every rate of the limit, or takes nothing.
///
/// The answer is in `*decision`; anything but TOLLGATE_OK means that nothing was decided, and `allowed` is 0. No allocation, no lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_check(
    table: *const Tollgate,
    limit: *const Limit,
    key: *const u8,
    length: usize,
    cost: u64,
    decision: *mut Decision,
) -> c_int {
    // SAFETY: as in the header.
    let Some(to) = (unsafe { decision_at(decision) }) else { return TOLLGATE_ERROR_ARGUMENT };
    let body = |limiter: &Limiter<LimiterClock>, set: &LimitSet, key: &[u8]| {
        let answer = limiter.check_set_n(set, key, cost);
        tell(to, &answer, u32::try_from(answer.index()).unwrap_or(u32::MAX));
        TOLLGATE_OK
    };
    // SAFETY: as in the header.
    unsafe { with(table, limit, key, length, body) }
}

fn tell(to: &mut Decision, answer: &SetDecision<'_>, index: u32) {
    let figures = answer.decision();
    let is_allowed = answer.is_allowed();
    let wait = wait(is_allowed, answer.retry_after());
    *to = Decision {
        size: to.size,
        allowed: u32::from(is_allowed),
        index,
        remaining: figures.remaining(),
        burst: figures.burst(),
        retry_after_ns: wait,
    };
}

fn wait(is_allowed: bool, retry_after: Option<Duration>) -> u64 {
    match retry_after {
        _ if is_allowed => 0,
        Some(wait) => u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX),
        None => u64::MAX,
    }
}

/// What `tollgate_check` would answer to a request of that cost; takes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_peek(
    table: *const Tollgate,
    limit: *const Limit,
    key: *const u8,
    length: usize,
    cost: u64,
    decision: *mut Decision,
) -> c_int {
    // SAFETY: as in the header.
    let Some(to) = (unsafe { decision_at(decision) }) else { return TOLLGATE_ERROR_ARGUMENT };
    let body = |limiter: &Limiter<LimiterClock>, set: &LimitSet, key: &[u8]| {
        let (key, now) = (limiter.hash(key), limiter.now());
        // As a set decides: the refused rate that waits longest, or else the one with least left.
        let mut first = true;
        for (index, limit) in (0_u32..).zip(set.limits()) {
            let view = limiter.under(limit).at(now);
            let one = view.key(&key).peek_n(cost);
            let (is_allowed, wait) = (one.is_allowed(), wait(one.is_allowed(), one.retry_after()));
            let worse = (wait, u64::MAX - one.remaining()) > (to.retry_after_ns, u64::MAX - to.remaining);
            if first || worse {
                (to.allowed, to.index, to.retry_after_ns) = (u32::from(is_allowed), index, wait);
                (to.remaining, to.burst) = (one.remaining(), one.burst());
            }
            first = false;
        }
        TOLLGATE_OK
    };
    // SAFETY: as in the header.
    unsafe { with(table, limit, key, length, body) }
}

/// Gives back `cost` tokens of every rate of the limit, at most to full.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_refund(
    table: *const Tollgate,
    limit: *const Limit,
    key: *const u8,
    length: usize,
    cost: u64,
) -> c_int {
    let body = |limiter: &Limiter<LimiterClock>, set: &LimitSet, key: &[u8]| {
        let key = limiter.hash(key);
        set.limits().iter().for_each(|limit| limiter.under(limit).key(&key).refund(cost));
        TOLLGATE_OK
    };
    // SAFETY: as in the header.
    unsafe { with(table, limit, key, length, body) }
}

/// What one request needs of one limit. Set `size` of each.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// sizeof(struct tollgate_item).
    pub size: usize,
    /// The limit, one rate or several.
    pub limit: *const Limit,
    /// The key under that limit: so many bytes, or null for none.
    pub key: *const u8,
    /// How many bytes.
    pub length: usize,
    /// What the request costs there.
    pub cost: u64,
}

/// Admits a request under several limits that have keys and costs of their own, as per address, per user and for all together: takes of all,
/// or of none.
///
/// `items` points to `count` of them, at least 1; all their rates together may be 32. `decision->index` is that of an item, the figures are
/// those of its rate that is refused, or has least left. Else as `tollgate_check`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tollgate_check_items(
    table: *const Tollgate,
    items: *const Item,
    count: usize,
    decision: *mut Decision,
) -> c_int {
    // SAFETY: as in the header.
    let Some(to) = (unsafe { decision_at(decision) }) else { return TOLLGATE_ERROR_ARGUMENT };
    // SAFETY: null, or from `tollgate_open`, and not closed.
    let Some(table) = (unsafe { table.as_ref() }) else { return TOLLGATE_ERROR_ARGUMENT };
    // SAFETY: null, or an item; its size alone, as the rest may be another version's.
    let is_known = unsafe { items.cast::<usize>().as_ref() } == Some(&size_of::<Item>());
    if !is_known || !(1..=LimitSet::MAX).contains(&count) {
        return TOLLGATE_ERROR_ARGUMENT;
    }
    // SAFETY: not null, and `count` of them, each as large as the first says.
    let items = unsafe { std::slice::from_raw_parts(items, count) };
    let body = || {
        let limiter = &table.limiter;
        let none = SetItem { limit: limiter.default_limit(), key: limiter.hash(&[] as &[u8]), cost: 0 };
        let (mut parts, mut of, mut filled) = ([none; LimitSet::MAX], [0_u32; LimitSet::MAX], 0_usize);
        for (index, item) in (0_u32..).zip(items) {
            // SAFETY: null, or from `tollgate_limit_new`, and not freed.
            let limit = unsafe { item.limit.as_ref() };
            // SAFETY: null, or `length` bytes.
            let key = unsafe { bytes(item.key, item.length) };
            let (Some(limit), Some(key)) = (limit, key) else { return TOLLGATE_ERROR_ARGUMENT };
            if item.size != size_of::<Item>() {
                return TOLLGATE_ERROR_ARGUMENT;
            }
            let key = limiter.hash(key);
            for limit in limit.set.limits() {
                let (Some(part), Some(whose)) = (parts.get_mut(filled), of.get_mut(filled)) else {
                    return TOLLGATE_ERROR_ARGUMENT;
                };
                *part = SetItem { limit, key, cost: item.cost };
                *whose = index;
                filled += 1; // at most 32
            }
        }
        let Some(Ok(answer)) = parts.get(..filled).map(|parts| limiter.check_items(parts)) else {
            return TOLLGATE_ERROR_ARGUMENT;
        };
        let index = of.get(answer.index()).copied().unwrap_or(u32::MAX);
        tell(to, &answer, index);
        TOLLGATE_OK
    };
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(TOLLGATE_ERROR_PANIC)
}

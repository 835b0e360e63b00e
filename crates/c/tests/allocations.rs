//! After a table and a limit are there, no call allocates: counted by the allocator itself, of this thread.

#![allow(missing_docs, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{null, null_mut};

use tollgate_c::{
    Decision, Item, Options, TOLLGATE_ERROR_ARGUMENT, TOLLGATE_OK, tollgate_check, tollgate_check_items,
    tollgate_close, tollgate_limit_free, tollgate_limit_new, tollgate_open, tollgate_peek, tollgate_refund,
};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator, and a number beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn no_call_on_the_way_of_a_request_allocates() {
    let (mut table, mut limit) = (null_mut(), null_mut());
    let options = Options {
        size: size_of::<Options>(),
        capacity: 1_000,
        path: null(),
        exact_for: c"20/hour, 90/day".as_ptr(),
        on_full: 1,
        reserved: 0,
    };
    let before = COUNT.get();
    // SAFETY: all that it points to lives.
    assert_eq!(unsafe { tollgate_open(&raw const options, &raw mut table, null_mut()) }, TOLLGATE_OK);
    let (name, rates) = (c"api".as_ptr(), c"20/hour, 90/day".as_ptr());
    // SAFETY: as above.
    let made = unsafe { tollgate_limit_new(table, name, rates, &raw mut limit, null_mut()) };
    assert_eq!(made, TOLLGATE_OK);
    assert!(COUNT.get() > before, "nothing is counted");

    let mut decision =
        Decision { size: size_of::<Decision>(), allowed: 7, index: 7, remaining: 7, burst: 7, retry_after_ns: 7 };
    let (mut admitted, before) = (0, COUNT.get());
    for round in 0..6_u64 {
        for key in 0..1_000_u64 {
            let key = key.to_le_bytes();
            let (key, length, to) = (key.as_ptr(), key.len(), &raw mut decision);
            // SAFETY: as above.
            let code = unsafe { tollgate_check(table, limit, key, length, 1 + round % 3, to) };
            assert_eq!(code, TOLLGATE_OK);
            admitted += decision.allowed;
            // SAFETY: as above.
            let peeked = unsafe { tollgate_peek(table, limit, key, length, 1, to) };
            // SAFETY: as above.
            let refunded = unsafe { tollgate_refund(table, limit, key, length, round % 2) };
            assert_eq!([peeked, refunded], [TOLLGATE_OK; 2]);
            let item = Item { size: size_of::<Item>(), limit, key, length, cost: round % 2 };
            // SAFETY: as above.
            assert_eq!(unsafe { tollgate_check_items(table, [item; 2].as_ptr(), 2, to) }, TOLLGATE_OK);
            // SAFETY: null is answered.
            assert_eq!(unsafe { tollgate_check(null(), limit, key, length, 1, to) }, TOLLGATE_ERROR_ARGUMENT);
        }
    }
    assert_eq!(COUNT.get(), before);
    assert!(admitted > 3_000, "{admitted}");
    // SAFETY: they are not used after this.
    unsafe { tollgate_limit_free(limit) };
    // SAFETY: as above.
    unsafe { tollgate_close(table) };
}

//! One word, no slots: a lone bucket never admits more than it holds, and loses nothing.

use tollgate::Quota;
use tollgate::model::Single;
use tollgate_loom_tests::{Shared, explore, explore_alike, full, scene, seconds, sharing};

fn bucket(burst: u64) -> Shared<Single> {
    Shared::new(Single::new(Quota::per_second(1).with_burst(burst)))
}

#[test]
fn two_threads_take_twice_from_three() {
    let outcomes = [(2, 1, 0), (1, 2, 0)];
    explore("bucket: 2 threads, 2 takes each, burst 3", outcomes, || {
        let bucket = bucket(3);
        let take = || sharing(&bucket, |bucket| (0..2).filter(|_| bucket.take(seconds(10), 1)).count());
        scene([take(), take()], move |[a, b]| (a, b, bucket.remaining(seconds(10))))
    });
}

#[test]
fn three_threads_take_from_two() {
    let outcomes = [(true, true, false, 0), (true, false, true, 0), (false, true, true, 0)];
    explore("bucket: 3 threads, 1 take each, burst 2", outcomes, || {
        let bucket = bucket(2);
        let take = || sharing(&bucket, |bucket| bucket.take(seconds(10), 1));
        scene([take(), take(), take()], move |[a, b, c]| (a, b, c, bucket.remaining(seconds(10))))
    });
}

#[test]
fn what_is_taken_is_what_is_counted() {
    // 3 in all: "up to 2" and "up to 2" get 2 and 1; a whole 2 or nothing.
    let outcomes = [(2, 1, 0), (1, 2, 0)];
    explore("bucket: take_up_to against take_up_to", outcomes, || {
        let bucket = bucket(3);
        let take = || sharing(&bucket, |bucket| bucket.take_up_to(seconds(10), 2));
        scene([take(), take()], move |[a, b]| (a, b, bucket.remaining(seconds(10))))
    });
    // One caller is a second late: to him a token is still missing, and after the other all are.
    let outcomes = [(2, 0, 1), (0, 2, 1)];
    explore("bucket: a late take_up_to against take", outcomes, || {
        let bucket = bucket(3);
        assert!(bucket.take(seconds(9), 1));
        let a = sharing(&bucket, |bucket| bucket.take_up_to(seconds(9), 2));
        let b = sharing(&bucket, |bucket| if bucket.take(seconds(10), 2) { 2 } else { 0 });
        scene([a, b], move |[a, b]| (a, b, bucket.remaining(seconds(10))))
    });
}

#[test]
fn a_refund_comes_back_once() {
    let outcomes = [(true, 0), (false, 1)];
    explore("bucket: refund against take of an empty bucket", outcomes, || {
        let bucket = bucket(2);
        assert!(bucket.take(seconds(10), 2));
        let a = sharing(&bucket, |bucket| {
            bucket.refund(seconds(10), 1);
            false
        });
        let b = sharing(&bucket, |bucket| bucket.take(seconds(10), 1));
        scene([a, b], move |[_, b]| (b, bucket.remaining(seconds(10))))
    });
}

#[test]
fn three_threads_take_twice_from_four() {
    if !full() {
        return;
    }
    // Six asked for, four admitted, however they share them; nobody gets more than two.
    let shares = (0..=2_usize).flat_map(|a| (0..=2).flat_map(move |b| (0..=2).map(move |c| (a, b, c))));
    let outcomes: Vec<_> = shares.filter(|(a, b, c)| a + b + c == 4).map(|(a, b, c)| (a, b, c, 0)).collect();
    explore_alike("bucket: 3 threads, 2 takes each, burst 4", 3, outcomes, || {
        let bucket = bucket(4);
        let take = || sharing(&bucket, |bucket| (0..2).filter(|_| bucket.take(seconds(10), 1)).count());
        scene([take(), take(), take()], move |[a, b, c]| (a, b, c, bucket.remaining(seconds(10))))
    });
}

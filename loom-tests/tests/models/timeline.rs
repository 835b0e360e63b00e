//! The lines of an exact clock: read whole, drawn by one.

use tollgate::clock::Clock;
use tollgate::model::{Lines, ModelClock};
use tollgate_loom_tests::{Body, Shared, explore, scene, seconds, sharing};

/// Seconds, to the nearest: time may be 4 ms behind while a line is drawn.
const fn nearest(nanos: u64) -> u64 {
    (nanos + 500_000_000) / 1_000_000_000
}

fn lines() -> (Shared<ModelClock>, Shared<Lines>) {
    let clock = Shared::new(ModelClock::new(seconds(10)));
    let lines = Shared::new(Lines::new(&clock));
    (clock, lines)
}

/// What the clock shows, unless that is not what time it was at any instant meanwhile.
fn read(clock: &Shared<ModelClock>, lines: &Shared<Lines>) -> Body<Option<u64>> {
    let clock = Shared::clone(clock);
    sharing(lines, move |lines| {
        let before = nearest(clock.now().as_nanos());
        let shown = nearest(lines.nanos());
        (before..=nearest(clock.now().as_nanos())).contains(&shown).then_some(shown)
    })
}

/// Reads at 12 and at 14 s, each of them beyond the line that was there before.
fn draw_two(clock: &Shared<ModelClock>, lines: &Shared<Lines>) -> Body<Option<u64>> {
    let clock = Shared::clone(clock);
    sharing(lines, move |lines| {
        let shown = [12, 14].map(|now| {
            clock.advance(seconds(now));
            nearest(lines.nanos())
        });
        (shown == [12, 14]).then_some(14)
    })
}

#[test]
fn a_line_is_read_whole() {
    // The second line is drawn in the place of the one that the reader may have begun to read. The reader may have the pen when
    // the first one ends; then one line is drawn, by him.
    let outcomes =
        [(10, 2), (12, 1), (12, 2), (14, 1), (14, 2)].map(|(shown, drawn)| (Some(shown), Some(14), (drawn, true)));
    explore("timeline: a reader beside 2 lines", outcomes, || {
        let (clock, lines) = lines();
        let threads = [read(&clock, &lines), draw_two(&clock, &lines)];
        scene(threads, move |[read, drawn]| (read, drawn, lines.drawn()))
    });
}

#[test]
fn one_draws() {
    // Both find the line at its end. One draws the next; the other sees it, or goes on beyond the end meanwhile.
    explore("timeline: 2 at the end of a line", [(Some(12), Some(12), (1, true))], || {
        let (clock, lines) = lines();
        clock.advance(seconds(12));
        let threads = [read(&clock, &lines), read(&clock, &lines)];
        scene(threads, move |[one, two]| (one, two, lines.drawn()))
    });
}

#[test]
fn the_pen_goes_from_hand_to_hand() {
    // Two lines are drawn, by either, and never over one that is in use; or one, if he who has the pen sleeps until 14.
    let outcomes = [(12, 1), (12, 2), (14, 1), (14, 2)].map(|(shown, drawn)| (Some(shown), Some(14), (drawn, true)));
    explore("timeline: 2 lines, and 1 more at the end", outcomes, || {
        let (clock, lines) = lines();
        clock.advance(seconds(12));
        let threads = [read(&clock, &lines), draw_two(&clock, &lines)];
        scene(threads, move |[one, two]| (one, two, lines.drawn()))
    });
}

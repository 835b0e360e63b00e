//! A slot whose owner has stopped, dead or not, while it was pending: another key takes it over. One that is claimed nobody
//! takes, and an owner who wakes up does no harm.

use tollgate::OnFull::{EvictNearestIdle, RefuseNew};
use tollgate::model::Key;
use tollgate_loom_tests::{
    Body, Shared, Table, explore, explore_bounded, loads_may_be_stale, patience_may_end, scene, seconds,
};

fn taker(table: &Shared<Table>, key: &Key, second: u64) -> Body<bool> {
    table.thread(key, move |table, key| table.take(key, seconds(second), 1))
}

/// Others, of another key, come to a slot in which somebody has stopped for ever.
fn of_the_dead(name: &'static str, steps: u32, expected: (bool, (usize, u64), usize)) {
    explore(name, [expected], move || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        assert!(table.model.stall(&Key::new(2, &[0]), 0, seconds(10), steps));
        let key = Key::new(1, &[0]);
        scene([taker(&table, &key, 10)], move |[a]| (a, table.state(&key, seconds(10)), table.model.in_transit()))
    });
}

#[test]
fn what_is_pending_is_taken_and_what_is_claimed_is_not() {
    of_the_dead("takeover: pending", 2, (true, (1, 0), 0));
    of_the_dead("takeover: claimed", 1, (false, (0, 1), 1));
}

/// Two who live, with a key each, and one slot: each may stop anywhere, and the other take over. One of them is admitted, and
/// what he took is counted.
#[test]
fn of_two_who_live_one_is_admitted() {
    let outcomes = [(true, false, (1, 0), (0, 1), 0), (false, true, (0, 1), (1, 0), 0)];
    explore("takeover: two keys, one slot", outcomes, || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let [one, two] = [1, 2].map(|id| Key::new(id, &[0]));
        scene([taker(&table, &one, 10), taker(&table, &two, 10)], move |[a, b]| {
            let [one, two] = [&one, &two].map(|key| table.state(key, seconds(10)));
            (a, b, one, two, table.model.in_transit())
        })
    });
}

/// The slot is taken over from a sleeper, drained, and given to a third key one refill later. Whenever he wakes up, he takes
/// nothing of theirs, and gives them nothing.
#[test]
fn a_sleeper_whose_slot_was_reused_twice_does_no_harm() {
    // Who was first is admitted, and the other finds the slot busy; at 20 s it is idle, whoever had it, unless it is claimed just
    // then.
    let mut outcomes = vec![(true, [false, true]), (false, [true, true])];
    if patience_may_end() {
        outcomes.extend([(false, [false, true]), (true, [false, false])]);
    }
    let outcomes = outcomes.into_iter();
    explore_bounded("takeover: a sleeper", 3, outcomes.map(|(a, b)| (a, b, 0)), || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let [one, two, three] = [1, 2, 3].map(|id| Key::new(id, &[0]));
        let sleeper = table.thread(&one, |table, one| [table.take(one, seconds(10), 1); 2]);
        let others = table.thread(&[two, three], |table, [two, three]| {
            [table.take(two, seconds(10), 1), table.take(three, seconds(20), 1)]
        });
        scene([sleeper, others], move |[[a, _], b]| (a, b, table.model.in_transit()))
    });
}

/// By force: what the first inherited, who has it over inherits again. One slot admits no more than one key would.
#[test]
fn a_debt_stays_with_its_slot() {
    // One of three is used: two more fit by themselves, but not one on top of the other and of what a claim adds.
    let outcomes = [(true, false, 0), (false, true, 0)];
    explore("takeover: by force", outcomes, || {
        let table = Shared::new(Table::new(1, 3, EvictNearestIdle));
        assert!(table.take(&Key::new(9, &[0]), seconds(10), 1));
        let [one, two] = [1, 2].map(|id| Key::new(id, &[0]));
        scene([taker(&table, &one, 10), taker(&table, &two, 10)], move |[a, b]| (a, b, table.model.in_transit()))
    });
}

/// Who has claimed the slot is dead, and somebody finds that out while another key comes to it: it is admitted, or finds no room, and
/// then there is room.
#[test]
fn what_the_dead_have_claimed_is_freed() {
    let mut outcomes = vec![(1, true, 0)];
    // With loads that are read-modify-writes loom reaches this as well.
    if patience_may_end() || !loads_may_be_stale() {
        outcomes.push((1, false, 0));
    }
    explore("takeover: of the dead", outcomes, || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        assert!(table.model.stall(&Key::new(2, &[0]), 0, seconds(10), 1));
        let key = Key::new(1, &[0]);
        // A microsecond later: the slot is buried with the latest stamp that it can have had.
        let finder = table.thread(&key, |table, _| (table.model.free_of_the_dead(true), false));
        let taker = table.thread(&key, |table, key| (0, table.take(key, seconds(11), 1)));
        scene([finder, taker], move |[(freed, _), (_, taken)]| (freed, taken, table.model.in_transit()))
    });
}

/// Two who live insert, and may be anywhere in it, while somebody looks for what the dead have left: nothing is taken from them, and
/// what the one takes that is admitted is counted.
#[test]
fn of_those_who_live_nothing_is_freed() {
    let outcomes = [(true, false, 0, (1, 0), (0, 1), 0), (false, true, 0, (0, 1), (1, 0), 0)];
    explore_bounded("takeover: of the living", 3, outcomes, || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let [one, two] = [1, 2].map(|id| Key::new(id, &[0]));
        let finder = table.thread(&one, |table, _| (false, table.model.free_of_the_dead(true)));
        let taker = |key: &Key| table.thread(key, |table, key| (table.take(key, seconds(10), 1), 0));
        scene([taker(&one), taker(&two), finder], move |[(a, _), (b, _), (_, freed)]| {
            let [one, two] = [&one, &two].map(|key| table.state(key, seconds(10)));
            (a, b, freed, one, two, table.model.in_transit())
        })
    });
}

//! A key is moved to another quota while it is being checked.

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate::{Inheritance, Quota};
use tollgate_loom_tests::{Shared, Table, explore, scene, seconds};

/// A key that took so many of two tokens at second 10, converted to a limit of a burst of 4, and taken from meanwhile under
/// the one or the other.
fn convert_against_take(
    name: &'static str,
    how: Inheritance,
    taken: u64,
    take_new: bool,
    outcomes: &'static [(bool, u64)],
) {
    explore(name, outcomes.iter().copied(), move || {
        let table = Shared::new(Table::new(3, 2, RefuseNew));
        let wider = table.model.other_limit(Quota::per_second(1).with_burst(4));
        let key = Key::new(1, &[0, 1, 2]);
        let _ = table.take(&key, seconds(10), taken);
        let converter = table.thread(&key, move |table, key| {
            table.model.convert(key, &table.limit, &wider, seconds(10), how);
            false
        });
        let taker = table.thread(&key, move |table, key| {
            let limit = if take_new { &wider } else { &table.limit };
            table.model.take(key, limit, seconds(10), 1).is_allowed()
        });
        scene([converter, taker], move |[_, taken]| (taken, table.model.peek(&key, &wider, seconds(10), 1).remaining()))
    });
}

#[test]
fn convert_against_check() {
    use Inheritance::{Additive, AsIs};
    // One is left, so the new bucket holds one at most: if it is taken from first, that is what it is left with.
    convert_against_take("quota: convert as is, take under the new", AsIs, 1, true, &[(true, 0), (true, 1)]);
    // What is taken of the old one before is not carried over; what is taken after that counts there alone.
    convert_against_take("quota: convert as is, take under the old", AsIs, 1, false, &[(true, 0), (true, 1)]);
    // One left and two more: three at most.
    convert_against_take("quota: convert by adding, take under the new", Additive, 1, true, &[(true, 2), (true, 3)]);
}

#[test]
fn convert_of_an_absent_key_against_its_first_check() {
    // As is: of a full bucket two are carried over. Both may insert the new one.
    convert_against_take("quota: convert against insertion", Inheritance::AsIs, 0, true, &[(true, 1), (true, 2)]);
}

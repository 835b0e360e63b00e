//! A key changes its quota while it is being checked.

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate::{Inheritance, Quota};
use tollgate_loom_tests::{Shared, Table, explore, scene, seconds};

/// A key with one of two tokens left at second 10, to be converted to a burst of 4, and taken from meanwhile.
fn convert_against_take(
    name: &'static str,
    how: Inheritance,
    take_new: bool,
    outcomes: &'static [(bool, (usize, u64))],
) {
    explore(name, outcomes.iter().copied(), move || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let wider = table.model.limit(Quota::per_second(1).with_burst(4));
        let key = Key::new(1, &[0]);
        assert!(table.take(&key, seconds(10), 1));
        let converter = table.thread(&key, move |table, key| {
            table.model.convert(key, &table.limit, &wider, seconds(10), how);
            false
        });
        let taker = table.thread(&key, move |table, key| {
            let limit = if take_new { &wider } else { &table.limit };
            table.model.take(key, limit, seconds(10), 1).is_allowed()
        });
        scene([converter, taker], move |[_, taken]| {
            let left = table.model.peek(&key, &wider, seconds(10), 1).remaining();
            (taken, (table.model.owners(&key), left))
        })
    });
}

#[test]
fn convert_against_check() {
    use Inheritance::{Additive, AsIs};
    // One left, one taken, in either order.
    convert_against_take("quota: convert as is, take under the new", AsIs, true, &[(true, (1, 0))]);
    // Under the old quota the converted bucket looks overdrawn: refused, and the token is still there.
    convert_against_take("quota: convert as is, take under the old", AsIs, false, &[(true, (1, 0)), (false, (1, 1))]);
    // One left and two more: three less one.
    convert_against_take("quota: convert by adding, take under the new", Additive, true, &[(true, (1, 2))]);
}

#[test]
fn two_quotas_on_one_bucket() {
    // Nothing taken yet; a burst of 1 and one of 2 share the bucket, which is time: the smaller admits only if first.
    let outcomes = [(true, true, (1, 0)), (false, true, (1, 1))];
    explore("quota: 2 tiers of one new key", outcomes, || {
        let table = Shared::new(Table::new(2, 2, RefuseNew));
        let narrow = table.model.limit(Quota::per_second(1).with_burst(1));
        let key = Key::new(1, &[0, 1]);
        let first = table.thread(&key, move |table, key| table.model.take(key, &narrow, seconds(10), 1).is_allowed());
        let second = table.thread(&key, |table, key| table.take(key, seconds(10), 1));
        scene([first, second], move |[a, b]| (a, b, table.state(&key, seconds(10))))
    });
}

#[test]
fn convert_of_an_absent_key_against_its_first_check() {
    // As is: two of four are left of a full bucket; one is taken, before or after.
    explore("quota: convert against insertion", [(true, (1, 1))], || {
        let table = Shared::new(Table::new(2, 2, RefuseNew));
        let wider = table.model.limit(Quota::per_second(1).with_burst(4));
        let key = Key::new(1, &[0, 1]);
        let converter = table.thread(&key, move |table, key| {
            table.model.convert(key, &table.limit, &wider, seconds(10), Inheritance::AsIs);
            false
        });
        let taker = table.thread(&key, move |table, key| table.model.take(key, &wider, seconds(10), 1).is_allowed());
        scene([converter, taker], move |[_, taken]| {
            let left = table.model.peek(&key, &wider, seconds(10), 1).remaining();
            (taken, (table.model.owners(&key), left))
        })
    });
}

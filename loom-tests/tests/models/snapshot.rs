//! A snapshot goes through the slots beside everybody else: what it says of a key is what that key had.

use std::time::Duration;

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate_loom_tests::{Shared, Table, explore, quarters, scene, seconds, thread};

#[test]
fn a_bucket_is_its_own_keys() {
    // Key 1 is full again at second 12; key 2 takes its slot at 12.5 and is then full at 13.5. Between the two there is nobody.
    let outcomes = [Some((true, seconds(12))), None, Some((false, quarters(54)))];
    explore("snapshot: of a slot that changes hands", outcomes, || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let (old, new) = (Key::new(1, &[0]), Key::new(2, &[0]));
        assert!(table.take(&old, seconds(10), 2));
        let looker = table.thread(&old, |table, old| table.model.look(0, old, seconds(11)));
        let taker = thread(move || {
            assert!(table.take(&new, quarters(50), 1));
            None
        });
        scene([looker, taker], |[seen, _]: [Option<(bool, Duration)>; 2]| seen)
    });
}

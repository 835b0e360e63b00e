//! Tiers by a table of keys in a file of its own.

use std::fmt::Write as _;

use crate::tool::{Folder, Gateway, check, get_with};

const CONFIG: &str = "listen: 127.0.0.1:0
admin: off
threads: 2
policies:
  - name: api
    limits: 1/hour
    key: header:x-api-key
    tiers: {by: header:x-api-key, file: plans.csv, limits: {free: 2/hour, gold: 3/hour}}
";

/// How many of nine requests with this key pass.
fn passed(gateway: &Gateway, key: &str) -> usize {
    let request = || get_with(gateway.addr, "/", &format!("x-api-key: {key}\r\n"));
    (0..9).take_while(|_| request().starts_with("HTTP/1.1 200")).count()
}

#[test]
fn a_plan_needs_no_new_configuration() {
    let folder = Folder::new();
    folder.write("plans.csv", "key,tier\na,free\nb,gold\n");
    let gateway = Gateway::start(&folder.write("tollgate.yaml", CONFIG));
    assert_eq!(["a", "b", "c"].map(|key| passed(&gateway, key)), [2, 3, 1]);
    // The configuration is as it was. Who moves has the buckets of the other tier; who is new has one that is full.
    folder.write("plans.csv", "key,tier\na,gold\nb,gold\nd,free\n");
    gateway.hear("reloaded and in force");
    assert_eq!(["a", "b", "c", "d"].map(|key| passed(&gateway, key)), [3, 0, 0, 2]);
}

#[test]
fn a_bad_table_changes_nothing() {
    let folder = Folder::new();
    let file = folder.write("plans.csv", "key,tier\na,free\nb,gold\n");
    let gateway = Gateway::start(&folder.write("tollgate.yaml", CONFIG));
    for (text, mistake) in [
        ("", ":1: the first line names no column `key`; expected `key,tier`"),
        ("key,tier\na,free\nb,go", ":3: `go` is none of the tiers in `limits`"),
        ("key,tier\na,gold\nb,gold", ":3: the last line has no end, so the file may have been cut off"),
        ("key,tier\na,gold\na,free\n", ":3: the key is there twice"),
    ] {
        folder.write("plans.csv", text);
        // The first is seen by itself; for the others, somebody asks.
        if !text.is_empty() {
            gateway.hang_up();
        }
        let lines = gateway.hear("NOT in force; everything stays as it was before");
        let expected = format!("policies[0].tiers.file: {}{mistake}", file.display());
        assert!(lines.iter().any(|line| line.ends_with(&expected)), "{expected} in {lines:?}");
    }
    assert_eq!(["a", "b", "c"].map(|key| passed(&gateway, key)), [2, 3, 1], "the old table");
    folder.write("plans.csv", "key,tier\nc,gold\n");
    gateway.hear("reloaded and in force");
    assert_eq!(passed(&gateway, "c"), 3);
}

#[test]
fn what_a_table_means_is_told() {
    let folder = Folder::new();
    let mut rows = "key,tier\n".to_owned();
    for number in 0..2_000 {
        let _ = writeln!(rows, "key-{number},gold");
    }
    folder.write("plans.csv", &rows);
    let output = check(&folder.write("tollgate.yaml", CONFIG));
    let told = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success());
    let expected = "plans.csv has 2,000 keys, by header:x-api-key, with other limits instead: `free` 2 per hour; `gold` 3 per hour. A key \
                    that is not there has those above.";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn mistakes_of_a_table_are_told_where_it_is_named() {
    let folder = Folder::new();
    folder.write("plans.csv", "key,tier\na,free\n");
    for (what, with, mistake) in [
        ("    limits: 1/hour\n", "", "`limits` is missing: what a key may do that is not in `tiers.file`"),
        ("by: header:x-api-key", "by: path", "`path` tells no customers apart"),
        ("by: header:x-api-key", "by: user", "the gateway knows no users"),
        ("plans.csv", "none.csv", "none.csv: No such file"),
        ("plans.csv", "tollgate.yaml", "the name must end in .csv"),
    ] {
        let output = check(&folder.write("tollgate.yaml", &CONFIG.replace(what, with)));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(78) && said.contains(mistake), "{mistake} in {said}");
    }
}

//! `tollgate table`: what it says of a snapshot, and of what is none.

use std::path::Path;
use std::process::{Command, Output};

use tollgate::Limiter;

fn info(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["table", "info"]).arg(file).output().expect("the program")
}

#[test]
fn info_tells_what_is_in_a_snapshot() {
    let file = |name: &str| std::env::temp_dir().join(format!("tollgate-table-{}-{name}", std::process::id()));
    let (whole, cut) = (file("whole"), file("cut"));
    let limiter = Limiter::builder("10/hour").capacity(1_000).build().unwrap();
    for key in 0..7_u64 {
        assert!(limiter.check(&key).is_allowed());
    }
    let mut written = Vec::new();
    limiter.snapshot(&mut written).unwrap();
    std::fs::write(&whole, &written).unwrap();
    std::fs::write(&cut, &written[..written.len() - 1]).unwrap();

    let output = info(&whole);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("a whole snapshot of version 1"), "{text}");
    let has = |name: &str, value: &str| text.lines().any(|line| line.starts_with(name) && line.ends_with(value));
    assert!(has("buckets not full", " 7") && has("room for", " 1,000 keys"), "{text}");

    for (file, code, what) in [
        (cut.clone(), 65, "ends"),
        (file("none"), 66, "cannot read"),
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"), 65, "not"),
    ] {
        let output = info(&file);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.lines().count() == 1 && error.contains(what) && output.stdout.is_empty(), "{error}");
    }
    for file in [whole, cut] {
        std::fs::remove_file(file).unwrap();
    }
}

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

/// From one shared table to another by a file, as over a restart of the machine; and what is said where that cannot be.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_shared_table_goes_into_a_file_and_back() {
    use std::os::unix::fs::PermissionsExt as _;

    use tollgate::shared::Shared;

    let directory = Path::new("/dev/shm").join(format!("tollgate-table-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let [table, later, snapshot] = ["table", "later", "snapshot"].map(|name| directory.join(name));
    let run = |arguments: &[&str], files: &[&Path]| {
        let program = Command::new(env!("CARGO_BIN_EXE_tollgate")).arg("table").args(arguments).args(files).output();
        let output = program.expect("the program");
        let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        (output.status.code(), text.concat())
    };
    let build = |path: &Path, capacity| {
        Limiter::builder("10/hour").capacity(capacity).shared(Shared::attach(path)).build().unwrap()
    };
    let made = Limiter::builder("10/hour").capacity(1_000).shared(Shared::at(&table)).build().unwrap();
    for key in 0..7_u64 {
        assert_eq!(made.key(&key).take_up_to(key + 1), key + 1);
    }

    let (code, text) = run(&["info"], &[&table]);
    let has = |name: &str, value: &str| text.lines().any(|line| line.starts_with(name) && line.ends_with(value));
    assert_eq!(code, Some(0), "{text}");
    assert!(has("buckets not full", " 7") && has("room for", " 1,000 keys"), "{text}");
    assert!(
        has("between owners", " 0 slots") && text.contains(&format!("by process {}", std::process::id())),
        "{text}"
    );

    let (code, text) = run(&["snapshot"], &[&table, &snapshot]);
    assert!(code == Some(0) && text.contains(": 7 buckets in "), "{text}");
    assert_eq!(std::fs::metadata(&snapshot).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(run(&["info"], &[&snapshot]).1.contains("a shared table"));
    let (code, text) = run(&["restore"], &[&later, &snapshot]);
    assert!(code == Some(0) && text.contains(": 7 buckets; 0 were full by now, 0 found no room"), "{text}");
    assert!((0..7_u64).all(|key| build(&later, 1_000).peek(&key).remaining() == 9 - key));

    // Nothing else is left, and what is there stays.
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 3);
    for (arguments, files, code, what) in [
        (&["restore"][..], [&table, &snapshot], 73, "there already"),
        (&["restore", "--replace"], [&table, &snapshot], 73, "while others use it"),
        (&["restore", "--capacity=0"], [&table, &snapshot], 2, "capacity"),
        (&["restore"], [&directory.join("none/table"), &snapshot], 66, "no such file"),
        (&["restore"], [&later, &table], 65, "no snapshot"),
        (&["snapshot"], [&snapshot, &later], 65, "bytes, and its table takes"),
        (&["snapshot"], [&directory.join("nobody"), &snapshot], 66, "cannot read"),
        (&["snapshot"], [&table, &directory.join("none/snapshot")], 73, "cannot write"),
        (&["snapshot"], [&table, &table], 73, "not written over"),
        (&["snapshot"], [&later, &table], 73, "not written over"),
    ] {
        let (found, text) = run(arguments, &files.map(|file| file.as_path()));
        assert_eq!(found, Some(code), "{arguments:?}: {text}");
        assert!(text.lines().count() == 1 && text.contains(what), "{arguments:?}: {text}");
    }
    assert!(made.peek(&6_u64).remaining() == 3 && !made.stats().is_detached);
    drop(made);
    let (code, text) = run(&["restore", "--replace", "--capacity=5000"], &[&table, &snapshot]);
    assert!(code == Some(0), "{text}");
    assert_eq!(build(&table, 5_000).peek(&6_u64).remaining(), 3);
    std::fs::remove_dir_all(&directory).unwrap();
}

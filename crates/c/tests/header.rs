//! The header in the tree is the one that cbindgen makes of the source; `TOLLGATE_WRITE_HEADER=1` writes it.

#![allow(missing_docs, reason = "a test")]

#[test]
fn the_header_is_that_of_the_source() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::Builder::new().with_src(root.join("src/lib.rs")).with_config(config).generate().unwrap().write(&mut made);
    let (made, path) = (String::from_utf8(made).unwrap(), root.join("include/tollgate.h"));
    if std::env::var_os("TOLLGATE_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == kept,
        "include/tollgate.h is not what cbindgen makes: TOLLGATE_WRITE_HEADER=1 cargo test -p tollgate-c"
    );
}

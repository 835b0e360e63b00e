//! Every configuration that docs/http.md and docs/fleet.md show is one that the program takes, and every log line of docs/replay.md is read as it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The text of the blocks of `language`, each with the line on which it begins.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let (mut is_inside, mut is_wanted) = (false, false);
    for (number, line) in text.lines().enumerate() {
        if let Some(tag) = line.strip_prefix("```") {
            is_inside = !is_inside;
            is_wanted = is_inside && tag == language;
            if is_wanted {
                blocks.push((number + 2, String::new()));
            }
        } else if is_wanted {
            let (_, block) = blocks.last_mut().unwrap();
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

/// A folder for one test: the tests run at once, so that none writes into the folder of another.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs").join(test);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The certificate and the key that one of the blocks names.
fn write_certificate(folder: &Path) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), own.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
}

#[test]
fn every_configuration_is_taken() {
    let folder = folder("configurations");
    write_certificate(&folder);
    fs::write(folder.join("fleet.secret"), "sixteen bytes or more").unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/http.md")).unwrap();
    // The table that one of them names.
    for (_, table) in self::blocks(&text, "csv") {
        fs::write(folder.join("plans.csv"), table).unwrap();
    }
    let of_guide = |name: &str| {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        let blocks = blocks(&fs::read_to_string(guide).unwrap(), "yaml");
        blocks.into_iter().map(|(line, block)| (format!("{name}:{line}"), block)).collect::<Vec<_>>()
    };
    let (http, fleet) = (of_guide("http.md"), of_guide("fleet.md"));
    assert!(http.len() > 15 && !fleet.is_empty(), "only {} and {} blocks were found", http.len(), fleet.len());
    for (line, block) in http.into_iter().chain(fleet) {
        let file = folder.join(format!("{line}.yaml"));
        fs::write(&file, &block).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate")).arg("check-config").arg(&file).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "docs/{line}: {error}\n{block}");
    }
}

#[test]
fn every_log_line_is_read_as_the_guide_says() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/replay.md");
    let text = fs::read_to_string(guide).unwrap();
    let (mut rows, log) = (0, folder("log-lines").join("guide.log"));
    for row in text.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        // The bars of a line are escaped in a table.
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<&str> = row.split('|').collect();
        let ([_, kind, formats, example, _], true) = (&*cells, row.ends_with('|')) else { continue };
        if *kind == " kind " {
            continue;
        }
        let example = example.trim().replace('\u{1}', "|").replace("` TAB `", "\t").replace("`, then `", "\n");
        fs::write(&log, example.trim_matches('`')).unwrap();
        for format in formats.split(',').map(|name| name.trim().trim_matches('`')) {
            for options in [vec![], vec!["--format", format]] {
                let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
                let output =
                    command.args(["replay", "--json", "--limit", "1/s"]).args(&options).arg(&log).output().unwrap();
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{kind} {options:?}: {error}");
                let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                let counts =
                    ["requests", "odd", "without_address"].map(|name| result["totals"][name].as_u64().unwrap());
                assert_eq!(counts, [1, 0, 0], "{kind} {options:?}");
            }
        }
        rows += 1;
    }
    assert!(rows > 22, "only {rows} rows were found");
}

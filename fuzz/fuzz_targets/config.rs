//! The configuration file of `tollgate gateway`.
#![no_main]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tollgate_gateway::config::file::{Config, Files, Problem, parse};

/// Files are there and right, but for those with a `z` in their names.
fn look(path: &Path) -> Result<(), String> {
    if path.to_string_lossy().contains('z') { Err("is\nwrong".to_owned()) } else { Ok(()) }
}

fuzz_target!(|text: &str| {
    let files = Files {
        folder: Path::new("folder"),
        certificate: |_| Ok(()),
        authorities: look,
        secret: |_| Ok(vec![7; 32]),
        tiers: |path, map| look(path).map(|()| map.build()),
    };
    match parse(text, &files) {
        Ok(config) => {
            judge(&config);
            let again = parse(text, &files).map(|config| config.explain());
            assert_eq!(again, Ok(config.explain()), "the same text means the same");
        }
        Err(problems) => judge_problems(text, &problems),
    }
});

/// What is understood holds what its keys promise, and can be told.
fn judge(config: &Config) {
    let settings = &config.gateway;
    assert!(!settings.listeners.is_empty());
    assert!(
        settings.limits.head_bytes >= 8 << 10 && settings.limits.head_fields > 0 && settings.limits.connections > 0
    );
    let timeouts = settings.timeouts;
    for timeout in [timeouts.idle, timeouts.connect, timeouts.shutdown, settings.health.rest] {
        assert!((Duration::from_millis(1)..=Duration::from_secs(365 * 86_400)).contains(&timeout), "{timeout:?}");
    }
    for networks in settings.listeners.iter().filter_map(|listen| listen.proxy_protocol.as_ref()) {
        assert!(!networks.is_empty(), "a listener that nobody can pass");
    }

    let names: BTreeSet<&str> = config.plans.iter().map(|plan| plan.name.as_str()).collect();
    assert_eq!(names.len(), config.plans.len(), "two policies of one name");
    let made: Vec<&str> = config.limits.policies().iter().map(|policy| policy.name()).collect();
    assert_eq!(made, config.plans.iter().map(|plan| plan.name.as_str()).collect::<Vec<_>>());

    let told = config.explain();
    assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
    for name in names {
        // A name may be broken at its blanks.
        assert!(name.split(' ').all(|word| told.contains(word)), "{name} is not in {told}");
    }
}

/// Mistakes are told in the order of the file, each in one line, at a place that the file has.
fn judge_problems(text: &str, problems: &[Problem]) {
    assert!(!problems.is_empty(), "refused without a reason");
    assert!(problems.is_sorted_by_key(|problem| problem.place));
    // YAML 1.1 had more ends of lines than these, and the parser may count any of them.
    let lines = text.chars().filter(|c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')).count();
    for problem in problems {
        let told = problem.to_string();
        assert!(!told.contains(char::is_control), "{told:?}");
        assert!(!problem.what.is_empty(), "{told}");
        assert!(problem.place.line >= 1 && problem.place.line <= lines as u64 + 1, "{told}");
    }
}

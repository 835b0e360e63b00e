//! Rate strings: nothing panics, what is printed is read back, a list is its rates, and an error points at what it names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::{Quota, parse_quotas};

fuzz_target!(|text: &str| {
    match parse_quotas(text) {
        Ok(quotas) => {
            assert!(!quotas.is_empty());
            for quota in &quotas {
                assert_eq!(quota.to_string().parse::<Quota>().as_ref(), Ok(quota));
                // What cannot be decided is never without a limit by accident.
                assert!(!quota.is_unlimited() || text.to_ascii_lowercase().contains("unlimited"));
            }
            // However it is written: alone, between others, in the other case.
            let list = quotas.iter().map(Quota::to_string).collect::<Vec<_>>().join(" ; ");
            assert_eq!(parse_quotas(&list).as_ref(), Ok(&quotas));
            assert_eq!(parse_quotas(&text.to_ascii_uppercase()).as_ref(), Ok(&quotas));
            assert_eq!(text.parse::<Quota>().ok(), (quotas.len() == 1).then_some(quotas[0]));
        }
        Err(error) => {
            let rest = text.get(error.position()..).expect("a character boundary");
            assert_eq!(error.found().is_empty(), rest.is_empty(), "something is found unless at the end");
            let found = error.found().strip_suffix("...").unwrap_or(error.found());
            assert!(rest.starts_with(found), "{found:?} is not what stands there");
            let message = error.to_string();
            assert!(!message.contains(char::is_control) && message.contains(error.expected()));
            assert!(text.parse::<Quota>().is_err());
        }
    }
});

//! Rate strings: nothing panics, positions lie on characters, and what is printed is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::{Quota, parse_quotas};

fuzz_target!(|text: &str| match parse_quotas(text) {
    Ok(quotas) => {
        assert!(!quotas.is_empty());
        for quota in quotas {
            assert_eq!(quota.to_string().parse::<Quota>().as_ref(), Ok(&quota));
        }
    }
    Err(error) => {
        assert!(text.is_char_boundary(error.position()));
        assert!(!error.to_string().contains('\n'));
    }
});

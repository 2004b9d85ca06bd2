//! Any bytes as a configuration: refused with places that exist, or compiled.
#![no_main]

use gateway::{intent, numbers::Numbers, policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match intent::parse_bytes("fuzz.yaml", bytes) {
        Ok(parsed) => {
            let numbers = Numbers::default().assign(&parsed.intent.pools);
            let numbers = numbers.expect("a valid configuration fits into empty tables");
            policy::compile(&parsed.intent, &numbers, 1);
        }
        Err(problems) => {
            assert!(problems.count(api::Severity::Error) > 0);
            assert!(!problems.to_string().is_empty());
        }
    }
});

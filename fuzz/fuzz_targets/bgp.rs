//! Any bytes as messages of BGP: each reader takes them or refuses them.
#![no_main]

#[path = "../../crates/bgp/tests/any.rs"]
mod any;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| any::read(bytes));

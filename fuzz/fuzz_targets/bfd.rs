//! Any bytes as datagrams to a session of BFD: it answers, or counts why not.
#![no_main]

#[path = "../../crates/bfd/tests/any.rs"]
mod any;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| any::hear(bytes));

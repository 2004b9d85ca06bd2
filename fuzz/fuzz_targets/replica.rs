//! Any bytes as what the other side of a stream of flows says: each machine answers, applies, or closes.
#![no_main]

#[path = "../../crates/replica/tests/any.rs"]
mod any;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| any::hear(bytes));

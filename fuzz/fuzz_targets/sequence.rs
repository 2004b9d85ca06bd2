//! A gateway's life, as bytes tell it: the laws hold throughout, and in the end everything is free.
#![no_main]

#[path = "../../crates/datapath/tests/rig/mod.rs"]
#[expect(dead_code, reason = "the rig has more than one target needs")]
mod rig;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| rig::story::tell(bytes));

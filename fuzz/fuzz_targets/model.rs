//! A gateway's life, as bytes tell it, beside the model of it: both say the same throughout.
#![no_main]

#[path = "../../crates/datapath/tests/rig/mod.rs"]
#[expect(dead_code, reason = "the rig has more than one target needs")]
mod rig;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|life: Vec<rig::play::Operation>| {
    rig::play::play(&life);
});

//! Any bytes as a frame, twice, so that the first may have begun a flow: every law of a frame holds.
#![no_main]

#[path = "../../crates/datapath/tests/rig/mod.rs"]
#[expect(dead_code, reason = "the rig has more than one target needs")]
mod rig;
mod usual;

use libfuzzer_sys::fuzz_target;

/// Flows that fit: few, so that a full table is soon met.
const FLOWS: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, frame)) = bytes.split_first() else {
        return;
    };
    let ingress = u32::from(first % 4) + rig::site::INSIDE;
    usual::with(FLOWS, |site| {
        site.send_bytes(ingress, frame.to_vec());
        site.send_bytes(ingress, frame.to_vec());
        rig::sound(&site.memory);
    });
});

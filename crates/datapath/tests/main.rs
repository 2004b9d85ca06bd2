//! Laws of the packet path, on its native build: for every frame, for the tables between frames, and
//! for policies, sweeps and second CPUs that come in between.

mod rig;

mod answers;
mod behaviours;
mod blocks;
mod by_address;
mod cluster;
mod control;
mod copies;
mod endpoints;
mod errors;
mod events;
mod exhaustion;
mod fixed;
mod forwards;
mod forwards6;
mod fragments;
mod hold;
mod leases;
mod mangled;
mod mangled6;
mod model;
mod nat64;
mod overload;
mod policy;
mod quotas;
mod races;
mod six;
mod sweeps;
mod tcp;
mod translation;

/// So many cases, new ones each time. A failing one is shown at its smallest, to be kept as a test
/// with a name.
fn cases(count: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        failure_persistence: None,
        ..proptest::test_runner::Config::with_cases(count)
    }
}

//! What the simulator demands of a cluster, on a few seeds of each kind, and that it would notice if that were
//! not so. `cargo xtask sim` runs as many seeds as there is time for.

mod planted;
mod profiles;
mod seeds;

use sim::{Order, Profile, Report, run};

/// A run of this kind, as things are today.
fn order(seed: u64, profile: Profile) -> Order {
    Order {
        profile: Some(profile),
        ..Order::of(seed)
    }
}

/// Runs; says what was broken if anything was.
#[track_caller]
fn passes(order: &Order) -> Report {
    run(order).unwrap_or_else(|broken| panic!("{broken}"))
}

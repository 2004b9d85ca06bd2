//! The gateway against a [model](crate::rig::model) of it: whatever happens, both say the same.

use std::{cell::Cell, panic::catch_unwind, str::FromStr};

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestError, TestRng, TestRunner},
};

use crate::{
    cases,
    rig::play::{play, tell},
};

/// Words of one life of a gateway: 400 operations.
const WORDS: std::ops::Range<usize> = 0..1600;
/// Lives that are told from one seed.
const LIVES: u32 = 64;

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn whatever_happens_the_gateway_does_what_its_model_says(
        bytes in prop::collection::vec(any::<u8>(), WORDS),
    ) {
        play(&bytes);
    }
}

fn asked<T: FromStr>(variable: &str, usual: T) -> T {
    let said = std::env::var(variable).ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(usual)
}

/// As many operations as `EGRET_MODEL_OPERATIONS` says, from seeds that are counted from
/// `EGRET_MODEL_SEED`. The same seed tells the same lives; what disagrees is shown at its smallest.
#[test]
#[ignore = "for as long as is asked for"]
fn for_millions_of_operations_the_gateway_does_what_its_model_says() {
    let wanted = asked("EGRET_MODEL_OPERATIONS", 1_000_000_u64);
    let first = asked("EGRET_MODEL_SEED", 1_u64);
    let operations = Cell::new(0);
    for seed in first.. {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
        let mut runner = TestRunner::new_with_rng(cases(LIVES), rng);
        let told = runner.run(&prop::collection::vec(any::<u8>(), WORDS), |bytes| {
            operations.set(operations.get() + play(&bytes));
            Ok(())
        });
        let agreed = operations.get();
        match told {
            Ok(()) => {}
            Err(TestError::Fail(why, bytes)) => {
                println!("seed {seed}, at its smallest:");
                let _ = catch_unwind(|| tell(&bytes));
                panic!("seed {seed}, after {agreed} operations: {why}\ntell(&{bytes:?})");
            }
            Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
        }
        if agreed >= wanted {
            println!("seeds {first} to {seed}: {agreed} operations agreed");
            return;
        }
    }
}

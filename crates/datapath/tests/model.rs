//! The gateway against a [model](crate::rig::model) of it: whatever happens, both say the same.

use std::{cell::Cell, ops::Range, panic::catch_unwind, str::FromStr};

use proptest::{
    collection::{VecStrategy, vec},
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

use crate::{
    cases,
    rig::play::{Operation, play, tell},
};

/// How much happens in one life of a gateway.
const OPERATIONS: Range<usize> = 0..500;
/// Lives that are told from one seed.
const LIVES: u32 = 256;

fn lives() -> VecStrategy<impl Strategy<Value = Operation>> {
    vec(any::<Operation>(), OPERATIONS)
}

/// For how long a smaller life is looked for, in milliseconds.
const SHRINKING: u32 = 30_000;

fn config(lives: u32) -> Config {
    Config {
        max_shrink_time: SHRINKING,
        max_shrink_iters: u32::MAX,
        ..cases(lives)
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn whatever_happens_the_gateway_does_what_its_model_says(life in lives()) {
        play(&life);
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
        let mut runner = TestRunner::new_with_rng(config(LIVES), rng);
        let told = runner.run(&lives(), |life| {
            operations.set(operations.get() + play(&life));
            Ok(())
        });
        let agreed = operations.get();
        match told {
            Ok(()) => println!("seed {seed}: {agreed} operations agreed"),
            Err(TestError::Fail(why, life)) => {
                println!("seed {seed}, at its smallest:");
                let _ = catch_unwind(|| tell(&life));
                println!("EGRET_MODEL_LIFE={}", written(&life));
                panic!("seed {seed}, after {agreed} operations: {why}");
            }
            Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
        }
        if agreed >= wanted {
            return;
        }
    }
}

/// Tells the one life that `EGRET_MODEL_LIFE` is, as it was printed when it failed.
#[test]
#[ignore = "when one is asked for"]
fn in_the_life_that_is_asked_for_the_gateway_does_what_its_model_says() {
    let life = std::env::var("EGRET_MODEL_LIFE").expect("EGRET_MODEL_LIFE has a life");
    let life = read(&life).expect("a life is sixteen hexadecimal digits for each operation");
    tell(&life);
}

fn written(life: &[Operation]) -> String {
    let operations = life.iter().map(|it| u64::from_be_bytes(*it));
    operations.map(|it| format!("{it:016x}")).collect()
}

fn read(life: &str) -> Option<Vec<Operation>> {
    let digits = life.trim().as_bytes().chunks(16);
    let operations = digits.map(|digits| {
        let digits = std::str::from_utf8(digits).ok()?;
        let operation = u64::from_str_radix(digits, 16).ok()?;
        (digits.len() == 16).then(|| operation.to_be_bytes())
    });
    operations.collect()
}

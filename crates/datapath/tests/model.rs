//! The gateway against a [model](crate::rig::model) of it: whatever happens, both say the same.

use std::{
    cell::Cell,
    env,
    hash::{BuildHasher, RandomState},
    ops::Range,
    panic::catch_unwind,
};

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
/// Lives that are told from one seed; the first of them where the build is a slow one.
const LIVES: u32 = if cfg!(debug_assertions) { 16 } else { 128 };
/// For how long a smaller life is looked for, in milliseconds.
const SHRINKING: u32 = 30_000;

/// One seed's lives; or as many operations as `EGRET_MODEL_OPERATIONS` says, from seeds that are counted
/// from `EGRET_MODEL_SEED`; or the one life that `EGRET_MODEL_LIFE` is, as it was printed when it
/// failed. The same seed tells the same lives.
#[test]
fn whatever_happens_the_gateway_does_what_its_model_says() {
    if let Ok(life) = env::var("EGRET_MODEL_LIFE") {
        let life = read(&life).expect("a life is sixteen hexadecimal digits for each operation");
        return tell(&life);
    }
    let wanted = asked("EGRET_MODEL_OPERATIONS").unwrap_or_default();
    let other = || u64::from(RandomState::new().hash_one(0) as u32);
    let first = asked("EGRET_MODEL_SEED").unwrap_or_else(other);
    let mut agreed = 0;
    for seed in first.. {
        agreed += live(seed);
        println!("seed {seed}: {agreed} operations agreed");
        if agreed >= wanted {
            return;
        }
    }
}

fn asked(variable: &str) -> Option<u64> {
    let said = env::var(variable).ok()?;
    Some(said.parse().expect("it is a number"))
}

/// Tells the lives of a seed. Returns the number of operations; what disagrees is shown at its smallest.
fn live(seed: u64) -> u64 {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        max_shrink_time: SHRINKING,
        max_shrink_iters: u32::MAX,
        ..cases(LIVES)
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
    let operations = Cell::new(0);
    let told = TestRunner::new_with_rng(config, rng).run(&lives(), |life| {
        operations.set(operations.get() + play(&life));
        Ok(())
    });
    match told {
        Ok(()) => operations.get(),
        Err(TestError::Fail(why, life)) => {
            println!("seed {seed}, at its smallest:");
            let _ = catch_unwind(|| tell(&life));
            println!("EGRET_MODEL_LIFE={}", written(&life));
            panic!("seed {seed}: {why}");
        }
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
}

fn lives() -> VecStrategy<impl Strategy<Value = Operation>> {
    vec(any::<Operation>(), OPERATIONS)
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

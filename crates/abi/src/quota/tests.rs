//! Limits, rates and corrections of one slot.

use super::*;

const LIMITS: Limits = Limits { flows: 3, ports: 2 };

#[test]
fn a_slot_never_holds_more_than_its_limits() {
    let slot = Use::default();
    for _ in 0..2 {
        assert_eq!(slot.take(&LIMITS, Load::new(1, 1)), None);
    }

    assert_eq!(slot.take(&LIMITS, Load::new(1, 1)), Some(Exceeded::Ports));
    assert_eq!(slot.take(&LIMITS, Load::new(1, 0)), None);
    assert_eq!(slot.take(&LIMITS, Load::new(1, 0)), Some(Exceeded::Flows));

    assert_eq!(slot.picture().held(), Load::new(3, 2));
    slot.give_back(Load::new(3, 2));
    assert_eq!(slot.picture().held(), Load::default());
}

#[test]
fn threads_that_take_at_once_are_granted_the_limit_together() {
    let (slot, limits) = (
        Use::default(),
        Limits {
            flows: 1000,
            ports: 0,
        },
    );
    let granted = std::sync::atomic::AtomicU32::new(0);

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    if slot.take(&limits, Load::new(1, 1)).is_none() {
                        granted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });

    assert!(granted.into_inner() <= 1000);
    assert!(slot.picture().held().flows() <= 1000);
}

#[test]
fn a_client_begins_its_burst_at_once_and_then_its_rate() {
    let quota = Quota::NONE.with_rate(10, 50);
    let slot = Use::default();
    let begin = |tick| (0..1000).filter(|_| slot.spend(&quota, Tick(tick))).count();

    assert_eq!(begin(100), 50);
    assert_eq!(begin(100), 0);
    let later: usize = (101..1101).map(begin).sum();
    let seconds = 1000 * Tick::NANOS / 1_000_000_000;
    assert!(
        later.abs_diff(10 * seconds as usize) <= 10,
        "{later} in {seconds} s"
    );
    assert_eq!(
        begin(9999),
        50,
        "after a pause it has the whole burst again"
    );
}

#[test]
fn a_rate_without_a_burst_is_held_within_one_flow_each_tick() {
    let quota = Quota::NONE.with_rate(1, 1);
    let slot = Use::default();

    let begun = (1..=1000)
        .filter(|tick| slot.spend(&quota, Tick(*tick)))
        .count();

    assert_eq!(begun, 1000);
}

#[test]
fn what_was_never_written_allows_everything() {
    assert!(Quota::default().is_none());
    let slot = Use::default();
    for _ in 0..10 {
        assert_eq!(slot.take(&Limits::default(), Load::new(1, 1)), None);
    }
}

#[test]
fn a_correction_never_goes_below_nothing() {
    let slot = Use::default();
    slot.correct(5, 2);
    assert_eq!(slot.picture().held(), Load::new(5, 2));

    slot.correct(-9, -1);

    assert_eq!(slot.picture().held(), Load::new(0, 1));
}

#[test]
fn every_slot_that_is_tried_is_a_clients() {
    for hash in [0, 1, u64::MAX, 0x1_ffff, 0xffff_ffff] {
        for step in 0..TRIES {
            let slot = slot(hash, step) as usize;
            assert!((RULE_NUMBERS..SLOTS).contains(&slot));
        }
    }
}

//! When a segment ends, and what it is called then.

use proptest::prelude::*;

use super::*;
use crate::samples::any_time;

const POLICY: Policy = Policy {
    size: 1000,
    age: Duration::from_secs(3600),
    keep: 3,
};

fn at(seconds: u64) -> Time {
    Time::from_secs(1_800_000_000 + seconds)
}

#[test]
fn a_segment_ends_when_it_is_large() {
    let mut rotation = Rotation::new(POLICY, None, 0);

    rotation.wrote(999, at(0));
    assert!(!rotation.is_due(at(1)));
    rotation.wrote(1, at(1));
    assert!(rotation.is_due(at(1)));

    rotation.rotate(at(1));
    assert!(!rotation.is_due(at(1)));
    assert_eq!(rotation.deadline(), None);
}

#[test]
fn a_segment_ends_when_its_first_record_is_old() {
    let mut rotation = Rotation::new(POLICY, Some(at(0)), 10);

    rotation.wrote(10, at(3000));

    assert_eq!(rotation.deadline(), Some(at(3600)));
    assert!(!rotation.is_due(at(3599)));
    assert!(rotation.is_due(at(3600)));
}

#[test]
fn an_empty_segment_never_ends() {
    let rotation = Rotation::new(POLICY, None, 0);

    assert!(!rotation.is_due(Time::MAX));
}

#[test]
fn no_name_is_given_twice_even_if_the_clock_is_set_back() {
    let mut rotation = Rotation::new(POLICY, None, 0);
    rotation.named(at(50));

    let times = [at(100), at(100), at(7)].map(|now| rotation.rotate(now));

    assert_eq!(times[0], at(100));
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[test]
fn the_oldest_are_too_many() {
    assert_eq!(surplus(&[1, 2, 3, 4, 5], 3), [1, 2]);
    assert!(surplus(&[1, 2], 3).is_empty());
    assert_eq!(surplus(&[1, 2], 0), [1, 2]);
}

#[test]
fn names_of_segments_are_told_from_others() {
    let names = Names::beside("sessions.jsonl");
    let name = names.segment(at(0));

    assert_eq!(name, "sessions-20270115T080000.000000Z.jsonl");
    assert_eq!(names.ended(&name), Some(at(0)));
    for other in [
        "sessions.jsonl",
        "sessions-20270115T080000.000000Z.jsonl.index",
        "sessions-20270115T080000Z.jsonl",
        "sessions-2027-01-15T08:00:00.000000Z.jsonl",
        "sessions-yesterday.jsonl",
        "other-20270115T080000.000000Z.jsonl",
    ] {
        assert_eq!(names.ended(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn names_are_sorted_as_their_times_are(a in any_time(), b in any_time()) {
        for file in ["sessions.jsonl", "log", ".hidden"] {
            let names = Names::beside(file);
            let (first, second) = (names.segment(a), names.segment(b));
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            prop_assert_eq!(names.ended(&first), Some(a));
        }
    }
}

//! More changes than there is room for: what is left out, that it is counted, and that it is mended.

use std::collections::BTreeSet;

use proptest::prelude::*;
use replica::{FRAME_MAX, Importance, Limits, frame::Item, sender};

use super::network::{MS, Network, SECOND};

const OPENING: Importance = Importance::Opening;
const ESTABLISHED: Importance = Importance::Established;

/// A bucket whose snapshot never comes.
const NEVER_READ: u8 = 200;

fn key(number: u16) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn limits(queue: usize) -> Limits {
    Limits {
        queue,
        window: FRAME_MAX,
        transport: FRAME_MAX,
        reading: 1,
        ..Limits::default()
    }
}

/// A stream whose window is full, so that whatever changes now stays in the queue.
fn stuck(seed: u64, queue: usize, buckets: &[u8]) -> Network {
    let mut network = Network::up(seed, limits(queue), buckets);
    network.is_stalled = true;
    for number in 0.. {
        network.put((buckets[0], key(number)), vec![1; 400], ESTABLISHED);
        network.pass(6 * MS);
        if network.sender.status(network.now).queued > 0 {
            return network;
        }
    }
    network
}

/// Has nothing mended: the one bucket that may be read at a time is, and does not come.
fn unmended(network: &mut Network, buckets: &[u8]) {
    network.is_lazy = true;
    let all = buckets.iter().copied().chain([NEVER_READ]);
    network.assign(all.collect());
}

/// Numbers of keys of a bucket that the copy has.
fn held(network: &Network, bucket: u8) -> BTreeSet<u16> {
    let copy = network.copy();
    let its = copy.keys().filter(|(it, _)| *it == bucket);
    its.map(|(_, key)| u16::from_be_bytes(key[..].try_into().unwrap()))
        .collect()
}

#[test]
fn a_full_queue_keeps_established_flows_before_opening_ones_and_the_newest_of_them() {
    let mut network = stuck(1, 10, &[1, 2]);
    unmended(&mut network, &[1, 2]);
    for number in 100..120 {
        network.put((2, key(number)), vec![1], OPENING);
    }
    assert_eq!(network.sender.status(network.now).skipped, 20 - 9);
    for number in 200..250 {
        network.put((2, key(number)), vec![1], ESTABLISHED);
    }
    for number in 300..320 {
        network.put((2, key(number)), vec![1], OPENING);
    }
    network.is_stalled = false;
    network.pass(100 * MS);

    assert_eq!(held(&network, 2), (240..250).collect());
    // Whoever would take over knows that something is missing.
    assert!(network.receiver.status().complete.is_empty());
}

#[test]
fn the_newest_established_flows_go_first_once_there_is_no_room_for_all() {
    let mut network = stuck(2, 12, &[1, 2]);
    unmended(&mut network, &[1, 2]);
    network.items.clear();
    for number in 0..30 {
        network.put((2, key(number)), vec![9; 400], ESTABLISHED);
    }
    network.is_stalled = false;
    network.pass(100 * MS);

    let numbers = network.items.iter().filter_map(|item| {
        let Item::Put { bucket: 2, key, .. } = item else {
            return None;
        };
        Some(key[1])
    });
    let numbers: Vec<u8> = numbers.collect();
    assert!(numbers.len() >= 6);
    let newest: Vec<u8> = (24..30).rev().collect();
    assert_eq!(numbers[..6], newest);
}

#[test]
fn a_removal_that_was_left_out_is_mended_by_a_snapshot() {
    let mut network = Network::up(3, limits(10), &[1, 2]);
    for number in 0..5 {
        network.put((2, key(number)), vec![1], ESTABLISHED);
        network.pass(20 * MS);
    }
    network.is_stalled = true;
    for number in 0..60 {
        network.put((1, key(number)), vec![1; 400], ESTABLISHED);
        network.remove((2, key(number)));
    }
    network.pass(10 * MS);
    let status = network.sender.status(network.now);
    assert!(status.skipped > 10);
    assert!(!status.complete.contains(2), "{status:?}");
    assert_eq!(held(&network, 2).len(), 5);
    network.calm();

    assert_eq!(held(&network, 2).len(), 0);
    network.check_equal();
    assert_eq!(network.sender.status(network.now).skipped, status.skipped);
    let short = network
        .said
        .iter()
        .filter(|it| **it == sender::Happening::Short);
    assert_eq!(short.count(), 1);
    let relieved = sender::Happening::Relieved {
        skipped: status.skipped,
    };
    assert!(network.said.contains(&relieved));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_full_queue_loses_only_what_is_counted_and_is_mended_later(
        changes in prop::collection::vec((0_u8..4, 0_u16..30, 0_u8..4), 1..200),
        queue in 1_usize..40,
        seed in any::<u64>(),
    ) {
        let mut network = stuck(seed, queue, &[0, 1, 2, 3]);
        network.calm();
        let before = network.sender.status(network.now).skipped;
        unmended(&mut network, &[0, 1, 2, 3]);
        network.is_stalled = true;
        for number in 0..60 {
            network.put((0, key(number)), vec![2; 400], ESTABLISHED);
        }
        network.pass(10 * MS);
        for (bucket, number, what) in changes {
            match what {
                0 => network.remove((bucket, key(number))),
                1 => network.put((bucket, key(number)), vec![what, bucket], ESTABLISHED),
                _ => network.put((bucket, key(number)), vec![what, bucket], OPENING),
            }
        }
        network.is_stalled = false;
        network.pass(SECOND);
        let status = network.sender.status(network.now);
        let skipped = usize::try_from(status.skipped - before).unwrap();
        let (copy, wanted) = (network.copy(), network.wanted());
        let keys: BTreeSet<_> = copy.keys().chain(wanted.keys()).collect();
        let differs = keys.into_iter().filter(|key| copy.get(*key) != wanted.get(*key));
        let differs: Vec<_> = differs.collect();
        prop_assert!(differs.len() <= skipped, "{} {status:?}", differs.len());
        for (bucket, _) in differs {
            prop_assert!(!status.complete.contains(*bucket));
        }
        let incomplete = status.assigned.without(&status.complete);
        prop_assert_eq!(incomplete.len(), status.snapshots_to_do);
        prop_assert_eq!(incomplete.len() > 1, skipped > 0);
        prop_assert_eq!(network.receiver.status().complete, status.complete);

        network.calm();
        network.check_equal();
        prop_assert_eq!(network.sender.status(network.now).skipped, status.skipped);
    }
}

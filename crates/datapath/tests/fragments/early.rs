//! Fragments that come before the first one of their packet, with who holds them in the loop
//! (RFC 4787 REQ-14).

use std::time::Duration;

use abi::{
    Protocol, Reason,
    limits::{HELD_FRAME_MAX, HELD_SHARE},
};
use proptest::prelude::*;

use super::{CLIENT, REMOTE, fragments, joined, reasons, send, sketch};
use crate::{
    cases,
    rig::{
        Left, Site, Sketch,
        interrupted::process_with,
        keeper::{Keeper, record},
        site::{ARM, INSIDE, OUTSIDE, from_pool, intent, own_mac, pool, rule, tuple, usual},
        sketch::read,
        sums::transport_is_right,
    },
};

/// What left at last, and not only to come again.
fn gone(left: impl IntoIterator<Item = Left>) -> Vec<Left> {
    let mut left: Vec<_> = left.into_iter().collect();
    left.retain(|left| left.reason != Reason::FragmentHeld);
    left
}

/// Sends these one after the other, each held or let go before the next.
fn send_kept(site: &Site, keeper: &mut Keeper, ingress: u32, frames: &[Vec<u8>]) -> Vec<Left> {
    let mut left = Vec::new();
    for bytes in frames {
        left.push(site.send_bytes(ingress, bytes.clone()));
        left.extend(keeper.keep(&site.memory));
    }
    gone(left)
}

/// All orders of so few.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let longer = shorter.iter().flat_map(|order| {
        (0..count).map(|place| {
            let mut order = order.clone();
            order.insert(place, count - 1);
            order
        })
    });
    longer.collect()
}

#[test]
fn fragments_leave_translated_in_whatever_order_they_come() {
    for protocol in Protocol::PORTED {
        let parts = fragments(&sketch(protocol, 1), &[256, 512, 768]);
        for order in orders(4) {
            let (site, mut keeper) = (Site::new(usual(), 16), Keeper::default());
            let frames: Vec<_> = order.iter().map(|index| parts[*index].clone()).collect();

            let left = send_kept(&site, &mut keeper, INSIDE, &frames);

            assert_eq!(reasons(&left), [Reason::TranslatedOut; 4], "{order:?}");
            assert!(transport_is_right(&joined(&left)), "{order:?}");
            assert_eq!(keeper.tally().fragments, 0);
        }
    }
}

#[test]
fn fragments_of_answers_reach_the_client_in_whatever_order_they_come() {
    for order in orders(4) {
        let (site, mut keeper) = (Site::new(usual(), 16), Keeper::default());
        let out = site.send(INSIDE, &Sketch::first(Protocol::Udp, tuple(CLIENT, REMOTE)));
        let seen = read(&out.after.bytes).expect("such a packet").1;
        let answer = Sketch {
            to: own_mac(OUTSIDE),
            ..Sketch::answer(Protocol::Udp, seen.reversed()).payload(&[1; 1000])
        };
        let parts = fragments(&answer, &[256, 512, 768]);
        let frames: Vec<_> = order.iter().map(|index| parts[*index].clone()).collect();

        let left = send_kept(&site, &mut keeper, OUTSIDE, &frames);

        assert_eq!(reasons(&left), [Reason::TranslatedIn; 4], "{order:?}");
        assert!(transport_is_right(&joined(&left)), "{order:?}");
    }
}

/// The largest packet that there is, on a link of 1,500 bytes: every second fragment, then the others.
#[test]
fn the_largest_packet_may_leave_as_many_gaps_as_it_can() {
    let (site, mut keeper) = (Site::new(usual(), 16), Keeper::default());
    let largest = Sketch {
        payload: vec![7; 65_507],
        ..sketch(Protocol::Udp, 1)
    };
    let cuts: Vec<_> = (1..45).map(|number| number * 1480).collect();
    let parts = fragments(&largest, &cuts);
    let (even, odd) = ((0..45).step_by(2), (1..45).step_by(2));
    let frames: Vec<_> = even.chain(odd).map(|index| parts[index].clone()).collect();

    let left = send_kept(&site, &mut keeper, INSIDE, &frames);

    assert_eq!(reasons(&left), [Reason::TranslatedOut; 45]);
    // And all in reverse.
    let mut parts = fragments(&Sketch { id: 2, ..largest }, &cuts);
    parts.reverse();
    let left = send_kept(&site, &mut keeper, INSIDE, &parts);
    assert_eq!(reasons(&left), [Reason::TranslatedOut; 45]);
    assert!(transport_is_right(&joined(&left)));
}

#[test]
fn more_gaps_than_are_remembered_are_no_overlap() {
    let site = Site::new(usual(), 16);
    let cuts: Vec<_> = (1..100).map(|number| number * 8).collect();
    let parts = fragments(&sketch(Protocol::Udp, 1), &cuts);
    let frames: Vec<_> = (0..68)
        .step_by(2)
        .map(|index| parts[index].clone())
        .collect();

    let left = send(&site, &frames);

    let (last, others) = left.split_last().expect("some");
    assert!(others[..32].iter().all(Left::is_translated));
    assert_eq!(last.reason, Reason::FragmentGaps);
}

/// What no rule wants, or a rule passes, is the kernel's in whatever order it comes.
#[test]
fn fragments_of_what_is_the_kernels_are_the_kernels_in_whatever_order_they_come() {
    for order in orders(3) {
        let (site, mut keeper) = (Site::new(usual(), 16), Keeper::default());
        let passed = Sketch {
            target: tuple(CLIENT, ([10, 9, 9, 9], 53)).target,
            ..sketch(Protocol::Udp, 1)
        };
        let parts = fragments(&passed, &[256, 512]);
        let frames: Vec<_> = order.iter().map(|index| parts[*index].clone()).collect();

        let left = send_kept(&site, &mut keeper, INSIDE, &frames);

        assert_eq!(reasons(&left), [Reason::RulePass; 3], "{order:?}");
    }
}

#[test]
fn a_fragment_whose_first_one_is_refused_is_dropped_with_it() {
    let (mut nobody, mut keeper) = (usual(), Keeper::default());
    nobody.pools[0].addresses.clear();
    let site = Site::new(nobody, 16);
    let mut parts = fragments(&sketch(Protocol::Udp, 1), &[256]);
    parts.reverse();

    let left = send_kept(&site, &mut keeper, INSIDE, &parts);

    assert_eq!(reasons(&left), [Reason::PoolEmpty, Reason::Fragment]);
    assert_eq!(keeper.tally().fragments, 0);
}

#[test]
fn a_fragment_whose_first_one_does_not_come_is_given_up() {
    let (mut site, mut keeper) = (Site::new(usual(), 16), Keeper::default());
    let parts = fragments(&sketch(Protocol::Udp, 1), &[256]);
    assert_eq!(send_kept(&site, &mut keeper, INSIDE, &parts[1..]).len(), 0);
    assert_eq!(keeper.tally().fragments, 1);

    site.pass(Duration::from_secs(4));
    keeper.keep(&site.memory);

    assert_eq!((keeper.tally().fragments, keeper.tally().expired), (0, 1));
    let left = send_kept(&site, &mut keeper, INSIDE, &parts[..1]);
    assert_eq!(reasons(&left), [Reason::TranslatedOut]);
}

#[test]
fn a_fragment_too_large_to_be_held_is_dropped() {
    let site = Site::new(usual(), 16);
    let jumbo = Sketch {
        payload: vec![7; HELD_FRAME_MAX + 8],
        ..sketch(Protocol::Udp, 1)
    };
    let parts = fragments(&jumbo, &[8]);

    assert_eq!(reasons(&send(&site, &parts[1..])), [Reason::Fragment]);
    assert!(site.memory.held.borrow().is_empty());
}

/// What a sender hands over in a second is bounded; others, and whatever comes in order, do not
/// notice.
#[test]
fn a_flood_of_fragments_is_stopped_at_its_senders_share() {
    let (site, mut keeper) = (Site::new(usual(), 16), Keeper::default());
    let flood = fragments(&sketch(Protocol::Udp, 1), &[256]).swap_remove(1);
    for number in 0..100_000_u32 {
        let mut frame = datapath::native::Frame {
            bytes: flood.clone(),
            ingress: INSIDE,
        };
        frame.bytes[18..20].copy_from_slice(&(number as u16).to_be_bytes());
        frame.bytes[33] = (number >> 16) as u8;
        datapath::process(&mut frame, &site.memory);
    }

    let handed = site.memory.held.borrow().len();
    keeper.keep(&site.memory);

    assert_eq!(handed, HELD_SHARE as usize);
    let refused = site.memory.counted(Reason::FragmentsFull).packets;
    assert_eq!(refused, 100_000 - u64::from(HELD_SHARE));
    let mut other = Sketch {
        source: tuple(([10, 1, 0, 2], 1), REMOTE).source,
        ..sketch(Protocol::Udp, 9)
    };
    let left = send_kept(&site, &mut keeper, INSIDE, &fragments(&other, &[256, 512]));
    assert_eq!(reasons(&left), [Reason::TranslatedOut; 3]);
    other.id = 10;
    let mut parts = fragments(&other, &[256, 512]);
    parts.reverse();
    let left = send_kept(&site, &mut keeper, INSIDE, &parts);
    assert_eq!(reasons(&left), [Reason::TranslatedOut; 3]);
}

/// What is held comes again by a way from which nothing can be sent back by such an interface.
#[test]
fn fragments_leave_by_the_kernel_where_redirected_frames_cannot() {
    let arm = intent(
        vec![pool("web", [1], (1024, 65535))],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    );
    let site = Site::new(arm, 16);
    let entry = site.memory.interfaces.get(&ARM).expect("listed");
    site.memory.interfaces.put(ARM, entry.without_redirect());
    let target = tuple(CLIENT, ([198, 18, 2, 9], 53));
    let sketch = Sketch {
        to: own_mac(ARM),
        ..Sketch::first(Protocol::Udp, target).payload(&[3; 600])
    };
    let mut keeper = Keeper::default();
    let mut parts = fragments(&sketch, &[256]);
    parts.reverse();

    let left = send_kept(&site, &mut keeper, ARM, &parts);

    assert_eq!(reasons(&left), [Reason::KernelSends; 2]);
}

/// A fragment on one CPU, its first one on another, and the daemon on a third.
#[test]
fn a_fragment_and_its_first_one_find_each_other_wherever_they_meet() {
    let parts = fragments(&sketch(Protocol::Udp, 1), &[256]);
    for (outer, inner) in [(0, 1), (1, 0)] {
        for daemon_is_there in [false, true] {
            for place in 0.. {
                let (site, mut keeper) = (Site::new(usual(), 16), Keeper::default());
                let mut frame = datapath::native::Frame {
                    bytes: parts[outer].clone(),
                    ingress: INSIDE,
                };
                let mut left = Vec::new();
                let event = || {
                    left.push(site.send_bytes(INSIDE, parts[inner].clone()));
                    if daemon_is_there {
                        left.extend(keeper.keep(&site.memory));
                    }
                };

                if process_with(&mut frame, &site.memory, place, event).is_none() {
                    assert!(place > 5, "a packet asks more than that");
                    break;
                }

                let kept = keeper.keep(&site.memory);
                let translated = site.memory.counted(Reason::TranslatedOut).packets;
                assert_eq!(translated, 2, "{outer} {daemon_is_there} {place}");
                drop(kept);
                assert_eq!(keeper.tally().fragments, 0);
            }
        }
    }
}

/// The daemon has looked whether the first one is known, and then it comes.
#[test]
fn a_first_one_that_comes_while_the_daemon_looks_is_not_missed() {
    let (site, mut keeper) = (Site::new(usual(), 16), Keeper::default());
    let parts = fragments(&sketch(Protocol::Udp, 1), &[256]);
    site.send_bytes(INSIDE, parts[1].clone());
    let (record, bytes) = record(&site.memory).expect("handed over");

    let mut left = Vec::new();
    let between = || left.push(site.send_bytes(INSIDE, parts[0].clone()));
    let early = keeper.take_in(&site.memory, record, bytes, between);
    left.extend(early);
    left.extend(keeper.keep(&site.memory));

    assert_eq!(reasons(&left), [Reason::TranslatedOut; 2]);
}

/// A fragment to be sent: of which packet, and which of its parts.
fn mixed() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let all: Vec<_> = (0..6)
        .flat_map(|packet| (0..5).map(move |part| (packet, part)))
        .collect();
    (
        Just(all),
        prop::collection::vec((0..6_usize, 0..5_usize), 0..8),
    )
        .prop_map(|(all, again)| [all, again].concat())
        .prop_shuffle()
}

proptest! {
    #![proptest_config(cases(128))]

    /// Whatever order fragments of several packets come in, some of them twice: every packet leaves
    /// whole, from one external endpoint, and what came twice is counted as that.
    #[test]
    fn packets_leave_whole_whatever_is_mixed(order in mixed(), pauses in prop::collection::vec(any::<bool>(), 40)) {
        let (site, mut keeper) = (Site::new(usual(), 64), Keeper::default());
        let packets: Vec<_> = (0..6_u16).map(|number| {
            let protocol = Protocol::PORTED[usize::from(number) % 3];
            fragments(&sketch(protocol, number), &[200, 400, 600, 800])
        }).collect();

        let mut left = Vec::new();
        for ((packet, part), pause) in order.iter().zip(pauses.iter().cycle()) {
            left.push(site.send_bytes(INSIDE, packets[*packet][*part].clone()));
            if *pause {
                left.extend(keeper.keep(&site.memory));
            }
        }
        left.extend(keeper.keep(&site.memory));

        let left = gone(left);
        prop_assert_eq!(left.len(), order.len());
        prop_assert_eq!(keeper.tally().fragments, 0);
        for number in 0..6_u16 {
            let of_packet = |left: &&Left| left.before.bytes[18..20] == number.to_be_bytes();
            let mut whole: Vec<_> = left.iter().filter(of_packet).filter(|left| left.is_translated()).cloned().collect();
            // A first one that comes again is a new packet's: what came before it passes once more.
            whole.sort_by_key(|left| u16::from_be_bytes([left.before.bytes[20], left.before.bytes[21]]) & 0x1fff);
            whole.dedup_by_key(|left| left.before.bytes[20..22].to_vec());
            prop_assert_eq!(whole.len(), 5);
            let sources: Vec<_> = whole.iter().map(|left| left.after.bytes[26..30].to_vec()).collect();
            prop_assert!(sources.windows(2).all(|pair| pair[0] == pair[1]));
            prop_assert!(transport_is_right(&joined(&whole)));
        }
        let others = left.iter().filter(|left| !left.is_translated());
        for other in others {
            prop_assert_eq!(other.reason, Reason::FragmentOverlap);
        }
    }
}

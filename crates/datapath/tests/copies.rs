//! Flows that one gateway tells another of: the other one translates their packets as if it had begun them.

use std::time::Duration;

use abi::{Ip4, Port, Protocol, Reason};
use gateway::copies::{Any, Malformed, Outcome, Which};
use proptest::prelude::*;

use crate::{
    cases,
    rig::{
        Site, Sketch, Sketch6,
        dual::{dual, send6},
        shelves::{take_in, told},
        site::{self, INSIDE, OUTSIDE, own_mac, tuple},
        sketch::{ACK, read},
        sketch6::tuple6,
        take,
    },
};

const REMOTE: ([u8; 4], u16) = ([198, 51, 100, 4], 443);

fn client(number: u16) -> ([u8; 4], u16) {
    ([10, 1, 0, number as u8], 4000 + number)
}

fn gateway() -> Site {
    Site::new(site::usual(), 4096)
}

/// A packet as it leaves a gateway that it came to by the interface of its realm.
fn out(site: &Site, sketch: &Sketch) -> (Reason, Vec<u8>) {
    let mut frame = sketch.frame();
    let is_inside = sketch.source.0[0] == 10;
    frame.ingress = if is_inside { INSIDE } else { OUTSIDE };
    frame.bytes[..6].copy_from_slice(&own_mac(frame.ingress));
    let left = take(&site.memory, frame);
    (left.reason, left.after.bytes)
}

/// Tells one gateway of all flows of another; returns what became of each.
fn tell_all(from: &Site, to: &Site) -> Vec<Outcome> {
    told(from)
        .iter()
        .map(|told| take_in(to, told, false))
        .collect()
}

fn all_stand(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|it| *it == Outcome::Stands)
}

#[test]
fn a_gateway_that_was_told_of_flows_translates_their_packets_to_the_same_bytes() {
    let (one, other) = (gateway(), gateway());
    let mut packets = Vec::new();
    for protocol in Protocol::ALL {
        for number in 0..20 {
            let port = if protocol.is_by_address() { 0 } else { number };
            let asked = tuple(([10, 1, 0, number as u8], 4000 + port), REMOTE);
            let first = Sketch::first(protocol, asked);
            let (reason, bytes) = out(&one, &first);
            if reason != Reason::TranslatedOut {
                assert!(protocol.is_by_address(), "{protocol:?}: {reason:?}");
                continue;
            }
            let external = read(&bytes).expect("a packet").1;
            let answer = Sketch::answer(protocol, external.reversed());
            packets.extend([first, answer]);
        }
    }
    assert!(packets.len() >= 120);

    assert!(all_stand(&tell_all(&one, &other)));

    for sketch in packets {
        // Not a first packet any more: only a flow lets it through.
        let sketch = match Protocol::from_number(sketch.message.protocol()) {
            Some(Protocol::Tcp) => sketch.flags(ACK),
            _ => sketch,
        };
        let (reason, bytes) = out(&other, &sketch);
        assert!(matches!(
            reason,
            Reason::TranslatedOut | Reason::TranslatedIn
        ));
        assert_eq!((reason, bytes), out(&one, &sketch));
    }
}

#[test]
fn flows_of_clients_with_ipv6_go_on_too_towards_both_versions() {
    let (one, other) = (dual(), dual());
    let targets = [("2001:db8::4", 443), ("64:ff9b::c633:6404", 443)];
    let mut answers = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
        for target in targets {
            let target = (
                target.0,
                if protocol == Protocol::Icmp {
                    0
                } else {
                    target.1
                },
            );
            let first = Sketch6::first(protocol, tuple6(("fd01::1", 4000), target));
            let left = send6(&one, INSIDE, &first);
            assert_eq!(left.reason, Reason::TranslatedOut);
            if let Some((_, external)) = read(&left.after.bytes) {
                answers.push(Sketch::answer(protocol, external.reversed()));
            }
            assert!(all_stand(&tell_all(&one, &other)));
            let same = send6(&other, INSIDE, &first);
            assert_eq!(same.reason, left.reason);
            assert_eq!(same.after.bytes, left.after.bytes);
        }
    }
    assert_eq!(answers.len(), 3, "one of each protocol is for IPv4");
    for answer in answers {
        let (reason, bytes) = out(&other, &answer);
        assert_eq!(reason, Reason::TranslatedIn);
        assert_eq!(bytes, out(&one, &answer).1);
    }
}

/// RFC 4787 REQ-1 and REQ-8.
#[test]
fn clients_keep_their_ports_and_those_whom_they_let_in() {
    let (one, other) = (gateway(), gateway());
    let first = Sketch::first(Protocol::Udp, tuple(client(1), REMOTE));
    let external = read(&out(&one, &first).1).expect("a packet").1;
    let second = ([203, 0, 113, 9], 53);
    out(
        &one,
        &Sketch::first(Protocol::Udp, tuple(client(1), second)),
    );
    tell_all(&one, &other);

    let third = Sketch::first(Protocol::Udp, tuple(client(1), ([203, 0, 113, 10], 53)));
    let (reason, bytes) = out(&other, &third);
    let shown = read(&bytes).expect("a packet").1;
    assert_eq!(reason, Reason::TranslatedOut);
    assert_eq!(
        (shown.source, shown.source_port),
        (external.source, external.source_port)
    );
    for remote in [REMOTE.0, second.0] {
        let (_, ours) = (external.target, external.reversed());
        let calls = tuple((remote, 9999), (ours.target.0, ours.target_port.get()));
        let calls = Sketch::first(Protocol::Udp, calls);
        let (reason, bytes) = out(&one, &calls);
        assert_eq!(out(&other, &calls), (reason, bytes), "{remote:?}");
    }
}

#[test]
fn a_port_that_was_told_of_is_given_to_nobody_else() {
    let (one, other) = (gateway(), gateway());
    let mut taken = std::collections::BTreeSet::new();
    for number in 0..200 {
        let first = Sketch::first(Protocol::Tcp, tuple(client(number), REMOTE));
        let shown = read(&out(&one, &first).1).expect("a packet").1;
        taken.insert((shown.source, shown.source_port));
    }
    tell_all(&one, &other);
    for number in 0..2000 {
        let client = ([10, 3, (number / 200) as u8, (number % 200) as u8], 9000);
        let first = Sketch::first(Protocol::Tcp, tuple(client, REMOTE));
        let (reason, bytes) = out(&other, &first);
        assert_eq!(reason, Reason::TranslatedOut);
        let shown = read(&bytes).expect("a packet").1;
        assert!(taken.insert((shown.source, shown.source_port)), "{shown:?}");
    }
}

#[test]
fn what_a_gateway_serves_is_not_overwritten_by_what_it_is_told() {
    let (one, other) = (gateway(), gateway());
    let first = Sketch::first(Protocol::Tcp, tuple(client(1), REMOTE));
    out(&one, &first);
    // The other one gives this client another port.
    for number in 2..40 {
        out(
            &other,
            &Sketch::first(Protocol::Tcp, tuple(client(number), REMOTE)),
        );
    }
    let mapped = ([10, 1, 0, 1], 4001);
    let away = Sketch::first(Protocol::Tcp, tuple(mapped, ([203, 0, 113, 1], 80)));
    out(&other, &away);
    let before = out(&other, &first);
    let outcomes: Vec<Outcome> = told(&one)
        .iter()
        .map(|told| take_in(&other, told, true))
        .collect();
    let after = out(&other, &first);
    assert_eq!(before, after);
    let differs = read(&before.1).map(|it| it.1) != read(&out(&one, &first).1).map(|it| it.1);
    let expected = match differs {
        true => Outcome::Contradicted,
        false => Outcome::Stands,
    };
    assert_eq!(outcomes, [expected]);
    // One that only keeps it for another member takes that one's word.
    assert!(all_stand(&tell_all(&one, &other)));
    assert_eq!(out(&other, &first).1, out(&one, &first).1);
}

#[test]
fn a_flow_of_an_address_that_a_gateway_does_not_have_is_refused() {
    let one = gateway();
    let other = Site::new(
        site::intent(
            vec![site::pool("other", 77..=77, (1024, 65535))],
            vec![site::rule(
                "10.0.0.0/8",
                "0.0.0.0/0",
                site::from_pool("other"),
            )],
        ),
        4096,
    );
    out(
        &one,
        &Sketch::first(Protocol::Tcp, tuple(client(1), REMOTE)),
    );
    assert_eq!(tell_all(&one, &other), [Outcome::Refused]);
    assert!(other.memory.v4.flows.is_empty() && other.memory.v4.mappings.is_empty());
}

#[test]
fn what_is_told_again_changes_nothing_but_the_flags_that_were_seen() {
    let (one, mut other) = (gateway(), gateway());
    let first = Sketch::first(Protocol::Tcp, tuple(client(1), REMOTE));
    let external = read(&out(&one, &first).1).expect("a packet").1;
    tell_all(&one, &other);
    let answer = Sketch::answer(Protocol::Tcp, external.reversed());
    out(&one, &answer);
    out(
        &one,
        &Sketch::first(Protocol::Tcp, tuple(client(1), REMOTE)).flags(ACK),
    );
    tell_all(&one, &other);
    tell_all(&one, &other);
    assert_eq!(other.memory.v4.flows.len(), 2);
    assert_eq!(other.memory.v4.mappings.len(), one.memory.v4.mappings.len());
    // It is open here too: ten minutes of silence do not end it.
    other.pass(Duration::from_secs(600));
    other.sweep();
    assert_eq!(other.memory.v4.flows.len(), 2);
    assert_eq!(out(&other, &answer).0, Reason::TranslatedIn);
}

#[test]
fn bytes_that_are_no_flow_are_refused_with_what_is_wrong() {
    let site = gateway();
    out(
        &site,
        &Sketch::first(Protocol::Tcp, tuple(client(1), REMOTE)),
    );
    let (key, value) = told(&site).remove(0);
    let spoilt = |at: usize, byte: u8| {
        let mut key = key.clone();
        key[at] = byte;
        Any::read(&key, &value)
    };
    assert_eq!(spoilt(0, 5), Err(Malformed::Version(5)));
    assert_eq!(spoilt(1, 99), Err(Malformed::Protocol(99)));
    let size = value.len();
    assert_eq!(
        Any::read(&key, &value[1..]),
        Err(Malformed::Length(size - 1, size))
    );
    assert_eq!(Which::read(&[4]), Err(Malformed::Length(1, 2)));
    assert_eq!(Which::read(&key[..9]), Err(Malformed::Length(7, 12)));
    let Ok(Any::V4(copy)) = Any::read(&key, &value) else {
        panic!("it is one of IPv4");
    };
    assert_eq!(
        (copy.asked.source, copy.asked.source_port),
        (Ip4(client(1).0), Port::new(client(1).1))
    );
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_bytes_are_a_flow_that_is_written_as_they_are_or_none(
        key in proptest::collection::vec(any::<u8>(), 0..48),
        value in proptest::collection::vec(any::<u8>(), 0..64),
        version in prop_oneof![Just(4u8), Just(6)],
        protocol in prop_oneof![Just(6u8), Just(17)],
    ) {
        let mut key = key;
        if let [first, second, ..] = key.as_mut_slice() {
            (*first, *second) = (version, protocol);
        }
        key.truncate(if version == 4 { 14 } else { 38 });
        let mut value = value;
        value.truncate(if version == 4 { 34 } else { 58 });
        let written = match Any::read(&key, &value) {
            Ok(Any::V4(copy)) => Some((copy.key(), copy.value())),
            Ok(Any::V6(copy)) => Some((copy.key(), copy.value())),
            Err(_) => None,
        };
        if let Some(written) = written {
            prop_assert_eq!(written, (key, value));
        }
    }
}

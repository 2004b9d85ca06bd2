//! Frames that nobody should send: nothing panics, and every law of a frame holds for them too.

use abi::{Protocol, Reason};
use proptest::prelude::*;

use crate::cases;
use crate::rig::{
    Site, Sketch,
    laws::sound,
    site::{ARM, INSIDE, OUTSIDE, from_pool, intent, own_mac, pool, rule, tuple, usual},
    sketch::{ACK, Message, RST, SYN, read},
};

/// A site with some flows, and frames of every kind that mean something to it.
fn site_and_frames() -> (Site, Vec<(u32, Vec<u8>)>) {
    let site = Site::new(usual(), 256);
    let mut frames = Vec::new();
    for protocol in Protocol::PORTED {
        let to = |remote| {
            let port = if protocol == Protocol::Icmp { 0 } else { 443 };
            Sketch::first(protocol, tuple(([10, 1, 0, 1], 4000), (remote, port)))
        };
        let out = site.send(INSIDE, &to([198, 51, 100, 1]));
        let (_, seen) = read(&out.after.bytes).expect("still such a packet");
        let narrow = site.send(INSIDE, &to([203, 0, 113, 1]));
        let large = Sketch {
            dont_fragment: true,
            payload: vec![1; 700],
            ..to([203, 0, 113, 1])
        };
        let optional = Sketch {
            options: vec![1; 12],
            ..to([198, 51, 100, 2])
        };
        frames.extend([(INSIDE, out.before.bytes), (INSIDE, narrow.before.bytes)]);
        for sketch in [large, optional, to([198, 18, 0, 1]), to([198, 18, 1, 1])] {
            frames.push((INSIDE, site.send(INSIDE, &sketch).before.bytes));
        }
        frames.push((
            INSIDE,
            site.send(INSIDE, &to([198, 51, 100, 1]).ttl(1))
                .before
                .bytes,
        ));
        let answer = Sketch::answer(protocol, seen.reversed());
        frames.push((OUTSIDE, site.send(OUTSIDE, &answer).before.bytes));
        let stray = Sketch {
            source: abi::Ip4([198, 51, 100, 77]),
            ..answer
        };
        frames.push((OUTSIDE, site.send(OUTSIDE, &stray).before.bytes));
        frames.push((ARM, site.send(ARM, &to([198, 18, 2, 1])).before.bytes));
    }
    (site, frames)
}

#[derive(Clone, Debug)]
pub enum Damage {
    Byte(usize, u8),
    Bit(usize, u8),
    Cut(usize),
    Longer(usize),
}

pub fn damage() -> impl Strategy<Value = Damage> {
    // Headers are where damage matters: six of seven blows fall there.
    let place = prop_oneof![6 => 12..60usize, 1 => 0..800usize];
    prop_oneof![
        (place.clone(), any::<u8>()).prop_map(|(at, value)| Damage::Byte(at, value)),
        (place.clone(), 0..8u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        place.prop_map(Damage::Cut),
        (1..64usize).prop_map(Damage::Longer),
    ]
}

impl Damage {
    pub fn strike(&self, frame: &mut Vec<u8>) {
        match *self {
            Self::Byte(at, value) => {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
            }
            Self::Bit(at, bit) => {
                if let Some(byte) = frame.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Cut(at) => frame.truncate(at),
            Self::Longer(more) => frame.resize(frame.len() + more, 0xaa),
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn damaged_frames_are_handled_by_the_same_laws(
        blows in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::collection::vec(damage(), 1..4)),
            1..100,
        ),
    ) {
        let (site, frames) = site_and_frames();
        for (which, damages) in blows {
            let (ingress, mut frame) = which.get(&frames).clone();
            damages.iter().for_each(|damage| damage.strike(&mut frame));
            site.send_bytes(ingress, frame);
        }
        sound(&site.memory);
    }

    #[test]
    fn random_bytes_are_handled_by_the_same_laws(
        frames in prop::collection::vec(
            (INSIDE..=ARM, any::<bool>(), prop::collection::vec(any::<u8>(), 0..120)),
            1..60,
        ),
    ) {
        let (site, _) = site_and_frames();
        for (ingress, is_ip, mut bytes) in frames {
            if let (true, Some(front)) = (is_ip, bytes.get_mut(..15)) {
                front[..6].copy_from_slice(&own_mac(ingress));
                front[12..].copy_from_slice(&[0x08, 0x00, 0x45]);
            }
            site.send_bytes(ingress, bytes);
        }
        sound(&site.memory);
    }
}

/// Every byte of the headers set to edges, one at a time: what random blows may miss.
#[test]
fn every_byte_of_every_header_may_be_anything() {
    let (site, frames) = site_and_frames();
    for (ingress, frame) in &frames {
        for at in 0..frame.len().min(64) {
            for value in [0, 1, 0x0f, 0x44, 0x45, 0x46, 0x4f, 0x7f, 0x80, 0xfe, 0xff] {
                let mut frame = frame.clone();
                frame[at] = value;
                site.send_bytes(*ingress, frame);
            }
        }
        for length in 0..frame.len().min(80) {
            site.send_bytes(*ingress, frame[..length].to_vec());
        }
    }
    sound(&site.memory);
}

/// A packet, where it comes in, and why it leaves.
#[track_caller]
fn leaves(ingress: u32, sketch: Sketch, wanted: Reason) {
    let site = Site::new(usual(), 16);
    assert_eq!(site.send(ingress, &sketch).reason, wanted, "{sketch:?}");
}

fn outbound(protocol: Protocol) -> Sketch {
    Sketch::first(
        protocol,
        tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 443)),
    )
}

/// To an external address, by somebody who was never asked.
fn inbound(protocol: Protocol, port: u16) -> Sketch {
    Sketch::answer(
        protocol,
        tuple(([198, 51, 100, 1], 443), ([192, 0, 2, 1], port)),
    )
}

#[test]
fn what_no_rule_wants_is_the_kernels() {
    let stranger = tuple(([172, 16, 0, 1], 4000), ([198, 51, 100, 1], 443));
    for protocol in Protocol::PORTED {
        leaves(INSIDE, Sketch::first(protocol, stranger), Reason::NoRule);
        leaves(OUTSIDE, Sketch::answer(protocol, stranger), Reason::NoRule);
    }
}

#[test]
fn what_a_rule_passes_is_the_kernels() {
    let neighbour = tuple(([10, 1, 0, 1], 4000), ([10, 2, 0, 1], 443));
    for protocol in Protocol::PORTED {
        leaves(INSIDE, Sketch::first(protocol, neighbour), Reason::RulePass);
        leaves(
            INSIDE,
            Sketch::answer(protocol, neighbour),
            Reason::RulePass,
        );
    }
}

#[test]
fn flows_do_not_begin_in_the_external_realm() {
    leaves(OUTSIDE, outbound(Protocol::Udp), Reason::ExternalRealm);
    leaves(ARM, outbound(Protocol::Udp), Reason::TranslatedOut);
}

#[test]
fn what_is_for_this_host_is_the_kernels() {
    for protocol in Protocol::PORTED {
        let own = Sketch {
            target: abi::Ip4([10, 255, 255, 1]),
            ..outbound(protocol)
        };
        leaves(INSIDE, own, Reason::RulePass);
    }
}

#[test]
fn what_goes_nowhere_is_dropped() {
    let nowhere = Sketch {
        target: abi::Ip4([198, 18, 1, 1]),
        ..outbound(Protocol::Udp)
    };
    leaves(INSIDE, nowhere, Reason::NoRoute);
}

#[test]
fn what_nobody_asked_for_is_dropped() {
    leaves(OUTSIDE, inbound(Protocol::Udp, 4000), Reason::Unsolicited);
    leaves(OUTSIDE, inbound(Protocol::Icmp, 4000), Reason::Unsolicited);
    leaves(
        OUTSIDE,
        inbound(Protocol::Tcp, 4000).flags(SYN),
        Reason::Unsolicited,
    );
    let ping = Sketch::first(
        Protocol::Icmp,
        tuple(([198, 51, 100, 1], 9), ([192, 0, 2, 1], 0)),
    );
    leaves(OUTSIDE, ping, Reason::Unsolicited);
}

#[test]
fn ports_outside_the_pools_range_are_the_kernels_if_the_address_is() {
    leaves(OUTSIDE, inbound(Protocol::Tcp, 1023), Reason::NotOurPort);
    leaves(OUTSIDE, inbound(Protocol::Udp, 53), Reason::NotOurPort);
    leaves(
        OUTSIDE,
        inbound(Protocol::Tcp, 1024).flags(SYN),
        Reason::Unsolicited,
    );
    let bank = Sketch {
        target: abi::Ip4([192, 0, 2, 9]),
        ..inbound(Protocol::Udp, 30_000)
    };
    leaves(OUTSIDE, bank, Reason::Unsolicited);
}

#[test]
fn icmp_from_inside_that_asks_nothing_is_dropped() {
    let message = |kind| {
        let message = Message::Icmp {
            kind,
            id: abi::Port::new(1),
            seq: 1,
        };
        Sketch {
            message,
            ..outbound(Protocol::Icmp)
        }
    };
    for kind in [0, 9, 10, 14, 15, 17, 30, 255] {
        leaves(INSIDE, message(kind), Reason::NotAQuery);
    }
    for kind in [3, 4, 5, 11, 12] {
        leaves(INSIDE, message(kind), Reason::IcmpError);
    }
}

#[test]
fn frames_for_other_stations_are_the_kernels() {
    let site = Site::new(usual(), 16);
    let sketch = Sketch {
        to: [0x02, 9, 9, 9, 9, 9],
        ..outbound(Protocol::Udp)
    };
    for (to, wanted) in [
        ([0x02, 9, 9, 9, 9, 9], Reason::NotForUs),
        ([0xff; 6], Reason::NotForUs),
        ([0x01, 0, 0x5e, 0, 0, 1], Reason::NotForUs),
        (own_mac(INSIDE), Reason::TranslatedOut),
    ] {
        let frame = Sketch {
            to,
            ..sketch.clone()
        }
        .frame();
        assert_eq!(site.send_bytes(INSIDE, frame.bytes).reason, wanted);
    }
    // An interface that nobody told the packet path about.
    let frame = Sketch {
        to: own_mac(9),
        ..outbound(Protocol::Tcp)
    }
    .frame();
    assert_eq!(site.send_bytes(9, frame.bytes).reason, Reason::NotForUs);
}

#[test]
fn tagged_frames_and_other_protocols_are_the_kernels() {
    let site = Site::new(usual(), 16);
    let frame = Sketch {
        to: own_mac(INSIDE),
        ..outbound(Protocol::Udp)
    }
    .frame()
    .bytes;
    for (ethertype, wanted) in [
        ([0x81, 0x00], Reason::VlanTagged),
        ([0x88, 0xa8], Reason::VlanTagged),
        ([0x08, 0x06], Reason::NotIp),
        ([0x86, 0xdd], Reason::Ipv6),
        ([0x00, 0x2e], Reason::NotIp),
    ] {
        let mut frame = frame.clone();
        frame[12..14].copy_from_slice(&ethertype);
        assert_eq!(site.send_bytes(INSIDE, frame).reason, wanted);
    }
}

#[test]
fn headers_that_contradict_the_frame_are_the_kernels() {
    let site = Site::new(usual(), 16);
    let frame = Sketch {
        to: own_mac(INSIDE),
        ..outbound(Protocol::Udp)
    }
    .frame()
    .bytes;
    let edits: [(usize, &[u8]); 5] = [
        (14, &[0x55]),
        (14, &[0x44]),
        (16, &[0, 19]),
        (16, &[0xff, 0xff]),
        (14, &[0x65]),
    ];
    for (at, bytes) in edits {
        let mut frame = frame.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(site.send_bytes(INSIDE, frame).reason, Reason::Malformed);
    }
    for length in 0..14 + 20 {
        let cut = site.send_bytes(INSIDE, frame[..length].to_vec());
        assert_eq!(cut.reason, Reason::Malformed);
    }
}

#[test]
fn before_the_first_policy_everything_is_the_kernels() {
    let memory = datapath::native::Memory::new(16);
    for protocol in Protocol::PORTED {
        let left = crate::rig::take(&memory, outbound(protocol).frame());
        assert_eq!(left.reason, Reason::Unconfigured);
    }
}

#[test]
fn later_fragments_without_a_first_one_are_held_if_a_rule_wants_them_and_passed_if_not() {
    for part in [(true, 100), (false, 1), (false, 0x1fff)] {
        for protocol in Protocol::PORTED {
            let out = Sketch {
                part,
                ..outbound(protocol)
            };
            let stranger = Sketch {
                source: abi::Ip4([172, 16, 0, 1]),
                ..out.clone()
            };
            let neighbour = Sketch {
                target: abi::Ip4([10, 2, 0, 1]),
                ..out.clone()
            };
            leaves(INSIDE, out, Reason::FragmentHeld);
            leaves(INSIDE, stranger, Reason::NoRule);
            leaves(INSIDE, neighbour, Reason::RulePass);
            leaves(
                OUTSIDE,
                Sketch {
                    part,
                    ..inbound(protocol, 4000)
                },
                Reason::FragmentHeld,
            );
        }
    }
}

/// Where a rule wants everything, this host itself is not cut off from what its clients send it.
#[test]
fn parts_of_packets_for_this_host_are_the_kernels() {
    let everything = intent(
        vec![pool("web", [1], (1024, 65_535))],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    );
    let site = Site::new(everything, 16);
    let own = Sketch {
        target: abi::Ip4([10, 255, 255, 1]),
        ..outbound(Protocol::Udp)
    };
    let unreachable = Message::Icmp {
        kind: 3,
        id: abi::Port::new(0),
        seq: 0,
    };

    for sketch in [
        own.clone(),
        Sketch {
            part: (true, 0),
            ..own.clone()
        },
        Sketch {
            message: Message::Other(50),
            ..own.clone()
        },
        Sketch {
            message: unreachable,
            ..own.clone()
        },
    ] {
        assert_eq!(
            site.send(INSIDE, &sketch).reason,
            Reason::LocalDestination,
            "{sketch:?}"
        );
    }
}

#[test]
fn protocols_that_cannot_be_translated_are_dropped_where_a_rule_wants_them() {
    for number in [0, 2, 4, 33, 41, 51, 89, 255] {
        let message = Message::Other(number);
        let out = Sketch {
            message,
            ..outbound(Protocol::Udp)
        };
        let stranger = Sketch {
            source: abi::Ip4([172, 16, 0, 1]),
            ..out.clone()
        };
        leaves(INSIDE, out, Reason::Protocol);
        leaves(INSIDE, stranger, Reason::NoRule);
        leaves(
            OUTSIDE,
            Sketch {
                message,
                ..inbound(Protocol::Udp, 1)
            },
            Reason::Protocol,
        );
    }
}

#[test]
fn a_flow_that_is_not_begun_by_a_packet_that_may_is_not_begun() {
    for flags in [0, ACK, SYN | ACK, SYN | RST, RST, 1, SYN | 1, 8, 32] {
        let site = Site::new(usual(), 16);
        site.send(INSIDE, &outbound(Protocol::Tcp).flags(flags));
        assert!(
            site.memory.v4.flows.is_empty() && site.memory.v4.mappings.is_empty(),
            "{flags:#x}"
        );
    }
}

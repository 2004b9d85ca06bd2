//! What the gateway says itself: RST to segments that belong to nothing, ICMP about packets that
//! cannot go on. What each answer looks like is a law of every frame; here is when there is one.

use abi::{Ip4, Port, Protocol, Reason};
use proptest::prelude::*;

use crate::cases;
use crate::rig::{
    Site, Sketch,
    site::{INSIDE, OUTSIDE, tuple, usual},
    sketch::{ACK, FIN, Message, RST, SYN, read},
};

fn segment(inside: bool, flags: u8, seq: u32, ack: u32) -> Sketch {
    let tuple = match inside {
        true => tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 443)),
        false => tuple(([198, 51, 100, 1], 443), ([192, 0, 2, 1], 4000)),
    };
    let Sketch {
        message: Message::Tcp { source, target, .. },
        ..
    } = Sketch::first(Protocol::Tcp, tuple)
    else {
        unreachable!("a sketch of TCP is one of TCP")
    };
    Sketch {
        message: Message::Tcp {
            source,
            target,
            flags,
            seq,
            ack,
        },
        ..Sketch::first(Protocol::Tcp, tuple)
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn segments_that_belong_to_nothing_are_answered_unless_they_are_resets_or_openings(
        inside: bool,
        flags: u8,
        seq: u32,
        ack: u32,
        payload in prop::collection::vec(any::<u8>(), 0..50),
        options in 0..=10usize,
        padding in 0..20usize,
    ) {
        let site = Site::new(usual(), 16);
        let sketch = Sketch {
            payload,
            options: vec![1; 4 * options],
            padding,
            ..segment(inside, flags, seq, ack)
        };

        let left = site.send(if inside { INSIDE } else { OUTSIDE }, &sketch);

        let wanted = match (inside, flags & (SYN | ACK | RST | FIN)) {
            (true, SYN) => Reason::TranslatedOut,
            (false, control) if control & (SYN | ACK | RST) == SYN => Reason::Unsolicited,
            (_, control) if control & RST != 0 => Reason::NoFlow,
            (true | false, _) => Reason::ResetSent,
        };
        prop_assert_eq!(left.reason, wanted);
    }

    #[test]
    fn a_packet_whose_ttl_runs_out_here_is_answered_whichever_way_it_goes(
        protocol in prop::sample::select(&Protocol::PORTED[..]),
        ttl in 0..=1u8,
        payload in prop::collection::vec(any::<u8>(), 0..50),
        padding in 0..20usize,
    ) {
        let site = Site::new(usual(), 16);
        let asked = tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 0));
        let out = site.send(INSIDE, &Sketch::first(protocol, asked));
        let (_, seen) = read(&out.after.bytes).expect("still such a packet");
        let dress = |sketch| Sketch { ttl, padding, payload: payload.clone(), ..sketch };

        let out = site.send(INSIDE, &dress(Sketch::first(protocol, asked)));
        let back = site.send(OUTSIDE, &dress(Sketch::answer(protocol, seen.reversed())));

        prop_assert_eq!(out.reason, Reason::TimeExceededSent);
        prop_assert_eq!(back.reason, Reason::TimeExceededSent);
    }

    #[test]
    fn a_packet_too_big_for_the_next_link_is_answered_if_it_may_not_be_fragmented(
        protocol in prop::sample::select(&Protocol::PORTED[..]),
        length in 500..600usize,
        dont_fragment: bool,
    ) {
        let site = Site::new(usual(), 16);
        let asked = tuple(([10, 1, 0, 1], 4000), ([203, 0, 113, 1], 0));
        let sketch = Sketch { dont_fragment, ..Sketch::first(protocol, asked) };

        let left = site.send(INSIDE, &sketch.payload(&vec![7; length]));

        let header = if protocol == Protocol::Tcp { 40 } else { 28 };
        let wanted = match (header + length > 576, dont_fragment) {
            (false, _) => Reason::TranslatedOut,
            (true, true) => Reason::TooBigSent,
            (true, false) => Reason::Fragmenting,
        };
        prop_assert_eq!(left.reason, wanted);
    }
}

#[test]
fn too_big_says_how_big_it_may_be() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 4000), ([203, 0, 113, 1], 443));
    let sketch = Sketch {
        dont_fragment: true,
        ..Sketch::first(Protocol::Udp, asked)
    };

    let left = site.send(INSIDE, &sketch.payload(&[7; 600]));

    assert_eq!(left.reason, Reason::TooBigSent);
    assert_eq!(
        left.after.bytes[14 + 20 + 6..][..2],
        crate::rig::site::NARROW_MTU.to_be_bytes()
    );
}

#[test]
fn without_an_address_of_its_own_an_interface_drops_instead_of_answering() {
    let site = Site::new(usual(), 16);
    for ifindex in [INSIDE, OUTSIDE] {
        let mac = crate::rig::site::own_mac(ifindex);
        let entry = abi::Interface::new(None, mac, abi::Realm::Both);
        site.memory.interfaces.put(ifindex, entry);
    }
    let short = tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 443));
    let narrow = tuple(([10, 1, 0, 1], 4000), ([203, 0, 113, 1], 443));
    let large = Sketch {
        dont_fragment: true,
        ..Sketch::first(Protocol::Udp, narrow)
    };

    let expired = site.send(INSIDE, &Sketch::first(Protocol::Udp, short).ttl(1));
    let large = site.send(INSIDE, &large.payload(&[7; 600]));

    assert_eq!(expired.reason, Reason::TtlExceeded);
    assert_eq!(large.reason, Reason::TooBig);
}

#[test]
fn packets_with_ip_options_are_not_answered_by_icmp() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 443));
    let sketch = Sketch {
        options: vec![1; 4],
        ..Sketch::first(Protocol::Udp, asked).ttl(1)
    };

    assert_eq!(site.send(INSIDE, &sketch).reason, Reason::TtlExceeded);
}

/// RFC 5508 REQ-10d; that the class is the packet's is a law of the rig for every error of our own.
#[test]
fn an_error_of_our_own_has_the_class_of_the_packet_it_is_about() {
    let asked = tuple(([10, 1, 0, 1], 4000), ([198, 51, 100, 1], 443));
    let expiring = Sketch {
        ingress: INSIDE,
        to: crate::rig::site::own_mac(INSIDE),
        ..Sketch::first(Protocol::Udp, asked)
    }
    .ttl(1);
    // Expedited forwarding, and congestion that was met on the way.
    for (field, class) in [(0, 0), (0xbb, 0xb8), (0x03, 0), (0xe0, 0xe0)] {
        let site = Site::new(usual(), 16);
        let mut bytes = expiring.frame().bytes;
        let sum = u16::from_be_bytes([bytes[24], bytes[25]]);
        bytes[15] = field;
        bytes[24..26].copy_from_slice(&sum.wrapping_sub(field.into()).to_be_bytes());

        let left = site.send_bytes(INSIDE, bytes);

        assert_eq!(left.reason, Reason::TimeExceededSent);
        assert_eq!(left.after.bytes[15], class);
    }
}

/// An answer would go to no host or to many (RFC 1122 §3.2.1.3, §4.2.3.10).
#[test]
fn nobody_is_answered_who_is_not_one_host() {
    for source in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [255; 4],
    ] {
        let site = Site::new(usual(), 16);
        let stray = Sketch {
            source: Ip4(source),
            ..segment(false, ACK, 1, 1)
        };

        let left = site.send(OUTSIDE, &stray);

        assert_eq!(left.reason, Reason::IllegalSource, "{source:?}");
    }
}

/// The header claims to be shorter than it is, or longer than the segment.
#[test]
fn a_segment_whose_header_length_is_impossible_is_not_answered() {
    for words in [0u8, 1, 4, 15] {
        let site = Site::new(usual(), 16);
        let mut bytes = Sketch {
            to: crate::rig::site::own_mac(OUTSIDE),
            ..segment(false, ACK, 1, 1)
        }
        .frame()
        .bytes;
        bytes[14 + 20 + 12] = words << 4;

        let left = site.send_bytes(OUTSIDE, bytes);

        assert_eq!(left.reason, Reason::NoFlow, "{words}");
    }
}

/// The identifier of an echo is not a port, whatever the numbers say.
#[test]
fn an_identifier_of_zero_is_as_good_as_any() {
    let site = Site::new(usual(), 16);
    let asked = tuple(([10, 1, 0, 1], 0), ([198, 51, 100, 1], 0));
    let out = site.send(INSIDE, &Sketch::first(Protocol::Icmp, asked));
    let (_, seen) = read(&out.after.bytes).expect("still such a packet");

    let back = site.send(OUTSIDE, &Sketch::answer(Protocol::Icmp, seen.reversed()));

    let (_, got) = read(&back.after.bytes).expect("still such a packet");
    assert_eq!(got.target_port, Port::new(0));
    assert_eq!(got.target, asked.source);
}

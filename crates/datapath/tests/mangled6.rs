//! Frames of IPv6, and between the versions, that nobody should send: nothing panics, every law of a
//! frame holds, and nothing that leaves shows an address from inside.

use abi::{Address, Ip4, Ip6, Port, Prefix64, Protocol, Reason, Tuple};
use datapath::{Exit, native::Frame};
use proptest::prelude::*;

use crate::cases;
use crate::mangled::damage;
use crate::rig::{
    Left, Site, Sketch, Sketch6,
    dual::{arriving, dual_of, own_prefix, send6},
    laws::sound,
    site::{ARM, INSIDE, OUTSIDE, own_address6, own_mac, peer_mac},
    sketch::{Message, read},
    sketch6::{ip6, tuple6},
    take,
    whole::{quoted, tuple_of, whole},
};

const CLIENT: &str = "fd01::1";

/// A site of both versions with some flows, and frames of every kind that mean something to it.
fn site_and_frames() -> (Site, Vec<Frame>) {
    let site = dual_of([Prefix64::WELL_KNOWN, own_prefix()], 256, |_| ());
    let mut frames = Vec::new();
    for protocol in Protocol::PORTED {
        let port = if protocol == Protocol::Icmp { 0 } else { 443 };
        let to = |remote: Ip6| {
            let tuple = tuple6((CLIENT, 4000), ("::", port));
            Sketch6::first(
                protocol,
                Tuple {
                    target: remote,
                    ..tuple
                },
            )
        };
        let remotes = ["2001:db8:1::4", "2001:db8:12::4", "2001:db8:13::4"].map(ip6);
        let embedded = [
            [198, 51, 100, 4],
            [203, 0, 113, 4],
            [198, 18, 0, 1],
            [198, 18, 1, 1],
        ]
        .map(|address| Prefix64::WELL_KNOWN.embed(Ip4(address)));
        for remote in remotes.into_iter().chain(embedded) {
            let sketch = to(remote);
            let large = sketch.clone().payload(&[1; 1300]);
            let extended = sketch.clone().extension(0, 8).extension(60, 16);
            for sketch in [sketch.clone(), large, extended, sketch.hops(1)] {
                frames.push(arriving(INSIDE, &sketch).frame());
            }
            let parts = arriving(INSIDE, &to(remote).payload(&[2; 600])).fragments(77, &[256]);
            frames.extend(parts);
        }
        answers(&site, protocol, &to(ip6("2001:db8:1::4")), &mut frames);
        answers4(
            &site,
            protocol,
            &to(Prefix64::WELL_KNOWN.embed(Ip4([198, 51, 100, 4]))),
            &mut frames,
        );
    }
    (site, frames)
}

/// Answers to a packet that stays IPv6, and errors both ways.
fn answers(site: &Site, protocol: Protocol, sketch: &Sketch6, frames: &mut Vec<Frame>) {
    let out = send6(site, INSIDE, sketch);
    let (_, seen) = tuple_of(&out.after.bytes);
    let answer = Sketch6::answer(protocol, seen.reversed());
    let back = send6(site, OUTSIDE, &answer);
    let mut stranger = answer.clone();
    stranger.source = ip6("2001:db8:1::77");
    let about = |ingress, from: &str, left: &Left| {
        let error = Sketch6::error((1, 4, 0), ip6(from), &left.after.bytes, 200);
        arriving(ingress, &error).frame()
    };
    frames.extend([
        back.before.clone(),
        arriving(OUTSIDE, &stranger).frame(),
        about(OUTSIDE, "2001:db8:9::9", &out),
        about(INSIDE, CLIENT, &back),
    ]);
    frames.extend(arriving(OUTSIDE, &answer.payload(&[3; 600])).fragments(5, &[256]));
}

/// The same of a packet that becomes IPv4.
fn answers4(site: &Site, protocol: Protocol, sketch: &Sketch6, frames: &mut Vec<Frame>) {
    let out = send6(site, INSIDE, sketch);
    let (_, seen) = read(&out.after.bytes).expect("an IPv4 packet");
    let answer = Sketch {
        to: own_mac(OUTSIDE),
        from: peer_mac(OUTSIDE),
        ingress: OUTSIDE,
        ..Sketch::answer(protocol, seen.reversed())
    };
    let back = site.send(OUTSIDE, &answer);
    let stranger = Sketch {
        source: Ip4([198, 51, 100, 77]),
        ..answer.clone()
    };
    let large = answer.clone().payload(&[4; 1480]);
    let optional = Sketch {
        options: vec![1; 12],
        ..answer.clone()
    };
    let error = Sketch {
        to: own_mac(OUTSIDE),
        ingress: OUTSIDE,
        message: Message::IcmpError {
            kind: 3,
            code: 4,
            rest: 1400,
        },
        ..Sketch::error(3, Ip4([203, 0, 113, 77]), &out.after.bytes, 200)
    };
    let inner = Sketch6::error((2, 0, 1300), ip6(CLIENT), &back.after.bytes, 200);
    frames.extend([
        answer.frame(),
        stranger.frame(),
        large.frame(),
        optional.frame(),
    ]);
    frames.extend([error.frame(), arriving(INSIDE, &inner).frame()]);
    let parts = crate::fragments::fragments(&answer.payload(&[5; 600]), &[256]);
    let frame = |bytes| Frame {
        bytes,
        ingress: OUTSIDE,
    };
    frames.extend(parts.into_iter().map(frame));
}

/// Whether an address is a client's, or of somebody else inside; our own addresses are not.
fn is_inside(address: Ip6) -> bool {
    let is_own = [INSIDE, OUTSIDE, ARM].map(own_address6).contains(&address);
    match address.ip4() {
        Some(Ip4(bytes)) => bytes[0] == 10 && bytes[1] != 255,
        None => address.0[0] == 0xfd && !is_own,
    }
}

/// Asserts that a frame that is sent to the outside shows nobody inside.
fn shows_nobody(left: &Left) {
    let is_out = match left.exit {
        Exit::Redirect(ifindex) => ifindex == OUTSIDE,
        Exit::Transmit => left.before.ingress == OUTSIDE,
        Exit::Pass | Exit::Drop => false,
    };
    // What the sender said itself, it may be told again.
    if !is_out || left.before.ingress == OUTSIDE {
        return;
    }
    let packet = whole(&left.after.bytes).expect("what we send is whole");
    assert!(!is_inside(packet.source), "{packet:?}");
    if left.reason == Reason::ErrorTranslated
        && let Some(inner) = quoted(&packet.body)
    {
        assert!(!is_inside(inner.target), "{inner:?}");
    }
}

fn send(site: &Site, frame: Frame) {
    shows_nobody(&take(&site.memory, frame));
}

/// What is damaged below means something before.
#[test]
fn frames_that_are_not_damaged_are_translated() {
    let (site, frames) = site_and_frames();
    let count = frames.len();
    let translated = frames.into_iter().filter(|frame| {
        let left = take(&site.memory, frame.clone());
        shows_nobody(&left);
        left.is_translated() || left.reason == Reason::ErrorTranslated
    });
    assert!(translated.count() * 2 > count);
    sound(&site.memory);
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
            let mut frame = which.get(&frames).clone();
            damages.iter().for_each(|damage| damage.strike(&mut frame.bytes));
            send(&site, frame);
        }
        sound(&site.memory);
    }

    #[test]
    fn random_packets_are_handled_by_the_same_laws(
        frames in prop::collection::vec(
            (INSIDE..=ARM, 0..8u8, prop::collection::vec(any::<u8>(), 60..200)),
            1..60,
        ),
    ) {
        let (site, _) = site_and_frames();
        for (ingress, kind, mut bytes) in frames {
            bytes[..6].copy_from_slice(&own_mac(ingress));
            bytes[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
            let length = (bytes.len() - 54) as u16;
            bytes[18..20].copy_from_slice(&length.to_be_bytes());
            let targets = [Prefix64::WELL_KNOWN.embed(Ip4([198, 51, 100, 4])), ip6("2001:db8:1::4")];
            bytes[22..38].copy_from_slice(&ip6(CLIENT).0);
            bytes[38..54].copy_from_slice(&targets[usize::from(kind % 2)].0);
            bytes[20] = [0, 43, 44, 60, 58, 6, 17, 44][usize::from(kind)];
            send(&site, Frame { bytes, ingress });
        }
        sound(&site.memory);
    }
}

/// Every byte of the headers set to edges, one at a time: what random blows may miss.
#[test]
fn every_byte_of_every_header_may_be_anything() {
    let (site, frames) = site_and_frames();
    // Of each kind some: all of them take minutes.
    for frame in frames.iter().step_by(7) {
        for at in 0..frame.bytes.len().min(116) {
            for value in [0, 1, 0x2c, 0x3a, 0x45, 0x60, 0x7f, 0x80, 0xff] {
                let mut frame = frame.clone();
                frame.bytes[at] = value;
                send(&site, frame);
            }
        }
        for length in (0..frame.bytes.len().min(130)).step_by(3) {
            let mut frame = frame.clone();
            frame.bytes.truncate(length);
            send(&site, frame);
        }
    }
    sound(&site.memory);
}

/// Mapped addresses stand for IPv4 ones in our tables, and nowhere else.
#[test]
fn a_packet_with_a_mapped_address_is_the_kernels() {
    let (site, _) = site_and_frames();
    for (source, target) in [
        (CLIENT, "::ffff:198.51.100.4"),
        ("::ffff:10.1.0.1", "2001:db8:1::4"),
        ("::ffff:198.51.100.4", "::ffff:192.0.2.1"),
    ] {
        let tuple = Tuple {
            source: ip6(source),
            target: ip6(target),
            source_port: Port::new(4000),
            target_port: Port::new(443),
        };
        for ingress in [INSIDE, OUTSIDE] {
            let left = send6(&site, ingress, &Sketch6::first(Protocol::Udp, tuple));
            assert_eq!(left.reason, Reason::Malformed);
        }
    }
}

//! Packets in fragments (RFC 4787 §11, RFC 5382 §8, RFC 5508 §6): all of them are translated as the
//! first one, in whatever order they come and whatever comes between, and what overlaps is dropped.

mod early;

use std::time::Duration;

use abi::{Ip4, Protocol, Reason, limits::FRAGMENTS_MAX};

use crate::rig::{
    Left, Site, Sketch,
    site::{INSIDE, OUTSIDE, own_mac, tuple, usual},
    sketch::read,
    sums::{split, transport_is_right},
};

const CLIENT: ([u8; 4], u16) = ([10, 1, 0, 1], 4000);
const REMOTE: ([u8; 4], u16) = ([198, 51, 100, 4], 440);

/// A packet of so many bytes cut into fragments at these places, in bytes behind the IP header.
pub fn fragments(sketch: &Sketch, cuts: &[usize]) -> Vec<Vec<u8>> {
    let whole = sketch.frame().bytes;
    let (header, data) = split(&whole).expect("a packet");
    let mut edges = vec![0];
    edges.extend(cuts);
    edges.push(data.len());
    let cut = |pair: &[usize]| {
        let mut header = header.to_vec();
        let total = header.len() + pair[1] - pair[0];
        header[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        let more = u16::from(pair[1] < data.len()) << 13;
        header[6..8].copy_from_slice(&((pair[0] / 8) as u16 | more).to_be_bytes());
        header[10..12].fill(0);
        let check = !crate::rig::sums::sum(&header);
        header[10..12].copy_from_slice(&check.to_be_bytes());
        [&whole[..14], &header, &data[pair[0]..pair[1]]].concat()
    };
    edges.windows(2).map(cut).collect()
}

fn sketch(protocol: Protocol, id: u16) -> Sketch {
    let remote = if protocol == Protocol::Icmp {
        (REMOTE.0, 0)
    } else {
        REMOTE
    };
    Sketch {
        id,
        to: own_mac(INSIDE),
        ..Sketch::first(protocol, tuple(CLIENT, remote)).payload(&[0x5a; 1000])
    }
}

fn send(site: &Site, fragments: &[Vec<u8>]) -> Vec<Left> {
    let send = |bytes: &Vec<u8>| site.send_bytes(INSIDE, bytes.clone());
    fragments.iter().map(send).collect()
}

fn reasons(left: &[Left]) -> Vec<Reason> {
    left.iter().map(|left| left.reason).collect()
}

/// The packet that fragments make up.
fn joined(left: &[Left]) -> Vec<u8> {
    let mut parts: Vec<_> = left
        .iter()
        .map(|left| left.after.bytes.as_slice())
        .collect();
    parts.sort_by_key(|bytes| u16::from_be_bytes([bytes[20], bytes[21]]) & 0x1fff);
    let mut whole = parts[0][..34].to_vec();
    for part in &parts {
        whole.extend(split(part).expect("a fragment").1);
    }
    let total = (whole.len() - 14) as u16;
    whole[16..18].copy_from_slice(&total.to_be_bytes());
    whole[20..22].fill(0);
    whole
}

#[test]
fn every_fragment_leaves_from_the_same_external_endpoint() {
    for protocol in Protocol::PORTED {
        let site = Site::new(usual(), 16);

        let left = send(&site, &fragments(&sketch(protocol, 1), &[256, 512, 768]));

        assert_eq!(reasons(&left), [Reason::TranslatedOut; 4], "{protocol:?}");
        let whole = joined(&left);
        assert!(transport_is_right(&whole), "{protocol:?}");
        let seen = read(&whole).expect("such a packet").1;
        assert_eq!(seen.target, Ip4(REMOTE.0));
        assert_ne!(seen.source, Ip4(CLIENT.0));
    }
}

/// RFC 4787 REQ-14: in whatever order, once the first one is there.
#[test]
fn fragments_behind_the_first_one_may_come_in_any_order() {
    let parts = fragments(&sketch(Protocol::Udp, 1), &[256, 512, 768]);
    for order in [[0, 1, 3, 2], [0, 2, 1, 3], [0, 3, 2, 1], [0, 3, 1, 2]] {
        let site = Site::new(usual(), 16);

        let left = send(&site, &order.map(|index| parts[index].clone()));

        assert_eq!(reasons(&left), [Reason::TranslatedOut; 4], "{order:?}");
        assert!(transport_is_right(&joined(&left)));
    }
}

#[test]
fn fragments_of_answers_reach_the_client() {
    let site = Site::new(usual(), 16);
    let out = site.send(INSIDE, &Sketch::first(Protocol::Udp, tuple(CLIENT, REMOTE)));
    let seen = read(&out.after.bytes).expect("such a packet").1;
    let answer = Sketch {
        to: own_mac(OUTSIDE),
        ..Sketch::answer(Protocol::Udp, seen.reversed()).payload(&[1; 999])
    };

    for part in fragments(&answer, &[504]) {
        let left = site.send_bytes(OUTSIDE, part);
        assert_eq!(left.reason, Reason::TranslatedIn);
        assert_eq!(left.after.bytes[30..34], CLIENT.0);
    }
}

#[test]
fn a_fragment_that_overlaps_or_repeats_what_passed_is_dropped() {
    let one = fragments(&sketch(Protocol::Udp, 1), &[256, 512]);
    let other = fragments(&sketch(Protocol::Udp, 1), &[248, 520]);
    let tiny = fragments(&sketch(Protocol::Udp, 1), &[8, 512]);
    for (passed, late) in [
        (&one[..2], &one[1]),
        (&one[..2], &other[1]),
        (&one[..1], &other[1]),
        (&one[..1], &tiny[1]),
        (&one[..3], &other[2]),
    ] {
        let site = Site::new(usual(), 16);
        assert!(send(&site, passed).iter().all(Left::is_translated));

        let left = site.send_bytes(INSIDE, late.clone());

        assert_eq!(left.reason, Reason::FragmentOverlap);
    }
}

/// RFC 1858: the first fragment must have the whole transport header.
#[test]
fn a_first_fragment_without_a_whole_transport_header_begins_nothing() {
    let site = Site::new(usual(), 16);
    let parts = fragments(&sketch(Protocol::Tcp, 1), &[16]);

    assert_eq!(
        reasons(&send(&site, &parts)),
        [Reason::Fragment, Reason::FragmentHeld]
    );
    assert!(site.memory.v4.flows.is_empty());
}

/// What no rule wants, or a rule passes, stays the kernel's to the last fragment.
#[test]
fn fragments_of_what_is_the_kernels_are_the_kernels() {
    let site = Site::new(usual(), 16);
    let target = tuple(CLIENT, ([10, 9, 9, 9], 53));
    let passed = Sketch {
        target: target.target,
        ..sketch(Protocol::Udp, 1)
    };

    let left = send(&site, &fragments(&passed, &[256, 512]));

    assert_eq!(reasons(&left), [Reason::RulePass; 3]);
}

#[test]
fn an_identification_that_comes_again_is_a_new_packets() {
    let site = Site::new(usual(), 16);
    let parts = fragments(&sketch(Protocol::Udp, 1), &[256]);

    for _ in 0..2 {
        assert_eq!(reasons(&send(&site, &parts)), [Reason::TranslatedOut; 2]);
    }
}

#[test]
fn a_fragment_long_after_its_first_one_is_of_another_packet() {
    let mut site = Site::new(usual(), 16);
    let parts = fragments(&sketch(Protocol::Udp, 1), &[256]);
    assert_eq!(reasons(&send(&site, &parts[..1])), [Reason::TranslatedOut]);

    site.pass(Duration::from_secs(60));

    assert_eq!(reasons(&send(&site, &parts[1..])), [Reason::FragmentHeld]);
}

/// However many packets never end, memory stays at its bound, and what is no fragment passes.
#[test]
fn a_flood_of_first_fragments_takes_no_more_memory_than_there_is() {
    let site = Site::new(usual(), 16);
    let first = fragments(&sketch(Protocol::Udp, 1), &[256]).swap_remove(0);
    assert!(send(&site, std::slice::from_ref(&first))[0].is_translated());
    for number in 0..FRAGMENTS_MAX as u32 + 1000 {
        let mut frame = datapath::native::Frame {
            bytes: first.clone(),
            ingress: INSIDE,
        };
        frame.bytes[18..20].copy_from_slice(&(number as u16).to_be_bytes());
        frame.bytes[29] = (number >> 16) as u8;
        datapath::process(&mut frame, &site.memory);
    }

    assert_eq!(site.memory.v4.fragments.len(), FRAGMENTS_MAX);
    let plain = Sketch::first(Protocol::Udp, tuple(CLIENT, REMOTE));
    assert!(site.send(INSIDE, &plain).is_translated());
}

/// RFC 1812 §4.3.2.7: nobody is told about a later fragment.
#[test]
fn a_later_fragment_that_cannot_go_on_is_dropped_without_an_answer() {
    let site = Site::new(usual(), 16);
    let mut parts = fragments(&sketch(Protocol::Udp, 1), &[256]);
    assert!(send(&site, &parts[..1])[0].is_translated());
    let mut late = parts.swap_remove(1);
    late[22] = 1;
    late[24..26].fill(0);
    let check = !crate::rig::sums::sum(&late[14..34]);
    late[24..26].copy_from_slice(&check.to_be_bytes());

    assert_eq!(site.send_bytes(INSIDE, late).reason, Reason::TtlExceeded);
}

/// What another station's frames carry is not ours, whatever came before of it.
#[test]
fn a_later_fragment_for_another_station_is_the_kernels_as_its_first_one_was() {
    let site = Site::new(usual(), 16);
    let mut parts = fragments(&sketch(Protocol::Udp, 1), &[256]);
    for part in &mut parts {
        part[5] ^= 0x40;
    }

    assert_eq!(reasons(&send(&site, &parts)), [Reason::NotForUs; 2]);
}

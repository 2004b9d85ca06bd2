//! What no rule wants is the kernel's: it arrives as any router would have forwarded it.

use anyhow::Result;
use e2e::harness::Gateway;
use e2e::wire::{Edge, GRE, one_hop_less};
use lab::{Capture, Frame, Transport};

use crate::{A1, DB, NOBODY_INSIDE, SOON, at, count, two_arm};

/// An address that no rule names as a destination, beyond the outside router.
const ELSEWHERE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(203, 0, 113, 7);

/// Packets of all kinds, each with fields that a careless hand would change.
fn samples(source: std::net::Ipv4Addr, target: std::net::Ipv4Addr) -> Vec<(&'static str, Frame)> {
    let ack = |header: &mut etherparse::TcpHeader| {
        (header.ack, header.psh, header.acknowledgment_number) = (true, true, 77);
    };
    let samples = [
        (
            "a datagram",
            Frame::udp(at(source, 5000), at(target, 53)).payload(b"untouched"),
        ),
        (
            "a SYN",
            Frame::tcp(at(source, 5001), at(target, 80), |header| header.syn = true),
        ),
        (
            "a segment of no connection",
            Frame::tcp(at(source, 5002), at(target, 80), ack).payload(b"middle"),
        ),
        (
            "a ping",
            Frame::echo_request(source, target, 9, 1).payload(&[7; 56]),
        ),
        (
            "a GRE packet",
            Frame::new(source, target, Transport::Other(GRE)).payload(&[0; 40]),
        ),
        (
            "a packet with options",
            Frame {
                options: vec![1, 1, 1, 1],
                ..Frame::udp(at(source, 5003), at(target, 53))
            },
        ),
        (
            "a first fragment",
            Frame {
                dont_fragment: false,
                more_fragments: true,
                identification: 4711,
                ..Frame::udp(at(source, 5004), at(target, 53)).payload(&[1; 64])
            },
        ),
        (
            "a last fragment",
            Frame {
                dont_fragment: false,
                fragment_offset: 9,
                identification: 4711,
                ..Frame::new(source, target, Transport::Other(17)).payload(&[2; 32])
            },
        ),
    ];
    let numbered = (1..).zip(samples).map(|(number, (what, frame))| {
        let identification = if frame.identification == 0 {
            number
        } else {
            frame.identification
        };
        (
            what,
            Frame {
                ttl: 40 + number as u8,
                identification,
                ..frame
            },
        )
    });
    numbered.collect()
}

#[test]
fn what_no_rule_wants_is_forwarded_as_it_is_in_both_directions() -> Result<()> {
    let (site, gateway) = two_arm("untouched")?;
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    let before = count(&gateway, "no_rule")?;

    // Before the comparison, so that nothing of it waits for a neighbour.
    outside.left_since(Some(&inside), 1)?;
    inside.left_since(Some(&outside), 2)?;
    let mut checked = 0;
    for (number, (what, frame)) in (3..).zip(samples(NOBODY_INSIDE, ELSEWHERE)) {
        check(&inside, &mut outside, what, &frame, number)?;
        checked += 1;
    }
    for (number, (what, frame)) in (100..).zip(samples(ELSEWHERE, NOBODY_INSIDE)) {
        check(&outside, &mut inside, what, &frame, number)?;
        checked += 1;
    }

    println!("{checked} packets that no rule wants left as a router forwards them");
    // Each has a marker behind it.
    assert!(count(&gateway, "no_rule")? - before >= 2 * checked);
    assert_eq!(gateway.all_flows()?.total, 0);
    gateway.finish()
}

/// Whoever comes in past the translation gets no answer past it: a pod that a rule names never
/// shows its own address to the rule's destinations.
#[test]
fn a_pod_never_answers_a_target_under_its_own_address() -> Result<()> {
    let (site, gateway) = two_arm("inward")?;
    let api = site.host("api")?;
    let (inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);

    let is_answered = api.ping(A1)?;

    let left = outside.left_since(Some(&inside), 1)?;
    assert!(!is_answered);
    assert_eq!(left, []);
    assert_eq!(count(&gateway, "not_a_query")?, 1);
    gateway.finish()
}

fn check(from: &Edge, to: &mut Edge, what: &str, frame: &Frame, number: u16) -> Result<()> {
    let sent = frame.clone().between([0; 6], [0; 6]).build()?;
    from.send(frame)?;

    let left = to.left_since(Some(from), number)?;

    let packets: Vec<&[u8]> = left.iter().map(|packet| &packet.frame[14..]).collect();
    assert_eq!(
        packets,
        [one_hop_less(&sent)?.as_slice()],
        "{what} was sent as {frame:?}"
    );
    Ok(())
}

/// A tagged frame is another network's, even if the addresses in it are those of a rule: the kernel
/// gets it exactly as it came.
#[test]
fn tagged_frames_are_the_kernels() -> Result<()> {
    let (site, gateway) = two_arm("tagged")?;
    let gw = site.host("gw")?;
    let inside = Edge::inside(&site, "gw")?;
    let mut kernel = Capture::open(gw, "in0")?;
    let frame = Frame::udp(at(A1, 6000), at(DB, 53)).between(inside.here(), inside.gateway());
    let before = count(&gateway, "vlan_tagged")?;

    for tagged in [frame.clone().vlan(7), frame.clone().vlan(7).vlan(8)] {
        let sent = tagged.payload(b"tagged").build()?;
        inside.send_bytes(&sent)?;

        let received = kernel.find(SOON, |frame| (frame[12] == 0x81).then(|| frame.to_vec()))?;
        assert_eq!(received, Some(sent));
    }

    assert_eq!(count(&gateway, "vlan_tagged")? - before, 2);
    check_no_flow(&gateway)?;
    gateway.finish()
}

/// A frame for another MAC address, as a switch floods them, is not taken for ours.
#[test]
fn frames_for_others_are_not_translated() -> Result<()> {
    let (site, gateway) = two_arm("flooded")?;
    let (inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    let before = count(&gateway, "not_for_us")?;
    let frame = Frame::udp(at(A1, 6001), at(DB, 53)).between(inside.here(), [2, 0, 0, 0, 0, 0x55]);

    inside.send_bytes(&frame.build()?)?;

    assert_eq!(outside.left_since(Some(&inside), 1)?, []);
    // ARP to everybody is also for others.
    assert!(count(&gateway, "not_for_us")? > before);
    assert_eq!(gateway.all_flows()?.total, 0);
    gateway.finish()
}

/// The gateway's own traffic is not its clients'.
#[test]
fn the_gateways_own_connections_are_left_alone() -> Result<()> {
    let (site, gateway) = two_arm("own")?;
    let gw: &lab::Host = site.host("gw")?;

    let body = gw.curl("http://198.51.100.12/")?;

    assert!(body.starts_with("172.31.2.11:"), "{body}");
    assert!(site.host("a1")?.ping([172, 31, 1, 11])?);
    check_no_flow(&gateway)?;
    gateway.finish()
}

fn check_no_flow(gateway: &Gateway) -> Result<()> {
    let flows = gateway.all_flows()?;
    assert_eq!(flows.total, 0, "{flows:#?}");
    Ok(())
}

//! Translation of single frames, looked at byte by byte: what changes and what does not.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use e2e::wire::{Edge, GRE};
use lab::{Frame, Transport};

use crate::{NOBODY, NOBODY_INSIDE, at, count, ip4, is_external, two_arm};

/// IP options are carried along, and do not shift what is behind them.
#[test]
fn packets_with_options_are_translated_in_both_directions() -> Result<()> {
    let (site, gateway) = two_arm("options")?;
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    let segment = |from, to, payload: &[u8]| {
        Frame::tcp(from, to, |header| {
            (header.syn, header.sequence_number) = (true, 99)
        })
        .payload(payload)
    };

    for (number, options) in [vec![1; 4], vec![1; 24], vec![1; 40]]
        .into_iter()
        .enumerate()
    {
        let port = 7000 + number as u16;
        for frame in [
            Frame::udp(at(NOBODY_INSIDE, port), at(NOBODY, 53)).payload(b"question"),
            segment(at(NOBODY_INSIDE, port), at(NOBODY, 80), b"opening"),
            Frame::echo_request(NOBODY_INSIDE, NOBODY, port, 1).payload(b"ping"),
        ] {
            let frame = Frame {
                options: options.clone(),
                ttl: 33,
                ..frame
            };

            inside.send(&frame)?;
            let out = outside.next("the packet", |packet| packet.target == NOBODY)?;

            assert!(is_external(out.source), "{out:?}");
            assert_eq!(out.payload(), frame.payload, "{out:?}");
            assert_eq!((out.ttl, &out.options), (32, &options), "{out:?}");

            let reply = match &frame.transport {
                Transport::Udp { .. } => Frame::udp(out.to(), out.from()),
                Transport::Tcp(_) => Frame::tcp(out.to(), out.from(), |header| {
                    (header.syn, header.ack) = (true, true);
                }),
                Transport::Icmp(_) | Transport::Other(_) => {
                    let id = out.from().port();
                    let echo = etherparse::IcmpEchoHeader { id, seq: 1 };
                    let reply = etherparse::Icmpv4Type::EchoReply(echo);
                    Frame::new(NOBODY, out.source, Transport::Icmp(reply))
                }
            };
            let reply = Frame {
                options: options.clone(),
                ttl: 44,
                ..reply.payload(b"reply")
            };
            outside.send(&reply)?;
            let back = inside.next("the reply", |packet| packet.source == NOBODY)?;

            let wanted = match &frame.transport {
                Transport::Udp { .. } | Transport::Tcp(_) => at(NOBODY_INSIDE, port),
                Transport::Icmp(_) | Transport::Other(_) => at(NOBODY_INSIDE, port),
            };
            assert_eq!(back.to(), wanted, "{back:?}");
            assert_eq!((back.ttl, &back.options), (43, &options), "{back:?}");
            assert_eq!(back.payload(), b"reply", "{back:?}");
        }
    }
    gateway.finish()
}

/// A datagram without checksum has none afterwards (RFC 768), and all else is right.
#[test]
fn datagrams_without_checksum_stay_without() -> Result<()> {
    let (site, gateway) = two_arm("no-checksum")?;
    let (inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    let frame = Frame::udp(at(NOBODY_INSIDE, 7100), at(NOBODY, 53)).payload(b"unchecked");
    let mut bytes = frame.between(inside.here(), inside.gateway()).build()?;
    bytes[40..42].fill(0);

    inside.send_bytes(&bytes)?;

    let out = outside.next("the datagram", |packet| packet.target == NOBODY)?;
    assert_eq!(out.frame[40..42], [0, 0]);
    assert_eq!(out.payload(), b"unchecked");
    gateway.finish()
}

/// Everything that is in an IP header and is not ours to change stays as it was.
#[test]
fn what_is_not_translated_is_not_changed() -> Result<()> {
    let (site, gateway) = two_arm("headers")?;
    let (inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    // A first one, so that the next hop is known.
    inside.send(&Frame::udp(at(NOBODY_INSIDE, 7200), at(NOBODY, 53)))?;
    outside.next("the first datagram", |packet| packet.target == NOBODY)?;
    let frame = Frame {
        identification: 0xbeef,
        dont_fragment: false,
        ..Frame::udp(at(NOBODY_INSIDE, 7200), at(NOBODY, 53)).payload(&[0xa5; 1000])
    };
    let mut bytes = frame.between(inside.here(), inside.gateway()).build()?;
    // DSCP EF and ECN CE; the checksum is one's complement, so the word is taken from it.
    bytes[15] = 0xbb;
    let checksum = u32::from(u16::from_be_bytes([bytes[24], bytes[25]])) + 0xffff - 0xbb;
    let checksum = ((checksum & 0xffff) + (checksum >> 16)) as u16;
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    lab::verify_checksums(&bytes)?;

    inside.send_bytes(&bytes)?;

    let out = outside.next("the datagram", |packet| packet.target == NOBODY)?;
    assert_eq!(out.frame[14..22], bytes[14..22], "version to flags");
    assert_eq!(out.frame[22], bytes[22] - 1, "TTL");
    assert_eq!(out.frame[36..40], bytes[36..40], "target port and length");
    assert_eq!(out.payload(), [0xa5; 1000]);
    assert_eq!(out.frame.len(), bytes.len());
    gateway.finish()
}

/// A packet in fragments is translated whole; a fragment without its first one does not leave before
/// that has come, because it would be untranslated.
#[test]
fn fragments_follow_their_first_one_whatever_comes_first() -> Result<()> {
    let (site, gateway) = two_arm("fragments")?;
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    let first = |frame: Frame| Frame {
        more_fragments: true,
        dont_fragment: false,
        ..frame
    };
    let later = |source, target| Frame {
        dont_fragment: false,
        fragment_offset: 8,
        ..Frame::new(source, target, Transport::Other(17)).payload(&[9; 24])
    };

    inside.send(&later(NOBODY_INSIDE, NOBODY))?;
    let early = outside.left_since(Some(&inside), 1)?;
    inside.send(&first(
        Frame::udp(at(NOBODY_INSIDE, 7300), at(NOBODY, 53)).payload(&[1; 56]),
    ))?;
    let one = outside.next("the first one", |packet| packet.target == NOBODY)?;
    let other = outside.next("the other", |packet| packet.target == NOBODY)?;
    let flows = gateway.all_flows()?.flows;
    let [flow] = flows.as_slice() else {
        bail!("one flow: {flows:#?}")
    };
    let external = ip4(flow.external);
    outside.send_all(&[
        first(Frame::udp(at(NOBODY, 53), external).payload(&[1; 56])),
        later(NOBODY, one.source),
    ])?;
    let back = inside.next("the first one back", |packet| packet.source == NOBODY)?;
    let rest = inside.next("the rest", |packet| packet.source == NOBODY)?;

    assert_eq!(early, []);
    assert!(is_external(one.source));
    assert_eq!(other.source, one.source);
    assert_eq!((back.target, rest.target), (NOBODY_INSIDE, NOBODY_INSIDE));
    assert_eq!(count(&gateway, "fragment_held")?, 1);
    gateway.finish()
}

/// What cannot be translated does not leave with the pod's address on it.
#[test]
fn protocols_that_cannot_be_translated_are_dropped_and_counted() -> Result<()> {
    let (site, gateway) = two_arm("protocols")?;
    let (inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    let other =
        |protocol| Frame::new(NOBODY_INSIDE, NOBODY, Transport::Other(protocol)).payload(&[0; 40]);
    const IPIP: u8 = 4;
    const DCCP: u8 = 33;
    const UDP_LITE: u8 = 136;

    inside.send_all(&[other(IPIP), other(DCCP), other(UDP_LITE)])?;

    assert_eq!(outside.left_since(Some(&inside), 1)?, []);
    assert_eq!(count(&gateway, "protocol")?, 3);
    gateway.finish()
}

/// Whoever is first has its own address, the next one the pool's other, and there are no more: of what has
/// no ports, a remote's answers could not be told apart.
#[test]
fn protocols_without_ports_are_translated_by_address_both_ways() -> Result<()> {
    let (site, gateway) = two_arm("by-address")?;
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    const ESP: u8 = 50;
    const SCTP: u8 = 132;
    let clients = [97, 98, 99].map(|last| Ipv4Addr::new(10, 1, 0, last));
    for protocol in [GRE, ESP, SCTP] {
        let of = |source, target, byte| {
            Frame::new(source, target, Transport::Other(protocol)).payload(&[byte; 40])
        };
        let mut seen = Vec::new();
        for client in &clients[..2] {
            inside.send(&of(*client, NOBODY, 7))?;
            let out = outside.next("the packet", |packet| packet.target == NOBODY)?;
            assert_eq!((out.payload(), out.ttl), (&[7; 40][..], 63), "{protocol}");
            assert!(is_external(out.source), "{out:?}");
            assert!(!seen.contains(&out.source), "{protocol}: {out:?}");
            seen.push(out.source);

            outside.send(&of(NOBODY, out.source, 7))?;
            let back = inside.next("the answer", |packet| packet.source == NOBODY)?;
            assert_eq!((back.target, back.payload()), (*client, &[7; 40][..]));
        }

        inside.send(&of(clients[2], NOBODY, 7))?;
        assert_eq!(outside.left_since(Some(&inside), protocol.into())?, []);
    }
    assert_eq!(count(&gateway, "no_spare_address")?, 3);
    gateway.finish()
}

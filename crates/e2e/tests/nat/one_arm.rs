//! One interface for both realms: what came in by it leaves by it.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use e2e::harness::Gateway;
use e2e::wire::{Body, Edge, one_hop_less};
use lab::{Frame, Site, Topology};

use crate::{NOBODY, NOBODY_INSIDE, POLICY, at, count, is_external, name, site};

fn one_arm(test: &str) -> Result<(Site, Gateway, Edge)> {
    let site = site(Topology::one_arm(&name(test)))?;
    let gateway = Gateway::launch(site.host("gw")?, POLICY)?;
    let edge = Edge::only(&site, "gw")?;
    Ok((site, gateway, edge))
}

#[test]
fn a_packet_is_translated_out_and_its_reply_back_by_the_same_interface() -> Result<()> {
    let (_site, gateway, mut edge) = one_arm("arm-both")?;
    let client = at(NOBODY_INSIDE, 9000);

    edge.send(&Frame::udp(client, at(NOBODY, 53)).payload(b"out"))?;
    let out = edge.next("the packet", |packet| packet.target == NOBODY)?;
    edge.send(&Frame::udp(out.to(), out.from()).payload(b"back"))?;
    let back = edge.next("the reply", |packet| packet.source == NOBODY)?;

    assert!(is_external(out.source), "{out:?}");
    assert_eq!((out.payload(), back.payload()), (&b"out"[..], &b"back"[..]));
    assert_eq!(back.to(), client);
    assert_eq!(gateway.all_flows()?.total, 1);
    gateway.finish()
}

#[test]
fn strays_are_reset_and_outsiders_get_nothing() -> Result<()> {
    let (_site, gateway, mut edge) = one_arm("arm-strays")?;
    let pool = Ipv4Addr::new(192, 0, 2, 10);
    let (inside, outside) = (at(NOBODY_INSIDE, 9100), at(NOBODY, 80));
    let ack = |header: &mut etherparse::TcpHeader| {
        (header.ack, header.acknowledgment_number) = (true, 600);
    };

    for (sender, target) in [(inside, outside), (outside, at(pool, 40_000))] {
        edge.send(&Frame::tcp(sender, target, ack))?;
        let reset = edge.next("a reset", |packet| packet.to() == sender)?;
        let header = reset.tcp().context("a segment")?;
        assert!(header.rst && header.sequence_number == 600, "{header:?}");
        assert_eq!(reset.from(), target);
    }
    edge.forget()?;
    edge.send_all(&[
        Frame::udp(outside, at(pool, 40_001)),
        Frame::tcp(outside, at(pool, 40_001), |header| header.syn = true),
        Frame::echo_request(NOBODY, pool, 1, 1),
    ])?;

    assert_eq!(edge.left_since(None, 1)?, []);
    assert_eq!(
        (
            count(&gateway, "reset_sent")?,
            count(&gateway, "unsolicited")?
        ),
        (2, 3)
    );
    gateway.finish()
}

#[test]
fn the_last_hop_is_told_and_what_no_rule_wants_goes_on() -> Result<()> {
    let (_site, gateway, mut edge) = one_arm("arm-rest")?;
    let last_hop = Frame {
        ttl: 1,
        ..Frame::udp(at(NOBODY_INSIDE, 9200), at(NOBODY, 53))
    };
    let unwanted = Frame::udp(
        at(NOBODY_INSIDE, 9201),
        at(Ipv4Addr::new(203, 0, 113, 7), 53),
    );

    edge.send(&last_hop)?;
    let error = edge.next("the error", |packet| {
        matches!(packet.body, Body::Icmp { kind: 11, .. })
    })?;
    edge.send(&unwanted)?;
    let left = edge.left_since(None, 2)?;

    assert_eq!(error.source, Ipv4Addr::new(172, 31, 1, 11));
    assert_eq!(error.target, NOBODY_INSIDE);
    let sent = unwanted.between([0; 6], [0; 6]).build()?;
    let left: Vec<&[u8]> = left.iter().map(|packet| &packet.frame[14..]).collect();
    assert_eq!(left, [one_hop_less(&sent)?.as_slice()]);
    gateway.finish()
}

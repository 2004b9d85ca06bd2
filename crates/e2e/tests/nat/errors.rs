//! What the gateway tells senders: that a packet's hops are used up, and that it is too big.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::harness::wait_for;
use e2e::wire::{Body, Edge};
use lab::{Direction, Frame, Host, Transfer};

use crate::{A1, DB, NOBODY, SOON, at, count, is_external, two_arm};

/// The gateway's own address on its internal side.
const GATEWAY_INSIDE: &str = "172.31.1.11";

#[test]
fn a_traceroute_sees_the_gateway() -> Result<()> {
    let (site, gateway) = two_arm("ttl")?;
    let pod = site.host("a1")?;

    let first_hop = ping(pod, &["-t", "1"])?;
    let second_hop = ping(pod, &["-t", "2"])?;

    assert!(first_hop.contains("From 10.1.0.1 "), "{first_hop}");
    let expected = format!("From {GATEWAY_INSIDE} icmp_seq=1 Time to live exceeded");
    assert!(second_hop.contains(&expected), "{second_hop}");
    assert_eq!(count(&gateway, "time_exceeded_sent")?, 1);
    gateway.finish()
}

/// The error quotes the packet as its sender knows it, in both directions (RFC 5508 REQ-3).
#[test]
fn an_error_quotes_the_packet_as_it_was_sent() -> Result<()> {
    let (site, gateway) = two_arm("quotes")?;
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    let from = at(A1, 8200);
    inside.send(&Frame::udp(from, at(NOBODY, 53)).payload(b"?"))?;
    let sent = outside.next("the datagram", |packet| packet.target == NOBODY)?;

    for (edge, frame) in [
        (
            &mut inside,
            Frame {
                ttl: 1,
                ..Frame::udp(from, at(NOBODY, 53)).payload(&[3; 100])
            },
        ),
        (
            &mut outside,
            Frame {
                ttl: 1,
                ..Frame::udp(sent.to(), sent.from()).payload(&[4; 100])
            },
        ),
    ] {
        edge.send(&frame)?;

        let is_error = |kind| move |packet: &e2e::wire::Packet| matches!(packet.body, Body::Icmp { kind: found, .. } if found == kind);
        let error = edge.next("the error", is_error(11))?;
        assert_eq!(error.target, frame.source);
        let quoted = frame.between([0; 6], [0; 6]).build()?;
        // Its IP header and eight bytes of what is behind (RFC 792).
        assert_eq!(error.payload()[..28], quoted[14..42], "{error:?}");
    }
    gateway.finish()
}

#[test]
fn a_packet_that_is_too_big_is_answered_with_the_mtu() -> Result<()> {
    let (site, gateway) = two_arm("mtu")?;
    let (pod, gw) = (site.host("a1")?, site.host("gw")?);
    // The flow is there before its link shrinks: what it remembers of the link must not outlive it.
    assert!(pod.ping(DB)?);

    gw.ip("link set out0 mtu 1400")?;
    let told = wait_for(SOON, "the pod is told the MTU", || {
        let output = ping(pod, &["-M", "do", "-s", "1376"])?;
        Ok(output.contains("mtu = 1400").then_some(output))
    })?;

    let expected = format!("From {GATEWAY_INSIDE} icmp_seq=1 Frag needed and DF set (mtu = 1400)");
    assert!(told.contains(&expected), "{told}");
    assert!(count(&gateway, "too_big_sent")? > 0);
    gateway.finish()
}

/// An established connection learns of a smaller link, as by any router: nothing of it is lost.
#[test]
fn a_connection_adapts_to_a_link_that_shrinks() -> Result<()> {
    let (site, gateway) = two_arm("shrinks")?;
    let (pod, gw) = (site.host("a1")?, site.host("gw")?);
    let transfer = Transfer::start(pod, at(DB, 9000), Direction::Upload, Some(4 << 20))?;
    wait_for(SOON, "the transfer moves", || {
        Ok((transfer.bytes() > 1 << 20).then_some(()))
    })?;

    gw.ip("link set out0 mtu 1300")?;
    let before = transfer.bytes();
    wait_for(SOON, "the transfer goes on", || {
        Ok((transfer.bytes() > before + (8 << 20)).then_some(()))
    })?;
    let received = transfer.finish()?;

    println!(
        "a link shrank under a transfer: longest stall {:?}",
        received.longest_stall
    );
    assert_eq!(received.wrong_at, None);
    assert!(
        received.longest_stall < Duration::from_secs(1),
        "{received:?}"
    );
    assert!(count(&gateway, "too_big_sent")? > 0);
    gateway.finish()
}

#[test]
fn a_packet_that_may_be_fragmented_arrives_in_fragments_and_translated() -> Result<()> {
    let (site, gateway) = two_arm("fragmenting")?;
    let (inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);
    site.host("gw")?.ip("link set out0 mtu 1400")?;
    // A small one first, so that the next hop is known.
    inside.send(&Frame::udp(at(A1, 8300), at(NOBODY, 53)))?;
    outside.next("the small one", |packet| packet.target == NOBODY)?;
    let payload: Vec<u8> = (0..1450_u32).map(|byte| byte as u8).collect();
    let frame = Frame {
        dont_fragment: false,
        identification: 1234,
        ..Frame::udp(at(A1, 8300), at(NOBODY, 53)).payload(&payload)
    };

    inside.send(&frame)?;
    let first = outside.next("the first fragment", |packet| packet.target == NOBODY)?;
    let last = outside.next("the last fragment", |packet| packet.target == NOBODY)?;

    let is_piece = |packet: &e2e::wire::Packet| packet.frame.len() <= 1414;
    assert!(is_piece(&first) && is_piece(&last), "{first:?} {last:?}");
    assert!(first.more_fragments && !last.more_fragments);
    assert!(is_external(first.source) && first.source == last.source);
    // Put together again they are a datagram with a right checksum, as its target will check it.
    let body = [first.payload(), last.payload()].concat();
    assert_eq!(usize::from(last.fragment_offset) * 8, first.payload().len());
    assert_eq!(body[8..], payload);
    let source = at(first.source, u16::from_be_bytes([body[0], body[1]]));
    let whole = Frame::udp(source, at(NOBODY, 53))
        .payload(&payload)
        .build()?;
    assert_eq!(body, whole[34..]);
    assert_eq!(count(&gateway, "fragmenting")?, 1);
    gateway.finish()
}

/// Pings once, for what it prints and not for an answer.
fn ping(pod: &Host, options: &[&str]) -> Result<String> {
    let mut command = Command::new("ping");
    command
        .args(["-n", "-c", "1", "-W", "2"])
        .args(options)
        .arg(DB.to_string());
    let output = pod.run(command).context("cannot run ping")?;
    Ok(String::from_utf8(output.stdout)?)
}

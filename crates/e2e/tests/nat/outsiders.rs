//! Packets that belong to nothing: who gets a reset, who gets silence, and what never passes.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::harness::wait_for;
use e2e::wire::Edge;
use etherparse::TcpHeader;
use lab::{Direction, Frame, Transfer};

use crate::{A1, API, DB, POLICY, SOON, at, count, ip4, of_client, two_arm};

const POOL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// A segment of the middle of a connection.
fn ack(header: &mut TcpHeader) {
    (header.ack, header.sequence_number) = (true, 1_000);
    header.acknowledgment_number = 5_000;
}

/// The end of a connection that nobody has begun, without ACK.
fn fin(header: &mut TcpHeader) {
    (header.fin, header.sequence_number) = (true, 2_000);
}

fn rst(header: &mut TcpHeader) {
    (header.rst, header.sequence_number) = (true, 3_000);
}

fn syn(header: &mut TcpHeader) {
    (header.syn, header.sequence_number) = (true, 4_000);
}

#[test]
fn segments_of_no_connection_are_reset_on_both_sides() -> Result<()> {
    let (site, gateway) = two_arm("resets")?;
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);

    for (edge, sender, target) in [
        (&mut inside, at(A1, 8000), at(DB, 80)),
        (&mut outside, at(DB, 80), at(POOL, 40_000)),
    ] {
        // RFC 9293 §3.10.7.1: with ACK the reset takes its number, without it acknowledges.
        edge.send(&Frame::tcp(sender, target, ack).payload(b"data"))?;
        let reset = edge.next("a reset", |packet| packet.to() == sender)?;
        assert_eq!(reset.from(), target);
        let header = reset.tcp().context("a segment")?;
        assert!(header.rst && !header.ack && !header.syn, "{header:?}");
        assert_eq!(header.sequence_number, 5_000);

        edge.send(&Frame::tcp(sender, target, fin).payload(b"bye"))?;
        let reset = edge.next("a reset", |packet| packet.to() == sender)?;
        let header = reset.tcp().context("a segment")?;
        assert!(header.rst && header.ack, "{header:?}");
        assert_eq!(header.acknowledgment_number, 2_000 + 3 + 1);
    }

    println!(
        "{} segments of no connection were reset",
        count(&gateway, "reset_sent")?
    );
    assert_eq!(count(&gateway, "reset_sent")?, 4);
    assert_eq!(gateway.all_flows()?.total, 0);
    gateway.finish()
}

#[test]
fn a_reset_of_no_connection_is_answered_by_silence() -> Result<()> {
    let (site, gateway) = two_arm("reset-reset")?;
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);

    inside.send(&Frame::tcp(at(A1, 8100), at(DB, 80), rst))?;
    let out = outside.left_since(Some(&inside), 1)?;
    outside.send(&Frame::tcp(at(DB, 80), at(POOL, 40_100), rst))?;
    let back = inside.left_since(Some(&outside), 2)?;

    assert_eq!((out, back), (vec![], vec![]));
    assert_eq!(inside.left_since(Some(&outside), 3)?, []);
    assert_eq!(count(&gateway, "no_flow")?, 2);
    assert_eq!(count(&gateway, "reset_sent")?, 0);
    gateway.finish()
}

#[test]
fn what_nobody_inside_asked_for_is_dropped() -> Result<()> {
    let (site, gateway) = two_arm("unsolicited")?;
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);

    outside.send_all(&[
        Frame::udp(at(DB, 53), at(POOL, 41_000)).payload(b"surprise"),
        Frame::tcp(at(DB, 80), at(POOL, 41_000), syn),
        Frame::echo_request(DB, POOL, 1, 1),
    ])?;

    assert_eq!(inside.left_since(Some(&outside), 1)?, []);
    assert_eq!(
        outside.left_since(Some(&inside), 2)?,
        [],
        "nobody gets an answer"
    );
    assert_eq!(count(&gateway, "unsolicited")?, 3);
    gateway.finish()
}

/// Filtering is by the remote's address unless the pool says otherwise.
#[test]
fn only_whom_a_pod_talks_to_may_answer() -> Result<()> {
    let (site, gateway) = two_arm("filtering")?;
    let pod = site.host("a1")?;
    pod.ask(at(DB, 53), b"?")?;
    let external = ip4(gateway.only_flow(&of_client(A1))?.external);
    let (mut inside, mut outside) = (Edge::inside(&site, "gw")?, Edge::outside(&site, "gw")?);

    outside.send(&Frame::udp(at(API, 53), external).payload(b"another host"))?;
    let strangers = inside.left_since(Some(&outside), 1)?;
    outside.send(&Frame::udp(at(DB, 54), external).payload(b"another port"))?;
    let known = inside.next("what the same host says", |packet| packet.source == DB)?;

    assert_eq!(strangers, []);
    assert_eq!(known.payload(), b"another port");
    assert_eq!(known.target, A1);
    assert_eq!(count(&gateway, "filtered")?, 1);
    outside.forget()?;
    gateway.finish()
}

/// A connection that the kernel forwarded untranslated, and that a rule wants from now on, is reset
/// at once: it must not go on under the pod's address, and its client must not hang.
#[test]
fn a_connection_of_before_the_rule_is_reset() -> Result<()> {
    let (site, gateway) = two_arm("before")?;
    gateway.apply("pools: []\nrules: []\n")?;
    let pod = site.host("a1")?;
    let transfer = Transfer::start(pod, at(API, 9000), Direction::Upload, Some(1 << 20))?;
    wait_for(SOON, "the transfer moves", || {
        Ok((transfer.bytes() > 1 << 18).then_some(()))
    })?;
    assert_eq!(gateway.all_flows()?.total, 0);

    gateway.apply(POLICY)?;

    wait_for(Duration::from_secs(2), "the client hears of it", || {
        Ok(transfer.has_failed().then_some(()))
    })?;
    let error = transfer.finish().expect_err("the connection was reset");
    println!("{error}");
    assert!(count(&gateway, "reset_sent")? > 0);
    gateway.finish()
}

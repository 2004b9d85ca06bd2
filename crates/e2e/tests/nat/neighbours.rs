//! Next hops whose MAC address is not known, not known any more, or another one than before.

use std::time::Duration;

use anyhow::Result;
use e2e::harness::wait_for;
use lab::{Direction, Host, Transfer};

use crate::{A1, DB, SOON, at, count, of_client, two_arm};

/// Bytes a second of the transfers that go on during a change.
const RATE: u64 = 4 << 20;

/// Time is not to be lost while a neighbour is asked: not even a segment.
const STALL_MAX: Duration = Duration::from_millis(500);

#[test]
fn the_first_packet_towards_an_unknown_neighbour_is_not_lost() -> Result<()> {
    let (site, gateway) = two_arm("unresolved")?;
    let (pod, gw) = (site.host("a1")?, site.host("gw")?);

    for round in 1..=3 {
        // The gateway knows nobody any more, as just after it was started.
        gw.ip("neigh flush all")?;
        assert_eq!(gw.ip("neigh show")?.matches("lladdr").count(), 0);
        let before = count(&gateway, "unresolved")?;

        assert!(pod.ping(DB)?, "ping {round} was lost");
        gw.ip("neigh flush all")?;
        pod.ask(at(DB, 53), b"one datagram, no second try")?;

        let unresolved = count(&gateway, "unresolved")? - before;
        assert!(
            unresolved >= 2,
            "{unresolved} packets met an unknown neighbour"
        );
    }
    gateway.finish()
}

#[test]
fn a_transfer_goes_on_when_neighbours_are_forgotten() -> Result<()> {
    let (site, gateway) = two_arm("flushed")?;
    let gw = site.host("gw")?;
    let transfer = started(site.host("a1")?)?;
    let before = count(&gateway, "unresolved")?;

    for _ in 0..3 {
        gw.ip("neigh flush all")?;
        moves_on(&transfer)?;
        wait_for(SOON, "the neighbour is known again", || {
            Ok(gw
                .ip("neigh show 172.31.2.1")?
                .contains("lladdr")
                .then_some(()))
        })?;
    }

    assert!(count(&gateway, "unresolved")? > before);
    finish(transfer, "neighbours were forgotten three times")?;
    gateway.finish()
}

/// A router that is replaced has another MAC address, and says so.
#[test]
fn a_transfer_follows_a_neighbour_to_another_mac_address() -> Result<()> {
    let (site, gateway) = two_arm("moved")?;
    let outside = site.host("outside")?;
    // An announcement of the new address, as every router sends it (RFC 5227 §3).
    outside.sysctl("ipv4/conf/gateways/arp_notify", "1")?;
    let transfer = started(site.host("a1")?)?;

    for number in 1..=3 {
        outside.ip(&format!(
            "link set gateways address 02:aa:00:00:00:0{number}"
        ))?;
        moves_on(&transfer)?;
    }

    let received = finish(transfer, "the next hop's MAC address changed three times")?;
    assert!(received < Duration::from_secs(1), "{received:?}");
    assert_eq!(gateway.flows(&of_client(A1))?.total, 1);
    gateway.finish()
}

fn started(pod: &Host) -> Result<Transfer> {
    let transfer = Transfer::start(pod, at(DB, 9000), Direction::Upload, Some(RATE))?;
    moves_on(&transfer)?;
    Ok(transfer)
}

/// Waits until another MiB has gone.
fn moves_on(transfer: &Transfer) -> Result<()> {
    let before = transfer.bytes();
    wait_for(SOON, "the transfer goes on", || {
        anyhow::ensure!(!transfer.has_failed(), "the transfer broke");
        Ok((transfer.bytes() > before + (1 << 20)).then_some(()))
    })
}

fn finish(transfer: Transfer, what: &str) -> Result<Duration> {
    let received = transfer.finish()?;
    println!("{what}: longest stall {:?}", received.longest_stall);
    assert_eq!(received.wrong_at, None);
    assert!(received.longest_stall <= STALL_MAX, "{received:?}");
    Ok(received.longest_stall)
}

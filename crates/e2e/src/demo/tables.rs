//! What the gateway says of itself, while a long transfer runs.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use api::http::{FlowState, FlowsQuery, Protocol};
use lab::{Direction, Site, Transfer};

use super::Narrator;
use super::passing::is_one_of;
use super::stage::{Database, TEAM_A};
use crate::harness::{Gateway, wait_for};

/// Bytes a second of the transfer: slow enough that it never waits for a core of its own.
const RATE: u64 = 10_000_000;

/// Bytes that show that it runs.
const BYTES_MIN: u64 = 1_000_000;

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(5);

/// An external address and a port of it that nobody uses.
const STRANGER_WANTS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 20), 60_000);

/// Returns the transfer, which still runs.
pub(super) fn show(site: &Site, gateway: &Gateway, narrator: &mut Narrator) -> Result<Transfer> {
    let db = Database::of(site)?;
    narrator.act("A long transfer, and what the gateway says meanwhile")?;
    let transfer = Transfer::start(
        site.host("a1")?,
        db.stream(),
        Direction::Download,
        Some(RATE),
    )?;
    narrator.claim("a1 downloads from db", || {
        wait_for(LIMIT, "a megabyte arrives", || {
            Ok((transfer.bytes() > BYTES_MIN).then_some(()))
        })?;
        Ok(format!(
            "{} MB/s, for as long as it takes",
            RATE / 1_000_000
        ))
    })?;
    narrator.claim("its flow is listed", || {
        let flow = gateway.only_flow(&FlowsQuery {
            client: Some(transfer.local().to_string()),
            remote: Some(db.stream().to_string()),
            ..FlowsQuery::default()
        })?;
        ensure!(
            is_one_of(flow.external.address, &TEAM_A),
            "it leaves as {}",
            flow.external
        );
        ensure!(
            flow.state == FlowState::Established,
            "it is {}",
            flow.state.label()
        );
        Ok(format!("{} leaves as {}", flow.client, flow.external))
    })?;
    narrator.printed("egret flows", &gateway.egret(&["flows"])?);

    narrator.claim("a port is in use for every flow, and no other", || {
        wait_for(LIMIT, "ports and flows agree", || ports(gateway))
    })?;
    narrator.printed("egret pools", &gateway.egret(&["pools"])?);

    narrator.claim(
        &format!("a stranger's packet to {STRANGER_WANTS} ends here"),
        || {
            let before = gateway.counter("unsolicited")?.packets;
            let send =
                || UdpSocket::bind("0.0.0.0:0").and_then(|it| it.send_to(b"?", STRANGER_WANTS));
            db.host.enter(send)??;
            wait_for(LIMIT, "it is counted as unsolicited", || {
                Ok((gateway.counter("unsolicited")?.packets > before).then_some(()))
            })?;
            Ok("dropped and counted, with a reason".to_owned())
        },
    )?;
    narrator.printed("egret drops", &gateway.egret(&["drops"])?);
    Ok(transfer)
}

/// Says how many ports are in use, if that is as many as there are flows, and the gateway's sweep
/// has counted these.
fn ports(gateway: &Gateway) -> Result<Option<String>> {
    let flows = gateway.all_flows()?.flows;
    let addresses = gateway
        .pools()?
        .pools
        .into_iter()
        .flat_map(|pool| pool.addresses);
    let addresses: Vec<_> = addresses.collect();
    let swept: u64 = addresses.iter().map(|address| address.flows).sum();
    if swept != flows.len() as u64 {
        return Ok(None);
    }
    let mut found = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
        let used: u64 = addresses
            .iter()
            .map(|address| match protocol {
                Protocol::Tcp => u64::from(address.tcp.used),
                Protocol::Udp => u64::from(address.udp.used),
                Protocol::Icmp => u64::from(address.icmp.used),
                Protocol::Sctp | Protocol::Gre | Protocol::Esp => 0,
            })
            .sum();
        let flows = flows
            .iter()
            .filter(|flow| flow.protocol == protocol)
            .count() as u64;
        if used != flows {
            return Ok(None);
        }
        found.push(format!("{} {used}", protocol.label()));
    }
    Ok(Some(found.join(", ")))
}

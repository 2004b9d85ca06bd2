//! Routes and interfaces that change while a gateway works.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use api::http::{FlowsQuery, InterfaceStatus, Protocol};
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, Host, Site, Topology, Transfer};

use crate::{A1, DB, POLICY, SOON, at, name, of_client, site, two_arm};

/// Bytes a second of the transfers that go on during a change.
const RATE: u64 = 4 << 20;

/// A policy with a second interface towards the outside.
fn with_out1() -> String {
    let interfaces = "
interfaces:
  - {name: in0, realm: internal}
  - {name: out0, realm: external}
  - {name: out1, realm: external}
";
    format!("{interfaces}{POLICY}")
}

/// A site whose gateway has two links to the outside router, of which the first is in use.
fn two_ways_out(test: &str) -> Result<(Site, Gateway)> {
    let plan = || -> Result<Site> {
        let mut plan = Topology::two_arm(&name(test))
            .pods("10.1.0.0/24", ["a1"])
            .gateway("gw")
            .target(lab::Target::guarded("db").http(80).stream(9000))
            .external(crate::EXTERNAL)
            .plan();
        plan.link(("gw", "out1"), ("outside", "second"));
        plan.host("gw").address("out1", "172.31.3.11/24");
        plan.host("outside").address("second", "172.31.3.1/24");
        Ok(plan.build()?)
    };
    let site = plan()?;
    let gateway = Gateway::launch(site.host("gw")?, &with_out1())?;
    Ok((site, gateway))
}

#[test]
fn a_transfer_follows_the_route_to_another_interface_and_back() -> Result<()> {
    let (site, gateway) = two_ways_out("routes")?;
    let (gw, outside) = (site.host("gw")?, site.host("outside")?);
    let transfer = started(site.host("a1")?)?;
    let external = gateway.only_flow(&of_client(A1))?.external;

    for (interface, router, way_back) in [
        ("out1", "172.31.3.1", "172.31.3.11"),
        ("out0", "172.31.2.1", "172.31.2.11"),
    ] {
        let before = gw.counters(interface)?.tx_packets;
        gw.ip(&format!("route replace default via {router}"))?;
        // What comes back may take the other way for as long as the outside likes.
        moves_on(&transfer)?;
        for address in crate::EXTERNAL {
            outside.ip(&format!("route replace {address} via {way_back}"))?;
        }
        moves_on(&transfer)?;

        let flow = gateway.only_flow(&of_client(A1))?;
        assert_eq!(flow.interface_out.as_deref(), Some(interface), "{flow:?}");
        assert_eq!(flow.external, external);
        assert!(gw.counters(interface)?.tx_packets > before + 500);
    }

    finish(transfer, "the route changed twice")?;
    gateway.finish()
}

/// A link that goes down takes its routes along, and the kernel says nothing of them but that the
/// link is down.
#[test]
fn a_transfer_follows_a_backup_route_when_a_link_goes_down() -> Result<()> {
    let (site, gateway) = two_ways_out("backup")?;
    let (gw, outside) = (site.host("gw")?, site.host("outside")?);
    gw.ip("route add default via 172.31.3.1 metric 200")?;
    for address in crate::EXTERNAL {
        outside.ip(&format!("route add {address} via 172.31.3.11 metric 200"))?;
    }
    let transfer = started(site.host("a1")?)?;

    gw.ip("link set out0 down")?;
    for address in crate::EXTERNAL {
        outside.ip(&format!("route del {address} via 172.31.2.11"))?;
    }
    moves_on(&transfer)?;

    let flow = gateway.only_flow(&of_client(A1))?;
    assert_eq!(flow.interface_out.as_deref(), Some("out1"), "{flow:?}");
    finish(transfer, "a link went down")?;
    gateway.finish()
}

/// A destination that the kernel has no route to is refused by name, and served when it has one.
#[test]
fn a_destination_without_route_is_counted() -> Result<()> {
    let (site, gateway) = two_arm("no-route")?;
    let (pod, gw) = (site.host("a1")?, site.host("gw")?);

    gw.ip("route add unreachable 198.51.100.11")?;
    wait_for(SOON, "the gateway has heard of it", || {
        let answered = pod.ping(DB)?;
        Ok((!answered).then_some(()))
    })?;
    assert!(crate::count(&gateway, "no_route")? > 0);
    gw.ip("route del unreachable 198.51.100.11")?;

    assert!(pod.ping(DB)?);
    gateway.finish()
}

/// As when a driver is reloaded: the interface is gone, then there is another one of its name.
#[test]
fn an_interface_that_disappears_and_comes_back_is_attached_again() -> Result<()> {
    let (site, gateway) = two_arm("gone")?;
    let (pod, gw, outside) = (site.host("a1")?, site.host("gw")?, site.host("outside")?);
    let transfer = started(pod)?;
    let url = format!("http://{DB}/");
    let before = interface(&gateway, "out0")?;
    let mac = gw.mac("out0")?.map(|byte| format!("{byte:02x}")).join(":");

    gw.ip("link del out0")?;
    wait_for(SOON, "the status shows that it is gone", || {
        let out0 = interface(&gateway, "out0")?;
        Ok((!out0.attached && out0.ifindex.is_none()).then_some(()))
    })?;
    let notes = gateway.status()?.notes;
    assert!(notes.iter().any(|note| note.contains("out0")), "{notes:?}");

    plug_in(gw, outside, &mac)?;
    let after = wait_for(SOON, "it is attached again", || {
        let out0 = interface(&gateway, "out0")?;
        Ok(out0.attached.then_some(out0))
    })?;

    println!(
        "out0 was interface {:?} and is {:?}",
        before.ifindex, after.ifindex
    );
    assert_ne!(after.ifindex, before.ifindex);
    assert_eq!(after.mode, before.mode);
    receive_redirects(outside)?;
    assert!(pod.curl(&url)?.starts_with("192.0.2."));
    moves_on(&transfer)?;
    let received = transfer.finish()?;
    assert_eq!(received.wrong_at, None);
    println!(
        "a connection outlived its interface; longest stall {:?}",
        received.longest_stall
    );
    assert_eq!(gateway.status()?.notes, [""; 0]);
    let links = gateway
        .pinned()?
        .iter()
        .filter(|pin| pin.to_string_lossy().contains("/links/"))
        .count();
    assert_eq!(links, 2, "{:?}", gateway.pinned()?);
    gateway.finish()
}

/// An interface that is not there when the daemon starts is attached when it comes.
#[test]
fn an_interface_that_comes_late_is_attached() -> Result<()> {
    let site = site(Topology::two_arm(&name("late")))?;
    let (gw, outside) = (site.host("gw")?, site.host("outside")?);
    let mac = gw.mac("out0")?.map(|byte| format!("{byte:02x}")).join(":");
    gw.ip("link del out0")?;
    let mut gateway = Gateway::prepare(gw, POLICY)?;

    gateway.start()?;
    assert!(!interface(&gateway, "out0")?.attached);
    assert!(interface(&gateway, "in0")?.attached);
    plug_in(gw, outside, &mac)?;
    wait_for(SOON, "it is attached", || {
        Ok(interface(&gateway, "out0")?.attached.then_some(()))
    })?;

    receive_redirects(outside)?;
    assert!(site.host("a1")?.ping(DB)?);
    gateway.finish()
}

/// Moved into another namespace and back, as container runtimes do; its index stays the same.
#[test]
fn an_interface_that_moves_away_and_back_is_attached_again() -> Result<()> {
    let (site, gateway) = two_arm("away")?;
    let (pod, gw, outside) = (site.host("a1")?, site.host("gw")?, site.host("outside")?);
    let nowhere = site.host("api")?;
    assert!(pod.ping(DB)?);

    gw.ip(&format!("link set out0 netns {}", nowhere.namespace()))?;
    wait_for(SOON, "the status shows that it is gone", || {
        Ok((!interface(&gateway, "out0")?.attached).then_some(()))
    })?;
    nowhere.ip(&format!("link set out0 netns {}", gw.namespace()))?;
    address(gw)?;
    wait_for(SOON, "it is attached again", || {
        Ok(interface(&gateway, "out0")?.attached.then_some(()))
    })?;

    receive_redirects(outside)?;
    assert!(pod.ping(DB)?);
    gateway.finish()
}

fn interface(gateway: &Gateway, name: &str) -> Result<InterfaceStatus> {
    let interfaces = gateway.status()?.interfaces;
    let found = interfaces.into_iter().find(|it| it.name == name);
    found.with_context(|| format!("the status has no interface {name}"))
}

/// Makes the link between the gateway and the outside router anew, as the lab made it.
fn plug_in(gw: &Host, outside: &Host, mac: &str) -> Result<()> {
    let namespace = gw.namespace();
    let peer = format!("peer name out0 address {mac} netns {namespace}");
    outside.ip(&format!("link add name gateways_0 type veth {peer}"))?;
    let offloads = "tx off tso off gso off txvlan off gro off";
    for (host, interface) in [(gw, "out0"), (outside, "gateways_0")] {
        let arguments = ["-K", interface].into_iter().chain(offloads.split(' '));
        host.succeed("ethtool", arguments)?;
    }
    outside.ip("link set gateways_0 master gateways")?;
    outside.ip("link set gateways_0 up")?;
    address(gw)
}

/// Gives the gateway's `out0` its address and the default route, as the lab did.
fn address(gw: &Host) -> Result<()> {
    gw.ip("link set out0 up")?;
    gw.ip("address add 172.31.2.11/24 dev out0")?;
    gw.ip("route add default via 172.31.2.1")?;
    Ok(())
}

/// Lets redirected frames arrive at the router, which the kernel arranges only when GRO is turned
/// on while both ends are up.
fn receive_redirects(outside: &Host) -> Result<()> {
    for value in ["off", "on"] {
        let mut ethtool = Command::new("ethtool");
        ethtool.args(["-K", "gateways_0", "gro", value]);
        outside.run(ethtool)?;
    }
    Ok(())
}

fn started(pod: &Host) -> Result<Transfer> {
    let transfer = Transfer::start(pod, at(DB, 9000), Direction::Upload, Some(RATE))?;
    moves_on(&transfer)?;
    Ok(transfer)
}

/// Waits until two more MiB have gone.
fn moves_on(transfer: &Transfer) -> Result<()> {
    let before = transfer.bytes();
    wait_for(2 * SOON, "the transfer goes on", || {
        anyhow::ensure!(!transfer.has_failed(), "the transfer broke");
        Ok((transfer.bytes() > before + (2 << 20)).then_some(()))
    })
}

fn finish(transfer: Transfer, what: &str) -> Result<()> {
    let received = transfer.finish()?;
    println!("{what}: longest stall {:?}", received.longest_stall);
    assert_eq!(received.wrong_at, None);
    assert!(
        received.longest_stall < Duration::from_secs(1),
        "{received:?}"
    );
    Ok(())
}

/// The gateway's clients may also be pinged while TCP goes on; both kinds are listed.
#[test]
fn flows_are_listed_with_the_interfaces_they_use() -> Result<()> {
    let (site, gateway) = two_arm("listed")?;
    assert!(site.host("a1")?.ping(DB)?);
    // The first packet of all left by the kernel; the second one knows its way.
    assert!(site.host("a1")?.ping(DB)?);

    let pings = FlowsQuery {
        protocol: Some(Protocol::Icmp),
        ..of_client(A1)
    };
    let flows = gateway.flows(&pings)?.flows;

    let resolved = flows
        .iter()
        .find(|flow| flow.interface_out.as_deref() == Some("out0"));
    let resolved = resolved.with_context(|| format!("{flows:#?}"))?;
    assert_eq!(
        resolved.interface_in.as_deref(),
        Some("in0"),
        "{resolved:?}"
    );
    gateway.finish()
}

//! Pools and addresses that come and go under flows that stay.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use api::http::{AddressState, Flow};
use e2e::harness::{Gateway, wait_for};
use lab::{Direction, Transfer};

use crate::{POLICY, SWEPT, launched, moves_on, of, seen, started};

/// The policy without an address, and with flows that end soon when they are closed.
fn without(address: Option<Ipv4Addr>) -> String {
    let all = [Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 11)];
    let left = all.into_iter().filter(|it| Some(*it) != address);
    let left: Vec<String> = left.map(|it| it.to_string()).collect();
    POLICY.replace("192.0.2.10, 192.0.2.11", &left.join(", "))
        + "timeouts: {tcp_opening: 1s, tcp_closing: 1s}\n"
}

#[test]
fn an_address_that_is_taken_away_drains_and_is_forgotten() -> Result<()> {
    let (site, gateway) = launched("drain", &without(None))?;
    let pod = site.host("a1")?;
    let transfer = started(pod, Direction::Download)?;
    let draining = gateway.only_flow(&of(&transfer))?.external.address;

    gateway.apply(&without(Some(draining)))?;

    moves_on(&transfer)?;
    let other = seen(pod)?;
    println!("{draining} drains; new flows leave from {other}");
    assert_ne!(other, draining);
    let shown = gateway.external(&draining.to_string())?;
    assert_eq!(shown.state, AddressState::Draining);
    let shown = wait_for(SWEPT, "a sweep counts the draining flow", || {
        let shown = gateway.external(&draining.to_string())?;
        Ok((shown.flows == 1).then_some(shown))
    })?;
    assert_eq!(shown.tcp.used, 1, "{shown:?}");

    assert_eq!(transfer.finish()?.wrong_at, None);
    wait_for(SWEPT, "the address is forgotten", || {
        Ok(gateway
            .external(&draining.to_string())
            .is_err()
            .then_some(()))
    })?;

    gateway.apply(&without(None))?;
    assert_eq!(
        seen(pod)?,
        draining,
        "a client has the address that its pool gives it"
    );
    let shown = gateway.external(&draining.to_string())?;
    assert_eq!(
        (shown.state, shown.tcp.used),
        (AddressState::Serving, 1),
        "{shown:?}"
    );
    gateway.finish()
}

/// Draining is the tables' business, so the next daemon goes on with it.
#[test]
fn a_restart_in_the_middle_of_draining_goes_on_draining() -> Result<()> {
    let (site, mut gateway) = launched("drain-restart", &without(None))?;
    let pod = site.host("a1")?;
    let transfer = started(pod, Direction::Upload)?;
    let draining = gateway.only_flow(&of(&transfer))?.external.address;
    gateway.write_policy(&without(Some(draining)))?;
    gateway.reload()?;

    gateway.kill()?;
    gateway.start()?;

    assert_eq!(
        gateway.external(&draining.to_string())?.state,
        AddressState::Draining
    );
    moves_on(&transfer)?;
    assert_ne!(seen(pod)?, draining);
    assert_eq!(transfer.finish()?.wrong_at, None);
    wait_for(SWEPT, "the address is forgotten", || {
        Ok(gateway
            .external(&draining.to_string())
            .is_err()
            .then_some(()))
    })?;
    gateway.finish()
}

/// A pool is a number in the tables. While a flow bears it, it must not become another pool's,
/// whoever forgets what in between.
#[test]
fn a_flow_is_never_counted_for_a_pool_that_is_not_its_own() -> Result<()> {
    let policy = |pools: &str, pool: &str| {
        let rule = format!("rules: [{{name: out, sources: [10.1.0.0/24], pool: {pool}}}]");
        format!("pools: [{pools}]\n{rule}\ntimeouts: {{tcp_opening: 1s, tcp_closing: 1s}}\n")
    };
    let a = "{name: a, addresses: [192.0.2.10]}";
    let b = "{name: b, addresses: [192.0.2.11]}";
    let renamed = "{name: renamed, addresses: [192.0.2.11]}";
    let c = "{name: c, addresses: [192.0.2.12]}";
    let (site, mut gateway) = launched("numbers", &policy(&format!("{a}, {b}"), "b"))?;
    let pod = site.host("a1")?;
    let transfer = started(pod, Direction::Download)?;
    assert_eq!(flow(&gateway, &transfer)?.pool.as_deref(), Some("b"));

    // The pool goes, the daemon is another one, and a new pool comes.
    gateway.write_policy(&policy(a, "a"))?;
    gateway.reload()?;
    gateway.kill()?;
    gateway.start()?;
    assert_eq!(flow(&gateway, &transfer)?.pool.as_deref(), Some("b"));
    gateway.write_policy(&policy(&format!("{a}, {c}"), "c"))?;
    gateway.reload()?;
    moves_on(&transfer)?;
    check(&gateway, &transfer, "c")?;

    // The address stays and its pool is called something else; the old name is forgotten.
    gateway.write_policy(&policy(&format!("{a}, {renamed}"), "a"))?;
    gateway.reload()?;
    let passes = gateway.status()?.sweep.passes_total;
    wait_for(SWEPT, "two more sweeps", || {
        Ok((gateway.status()?.sweep.passes_total >= passes + 2).then_some(()))
    })?;
    gateway.write_policy(&policy(&format!("{a}, {renamed}, {c}"), "c"))?;
    gateway.reload()?;
    moves_on(&transfer)?;
    check(&gateway, &transfer, "c")?;

    assert_eq!(transfer.finish()?.wrong_at, None);
    gateway.finish()
}

fn flow(gateway: &Gateway, transfer: &Transfer) -> Result<Flow> {
    gateway.only_flow(&of(transfer))
}

/// The transfer's packets are not those of `stranger`, a pool that came after it.
fn check(gateway: &Gateway, transfer: &Transfer, stranger: &str) -> Result<()> {
    let flow = flow(gateway, transfer)?;
    println!("the flow is shown under the pool {:?}", flow.pool);
    assert_ne!(flow.pool.as_deref(), Some(stranger), "{flow:?}");
    let pools = gateway.pools()?.pools;
    let stranger = pools.iter().find(|pool| pool.name == stranger);
    let stranger = stranger.context("the new pool is shown")?;
    assert_eq!(stranger.out.packets, 0, "{stranger:#?}");
    assert_eq!(stranger.new_flows_total.tcp, 0, "{stranger:#?}");
    Ok(())
}

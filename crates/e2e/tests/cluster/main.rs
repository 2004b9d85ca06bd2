//! Gateways that share one external address, behind real routers that spread packets over them by ECMP: each
//! way of a connection comes by whichever gateway a router's hash says.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::http::{Flow, Flows, Owner, path};
use e2e::harness::{
    load::Load,
    members::{self, ADDRESS, Members, Underlay},
    wait_for,
};
use lab::Transfer;

/// Long connections beside the short ones, and how fast each is: slow enough for two cores that do everything.
const LONG: usize = 8;
const RATE: u64 = 250_000;

/// A number from the environment, or the usual one.
fn number(variable: &str, usual: u32) -> u32 {
    let written = std::env::var(variable).ok();
    written.and_then(|it| it.parse().ok()).unwrap_or(usual)
}

fn start() -> Result<Members> {
    let root = members::frr().context("`cargo xtask e2e cluster` says where FRR is")?;
    Members::start(&format!("cluster-{}", std::process::id()), &root, 2)
}

#[test]
fn connections_pass_by_whichever_gateway_their_packets_come() -> Result<()> {
    let scene = start()?;

    let seen = Load::start(&scene.site, 200)?.run_for(Duration::from_secs(4))?;

    println!("{seen}");
    ensure!(seen.failed == 0 && seen.done > 100, "{seen}");
    ensure!(
        seen.addresses.iter().eq([ADDRESS]),
        "not all leave from the one address: {:?}",
        seen.addresses
    );
    for (index, gateway) in scene.gateways.iter().enumerate() {
        let relayed = gateway.counter("relayed")?.packets;
        let translated = gateway.counter("translated_out")?.packets;
        println!("gateway {index}: {relayed} packets handed over, {translated} sent on");
        ensure!(relayed > 0 && translated > 0, "gateway {index} has no part");
    }
    scene.finish()
}

#[test]
fn gateways_that_reach_each_other_by_ipv6_hand_over_packets_and_flows() -> Result<()> {
    let root = members::frr().context("`cargo xtask e2e cluster` says where FRR is")?;
    let name = format!("cluster6-{}", std::process::id());
    let scene = Members::start_over(&name, &root, (3, Underlay::Six))?;
    let long = scene.transfers(LONG, RATE)?;
    let load = Load::start(&scene.site, 100)?;

    scene.drain(0)?;
    scene.owner_is_not(0)?;
    scene.undrain(0)?;
    scene.ways(3)?;
    scene.shares()?;
    scene.go_on(&long, RATE / 2)?;

    let seen = load.stop()?;
    println!("short connections: {seen}");
    end(long)?;
    ensure!(seen.failed == 0 && seen.done > 100, "{seen}");
    for (index, gateway) in scene.gateways.iter().enumerate() {
        let relayed = gateway.counter("relayed")?.packets;
        println!("gateway {index}: {relayed} packets handed over");
        ensure!(relayed > 0, "gateway {index} has no part");
    }
    scene.finish()
}

#[test]
fn a_gateway_is_drained_and_comes_back_and_no_connection_is_lost() -> Result<()> {
    let scene = start()?;
    let long = scene.transfers(LONG, RATE)?;
    let load = Load::start(&scene.site, number("EGRET_RATE", 300))?;

    scene.drain(0)?;
    scene.owns(&[0, 256])?;
    scene.ways(1)?;
    scene.undrain(0)?;
    scene.ways(2)?;
    scene.shares()?;
    scene.go_on(&long, RATE / 2)?;

    let seen = load.stop()?;
    println!("short connections: {seen}");
    end(long)?;
    ensure!(seen.failed == 0 && seen.done > 300, "{seen}");
    scene.finish()
}

#[test]
fn a_drain_and_a_stop_wait_until_others_have_all_flows() -> Result<()> {
    let mut scene = start()?;
    let long = scene.transfers(LONG, RATE)?;
    let load = Load::start(&scene.site, 200)?;

    let drained = scene.gateways[0].egret(&["drain"])?;
    println!("{drained}");
    ensure!(drained.ends_with("all flows are at other members\n"));
    scene.serves_nothing(0)?;
    let back = scene.gateways[0].egret(&["undrain"])?;
    println!("{back}");
    ensure!(back.ends_with("all that were elsewhere are here\n"));
    scene.serves_nothing(1)?;
    scene.ways(2)?;
    scene.synced()?;

    // A plain stop hands over too: nothing is left to be asked for when the daemon and its packet path are gone.
    ensure!(scene.gateways[0].stop()?.success());
    scene.gateways[0].uninstall()?;
    scene.owner_is(1)?;
    scene.go_on(&long, RATE / 2)?;

    let seen = load.stop()?;
    println!("short connections: {seen}");
    end(long)?;
    ensure!(seen.failed == 0 && seen.done > 300, "{seen}");
    scene.finish()
}

#[test]
fn every_member_names_the_same_owner_of_a_flow_and_the_owner_has_it() -> Result<()> {
    let scene = start()?;
    let long = scene.transfers(1, RATE)?;
    let had_by = |gateway: usize| -> Result<Option<Flow>> {
        let flows: Flows = scene.gateways[gateway].http().get(path::FLOWS)?.json()?;
        let mut flows = flows.flows.into_iter();
        Ok(flows.find(|it| it.remote.port == 9000))
    };
    let flow = wait_for(members::PATIENCE, "both members have the flow", || {
        Ok(had_by(0)?.filter(|_| matches!(had_by(1), Ok(Some(_)))))
    })?;
    let (client, remote) = (flow.client.to_string(), flow.remote.to_string());
    let external = flow.external.to_string();

    let inside = ["owner", "tcp", &client, &remote];
    let outside = ["owner", &external];
    for asked in [&inside[..], &outside[..]] {
        println!("{}", scene.gateways[0].egret(asked)?);
        let one: Owner = scene.gateways[0].egret_json(asked)?;
        let other: Owner = scene.gateways[1].egret_json(asked)?;
        let owner = one.owner.as_deref().context("it is known")?;
        ensure!(other.owner.as_deref() == Some(owner), "{one:?} {other:?}");
        ensure!(one.bucket == other.bucket, "{one:?} {other:?}");
        ensure!(u16::from(one.bucket) == flow.external.port % 256, "{one:?}");
        if asked == inside {
            let here = |name| if owner == name { "serves" } else { "copy" };
            let wanted = [here("gw1"), here("gw2")];
            ensure!([&*one.here, &*other.here] == wanted, "{one:?} {other:?}");
        }
    }
    end(long)?;
    scene.finish()
}

#[test]
fn daemons_are_replaced_one_after_the_other_and_no_connection_is_lost() -> Result<()> {
    let mut scene = start()?;
    let long = scene.transfers(LONG, RATE)?;
    let load = Load::start(&scene.site, 200)?;

    for gateway in 0..2 {
        scene.gateways[gateway].hand_over()?;
        // The other one takes new flows meanwhile.
        scene.owner_is(1 - gateway)?;
        scene.gateways[gateway].start()?;
        scene.shares()?;
        scene.ways(2)?;
    }
    scene.go_on(&long, RATE / 2)?;

    let seen = load.stop()?;
    println!("short connections: {seen}");
    end(long)?;
    ensure!(seen.failed == 0 && seen.done > 300, "{seen}");
    scene.finish()
}

/// Ends long connections; every byte has arrived.
fn end(transfers: Vec<Transfer>) -> Result<()> {
    for transfer in transfers {
        let received = transfer.finish()?;
        ensure!(received.wrong_at.is_none());
        println!(
            "long connection: {} bytes, nothing for {:?} at most",
            received.bytes, received.longest_stall
        );
    }
    Ok(())
}

#[test]
fn a_gateway_that_dies_leaves_its_part_to_the_other_within_the_detection_time() -> Result<()> {
    let scene = start()?;
    // Its cables are cut: it says nothing any more, and hears nothing.
    let began = Instant::now();
    for interface in ["in0", "out0"] {
        let dead = scene.site.host("gw2")?;
        dead.ip(&format!("link set {interface} down"))?;
    }
    scene.owner_is(0)?;
    println!("the other owns everything after {:?}", began.elapsed());
    scene.ways(1)?;

    let seen = Load::start(&scene.site, 100)?.run_for(Duration::from_secs(2))?;

    println!("{seen}");
    ensure!(seen.failed == 0 && seen.done > 50, "{seen}");
    scene.finish()
}

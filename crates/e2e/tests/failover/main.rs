//! Gateways of a cluster die, come back and are replaced one after the other, and whoever talks through them
//! notices nothing but a short wait.
//!
//! `EGRET_TCP` and `EGRET_UDP` say how many flows there are, and `EGRET_TIMES` how often one is killed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::harness::{
    herd::Herd,
    load::Load,
    members::{self, Members},
};

/// Gateways.
const COUNT: usize = 3;
/// A worst wait that is still no failure.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Short connections that a gateway may take with it: as many as begin in a twentieth of a second.
const YOUNG_MAX: u64 = 5;

/// A number from the environment, or the usual one.
fn number(variable: &str, usual: usize) -> usize {
    let written = std::env::var(variable).ok();
    written.and_then(|it| it.parse().ok()).unwrap_or(usual)
}

fn start() -> Result<(Members, Herd)> {
    let root = members::frr().context("`cargo xtask e2e failover` says where FRR is")?;
    let scene = Members::start(&format!("failover-{}", std::process::id()), &root, COUNT)?;
    let herd = Herd::start(
        &scene.site,
        number("EGRET_TCP", 500),
        number("EGRET_UDP", 100),
    )?;
    // What is older than a second is promised to survive.
    std::thread::sleep(Duration::from_secs(1));
    herd.go_on(2)?;
    Ok((scene, herd))
}

/// Ends the flows; none was lost, and none waited for long.
fn end(herd: Herd) -> Result<()> {
    let noticed = herd.stop()?;
    for (kind, noticed) in ["TCP", "UDP"].into_iter().zip(noticed) {
        println!("{kind}: {noticed}");
        ensure!(noticed.lost == 0, "{kind}: {noticed}");
        ensure!(noticed.stall(1.0) < WAIT_MAX, "{kind}: {noticed}");
    }
    Ok(())
}

/// Ends short connections; returns how many were lost.
fn end_short(load: Load) -> Result<u64> {
    let seen = load.stop()?;
    println!("short connections: {seen}");
    ensure!(seen.done > 0, "{seen}");
    Ok(seen.failed)
}

#[test]
fn a_gateway_is_killed_and_comes_back_and_no_flow_is_lost() -> Result<()> {
    for _ in 0..number("EGRET_TIMES", 1) {
        let (mut scene, herd) = start()?;
        let load = Load::start(&scene.site, 100)?;

        let began = Instant::now();
        scene.kill(1)?;
        scene.owner_is_not(1)?;
        println!("its part has other owners after {:?}", began.elapsed());
        herd.go_on(3)?;
        ensure!(
            herd.lost() == 0,
            "{} were lost with the gateway",
            herd.lost()
        );

        scene.revive(1)?;
        scene.shares()?;
        scene.ways(COUNT)?;
        scene.synced()?;
        herd.go_on(3)?;

        // One that began in the second in which the gateway died may be lost with it.
        let lost = end_short(load)?;
        ensure!(lost <= YOUNG_MAX, "{lost} short connections were lost");
        end(herd)?;
        scene.finish()?;
    }
    Ok(())
}

#[test]
fn all_gateways_are_drained_and_replaced_one_after_the_other_and_no_flow_is_lost() -> Result<()> {
    let (mut scene, herd) = start()?;
    let load = Load::start(&scene.site, 100)?;

    for gateway in 0..COUNT {
        scene.drain(gateway)?;
        scene.kill(gateway)?;
        scene.revive(gateway)?;
        scene.shares()?;
        scene.ways(COUNT)?;
        scene.synced()?;
        herd.go_on(1)?;
    }

    ensure!(end_short(load)? == 0, "short connections were lost");
    end(herd)?;
    scene.finish()
}

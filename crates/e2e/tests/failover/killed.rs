//! A gateway dies, in one way or another, and comes back.

use std::time::Instant;

use anyhow::{Result, ensure};
use lab::{Brand, Signal};

use super::run::{Run, Size, end_short, is_full};

/// Gateways.
const COUNT: usize = 3;
/// Short connections that a gateway may take with it: as many as begin in a twentieth of a second.
const YOUNG_MAX: u64 = 5;

/// Kills one, has flows go on, and brings it back.
fn kill_and_revive(mut run: Run) -> Result<()> {
    let load = run.load()?;

    let began = Instant::now();
    run.scene.kill(1)?;
    run.scene.owner_is_not(1)?;
    println!("its part has other owners after {:.0?}", began.elapsed());
    run.goes_on(3)?;

    run.scene.revive(1)?;
    run.is_whole(COUNT)?;
    run.goes_on(3)?;

    // One that began in the second in which the gateway died may be lost with it.
    let lost = end_short(load)?;
    ensure!(lost <= YOUNG_MAX, "{lost} short connections were lost");
    run.end()
}

#[test]
fn a_gateway_is_killed_and_comes_back_and_no_flow_is_lost() -> Result<()> {
    let size = Size::asked();
    for time in 1..=size.times {
        kill_and_revive(Run::start(&format!("kill {time}"), COUNT, size.flows)?)?;
    }
    Ok(())
}

#[test]
fn a_gateway_is_killed_behind_routers_of_another_make_and_no_flow_is_lost() -> Result<()> {
    if !is_full() {
        return Ok(());
    }
    let flows = Size::asked().flows;
    kill_and_revive(Run::behind(Brand::Bird, "kill behind BIRD", COUNT, flows)?)
}

#[test]
fn all_cables_of_a_gateway_are_cut_and_mended_and_no_flow_is_lost() -> Result<()> {
    let mut run = Run::start("cables cut", COUNT, Size::asked().flows)?;

    run.scene.unplug(1)?;
    run.scene.owner_is_not(1)?;
    run.goes_on(3)?;

    // What it knows is old now.
    run.scene.plug(1)?;
    run.is_whole(COUNT)?;
    run.goes_on(3)?;
    run.end()
}

#[test]
fn a_gateway_whose_daemon_freezes_is_taken_for_dead_and_thaws_and_no_flow_is_lost() -> Result<()> {
    let mut run = Run::start("frozen", COUNT, Size::asked().flows)?;

    run.scene.gateways[1].signal(Signal::SIGSTOP)?;
    run.scene.owner_is_not(1)?;
    run.scene.ways(COUNT - 1)?;
    run.goes_on(3)?;

    run.scene.gateways[1].signal(Signal::SIGCONT)?;
    run.is_whole(COUNT)?;
    run.goes_on(3)?;
    run.end()
}

#[test]
fn two_of_five_gateways_die_one_after_the_other_and_no_flow_is_lost() -> Result<()> {
    if !is_full() {
        return Ok(());
    }
    let mut run = Run::start("two of five", 5, Size::asked().flows)?;
    for (victim, left) in [(1, 4), (3, 3)] {
        run.scene.kill(victim)?;
        run.scene.owner_is_not(victim)?;
        // Who is next has a copy of all before the next one dies.
        run.is_whole(left)?;
        run.goes_on(3)?;
    }
    for (victim, here) in [(1, 4), (3, 5)] {
        run.scene.revive(victim)?;
        run.is_whole(here)?;
        run.goes_on(1)?;
    }
    run.end()
}

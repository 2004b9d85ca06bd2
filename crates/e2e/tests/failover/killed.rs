//! A gateway dies and comes back.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::run::{Run, Size, end_short};

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

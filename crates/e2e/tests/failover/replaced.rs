//! All gateways are replaced under load.

use anyhow::{Result, ensure};

use super::run::{Run, Size, end_short};

/// Gateways.
const COUNT: usize = 3;

#[test]
fn all_gateways_are_drained_and_replaced_one_after_the_other_and_no_flow_is_lost() -> Result<()> {
    let mut run = Run::start("all replaced", COUNT, Size::asked().flows)?;
    let load = run.load()?;

    for gateway in 0..COUNT {
        run.scene.drain(gateway)?;
        run.scene.kill(gateway)?;
        run.scene.revive(gateway)?;
        run.is_whole(COUNT)?;
        run.goes_on(1)?;
    }

    ensure!(end_short(load)? == 0, "short connections were lost");
    run.end()
}

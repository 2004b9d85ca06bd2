//! Three gateways with one address behind routers that speak BGP: one dies under a thousand connections, and
//! comes back; another one is drained.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::{Interrupted, Narrator};
use crate::harness::{
    herd::{Echo, Herd, LIMIT, Wanted},
    members::{self, Members},
};

/// Gateways.
const COUNT: usize = 3;
/// Which of them dies, and what it is called.
const VICTIM: usize = 1;
const NAME: &str = "gw2";
/// Connections that are held open.
const CONNECTIONS: usize = 1000;
/// What is older is promised to survive.
const YOUNG: Duration = Duration::from_secs(1);
/// How long somebody may have waited for an answer: a detection time, and TCP's own.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How long the connections are watched after the death, and how often they are counted.
const WATCHED: Duration = Duration::from_millis(2500);
const COUNTED: Duration = Duration::from_millis(500);

pub(super) fn show(name: &str, narrator: &mut Narrator) -> Result<()> {
    narrator.act("Three gateways with one address, and one dies under a thousand connections")?;
    let Some(root) = members::frr() else {
        narrator.say("Skipped: EGRET_FRR does not say where FRR is; `cargo xtask demo` brings it.");
        return Ok(());
    };
    narrator.say(
        "FRR at both sides of gw1, gw2 and gw3 is told by BGP, watches by BFD, and sends to all. What one\n\
         knows of its flows, it tells the one that is next.",
    );
    let mut scene = Members::start(&format!("{name}-three"), &root, COUNT)?;
    let shown = acts(&mut scene, narrator);
    if narrator.interrupt().is_requested() {
        scene.discard();
        bail!(Interrupted);
    }
    shown?;
    scene.down()
}

fn acts(scene: &mut Members, narrator: &mut Narrator) -> Result<()> {
    let echo = Echo::start(&scene.site)?;
    let wanted = Wanted {
        tcp: CONNECTIONS,
        udp: 0,
        limit: LIMIT,
    };
    let herd = echo.begin(&scene.site, wanted)?;
    let shown = live(scene, &herd, narrator);
    if narrator.interrupt().is_requested() {
        // The connections end with this process: what they wait for may have ended already.
        return shown;
    }
    let [noticed, _] = herd.stop()?;
    echo.stop()?;
    shown?;
    narrator.claim("all of them were held open to the end", || {
        ensure!(noticed.lost == 0, "{noticed}");
        Ok(format!("{noticed}"))
    })
}

/// Everything that the connections live through.
fn live(scene: &mut Members, herd: &Herd, narrator: &mut Narrator) -> Result<()> {
    narrator.claim("a thousand connections talk, twice a second", || {
        herd.is_older_than(YOUNG)?;
        none_lost(herd)
    })?;
    narrator.printed("egret cluster", &scene.gateways[0].egret(&["cluster"])?);

    narrator.say(&format!(
        "{NAME} is killed: its cables are cut, its daemon and all that it knew are gone."
    ));
    let died = Instant::now();
    scene.kill(VICTIM)?;
    scene.owner_is_not(VICTIM)?;
    let found = died.elapsed();
    while died.elapsed() < WATCHED && !narrator.interrupt().wait(COUNTED) {
        let after = died.elapsed().as_secs_f64();
        narrator.say(&format!(
            "{after:>4.1} s later: {} of {CONNECTIONS} connections lost, the worst wait {:.0?}",
            herd.lost(),
            herd.worst()
        ));
    }
    narrator.claim(&format!("no connection died with {NAME}"), || {
        herd.go_on(2)?;
        ensure!(herd.worst() < WAIT_MAX, "one waited {:.0?}", herd.worst());
        Ok(format!(
            "{}; others owned its part after {found:.0?}",
            none_lost(herd)?
        ))
    })?;

    narrator.claim(
        &format!("{NAME} comes back, and gets its flows first"),
        || {
            scene.revive(VICTIM)?;
            scene.shares()?;
            scene.ways(COUNT)?;
            scene.synced()?;
            herd.go_on(1)?;
            none_lost(herd)
        },
    )?;
    narrator.printed("egret drain", &scene.gateways[0].egret(&["drain"])?);
    narrator.claim("gw1 is drained, and the others have all", || {
        scene.owner_is_not(0)?;
        scene.ways(COUNT - 1)?;
        herd.go_on(1)?;
        none_lost(herd)
    })
}

fn none_lost(herd: &Herd) -> Result<String> {
    ensure!(herd.lost() == 0, "{} are lost", herd.lost());
    Ok(format!(
        "0 of {CONNECTIONS} lost, the worst wait {:.0?}",
        herd.worst()
    ))
}

//! BFD with those who are at the other end in the field: FRR's bfdd and BIRD, as they are shipped, and two
//! gateways with each other.

mod measure;
mod scene;

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::harness::wait_for;
use lab::{Brand, Signal};

use scene::{GATEWAY, PATIENCE, Scene};

/// Tells every sentence of every router that speaks BFD.
macro_rules! interop {
    ($($sentence:ident)*) => {
        mod frr {
            $(#[test] fn $sentence() -> anyhow::Result<()> {
                crate::$sentence(crate::Brand::Frr)
            })*
        }
        mod bird {
            $(#[test] fn $sentence() -> anyhow::Result<()> {
                crate::$sentence(crate::Brand::Bird)
            })*
        }
    };
}

interop! {
    a_session_comes_up_and_agrees_on_times
    a_router_that_falls_silent_is_missed_within_the_detection_time
    a_gateway_that_falls_silent_is_missed_within_the_detection_time
    whoever_watches_no_longer_has_a_session_all_the_same
}

const INTERVAL: Duration = Duration::from_millis(100);
/// Three times the interval.
const DETECTION: Duration = Duration::from_millis(300);
/// What the machine may add: it shares two cores with everything else. BGP alone would take its hold time of
/// 90 s; how much it is, `measure` prints.
const SLACK: Duration = Duration::from_secs(2);

fn a_session_comes_up_and_agrees_on_times(brand: Brand) -> Result<()> {
    let scene = Scene::start(brand, INTERVAL)?;
    scene.up()?;

    let session = wait_for(PATIENCE, "times that both know", || {
        let session = scene.session()?;
        Ok((session.detection_ms == 300.0).then_some(session))
    })?;
    ensure!(session.transmit_ms == 100.0, "{session:?}");
    ensure!(scene.router.is_bfd_up(GATEWAY)?, "{}", scene.router.log());
    // Nothing flaps while nothing happens.
    std::thread::sleep(Duration::from_secs(2));
    let later = scene.session()?;
    ensure!(
        later.downs == 0 && later.received >= session.received + 18,
        "{later:?}"
    );
    println!("{}: {later:?}", brand.name());
    scene.finish()
}

fn a_router_that_falls_silent_is_missed_within_the_detection_time(brand: Brand) -> Result<()> {
    let mut scene = Scene::start(brand, INTERVAL)?;
    scene.up()?;
    scene.router.signal(Signal::SIGSTOP)?;
    let begin = std::time::Instant::now();
    wait_for(PATIENCE, "nobody misses it", || {
        Ok((scene.session()?.state != "up").then_some(()))
    })?;
    let bgp = wait_for(PATIENCE, "BGP goes on", || {
        let peer = scene.peer()?;
        Ok((peer.state != "established").then_some(peer))
    })?;
    let waited = begin.elapsed();
    println!(
        "{}: BGP ended {waited:?} after the router fell silent",
        brand.name()
    );
    ensure!(waited <= DETECTION + SLACK, "{waited:?}");
    let why = bgp.last_down.unwrap_or_default();
    ensure!(why == "BFD says that the way is gone", "{why}");
    scene.router.signal(Signal::SIGCONT)?;
    scene.up()?;
    scene.established()?;
    scene.finish()
}

fn a_gateway_that_falls_silent_is_missed_within_the_detection_time(brand: Brand) -> Result<()> {
    let mut scene = Scene::start(brand, INTERVAL)?;
    scene.up()?;
    scene.knows_routes(true)?;
    scene.gateway.signal(Signal::SIGSTOP)?;
    let begin = std::time::Instant::now();
    scene.knows_routes(false)?;
    let waited = begin.elapsed();
    println!(
        "{}: routes went {waited:?} after the gateway fell silent",
        brand.name()
    );
    ensure!(waited <= DETECTION + SLACK, "{waited:?}");
    scene.gateway.signal(Signal::SIGCONT)?;
    scene.up()?;
    scene.knows_routes(true)?;
    scene.finish()
}

/// Both routers take the word "administratively down" for a loss, although RFC 5882 §3.2 says that it is
/// none; but then they come again without BFD.
fn whoever_watches_no_longer_has_a_session_all_the_same(brand: Brand) -> Result<()> {
    let mut scene = Scene::start(brand, INTERVAL)?;
    scene.up()?;
    scene.gateway.write_policy(&scene::policy(None))?;
    scene.gateway.reload()?;
    wait_for(PATIENCE, "the session to go", || {
        Ok(scene.sessions()?.is_empty().then_some(()))
    })?;
    scene.established()?;
    scene.knows_routes(true)?;
    scene.finish()
}

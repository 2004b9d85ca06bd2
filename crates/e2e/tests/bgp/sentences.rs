//! What must be so with every router.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use api::http::{Drain, path};
use e2e::harness::wait_for;
use lab::{Brand, Signal};

use super::scene::{ASN, GATEWAY, PATIENCE, Scene, neighbour, policy};

const EVERYTHING: [&str; 3] = ["192.0.2.25/32", "192.0.2.8/30", "2001:db8:9::8/128"];

/// Three of ten packets of BGP are lost, each way.
const LOSS: &str = "
table inet loss {
	chain in { type filter hook input priority 0; meta l4proto tcp th sport 179 numgen random mod 10 < 3 drop
		meta l4proto tcp th dport 179 numgen random mod 10 < 3 drop
	}
	chain out { type filter hook output priority 0; meta l4proto tcp th sport 179 numgen random mod 10 < 3 drop
		meta l4proto tcp th dport 179 numgen random mod 10 < 3 drop
	}
}
";

pub fn routes_of_both_versions_come_with_what_is_said_of_them_and_go(brand: Brand) -> Result<()> {
    let announce = ", announce: [{pools: [mail], communities: ['65010:7', no-export], \
                    large_communities: ['65010:1:2'], med: 50, prepend: 1}, {pools: [web]}]";
    let mut theirs = neighbour();
    theirs.announced = vec!["203.0.113.0/24".to_owned(), "2001:db8:77::/48".to_owned()];
    let received = ", received: keep";
    let mut scene = Scene::start(brand, theirs, &policy(&format!("{announce}{received}"), ""))?;
    scene.established()?;

    let known = scene.knows(&EVERYTHING)?;
    let mail = &known[0];
    ensure!(mail.as_path == format!("{ASN} {ASN}"), "{mail:?}");
    ensure!(mail.communities == ["65010:7", "65535:65281"], "{mail:?}");
    ensure!(mail.large_communities == ["65010:1:2"], "{mail:?}");
    ensure!(mail.med == Some(50), "{mail:?}");
    ensure!(
        known
            .iter()
            .take(2)
            .all(|it| it.next_hop == GATEWAY.to_string()),
        "{known:?}"
    );
    ensure!(known[2].next_hop == "2001:db8::ac1f:20b", "{known:?}");
    // What it tells us is counted, and kept.
    let heard = wait_for(PATIENCE, "the router's prefixes", || {
        let heard = scene.peer()?.received;
        Ok((heard.len() == 2).then_some(heard))
    })?;
    ensure!(heard[0].prefix == "203.0.113.0/24", "{heard:?}");

    // GoBGP answers such a question and asks none.
    scene.router.refresh(GATEWAY)?;
    wait_for(PATIENCE, "a route refresh", || {
        if brand == Brand::Gobgp {
            return Ok(Some(()));
        }
        let messages = scene.peer()?.messages;
        let asked = messages
            .iter()
            .any(|it| it.kind == "route-refresh" && it.received > 0);
        Ok(asked.then_some(()))
    })?;
    scene.knows(&EVERYTHING)?;

    // A pool that goes is withdrawn, and the session stays.
    let without = policy(", announce: [{pools: [web]}], received: keep", "");
    scene.gateway.write_policy(&without)?;
    scene.gateway.reload()?;
    scene.knows(&["192.0.2.8/30", "2001:db8:9::8/128"])?;
    ensure!(scene.peer()?.established_times == 1, "{:?}", scene.peer()?);
    let peer = scene.peer()?;
    println!("{}: {}", brand.name(), peer.capabilities.join(", "));
    scene.finish()
}

pub fn a_session_with_a_password_over_one_link(brand: Brand) -> Result<()> {
    let mut theirs = neighbour();
    theirs.password = Some("fish and chips".replace(' ', "-"));
    theirs.ttl_security = true;
    let file = std::env::temp_dir().join(format!("egret-bgp-{}", std::process::id()));
    std::fs::write(&file, "fish-and-chips\n")?;
    let more = format!(", password_file: {}, ttl_security: on", file.display());
    let mut scene = Scene::start(brand, theirs, &policy(&more, ""))?;
    scene.established()?;
    scene.knows(&EVERYTHING)?;

    // With another password nobody hears the other.
    std::fs::write(&file, "soup\n")?;
    scene.gateway.restart()?;
    let peer = wait_for(PATIENCE, "a failure", || {
        let peer = scene.peer()?;
        Ok(peer.last_down.is_some().then_some(peer))
    })?;
    ensure!(peer.state != "established", "{peer:?}");

    std::fs::write(&file, "fish-and-chips\n")?;
    scene.gateway.reload()?;
    scene.established()?;
    std::fs::remove_file(&file)?;
    scene.finish()
}

pub fn whoever_calls_a_session_comes_up(brand: Brand) -> Result<()> {
    let mut theirs = neighbour();
    theirs.is_passive = true;
    let scene = Scene::start(brand, theirs, &policy("", ""))?;
    scene.established()?;
    scene.finish()?;

    let scene = Scene::start(brand, neighbour(), &policy(", passive: on", ""))?;
    scene.established()?;
    scene.knows(&EVERYTHING)?;
    scene.finish()
}

pub fn routes_stay_while_a_daemon_is_away_and_go_if_it_stays_away(brand: Brand) -> Result<()> {
    let mut theirs = neighbour();
    theirs.restart = Some(Duration::from_secs(30));
    let mut scene = Scene::start(brand, theirs, &policy("", "graceful_restart: 5s"))?;
    scene.established()?;
    scene.knows(&EVERYTHING)?;

    scene.gateway.kill()?;
    let known = wait_for(PATIENCE, "the router to notice", || {
        let known = scene.paths()?;
        let is_noticed = !scene.router.session(GATEWAY)?.is_established;
        Ok(is_noticed.then_some(known))
    })?;
    ensure!(known.len() == EVERYTHING.len(), "{known:?}");

    scene.gateway.start()?;
    scene.established()?;
    let known = scene.knows(&EVERYTHING)?;
    ensure!(known.iter().all(|it| !it.is_stale), "{known:?}");

    // One that does not come back is forgotten when its time is over.
    scene.gateway.kill()?;
    let begin = Instant::now();
    wait_for(PATIENCE, "the routes to go", || {
        Ok(scene.paths()?.is_empty().then_some(()))
    })?;
    println!(
        "{}: routes went after {:?}, of 5 s",
        brand.name(),
        begin.elapsed()
    );
    ensure!(
        begin.elapsed() > Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    scene.gateway.start()?;
    scene.finish()
}

pub fn a_gateway_that_drains_asks_to_be_avoided_then_withdraws_then_says_goodbye(
    brand: Brand,
) -> Result<()> {
    let mut scene = Scene::start(brand, neighbour(), &policy("", "drain: 20s"))?;
    scene.established()?;
    scene.knows(&EVERYTHING)?;

    let drain: Drain = scene.gateway.http().post(path::DRAIN, b"")?.json()?;
    ensure!(drain.phase == "ebbing", "{drain:?}");
    wait_for(PATIENCE, "the community", || {
        let known = scene.paths()?;
        let asked = |it: &lab::RoutePath| it.communities.contains(&"65535:0".to_owned());
        let is_said = known.len() == EVERYTHING.len() && known.iter().all(asked);
        Ok((is_said || scene.drain()?.phase != "ebbing").then_some(is_said))
    })
    .and_then(|is_said| {
        ensure!(is_said, "withdrawn before the router had heard of it");
        Ok(())
    })?;
    scene.knows(&[])?;
    ensure!(scene.router.session(GATEWAY)?.is_established);
    let drained = wait_for(PATIENCE, "the end", || {
        let drain = scene.drain()?;
        Ok((drain.phase == "drained").then_some(drain))
    })?;
    ensure!(drained.ended.as_deref() == Some("ebbed"), "{drained:?}");

    // It may change its mind.
    scene.gateway.http().exchange("DELETE", path::DRAIN, b"")?;
    scene.knows(&EVERYTHING)?;

    // And whoever stops the service drains first.
    let begin = Instant::now();
    let ended = scene.gateway.stop()?;
    ensure!(ended.success(), "{ended}");
    ensure!(
        begin.elapsed() > Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    scene.knows(&[])?;
    scene.gateway.start()?;
    scene.established()?;
    scene.finish()
}

pub fn a_link_that_loses_a_third_of_its_packets_is_enough(brand: Brand) -> Result<()> {
    let mut theirs = neighbour();
    theirs.hold_time = Duration::from_secs(30);
    let scene = Scene::start(brand, theirs, &policy("", ""))?;
    let gw = scene.site.host("gw")?;
    gw.nft(LOSS)?;
    // What is established already goes on; what begins now comes to be.
    scene
        .gateway
        .http()
        .post(path::BGP, br#"{"peer": "router", "ask": "reset"}"#)?;
    scene.established()?;
    scene.knows(&EVERYTHING)?;
    gw.nft("delete table inet loss")?;
    scene.finish()
}

pub fn a_router_that_falls_silent_is_missed_after_its_hold_time(brand: Brand) -> Result<()> {
    let mut theirs = neighbour();
    theirs.hold_time = Duration::from_secs(3);
    let mut scene = Scene::start(
        brand,
        theirs,
        &policy(", hold_time: 3s", "").replace("hold_time: 9s, ", ""),
    )?;
    scene.established()?;
    ensure!(
        scene.peer()?.hold_time_seconds == Some(3),
        "{:?}",
        scene.peer()?
    );

    scene.router.signal(Signal::SIGSTOP)?;
    let begin = Instant::now();
    let peer = wait_for(PATIENCE, "nobody misses it", || {
        let peer = scene.peer()?;
        Ok((peer.state != "established").then_some(peer))
    })?;
    let waited = begin.elapsed();
    ensure!(
        peer.last_down.as_deref() == Some("we said Hold Timer Expired"),
        "{peer:?}"
    );
    ensure!(waited <= Duration::from_millis(3500), "{waited:?}");
    scene.router.signal(Signal::SIGCONT)?;
    scene.established()?;
    scene.finish()
}

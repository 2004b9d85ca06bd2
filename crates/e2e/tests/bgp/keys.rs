//! A peer that is to have keys of TCP-AO, and a router that has none: whatever the kernel knows, there is no session.

use std::fs;

use anyhow::{Result, ensure};
use api::http::{Bgp, path};
use e2e::harness::wait_for;
use lab::Brand;

use super::scene::{GATEWAY, PATIENCE, Scene, neighbour, policy};

/// Calls that are enough to believe that none is answered. Both sides call each second.
const CALLS: usize = 3;

#[test]
fn a_router_without_the_keys_of_its_peer_has_no_session_whoever_calls() -> Result<()> {
    let file = std::env::temp_dir().join(format!("egret-keys-{}", std::process::id()));
    fs::write(&file, "secret\n")?;
    let key = format!(
        ", tcp_ao: {{keys: [{{send_id: 1, receive_id: 1, algorithm: hmac-sha1, secret_file: {}}}]}}",
        file.display()
    );
    let mut scene = Scene::start(Brand::Frr, neighbour(), &policy(&key, ""))?;
    let why = wait_for(PATIENCE, "a call that failed", || {
        Ok(scene.peer()?.last_down)
    })?;
    println!("{why}");
    let peer = wait_for(PATIENCE, "calls", || {
        let peer = scene.peer()?;
        let calls = peer.history.iter().filter(|it| it.what == "connect");
        Ok((calls.count() >= CALLS).then_some(peer))
    })?;
    ensure!(peer.state != "established", "{peer:?}");
    ensure!(!scene.router.session(GATEWAY)?.is_established);
    let bgp: Bgp = scene.gateway.http().get(path::BGP)?.json()?;
    println!("{:?}", bgp.notes);
    let is_missing = bgp.notes.iter().any(|it| it.contains("has no TCP-AO"));
    ensure!(is_missing || bgp.notes.is_empty(), "{:?}", bgp.notes);
    ensure!(!is_missing || why.contains("unsupported"), "{why}");

    // Without the keys they meet.
    scene.gateway.write_policy(&policy("", ""))?;
    scene.gateway.reload()?;
    scene.established()?;
    fs::remove_file(&file)?;
    scene.finish()
}

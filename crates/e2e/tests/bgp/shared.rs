//! Two gateways behind routers that spread over both: each carries traffic, and one leaves while it flows.

use anyhow::{Result, ensure};
use api::http::{Drain, path};
use e2e::harness::{
    pair::{self, Pair, fetch, ways},
    wait_for,
};
use lab::Brand;

use super::scene::{PATIENCE, root};

#[test]
fn two_gateways_carry_traffic_and_one_leaves_while_it_flows() -> Result<()> {
    let site = pair::build(&format!("bgp-two-{}", std::process::id()))?;
    let routers = Pair::start(&root(Brand::Frr)?, &site)?;
    let first = pair::launch(&site, 0)?;
    let second = pair::launch(&site, 1)?;
    routers.converge(&site, PATIENCE)?;

    let (seen, failed) = fetch(&site, 40)?;
    println!("both: {seen:?}, {failed} failed");
    ensure!(seen.len() == 2 && failed == 0, "{seen:?}, {failed} failed");

    let drain: Drain = first.http().post(path::DRAIN, b"")?.json()?;
    ensure!(drain.phase == "ebbing", "{drain:?}");
    let mut lost = 0;
    let drained = wait_for(PATIENCE, "the drain", || {
        lost += fetch(&site, 10)?.1;
        let drain: Drain = first.http().get(path::DRAIN)?.json()?;
        Ok((drain.phase == "drained").then_some(drain))
    })?;
    println!("drained: {drained:?}; {lost} new connections failed meanwhile");
    ensure!(drained.ended.as_deref() == Some("ebbed"), "{drained:?}");
    // One that is open when the route changes goes on through a gateway that does not know it.
    ensure!(lost <= 1, "{lost} connections failed");
    let (seen, failed) = fetch(&site, 20)?;
    ensure!(seen.len() == 1 && failed == 0, "{seen:?}, {failed} failed");
    ensure!(ways(&site, "inside", "default")? == 1);
    // It may be stopped now, and nobody notices.
    first.finish()?;
    let (seen, failed) = fetch(&site, 20)?;
    ensure!(
        seen.contains_key("192.0.2.11") && failed == 0,
        "{seen:?}, {failed} failed"
    );

    drop(routers);
    second.finish()
}

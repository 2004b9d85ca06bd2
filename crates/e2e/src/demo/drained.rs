//! Two gateways behind routers that speak BGP: one is drained while connections go on.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail, ensure};
use api::http::{Drain, path};

use super::{Interrupted, Narrator};
use crate::harness::{
    Gateway,
    pair::{self, Pair},
    wait_for,
};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Connections that show how traffic is spread.
const CONNECTIONS: usize = 40;

/// Connections between two looks at a drain.
const BETWEEN_LOOKS: usize = 5;

pub(super) fn show(name: &str, narrator: &mut Narrator) -> Result<()> {
    narrator.act("Two gateways, and one leaves while traffic flows")?;
    let Some(root) = pair::frr() else {
        narrator.say("Skipped: EGRET_FRR does not say where FRR is; `cargo xtask demo` brings it.");
        return Ok(());
    };
    narrator.say("FRR at both sides of gw1 and gw2 is told by BGP, and watches by BFD.");
    let site = pair::build(&format!("{name}-two"))?;
    let routers = Pair::start(&root, &site)?;
    let first = pair::launch(&site, 0)?;
    let second = match pair::launch(&site, 1) {
        Ok(second) => second,
        Err(error) => return Err(ended(vec![first], narrator, error)),
    };
    if let Err(error) = leave(&site, &routers, &first, narrator) {
        return Err(ended(vec![first, second], narrator, error));
    }
    let stopped = narrator.claim("gw1 is stopped, and nothing fails", || {
        first.finish()?;
        let (seen, failed) = pair::fetch(&site, CONNECTIONS)?;
        ensure!(failed == 0, "{failed} of {CONNECTIONS} failed");
        Ok(format!("0 of {CONNECTIONS} failed; {}", carried(&seen)))
    });
    if let Err(error) = stopped {
        return Err(ended(vec![second], narrator, error));
    }
    drop(routers);
    second.finish()?;
    Ok(site.down()?)
}

/// Everything until the first gateway is drained.
fn leave(site: &lab::Site, routers: &Pair, first: &Gateway, narrator: &mut Narrator) -> Result<()> {
    narrator.claim("the inside router has two ways out", || {
        routers.converge(site, LIMIT)?;
        Ok("one by each gateway".to_owned())
    })?;
    narrator.printed("egret bgp", &first.egret(&["bgp"])?);
    let watched = wait_for(LIMIT, "BFD is up", || {
        let shown = first.egret(&["bfd"])?;
        let is_up = |line: &str| line.split_whitespace().nth(2) == Some("up");
        Ok(shown.lines().skip(1).all(is_up).then_some(shown))
    })?;
    narrator.printed("egret bfd", &watched);
    narrator.claim("both carry traffic", || {
        let (seen, failed) = pair::fetch(site, CONNECTIONS)?;
        ensure!(seen.len() == 2 && failed == 0, "{seen:?}, {failed} failed");
        Ok(carried(&seen))
    })?;

    narrator.printed(
        "egret drain --no-wait",
        &first.egret(&["drain", "--no-wait"])?,
    );
    let interrupt = narrator.interrupt().clone();
    narrator.claim("at most one connection fails meanwhile", || {
        let (mut made, mut lost) = (0, 0);
        wait_for(LIMIT, "gw1 is drained", || {
            if interrupt.is_requested() {
                bail!(Interrupted);
            }
            made += BETWEEN_LOOKS;
            lost += pair::fetch(site, BETWEEN_LOOKS)?.1;
            let drain: Drain = first.http().get(path::DRAIN)?.json()?;
            Ok((drain.phase == "drained").then_some(()))
        })?;
        // One that is open when the route changes goes on through a gateway that does not know it.
        ensure!(lost <= 1, "{lost} of {made} failed");
        Ok(format!("{lost} of {made} failed"))
    })?;
    narrator.claim("the inside router has one way out", || {
        wait_for(LIMIT, "one way out", || {
            Ok((pair::ways(site, "inside", "default")? == 1).then_some(()))
        })?;
        Ok("by gw2".to_owned())
    })
}

/// Removes the gateways of an act that was broken off; one that failed explains itself.
fn ended(gateways: Vec<Gateway>, narrator: &Narrator, error: anyhow::Error) -> anyhow::Error {
    if narrator.interrupt().is_requested() {
        for gateway in gateways {
            if let Err(error) = gateway.discard() {
                eprintln!("{error:#}");
            }
        }
    }
    error
}

/// How many connections each gateway carried.
fn carried(seen: &BTreeMap<String, usize>) -> String {
    let by = |(address, count): (&String, &usize)| match address.as_str() {
        "192.0.2.10" => format!("gw1 {count}"),
        "192.0.2.11" => format!("gw2 {count}"),
        other => format!("{other} {count}"),
    };
    seen.iter().map(by).collect::<Vec<_>>().join(", ")
}

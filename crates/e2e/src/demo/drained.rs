//! Two gateways with one address behind routers that speak BGP: one is drained while connections go on.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Narrator;
use crate::harness::{
    load::Load,
    members::{self, ADDRESS, Members},
};

/// Connections that are begun in a second.
const RATE: u32 = 100;
/// How long traffic flows before it is looked at.
const WHILE: Duration = Duration::from_secs(1);

pub(super) fn show(name: &str, narrator: &mut Narrator) -> Result<()> {
    narrator.act("Two gateways with one address, and one leaves while traffic flows")?;
    let Some(root) = members::frr() else {
        narrator.say("Skipped: EGRET_FRR does not say where FRR is; `cargo xtask demo` brings it.");
        return Ok(());
    };
    narrator
        .say("FRR at both sides of gw1 and gw2 is told by BGP, watches by BFD, and sends to both.");
    let pair = Members::start(&format!("{name}-two"), &root, 2)?;
    let left = leave(&pair, narrator);
    if narrator.interrupt().is_requested() {
        pair.discard();
        return left;
    }
    left?;
    stop(pair, narrator)
}

/// Everything until the first gateway is drained.
fn leave(pair: &Members, narrator: &mut Narrator) -> Result<()> {
    let [first, second] = &pair.gateways[..] else {
        return Ok(());
    };
    narrator.printed("egret bgp", &first.egret(&["bgp"])?);
    narrator.printed("egret cluster", &first.egret(&["cluster"])?);
    narrator.claim("both carry connections of one address", || {
        let seen = Load::start(&pair.site, RATE)?.run_for(WHILE)?;
        ensure!(seen.failed == 0, "{seen}");
        ensure!(seen.addresses.iter().eq([ADDRESS]), "{:?}", seen.addresses);
        let packets = |gateway: &crate::harness::Gateway, reason| -> Result<u64> {
            Ok(gateway.counter(reason)?.packets)
        };
        let sent = [
            packets(first, "translated_out")?,
            packets(second, "translated_out")?,
        ];
        ensure!(!sent.contains(&0), "{sent:?}");
        let relayed = packets(first, "relayed")? + packets(second, "relayed")?;
        let (one, other) = (sent[0], sent[1]);
        Ok(format!(
            "{} connections; gw1 sent {one} packets, gw2 {other}; {relayed} came to the other one first",
            seen.done
        ))
    })?;
    let load = Load::start(&pair.site, RATE)?;
    narrator.printed(
        "egret drain --no-wait",
        &first.egret(&["drain", "--no-wait"])?,
    );
    narrator.claim(
        "gw1 takes no new flows, and routers send to gw2 only",
        || {
            pair.owns(&[0, 256])?;
            pair.drained(0)?;
            pair.ways(1)?;
            Ok("drained".to_owned())
        },
    )?;
    narrator.claim("no connection fails meanwhile", || {
        let seen = load.stop()?;
        ensure!(seen.failed == 0, "{seen}");
        Ok(format!("0 of {}", seen.done))
    })
}

/// The first gateway is gone then.
fn stop(mut pair: Members, narrator: &mut Narrator) -> Result<()> {
    let first = pair.gateways.remove(0);
    narrator.claim("gw1 is stopped, and nothing fails", || {
        first.finish()?;
        let seen = Load::start(&pair.site, RATE)?.run_for(WHILE)?;
        ensure!(seen.failed == 0, "{seen}");
        Ok(format!("0 of {}", seen.done))
    })?;
    pair.down()
}

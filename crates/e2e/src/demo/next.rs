//! The gateway runs on: what to type, until Ctrl-C.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use lab::Site;

use super::Narrator;
use super::stage::Database;
use crate::harness::{Gateway, program};

/// How often to look whether somebody has killed the daemon.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a killed daemon stays dead: long enough to try what goes on without it.
const DEAD_FOR: Duration = Duration::from_secs(15);

/// Returns when the end is wanted.
pub(super) fn stay(site: &Site, gateway: &mut Gateway, narrator: &mut Narrator) -> Result<()> {
    narrator.act("Yours")?;
    narrator.say(&guide(site, gateway)?);
    while !narrator.interrupt().wait(LOOK_EVERY) {
        // Ctrl-C reaches the daemon, too, and it may be the first to act.
        if gateway.is_running()? || narrator.interrupt().wait(LOOK_EVERY) {
            continue;
        }
        narrator.say(&format!(
            "egretd has ended; packets go on without it. It is started again in {} s.",
            DEAD_FOR.as_secs()
        ));
        if narrator.interrupt().wait(DEAD_FOR) {
            break;
        }
        gateway.start()?;
        let status = gateway.status()?;
        narrator.say(&format!(
            "egretd is process {} now and has taken over {} flows.",
            status.pid,
            gateway.count_flows()?
        ));
    }
    narrator.interrupt().forget();
    println!();
    Ok(())
}

fn guide(site: &Site, gateway: &Gateway) -> Result<String> {
    let db = Database::of(site)?;
    let egret = format!(
        "{} --socket {}",
        near(&program("egret")?),
        gateway.socket().display()
    );
    let enter = |pod: &str| -> Result<String> {
        Ok(format!(
            "nsenter --net=/run/netns/{}",
            site.host(pod)?.namespace()
        ))
    };
    let (a1, b1, address) = (enter("a1")?, enter("b1")?, db.address);
    let url = db.url();
    Ok(format!(
        "It runs on until Ctrl-C. From another terminal, as root:

  {a1} curl {url}
  {b1} curl {url}
  {a1} ping {address}

  {egret} watch
  {egret} status
  {egret} flows
  {egret} counters

  {egret} config > my.yaml    # change it, then
  {egret} apply my.yaml       # live flows are not touched

  kill -9 {}    # packets go on; this demo starts egretd again after {} s",
        gateway.status()?.pid,
        DEAD_FOR.as_secs(),
    ))
}

/// A path, as short as the current directory allows.
fn near(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}

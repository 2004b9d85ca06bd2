//! What `cargo xtask demo` shows: a gateway at work between two teams and a guarded database.
//!
//! The acts, in order; each one states claims and looks whether they hold:
//!
//! ```text
//! refused ─► gateway starts ─► passing ─► tables ─► killed ─► cluster ─► runs on until Ctrl-C │ removed
//! ```
//!
//! A claim that does not hold is shown and counted, and the demo goes on: what follows may say why.

mod cluster;
mod interrupt;
mod killed;
mod narrator;
mod next;
mod passing;
mod refused;
mod stage;
mod started;
mod tables;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use lab::Site;

pub use interrupt::{Interrupt, Interrupted};
pub use narrator::Narrator;

use crate::harness::Gateway;

/// What is to be shown, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// End after the last act instead of waiting for Ctrl-C.
    pub once: bool,
    /// What the site is called.
    pub name: String,
}

/// Plays the demo. Whatever happens in it, the site is gone when this returns.
///
/// # Errors
///
/// If the site cannot be built, the gateway does not start, or somebody interrupts an act. A claim
/// that does not hold is no error here; the narrator has counted it.
pub fn play(options: &Options, narrator: &mut Narrator) -> Result<()> {
    let site = stage::build(&options.name)?;
    stage::introduce(&site, narrator)?;
    refused::show(&site, narrator)?;

    let mut gateway = Gateway::prepare(site.host("gw")?, stage::POLICY)?;
    let shown = acts(&site, &mut gateway, narrator)
        .and_then(|()| cluster::show(&options.name, narrator))
        .and_then(|()| match options.once {
            true => Ok(()),
            false => next::stay(&site, &mut gateway, narrator),
        });
    match shown {
        Ok(()) if narrator.broken() == 0 => remove(site, gateway, narrator),
        // Dropped unfinished, a gateway says what may have gone wrong.
        Ok(()) => Ok(()),
        // What was under way then has failed for that reason, whatever it says.
        Err(_) if narrator.interrupt().is_requested() => {
            gateway.discard()?;
            bail!(Interrupted)
        }
        Err(error) => Err(error),
    }
}

/// Everything that is shown of the gateway.
fn acts(site: &Site, gateway: &mut Gateway, narrator: &mut Narrator) -> Result<()> {
    started::show(gateway, narrator)?;
    passing::show(site, narrator)?;
    let transfer = tables::show(site, gateway, narrator)?;
    killed::show(site, gateway, transfer, narrator)
}

fn remove(site: Site, gateway: Gateway, narrator: &mut Narrator) -> Result<()> {
    narrator.act("The end")?;
    narrator.claim("egretd --uninstall removes every trace", || {
        gateway.finish()?;
        Ok("nothing is pinned, no program is on an interface".to_owned())
    })?;
    let name = site.name().to_owned();
    let namespaces: Vec<String> = site
        .hosts()
        .iter()
        .map(|host| host.namespace().to_owned())
        .collect();
    narrator.claim("the site is gone", || {
        site.down()?;
        let left: Vec<&String> = namespaces
            .iter()
            .filter(|it| Path::new("/run/netns").join(it).exists())
            .collect();
        ensure!(left.is_empty(), "{left:?} are left");
        let directory = Path::new(lab::ROOT).join(name);
        ensure!(!directory.exists(), "{} is left", directory.display());
        Ok(format!("{} namespaces removed", namespaces.len()))
    })
}

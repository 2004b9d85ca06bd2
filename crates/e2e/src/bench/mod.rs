//! What one core does: Egret beside the same traffic through the kernel's own NAT, in one run.
//!
//! Every contender has a lane, a site of its own; all lanes are up at the same time, and take turns.
//! The measurements, in their order:
//!
//! - `packets`: packets a second of established flows, from a packet socket.
//! - `frames`: the same where XDP alone handles them.
//! - `flows`: new flows a second.
//! - `tcp`: real transfers.
//! - `program`: the XDP program by itself.
//!
//! How to read the figures, and what they do not say, stands in `docs/bench/README.md`.

mod figures;
mod machine;
mod options;
mod report;

mod lane;
mod rig;

mod compare;
mod load;

mod flows;
mod frames;
mod packets;
mod program;
mod tcp;

mod instructions;
mod ring;
mod xdp;

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

pub use machine::Machine;
pub use options::{Effort, Options, Part, Request, USAGE};
pub use report::{Report, Section};

use crate::demo::{Interrupt, Interrupted};
use lane::Contender;
use rig::Rig;

/// Measures what is asked for. Everything that is made for it is gone when this returns.
///
/// # Errors
///
/// If something does not work, if a contender does not do what it is measured for, or if somebody
/// breaks it off.
pub fn run(options: &Options) -> Result<Report> {
    ensure!(
        !cfg!(debug_assertions),
        "figures of a debug build mean nothing; type `cargo xtask bench`"
    );
    let interrupt = Interrupt::catch()?;
    let machine = Machine::look()?;
    let started = Instant::now();
    let mut rig = Rig::open(machine.core(), options.effort, interrupt)?;
    match measure_all(&mut rig, &options.parts) {
        Ok((mode, sections)) => {
            rig.close()?;
            Ok(Report {
                machine,
                mode,
                rounds: options.effort.rounds,
                is_quick: options.is_quick,
                sections,
                took: started.elapsed(),
            })
        }
        Err(_) if rig.is_interrupted() => {
            rig.discard()?;
            bail!(Interrupted)
        }
        Err(error) => Err(error),
    }
}

fn measure_all(rig: &mut Rig, parts: &[Part]) -> Result<(String, Vec<Section>)> {
    let mode = mode(rig)?;
    let mut sections = Vec::new();
    for part in parts {
        let started = Instant::now();
        let measured = match part {
            Part::Packets => packets::measure(rig),
            Part::Frames => frames::measure(rig),
            Part::Flows => flows::measure(rig),
            Part::Tcp => tcp::measure(rig),
            Part::Program => program::measure(rig),
        };
        let section = measured.with_context(|| format!("cannot measure {}", part.name()))?;
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{} ({}): {seconds:.0} s", section.title, part.name());
        sections.push(section);
    }
    Ok((mode, sections))
}

/// How Egret's program hangs on its interfaces, as its daemon says.
fn mode(rig: &mut Rig) -> Result<String> {
    let status = rig.lane_mut(Contender::Egret)?.gateway()?.status()?;
    let modes = status.interfaces.iter().map(|it| match it.mode {
        Some(mode) => format!("{}: {mode:?}", it.name).to_lowercase(),
        None => format!("{}: none", it.name),
    });
    Ok(modes.collect::<Vec<_>>().join(", "))
}

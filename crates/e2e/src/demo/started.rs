//! The gateway program starts.

use std::time::Instant;

use anyhow::{Result, ensure};
use api::http::AttachMode;

use super::Narrator;
use super::stage::{TEAM_A, TEAM_B};
use crate::harness::Gateway;

pub(super) fn show(gateway: &mut Gateway, narrator: &mut Narrator) -> Result<()> {
    narrator.act("The gateway starts")?;
    narrator.say(&format!(
        "egretd is told that 10.1.0.0/24 leaves as {},\nand 10.2.0.0/24 as {}.",
        TEAM_A.join(" or "),
        TEAM_B.join(" or "),
    ));
    let started = Instant::now();
    gateway.start()?;
    let took = started.elapsed();

    narrator.claim("egretd serves", || {
        let status = gateway.status()?;
        let instructions = status
            .program
            .instructions
            .map_or_else(String::new, |count| {
                format!("; {count} instructions verified")
            });
        Ok(format!(
            "process {} after {} ms{instructions}",
            status.pid,
            took.as_millis()
        ))
    })?;
    narrator.claim("its program is on both interfaces, in the driver", || {
        let interfaces = gateway.status()?.interfaces;
        let native = |mode| mode == Some(AttachMode::Native);
        ensure!(
            interfaces.len() == 2,
            "there are {} interfaces",
            interfaces.len()
        );
        ensure!(
            interfaces.iter().all(|it| native(it.mode)),
            "not everywhere: {interfaces:?}"
        );
        let names: Vec<&str> = interfaces.iter().map(|it| it.name.as_str()).collect();
        Ok(format!("native XDP on {}", names.join(" and ")))
    })
}

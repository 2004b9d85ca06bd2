//! With the gateway: everything that was refused passes, under each team's own addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use lab::{Host, Site};

use super::Narrator;
use super::stage::{Database, TEAM_A, TEAM_B};

/// Connections that show that a client keeps its address.
const CONNECTIONS: usize = 5;

pub(super) fn show(site: &Site, narrator: &mut Narrator) -> Result<()> {
    let db = Database::of(site)?;
    narrator.act("What was refused passes, under each team's own address")?;

    for (name, team) in [("a1", &TEAM_A[..]), ("a2", &TEAM_A), ("b1", &TEAM_B)] {
        let pod = site.host(name)?;
        narrator.claim(
            &format!("{name} fetches a page, as {}", team.join(" or ")),
            || {
                let seen = db.sees(pod)?;
                ensure!(is_one_of(*seen.ip(), team), "db saw {seen}");
                Ok(format!("db saw {seen}"))
            },
        )?;
    }
    let pod = site.host("a1")?;
    narrator.claim("a1 keeps its address from connection to connection", || {
        keeps(pod, &db)
    })?;
    narrator.claim("UDP is answered", || {
        let answer = pod.ask(db.datagrams(), b"hello")?;
        ensure!(
            is_one_of(*answer.seen.ip(), &TEAM_A),
            "db saw {}",
            answer.seen
        );
        ensure!(
            answer.payload == b"hello",
            "the answer was another: {:?}",
            answer.payload
        );
        Ok(format!("db saw {}", answer.seen))
    })?;
    narrator.claim("a ping is answered", || {
        let (answered, summary) = db.pinged(pod)?;
        ensure!(answered, "{summary}");
        Ok(summary)
    })?;
    narrator.claim("the firewall, unchanged, has let them in", || {
        let admissions = db.host.admissions()?;
        ensure!(admissions.admitted > 0, "no packet was let in");
        Ok(format!("{} packets let in", admissions.admitted))
    })
}

/// Paired pooling (RFC 4787, REQ-2).
fn keeps(pod: &Host, db: &Database) -> Result<String> {
    let mut addresses = BTreeSet::new();
    for _ in 0..CONNECTIONS {
        addresses.insert(*db.sees(pod)?.ip());
    }
    ensure!(addresses.len() == 1, "db saw {addresses:?}");
    let address = addresses
        .first()
        .map(Ipv4Addr::to_string)
        .unwrap_or_default();
    Ok(format!("{CONNECTIONS} connections, all from {address}"))
}

pub(super) fn is_one_of(address: impl Into<IpAddr>, team: &[&str]) -> bool {
    team.contains(&address.into().to_string().as_str())
}

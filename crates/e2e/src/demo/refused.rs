//! Without a gateway program: the database refuses the pods, whatever they try.

use anyhow::{Result, bail, ensure};
use lab::{Error, Site};

use super::Narrator;
use super::stage::Database;

pub(super) fn show(site: &Site, narrator: &mut Narrator) -> Result<()> {
    let db = Database::of(site)?;
    narrator.act("Without a gateway, the database refuses the pods")?;
    narrator.say("gw only routes, so packets arrive with the pods' own addresses.");

    for name in ["a1", "b1"] {
        let pod = site.host(name)?;
        narrator.claim(&format!("{name} is refused a page"), || {
            match pod.curl(&db.url()) {
                Ok(body) => bail!("it was answered: {body}"),
                // curl is there and says what it met; anything else would prove nothing.
                Err(Error::Tool { stderr, .. }) => Ok(reason(&stderr)),
                Err(other) => Err(other.into()),
            }
        })?;
    }
    let pod = site.host("a1")?;
    narrator.claim("a1 gets no answer by UDP", || {
        match pod.ask(db.datagrams(), b"hello") {
            Ok(answer) => bail!("it was answered as {}", answer.seen),
            Err(Error::Socket { source, .. }) => Ok(source.to_string()),
            Err(error @ Error::NoAnswer { .. }) => Ok(error.to_string()),
            Err(other) => Err(other.into()),
        }
    })?;
    narrator.claim("a1 gets no answer to a ping", || {
        let (answered, summary) = db.pinged(pod)?;
        ensure!(!answered, "{summary}");
        Ok(summary)
    })?;
    narrator.claim("the firewall has let nobody in", || {
        let admissions = db.host.admissions()?;
        ensure!(
            admissions.admitted == 0,
            "{} packets were let in",
            admissions.admitted
        );
        ensure!(admissions.refused > 0, "no packet arrived");
        Ok(format!("{} packets refused", admissions.refused))
    })
}

/// What curl met, without what it was asked.
fn reason(complaint: &str) -> String {
    let (_, reason) = complaint.rsplit_once(": ").unwrap_or_default();
    format!("curl: {reason}")
}

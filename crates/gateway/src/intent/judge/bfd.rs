//! Timers and sessions of BFD.

use std::{net::IpAddr, time::Duration};

use api::{Config, config};

use super::{
    super::{
        report::{Path, Report},
        routing::{Bfd, BfdAuthentication, BfdProfile, BfdSession, SESSIONS_MAX},
        words::{self, Complaint, complaint, quoted},
    },
    Names, accept, given, required,
    settings::{PATH_MAX, absolute},
};

/// Faster is beyond what a busy kernel wakes a program in time for.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Slower is what BGP's own hold timer is for.
const INTERVAL_MAX: Duration = Duration::from_secs(10);
const INTERVAL_DEFAULT: Duration = Duration::from_millis(300);
const MULTIPLIER_DEFAULT: u8 = 3;

const KINDS: [(&str, bool); 2] = [("sha1", false), ("meticulous-sha1", true)];

pub(super) fn judge(config: &Config, report: &mut Report<'_>) -> Bfd {
    let section = Path::ROOT.field("bfd");
    let mut names = Names::of("profile");
    let mut profiles = Vec::new();
    if let Some((path, list)) = given(report, &section, "profiles", &config.bfd.profiles) {
        for (index, written) in list.iter().enumerate() {
            profiles.extend(profile(written, &path.item(index), &mut names, report));
        }
    }
    let mut names = Names::of("BFD session");
    let mut sessions = Vec::new();
    if let Some((path, list)) = given(report, &section, "sessions", &config.bfd.sessions) {
        if list.len() > SESSIONS_MAX {
            let message = format!("{} sessions; at most {SESSIONS_MAX} fit", list.len());
            report.error(&path, complaint(message, "leave some out"));
        }
        for (index, written) in list.iter().enumerate() {
            let path = path.item(index);
            sessions.extend(session(written, &path, &profiles, &mut names, report));
        }
    }
    Bfd { profiles, sessions }
}

fn profile(
    written: &config::BfdProfile,
    path: &Path,
    names: &mut Names,
    report: &mut Report<'_>,
) -> Option<BfdProfile> {
    let help = "add `name: fast`, which peers say";
    let name = required(report, path, "name", &written.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::name("profile", word))
    });
    let mut timer = |field, word: &Option<String>| match given(report, path, field, word) {
        Some((path, word)) => accept(report, &path, interval(word)),
        None => Some(INTERVAL_DEFAULT),
    };
    let transmit = timer("transmit", &written.transmit);
    let receive = timer("receive", &written.receive);
    let multiplier = match given(report, path, "multiplier", &written.multiplier) {
        Some((path, number)) => accept(report, &path, multiplier(*number)),
        None => Some(MULTIPLIER_DEFAULT),
    };
    let is_passive = given(report, path, "passive", &written.passive)
        .map_or(Some(false), |(path, word)| {
            accept(report, &path, words::switch(word))
        });
    let authentication = given(report, path, "authentication", &written.authentication);
    let authentication = match authentication {
        Some((path, written)) => Some(authenticated(written, &path, report)?),
        None => None,
    };
    Some(BfdProfile {
        name: name?,
        transmit: transmit?,
        receive: receive?,
        multiplier: multiplier?,
        is_passive: is_passive?,
        authentication,
    })
}

fn interval(word: &str) -> Result<Duration, Complaint> {
    let interval = words::interval(word)?;
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        return Ok(interval);
    }
    let message = format!("{} is not from 10ms to 10s", quoted(word));
    let help = "write `100ms`, or `300ms` where the machine has much else to do";
    Err(complaint(message, help))
}

fn multiplier(number: u64) -> Result<u8, Complaint> {
    u8::try_from(number)
        .ok()
        .filter(|number| *number != 0)
        .ok_or_else(|| {
            let message = format!("{number} packets cannot be waited for");
            complaint(message, "write a number from 1 to 255; 3 is usual")
        })
}

fn authenticated(
    written: &config::BfdAuthentication,
    path: &Path,
    report: &mut Report<'_>,
) -> Option<BfdAuthentication> {
    let help = "add `kind: meticulous-sha1`";
    let is_meticulous = required(report, path, "kind", &written.kind, help)
        .and_then(|(path, word)| accept(report, &path, words::choice("kind", &KINDS, word)));
    let help = "add `key: 1`, the number that both sides have for the secret";
    let key = required(report, path, "key", &written.key, help).and_then(|(path, number)| {
        let key = u8::try_from(*number).map_err(|_| {
            complaint(
                format!("{number} is no key"),
                "write a number from 0 to 255",
            )
        });
        accept(report, &path, key)
    });
    let help = "add `secret_file: /etc/egret/bfd.secret`";
    let secret = required(report, path, "secret_file", &written.secret_file, help).and_then(
        |(path, word)| {
            let file = absolute(word, PATH_MAX, "/etc/egret/bfd.secret");
            accept(report, &path, file)
        },
    );
    Some(BfdAuthentication {
        is_meticulous: is_meticulous?,
        key: key?,
        secret: secret?,
    })
}

fn session(
    written: &config::BfdSession,
    path: &Path,
    profiles: &[BfdProfile],
    names: &mut Names,
    report: &mut Report<'_>,
) -> Option<BfdSession> {
    let help = "add `name: router-1`; reports call the session by it";
    let name = required(report, path, "name", &written.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::name("BFD session", word))
    });
    let help = "add `address: 198.51.100.1`, the other side's";
    let address = required(report, path, "address", &written.address, help)
        .and_then(|(path, word)| accept(report, &path, words::router(word)));
    let interface = given(report, path, "interface", &written.interface)
        .and_then(|(path, word)| accept(report, &path, words::interface_name(word)));
    let source = given(report, path, "source", &written.source)
        .and_then(|(path, word)| accept(report, &path, words::router(word)));
    let hops = given(report, path, "multihop", &written.multihop)
        .map_or(Some(1), |(path, number)| {
            accept(report, &path, words::hops(*number))
        });
    let help = "add `profile:` and the name of one of `bfd.profiles`";
    let profile = required(report, path, "profile", &written.profile, help)
        .and_then(|(path, word)| known(word, profiles, &path, report));
    if hops.is_some_and(|hops| hops > 1) && written.source.is_none() {
        let message = format!("`{path}` has no `source`");
        let help = "a session over other routers is known by both of its addresses (RFC 5883 §3): \
                    add `source:` and an address of this gateway";
        report.error(path, complaint(message, help));
    }
    let is_on_a_link = matches!(address, Some(IpAddr::V6(it)) if it.is_unicast_link_local());
    if is_on_a_link && written.interface.is_none() {
        let message = format!("`{path}` does not say on which link its address is");
        let help = "every link has such addresses: add `interface: eth1`";
        report.error(&path.field("address"), complaint(message, help));
    }
    Some(BfdSession {
        name: name?,
        address: address?,
        interface,
        source,
        hops: hops?,
        profile: profile?,
    })
}

/// The name of a profile that there is.
pub(super) fn known(
    word: &str,
    profiles: &[BfdProfile],
    path: &Path,
    report: &mut Report<'_>,
) -> Option<String> {
    if profiles.iter().any(|profile| profile.name == word) {
        return Some(word.to_owned());
    }
    let message = format!("there is no BFD profile {}", quoted(word));
    let names: Vec<&str> = profiles.iter().map(|it| it.name.as_str()).collect();
    let help = match names.as_slice() {
        [] => format!("add `bfd: {{profiles: [{{name: {word}}}]}}`"),
        names => format!("the profiles are `{}`", names.join("`, `")),
    };
    report.error(path, complaint(message, help));
    None
}

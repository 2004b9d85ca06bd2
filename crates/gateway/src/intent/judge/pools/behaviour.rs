//! How a pool translates, and for how long it holds back the ports that are freed.

use std::time::Duration;

use abi::{Behaviour, Dependence, Protocol, Refusal};
use api::config;

use super::super::{
    super::{
        HoldDown,
        report::{Path, Report},
        words::{self, complaint, quoted, spelled},
    },
    accept, each, given,
};

/// Longer than this a port is not held back, it is lost.
const HOLD_MAX: Duration = Duration::from_secs(86_400);

/// What TCP must be able to send in one segment, because no IPv4 link has to carry more than 576
/// bytes at once (RFC 9293 §3.7.1); smaller ones are a way to make a gateway work in vain.
const MSS_MIN: u16 = 536;

/// How the pool translates. What stands in for something bad never takes effect: the report has an
/// error.
pub(super) fn judge(pool: &config::Pool, path: &Path, report: &mut Report<'_>) -> Behaviour {
    let mapping = modes(
        &pool.mapping,
        &path.field("mapping"),
        Dependence::Endpoint,
        report,
    );
    let filtering = modes(
        &pool.filtering,
        &path.field("filtering"),
        Dependence::Address,
        report,
    );
    let hairpins = switch(report, path, "hairpinning", &pool.hairpinning).unwrap_or(true);
    let mss = given(report, path, "mss", &pool.mss).and_then(|(path, bytes)| {
        let mss = u16::try_from(*bytes).ok().filter(|mss| *mss >= MSS_MIN);
        let help =
            format!("write a number from {MSS_MIN} to 65535, such as `1360`, or leave it out");
        let mss = mss.ok_or_else(|| complaint(format!("{bytes} bytes are no segment size"), help));
        accept(report, &path, mss)
    });
    let refusal = given(report, path, "refusal", &pool.refusal)
        .and_then(|(path, word)| accept(report, &path, words::refusal(word)))
        .unwrap_or(Refusal::Icmp);
    let behaviour = Behaviour::new(mapping, filtering, hairpins, mss.unwrap_or(0));
    let mut behaviour = by_address(pool, path, report)
        .into_iter()
        .fold(behaviour.refusing(refusal), Behaviour::with_by_address);
    if switch(report, path, "overload", &pool.overload).unwrap_or(false) {
        behaviour = behaviour.overloading();
        contradicts_overload(pool, path, report);
    }
    match switch(report, path, "parity", &pool.parity).unwrap_or(true) {
        true => behaviour,
        false => behaviour.with_any_parity(),
    }
}

/// The protocols of which the pool translates addresses alone: all, unless it says which.
fn by_address(pool: &config::Pool, path: &Path, report: &mut Report<'_>) -> Vec<Protocol> {
    let Some((path, list)) = given(report, path, "by_address", &pool.by_address) else {
        return Protocol::BY_ADDRESS.to_vec();
    };
    let found = each(report, &path, list, words::by_address);
    found.into_iter().map(|(_, protocol)| protocol).collect()
}

fn switch(report: &mut Report<'_>, path: &Path, name: &str, word: &Option<String>) -> Option<bool> {
    let (path, word) = given(report, path, name, word)?;
    accept(report, &path, words::switch(word))
}

/// Whoever has an overloaded port of TCP is found by the remote alone, so nothing else can be said
/// of it.
fn contradicts_overload(pool: &config::Pool, path: &Path, report: &mut Report<'_>) {
    for (section, word) in [
        ("mapping", &pool.mapping.tcp),
        ("filtering", &pool.filtering.tcp),
    ] {
        let Some((path, word)) = given(report, &path.field(section), "tcp", word) else {
            continue;
        };
        let strictest = Dependence::AddressAndPort.label();
        if word != strictest && words::dependence(word).is_ok() {
            let message = format!(
                "`{word}` {section} of TCP contradicts `overload`: a port that several flows share \
                 is no client's own, and only a flow's remote tells whose a packet is"
            );
            let help = format!("write `{strictest}`, leave `tcp` out, or remove `overload`");
            report.error(&path, complaint(message, help));
        }
    }
}

/// How long freed ports are held back, and how many.
pub(super) fn hold_down(pool: &config::Pool, path: &Path, report: &mut Report<'_>) -> HoldDown {
    let HoldDown { time, ports } = HoldDown::DEFAULT;
    let time = given(report, path, "hold_down", &pool.hold_down)
        .and_then(|(path, word)| {
            let time = words::duration(word).and_then(|time| match time <= HOLD_MAX {
                true => Ok(time),
                false => Err(complaint(
                    format!("{} is longer than {}", quoted(word), spelled(HOLD_MAX)),
                    "write a duration such as `120s`; `0s` holds nothing back",
                )),
            });
            accept(report, &path, time)
        })
        .unwrap_or(time);
    let ports = given(report, path, "held_ports", &pool.held_ports)
        .and_then(|(path, number)| {
            let found = u32::try_from(*number).ok().filter(|it| *it <= ports);
            let help = format!("write a number from 0 to {ports}, or leave it out for all");
            let found = found
                .ok_or_else(|| complaint(format!("an address does not have {number} ports"), help));
            accept(report, &path, found)
        })
        .unwrap_or(ports);
    HoldDown { time, ports }
}

fn modes(
    modes: &config::Modes,
    path: &Path,
    default: Dependence,
    report: &mut Report<'_>,
) -> [Dependence; 3] {
    [
        ("tcp", &modes.tcp),
        ("udp", &modes.udp),
        ("icmp", &modes.icmp),
    ]
    .map(|(field, word)| {
        given(report, path, field, word)
            .and_then(|(path, word)| accept(report, &path, words::dependence(word)))
            .unwrap_or(default)
    })
}

//! Addresses that clients dial and that lead to targets elsewhere. An endpoint is a rule whose flows go to
//! somebody else than they were sent to; it stands before all other rules, because it is about one address.

use std::net::IpAddr;

use abi::Ip6;
use api::{Config, config};
use ipnet::IpNet;

use super::{
    super::{
        FixedPrefix, Prefix64, Rule, Service, Target,
        report::{Path, Report},
        words::{self, complaint, quoted},
    },
    Names, accept, given,
    pools::Judged,
    required, rules,
};

/// What an endpoint must fit in with.
pub(super) struct Surroundings<'a> {
    pub pools: &'a Judged,
    pub prefixes: &'a [Prefix64],
    pub fixed: &'a [FixedPrefix],
}

/// The rules of the endpoints, each with where it was written.
pub(super) fn judge(
    config: &Config,
    around: &Surroundings<'_>,
    names: &mut Names,
    report: &mut Report<'_>,
) -> Vec<(Path, Rule)> {
    let Some((path, list)) = given(report, &Path::ROOT, "endpoints", &config.endpoints) else {
        return Vec::new();
    };
    let mut judged: Vec<(Path, Rule)> = Vec::new();
    for (index, endpoint) in list.iter().enumerate() {
        let path = path.item(index);
        if let Some(rule) = one(endpoint, &path, around, names, report) {
            judged.push((path, rule));
        }
    }
    for (path, rule) in &judged {
        let Some(Target { address, .. }) = rule.target else {
            continue;
        };
        let net = IpNet::from(address);
        // Of one that leads to itself and its own ports that is said already.
        let is_itself = rule.destinations == [net] && rule.target.is_some_and(|it| it.shift == 0);
        let leads_on = |(_, other): &&(Path, Rule)| !is_itself && other.destinations == [net];
        if let Some((other, by)) = judged.iter().find(leads_on) {
            let (line, by) = (report.line(other), &by.name);
            let message = format!("`{address}` is the address of endpoint `{by}` (line {line})");
            let help = "an endpoint does not lead to another one: write the target itself";
            report.error(&path.field("to"), complaint(message, help));
        }
    }
    judged
}

fn one(
    endpoint: &config::Endpoint,
    path: &Path,
    around: &Surroundings<'_>,
    names: &mut Names,
    report: &mut Report<'_>,
) -> Option<Rule> {
    let help = "add `name: warehouse`; reports call the endpoint by it";
    let name = required(report, path, "name", &endpoint.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::name("endpoint", word))
    });
    let help = "add `address: 10.99.0.10`, which clients dial";
    let address =
        required(report, path, "address", &endpoint.address, help).and_then(|(path, word)| {
            let address = accept(report, &path, words::host(word))?;
            nobodys(address, &path, around, report);
            Some(address)
        });
    let service = match given(report, path, "service", &endpoint.service) {
        Some((path, word)) => accept(report, &path, words::service(word)),
        None => (!report.is_broken(&path.field("service"))).then_some(Service::Any),
    };
    let help = "add `to: 203.0.113.20:5432`, the target and its port";
    let target = required(report, path, "to", &endpoint.to, help)
        .and_then(|(path, word)| target(word, service, &path, around, report));
    let owners = Some(&around.pools.owners);
    let sources = rules::sources(&endpoint.sources, path, owners, report);
    let help = "add `pool:` and the name of the pool that the flows leave from";
    let action = required(report, path, "pool", &endpoint.pool, help)
        .and_then(|(path, name)| rules::pool(name, &path, around.pools, report));
    let quota = rules::quota(&endpoint.quota, path, report);
    let (address, target) = (address?, target?);
    fits(address, target, path, around, report);
    reached(&sources, address, path, around, report);
    served(endpoint, target, path, around, report);
    let rule = Rule {
        name: name?,
        sources,
        destinations: vec![IpNet::from(address)],
        services: vec![service?],
        action: action?,
        target: Some(target),
        quota,
    };
    (!rule.sources.is_empty()).then_some(rule)
}

/// The address must mean nothing else to the gateway.
fn nobodys(address: IpAddr, path: &Path, around: &Surroundings<'_>, report: &mut Report<'_>) {
    let help = "clients dial an endpoint by an address of its own: write one that is free";
    if let Some(owned) = around.pools.owned(address, report) {
        let message = format!("`{address}` is {owned}");
        report.error(path, complaint(message, help));
    }
    for prefix in around.fixed {
        for (end, net) in [("internal", prefix.internal), ("external", prefix.external)] {
            if net.contains(&address) {
                let name = &prefix.name;
                let message =
                    format!("`{address}` is in `{net}`, which is `{end}` of prefix `{name}`");
                report.error(path, complaint(message, help));
            }
        }
    }
    stands_for_another(address, path, around, report);
}

/// An address that stands for an IPv4 one is no host's.
fn stands_for_another(
    address: IpAddr,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) {
    let mut prefixes = around.prefixes.iter();
    if let Some(prefix) = prefixes.find(|it| it.extract(&Ip6::from(address)).is_some()) {
        let message = format!("`{address}` is of `{prefix}`, one of `nat64.prefixes`");
        let help = "its addresses stand for IPv4 ones: write the IPv4 address itself";
        report.error(path, complaint(message, help));
    }
}

/// The target, and how its ports follow from those that are dialled.
fn target(
    word: &str,
    service: Option<Service>,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Target> {
    let (host, port) = words::host_and_port(word);
    let address = accept(report, path, words::host(host))?;
    if let Some(owned) = around.pools.owned(address, report) {
        let message = format!("`{address}` is {owned}");
        let help = "write the address of the target itself";
        report.error(path, complaint(message, help));
        return None;
    }
    stands_for_another(address, path, around, report);
    let Some(port) = port else {
        return Some(Target { address, shift: 0 });
    };
    let port = accept(report, path, words::port(port))?;
    let (first, last) = match service? {
        Service::Ports(abi::Protocol::Tcp | abi::Protocol::Udp, first, last) => (first, last),
        Service::Any | Service::Protocol(_) | Service::Ports(..) => {
            let message = format!(
                "{} has a port, and `service` names none to turn into it",
                quoted(word)
            );
            let help = "write a port of TCP or UDP, `service: tcp/5432`; or the target without one, \
                        and ports stay as they are";
            report.error(path, complaint(message, help));
            return None;
        }
    };
    if port.checked_add(last - first).is_none() {
        let count = u32::from(last - first) + 1;
        let message = format!("{} leaves no {count} ports up to 65535", quoted(word));
        let help = "dialled ports stand for as many of the target's, in order: begin lower";
        report.error(path, complaint(message, help));
        return None;
    }
    let shift = port.wrapping_sub(first);
    Some(Target { address, shift })
}

/// Who dials an address must be able to have its target's answers.
fn fits(
    address: IpAddr,
    target: Target,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) {
    let to = target.address;
    let (message, help) = match (address, to) {
        (IpAddr::V4(_), IpAddr::V6(_)) => (
            format!("who dials `{address}` has IPv4, and `{to}` has not"),
            "write an IPv4 target, or an IPv6 address to dial",
        ),
        (IpAddr::V6(_), IpAddr::V4(_)) if around.prefixes.is_empty() => (
            format!(
                "who dials `{address}` has IPv6, and no `nat64.prefixes` stand for who has IPv4"
            ),
            "add `nat64: { prefixes: [64:ff9b::/96] }`: errors from routers on the way come by it",
        ),
        _ if address == to && target.shift == 0 => (
            format!("`{address}` leads to itself"),
            "write a rule, which leaves targets as they are",
        ),
        _ => return,
    };
    report.error(&path.field("to"), complaint(message, help));
}

/// Somebody must be able to dial it.
fn reached(
    sources: &[IpNet],
    address: IpAddr,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) {
    let can_dial = |net: &IpNet| match (net, address) {
        (IpNet::V4(_), IpAddr::V4(_)) | (IpNet::V6(_), IpAddr::V6(_)) => true,
        // By the address that stands for it.
        (IpNet::V6(_), IpAddr::V4(_)) => !around.prefixes.is_empty(),
        (IpNet::V4(_), IpAddr::V6(_)) => false,
    };
    if !sources.is_empty() && !sources.iter().any(can_dial) {
        let message =
            format!("nobody in `sources` can dial `{address}`: it is of another version of IP");
        let help = "write sources of the address's own version";
        report.error(&path.field("sources"), complaint(message, help));
    }
}

/// The pool must have an address from which the target can be reached.
fn served(
    endpoint: &config::Endpoint,
    target: Target,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) {
    let name = endpoint.pool.as_deref().unwrap_or_default();
    let pools = around.pools;
    let pool = pools.pools.iter().find(|pool| pool.name == name);
    let Some(pool) = pool.filter(|_| !pools.doubtful.contains(name)) else {
        return;
    };
    let to = target.address;
    if !pool.has(|own| own.is_ipv4() == to.is_ipv4()) {
        let message = format!(
            "pool {} has no address from which `{to}` can be reached",
            quoted(name)
        );
        let help = "add one of the target's version of IP to the pool, or choose another pool";
        report.error(&path.field("pool"), complaint(message, help));
    }
}

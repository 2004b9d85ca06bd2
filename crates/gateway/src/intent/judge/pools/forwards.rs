//! What is reached from outside through a pool's addresses, and that each external port leads to one
//! place.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use abi::limits::{CALLERS_MAX, FORWARDED_MAX};
use api::config;

use super::{
    super::{
        super::{
            Forward, Limits, Pool, PortRange, Protocol, Service,
            report::{Path, Report},
            words::{self, complaint, quoted},
        },
        Names, accept, each, given, required,
    },
    Judged, blocks,
};

/// Which forwards have which external ports, by protocol, address and last port.
type Taken = BTreeMap<(Protocol, Ipv4Addr, u16), (u16, Path)>;

impl Judged {
    /// The names of pools through which something is reached.
    pub(in super::super) fn forwarding(&self) -> impl Iterator<Item = &str> {
        let pools = self.pools.iter().filter(|pool| !pool.forwards.is_empty());
        pools.map(|pool| pool.name.as_str())
    }
}

/// Judges the forwards of all pools, of which the addresses are known.
pub(super) fn judge(
    list: &[config::Pool],
    pools: &Path,
    judged: &mut Judged,
    report: &mut Report<'_>,
) {
    let (mut names, mut taken) = (Names::of("forward"), Taken::new());
    for (index, written) in list.iter().enumerate() {
        let path = pools.item(index);
        let Some((path, forwards)) = given(report, &path, "forwards", &written.forwards) else {
            continue;
        };
        let called = written.name.as_deref().unwrap_or_default();
        let found = judged.pools.iter().position(|pool| pool.name == called);
        let pool = found.and_then(|found| judged.pools.get(found)).cloned();
        let mut good = Vec::new();
        for (index, forward) in forwards.iter().enumerate() {
            let path = path.item(index);
            let forward = one(forward, &path, (pool.as_ref(), judged), &mut names, report);
            if let Some(forward) = forward {
                claim(&forward, &path, &mut taken, report);
                let foreign = pool.as_ref().and_then(|it| blocks::foreign(&forward, it));
                if let Some(PortRange { first, last }) = foreign {
                    let message = format!(
                        "ports of this pool from {first} to {last} are clients' own (`blocks`), and not \
                         the target's"
                    );
                    let help = "write ports outside of these, or of the target's own block";
                    report.error(&path.field("service"), complaint(message, help));
                }
                good.push(forward);
            }
        }
        if let Some(pool) = found.and_then(|found| judged.pools.get_mut(found)) {
            pool.forwards = good;
        }
    }
}

fn one(
    forward: &config::Forward,
    path: &Path,
    (pool, pools): (Option<&Pool>, &Judged),
    names: &mut Names,
    report: &mut Report<'_>,
) -> Option<Forward> {
    let help = "add `name: web`; reports call the forward by it";
    let name = required(report, path, "name", &forward.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::name("forward", word))
    });
    let help = "add `service: tcp/443`, the external ports";
    let service = required(report, path, "service", &forward.service, help)
        .and_then(|(path, word)| service(&path, word, report));
    let address = address(forward, path, pool, report);
    let help = "add `to: 10.0.0.5:8443`, the internal host and its port";
    let target = required(report, path, "to", &forward.to, help)
        .and_then(|(path, word)| target(&path, word, service.map(|it| it.1), pools, report));
    let callers = callers(forward, path, report);
    let (protocol, ports) = service?;
    Some(Forward {
        name: name?,
        protocol,
        address: address?,
        ports,
        target: target?,
        callers: callers?,
    })
}

/// The protocol and the external ports.
fn service(path: &Path, word: &str, report: &mut Report<'_>) -> Option<(Protocol, PortRange)> {
    match accept(report, path, words::service(word))? {
        Service::Ports(protocol @ (Protocol::Tcp | Protocol::Udp), first, last) => {
            Some((protocol, PortRange { first, last }))
        }
        Service::Any | Service::Protocol(_) | Service::Ports(..) => {
            let message = format!("{} names no port to forward", quoted(word));
            let help = "write a port of TCP or UDP, `tcp/443`, or a range, `udp/5000-5099`";
            report.error(path, complaint(message, help));
            None
        }
    }
}

/// One of the pool's addresses.
fn address(
    forward: &config::Forward,
    path: &Path,
    pool: Option<&Pool>,
    report: &mut Report<'_>,
) -> Option<Ipv4Addr> {
    let all = pool.map_or(&[][..], |pool| &pool.addresses);
    let own: Vec<Ipv4Addr> = all.iter().filter_map(|it| ip4(*it)).collect();
    let Some((path, word)) = given(report, path, "address", &forward.address) else {
        if let [only] = own[..] {
            return Some(only);
        }
        if let (Some(some), false) = (own.first(), report.is_broken(&path.field("address"))) {
            let message = format!("`{path}` has no `address`, and its pool has {}", own.len());
            report.error(path, complaint(message, format!("add `address: {some}`")));
        }
        return None;
    };
    let address = accept(report, &path, words::host(word))?;
    if !all.is_empty() && !own.contains(&address) {
        let message = format!("`{address}` is not an address of this pool");
        let help = "write one of the pool's `addresses`, or add this one to them";
        report.error(&path, complaint(message, help));
        return None;
    }
    Some(address)
}

fn ip4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// The internal host, and the port that the first external one stands for.
fn target(
    path: &Path,
    word: &str,
    ports: Option<PortRange>,
    pools: &Judged,
    report: &mut Report<'_>,
) -> Option<(Ipv4Addr, u16)> {
    let (host, port) = match word.split_once(':') {
        // An IPv6 address has more than one, and stands in brackets before a port.
        Some((_, port)) if port.contains(':') => {
            let inner = word.strip_prefix('[').and_then(|it| it.split_once(']'));
            (inner.map_or(word, |(host, _)| host), None)
        }
        Some((host, port)) => (host, Some(port)),
        None => (word, None),
    };
    let host = accept(report, path, words::host(host))?;
    if let Some((entry, pool)) = pools.owners.get(&IpAddr::V4(host)) {
        let line = report.line(entry);
        let message = format!(
            "`{host}` is an external address of pool `{pool}` (line {line}), not an internal host"
        );
        report.error(
            path,
            complaint(message, "write the address of the host itself"),
        );
        return None;
    }
    let ports = ports?;
    let first = match port {
        Some(word) => accept(report, path, words::port(word))?,
        None => ports.first,
    };
    if first.checked_add(ports.last - ports.first).is_none() {
        let count = u32::from(ports.last - ports.first) + 1;
        let message = format!("{} leaves no {count} ports up to 65535", quoted(word));
        let help = "external ports stand for as many internal ones, in order: begin lower";
        report.error(path, complaint(message, help));
        return None;
    }
    Some((host, first))
}

/// Who may call; nobody in particular is everybody.
fn callers(
    forward: &config::Forward,
    path: &Path,
    report: &mut Report<'_>,
) -> Option<Vec<ipnet::Ipv4Net>> {
    let Some((path, list)) = given(report, path, "from", &forward.from) else {
        return (!report.is_broken(&path.field("from"))).then(Vec::new);
    };
    if list.is_empty() {
        let message = format!("`{path}` is an empty list");
        report.error(&path, complaint(message, "leave `from` out for everybody"));
        return None;
    }
    let mut callers: Vec<_> = each(report, &path, list, words::prefix4)
        .into_iter()
        .map(|(_, net)| net)
        .collect();
    callers.sort_unstable();
    callers.dedup();
    Some(callers)
}

/// Takes the external ports of a forward, which no other one has.
fn claim(forward: &Forward, path: &Path, taken: &mut Taken, report: &mut Report<'_>) {
    let Forward {
        protocol,
        address,
        ports,
        ..
    } = *forward;
    // Of those that end where this one begins or behind, the first one is the only one to meet it:
    // they do not meet each other.
    let behind = taken.range((protocol, address, ports.first)..=(protocol, address, u16::MAX));
    let met = behind.into_iter().next();
    if let Some((_, (_, other))) = met.filter(|(_, (first, _))| *first <= ports.last) {
        let line = report.line(other);
        let message = format!("a forward in line {line} has ports of these already");
        let help = "an external port leads to one place: write other ports, or another address";
        report.error(&path.field("service"), complaint(message, help));
        return;
    }
    taken.insert((protocol, address, ports.last), (ports.first, path.clone()));
}

/// There must be room for what is forwarded, beside the mappings that packets make.
pub(in super::super) fn room(pools: &[Pool], limits: Limits, report: &mut Report<'_>) {
    let forwards = || pools.iter().flat_map(|pool| &pool.forwards);
    let path = Path::ROOT.field("pools");
    let ports: usize = forwards()
        .map(|it| usize::from(it.ports.last - it.ports.first) + 1)
        .sum();
    // Two entries for each port: half of the table, which has two for each flow.
    let most = FORWARDED_MAX.min(limits.flows as usize / 2);
    if ports > most {
        let message = format!("{ports} ports are forwarded; at most {most} can be");
        let help = format!(
            "forward fewer; it is half of `limits.flows` at most, and never more than {FORWARDED_MAX}"
        );
        report.error(&path, complaint(message, help));
    }
    let callers: usize = forwards().map(|it| it.callers.len()).sum();
    if callers > CALLERS_MAX {
        let message = format!("the forwards name {callers} prefixes of callers");
        let help = format!("at most {CALLERS_MAX} fit: merge prefixes that lie side by side");
        report.error(&path, complaint(message, help));
    }
}

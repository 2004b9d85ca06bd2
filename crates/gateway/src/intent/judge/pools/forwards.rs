//! What is reached from outside through a pool's addresses, and that each external port leads to one
//! place.

use std::{collections::BTreeMap, net::IpAddr};

use abi::{
    Ip6, Prefix64,
    limits::{CALLERS_MAX, FORWARDED_MAX},
};
use api::{Config, config};
use ipnet::IpNet;

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
type Taken = BTreeMap<(Protocol, IpAddr, u16), (u16, Path)>;

/// Who can call whom.
struct Reach<'a> {
    /// The prefixes by which hosts of IPv6 know IPv4 addresses.
    prefixes: &'a [Prefix64],
    /// Whether some were written, good or not.
    are_written: bool,
}

impl Judged {
    /// The names of pools through which something is reached.
    pub(in super::super) fn forwarding(&self) -> impl Iterator<Item = &str> {
        let pools = self.pools.iter().filter(|pool| !pool.forwards.is_empty());
        pools.map(|pool| pool.name.as_str())
    }
}

/// Judges the forwards of all pools, of which the addresses are known.
pub(in super::super) fn judge(
    config: &Config,
    prefixes: &[Prefix64],
    judged: &mut Judged,
    report: &mut Report<'_>,
) {
    let Some((pools, list)) = given(report, &Path::ROOT, "pools", &config.pools) else {
        return;
    };
    let reach = Reach {
        prefixes,
        are_written: config.nat64.prefixes.is_some(),
    };
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
            let known = (pool.as_ref(), &*judged, &reach);
            let forward = one(forward, &path, known, &mut names, report);
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
    (pool, pools, reach): (Option<&Pool>, &Judged, &Reach<'_>),
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
    let help = "add `to: 10.0.0.5:8443`, the internal host and its port";
    let target = required(report, path, "to", &forward.to, help).and_then(|(path, word)| {
        target(&path, word, (service.map(|it| it.1), pools, reach), report)
    });
    let host = target.map(|(host, _)| host);
    let address = address(forward, path, (pool, host), report);
    if let (Some(address), Some(host)) = (address, host) {
        leads(address, host, path, (pools, reach), report);
    }
    let callers = callers(forward, path, (address, reach), report);
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

/// One of the pool's addresses, from which the host can be reached.
fn address(
    forward: &config::Forward,
    path: &Path,
    (pool, host): (Option<&Pool>, Option<IpAddr>),
    report: &mut Report<'_>,
) -> Option<IpAddr> {
    let all = pool.map_or(&[][..], |pool| &pool.addresses);
    let Some((path, word)) = given(report, path, "address", &forward.address) else {
        // Nobody who calls an IPv6 address has IPv4.
        let can_lead =
            |address: &&IpAddr| address.is_ipv4() || !host.is_some_and(|it| it.is_ipv4());
        let own: Vec<IpAddr> = all.iter().filter(can_lead).copied().collect();
        if let [only] = own[..] {
            return Some(only);
        }
        if let (Some(some), false) = (own.first(), report.is_broken(&path.field("address"))) {
            let message = format!("`{path}` has no `address`, and its pool has {}", own.len());
            report.error(
                path,
                complaint(message, format!("add `address: {}`", shown(*some))),
            );
        } else if let Some(other) = all.first() {
            let message =
                format!("`{other}` of this pool leads to no IPv4 host: its callers have IPv6");
            let help = "add an IPv4 address to the pool, or write a host that has IPv6";
            report.error(&path.field("to"), complaint(message, help));
        }
        return None;
    };
    let address = accept(report, &path, words::host(word))?;
    if !all.is_empty() && !all.contains(&address) {
        let message = format!("`{address}` is not an address of this pool");
        let help = "write one of the pool's `addresses`, or add this one to them";
        report.error(&path, complaint(message, help));
        return None;
    }
    Some(address)
}

/// An address as it is written in YAML, where a colon may mean something else.
fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("'{address}'"),
    }
}

/// Whether who calls an address can be understood by the host.
fn leads(
    address: IpAddr,
    host: IpAddr,
    path: &Path,
    (pools, reach): (&Judged, &Reach<'_>),
    report: &mut Report<'_>,
) {
    let line = pools
        .owners
        .get(&address)
        .map(|(entry, _)| report.line(entry));
    let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
    let (message, help) = match (address, host) {
        (IpAddr::V6(_), IpAddr::V4(_)) => (
            format!("callers of `{address}`{line} have IPv6, and `{host}` has not"),
            "write a host that has IPv6, or forward from an IPv4 address of the pool",
        ),
        (IpAddr::V4(_), IpAddr::V6(_)) if !reach.are_written => (
            format!(
                "callers of `{address}`{line} have IPv4, and no `nat64.prefixes` stand for them at \
                 `{host}`"
            ),
            "add `nat64: { prefixes: [64:ff9b::/96] }`, or forward from an IPv6 address of the pool",
        ),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => return,
    };
    report.error(&path.field("to"), complaint(message, help));
}

/// The internal host, and the port that the first external one stands for.
fn target(
    path: &Path,
    word: &str,
    (ports, pools, reach): (Option<PortRange>, &Judged, &Reach<'_>),
    report: &mut Report<'_>,
) -> Option<(IpAddr, u16)> {
    let (host, port) = words::host_and_port(word);
    let host = accept(report, path, words::host(host))?;
    if let Some(owned) = pools.owned(host, report) {
        let message = format!("`{host}` is {owned}, not an internal host");
        report.error(
            path,
            complaint(message, "write the address of the host itself"),
        );
        return None;
    }
    let mut prefixes = reach.prefixes.iter();
    if let Some(prefix) = prefixes.find(|prefix| prefix.extract(&Ip6::from(host)).is_some()) {
        let message = format!("`{host}` is of `{prefix}`, one of `nat64.prefixes`, and no host's");
        let help = "its addresses stand for IPv4 ones: write the address of the host itself";
        report.error(path, complaint(message, help));
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
    (address, reach): (Option<IpAddr>, &Reach<'_>),
    report: &mut Report<'_>,
) -> Option<Vec<IpNet>> {
    let Some((path, list)) = given(report, path, "from", &forward.from) else {
        return (!report.is_broken(&path.field("from"))).then(Vec::new);
    };
    if list.is_empty() {
        let message = format!("`{path}` is an empty list");
        report.error(&path, complaint(message, "leave `from` out for everybody"));
        return None;
    }
    let read = each(report, &path, list, words::prefix);
    for (path, net) in &read {
        let why = match (net, address) {
            (IpNet::V4(_), Some(IpAddr::V6(_))) => "write IPv6 prefixes: the address is of IPv6",
            (IpNet::V6(_), Some(IpAddr::V4(_))) if !reach.are_written => {
                "write IPv4 prefixes: who has IPv6 calls an IPv4 address by `nat64.prefixes`"
            }
            (IpNet::V4(_) | IpNet::V6(_), _) => continue,
        };
        let address = address.map_or_else(String::new, |it| it.to_string());
        let message = format!("nobody of `{net}` can call `{address}`");
        report.error(path, complaint(message, why));
    }
    let mut callers: Vec<_> = read.into_iter().map(|(_, net)| net).collect();
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
    let ports = |is_ipv6: bool| -> usize {
        let to = forwards().filter(|it| it.target.0.is_ipv6() == is_ipv6);
        to.map(|it| usize::from(it.ports.last - it.ports.first) + 1)
            .sum()
    };
    let tables = [
        (ports(false), limits.flows, "limits.flows", ""),
        (
            ports(true),
            limits.flows6,
            "limits.flows6",
            " to hosts of IPv6",
        ),
    ];
    for (ports, flows, limit, whom) in tables {
        // Two entries for each port: half of the table, which has two for each flow.
        let most = FORWARDED_MAX.min(flows as usize / 2);
        if ports > most {
            let message = format!("{ports} ports are forwarded{whom}; at most {most} can be");
            let help = format!(
                "forward fewer; it is half of `{limit}` at most, and never more than {FORWARDED_MAX}"
            );
            report.error(&path, complaint(message, help));
        }
    }
    let callers: usize = forwards().map(|it| it.callers.len()).sum();
    if callers > CALLERS_MAX {
        let message = format!("the forwards name {callers} prefixes of callers");
        let help = format!("at most {CALLERS_MAX} fit: merge prefixes that lie side by side");
        report.error(&path, complaint(message, help));
    }
}

//! Which kinds of flows a rule can want, and whether its pool has addresses for them.

use std::net::{IpAddr, Ipv4Addr};

use abi::Ip4;
use ipnet::IpNet;

use super::{
    super::{
        Action, Pool, Prefix64, Rule,
        report::{Path, Report},
        words::complaint,
    },
    pools::Judged,
};

/// A kind of flow, by the versions of its client and its target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nat44,
    Nat64,
    Napt66,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Nat44, Self::Nat64, Self::Napt66];

    /// The kind in a sentence about its flows.
    const fn shown(self) -> &'static str {
        match self {
            Self::Nat44 => "from IPv4 clients",
            Self::Nat64 => "from IPv6 clients to IPv4 targets",
            Self::Napt66 => "from IPv6 clients to IPv6 targets",
        }
    }

    /// The version of the addresses that such flows leave from.
    const fn version(self) -> &'static str {
        match self {
            Self::Nat44 | Self::Nat64 => "IPv4",
            Self::Napt66 => "IPv6",
        }
    }

    /// One of them.
    const fn example(self) -> &'static str {
        match self {
            Self::Nat44 | Self::Nat64 => "192.0.2.10",
            Self::Napt66 => "2001:db8::10",
        }
    }

    /// How a rule is written that does not want such flows.
    const fn left_out(self, prefixes: &[Prefix64]) -> &'static str {
        match self {
            Self::Nat44 => "take the IPv4 prefixes out of `sources`",
            Self::Nat64 => "narrow `destinations` to IPv6, as `::/0` does",
            Self::Napt66 if prefixes.is_empty() => "take the IPv6 prefixes out of `sources`",
            Self::Napt66 => "narrow `destinations` to IPv4, as `0.0.0.0/0` does",
        }
    }

    /// Whether a rule can want such flows.
    fn is_wanted(self, rule: &Rule, prefixes: &[Prefix64]) -> bool {
        let from = |is_of: fn(&IpNet) -> bool| rule.sources.iter().any(is_of);
        let to = |is_of: fn(&IpNet) -> bool| rule.destinations.iter().any(is_of);
        match self {
            Self::Nat44 => from(is_v4) && to(is_v4),
            Self::Nat64 => from(is_v6) && to(is_v4) && !prefixes.is_empty(),
            Self::Napt66 => from(is_v6) && to(is_v6),
        }
    }

    /// Whether a pool has an address for such flows.
    fn is_served(self, pool: &Pool) -> bool {
        match self {
            Self::Nat44 | Self::Nat64 => pool.has(IpAddr::is_ipv4),
            Self::Napt66 => pool.has(IpAddr::is_ipv6),
        }
    }
}

const fn is_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

const fn is_v6(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

/// Judges one rule.
pub(super) fn judge(
    (path, rule): &(Path, Rule),
    pools: &Judged,
    prefixes: &[Prefix64],
    report: &mut Report<'_>,
) {
    let wanted = || {
        Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_wanted(rule, prefixes))
    };
    if wanted().next().is_none() {
        return never(path, rule, report);
    }
    let Action::Translate { pool } = &rule.action else {
        return;
    };
    private_behind_well_known(path, rule, prefixes, report);
    if pools.doubtful.contains(pool) {
        return;
    }
    let Some(pool) = pools.pools.iter().find(|known| known.name == *pool) else {
        return;
    };
    let refused: Vec<Kind> = wanted().filter(|kind| !kind.is_served(pool)).collect();
    let is_all = wanted().count() == refused.len();
    for kind in refused {
        let (name, pool) = (&rule.name, &pool.name);
        let (shown, version, example) = (kind.shown(), kind.version(), kind.example());
        let message = format!(
            "flows of rule `{name}` {shown} would be refused: pool `{pool}` has no {version} address"
        );
        let add = format!("add one to the pool, such as `{example}`");
        let path = path.field("pool");
        if is_all {
            let help = format!("{add}, or choose another pool");
            report.error(&path, complaint(message, help));
        } else {
            let help = format!("{add}, or {}", kind.left_out(prefixes));
            report.warning(&path, complaint(message, help));
        }
    }
}

/// No packet has a source and a target as the rule wants them.
fn never(path: &Path, rule: &Rule, report: &mut Report<'_>) {
    let name = &rule.name;
    let (message, help) = if rule.sources.iter().any(is_v6) {
        (
            format!(
                "rule `{name}` can never match: its sources are IPv6, its destinations IPv4, and \
                 no `nat64.prefixes` lead from one to the other"
            ),
            "add `nat64: { prefixes: [64:ff9b::/96] }`, or write IPv6 destinations",
        )
    } else {
        (
            format!(
                "rule `{name}` can never match: its sources are IPv4 and its destinations IPv6"
            ),
            "write sources and destinations of one version: IPv4 clients cannot send to IPv6 \
             targets",
        )
    };
    report.warning(path, complaint(message, help));
}

/// The well-known prefix does not stand for addresses that mean something else in every network
/// (RFC 6052 §3.1); the packet path drops what is sent to them.
fn private_behind_well_known(
    path: &Path,
    rule: &Rule,
    prefixes: &[Prefix64],
    report: &mut Report<'_>,
) {
    let is_only_way = !prefixes.is_empty()
        && prefixes
            .iter()
            .all(|prefix| *prefix == Prefix64::WELL_KNOWN);
    if !is_only_way || !rule.sources.iter().any(is_v6) || rule.sources.iter().any(is_v4) {
        return;
    }
    let ends = |net: &ipnet::Ipv4Net| [net.network(), net.broadcast()];
    let stands_for = |address: Ipv4Addr| Prefix64::WELL_KNOWN.stands_for(Ip4(address.octets()));
    for net in &rule.destinations {
        if let IpNet::V4(net) = net
            && net.prefix_len() >= 8
            && !ends(net).into_iter().any(stands_for)
        {
            let message = format!(
                "no IPv6 client of rule `{}` can reach `{net}`: `64:ff9b::/96` does not stand for \
                 private addresses (RFC 6052 §3.1)",
                rule.name
            );
            let help = "add a prefix of your own to `nat64.prefixes`, or one that is for private \
                        use, such as `64:ff9b:1::/96` (RFC 8215)";
            report.warning(&path.field("destinations"), complaint(message, help));
        }
    }
}

//! Which external addresses, and that each is given out once; how a pool translates stands in
//! `behaviour`, which ports are one client's own in `blocks`, and what is reached through it in
//! `forwards`.

mod behaviour;
mod blocks;
pub(super) mod forwards;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use abi::limits::{ADDRESSES_MAX, OVERLOADED_MAX, POOLS_MAX};
use api::{Config, config};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    super::{
        Pool, PortRange, Timeouts,
        report::{Path, Report},
        words::{self, complaint},
    },
    Names, accept, each, given, required, settings,
};

/// The ports of a pool that says nothing: all but the well-known ones (RFC 6335), which servers
/// and firewalls expect of servers.
const PORTS_DEFAULT: PortRange = PortRange {
    first: 1024,
    last: u16::MAX,
};

/// What was found out about the pools.
pub(super) struct Judged {
    /// Those that are good.
    pub pools: Vec<Pool>,
    /// The name of each, as it was written, and where; of those that are not good too, so that
    /// rules which name one are not blamed for it.
    pub names: BTreeMap<String, Path>,
    /// Whether that is all there are: if not, a rule may name one that only could not be read.
    pub all_named: bool,
    /// Those in which something is wrong: nothing is said of what they lack.
    pub doubtful: BTreeSet<String>,
    /// Which pool has an address.
    pub owners: Owners,
}

/// Each address of the pools, with the entry that it came from and that pool's name.
pub(super) type Owners = BTreeMap<IpAddr, (Path, String)>;

impl Judged {
    /// What an address is that a pool has, in a sentence about it.
    pub(super) fn owned(&self, address: IpAddr, report: &Report<'_>) -> Option<String> {
        let (entry, pool) = self.owners.get(&address)?;
        let line = report.line(entry);
        Some(format!(
            "an external address of pool `{pool}` (line {line})"
        ))
    }
}

pub(super) fn judge(config: &Config, usual: &Timeouts, report: &mut Report<'_>) -> Judged {
    let mut judged = Judged {
        pools: Vec::new(),
        names: BTreeMap::new(),
        all_named: !report.is_broken(&Path::ROOT.field("pools")),
        doubtful: BTreeSet::new(),
        owners: BTreeMap::new(),
    };
    let Some((path, list)) = given(report, &Path::ROOT, "pools", &config.pools) else {
        return judged;
    };
    if list.len() > POOLS_MAX {
        let message = format!("{} pools; at most {POOLS_MAX} fit", list.len());
        report.error(
            &path,
            complaint(message, "let teams share a pool, or use another gateway"),
        );
    }
    let mut names = Names::of("pool");
    for (index, pool) in list.iter().enumerate() {
        let path = path.item(index);
        judged.all_named &= given(report, &path, "name", &pool.name).is_some();
        let errors = report.errors();
        let found = one(pool, &path, &mut names, &mut judged.owners, report);
        if report.errors() > errors {
            judged.doubtful.extend(pool.name.clone());
        }
        judged.pools.extend(found.map(|found| Pool {
            timeouts: timeouts(pool, &path, usual, report),
            ..found
        }));
    }
    judged.names = names.first;
    overloaded(&judged.pools, &path, report);
    judged
}

/// Overloaded addresses have tables of their own, of which there are not as many.
fn overloaded(pools: &[Pool], path: &Path, report: &mut Report<'_>) {
    let overloaded = pools.iter().filter(|pool| pool.behaviour.overloads());
    let addresses: usize = overloaded.map(|pool| pool.addresses.len()).sum();
    if addresses > OVERLOADED_MAX {
        let message = format!(
            "the pools with `overload` have {addresses} addresses; at most {OVERLOADED_MAX} can be \
             overloaded"
        );
        let help =
            "an overloaded address serves sixteen times the TCP flows: give these pools fewer";
        report.error(path, complaint(message, help));
    }
}

fn one(
    pool: &config::Pool,
    path: &Path,
    names: &mut Names,
    owners: &mut Owners,
    report: &mut Report<'_>,
) -> Option<Pool> {
    let help = "add `name: team-a`; rules choose the pool by it";
    let name = required(report, path, "name", &pool.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::name("pool", word))
    });
    let called = pool.name.as_deref().unwrap_or("");
    let help = "add `addresses: [192.0.2.10]`, those that your routers send to this gateway";
    let addresses = required(report, path, "addresses", &pool.addresses, help)
        .map(|(path, list)| addresses(list, &path, called, owners, report));
    let ports = given(report, path, "ports", &pool.ports)
        .map_or(Some(PORTS_DEFAULT), |(path, word)| {
            accept(report, &path, words::port_range(word))
        });
    let place = (addresses.as_deref().unwrap_or_default(), ports?);
    let blocks = blocks::judge(pool, path, place, report);
    Some(Pool {
        name: name?,
        addresses: addresses?,
        ports: ports?,
        blocks,
        behaviour: behaviour::judge(pool, path, report),
        hold: behaviour::hold_down(pool, path, report),
        timeouts: None,
        services: settings::services(&pool.timeouts, &path.field("timeouts"), report),
        forwards: Vec::new(),
    })
}

/// A pool's own timeouts, if it has some.
fn timeouts(
    pool: &config::Pool,
    path: &Path,
    usual: &Timeouts,
    report: &mut Report<'_>,
) -> Option<Timeouts> {
    let section = path.field("timeouts");
    let own = settings::timeouts_in(&pool.timeouts, &section, usual, report);
    (own != *usual).then_some(own)
}

/// The addresses of one pool, sorted.
fn addresses(
    list: &[String],
    path: &Path,
    pool: &str,
    owners: &mut Owners,
    report: &mut Report<'_>,
) -> Vec<IpAddr> {
    if list.is_empty() {
        let message = "a pool without addresses refuses every flow";
        report.error(
            path,
            complaint(message, "write at least one: `addresses: [192.0.2.10]`"),
        );
    }
    let mut addresses = Vec::new();
    for (path, net) in each(report, path, list, words::pool_addresses) {
        // As a number, because a prefix may stand for more addresses than could be listed.
        let total = size(net).saturating_add(owners.len() as u128);
        if total > ADDRESSES_MAX as u128 {
            let message = format!("with `{net}` the pools have {total} addresses");
            let help = format!("at most {ADDRESSES_MAX} fit: write a longer prefix, or fewer");
            report.error(&path, complaint(message, help));
            continue;
        }
        if let Some((owner, (first, other))) =
            owned(net).find_map(|address| owners.get_key_value(&address))
        {
            let line = report.line(first);
            let message = format!("`{owner}` is in pool `{other}` already, in line {line}");
            let help = "an address is in one pool, once: remove it here or there";
            report.error(&path, complaint(message, help));
            continue;
        }
        for address in owned(net) {
            owners.insert(address, (path.clone(), pool.to_owned()));
            addresses.push(address);
        }
    }
    addresses.sort_unstable();
    addresses
}

/// How many addresses a prefix has.
fn size(net: IpNet) -> u128 {
    let free = net.max_prefix_len() - net.prefix_len();
    1_u128.checked_shl(free.into()).unwrap_or(u128::MAX)
}

/// Every address of a prefix: the first and the last too, because an external address is on no
/// link where they would mean the network or everybody.
fn owned(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let (v4, v6) = match net {
        IpNet::V4(net) => (Some(owned4(net)), None),
        IpNet::V6(net) => (None, Some(owned6(net))),
    };
    let v4 = v4.into_iter().flatten().map(IpAddr::V4);
    v4.chain(v6.into_iter().flatten().map(IpAddr::V6))
}

fn owned4(net: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    (u32::from(net.network())..=u32::from(net.broadcast())).map(Ipv4Addr::from)
}

fn owned6(net: Ipv6Net) -> impl Iterator<Item = Ipv6Addr> {
    (u128::from(net.network())..=u128::from(net.broadcast())).map(Ipv6Addr::from)
}

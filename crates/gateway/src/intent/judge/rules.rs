//! Which flows, what becomes of them, and that the rules make sense together.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use abi::{
    Limits, Quota,
    limits::{CLASSES_MAX, FLOWS_MAX, RULES_MAX},
    quota::RATE_MAX,
};
use api::{Config, config};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    super::{
        Action, FixedPrefix, Prefix64, Rule, Service, near,
        report::{Path, Report},
        shadow,
        words::{self, complaint, quoted},
    },
    Names, accept, each, endpoints, given, kinds,
    pools::{Judged, Owners},
    required,
};

/// Different prefixes of all rules; the table has room for two versions of a policy.
const PREFIXES_MAX: usize = CLASSES_MAX / 2;

/// Pools that a message names: more would hide the one that was meant.
const POOLS_LISTED_MAX: usize = 8;

/// Any destination, of either version.
const EVERYWHERE: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
];

/// The rules of the configuration, behind those of its endpoints.
pub(super) fn judge(
    config: &Config,
    pools: &Judged,
    prefixes: &[Prefix64],
    fixed: &[FixedPrefix],
    report: &mut Report<'_>,
) -> Vec<Rule> {
    let list = given(report, &Path::ROOT, "rules", &config.rules);
    let path = Path::ROOT.field("rules");
    let list = list.map_or(&[][..], |(_, list)| list.as_slice());
    let has_others = [
        config.prefixes.as_ref().is_some_and(|it| !it.is_empty()),
        config.endpoints.as_ref().is_some_and(|it| !it.is_empty()),
    ];
    if list.is_empty() && !has_others.contains(&true) && !report.is_broken(&path) {
        let message = "there are no rules, so nothing is translated";
        let help = "add a rule with `name`, `sources` and `pool`";
        report.warning(&path, complaint(message, help));
    }
    let endpoints = config.endpoints.as_ref().map_or(0, Vec::len);
    if list.len() + endpoints > RULES_MAX {
        let shown = match endpoints {
            0 => String::new(),
            endpoints => format!(" and {endpoints} endpoints"),
        };
        let message = format!("{} rules{shown}; at most {RULES_MAX} fit", list.len());
        let help = "merge rules that differ only in their prefixes or services";
        report.error(&path, complaint(message, help));
    }
    let mut names = Names::of("rule");
    let mut judge_one = |(index, rule): (usize, &config::Rule)| {
        let path = path.item(index);
        one(rule, &path, pools, &mut names, report).map(|rule| (path, rule))
    };
    let own: Vec<(Path, Rule)> = list.iter().enumerate().filter_map(&mut judge_one).collect();
    for rule in &own {
        kinds::judge(rule, pools, prefixes, report);
    }
    let around = endpoints::Surroundings {
        pools,
        prefixes,
        fixed,
    };
    let mut rules = endpoints::judge(config, &around, &mut names, report);
    let is_whole = own.len() == list.len() && rules.len() == endpoints;
    rules.extend(own);
    too_many_prefixes(&rules, &path, report);
    for shadow in shadow::find(rules.iter().map(|(_, rule)| rule)) {
        let (Some((path, rule)), Some((first, above))) =
            (rules.get(shadow.rule), rules.get(shadow.by))
        else {
            continue;
        };
        let (name, by, line) = (&rule.name, &above.name, report.line(first));
        let message = format!("rule `{name}` can never match: `{by}` in line {line} takes it all");
        let help =
            format!("the first rule that matches decides: move it before `{by}`, or remove it");
        report.warning(path, complaint(message, help));
    }
    if !rules.is_empty() && is_whole {
        unused_pools(&rules, pools, report);
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn one(
    rule: &config::Rule,
    path: &Path,
    pools: &Judged,
    names: &mut Names,
    report: &mut Report<'_>,
) -> Option<Rule> {
    let help = "add `name: databases`; reports call the rule by it";
    let name = required(report, path, "name", &rule.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::name("rule", word))
    });
    let action = action(rule, path, pools, report);
    let is_passed = rule.action.is_some();
    if is_passed && rule.quota != config::Quota::default() {
        let message = "a rule that leaves packets to the kernel has no quota";
        let help = "remove `quota`, or write `pool` and a pool's name instead of `action`";
        report.error(&path.field("quota"), complaint(message, help));
    }
    let quota = quota(&rule.quota, path, report);
    let owners = (!is_passed).then_some(&pools.owners);
    let sources = sources(&rule.sources, path, owners, report);
    let destinations = match given(report, path, "destinations", &rule.destinations) {
        Some((path, list)) => {
            let help = "leave `destinations` out for any destination";
            filled(report, &path, list, help);
            sorted(each(report, &path, list, words::prefix))
        }
        None => EVERYWHERE.to_vec(),
    };
    let services = match given(report, path, "services", &rule.services) {
        Some((path, list)) => {
            filled(report, &path, list, "leave `services` out for any service");
            sorted(each(report, &path, list, words::service))
        }
        None => vec![Service::Any],
    };
    let whole = !sources.is_empty() && !destinations.is_empty() && !services.is_empty();
    let rule = Rule {
        name: name?,
        sources,
        destinations,
        services,
        action: action?,
        target: None,
        quota,
    };
    whole.then_some(rule)
}

/// How much the rule's clients may have. What stands in for something bad never takes effect: the
/// report has an error.
pub(super) fn quota(total: &config::Quota, path: &Path, report: &mut Report<'_>) -> Quota {
    let path = path.field("quota");
    let client = &total.client;
    let mut number = |path: &Path, name, value: &Option<u64>, most: u32| {
        let (path, number) = given(report, path, name, value)?;
        let number = u32::try_from(*number)
            .ok()
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| {
                let message = format!("`{path}` cannot be {number}");
                let help = format!("write a number from 1 to {most}, or leave it out for no limit");
                complaint(message, help)
            });
        accept(report, &path, number)
    };
    let of_client = path.field("client");
    let limits = Quota {
        total: Limits {
            flows: number(&path, "flows", &total.flows, FLOWS_MAX).unwrap_or(0),
            ports: number(&path, "ports", &total.ports, FLOWS_MAX).unwrap_or(0),
        },
        client: Limits {
            flows: number(&of_client, "flows", &client.flows, FLOWS_MAX).unwrap_or(0),
            ports: number(&of_client, "ports", &client.ports, FLOWS_MAX).unwrap_or(0),
        },
        ..Quota::NONE
    };
    let rate = number(&of_client, "rate", &client.rate, RATE_MAX);
    let burst = number(&of_client, "burst", &client.burst, RATE_MAX);
    match (rate, burst) {
        (Some(rate), burst) => limits.with_rate(rate, burst.unwrap_or(rate)),
        (None, Some(_)) if client.rate.is_none() => {
            let help = "add `rate`, the new flows a second, or remove `burst`";
            let message = format!("`{of_client}` has a burst but no rate");
            report.error(&of_client.field("burst"), complaint(message, help));
            limits
        }
        (None, Some(_) | None) => limits,
    }
}

/// A list that is given and empty may mean everything or nothing, so it must not be.
fn filled(report: &mut Report<'_>, path: &Path, list: &[String], help: &str) {
    if list.is_empty() {
        report.error(path, complaint(format!("`{path}` is an empty list"), help));
    }
}

fn sorted<T: Ord>(values: Vec<(Path, T)>) -> Vec<T> {
    let values: BTreeSet<T> = values.into_iter().map(|(_, value)| value).collect();
    values.into_iter().collect()
}

fn action(
    rule: &config::Rule,
    path: &Path,
    pools: &Judged,
    report: &mut Report<'_>,
) -> Option<Action> {
    let both = "keep `pool` to translate, or `action: pass` to leave the packets to the kernel";
    match (&rule.pool, &rule.action) {
        (Some(_), Some(_)) => {
            let message = "a rule has either a pool or an action, not both";
            report.error(&path.field("action"), complaint(message, both));
            None
        }
        (None, None) => {
            let (pool, action) = (path.field("pool"), path.field("action"));
            if !report.is_broken(&pool) && !report.is_broken(&action) {
                let help = match pools.names.keys().next() {
                    Some(name) => format!("add `pool: {name}` to translate, or `action: pass`"),
                    None => "add `pool:` and a pool's name to translate, or `action: pass`".into(),
                };
                report.error(
                    path,
                    complaint(format!("`{path}` has neither a pool nor an action"), help),
                );
            }
            None
        }
        (Some(_), None) => {
            let (path, name) = given(report, path, "pool", &rule.pool)?;
            pool(name, &path, pools, report)
        }
        (None, Some(_)) => {
            let (path, word) = given(report, path, "action", &rule.action)?;
            if word == "pass" {
                return Some(Action::Pass);
            }
            let help = "the only action is `pass`; to translate, write `pool` and a pool's name";
            report.error(
                &path,
                complaint(format!("there is no action {}", quoted(word)), help),
            );
            None
        }
    }
}

/// Translate, from the pool of this name.
pub(super) fn pool(
    name: &str,
    path: &Path,
    pools: &Judged,
    report: &mut Report<'_>,
) -> Option<Action> {
    if pools.names.contains_key(name) {
        let pool = name.to_owned();
        return Some(Action::Translate { pool });
    }
    if pools.all_named {
        let message = format!("no pool is named {}", quoted(name));
        report.error(path, complaint(message, likely_pool(name, pools)));
    }
    None
}

/// Which pool was probably meant.
fn likely_pool(name: &str, pools: &Judged) -> String {
    let names = || pools.names.keys().map(String::as_str);
    let some: Vec<String> = names().take(POOLS_LISTED_MAX).map(quoted).collect();
    match near::nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if some.is_empty() => format!("add a pool with `name: {name}` to `pools`"),
        None if some.len() < pools.names.len() => format!("some pools are {}", some.join(", ")),
        None => format!("the pools are {}", some.join(", ")),
    }
}

/// The prefixes of the clients. What a rule translates to must not be among what it translates:
/// the gateway would take its own packets for a client's.
pub(super) fn sources(
    words: &Option<Vec<String>>,
    path: &Path,
    owners: Option<&Owners>,
    report: &mut Report<'_>,
) -> Vec<IpNet> {
    let help = "add `sources: [10.0.0.0/8]`, the prefixes of the clients";
    let Some((path, list)) = required(report, path, "sources", words, help) else {
        return Vec::new();
    };
    filled(
        report,
        &path,
        list,
        "write the prefixes of the clients: `[10.0.0.0/8]`",
    );
    let sources = each(report, &path, list, words::prefix);
    for (path, net) in &sources {
        let inside = owners.and_then(|it| it.range(net.network()..=net.broadcast()).next());
        if let Some((address, (entry, pool))) = inside {
            let line = report.line(entry);
            let message = format!(
                "`{net}` holds `{address}`, an external address of pool `{pool}` (line {line})"
            );
            let help = "write the prefixes of the clients only, such as `10.0.0.0/8`: what was \
                        translated must not be translated again";
            report.error(path, complaint(message, help));
        }
    }
    sorted(sources)
}

fn too_many_prefixes(rules: &[(Path, Rule)], path: &Path, report: &mut Report<'_>) {
    let rules = || rules.iter().map(|(_, rule)| rule);
    let count = |of: fn(&Rule) -> &Vec<IpNet>, is_v4: bool| {
        let nets: BTreeSet<_> = rules().flat_map(of).collect();
        let wanted = nets.iter().filter(|net| net.network().is_ipv4() == is_v4);
        wanted.count()
    };
    let addresses =
        |is_v4| count(|rule| &rule.sources, is_v4) + count(|rule| &rule.destinations, is_v4);
    let services: BTreeSet<_> = rules().flat_map(|rule| &rule.services).collect();
    let services: usize = services.into_iter().map(|service| prefixes(*service)).sum();
    // Those of IPv6 addresses stand in a table of their own.
    let total = (addresses(true) + services).max(addresses(false));
    if total > PREFIXES_MAX {
        let message = format!("the rules have {total} different prefixes and port ranges");
        let help = format!(
            "at most {PREFIXES_MAX} fit, and a range of ports can count as up to 30: merge \
             neighbouring prefixes, and begin ranges at multiples of powers of two"
        );
        report.error(path, complaint(message, help));
    }
}

/// How many entries a service takes in a table of prefixes: a range of ports is cut into blocks
/// whose size is a power of two and which begin at a multiple of it.
fn prefixes(service: Service) -> usize {
    let (first, last) = match service {
        Service::Any | Service::Protocol(_) => return 1,
        Service::Ports(_, first, last) => (u32::from(first), u32::from(last)),
    };
    let (mut at, mut count) = (first, 0);
    while at <= last {
        let aligned = at.trailing_zeros().min(16);
        let fitting = (last - at + 1).ilog2();
        at += 1 << aligned.min(fitting);
        count += 1;
    }
    count
}

fn unused_pools(rules: &[(Path, Rule)], pools: &Judged, report: &mut Report<'_>) {
    let used: BTreeSet<&str> = rules
        .iter()
        .filter_map(|(_, rule)| match &rule.action {
            Action::Translate { pool } => Some(pool.as_str()),
            Action::Pass => None,
        })
        .chain(pools.forwarding())
        .collect();
    for (name, path) in pools
        .names
        .iter()
        .filter(|(name, _)| !used.contains(name.as_str()))
    {
        let message = format!("no rule uses pool {}", quoted(name));
        let help = format!("write `pool: {name}` in a rule, or remove the pool");
        report.warning(path, complaint(message, help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::Protocol;

    #[test]
    fn a_range_of_ports_counts_as_the_blocks_it_is_cut_into() {
        let blocks = |first, last| prefixes(Service::Ports(Protocol::Tcp, first, last));

        assert_eq!(prefixes(Service::Any), 1);
        assert_eq!(blocks(443, 443), 1);
        assert_eq!(blocks(8000, 8007), 1);
        assert_eq!(blocks(1, 65535), 16);
        assert_eq!(blocks(1, 65534), 30);
        assert_eq!(blocks(1024, 65535), 6);
    }
}

//! What a new configuration changes, in sentences for people.

mod routing;

use std::{collections::BTreeSet, net::SocketAddr};

use crate::intent::{
    Action, FixedPrefix, Forward, Intent, Interface, Pool, PortRange, Prefix64, Protocol, Refusal,
    Rule, Service, SessionLog, Target, Timeouts, cluster::Cluster,
};

/// The differences between two configurations; none if there are none.
pub fn between(before: &Intent, after: &Intent) -> Vec<String> {
    let mut changes = Vec::new();
    interfaces(&before.interfaces, &after.interfaces, &mut changes);
    pools(&before.pools, &after.pools, &mut changes);
    forwards(&before.pools, &after.pools, &mut changes);
    rules(&before.rules, &after.rules, &mut changes);
    timeouts(&before.timeouts, &after.timeouts, &mut changes);
    if before.services != after.services {
        changes.push("timeouts.services are others, for the flows there are too".to_owned());
    }
    if before.limits.icmp_errors != after.limits.icmp_errors {
        changes.push(format!(
            "each CPU sends {} ICMP errors of our own a tick instead of {}",
            after.limits.icmp_errors, before.limits.icmp_errors
        ));
    }
    if before.limits.flows != after.limits.flows {
        changes.push(format!(
            "limits.flows is {} instead of {}: the tables keep their size until `egretd --uninstall` \
             removes them",
            after.limits.flows, before.limits.flows
        ));
    }
    if before.limits.flows6 != after.limits.flows6 {
        changes.push(format!(
            "limits.flows6 is {} instead of {}: the tables get that size when the daemon is \
             restarted while no such flow is there",
            after.limits.flows6, before.limits.flows6
        ));
    }
    fixed(&before.fixed, &after.fixed, &mut changes);
    prefixes(&before.prefixes, &after.prefixes, &mut changes);
    if before.lowest_mtu6 != after.lowest_mtu6 {
        changes.push(format!(
            "nat64.lowest_mtu is {} instead of {}, for the flows there are too",
            after.lowest_mtu6, before.lowest_mtu6
        ));
    }
    if before.api_socket != after.api_socket {
        let socket = after.api_socket.display();
        changes.push(format!(
            "the API moves to {socket} when the daemon is restarted"
        ));
    }
    if before.metrics != after.metrics {
        changes.push(match after.metrics {
            Some(address) => {
                format!("metrics are served on {address} when the daemon is restarted")
            }
            None => {
                "metrics are served on the API's socket only when the daemon is restarted".into()
            }
        });
    }
    log(before.log.as_ref(), after.log.as_ref(), &mut changes);
    cluster(
        before.cluster.as_ref(),
        after.cluster.as_ref(),
        &mut changes,
    );
    routing::between(before, after, &mut changes);
    changes
}

/// What each side has that the other has not, by name, and what both have.
fn pair<'a, T>(
    before: &'a [T],
    after: &'a [T],
    name: impl Fn(&T) -> &str,
) -> (Vec<&'a T>, Vec<&'a T>, Vec<(&'a T, &'a T)>) {
    let find = |all: &'a [T], wanted: &str| all.iter().find(|other| name(other) == wanted);
    let gone = before
        .iter()
        .filter(|old| find(after, name(old)).is_none())
        .collect();
    let new = after
        .iter()
        .filter(|new| find(before, name(new)).is_none())
        .collect();
    let kept = before
        .iter()
        .filter_map(|old| Some((old, find(after, name(old))?)))
        .collect();
    (gone, new, kept)
}

fn interfaces(before: &[Interface], after: &[Interface], changes: &mut Vec<String>) {
    let (gone, new, kept) = pair(before, after, |interface| &interface.name);
    changes.extend(
        gone.iter()
            .map(|old| format!("interface {} is no longer listened on", old.name)),
    );
    changes.extend(
        new.iter()
            .map(|new| format!("interface {} is listened on", new.name)),
    );
    for (old, new) in kept {
        if old.realm != new.realm {
            changes.push(format!(
                "interface {} faces {:?} instead of {:?}",
                new.name, new.realm, old.realm
            ));
        }
        if old.mode != new.mode {
            changes.push(format!(
                "interface {} is attached anew, because its mode is another: packets pass \
                 unseen for a moment",
                new.name
            ));
        }
    }
}

fn pools(before: &[Pool], after: &[Pool], changes: &mut Vec<String>) {
    let (gone, new, kept) = pair(before, after, |pool| &pool.name);
    changes.extend(gone.iter().map(|old| {
        format!(
            "pool {} goes: its flows stay until they end, new ones do not begin",
            old.name
        )
    }));
    changes.extend(new.iter().map(|new| {
        format!(
            "pool {} comes, with {} addresses",
            new.name,
            new.addresses.len()
        )
    }));
    for (old, new) in kept {
        let (before, after): (BTreeSet<_>, BTreeSet<_>) = (
            old.addresses.iter().collect(),
            new.addresses.iter().collect(),
        );
        for address in before.difference(&after) {
            changes.push(format!(
                "pool {} loses {address}: its flows stay until they end, new ones do not begin",
                new.name
            ));
        }
        for address in after.difference(&before) {
            changes.push(format!("pool {} gets {address}", new.name));
        }
        if old.ports != new.ports {
            changes.push(format!(
                "pool {} gives out ports {}-{} instead of {}-{}",
                new.name, new.ports.first, new.ports.last, old.ports.first, old.ports.last
            ));
        }
        behaviour(old, new, changes);
        if old.hold != new.hold {
            changes.push(match new.hold.is_off() {
                true => format!("pool {} holds no freed ports back", new.name),
                false => format!(
                    "pool {} holds freed ports back for {} s, {} of an address and protocol at most",
                    new.name,
                    new.hold.time.as_secs(),
                    new.hold.ports
                ),
            });
        }
        if (old.timeouts, &old.services) != (new.timeouts, &new.services) {
            changes.push(format!(
                "pool {} has other timeouts, for the flows there are too",
                new.name
            ));
        }
    }
}

fn behaviour(old: &Pool, new: &Pool, changes: &mut Vec<String>) {
    let (name, before, after) = (&new.name, &old.behaviour, &new.behaviour);
    for protocol in Protocol::BY_ADDRESS {
        if before.translates(protocol) != after.translates(protocol) {
            let verb = match after.translates(protocol) {
                true => "translates",
                false => "no longer translates",
            };
            let label = format!("{protocol:?}").to_uppercase();
            changes.push(format!("pool {name} {verb} new flows of {label}"));
        }
    }
    for protocol in Protocol::PORTED {
        let modes = [
            ("maps", before.mapping(protocol), after.mapping(protocol)),
            (
                "filters",
                before.filtering(protocol),
                after.filtering(protocol),
            ),
        ];
        for (verb, before, after) in modes.into_iter().filter(|(_, old, new)| old != new) {
            changes.push(format!(
                "pool {name} {verb} new flows of {protocol:?} {} instead of {}",
                after.label(),
                before.label()
            ));
        }
    }
    if before.hairpins() != after.hairpins() {
        let now = if after.hairpins() {
            "may"
        } else {
            "may no longer"
        };
        changes.push(format!(
            "clients {now} reach each other by addresses of pool {name}"
        ));
    }
    if before.refusal() != after.refusal() {
        changes.push(match after.refusal() {
            Refusal::Icmp => format!("pool {name} tells clients of refusals by ICMP"),
            Refusal::Reset => format!("pool {name} tells clients of refusals by RST where it can"),
            Refusal::Silent => format!("pool {name} tells clients nothing of refusals"),
        });
    }
    if before.overloads() != after.overloads() {
        changes.push(match after.overloads() {
            true => format!("pool {name} gives a TCP port to several flows, to different remotes"),
            false => format!("pool {name} gives a TCP port to one internal endpoint at a time"),
        });
    }
    if before.keeps_parity() != after.keeps_parity() {
        changes.push(match after.keeps_parity() {
            true => format!("pool {name} keeps the parity of ports"),
            false => format!("pool {name} does not keep the parity of ports"),
        });
    }
    if before.mss != after.mss {
        changes.push(match after.mss {
            0 => format!("pool {name} leaves the MSS of TCP alone"),
            mss => format!("pool {name} holds the MSS of TCP at {mss} at most"),
        });
    }
}

fn forwards(before: &[Pool], after: &[Pool], changes: &mut Vec<String>) {
    let all = |pools: &[Pool]| -> Vec<Forward> {
        let forwards = pools.iter().flat_map(|pool| &pool.forwards);
        forwards.cloned().collect()
    };
    let (before, after) = (all(before), all(after));
    let (gone, new, kept) = pair(&before, &after, |forward| &forward.name);
    changes.extend(gone.iter().map(|old| {
        format!(
            "forward {} goes: its flows stay until they end, new ones do not begin",
            old.name
        )
    }));
    changes.extend(
        new.iter()
            .map(|new| format!("forward {} comes: {}", new.name, way(new))),
    );
    for (old, new) in kept {
        if way(old) != way(new) {
            changes.push(format!(
                "forward {} is another, for new flows: {}",
                new.name,
                way(new)
            ));
        }
        if old.callers != new.callers {
            changes.push(match new.callers.len() {
                0 => format!("forward {} admits new flows of everybody", new.name),
                count => format!(
                    "forward {} admits new flows of others than before: of {count} prefixes",
                    new.name
                ),
            });
        }
    }
}

/// From where to where a forward leads.
fn way(forward: &Forward) -> String {
    let PortRange { first, last } = forward.ports;
    let (target, to) = forward.target;
    let protocol = format!("{:?}", forward.protocol).to_lowercase();
    let (external, internal) = (
        SocketAddr::new(forward.address, first),
        SocketAddr::new(target, to),
    );
    match last - first {
        0 => format!("{protocol} {external} leads to {internal}"),
        more => format!(
            "{protocol} {external}-{last} leads to {internal}-{}",
            to.saturating_add(more)
        ),
    }
}

fn rules(before: &[Rule], after: &[Rule], changes: &mut Vec<String>) {
    let (gone, new, kept) = pair(before, after, |rule| &rule.name);
    changes.extend(gone.iter().map(|old| format!("rule {} goes", old.name)));
    changes.extend(new.iter().map(|new| match (&new.action, new.target) {
        (Action::Translate { pool }, Some(_)) => format!(
            "endpoint {} comes, which leads to {} from pool {pool}",
            new.name,
            led_to(new)
        ),
        (Action::Translate { pool }, None) => format!("rule {} comes, for pool {pool}", new.name),
        (Action::Pass, _) => format!(
            "rule {} comes, which leaves packets to the kernel",
            new.name
        ),
    }));
    for (old, new) in &kept {
        if old.action != new.action {
            changes.push(match &new.action {
                Action::Translate { pool } => {
                    format!("rule {}: new flows leave from pool {pool}", new.name)
                }
                Action::Pass => format!("rule {}: new flows are left to the kernel", new.name),
            });
        }
        if old.target != new.target {
            changes.push(format!(
                "rule {}: new flows go to {}",
                new.name,
                led_to(new)
            ));
        }
        if old.quota != new.quota {
            changes.push(format!(
                "rule {} has another quota, for the flows there are too",
                new.name
            ));
        }
        let matches = |rule: &Rule| {
            (
                rule.sources.clone(),
                rule.destinations.clone(),
                rule.services.clone(),
            )
        };
        if matches(old) != matches(new) {
            changes.push(format!("rule {} matches other packets", new.name));
        }
    }
    let order = |rules: &[Rule]| -> Vec<String> {
        let is_kept = |rule: &&Rule| kept.iter().any(|(old, _)| old.name == rule.name);
        rules
            .iter()
            .filter(is_kept)
            .map(|rule| rule.name.clone())
            .collect()
    };
    if order(before) != order(after) {
        changes.push("rules stand in another order".to_owned());
    }
}

/// Whom a rule's flows go to.
fn led_to(rule: &Rule) -> String {
    match (rule.target, rule.services.first()) {
        (None, _) => "whom they dial".to_owned(),
        (Some(Target { address, shift }), Some(Service::Ports(_, first, _))) => {
            SocketAddr::new(address, first.wrapping_add(shift)).to_string()
        }
        (Some(Target { address, .. }), _) => address.to_string(),
    }
}

fn fixed(before: &[FixedPrefix], after: &[FixedPrefix], changes: &mut Vec<String>) {
    let (gone, new, kept) = pair(before, after, |prefix| &prefix.name);
    changes.extend(gone.iter().map(|old| {
        let (name, internal) = (&old.name, old.internal);
        format!("prefix {name} is gone: {internal} is no longer translated one to one, at once")
    }));
    changes.extend(new.iter().map(|new| {
        let (name, internal, external) = (&new.name, new.internal, new.external);
        format!("prefix {name} is new: {internal} is {external} outside; flows stay until they end")
    }));
    for (old, new) in kept {
        let name = &new.name;
        if (old.internal, old.external) != (new.internal, new.external) {
            let (internal, external) = (new.internal, new.external);
            changes.push(format!(
                "prefix {name} is {internal} inside and {external} outside, at once"
            ));
        }
        if old.except != new.except {
            changes.push(format!("prefix {name} has other exceptions"));
        }
    }
}

fn prefixes(before: &[Prefix64], after: &[Prefix64], changes: &mut Vec<String>) {
    let gone = before.iter().filter(|prefix| !after.contains(prefix));
    changes.extend(gone.map(|prefix| {
        format!("{prefix} no longer stands for IPv4 targets: flows stay until they end")
    }));
    let new = after.iter().filter(|prefix| !before.contains(prefix));
    changes.extend(new.map(|prefix| format!("{prefix} stands for IPv4 targets")));
}

fn timeouts(before: &Timeouts, after: &Timeouts, changes: &mut Vec<String>) {
    for (name, old, new) in [
        (
            "tcp_established",
            before.tcp_established,
            after.tcp_established,
        ),
        ("tcp_opening", before.tcp_opening, after.tcp_opening),
        ("tcp_closing", before.tcp_closing, after.tcp_closing),
        ("udp", before.udp, after.udp),
        ("icmp", before.icmp, after.icmp),
        ("sctp", before.sctp, after.sctp),
        ("gre", before.gre, after.gre),
        ("esp", before.esp, after.esp),
    ] {
        if old != new {
            changes.push(format!(
                "timeouts.{name} is {} s instead of {} s, for the flows there are too",
                new.as_secs(),
                old.as_secs()
            ));
        }
    }
}

fn log(before: Option<&SessionLog>, after: Option<&SessionLog>, changes: &mut Vec<String>) {
    let (old, new) = match (before, after) {
        (None, None) => return,
        (None, Some(_)) => return changes.push("sessions are logged".to_owned()),
        (Some(_), None) => return changes.push("sessions are no longer logged".to_owned()),
        (Some(old), Some(new)) => (old, new),
    };
    if (old.opened, old.closed) != (new.opened, new.closed) {
        let what = match (new.opened, new.closed) {
            (true, false) => "only that flows begin",
            (false, true) => "only that flows end",
            (true, true) | (false, false) => "that flows begin and end",
        };
        changes.push(format!("the session log says {what}"));
    }
    for (name, is_same) in [
        ("file", old.file == new.file),
        ("syslog receiver", old.syslog == new.syslog),
        ("IPFIX collector", old.ipfix == new.ipfix),
    ] {
        if !is_same {
            changes.push(format!("the session log's {name} is another"));
        }
    }
}

fn cluster(before: Option<&Cluster>, after: Option<&Cluster>, changes: &mut Vec<String>) {
    let without_copies = |cluster: &Cluster| Cluster {
        replication: None,
        ..cluster.clone()
    };
    if before.map(without_copies) != after.map(without_copies) {
        changes.push(match after {
            None => "the gateway is alone: its external addresses are nobody else's".to_owned(),
            Some(cluster) => {
                let names: Vec<&str> = cluster.members.iter().map(|it| it.name.as_str()).collect();
                format!(
                    "the gateway is a member of cluster {}, of {}: who holds which flows is found out anew",
                    cluster.name,
                    names.join(", ")
                )
            }
        });
    }
    let copies = |cluster: Option<&Cluster>| cluster.and_then(|it| it.replication.clone());
    let (before, after) = (copies(before), copies(after));
    if before != after {
        changes.push(match (before, after) {
            (Some(_), None) => "flows are no longer copied to other members".to_owned(),
            (_, Some(after)) => {
                format!("flows are copied to other members by port {}", after.port)
            }
            (None, None) => return,
        });
    }
}

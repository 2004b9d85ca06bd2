//! Policies between which a gateway is told to change.

use std::time::Duration;

use abi::{Behaviour, Dependence, Limits, Protocol, Quota};
use gateway::intent::{
    Action, HoldDown, Intent, Pool, PortRange, Rule, Service, ServiceTimeout, Timeouts,
};

use super::{
    super::site::{TIMEOUTS, endpoint, from_pool, intent, pool, rule},
    Words,
};

/// A policy: its pools, their behaviours, its rules.
pub fn wanted(words: &mut Words) -> Intent {
    let sets: &[&[u8]] = &[&[1], &[2], &[1, 2], &[2, 3, 4], &[4, 5]];
    let a = words.one_of(sets);
    let b = words.one_of(&[&[9][..], &[9, 10]]);
    let pools = vec![any_pool("a", a, words), any_pool("b", b, words)];
    let any = "0.0.0.0/0";
    let named = |name: &str, quota, rule: Rule| Rule {
        name: name.to_owned(),
        quota,
        ..rule
    };
    // Always the same ones, so that everything is counted from the beginning.
    let quota = Quota {
        total: Limits {
            flows: 10,
            ports: 7,
        },
        client: Limits { flows: 4, ports: 3 },
        ..Quota::NONE
    };
    let mut rules = vec![
        named(
            "inside",
            Quota::NONE,
            rule("10.0.0.0/8", "10.0.0.0/8", Action::Pass),
        ),
        named("b", Quota::NONE, rule("10.7.0.0/16", any, from_pool("b"))),
        named("a", quota, rule("10.0.0.0/15", any, from_pool("a"))),
    ];
    match words.below(6) {
        0 => {
            rules[1].services = vec![Service::Ports(Protocol::Tcp, 441, 442)];
            rules.push(named(
                "rest",
                Quota::NONE,
                rule("10.0.0.0/8", any, from_pool("a")),
            ));
        }
        1 => {
            let mut pass = rule("10.0.0.0/8", "198.51.100.0/31", Action::Pass);
            pass.services = vec![Service::Protocol(Protocol::Icmp)];
            rules.insert(0, pass);
        }
        2 => {
            rules.remove(0);
        }
        _ => {}
    }
    if words.below(3) == 0 {
        rules.insert(0, any_endpoint(words));
    }
    let mut wanted = intent(pools, rules);
    if words.below(4) == 0 {
        wanted.services = vec![
            service(Protocol::Tcp, 440, 700),
            service(Protocol::Udp, 441, 7),
        ];
    }
    wanted
}

/// An address of which some clients dial some ports and reach a remote that others talk to as well.
fn any_endpoint(words: &mut Words) -> Rule {
    let (service, port) = words.one_of(&[
        (Service::Ports(Protocol::Tcp, 440, 442), 441),
        (Service::Ports(Protocol::Udp, 441, 443), 440),
        (Service::Protocol(Protocol::Udp), 0),
        (Service::Any, 0),
    ]);
    let target = words.one_of(&["198.51.100.1", "198.51.100.3"]);
    let (source, pool) = words.one_of(&[("10.0.0.0/15", "a"), ("10.7.0.0/16", "b")]);
    endpoint(source, ("198.51.100.2", service), (target, port), pool)
}

fn service(protocol: Protocol, port: u16, seconds: u64) -> ServiceTimeout {
    ServiceTimeout {
        protocol,
        ports: PortRange {
            first: port,
            last: port,
        },
        timeout: Duration::from_secs(seconds),
    }
}

fn any_pool(name: &str, addresses: &[u8], words: &mut Words) -> Pool {
    let ports = words.one_of(&[
        (65_000, 65_535),
        (1024, 1031),
        (1024, 1535),
        (2000, 2039),
        (2020, 2059),
        (40_000, 40_001),
    ]);
    let mut mode = || match words.below(5) {
        0..=2 => Dependence::Endpoint,
        3 => Dependence::Address,
        _ => Dependence::AddressAndPort,
    };
    let mapping = [mode(), mode(), mode()];
    let mut filter = || words.one_of(&Dependence::ALL);
    let filtering = [filter(), filter(), filter()];
    let mut behaviour = Behaviour::new(mapping, filtering, words.below(4) != 0, 0);
    if words.below(5) == 0 {
        behaviour = behaviour.overloading();
    }
    if words.below(4) == 0 {
        behaviour = behaviour.with_any_parity();
    }
    let hold = |seconds, ports| HoldDown {
        time: Duration::from_secs(seconds),
        ports,
    };
    let holds = [
        HoldDown::DEFAULT,
        HoldDown::OFF,
        hold(5, 65_536),
        hold(30, 3),
    ];
    let mut it = Pool {
        behaviour,
        hold: words.one_of(&holds),
        ..pool(name, addresses.iter().copied(), ports)
    };
    if words.below(4) == 0 {
        it.timeouts = Some(Timeouts {
            udp: Duration::from_secs(30),
            tcp_established: Duration::from_secs(200),
            ..TIMEOUTS
        });
        it.services = vec![service(Protocol::Udp, 440, 90)];
    }
    it
}

//! A rule that can never match is found, beside a model that tries every packet.

use ipnet::Ipv4Net;
use proptest::prelude::*;

use std::net::IpAddr;

use super::*;
use crate::intent::{Action, Quota, words};

fn rule(sources: &[&str], destinations: &[&str], services: &[&str]) -> Rule {
    let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
    let service = |word: &&str| match *word {
        "any" => Service::Any,
        word => words::service(word).unwrap(),
    };
    Rule {
        name: "a".to_owned(),
        sources: nets(sources),
        destinations: nets(destinations),
        services: services.iter().map(service).collect(),
        action: Action::Pass,
        target: None,
        quota: Quota::NONE,
    }
}

/// Whether the second of two rules can never match.
fn shadowed(wide: Rule, narrow: Rule) -> bool {
    !find([&wide, &narrow]).is_empty()
}

#[test]
fn a_narrow_rule_below_a_wide_one_never_matches() {
    let wide = || rule(&["10.0.0.0/8"], &["0.0.0.0/0"], &["any"]);
    let narrow = || rule(&["10.1.0.0/16"], &["198.51.100.0/24"], &["tcp/443"]);

    assert!(shadowed(wide(), narrow()));
    assert!(!shadowed(narrow(), wide()));
    assert!(shadowed(wide(), wide()));
}

#[test]
fn one_dimension_that_is_not_covered_is_enough() {
    let narrow = || rule(&["10.1.0.0/16"], &["198.51.100.0/24"], &["tcp/443"]);

    assert!(!shadowed(
        rule(&["10.2.0.0/16"], &["0.0.0.0/0"], &["any"]),
        narrow()
    ));
    assert!(!shadowed(
        rule(&["10.0.0.0/8"], &["198.51.100.0/25"], &["any"]),
        narrow()
    ));
    assert!(!shadowed(
        rule(&["10.0.0.0/8"], &["0.0.0.0/0"], &["udp"]),
        narrow()
    ));
}

#[test]
fn neighbouring_prefixes_and_ranges_cover_together() {
    let wide = rule(
        &["10.0.0.0/9", "10.128.0.0/9"],
        &["0.0.0.0/1", "128.0.0.0/1"],
        &["tcp/1-79", "tcp/80-90"],
    );

    assert!(shadowed(
        wide,
        rule(&["10.0.0.0/8"], &["0.0.0.0/0"], &["tcp/70-85"])
    ));
}

#[test]
fn all_protocols_by_name_are_not_every_protocol() {
    let named = rule(&["10.0.0.0/8"], &["0.0.0.0/0"], &["tcp", "udp", "icmp"]);
    let every = rule(&["10.0.0.0/8"], &["0.0.0.0/0"], &["any"]);

    assert!(!shadowed(named.clone(), every.clone()));
    assert!(shadowed(every, named));
}

/// Rules in a world of sixteen addresses and sixteen ports, so that all packets can be tried.
fn small_rule() -> impl Strategy<Value = Rule> {
    let nets = || {
        let net = (0_u8..16, 28_u8..=32).prop_map(|(host, length)| {
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, host), length).trunc())
        });
        prop::collection::vec(net, 1..4)
    };
    let service = prop_oneof![
        Just(Service::Any),
        prop::sample::select(Protocol::PORTED.to_vec()).prop_map(Service::Protocol),
        (
            prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]),
            1_u16..16,
            0_u16..16
        )
            .prop_map(|(protocol, first, more)| Service::Ports(
                protocol,
                first,
                first + more
            )),
    ];
    (nets(), nets(), prop::collection::vec(service, 1..4)).prop_map(
        |(sources, destinations, services)| Rule {
            name: "a".to_owned(),
            sources,
            destinations,
            services,
            action: Action::Pass,
            target: None,
            quota: Quota::NONE,
        },
    )
}

fn matches(rule: &Rule, (source, destination, protocol, port): Packet) -> bool {
    let holds = |nets: &[IpNet], host| {
        nets.iter()
            .any(|net| net.contains(&IpAddr::from([0, 0, 0, host])))
    };
    let wants = |service: &Service| match *service {
        Service::Any => true,
        Service::Protocol(wanted) => wanted == protocol,
        Service::Ports(wanted, first, last) => wanted == protocol && (first..=last).contains(&port),
    };
    holds(&rule.sources, source)
        && holds(&rule.destinations, destination)
        && rule.services.iter().any(wants)
}

proptest! {
    /// Law: a rule that is called shadowed matches no packet that its shadow does not match.
    #[test]
    fn a_rule_that_is_called_shadowed_really_never_matches(
        rules in prop::collection::vec(small_rule(), 2..6)
    ) {
        for Shadow { rule, by } in find(&rules) {
            prop_assert!(by < rule);
            for packet in packets() {
                let hit = |rule: &Rule| matches(rule, packet);
                prop_assert!(!hit(&rules[rule]) || hit(&rules[by]), "{:?}", packet);
            }
        }
    }
}

type Packet = (u8, u8, Protocol, u16);

/// Every packet of the small world.
fn packets() -> impl Iterator<Item = Packet> {
    (0..16).flat_map(|source| {
        (0..16).flat_map(move |destination| {
            Protocol::PORTED.into_iter().flat_map(move |protocol| {
                (0..32).map(move |port| (source, destination, protocol, port))
            })
        })
    })
}

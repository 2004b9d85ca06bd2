//! Rules as people read them, first match wins, beside rules as the packet path reads them.

use std::net::{IpAddr, Ipv4Addr};

use abi::{Port, Protocol, Reason, Tuple};
use gateway::{
    Event,
    intent::{Action, Intent, Rule, Service},
    policy::compile,
};
use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;

use crate::cases;
use crate::rig::{
    Site, Sketch,
    site::{ARM, from_pool, intent, pool, rule},
    sketch::Message,
};

/// Prefixes that lie inside and beside each other, and the edges of the address space.
fn prefix() -> impl Strategy<Value = IpNet> {
    let address = prop_oneof![
        4 => (0..4u8, 0..4u8).prop_map(|(b, d)| Ipv4Addr::new(10, b, 0, d)),
        1 => any::<u32>().prop_map(Ipv4Addr::from),
    ];
    let bits = prop_oneof![
        Just(0u8),
        Just(8),
        Just(14),
        Just(15),
        Just(16),
        Just(30),
        0..=32u8
    ];
    (address, bits).prop_map(|(address, bits)| {
        let net = Ipv4Net::new(address, bits).expect("32 bits at most");
        net.trunc().into()
    })
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![1..12u16, Just(443), Just(65_535), 1..=u16::MAX]
}

fn service() -> impl Strategy<Value = Service> {
    let with_ports = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    prop_oneof![
        1 => Just(Service::Any),
        2 => prop::sample::select(&Protocol::PORTED[..]).prop_map(Service::Protocol),
        4 => (with_ports, port(), port())
            .prop_map(|(protocol, a, b)| Service::Ports(protocol, a.min(b), a.max(b))),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        Just(Action::Pass),
        Just(from_pool("a")),
        Just(from_pool("b")),
    ];
    let prefixes = || prop::collection::vec(prefix(), 1..3);
    let services = prop::collection::vec(service(), 1..4);
    (prefixes(), prefixes(), services, action).prop_map(
        |(sources, destinations, services, action)| Rule {
            name: "rule".to_owned(),
            sources,
            destinations,
            services,
            action,
            target: None,
            quota: abi::Quota::NONE,
        },
    )
}

fn any_intent() -> impl Strategy<Value = Intent> {
    let pools = || {
        vec![
            pool("a", [1], (1024, 65_535)),
            pool("b", [2], (1024, 65_535)),
        ]
    };
    // More than a word of rules now and then, so that word borders matter.
    let rules = prop_oneof![
        4 => prop::collection::vec(any_rule(), 1..12),
        1 => prop::collection::vec(any_rule(), 60..80),
    ];
    rules.prop_map(move |rules| intent(pools(), rules))
}

/// A packet that policies are asked about.
#[derive(Clone, Copy, Debug)]
struct Asked {
    source: Ipv4Addr,
    target: Ipv4Addr,
    /// The number in the IP header.
    protocol: u8,
    port: u16,
}

fn asked() -> impl Strategy<Value = Asked> {
    // From anywhere but ourselves, the loopback and other places that no packet comes from.
    let address = || {
        prop_oneof![
            4 => (0..5u8, 0..5u8).prop_map(|(b, d)| Ipv4Addr::new(10, b, 0, d)),
            1 => (1..=126u8, any::<[u8; 3]>())
                .prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d)),
        ]
    };
    let protocol = prop_oneof![Just(1u8), Just(6), Just(17), Just(47), any::<u8>()];
    (address(), address(), protocol, port()).prop_map(|(source, target, protocol, port)| Asked {
        source,
        target,
        protocol,
        port,
    })
}

/// What the rules say, read one after the other.
fn first_match(intent: &Intent, asked: Asked) -> Option<&Action> {
    let wants = |service: &Service| match *service {
        Service::Any => true,
        Service::Protocol(protocol) => protocol as u8 == asked.protocol,
        Service::Ports(protocol, first, last) => {
            protocol as u8 == asked.protocol && (first..=last).contains(&asked.port)
        }
    };
    intent
        .rules
        .iter()
        .find(|rule| addresses_match(rule, asked) && rule.services.iter().any(wants))
        .map(|rule| &rule.action)
}

/// Whether for some port the first rule that matches translates.
fn may_be_translated(intent: &Intent, asked: Asked) -> bool {
    let mut edges = vec![0, u16::MAX];
    for service in intent.rules.iter().flat_map(|rule| &rule.services) {
        if let Service::Ports(_, first, last) = *service {
            edges.extend([first - 1, first, last, last.saturating_add(1)]);
        }
    }
    edges.into_iter().any(|port| {
        matches!(
            first_match(intent, Asked { port, ..asked }),
            Some(Action::Translate { .. })
        )
    })
}

/// Whether a rule that translates some port comes before every rule that wants all of them.
fn looks_as_if_translated(intent: &Intent, asked: Asked) -> bool {
    for rule in intent
        .rules
        .iter()
        .filter(|rule| addresses_match(rule, asked))
    {
        let is = |protocol: Protocol| protocol as u8 == asked.protocol;
        let on_some = rule.services.iter().any(|service| match *service {
            Service::Any => true,
            Service::Protocol(protocol) | Service::Ports(protocol, ..) => is(protocol),
        });
        let on_all = rule.services.iter().any(|service| match *service {
            Service::Any => true,
            Service::Protocol(protocol) => is(protocol),
            Service::Ports(..) => false,
        });
        if on_some && rule.action != Action::Pass {
            return true;
        }
        if on_all {
            return false;
        }
    }
    false
}

fn addresses_match(rule: &Rule, asked: Asked) -> bool {
    rule.sources
        .iter()
        .any(|net| net.contains(&IpAddr::V4(asked.source)))
        && rule
            .destinations
            .iter()
            .any(|net| net.contains(&IpAddr::V4(asked.target)))
}

fn sketch(asked: Asked) -> Sketch {
    let tuple = Tuple {
        source: abi::Ip4(asked.source.octets()),
        target: abi::Ip4(asked.target.octets()),
        source_port: Port::new(4000),
        target_port: Port::new(asked.port),
    };
    let protocol = Protocol::from_number(asked.protocol);
    let sketch = Sketch::first(protocol.unwrap_or(Protocol::Udp), tuple);
    match protocol {
        Some(_) => sketch,
        None => Sketch {
            message: Message::Other(asked.protocol),
            ..sketch
        },
    }
}

/// A site that has a route to everywhere, so that only the policy decides.
fn site(intent: Intent) -> Site {
    let site = Site::new(intent, 4096);
    *site.memory.v4.routes.borrow_mut() = std::rc::Rc::new(|query| {
        let (target, source) = ([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 8]);
        Ok(abi::NextHop::new(query.ingress, 1500, target, source))
    });
    site
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn the_first_rule_that_matches_decides(
        intent in any_intent(),
        packets in prop::collection::vec(asked(), 1..60),
    ) {
        let site = site(intent.clone());
        for asked in packets {
            // These have no ports; rules over ports do not match them.
            let is_portless = [1, 47, 50].contains(&asked.protocol);
            let asked = if is_portless { Asked { port: 0, ..asked } } else { asked };
            if Protocol::from_number(asked.protocol).is_none() {
                continue;
            }

            let left = site.send(ARM, &sketch(asked));

            match first_match(&intent, asked) {
                None => prop_assert_eq!(left.reason, Reason::NoRule),
                Some(Action::Pass) => prop_assert_eq!(left.reason, Reason::RulePass),
                // Another client has the pool's one address for this remote.
                Some(Action::Translate { .. }) if left.reason == Reason::NoSpareAddress => {
                    prop_assert!([47, 50, 132].contains(&asked.protocol));
                }
                Some(Action::Translate { pool }) => {
                    prop_assert_eq!(left.reason, Reason::TranslatedOut);
                    let address = if pool == "a" { 1 } else { 2 };
                    prop_assert_eq!(&left.after.bytes[26..30], &[192, 0, 2, address]);
                }
            }
        }
    }

    /// Without its ports a packet is never passed that might be translated; and none is dropped
    /// that no rule would translate, rules that are in each other's shadow aside.
    #[test]
    fn later_fragments_are_not_passed_where_a_rule_might_translate_them(
        intent in any_intent(),
        packets in prop::collection::vec((asked(), any::<bool>()), 1..60),
    ) {
        let site = site(intent.clone());
        for (asked, is_last) in packets {
            let part = (!is_last, 100);

            let left = site.send(ARM, &Sketch { part, ..sketch(asked) });

            let is_dropped = matches!(left.reason, Reason::FragmentHeld | Reason::Protocol);
            prop_assert!(is_dropped || matches!(left.reason, Reason::NoRule | Reason::RulePass));
            prop_assert!(is_dropped || !may_be_translated(&intent, asked), "{:?}", asked);
            prop_assert_eq!(is_dropped, looks_as_if_translated(&intent, asked), "{:?}", asked);
        }
    }

    #[test]
    fn protocols_without_ports_are_dropped_exactly_where_a_rule_translates_them(
        intent in any_intent(),
        packets in prop::collection::vec(asked(), 1..60),
    ) {
        let site = site(intent.clone());
        for asked in packets {
            if Protocol::from_number(asked.protocol).is_some() {
                continue;
            }

            let left = site.send(ARM, &sketch(asked));

            let wanted = match first_match(&intent, asked) {
                None => Reason::NoRule,
                Some(Action::Pass) => Reason::RulePass,
                Some(Action::Translate { .. }) => Reason::Protocol,
            };
            prop_assert_eq!(left.reason, wanted);
        }
    }

    /// Until it is in force, a policy may be written in any order and to any point.
    #[test]
    fn what_is_written_beside_the_policy_in_force_changes_nothing(
        before in any_intent(),
        after in any_intent(),
        packets in prop::collection::vec(asked(), 1..40),
    ) {
        let (alone, beside) = (site(before.clone()), site(before));
        let version = beside.memory.config.borrow().version + 1;
        let policy = compile(&after, beside.gateway.numbers(), version);
        policy.classes.iter().for_each(|(key, set)| beside.memory.v4.classes.put(*key, *set));
        policy.rules.iter().for_each(|(index, rule)| beside.memory.rules.put(*index, *rule));
        policy.pools.iter().for_each(|(index, pool, _)| beside.memory.pools.put(*index, **pool));

        for asked in packets {
            let sketch = sketch(asked);
            let (a, b) = (alone.send(ARM, &sketch), beside.send(ARM, &sketch));
            prop_assert_eq!((a.reason, &a.after.bytes), (b.reason, &b.after.bytes));
        }
    }
}

/// A rule that passes some ports, where nothing else would translate the rest.
#[test]
fn a_part_of_a_packet_is_not_dropped_because_a_rule_passes_some_ports() {
    let passes = Rule {
        services: vec![Service::Ports(Protocol::Tcp, 443, 443)],
        ..rule("10.0.0.0/8", "10.0.0.0/8", Action::Pass)
    };
    let site = site(intent(vec![pool("a", [1], (1024, 65_535))], vec![passes]));
    let asked = Asked {
        source: [10, 1, 0, 1].into(),
        target: [10, 2, 0, 1].into(),
        protocol: 6,
        port: 443,
    };

    let left = site.send(
        ARM,
        &Sketch {
            part: (true, 0),
            ..sketch(asked)
        },
    );

    assert_ne!(left.reason, Reason::Fragment);
}

#[test]
fn a_policy_may_have_as_many_rules_as_there_are_bits() {
    let mut rules: Vec<_> = (0..=255u8)
        .flat_map(|b| (0..4u8).map(move |c| format!("10.{b}.{c}.0/24")))
        .map(|source| rule(&source, "0.0.0.0/0", from_pool("a")))
        .collect();
    assert_eq!(rules.len(), abi::limits::RULES_MAX);
    rules[1023].action = Action::Pass;
    let mut site = site(intent(vec![pool("a", [1], (1024, 65_535))], rules.clone()));
    let from = |b, c| Asked {
        source: [10, b, c, 1].into(),
        target: [198, 51, 100, 1].into(),
        protocol: 17,
        port: 53,
    };

    assert_eq!(
        site.send(ARM, &sketch(from(0, 0))).reason,
        Reason::TranslatedOut
    );
    assert_eq!(
        site.send(ARM, &sketch(from(255, 2))).reason,
        Reason::TranslatedOut
    );
    assert_eq!(
        site.send(ARM, &sketch(from(255, 3))).reason,
        Reason::RulePass
    );
    assert_eq!(site.send(ARM, &sketch(from(255, 4))).reason, Reason::NoRule);
    rules.pop();
    site.handle(Event::Configure(Box::new(intent(
        vec![pool("a", [1], (1024, 65_535))],
        rules,
    ))));
    assert_eq!(site.send(ARM, &sketch(from(255, 3))).reason, Reason::NoRule);
}

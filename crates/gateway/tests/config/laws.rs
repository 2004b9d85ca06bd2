//! Laws of the door: it never panics, what it lets through is valid, and what it says is true.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use gateway::intent::{Action, Intent, Parsed, Realm, Service, parse, parse_bytes};
use proptest::prelude::*;

/// Configurations to begin with.
const EXAMPLES: [&str; 7] = [
    include_str!("../../../../deploy/examples/gateway.yaml"),
    include_str!("../../../../deploy/examples/one-arm.yaml"),
    include_str!("../../../../deploy/examples/many-teams.yaml"),
    include_str!("../../../../deploy/examples/nat64.yaml"),
    include_str!("../../../../deploy/examples/prefixes.yaml"),
    include_str!("../../../../deploy/examples/endpoints.yaml"),
    include_str!("../malformed/08-wrong-kinds.yaml"),
];

/// What is put into a configuration to break it: pieces of YAML, and values on the edges.
const PIECES: [&str; 44] = [
    "",
    "\n",
    "  ",
    "\t",
    "-",
    "- ",
    ":",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "'",
    "\"",
    "#",
    "&a ",
    "*a",
    "!!int ",
    "|",
    ">",
    "<<: ",
    "---\n",
    "~",
    "\u{0}",
    "\u{feff}",
    "é",
    "\r",
    "0",
    "65536",
    "0.0.0.0/0",
    "255.255.255.255",
    "::1",
    "::/0",
    "64:ff9b::/96",
    "2001:db8::10",
    "::ffff:10.0.0.1",
    "192.0.2.10",
    "tcp/",
    "icmp/1",
    "99999999999999999999d",
    "pool: team-a",
    "name: ",
    "sources:",
];

fn valid_by_its_own_promise(Parsed { intent, warnings }: &Parsed) {
    promises(intent);
    let in_order = warnings.is_sorted_by_key(|problem| (problem.line, problem.column));
    assert!(in_order);
}

/// What the documentation of `Intent` promises to whoever trusts it.
fn promises(intent: &Intent) {
    let unique = |names: Vec<&String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    assert!(unique(
        intent
            .interfaces
            .iter()
            .map(|interface| &interface.name)
            .collect()
    ));
    assert!(unique(intent.pools.iter().map(|pool| &pool.name).collect()));
    assert!(unique(intent.rules.iter().map(|rule| &rule.name).collect()));

    let realms = || intent.interfaces.iter().map(|interface| interface.realm);
    assert!(realms().any(|realm| realm != Realm::External));
    assert!(realms().any(|realm| realm != Realm::Internal));

    let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for pool in &intent.pools {
        assert!(!pool.addresses.is_empty());
        assert!(pool.addresses.is_sorted());
        assert!(pool.ports.first > 0);
        assert!(pool.ports.first <= pool.ports.last);
        for address in &pool.addresses {
            assert_eq!(owners.insert(*address, &pool.name), None);
            assert!(!address.is_multicast() && !address.is_loopback());
            assert!(*address != IpAddr::from([255; 4]));
            assert_eq!(address.to_canonical(), *address, "mapped ones mean IPv4");
        }
    }
    assert!(owners.len() <= abi::limits::ADDRESSES_MAX);

    assert!(intent.prefixes.len() <= abi::limits::PREFIXES64_MAX);
    for (index, prefix) in intent.prefixes.iter().enumerate() {
        let holds = |address: &IpAddr| prefix.extract(&(*address).into()).is_some();
        assert!(!owners.keys().any(holds));
        let others = intent.prefixes.iter().take(index);
        assert!(!others.into_iter().any(|other| {
            prefix.extract(&other.address()).is_some() || other.extract(&prefix.address()).is_some()
        }));
    }

    for rule in &intent.rules {
        for nets in [&rule.sources, &rule.destinations] {
            assert!(!nets.is_empty());
            assert!(nets.is_sorted_by(|a, b| a < b));
            assert!(nets.iter().all(|net| net.trunc() == *net));
        }
        assert!(!rule.services.is_empty());
        assert!(rule.services.is_sorted_by(|a, b| a < b));
        for service in &rule.services {
            match *service {
                Service::Any | Service::Protocol(_) => {}
                Service::Ports(_, first, last) => assert!(0 < first && first <= last),
            }
        }
        if let Some(target) = rule.target {
            assert!(!owners.contains_key(&target.address));
            let dialled: Vec<_> = rule.destinations.iter().map(|net| net.addr()).collect();
            assert_eq!(dialled.len(), 1);
            assert!(!owners.contains_key(&dialled[0]));
            assert!(target.address.is_ipv4() || dialled[0].is_ipv6());
            for service in &rule.services {
                match *service {
                    Service::Any | Service::Protocol(_) => assert_eq!(target.shift, 0),
                    Service::Ports(_, first, last) => {
                        let led = |port: u16| port.wrapping_add(target.shift);
                        assert!(0 < led(first) && led(first) <= led(last));
                    }
                }
            }
        }
        match &rule.action {
            Action::Pass => {}
            Action::Translate { pool } => {
                assert!(intent.pools.iter().any(|known| known.name == *pool));
                let looped = |net: &ipnet::IpNet| owners.keys().any(|a| net.contains(a));
                assert!(!rule.sources.iter().any(looped));
            }
        }
    }

    let leads = |rule: &&gateway::intent::Rule| rule.target.is_some();
    let before = intent.rules.iter().take_while(leads).count();
    assert_eq!(intent.rules.iter().filter(leads).count(), before);

    let timeouts = &intent.timeouts;
    let all = [
        timeouts.tcp_established,
        timeouts.tcp_opening,
        timeouts.tcp_closing,
        timeouts.udp,
        timeouts.icmp,
    ];
    assert!(all.iter().all(|timeout| *timeout >= Duration::from_secs(1)));
    assert!(intent.api_socket.is_absolute());
    assert!(intent.state.is_absolute());
}

/// Whatever the text, the answer is valid, or problems that point into the text.
fn sound(text: &str) {
    match parse("gateway.yaml", text) {
        Ok(parsed) => valid_by_its_own_promise(&parsed),
        Err(problems) => {
            assert!(problems.count(api::Severity::Error) > 0);
            let lines = text.replace("\r\n", "\n").matches(['\n', '\r']).count() + 1;
            for problem in &problems.problems {
                assert!(
                    problem.line >= 1 && problem.line as usize <= lines,
                    "{problem}"
                );
                assert!(problem.column >= 1 && problem.excerpt.width <= problem.column + 200);
                assert!(!problem.message.is_empty() && !problem.help.is_empty());
            }
            let shown = problems.to_string();
            assert!(!shown.chars().any(|c| c != '\n' && c.is_control()));
        }
    }
}

/// An edit of a text: where, how much is cut away, and what is put there.
fn edit() -> impl Strategy<Value = (prop::sample::Index, usize, &'static str)> {
    (
        any::<prop::sample::Index>(),
        0_usize..12,
        prop::sample::select(PIECES.to_vec()),
    )
}

fn edited(text: &str, edits: Vec<(prop::sample::Index, usize, &str)>) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (place, cut, piece) in edits {
        let start = place.index(letters.len() + 1);
        let end = letters.len().min(start + cut);
        letters.splice(start..end, piece.chars());
    }
    letters.into_iter().collect()
}

/// More than proptest's own number, which `PROPTEST_CASES` raises further.
fn cases() -> ProptestConfig {
    let standard = ProptestConfig::default();
    ProptestConfig {
        cases: standard.cases.max(400),
        ..standard
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn arbitrary_text_is_answered(text in any::<String>()) {
        sound(&text);
    }

    #[test]
    fn arbitrary_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes("gateway.yaml", &bytes);
    }

    #[test]
    fn pieces_of_yaml_are_answered(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60)
    ) {
        sound(&pieces.concat());
    }

    #[test]
    fn an_edited_configuration_is_valid_or_says_what_is_wrong(
        example in prop::sample::select(EXAMPLES.to_vec()),
        edits in prop::collection::vec(edit(), 1..6),
    ) {
        sound(&edited(example, edits));
    }

    #[test]
    fn a_configuration_cut_off_anywhere_is_answered(
        example in prop::sample::select(EXAMPLES.to_vec()),
        place in any::<prop::sample::Index>(),
    ) {
        sound(&edited(example, vec![(place, usize::MAX / 2, "")]));
    }

    /// Words on the edges in every field, so that more than syntax is tried.
    #[test]
    fn configurations_of_edge_values_are_valid_or_refused(config in configuration()) {
        sound(&config);
    }
}

/// Words of which most are good alone, so that some configurations are good as a whole.
#[derive(Clone, Copy)]
struct Words {
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

const INTERFACES: Words = Words {
    good: &["eth0", "eth1", "eth2"],
    bad: &["eth 0"],
};
const REALMS: Words = Words {
    good: &["internal", "external", "both", "both"],
    bad: &["bth"],
};
const POOLS: Words = Words {
    good: &["a", "b"],
    bad: &["Bad", "a-"],
};
const ADDRESSES: Words = Words {
    good: &[
        "192.0.2.0/30",
        "192.0.2.3",
        "192.0.2.8/29",
        "10.0.0.9",
        "192.0.3.1",
        "192.0.4.1",
        "'2001:db8:a::/126'",
        "'2001:db8:a::9'",
    ],
    bad: &["'::1'", "127.0.0.1", "192.0.2.1/30", "192.0.0.0/22", "x"],
};
const PORTS: Words = Words {
    good: &["1024-65535", "1"],
    bad: &["5-4", "0-9"],
};
const RULES: Words = Words {
    good: &["r0", "r1", "r2", "r3", "r4", "r5"],
    bad: &["", "R"],
};
const NETS: Words = Words {
    good: &[
        "10.1.0.0/16",
        "10.1.2.3",
        "10.2.0.0/15",
        "172.16.0.0/12",
        "'2001:db8:1::/48'",
        "'fd00::/8'",
    ],
    bad: &["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/16"],
};
const SERVICES: Words = Words {
    good: &["tcp", "udp/53", "tcp/1-65535", "icmp"],
    bad: &["tcp/0", "icmp/1"],
};
const DIALLED: Words = Words {
    good: &["10.99.0.10", "10.99.0.11", "'fd99::10'"],
    bad: &["192.0.2.10", "10.99.0.0/24"],
};
const TARGETS: Words = Words {
    good: &["198.51.100.4", "198.51.100.5", "'2001:db8:1::4'"],
    bad: &["'198.51.100.4:65535'", "10.99.0.10", "192.0.2.10"],
};
const ACTIONS: Words = Words {
    good: &["pool: a", "pool: b", "action: pass"],
    bad: &["pool: c", "action: no"],
};

impl Words {
    fn one(self) -> impl Strategy<Value = &'static str> {
        prop_oneof![20 => prop::sample::select(self.good), 1 => prop::sample::select(self.bad)]
    }

    fn list(self) -> impl Strategy<Value = String> {
        prop::collection::vec(self.one(), 1..4).prop_map(|words| format!("[{}]", words.join(", ")))
    }
}

fn configuration() -> impl Strategy<Value = String> {
    let interface = (INTERFACES.one(), REALMS.one())
        .prop_map(|(name, realm)| format!("  - {{ name: {name}, realm: {realm} }}\n"));
    let pool = (POOLS.one(), ADDRESSES.list(), PORTS.one()).prop_map(|(name, addresses, ports)| {
        format!("  - {{ name: {name}, addresses: {addresses}, ports: {ports} }}\n")
    });
    let rule = (
        RULES.one(),
        NETS.list(),
        NETS.list(),
        SERVICES.list(),
        ACTIONS.one(),
    )
        .prop_map(|(name, sources, destinations, services, action)| {
            format!(
                "  - name: {name}\n    sources: {sources}\n    destinations: {destinations}\n    \
                 services: {services}\n    {action}\n"
            )
        });
    let endpoint = (
        RULES.one(),
        DIALLED.one(),
        SERVICES.one(),
        TARGETS.one(),
        POOLS.one(),
    );
    let endpoint =
        (endpoint, NETS.list()).prop_map(|((name, address, service, to, pool), sources)| {
            format!(
                "  - {{name: {name}, address: {address}, service: {service}, to: {to}, \
                 sources: {sources}, pool: {pool}}}\n"
            )
        });
    let joined = |items: Vec<String>| items.concat();
    (
        prop::collection::vec(interface, 1..3).prop_map(joined),
        prop::collection::vec(pool, 1..3).prop_map(joined),
        prop::collection::vec(rule, 1..4).prop_map(joined),
        prop::option::of(prop::collection::vec(endpoint, 1..3).prop_map(joined)),
    )
        .prop_map(|(interfaces, pools, rules, endpoints)| {
            let endpoints = endpoints.map_or_else(String::new, |it| format!("endpoints:\n{it}"));
            format!("interfaces:\n{interfaces}pools:\n{pools}rules:\n{rules}{endpoints}")
        })
}

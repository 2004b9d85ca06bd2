//! Laws of compilation; that a compiled policy decides as its rules read is tested with the packet
//! path itself.

use std::{collections::BTreeSet, net::IpAddr};

use proptest::prelude::*;

use super::*;

#[test]
fn the_prefixes_of_a_range_are_exactly_the_range() {
    let edges = [
        1, 2, 3, 80, 443, 1023, 1024, 8000, 8999, 32767, 32768, 65534, 65535,
    ];
    for first in edges {
        for last in edges.into_iter().filter(|last| *last >= first) {
            let prefixes = port_prefixes(first, last);

            let within = |port: u16| {
                prefixes.iter().filter(move |(start, bits)| {
                    let prefix = Prefix::of_word(u32::from(*start), 16 + bits);
                    prefix.covers(Prefix::of_word(u32::from(port), 32))
                })
            };
            for port in 0..=u16::MAX {
                let is_in = (first..=last).contains(&port);
                assert_eq!(
                    within(port).count(),
                    usize::from(is_in),
                    "{first}-{last}: {port}"
                );
            }
            assert!(prefixes.len() <= 30);
        }
    }
}

#[test]
fn a_prefix_knows_the_rules_of_the_prefixes_around_it() {
    let prefix = Prefix::of_word;
    let nested = nest(vec![
        (prefix(0x0a00_0000, 8), 0),
        (prefix(0x0a01_0000, 16), 1),
        (prefix(0x0a02_0000, 16), 2),
        (prefix(0, 0), 3),
        (prefix(0x0b00_0000, 8), 4),
    ]);

    let words: Vec<_> = nested
        .iter()
        .map(|(prefix, set)| ((prefix.value >> 96) as u32, set.0[0]))
        .collect();

    assert_eq!(
        words,
        [
            (0, 0b0_1000),
            (0x0a00_0000, 0b0_1001),
            (0x0a01_0000, 0b0_1011),
            (0x0a02_0000, 0b0_1101),
            (0x0b00_0000, 0b1_1000),
        ]
    );
}

/// The set of the longest prefix that holds a value.
fn longest<A: Address>(classes: &BTreeMap<ClassKey<A>, RuleSet>, key: ClassKey<A>) -> RuleSet {
    let mut lengths = (0..=key.own_bits()).rev();
    let found = lengths.find_map(|bits| classes.get(&key.cut(bits)));
    found.copied().unwrap_or(RuleSet::EMPTY)
}

/// The first rule that is in all sets.
fn lowest(sets: [RuleSet; 2]) -> Option<usize> {
    let [a, b] = sets;
    let both = a.0.into_iter().zip(b.0).map(|(a, b)| a & b);
    let mut words = both.enumerate().filter(|(_, word)| *word != 0);
    let (index, word) = words.next()?;
    Some(64 * index + word.trailing_zeros() as usize)
}

/// Whom a packet is to, as rules see it.
fn compiled(policy: &Policy, source: IpAddr, target: IpAddr) -> Option<usize> {
    let version = policy.version;
    let set = |dimension, address| match address {
        IpAddr::V4(address) => {
            let address = Ip4(address.octets());
            let key = ClassKey::address(version, dimension, address, 32);
            longest(&policy.classes, key)
        }
        IpAddr::V6(address) => {
            let address = Ip6(address.octets());
            let key = ClassKey::address(version, dimension, address, 128);
            longest(&policy.classes6, key)
        }
    };
    lowest([
        set(Dimension::Source, source),
        set(Dimension::Destination, target),
    ])
}

fn net() -> impl Strategy<Value = IpNet> {
    let v4 = (0..4_u8, 0..4_u8, 0..=32_u8).prop_map(|(b, d, length)| {
        let net = IpNet::new(IpAddr::from([10, b, 0, d]), length);
        net.expect("32 bits at most").trunc()
    });
    let v6 = (0..4_u16, 0..4_u16, 0..=128_u8).prop_map(|(d, h, length)| {
        let address = IpAddr::from([0x2001, 0xdb8, 0, d, 0, 0, 0, h]);
        let net = IpNet::new(address, length);
        net.expect("128 bits at most").trunc()
    });
    prop_oneof![v4, v6]
}

fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (0..5_u8, 0..5_u8).prop_map(|(b, d)| IpAddr::from([10, b, 0, d]));
    let v6 =
        (0..5_u16, 0..5_u16).prop_map(|(d, h)| IpAddr::from([0x2001, 0xdb8, 0, d, 0, 0, 0, h]));
    prop_oneof![v4, v6]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let nets = || prop::collection::vec(net(), 1..4);
    (nets(), nets()).prop_map(|(sources, destinations)| Rule {
        name: "rule".to_owned(),
        sources,
        destinations,
        services: vec![Service::Any],
        action: Action::Pass,
        target: None,
        quota: Quota::NONE,
    })
}

proptest! {
    /// Law: what the sets of both versions' tables say together is what the rules say, read one after
    /// the other, for packets within each version and for those from IPv6 to IPv4.
    #[test]
    fn rules_of_both_versions_decide_as_they_read(
        rules in prop::collection::vec(any_rule(), 1..80),
        packets in prop::collection::vec((address(), address()), 1..60),
    ) {
        let text = "interfaces: [{name: eth0, realm: both}]";
        let empty = crate::intent::parse("gateway.yaml", text).expect("valid").intent;
        let intent = Intent { rules, ..empty };
        let policy = compile(&intent, &Numbers::default(), 7);

        for (source, target) in packets {
            let matches = |rule: &Rule| {
                rule.sources.iter().any(|net| net.contains(&source))
                    && rule.destinations.iter().any(|net| net.contains(&target))
            };
            let expected = intent.rules.iter().position(matches);
            prop_assert_eq!(compiled(&policy, source, target), expected);
        }
    }
}

#[test]
fn a_pools_addresses_of_each_version_have_slots_of_their_own() {
    let text = "
interfaces: [{name: eth0, realm: both}]
pools: [{name: a, addresses: [192.0.2.1, '2001:db8::1', '2001:db8::2']}]
rules: [{name: a, sources: [10.0.0.0/8], pool: a}]
";
    let intent = crate::intent::parse("gateway.yaml", text)
        .expect("valid")
        .intent;
    let numbers = Numbers::default()
        .assign(&intent.pools)
        .expect("there is room");

    let policy = compile(&intent, &numbers, 1);

    let (_, pool, slots6) = &policy.pools[0];
    assert!(
        pool.slots
            .iter()
            .all(|slot| slot.address == Ip4([192, 0, 2, 1]))
    );
    let all: BTreeSet<_> = slots6
        .0
        .iter()
        .map(|slot| (slot.address, slot.index))
        .collect();
    assert_eq!(all.len(), 2);
    let indices: BTreeSet<_> = numbers.externals.values().map(|it| it.index).collect();
    assert_eq!(indices.len(), 3, "port bitmaps are of one address");
    let (_, other, others) = &policy.pools[1];
    assert!(other.slots.iter().all(|slot| slot.filled == 0));
    assert!(others.0.iter().all(|slot| slot.filled == 0));
}

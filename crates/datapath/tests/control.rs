//! The control plane at work under traffic: whatever the daemon does, and wherever it is in doing it,
//! flows go on, and a new flow meets the old policy or the new one and never a mixture.

use std::{cell::RefCell, collections::BTreeSet, net::IpAddr, time::Duration};

use abi::{Protocol, Reason, Tuple};
use gateway::{
    Action, Event,
    intent::{Intent, Pool, PortRange, Rule},
};
use proptest::prelude::*;

use crate::{
    cases,
    rig::{
        Left, Site, Sketch,
        interrupted::process_with,
        laws::{counted, sound},
        site::{INSIDE, OUTSIDE, from_pool, intent, own_mac, pool, rule, tuple, usual},
        sketch::read,
    },
};

/// What became of a packet, as far as a policy decides it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    NoRule,
    Pass,
    NoAddress,
    NoPort,
    From([u8; 4]),
}

fn fate(left: &Left) -> Fate {
    if left.reason == Reason::TranslatedOut {
        let (_, seen) = read(&left.after.bytes).expect("still such a packet");
        return Fate::From(seen.source.0);
    }
    let others = [
        (Reason::NoRule, Fate::NoRule),
        (Reason::RulePass, Fate::Pass),
        (Reason::PoolEmpty, Fate::NoAddress),
        (Reason::PortsExhausted, Fate::NoPort),
    ];
    let fate = others
        .into_iter()
        .find(|(reason, _)| *reason == left.reason);
    fate.unwrap_or_else(|| panic!("no policy says {:?}", left.reason))
        .1
}

/// What may become of a packet if these rules are read.
fn fates(intent: &Intent, asked: Tuple) -> BTreeSet<Fate> {
    let matches = |rule: &&Rule| {
        let has = |nets: &[ipnet::IpNet], address: abi::Ip4| {
            let address = std::net::IpAddr::from(address.0);
            nets.iter().any(|net| net.contains(&address))
        };
        has(&rule.sources, asked.source) && has(&rule.destinations, asked.target)
    };
    let Some(rule) = intent.rules.iter().find(matches) else {
        return [Fate::NoRule].into();
    };
    let gateway::intent::Action::Translate { pool } = &rule.action else {
        return [Fate::Pass].into();
    };
    let named = |candidate: &&Pool| candidate.name == *pool;
    let pool = intent
        .pools
        .iter()
        .find(named)
        .expect("rules name pools that are");
    pool.addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(Fate::From(address.octets())),
            IpAddr::V6(_) => None,
        })
        .collect()
}

fn ranges(intent: &Intent) -> Vec<PortRange> {
    intent.pools.iter().map(|pool| pool.ports).collect()
}

/// Whether an address that we answer for is to give out other ports than it does: also one that drains
/// with the range it had when it left its pool, and comes back to a pool that has another since.
fn moves_ports(site: &Site, after: &Intent) -> bool {
    let wanted = after.pools.iter().flat_map(|pool| {
        let PortRange { first, last } = pool.ports;
        let addresses = pool.addresses.iter();
        addresses.map(move |address| (*address, (first, last)))
    });
    wanted.into_iter().any(|(address, ports)| {
        let known = match address {
            IpAddr::V4(address) => site.memory.v4.externals.get(&abi::Ip4(address.octets())),
            IpAddr::V6(address) => site.memory.v6.externals.get(&abi::Ip6(address.octets())),
        };
        known.is_some_and(|known| (known.first.get(), known.last.get()) != ports)
    })
}

/// Policies that differ in everything: rules, pools, addresses, ranges.
fn any_intent() -> impl Strategy<Value = Intent> {
    let addresses = |all: std::ops::Range<u8>| prop::collection::btree_set(all, 1..4);
    let range = prop::sample::select(vec![(1024, 65_535), (2000, 9999), (40_000, 65_535)]);
    let pools = (addresses(1..6), addresses(10..14), range.clone(), range);
    let source = prop::sample::select(vec![
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.2.0.0/15",
        "10.1.0.3/32",
    ]);
    let target = prop::sample::select(vec!["0.0.0.0/0", "198.51.100.0/24", "198.51.100.7/32"]);
    let action = prop_oneof![
        1 => Just(gateway::intent::Action::Pass),
        2 => Just(from_pool("a")),
        2 => Just(from_pool("b")),
    ];
    let rules = prop::collection::vec((source, target, action), 1..6);
    (pools, rules).prop_map(|((a, b, range_a, range_b), rules)| {
        let pools = vec![pool("a", a, range_a), pool("b", b, range_b)];
        let rules = rules
            .into_iter()
            .map(|(source, target, action)| rule(source, target, action));
        intent(pools, rules.collect())
    })
}

/// Clients and remotes that the policies tell apart.
fn asked() -> Vec<([u8; 4], [u8; 4])> {
    let clients = [[10, 1, 0, 3], [10, 1, 7, 7], [10, 2, 0, 1], [10, 9, 0, 1]];
    let remotes = [[198, 51, 100, 7], [198, 51, 100, 8], [192, 88, 99, 1]];
    clients
        .iter()
        .flat_map(|client| remotes.iter().map(|remote| (*client, *remote)))
        .collect()
}

/// Flows that were begun, each with what its remote saw.
#[derive(Default)]
struct Flows {
    begun: Vec<(Protocol, Tuple, Tuple)>,
    port: u16,
}

impl Flows {
    /// A port that no client has used.
    fn next_port(&mut self) -> u16 {
        self.port += 1;
        30_000 + self.port
    }

    fn begin(
        &mut self,
        site: &Site,
        protocol: Protocol,
        (client, remote): ([u8; 4], [u8; 4]),
    ) -> (Tuple, Fate) {
        let port = if protocol == Protocol::Icmp { 0 } else { 443 };
        let asked = tuple((client, self.next_port()), (remote, port));
        let left = site.send(INSIDE, &Sketch::first(protocol, asked));
        let fate = fate(&left);
        if matches!(fate, Fate::From(_)) {
            let (_, seen) = read(&left.after.bytes).expect("still such a packet");
            self.begun.push((protocol, asked, seen));
        }
        (asked, fate)
    }

    /// Every flow passes in both directions, with the addresses it had from the beginning.
    fn go_on(&self, site: &Site) {
        for (protocol, asked, seen) in &self.begun {
            let out = site.send(INSIDE, &Sketch::first(*protocol, *asked));
            assert_eq!(out.reason, Reason::TranslatedOut);
            assert_eq!(read(&out.after.bytes), Some((*protocol, *seen)));
            let back = site.send(OUTSIDE, &Sketch::answer(*protocol, seen.reversed()));
            assert_eq!(back.reason, Reason::TranslatedIn);
            assert_eq!(read(&back.after.bytes), Some((*protocol, asked.reversed())));
        }
    }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn between_any_two_steps_of_a_change_flows_go_on_and_new_ones_meet_one_policy(
        intents in prop::collection::vec(any_intent(), 2..5),
    ) {
        let mut site = Site::new(intents[0].clone(), 4096);
        let mut flows = Flows::default();
        for pair in intents.windows(2) {
            for asked in asked() {
                flows.begin(&site, Protocol::Tcp, asked);
            }
            site.sweep();
            let (before, after) = (&pair[0], &pair[1]);
            let is_moving = moves_ports(&site, after);
            let version = site.memory.config.borrow().version;
            for action in site.decide(Event::Configure(Box::new(after.clone()))) {
                site.apply(&action);
                // There is no IPv6 here that these could be about.
                if matches!(action, Action::PutSlots6(..)) {
                    continue;
                }
                let is_new = site.memory.config.borrow().version != version;
                flows.go_on(&site);
                for asked in asked() {
                    let (asked, fate) = flows.begin(&site, Protocol::Udp, asked);
                    let wanted = fates(if is_new { after } else { before }, asked);
                    // The ports of a range that moved are free when sweeps have seen that.
                    let is_late = fate == Fate::NoPort && is_moving;
                    prop_assert!(is_late || wanted.contains(&fate), "{:?}: {:?}", fate, wanted);
                }
            }
            site.sweep();
            site.sweep();
            for asked in asked() {
                let (asked, fate) = flows.begin(&site, Protocol::Udp, asked);
                let wanted = fates(after, asked);
                prop_assert!(wanted.contains(&fate), "{:?} is not in {:?}", fate, wanted);
            }
            sound(&site.memory);
        }
    }

    /// The daemon does not stop packets while it writes: one may have begun before a step and end
    /// after all of them.
    #[test]
    fn in_the_middle_of_a_packet_a_change_is_not_seen_by_halves(
        before in any_intent(),
        after in any_intent(),
        ends in prop::sample::select(asked()),
        done in any::<prop::sample::Index>(),
    ) {
        let asked = tuple((ends.0, 4000), (ends.1, 443));
        let mut wanted = fates(&before, asked);
        wanted.extend(fates(&after, asked));
        if ranges(&before) != ranges(&after) {
            wanted.insert(Fate::NoPort);
        }
        for place in 0.. {
            let mut site = Site::new(before.clone(), 16);
            let actions = site.decide(Event::Configure(Box::new(after.clone())));
            let (now, later) = actions.split_at(done.index(actions.len()));
            now.iter().for_each(|action| site.apply(action));
            match fate_with(&site, asked, place, later) {
                Some(fate) => prop_assert!(wanted.contains(&fate), "{:?}: {:?}", fate, wanted),
                None => break,
            }
        }
    }
}

/// What becomes of a first packet in whose middle these actions are done.
fn fate_with(site: &Site, asked: Tuple, place: usize, actions: &[Action]) -> Option<Fate> {
    let sketch = Sketch::first(Protocol::Udp, asked);
    let before = Sketch {
        to: own_mac(INSIDE),
        ingress: INSIDE,
        ..sketch
    }
    .frame();
    let counters = site.memory.counters.borrow().clone();
    let mut after = before.clone();
    let actions = RefCell::new(actions.iter());
    let event = || {
        actions
            .borrow_mut()
            .by_ref()
            .for_each(|action| site.apply(action))
    };
    let exit = process_with(&mut after, &site.memory, place, event)?;
    let reason = counted(&site.memory, &counters);
    Some(fate(&Left {
        reason,
        exit,
        before,
        after,
    }))
}

#[test]
fn ports_that_a_pool_comes_to_have_are_free_with_the_next_sweep() {
    let range = |ports| {
        let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
        intent(vec![pool("web", [1], ports)], rules)
    };
    let mut site = Site::new(range((2000, 2003)), 4096);
    let mut flows = Flows::default();
    let ends = ([10, 1, 0, 1], [198, 51, 100, 1]);
    for _ in 0..4 {
        flows.begin(&site, Protocol::Udp, ends);
    }
    assert_eq!(flows.begin(&site, Protocol::Udp, ends).1, Fate::NoPort);
    site.sweep();

    site.handle(Event::Configure(Box::new(range((3000, 65_535)))));
    site.sweep();

    for _ in 0..100 {
        assert_eq!(
            flows.begin(&site, Protocol::Udp, ends).1,
            Fate::From([192, 0, 2, 1])
        );
    }
    flows.go_on(&site);
}

#[test]
fn an_address_that_leaves_its_pool_serves_its_flows_until_they_end() {
    let two = intent(
        vec![pool("web", [1, 2], (1024, 65_535))],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    );
    let mut one = two.clone();
    one.pools[0].addresses.pop();
    let gone = abi::Ip4([192, 0, 2, 2]);
    let mut site = Site::new(two, 4096);
    let mut flows = Flows::default();
    for client in 0..40 {
        flows.begin(
            &site,
            Protocol::Udp,
            ([10, 1, 0, client], [198, 51, 100, 1]),
        );
    }
    assert!(flows.begun.iter().any(|(.., seen)| seen.source == gone));

    site.handle(Event::Configure(Box::new(one)));
    flows.go_on(&site);
    for client in 0..40 {
        let (_, fate) = flows.begin(
            &site,
            Protocol::Udp,
            ([10, 1, 1, client], [198, 51, 100, 1]),
        );
        assert_eq!(fate, Fate::From([192, 0, 2, 1]));
    }
    site.sweep();
    flows.go_on(&site);
    assert!(site.memory.v4.externals.get(&gone).is_some());

    site.pass(Duration::from_secs(1000));
    for _ in 0..3 {
        site.sweep();
        site.pass(Duration::from_secs(1));
    }
    assert!(site.memory.v4.flows.is_empty());
    assert!(
        site.memory.v4.externals.get(&gone).is_none(),
        "it is forgotten"
    );
}

/// The daemon died in the middle of a change and its successor begins with what it finds.
#[test]
fn a_restart_at_any_step_of_a_change_loses_no_flow_and_ends_in_the_wanted_policy() {
    let mut wanted = usual();
    wanted.rules.remove(1);
    wanted.pools[0].addresses.remove(0);
    for done in 0.. {
        let mut site = Site::new(usual(), 4096);
        let mut flows = Flows::default();
        for asked in asked() {
            flows.begin(&site, Protocol::Tcp, asked);
            flows.begin(&site, Protocol::Icmp, asked);
        }
        let actions = site.decide(Event::Configure(Box::new(wanted.clone())));
        if done > actions.len() {
            break;
        }
        actions[..done].iter().for_each(|action| site.apply(action));

        let mut site = site.restarted();
        flows.go_on(&site);
        for action in site.decide(Event::Configure(Box::new(wanted.clone()))) {
            site.apply(&action);
            flows.go_on(&site);
        }

        for asked in asked() {
            let (asked, fate) = flows.begin(&site, Protocol::Udp, asked);
            assert!(
                fates(&wanted, asked).contains(&fate),
                "after {done} steps: {fate:?}"
            );
        }
        let classes = site.memory.v4.classes.all();
        let versions: BTreeSet<_> = classes.iter().map(|(key, _)| key.version()).collect();
        assert!(
            versions.len() <= 2,
            "the one in force and the one before it, not {versions:?}"
        );
        sound(&site.memory);
    }
}

//! Tables and ports that run out: what does not fit is refused whole and leaves nothing behind.

use std::{collections::BTreeSet, time::Duration};

use abi::{
    Behaviour, Dependence, End, FlowKey, Ip4, Mapping, MappingKey, Port, Protocol, Reason, Tick,
    Tuple, ports,
};
use datapath::native::Memory;
use gateway::{Event, intent::Pool};

use crate::rig::{
    Site, Sketch,
    laws::{sound, taken_is_mapped},
    site::{INSIDE, OUTSIDE, from_pool, intent, own_mac, pool, rule, tuple, usual},
    sketch::read,
};

const SERVICE: ([u8; 4], u16) = ([198, 51, 100, 1], 443);

fn first(protocol: Protocol, client: u32) -> Sketch {
    let [_, a, b, c] = client.to_be_bytes();
    let target = if protocol == Protocol::Icmp {
        (SERVICE.0, 0)
    } else {
        SERVICE
    };
    Sketch::first(protocol, tuple(([10, a, b, c], 4000), target))
}

/// Everything that can leak: entries, mappings, ports.
fn amounts(memory: &Memory) -> (usize, usize, u32) {
    let externals = memory.v4.externals.all();
    let bitmaps = externals.iter().flat_map(|(_, external)| {
        Protocol::PORTED.map(|protocol| ports::bitmap(external.index, protocol))
    });
    let taken = bitmaps.map(|bitmap| memory.taken(bitmap)).sum();
    (memory.v4.flows.len(), memory.v4.mappings.len(), taken)
}

#[test]
fn a_full_flow_table_refuses_the_flow_and_keeps_nothing_of_it() {
    for protocol in Protocol::PORTED {
        let site = Site::new(usual(), 100);
        for client in 0..100 {
            assert_eq!(
                site.send(INSIDE, &first(protocol, client)).reason,
                Reason::TranslatedOut
            );
        }
        let full = amounts(&site.memory);
        assert_eq!((full.0, full.1), (200, 200));

        for client in 100..200 {
            assert_eq!(
                site.send(INSIDE, &first(protocol, client)).reason,
                Reason::FlowTableFull
            );
        }

        assert_eq!(amounts(&site.memory), full);
        sound(&site.memory);
        taken_is_mapped(&site.memory);
    }
}

/// One entry is free: the first half of a flow fits, the second does not.
#[test]
fn room_for_half_a_flow_is_not_filled_with_half_a_flow() {
    let site = Site::new(usual(), 100);
    for client in 0..100 {
        site.send(INSIDE, &first(Protocol::Udp, client));
    }
    let (key, _) = site.memory.v4.flows.all()[0];
    site.memory.v4.flows.remove(&key);
    let before = amounts(&site.memory);

    assert_eq!(
        site.send(INSIDE, &first(Protocol::Udp, 100)).reason,
        Reason::FlowTableFull
    );

    assert_eq!(amounts(&site.memory), before);
}

/// A client that has a mapping keeps it when one more flow of its does not fit.
#[test]
fn a_refused_flow_does_not_take_its_endpoints_mapping_with_it() {
    let site = Site::new(usual(), 100);
    for client in 0..100 {
        site.send(INSIDE, &first(Protocol::Udp, client));
    }
    let full = amounts(&site.memory);
    let known = tuple(([10, 0, 0, 1], 4000), ([198, 51, 100, 2], 443));

    let out = site.send(INSIDE, &Sketch::first(Protocol::Udp, known));

    // To remember whom the client sends to is what does not fit first.
    assert_eq!(out.reason, Reason::MappingTableFull);
    assert_eq!(amounts(&site.memory), full);
    sound(&site.memory);
}

/// A pool comes to map each flow for itself while one of its clients has a port for all.
#[test]
fn a_refused_flow_of_its_own_port_takes_no_other_mapping_with_it() {
    let policy = |mapping| {
        let strict = Pool {
            behaviour: Behaviour::new([mapping; 3], [Dependence::Endpoint; 3], true, 0),
            ..pool("web", [1], (1024, 65535))
        };
        let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
        intent(vec![strict], rules)
    };
    let mut site = Site::new(policy(Dependence::Endpoint), 10);
    site.send(INSIDE, &first(Protocol::Udp, 1));
    let configured = Event::Configure(Box::new(policy(Dependence::AddressAndPort)));
    site.handle(configured);
    let mappings = &site.memory.v4.mappings;
    for port in 0..18 {
        let internal = (Ip4([172, 16, 0, 1]), Port::new(port));
        let external = Ip4([192, 0, 2, 1]);
        let key = MappingKey::outward(Protocol::Udp, internal, external, Ip4([0; 4]));
        mappings.put(key, Mapping::outward(Port::new(1), Tick(1)));
    }
    let full: BTreeSet<_> = mappings.all().into_iter().map(|(key, _)| key).collect();

    let again = tuple(([10, 0, 0, 1], 4000), ([198, 51, 100, 2], 443));
    let out = site.send(INSIDE, &Sketch::first(Protocol::Udp, again));

    assert_eq!(out.reason, Reason::MappingTableFull);
    let left = site.memory.v4.mappings.all();
    assert_eq!(
        left.into_iter()
            .map(|(key, _)| key)
            .collect::<BTreeSet<_>>(),
        full
    );
}

#[test]
fn a_full_mapping_table_refuses_the_flow_and_keeps_nothing_of_it() {
    let site = Site::new(usual(), 10);
    let stranger = |port| {
        let internal = (Ip4([172, 16, 0, 1]), Port::new(port));
        abi::MappingKey::outward(Protocol::Tcp, internal, Ip4([192, 0, 2, 1]), Ip4([0; 4]))
    };
    for port in 0..20 {
        site.memory.v4.mappings.put(
            stranger(port),
            abi::Mapping::outward(Port::new(1), abi::Tick(1)),
        );
    }
    let full = amounts(&site.memory);

    assert_eq!(
        site.send(INSIDE, &first(Protocol::Tcp, 1)).reason,
        Reason::MappingTableFull
    );

    assert_eq!(amounts(&site.memory), full);
}

#[test]
fn a_pool_without_ports_left_refuses_the_flow_and_keeps_nothing_of_it() {
    let narrow = intent(
        vec![pool("web", [1], (2000, 2009))],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    );
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let site = Site::new(narrow.clone(), 100);
        for client in 0..10 {
            assert_eq!(
                site.send(INSIDE, &first(protocol, client)).reason,
                Reason::TranslatedOut
            );
        }
        let full = amounts(&site.memory);

        assert_eq!(
            site.send(INSIDE, &first(protocol, 10)).reason,
            Reason::PortsExhausted
        );

        assert_eq!(amounts(&site.memory), full);
        taken_is_mapped(&site.memory);
    }
}

#[test]
fn every_port_of_a_range_is_found_and_the_one_that_is_freed_again() {
    let one = intent(
        vec![pool("web", [1], (61_440, 65_535))],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    );
    let site = Site::new(one, 5000);
    let mut seen = std::collections::BTreeSet::new();
    for client in 0..4096 {
        let mut frame = Sketch {
            ingress: INSIDE,
            ..first(Protocol::Tcp, client)
        };
        frame.to = crate::rig::site::own_mac(INSIDE);
        let mut frame = frame.frame();
        datapath::process(&mut frame, &site.memory);
        let (_, out) = read(&frame.bytes).expect("still such a packet");
        assert_eq!(out.source, Ip4([192, 0, 2, 1]), "client {client}");
        assert!(seen.insert(out.source_port));
    }
    assert_eq!(
        site.send(INSIDE, &first(Protocol::Tcp, 4096)).reason,
        Reason::PortsExhausted
    );

    let freed = Port::new(63_337);
    let (word, bit) = ports::place(freed);
    let index = site
        .memory
        .v4
        .externals
        .get(&Ip4([192, 0, 2, 1]))
        .expect("ours")
        .index;
    let bitmap = site.memory.bitmap(ports::bitmap(index, Protocol::Tcp));
    bitmap[word].taken.fetch_and(!(1 << bit));
    // The client that had the port is gone with it.
    for (key, flow) in site.memory.v4.flows.all() {
        let (from, to) = (key.tuple, flow.to);
        if from.target_port == freed || to.source_port == freed {
            site.memory.v4.flows.remove(&key);
        }
    }
    for (key, mapping) in site.memory.v4.mappings.all() {
        let is_its = match key.what() {
            Some(End::Inward { port } | End::Permit { port, .. }) => port == freed,
            Some(End::Outward { .. }) | None => mapping.port == freed,
        };
        if is_its {
            site.memory.v4.mappings.remove(&key);
        }
    }

    let out = site.send(INSIDE, &first(Protocol::Tcp, 4096));
    assert_eq!(out.reason, Reason::TranslatedOut);
    assert_eq!(
        read(&out.after.bytes)
            .expect("still such a packet")
            .1
            .source_port,
        freed
    );
    assert_eq!(
        site.send(INSIDE, &first(Protocol::Tcp, 4097)).reason,
        Reason::PortsExhausted
    );
}

/// Random numbers, the same each time (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % bound
    }
}

/// Fills an address towards one destination to the last port a hundred times, with opens and closes
/// in random order before.
fn fill_again_and_again(behaviour: Behaviour) {
    const PORTS: usize = 128;
    let web = Pool {
        behaviour,
        ..pool("web", [1], (u16::MAX - (PORTS as u16 - 1), u16::MAX))
    };
    let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
    let mut wanted = intent(vec![web], rules);
    // What is silent since the clock began has ended, and nothing else ends.
    wanted.timeouts.tcp_opening = Duration::from_secs(86_400);
    let mut site = Site::new(wanted, 2 * PORTS);
    site.pass(Duration::from_secs(86_400));
    let (mut open, mut next, mut chance) = (Vec::new(), 0, Chance(7));
    for round in 0..100 {
        let some = chance.below(PORTS);
        while open.len() < some {
            next += 1;
            let seen = begin(&site, next);
            open.push(seen.unwrap_or_else(|| panic!("{} of round {round}", open.len())));
        }
        for _ in 0..chance.below(open.len() + 1) {
            end(&site, open.swap_remove(chance.below(open.len())));
        }
        // To remove what ended, to find its ports unused, and to free them.
        for _ in 0..3 {
            site.pass(Duration::from_secs(4 + chance.below(5) as u64));
            site.sweep_during(|_| {});
        }
        while open.len() < PORTS {
            next += 1;
            let seen = begin(&site, next);
            open.push(seen.unwrap_or_else(|| panic!("{} of round {round}", open.len())));
        }
        assert_eq!(begin(&site, next + 1), None, "one too many");
        sound(&site.memory);
        let ports: BTreeSet<_> = open.iter().map(|seen| seen.source_port).collect();
        assert_eq!(ports.len(), PORTS);
    }
}

/// Begins a flow of a client that has none; what the remote sees of it.
fn begin(site: &Site, client: u32) -> Option<Tuple> {
    let mut sketch = first(Protocol::Tcp, client);
    (sketch.ingress, sketch.to) = (INSIDE, own_mac(INSIDE));
    let mut frame = sketch.frame();
    let refused = || site.memory.counted(Reason::PortsExhausted).packets;
    let before = refused();
    datapath::process(&mut frame, &site.memory);
    (refused() == before).then(|| read(&frame.bytes).expect("such a packet").1)
}

/// Makes a flow look as if it had been silent for ever.
fn end(site: &Site, sent: Tuple) {
    let back = FlowKey::new(Protocol::Tcp, sent.reversed());
    let inbound = site.memory.v4.flows.get(&back).expect("it is open");
    let outbound = site.memory.v4.flows.get(&inbound.twin(Protocol::Tcp));
    inbound.last_seen.set(0);
    outbound.expect("it is whole").last_seen.set(0);
}

#[test]
fn an_address_can_be_filled_to_the_last_port_whatever_came_and_went_before() {
    fill_again_and_again(Pool::BEHAVIOUR_DEFAULT);
}

#[test]
fn an_overloaded_address_can_be_filled_towards_one_destination_too() {
    fill_again_and_again(Pool::BEHAVIOUR_DEFAULT.overloading());
}

#[test]
fn the_port_spaces_of_protocols_do_not_eat_into_each_other() {
    let narrow = intent(
        vec![pool("web", [1], (2000, 2000))],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    );
    let site = Site::new(narrow, 100);
    for protocol in Protocol::PORTED {
        assert_eq!(
            site.send(INSIDE, &first(protocol, 1)).reason,
            Reason::TranslatedOut
        );
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        assert_eq!(
            site.send(INSIDE, &first(protocol, 2)).reason,
            Reason::PortsExhausted
        );
    }
    // Identifiers are no ports: the pool's range says nothing about them.
    assert_eq!(
        site.send(INSIDE, &first(Protocol::Icmp, 2)).reason,
        Reason::TranslatedOut
    );
}

#[test]
fn a_pool_without_addresses_refuses() {
    let mut site = Site::new(usual(), 16);
    let mut empty = usual();
    empty.pools[0].addresses.clear();
    site.handle(gateway::Event::Configure(Box::new(empty)));

    assert_eq!(
        site.send(INSIDE, &first(Protocol::Tcp, 1)).reason,
        Reason::PoolEmpty
    );
    let reply = tuple(SERVICE, ([192, 0, 2, 1], 2000));
    let stray = site.send(OUTSIDE, &Sketch::first(Protocol::Udp, reply));
    assert_eq!(
        stray.reason,
        Reason::Unsolicited,
        "draining, and still not the kernel's"
    );
}

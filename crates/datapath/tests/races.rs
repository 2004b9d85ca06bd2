//! Two CPUs at once: a packet, and another one at every place in its middle.

use std::cell::Cell;

use abi::{End, Ip4, Port, Protocol, Tick, Tuple};
use datapath::native::Memory;

use crate::rig::{
    Site, Sketch,
    interrupted::process_with,
    laws::{clients_keep_their_address, sound, taken_is_mapped},
    site::{INSIDE, OUTSIDE, from_pool, intent, own_mac, peer_mac, pool, rule, tuple, usual},
    sketch::read,
};

const SERVICE: ([u8; 4], u16) = ([198, 51, 100, 1], 443);
const CLIENT: ([u8; 4], u16) = ([10, 1, 0, 1], 4000);

/// Lets `second` come at every place in the middle of `first`, each time on a site of its own, and
/// asserts that the tables are as sound as if one had come after the other.
fn at_every_place(site: impl Fn() -> Site, first: &Sketch, second: &Sketch, check: impl Fn(&Site)) {
    for place in 0.. {
        let site = site();
        let mut frame = Sketch {
            to: own_mac(INSIDE),
            ingress: INSIDE,
            ..first.clone()
        }
        .frame();
        let event = || {
            site.send(INSIDE, second);
        };
        if process_with(&mut frame, &site.memory, place, event).is_none() {
            assert!(place > 5, "a packet asks more than that");
            return;
        }
        sound(&site.memory);
        clients_keep_their_address(&site.memory);
        taken_is_mapped(&site.memory);
        check(&site);
    }
}

fn ports_mapped(memory: &Memory) -> usize {
    let all = memory.v4.mappings.all().into_iter();
    all.filter(|(key, _)| matches!(key.what(), Some(End::Inward { .. })))
        .count()
}

fn first(protocol: Protocol, source: ([u8; 4], u16), target: ([u8; 4], u16)) -> Sketch {
    Sketch::first(protocol, tuple(source, target))
}

#[test]
fn the_same_packet_twice_begins_one_flow() {
    for protocol in Protocol::PORTED {
        let packet = first(protocol, CLIENT, SERVICE);
        at_every_place(
            || Site::new(usual(), 16),
            &packet,
            &packet,
            |site| {
                assert_eq!(site.memory.v4.flows.len(), 2);
                assert_eq!(ports_mapped(&site.memory), 1);
            },
        );
    }
}

#[test]
fn one_endpoint_that_begins_two_flows_at_once_gets_one_port() {
    let (one, other) = (SERVICE, ([198, 51, 100, 2], 53));
    let (one, other) = (
        first(Protocol::Udp, CLIENT, one),
        first(Protocol::Udp, CLIENT, other),
    );
    at_every_place(
        || Site::new(usual(), 16),
        &one,
        &other,
        |site| {
            assert_eq!(ports_mapped(&site.memory), 1);
            // What was refused is sent again, and passes.
            assert!(site.send(INSIDE, &one).is_translated());
            assert!(site.send(INSIDE, &other).is_translated());
            sound(&site.memory);
        },
    );
}

/// The address has one port left, or two.
#[test]
fn two_endpoints_that_begin_a_flow_at_once_do_not_get_the_same_port() {
    for last in [2000, 2001, 2003] {
        let narrow = || {
            let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
            Site::new(intent(vec![pool("web", [1], (2000, last))], rules), 16)
        };
        let one = first(Protocol::Udp, CLIENT, SERVICE);
        let other = first(Protocol::Udp, ([10, 1, 0, 2], 4000), SERVICE);
        at_every_place(narrow, &one, &other, |_| {});
    }
}

/// The flow that was refused takes nothing with it that another one came to use meanwhile.
#[test]
fn a_flow_that_is_refused_does_not_free_a_port_that_another_has_begun_to_use() {
    let (one, other) = (SERVICE, ([198, 51, 100, 2], 53));
    let (one, other) = (
        first(Protocol::Udp, CLIENT, one),
        first(Protocol::Udp, CLIENT, other),
    );
    // Room for one flow, or for one and a half.
    for is_odd in [false, true] {
        for place in 0.. {
            let site = Site::new(usual(), 4);
            for client in 10..13 {
                site.send(
                    INSIDE,
                    &first(Protocol::Udp, ([10, 1, 0, client], 1), SERVICE),
                );
            }
            let half = site.memory.v4.flows.all().pop().filter(|_| is_odd);
            half.iter()
                .for_each(|(key, _)| site.memory.v4.flows.remove(key));
            let mut frame = Sketch {
                to: own_mac(INSIDE),
                ingress: INSIDE,
                ..one.clone()
            }
            .frame();
            let event = || {
                site.send(INSIDE, &other);
            };
            if process_with(&mut frame, &site.memory, place, event).is_none() {
                break;
            }
            half.iter()
                .for_each(|(key, flow)| site.memory.v4.flows.put(*key, flow.duplicate()));
            sound(&site.memory);
        }
    }
}

/// A reply on one CPU, the next request on another, the first time routes are asked for.
#[test]
fn next_hops_that_are_learnt_at_once_are_each_whole() {
    let (inside, outside) = (INSIDE, OUTSIDE);
    for place in 0.. {
        let site = Site::new(usual(), 16);
        let out = site.send(inside, &first(Protocol::Udp, CLIENT, SERVICE));
        let (_, seen) = read(&out.after.bytes).expect("still such a packet");
        site.memory.now.set(Tick(site.memory.now.get().0 + 9));
        let answer = Sketch::answer(Protocol::Udp, seen.reversed());
        let mut frame = Sketch {
            to: own_mac(outside),
            ingress: outside,
            ..answer.clone()
        }
        .frame();
        let event = || {
            site.send(outside, &answer);
        };
        if process_with(&mut frame, &site.memory, place, event).is_none() {
            return;
        }
        assert_eq!(frame.bytes[..6], peer_mac(inside));
        assert_eq!(frame.bytes[6..12], own_mac(inside));
    }
}

/// While a flow is being begun, its port is nobody else's, at whatever place one looks.
#[test]
fn a_port_is_taken_before_anybody_can_see_it() {
    let asked: Tuple = tuple(CLIENT, SERVICE);
    let seen_without_port = Cell::new(0);
    for place in 0.. {
        let site = Site::new(usual(), 16);
        let sketch = Sketch::first(Protocol::Udp, asked);
        let mut frame = Sketch {
            to: own_mac(INSIDE),
            ingress: INSIDE,
            ..sketch
        }
        .frame();
        let event = || {
            for (_, mapping) in site.memory.v4.mappings.all() {
                assert_ne!(mapping.port, Port::new(0));
                let externals = site.memory.v4.externals.all();
                let is_taken = externals.iter().any(|(_, external)| {
                    let bitmap = abi::ports::bitmap(external.index, Protocol::Udp);
                    let (word, bit) = abi::ports::place(mapping.port);
                    site.memory.bitmap(bitmap)[word].taken.get() & 1 << bit != 0
                });
                seen_without_port.set(seen_without_port.get() + u32::from(!is_taken));
            }
        };
        if process_with(&mut frame, &site.memory, place, event).is_none() {
            break;
        }
        let (_, out) = read(&frame.bytes).expect("still such a packet");
        assert_ne!(out.source, Ip4(CLIENT.0));
    }
    assert_eq!(seen_without_port.get(), 0);
}

//! Twins: the kernel's program and the native build take the same frames and agree, in verdict, in
//! every byte, in every counter, and in the tables they leave behind.
//!
//! The kernel's twin stands in a network namespace whose routes and neighbours answer as the native
//! one's function does. What may differ is time, and the kernel's numbers for interfaces.

#[path = "../../../datapath/tests/rig/mod.rs"]
#[expect(dead_code, reason = "the rig has more than twins need")]
mod rig;

mod cost;
mod frames;
mod members;
mod place;
mod twins;

use std::collections::BTreeSet;

use abi::{
    Behaviour, Dependence, Holder, Interface, Ip4, Limits, Mapping, MappingKey, Port, Prefix64,
    Protocol, Quota, Realm, Reason, Refusal, Side, Tick,
    fragment::RUNS,
    limits::HELD_SHARE,
    ports::CLASS_WORDS,
    quota::{FLOW, slot},
};
use anyhow::Result;
use datapath::native::Frame;
use frames::Frames;
use gateway::intent::{Blocks, Forward, Intent, Pool, PortRange, Service};
use rig::{
    Site, Sketch, Sketch6, dual,
    site::{
        INSIDE, OUTSIDE, endpoint, fixed, from_pool, intent, own_mac, pool, rule, tuple, usual,
    },
    sketch6::{ip6, tuple6},
};
use twins::{Agreed, Twins};

/// What both twins go through.
struct Play {
    /// Names the namespace.
    name: &'static str,
    /// The policy in force.
    intent: Intent,
    /// Flows that fit; more are asked for, so that full tables are met too.
    flows: usize,
    /// Frames that both take.
    frames: u32,
    /// Makes natively what the tables hold beside the policy, before it is copied, and says which
    /// frames come first.
    prepare: fn(&Site) -> Vec<Frame>,
    /// ICMP errors of our own in a tick: all or none, because the twins' clocks differ.
    errors: u32,
    /// What spoils the kernel's key.
    spoil: u64,
}

/// Every kind of frame under the policy that the laws are tried with.
fn usual_play() -> Play {
    let mut clamped = usual();
    let modes = [Dependence::Endpoint; 3];
    clamped.pools[0].behaviour = Behaviour::new(modes, [Dependence::Address; 3], true, 1000);
    clamped.pools[0].forwards = forwards([192, 0, 2, 2]);
    Play {
        name: "twin",
        intent: clamped,
        flows: 2048,
        frames: 60_000,
        prepare: |_| {
            let first = vec![oversized(), large_segments(), other_version()];
            [first, pieces(), gaps(), early(), complaint()].concat()
        },
        errors: u32::MAX,
        spoil: 0,
    }
}

/// Ports that run out, a pool without addresses, an interface without one, half a flow.
fn scarce_play() -> Play {
    let mut scarce = intent(
        vec![
            pool("web", [1], (2000, 2019)),
            pool("bank", [9], (1024, 65535)),
        ],
        vec![
            rule("10.7.0.0/16", "0.0.0.0/0", from_pool("bank")),
            rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web")),
        ],
    );
    scarce.pools[1].addresses.clear();
    let strictest = [Dependence::AddressAndPort; 3];
    scarce.pools[0].behaviour = Behaviour::new([Dependence::Address; 3], strictest, false, 0);
    Play {
        name: "twin-scarce",
        intent: scarce,
        flows: 1024,
        frames: 20_000,
        prepare: |site| {
            let entry = Interface::new(None, own_mac(OUTSIDE), Realm::External);
            site.memory.interfaces.put(OUTSIDE, entry);
            crowd_mappings(site);
            halve_flows(site)
        },
        errors: u32::MAX,
        spoil: 0,
    }
}

/// Quotas of every kind, all of them too small; a table of clients that is nearly full; RST instead of
/// ICMP.
fn counted_play() -> Play {
    let mut counted = intent(
        vec![pool("web", [1], (1024, 65_535))],
        ["10.1.0.0/24", "10.1.1.0/24", "10.0.0.0/8"]
            .map(|source| rule(source, "0.0.0.0/0", from_pool("web")))
            .into(),
    );
    let behaviour = counted.pools[0].behaviour;
    counted.pools[0].behaviour = behaviour.refusing(Refusal::Reset);
    let limits = |flows, ports| Limits { flows, ports };
    let (each, all) = (limits(6, 3), limits(200, 150));
    let quotas = [
        (each, limits(0, 0), 0),
        (limits(0, 40), all, 0),
        // What comes back while this is played is less than a flow.
        (limits(0, 0), limits(0, 0), 8),
    ];
    for ((index, rule), (client, total, burst)) in counted.rules.iter_mut().enumerate().zip(quotas)
    {
        rule.name = format!("rule-{index}");
        rule.quota = Quota {
            total,
            client,
            refill: u32::from(burst > 0),
            burst: burst * FLOW,
        };
    }
    Play {
        name: "twin-counted",
        intent: counted,
        flows: 1024,
        frames: 20_000,
        prepare: |site| {
            for client in 0..1024 - 100 {
                let holder = Holder::new(9, Ip4(u32::to_be_bytes(client)));
                site.memory.clients.put(holder, slot(0, 0) + client);
                site.memory.in_use(slot(0, 0) + client).claim();
            }
            Vec::new()
        },
        errors: 0,
        spoil: 0,
    }
}

/// Ports that several flows share, of which half are held back, and whatever parity.
fn overloaded_play() -> Play {
    let mut shared = intent(
        vec![pool("web", 1..=2, (2000, 2255))],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    );
    let web = &mut shared.pools[0];
    web.behaviour = web.behaviour.overloading().with_any_parity();
    web.forwards = forwards([192, 0, 2, 2]);
    Play {
        name: "twin-shared",
        intent: shared,
        flows: 4096,
        frames: 20_000,
        prepare: |site| {
            for external in site.gateway.numbers().externals.values() {
                for (_, bitmap) in external.bitmaps() {
                    let words = site.memory.bitmap(bitmap);
                    words
                        .iter()
                        .for_each(|word| word.held.set(0x5555_5555_5555_5555));
                }
            }
            calls([192, 0, 2, 2])
        },
        errors: u32::MAX,
        spoil: 0,
    }
}

/// Blocks of which few ports are left, for some of the clients.
fn blocks_play() -> Play {
    let ports = PortRange {
        first: 1024,
        last: 8191,
    };
    let clients = ["10.1.0.0/29", "10.1.1.0/30"].map(|net| net.parse().expect("a prefix"));
    let blocks = Blocks::lay_out(clients.into(), 512, 2, ports).expect("they fit");
    let homes = Pool {
        blocks: Some(blocks),
        ..pool("homes", 1..=2, (ports.first, ports.last))
    };
    let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("homes"))];
    Play {
        name: "twin-blocks",
        intent: intent(vec![homes], rules),
        flows: 2048,
        frames: 20_000,
        prepare: |site| {
            for external in site.gateway.numbers().externals.values() {
                for (_, bitmap) in external.bitmaps() {
                    // Of a block four ports are left.
                    let words = site.memory.bitmap(bitmap);
                    let most = words.iter().skip(2 * CLASS_WORDS);
                    most.for_each(|word| word.taken.set(u64::MAX));
                }
            }
            Vec::new()
        },
        errors: u32::MAX,
        spoil: 0,
    }
}

/// Ports that lead to a host inside: one below those that the pool gives out, and some of those, which
/// only some may call.
fn forwards(address: [u8; 4]) -> Vec<Forward> {
    let forward = |protocol, first, last, callers: &[&str]| Forward {
        name: format!("{protocol:?}-{first}"),
        protocol,
        address: address.into(),
        ports: PortRange { first, last },
        target: ([10, 1, 0, 80].into(), 8000),
        callers: callers
            .iter()
            .map(|net| net.parse().expect("a prefix"))
            .collect(),
    };
    vec![
        forward(Protocol::Tcp, 80, 80, &[]),
        forward(
            Protocol::Udp,
            2040,
            2049,
            &["198.51.100.0/29", "10.1.0.0/30"],
        ),
    ]
}

/// Calls of forwarded ports, from outside and from inside, and what the host behind them begins.
fn calls(address: [u8; 4]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut send = |ingress, protocol, from, to| {
        let sketch = Sketch {
            ingress,
            to: own_mac(ingress),
            ..Sketch::first(protocol, tuple(from, to))
        };
        frames.push(sketch.frame());
    };
    for last in 0..16 {
        for (protocol, port) in [(Protocol::Tcp, 80), (Protocol::Udp, 2040 + last)] {
            let last = last as u8;
            send(
                OUTSIDE,
                protocol,
                ([198, 51, 100, last], 440),
                (address, port),
            );
            send(INSIDE, protocol, ([10, 1, 0, last], 4000), (address, port));
            let host = ([10, 1, 0, 80], 8000 + u16::from(last));
            send(INSIDE, protocol, host, ([198, 51, 100, 7 + last], 440));
        }
    }
    frames
}

/// Both versions of IP, each to its own and to the other, some of it by endpoints; an ICMP error for every
/// packet that asks for one.
fn dual_play() -> Play {
    let mut dual = dual::both([Prefix64::WELL_KNOWN, dual::own_prefix()]);
    let modes = [Dependence::Endpoint; 3];
    dual.pools[0].behaviour = Behaviour::new(modes, [Dependence::Address; 3], true, 1000);
    let ports = Service::Ports(Protocol::Tcp, 440, 443);
    let endpoints = [
        endpoint(
            "10.1.0.0/16",
            ("198.51.100.4", ports),
            ("198.51.100.5", 8440),
            "web",
        ),
        endpoint(
            "10.7.0.0/16",
            ("198.51.100.4", Service::Any),
            ("198.51.100.6", 0),
            "bank",
        ),
        endpoint(
            "fd01::/16",
            ("2001:db8:1::4", ports),
            ("2001:db8:1::5", 8440),
            "web",
        ),
        endpoint(
            "fd07::/16",
            ("2001:db8:1::4", Service::Any),
            ("198.51.100.6", 0),
            "bank",
        ),
    ];
    dual.rules.splice(0..0, endpoints);
    dual.pools[0].forwards = forwards6();
    Play {
        name: "twin-dual",
        intent: dual,
        flows: 2048,
        frames: 60_000,
        prepare: |_| calls6(),
        errors: u32::MAX,
        spoil: 0,
    }
}

/// Ports of both versions that lead to a host of IPv6, which only some may call.
fn forwards6() -> Vec<Forward> {
    let forward = |address: &str, callers: &[&str]| Forward {
        name: format!("to-six-{}", callers.len()),
        protocol: Protocol::Tcp,
        address: address.parse().expect("an address"),
        ports: PortRange {
            first: 80,
            last: 80,
        },
        target: (ip6("fd01::80").into(), 8000),
        callers: (callers.iter())
            .map(|net| net.parse().expect("a prefix"))
            .collect(),
    };
    vec![
        forward("192.0.2.2", &["198.51.100.0/29"]),
        forward("2001:db8:ff::2", &["2001:db8:1::/125", "fd02::/16"]),
    ]
}

/// Calls of these, from outside and from inside.
fn calls6() -> Vec<Frame> {
    let mut frames = Vec::new();
    for last in 0..16 {
        let asked = tuple(([198, 51, 100, last], 440), ([192, 0, 2, 2], 80));
        let sketch = Sketch::first(Protocol::Tcp, asked);
        let (ingress, to) = (OUTSIDE, own_mac(OUTSIDE));
        frames.push(
            Sketch {
                ingress,
                to,
                ..sketch
            }
            .frame(),
        );
        for (ingress, caller) in [
            (OUTSIDE, format!("2001:db8:1::{last:x}")),
            (INSIDE, format!("fd02::{last:x}")),
        ] {
            let asked = tuple6((&caller, 4000), ("2001:db8:ff::2", 80));
            let sketch = Sketch6::first(Protocol::Tcp, asked);
            frames.push(dual::arriving(ingress, &sketch).frame());
        }
    }
    frames
}

/// Both versions of IP, of which half of the clients have addresses of their own outside.
fn fixed_play() -> Play {
    let mut dual = dual::both([Prefix64::WELL_KNOWN, dual::own_prefix()]);
    dual.fixed = vec![
        fixed("10.1.0.0/24", "198.19.0.0/24"),
        fixed("fd01::/48", "2001:db8:3::/48"),
        fixed("fd12:0:0:100::/56", "2001:db8:4:500::/56"),
    ];
    let net = |text: &str| text.parse().expect("a prefix");
    dual.fixed[0].except = vec![net("198.51.100.5/32"), net("198.51.100.6/32")];
    dual.fixed[1].except = vec![net("2001:db8:1::3/128")];
    Play {
        name: "twin-fixed",
        intent: dual,
        flows: 2048,
        frames: 60_000,
        prepare: |_| [fixed_calls(), fixed_calls6()].concat(),
        errors: u32::MAX,
        spoil: 0,
    }
}

/// Calls of fixed addresses: from outside, from each other, and from clients of a pool.
fn fixed_calls() -> Vec<Frame> {
    let mut frames = Vec::new();
    for protocol in Protocol::ALL {
        for (ingress, source, target) in [
            (OUTSIDE, [198, 51, 100, 7], [198, 19, 0, 7]),
            (OUTSIDE, [198, 51, 100, 5], [198, 19, 0, 7]),
            (INSIDE, [10, 1, 0, 8], [198, 19, 0, 7]),
            (INSIDE, [10, 1, 1, 8], [198, 19, 0, 7]),
            (INSIDE, [10, 1, 0, 8], [192, 0, 2, 1]),
        ] {
            let sketch = Sketch::first(protocol, tuple((source, 4000), (target, 440)));
            let to = own_mac(ingress);
            frames.push(
                Sketch {
                    ingress,
                    to,
                    ..sketch
                }
                .frame(),
            );
        }
    }
    for number in [33, 47, 50, 132, 136] {
        let asked = tuple(([10, 1, 0, 8], 0), ([198, 51, 100, 7], 0));
        let sketch = Sketch {
            ingress: INSIDE,
            to: own_mac(INSIDE),
            message: rig::sketch::Message::Other(number),
            payload: vec![0x5a; 40],
            ..Sketch::first(Protocol::Udp, asked)
        };
        frames.push(sketch.frame());
    }
    frames
}

/// The same of IPv6, and addresses that have no counterpart.
fn fixed_calls6() -> Vec<Frame> {
    let mut frames = Vec::new();
    for (ingress, source, target) in [
        (INSIDE, "fd01:0:0:ffff::1", "2001:db8:1::4"),
        (OUTSIDE, "2001:db8:1::4", "2001:db8:3:ffff::1"),
        (OUTSIDE, "2001:db8:1::4", "2001:db8:3:1::"),
        (OUTSIDE, "2001:db8:1::4", "2001:db8:3:1::1"),
        (INSIDE, "fd01::8", "2001:db8:3:1::1"),
        (INSIDE, "fd02::8", "2001:db8:3:1::1"),
        (INSIDE, "fd02::8", "2001:db8:3:ffff::1"),
        (INSIDE, "fd12:0:0:107::1", "2001:db8:1::4"),
        (OUTSIDE, "2001:db8:1::4", "2001:db8:4:507::1"),
    ] {
        for protocol in Protocol::ALL {
            let asked = tuple6((source, 4000), (target, 440));
            frames.push(dual::arriving(ingress, &Sketch6::first(protocol, asked)).frame());
        }
    }
    frames
}

/// Both versions, where little is left of everything.
fn scarce_dual_play() -> Play {
    let mut dual = dual::both([Prefix64::WELL_KNOWN, dual::own_prefix()]);
    let strictest = [Dependence::AddressAndPort; 3];
    for pool in &mut dual.pools {
        pool.behaviour = Behaviour::new([Dependence::Address; 3], strictest, true, 0);
        pool.ports = PortRange {
            first: 2000,
            last: 2019,
        };
    }
    Play {
        name: "twin-dual-scarce",
        intent: dual,
        flows: 1024,
        frames: 20_000,
        prepare: |_| Vec::new(),
        errors: 0,
        spoil: 0,
    }
}

/// The kernel program is loaded, and nobody has said what to do.
fn silent_play() -> Play {
    Play {
        name: "twin-silent",
        intent: usual(),
        flows: 1024,
        frames: 2_000,
        prepare: |site| {
            let mut config = **site.memory.config.borrow();
            config.version = 0;
            *site.memory.config.borrow_mut() = std::rc::Rc::new(config);
            Vec::new()
        },
        errors: u32::MAX,
        spoil: 0,
    }
}

/// A packet that is too large for its way and has options, so that its sender cannot be told.
fn oversized() -> Frame {
    let asked = tuple(([10, 1, 0, 1], 4000), ([203, 0, 113, 1], 440));
    let sketch = Sketch {
        ingress: INSIDE,
        to: own_mac(INSIDE),
        dont_fragment: true,
        options: vec![1; 4],
        payload: vec![0x5a; 1400],
        ..Sketch::first(Protocol::Udp, asked)
    };
    sketch.frame()
}

/// A packet's first fragment, its next, and that again.
fn pieces() -> Vec<Frame> {
    let parts = [(true, 0), (true, 10), (true, 10)];
    parts.map(|part| piece(9, 77, part)).into()
}

/// A fragment of a datagram, with 80 bytes.
fn piece(client: u8, id: u16, part: (bool, u16)) -> Frame {
    let asked = tuple(([10, 1, 0, client], 4000), ([198, 51, 100, 4], 440));
    let sketch = Sketch {
        ingress: INSIDE,
        to: own_mac(INSIDE),
        part,
        id,
        payload: vec![0x5a; 72],
        ..Sketch::first(Protocol::Udp, asked)
    };
    sketch.frame()
}

/// Fragments that leave one gap more than are remembered.
fn gaps() -> Vec<Frame> {
    let offsets = (0..=RUNS as u16).map(|number| 20 * number);
    offsets.map(|offset| piece(9, 78, (true, offset))).collect()
}

/// Fragments that come before their first one, more than one sender has room for; then the first one
/// of some of them.
fn early() -> Vec<Frame> {
    let ids = || 1000..1002 + HELD_SHARE as u16;
    let later = ids().map(|id| piece(8, id, (false, 10)));
    let first = ids().step_by(100).map(|id| piece(8, id, (true, 0)));
    later.chain(first).collect()
}

/// A client's error about a packet of a remote whose neighbour the kernel has to ask for.
fn complaint() -> Vec<Frame> {
    let asked = tuple(([10, 1, 0, 9], 4001), ([198, 18, 0, 1], 440));
    let sketched = |sketch: Sketch| {
        let (ingress, to) = (INSIDE, own_mac(INSIDE));
        Sketch {
            ingress,
            to,
            ..sketch
        }
        .frame()
    };
    let answer = Sketch::answer(Protocol::Udp, asked.reversed()).frame();
    let error = Sketch::error(3, asked.source, &answer.bytes, 28);
    let first = Sketch::first(Protocol::Udp, asked);
    vec![sketched(first), sketched(error)]
}

/// A SYN with an MSS behind one option and another, so that it stands at an odd place.
fn large_segments() -> Frame {
    let asked = tuple(([10, 1, 0, 9], 4002), ([198, 51, 100, 4], 440));
    let mut sketch = Sketch::first(Protocol::Tcp, asked);
    (sketch.ingress, sketch.to) = (INSIDE, own_mac(INSIDE));
    sketch.tcp_options = vec![1, 2, 4, 0x05, 0xb4, 0, 0, 0];
    sketch.frame()
}

/// A packet of IPv6, of which this policy has nothing.
fn other_version() -> Frame {
    let asked = tuple6(("fd01::1", 4000), ("2001:db8:1::4", 440));
    dual::arriving(INSIDE, &Sketch6::first(Protocol::Udp, asked)).frame()
}

/// Leaves of some flows only the half that comes in, as another CPU might have made it just now;
/// returns what they began with.
fn halve_flows(site: &Site) -> Vec<Frame> {
    let mut first = Vec::new();
    for port in 4000..4004 {
        for target in 4..16 {
            let asked = tuple(([10, 1, 0, 1], port), ([198, 51, 100, target], 440));
            let sketch = Sketch {
                ingress: INSIDE,
                to: own_mac(INSIDE),
                ..Sketch::first(Protocol::Udp, asked)
            };
            site.send(INSIDE, &sketch);
            first.push(sketch.frame());
        }
    }
    for (key, flow) in site.memory.v4.flows.all() {
        if flow.side() == Side::Outbound {
            site.memory.v4.flows.remove(&key);
        }
    }
    first
}

/// Leaves little room for mappings.
fn crowd_mappings(site: &Site) {
    for port in 0..1_900 {
        let key = MappingKey::inward(Protocol::Icmp, (Ip4([192, 0, 2, 77]), Port::new(port)));
        let entry = Mapping::outward(Port::new(port), Tick(1));
        site.memory.v4.mappings.put(key, entry);
    }
}

fn play(play: &Play) -> Result<Agreed> {
    place::stand(play.name, |state| {
        let site = Site::new(play.intent.clone(), play.flows);
        let first = (play.prepare)(&site);
        let mut config = **site.memory.config.borrow();
        let frames = Frames::after(first, config.ipv6 != 0);
        (config.errors, config.errors_each) = (play.errors, play.errors);
        *site.memory.config.borrow_mut() = std::rc::Rc::new(config);
        Twins::new(state, site, play.flows, play.spoil)?.agree(frames, play.frames)
    })
}

#[test]
fn the_kernel_program_and_the_native_build_agree_whatever_a_packet_leaves_for() {
    let mut met = BTreeSet::new();
    for scene in [
        usual_play(),
        scarce_play(),
        overloaded_play(),
        blocks_play(),
        counted_play(),
        dual_play(),
        fixed_play(),
        members::play(),
        members::play6(),
        scarce_dual_play(),
        silent_play(),
    ] {
        let agreed = play(&scene).expect("the twins agree");
        let (name, frames, flows) = (scene.name, scene.frames, agreed.flows);
        println!(
            "{name}: {frames} frames agree, {flows} flows, {} reasons",
            agreed.reasons.len()
        );
        met.extend(agreed.reasons);
    }

    let missed: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !met.contains(reason))
        .collect();
    assert_eq!(
        missed,
        [&Reason::Internal],
        "only a defect of ours is never met"
    );
}

/// What is printed here, `cargo xtask kernels` shows of every kernel.
#[test]
fn every_program_is_loaded() {
    let programs = place::stand("twin-load", |state| {
        let mut intent = dual::both([Prefix64::WELL_KNOWN, dual::own_prefix()]);
        intent.fixed = vec![
            fixed("10.3.0.0/16", "198.19.0.0/16"),
            fixed("fd03:1:2::/48", "2001:db8:3::/48"),
        ];
        intent.cluster = members::play().intent.cluster;
        let twins = Twins::new(state, Site::new(intent, 1024), 1024, 0)?;
        Ok(twins.program.verified())
    })
    .expect("loaded");

    for (name, verified) in programs.expect("the kernel says") {
        println!("program {name}: {verified} instructions verified");
    }
}

#[test]
fn a_difference_between_the_twins_is_found() {
    let spoilt = Play {
        name: "twin-other",
        spoil: 1,
        ..usual_play()
    };

    let error = match play(&spoilt) {
        Ok(_) => panic!("another key gives other ports"),
        Err(error) => format!("{error:#}"),
    };

    assert!(error.contains("bytes differ"), "{error}");
}

/// Not asserted: what a packet costs here depends on the machine and on its neighbours.
#[test]
fn what_a_packet_of_an_established_flow_costs() {
    let costs = place::stand("twin-cost", |state| {
        Twins::new(state, Site::new(usual(), 1024), 1024, 0)?.costs()
    });

    println!("{}", costs.expect("measured"));
}

/// Not asserted either.
#[test]
fn what_the_first_packet_of_a_flow_costs_when_few_ports_are_left() {
    let costs = place::stand("twin-first", |state| {
        Twins::new(state, Site::new(usual(), 1024), 1024, 0)?.costs_of_beginning()
    });

    println!("{}", costs.expect("measured"));
}

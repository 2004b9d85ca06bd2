//! Ports that are forwarded inbound by the configuration: who calls one reaches the host behind it from
//! the first packet on, however its pool maps and filters.

use std::time::Duration;

use abi::{Behaviour, Dependence, MappingKey, Protocol, Reason, Tuple};
use gateway::{
    Action, Event,
    intent::{Forward, HoldDown, Intent, Pool, PortRange},
};

use crate::rig::{
    Left, Site, Sketch,
    laws::{safe, sound},
    site::{INSIDE, OUTSIDE, from_pool, intent, pool, rule, tuple},
    sketch::{ACK, SYN, read},
};

type Endpoint = ([u8; 4], u16);

const SERVER: Endpoint = ([10, 1, 0, 80], 8443);
const OTHER_SERVER: Endpoint = ([10, 1, 0, 81], 8443);
const CLIENT: Endpoint = ([10, 1, 0, 1], 4000);
const REMOTE: Endpoint = ([198, 51, 100, 4], 4440);
const STRANGER: Endpoint = ([198, 51, 100, 5], 4440);
const OURS: [u8; 4] = [192, 0, 2, 1];
const EXTERNAL: Endpoint = (OURS, 443);

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn forward(protocol: Protocol, external: Endpoint, to: Endpoint, count: u16) -> Forward {
    Forward {
        name: format!("{protocol:?}-{}", external.1),
        protocol,
        address: external.0.into(),
        ports: PortRange {
            first: external.1,
            last: external.1 + (count - 1),
        },
        target: (to.0.into(), to.1),
        callers: Vec::new(),
    }
}

fn both(external: Endpoint, to: Endpoint) -> Vec<Forward> {
    let forward = |protocol| forward(protocol, external, to, 1);
    BOTH.map(forward).into()
}

/// A pool of one address, which behaves so and forwards these.
fn policy(behaviour: Behaviour, forwards: Vec<Forward>) -> Intent {
    let web = Pool {
        behaviour,
        forwards,
        ..pool("web", [1], (2000, 2255))
    };
    let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
    intent(vec![web], rules)
}

fn usual(forwards: Vec<Forward>) -> Site {
    Site::new(policy(Pool::BEHAVIOUR_DEFAULT, forwards), 256)
}

fn configure(site: &mut Site, forwards: Vec<Forward>) {
    let intent = policy(Pool::BEHAVIOUR_DEFAULT, forwards);
    site.handle(Event::Configure(Box::new(intent)));
}

/// Every way in which a pool can behave.
fn behaviours() -> Vec<Behaviour> {
    let mut all = Vec::new();
    for mapping in Dependence::ALL {
        for filtering in Dependence::ALL {
            let plain = Behaviour::new([mapping; 3], [filtering; 3], true, 0);
            all.extend([plain, plain.overloading()]);
        }
    }
    all
}

fn call(site: &Site, protocol: Protocol, from: Endpoint, to: Endpoint) -> Left {
    site.send(OUTSIDE, &Sketch::first(protocol, tuple(from, to)))
}

fn dial(site: &Site, protocol: Protocol, from: Endpoint, to: Endpoint) -> Left {
    site.send(INSIDE, &Sketch::first(protocol, tuple(from, to)))
}

fn seen(left: &Left) -> Tuple {
    read(&left.after.bytes).expect("such a packet").1
}

/// What the remote sees of a flow that begins inside.
fn source(left: &Left) -> Endpoint {
    assert_eq!(left.reason, Reason::TranslatedOut);
    let seen = seen(left);
    (seen.source.0, seen.source_port.get())
}

/// A call comes in and is answered.
#[track_caller]
fn talk(site: &Site, protocol: Protocol, from: Endpoint, external: Endpoint, to: Endpoint) {
    let heard = call(site, protocol, from, external);
    assert_eq!(heard.reason, Reason::TranslatedIn);
    assert_eq!(seen(&heard), tuple(from, to));

    let answer = Sketch::answer(protocol, tuple(to, from));
    let back = site.send(INSIDE, &answer);
    assert_eq!(back.reason, Reason::TranslatedOut);
    assert_eq!(seen(&back), tuple(external, from));
}

/// The flows of a site end, and their ports are free.
fn forget(site: &mut Site) {
    site.pass(Duration::from_secs(2000));
    for _ in 0..4 {
        site.sweep();
        site.pass(Duration::from_secs(1));
    }
}

#[test]
fn a_call_reaches_the_host_behind_the_port_however_its_pool_maps_and_filters() {
    for behaviour in behaviours() {
        let site = Site::new(policy(behaviour, both(EXTERNAL, SERVER)), 256);
        for protocol in BOTH {
            for from in [REMOTE, STRANGER] {
                talk(&site, protocol, from, EXTERNAL, SERVER);
            }
        }
        safe(&site.memory);
    }
}

/// RFC 4787 REQ-1, also where the pool gives others another port for each remote.
#[test]
fn what_the_host_begins_from_that_port_leaves_from_the_external_one() {
    for behaviour in behaviours() {
        let site = Site::new(policy(behaviour, both(EXTERNAL, SERVER)), 256);
        for protocol in BOTH {
            for to in [REMOTE, STRANGER] {
                assert_eq!(source(&dial(&site, protocol, SERVER, to)), EXTERNAL);
            }
            let beside = (SERVER.0, SERVER.1 + 1);
            assert_ne!(source(&dial(&site, protocol, beside, REMOTE)), EXTERNAL);
        }
        safe(&site.memory);
    }
}

#[test]
fn each_port_of_a_range_leads_to_its_own() {
    let first = (OURS, 2000);
    let site = usual(vec![forward(Protocol::Udp, first, SERVER, 100)]);

    for offset in [0, 1, 57, 99] {
        let (external, to) = ((OURS, 2000 + offset), (SERVER.0, SERVER.1 + offset));
        talk(&site, Protocol::Udp, REMOTE, external, to);
    }
    let beyond = call(&site, Protocol::Udp, REMOTE, (OURS, 2100));
    assert_eq!(beyond.reason, Reason::Unsolicited);
    sound(&site.memory);
}

/// All ports of the pool but those are given out, and none twice.
#[test]
fn no_client_is_given_a_forwarded_port() {
    for behaviour in [
        Pool::BEHAVIOUR_DEFAULT,
        Pool::BEHAVIOUR_DEFAULT.overloading(),
    ] {
        let forwards = vec![forward(Protocol::Tcp, (OURS, 2000), SERVER, 250)];
        let site = Site::new(policy(behaviour, forwards), 4096);
        let mut ports = Vec::new();
        for client in 0..20 {
            let left = dial(&site, Protocol::Tcp, ([10, 2, 0, client], 4000), REMOTE);
            if left.is_translated() {
                ports.push(source(&left).1);
            }
        }

        ports.sort_unstable();
        assert_eq!(ports, [2250, 2251, 2252, 2253, 2254, 2255]);
        safe(&site.memory);
    }
}

#[test]
fn only_those_call_that_may() {
    for protocol in BOTH {
        let guarded = Forward {
            callers: vec!["198.51.100.4/32".parse().expect("a prefix")],
            ..forward(protocol, EXTERNAL, SERVER, 1)
        };
        let mut site = usual(vec![guarded.clone()]);
        talk(&site, protocol, REMOTE, EXTERNAL, SERVER);
        assert_eq!(
            call(&site, protocol, STRANGER, EXTERNAL).reason,
            Reason::Filtered
        );
        // Nor do they because the host has sent to them, or because they are inside.
        assert_eq!(source(&dial(&site, protocol, SERVER, STRANGER)), EXTERNAL);
        let beside = (STRANGER.0, STRANGER.1 + 1);
        assert_eq!(
            call(&site, protocol, beside, EXTERNAL).reason,
            Reason::Filtered
        );
        assert_eq!(
            dial(&site, protocol, CLIENT, EXTERNAL).reason,
            Reason::Filtered
        );

        let more = ["10.0.0.0/8", "198.51.100.0/24"].map(|net| net.parse().expect("a prefix"));
        let widened = Forward {
            callers: more.into(),
            ..guarded
        };
        configure(&mut site, vec![widened]);
        talk(&site, protocol, beside, EXTERNAL, SERVER);
        assert!(dial(&site, protocol, CLIENT, EXTERNAL).is_translated());

        configure(&mut site, vec![forward(protocol, EXTERNAL, SERVER, 1)]);
        let anybody = ([203, 0, 113, 7], 99);
        assert!(call(&site, protocol, anybody, EXTERNAL).is_translated());
        let callers = site.memory.v4.classes.all();
        assert!(callers.iter().all(|(key, _)| key.list().is_none()));
        sound(&site.memory);
    }
}

/// RFC 4787 REQ-9: both see external addresses only.
#[test]
fn a_client_inside_reaches_the_host_by_the_external_port() {
    for behaviour in behaviours() {
        let site = Site::new(policy(behaviour, both(EXTERNAL, SERVER)), 256);
        for protocol in BOTH {
            let heard = dial(&site, protocol, CLIENT, EXTERNAL);
            assert_eq!(heard.reason, Reason::TranslatedOut);
            let at_server = seen(&heard);
            assert_eq!((at_server.target.0, at_server.target_port.get()), SERVER);
            assert_eq!(at_server.source.0, OURS);

            let answer = Sketch::answer(protocol, at_server.reversed());
            let back = site.send(INSIDE, &answer);
            assert!(back.is_translated());
            assert_eq!(seen(&back), tuple(EXTERNAL, CLIENT));
        }
        safe(&site.memory);
    }
}

/// RFC 5508 REQ-3 to REQ-5, for flows that began outside.
#[test]
fn errors_about_a_call_are_translated_both_ways() {
    let site = usual(both(EXTERNAL, SERVER));
    talk(&site, Protocol::Udp, REMOTE, EXTERNAL, SERVER);

    let heard = Sketch::answer(Protocol::Udp, tuple(REMOTE, EXTERNAL));
    let heard = site.send(OUTSIDE, &heard.payload(&[7; 64]));
    let said = Sketch::answer(Protocol::Udp, tuple(SERVER, REMOTE));
    let said = site.send(INSIDE, &said.payload(&[7; 64]));

    for (ingress, router, about, to) in [
        (OUTSIDE, [203, 0, 113, 77], &said, SERVER),
        (INSIDE, [10, 255, 0, 1], &heard, REMOTE),
    ] {
        let error = Sketch::error(3, abi::Ip4(router), &about.after.bytes, 28);
        let left = site.send(ingress, &error);
        assert_eq!(left.reason, Reason::ErrorTranslated);
        assert_eq!(left.after.bytes[30..34], to.0);
    }
}

#[test]
fn a_forward_stands_however_long_nobody_calls() {
    let mut site = usual(both(EXTERNAL, SERVER));
    let before = site.memory.v4.mappings.len();
    for _ in 0..3 {
        forget(&mut site);
    }

    assert_eq!(site.memory.v4.mappings.len(), before);
    for protocol in BOTH {
        talk(&site, protocol, REMOTE, EXTERNAL, SERVER);
    }
}

#[test]
fn only_a_syn_begins_a_call() {
    let site = usual(both(EXTERNAL, SERVER));
    let stray = Sketch::first(Protocol::Tcp, tuple(REMOTE, EXTERNAL)).flags(ACK);

    assert_eq!(site.send(OUTSIDE, &stray).reason, Reason::ResetSent);
    assert!(site.memory.v4.flows.is_empty());
    let syn = Sketch::first(Protocol::Tcp, tuple(REMOTE, EXTERNAL)).flags(SYN);
    assert_eq!(site.send(OUTSIDE, &syn).reason, Reason::TranslatedIn);
}

/// Nothing that is established is lost; what is no longer wanted does not begin; and in the end the
/// port is the pool's again, behind others for as long as any port that was freed.
#[test]
fn the_flows_of_a_forward_that_goes_stay_until_they_end() {
    for protocol in BOTH {
        let external = (OURS, 2000);
        let mut site = usual(both(external, SERVER));
        talk(&site, protocol, REMOTE, external, SERVER);

        configure(&mut site, Vec::new());
        for _ in 0..3 {
            site.sweep();
            site.pass(Duration::from_secs(1));
            let answer = Sketch::answer(protocol, tuple(SERVER, REMOTE));
            assert_eq!(seen(&site.send(INSIDE, &answer)), tuple(external, REMOTE));
            let more = Sketch::answer(protocol, tuple(REMOTE, external));
            assert!(site.send(OUTSIDE, &more).is_translated());
        }
        assert_eq!(
            call(&site, protocol, STRANGER, external).reason,
            Reason::Filtered
        );

        forget(&mut site);
        assert!(site.memory.v4.mappings.is_empty() && site.memory.v4.flows.is_empty());
        let held = || {
            let external = site.memory.v4.externals.all()[0].1.index;
            let words = site.memory.bitmap(abi::ports::bitmap(external, protocol));
            words.iter().any(|word| word.held.get() != 0)
        };
        assert!(held());
        for _ in 0..3 {
            site.pass(HoldDown::DEFAULT.time);
            site.sweep();
        }
        let words = |index| site.memory.bitmap(abi::ports::bitmap(index, protocol));
        let index = site.memory.v4.externals.all()[0].1.index;
        assert!(words(index).iter().all(|word| word.held.get() == 0));
        assert_eq!(
            site.memory.taken(abi::ports::bitmap(index, protocol)),
            65_536 - 256
        );
    }
}

#[test]
fn a_forward_may_lead_elsewhere_for_new_flows() {
    let mut site = usual(both(EXTERNAL, SERVER));
    talk(&site, Protocol::Tcp, REMOTE, EXTERNAL, SERVER);

    configure(&mut site, both(EXTERNAL, OTHER_SERVER));

    talk(&site, Protocol::Tcp, STRANGER, EXTERNAL, OTHER_SERVER);
    let on = Sketch::answer(Protocol::Tcp, tuple(SERVER, REMOTE));
    assert_eq!(seen(&site.send(INSIDE, &on)), tuple(EXTERNAL, REMOTE));
    // What the old host begins is not taken for the new one's.
    assert_ne!(
        source(&dial(&site, Protocol::Tcp, SERVER, STRANGER)),
        EXTERNAL
    );
    safe(&site.memory);
}

/// The configuration has its way, and nothing established is lost.
#[test]
fn a_port_that_a_client_has_becomes_a_forward_and_the_clients_flows_go_on() {
    for behaviour in behaviours() {
        for protocol in BOTH {
            let mut site = Site::new(policy(behaviour, Vec::new()), 256);
            let external = source(&dial(&site, protocol, CLIENT, REMOTE));

            let forwards = vec![forward(protocol, external, SERVER, 1)];
            let intent = policy(behaviour, forwards);
            site.handle(Event::Configure(Box::new(intent)));

            talk(&site, protocol, STRANGER, external, SERVER);
            let answer = Sketch::answer(protocol, tuple(REMOTE, external));
            assert_eq!(seen(&site.send(OUTSIDE, &answer)), tuple(REMOTE, CLIENT));
            let other = source(&dial(&site, protocol, CLIENT, ([198, 51, 100, 9], 53)));
            assert_ne!(other, external);
            safe(&site.memory);
            forget(&mut site);
            sound(&site.memory);
            talk(&site, protocol, STRANGER, external, SERVER);
        }
    }
}

#[test]
fn a_host_that_has_a_port_already_is_seen_by_the_forwarded_one_from_then_on() {
    let mut site = usual(Vec::new());
    let before = source(&dial(&site, Protocol::Udp, SERVER, REMOTE));

    configure(&mut site, both(EXTERNAL, SERVER));

    assert_eq!(
        source(&dial(&site, Protocol::Udp, SERVER, STRANGER)),
        EXTERNAL
    );
    assert_eq!(source(&dial(&site, Protocol::Udp, SERVER, REMOTE)), before);
    forget(&mut site);
    sound(&site.memory);
}

/// Only the first is what the host is seen by, and both lead to it.
#[test]
fn two_ports_may_lead_to_one() {
    let (one, other) = ((OURS, 443), (OURS, 8443));
    let mut site = usual(vec![
        forward(Protocol::Tcp, one, SERVER, 1),
        forward(Protocol::Tcp, other, SERVER, 1),
    ]);
    talk(&site, Protocol::Tcp, REMOTE, one, SERVER);
    talk(&site, Protocol::Tcp, STRANGER, other, SERVER);
    let outwards = dial(&site, Protocol::Tcp, SERVER, ([198, 51, 100, 9], 80));
    assert_eq!(source(&outwards), one);

    configure(&mut site, vec![forward(Protocol::Tcp, other, SERVER, 1)]);

    let outwards = dial(&site, Protocol::Tcp, SERVER, ([198, 51, 100, 10], 80));
    assert_eq!(source(&outwards), other);
    sound(&site.memory);
}

/// A daemon that begins anew finds everything as it is wanted, and touches nothing.
#[test]
fn a_successor_finds_the_forwards() {
    let guarded = Forward {
        callers: vec!["198.51.100.4/32".parse().expect("a prefix")],
        ..forward(Protocol::Tcp, EXTERNAL, SERVER, 1)
    };
    let forwards = vec![guarded, forward(Protocol::Udp, (OURS, 2000), SERVER, 20)];
    let site = usual(forwards.clone());
    let mut site = site.restarted();

    let intent = policy(Pool::BEHAVIOUR_DEFAULT, forwards);
    let actions = site.decide(Event::Configure(Box::new(intent)));

    let is_about_mappings =
        |action: &Action| matches!(action, Action::PutMapping(..) | Action::TakePort(..));
    assert!(!actions.iter().any(is_about_mappings), "{actions:?}");
    site.act(actions);
    talk(&site, Protocol::Tcp, REMOTE, EXTERNAL, SERVER);
    assert_eq!(
        call(&site, Protocol::Tcp, STRANGER, EXTERNAL).reason,
        Reason::Filtered
    );
    configure(&mut site, Vec::new());
    forget(&mut site);
    assert!(site.memory.v4.mappings.is_empty());
}

#[test]
fn a_forward_that_finds_no_room_stands_as_soon_as_there_is_some() {
    let mut site = Site::new(policy(Pool::BEHAVIOUR_DEFAULT, Vec::new()), 8);
    for port in 0..8 {
        dial(&site, Protocol::Udp, (CLIENT.0, 4000 + port), REMOTE);
    }
    assert_eq!(site.memory.v4.mappings.len(), 16);

    configure(&mut site, both((OURS, 2000), SERVER));
    assert_eq!(
        call(&site, Protocol::Udp, REMOTE, (OURS, 2000)).reason,
        Reason::Unsolicited
    );

    forget(&mut site);
    talk(&site, Protocol::Udp, REMOTE, (OURS, 2000), SERVER);
    sound(&site.memory);
}

/// Whatever removed it, and when.
#[test]
fn an_entry_that_is_missing_is_written_again_with_the_next_sweep() {
    let mut site = usual(both(EXTERNAL, SERVER));
    let end = (abi::Ip4(OURS), abi::Port::new(EXTERNAL.1));
    site.memory
        .v4
        .mappings
        .remove(&MappingKey::inward(Protocol::Tcp, end));

    site.sweep();

    talk(&site, Protocol::Tcp, REMOTE, EXTERNAL, SERVER);
}

#[test]
fn a_pool_may_come_to_be_overloaded_around_its_forwards() {
    let plain = Pool::BEHAVIOUR_DEFAULT;
    let mut site = Site::new(policy(plain, both((OURS, 2000), SERVER)), 256);
    for behaviour in [plain.overloading(), plain, plain.overloading()] {
        let intent = policy(behaviour, both((OURS, 2000), SERVER));
        site.handle(Event::Configure(Box::new(intent)));
        for _ in 0..3 {
            site.sweep();
            site.pass(Duration::from_secs(1));
        }
        talk(&site, Protocol::Tcp, REMOTE, (OURS, 2000), SERVER);
        for client in 0..100 {
            let left = dial(&site, Protocol::Tcp, ([10, 2, 0, client], 4000), REMOTE);
            assert_ne!(source(&left), (OURS, 2000));
        }
        safe(&site.memory);
        forget(&mut site);
    }
}

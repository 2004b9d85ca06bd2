//! Ports that are forwarded, or were asked for, and lead to hosts of IPv6: from outside by IPv6, and by
//! IPv4 through the NAT64 (RFC 6146 §3.1), where the host sees its callers by the first prefix.

use std::{net::IpAddr, time::Duration};

use abi::{Address, Behaviour, Dependence, Ip6, MappingKey, Port, Protocol, Reason, Tuple};
use gateway::{
    Action, Event,
    intent::{Forward, Intent, Pool, PortRange, Prefix64},
    mappings::{Ask, Denied, Owner, Withdraw},
};

use crate::rig::{
    Left, Site, Sketch, Sketch6,
    dual::{both, own_prefix, send6},
    laws::{safe, sound},
    site::{INSIDE, OUTSIDE, tuple},
    whole::tuple_of,
};

/// An address of either version, and a port.
type End = (&'static str, u16);

const SERVER: End = ("fd01::80", 8443);
const OTHER_SERVER: End = ("fd01::81", 8443);
const NARROW_SERVER: End = ("10.1.0.80", 8443);
const CLIENT: End = ("fd01::1", 4000);
const NARROW_CLIENT: End = ("10.1.0.1", 4000);
const REMOTE: End = ("198.51.100.4", 4440);
const STRANGER: End = ("198.51.100.5", 4440);
const REMOTE6: End = ("2001:db8:f::4", 4440);
const STRANGER6: End = ("2001:db8:f::5", 4440);
const EXTERNAL: End = ("192.0.2.1", 443);
const EXTERNAL6: End = ("2001:db8:ff::1", 443);
/// What comes to either external end.
const WAYS: [(End, End, End); 2] = [
    (REMOTE, STRANGER, EXTERNAL),
    (REMOTE6, STRANGER6, EXTERNAL6),
];
const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// As tables of both versions hold it.
fn wide((text, port): End) -> (Ip6, Port) {
    (address(text).into(), Port::new(port))
}

/// How somebody inside of IPv6 knows an end: an IPv4 one by the first prefix.
fn known(end: End) -> (Ip6, Port) {
    let (ip, port) = wide(end);
    let known = ip.ip4().map(|ip| Prefix64::WELL_KNOWN.embed(ip));
    (known.unwrap_or(ip), port)
}

fn from_to(from: (Ip6, Port), to: (Ip6, Port)) -> Tuple<Ip6> {
    Tuple {
        source: from.0,
        target: to.0,
        source_port: from.1,
        target_port: to.1,
    }
}

fn forward(protocol: Protocol, external: End, to: End) -> Forward {
    Forward {
        name: format!("{protocol:?}-{}", external.0),
        protocol,
        address: address(external.0),
        ports: PortRange {
            first: external.1,
            last: external.1,
        },
        target: (address(to.0), to.1),
        callers: Vec::new(),
    }
}

/// From both external ends, by both protocols.
fn all(to: End) -> Vec<Forward> {
    let ends = [EXTERNAL, EXTERNAL6].into_iter();
    ends.flat_map(|end| PROTOCOLS.map(|it| forward(it, end, to)))
        .collect()
}

fn policy(behaviour: Behaviour, forwards: Vec<Forward>) -> Intent {
    let mut intent = both([Prefix64::WELL_KNOWN, own_prefix()]);
    let pool = &mut intent.pools[0];
    pool.addresses = vec![address(EXTERNAL.0), address(EXTERNAL6.0)];
    pool.ports = PortRange {
        first: 2000,
        last: 2255,
    };
    pool.behaviour = behaviour;
    pool.forwards = forwards;
    intent
}

fn usual(forwards: Vec<Forward>) -> Site {
    Site::new(policy(Pool::BEHAVIOUR_DEFAULT, forwards), 256)
}

fn configure(site: &mut Site, forwards: Vec<Forward>) {
    let intent = policy(Pool::BEHAVIOUR_DEFAULT, forwards);
    site.handle(Event::Configure(Box::new(intent)));
}

/// A packet from somebody who has the version of its source.
fn send(
    site: &Site,
    ingress: u32,
    protocol: Protocol,
    (from, to): (End, (Ip6, Port)),
    is_first: bool,
) -> Left {
    let source = wide(from);
    if let (Some(from), Some(target)) = (source.0.ip4(), to.0.ip4()) {
        let tuple = tuple((from.0, source.1.get()), (target.0, to.1.get()));
        let sketch = match is_first {
            true => Sketch::first(protocol, tuple),
            false => Sketch::answer(protocol, tuple),
        };
        return site.send(ingress, &sketch);
    }
    let tuple = from_to(source, to);
    let sketch = match is_first {
        true => Sketch6::first(protocol, tuple),
        false => Sketch6::answer(protocol, tuple),
    };
    send6(site, ingress, &sketch)
}

fn call(site: &Site, protocol: Protocol, from: End, external: End) -> Left {
    send(site, OUTSIDE, protocol, (from, wide(external)), true)
}

fn dial(site: &Site, protocol: Protocol, from: End, to: End) -> Left {
    let known = match address(from.0) {
        IpAddr::V4(_) => wide(to),
        IpAddr::V6(_) => known(to),
    };
    send(site, INSIDE, protocol, (from, known), true)
}

fn seen(left: &Left) -> Tuple<Ip6> {
    tuple_of(&left.after.bytes).1
}

/// What the remote sees of a flow that begins inside.
fn source(left: &Left) -> (Ip6, Port) {
    assert_eq!(left.reason, Reason::TranslatedOut);
    let seen = seen(left);
    (seen.source, seen.source_port)
}

/// A call comes in, is answered, and goes on.
#[track_caller]
fn talk(site: &Site, protocol: Protocol, from: End, external: End, to: End) {
    let heard = call(site, protocol, from, external);
    assert_eq!(heard.reason, Reason::TranslatedIn);
    let caller = match address(to.0) {
        IpAddr::V4(_) => wide(from),
        IpAddr::V6(_) => known(from),
    };
    assert_eq!(seen(&heard), from_to(caller, wide(to)));

    let back = send(site, INSIDE, protocol, (to, caller), false);
    assert_eq!(back.reason, Reason::TranslatedOut);
    assert_eq!(seen(&back), from_to(wide(external), wide(from)));
    let on = send(site, OUTSIDE, protocol, (from, wide(external)), false);
    assert_eq!(on.reason, Reason::TranslatedIn);
}

/// The flows of a site end, and their ports are free.
fn forget(site: &mut Site) {
    site.pass(Duration::from_secs(2000));
    for _ in 0..4 {
        site.sweep();
        site.pass(Duration::from_secs(1));
    }
}

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

#[test]
fn a_call_of_either_version_reaches_the_host_behind_the_port_however_its_pool_maps_and_filters() {
    for behaviour in behaviours() {
        let site = Site::new(policy(behaviour, all(SERVER)), 256);
        for protocol in PROTOCOLS {
            for (remote, stranger, external) in WAYS {
                talk(&site, protocol, remote, external, SERVER);
                talk(&site, protocol, stranger, external, SERVER);
            }
        }
        safe(&site.memory);
    }
}

/// RFC 4787 REQ-1, by the external address of the version that the remote has.
#[test]
fn what_the_host_begins_from_that_port_leaves_from_the_external_one() {
    for behaviour in behaviours() {
        let site = Site::new(policy(behaviour, all(SERVER)), 256);
        for protocol in PROTOCOLS {
            for (remote, stranger, external) in WAYS {
                for to in [remote, stranger] {
                    let left = dial(&site, protocol, SERVER, to);
                    assert_eq!(source(&left), wide(external));
                }
            }
        }
        safe(&site.memory);
    }
}

#[test]
fn only_those_of_either_version_call_that_may() {
    let inside6 = ("fd01::7", 4000);
    for protocol in PROTOCOLS {
        let of = |nets: &[&str], external| Forward {
            callers: nets
                .iter()
                .map(|net| net.parse().expect("a prefix"))
                .collect(),
            ..forward(protocol, external, SERVER)
        };
        let mut site = usual(vec![
            of(&["198.51.100.4/32", "10.1.0.1/32", "fd01::7/128"], EXTERNAL),
            of(&["2001:db8:f::4/128"], EXTERNAL6),
        ]);
        for (remote, stranger, external) in WAYS {
            talk(&site, protocol, remote, external, SERVER);
            let refused = call(&site, protocol, stranger, external);
            assert_eq!(refused.reason, Reason::Filtered);
            // Nor because the host has sent to them.
            assert_eq!(
                source(&dial(&site, protocol, SERVER, stranger)),
                wide(external)
            );
            let beside = (stranger.0, stranger.1 + 1);
            assert_eq!(
                call(&site, protocol, beside, external).reason,
                Reason::Filtered
            );
        }
        // Who calls from inside is known by the address that it has itself.
        assert!(dial(&site, protocol, NARROW_CLIENT, EXTERNAL).is_translated());
        assert!(dial(&site, protocol, inside6, EXTERNAL).is_translated());
        assert_eq!(
            dial(&site, protocol, CLIENT, EXTERNAL).reason,
            Reason::Filtered
        );
        assert_eq!(
            dial(&site, protocol, CLIENT, EXTERNAL6).reason,
            Reason::Filtered
        );

        configure(&mut site, all(SERVER));
        for (_, stranger, external) in WAYS {
            let beside = (stranger.0, stranger.1 + 2);
            talk(&site, protocol, beside, external, SERVER);
        }
        let classes = site.memory.v6.classes.all();
        assert!(classes.iter().all(|(key, _)| key.list().is_none()));
        sound(&site.memory);
    }
}

/// A list of one version must not let in whom a list of the other is about.
#[test]
fn a_client_of_ipv6_calls_a_host_of_ipv4_if_it_may() {
    for protocol in PROTOCOLS {
        let guarded = Forward {
            callers: ["198.51.100.4/32", "fd01::1/128"]
                .map(|net| net.parse().expect("a prefix"))
                .into(),
            ..forward(protocol, EXTERNAL, NARROW_SERVER)
        };
        let site = usual(vec![guarded]);

        assert!(dial(&site, protocol, CLIENT, EXTERNAL).is_translated());
        let other = ("fd01::2", 4000);
        assert_eq!(
            dial(&site, protocol, other, EXTERNAL).reason,
            Reason::Filtered
        );
        talk(&site, protocol, REMOTE, EXTERNAL, NARROW_SERVER);
        assert_eq!(
            call(&site, protocol, STRANGER, EXTERNAL).reason,
            Reason::Filtered
        );
    }
}

/// RFC 4787 REQ-9, whichever version the client and the external address have.
#[test]
fn clients_inside_reach_the_host_by_the_external_port() {
    for protocol in PROTOCOLS {
        let site = usual(all(SERVER));
        for (client, external) in [
            (CLIENT, EXTERNAL),
            (CLIENT, EXTERNAL6),
            (NARROW_CLIENT, EXTERNAL),
        ] {
            let heard = dial(&site, protocol, client, external);
            assert_eq!(heard.reason, Reason::TranslatedOut);
            let at_server = seen(&heard);
            assert_eq!((at_server.target, at_server.target_port), wide(SERVER));
            assert_eq!(at_server.source, known((external.0, 0)).0);

            let caller = (at_server.source, at_server.source_port);
            let back = send(&site, INSIDE, protocol, (SERVER, caller), false);
            assert!(back.is_translated());
            let at_client = seen(&back);
            assert_eq!((at_client.target, at_client.target_port), wide(client));
            let known = match address(client.0) {
                IpAddr::V4(_) => wide(external),
                IpAddr::V6(_) => known(external),
            };
            assert_eq!((at_client.source, at_client.source_port), known);
        }
        safe(&site.memory);
    }
}

#[test]
fn a_forward_stands_however_long_nobody_calls_and_is_written_again_if_it_is_missing() {
    let mut site = usual(all(SERVER));
    let before = site.memory.v6.mappings.len();
    for _ in 0..3 {
        forget(&mut site);
    }
    assert_eq!((before, site.memory.v6.mappings.len()), (8, 8));
    let key = MappingKey::inward(Protocol::Tcp, wide(EXTERNAL));
    site.memory.v6.mappings.remove(&key);

    site.sweep();

    for protocol in PROTOCOLS {
        for (remote, _, external) in WAYS {
            talk(&site, protocol, remote, external, SERVER);
        }
    }
}

/// Nothing that is established is lost; what is no longer wanted does not begin.
#[test]
fn the_flows_of_a_forward_that_goes_stay_until_they_end() {
    for protocol in PROTOCOLS {
        for (remote, stranger, external) in WAYS {
            let external = (external.0, 2000);
            let mut site = usual(vec![forward(protocol, external, SERVER)]);
            talk(&site, protocol, remote, external, SERVER);

            configure(&mut site, Vec::new());
            for _ in 0..3 {
                site.sweep();
                site.pass(Duration::from_secs(1));
                let on = send(&site, INSIDE, protocol, (SERVER, known(remote)), false);
                assert_eq!(source(&on), wide(external));
            }
            assert_eq!(
                call(&site, protocol, stranger, external).reason,
                Reason::Filtered
            );

            forget(&mut site);
            assert!(site.memory.v6.mappings.is_empty() && site.memory.v6.flows.is_empty());
        }
    }
}

/// Whichever version the hosts have, before and afterwards: what stood in the one table is gone from it,
/// and no port leads to two.
#[test]
fn a_forward_may_lead_to_a_host_of_another_version_for_new_flows() {
    let hosts = [SERVER, NARROW_SERVER, OTHER_SERVER];
    for protocol in PROTOCOLS {
        for before in hosts {
            for after in hosts.into_iter().filter(|it| *it != before) {
                let mut site = usual(vec![forward(protocol, EXTERNAL, before)]);
                talk(&site, protocol, REMOTE, EXTERNAL, before);

                configure(&mut site, vec![forward(protocol, EXTERNAL, after)]);

                talk(&site, protocol, STRANGER, EXTERNAL, after);
                let on = send(&site, OUTSIDE, protocol, (REMOTE, wide(EXTERNAL)), false);
                let at = seen(&on);
                assert_eq!((at.target, at.target_port), wide(before));
                // What the old host begins is not taken for the new one's.
                let begun = dial(&site, protocol, before, ("198.51.100.9", 53));
                assert_ne!(source(&begun), wide(EXTERNAL));
                safe(&site.memory);
                forget(&mut site);
                sound(&site.memory);
                talk(&site, protocol, STRANGER, EXTERNAL, after);
            }
        }
    }
}

/// The configuration has its way, and nothing established is lost.
#[test]
fn a_port_that_a_client_has_becomes_a_forward_to_a_host_of_the_other_version() {
    for (client, server) in [(CLIENT, NARROW_SERVER), (NARROW_CLIENT, SERVER)] {
        for protocol in PROTOCOLS {
            let mut site = usual(Vec::new());
            let (ours, port) = source(&dial(&site, protocol, client, REMOTE));
            assert_eq!(ours, wide(EXTERNAL).0);
            let external = (EXTERNAL.0, port.get());

            configure(&mut site, vec![forward(protocol, external, server)]);

            talk(&site, protocol, STRANGER, external, server);
            let on = send(&site, OUTSIDE, protocol, (REMOTE, (ours, port)), false);
            assert_eq!((seen(&on).target, seen(&on).target_port), wide(client));
            let other = source(&dial(&site, protocol, client, ("198.51.100.9", 53)));
            assert_ne!(other, (ours, port));
            safe(&site.memory);
            forget(&mut site);
            sound(&site.memory);
            talk(&site, protocol, STRANGER, external, server);
        }
    }
}

/// A daemon that begins anew finds everything as it is wanted, and touches nothing.
#[test]
fn a_successor_finds_the_forwards_and_their_callers() {
    let guarded = |external| Forward {
        callers: vec![match address(external) {
            IpAddr::V4(_) => "198.51.100.4/32".parse().expect("a prefix"),
            IpAddr::V6(_) => "2001:db8:f::4/128".parse().expect("a prefix"),
        }],
        ..forward(Protocol::Tcp, (external, 443), SERVER)
    };
    let forwards = vec![guarded(EXTERNAL.0), guarded(EXTERNAL6.0)];
    let site = usual(forwards.clone());
    let mut site = site.restarted();

    let intent = policy(Pool::BEHAVIOUR_DEFAULT, forwards);
    let actions = site.decide(Event::Configure(Box::new(intent)));

    let is_about_mappings =
        |action: &Action| matches!(action, Action::PutMapping6(..) | Action::TakePort(..));
    assert!(!actions.iter().any(is_about_mappings), "{actions:?}");
    site.act(actions);
    for (remote, stranger, external) in WAYS {
        talk(&site, Protocol::Tcp, remote, external, SERVER);
        let refused = call(&site, Protocol::Tcp, stranger, external);
        assert_eq!(refused.reason, Reason::Filtered);
    }
    configure(&mut site, Vec::new());
    forget(&mut site);
    assert!(site.memory.v6.mappings.is_empty());
}

fn ask(internal: End, wanted: Option<&str>) -> Ask {
    Ask {
        protocol: Protocol::Udp,
        internal: (address(internal.0), internal.1).into(),
        address: wanted.map(address),
        port: None,
        prefer_failure: false,
        lifetime: Duration::from_secs(3600),
        owner: Owner::default(),
    }
}

#[test]
fn who_has_ipv6_is_granted_a_port_of_the_version_that_it_suggests_and_of_ipv6_else() {
    for (wanted, remote, external) in [
        (None, REMOTE6, EXTERNAL6),
        (Some("::"), REMOTE6, EXTERNAL6),
        (Some("0.0.0.0"), REMOTE, EXTERNAL),
        (Some("192.0.2.1"), REMOTE, EXTERNAL),
        // Another one of that version is granted if it cannot be had.
        (Some("192.0.2.99"), REMOTE, EXTERNAL),
    ] {
        let mut site = usual(Vec::new());
        let granted = site
            .ask(&ask(SERVER, wanted))
            .expect("it is granted")
            .external;
        assert_eq!(granted.ip(), address(external.0), "{wanted:?}");
        assert_eq!(granted.port() % 2, SERVER.1 % 2, "parity is kept");
        let external = (external.0, granted.port());

        talk(&site, Protocol::Udp, remote, external, SERVER);
        let begun = dial(&site, Protocol::Udp, SERVER, (remote.0, 53));
        assert_eq!(source(&begun), wide(external));

        let mut site = site.restarted();
        configure(&mut site, Vec::new());
        let again = site.ask(&ask(SERVER, None)).expect("it is renewed");
        assert_eq!(again.external, granted);
        let internal = again.internal;
        let withdraw = Withdraw {
            protocol: Protocol::Udp,
            internal,
            owner: Owner::default(),
        };
        site.withdraw(&withdraw).expect("it is its own");
        forget(&mut site);
        assert!(site.memory.v6.mappings.is_empty() && site.kept_leases().is_empty());
        sound(&site.memory);
    }
}

#[test]
fn nobody_is_granted_a_port_of_a_version_that_no_rule_leads_to() {
    let mut site = usual(Vec::new());
    let denied = site
        .ask(&ask(NARROW_CLIENT, Some("::")))
        .expect_err("NAT46");
    assert!(matches!(denied, Denied::NotItsAddress { .. }), "{denied}");

    let granted = site
        .ask(&ask(SERVER, Some("0.0.0.0")))
        .expect("it is granted");
    let mut intent = policy(Pool::BEHAVIOUR_DEFAULT, Vec::new());
    intent.prefixes.clear();
    site.handle(Event::Configure(Box::new(intent)));

    assert_eq!(site.gateway.mappings().leases().count(), 0);
    let end = ("192.0.2.1", granted.external.port());
    assert!(!call(&site, Protocol::Udp, REMOTE, end).is_translated());
    let denied = site.ask(&ask(SERVER, Some("0.0.0.0")));
    assert!(
        matches!(denied, Err(Denied::NotItsAddress { .. })),
        "{denied:?}"
    );
}

/// RFC 4787 REQ-1: an endpoint is not seen by two ports because it also asked for one.
#[test]
fn an_endpoint_of_ipv6_that_has_a_port_is_granted_that_one() {
    for (remote, wanted) in [(REMOTE, "0.0.0.0"), (REMOTE6, "::")] {
        let mut site = usual(Vec::new());
        let has = source(&dial(&site, Protocol::Udp, SERVER, remote));

        let granted = site.ask(&ask(SERVER, Some(wanted))).expect("it is granted");

        let external = granted.external;
        assert_eq!(
            (Ip6::from(external.ip()), external.port()),
            (has.0, has.1.get())
        );
        sound(&site.memory);
    }
}

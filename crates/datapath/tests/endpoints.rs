//! Endpoints (twice NAT): who dials an address reaches a target elsewhere, from a pool's address, and never
//! sees anything but what was dialled.

use std::time::Duration;

use abi::{Ip4, Ip6, Protocol, Reason, Tuple};
use gateway::{
    Event,
    intent::{Intent, Rule, Service},
};

use crate::rig::{
    Left, Site, Sketch, Sketch6,
    dual::{dual_with, send6},
    laws::sound,
    site::{INSIDE, OUTSIDE, endpoint, fixed, tuple, usual},
    sketch::read,
    sketch6::{ip6, tuple6},
    whole::{Check, tuple_of, whole},
};

const CLIENT: ([u8; 4], u16) = ([10, 7, 0, 1], 4000);
/// Of whom no endpoint is.
const OTHER: ([u8; 4], u16) = ([10, 1, 0, 1], 4000);
/// What is dialled, and where that leads.
const DIALLED: [u8; 4] = [10, 99, 0, 10];
const TARGET: [u8; 4] = [198, 51, 100, 4];
const ROUTER: Ip4 = Ip4([203, 0, 113, 77]);

fn ports(protocol: Protocol, first: u16, last: u16) -> Service {
    Service::Ports(protocol, first, last)
}

/// The usual rules behind such endpoints.
fn with(endpoints: impl IntoIterator<Item = Rule>) -> Intent {
    let mut intent = usual();
    intent.rules.splice(0..0, endpoints);
    intent
}

/// `10.99.0.10`, ports 5432 to 5439 of TCP, lead to port 443 and up of the target, for some.
fn usual_one() -> Intent {
    let dialled = ("10.99.0.10", ports(Protocol::Tcp, 5432, 5439));
    with([endpoint(
        "10.7.0.0/16",
        dialled,
        ("198.51.100.4", 443),
        "bank",
    )])
}

fn dial(site: &Site, protocol: Protocol, client: ([u8; 4], u16), port: u16) -> Left {
    let sketch = Sketch::first(protocol, tuple(client, (DIALLED, port)));
    site.send(INSIDE, &sketch.payload(&[7; 64]))
}

fn seen(left: &Left) -> Tuple {
    read(&left.after.bytes).expect("such a packet").1
}

#[test]
fn who_dials_an_endpoint_reaches_its_target_and_hears_from_whom_it_dialled() {
    for (dialled, reached) in [(5432, 443), (5439, 450)] {
        let site = Site::new(usual_one(), 16);

        let out = dial(&site, Protocol::Tcp, CLIENT, dialled);
        assert_eq!(out.reason, Reason::TranslatedOut);
        let there = seen(&out);
        let answer = Sketch::answer(Protocol::Tcp, there.reversed());
        let back = site.send(OUTSIDE, &answer.payload(&[1; 9]));

        assert_eq!(
            (there.target, there.target_port.get()),
            (Ip4(TARGET), reached)
        );
        assert!(
            [9, 10]
                .map(|last| Ip4([192, 0, 2, last]))
                .contains(&there.source)
        );
        assert_eq!(back.reason, Reason::TranslatedIn);
        assert_eq!(seen(&back), tuple((DIALLED, dialled), CLIENT));
        for left in [&out, &back] {
            let packet = whole(&left.after.bytes).expect("a packet");
            assert_eq!(packet.check(), Check::Right, "{packet:?}");
        }
        sound(&site.memory);
    }
}

#[test]
fn every_protocol_reaches_an_endpoint_that_names_none() {
    let endpoint = endpoint(
        "10.7.0.0/16",
        ("10.99.0.10", Service::Any),
        ("198.51.100.4", 0),
        "bank",
    );
    for protocol in Protocol::ALL {
        let site = Site::new(with([endpoint.clone()]), 16);
        let port = match protocol {
            Protocol::Icmp | Protocol::Gre | Protocol::Esp => 0,
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp => 440,
        };

        let out = dial(&site, protocol, CLIENT, port);
        assert_eq!(out.reason, Reason::TranslatedOut, "{protocol:?}");
        let there = seen(&out);
        let back = site.send(OUTSIDE, &Sketch::answer(protocol, there.reversed()));

        assert_eq!((there.target, there.target_port.get()), (Ip4(TARGET), port));
        assert_eq!(back.reason, Reason::TranslatedIn, "{protocol:?}");
        assert_eq!(seen(&back).source, Ip4(DIALLED));
        sound(&site.memory);
    }
}

/// The rule before all others is for some clients and some ports; nobody else is led anywhere.
#[test]
fn an_endpoint_leads_only_those_it_is_for_and_only_from_its_ports() {
    let site = Site::new(usual_one(), 16);

    for (client, port) in [(OTHER, 5432), (CLIENT, 5431), (CLIENT, 5440)] {
        let left = dial(&site, Protocol::Tcp, client, port);
        // The rule behind it that leaves this prefix to the kernel.
        assert_eq!(left.reason, Reason::RulePass, "{client:?} {port}");
    }
    let left = dial(&site, Protocol::Udp, CLIENT, 5432);
    assert_eq!(left.reason, Reason::RulePass);
}

#[test]
fn two_teams_dial_one_address_and_reach_what_is_theirs() {
    let dialled = ("10.99.0.10", ports(Protocol::Tcp, 5432, 5432));
    let mine = endpoint("10.7.0.0/16", dialled, ("198.51.100.4", 443), "bank");
    let theirs = endpoint("10.1.0.0/16", dialled, ("198.51.100.5", 5432), "web");
    let site = Site::new(with([mine, theirs]), 16);

    let (a, b) = (
        seen(&dial(&site, Protocol::Tcp, CLIENT, 5432)),
        seen(&dial(&site, Protocol::Tcp, OTHER, 5432)),
    );

    assert_eq!((a.target, a.target_port.get()), (Ip4(TARGET), 443));
    assert_eq!((b.target.0, b.target_port.get()), ([198, 51, 100, 5], 5432));
    assert!(
        a.source.0[3] >= 9 && b.source.0[3] < 9,
        "each from its own pool"
    );
}

/// RFC 5508 REQ-4: also routers are hidden behind what was dialled.
#[test]
fn errors_about_an_endpoints_flow_are_about_what_was_dialled() {
    let site = Site::new(usual_one(), 16);
    let out = dial(&site, Protocol::Tcp, CLIENT, 5432);

    let left = site.send(OUTSIDE, &Sketch::error(3, ROUTER, &out.after.bytes, 48));

    assert_eq!(left.reason, Reason::ErrorTranslated);
    let bytes = &left.after.bytes;
    assert_eq!(
        (&bytes[26..30], &bytes[30..34]),
        (&DIALLED[..], &CLIENT.0[..])
    );
    // The quoted header behind IP's twenty bytes and ICMP's eight, and the ports behind it.
    assert_eq!(
        (&bytes[54..58], &bytes[58..62]),
        (&CLIENT.0[..], &DIALLED[..])
    );
    assert_eq!(bytes[64..66], 5432_u16.to_be_bytes());
}

#[test]
fn fragments_of_a_datagram_to_an_endpoint_follow_the_first_one() {
    let dialled = ("10.99.0.10", ports(Protocol::Udp, 500, 500));
    let site = Site::new(
        with([endpoint(
            "10.7.0.0/16",
            dialled,
            ("198.51.100.4", 501),
            "bank",
        )]),
        16,
    );
    let asked = tuple(CLIENT, (DIALLED, 500));
    let piece = |part| {
        let sketch = Sketch::first(Protocol::Udp, asked).payload(&[7; 64]);
        site.send(INSIDE, &Sketch { part, ..sketch })
    };

    let (first, last) = (piece((true, 0)), piece((false, 9)));

    for left in [&first, &last] {
        assert_eq!(left.reason, Reason::TranslatedOut);
        assert_eq!(left.after.bytes[30..34], TARGET);
    }
    assert_eq!(seen(&first).target_port.get(), 501);
}

/// A target that is a host with a fixed external address is that host.
#[test]
fn an_endpoint_may_lead_to_an_address_that_is_translated_one_to_one() {
    let mut intent = usual_one();
    intent.fixed = vec![fixed("10.44.0.0/24", "198.51.100.0/24")];
    let site = Site::new(intent, 16);

    let there = seen(&dial(&site, Protocol::Tcp, CLIENT, 5432));

    assert_eq!(
        (there.target.0, there.target_port.get()),
        ([10, 44, 0, 4], 443)
    );
}

#[test]
fn flows_stay_where_they_are_when_an_endpoint_leads_elsewhere() {
    let mut site = Site::new(usual_one(), 16);
    dial(&site, Protocol::Tcp, CLIENT, 5432);
    let mut moved = usual_one();
    if let Some(target) = &mut moved.rules[0].target {
        target.address = [198, 51, 100, 5].into();
    }

    site.handle(Event::Configure(Box::new(moved)));

    let old = seen(&dial(&site, Protocol::Tcp, CLIENT, 5432));
    let new = seen(&dial(&site, Protocol::Tcp, (CLIENT.0, 4001), 5432));
    assert_eq!((old.target.0, new.target.0), (TARGET, [198, 51, 100, 5]));
}

/// RFC 4787 REQ-8: whom a client has sent to is the target, whoever was dialled.
#[test]
fn the_target_of_an_endpoint_may_call_back_while_the_flow_stands() {
    let mut site = Site::new(usual_one(), 16);
    let other = tuple(CLIENT, ([198, 51, 100, 9], 440));
    site.send(INSIDE, &Sketch::first(Protocol::Tcp, other));
    let there = seen(&dial(&site, Protocol::Tcp, CLIENT, 5432));

    for _ in 0..10 {
        site.pass(Duration::from_secs(30));
        site.sweep();
        dial(&site, Protocol::Tcp, CLIENT, 5432);
    }

    let call = tuple((TARGET, 999), (there.source.0, there.source_port.get()));
    let left = site.send(OUTSIDE, &Sketch::first(Protocol::Tcp, call));
    assert_eq!(left.reason, Reason::TranslatedIn);
}

fn dial6(site: &Site, dialled: &str) -> Left {
    let asked = tuple6(("fd07::1", 4000), (dialled, 5432));
    let left = send6(site, INSIDE, &Sketch6::first(Protocol::Tcp, asked));
    assert_eq!(left.reason, Reason::TranslatedOut, "{dialled}");
    left
}

#[test]
fn a_client_of_ipv6_reaches_targets_of_both_versions() {
    let service = ports(Protocol::Tcp, 5432, 5432);
    let site = dual_with(|intent| {
        let six = ("fd99::10", service);
        let four = ("fd99::11", service);
        intent.rules.splice(
            0..0,
            [
                endpoint("fd07::/16", six, ("2001:db8:1::4", 443), "bank"),
                endpoint("fd07::/16", four, ("198.51.100.4", 444), "bank"),
            ],
        );
    });

    for (dialled, target, port) in [
        ("fd99::10", ip6("2001:db8:1::4"), 443),
        ("fd99::11", Ip6::mapped(Ip4(TARGET)), 444),
    ] {
        let (_, there) = tuple_of(&dial6(&site, dialled).after.bytes);
        assert_eq!((there.target, there.target_port.get()), (target, port));
        let back = match there.narrow() {
            None => send6(
                &site,
                OUTSIDE,
                &Sketch6::answer(Protocol::Tcp, there.reversed()),
            ),
            Some(there) => site.send(OUTSIDE, &Sketch::answer(Protocol::Tcp, there.reversed())),
        };
        assert_eq!(back.reason, Reason::TranslatedIn, "{dialled}");
        let (_, heard) = tuple_of(&back.after.bytes);
        assert_eq!(heard, tuple6((dialled, 5432), ("fd07::1", 4000)));
    }
    sound(&site.memory);
}

/// The address that stands for it leads where it leads.
#[test]
fn a_client_of_ipv6_dials_an_endpoint_of_ipv4_by_the_address_that_stands_for_it() {
    let dialled = ("198.18.99.10", ports(Protocol::Tcp, 5432, 5432));
    let site = dual_with(|intent| {
        let endpoint = endpoint("fd07::/16", dialled, ("198.51.100.4", 443), "bank");
        intent.rules.insert(0, endpoint);
    });

    let (_, there) = tuple_of(&dial6(&site, "2001:db8:64::c612:630a").after.bytes);

    assert_eq!(there.target, Ip6::mapped(Ip4(TARGET)));
    assert_eq!(there.target_port.get(), 443);
}

//! How tuples are written, and what is none.

use super::*;

#[track_caller]
fn check(text: &str, protocol: Protocol, source: &str, target: &str) {
    let (source, source_port) = words::wire(source.parse().unwrap());
    let (target, target_port) = words::wire(target.parse().unwrap());
    let tuple = Tuple {
        source,
        target,
        source_port,
        target_port,
    };

    assert_eq!(parse(text).unwrap(), FlowKey::new(protocol, tuple));
}

#[test]
fn a_tuple_is_a_protocol_and_two_endpoints() {
    let (source, target) = ("10.0.0.1:4242", "198.51.100.9:5432");

    check(
        "tcp 10.0.0.1:4242 198.51.100.9:5432",
        Protocol::Tcp,
        source,
        target,
    );
    check(
        " UDP  10.0.0.1:4242\t198.51.100.9:5432 ",
        Protocol::Udp,
        source,
        target,
    );
}

#[test]
fn a_ping_has_its_identifier_on_the_side_that_asks() {
    let (client, remote) = ("10.0.0.1:77", "198.51.100.9:0");

    check(
        "icmp 10.0.0.1:77 198.51.100.9",
        Protocol::Icmp,
        client,
        remote,
    );
    check(
        "icmp 198.51.100.9 10.0.0.1:77",
        Protocol::Icmp,
        remote,
        client,
    );
}

#[test]
fn an_ipv6_address_stands_in_brackets_where_a_port_follows() {
    check(
        "tcp [2001:db8::7]:4242 [64:ff9b::198.51.100.9]:5432",
        Protocol::Tcp,
        "[2001:db8::7]:4242",
        "[64:ff9b::c633:6409]:5432",
    );
    check(
        "icmp [2001:db8::7]:77 2001:db8:1::9",
        Protocol::Icmp,
        "[2001:db8::7]:77",
        "[2001:db8:1::9]:0",
    );
}

#[test]
fn protocols_that_are_translated_by_address_have_the_ports_that_they_have() {
    let (source, target) = ("10.0.0.1:3868", "198.51.100.9:3868");
    check(
        "sctp 10.0.0.1:3868 198.51.100.9:3868",
        Protocol::Sctp,
        source,
        target,
    );
    let (source, target) = ("10.0.0.1:0", "198.51.100.9:0");
    check("gre 10.0.0.1 198.51.100.9", Protocol::Gre, source, target);
    check("ESP 10.0.0.1 198.51.100.9", Protocol::Esp, source, target);
}

#[test]
fn what_is_no_tuple_is_refused_with_the_reason() {
    for (text, why) in [
        ("", "it has 0 words, not 3"),
        ("tcp 10.0.0.1:4242", "it has 2 words, not 3"),
        (
            "dccp 10.0.0.1:1 10.0.0.2:2",
            "dccp is not tcp, udp, icmp, sctp, gre or esp",
        ),
        ("gre 10.0.0.1:1 10.0.0.2", "10.0.0.1:1 is not an endpoint"),
        ("tcp 10.0.0.1 10.0.0.2:2", "10.0.0.1 is not an endpoint"),
        (
            "tcp 10.0.0.1:1 10.0.0.2:70000",
            "10.0.0.2:70000 is not an endpoint",
        ),
        (
            "tcp 2001:db8::1 10.0.0.2:2",
            "2001:db8::1 is not an endpoint",
        ),
        ("icmp 10.0.0.1:1 fe80::g", "fe80::g is not an endpoint"),
    ] {
        let refused = parse(text).unwrap_err();

        assert!(refused.error.ends_with(why), "{}", refused.error);
        assert!(refused.help.contains("icmp 10.0.0.1:77"));
    }
}

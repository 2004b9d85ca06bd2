//! Which queries want which flows.

use abi::{Ip4, Ip6, Side, Tick, Tuple};

use super::*;

/// A flow from 10.1.2.3:40000 to 198.51.100.9:443, seen as 192.0.2.10:40001, of pool `team-a`.
fn is_wanted(query: &FlowsQuery) -> bool {
    let tuple = |source, source_port, target, target_port| Tuple {
        source: Ip4(source),
        target: Ip4(target),
        source_port: Port::new(source_port),
        target_port: Port::new(target_port),
    };
    let (client, external, remote) = ([10, 1, 2, 3], [192, 0, 2, 10], [198, 51, 100, 9]);
    let key = FlowKey::new(abi::Protocol::Tcp, tuple(client, 40000, remote, 443));
    let to = tuple(external, 40001, remote, 443);
    let entry = Flow::new(Side::Outbound, 0, to, (0, 0), Tick(7)).picture();

    let selection = Selection::parse(query).unwrap();
    selection.wants(Protocol::Tcp, &key, &entry, Some("team-a"))
        && selection.wants_state(FlowState::Opening)
}

/// A flow from 2001:db8::7 port 40000 to what stands for 198.51.100.9, seen as 192.0.2.10:40001.
fn is_wanted_between_versions(query: &FlowsQuery) -> bool {
    let ip = |text: &str| Ip6::from(text.parse::<IpAddr>().unwrap());
    let tuple = |source: &str, source_port, target: &str| Tuple {
        source: ip(source),
        target: ip(target),
        source_port: Port::new(source_port),
        target_port: Port::new(443),
    };
    let asked = tuple("2001:db8::7", 40000, "64:ff9b::198.51.100.9");
    let to = tuple("192.0.2.10", 40001, "198.51.100.9");
    let entry = Flow::new(Side::Outbound, 0, to, (0, 0), Tick(7)).picture();

    let key = FlowKey::new(abi::Protocol::Tcp, asked);
    Selection::parse(query)
        .unwrap()
        .wants(Protocol::Tcp, &key, &entry, None)
}

#[test]
fn an_endpoint_is_of_either_version_and_in_brackets_before_a_port() {
    for wanted in [
        "2001:db8::7",
        "2001:db8::/32",
        "::/0",
        "[2001:db8::7]:40000",
        ":40000",
    ] {
        assert!(is_wanted_between_versions(&client(wanted)), "{wanted}");
    }
    for unwanted in ["2001:db8::8", "0.0.0.0/0", "[2001:db8::7]:40001", "::7"] {
        assert!(!is_wanted_between_versions(&client(unwanted)), "{unwanted}");
    }
    for refused in [
        "[2001:db8::7]",
        "[10.1.2.3]:443",
        "2001:db8::7:",
        "[::1:443",
    ] {
        assert!(Selection::parse(&client(refused)).is_err(), "{refused}");
    }
    let external = FlowsQuery {
        external: Some("192.0.2.10:40001".to_owned()),
        ..FlowsQuery::default()
    };
    assert!(is_wanted_between_versions(&external));
}

fn client(text: &str) -> FlowsQuery {
    FlowsQuery {
        client: Some(text.to_owned()),
        ..FlowsQuery::default()
    }
}

#[test]
fn who_asks_for_nothing_gets_everything() {
    assert!(is_wanted(&FlowsQuery::default()));
}

#[test]
fn an_endpoint_is_an_address_a_prefix_both_with_a_port_or_a_port() {
    for wanted in [
        "10.1.2.3",
        "10.1.0.0/16",
        "10.1.9.9/16",
        "10.1.2.3:40000",
        ":40000",
        "0.0.0.0/0",
    ] {
        assert!(is_wanted(&client(wanted)), "{wanted}");
    }
    for unwanted in [
        "10.1.2.4",
        "10.2.0.0/16",
        "10.1.2.3:40001",
        ":443",
        "10.1.2.4:40000",
    ] {
        assert!(!is_wanted(&client(unwanted)), "{unwanted}");
    }
}

#[test]
fn each_endpoint_is_looked_for_on_its_own_side() {
    let external = Some("192.0.2.10:40001".to_owned());
    let remote = Some("198.51.100.9:443".to_owned());
    let both = FlowsQuery {
        external: external.clone(),
        remote: remote.clone(),
        ..FlowsQuery::default()
    };
    let swapped = FlowsQuery {
        external: remote,
        remote: external,
        ..FlowsQuery::default()
    };

    assert!(is_wanted(&both));
    assert!(!is_wanted(&swapped));
}

#[test]
fn everything_that_is_given_must_hold() {
    let right = FlowsQuery {
        protocol: Some(Protocol::Tcp),
        state: Some(FlowState::Opening),
        pool: Some("team-a".to_owned()),
        ..client(":40000")
    };
    assert!(is_wanted(&right));

    for wrong in [
        FlowsQuery {
            protocol: Some(Protocol::Udp),
            ..right.clone()
        },
        FlowsQuery {
            state: Some(FlowState::Closing),
            ..right.clone()
        },
        FlowsQuery {
            pool: Some("team-b".to_owned()),
            ..right.clone()
        },
        FlowsQuery {
            client: Some("10.1.2.4".to_owned()),
            ..right.clone()
        },
    ] {
        assert!(!is_wanted(&wrong), "{wrong:?}");
    }
}

#[test]
fn what_is_not_an_endpoint_is_refused_by_name_and_with_a_remedy() {
    for text in [
        "",
        "pod-a",
        "10.1.2",
        "10.1.2.3:",
        "10.1.2.3:70000",
        "10.1.0.0/33",
        "::g",
        ":",
        "10.1.0.0/16:443",
    ] {
        let refused = Selection::parse(&client(text)).unwrap_err();

        assert_eq!(refused.error, format!("client={text} is not an endpoint"));
        assert!(refused.help.contains(":443"));
    }
}

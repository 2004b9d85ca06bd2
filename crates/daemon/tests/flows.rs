//! The flow table, listed and looked up.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use abi::{Protocol, Seen};
use api::http::{ApiError, Endpoint, Flow, FlowState, Flows, Pools, Status, path};

use crate::rig::{
    Gateway, Request,
    entries::{self, Entry},
};

fn list(gateway: &Gateway, query: &[(&str, &str)]) -> Flows {
    let answer = gateway.ask(&Request::query(path::FLOWS, query));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn find(gateway: &Gateway, tuple: &str) -> Option<Flow> {
    let answer = gateway.ask(&Request::query(path::FLOW, &[("tuple", tuple)]));
    match answer.status {
        200 => Some(answer.json()),
        404 => {
            let error: ApiError = answer.json();
            assert!(error.error.contains(tuple), "{error}");
            None
        }
        other => panic!("status {other}: {}", answer.text()),
    }
}

/// So many connections of so many clients, over two external addresses.
fn many(count: u16) -> Vec<Entry> {
    let entry = |number: u16| {
        let [high, low] = number.to_be_bytes();
        Entry {
            client: SocketAddr::from(([10, 1, high, low], 40_000)),
            external: SocketAddr::from(([192, 0, 2, 10 + low % 2], 1024 + number)),
            ..Entry::tcp("0.0.0.0:0", "0.0.0.0:0", "198.51.100.9:5432")
        }
    };
    (0..count).map(entry).collect()
}

fn endpoint(text: &str) -> Endpoint {
    let endpoint: SocketAddr = text.parse().unwrap();
    Endpoint {
        address: endpoint.ip(),
        port: endpoint.port(),
    }
}

#[test]
fn a_list_has_every_flow_once() {
    let gateway = Gateway::start();
    let written = many(6000);
    entries::write(&gateway.tables, &written);

    let flows = list(&gateway, &[]);

    assert_eq!(
        (flows.matched, flows.total, flows.truncated),
        (6000, 6000, false)
    );
    let listed: BTreeSet<_> = flows
        .flows
        .iter()
        .map(|it| (it.client, it.external))
        .collect();
    let expected = written.iter().map(|entry| {
        (
            endpoint(&entry.client.to_string()),
            endpoint(&entry.external.to_string()),
        )
    });
    assert_eq!(listed, expected.collect());
    assert_eq!(flows.flows.len(), 6000);
}

#[test]
fn a_list_has_what_was_asked_for_and_counts_the_rest() {
    let gateway = Gateway::start();
    entries::write(&gateway.tables, &many(1000));
    let count = |query: &[(&str, &str)]| {
        let flows = list(&gateway, query);
        (
            flows.flows.len(),
            flows.matched,
            flows.total,
            flows.truncated,
        )
    };

    assert_eq!(count(&[("client", "10.1.0.0/24")]), (256, 256, 1000, false));
    assert_eq!(
        count(&[("client", "10.1.0.0/24"), ("limit", "10")]),
        (10, 256, 1000, true)
    );
    assert_eq!(count(&[("limit", "0")]), (0, 1000, 1000, true));
    assert_eq!(
        count(&[("external", "192.0.2.10")]),
        (500, 500, 1000, false)
    );
    assert_eq!(count(&[("external", ":1030")]), (1, 1, 1000, false));
    assert_eq!(count(&[("remote", ":443")]), (0, 0, 1000, false));
    assert_eq!(count(&[("protocol", "udp")]), (0, 0, 1000, false));
    assert_eq!(
        count(&[("state", "established"), ("limit", "1000")]),
        (1000, 1000, 1000, false)
    );
    assert_eq!(count(&[("state", "opening")]), (0, 0, 1000, false));
    assert_eq!(
        count(&[("pool", "team-a"), ("limit", "1")]),
        (1, 1000, 1000, true)
    );
    assert_eq!(count(&[("pool", "team-b")]), (0, 0, 1000, false));
}

#[test]
fn a_flow_shows_both_its_directions_and_its_times() {
    let gateway = Gateway::start();
    let entry = Entry {
        ages: (40, 20),
        ..Entry::tcp("10.1.0.7:40000", "192.0.2.10:40001", "198.51.100.9:5432")
    };
    entries::write(&gateway.tables, &[entry]);

    let flow = list(&gateway, &[]).flows.remove(0);

    assert_eq!(flow.client, endpoint("10.1.0.7:40000"));
    assert_eq!(flow.external, endpoint("192.0.2.10:40001"));
    assert_eq!(flow.remote, endpoint("198.51.100.9:5432"));
    assert_eq!((flow.packets_out, flow.bytes_out), (4, 400));
    assert_eq!((flow.packets_in, flow.bytes_in), (3, 300));
    assert_eq!((flow.interface_out, flow.interface_in), (None, None));
    assert_eq!(flow.pool.as_deref(), Some("team-a"));
    assert_eq!(flow.state, FlowState::Established);
    // A tick is 1.07 seconds, and a loaded machine may take some to answer.
    assert!((42..60).contains(&flow.age_seconds), "{}", flow.age_seconds);
    assert!(
        (20..40).contains(&flow.idle_seconds),
        "{}",
        flow.idle_seconds
    );
    // RFC 5382 REQ-5, and what is in use by default.
    assert_eq!(flow.idle_seconds + flow.expires_in_seconds, 7440);
}

#[test]
fn states_and_what_they_leave_of_a_flow_are_told_apart() {
    let gateway = Gateway::start();
    let tcp = |port: u16, seen| Entry {
        client: SocketAddr::from(([10, 1, 0, 7], port)),
        external: SocketAddr::from(([192, 0, 2, 10], port)),
        seen,
        ..Entry::tcp("0.0.0.0:0", "0.0.0.0:0", "198.51.100.9:5432")
    };
    let fin = Seen::SYN | Seen::ACK | Seen::FIN;
    let udp = Entry {
        protocol: Protocol::Udp,
        ..tcp(4, (0, 0))
    };
    let (opening, closing) = (tcp(1025, (Seen::SYN, 0)), tcp(1026, (fin, fin)));
    entries::write(
        &gateway.tables,
        &[opening, tcp(1027, entries::OPEN), closing, udp],
    );

    for (state, expires_in) in [
        ("opening", 240),
        ("established", 7440),
        ("closing", 240),
        ("active", 300),
    ] {
        let flows = list(&gateway, &[("state", state)]).flows;
        assert_eq!(flows.len(), 1, "{state}");
        assert_eq!(flows[0].state.label(), state);
        assert_eq!(
            flows[0].idle_seconds + flows[0].expires_in_seconds,
            expires_in,
            "{state}"
        );
    }
}

#[test]
fn a_flow_is_found_by_each_of_its_packets() {
    let gateway = Gateway::start();
    let entry = Entry::tcp("10.1.0.7:40000", "192.0.2.10:40001", "198.51.100.9:5432");
    let ping = Entry {
        protocol: Protocol::Icmp,
        ..Entry::tcp("10.1.0.7:77", "192.0.2.10:78", "198.51.100.9:0")
    };
    entries::write(&gateway.tables, &[entry, ping]);

    for tuple in [
        "tcp 10.1.0.7:40000 198.51.100.9:5432",
        "tcp 192.0.2.10:40001 198.51.100.9:5432",
        "tcp 198.51.100.9:5432 192.0.2.10:40001",
        "tcp 198.51.100.9:5432 10.1.0.7:40000",
    ] {
        let flow = find(&gateway, tuple).expect(tuple);
        assert_eq!(flow.client, endpoint("10.1.0.7:40000"), "{tuple}");
        assert_eq!(flow.external, endpoint("192.0.2.10:40001"), "{tuple}");
        assert_eq!((flow.packets_out, flow.packets_in), (4, 3), "{tuple}");
    }
    for tuple in [
        "icmp 10.1.0.7:77 198.51.100.9",
        "icmp 198.51.100.9 192.0.2.10:78",
    ] {
        let flow = find(&gateway, tuple).expect(tuple);
        assert_eq!(flow.client, endpoint("10.1.0.7:77"), "{tuple}");
    }
    for tuple in [
        "udp 10.1.0.7:40000 198.51.100.9:5432",
        "tcp 10.1.0.7:40001 198.51.100.9:5432",
    ] {
        assert_eq!(find(&gateway, tuple), None, "{tuple}");
    }
}

#[test]
fn who_does_not_read_and_who_hangs_up_keep_nobody_from_the_table() {
    let gateway = Gateway::start();
    entries::write(&gateway.tables, &many(6000));

    let sleepers: Vec<_> = (0..7).map(|_| begun(&gateway)).collect();
    // There is one place left, and it becomes free each time.
    for _ in 0..3 {
        drop(begun(&gateway));
        let answer = ask_until_served(&gateway);
        assert_eq!(answer.matched, 6000);
    }
    drop(sleepers);
}

/// A client that reads the beginning of a list and no more.
fn begun(gateway: &Gateway) -> UnixStream {
    let mut stream = gateway.connect();
    stream
        .write_all(&Request::get(path::FLOWS).bytes())
        .unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    stream
}

/// Asks again while there is no place: the daemon learns of a hang-up when it writes next.
fn ask_until_served(gateway: &Gateway) -> Flows {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = gateway.ask(&Request::get(path::FLOWS));
        match answer.status {
            200 => return answer.json(),
            503 => assert!(answer.json::<ApiError>().help.contains("again")),
            other => panic!("status {other}: {}", answer.text()),
        }
        assert!(Instant::now() < end, "no place becomes free");
    }
}

#[test]
fn more_lists_than_can_be_made_are_refused() {
    let gateway = Gateway::start();
    entries::write(&gateway.tables, &many(6000));
    let ask = Request::get(path::FLOWS);
    let mut lists = Vec::new();

    let refused = loop {
        let mut stream = gateway.connect();
        stream.write_all(&ask.bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        match &status {
            b"HTTP/1.1 200" => lists.push(stream),
            other => break String::from_utf8_lossy(other).into_owned(),
        }
    };

    assert_eq!((lists.len(), refused.as_str()), (8, "HTTP/1.1 503"));
}

#[test]
fn who_does_not_read_does_not_keep_the_daemon_from_ending() {
    let mut gateway = Gateway::start();
    entries::write(&gateway.tables, &many(6000));
    let sleepers: Vec<_> = (0..3).map(|_| begun(&gateway)).collect();
    let start = Instant::now();

    assert!(gateway.stop().success());

    assert!(start.elapsed() < Duration::from_secs(5));
    drop(sleepers);
}

/// Addresses of both versions, and IPv4 targets for IPv6 clients.
const BOTH_VERSIONS: &str = "\
interfaces:
  - {name: egret-test-in, realm: internal}
  - {name: egret-test-out, realm: external}
pools:
  - {name: team-a, addresses: [192.0.2.10, '2001:db8:a::10']}
rules:
  - {name: a, sources: [10.1.0.0/16, '2001:db8:1::/48'], pool: team-a}
nat64: {prefixes: ['64:ff9b::/96']}
limits: {flows: 65536}
";

/// A flow of each kind: within IPv4, within IPv6, and from IPv6 to IPv4.
fn of_each_kind() -> [Entry; 3] {
    let between = Entry {
        reached: "198.51.100.9:5432".parse().unwrap(),
        ..Entry::tcp(
            "[2001:db8:1::7]:40001",
            "192.0.2.10:40001",
            "[64:ff9b::c633:6409]:5432",
        )
    };
    [
        Entry::tcp("10.1.0.7:40000", "192.0.2.10:40000", "198.51.100.9:5432"),
        Entry::tcp(
            "[2001:db8:1::7]:40000",
            "[2001:db8:a::10]:40000",
            "[2001:db8:9::9]:5432",
        ),
        between,
    ]
}

#[test]
fn flows_of_both_versions_and_between_them_are_listed_and_found() {
    let gateway = Gateway::start_with(BOTH_VERSIONS);
    entries::write(&gateway.tables, &of_each_kind());

    let all = list(&gateway, &[]);
    let of_client = list(&gateway, &[("client", "2001:db8:1::/48")]);
    let of_external = list(&gateway, &[("external", "192.0.2.10")]);

    assert_eq!((all.matched, all.total), (3, 3));
    assert_eq!((of_client.matched, of_external.matched), (2, 2));
    for tuple in [
        "tcp [2001:db8:1::7]:40001 [64:ff9b::198.51.100.9]:5432",
        "tcp 198.51.100.9:5432 192.0.2.10:40001",
    ] {
        let flow = find(&gateway, tuple).unwrap();
        assert_eq!(flow.client, endpoint("[2001:db8:1::7]:40001"));
        assert_eq!(flow.external, endpoint("192.0.2.10:40001"));
        assert_eq!(flow.remote, endpoint("[64:ff9b::c633:6409]:5432"));
        assert_eq!(flow.remote.to_string(), "[64:ff9b::c633:6409]:5432");
    }
    let flow = find(&gateway, "tcp [2001:db8:9::9]:5432 [2001:db8:a::10]:40000").unwrap();
    assert_eq!(flow.client, endpoint("[2001:db8:1::7]:40000"));
}

#[test]
fn ports_and_flows_of_both_versions_are_counted_together() {
    let gateway = Gateway::start_with(BOTH_VERSIONS);
    entries::write(&gateway.tables, &of_each_kind());

    let address = |name: &str| {
        let pools: Pools = gateway.get(path::POOLS);
        let mut all = pools.pools.into_iter().flat_map(|pool| pool.addresses);
        all.find(|it| it.address.to_string() == name).unwrap()
    };
    gateway.await_status(|status| status.flows.active == 3);

    // Swept, and still there: each port has its mapping and its flow.
    assert_eq!(address("192.0.2.10").tcp.used, 2);
    assert_eq!(address("2001:db8:a::10").tcp.used, 1);
    assert_eq!(address("192.0.2.10").flows, 2);
    let status: Status = gateway.get(path::STATUS);
    assert_eq!((status.flows.active, status.flows.active6), (3, 2));
}

/// A gateway that is told of IPv6 for the first time gets room for it without losing a flow.
#[test]
fn the_tables_of_ipv6_get_their_size_at_a_restart_while_they_are_empty() {
    let mut gateway = Gateway::start();
    let status = |gateway: &Gateway| -> Status { gateway.get(path::STATUS) };
    assert_eq!(status(&gateway).flows.max6, 1024);
    let [within_ipv4, within_ipv6, _] = of_each_kind();
    entries::write(&gateway.tables, &[within_ipv4]);

    gateway.restart_with(BOTH_VERSIONS);

    let after = status(&gateway);
    assert!(after.adopted);
    assert_eq!((after.flows.max, after.flows.max6), (65_536, 65_536));
    assert!(find(&gateway, "tcp 10.1.0.7:40000 198.51.100.9:5432").is_some());

    // What is in use keeps its size, and says so.
    entries::write(&gateway.tables, &[within_ipv6]);
    gateway.restart_with(&BOTH_VERSIONS.replace("flows: 65536", "flows: 65536, flows6: 4096"));
    let after = status(&gateway);
    assert_eq!(after.flows.max6, 65_536);
    assert!(find(&gateway, "tcp [2001:db8:1::7]:40000 [2001:db8:9::9]:5432").is_some());
    let says_so = |note: &String| note.contains("IPv6") && note.contains("4096");
    assert!(after.notes.iter().any(says_so), "{:?}", after.notes);
}

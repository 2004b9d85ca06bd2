//! Whom is told what, and who is who.

use super::*;
use crate::intent::parse;

const CONFIG: &str = "
interfaces:
  - {name: eth0, realm: both}
pools:
  - {name: web, addresses: [192.0.2.8/30, 192.0.2.12, 2001:db8::8/127]}
  - {name: mail, addresses: [192.0.2.25]}
prefixes:
  - {name: branch, internal: 10.7.0.0/24, external: 198.51.100.0/24}
rules:
  - {name: out, sources: [10.1.0.0/16], pool: web}
  - {name: post, sources: [10.2.0.0/16], pool: mail}
bgp:
  as: 65010
  router_id: 10.0.0.1
  drain: 10s
  peers:
    - {name: all, address: 172.31.2.1, as: 65000}
    - name: some
      address: 172.31.2.2
      as: internal
      announce:
        - {pools: [mail], local_preference: 200}
        - {pools: [web, mail], form: hosts, communities: ['65010:1']}
        - {prefixes: [branch], networks: [0.0.0.0/0]}
    - {name: rack, range: 172.31.0.0/16, as: external}
    - {name: cable, interface: eth1, as: external}
";

fn intent(text: &str) -> Intent {
    parse("gateway.yaml", text)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .intent
}

fn tables(intent: &Intent) -> Vec<Vec<String>> {
    let peers = &intent.bgp.as_ref().unwrap().peers;
    let names = |table: Table| table.keys().map(ToString::to_string).collect();
    peers.iter().map(|peer| names(told(intent, peer))).collect()
}

fn configured(routing: &mut Routing, now: Instant) -> Vec<bgp::Action> {
    let event = Event::Configure {
        intent: Box::new(intent(CONFIG)),
        router_id: None,
        is_restarting: false,
    };
    routing.handle(event, now)
}

#[test]
fn a_peer_is_told_the_fewest_prefixes_that_hold_the_addresses_and_no_others() {
    let tables = tables(&intent(CONFIG));

    let everything = [
        "192.0.2.8/30",
        "192.0.2.12/32",
        "192.0.2.25/32",
        "198.51.100.0/24",
        "2001:db8::8/127",
    ];
    assert_eq!(tables[0], everything);
    assert_eq!(tables[2], everything);
}

#[test]
fn the_first_announcement_of_a_prefix_decides_what_is_said_of_it() {
    let intent = intent(CONFIG);
    let table = told(&intent, &intent.bgp.as_ref().unwrap().peers[1]);
    let said = |prefix: &str| {
        let route = &table[&prefix.parse().unwrap()];
        (route.local_preference, route.communities.clone())
    };

    assert_eq!(table.len(), 10);
    assert_eq!(said("192.0.2.25/32"), (Some(200), vec![]));
    assert_eq!(said("192.0.2.9/32"), (None, vec![65010 << 16 | 1]));
    assert_eq!(said("0.0.0.0/0"), (None, vec![]));
}

#[test]
fn who_calls_is_known_by_address_then_by_interface_then_by_range() {
    let now = Instant::now();
    let mut routing = Routing::new(1);
    configured(&mut routing, now);
    let name = |address: &str, interface| {
        let id = routing.caller(address.parse().unwrap(), interface)?;
        Some(routing.peer(id)?.name.clone())
    };

    assert_eq!(name("172.31.2.2", None).as_deref(), Some("some"));
    assert_eq!(name("172.31.9.9", None).as_deref(), Some("rack"));
    assert_eq!(name("fe80::1", Some("eth1")).as_deref(), Some("cable"));
    assert_eq!(name("fe80::1", Some("eth0")), None);
    assert_eq!(name("203.0.113.1", Some("eth1")), None);
}

#[test]
fn a_peer_keeps_its_number_when_others_come_and_go() {
    let now = Instant::now();
    let mut routing = Routing::new(1);
    configured(&mut routing, now);
    let rack = routing.caller("172.31.9.9".parse().unwrap(), None);
    let without = CONFIG.replace("    - {name: all, address: 172.31.2.1, as: 65000}\n", "");
    let event = Event::Configure {
        intent: Box::new(intent(&without)),
        router_id: None,
        is_restarting: false,
    };
    routing.handle(event, now);

    assert_eq!(routing.caller("172.31.9.9".parse().unwrap(), None), rack);
    assert_eq!(routing.peers().count(), 3);
}

#[test]
fn those_who_can_be_called_are_called_at_once() {
    let now = Instant::now();
    let mut routing = Routing::new(1);
    configured(&mut routing, now);
    let actions = routing.handle(Event::Tick { packets: 0 }, now);

    let calls = actions.iter();
    let calls = calls.filter(|it| matches!(it, bgp::Action::Connect { .. }));
    assert_eq!(calls.count(), 3);
    let states: Vec<State> = routing.snapshot().iter().map(|it| it.state).collect();
    assert_eq!(states, [State::Connect; 3]);
}

#[test]
fn without_bgp_there_is_nobody_to_tell() {
    let now = Instant::now();
    let mut routing = Routing::new(1);
    configured(&mut routing, now);
    let (rest, _) = CONFIG.split_once("bgp:").unwrap();
    let event = Event::Configure {
        intent: Box::new(intent(rest)),
        router_id: None,
        is_restarting: false,
    };
    routing.handle(event, now);

    assert!(routing.snapshot().is_empty());
    assert_eq!(routing.deadline(), None);
}

#[test]
fn a_peer_behind_an_interface_is_watched_there_as_soon_as_somebody_is() {
    let text = CONFIG.replace(
        "interface: eth1, as: external",
        "interface: eth1, as: external, bfd: fast",
    );
    let intent = intent(&(text + "bfd: {profiles: [{name: fast}]}\n"));
    let mut neighbours = watched::Neighbours::new();
    assert_eq!(watched::watched(&intent, &neighbours), []);

    let address: std::net::Ipv6Addr = "fe80::1".parse().unwrap();
    neighbours.insert("eth2".to_owned(), address);
    assert_eq!(watched::watched(&intent, &neighbours), []);
    neighbours.insert("eth1".to_owned(), address);
    let ways = watched::watched(&intent, &neighbours);
    let ends = |it: &watched::Watched| (it.name.clone(), it.peer, it.interface.clone(), it.hops);
    assert_eq!(
        ways.iter().map(ends).collect::<Vec<_>>(),
        [(
            "cable".to_owned(),
            address.into(),
            Some("eth1".to_owned()),
            1
        )]
    );
}

#[test]
fn a_peer_has_its_keys_in_the_order_in_which_they_are_written() {
    let keys = ", tcp_ao: {keys: [
        {send_id: 1, receive_id: 2, algorithm: aes-128-cmac, secret_file: /k/one},
        {send_id: 3, receive_id: 0, algorithm: hmac-sha256, secret_file: /k/two}]}}";
    let text = CONFIG.replace(
        "172.31.2.1, as: 65000}",
        &format!("172.31.2.1, as: 65000{keys}"),
    );
    let intent = intent(&text);
    let peer = &intent.bgp.as_ref().unwrap().peers[0];
    let shown = |it: &crate::intent::routing::TcpAoKey| {
        (it.send_id, it.receive_id, it.secret.display().to_string())
    };
    assert_eq!(
        peer.keys.iter().map(shown).collect::<Vec<_>>(),
        [(1, 2, "/k/one".to_owned()), (3, 0, "/k/two".to_owned())]
    );
}

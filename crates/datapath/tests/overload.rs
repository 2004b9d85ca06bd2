//! Overloaded pools: a TCP port serves several flows, as long as their remotes differ (RFC 7857 §3).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use abi::{Ip4, Port, Protocol, Reason, Tuple, ports::PLANES};
use gateway::{
    Event,
    intent::{Intent, Pool},
};

use crate::rig::{
    Left, Site, Sketch,
    laws::{sound, whole},
    site::{INSIDE, OUTSIDE, TIMEOUTS, from_pool, intent, pool, rule, tuple},
    sketch::{ACK, SYN, read},
};

/// A pool of one address that gives out so many ports.
fn policy(ports: u16, overload: bool) -> Intent {
    let plain = pool("web", [1], (2000, 2000 + (ports - 1)));
    let web = match overload {
        true => Pool {
            behaviour: plain.behaviour.overloading(),
            ..plain
        },
        false => plain,
    };
    let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
    intent(vec![web], rules)
}

fn overloaded(ports: u16) -> Site {
    Site::new(policy(ports, true), 4096)
}

fn remote(number: u16) -> ([u8; 4], u16) {
    ([198, 51, 100, (number % 200) as u8], 443 + number / 200)
}

fn asked(client: u16, to: ([u8; 4], u16)) -> Tuple {
    let [high, low] = client.to_be_bytes();
    tuple(([10, 1, high, low], 4000), to)
}

fn dial(site: &Site, client: u16, to: ([u8; 4], u16)) -> Left {
    site.send(INSIDE, &Sketch::first(Protocol::Tcp, asked(client, to)))
}

/// What the remote sees of a flow that begins.
fn begun(site: &Site, client: u16, to: ([u8; 4], u16)) -> Option<Tuple> {
    let left = dial(site, client, to);
    left.is_translated()
        .then(|| read(&left.after.bytes).expect("such a packet").1)
}

fn configure(site: &mut Site, ports: u16, overload: bool) {
    site.handle(Event::Configure(Box::new(policy(ports, overload))));
}

#[test]
fn one_port_serves_a_flow_in_each_plane_and_each_answer_finds_its_client() {
    let site = overloaded(1);
    let flows: BTreeMap<Tuple, u16> = (0..1000)
        .filter_map(|number| Some((begun(&site, number, remote(number))?, number)))
        .collect();

    assert_eq!(flows.len(), PLANES);
    for (seen, client) in &flows {
        assert_eq!(seen.source_port, Port::new(2000));
        let answer = Sketch::answer(Protocol::Tcp, seen.reversed());
        let left = site.send(OUTSIDE, &answer);
        assert_eq!(left.reason, Reason::TranslatedIn);
        let (_, got) = read(&left.after.bytes).expect("such a packet");
        assert_eq!(got, asked(*client, remote(*client)).reversed());
    }
    assert!(
        site.memory.v4.mappings.is_empty(),
        "a port is nobody's alone"
    );
    sound(&site.memory);
}

#[test]
fn no_two_flows_to_one_remote_share_a_port() {
    let site = overloaded(64);
    let to = remote(7);
    let flows: Vec<_> = (0..100)
        .filter_map(|client| begun(&site, client, to))
        .collect();

    let ports: BTreeSet<_> = flows.iter().map(|seen| seen.source_port).collect();
    assert_eq!((flows.len(), ports.len()), (64, 64));
    assert_eq!(dial(&site, 100, to).reason, Reason::PortsExhausted);
}

#[test]
fn whoever_is_no_flows_remote_finds_nobody_behind_a_shared_port() {
    let site = overloaded(1);
    let seen = begun(&site, 1, remote(1)).expect("the port is free");
    let external = (seen.source.0, seen.source_port.get());
    let knock = |flags| {
        let sketch = Sketch::first(Protocol::Tcp, tuple(remote(2), external));
        site.send(OUTSIDE, &sketch.flags(flags)).reason
    };

    assert_eq!(knock(SYN), Reason::Unsolicited);
    assert_eq!(knock(ACK), Reason::ResetSent);
    // Nor does another client.
    assert_eq!(dial(&site, 2, external).reason, Reason::Unsolicited);
}

#[test]
fn other_protocols_are_as_in_any_pool() {
    let site = overloaded(64);
    let send = |to| {
        let sketch = Sketch::first(Protocol::Udp, asked(1, to));
        let left = site.send(INSIDE, &sketch);
        read(&left.after.bytes)
            .expect("such a packet")
            .1
            .source_port
    };

    assert_eq!(send(remote(1)), send(remote(2)));
}

#[test]
fn ports_of_all_planes_are_free_again_when_their_flows_have_ended() {
    let mut site = overloaded(2);
    let begin = |site: &Site| {
        (0..400)
            .filter(|it| begun(site, *it, remote(*it)).is_some())
            .count()
    };
    assert_eq!(begin(&site), 2 * PLANES);

    site.pass(TIMEOUTS.tcp_opening + Duration::from_secs(3));
    for _ in 0..3 {
        site.sweep();
        site.pass(Duration::from_secs(1));
    }

    assert!(site.memory.v4.flows.is_empty());
    assert_eq!(begin(&site), 2 * PLANES);
}

#[test]
fn a_daemons_successor_counts_the_ports_of_all_planes() {
    let site = overloaded(2);
    let flows = (0..400).filter(|it| begun(&site, *it, remote(*it)).is_some());
    assert_eq!(flows.count(), 2 * PLANES);

    let mut site = site.restarted();
    configure(&mut site, 2, true);
    for _ in 0..3 {
        site.sweep();
    }

    assert_eq!(dial(&site, 500, remote(500)).reason, Reason::PortsExhausted);
    assert_eq!(site.memory.v4.flows.len(), 4 * PLANES);
    sound(&site.memory);
}

/// A live pool changes: flows stay, no new one collides with an old one, and soon all ports are
/// counted where they now belong.
#[test]
fn overloading_comes_and_goes_under_flows_that_live() {
    for overload in [true, false] {
        let mut site = Site::new(policy(4, !overload), 64);
        let to = remote(1);
        let old: Vec<_> = (0..2)
            .filter_map(|client| begun(&site, client, to))
            .collect();

        configure(&mut site, 4, overload);
        let new: Vec<_> = (2..4)
            .filter_map(|client| begun(&site, client, to))
            .collect();
        whole(&site.memory);
        // Before the first sweep it may be that the port which was tried is in use. From then on
        // it is known.
        let sent_again: Vec<_> = (2..4)
            .filter_map(|client| begun(&site, client, to))
            .collect();
        assert_eq!(sent_again.len(), 2, "{:?}", dial(&site, 2, to));
        for _ in 0..3 {
            site.sweep_during(|_| {});
        }
        assert_eq!(begun(&site, 4, to), None, "four flows have four ports");

        let ports: BTreeSet<_> = old
            .iter()
            .chain(&sent_again)
            .map(|it| it.source_port)
            .collect();
        assert_eq!(ports.len(), 4);
        assert_eq!(new, sent_again, "no flow moved");
        assert!(old.iter().all(|seen| seen.source == Ip4([192, 0, 2, 1])));
    }
}

/// One pool is overloaded in another's stead, and there is no moment at which nobody has the planes.
#[test]
fn flows_keep_their_ports_when_another_address_gets_the_planes_that_theirs_gives_up() {
    let policy = |overloaded: usize| {
        let mut pools = vec![pool("a", [1], (2000, 2001)), pool("b", [2], (2000, 2001))];
        pools[overloaded].behaviour = pools[overloaded].behaviour.overloading();
        let rules = vec![
            rule("10.1.0.0/16", "0.0.0.0/0", from_pool("a")),
            rule("10.2.0.0/16", "0.0.0.0/0", from_pool("b")),
        ];
        intent(pools, rules)
    };
    let mut site = Site::new(policy(1), 64);
    let dial = |site: &Site, client, to| {
        let asked = tuple(([10, 2, 0, client], 4000), to);
        site.send(INSIDE, &Sketch::first(Protocol::Tcp, asked))
    };
    for client in 1..=2 {
        let left = dial(&site, client, remote(1));
        assert_eq!(left.reason, Reason::TranslatedOut);
    }

    site.handle(Event::Configure(Box::new(policy(0))));

    let third = dial(&site, 3, remote(2));
    assert_eq!(third.reason, Reason::PortsExhausted, "two flows have both");
    whole(&site.memory);
}

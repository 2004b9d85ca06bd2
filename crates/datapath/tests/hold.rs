//! Hold-down: a freed port goes behind all others for a while (RFC 6888 REQ-8).

use std::{collections::BTreeSet, time::Duration};

use abi::{Port, Protocol, Reason};
use gateway::{
    Event,
    intent::{HoldDown, Intent, Pool},
};

use crate::rig::{
    Site, Sketch,
    site::{INSIDE, TIMEOUTS, from_pool, intent, pool, rule, tuple},
    sketch::read,
};

/// Twenty ports.
fn holding(seconds: u64, ports: u32) -> Intent {
    let web = Pool {
        hold: HoldDown {
            time: Duration::from_secs(seconds),
            ports,
        },
        ..pool("web", [1], (2000, 2019))
    };
    let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
    intent(vec![web], rules)
}

/// The port that a client gets.
fn dial(site: &Site, client: u8) -> Option<Port> {
    let asked = tuple(([10, 1, 0, client], 4000), ([198, 51, 100, 1], 443));
    let left = site.send(INSIDE, &Sketch::first(Protocol::Udp, asked));
    match left.is_translated() {
        true => Some(
            read(&left.after.bytes)
                .expect("such a packet")
                .1
                .source_port,
        ),
        false => {
            assert_eq!(left.reason, Reason::PortsExhausted);
            None
        }
    }
}

/// Ten clients come and go, and their ports are free again.
fn ten_come_and_go(site: &mut Site) -> BTreeSet<Port> {
    let ports = (0..10).filter_map(|client| dial(site, client)).collect();
    site.pass(TIMEOUTS.udp + Duration::from_secs(3));
    for _ in 0..3 {
        site.sweep();
        site.pass(Duration::from_secs(1));
    }
    assert!(site.memory.v4.mappings.is_empty());
    ports
}

/// How many of ten new clients get a port that one of those had.
fn shared(site: &Site, before: &BTreeSet<Port>) -> usize {
    let ports = (100..110).filter_map(|client| dial(site, client));
    ports.filter(|port| before.contains(port)).count()
}

#[test]
fn a_freed_port_is_given_to_nobody_while_there_are_others_and_then_to_whoever_comes() {
    let mut site = Site::new(holding(120, 65_536), 64);
    let before = ten_come_and_go(&mut site);
    assert_eq!(before.len(), 10);

    assert_eq!(shared(&site, &before), 0);
    let busy: BTreeSet<_> = (110..120)
        .filter_map(|client| dial(&site, client))
        .collect();
    assert_eq!(busy, before, "a busy pool gives out what it has");
    assert_eq!(dial(&site, 200), None);
}

#[test]
fn a_port_is_as_good_as_others_when_it_was_held_long_enough() {
    for (pause, is_free) in [(100, false), (250, true)] {
        let mut site = Site::new(holding(120, 65_536), 64);
        let before = ten_come_and_go(&mut site);
        for _ in 0..pause {
            site.sweep();
            site.pass(Duration::from_secs(1));
        }
        assert_eq!(shared(&site, &before) > 0, is_free);
    }
}

#[test]
fn a_pool_may_hold_none_or_only_so_many() {
    let mut none = Site::new(holding(0, 65_536), 64);
    let before = ten_come_and_go(&mut none);
    assert!(shared(&none, &before) > 0);

    let mut four = Site::new(holding(120, 4), 64);
    let before = ten_come_and_go(&mut four);
    let held: u32 = {
        let index = four
            .gateway
            .numbers()
            .externals
            .values()
            .next()
            .expect("one")
            .index;
        let words = four.memory.bitmap(abi::ports::bitmap(index, Protocol::Udp));
        words.iter().map(|word| word.held.get().count_ones()).sum()
    };
    assert_eq!(held, 4);
    assert!(shared(&four, &before) <= 6);
}

#[test]
fn ports_are_still_held_when_the_daemon_is_another() {
    let mut site = Site::new(holding(120, 65_536), 64);
    let before = ten_come_and_go(&mut site);

    let mut site = site.restarted();
    site.handle(Event::Configure(Box::new(holding(120, 65_536))));
    site.sweep();

    assert_eq!(shared(&site, &before), 0);
}

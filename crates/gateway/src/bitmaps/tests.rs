//! Bitmaps that are made ready, and ports that come to stand in others.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use abi::{Behaviour, ExternalState, Port, ports::place};

use super::*;

/// All ports.
const ALL: Ranks = [u64::MAX; CLASS_WORDS];

/// Bitmaps by number, in plain memory.
#[derive(Default)]
struct Rig(RefCell<HashMap<u32, Rc<[PortWord; WORDS]>>>);

impl Rig {
    fn words(&self, bitmap: u32) -> Rc<[PortWord; WORDS]> {
        let word = |_| PortWord {
            taken: Shared::from(0),
            held: Shared::from(0),
        };
        let mut bitmaps = self.0.borrow_mut();
        let new = || Rc::new(std::array::from_fn(word));
        bitmaps.entry(bitmap).or_insert_with(new).clone()
    }

    fn prepare(&self, external: &External, before: Option<&External>) {
        prepare(external, before, |bitmap| self.words(bitmap));
    }

    fn is_taken(&self, bitmap: u32, port: u16) -> bool {
        let (word, bit) = place(Port::new(port));
        self.words(bitmap)[word].taken.get() & 1 << bit != 0
    }

    fn take(&self, bitmap: u32, port: u16) {
        let (word, bit) = place(Port::new(port));
        self.words(bitmap)[word].taken.fetch_or(1 << bit);
    }
}

fn external(index: u16, ports: (u16, u16)) -> External {
    let ports = (Port::new(ports.0), Port::new(ports.1));
    External::new(
        (index, 0),
        ExternalState::Serving,
        ports,
        Behaviour::STRICTEST,
    )
}

#[test]
fn exactly_the_ports_outside_the_range_are_reserved() {
    for ports in [
        (1024, 65_535),
        (1, 1),
        (300, 300),
        (2000, 2019),
        (255, 256),
        (1, 65_535),
    ] {
        let external = external(0, ports);
        let reserved = reserved(&external, Protocol::Udp);
        for port in (0..=u16::MAX).map(Port::new) {
            let (word, bit) = place(port);
            let is_reserved = reserved[word] & 1 << bit != 0;
            assert_eq!(is_reserved, !external.owns(port), "{port:?} of {ports:?}");
        }
    }
}

#[test]
fn nothing_stays_of_the_address_that_had_the_bitmaps_before() {
    let rig = Rig::default();
    let (first, second) = (external(3, (5000, 5999)), external(3, (1024, 65_535)));
    rig.prepare(&first, None);
    let bitmap = abi::ports::bitmap(3, Protocol::Udp);
    rig.take(bitmap, 5001);
    rig.words(bitmap)[7].held.set(1);

    rig.prepare(&first, Some(&first));
    assert!(rig.is_taken(bitmap, 5001) && rig.words(bitmap)[7].held.get() == 1);

    rig.prepare(&second, None);
    assert!(!rig.is_taken(bitmap, 5001) && rig.words(bitmap)[7].held.get() == 0);
    assert!(!rig.is_taken(bitmap, 4000) && rig.is_taken(bitmap, 1000));
}

#[test]
fn ports_in_use_stay_taken_when_overload_comes_and_when_it_goes() {
    let rig = Rig::default();
    let plain = external(3, (1024, 65_535));
    let overloaded = plain.with_planes(2);
    rig.prepare(&plain, None);
    rig.take(abi::ports::bitmap(3, Protocol::Tcp), 4001);

    rig.prepare(&overloaded, Some(&plain));
    for plane in overloaded.bitmaps_of(Protocol::Tcp) {
        assert!(rig.is_taken(plane, 4001) && rig.is_taken(plane, 1000));
        assert!(!rig.is_taken(plane, 4002));
    }
    rig.take(abi::ports::plane_bitmap(2, 5), 4002);

    rig.prepare(&plain, Some(&overloaded));
    assert!(rig.is_taken(abi::ports::bitmap(3, Protocol::Tcp), 4002));
    assert!(!rig.is_taken(abi::ports::bitmap(3, Protocol::Udp), 4002));
}

#[test]
fn a_port_is_taken_only_if_nobody_has_it_and_it_is_not_held_back() {
    let rig = Rig::default();
    let bitmap = [abi::ports::bitmap(3, Protocol::Udp)];
    let free = |port| take_if_free(&bitmap, Port::new(port), |it| rig.words(it));

    assert!(free(4001) && !free(4001));
    let (word, bit) = place(Port::new(4003));
    rig.words(bitmap[0])[word].held.set(1 << bit);
    assert!(!free(4003) && !rig.is_taken(bitmap[0], 4003));
}

#[test]
fn any_port_is_one_of_the_wanted_parity_as_long_as_there_is_one_and_then_another() {
    let rig = Rig::default();
    let bitmap = [abi::ports::bitmap(3, Protocol::Udp)];
    rig.prepare(&external(3, (3000, 3005)), None);
    let parity = Some(Port::new(7));
    let taken = std::iter::from_fn(|| take_any(&bitmap, 99, (parity, &ALL), |it| rig.words(it)));

    let mut ports: Vec<u16> = taken.map(Port::get).collect();

    assert!(ports[..3].iter().all(|port| port % 2 == 1), "{ports:?}");
    ports.sort_unstable();
    assert_eq!(ports, [3000, 3001, 3002, 3003, 3004, 3005]);
}

#[test]
fn any_port_is_one_that_is_held_back_only_if_there_are_no_others() {
    let rig = Rig::default();
    let bitmap = [abi::ports::bitmap(3, Protocol::Udp)];
    rig.prepare(&external(3, (3000, 3003)), None);
    for port in [3000, 3002, 3003] {
        let (word, bit) = place(Port::new(port));
        rig.words(bitmap[0])[word].held.fetch_or(1 << bit);
    }

    let first = take_any(&bitmap, 5, (Some(Port::new(2)), &ALL), |it| rig.words(it));

    assert_eq!(first.map(Port::get), Some(3001));
    assert!(take_any(&bitmap, 5, (None, &ALL), |it| rig.words(it)).is_some());
}

/// In one plane a port is a flow's, so it cannot be the mapping's that serves all remotes.
#[test]
fn a_port_of_an_overloaded_address_is_taken_in_all_planes_or_in_none() {
    let rig = Rig::default();
    let overloaded = external(3, (3000, 3001)).with_planes(2);
    rig.prepare(&overloaded, None);
    let planes: Vec<u32> = overloaded.bitmaps_of(Protocol::Tcp).collect();
    let last = planes[planes.len() - 1];
    rig.take(last, 3000);

    let port = Port::new(3000);
    assert!(!take_if_free(&planes, port, |it| rig.words(it)));
    let only = |plane: &u32| rig.is_taken(*plane, 3000) == (*plane == last);
    assert!(planes.iter().all(only));
    let other = take_any(&planes, 0, (None, &ALL), |it| rig.words(it));
    assert_eq!(other.map(Port::get), Some(3001));
    assert!(planes.iter().all(|plane| rig.is_taken(*plane, 3001)));
    assert_eq!(take_any(&planes, 0, (None, &ALL), |it| rig.words(it)), None);
}

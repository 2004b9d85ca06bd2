//! Bitmaps that are made ready, and ports that come to stand in others.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use abi::{Behaviour, ExternalState, Port, ports::place};

use super::*;

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

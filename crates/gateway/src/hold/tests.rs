//! For how long ports are held, and how many.

use std::time::Duration;

use abi::{
    Port, Shared,
    ports::{place, port},
};

use super::*;

const SECOND: u64 = 1_000_000_000;
const BITMAP: u32 = 5;

/// One bitmap, and what is remembered of it.
struct Rig {
    words: Box<[PortWord; WORDS]>,
    held: Held,
    hold: HoldDown,
}

impl Rig {
    fn new(seconds: u64, ports: u32) -> Self {
        let word = |_| PortWord {
            taken: Shared::from(0),
            held: Shared::from(0),
        };
        Self {
            words: Box::new(std::array::from_fn(word)),
            held: Held::default(),
            hold: HoldDown {
                time: Duration::from_secs(seconds),
                ports,
            },
        }
    }

    /// Frees these ports at this second, and returns which are held then.
    fn at(&mut self, second: u64, freed: &[u16]) -> Vec<u16> {
        let freed: Vec<_> = freed
            .iter()
            .map(|freed| {
                let (word, bit) = place(Port::new(*freed));
                let correction = Correction {
                    set: 0,
                    clear: 1 << bit,
                };
                (word, correction)
            })
            .collect();
        let now = second * SECOND;
        let judged = self
            .held
            .judge(BITMAP, (self.hold, now), &self.words, &freed);
        for (word, correction) in judged {
            self.words[word].held.fetch_or(correction.set);
            self.words[word].held.fetch_and(!correction.clear);
        }
        for (word, correction) in freed {
            self.words[word].taken.fetch_and(!correction.clear);
        }
        let words = (0..WORDS).map(|word| (word, self.words[word].held.get()));
        let bits = words
            .filter(|(_, held)| *held != 0)
            .flat_map(|(word, held)| (0..64).map(move |bit| (word, bit, held & 1 << bit)));
        let held = bits.filter(|(_, _, held)| *held != 0);
        let mut held: Vec<_> = held.map(|(word, bit, _)| port(word, bit).get()).collect();
        held.sort_unstable();
        held
    }
}

#[test]
fn a_freed_port_is_held_for_the_time_at_least_and_for_twice_that_at_most() {
    for freed_at in (1000..1130).step_by(3) {
        let mut rig = Rig::new(120, 65_536);
        rig.at(1000, &[1]);
        let released = (1000..).find(|second| {
            let freed: &[u16] = if *second == freed_at { &[4000] } else { &[] };
            !rig.at(*second, freed).contains(&4000) && *second >= freed_at
        });
        let after = released.expect("it is released") - freed_at;
        assert!((120..=240).contains(&after), "{after} s");
    }
}

#[test]
fn a_port_that_is_freed_again_is_held_for_as_long_again() {
    let mut rig = Rig::new(100, 65_536);
    rig.at(0, &[4000]);
    rig.at(100, &[]);

    rig.at(199, &[4000]);

    assert_eq!(rig.at(250, &[]), [4000]);
    assert_eq!(rig.at(299, &[]), [4000]);
    assert!(rig.at(400, &[]).is_empty());
}

#[test]
fn the_oldest_make_room_and_what_finds_none_is_not_held() {
    let mut rig = Rig::new(100, 3);
    assert_eq!(rig.at(0, &[1, 2]), [1, 2]);
    assert_eq!(rig.at(100, &[3]), [1, 2, 3]);
    assert_eq!(rig.at(101, &[4]), [3, 4]);
    assert_eq!(rig.at(102, &[5, 6, 7]).len(), 3);

    rig.hold.ports = 1;
    assert!(rig.at(103, &[8]).len() <= 1);
}

/// So that one that is not held is found at once, however full the address is.
#[test]
fn a_quarter_of_the_free_ports_is_not_held() {
    let mut rig = Rig::new(100, 65_536);
    rig.words.iter().for_each(|word| word.taken.set(u64::MAX));
    let freed: Vec<u16> = (1..=400).collect();

    assert_eq!(rig.at(0, &freed).len(), 300);
    let more: Vec<u16> = (401..=404).collect();
    assert_eq!(rig.at(1, &more).len(), 303);
}

#[test]
fn a_held_port_that_is_in_use_again_takes_no_room() {
    let mut rig = Rig::new(100, 2);
    rig.at(0, &[1, 2]);
    let (word, bit) = place(Port::new(1));
    rig.words[word].taken.fetch_or(1 << bit);

    assert_eq!(rig.at(1, &[3]), [2, 3]);
}

#[test]
fn without_hold_down_nothing_is_held_and_what_was_is_released() {
    let mut rig = Rig::new(0, 65_536);
    rig.words[7].held.set(u64::MAX);

    assert!(rig.at(0, &[1]).is_empty());

    let mut none = Rig::new(120, 0);
    assert!(none.at(0, &[1]).is_empty());
}

/// The tables outlive the daemon, what it remembers does not.
#[test]
fn a_new_daemon_releases_what_its_predecessor_held() {
    let mut rig = Rig::new(100, 65_536);
    rig.at(0, &[1]);
    rig.at(100, &[2]);
    rig.held = Held::default();

    assert_eq!(rig.at(101, &[]), [1, 2]);
    assert_eq!(rig.at(201, &[]), [1, 2]);
    assert!(rig.at(301, &[]).is_empty());
    assert!(rig.held.0.is_empty(), "nothing is remembered of it");
}

//! Every port can be had, none twice.

use abi::{
    Ip4, Port, Protocol,
    cluster::{self, Giver, start},
    limits::ADDRESSES_MAX,
    ports::bitmap,
};
use proptest::prelude::*;

use super::*;
use crate::native::Memory;

/// All ports.
const ALL: Ranks = [u64::MAX; CLASS_WORDS];

/// A place to begin at that is even or odd as this port is.
const fn like(start: u64, port: Port) -> u64 {
    start & !1 | (port.get() & 1) as u64
}

#[test]
fn every_class_is_looked_at_once_and_the_own_parity_first() {
    for class in [0, 1, 7, 254, 255] {
        let order: Vec<_> = (0..CLASSES).map(|round| class_at(class, round)).collect();

        let mut unique = order.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), CLASSES);
        let (same, _) = order.split_at(CLASSES / 2);
        assert!(same.iter().all(|it| it % 2 == class % 2));
        assert_eq!(order[0], class);
    }
}

/// All 65,536 minus the 1,024 that the kernel keeps, each from wherever its client's hash points.
#[test]
fn every_port_of_an_address_can_be_claimed_and_the_one_that_is_freed_again() {
    let memory = Memory::new(1);
    let bitmap = bitmap(ADDRESSES_MAX as u16 - 1, Protocol::Tcp);
    for kept in 0..1024 {
        let (word, bit) = place(Port::new(kept));
        memory.bitmap(bitmap)[word].taken.fetch_or(1 << bit);
    }
    let claim = |client: u16| {
        let internal = Port::new(client);
        let address = Ip4([10, 0, 0, (client % 200) as u8]);
        let start = start(7, (address, internal), Protocol::Tcp, true);
        found(claim(&memory, bitmap, start, (&ALL, 0)))
    };

    let mut seen = vec![false; 65_536];
    for client in 0..64_512u32 {
        let port = claim(client as u16).expect("one is free").get();
        assert!(port >= 1024 && !seen[usize::from(port)], "{port}");
        seen[usize::from(port)] = true;
    }
    assert_eq!(claim(4000), None);

    for freed in [1024, 31_337, 65_535] {
        release(&memory, bitmap, Port::new(freed));
        assert_eq!(claim(4000), Some(Port::new(freed)));
        assert_eq!(claim(4000), None);
    }
}

/// What is held back is given out when there is nothing else, of whatever parity, and not before.
#[test]
fn a_port_that_is_held_goes_behind_all_that_are_not() {
    let memory = Memory::new(1);
    let words = memory.bitmap(0);
    words.iter().for_each(|word| word.taken.set(u64::MAX));
    let [held, other, odd] = [2000, 3000, 4001].map(Port::new);
    for port in [held, other, odd] {
        release(&memory, 0, port);
    }
    for port in [held, other] {
        let (word, bit) = place(port);
        words[word].held.fetch_or(1 << bit);
    }
    let claim = |hash| found(claim(&memory, 0, like(hash, Port::new(8000)), (&ALL, 0)));

    assert_eq!(claim(1), Some(odd));
    let rest = [claim(2), claim(3)];
    assert!(rest == [Some(held), Some(other)] || rest == [Some(other), Some(held)]);
    assert_eq!(claim(4), None);
}

/// A client's packets come to who serves its bucket, and those to its port to who serves that one's.
#[test]
fn a_port_of_another_bucket_is_one_that_the_same_member_would_serve_next_as_long_as_there_is_any() {
    let memory = Memory::new(1);
    // Of every fourth class others give the ports.
    let giver = |class: usize| match class % 4 {
        3 => Giver { rank: 1, next: 5 },
        other => Giver {
            rank: 0,
            next: 5 + other as u8 / 2,
        },
    };
    for (class, word) in memory.buckets.givers.iter().enumerate() {
        word.set(giver(class).word());
    }
    let home = 8;
    let claim = |number: u64| {
        let start = number << 8 | home as u64;
        found(claim(&memory, 0, start, (&ALL, giver(home).word())))
    };
    let given: Vec<_> = (0..u64::from(u16::MAX)).map_while(claim).collect();
    let givers: Vec<_> = given
        .iter()
        .map(|it| giver(usize::from(cluster::bucket_of(*it))))
        .collect();
    let (first, rest) = givers.split_at(128 * 256);
    assert!(first.iter().all(|it| *it == giver(home)));
    assert_eq!(
        rest.len(),
        64 * 256,
        "and none is refused while there is one"
    );
    assert!(rest.iter().all(|it| *it == Giver { rank: 0, next: 6 }));
}

/// Of a block that lies in one word and of what lies around it: none beside, and every one.
#[test]
fn only_wanted_ports_are_claimed_and_all_of_them() {
    let block = [0, 0b1111 << 20, 0, 0];
    for (wanted, count) in [(block, 1024), (block.map(|ranks| !ranks), 64_512)] {
        let memory = Memory::new(1);
        let next = |turn| found(claim(&memory, 0, turn, (&wanted, 0)));
        let mut turns = (0..).map(|turn: u64| turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));

        for _ in 0..count {
            let port = turns.next().and_then(next).expect("one is free");
            assert!(abi::blocks::has(&wanted, port), "{}", port.get());
        }

        assert_eq!(turns.next().and_then(next), None);
    }
}

#[test]
fn without_parity_all_ports_are_alike() {
    let odd = (0..100).filter(|client| {
        let start = start(
            7,
            (Ip4([10, 0, 0, 1]), Port::new(2 * client)),
            Protocol::Udp,
            false,
        );
        let port = found(claim(&Memory::new(1), 0, start, (&ALL, 0))).expect("all are free");
        port.get() % 2 == 1
    });
    assert!((25..75).contains(&odd.count()));
}

proptest! {
    /// Whatever is taken already: a free port of the internal one's parity if there is one.
    #[test]
    fn a_claimed_port_was_free_and_has_the_parity_if_one_was_left(
        taken in prop::collection::vec((0..WORDS, any::<u64>()), 0..20),
        is_full in prop::collection::vec(any::<bool>(), 2..=2),
        hash: u64,
        internal: u16,
    ) {
        let memory = Memory::new(1);
        let words = memory.bitmap(0);
        for class in 0..CLASSES {
            let all = if is_full[class % 2] { u64::MAX } else { 0 };
            (0..CLASS_WORDS).for_each(|word| words[class * CLASS_WORDS + word].taken.set(all));
        }
        for (word, bits) in taken {
            words[word].taken.set(bits);
        }
        let free = |port: u16| {
            let (word, bit) = place(Port::new(port));
            words[word].taken.get() & 1 << bit == 0
        };
        let before: Vec<u16> = (0..=u16::MAX).filter(|port| free(*port)).collect();

        match found(claim(&memory, 0, like(hash, Port::new(internal)), (&ALL, 0))) {
            None => prop_assert!(before.is_empty()),
            Some(port) => {
                prop_assert!(before.contains(&port.get()) && !free(port.get()));
                let left = (0..=u16::MAX).filter(|port| free(*port)).count();
                prop_assert_eq!(left, before.len() - 1);
                if before.iter().any(|port| port % 2 == internal % 2) {
                    prop_assert_eq!(port.get() % 2, internal % 2);
                }
            }
        }
    }
}

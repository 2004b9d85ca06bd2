//! Spreads a pool's addresses over its slots.
//!
//! By Maglev's method (Eisenbud et al., NSDI 2016, §3.4): each address takes slots in turn, in an
//! order of its own. So shares differ by one slot at most, few clients move when an address comes or
//! goes, and every gateway that has the same addresses comes to the same result without a word.

use std::collections::BTreeMap;

use abi::{Address, Slot, limits::SLOTS};

/// Fills all slots with addresses, each as its filled slot shows it; none if there are none.
pub fn spread<A: Address>(addresses: &[Slot<A>]) -> Box<[Slot<A>; SLOTS]> {
    let mut slots = Box::new([Slot::default(); SLOTS]);
    if addresses.is_empty() {
        return slots;
    }
    let mut orders: Vec<_> = addresses
        .iter()
        .map(|slot| Order::of(slot.address))
        .collect();
    let mut taken = 0;
    for turn in (0..addresses.len()).cycle() {
        let (Some(order), Some(address)) = (orders.get_mut(turn), addresses.get(turn)) else {
            break;
        };
        let free = order.find(|slot| slots.get(*slot).is_some_and(|slot| slot.filled == 0));
        if let Some(slot) = free.and_then(|slot| slots.get_mut(slot)) {
            *slot = *address;
            taken += 1;
        }
        if taken == SLOTS {
            break;
        }
    }
    link(addresses, &mut slots);
    slots
}

/// Has every slot name one of the address after its own, the first after the last.
fn link<A: Address>(addresses: &[Slot<A>], slots: &mut [Slot<A>; SLOTS]) {
    let mut first_of = BTreeMap::new();
    for (at, slot) in (0..).zip(slots.iter()) {
        first_of.entry(slot.address).or_insert(at);
    }
    let behind = addresses.iter().skip(1).chain(addresses.first());
    let next_of: BTreeMap<A, u16> = addresses
        .iter()
        .zip(behind)
        .filter_map(|(one, next)| Some((one.address, *first_of.get(&next.address)?)))
        .collect();
    for slot in slots {
        slot.next = next_of.get(&slot.address).copied().unwrap_or(0);
    }
}

/// Fills all slots with addresses in their order, over and over: those whose clients have numbers find
/// theirs by these, and all others by their hash.
pub fn in_turn<A: Address>(addresses: &[Slot<A>]) -> Box<[Slot<A>; SLOTS]> {
    let mut slots = Box::new([Slot::default(); SLOTS]);
    for (slot, address) in slots.iter_mut().zip(addresses.iter().cycle()) {
        *slot = *address;
    }
    link(addresses, &mut slots);
    slots
}

/// The order in which an address prefers slots: every slot once.
struct Order {
    next: usize,
    skip: usize,
    left: usize,
}

impl Order {
    fn of(address: impl Address) -> Self {
        let (high, low) = address.words();
        let hash = mix(high ^ low.wrapping_mul(STEP));
        // An odd step visits every slot, because their number is a power of two.
        Self {
            next: hash as usize % SLOTS,
            skip: (hash >> 32) as usize | 1,
            left: SLOTS,
        }
    }
}

impl Iterator for Order {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let slot = self.next;
        self.next = (slot + self.skip) % SLOTS;
        Some(slot)
    }
}

/// Odd, so that multiples of different numbers differ.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads close numbers far apart (the finalizer of SplitMix64). Part of what gateways of one
/// cluster agree on: never change it.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(STEP);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use abi::{Ip4, Ip6};

    use super::*;

    fn slots<A: Address>(count: u8, address: impl Fn(u8) -> A) -> Vec<Slot<A>> {
        let slot = |n| Slot::new(address(n), u16::from(n), 0);
        (0..count).map(slot).collect()
    }

    fn addresses(count: u8) -> Vec<Slot> {
        slots(count, |n| Ip4([192, 0, 2, n]))
    }

    fn addresses6(count: u8) -> Vec<Slot<Ip6>> {
        slots(count, |n| {
            Ip6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n])
        })
    }

    fn shares<A: Address>(slots: &[Slot<A>; SLOTS]) -> BTreeMap<A, usize> {
        let mut shares = BTreeMap::new();
        for slot in slots {
            assert_eq!(slot.filled, 1);
            *shares.entry(slot.address).or_insert(0) += 1;
        }
        shares
    }

    #[test]
    fn every_address_has_its_share_and_shares_differ_by_one_at_most() {
        for count in [1, 2, 3, 4, 7, 64, 255] {
            are_even(&spread(&addresses(count)), count);
            are_even(&spread(&addresses6(count)), count);
        }
    }

    fn are_even<A: Address>(slots: &[Slot<A>; SLOTS], count: u8) {
        let shares = shares(slots);
        assert_eq!(shares.len(), usize::from(count));
        let (least, most) = (shares.values().min(), shares.values().max());
        assert!(
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 1),
            "{shares:?}"
        );
    }

    #[test]
    fn from_any_slot_every_address_is_come_to_once_before_the_first_comes_again() {
        for count in [1_u8, 2, 3, 7, 255] {
            let slots = spread(&addresses(count));
            for first in slots.iter() {
                let mut seen = BTreeSet::new();
                let mut at = *first;
                while seen.insert(at.address) {
                    at = slots[usize::from(at.next)];
                }
                assert_eq!(seen.len(), usize::from(count));
                assert_eq!(at.address, first.address);
            }
        }
    }

    #[test]
    fn an_empty_pool_has_no_filled_slot() {
        assert!(spread::<Ip4>(&[]).iter().all(|slot| slot.filled == 0));
    }

    #[test]
    fn few_clients_move_when_an_address_comes() {
        let (before, after) = (spread(&addresses(8)), spread(&addresses(9)));

        let moved = before
            .iter()
            .zip(after.iter())
            .filter(|(a, b)| a.address != b.address)
            .count();

        assert!(moved < SLOTS / 4, "{moved} of {SLOTS} slots moved");
    }
}

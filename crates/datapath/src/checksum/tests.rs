//! Law: patching a checksum equals computing it afresh.

use proptest::prelude::*;

use super::*;

fn fresh(words: &[[u8; 2]]) -> [u8; 2] {
    let mut sum: u64 = words
        .iter()
        .map(|word| u64::from(u16::from_be_bytes(*word)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// One's complement has two zeros; a receiver takes either.
fn same(a: [u8; 2], b: [u8; 2]) -> bool {
    let one_zero = |check| if check == [0xff, 0xff] { [0, 0] } else { check };
    one_zero(a) == one_zero(b)
}

/// Words, zeros of both kinds often among them.
fn word() -> impl Strategy<Value = [u8; 2]> {
    prop_oneof![
        Just([0, 0]),
        Just([0xff, 0xff]),
        Just([0, 1]),
        any::<[u8; 2]>()
    ]
}

proptest! {
    #[test]
    fn a_patched_checksum_equals_a_fresh_one(
        mut words in prop::collection::vec(word(), 6..20),
        new in prop::collection::vec(word(), 6..=6),
    ) {
        let before = fresh(&words);
        let old = words.clone();
        words[..6].copy_from_slice(&new);
        let four = |words: &[[u8; 2]]| [words[0][0], words[0][1], words[1][0], words[1][1]];

        let difference = Sum::ZERO
            .swap(abi::Ip4(four(&old)), abi::Ip4(four(&new)))
            .swap(abi::Ip4(four(&old[2..])), abi::Ip4(four(&new[2..])))
            .swap2(old[4], new[4])
            .swap2(old[5], new[5])
            .fold();

        let patched = patch(before, difference);
        prop_assert!(same(patched, fresh(&words)), "{:?} {:?}", patched, fresh(&words));
    }

    #[test]
    fn a_sum_of_words_is_their_checksum(words in prop::collection::vec(word(), 0..30)) {
        let sum = words.iter().fold(Sum::ZERO, |sum, word| sum.add2(*word));
        prop_assert_eq!(sum.checksum(), fresh(&words));
    }

    #[test]
    fn the_decrement_of_the_ttl_is_what_it_says(ttl in 1..=255u8, protocol: u8, rest in word()) {
        let (before, after) = (fresh(&[[ttl, protocol], rest]), fresh(&[[ttl - 1, protocol], rest]));
        let difference = Sum::ZERO.add2(TTL_DECREMENT).fold();
        prop_assert!(same(patch(before, difference), after));
    }
}

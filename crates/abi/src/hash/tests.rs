//! The hash beside the standard library's, which is the same function under the key zero.

use std::hash::{DefaultHasher, Hasher};

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn it_is_siphash_1_3(a: u64, b: u64) {
        let mut standard = DefaultHasher::new();
        standard.write(&[a.to_le_bytes(), b.to_le_bytes()].concat());
        prop_assert_eq!(hash(0, a, b), standard.finish());
    }

    #[test]
    fn another_key_is_another_function(key: u64, other: u64, a: u64, b: u64) {
        prop_assume!(key != other);
        prop_assert_ne!(hash(key, a, b), hash(other, a, b));
    }
}

//! Any bytes, read in every way.

use bgp::{
    Notification,
    attributes::Sender,
    message::{
        self, EXTENDED_MAX, HEADER, LENGTH_MAX, open::Open, refresh::Refresh, update::Update,
    },
};

/// Reads bytes as far as they can be read, in every way.
pub fn read(bytes: &[u8]) {
    for length_max in [LENGTH_MAX, EXTENDED_MAX] {
        let Ok(Some(first)) = message::first(bytes, length_max) else {
            continue;
        };
        assert!((HEADER..=length_max).contains(&first.length));
        assert_eq!(first.body.len() + HEADER, first.length);
    }
    for body in [bytes, bytes.get(HEADER..).unwrap_or_default()] {
        let _ = Open::read(body);
        let _ = Notification::read(body).to_string();
        let _ = Refresh::read(body);
        for bits in 0..8 {
            let sender = Sender {
                is_four_octet: bits & 1 != 0,
                is_internal: bits & 2 != 0,
                has_extended_next_hop: bits & 4 != 0,
            };
            if let Ok(update) = Update::read(body, sender) {
                assert!(update.fault.is_none() || update.announced.is_empty());
            }
        }
    }
}

//! Proof of whose a packet is: keyed SHA1 and meticulous keyed SHA1 (RFC 5880 §4.4, §6.7.4).

use std::fmt;

use sha1::{Digest as _, Sha1};

use crate::packet::HEADER;

/// Bytes of the section behind a packet.
const SECTION: usize = 28;
const KEYED_SHA1: u8 = 4;
const METICULOUS_SHA1: u8 = 5;
/// Bytes of a SHA1, and of a secret at most.
const HASH: usize = 20;

/// Which digest, and whether every packet has a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Keyed SHA1: a number may be used for several packets.
    Sha1,
    /// Meticulous keyed SHA1: nobody can send a packet again.
    MeticulousSha1,
}

/// A secret of 1 to 20 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; HASH]);

/// Why bytes are no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret has 1 to {HASH} bytes, and this has {0}")]
pub struct SecretError(usize);

impl Secret {
    /// A secret; what is short is filled up with zeros.
    ///
    /// # Errors
    ///
    /// If it is empty or too long.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        let mut filled = [0; HASH];
        match filled.get_mut(..bytes.len()) {
            Some(place) if !bytes.is_empty() => place.copy_from_slice(bytes),
            Some(_) | None => return Err(SecretError(bytes.len())),
        }
        Ok(Self(filled))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How packets prove whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// How.
    pub digest: Digest,
    /// The number of the secret.
    pub key: u8,
    /// The secret.
    pub secret: Secret,
}

/// What is known of the other side's numbers (`bfd.RcvAuthSeq`, `bfd.AuthSeqKnown`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard(Option<u32>);

impl Heard {
    /// Nothing is known any more: nothing came for twice the detection time (§6.8.1).
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

impl Authentication {
    /// Writes the section that stands behind a header, with a number.
    pub(crate) fn sign(&self, header: &[u8; HEADER], sequence: u32) -> [u8; SECTION] {
        self.section(header, 0, sequence)
    }

    /// The section as whoever has the secret writes it who sets the reserved byte so.
    fn section(&self, header: &[u8; HEADER], reserved: u8, sequence: u32) -> [u8; SECTION] {
        let mut section = [0; SECTION];
        let kind = match self.digest {
            Digest::Sha1 => KEYED_SHA1,
            Digest::MeticulousSha1 => METICULOUS_SHA1,
        };
        let length = u8::try_from(SECTION).unwrap_or(u8::MAX);
        let [high, mid, low, last] = sequence.to_be_bytes();
        let head = [kind, length, self.key, reserved, high, mid, low, last];
        for (place, byte) in section.iter_mut().zip(head.iter().chain(&self.secret.0)) {
            *place = *byte;
        }
        let hash = Sha1::new()
            .chain_update(header)
            .chain_update(section)
            .finalize();
        for (place, byte) in section.iter_mut().skip(8).zip(hash) {
            *place = byte;
        }
        section
    }

    /// Whether the section behind a header is the other side's, and not an old one; `multiplier` says how
    /// many packets may be lost between two.
    pub(crate) fn verify(
        &self,
        header: &[u8; HEADER],
        section: &[u8],
        (heard, multiplier): (&mut Heard, u8),
    ) -> bool {
        let Ok(section) = <[u8; SECTION]>::try_from(section) else {
            return false;
        };
        // The reserved byte says nothing, but it is part of what is signed (§4.4).
        let [_, _, _, reserved, high, mid, low, last, ..] = section;
        let sequence = u32::from_be_bytes([high, mid, low, last]);
        let expected = self.section(header, reserved, sequence);
        // Every byte is compared, so that how long it takes says nothing.
        let differs = section
            .iter()
            .zip(expected)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        if differs != 0 {
            return false;
        }
        let window = u32::from(multiplier).saturating_mul(3);
        let is_new = heard.0.is_none_or(|before| {
            let ahead = sequence.wrapping_sub(before);
            let least = match self.digest {
                Digest::Sha1 => 0,
                Digest::MeticulousSha1 => 1,
            };
            (least..=window).contains(&ahead)
        });
        if is_new {
            heard.0 = Some(sequence);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_BYTES: [u8; HEADER] = [7; HEADER];

    fn authentication(digest: Digest, secret: &[u8]) -> Authentication {
        Authentication {
            digest,
            key: 3,
            secret: Secret::new(secret).unwrap(),
        }
    }

    #[test]
    fn only_who_has_the_secret_signs_what_is_verified() {
        let ours = authentication(Digest::Sha1, b"fish");
        let section = ours.sign(&HEADER_BYTES, 5);
        let verified = |by: &Authentication, header: &[u8; HEADER], section: &[u8]| {
            by.verify(header, section, (&mut Heard::default(), 3))
        };

        assert!(verified(&ours, &HEADER_BYTES, &section));
        assert!(!verified(
            &authentication(Digest::Sha1, b"soup"),
            &HEADER_BYTES,
            &section
        ));
        assert!(!verified(
            &authentication(Digest::MeticulousSha1, b"fish"),
            &HEADER_BYTES,
            &section
        ));
        let other_key = Authentication {
            key: 4,
            ..ours.clone()
        };
        assert!(!verified(&other_key, &HEADER_BYTES, &section));
        assert!(!verified(&ours, &[8; HEADER], &section));
        assert!(!verified(&ours, &HEADER_BYTES, &section[..27]));
        for index in 0..SECTION {
            let mut damaged = section;
            damaged[index] ^= 1;
            assert!(!verified(&ours, &HEADER_BYTES, &damaged), "byte {index}");
        }
    }

    #[test]
    fn a_reserved_byte_says_nothing() {
        let ours = authentication(Digest::Sha1, b"fish");
        let section = ours.section(&HEADER_BYTES, 9, 5);

        assert_eq!(section[3], 9);
        assert!(ours.verify(&HEADER_BYTES, &section, (&mut Heard::default(), 3)));
    }

    #[test]
    fn an_old_packet_is_not_taken_again() {
        for (digest, takes_same) in [(Digest::Sha1, true), (Digest::MeticulousSha1, false)] {
            let ours = authentication(digest, b"fish");
            let mut heard = Heard::default();
            let mut takes = |sequence| {
                let section = ours.sign(&HEADER_BYTES, sequence);
                ours.verify(&HEADER_BYTES, &section, (&mut heard, 3))
            };

            assert!(takes(u32::MAX - 1));
            assert_eq!(takes(u32::MAX - 1), takes_same);
            assert!(takes(2), "numbers go round");
            assert!(!takes(1));
            assert!(takes(11));
            assert!(!takes(21), "further than three times the multiplier");
        }
    }

    #[test]
    fn a_secret_has_one_to_twenty_bytes_and_is_shown_to_nobody() {
        assert!(Secret::new(b"").is_err());
        assert!(Secret::new(&[1; 20]).is_ok());
        assert!(Secret::new(&[1; 21]).is_err());
        assert_eq!(format!("{:?}", Secret::new(b"fish").unwrap()), "Secret");
    }
}

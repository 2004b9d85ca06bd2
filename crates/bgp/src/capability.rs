//! What a speaker can: the capabilities of an OPEN (RFC 5492).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    family::{Family, UNICAST},
    reader::Reader,
};

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const EXTENDED_MESSAGE: u8 = 6;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_AS: u8 = 65;
const ENHANCED_REFRESH: u8 = 70;

/// Flags of graceful restart, beside its time (RFC 4724 §3, RFC 8538 §2).
const RESTARTING: u16 = 0x8000;
const ON_NOTIFICATION: u16 = 0x4000;
const TIME: u16 = 0x0fff;
/// A family's forwarding state was kept.
const FORWARDING: u8 = 0x80;

/// What a speaker says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Families it exchanges (RFC 4760 §8). One that says none exchanges IPv4.
    pub families: BTreeSet<Family>,
    /// It can be asked to say everything again (RFC 2918).
    pub refresh: bool,
    /// It says where that begins and ends (RFC 7313).
    pub enhanced_refresh: bool,
    /// It takes messages of up to 65535 bytes (RFC 8654).
    pub extended_message: bool,
    /// It takes IPv4 prefixes with an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// Its autonomous system in four bytes (RFC 6793).
    pub four_octet: Option<u32>,
    /// What it does when one of both restarts (RFC 4724).
    pub restart: Option<GracefulRestart>,
}

/// What a speaker says of restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// It restarts just now.
    pub is_restarting: bool,
    /// Also sessions that end with a NOTIFICATION are only interrupted (RFC 8538).
    pub on_notification: bool,
    /// How long it takes to come back, in seconds, below 4096.
    pub time: u16,
    /// Families of which it keeps routes, and whether it has kept forwarding.
    pub families: BTreeMap<Family, bool>,
}

impl Capabilities {
    /// Its words, for people.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self
            .families
            .iter()
            .map(|family| family.label().to_owned())
            .collect();
        let mut say = |is_said: bool, word: &str| {
            if is_said {
                words.push(word.to_owned());
            }
        };
        say(self.four_octet.is_some(), "four-octet AS");
        say(self.refresh, "route refresh");
        say(self.enhanced_refresh, "enhanced route refresh");
        say(self.extended_message, "extended messages");
        say(self.extended_next_hop, "extended next hop");
        if let Some(restart) = &self.restart {
            words.push(format!("graceful restart in {} s", restart.time));
        }
        words
    }

    /// What both can.
    pub fn agreed(&self, theirs: &Self) -> Self {
        Self {
            families: self
                .families
                .intersection(&theirs.families)
                .copied()
                .collect(),
            refresh: self.refresh && theirs.refresh,
            enhanced_refresh: self.enhanced_refresh && theirs.enhanced_refresh,
            extended_message: self.extended_message && theirs.extended_message,
            extended_next_hop: self.extended_next_hop && theirs.extended_next_hop,
            four_octet: self.four_octet.and(theirs.four_octet),
            restart: self.restart.as_ref().and(theirs.restart.clone()),
        }
    }

    /// Writes each as code, length and value.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        for family in &self.families {
            bytes.extend([MULTIPROTOCOL, 4]);
            bytes.extend(family.afi().to_be_bytes());
            bytes.extend([0, UNICAST]);
        }
        let mut flag = |is_said: bool, code: u8| {
            if is_said {
                bytes.extend([code, 0]);
            }
        };
        flag(self.refresh, ROUTE_REFRESH);
        flag(self.extended_message, EXTENDED_MESSAGE);
        flag(self.enhanced_refresh, ENHANCED_REFRESH);
        if self.extended_next_hop {
            bytes.extend([EXTENDED_NEXT_HOP, 6]);
            bytes.extend(Family::Ipv4.afi().to_be_bytes());
            bytes.extend([0, UNICAST]);
            bytes.extend(Family::Ipv6.afi().to_be_bytes());
        }
        if let Some(asn) = self.four_octet {
            bytes.extend([FOUR_OCTET_AS, 4]);
            bytes.extend(asn.to_be_bytes());
        }
        if let Some(restart) = &self.restart {
            let length = 2 + 4 * restart.families.len();
            bytes.extend([GRACEFUL_RESTART, u8::try_from(length).unwrap_or(u8::MAX)]);
            let mut word = restart.time.min(TIME);
            word |= if restart.is_restarting { RESTARTING } else { 0 };
            word |= if restart.on_notification {
                ON_NOTIFICATION
            } else {
                0
            };
            bytes.extend(word.to_be_bytes());
            for (family, is_kept) in &restart.families {
                bytes.extend(family.afi().to_be_bytes());
                bytes.extend([UNICAST, if *is_kept { FORWARDING } else { 0 }]);
            }
        }
    }

    /// Reads the capabilities of one optional parameter and adds them; nothing if they are cut off. What
    /// is not known, or of another length than it should be, says nothing (RFC 5492 §3).
    pub(crate) fn read(&mut self, mut reader: Reader<'_>) -> Option<()> {
        while !reader.is_empty() {
            let code = reader.u8()?;
            let value = reader.sized8()?;
            self.take(code, value);
        }
        Some(())
    }

    fn take(&mut self, code: u8, mut value: Reader<'_>) {
        match code {
            MULTIPROTOCOL if value.0.len() == 4 => {
                let afi = value.u16().unwrap_or_default();
                let safi = value.u16().unwrap_or_default();
                let safi = u8::try_from(safi & 0xff).unwrap_or_default();
                self.families.extend(Family::of(afi, safi));
            }
            ROUTE_REFRESH => self.refresh = true,
            EXTENDED_MESSAGE => self.extended_message = true,
            ENHANCED_REFRESH => self.enhanced_refresh = true,
            FOUR_OCTET_AS if value.0.len() == 4 => self.four_octet = value.u32(),
            EXTENDED_NEXT_HOP => {
                while let Some(triple) = value.array::<6>() {
                    self.extended_next_hop |= triple == [0, 1, 0, UNICAST, 0, 2];
                }
            }
            GRACEFUL_RESTART => {
                let Some(word) = value.u16() else {
                    return;
                };
                let mut restart = GracefulRestart {
                    is_restarting: word & RESTARTING != 0,
                    on_notification: word & ON_NOTIFICATION != 0,
                    time: word & TIME,
                    families: BTreeMap::new(),
                };
                while let Some([high, low, safi, flags]) = value.array() {
                    if let Some(family) = Family::of(u16::from_be_bytes([high, low]), safi) {
                        restart.families.insert(family, flags & FORWARDING != 0);
                    }
                }
                // The last one counts (RFC 4724 §3).
                self.restart = Some(restart);
            }
            _ => {}
        }
    }
}

//! Path attributes: those that we announce with, and those that peers send, judged as RFC 7606 has it.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::{
    family::{self, Family, UNICAST},
    message::{notification::Notification, open::AS_TRANS},
    reader::Reader,
};

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED: u8 = 0x10;

const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MED: u8 = 4;
const LOCAL_PREF: u8 = 5;
const ATOMIC_AGGREGATE: u8 = 6;
const AGGREGATOR: u8 = 7;
const COMMUNITIES: u8 = 8;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;
const EXTENDED_COMMUNITIES: u8 = 16;
const AS4_PATH: u8 = 17;
const AS4_AGGREGATOR: u8 = 18;
const LARGE_COMMUNITIES: u8 = 32;

const AS_SEQUENCE: u8 = 2;

/// What is announced of prefixes: everything but the prefixes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes {
    /// The autonomous systems behind it, the nearest first.
    pub as_path: Vec<u32>,
    /// Where to send.
    pub next_hop: IpAddr,
    /// The same on the link, beside an IPv6 next hop (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
    /// The multi-exit discriminator.
    pub med: Option<u32>,
    /// The local preference: to internal peers always, to others never.
    pub local_preference: Option<u32>,
    /// Sorted.
    pub communities: Vec<u32>,
    /// Sorted.
    pub large_communities: Vec<[u32; 3]>,
}

impl Attributes {
    /// Writes them in the order of their types, but where IPv6 is involved the prefixes first (RFC 7606 §5.1),
    /// for which `reach` is.
    pub(crate) fn write(&self, is_four_octet: bool, reach: Option<&[u8]>, bytes: &mut Vec<u8>) {
        if let Some(reach) = reach {
            attribute(OPTIONAL, MP_REACH, reach, bytes);
        }
        // Of IGP: they are ours.
        attribute(TRANSITIVE, ORIGIN, &[0], bytes);
        let path = |wide: bool| path(&self.as_path, wide);
        attribute(TRANSITIVE, AS_PATH, &path(is_four_octet), bytes);
        if let (IpAddr::V4(next_hop), None) = (self.next_hop, reach) {
            attribute(TRANSITIVE, NEXT_HOP, &next_hop.octets(), bytes);
        }
        if let Some(med) = self.med {
            attribute(OPTIONAL, MED, &med.to_be_bytes(), bytes);
        }
        if let Some(preference) = self.local_preference {
            attribute(TRANSITIVE, LOCAL_PREF, &preference.to_be_bytes(), bytes);
        }
        if !self.communities.is_empty() {
            let words = self.communities.iter().flat_map(|it| it.to_be_bytes());
            let words: Vec<u8> = words.collect();
            attribute(OPTIONAL | TRANSITIVE, COMMUNITIES, &words, bytes);
        }
        if !is_four_octet && self.as_path.iter().any(|it| u16::try_from(*it).is_err()) {
            attribute(OPTIONAL | TRANSITIVE, AS4_PATH, &path(true), bytes);
        }
        if !self.large_communities.is_empty() {
            let words = self.large_communities.iter().flatten();
            let words: Vec<u8> = words.flat_map(|it| it.to_be_bytes()).collect();
            attribute(OPTIONAL | TRANSITIVE, LARGE_COMMUNITIES, &words, bytes);
        }
    }

    /// What stands before the prefixes of an MP_REACH_NLRI (RFC 4760 §3, RFC 2545 §3, RFC 8950 §4).
    pub(crate) fn reach(&self, family: Family) -> Vec<u8> {
        let mut bytes = family.afi().to_be_bytes().to_vec();
        bytes.push(UNICAST);
        match (self.next_hop, self.link_local) {
            (IpAddr::V4(next_hop), _) => {
                bytes.push(4);
                bytes.extend(next_hop.octets());
            }
            (IpAddr::V6(next_hop), None) => {
                bytes.push(16);
                bytes.extend(next_hop.octets());
            }
            (IpAddr::V6(next_hop), Some(link_local)) => {
                bytes.push(32);
                bytes.extend(next_hop.octets());
                bytes.extend(link_local.octets());
            }
        }
        bytes.push(0);
        bytes
    }
}

/// Writes an MP_UNREACH_NLRI of prefixes that are written already (RFC 4760 §4).
pub(crate) fn unreach(family: Family, nets: &[u8], bytes: &mut Vec<u8>) {
    let mut value = family.afi().to_be_bytes().to_vec();
    value.push(UNICAST);
    value.extend_from_slice(nets);
    attribute(OPTIONAL, MP_UNREACH, &value, bytes);
}

fn path(systems: &[u32], wide: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in systems.chunks(usize::from(u8::MAX)) {
        bytes.extend([AS_SEQUENCE, u8::try_from(segment.len()).unwrap_or(u8::MAX)]);
        for system in segment {
            match wide {
                true => bytes.extend(system.to_be_bytes()),
                false => bytes.extend(u16::try_from(*system).unwrap_or(AS_TRANS).to_be_bytes()),
            }
        }
    }
    bytes
}

fn attribute(flags: u8, kind: u8, value: &[u8], bytes: &mut Vec<u8>) {
    match u8::try_from(value.len()) {
        Ok(length) => bytes.extend([flags, kind, length]),
        Err(_) => {
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            bytes.extend([flags | EXTENDED, kind]);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend_from_slice(value);
}

/// What a peer said of prefixes, as far as people look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where to.
    pub next_hop: Option<IpAddr>,
    /// The autonomous systems, sets in braces.
    pub as_path: String,
    /// Two numbers each.
    pub communities: Vec<String>,
    /// The multi-exit discriminator.
    pub med: Option<u32>,
    /// The local preference.
    pub local_preference: Option<u32>,
}

impl Seen {
    /// Whether an autonomous system is in the path.
    pub fn passed(&self, asn: u32) -> bool {
        let mut numbers = self.as_path.split(|it: char| !it.is_ascii_digit());
        numbers.any(|it| it.parse() == Ok(asn))
    }
}

/// What a peer is, as far as it matters to what it may say.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Its paths have numbers of four bytes.
    pub is_four_octet: bool,
    /// It is of our own autonomous system.
    pub is_internal: bool,
    /// It may give IPv4 prefixes an IPv6 next hop.
    pub has_extended_next_hop: bool,
}

/// The attributes of an UPDATE, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub seen: Seen,
    /// Prefixes of MP_REACH_NLRI.
    pub reached: Vec<IpNet>,
    /// Prefixes of MP_UNREACH_NLRI, if there is one of a family of ours.
    pub unreached: Option<(Family, Vec<IpNet>)>,
    /// Why the prefixes are taken for withdrawn (RFC 7606 §2).
    pub fault: Option<&'static str>,
    /// Attributes that were left out because they were wrong.
    pub discarded: Vec<&'static str>,
    has: Has,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Has {
    origin: bool,
    as_path: bool,
    next_hop: bool,
    local_preference: bool,
    reach: bool,
    /// Something that is announced, also of a family that is not ours.
    prefixes: bool,
    /// Anything but MP_UNREACH_NLRI.
    others: bool,
}

/// Reads the attributes of an UPDATE; `has_prefixes` if prefixes of IPv4 stand behind them.
///
/// # Errors
///
/// The NOTIFICATION that ends the session, where it is not clear which prefixes are meant (RFC 7606 §3).
pub(crate) fn judge(
    mut reader: Reader<'_>,
    sender: Sender,
    has_prefixes: bool,
) -> Result<Judged, Notification> {
    let mut judged = Judged::default();
    let mut met = [false; 256];
    let is_empty = reader.is_empty();
    while !reader.is_empty() {
        let whole = reader.0;
        let Some((flags, kind, value)) = next(&mut reader) else {
            judged.blame("an attribute is longer than the attributes");
            judged.has.others = true;
            break;
        };
        judged.has.others |= kind != MP_UNREACH;
        let first = !std::mem::replace(&mut met[usize::from(kind)], true);
        if !first {
            if matches!(kind, MP_REACH | MP_UNREACH) {
                return Err(Notification::MALFORMED_ATTRIBUTES);
            }
            judged.discarded.push("an attribute that was there already");
            continue;
        }
        let length = whole.len() - reader.0.len();
        let whole = whole.get(..length).unwrap_or_default();
        judged.take((flags, kind, value), whole, sender)?;
    }
    if !is_empty && (has_prefixes || judged.has.reach) {
        judged.miss(sender, has_prefixes);
    }
    // Attributes are said of prefixes, and these were not found (RFC 7606 §5.2).
    let misses_prefixes = judged.has.others && !has_prefixes && !judged.has.prefixes;
    match judged.fault {
        Some(_) if misses_prefixes => Err(Notification::MALFORMED_ATTRIBUTES),
        Some(_) | None => Ok(judged),
    }
}

/// Flags, type and value of the next attribute.
fn next<'a>(reader: &mut Reader<'a>) -> Option<(u8, u8, Reader<'a>)> {
    let flags = reader.u8()?;
    let kind = reader.u8()?;
    let value = match flags & EXTENDED {
        0 => reader.sized8(),
        _ => reader.sized16(),
    }?;
    Some((flags, kind, value))
}

impl Judged {
    /// Only the first fault is told.
    fn blame(&mut self, why: &'static str) {
        self.fault.get_or_insert(why);
    }

    fn blame_if(&mut self, is_wrong: bool, why: &'static str) {
        if is_wrong {
            self.blame(why);
        }
    }

    fn discard_if(&mut self, is_wrong: bool, what: &'static str) {
        if is_wrong {
            self.discarded.push(what);
        }
    }

    /// A value that must be there, or the fault.
    fn want<T>(&mut self, value: Option<T>, why: &'static str) -> Option<T> {
        if value.is_none() {
            self.blame(why);
        }
        value
    }

    fn take(
        &mut self,
        (flags, kind, value): (u8, u8, Reader<'_>),
        whole: &[u8],
        sender: Sender,
    ) -> Result<(), Notification> {
        let expected = match kind {
            ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => TRANSITIVE,
            MED | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH | MP_UNREACH => OPTIONAL,
            AGGREGATOR | COMMUNITIES | EXTENDED_COMMUNITIES | AS4_PATH | AS4_AGGREGATOR
            | LARGE_COMMUNITIES => OPTIONAL | TRANSITIVE,
            // Nobody has to know an optional one; a well-known one everybody.
            _ if flags & OPTIONAL == 0 => {
                return Err(Notification::unrecognized_attribute(whole));
            }
            _ => return Ok(()),
        };
        if flags & (OPTIONAL | TRANSITIVE) != expected {
            self.blame("an attribute has flags that are not its own");
            // Which prefixes it is about is said in it all the same.
            if !matches!(kind, MP_REACH | MP_UNREACH) {
                return Ok(());
            }
        }
        let is_foreign = !sender.is_internal;
        match kind {
            MP_REACH => return self.reach(value, sender),
            MP_UNREACH => return self.unreach(value),
            ORIGIN => {
                self.has.origin = true;
                if !matches!(value.0, [0..=2]) {
                    self.blame("ORIGIN is none");
                }
            }
            AS_PATH => {
                self.has.as_path = true;
                let path = described(value, sender.is_four_octet);
                if let Some(path) = self.want(path, "AS_PATH is malformed") {
                    self.seen.as_path = path;
                }
            }
            NEXT_HOP => {
                self.has.next_hop = true;
                let address = <[u8; 4]>::try_from(value.0).ok().map(IpAddr::from);
                let address = self.want(address, "NEXT_HOP is no address");
                // Prefixes of MP_REACH_NLRI have theirs with them (RFC 4760 §3).
                if !self.has.reach {
                    self.seen.next_hop = address;
                }
            }
            MED => self.seen.med = self.number(value, "MULTI_EXIT_DISC is no number"),
            LOCAL_PREF if is_foreign => {
                self.discarded.push("LOCAL_PREF of an external peer");
            }
            LOCAL_PREF => {
                self.has.local_preference = true;
                self.seen.local_preference = self.number(value, "LOCAL_PREF is no number");
            }
            ATOMIC_AGGREGATE => {
                self.discard_if(!value.is_empty(), "ATOMIC_AGGREGATE with a value");
            }
            AGGREGATOR => {
                let right = if sender.is_four_octet { 8 } else { 6 };
                self.discard_if(value.0.len() != right, "AGGREGATOR of another length");
            }
            COMMUNITIES => self.communities(value),
            EXTENDED_COMMUNITIES => {
                let is_cut = value.is_empty() || !value.0.len().is_multiple_of(8);
                self.blame_if(is_cut, "EXTENDED COMMUNITIES are cut off");
            }
            LARGE_COMMUNITIES => self.large_communities(value),
            ORIGINATOR_ID | CLUSTER_LIST if is_foreign => {
                self.discarded
                    .push("an attribute of reflectors of an external peer");
            }
            ORIGINATOR_ID => self.blame_if(value.0.len() != 4, "ORIGINATOR_ID is none"),
            CLUSTER_LIST => {
                let is_cut = value.is_empty() || !value.0.len().is_multiple_of(4);
                self.blame_if(is_cut, "CLUSTER_LIST is cut off");
            }
            AS4_PATH => {
                // Among those who have four bytes it says nothing (RFC 6793 §6).
                let is_useless = sender.is_four_octet || described(value, true).is_none();
                self.discard_if(is_useless, "AS4_PATH");
            }
            AS4_AGGREGATOR => {
                let is_useless = sender.is_four_octet || value.0.len() != 8;
                self.discard_if(is_useless, "AS4_AGGREGATOR");
            }
            _ => {}
        }
        Ok(())
    }

    fn number(&mut self, value: Reader<'_>, why: &'static str) -> Option<u32> {
        let number = <[u8; 4]>::try_from(value.0).ok().map(u32::from_be_bytes);
        self.want(number, why)
    }

    fn communities(&mut self, mut value: Reader<'_>) {
        if value.is_empty() || !value.0.len().is_multiple_of(4) {
            return self.blame("COMMUNITIES are cut off");
        }
        while let (Some(high), Some(low)) = (value.u16(), value.u16()) {
            self.seen.communities.push(format!("{high}:{low}"));
        }
    }

    fn large_communities(&mut self, mut value: Reader<'_>) {
        if value.is_empty() || !value.0.len().is_multiple_of(12) {
            return self.blame("LARGE COMMUNITIES are cut off");
        }
        while let (Some(one), Some(two), Some(three)) = (value.u32(), value.u32(), value.u32()) {
            self.seen.communities.push(format!("{one}:{two}:{three}"));
        }
    }

    fn reach(&mut self, mut value: Reader<'_>, sender: Sender) -> Result<(), Notification> {
        let broken = Notification::OPTIONAL_ATTRIBUTE;
        let head = (value.u16(), value.u8(), value.sized8(), value.u8());
        let (Some(afi), Some(safi), Some(next_hop), Some(_)) = head else {
            return Err(broken);
        };
        let Some(family) = Family::of(afi, safi) else {
            self.has.prefixes = true;
            return Ok(());
        };
        self.has.reach = true;
        let next_hop: Option<IpAddr> = match (family, next_hop.0) {
            (Family::Ipv4, bytes) if bytes.len() == 4 => {
                <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from)
            }
            (Family::Ipv4, _) if !sender.has_extended_next_hop => None,
            (_, bytes) if matches!(bytes.len(), 16 | 32) => {
                bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes))
            }
            _ => None,
        };
        self.seen.next_hop = Some(next_hop.ok_or_else(|| broken.clone())?);
        self.reached = family::read_all(value, family).ok_or(broken)?;
        self.has.prefixes = !self.reached.is_empty();
        Ok(())
    }

    fn unreach(&mut self, mut value: Reader<'_>) -> Result<(), Notification> {
        let broken = Notification::OPTIONAL_ATTRIBUTE;
        let (Some(afi), Some(safi)) = (value.u16(), value.u8()) else {
            return Err(broken);
        };
        if let Some(family) = Family::of(afi, safi) {
            self.unreached = Some((family, family::read_all(value, family).ok_or(broken)?));
        }
        Ok(())
    }

    /// Blames what must be there and is not (RFC 7606 §3 d).
    fn miss(&mut self, sender: Sender, has_prefixes: bool) {
        let wanted = [
            (self.has.origin, "ORIGIN is missing"),
            (self.has.as_path, "AS_PATH is missing"),
            (self.has.next_hop || !has_prefixes, "NEXT_HOP is missing"),
            (
                self.has.local_preference || !sender.is_internal,
                "LOCAL_PREF is missing",
            ),
        ];
        for (is_there, why) in wanted {
            if !is_there {
                self.blame(why);
            }
        }
    }
}

/// An AS path in words; nothing if it is malformed (RFC 7606 §7.2).
fn described(mut reader: Reader<'_>, is_four_octet: bool) -> Option<String> {
    let mut words = String::new();
    while !reader.is_empty() {
        let (kind, count) = (reader.u8()?, reader.u8()?);
        // Sets and sequences, of confederations too.
        if !(1..=4).contains(&kind) || count == 0 {
            return None;
        }
        let is_set = matches!(kind, 1 | 4);
        let mut numbers = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let number = match is_four_octet {
                true => reader.u32()?,
                false => u32::from(reader.u16()?),
            };
            numbers.push(number.to_string());
        }
        if !words.is_empty() {
            words.push(' ');
        }
        let _ = match is_set {
            true => write!(words, "{{{}}}", numbers.join(",")),
            false => write!(words, "{}", numbers.join(" ")),
        };
    }
    Some(words)
}

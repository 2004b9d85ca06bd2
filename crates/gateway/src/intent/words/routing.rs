//! The words of BGP and BFD: autonomous systems, communities, intervals below a second.

use std::time::Duration;

use super::{Complaint, choice, complaint, duration, quoted};
use crate::intent::routing::RemoteAs;

/// Communities that have a name (RFC 1997, 3765, 7999).
const COMMUNITIES: [(&str, u32); 4] = [
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-peer", 0xffff_ff04),
    ("blackhole", 0xffff_029a),
];

/// Numbers that are no autonomous system: none, AS_TRANS (RFC 6793 §9) and the last two that RFC 7300
/// keeps back.
const NO_SYSTEMS: [u32; 4] = [0, 23_456, 65_535, u32::MAX];

/// The number of an autonomous system.
pub(in super::super) fn system(number: u64) -> Result<u32, Complaint> {
    let help = "write a number from 1 to 4294967294: 64512 to 65534 and 4200000000 and above are for \
                private use";
    let asn = u32::try_from(number).ok();
    asn.filter(|asn| !NO_SYSTEMS.contains(asn))
        .ok_or_else(|| complaint(format!("{number} is no autonomous system"), help))
}

/// A peer's autonomous system, or how it stands to ours.
pub(in super::super) fn remote_system(word: &str) -> Result<RemoteAs, Complaint> {
    let kinds = [
        ("external", RemoteAs::External),
        ("internal", RemoteAs::Internal),
    ];
    match word.parse::<u64>() {
        Ok(number) => system(number).map(RemoteAs::Number),
        Err(_) => choice("autonomous system", &kinds, word).map_err(|it| Complaint {
            help: "write its number, `external` for any but ours, or `internal` for ours".into(),
            ..it
        }),
    }
}

/// A community: two numbers of 16 bits, or a name.
pub(in super::super) fn community(word: &str) -> Result<u32, Complaint> {
    if let Some((high, low)) = word.split_once(':') {
        let parts = high.parse::<u16>().ok().zip(low.parse::<u16>().ok());
        let help = "write two numbers from 0 to 65535, `65010:100`; larger ones are for \
                    `large_communities`";
        return parts
            .map(|(high, low)| u32::from(high) << 16 | u32::from(low))
            .ok_or_else(|| complaint(format!("{} is no community", quoted(word)), help));
    }
    choice("community", &COMMUNITIES, word)
}

/// A large community: three numbers of 32 bits.
pub(in super::super) fn large_community(word: &str) -> Result<[u32; 3], Complaint> {
    let parts: Vec<u32> = word.split(':').map_while(|it| it.parse().ok()).collect();
    let is_whole = word.split(':').count() == parts.len();
    let parts = <[u32; 3]>::try_from(parts).ok().filter(|_| is_whole);
    parts.ok_or_else(|| {
        let help = "write three numbers from 0 to 4294967295, `65010:1:100`";
        complaint(format!("{} is no large community", quoted(word)), help)
    })
}

/// An interval, which may be below a second: `100ms`.
pub(in super::super) fn interval(word: &str) -> Result<Duration, Complaint> {
    if let Some(number) = word.strip_suffix("ms") {
        if let Ok(milliseconds) = number.parse::<u32>() {
            return Ok(Duration::from_millis(u64::from(milliseconds)));
        }
        let message = format!("{} is not an interval", quoted(word));
        return Err(complaint(message, "write whole milliseconds: `100ms`"));
    }
    duration(word).map_err(|it| Complaint {
        help: "write milliseconds or seconds: `100ms`, `1s`".into(),
        ..it
    })
}

/// How many links away somebody may be.
pub(in super::super) fn hops(number: u64) -> Result<u8, Complaint> {
    let hops = u8::try_from(number).ok().filter(|hops| *hops != 0);
    hops.ok_or_else(|| {
        let help = "write a number from 1 to 255; who is on a link of ours is 1 away";
        complaint(format!("nobody is {number} links away"), help)
    })
}

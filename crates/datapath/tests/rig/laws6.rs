//! Laws of frames that arrive or leave as IPv6: what a packet says stays what it says, whichever version
//! of IP it is in.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a law is about some reasons and holds alike for all others"
)]

use abi::{Ip6, Reason};
use datapath::{Exit, native::Memory};

use super::{
    Left,
    sums::IP,
    whole::{Check, Whole, quoted, whole},
};

/// The longest IPv4 packet that leaves without Don't Fragment (RFC 7915 §5.1).
const FRAGMENTABLE: usize = 1260;
/// The longest ICMPv6 error (RFC 4443 §2.4 (c)).
const ERROR_MAX: usize = 1280;

/// Whether these laws are about a frame, and not those of IPv4.
pub fn concern(left: &Left) -> bool {
    let is_six = |bytes: &[u8]| bytes.get(12..14) == Some(&[0x86, 0xdd]);
    is_six(&left.before.bytes) || is_six(&left.after.bytes)
}

/// Asserts what holds for the bytes of a frame, for the reason it left for.
pub fn bytes_fit(left: &Left, memory: &Memory) {
    match left.reason {
        _ if left.is_translated() => is_the_same_packet(left),
        _ if left.is_renumbered() => is_readdressed(left),
        Reason::PrefixUnmapped if left.exit == Exit::Transmit => is_told(left, memory, (1, 0)),
        Reason::PrefixZero if left.exit == Exit::Transmit => is_told(left, memory, (4, 0)),
        Reason::ErrorTranslated | Reason::ErrorKernelSends => is_the_same_error(left),
        Reason::ResetSent => is_answered_by_reset(left),
        Reason::TimeExceededSent => is_told(left, memory, (3, 0)),
        Reason::TooBigSent => is_told(left, memory, (2, 0)),
        reason if reason.is_refusal() && left.exit == Exit::Transmit => {
            match left.after.bytes[20] {
                6 => is_answered_by_reset(left),
                _ => is_told(left, memory, (1, 1)),
            }
        }
        Reason::IcmpFragment | Reason::NoChecksum | Reason::IcmpError => {
            assert_eq!(left.exit, Exit::Drop);
        }
        _ => assert_eq!(left.before.bytes, left.after.bytes, "{:?}", left.reason),
    }
}

/// The packet before and after, of which the lengths agree.
fn both(left: &Left) -> (Whole, Whole) {
    let packet = |bytes: &[u8]| whole(bytes).unwrap_or_else(|| panic!("broken: {bytes:02x?}"));
    (packet(&left.before.bytes), packet(&left.after.bytes))
}

fn is_sent(left: &Left) -> bool {
    matches!(
        left.reason,
        Reason::TranslatedOut
            | Reason::TranslatedIn
            | Reason::ErrorTranslated
            | Reason::PrefixOut
            | Reason::PrefixIn
    )
}

/// Addresses, ports and hops differ; everything else is what it was or what RFC 7915 makes of it.
fn is_the_same_packet(left: &Left) {
    let (before, after) = both(left);
    headers_fit(left, &before, &after);
    assert_eq!(before.fragment(), after.fragment(), "the same fragment");
    match (before.version, after.version) {
        (6, 6) => assert_eq!(before.between, after.between, "extension headers stay"),
        (6, _) => becomes_ip4(&before, &after),
        _ => becomes_ip6(&before, &after),
    }
    if !before.is_later() {
        body_fits(&before, &after);
    } else {
        assert_eq!(before.body, after.body, "a later fragment");
    }
    if before.fragment().is_none() {
        let is_computed = before.version == 4 && after.version == 6;
        match before.check() {
            Check::Absent if is_computed => assert_eq!(after.check(), Check::Right),
            check => assert_eq!(after.check(), check, "transport checksum"),
        }
    }
}

/// RFC 6296: nothing but addresses and hops differ, and what is right stays so.
fn is_readdressed(left: &Left) {
    let (before, after) = both(left);
    headers_fit(left, &before, &after);
    assert_eq!(before.part, after.part, "the same fragment");
    assert_eq!(before.between, after.between, "extension headers stay");
    assert_eq!(
        before.body, after.body,
        "nothing behind the header is touched"
    );
    if before.fragment().is_none() {
        assert_eq!(before.check(), after.check(), "transport checksum");
    }
}

fn headers_fit(left: &Left, before: &Whole, after: &Whole) {
    assert_eq!(before.class, after.class, "traffic class");
    let passed = u8::from(is_sent(left));
    assert_eq!(after.hops, before.hops - passed, "hops count down once");
    assert!(after.hops > 0);
    assert!(
        after.has_right_header || (before.version == 4 && !before.has_right_header),
        "IP checksum"
    );
    let label = if before.version == 6 && after.version == 6 {
        before.label
    } else {
        0
    };
    assert_eq!(after.label, label, "flow label");
    for address in [after.source, after.target] {
        let is_ip4 = abi::Address::ip4(address).is_some();
        assert_eq!(is_ip4, after.version == 4, "an address of another version");
    }
    let ethertype = &left.after.bytes[12..14];
    assert_eq!(ethertype == [0x08, 0x00], after.version == 4, "ethertype");
    if !is_sent(left) {
        assert_eq!(left.before.bytes[..12], left.after.bytes[..12], "stations");
    }
}

/// RFC 7915 §5.1, §5.1.1.
fn becomes_ip4(before: &Whole, after: &Whole) {
    assert!(after.between.is_empty(), "no options");
    let total = 20 + after.body.len();
    let (id, ..) = after.part.expect("IPv4 packets have one");
    match before.part {
        Some((wanted, ..)) => {
            assert_eq!(id, wanted & 0xffff, "identification");
            assert!(!after.dont_fragment, "a fragment may be fragmented");
        }
        None => assert_eq!(after.dont_fragment, total > FRAGMENTABLE, "Don't Fragment"),
    }
}

/// RFC 7915 §4.1.
fn becomes_ip6(before: &Whole, after: &Whole) {
    let (id, ..) = before.part.expect("IPv4 packets have one");
    match before.fragment() {
        None => assert!(after.between.is_empty(), "no extension headers"),
        Some(_) => {
            assert_eq!(after.between.len(), 8, "a fragment header alone");
            assert_eq!(after.between[1], 0, "reserved");
            let (wanted, ..) = after.part.expect("a fragment header");
            assert_eq!(wanted, id, "identification");
        }
    }
}

/// Only ports, checksum, and what differs between ICMP and ICMPv6, are other bytes.
fn body_fits(before: &Whole, after: &Whole) {
    let number = |it: &Whole| match (it.version, it.protocol) {
        (6, 58) => 1,
        (_, number) => number,
    };
    assert_eq!(number(before), number(after), "protocol");
    assert_eq!(before.body.len(), after.body.len());
    let may_differ: &[std::ops::Range<usize>] = match number(before) {
        1 => {
            let kind = match (before.version, after.version, before.body[0]) {
                (6, 4, 128) => 8,
                (6, 4, _) => 0,
                (4, 6, 8) => 128,
                (4, 6, _) => 129,
                (_, _, kind) => kind,
            };
            assert_eq!(after.body[0], kind, "type");
            &[0..1, 2..6]
        }
        // The MSS of a SYN may be lowered; that is held by a test of its own.
        6 if before.body[13] & 2 != 0 => &[0..4, 16..18, 20..60],
        6 => &[0..4, 16..18],
        _ => &[0..4, 6..8],
    };
    for (at, (old, new)) in before.body.iter().zip(&after.body).enumerate() {
        let may = may_differ.iter().any(|range| range.contains(&at));
        assert!(may || old == new, "byte {at} was {old:#04x}, is {new:#04x}");
    }
}

/// RFC 7915 §4.3, §5.3: the packet that an error quotes is translated too, and every checksum is right.
fn is_the_same_error(left: &Left) {
    let (before, after) = both(left);
    headers_fit(left, &before, &after);
    assert!(after.between.is_empty() || before.version == after.version);
    assert_eq!(before.check(), Check::Right, "a damaged error is dropped");
    assert_eq!(after.check(), Check::Right, "the error's checksum");
    if after.version == 6 {
        assert!(
            left.after.bytes.len() - IP <= ERROR_MAX,
            "an error is short"
        );
    }
    let inner = quoted(&before.body).expect("a quotation");
    let shown = quoted(&after.body).expect("a quotation");
    assert_eq!(shown.version, after.version, "the quotation's version");
    assert_eq!(shown.class, inner.class, "the quotation's class");
    assert_eq!(shown.hops, inner.hops, "the quotation's hops");
    assert!(shown.has_right_header, "the quotation's IP checksum");
    let length = inner.body.len().min(shown.body.len());
    let is_tcp = inner.protocol == 6;
    let may_differ = match inner.protocol {
        1 | 58 => vec![0..1, 2..6],
        6 => vec![0..4, 16..18],
        _ => vec![0..4, 6..8],
    };
    for at in 0..length {
        let may = may_differ.iter().any(|range| range.contains(&at));
        assert!(may || inner.body[at] == shown.body[at], "quoted byte {at}");
    }
    // Right if it was, where the quotation has all of it.
    if inner.fragment().is_none() && (!is_tcp || length >= 20) && is_whole(&inner, &before) {
        let is_cut = shown.body.len() < inner.body.len();
        assert!(
            is_cut || shown.check() == inner.check(),
            "the quotation's transport checksum"
        );
    }
}

/// Whether an error quotes all of a packet.
fn is_whole(quoted: &Whole, error: &Whole) -> bool {
    let word = |at: usize| usize::from(u16::from_be_bytes([error.body[at], error.body[at + 1]]));
    let total = match quoted.version {
        4 => word(10),
        _ => 40 + word(12),
    };
    error.body.len() >= 8 + total
}

/// What an answer of our own looks like whatever it says.
fn goes_back_alone(left: &Left, before: &Whole, after: &Whole) {
    let (old, new) = (&left.before.bytes, &left.after.bytes);
    assert_eq!(left.exit, Exit::Transmit, "by the interface it came by");
    assert_eq!((&new[..6], &new[6..12]), (&old[6..12], &old[..6]));
    assert_eq!(
        (after.version, after.target),
        (before.version, before.source)
    );
    assert!(after.hops >= 64, "hops enough to arrive");
    assert_eq!(after.check(), Check::Right);
    assert_eq!(
        after.body.len() + 40 + IP,
        new.len(),
        "nothing behind the packet"
    );
}

/// RFC 9293 §3.10.7.1, and never in answer to an RST.
fn is_answered_by_reset(left: &Left) {
    let (before, after) = both(left);
    goes_back_alone(left, &before, &after);
    assert_eq!(after.source, before.target);
    let (segment, reset) = (&before.body, &after.body);
    assert_eq!((after.protocol, reset.len()), (6, 20));
    assert_eq!((&reset[..2], &reset[2..4]), (&segment[2..4], &segment[..2]));
    let word = |bytes: &[u8], at: usize| {
        u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    };
    let flags = segment[13];
    assert_eq!(flags & 4, 0, "an RST is not answered");
    let (seq, ack) = (word(reset, 4), word(reset, 8));
    if flags & 16 != 0 {
        assert_eq!((seq, ack, reset[13]), (word(segment, 8), 0, 4));
    } else {
        let data = segment.len() - usize::from(segment[12] >> 4) * 4;
        let control = u32::from(flags & 2 != 0) + u32::from(flags & 1 != 0);
        let next = word(segment, 4)
            .wrapping_add(data as u32)
            .wrapping_add(control);
        assert_eq!((seq, ack, reset[13]), (0, next, 4 | 16));
    }
}

/// RFC 4443 §2.4 (c): as much of what was sent as fits the smallest link, as it was sent.
fn is_told(left: &Left, memory: &Memory, (kind, code): (u8, u8)) {
    let (before, after) = both(left);
    goes_back_alone(left, &before, &after);
    let own: Option<Ip6> = memory
        .interfaces
        .get(&left.before.ingress)
        .and_then(|found| found.address6());
    assert_eq!(Some(after.source), own);
    assert_eq!(after.class, before.class & 0xfc, "in the packet's class");
    assert_eq!((after.body[0], after.body[1]), (kind, code));
    let total = 40 + before.between.len() + before.body.len();
    let quoted = total.min(ERROR_MAX - 48);
    assert_eq!(after.body[8..], left.before.bytes[IP..IP + quoted]);
    let rest = u32::from_be_bytes(after.body[4..8].try_into().expect("four bytes"));
    match kind {
        2 => assert!(
            (1280..total as u32).contains(&rest),
            "an MTU that the packet exceeds, not {rest}"
        ),
        4 => assert!(
            [16, 32].contains(&rest),
            "an interface identifier, not {rest}"
        ),
        _ => assert_eq!(rest, 0),
    }
}

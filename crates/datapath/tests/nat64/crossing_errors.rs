//! ICMP errors from one version to the other: every row of RFC 7915's tables (§4.2, §5.2), what they
//! quote (§4.3, §5.3), and who they seem to come from.

use abi::{Ip4, Ip6, Prefix64, Protocol, Reason};

use super::{CLIENT, NARROW, answering, asked, begun, fragments4, out, packet, towards};
use crate::rig::{
    Left, Site, Sketch, Sketch6,
    dual::{dual, send6},
    site::{INSIDE, OUTSIDE},
    sketch::Message,
    sketch6::ip6,
    whole::{quoted, tuple_of, whole},
};

/// Routers on the way.
const ROUTER: Ip4 = Ip4([203, 0, 113, 77]);
const INNER_ROUTER: &str = "fd00::77";

/// Type, code, and the four bytes behind the checksum.
type Row = (u8, u8, u32);

/// An ICMP error about a frame that left by the outer interface.
fn error4((kind, code, rest): Row, about: &[u8], length: usize) -> Sketch {
    Sketch {
        message: Message::IcmpError { kind, code, rest },
        ..Sketch::error(kind, ROUTER, about, length)
    }
}

fn row(left: &Left) -> Row {
    let body = packet(left).body;
    let rest = body[4..8].try_into().expect("four bytes");
    (body[0], body[1], u32::from_be_bytes(rest))
}

/// A packet from the client, as it left.
fn sent(site: &Site, protocol: Protocol, length: usize) -> Left {
    out(
        site,
        &Sketch6::first(protocol, asked(protocol)).payload(&vec![7; length]),
    )
}

/// A packet to the client, as it left.
fn received(site: &Site, protocol: Protocol, length: usize) -> Left {
    let answer = Sketch {
        dont_fragment: true,
        ..begun(site, protocol).payload(&vec![7; length])
    };
    let left = site.send(OUTSIDE, &answer);
    assert_eq!(left.reason, Reason::TranslatedIn);
    left
}

/// RFC 7915 §4.2, figure 3 included.
#[test]
fn every_icmp_error_becomes_the_icmpv6_error_that_the_rfc_says() {
    let same = |code| Some((1, code, 0));
    let mut rows: Vec<(Row, Option<Row>)> = vec![
        ((3, 0, 0), same(0)),
        ((3, 1, 0), same(0)),
        ((3, 2, 0), Some((4, 1, 6))),
        ((3, 3, 0), same(4)),
        ((3, 5, 0), same(0)),
        ((3, 6, 0), same(0)),
        ((3, 7, 0), same(0)),
        ((3, 8, 0), same(0)),
        ((3, 9, 0), same(1)),
        ((3, 10, 0), same(1)),
        ((3, 11, 0), same(0)),
        ((3, 12, 0), same(0)),
        ((3, 13, 0), same(1)),
        ((3, 14, 0), None),
        ((3, 15, 0), same(1)),
        ((3, 16, 0), None),
        ((4, 0, 0), None),
        ((5, 0, 0), None),
        ((11, 0, 0), Some((3, 0, 0))),
        ((11, 1, 0), Some((3, 1, 0))),
        ((12, 1, 0), None),
        ((12, 3, 0), None),
    ];
    let pointers = [
        (0, Some(0)),
        (1, Some(1)),
        (2, Some(4)),
        (3, Some(4)),
        (4, None),
        (5, None),
        (6, None),
        (7, None),
        (8, Some(7)),
        (9, Some(6)),
        (10, None),
        (11, None),
        (12, Some(8)),
        (13, Some(8)),
        (14, Some(8)),
        (15, Some(8)),
        (16, Some(24)),
        (17, Some(24)),
        (18, Some(24)),
        (19, Some(24)),
        (20, None),
        (255, None),
    ];
    for (pointer, wanted) in pointers {
        for code in [0, 2] {
            rows.push(((12, code, pointer << 24), wanted.map(|it| (4, 0, it))));
        }
    }
    for protocol in Protocol::PORTED {
        let site = dual();
        let sent = sent(&site, protocol, 64);
        for (given, wanted) in &rows {
            let left = site.send(OUTSIDE, &error4(*given, &sent.after.bytes, 92));
            match wanted {
                Some(wanted) => {
                    assert_eq!(left.reason, Reason::ErrorTranslated, "{given:?}");
                    assert_eq!(row(&left), *wanted, "{given:?}");
                    is_about(&left, Prefix64::WELL_KNOWN.embed(ROUTER), &sent);
                }
                None => assert_eq!(left.reason, Reason::IcmpError, "{given:?}"),
            }
        }
    }
}

/// RFC 7915 §5.2, figure 6 included.
#[test]
fn every_icmpv6_error_becomes_the_icmp_error_that_the_rfc_says() {
    let mut rows: Vec<(Row, Option<Row>)> = vec![
        ((1, 0, 0), Some((3, 1, 0))),
        ((1, 1, 0), Some((3, 10, 0))),
        ((1, 2, 0), Some((3, 1, 0))),
        ((1, 3, 0), Some((3, 1, 0))),
        ((1, 4, 0), Some((3, 3, 0))),
        ((1, 5, 0), None),
        ((1, 6, 0), None),
        ((3, 0, 0), Some((11, 0, 0))),
        ((3, 1, 0), Some((11, 1, 0))),
        ((4, 1, 6), Some((3, 2, 0))),
        ((4, 1, u32::MAX), Some((3, 2, 0))),
        ((4, 2, 40), None),
        ((100, 0, 0), None),
        ((127, 0, 0), None),
    ];
    let pointer = |at: u32| match at {
        0 => Some(0),
        1 => Some(1),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    };
    for at in (0..=40).chain([255, 256, u32::MAX]) {
        rows.push(((4, 0, at), pointer(at).map(|it| (12, 0, it << 24))));
    }
    for protocol in Protocol::PORTED {
        let site = dual();
        let received = received(&site, protocol, 64);
        for from in [CLIENT.0, INNER_ROUTER] {
            for (given, wanted) in &rows {
                let error = Sketch6::error(*given, ip6(from), &received.after.bytes, 112);
                let left = send6(&site, INSIDE, &error);
                match wanted {
                    Some(wanted) => {
                        assert_eq!(left.reason, Reason::ErrorTranslated, "{given:?}");
                        assert_eq!(row(&left), *wanted, "{given:?}");
                        // RFC 5508 REQ-4: nothing inside shows.
                        let external = whole(&received.before.bytes).expect("a packet").target;
                        is_about(&left, external, &received);
                    }
                    None => assert_eq!(left.reason, Reason::IcmpError, "{given:?}"),
                }
            }
        }
    }
}

/// An error comes from there, goes to whoever sent a packet, and quotes that as it was sent.
fn is_about(left: &Left, from: Ip6, about: &Left) {
    let error = packet(left);
    let (_, wanted) = tuple_of(&about.before.bytes);
    assert_eq!((error.source, error.target), (from, wanted.source));
    let inner = quoted(&error.body).expect("a quotation");
    assert_eq!(inner.tuple().expect("a transport header").1, wanted);
}

/// RFC 7915 §4.2: with what IPv6 headers are longer, never below what every IPv6 link takes, and never
/// more than our own link does.
#[test]
fn fragmentation_needed_becomes_packet_too_big() {
    for (told, wanted) in [
        (68, 1280),
        (1259, 1280),
        (1260, 1280),
        (1261, 1281),
        (1400, 1420),
        (1480, 1500),
        (1490, 1500),
        (65_535, 1500),
    ] {
        let site = dual();
        let sent = sent(&site, Protocol::Udp, 1400);
        let left = site.send(OUTSIDE, &error4((3, 4, told), &sent.after.bytes, 548));
        assert_eq!(left.reason, Reason::ErrorTranslated);
        assert_eq!(row(&left), (2, 0, wanted), "{told}");
    }
}

/// RFC 7915 §4.2, RFC 1191 §7.1.
#[test]
fn a_router_that_does_not_say_how_big_is_guessed_at() {
    for (payload, wanted) in [(1444, 1280), (1200, 1280), (600, 1280), (20, 1280)] {
        let site = dual();
        let sent = sent(&site, Protocol::Udp, payload);
        let left = site.send(OUTSIDE, &error4((3, 4, 0), &sent.after.bytes, 28));
        assert_eq!(row(&left), (2, 0, wanted), "{payload}");
    }
    // As if it had been longer, which only its header says.
    for (total, wanted) in [(1492_u16, 1280), (1493, 1500), (2002, 1500), (65_535, 1500)] {
        let site = dual();
        let sent = sent(&site, Protocol::Udp, 64);
        let mut error = error4((3, 4, 0), &sent.after.bytes, 28);
        error.payload[2..4].copy_from_slice(&total.to_be_bytes());
        error.payload[10..12].fill(0);
        let check = !crate::rig::sums::sum(&error.payload[..20]);
        error.payload[10..12].copy_from_slice(&check.to_be_bytes());
        let left = site.send(OUTSIDE, &error);
        assert_eq!(row(&left), (2, 0, wanted), "{total}");
    }
}

/// RFC 7915 §5.2: less what IPv6 headers are longer, and never more than our own link takes.
#[test]
fn packet_too_big_becomes_fragmentation_needed() {
    for (told, wanted) in [
        (1280, 1260),
        (1400, 1380),
        (1500, 1480),
        (1520, 1500),
        (9000, 1500),
        (65_555, 1500),
        (u32::MAX, 1500),
        (68, 48),
        (0, 0),
    ] {
        let site = dual();
        let received = received(&site, Protocol::Udp, 1400);
        let error = Sketch6::error((2, 0, told), ip6(INNER_ROUTER), &received.after.bytes, 1232);
        let left = send6(&site, INSIDE, &error);
        assert_eq!(left.reason, Reason::ErrorTranslated);
        assert_eq!(row(&left), (3, 4, wanted), "{told}");
    }
    // By a link that takes less than either says.
    let site = dual();
    let narrow = Sketch6::first(
        Protocol::Udp,
        towards(Prefix64::WELL_KNOWN, NARROW, Protocol::Udp),
    );
    let left = out(&site, &narrow);
    let answer = Sketch::answer(Protocol::Udp, answering(&left.after.bytes)).payload(&[1; 500]);
    let back = site.send(OUTSIDE, &answer);
    let error = Sketch6::error((2, 0, 1280), ip6(INNER_ROUTER), &back.after.bytes, 400);
    assert_eq!(row(&send6(&site, INSIDE, &error)), (3, 4, 576));
}

/// RFC 7915 §4.3, §5.3, RFC 792, RFC 4443 §2.4 (c): of whatever length the quotation is.
#[test]
fn quotations_of_every_length_are_translated_and_no_error_is_longer_than_every_link_takes() {
    for protocol in Protocol::PORTED {
        for length in (28..70).chain([548, 576, 1179, 1180, 1181, 1200, 1260, 1400]) {
            let site = dual();
            let sent = sent(&site, protocol, 1300);
            let left = site.send(OUTSIDE, &error4((3, 1, 0), &sent.after.bytes, length));
            assert_eq!(
                left.reason,
                Reason::ErrorTranslated,
                "{protocol:?} {length}"
            );
            is_about(&left, Prefix64::WELL_KNOWN.embed(ROUTER), &sent);
            assert!(left.after.bytes.len() <= 14 + 1280);
        }
        for length in (48..90).chain([548, 1200, 1232]) {
            let site = dual();
            let received = received(&site, protocol, 1300);
            let error = Sketch6::error((1, 4, 0), ip6(CLIENT.0), &received.after.bytes, length);
            let left = send6(&site, INSIDE, &error);
            assert_eq!(
                left.reason,
                Reason::ErrorTranslated,
                "{protocol:?} {length}"
            );
            let external = whole(&received.before.bytes).expect("a packet").target;
            is_about(&left, external, &received);
        }
    }
}

/// RFC 7915 §5.2, §5.1.1: less what the fragment header is long, too; quoted as the fragment that it was.
#[test]
fn an_error_about_a_fragment_is_about_its_flow() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (given, wanted) in [
            ((1, 4, 0), (3, 3, 0)),
            ((2, 0, 1400), (3, 4, 1372)),
            ((3, 1, 0), (11, 1, 0)),
        ] {
            for length in [56, 100, 400] {
                let site = dual();
                let answer = begun(&site, protocol).payload(&[7; 900]);
                let parts = fragments4(&answer, &[512]);
                let first = site.send_bytes(OUTSIDE, parts[0].clone());
                let later = site.send_bytes(OUTSIDE, parts[1].clone());
                assert_eq!(first.reason, Reason::TranslatedIn);

                let about = &first.after.bytes;
                let error = Sketch6::error(given, ip6(INNER_ROUTER), about, length);
                let left = send6(&site, INSIDE, &error);

                assert_eq!(left.reason, Reason::ErrorTranslated, "{protocol:?}");
                assert_eq!(row(&left), wanted);
                let external = whole(&first.before.bytes).expect("a packet").target;
                is_about(&left, external, &first);
                let (inner, sent) = (quoted(&packet(&left).body), whole(&first.before.bytes));
                let (inner, sent) = (inner.expect("a quotation"), sent.expect("a packet"));
                assert_eq!(inner.part, sent.part);
                assert!(inner.has_right_header);
                assert_eq!(inner.body[..8], sent.body[..8]);

                // Nobody knows whose a later one was.
                let about = &later.after.bytes;
                let error = Sketch6::error(given, ip6(INNER_ROUTER), about, length);
                assert_eq!(send6(&site, INSIDE, &error).reason, Reason::IcmpError);
            }
        }
    }
}

/// RFC 6146 §3.4: not enough is quoted to tell whose it is.
#[test]
fn an_error_that_quotes_too_little_is_dropped() {
    let site = dual();
    let sent = sent(&site, Protocol::Udp, 64);
    for length in [0, 19, 20, 27] {
        let left = site.send(OUTSIDE, &error4((3, 1, 0), &sent.after.bytes, length));
        assert_eq!(left.reason, Reason::IcmpError, "{length}");
    }
    let received = received(&site, Protocol::Udp, 64);
    for length in [0, 39, 40, 47] {
        let about = &received.after.bytes;
        let error = Sketch6::error((1, 4, 0), ip6(CLIENT.0), about, length);
        assert_ne!(
            send6(&site, INSIDE, &error).reason,
            Reason::ErrorTranslated,
            "{length}"
        );
    }
}

/// RFC 7915 §4.3, §5.3: the translation stops at the first embedded header.
#[test]
fn an_error_about_an_error_is_about_no_flow() {
    let site = dual();
    let sent = sent(&site, Protocol::Udp, 64);
    let inner = error4((3, 1, 0), &sent.after.bytes, 28).frame();
    let outer = error4((3, 1, 0), &inner.bytes, 56);
    assert_ne!(site.send(OUTSIDE, &outer).reason, Reason::ErrorTranslated);

    let received = received(&site, Protocol::Udp, 64);
    let inner = Sketch6::error((1, 4, 0), ip6(CLIENT.0), &received.after.bytes, 64).frame();
    let outer = Sketch6::error((1, 4, 0), ip6(CLIENT.0), &inner.bytes, 112);
    assert_ne!(send6(&site, INSIDE, &outer).reason, Reason::ErrorTranslated);
}

#[test]
fn a_damaged_error_is_dropped() {
    let site = dual();
    let sent = sent(&site, Protocol::Udp, 64);
    let mut error = error4((3, 1, 0), &sent.after.bytes, 64);
    error.payload[10] ^= 1;
    assert_eq!(site.send(OUTSIDE, &error).reason, Reason::IcmpError);

    let received = received(&site, Protocol::Udp, 64);
    let error = Sketch6::error((1, 4, 0), ip6(CLIENT.0), &received.after.bytes, 64);
    let mut frame = crate::rig::dual::arriving(INSIDE, &error).frame();
    frame.bytes[60] ^= 1;
    assert_eq!(
        crate::rig::take(&site.memory, frame).reason,
        Reason::IcmpError
    );
}

#[test]
fn an_error_whose_hops_run_out_is_dropped_without_a_word() {
    let site = dual();
    let sent = sent(&site, Protocol::Udp, 64);
    let late = error4((3, 1, 0), &sent.after.bytes, 64).ttl(1);
    assert_eq!(site.send(OUTSIDE, &late).reason, Reason::TtlExceeded);

    let received = received(&site, Protocol::Udp, 64);
    let late = Sketch6::error((1, 4, 0), ip6(CLIENT.0), &received.after.bytes, 64).hops(1);
    assert_eq!(send6(&site, INSIDE, &late).reason, Reason::TtlExceeded);
}

/// What follows the quotation (RFC 4884): 128 bytes of it, and a structure of sixteen.
fn with_structure(quotation: &[u8]) -> Vec<u8> {
    let mut payload = quotation.to_vec();
    payload.resize(128, 0);
    payload.extend([0x20, 0, 0, 0, 0, 12, 1, 1, 0, 1, 2, 3, 0, 4, 5, 6]);
    payload
}

/// RFC 7915 §4.2: how long the quotation is, is said anew, where ICMPv6 can say so; else what follows it
/// is cut off.
#[test]
fn structures_behind_a_quotation_are_found_where_icmpv6_says() {
    for (given, is_kept) in [
        ((3, 1), true),
        ((3, 13), true),
        ((11, 0), true),
        ((3, 2), false),
        ((12, 0), false),
    ] {
        // As words of four bytes: IPv6's header makes 128 bytes 148, which are no words of eight.
        for words in [32_usize, 33] {
            let site = dual();
            let sent = sent(&site, Protocol::Udp, 300);
            let rest = (words as u32) << 16;
            let mut error = error4((given.0, given.1, rest), &sent.after.bytes, 128);
            error.payload = sent.after.bytes[14..14 + words * 4].to_vec();
            let structure = [0x20, 0, 0, 0, 0, 12, 1, 1, 0, 1, 2, 3, 0, 4, 5, 6];
            error.payload.extend(structure);

            let left = site.send(OUTSIDE, &error);

            assert_eq!(left.reason, Reason::ErrorTranslated);
            let (kind, _, rest) = row(&left);
            let body = packet(&left).body;
            let length = words * 4 + 20;
            if is_kept && length % 8 == 0 {
                assert_eq!(rest, (length as u32 / 8) << 24, "{given:?} {words}");
                assert_eq!(body[8 + length..], structure);
            } else {
                let wanted = match (kind, given) {
                    (4, (3, _)) => 6,
                    _ => 0,
                };
                assert_eq!(rest, wanted, "{given:?} {words}");
                assert_eq!(body.len(), 8 + length, "{given:?} {words}");
            }
        }
    }
}

/// RFC 7915 §5.2.
#[test]
fn structures_behind_a_quotation_are_found_where_icmp_says() {
    for kind in [1, 3] {
        let site = dual();
        let received = received(&site, Protocol::Udp, 300);
        let mut error = Sketch6::error(
            (kind, 0, 16 << 24),
            ip6(CLIENT.0),
            &received.after.bytes,
            128,
        );
        error.payload = with_structure(&error.payload);

        let left = send6(&site, INSIDE, &error);

        assert_eq!(left.reason, Reason::ErrorTranslated);
        let (_, _, rest) = row(&left);
        assert_eq!(rest, ((128 - 20) / 4) << 16);
        assert_eq!(packet(&left).body[8 + 108..], error.payload[128..]);
    }
}

/// RFC 6146 §3.4: as the flow it is about, whoever tells of it.
#[test]
fn a_quoted_packet_may_have_ip_options() {
    let site = dual();
    let sent = sent(&site, Protocol::Udp, 64);
    let mut error = error4((3, 1, 0), &sent.after.bytes, 64);
    let mut header = error.payload[..20].to_vec();
    header[0] = 0x48;
    header.extend([1; 12]);
    header[10..12].fill(0);
    let check = !crate::rig::sums::sum(&header);
    header[10..12].copy_from_slice(&check.to_be_bytes());
    error.payload = [header, error.payload[20..].to_vec()].concat();

    let left = site.send(OUTSIDE, &error);

    assert_eq!(left.reason, Reason::ErrorTranslated);
    is_about(&left, Prefix64::WELL_KNOWN.embed(ROUTER), &sent);
}

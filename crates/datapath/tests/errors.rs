//! ICMP errors about flows (RFC 5508 §4, RFC 4787 REQ-10, RFC 5382 REQ-9): whoever sent the packet is
//! told, and recognises it.

use abi::{Behaviour, Dependence, Ip4, Protocol, Reason, Tuple};
use gateway::intent::Pool;

use crate::rig::{
    Left, Site, Sketch,
    site::{ARM, INSIDE, OUTSIDE, from_pool, intent, pool, rule, tuple, usual},
    sketch::read,
};

const CLIENT: ([u8; 4], u16) = ([10, 1, 0, 1], 4000);
const OTHER: ([u8; 4], u16) = ([10, 1, 0, 2], 5000);
const REMOTE: ([u8; 4], u16) = ([198, 51, 100, 4], 440);
/// Routers on the way, outside and inside.
const ROUTER: Ip4 = Ip4([203, 0, 113, 77]);
const INNER_ROUTER: Ip4 = Ip4([10, 255, 0, 1]);
/// Unreachable, time exceeded, parameter problem.
const KINDS: [u8; 3] = [3, 11, 12];

fn remote(protocol: Protocol) -> ([u8; 4], u16) {
    match protocol {
        Protocol::Icmp | Protocol::Gre | Protocol::Esp => (REMOTE.0, 0),
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp => REMOTE,
    }
}

/// A packet on its way out.
fn out(site: &Site, protocol: Protocol) -> Left {
    let sketch = Sketch::first(protocol, tuple(CLIENT, remote(protocol)));
    let left = site.send(INSIDE, &sketch.payload(&[7; 64]));
    assert_eq!(left.reason, Reason::TranslatedOut);
    left
}

/// The answer to that, as it reaches the client.
fn back(site: &Site, protocol: Protocol) -> Left {
    let seen = read(&out(site, protocol).after.bytes)
        .expect("such a packet")
        .1;
    let left = site.send(OUTSIDE, &Sketch::answer(protocol, seen.reversed()));
    assert_eq!(left.reason, Reason::TranslatedIn);
    left
}

/// Source and target of a frame.
fn ends(frame: &[u8]) -> (Ip4, Ip4) {
    let address = |at: usize| Ip4([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    (address(26), address(30))
}

/// The tuple of the packet that an error quotes.
fn quoted(error: &Left) -> Tuple {
    let bytes = &error.after.bytes;
    let header = usize::from(bytes[14] & 0x0f) * 4;
    let mut inner = [&[0; 14], &bytes[14 + header + 8..]].concat();
    // As long as what is there.
    let total = (inner.len() - 14) as u16;
    inner[16..18].copy_from_slice(&total.to_be_bytes());
    read(&inner).expect("the quoted packet").1
}

#[test]
fn an_error_from_outside_reaches_the_client_about_what_it_sent() {
    for protocol in Protocol::PORTED {
        for kind in KINDS {
            // RFC 792's eight bytes, and as much as RFC 1812 allows.
            for length in [28, 48, 548] {
                let site = Site::new(usual(), 16);
                let sent = out(&site, protocol);

                let error = Sketch::error(kind, ROUTER, &sent.after.bytes, length);
                let left = site.send(OUTSIDE, &error);

                assert_eq!(left.reason, Reason::ErrorTranslated, "{protocol:?} {kind}");
                assert_eq!(ends(&left.after.bytes), (ROUTER, Ip4(CLIENT.0)));
                let asked = read(&sent.before.bytes).expect("such a packet").1;
                assert_eq!(quoted(&left), asked);
            }
        }
    }
}

/// RFC 5508 REQ-5: nothing inside shows.
#[test]
fn an_error_from_inside_reaches_the_remote_from_the_external_address() {
    for protocol in Protocol::PORTED {
        for from in [Ip4(CLIENT.0), INNER_ROUTER] {
            let site = Site::new(usual(), 16);
            let sent = back(&site, protocol);
            let external = ends(&sent.before.bytes).1;

            let error = Sketch::error(3, from, &sent.after.bytes, 28);
            let left = site.send(INSIDE, &error);

            assert_eq!(left.reason, Reason::ErrorTranslated, "{protocol:?}");
            assert_eq!(ends(&left.after.bytes), (external, Ip4(REMOTE.0)));
            let answer = read(&sent.before.bytes).expect("such a packet").1;
            assert_eq!(quoted(&left), answer);
        }
    }
}

/// RFC 5508 REQ-7.
#[test]
fn an_error_between_two_clients_shows_neither_of_them_the_other() {
    for from in [Ip4(OTHER.0), INNER_ROUTER] {
        let open = Pool {
            behaviour: Behaviour::new(
                [Dependence::Endpoint; 3],
                [Dependence::Endpoint; 3],
                true,
                0,
            ),
            ..pool("web", 1..=3, (1024, 65535))
        };
        let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
        let site = Site::new(intent(vec![open], rules), 16);
        let known = site.send(INSIDE, &Sketch::first(Protocol::Udp, tuple(OTHER, REMOTE)));
        let other = read(&known.after.bytes).expect("such a packet").1;
        let end = (other.source.0, other.source_port.get());
        let call = site.send(INSIDE, &Sketch::first(Protocol::Udp, tuple(CLIENT, end)));
        assert_eq!(call.reason, Reason::TranslatedOut);

        let error = Sketch::error(3, from, &call.after.bytes, 28);
        let left = site.send(ARM, &error);

        assert_eq!(left.reason, Reason::ErrorTranslated);
        assert_eq!(ends(&left.after.bytes), (other.source, Ip4(CLIENT.0)));
        assert_eq!(quoted(&left), tuple(CLIENT, end));
    }
}

/// RFC 5508 REQ-6, RFC 5382 REQ-10, RFC 4787 REQ-12.
#[test]
fn an_error_neither_refreshes_nor_ends_the_flow_it_is_about() {
    let mut site = Site::new(usual(), 16);
    let sent = out(&site, Protocol::Tcp);
    let entries = |site: &Site| {
        let mut all: Vec<_> = site.memory.v4.flows.all().into_iter().collect();
        all.sort_by_key(|(key, _)| *key);
        all.into_iter()
            .map(|(key, flow)| (key, flow.picture()))
            .map(|(key, flow)| (key, flow.last_seen, flow.seen, flow.packets()))
            .collect::<Vec<_>>()
    };
    let before = entries(&site);
    site.pass(std::time::Duration::from_secs(100));

    for kind in KINDS {
        let error = Sketch::error(kind, ROUTER, &sent.after.bytes, 28);
        assert_eq!(site.send(OUTSIDE, &error).reason, Reason::ErrorTranslated);
    }

    assert_eq!(entries(&site), before);
}

/// RFC 5508 REQ-3 b: the transport header is behind the options.
#[test]
fn a_quoted_packet_may_have_ip_options() {
    let site = Site::new(usual(), 16);
    let mut sketch = Sketch::first(Protocol::Udp, tuple(CLIENT, REMOTE));
    sketch.options = vec![1; 12];
    let sent = site.send(INSIDE, &sketch);
    assert_eq!(sent.reason, Reason::TranslatedOut);

    let error = Sketch::error(3, ROUTER, &sent.after.bytes, 20 + 12 + 8);
    let left = site.send(OUTSIDE, &error);

    assert_eq!(left.reason, Reason::ErrorTranslated);
    assert_eq!(ends(&left.after.bytes), (ROUTER, Ip4(CLIENT.0)));
}

/// RFC 5508 REQ-3 d: what stands behind the quoted packet (RFC 4884) is left alone, of whatever
/// length.
#[test]
fn extensions_behind_the_quoted_packet_stay_as_they_are() {
    for extra in 0..9 {
        let site = Site::new(usual(), 16);
        let sent = out(&site, Protocol::Udp);
        let mut error = Sketch::error(11, ROUTER, &sent.after.bytes, 128);
        error.payload.resize(128, 0);
        error.payload.extend(vec![0xa5; extra]);

        let left = site.send(OUTSIDE, &error);

        assert_eq!(left.reason, Reason::ErrorTranslated, "{extra} more bytes");
    }
}

/// RFC 5508 REQ-3, REQ-3 a.
#[test]
fn a_damaged_error_is_dropped() {
    let site = Site::new(usual(), 16);
    let sent = out(&site, Protocol::Udp);
    let error = Sketch::error(3, ROUTER, &sent.after.bytes, 28);
    let damaged_error = {
        let mut bytes = Sketch {
            ingress: OUTSIDE,
            to: crate::rig::site::own_mac(OUTSIDE),
            ..error.clone()
        }
        .frame()
        .bytes;
        bytes[36] ^= 1;
        bytes
    };
    let mut damaged_quote = error;
    damaged_quote.payload[10] ^= 1;

    assert_eq!(
        site.send_bytes(OUTSIDE, damaged_error).reason,
        Reason::IcmpError
    );
    assert_eq!(site.send(OUTSIDE, &damaged_quote).reason, Reason::IcmpError);
}

#[test]
fn an_error_about_nothing_of_ours_is_dropped_if_it_is_for_us_and_passed_if_not() {
    let site = Site::new(usual(), 16);
    let sent = out(&site, Protocol::Udp);
    let mut unknown = Sketch::error(3, ROUTER, &sent.after.bytes, 28);
    unknown.payload[21] ^= 1;
    let elsewhere = Sketch {
        target: Ip4([172, 16, 0, 1]),
        ..unknown.clone()
    };

    assert_eq!(site.send(OUTSIDE, &unknown).reason, Reason::IcmpError);
    assert_eq!(site.send(OUTSIDE, &elsewhere).reason, Reason::NoRule);
}

/// A redirect is about the sender's own link, and source quench is deprecated (RFC 6633).
#[test]
fn redirects_source_quench_and_errors_whose_ttl_runs_out_are_dropped() {
    let site = Site::new(usual(), 16);
    let sent = out(&site, Protocol::Udp);
    let redirect = Sketch::error(5, ROUTER, &sent.after.bytes, 28);
    let late = Sketch::error(3, ROUTER, &sent.after.bytes, 28).ttl(1);

    let quench = Sketch::error(4, ROUTER, &sent.after.bytes, 28);

    assert_eq!(site.send(OUTSIDE, &redirect).reason, Reason::IcmpError);
    assert_eq!(site.send(OUTSIDE, &quench).reason, Reason::IcmpError);
    assert_eq!(site.send(OUTSIDE, &late).reason, Reason::TtlExceeded);
}

/// No error is ever made about an error (RFC 1122 §3.2.2).
#[test]
fn a_quoted_error_is_about_no_flow() {
    let site = Site::new(usual(), 16);
    let sent = out(&site, Protocol::Udp);
    let inner = Sketch::error(3, ROUTER, &sent.after.bytes, 28).frame();

    let outer = Sketch::error(3, ROUTER, &inner.bytes, 56);

    assert_eq!(site.send(OUTSIDE, &outer).reason, Reason::NoRule);
}

/// RFC 5508 REQ-3 c: the quoted transport checksum is mended, not judged.
#[test]
fn a_wrong_transport_checksum_in_the_quoted_packet_is_no_reason_to_drop_the_error() {
    let site = Site::new(usual(), 16);
    let sent = out(&site, Protocol::Udp);
    let mut error = Sketch::error(3, ROUTER, &sent.after.bytes, 548);
    error.payload[26] ^= 0x55;

    assert_eq!(site.send(OUTSIDE, &error).reason, Reason::ErrorTranslated);
}

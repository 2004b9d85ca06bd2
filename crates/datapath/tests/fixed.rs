//! Prefixes that are translated one to one (RFC 3022 §2.1, RFC 6296): by addresses alone, in both
//! directions, and so that every checksum is as right as it was. That one holds of every frame, and
//! stands with the laws.

use abi::{Address, Ip4, Ip6, Protocol, Reason};
use datapath::Exit;
use gateway::intent::Intent;
use proptest::prelude::*;

use crate::{
    cases,
    rig::{
        Left, Site, Sketch, Sketch6,
        dual::{both, own_prefix, send6},
        site::{ARM, INSIDE, NARROW_MTU, OUTSIDE, fixed, tuple},
        sketch::{Message, read},
        sketch6::{ip6, tuple6},
        sums::{ones_add, split, sum},
        whole::{quoted, whole},
    },
};

/// Hosts behind a prefix, and outside.
const HOST: [u8; 4] = [10, 3, 0, 7];
const FIXED: [u8; 4] = [198, 19, 0, 7];
const OTHER: [u8; 4] = [10, 3, 0, 8];
const OTHER_FIXED: [u8; 4] = [198, 19, 0, 8];
const REMOTE: [u8; 4] = [198, 51, 100, 4];
/// One that a pool's rule is for, and that has no address of its own outside.
const CLIENT: [u8; 4] = [10, 1, 0, 1];
const HOST6: &str = "fd01:203:405:1::1234";
/// As the example of RFC 6296, of another prefix.
const FIXED6: &str = "2001:db8:3:d54e::1234";
const OTHER6: &str = "fd01:203:405:1::1235";
const REMOTE6: &str = "2001:db8:1::4";

fn wanted() -> Intent {
    let mut intent = both([abi::Prefix64::WELL_KNOWN, own_prefix()]);
    intent.fixed = vec![
        fixed("10.3.0.0/16", "198.19.0.0/16"),
        fixed("fd01:203:405::/48", "2001:db8:3::/48"),
        fixed("fd04:1:2:300::/56", "2001:db8:4:500::/56"),
    ];
    intent.fixed[0].except = vec!["203.0.113.0/28".parse().expect("a prefix")];
    intent
}

fn site() -> Site {
    Site::new(wanted(), 64)
}

/// Source and target of a packet, as it left.
fn ends(left: &Left) -> (Ip6, Ip6) {
    let packet = whole(&left.after.bytes).expect("a packet");
    (packet.source, packet.target)
}

fn ends4(left: &Left) -> ([u8; 4], [u8; 4]) {
    let (source, target) = ends(left);
    (source.unmapped().0, target.unmapped().0)
}

fn packet(protocol: Protocol, source: [u8; 4], target: [u8; 4]) -> Sketch {
    Sketch::first(protocol, tuple((source, 4000), (target, 440)))
}

fn packet6(protocol: Protocol, source: &str, target: &str) -> Sketch6 {
    Sketch6::first(protocol, tuple6((source, 4000), (target, 440)))
}

fn flows(site: &Site) -> usize {
    site.memory.v4.flows.len() + site.memory.v6.flows.len()
}

#[test]
fn a_host_is_its_external_address_outside_in_both_directions_without_a_flow() {
    let site = site();
    for protocol in Protocol::ALL {
        let out = site.send(INSIDE, &packet(protocol, HOST, REMOTE));
        assert_eq!(out.reason, Reason::PrefixOut);
        assert_eq!(out.exit, Exit::Redirect(OUTSIDE));
        assert_eq!(ends4(&out), (FIXED, REMOTE));

        let call = site.send(OUTSIDE, &packet(protocol, REMOTE, FIXED));
        assert_eq!(call.reason, Reason::PrefixIn);
        assert_eq!(call.exit, Exit::Redirect(INSIDE));
        assert_eq!(ends4(&call), (REMOTE, HOST));

        let out = send6(&site, INSIDE, &packet6(protocol, HOST6, REMOTE6));
        assert_eq!(out.reason, Reason::PrefixOut);
        assert_eq!(ends(&out), (ip6(FIXED6), ip6(REMOTE6)));

        let call = send6(&site, OUTSIDE, &packet6(protocol, REMOTE6, FIXED6));
        assert_eq!(call.reason, Reason::PrefixIn);
        assert_eq!(ends(&call), (ip6(REMOTE6), ip6(HOST6)));
    }
    assert_eq!(flows(&site), 0);
}

/// RFC 6296 §6: nothing of the transport header is touched; also where it is not ours to know.
#[test]
fn every_protocol_is_translated_and_ports_stay() {
    let site = site();
    for number in 0..=255 {
        if matches!(number, 1 | 6 | 17 | 33 | 136) {
            continue;
        }
        let mut sketch = packet(Protocol::Udp, HOST, REMOTE).payload(&[7; 40]);
        sketch.message = Message::Other(number);
        let left = site.send(INSIDE, &sketch);
        assert_eq!(left.reason, Reason::PrefixOut, "protocol {number}");
        assert_eq!(ends4(&left), (FIXED, REMOTE));
        assert_eq!(left.after.bytes[34..], left.before.bytes[34..]);

        // Headers that mean something else in IPv6 are none of a transport.
        if matches!(number, 0 | 43 | 44 | 58 | 60) {
            continue;
        }
        let mut sketch = packet6(Protocol::Udp, HOST6, REMOTE6).payload(&[7; 40]);
        sketch.message = Message::Other(number);
        let left = send6(&site, INSIDE, &sketch);
        assert_eq!(left.reason, Reason::PrefixOut, "protocol {number}");
        assert_eq!(left.after.bytes[54..], left.before.bytes[54..]);
    }
}

/// RFC 4340 §9, RFC 3828: their checksums cover the addresses, as TCP's and UDP's.
#[test]
fn the_checksums_of_dccp_and_udp_lite_stay_right() {
    let site = site();
    for number in [33, 136] {
        let mut sketch = packet(Protocol::Udp, HOST, REMOTE).payload(&[7; 40]);
        sketch.message = Message::Other(number);
        let pseudo = |source: [u8; 4]| {
            let addresses = ones_add(sum(&source), sum(&REMOTE));
            ones_add(ones_add(addresses, u16::from(number)), 40)
        };
        sketch.payload[6..8].fill(0);
        let check = !ones_add(pseudo(HOST), sum(&sketch.payload));
        sketch.payload[6..8].copy_from_slice(&check.to_be_bytes());

        let left = site.send(INSIDE, &sketch);

        assert_eq!(left.reason, Reason::PrefixOut);
        let (_, data) = split(&left.after.bytes).expect("a packet");
        assert_eq!(ones_add(pseudo(FIXED), sum(data)), 0xffff);
    }
}

#[test]
fn fragments_are_translated_in_any_order() {
    let site = site();
    let whole = packet(Protocol::Udp, HOST, REMOTE).payload(&[7; 72]);
    for part in [(false, 10), (true, 0), (true, 5)] {
        let left = site.send(
            INSIDE,
            &Sketch {
                part,
                ..whole.clone()
            },
        );
        assert_eq!(left.reason, Reason::PrefixOut, "{part:?}");
        assert_eq!(ends4(&left), (FIXED, REMOTE));
    }
    let parts = packet6(Protocol::Udp, HOST6, REMOTE6)
        .payload(&[7; 72])
        .fragments(9, &[32, 64]);
    for part in parts.iter().rev() {
        let mut bytes = part.bytes.clone();
        bytes[..6].copy_from_slice(&crate::rig::site::own_mac(INSIDE));
        let left = site.send_bytes(INSIDE, bytes);
        assert_eq!(left.reason, Reason::PrefixOut);
        assert_eq!(ends(&left), (ip6(FIXED6), ip6(REMOTE6)));
    }
}

/// Its checksum is in a fragment that comes later, and would be wrong (RFC 1858 §3).
#[test]
fn a_first_fragment_without_the_checksum_is_dropped() {
    let site = site();
    let mut tiny = packet(Protocol::Tcp, HOST, REMOTE);
    (tiny.message, tiny.payload, tiny.part) = (Message::Other(6), vec![0; 16], (true, 0));

    assert_eq!(site.send(INSIDE, &tiny).reason, Reason::Fragment);
    tiny.part = (false, 0);
    assert_eq!(site.send(INSIDE, &tiny).reason, Reason::Protocol);
}

/// RFC 5508 REQ-7, RFC 6296 §4.3: each is known to the other by the external address.
#[test]
fn two_hosts_reach_each_other_by_their_external_addresses() {
    let site = site();
    for protocol in Protocol::ALL {
        let left = site.send(INSIDE, &packet(protocol, HOST, OTHER_FIXED));
        assert_eq!(left.reason, Reason::PrefixOut);
        assert_eq!(left.exit, Exit::Transmit);
        assert_eq!(ends4(&left), (FIXED, OTHER));

        let back = site.send(INSIDE, &packet(protocol, OTHER, FIXED));
        assert_eq!(ends4(&back), (OTHER_FIXED, HOST));

        let seen = send6(&site, INSIDE, &packet6(protocol, OTHER6, REMOTE6));
        let other = ends(&seen).0;
        let mut sketch = packet6(protocol, HOST6, REMOTE6);
        sketch.target = other;
        let left = send6(&site, INSIDE, &sketch);
        assert_eq!(left.reason, Reason::PrefixOut);
        assert_eq!(ends(&left), (ip6(FIXED6), ip6(OTHER6)));
    }
}

#[test]
fn what_stays_inside_and_what_is_excepted_is_left_to_the_rules() {
    let site = site();
    let inside = site.send(INSIDE, &packet(Protocol::Udp, HOST, OTHER));
    assert_eq!(inside.reason, Reason::RulePass);
    let inside = send6(&site, INSIDE, &packet6(Protocol::Udp, HOST6, OTHER6));
    assert_eq!(inside.reason, Reason::RulePass);

    let remote = [203, 0, 113, 9];
    let excepted = site.send(INSIDE, &packet(Protocol::Udp, HOST, remote));
    assert_eq!(excepted.reason, Reason::TranslatedOut, "by a rule");
    let call = site.send(OUTSIDE, &packet(Protocol::Udp, remote, FIXED));
    assert_eq!(call.reason, Reason::NoRule);
    let near = site.send(INSIDE, &packet(Protocol::Udp, HOST, [203, 0, 113, 16]));
    assert_eq!(near.reason, Reason::PrefixOut);
}

#[test]
fn an_ipv4_target_behind_a_nat64_prefix_is_reached_through_the_pool() {
    let site = site();
    let left = send6(
        &site,
        INSIDE,
        &packet6(Protocol::Udp, HOST6, "64:ff9b::198.51.100.4"),
    );

    assert_eq!(left.reason, Reason::TranslatedOut);
    assert_eq!(whole(&left.after.bytes).expect("a packet").version, 4);
}

#[test]
fn flows_that_were_there_before_a_prefix_go_on() {
    let mut intent = wanted();
    let prefixes = std::mem::take(&mut intent.fixed);
    let mut site = Site::new(intent.clone(), 64);
    let sketch = packet(Protocol::Udp, HOST, REMOTE).payload(&[7; 64]);
    let first = site.send(INSIDE, &sketch);
    assert_eq!(first.reason, Reason::TranslatedOut);

    intent.fixed = prefixes;
    site.handle(gateway::Event::Configure(Box::new(intent)));

    assert_eq!(site.send(INSIDE, &sketch).reason, Reason::TranslatedOut);
    for part in [(true, 0), (false, 9)] {
        let left = site.send(
            INSIDE,
            &Sketch {
                part,
                ..sketch.clone()
            },
        );
        assert_eq!(left.reason, Reason::TranslatedOut, "{part:?}");
    }
    let answer = read(&first.after.bytes).expect("a packet").1.reversed();
    let back = site.send(OUTSIDE, &Sketch::answer(Protocol::Udp, answer));
    let error = Sketch::error(3, Ip4(HOST), &back.after.bytes, 28);
    assert_eq!(site.send(INSIDE, &error).reason, Reason::ErrorTranslated);
    let new = packet(Protocol::Udp, HOST, [198, 51, 100, 5]);
    assert_eq!(site.send(INSIDE, &new).reason, Reason::PrefixOut);
}

/// The host sees the pool's address, and its answers come back by the client's flow.
#[test]
fn a_client_of_a_pool_reaches_a_fixed_address_by_a_flow() {
    let site = site();
    for protocol in Protocol::ALL {
        let left = site.send(INSIDE, &packet(protocol, CLIENT, FIXED));
        assert_eq!(left.reason, Reason::TranslatedOut, "{protocol:?}");
        let (source, target) = ends4(&left);
        assert_eq!((source[..3].to_vec(), target), (vec![192, 0, 2], HOST));

        let sent = read(&left.after.bytes).expect("a packet").1;
        let back = site.send(INSIDE, &Sketch::answer(protocol, sent.reversed()));
        assert_eq!(back.reason, Reason::TranslatedIn);
        assert_eq!(ends4(&back), (FIXED, CLIENT));
    }
    let left = send6(&site, INSIDE, &packet6(Protocol::Tcp, "fd05::1", FIXED6));
    assert_eq!(left.reason, Reason::TranslatedOut);
    assert_eq!(ends(&left).1, ip6(HOST6));
    // And from IPv6 by the address that stands for the IPv4 one.
    let left = send6(
        &site,
        INSIDE,
        &packet6(Protocol::Tcp, "fd05::1", "64:ff9b::198.19.0.7"),
    );
    assert_eq!(left.reason, Reason::TranslatedOut);
    assert_eq!(ends(&left).1.ip4(), Some(Ip4(HOST)));
}

/// Its flow is not looked for before it is known that no prefix wants it.
#[test]
fn a_packet_with_extension_headers_finds_its_flow_beside_prefixes() {
    let site = site();
    let sketch = packet6(Protocol::Udp, "fd05::1", REMOTE6);
    assert_eq!(send6(&site, INSIDE, &sketch).reason, Reason::TranslatedOut);

    let left = send6(&site, INSIDE, &sketch.extension(60, 8));

    assert_eq!(left.reason, Reason::TranslatedOut);
    assert_eq!(flows(&site), 2, "both directions of one");
}

/// On one arm, who comes from outside comes by the same interface, and no rule is for them.
#[test]
fn a_gateway_on_one_arm_translates_both_directions() {
    let site = site();
    let out = site.send(ARM, &packet(Protocol::Udp, HOST, REMOTE));
    assert_eq!(
        (out.reason, ends4(&out)),
        (Reason::PrefixOut, (FIXED, REMOTE))
    );
    let call = site.send(ARM, &packet(Protocol::Udp, REMOTE, FIXED));
    assert_eq!(
        (call.reason, ends4(&call)),
        (Reason::PrefixIn, (REMOTE, HOST))
    );
}

#[test]
fn internal_addresses_that_come_from_outside_are_none_of_ours() {
    let site = site();
    let spoofed = site.send(OUTSIDE, &packet(Protocol::Udp, HOST, REMOTE));
    assert_eq!(spoofed.reason, Reason::ExternalRealm);
}

/// RFC 6296 §3.2, §3.7: told to whoever sent it.
#[test]
fn what_has_no_counterpart_is_dropped_and_its_sender_told() {
    let site = site();
    for (ingress, source, target, reason) in [
        (
            INSIDE,
            "fd01:203:405:ffff::1",
            REMOTE6,
            Reason::PrefixUnmapped,
        ),
        (
            OUTSIDE,
            REMOTE6,
            "2001:db8:3:ffff::1",
            Reason::PrefixUnmapped,
        ),
        (INSIDE, "fd01:203:405:1::", REMOTE6, Reason::PrefixZero),
        (OUTSIDE, REMOTE6, "2001:db8:3:1::", Reason::PrefixZero),
        (OUTSIDE, REMOTE6, "2001:db8:4:501::", Reason::PrefixZero),
    ] {
        let left = send6(&site, ingress, &packet6(Protocol::Udp, source, target));
        assert_eq!(left.reason, reason, "{source} {target}");
        assert_eq!(left.exit, Exit::Transmit, "the sender is told");
        let told = whole(&left.after.bytes).expect("an error").body;
        let pointer = if ingress == INSIDE { 16 } else { 32 };
        let expected = match reason == Reason::PrefixZero {
            true => (4, 0, pointer),
            false => (1, 0, 0),
        };
        assert_eq!((told[0], told[1], told[7]), expected);
    }
}

#[test]
fn a_packet_that_runs_out_of_hops_or_is_too_long_is_told_of() {
    let site = site();
    let late = site.send(INSIDE, &packet(Protocol::Udp, HOST, REMOTE).ttl(1));
    assert_eq!(late.reason, Reason::TimeExceededSent);
    let late = send6(
        &site,
        OUTSIDE,
        &packet6(Protocol::Udp, REMOTE6, FIXED6).hops(1),
    );
    assert_eq!(late.reason, Reason::TimeExceededSent);

    let narrow = [203, 0, 113, 77];
    let mut long = packet(Protocol::Udp, HOST, narrow).payload(&[7; 1000]);
    long.dont_fragment = true;
    let told = site.send(INSIDE, &long);
    assert_eq!(told.reason, Reason::TooBigSent);
    let (_, message) = split(&told.after.bytes).expect("an error");
    assert_eq!(message[6..8], NARROW_MTU.to_be_bytes());
    long.dont_fragment = false;
    assert_eq!(site.send(INSIDE, &long).reason, Reason::PrefixKernelSends);

    let long = packet6(Protocol::Udp, HOST6, "2001:db8:12::4").payload(&[7; 1300]);
    assert_eq!(send6(&site, INSIDE, &long).reason, Reason::TooBigSent);
}

#[test]
fn where_the_kernel_must_send_it_gets_the_packet_translated() {
    let site = site();
    for remote in [[198, 18, 0, 1], [198, 18, 3, 1]] {
        let left = site.send(INSIDE, &packet(Protocol::Udp, HOST, remote));
        assert_eq!(left.reason, Reason::PrefixKernelSends);
        assert_eq!(ends4(&left), (FIXED, remote));
    }
    let left = send6(
        &site,
        INSIDE,
        &packet6(Protocol::Udp, HOST6, "2001:db8:13::4"),
    );
    assert_eq!(left.reason, Reason::PrefixKernelSends);
    let nowhere = site.send(INSIDE, &packet(Protocol::Udp, HOST, [198, 18, 1, 1]));
    assert_eq!(nowhere.reason, Reason::NoRoute);
    let local = site.send(INSIDE, &packet(Protocol::Udp, HOST, [10, 255, 255, 1]));
    assert_eq!(local.reason, Reason::LocalDestination);
}

/// RFC 5508 REQ-4, REQ-5: both sides know the packet that an error is about, and nothing inside shows.
#[test]
fn errors_are_translated_with_what_they_quote_in_both_directions() {
    let site = site();
    let router = Ip4([203, 0, 113, 77]);
    for number in [1, 6, 17, 33, 47, 50, 132] {
        for length in [20, 28, 48, 548] {
            let mut sketch = packet(Protocol::Udp, HOST, REMOTE).payload(&[7; 64]);
            if let Some(protocol) = Protocol::from_number(number) {
                sketch = packet(protocol, HOST, REMOTE).payload(&[7; 64]);
            } else {
                sketch.message = Message::Other(number);
            }
            let sent = site.send(INSIDE, &sketch);
            let error = Sketch::error(3, router, &sent.after.bytes, length);
            let left = site.send(OUTSIDE, &error);
            assert_eq!(left.reason, Reason::ErrorTranslated, "{number} {length}");
            assert_eq!(ends(&left), (Ip6::mapped(router), Ip6::mapped(Ip4(HOST))));
            let body = whole(&left.after.bytes).expect("an error").body;
            let inner = quoted(&body).expect("a quotation");
            assert_eq!(inner.source.unmapped(), Ip4(HOST));
            assert_eq!(inner.target.unmapped(), Ip4(REMOTE));
        }
    }
    let call = site.send(OUTSIDE, &packet(Protocol::Udp, REMOTE, FIXED));
    for from in [HOST, [10, 255, 0, 1]] {
        let error = Sketch::error(3, Ip4(from), &call.after.bytes, 28);
        let left = site.send(INSIDE, &error);
        assert_eq!(left.reason, Reason::ErrorTranslated);
        assert_eq!(ends4(&left), (FIXED, REMOTE));
        let body = whole(&left.after.bytes).expect("an error").body;
        let inner = quoted(&body).expect("a quotation");
        assert_eq!(
            (inner.source.unmapped(), inner.target.unmapped()),
            (Ip4(REMOTE), Ip4(FIXED))
        );
    }
}

#[test]
fn errors_of_ipv6_are_translated_with_what_they_quote_in_both_directions() {
    let site = site();
    let router = ip6("2001:db8:9::9");
    for protocol in Protocol::ALL {
        let sent = send6(&site, INSIDE, &packet6(protocol, HOST6, REMOTE6));
        let error = Sketch6::error((2, 0, 1280), router, &sent.after.bytes, 1232);
        let left = send6(&site, OUTSIDE, &error);
        assert_eq!(left.reason, Reason::ErrorTranslated);
        assert_eq!(ends(&left), (router, ip6(HOST6)));
        let body = whole(&left.after.bytes).expect("an error").body;
        let inner = quoted(&body).expect("a quotation");
        assert_eq!((inner.source, inner.target), (ip6(HOST6), ip6(REMOTE6)));

        let call = send6(&site, OUTSIDE, &packet6(protocol, REMOTE6, FIXED6));
        // The host itself, and a router that has no address of the prefix and hides behind it.
        for from in [HOST6, "fd0f::1"] {
            let error = Sketch6::error((1, 4, 0), ip6(from), &call.after.bytes, 1232);
            let left = send6(&site, INSIDE, &error);
            assert_eq!(left.reason, Reason::ErrorTranslated);
            assert_eq!(ends(&left), (ip6(FIXED6), ip6(REMOTE6)));
            let body = whole(&left.after.bytes).expect("an error").body;
            let inner = quoted(&body).expect("a quotation");
            assert_eq!((inner.source, inner.target), (ip6(REMOTE6), ip6(FIXED6)));
        }
    }
}

#[test]
fn an_error_between_two_hosts_hides_both() {
    let site = site();
    let sent = site.send(INSIDE, &packet(Protocol::Udp, HOST, OTHER_FIXED));
    let error = Sketch::error(3, Ip4(OTHER), &sent.after.bytes, 28);
    let left = site.send(INSIDE, &error);

    assert_eq!(left.reason, Reason::ErrorTranslated);
    assert_eq!(ends4(&left), (OTHER_FIXED, HOST));
    let body = whole(&left.after.bytes).expect("an error").body;
    let inner = quoted(&body).expect("a quotation");
    let inner = (inner.source.unmapped().0, inner.target.unmapped().0);
    assert_eq!(inner, (HOST, OTHER_FIXED));
}

#[test]
fn an_error_that_is_damaged_or_about_somebody_else_is_dropped() {
    let site = site();
    let sent = site.send(INSIDE, &packet(Protocol::Udp, HOST, REMOTE));
    let mut error = Sketch::error(3, Ip4(REMOTE), &sent.after.bytes, 28);
    error.payload[10] ^= 1;
    assert_eq!(site.send(OUTSIDE, &error).reason, Reason::IcmpError);

    let elsewhere = packet(Protocol::Udp, [172, 16, 0, 1], REMOTE).frame();
    let mut error = Sketch::error(3, Ip4(REMOTE), &elsewhere.bytes, 28);
    error.target = Ip4(FIXED);
    assert_eq!(site.send(OUTSIDE, &error).reason, Reason::IcmpError);
}

/// The gateway's own addresses are its own, also where they are the prefix's.
#[test]
fn a_packet_for_the_gateway_itself_reaches_it() {
    let mut intent = wanted();
    intent.fixed.push(fixed("10.4.255.0/24", "10.255.255.0/24"));
    let site = Site::new(intent, 64);

    let left = site.send(
        OUTSIDE,
        &packet(Protocol::Udp, REMOTE, [10, 255, 255, OUTSIDE as u8]),
    );

    assert_eq!(left.reason, Reason::NoRule);
}

proptest! {
    #![proptest_config(cases(512))]

    /// Law: what goes out and is answered comes back to who sent it, whatever it is.
    #[test]
    fn an_answer_comes_back_to_the_sender(
        low in any::<[u8; 2]>(), word in any::<u16>(), iid in any::<u64>(),
        ports in any::<(u16, u16)>(), which in 0..3_usize, bits in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let site = site();
        let protocol = Protocol::ALL[which];
        let host = [10, 3, low[0], low[1]];
        let sketch = Sketch::first(protocol, tuple((host, ports.0), (REMOTE, ports.1)));
        let out = site.send(INSIDE, &sketch.payload(&payload));
        prop_assert_eq!(out.reason, Reason::PrefixOut);
        let seen = read(&out.after.bytes).expect("a packet").1;
        let back = site.send(OUTSIDE, &Sketch::answer(protocol, seen.reversed()));
        prop_assert_eq!(ends4(&back), (REMOTE, host));

        let mut asked = tuple6((HOST6, ports.0), (REMOTE6, ports.1));
        let prefix = match bits {
            true => 0xfd01_0203_0405_0000 | u64::from(word),
            false => 0xfd04_0001_0002_0300 | u64::from(word & 0xff),
        };
        asked.source = Ip6::of_words(prefix, iid);
        let out = send6(&site, INSIDE, &Sketch6::first(protocol, asked).payload(&payload));
        if out.reason == Reason::PrefixOut {
            let (source, target) = ends(&out);
            let mut answer = tuple6((REMOTE6, ports.1), (REMOTE6, ports.0));
            (answer.source, answer.target) = (target, source);
            let back = send6(&site, OUTSIDE, &Sketch6::answer(protocol, answer));
            prop_assert_eq!(ends(&back), (ip6(REMOTE6), asked.source));
        } else {
            let has_none = word == 0xffff || iid == 0 || iid == u64::MAX;
            prop_assert!(has_none, "{:?}", out.reason);
        }
        prop_assert_eq!(flows(&site), 0);
    }
}

//! NAT64: clients of IPv6 reach IPv4 by prefixes that stand for it (RFC 6146), as the translation of
//! headers is laid down (RFC 7915).

mod crossing_errors;
mod cut;
mod hairpins;
mod refusals;

use std::time::Duration;

use abi::{Behaviour, Dependence, Ip4, Ip6, Port, Prefix64, Protocol, Reason, Tuple, prefix64};
use datapath::Exit;

use crate::rig::{
    Left, Site, Sketch, Sketch6,
    dual::{arriving, dual, dual_of, dual_with, own_prefix, send6},
    keeper::Keeper,
    laws::sound,
    site::{INSIDE, OUTSIDE, TIMEOUTS, own_mac, peer_mac, tuple},
    sketch::{ACK, Message, RST},
    sketch6::{ip6, tuple6},
    take,
    whole::{Check, Whole, tuple_of, whole},
};

const CLIENT: (&str, u16) = ("fd01::1", 4000);
/// A remote of IPv4, and behind a narrow link.
const REMOTE: Ip4 = Ip4([198, 51, 100, 4]);
const NARROW: Ip4 = Ip4([203, 0, 113, 7]);
const PORT: u16 = 440;

/// From the client to what stands for an IPv4 address, as such packets have ports.
fn towards(prefix: Prefix64, remote: Ip4, protocol: Protocol) -> Tuple<Ip6> {
    let port = if protocol == Protocol::Icmp { 0 } else { PORT };
    Tuple {
        target: prefix.embed(remote),
        ..tuple6(CLIENT, ("::", port))
    }
}

fn asked(protocol: Protocol) -> Tuple<Ip6> {
    towards(Prefix64::WELL_KNOWN, REMOTE, protocol)
}

/// The tuple of an IPv4 frame's answer.
fn answering(frame: &[u8]) -> Tuple {
    crate::rig::sketch::read(frame)
        .expect("an IPv4 packet")
        .1
        .reversed()
}

/// A packet on its way out.
fn out(site: &Site, sketch: &Sketch6) -> Left {
    let left = send6(site, INSIDE, sketch);
    assert_eq!(left.reason, Reason::TranslatedOut);
    left
}

/// A flow to the remote, and an answer to its first packet.
fn begun(site: &Site, protocol: Protocol) -> Sketch {
    let left = out(site, &Sketch6::first(protocol, asked(protocol)));
    Sketch::answer(protocol, answering(&left.after.bytes))
}

fn packet(left: &Left) -> Whole {
    whole(&left.after.bytes).expect("a packet")
}

fn reasons(left: &[Left]) -> Vec<Reason> {
    left.iter().map(|left| left.reason).collect()
}

/// Every length that a prefix can have (RFC 6052 §2.2).
fn prefixes() -> impl Iterator<Item = Prefix64> {
    let own = prefix64::LENGTHS.into_iter().map(|bits| {
        let text = match bits {
            32 => "2001:db8::",
            40 => "2001:db8:a100::",
            48 => "2001:db8:a1b2::",
            56 => "2001:db8:a1b2:c300::",
            64 => "2001:db8:a1b2:c3d4::",
            _ => "2001:db8:a1b2:c3d4:0:e5f6::",
        };
        Prefix64::new(ip6(text), bits).expect("a prefix")
    });
    own.chain([Prefix64::WELL_KNOWN])
}

/// RFC 6146 §3.5, RFC 6052 §2.3.
#[test]
fn a_packet_leaves_from_a_pools_address_and_its_answer_comes_from_the_same_prefix() {
    for prefix in prefixes() {
        for protocol in Protocol::PORTED {
            let site = dual_of([own_prefix(), prefix], 16, |_| ());
            let asked = towards(prefix, REMOTE, protocol);

            let out = out(&site, &Sketch6::first(protocol, asked));
            let (_, seen) = tuple_of(&out.after.bytes);
            let answer = Sketch::answer(protocol, answering(&out.after.bytes));
            let back = site.send(OUTSIDE, &answer);

            assert_eq!(seen.target, Ip6::mapped(REMOTE));
            assert_eq!(seen.target_port, asked.target_port);
            assert_eq!(seen.source.unmapped().0[..3], [192, 0, 2]);
            assert_eq!(out.after.bytes[..6], peer_mac(OUTSIDE));
            assert_eq!(out.after.bytes[6..12], own_mac(OUTSIDE));
            assert_eq!(back.reason, Reason::TranslatedIn, "{prefix:?} {protocol:?}");
            assert_eq!(tuple_of(&back.after.bytes), (protocol, asked.reversed()));
            assert_eq!(back.after.bytes[..6], peer_mac(INSIDE));
            assert_eq!(packet(&out).check(), Check::Right);
            assert_eq!(packet(&back).check(), Check::Right);
            sound(&site.memory);
        }
    }
}

/// RFC 7915 §5.1, byte by byte.
#[test]
fn an_ipv4_header_is_made_of_an_ipv6_one() {
    let site = dual();
    let mut ids = Vec::new();
    for length in [0, 1, 1232, 1233, 1400] {
        let sketch = Sketch6 {
            class: 0xb9,
            hops: 17,
            ..Sketch6::first(Protocol::Udp, asked(Protocol::Udp)).payload(&vec![9; length])
        };
        let bytes = out(&site, &sketch).after.bytes;

        let total = 20 + 8 + length as u16;
        assert_eq!(bytes.len(), 14 + usize::from(total));
        assert_eq!(bytes[12..16], [0x08, 0x00, 0x45, 0xb9]);
        assert_eq!(bytes[16..18], total.to_be_bytes());
        let is_short = total <= 1260;
        assert_eq!(bytes[20..22], [if is_short { 0 } else { 0x40 }, 0]);
        assert_eq!(bytes[22..24], [16, 17]);
        assert_eq!(bytes[30..34], REMOTE.0);
        assert_eq!(
            bytes[38..40],
            (total - 20).to_be_bytes(),
            "UDP's own length"
        );
        assert_eq!(bytes[42..], vec![9; length]);
        if is_short {
            ids.push([bytes[18], bytes[19]]);
        }
    }
    ids.dedup();
    assert_eq!(
        ids.len(),
        3,
        "packets that may be fragmented differ in identification"
    );
}

/// RFC 7915 §4.1, byte by byte.
#[test]
fn an_ipv6_header_is_made_of_an_ipv4_one() {
    for dont_fragment in [false, true] {
        for options in [0, 12, 40] {
            let site = dual();
            let answer = Sketch {
                dont_fragment,
                options: vec![1; options],
                ..begun(&site, Protocol::Udp).ttl(9).payload(&[3; 33])
            };
            let mut frame = Sketch {
                ingress: OUTSIDE,
                to: own_mac(OUTSIDE),
                ..answer
            }
            .frame();
            frame.bytes[15] = 0x2e;
            let header = 20 + options;
            frame.bytes[24..26].fill(0);
            let check = !crate::rig::sums::sum(&frame.bytes[14..14 + header]);
            frame.bytes[24..26].copy_from_slice(&check.to_be_bytes());

            let left = take(&site.memory, frame);

            assert_eq!(left.reason, Reason::TranslatedIn);
            let bytes = &left.after.bytes;
            assert_eq!(bytes.len(), 14 + 40 + 8 + 33);
            assert_eq!(bytes[12..18], [0x86, 0xdd, 0x62, 0xe0, 0, 0]);
            assert_eq!(bytes[18..22], [0, 41, 17, 8]);
            assert_eq!(bytes[22..38], Prefix64::WELL_KNOWN.embed(REMOTE).0);
            assert_eq!(bytes[38..54], ip6(CLIENT.0).0);
            assert_eq!(
                bytes[54..58],
                [PORT.to_be_bytes(), CLIENT.1.to_be_bytes()].concat()
            );
            assert_eq!(bytes[62..], [3; 33]);
        }
    }
}

/// RFC 7915 §5.1: they are ignored.
#[test]
fn extension_headers_are_left_behind() {
    for protocol in Protocol::PORTED {
        for headers in [
            &[(0, 8)][..],
            &[(60, 16)],
            &[(0, 24), (43, 24), (60, 64)],
            &[(60, 248)],
        ] {
            let site = dual();
            let sketch = Sketch6::first(protocol, asked(protocol));
            let sketch = headers
                .iter()
                .fold(sketch, |it, (kind, length)| it.extension(*kind, *length));
            for _ in 0..2 {
                let left = out(&site, &sketch);
                assert_eq!(packet(&left).check(), Check::Right, "{headers:?}");
            }
        }
    }
}

/// RFC 7915 §5.1.
#[test]
fn a_packet_with_nodes_still_to_visit_is_not_translated() {
    let site = dual();
    let mut sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp)).extension(43, 24);
    sketch.extensions[0].1[1] = 1;

    assert_eq!(send6(&site, INSIDE, &sketch).reason, Reason::Protocol);
}

/// RFC 7915 §4.5.
#[test]
fn a_datagram_without_a_checksum_gets_one() {
    for length in [0, 1, 2, 3, 500, 1451, 1452] {
        let site = dual();
        let mut answer = begun(&site, Protocol::Udp).payload(&vec![0xe7; length]);
        answer.dont_fragment = true;
        if let Message::Udp { is_summed, .. } = &mut answer.message {
            *is_summed = false;
        }
        let left = site.send(OUTSIDE, &answer);
        assert_eq!(left.reason, Reason::TranslatedIn, "{length}");
        assert_eq!(packet(&left).check(), Check::Right, "{length}");
    }
}

/// RFC 6146 §3.4: the fragments are held until all are there, and one checksum can be told of them.
#[test]
fn a_datagram_without_a_checksum_gets_one_in_whatever_order_its_fragments_come() {
    for order in ORDERS {
        let site = dual();
        let mut answer = begun(&site, Protocol::Udp).payload(&[0x5a; 1001]);
        if let Message::Udp { is_summed, .. } = &mut answer.message {
            *is_summed = false;
        }
        let frames = frames4(&answer, &[256, 512]);

        let left = take_all(&site, &frames, order);

        assert_eq!(reasons(&left), [Reason::TranslatedIn; 3], "{order:?}");
        assert_eq!(joined(&left).check(), Check::Right);
        assert_eq!(joined(&left).body[8..], answer.payload);
        sound(&site.memory);
    }
}

/// Of what is not there, no checksum can be told; what is too large is not held.
#[test]
fn a_datagram_without_a_checksum_that_is_never_whole_is_given_up() {
    let mut site = dual();
    let mut answer = begun(&site, Protocol::Udp).payload(&[1; 5000]);
    if let Message::Udp { is_summed, .. } = &mut answer.message {
        *is_summed = false;
    }
    let mut keeper = Keeper::default();
    for frame in &frames4(&answer, &[1000, 2000])[..2] {
        let held = take(&site.memory, frame.clone());
        assert_eq!(held.reason, Reason::FragmentHeld);
        assert!(keeper.keep(&site.memory).is_empty());
    }
    site.pass(Duration::from_secs(3));
    assert!(keeper.tick(&site.memory).is_empty());
    assert_eq!(keeper.tally().expired, 2);

    let large = frames4(&answer, &[4000]).remove(0);
    assert_eq!(take(&site.memory, large).reason, Reason::NoChecksum);
}

/// A sum that comes out as zero is sent as its twin, and stays right.
#[test]
fn a_checksum_is_right_whatever_it_comes_out_as() {
    let site = dual();
    let answer = begun(&site, Protocol::Udp);
    for word in 0..=u16::MAX {
        if word % 16 != 0 && word.leading_zeros() > 1 {
            continue;
        }
        let sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp));
        out(&site, &sketch.payload(&word.to_be_bytes()));
        let left = site.send(OUTSIDE, &answer.clone().payload(&word.to_be_bytes()));
        assert_eq!(left.reason, Reason::TranslatedIn);
    }
}

/// An IPv4 packet cut into fragments at these places, in bytes behind the IP header.
fn fragments4(sketch: &Sketch, cuts: &[usize]) -> Vec<Vec<u8>> {
    let sketch = Sketch {
        to: own_mac(OUTSIDE),
        id: 0xbeef,
        ..sketch.clone()
    };
    crate::fragments::fragments(&sketch, cuts)
}

/// The same, as they come from outside.
fn frames4(sketch: &Sketch, cuts: &[usize]) -> Vec<datapath::native::Frame> {
    let frame = |bytes| datapath::native::Frame {
        bytes,
        ingress: OUTSIDE,
    };
    fragments4(sketch, cuts).into_iter().map(frame).collect()
}

/// The whole packet that fragments make up.
fn joined(left: &[Left]) -> Whole {
    let mut parts: Vec<_> = left.iter().map(packet).collect();
    parts.sort_by_key(Whole::fragment);
    let body = parts.iter().flat_map(|part| part.body.clone()).collect();
    Whole {
        part: None,
        body,
        ..parts[0].clone()
    }
}

const ORDERS: [[usize; 3]; 4] = [[0, 1, 2], [0, 2, 1], [2, 0, 1], [2, 1, 0]];

/// Takes frames through in this order, with what was held.
fn take_all(site: &Site, frames: &[datapath::native::Frame], order: [usize; 3]) -> Vec<Left> {
    let (mut keeper, mut left) = (Keeper::default(), Vec::new());
    for index in order {
        left.push(take(&site.memory, frames[index].clone()));
        left.extend(keeper.keep(&site.memory));
    }
    left.retain(|it| it.reason != Reason::FragmentHeld);
    left
}

/// RFC 7915 §5.1.1, RFC 6146 §3.4.
#[test]
fn fragments_become_ipv4_in_whatever_order_they_come() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for order in ORDERS {
            let site = dual();
            let sketch = Sketch6::first(protocol, asked(protocol)).payload(&[0x5a; 1001]);
            let frames = arriving(INSIDE, &sketch).fragments(0xdead_beef, &[256, 512]);

            let left = take_all(&site, &frames, order);

            assert_eq!(
                reasons(&left),
                [Reason::TranslatedOut; 3],
                "{protocol:?} {order:?}"
            );
            assert_eq!(joined(&left).check(), Check::Right);
            for part in left.iter().map(packet) {
                assert_eq!((part.version, part.dont_fragment), (4, false));
                assert_eq!(part.part.expect("always").0, 0xbeef);
            }
            sound(&site.memory);
        }
    }
}

/// RFC 7915 §5.1.1: IPv4 has no such header, which only the first fragment would carry.
#[test]
fn a_fragment_header_before_another_extension_header_is_not_translated() {
    for more in [0, 1] {
        let site = dual();
        let mut sketch = Sketch6::first(Protocol::Udp, asked(Protocol::Udp)).payload(&[9; 64]);
        sketch.extensions.push((44, vec![0, more, 1, 2, 3, 4]));
        let left = send6(&site, INSIDE, &sketch.clone().extension(60, 8));
        assert_eq!(left.reason, Reason::Protocol, "{more}");

        let left = send6(&site, INSIDE, &sketch);
        assert_eq!(left.reason, Reason::TranslatedOut, "{more}");
    }
}

/// RFC 7915 §4.1, RFC 6146 §3.4.
#[test]
fn fragments_become_ipv6_in_whatever_order_they_come() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for order in ORDERS {
            let site = dual();
            let answer = begun(&site, protocol).payload(&[0x5a; 1001]);
            let frames = frames4(&answer, &[256, 512]);

            let left = take_all(&site, &frames, order);

            assert_eq!(
                reasons(&left),
                [Reason::TranslatedIn; 3],
                "{protocol:?} {order:?}"
            );
            assert_eq!(joined(&left).check(), Check::Right);
            assert_eq!(joined(&left).target, ip6(CLIENT.0));
            for part in left.iter().map(packet) {
                assert_eq!(part.part.expect("a fragment header").0, 0xbeef);
            }
            sound(&site.memory);
        }
    }
}

/// RFC 7915 §1.2: their checksum covers the length of the whole.
#[test]
fn fragments_of_icmp_are_dropped_by_name() {
    let site = dual();
    let sketch = Sketch6::first(Protocol::Icmp, asked(Protocol::Icmp)).payload(&[1; 500]);
    let six = arriving(INSIDE, &sketch).fragments(1, &[256]);
    for frame in six {
        assert_eq!(take(&site.memory, frame).reason, Reason::IcmpFragment);
    }
    let answer = begun(&site, Protocol::Icmp).payload(&[1; 500]);
    for bytes in fragments4(&answer, &[256]) {
        assert_eq!(site.send_bytes(OUTSIDE, bytes).reason, Reason::IcmpFragment);
    }
}

/// RFC 6946, RFC 7915 §5.1.1: what is whole but has a fragment header keeps its identification, and may
/// be fragmented.
#[test]
fn an_atomic_fragment_becomes_a_packet_that_may_be_fragmented() {
    for protocol in Protocol::PORTED {
        for length in [10, 1400] {
            let site = dual();
            let sketch = Sketch6::first(protocol, asked(protocol)).payload(&vec![1; length]);
            let frame = arriving(INSIDE, &sketch)
                .fragments(0x1234_5678, &[])
                .remove(0);

            let left = take(&site.memory, frame);

            assert_eq!(left.reason, Reason::TranslatedOut, "{protocol:?}");
            let packet = packet(&left);
            assert_eq!(
                (packet.part, packet.dont_fragment),
                (Some((0x5678, 0, false)), false)
            );
        }
    }
}

#[test]
fn hops_that_run_out_are_told_in_the_senders_version() {
    for protocol in Protocol::PORTED {
        let site = dual();
        let answer = begun(&site, protocol);
        let late = Sketch6::first(protocol, asked(protocol)).hops(1);

        let told = send6(&site, INSIDE, &late);
        assert_eq!(
            (told.reason, packet(&told).version),
            (Reason::TimeExceededSent, 6)
        );
        let told = site.send(OUTSIDE, &answer.ttl(1));
        assert_eq!(
            (told.reason, packet(&told).version),
            (Reason::TimeExceededSent, 4)
        );
    }
}

/// RFC 7915 §1.4, §5.1.1: a packet that is longer than every link of IPv6 takes is refused; the sender
/// learns of an MTU that an IPv6 host heeds, and what is shorter is fragmented on the way.
#[test]
fn what_is_too_big_for_an_ipv4_link_is_told_or_fragmented() {
    for protocol in Protocol::PORTED {
        let site = dual();
        let narrow = towards(Prefix64::WELL_KNOWN, NARROW, protocol);
        for (total, reason) in [
            (596, Reason::TranslatedOut),
            (597, Reason::Fragmenting),
            (1280, Reason::Fragmenting),
            (1281, Reason::TooBigSent),
            (1400, Reason::TooBigSent),
        ] {
            let header = if protocol == Protocol::Tcp { 20 } else { 8 };
            let payload = vec![1; total - 40 - header];
            let left = send6(
                &site,
                INSIDE,
                &Sketch6::first(protocol, narrow).payload(&payload),
            );
            assert_eq!(left.reason, reason, "{protocol:?} {total}");
            if reason == Reason::TooBigSent {
                assert_eq!(packet(&left).body[4..8], 1280_u32.to_be_bytes());
            }
        }
    }
}

/// RFC 7915 §4.1, RFC 1191.
#[test]
fn what_is_too_big_for_an_ipv6_link_is_told_to_who_forbade_fragments() {
    for (client, mtu) in [("fd01::1", 1500), ("fd12::1", 1280)] {
        for protocol in Protocol::PORTED {
            let site = dual();
            let mut asked = asked(protocol);
            asked.source = ip6(client);
            let left = out(&site, &Sketch6::first(protocol, asked));
            let answer = Sketch::answer(protocol, answering(&left.after.bytes));
            let header = if protocol == Protocol::Tcp { 20 } else { 8 };
            let of = |total: usize, dont_fragment| Sketch {
                dont_fragment,
                ..answer.clone().payload(&vec![1; total - 20 - header])
            };

            assert_eq!(
                site.send(OUTSIDE, &of(mtu - 20, true)).reason,
                Reason::TranslatedIn
            );
            let left = site.send(OUTSIDE, &of(mtu - 19, true));
            assert_eq!(left.reason, Reason::TooBigSent);
            let told = packet(&left);
            assert_eq!(told.body[..2], [3, 4]);
            assert_eq!(told.body[6..8], (mtu as u16 - 20).to_be_bytes());
        }
    }
}

#[test]
fn a_packet_whose_next_hop_is_unknown_is_left_translated_to_the_kernel() {
    let site = dual();
    let left = send6(
        &site,
        INSIDE,
        &Sketch6::first(
            Protocol::Udp,
            towards(Prefix64::WELL_KNOWN, Ip4([198, 18, 0, 1]), Protocol::Udp),
        ),
    );
    assert_eq!((left.reason, left.exit), (Reason::Unresolved, Exit::Pass));

    let mut asked = asked(Protocol::Udp);
    asked.source = ip6("fd13::1");
    let left = out(&site, &Sketch6::first(Protocol::Udp, asked));
    let answer = Sketch::answer(Protocol::Udp, answering(&left.after.bytes));
    assert_eq!(site.send(OUTSIDE, &answer).reason, Reason::Unresolved);
}

/// RFC 6146 §3.5, §5.4.
#[test]
fn a_packet_from_an_address_of_a_prefix_is_dropped() {
    for prefix in [Prefix64::WELL_KNOWN, own_prefix()] {
        for protocol in Protocol::PORTED {
            let site = dual();
            for target in [prefix.embed(REMOTE), ip6("2001:db8:1::4")] {
                let tuple = Tuple {
                    source: prefix.embed(Ip4([10, 1, 0, 1])),
                    target,
                    ..asked(protocol)
                };
                // Of clients in such a prefix there are none; but a rule may want everybody.
                let key = abi::ClassKey::<Ip6>::address(
                    site.memory.config.borrow().version,
                    abi::Dimension::Source,
                    ip6("::"),
                    0,
                );
                let mut all = abi::RuleSet::EMPTY;
                all.0[0] = 1 << 5;
                site.memory.v6.classes.put(key, all);
                let left = send6(&site, INSIDE, &Sketch6::first(protocol, tuple));
                assert_eq!(left.reason, Reason::OwnPrefix, "{prefix:?} {target:?}");
            }
        }
    }
}

/// RFC 6146 §3.5: only packets for a prefix and for a pool's address are ours.
#[test]
fn what_no_rule_wants_is_left_to_the_kernel() {
    let site = dual();
    let stranger = Tuple {
        source: ip6("2001:db8:5::1"),
        ..asked(Protocol::Udp)
    };
    assert_eq!(
        send6(&site, INSIDE, &Sketch6::first(Protocol::Udp, stranger)).reason,
        Reason::NoRule
    );
    let from_outside = Sketch6::first(Protocol::Udp, asked(Protocol::Udp));
    assert_eq!(
        send6(&site, OUTSIDE, &from_outside).reason,
        Reason::ExternalRealm
    );
    let elsewhere = tuple(([198, 51, 100, 4], 440), ([172, 20, 0, 1], 4000));
    let left = site.send(OUTSIDE, &Sketch::first(Protocol::Udp, elsewhere));
    assert_eq!(left.reason, Reason::NoRule);
    // A rule of IPv4 for the address that it stands for.
    let to_inside = towards(own_prefix(), Ip4([10, 1, 0, 1]), Protocol::Udp);
    let left = send6(&site, INSIDE, &Sketch6::first(Protocol::Udp, to_inside));
    assert_eq!(left.reason, Reason::TranslatedOut);
}

#[test]
fn a_pool_without_ipv4_addresses_refuses_by_name_and_tells_in_ipv6() {
    let site = dual_with(|intent| intent.pools[0].addresses.clear());
    let left = send6(
        &site,
        INSIDE,
        &Sketch6::first(Protocol::Udp, asked(Protocol::Udp)),
    );

    assert_eq!(
        (left.reason, left.exit),
        (Reason::PoolEmpty, Exit::Transmit)
    );
    assert_eq!(packet(&left).body[..2], [1, 1]);
}

#[test]
fn strays_are_answered_by_reset_in_their_own_version() {
    let site = dual();
    let answer = begun(&site, Protocol::Tcp);
    let stray = Sketch6::first(Protocol::Tcp, asked(Protocol::Tcp)).flags(ACK);
    let mut other = stray.clone();
    other.source = ip6("fd01::9");
    let left = send6(&site, INSIDE, &other);
    assert_eq!((left.reason, packet(&left).version), (Reason::ResetSent, 6));

    let stranger = Sketch {
        source: Ip4([198, 51, 100, 77]),
        ..answer.clone()
    };
    let left = site.send(OUTSIDE, &stranger.clone().flags(ACK));
    assert_eq!((left.reason, packet(&left).version), (Reason::ResetSent, 4));
    assert_eq!(
        site.send(OUTSIDE, &stranger.flags(RST)).reason,
        Reason::NoFlow
    );
    // The flow's own packets go on.
    assert_eq!(site.send(OUTSIDE, &answer).reason, Reason::TranslatedIn);
}

/// RFC 6146 §3.5.1, §3.5.2.
#[test]
fn a_filter_lets_in_whom_the_client_has_sent_to() {
    for (dependence, same_address, stranger) in [
        (
            Dependence::Endpoint,
            Reason::TranslatedIn,
            Reason::TranslatedIn,
        ),
        (Dependence::Address, Reason::TranslatedIn, Reason::Filtered),
        (
            Dependence::AddressAndPort,
            Reason::Filtered,
            Reason::Filtered,
        ),
    ] {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            for prefix in [Prefix64::WELL_KNOWN, own_prefix()] {
                let site = dual_with(|intent| {
                    let endpoint = [Dependence::Endpoint; 3];
                    intent.pools[0].behaviour = Behaviour::new(endpoint, [dependence; 3], true, 0);
                });
                let left = out(
                    &site,
                    &Sketch6::first(protocol, towards(prefix, REMOTE, protocol)),
                );
                let back = answering(&left.after.bytes);
                let call = |address: [u8; 4], port: u16| {
                    let tuple = Tuple {
                        source: Ip4(address),
                        source_port: Port::new(port),
                        ..back
                    };
                    let left = site.send(OUTSIDE, &Sketch::first(protocol, tuple));
                    if left.reason == Reason::TranslatedIn {
                        // Known by the prefix that the client itself uses.
                        assert_eq!(packet(&left).source, prefix.embed(Ip4(address)));
                        assert_eq!(packet(&left).target, ip6(CLIENT.0));
                    }
                    left.reason
                };

                assert_eq!(call(REMOTE.0, 441), same_address, "{dependence:?}");
                assert_eq!(call([198, 51, 100, 5], 440), stranger, "{dependence:?}");
                sound(&site.memory);
            }
        }
    }
}

/// RFC 6146 §3.5.1.1, §5.2.
#[test]
fn an_endpoint_has_one_external_port_for_all_remotes_and_prefixes() {
    let site = dual();
    let mut seen = std::collections::BTreeSet::new();
    for last in 1..20 {
        for prefix in [Prefix64::WELL_KNOWN, own_prefix()] {
            let asked = towards(prefix, Ip4([198, 51, 100, last]), Protocol::Udp);
            let left = send6(&site, INSIDE, &Sketch6::first(Protocol::Udp, asked));
            if left.reason == Reason::TranslatedOut {
                let (_, tuple) = tuple_of(&left.after.bytes);
                seen.insert((tuple.source, tuple.source_port));
                assert_eq!(tuple.source_port.get() % 2, CLIENT.1 % 2, "parity");
            }
        }
    }
    assert_eq!(seen.len(), 1);
    let (address, _) = seen.first().copied().expect("one");
    for port in 5000..5050 {
        for protocol in Protocol::PORTED {
            let asked = Tuple {
                source_port: Port::new(port),
                ..asked(protocol)
            };
            let (_, tuple) = tuple_of(&out(&site, &Sketch6::first(protocol, asked)).after.bytes);
            assert_eq!(
                tuple.source, address,
                "all of a client's are of one address"
            );
        }
    }
    sound(&site.memory);
}

/// RFC 6146 §3.5: the lifetimes are those of every flow, whichever versions it has.
#[test]
fn silent_sessions_are_kept_as_long_as_those_of_ipv4() {
    for (protocol, lifetime) in [
        (Protocol::Udp, TIMEOUTS.udp),
        (Protocol::Tcp, TIMEOUTS.tcp_established),
        (Protocol::Icmp, TIMEOUTS.icmp),
    ] {
        let mut site = dual();
        let answer = begun(&site, protocol);
        assert!(site.send(OUTSIDE, &answer).is_translated());
        // The ACK that opens a connection.
        let more = Sketch6::answer(protocol, asked(protocol)).flags(ACK);
        if protocol != Protocol::Icmp {
            assert!(send6(&site, INSIDE, &more).is_translated());
        }

        site.pass(lifetime - Duration::from_secs(2));
        site.sweep();
        assert!(site.send(OUTSIDE, &answer).is_translated(), "{protocol:?}");
        if protocol == Protocol::Tcp {
            assert!(send6(&site, INSIDE, &more).is_translated());
        } else {
            out(&site, &Sketch6::first(protocol, asked(protocol)));
        }

        site.pass(lifetime + Duration::from_secs(2));
        site.sweep();
        let left = site.send(OUTSIDE, &answer);
        assert!(!left.is_translated(), "{protocol:?}: {:?}", left.reason);
    }
}

//! IPv4 packets that are too long for IPv6, and whose senders allow them to be fragmented (RFC 7915 §4,
//! §4.1): they are cut up, whatever they are and in whatever pieces they come.

use abi::{Protocol, Reason, limits::HELD_SHARE};

use super::{REMOTE, begun, packet};
use crate::{
    fragments::fragments,
    rig::{
        Left, Site, Sketch,
        dual::{dual, dual_with},
        keeper::Keeper,
        laws::sound,
        site::{OUTSIDE, own_mac, peer_mac},
        sketch::Message,
        take,
        whole::{Check, Whole},
    },
};
use datapath::native::Frame;

/// What every IPv6 link takes.
const LOWEST: usize = 1280;

/// An answer with so many bytes of payload, from outside.
fn answer(site: &Site, protocol: Protocol, payload: usize) -> Sketch {
    let data: Vec<u8> = (0..payload).map(|index| index as u8 ^ 0x35).collect();
    Sketch {
        ingress: OUTSIDE,
        to: own_mac(OUTSIDE),
        from: peer_mac(OUTSIDE),
        id: 4711,
        ..begun(site, protocol).payload(&data)
    }
}

/// Sends frames; returns what becomes of them, and then of what is sent through again.
fn send(site: &Site, frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<Left> {
    let mut keeper = Keeper::default();
    let mut all = Vec::new();
    for bytes in frames {
        let ingress = OUTSIDE;
        all.push(take(&site.memory, Frame { bytes, ingress }));
    }
    // A piece that passes lets go of others, which are cut in their turn.
    loop {
        let more = keeper.keep(&site.memory);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// The packet that its receiver puts together of what was translated.
fn received(left: &[Left]) -> Whole {
    let mut pieces: Vec<Whole> = left
        .iter()
        .filter(|left| left.reason == Reason::TranslatedIn)
        .map(packet)
        .collect();
    pieces.sort_by_key(|piece| piece.fragment());
    let mut body = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        assert!(40 + piece.between.len() + piece.body.len() <= LOWEST);
        let (offset, more) = piece.fragment().expect("a fragment");
        assert_eq!(usize::from(offset) * 8, body.len(), "no gap, no overlap");
        assert_eq!(more, number + 1 < pieces.len());
        body.extend_from_slice(&piece.body);
    }
    let first = pieces.first().expect("something came").clone();
    Whole {
        body,
        part: None,
        between: Vec::new(),
        ..first
    }
}

#[test]
fn a_packet_that_is_too_long_for_ipv6_and_may_be_fragmented_comes_in_pieces() {
    for (protocol, header) in [(Protocol::Udp, 8), (Protocol::Tcp, 20)] {
        for total in [LOWEST - 19, 1400, 1500] {
            let site = dual();
            let sketch = answer(&site, protocol, total - 20 - header);

            let left = send(&site, [sketch.frame().bytes]);

            assert_eq!(left[0].reason, Reason::CutUp, "{total}");
            let whole = received(&left);
            assert_eq!(whole.body.len(), total - 20);
            assert_eq!(whole.body[header..], sketch.payload);
            assert_eq!(whole.check(), Check::Right);
            sound(&site.memory);
        }
    }
}

#[test]
fn a_packet_that_fits_every_ipv6_link_is_left_whole() {
    for (protocol, header) in [(Protocol::Udp, 8), (Protocol::Tcp, 20)] {
        let site = dual();
        let sketch = answer(&site, protocol, LOWEST - 40 - header);

        let left = send(&site, [sketch.frame().bytes]);

        assert_eq!(left.len(), 1);
        assert_eq!(left[0].reason, Reason::TranslatedIn);
        assert_eq!(packet(&left[0]).fragment(), None);
    }
}

#[test]
fn fragments_that_are_too_long_are_cut_in_their_turn_in_whatever_order_they_come() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 2, 0], [2, 1, 0]] {
        let site = dual();
        let sketch = answer(&site, Protocol::Udp, 3500);
        let parts = fragments(&sketch, &[1480, 2960]);

        let left = send(&site, order.map(|index| parts[index].clone()));

        let whole = received(&left);
        assert_eq!(whole.body[8..], sketch.payload, "{order:?}");
        assert_eq!(whole.check(), Check::Right, "{order:?}");
        sound(&site.memory);
    }
}

/// Of its fragments the checksum could not be told; of the whole it can.
#[test]
fn a_long_datagram_without_a_checksum_gets_one() {
    let site = dual();
    let mut sketch = answer(&site, Protocol::Udp, 1401);
    if let Message::Udp { is_summed, .. } = &mut sketch.message {
        *is_summed = false;
    }

    let whole = received(&send(&site, [sketch.frame().bytes]));

    assert_eq!(whole.check(), Check::Right);
    assert_eq!(whole.body[8..], sketch.payload);
}

#[test]
fn the_operator_says_what_the_network_takes() {
    let site = dual_with(|intent| intent.lowest_mtu6 = 1500);
    let whole = answer(&site, Protocol::Udp, 1500 - 40 - 8);
    let longer = answer(&site, Protocol::Udp, 1500 - 40 - 7);

    let left = send(&site, [whole.frame().bytes, longer.frame().bytes]);

    let reasons: Vec<_> = left.iter().map(|left| left.reason).collect();
    let expected = [Reason::TranslatedIn, Reason::CutUp];
    assert_eq!(reasons[..2], expected);
    assert_eq!(reasons[2..], [Reason::TranslatedIn; 2]);
}

/// Fragments of ICMP cannot be translated (RFC 7915 §1.2): one that the next link takes passes.
#[test]
fn a_long_echo_is_not_cut() {
    let site = dual();
    let sketch = answer(&site, Protocol::Icmp, 1400);

    let left = send(&site, [sketch.frame().bytes]);

    assert_eq!(left[0].reason, Reason::TranslatedIn);
}

/// Who may not be told that its packets are too long is not cut off by others who send such.
#[test]
fn one_sender_has_no_more_than_its_share_cut() {
    let site = dual();
    let sketch = answer(&site, Protocol::Udp, 1400);
    assert_eq!(sketch.source, REMOTE);
    let mut reasons = (0..=HELD_SHARE).map(|_| {
        let frame = Frame {
            bytes: sketch.frame().bytes,
            ingress: OUTSIDE,
        };
        take(&site.memory, frame).reason
    });

    assert!(
        reasons
            .by_ref()
            .take(HELD_SHARE as usize)
            .all(|it| it == Reason::CutUp)
    );
    assert_eq!(reasons.next(), Some(Reason::FragmentsFull));
    let short = send(&site, [answer(&site, Protocol::Tcp, 5).frame().bytes]);
    assert!(short.iter().any(|left| left.reason == Reason::TranslatedIn));
}

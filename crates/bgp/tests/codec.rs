//! What is written is read, and any bytes are read or refused.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bgp::{
    Family, Notification,
    attributes::{Attributes, Sender},
    capability::{Capabilities, GracefulRestart},
    message::{
        self, HEADER, Kind, LENGTH_MAX,
        open::{AS_TRANS, Open},
        refresh::{self, Refresh, Subtype},
        update::{self, Update, Writing},
    },
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::any;

fn any_family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

fn any_restart() -> impl Strategy<Value = GracefulRestart> {
    let families = prop::collection::btree_map(any_family(), any::<bool>(), 0..3);
    let parts = (any::<[bool; 2]>(), 0_u16..4096, families);
    parts.prop_map(
        |([is_restarting, on_notification], time, families)| GracefulRestart {
            is_restarting,
            on_notification,
            time,
            families,
        },
    )
}

fn any_open() -> impl Strategy<Value = Open> {
    let families = prop::collection::btree_set(any_family(), 1..3);
    let hold_time = prop_oneof![Just(0_u16), 3..=u16::MAX];
    let asn = prop_oneof![1_u32..65_536, 1..=u32::MAX];
    let said = (
        families,
        any::<[bool; 5]>(),
        prop::option::of(any_restart()),
    );
    (asn, hold_time, 1..=u32::MAX, said).prop_map(|(asn, hold_time, id, said)| {
        let (families, [refresh, enhanced, extended, next_hop, wide], restart) = said;
        let needs_wide = u16::try_from(asn).is_err();
        Open {
            asn,
            hold_time,
            id: Ipv4Addr::from(id),
            capabilities: Capabilities {
                families,
                refresh,
                enhanced_refresh: enhanced,
                extended_message: extended,
                extended_next_hop: next_hop,
                four_octet: (wide || needs_wide).then_some(asn),
                restart,
            },
        }
    })
}

fn nets(family: Family, most: usize) -> BoxedStrategy<Vec<IpNet>> {
    let set = match family {
        Family::Ipv4 => prop::collection::btree_set(
            (any::<u32>(), 0_u8..=32).prop_map(|(address, length)| {
                let net = Ipv4Net::new(address.into(), length).unwrap();
                IpNet::V4(net.trunc())
            }),
            1..most,
        )
        .boxed(),
        Family::Ipv6 => prop::collection::btree_set(
            (any::<u128>(), 0_u8..=128).prop_map(|(address, length)| {
                let net = Ipv6Net::new(address.into(), length).unwrap();
                IpNet::V6(net.trunc())
            }),
            1..most,
        )
        .boxed(),
    };
    let list = |nets: BTreeSet<IpNet>| nets.into_iter().collect();
    set.prop_map(list).boxed()
}

/// Attributes that fit to prefixes of a family.
fn attributes(family: Family) -> impl Strategy<Value = Attributes> {
    let six = any::<u128>().prop_map(|it| IpAddr::V6(it.into()));
    let next_hop = match family {
        Family::Ipv4 => prop_oneof![any::<u32>().prop_map(|it| IpAddr::V4(it.into())), six].boxed(),
        Family::Ipv6 => six.boxed(),
    };
    let path = prop::collection::vec(prop_oneof![1_u32..65_536, 1..=u32::MAX], 0..300);
    let communities = prop::collection::btree_set(any::<u32>(), 0..80);
    let large = prop::collection::btree_set(any::<[u32; 3]>(), 0..30);
    let numbers = any::<[Option<u32>; 2]>();
    let link_local = any::<Option<u128>>();
    let parts = (path, next_hop, link_local, numbers, communities, large);
    parts.prop_map(
        |(as_path, next_hop, link_local, numbers, communities, large)| Attributes {
            as_path,
            next_hop,
            link_local: link_local.map(Ipv6Addr::from),
            med: numbers[0],
            local_preference: numbers[1],
            communities: communities.into_iter().collect(),
            large_communities: large.into_iter().collect(),
        },
    )
}

fn announcement() -> impl Strategy<Value = (Family, Attributes, Vec<IpNet>)> {
    any_family().prop_flat_map(|family| (Just(family), attributes(family), nets(family, 600)))
}

fn sender(is_four_octet: bool) -> Sender {
    Sender {
        is_four_octet,
        is_internal: false,
        has_extended_next_hop: true,
    }
}

/// The UPDATEs of messages, each of which is whole and not too long.
fn decoded(messages: &[Vec<u8>], writing: Writing) -> Vec<Update> {
    let read = |bytes: &Vec<u8>| {
        assert!(bytes.len() <= writing.length_max);
        let first = message::first(bytes, writing.length_max).unwrap().unwrap();
        assert_eq!((first.kind, first.length), (Kind::Update, bytes.len()));
        Update::read(first.body, sender(writing.is_four_octet)).unwrap()
    };
    messages.iter().map(read).collect()
}

/// What a reader says of a path.
fn path(systems: &[u32], is_four_octet: bool) -> String {
    let narrow = |it: u32| u16::try_from(it).unwrap_or(AS_TRANS).to_string();
    let said = systems.iter().map(|it| match is_four_octet {
        true => it.to_string(),
        false => narrow(*it),
    });
    said.collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn an_open_says_what_it_was_made_of(open in any_open()) {
        prop_assert_eq!(Open::read(&open.body()), Ok(open));
    }

    #[test]
    fn what_is_announced_is_what_is_read(
        (family, attributes, nets) in announcement(),
        is_four_octet in any::<bool>(),
        length_max in prop::sample::select(vec![LENGTH_MAX, message::EXTENDED_MAX]),
    ) {
        let writing = Writing { is_four_octet, length_max };
        let messages = update::announce(family, &attributes, &nets, writing);
        let mut announced = Vec::new();
        for update in decoded(&messages, writing) {
            prop_assert_eq!((update.fault, &update.withdrawn), (None, &Vec::new()));
            prop_assert_eq!(update.end_of_rib, None);
            prop_assert_eq!(update.seen.next_hop, Some(attributes.next_hop));
            prop_assert_eq!(update.seen.med, attributes.med);
            prop_assert_eq!(&update.seen.as_path, &path(&attributes.as_path, is_four_octet));
            let said = attributes.communities.len() + attributes.large_communities.len();
            prop_assert_eq!(update.seen.communities.len(), said);
            announced.extend(update.announced);
        }
        prop_assert_eq!(announced, nets);
    }

    #[test]
    fn what_is_withdrawn_is_what_is_read(
        nets in any_family().prop_flat_map(|family| nets(family, 2000)),
    ) {
        let writing = Writing { is_four_octet: true, length_max: LENGTH_MAX };
        let family = Family::of_net(&nets[0]);
        let messages = update::withdraw(family, &nets, writing);
        let mut withdrawn = Vec::new();
        for update in decoded(&messages, writing) {
            prop_assert_eq!((update.fault, update.end_of_rib), (None, None));
            prop_assert_eq!(&update.announced, &Vec::new());
            withdrawn.extend(update.withdrawn);
        }
        prop_assert_eq!(withdrawn, nets);
    }

    #[test]
    fn a_notification_says_what_it_was_made_of(
        code in any::<u8>(),
        subcode in any::<u8>(),
        data in prop::collection::vec(any::<u8>(), 0..512),
    ) {
        let notification = Notification { code, subcode, data };
        prop_assert!(!notification.to_string().is_empty());
        prop_assert_eq!(Notification::read(&notification.body()), notification);
    }

    #[test]
    fn words_of_any_length_are_cut_between_two_characters(words in "\\PC{0,300}") {
        let notification = Notification::administrative_shutdown(&words);
        let Some((length, said)) = notification.data.split_first() else {
            prop_assert!(words.is_empty());
            return Ok(());
        };
        prop_assert_eq!(usize::from(*length), said.len());
        let said = std::str::from_utf8(said).unwrap();
        prop_assert!(words.starts_with(said));
        prop_assert!(said.len() == words.len() || said.len() > 251);
    }

    #[test]
    fn any_bytes_are_a_message_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        any::read(&bytes);
    }

    #[test]
    fn any_body_behind_a_header_is_read_or_refused(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        body in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..5, Just(255)], 0..120),
    ) {
        any::read(&message::framed(kind, &body));
    }

    #[test]
    fn what_was_damaged_on_the_way_is_read_or_refused(
        (family, attributes, nets) in announcement(),
        open in any_open(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let writing = Writing { is_four_octet: true, length_max: LENGTH_MAX };
        let mut messages = update::announce(family, &attributes, &nets, writing);
        messages.truncate(1);
        messages.push(message::framed(Kind::Open, &open.body()));
        for mut bytes in messages {
            for (index, byte) in &damage {
                let place = HEADER + index.index(bytes.len() - HEADER);
                bytes[place] = *byte;
            }
            any::read(&bytes);
        }
    }
}

#[test]
fn who_cannot_read_four_bytes_is_told_the_path_in_both_ways() {
    let attributes = Attributes {
        as_path: vec![65010, 4_200_000_000],
        next_hop: "192.0.2.1".parse().unwrap(),
        link_local: None,
        med: None,
        local_preference: None,
        communities: Vec::new(),
        large_communities: Vec::new(),
    };
    let writing = Writing {
        is_four_octet: false,
        length_max: LENGTH_MAX,
    };
    let nets = ["198.51.100.0/24".parse().unwrap()];
    let messages = update::announce(Family::Ipv4, &attributes, &nets, writing);

    assert_eq!(decoded(&messages, writing)[0].seen.as_path, "65010 23456");
    // AS4_PATH, optional and transitive: one sequence of two.
    let four = [0xc0, 17, 10, 2, 2, 0, 0, 0xfd, 0xf2, 0xfa, 0x56, 0xea, 0];
    assert!(messages[0].windows(four.len()).any(|it| it == four));
}

#[test]
fn a_refresh_says_what_it_was_made_of() {
    for family in Family::ALL {
        for subtype in [Subtype::Request, Subtype::Begin, Subtype::End] {
            let refresh = Refresh { family, subtype };
            assert_eq!(
                Refresh::read(&refresh.body()),
                refresh::Read::Known(refresh)
            );
        }
    }
    assert_eq!(Refresh::read(&[0, 1, 0]), refresh::Read::Malformed);
    assert_eq!(Refresh::read(&[0, 1, 1, 1, 0]), refresh::Read::Malformed);
    assert_eq!(Refresh::read(&[0, 25, 0, 70]), refresh::Read::Ignored);
    assert_eq!(Refresh::read(&[0, 1, 9, 1]), refresh::Read::Ignored);
}

#[test]
fn the_end_of_each_family_is_known() {
    for family in Family::ALL {
        let bytes = update::end_of_rib(family);
        let update = Update::read(&bytes[HEADER..], sender(true)).unwrap();
        assert_eq!(update.end_of_rib, Some(family));
        assert!(update.withdrawn.is_empty() && update.announced.is_empty());
    }
}

#[test]
fn parameters_with_long_lengths_are_read() {
    // RFC 9072 §2: 255 twice, then everything in two bytes. Capabilities that nobody knows fill it.
    let mut capabilities = vec![1, 4, 0, 2, 0, 1, 65, 4, 0xfa, 0x56, 0xea, 0];
    for _ in 0..3 {
        capabilities.extend([239, 200]);
        capabilities.extend([0; 200]);
    }
    let length = u16::try_from(capabilities.len()).unwrap();
    let mut body = vec![4, 0x5b, 0xa0, 0, 90, 10, 0, 0, 2, 255, 255];
    body.extend((length + 3).to_be_bytes());
    body.push(2);
    body.extend(length.to_be_bytes());
    body.extend(capabilities);
    let open = Open::read(&body).unwrap();

    assert_eq!(open.asn, 4_200_000_000);
    assert_eq!(open.capabilities.families, [Family::Ipv6].into());
}

#[test]
fn a_restart_that_takes_too_long_is_said_to_take_the_longest() {
    let mut open = Open {
        asn: 65010,
        hold_time: 9,
        id: Ipv4Addr::new(10, 0, 0, 1),
        capabilities: Capabilities::default(),
    };
    open.capabilities.restart = Some(GracefulRestart {
        time: 4096,
        ..GracefulRestart::default()
    });
    let read = Open::read(&open.body()).unwrap();

    assert_eq!(read.capabilities.restart.unwrap().time, 4095);
}

#[test]
fn an_open_that_cannot_be_is_refused_by_name() {
    let good = [4, 0xfd, 0xe8, 0, 9, 10, 0, 0, 1, 0];
    let with = |index: usize, byte: u8| {
        let mut body = good;
        body[index] = byte;
        Open::read(&body).map(|_| ())
    };

    assert_eq!(with(0, 4), Ok(()));
    assert_eq!(with(0, 3), Err(Notification::unsupported_version()));
    assert_eq!(with(4, 1), Err(Notification::UNACCEPTABLE_HOLD_TIME));
    assert_eq!(with(4, 2), Err(Notification::UNACCEPTABLE_HOLD_TIME));
    assert_eq!(with(9, 1), Err(Notification::OPEN_ERROR));
    let none = [4, 0, 0, 0, 9, 10, 0, 0, 1, 0];
    assert_eq!(Open::read(&none), Err(Notification::BAD_PEER_AS));
    let nobody = [4, 0, 1, 0, 9, 0, 0, 0, 0, 0];
    assert_eq!(Open::read(&nobody), Err(Notification::BAD_IDENTIFIER));
    let other = [4, 0, 1, 0, 9, 10, 0, 0, 1, 3, 1, 1, 0];
    assert_eq!(Open::read(&other), Err(Notification::UNSUPPORTED_PARAMETER));
}

#[test]
fn a_header_that_cannot_be_is_refused_by_name() {
    let good = message::framed(Kind::Keepalive, &[]);
    let with = |index: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[index] = byte;
        message::first(&bytes, LENGTH_MAX).map(|it| it.is_some())
    };

    assert_eq!(with(18, 4), Ok(true));
    assert_eq!(with(15, 0), Err(Notification::NOT_SYNCHRONIZED));
    assert_eq!(with(17, 18), Err(Notification::bad_length([0, 18])));
    assert_eq!(with(17, 20), Err(Notification::bad_length([0, 20])));
    assert_eq!(with(16, 0x10), Err(Notification::bad_length([0x10, 19])));
    assert_eq!(with(18, 6), Err(Notification::bad_type(6)));
    // An OPEN, an UPDATE and a NOTIFICATION have more than a header.
    for kind in [1, 2, 3] {
        assert_eq!(with(18, kind), Err(Notification::bad_length([0, 19])));
    }
    assert_eq!(message::first(&good[..18], LENGTH_MAX), Ok(None));
}

//! What follows from attributes that are wrong (RFC 7606).

use bgp::{Family, Notification, attributes::Sender, message::update::Update};

const EXTERNAL: Sender = Sender {
    is_four_octet: true,
    is_internal: false,
    has_extended_next_hop: false,
};
const INTERNAL: Sender = Sender {
    is_internal: true,
    ..EXTERNAL
};
const NARROW: Sender = Sender {
    is_four_octet: false,
    ..EXTERNAL
};

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe8];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
const LOCAL_PREF: &[u8] = &[0x40, 5, 4, 0, 0, 0, 100];
/// 198.51.100.0/24
const PREFIX: &[u8] = &[24, 198, 51, 100];
/// 2001:db8::/32 by 2001:db8::1
const REACH: &[u8] = &[
    0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32, 0x20,
    1, 0xd, 0xb8,
];

/// What must follow.
#[derive(Debug, PartialEq)]
enum Outcome {
    Reset(Notification),
    TreatAsWithdraw,
    AttributeDiscard,
    Fine,
}

use Outcome::{AttributeDiscard, Fine, Reset, TreatAsWithdraw};

fn read(
    withdrawn: &[u8],
    attributes: &[&[u8]],
    nets: &[u8],
    sender: Sender,
) -> Result<Update, Notification> {
    let attributes = attributes.concat();
    let sized = |it: &[u8]| u16::try_from(it.len()).unwrap().to_be_bytes();
    let mut body = sized(withdrawn).to_vec();
    body.extend(withdrawn);
    body.extend(sized(&attributes));
    body.extend(attributes);
    body.extend(nets);
    Update::read(&body, sender)
}

fn outcome(attributes: &[&[u8]], nets: &[u8], sender: Sender) -> Outcome {
    match read(&[], attributes, nets, sender) {
        Err(notification) => Reset(notification),
        Ok(update) if update.fault.is_some() => {
            assert!(update.announced.is_empty() && !update.withdrawn.is_empty());
            TreatAsWithdraw
        }
        Ok(update) => {
            assert!(!update.announced.is_empty() && update.withdrawn.is_empty());
            match update.discarded.is_empty() {
                true => Fine,
                false => AttributeDiscard,
            }
        }
    }
}

/// One attribute beside those that must be there, and without the one of its type among these.
fn beside(attribute: &[u8], sender: Sender) -> Outcome {
    let narrow: &[u8] = &[0x40, 2, 4, 2, 1, 0xfd, 0xe8];
    let path = if sender.is_four_octet {
        AS_PATH
    } else {
        narrow
    };
    let mut all = vec![ORIGIN, path, NEXT_HOP];
    if sender.is_internal {
        all.push(LOCAL_PREF);
    }
    all.retain(|it| it[1] != attribute[1]);
    all.push(attribute);
    outcome(&all, PREFIX, sender)
}

#[test]
fn each_malformed_attribute_has_its_consequence() {
    let cases: &[(&str, &[u8], Sender, Outcome)] = &[
        ("7.1 an origin", ORIGIN, EXTERNAL, Fine),
        (
            "7.1 of two bytes",
            &[0x40, 1, 2, 0, 0],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        ("7.1 of none", &[0x40, 1, 0], EXTERNAL, TreatAsWithdraw),
        ("7.1 undefined", &[0x40, 1, 1, 3], EXTERNAL, TreatAsWithdraw),
        ("3c optional", &[0xc0, 1, 1, 0], EXTERNAL, TreatAsWithdraw),
        ("3c partial says nothing", &[0x60, 1, 1, 0], EXTERNAL, Fine),
        ("7.2 a path", AS_PATH, EXTERNAL, Fine),
        ("7.2 that is empty", &[0x40, 2, 0], EXTERNAL, Fine),
        (
            "7.2 segment type 5",
            &[0x40, 2, 6, 5, 1, 0, 0, 0, 1],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.2 segment type 0",
            &[0x40, 2, 6, 0, 1, 0, 0, 0, 1],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.2 overrun",
            &[0x40, 2, 6, 2, 2, 0, 0, 0, 1],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.2 underrun",
            &[0x40, 2, 7, 2, 1, 0, 0, 0, 1, 2],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.2 an empty segment",
            &[0x40, 2, 2, 2, 0],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.2 not transitive",
            &[0x00, 2, 0],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.3 five bytes",
            &[0x40, 3, 5, 192, 0, 2, 1, 0],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        ("7.3 none", &[0x40, 3, 0], EXTERNAL, TreatAsWithdraw),
        (
            "7.4 a discriminator",
            &[0x80, 4, 4, 0, 0, 0, 1],
            EXTERNAL,
            Fine,
        ),
        (
            "7.4 three bytes",
            &[0x80, 4, 3, 0, 0, 0],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.4 transitive",
            &[0xc0, 4, 4, 0, 0, 0, 1],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.5 of an external peer",
            LOCAL_PREF,
            EXTERNAL,
            AttributeDiscard,
        ),
        (
            "7.5 also a broken one",
            &[0x40, 5, 1, 0],
            EXTERNAL,
            AttributeDiscard,
        ),
        ("7.5 of an internal peer", LOCAL_PREF, INTERNAL, Fine),
        (
            "7.5 three bytes",
            &[0x40, 5, 3, 0, 0, 0],
            INTERNAL,
            TreatAsWithdraw,
        ),
        ("7.6 an aggregate", &[0x40, 6, 0], EXTERNAL, Fine),
        (
            "7.6 with a value",
            &[0x40, 6, 1, 0],
            EXTERNAL,
            AttributeDiscard,
        ),
        (
            "7.7 an aggregator",
            &[0xc0, 7, 8, 0, 0, 0, 1, 10, 0, 0, 1],
            EXTERNAL,
            Fine,
        ),
        (
            "7.7 six bytes",
            &[0xc0, 7, 6, 0, 1, 10, 0, 0, 1],
            EXTERNAL,
            AttributeDiscard,
        ),
        (
            "7.7 six bytes among two",
            &[0xc0, 7, 6, 0, 1, 10, 0, 0, 1],
            NARROW,
            Fine,
        ),
        (
            "7.7 eight among two",
            &[0xc0, 7, 8, 0, 0, 0, 1, 10, 0, 0, 1],
            NARROW,
            AttributeDiscard,
        ),
        ("7.8 communities", &[0xc0, 8, 4, 0, 1, 0, 2], EXTERNAL, Fine),
        (
            "7.8 five bytes",
            &[0xc0, 8, 5, 0, 1, 0, 2, 0],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        ("7.8 none", &[0xc0, 8, 0], EXTERNAL, TreatAsWithdraw),
        (
            "7.9 of an external peer",
            &[0x80, 9, 4, 10, 0, 0, 1],
            EXTERNAL,
            AttributeDiscard,
        ),
        (
            "7.9 of an internal peer",
            &[0x80, 9, 4, 10, 0, 0, 1],
            INTERNAL,
            Fine,
        ),
        (
            "7.9 three bytes",
            &[0x80, 9, 3, 10, 0, 0],
            INTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.10 of an external peer",
            &[0x80, 10, 4, 10, 0, 0, 1],
            EXTERNAL,
            AttributeDiscard,
        ),
        (
            "7.10 of an internal peer",
            &[0x80, 10, 4, 10, 0, 0, 1],
            INTERNAL,
            Fine,
        ),
        ("7.10 none", &[0x80, 10, 0], INTERNAL, TreatAsWithdraw),
        (
            "7.10 six bytes",
            &[0x80, 10, 6, 10, 0, 0, 1, 0, 0],
            INTERNAL,
            TreatAsWithdraw,
        ),
        (
            "7.14 extended communities",
            &[0xc0, 16, 8, 0, 2, 0, 1, 0, 0, 0, 1],
            EXTERNAL,
            Fine,
        ),
        (
            "7.14 seven bytes",
            &[0xc0, 16, 7, 0, 2, 0, 1, 0, 0, 0],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        ("7.14 none", &[0xc0, 16, 0], EXTERNAL, TreatAsWithdraw),
        (
            "6793 §6 AS4_PATH",
            &[0xc0, 17, 6, 2, 1, 0, 0, 0, 1],
            NARROW,
            Fine,
        ),
        (
            "6793 §6 a broken one",
            &[0xc0, 17, 6, 2, 2, 0, 0, 0, 1],
            NARROW,
            AttributeDiscard,
        ),
        (
            "6793 §6 among four",
            &[0xc0, 17, 6, 2, 1, 0, 0, 0, 1],
            EXTERNAL,
            AttributeDiscard,
        ),
        (
            "6793 §6 AS4_AGGREGATOR",
            &[0xc0, 18, 8, 0, 0, 0, 1, 10, 0, 0, 1],
            NARROW,
            Fine,
        ),
        (
            "6793 §6 seven bytes",
            &[0xc0, 18, 7, 0, 0, 0, 1, 10, 0, 0],
            NARROW,
            AttributeDiscard,
        ),
        (
            "8092 §5 large communities",
            &[0xc0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
            EXTERNAL,
            Fine,
        ),
        (
            "8092 §5 four bytes",
            &[0xc0, 32, 4, 0, 0, 0, 1],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "4271 §5 optional, unknown",
            &[0xc0, 200, 1, 0],
            EXTERNAL,
            Fine,
        ),
        (
            "4271 §6.3 well-known, unknown",
            &[0x40, 200, 1, 0],
            EXTERNAL,
            Reset(Notification::unrecognized_attribute(&[0x40, 200, 1, 0])),
        ),
        (
            "4 longer than all",
            &[0xc0, 8, 9, 0, 1],
            EXTERNAL,
            TreatAsWithdraw,
        ),
        (
            "4 two bytes are left",
            &[0xc0, 8],
            EXTERNAL,
            TreatAsWithdraw,
        ),
    ];
    for (name, attribute, sender, expected) in cases {
        assert_eq!(&beside(attribute, *sender), expected, "{name}");
    }
}

#[test]
fn what_must_be_there_and_is_not_makes_prefixes_withdrawn() {
    let all = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    assert_eq!(outcome(&all, PREFIX, INTERNAL), Fine);
    for index in 0..all.len() {
        let mut some = all.to_vec();
        some.remove(index);
        assert_eq!(outcome(&some, PREFIX, INTERNAL), TreatAsWithdraw, "{index}");
    }
    assert_eq!(outcome(&[], PREFIX, EXTERNAL), TreatAsWithdraw);
    // A next hop of IPv6 prefixes stands with them.
    assert_eq!(outcome(&[REACH, ORIGIN, AS_PATH], &[], EXTERNAL), Fine);
    assert_eq!(outcome(&[REACH, ORIGIN], &[], EXTERNAL), TreatAsWithdraw);
}

#[test]
fn of_an_attribute_that_comes_twice_the_first_counts_but_prefixes_come_once() {
    let twice = read(
        &[],
        &[ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 3, 1, 9]],
        PREFIX,
        EXTERNAL,
    )
    .unwrap();
    assert_eq!(twice.seen.next_hop, Some("192.0.2.1".parse().unwrap()));
    assert_eq!((twice.announced.len(), twice.discarded.len()), (1, 1));

    let reset = Reset(Notification::MALFORMED_ATTRIBUTES);
    assert_eq!(
        outcome(&[REACH, REACH, ORIGIN, AS_PATH], &[], EXTERNAL),
        reset
    );
    let unreach: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    assert_eq!(outcome(&[unreach, unreach], &[], EXTERNAL), reset);
}

#[test]
fn prefixes_that_cannot_be_read_end_the_session() {
    let all = [ORIGIN, AS_PATH, NEXT_HOP];
    for nets in [&[33, 1, 2, 3, 4, 5][..], &[24, 198, 51], &[25]] {
        let reset = Reset(Notification::INVALID_NETWORK);
        assert_eq!(outcome(&all, nets, EXTERNAL), reset);
        let withdrawn = read(nets, &[], &[], EXTERNAL);
        assert_eq!(withdrawn, Err(Notification::INVALID_NETWORK));
    }
    let broken = Reset(Notification::OPTIONAL_ATTRIBUTE);
    let cases: &[(&str, &[u8])] = &[
        (
            "a prefix of 129 bits",
            &[
                0x80, 15, 20, 0, 2, 1, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        ("a prefix that is cut off", &[0x80, 15, 5, 0, 2, 1, 32, 0]),
        ("no family", &[0x80, 15, 2, 0, 2]),
        ("reach without a next hop", &[0x80, 14, 3, 0, 2, 1]),
        (
            "reach by four bytes",
            &[0x80, 14, 9, 0, 2, 1, 4, 1, 2, 3, 4, 0],
        ),
    ];
    for (name, attribute) in cases {
        assert_eq!(
            outcome(&[attribute, ORIGIN, AS_PATH], &[], EXTERNAL),
            broken,
            "{name}"
        );
    }
}

#[test]
fn the_strongest_consequence_counts() {
    let bad_origin: &[u8] = &[0x40, 1, 1, 9];
    let bad_reach: &[u8] = &[0x80, 14, 3, 0, 2, 1];
    let broken = Reset(Notification::OPTIONAL_ATTRIBUTE);
    assert_eq!(
        outcome(&[bad_origin, AS_PATH, bad_reach], PREFIX, EXTERNAL),
        broken
    );
    let bad_aggregate: &[u8] = &[0x40, 6, 1, 0];
    let both = [bad_aggregate, bad_origin, AS_PATH, NEXT_HOP];
    assert_eq!(outcome(&both, PREFIX, EXTERNAL), TreatAsWithdraw);
}

#[test]
fn lengths_that_contradict_each_other_end_the_session() {
    for body in [&[0, 9, 0, 0][..], &[0, 0, 0, 9], &[0, 0, 0], &[]] {
        assert_eq!(
            Update::read(body, EXTERNAL),
            Err(Notification::MALFORMED_ATTRIBUTES)
        );
    }
}

/// §5.2: who says attributes means prefixes, and these were not found.
#[test]
fn an_error_where_no_prefixes_are_announced_ends_the_session() {
    let reset = Reset(Notification::MALFORMED_ATTRIBUTES);
    let bad_origin: &[u8] = &[0x40, 1, 1, 9];
    assert_eq!(
        outcome(&[bad_origin, AS_PATH, NEXT_HOP], &[], EXTERNAL),
        reset
    );
    let unreach: &[u8] = &[0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0xd, 0xb8];
    assert_eq!(outcome(&[unreach, bad_origin], &[], EXTERNAL), reset);
    assert_eq!(outcome(&[&[0x40, 1, 9]], &[], EXTERNAL), reset);

    // Not where an attribute is only left out, and not where nothing but withdrawn prefixes is said.
    let left_out = read(&[], &[unreach, &[0x40, 6, 1, 0]], &[], EXTERNAL).unwrap();
    assert_eq!((left_out.withdrawn.len(), left_out.discarded.len()), (1, 1));
    let odd: &[u8] = &[0xc0, 15, 8, 0, 2, 1, 32, 0x20, 1, 0xd, 0xb8];
    assert_eq!(outcome(&[odd], &[], EXTERNAL), TreatAsWithdraw);
    // Prefixes of a family that is not ours are announced all the same.
    let labels: &[u8] = &[0x80, 14, 10, 0, 1, 4, 4, 192, 0, 2, 1, 0, 0];
    let other = read(&[], &[labels, bad_origin, AS_PATH], &[], EXTERNAL).unwrap();
    assert!(other.fault.is_some() && other.withdrawn.is_empty());
}

#[test]
fn the_next_hop_of_prefixes_stands_with_them_whatever_else_is_said() {
    let orders = [[REACH, NEXT_HOP], [NEXT_HOP, REACH]];
    for [one, two] in orders {
        let update = read(&[], &[one, ORIGIN, AS_PATH, two], &[], EXTERNAL).unwrap();
        assert_eq!(update.seen.next_hop, Some("2001:db8::1".parse().unwrap()));
        assert_eq!(Family::of_net(&update.announced[0]), Family::Ipv6);
    }
}

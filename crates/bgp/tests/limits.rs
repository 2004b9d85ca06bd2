//! What a peer may say that agreed to less than we offered.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use bgp::{
    ConnectionId, Ends, Event, Family, PeerSettings, PeerSnapshot, Speaker, State,
    attributes::Attributes,
    capability::Capabilities,
    message::{
        Kind, framed,
        open::Open,
        update::{Writing, announce},
    },
};
use ipnet::IpNet;

use super::network::{PEER, config, settings};

const CONNECTION: ConnectionId = ConnectionId::Accepted(1);
const EXTENDED: Writing = Writing {
    is_four_octet: false,
    length_max: 65_535,
};

/// How it is with a peer that can nothing beside IPv4 unless `families` says so, after it said something.
fn after(settings: PeerSettings, families: &[Family], said: &[Vec<u8>]) -> PeerSnapshot {
    let now = Instant::now();
    let mut speaker = Speaker::new(1);
    let config = config(0, settings);
    let is_restarting = false;
    speaker.handle(
        Event::Configure {
            config,
            is_restarting,
        },
        now,
    );
    let open = Open {
        asn: 65_000,
        hold_time: 90,
        id: Ipv4Addr::new(10, 0, 0, 9),
        capabilities: Capabilities {
            families: families.iter().copied().collect(),
            ..Capabilities::default()
        },
    };
    let local: IpAddr = Ipv4Addr::new(172, 31, 2, 11).into();
    let accepted = Event::Accepted {
        connection: CONNECTION,
        peer: PEER,
        address: Ipv4Addr::new(172, 31, 2, 1).into(),
        ends: Ends {
            local,
            other: None,
            link_local: None,
        },
    };
    speaker.handle(accepted, now);
    let first = [
        framed(Kind::Open, &open.body()),
        framed(Kind::Keepalive, &[]),
    ];
    for bytes in first.iter().chain(said).cloned() {
        let connection = CONNECTION;
        speaker.handle(Event::Received { connection, bytes }, now);
    }
    speaker.snapshot().remove(0)
}

fn attributes(next_hop: &str) -> Attributes {
    Attributes {
        as_path: vec![65_000],
        next_hop: next_hop.parse().unwrap(),
        link_local: None,
        med: None,
        local_preference: None,
        communities: Vec::new(),
        large_communities: Vec::new(),
    }
}

fn received(peer: &PeerSnapshot, family: Family) -> usize {
    let mut families = peer.families.iter();
    families
        .find(|it| it.family == family)
        .map_or(0, |it| it.received)
}

#[test]
fn a_message_may_be_as_long_as_we_said_that_we_take() {
    // RFC 8654 §4: what counts for what we take is what we said, and not what the peer did.
    let mut patient = settings();
    patient.prefixes_max = 10_000;
    let longer: Vec<IpNet> = (0..2_000_u32)
        .map(|number| IpNet::new(Ipv4Addr::from(0x0c00_0000 | number << 8).into(), 24).unwrap())
        .collect();
    let long = announce(Family::Ipv4, &attributes("172.31.2.1"), &longer, EXTENDED);
    assert!(long.len() == 1 && long[0].len() > 4_096);

    let peer = after(patient, &[Family::Ipv4], &long);

    assert_eq!(peer.state, State::Established, "{:?}", peer.last_down);
    assert_eq!(received(&peer, Family::Ipv4), 2_000);
}

#[test]
fn prefixes_of_a_version_that_was_not_agreed_on_are_not_counted() {
    let nets = ["2001:db8:7::/48".parse().unwrap()];
    let said = announce(Family::Ipv6, &attributes("2001:db8::1"), &nets, EXTENDED);

    let agreed = after(settings(), &Family::ALL, &said);
    assert_eq!(received(&agreed, Family::Ipv6), 1);

    let peer = after(settings(), &[Family::Ipv4], &said);
    assert_eq!(peer.state, State::Established);
    assert_eq!(received(&peer, Family::Ipv6), 0);
}

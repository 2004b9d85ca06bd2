//! Any bytes, as datagrams to a session.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bfd::{Action, Datagram, Event, Hops, Key, Packet, Sessions, Settings};

/// Where the other side's knowledge of our number stands in a packet.
const YOURS: std::ops::Range<usize> = 8..12;

/// One datagram after the other: a byte that says how long it is and whether it knows our number, and then
/// what it says. Each is taken or counted, and whatever is answered is a packet.
pub fn hear(mut bytes: &[u8]) {
    let mut now = Instant::now();
    let key = Key {
        peer: Ipv4Addr::new(192, 0, 2, 1).into(),
        local: None,
        interface: None,
        hops: Hops::Single,
    };
    let settings = Settings {
        transmit: Duration::from_millis(100),
        receive: Duration::from_millis(100),
        multiplier: 3,
        is_passive: false,
        lowest_ttl: 255,
        authentication: None,
        is_admin_down: false,
        is_reset: false,
        is_cut_behind: false,
    };
    let mut sessions = Sessions::new(1);
    sessions.handle(Event::Configure([(key, settings)].into()), now);
    let mine = sessions.snapshot()[0].1.discriminators[0];
    let mut heard = 0;
    while let Some((head, rest)) = bytes.split_first() {
        let (said, rest) = rest.split_at(rest.len().min(usize::from(head & 0x7f)));
        bytes = rest;
        let mut said = said.to_vec();
        if head & 0x80 != 0
            && let Some(place) = said.get_mut(YOURS)
        {
            place.copy_from_slice(&mine.to_be_bytes());
        }
        let datagram = Datagram {
            bytes: &said,
            from: key.peer,
            to: Ipv4Addr::new(192, 0, 2, 2).into(),
            interface: 3,
            ttl: 255,
            hops: Hops::Single,
            arrived: now,
        };
        let mut actions = sessions.handle(Event::Received(datagram), now);
        heard += 1;
        now += Duration::from_millis(u64::from(*head));
        actions.extend(sessions.handle(Event::Tick, now));
        for action in actions {
            match action {
                Action::Send { packet, .. } => assert!(Packet::read(packet.bytes()).is_ok()),
                Action::Changed { from, to, .. } => assert_ne!(from, to),
                Action::Behind { .. } => {}
            }
        }
        let refused: u64 = sessions.refused().values().sum();
        assert_eq!(sessions.snapshot()[0].1.received + refused, heard);
    }
}

//! A session's life, from both sides.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bgp::{
    ConnectionId, Ends, Event, Farewell, Route, Speaker, State,
    capability::{Capabilities, GracefulRestart},
    message::{self, Kind, open::Open},
};

use super::network::{Network, PEER, address, asn, config, settings, table};

const SECOND: Duration = Duration::from_secs(1);

fn established(seed: u64) -> Network {
    let mut network = Network::configured(seed);
    network.pass(10 * SECOND);
    assert_eq!(
        network.states(),
        [State::Established; 2],
        "{:?}",
        network.changes
    );
    network
}

#[test]
fn two_that_call_each_other_at_once_keep_one_connection() {
    for seed in 0..50 {
        let network = established(seed);

        assert_eq!(network.connections(), 1, "seed {seed}");
        assert_eq!(network.peer(0).remote_as, Some(asn(1)));
        assert_eq!(network.peer(1).remote_as, Some(asn(0)));
        assert_eq!(network.peer(0).established_times, 1, "seed {seed}");
    }
}

#[test]
fn what_is_announced_arrives_and_what_is_withdrawn_goes() {
    let mut network = established(1);
    network.announce(
        0,
        table(&["192.0.2.8/29", "192.0.2.16/32", "2001:db8::16/128"]),
    );
    network.pass(SECOND);
    assert_eq!(
        network.heard(1),
        ["192.0.2.8/29", "192.0.2.16/32", "2001:db8::16/128"]
    );
    let kept = &network.peer(1).received;
    assert_eq!(kept[0].next_hop, Some("172.31.2.11".parse().unwrap()));
    assert_eq!(kept[2].next_hop, Some("2001:db8::11".parse().unwrap()));
    assert_eq!(kept[0].as_path, "65010");

    network.announce(0, table(&["192.0.2.16/32"]));
    network.pass(SECOND);

    assert_eq!(network.heard(1), ["192.0.2.16/32"]);
}

#[test]
fn attributes_arrive_as_they_were_wanted() {
    let mut network = established(2);
    let route = Route {
        communities: vec![65010 << 16 | 100, 0xffff_ff01],
        large_communities: vec![[65010, 1, 2]],
        med: Some(50),
        local_preference: Some(200),
        prepend: 2,
    };
    network.announce(0, [("192.0.2.8/29".parse().unwrap(), route)].into());
    network.pass(SECOND);

    let kept = &network.peer(1).received[0];
    assert_eq!(kept.as_path, "65010 65010 65010");
    assert_eq!(kept.communities, ["65010:100", "65535:65281", "65010:1:2"]);
    assert_eq!(kept.med, Some(50));
    assert_eq!(kept.local_preference, None);
}

#[test]
fn bytes_in_any_pieces_say_the_same() {
    for piece in [1, 2, 7, 18, 19, 20] {
        let mut network = Network::configured(3);
        network.piece = piece;
        network.announce(0, table(&["192.0.2.8/29", "2001:db8::/32"]));
        network.pass(10 * SECOND);

        assert_eq!(network.heard(1), ["192.0.2.8/29", "2001:db8::/32"]);
    }
}

#[test]
fn whoever_dies_in_silence_is_missed_when_the_hold_time_is_over() {
    let mut network = established(4);
    network.announce(1, table(&["198.51.100.0/24"]));
    network.pass(SECOND);
    network.is_silent = true;
    let begin = network.now;
    network.pass(6 * SECOND);
    assert_eq!(network.states(), [State::Established; 2]);
    network.pass(3 * SECOND);

    assert!(network.states()[0] < State::Established);
    let why = network.peer(0).last_down.unwrap();
    assert_eq!(why.1, "we said Hold Timer Expired");
    assert!(why.0 - begin <= 9 * SECOND);

    network.is_silent = false;
    network.pass(30 * SECOND);
    assert_eq!(network.states(), [State::Established; 2]);
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    let mut network = established(5);
    network.cut();
    assert!(network.states()[0] < State::Established);
    network.pass(10 * SECOND);

    assert_eq!(network.states(), [State::Established; 2]);
    assert_eq!(network.peer(0).established_times, 2);
}

#[test]
fn whoever_cannot_be_reached_is_called_again_ever_less_often() {
    let mut network = Network::new(6);
    network.listens = [false; 2];
    network.configure(0, settings());
    network.pass(60 * SECOND);
    let first = network.peer(0).history.len();
    network.pass(600 * SECOND);
    let calls = network.peer(0).history.len() - first;

    assert!((4..=9).contains(&first), "{first}");
    assert!((18..=32).contains(&calls), "{calls}");
    let why = network.peer(0).last_down.unwrap().1;
    assert_eq!(why, "cannot connect: connection refused");
}

#[test]
fn a_peer_that_restarts_keeps_our_routes_until_we_say_them_again() {
    let mut network = established(7);
    network.announce(0, table(&["192.0.2.8/29", "192.0.2.16/32"]));
    network.pass(SECOND);
    // The gateway's daemon is killed; it comes back, and one address is gone meanwhile.
    network.restart(0, true, settings());
    network.pass(Duration::from_millis(4));
    assert!(network.keeps_stale(1), "{:?}", network.peer(1));
    network.announce(0, table(&["192.0.2.8/29"]));
    network.pass(20 * SECOND);

    assert_eq!(network.heard(1), ["192.0.2.8/29"]);
    assert!(!network.keeps_stale(1));
}

#[test]
fn a_peer_that_does_not_come_back_is_forgotten() {
    let mut network = established(8);
    network.announce(0, table(&["192.0.2.8/29"]));
    network.pass(SECOND);
    network.listens = [false; 2];
    network.cut();
    network.tell(0, Event::Restart);
    network.pass(50 * SECOND);
    assert!(network.keeps_stale(1));
    network.pass(15 * SECOND);

    assert!(network.heard(1).is_empty());
}

#[test]
fn a_gateway_that_leaves_asks_to_be_avoided_then_withdraws_then_says_goodbye() {
    let mut network = established(9);
    network.announce(0, table(&["192.0.2.8/29"]));
    network.pass(SECOND);

    network.tell(0, Event::Farewell(Farewell::Graceful));
    network.pass(SECOND);
    assert_eq!(network.peer(1).received[0].communities, ["65535:0"]);

    network.announce(0, table(&[]));
    network.pass(SECOND);
    assert!(network.heard(1).is_empty());
    assert_eq!(network.states(), [State::Established; 2]);

    let words = "maintenance until 3".to_owned();
    network.tell(0, Event::Farewell(Farewell::Stop { words }));
    network.pass(60 * SECOND);
    assert!(network.states()[0] < State::Established);
    let why = network.peer(1).notification_received.unwrap();
    assert_eq!(
        why,
        "Cease/Hard Reset (Cease/Administrative Shutdown: \"maintenance until 3\")"
    );

    network.tell(0, Event::Farewell(Farewell::None));
    network.announce(0, table(&["192.0.2.8/29"]));
    network.pass(60 * SECOND);
    assert_eq!(network.heard(1), ["192.0.2.8/29"]);
}

#[test]
fn a_way_that_bfd_lost_ends_the_session_at_once_and_nothing_is_kept() {
    let mut network = established(10);
    network.announce(0, table(&["192.0.2.8/29"]));
    network.pass(SECOND);
    network.tell(1, Event::PathDown(PEER));

    assert!(network.states()[1] < State::Established);
    assert!(network.heard(1).is_empty());
    network.pass(20 * SECOND);
    assert_eq!(network.heard(1), ["192.0.2.8/29"]);
}

#[test]
fn a_peer_that_asks_hears_everything_again() {
    let mut network = established(11);
    network.announce(0, table(&["192.0.2.8/29", "2001:db8::/32"]));
    network.pass(SECOND);
    let before = network.sent[0].len();
    network.tell(1, Event::Refresh(PEER));
    network.pass(SECOND);

    // Of each family: where it begins, what there is, where it ends.
    let kinds: Vec<u8> = network.sent[0][before..].iter().map(|it| it[18]).collect();
    assert_eq!(kinds.iter().filter(|it| **it == 5).count(), 4, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|it| **it == 2).count(), 2, "{kinds:?}");
    assert_eq!(network.heard(1), ["192.0.2.8/29", "2001:db8::/32"]);
}

#[test]
fn a_peer_that_announces_too_much_is_left_alone() {
    let mut network = Network::new(12);
    let mut strict = settings();
    strict.prefixes_max = 1;
    network.configure(0, strict);
    network.configure(1, settings());
    network.announce(1, table(&["198.51.100.0/24", "203.0.113.0/24"]));
    network.pass(60 * SECOND);

    assert_eq!(network.states()[0], State::Idle);
    let said = network.peer(0).notification_sent.unwrap();
    assert_eq!(said, "Cease/Maximum Number of Prefixes Reached");
    assert!(network.heard(0).is_empty());
}

#[test]
fn only_what_needs_it_begins_a_session_anew() {
    let mut network = established(13);
    network.announce(0, table(&["192.0.2.8/29"]));
    network.pass(SECOND);
    let mut other = settings();
    other.advertisement_interval = 5 * SECOND;
    network.configure(0, other.clone());
    network.pass(SECOND);
    assert_eq!(network.peer(0).established_times, 1);

    other.hold_time = 30 * SECOND;
    network.configure(0, other);
    network.pass(20 * SECOND);

    assert_eq!(network.peer(0).established_times, 2);
    assert_eq!(network.states(), [State::Established; 2]);
    assert_eq!(network.heard(1), ["192.0.2.8/29"]);
}

#[test]
fn announcements_that_follow_each_other_closely_are_said_together() {
    let mut network = Network::new(14);
    let mut slow = settings();
    slow.advertisement_interval = 10 * SECOND;
    network.configure(0, slow);
    network.configure(1, settings());
    network.announce(0, table(&["192.0.2.1/32"]));
    network.pass(10 * SECOND);
    network.pass(10 * SECOND);
    network.announce(0, table(&["192.0.2.1/32", "192.0.2.2/32"]));
    network.pass(SECOND);
    network.announce(0, table(&["192.0.2.2/32", "192.0.2.3/32"]));
    network.pass(SECOND);
    // Withdrawals do not wait.
    assert_eq!(network.heard(1), ["192.0.2.2/32"]);
    network.pass(10 * SECOND);

    assert_eq!(network.heard(1), ["192.0.2.2/32", "192.0.2.3/32"]);
}

#[test]
fn a_hold_time_of_zero_waits_for_ever() {
    let mut network = Network::new(15);
    for side in 0..2 {
        let mut patient = settings();
        patient.hold_time = Duration::ZERO;
        network.configure(side, patient);
    }
    network.pass(10 * SECOND);
    let sent = network.sent[0].len();
    network.pass(3600 * SECOND);

    assert_eq!(network.states(), [State::Established; 2]);
    assert_eq!(network.sent[0].len(), sent);
}

#[test]
fn nobody_says_more_than_once_a_second_that_it_is_there() {
    let mut network = Network::new(18);
    for side in 0..2 {
        let mut hasty = settings();
        hasty.hold_time = 3 * SECOND;
        network.configure(side, hasty);
    }
    network.pass(10 * SECOND);
    let before = network.sent[0].len();
    network.pass(60 * SECOND);

    assert_eq!(network.states(), [State::Established; 2]);
    let said = network.sent[0].len() - before;
    assert!((50..=60).contains(&said), "{said}");
}

#[test]
fn whoever_said_goodbye_calls_nobody_whatever_is_configured() {
    let mut network = established(16);
    let words = String::new();
    network.tell(0, Event::Farewell(Farewell::Stop { words }));
    network.pass(SECOND);
    network.listens = [false; 2];
    network.changes.clear();
    let mut other = settings();
    other.connect_retry = 7 * SECOND;
    network.configure(0, other);
    network.tell(0, Event::Reset(PEER));
    network.pass(60 * SECOND);

    let calls = network
        .changes
        .iter()
        .filter(|it| it.0 == 0 && it.2 == State::Connect);
    assert_eq!(calls.count(), 0);
}

#[test]
fn whoever_goes_on_after_a_notification_is_forgotten_unless_both_said_otherwise() {
    // A peer that keeps routes only when a connection breaks, and then says something wrong.
    for (on_notification, is_kept) in [(true, true), (false, false)] {
        assert_eq!(keeps_after_an_error(on_notification), is_kept);
    }
}

fn keeps_after_an_error(on_notification: bool) -> bool {
    let now = Instant::now();
    let mut speaker = Speaker::new(17);
    let config = config(0, settings());
    let is_restarting = false;
    let configured = Event::Configure {
        config,
        is_restarting,
    };
    speaker.handle(configured, now);
    let connection = ConnectionId::Accepted(1);
    let ends = Ends {
        local: address(0),
        other: None,
        link_local: None,
    };
    let called = Event::Accepted {
        connection,
        peer: PEER,
        address: address(1),
        ends,
    };
    speaker.handle(called, now);
    let open = Open {
        asn: asn(1),
        hold_time: 9,
        id: Ipv4Addr::new(10, 0, 0, 2),
        capabilities: Capabilities {
            four_octet: Some(asn(1)),
            restart: Some(GracefulRestart {
                on_notification,
                time: 60,
                ..GracefulRestart::default()
            }),
            ..Capabilities::default()
        },
    };
    let mut bytes = message::framed(Kind::Open, &open.body());
    bytes.extend(message::framed(Kind::Keepalive, &[]));
    // 198.51.100.0/24 by 198.51.100.1.
    let update = [
        0, 0, 0, 20, 0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0, 1, 0x40, 3, 4, 198, 51, 100, 1, 24,
        198, 51, 100,
    ];
    bytes.extend(message::framed(Kind::Update, &update));
    speaker.handle(Event::Received { connection, bytes }, now);
    assert_eq!(speaker.snapshot()[0].received.len(), 1);
    let bytes = vec![0; 19];
    speaker.handle(Event::Received { connection, bytes }, now);
    !speaker.snapshot()[0].received.is_empty()
}

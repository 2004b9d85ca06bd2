//! A session's life, from both sides.

use std::time::Duration;

use bfd::{Authentication, Diagnostic, Digest, Secret, State, sessions::LOOK};

use super::network::{MS, Network, SECOND, key, settings};

fn up(seed: u64, interval: Duration, multiplier: u8) -> Network {
    let each = [
        settings(interval, multiplier),
        settings(interval, multiplier),
    ];
    let mut network = Network::configured(seed, each);
    network.pass(3 * SECOND);
    assert_eq!(network.states(), [State::Up; 2], "{:?}", network.changes);
    network
}

#[test]
fn two_that_hear_each_other_come_up_and_agree_on_the_slower_times() {
    let mut network = Network::configured(1, [settings(50 * MS, 3), settings(200 * MS, 5)]);
    network.pass(3 * SECOND);

    assert_eq!(network.states(), [State::Up; 2]);
    let (ours, theirs) = (network.status(0), network.status(1));
    assert_eq!(ours.transmit, 200 * MS);
    assert_eq!(ours.receive, 200 * MS);
    // The other side's multiplier counts: it knows how many of its packets may be lost.
    assert_eq!(ours.detection, 1000 * MS);
    assert_eq!(theirs.detection, 600 * MS);
    assert_eq!(ours.discriminators[0], theirs.discriminators[1]);
    assert_eq!(ours.discriminators[1], theirs.discriminators[0]);
}

#[test]
fn packets_are_three_quarters_of_the_interval_apart_or_more_and_never_further_than_it() {
    for (multiplier, most) in [(3, 100), (1, 90)] {
        let mut network = up(2, 100 * MS, multiplier);
        let since = network.now;
        network.pass(20 * SECOND);

        let gaps = network.gaps(0, since);
        assert!(gaps.len() > 190);
        let (least, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*least >= 75 * MS, "{least:?}");
        assert!(*longest <= most * MS, "{longest:?}");
        assert!(*longest - *least > 10 * MS, "no jitter");
    }
}

#[test]
fn nobody_sends_faster_than_once_a_second_before_a_session_is_up() {
    let mut network = Network::configured(3, [settings(10 * MS, 3), settings(10 * MS, 3)]);
    network.is_cut = [true; 2];
    let since = network.now;
    network.pass(20 * SECOND);

    assert_eq!(network.states(), [State::Down; 2]);
    let gaps = network.gaps(0, since);
    assert!(gaps.iter().all(|gap| *gap >= 750 * MS), "{gaps:?}");
}

#[test]
fn a_way_that_is_gone_is_noticed_within_the_detection_time() {
    for seed in 0..20 {
        let mut network = up(seed, 100 * MS, 3);
        network.is_cut[1] = true;
        let cut = network.now;
        network.changes.clear();
        network.pass(SECOND);

        let (side, from, to, diagnostic, _) = network.changes[0];
        assert_eq!((side, from, to), (0, State::Up, State::Down));
        assert_eq!(diagnostic, Diagnostic::DETECTION_TIME_EXPIRED);
        let since = network.status(0).since - cut;
        assert!(since <= 300 * MS && since >= 200 * MS - MS, "{since:?}");
        // The other side, which still hears, is told.
        assert_eq!(network.changes[1].3, Diagnostic::NEIGHBOR_SIGNALED_DOWN);
        assert_eq!(
            network.status(1).remote_diagnostic,
            Diagnostic::DETECTION_TIME_EXPIRED
        );

        network.is_cut[1] = false;
        network.pass(5 * SECOND);
        assert_eq!(network.states(), [State::Up; 2]);
        assert_eq!(network.status(0).downs, 1);
    }
}

#[test]
fn a_third_of_all_packets_may_be_lost_where_ten_in_a_row_must_be() {
    let mut network = up(5, 50 * MS, 10);
    network.loss = 30;
    network.changes.clear();
    network.pass(600 * SECOND);

    assert_eq!(network.changes, []);
}

#[test]
fn times_that_change_are_agreed_on_while_the_session_stays_up() {
    let mut network = up(6, 100 * MS, 3);
    network.changes.clear();
    for (side, interval, expected) in [(0, 300, 300), (0, 50, 100), (1, 50, 50), (1, 400, 400)] {
        network.configure(side, Some(settings(interval * MS, 3)));
        network.pass(5 * SECOND);

        assert_eq!(network.status(0).transmit, expected * MS);
        assert_eq!(network.status(1).transmit, expected * MS);
        assert_eq!(network.status(0).detection, 3 * expected * MS);
    }
    assert_eq!(network.changes, []);
    assert!(network.sent[0].iter().any(|(_, it)| it.is_poll));
    assert!(network.sent[0].iter().any(|(_, it)| it.is_final));
    let (_, last) = network.sent[0].last().unwrap();
    assert!(!last.is_poll, "a poll ends");
}

#[test]
fn an_operator_who_does_not_want_a_session_is_no_failure() {
    let mut network = up(7, 100 * MS, 3);
    let mut unwanted = settings(100 * MS, 3);
    unwanted.is_admin_down = true;
    network.configure(0, Some(unwanted));
    network.pass(5 * SECOND);

    assert_eq!(network.states(), [State::AdminDown, State::Down]);
    let theirs = network.status(1);
    assert_eq!(theirs.remote_state, State::AdminDown);
    assert_eq!(theirs.remote_diagnostic, Diagnostic::ADMINISTRATIVELY_DOWN);

    network.configure(0, Some(settings(100 * MS, 3)));
    network.pass(5 * SECOND);
    assert_eq!(network.states(), [State::Up; 2]);
}

#[test]
fn a_session_that_is_not_wanted_any_more_says_so_and_is_gone() {
    let mut network = up(8, 100 * MS, 3);
    network.configure(0, None);
    let sent = network.sent[0].len();
    network.pass(5 * SECOND);

    assert_eq!(network.status(1).remote_state, State::Down);
    assert_eq!(
        network.status(1).diagnostic,
        Diagnostic::NEIGHBOR_SIGNALED_DOWN
    );
    assert!(network.sessions[0].snapshot().is_empty());
    assert_eq!(network.sessions[0].deadline(), None);
    let last = &network.sent[0][sent..];
    assert!((1..=5).contains(&last.len()), "{last:?}");
    assert!(last.iter().all(|(_, it)| it.state == State::AdminDown));
}

#[test]
fn whoever_restarts_with_other_numbers_is_known_again() {
    let mut network = up(9, 100 * MS, 3);
    network.restart(1, settings(100 * MS, 3));
    network.pass(5 * SECOND);

    assert_eq!(network.states(), [State::Up; 2]);
    let (ours, theirs) = (network.status(0), network.status(1));
    assert_eq!(ours.discriminators[1], theirs.discriminators[0]);
}

#[test]
fn one_that_is_passive_waits_to_be_spoken_to() {
    let passive = || {
        let mut passive = settings(100 * MS, 3);
        passive.is_passive = true;
        passive
    };
    let mut network = Network::configured(10, [passive(), passive()]);
    network.pass(10 * SECOND);
    assert!(network.sent[0].is_empty() && network.sent[1].is_empty());

    network.configure(1, Some(settings(100 * MS, 3)));
    network.pass(5 * SECOND);
    assert_eq!(network.states(), [State::Up; 2]);
}

#[test]
fn secrets_must_be_the_same_and_may_change() {
    let with = |secret: &[u8], digest| {
        let mut with = settings(100 * MS, 3);
        let secret = Secret::new(secret).unwrap();
        with.authentication = Some(Authentication {
            digest,
            key: 1,
            secret,
        });
        with
    };
    for digest in [Digest::Sha1, Digest::MeticulousSha1] {
        let mut network = Network::configured(11, [with(b"fish", digest), with(b"soup", digest)]);
        network.pass(10 * SECOND);
        assert_eq!(network.states(), [State::Down; 2]);
        assert!(!network.sessions[0].refused().is_empty());

        network.configure(1, Some(with(b"fish", digest)));
        network.pass(5 * SECOND);
        assert_eq!(network.states(), [State::Up; 2], "{digest:?}");

        // Without any, nothing is taken either.
        network.configure(1, Some(settings(100 * MS, 3)));
        network.pass(5 * SECOND);
        assert_eq!(network.states()[0], State::Down);
    }
}

#[test]
fn what_came_over_another_link_is_not_taken() {
    let mut network = up(12, 100 * MS, 3);
    network.ttl = 254;
    network.pass(5 * SECOND);

    assert_eq!(network.states(), [State::Down; 2]);
}

#[test]
fn a_machine_that_was_busy_reads_first_and_says_of_no_way_that_it_is_gone() {
    for busy in [250, 299, 301, 400, 2000] {
        let mut network = up(13, 100 * MS, 3);
        network.changes.clear();
        network.busy_until[0] = Some(network.now + busy * MS);
        network.pass(SECOND / 10 + busy * MS);

        let ours: Vec<_> = network.changes.iter().filter(|it| it.0 == 0).collect();
        // Side 1 hears nothing of a side that does not send, and says so.
        let was_told = ours
            .iter()
            .all(|it| it.3 == Diagnostic::NEIGHBOR_SIGNALED_DOWN);
        assert!(was_told, "busy for {busy} ms: {ours:?}");
        if busy < 300 {
            assert!(ours.is_empty());
        }
    }
}

#[test]
fn one_more_look_is_short_and_the_only_one() {
    let mut network = up(14, 100 * MS, 3);
    network.is_cut[1] = true;
    network.pass(10 * MS);
    network.changes.clear();
    let wakes = network.now + 500 * MS;
    network.busy_until[0] = Some(wakes);
    network.pass(SECOND);

    let ours = network.status(0);
    assert_eq!(ours.state, State::Down);
    assert_eq!(ours.late_ticks, 1);
    let late = ours.since - wakes;
    assert!(late <= LOOK, "{late:?}");
}

#[test]
fn three_packets_in_thirty_milliseconds_are_enough() {
    let mut network = up(15, 10 * MS, 3);
    network.changes.clear();
    network.pass(60 * SECOND);
    assert_eq!(network.changes, []);
    network.is_cut[1] = true;
    let cut = network.now;
    network.pass(100 * MS);

    assert!(network.status(0).since - cut <= 30 * MS);
}

#[test]
fn a_number_that_was_guessed_makes_nobody_the_other_side() {
    let mut network = up(16, 100 * MS, 3);
    let ours = network.status(0).discriminators[0];
    let (_, packet) = *network.sent[1].last().unwrap();
    let mut forged = packet;
    forged.yours = ours.wrapping_add(1).max(1);
    forged.state = State::Down;
    network.inject(0, forged.write(24).to_vec());

    assert_eq!(network.states(), [State::Up; 2]);
    assert_eq!(network.sessions[0].snapshot()[0].0, key(0));
}

#[test]
fn one_that_is_heard_says_that_what_lies_behind_it_is_not_there_and_then_that_it_is() {
    let mut cut = settings(100 * MS, 3);
    cut.is_cut_behind = true;
    let mut network = Network::configured(1, [cut, settings(100 * MS, 3)]);
    network.pass(5 * SECOND);
    assert!(network.behind.is_empty(), "it was said when it came up");
    let status = network.status(1);
    assert_eq!(status.state, State::Up);
    assert_eq!(status.remote_diagnostic, Diagnostic::CONCATENATED_PATH_DOWN);
    let changes = network.changes.len();

    network.configure(0, Some(settings(100 * MS, 3)));
    network.pass(10 * MS);

    let heard: Vec<_> = network
        .behind
        .iter()
        .map(|(side, is_cut, _)| (*side, *is_cut))
        .collect();
    assert_eq!(heard, [(1, false)], "at once, and by the other side");
    assert_eq!(network.changes.len(), changes, "the session stays up");
}

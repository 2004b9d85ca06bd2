//! Connections as RFC 5382 and RFC 7857 have them: who may open, how long they stay, and what an RST
//! may do.

use std::time::Duration;

use abi::{Behaviour, Dependence, Protocol, Reason};
use gateway::{
    intent::{Intent, Pool, Timeouts},
    sweep::FlowState,
};

use crate::rig::{
    Left, Site, Sketch,
    site::{self, INSIDE, OUTSIDE, TIMEOUTS, from_pool, intent, pool, rule, tuple},
    sketch::{ACK, FIN, RST, SYN, read},
    sums::transport_is_right,
};

const CLIENT: ([u8; 4], u16) = ([10, 1, 0, 1], 4000);
const REMOTE: ([u8; 4], u16) = ([198, 51, 100, 4], 440);

/// RFC 5382 REQ-5: two hours and four minutes, and four minutes. They are also the defaults.
const ESTABLISHED: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
const TRANSITORY: Duration = Duration::from_secs(4 * 60);

fn usual() -> Intent {
    Intent {
        timeouts: Timeouts {
            tcp_established: ESTABLISHED,
            tcp_opening: TRANSITORY,
            tcp_closing: TRANSITORY,
            ..TIMEOUTS
        },
        ..site::usual()
    }
}

/// A connection, and what its two sides send.
struct Connection {
    site: Site,
    external: ([u8; 4], u16),
}

impl Connection {
    fn new(intent: Intent) -> Self {
        let site = Site::new(intent, 16);
        let syn = Sketch::first(Protocol::Tcp, tuple(CLIENT, REMOTE)).flags(SYN);
        let left = site.send(INSIDE, &syn);
        assert_eq!(left.reason, Reason::TranslatedOut);
        let seen = read(&left.after.bytes).expect("a segment").1;
        let external = (seen.source.0, seen.source_port.get());
        Self { site, external }
    }

    fn open() -> Self {
        let it = Self::new(usual());
        it.remote(SYN | ACK);
        it.client(ACK);
        it
    }

    fn client(&self, flags: u8) -> Left {
        let segment = Sketch::first(Protocol::Tcp, tuple(CLIENT, REMOTE));
        self.site.send(INSIDE, &segment.flags(flags))
    }

    fn remote(&self, flags: u8) -> Left {
        let segment = Sketch::first(Protocol::Tcp, tuple(REMOTE, self.external));
        self.site.send(OUTSIDE, &segment.flags(flags))
    }

    /// How far it has come, as a sweep sees it; nothing if it is gone.
    fn state(&mut self) -> Option<FlowState> {
        let swept = self.site.sweep();
        swept.flows.keys().next().map(|(_, state)| *state)
    }

    /// Its state after a silence.
    fn after(&mut self, silence: Duration) -> Option<FlowState> {
        self.site.pass(silence);
        self.state()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_connection_is_open_when_both_sides_have_sent_a_syn_and_one_an_ack() {
    let mut it = Connection::new(usual());
    assert_eq!(it.state(), Some(FlowState::Opening));
    it.remote(SYN | ACK);
    assert_eq!(it.state(), Some(FlowState::Opening));
    it.client(ACK);

    assert_eq!(it.state(), Some(FlowState::Established));
}

/// RFC 5382 REQ-2: both SYNs cross each other.
#[test]
fn a_simultaneous_open_is_translated_and_becomes_established() {
    let mut it = Connection::new(usual());

    assert_eq!(it.remote(SYN).reason, Reason::TranslatedIn);
    assert_eq!(it.client(SYN | ACK).reason, Reason::TranslatedOut);
    assert_eq!(it.remote(SYN | ACK).reason, Reason::TranslatedIn);
    it.client(ACK);

    assert_eq!(it.state(), Some(FlowState::Established));
}

/// RFC 5382 REQ-4: no answer, because the client's own SYN may be on its way.
#[test]
fn a_syn_that_nobody_asked_for_is_not_answered_and_does_no_harm() {
    let site = Site::new(usual(), 16);
    let early = Sketch::first(Protocol::Tcp, tuple(REMOTE, ([192, 0, 2, 1], 4000)));

    assert_eq!(
        site.send(OUTSIDE, &early.flags(SYN)).reason,
        Reason::Unsolicited
    );
    assert!(site.memory.v4.flows.is_empty());
}

#[test]
fn an_idle_connection_stays_for_two_hours_and_four_minutes() {
    let mut it = Connection::open();

    assert_eq!(it.after(ESTABLISHED - SECOND), Some(FlowState::Established));
    assert_eq!(it.after(4 * SECOND), None);
}

#[test]
fn a_connection_that_nobody_answered_stays_for_four_minutes() {
    let mut it = Connection::new(usual());

    assert_eq!(it.after(TRANSITORY - SECOND), Some(FlowState::Opening));
    assert_eq!(it.after(4 * SECOND), None);
}

/// RFC 5382 REQ-5: one side may go on sending for as long as it likes.
#[test]
fn a_connection_that_one_side_has_closed_is_open() {
    let mut it = Connection::open();
    it.client(FIN | ACK);

    assert_eq!(it.state(), Some(FlowState::Established));
    assert_eq!(
        it.after(Duration::from_secs(3600)),
        Some(FlowState::Established)
    );
    assert_eq!(it.remote(ACK).reason, Reason::TranslatedIn);
    it.remote(FIN | ACK);
    assert_eq!(it.state(), Some(FlowState::Closing));
}

/// TIME_WAIT's segments still pass.
#[test]
fn what_comes_after_both_fins_passes_for_four_minutes() {
    let mut it = Connection::open();
    it.client(FIN | ACK);
    it.remote(FIN | ACK);

    assert_eq!(it.after(Duration::from_secs(200)), Some(FlowState::Closing));
    assert_eq!(it.client(ACK).reason, Reason::TranslatedOut);
    assert_eq!(it.after(Duration::from_secs(300)), None);
}

/// RFC 7857 §2.1: a client that takes the same port again for the same remote.
#[test]
fn a_syn_in_the_place_of_a_closed_connection_opens_a_new_one() {
    for end in [FIN | ACK, RST] {
        let mut it = Connection::open();
        it.client(end);
        it.remote(end);
        assert_eq!(it.state(), Some(FlowState::Closing));

        assert_eq!(it.client(SYN).reason, Reason::TranslatedOut);
        it.remote(SYN | ACK);
        it.client(ACK);

        assert_eq!(it.state(), Some(FlowState::Established));
    }
}

#[test]
fn an_rst_from_either_side_shortens_a_connection_to_four_minutes() {
    for from_client in [true, false] {
        let mut it = Connection::open();
        let left = if from_client {
            it.client(RST)
        } else {
            it.remote(RST)
        };
        assert!(left.is_translated());

        assert_eq!(it.after(Duration::from_secs(200)), Some(FlowState::Closing));
        assert_eq!(it.after(Duration::from_secs(60)), None);
    }
}

/// RFC 7857 §7.1: a client that has closed answers what still comes with RSTs, and neither keeps its
/// port in use.
#[test]
fn what_a_client_answers_with_rsts_keeps_no_connection_alive() {
    let mut it = Connection::open();
    it.client(RST);
    for _ in 0..3 {
        it.site.pass(Duration::from_secs(70));
        assert!(it.remote(ACK).is_translated());
        assert!(it.client(RST).is_translated());
    }

    assert_eq!(it.after(Duration::from_secs(29)), Some(FlowState::Closing));
    assert_eq!(it.after(3 * SECOND), None);
}

/// RFC 7857 §2.1: each end of a connection's life has a timeout of its own.
#[test]
fn opening_and_closing_connections_have_timeouts_of_their_own() {
    let slow_to_close = || Intent {
        timeouts: Timeouts {
            tcp_closing: 2 * TRANSITORY,
            ..usual().timeouts
        },
        ..usual()
    };
    let mut opening = Connection::new(slow_to_close());
    assert_eq!(opening.after(TRANSITORY + 3 * SECOND), None);

    let mut closing = Connection::new(slow_to_close());
    closing.remote(RST);
    assert_eq!(
        closing.after(TRANSITORY + 3 * SECOND),
        Some(FlowState::Closing)
    );
    assert_eq!(closing.after(TRANSITORY), None);
}

/// RFC 7857 §2.2: whoever can forge an RST cannot end a connection whose two sides go on.
#[test]
fn an_rst_that_its_sender_did_not_send_is_forgotten_when_the_sender_goes_on() {
    let mut it = Connection::open();
    it.remote(RST);
    assert_eq!(it.state(), Some(FlowState::Closing));

    it.remote(ACK);

    assert_eq!(it.state(), Some(FlowState::Established));
    assert_eq!(
        it.after(Duration::from_secs(3600)),
        Some(FlowState::Established)
    );
}

/// A pool whose segments are to be no larger than this.
fn clamped(mss: u16) -> Intent {
    let (mapping, filtering) = ([Dependence::Endpoint; 3], [Dependence::Address; 3]);
    let web = Pool {
        behaviour: Behaviour::new(mapping, filtering, true, mss),
        ..pool("web", 1..=3, (1024, 65535))
    };
    intent(
        vec![web],
        vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))],
    )
}

/// A SYN with these options, and what became of them.
fn options(intent: Intent, options: &[u8]) -> Vec<u8> {
    let site = Site::new(intent, 16);
    let mut syn = Sketch::first(Protocol::Tcp, tuple(CLIENT, REMOTE)).flags(SYN);
    syn.tcp_options = options.to_vec();
    let left = site.send(INSIDE, &syn);
    assert_eq!(left.reason, Reason::TranslatedOut);
    assert!(transport_is_right(&left.after.bytes));
    left.after.bytes[54..54 + options.len()].to_vec()
}

#[test]
fn a_syn_asks_for_no_larger_segments_than_the_pool_allows() {
    let (large, small) = ([2, 4, 0x05, 0xb4], [2, 4, 0x03, 0xe8]);
    assert_eq!(options(clamped(1000), &large), small);
    assert_eq!(options(clamped(1000), &small), small, "as it was");
    assert_eq!(
        options(clamped(0), &large),
        large,
        "not if the pool says nothing"
    );

    // Behind other options, at an odd place, and behind the end of all options.
    let behind = |mss: [u8; 4]| {
        [
            &[4, 2, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0],
            &mss[..],
            &[1, 1, 0],
        ]
        .concat()
    };
    assert_eq!(options(clamped(1000), &behind(large)), behind(small));
    let ended = [1, 0, 2, 4, 0x05, 0xb4, 0, 0];
    assert_eq!(options(clamped(1000), &ended), ended);
}

#[test]
fn the_answer_to_a_syn_is_held_to_the_same() {
    let it = Connection::new(clamped(1000));
    let mut answer = Sketch::first(Protocol::Tcp, tuple(REMOTE, it.external)).flags(SYN | ACK);
    answer.tcp_options = vec![2, 4, 0xff, 0xff];

    let left = it.site.send(OUTSIDE, &answer);

    assert_eq!(left.after.bytes[54..58], [2, 4, 0x03, 0xe8]);
    assert!(transport_is_right(&left.after.bytes));
}

#[test]
fn options_that_contradict_themselves_are_left_alone() {
    for broken in [
        [3, 0, 2, 4, 0x05, 0xb4, 0, 0],
        [3, 1, 2, 4, 0x05, 0xb4, 0, 0],
        [3, 60, 2, 4, 0x05, 0xb4, 0, 0],
        [1, 1, 1, 1, 1, 2, 4, 0x05],
        [2, 3, 0x05, 0xb4, 0, 0, 0, 0],
    ] {
        assert_eq!(options(clamped(1000), &broken), broken);
    }
}

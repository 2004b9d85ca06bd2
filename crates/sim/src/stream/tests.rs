//! Streams over links that are cut, slow and lossy.

use super::*;
use crate::network::Quality;

/// Streams of two members over one link, and what each was told.
struct Pair {
    streams: Streams,
    network: Network,
    random: Random,
    hosts: [Host; 2],
    now: Duration,
    told: [Vec<Notice>; 2],
}

impl Pair {
    fn new(loss: u32) -> Self {
        let quality = Quality {
            delay: Duration::from_millis(2),
            jitter: Duration::from_millis(30),
            loss,
            twice: 0,
        };
        Self {
            streams: Streams::default(),
            network: Network::new(2, quality),
            random: Random::new(5),
            hosts: [Host::Listens; 2],
            now: Duration::ZERO,
            told: [Vec::new(), Vec::new()],
        }
    }

    fn connect(&mut self) -> StreamId {
        let around = (&self.network, &mut self.random);
        self.streams.connect((0, 1), self.now, around)
    }

    fn send(&mut self, id: StreamId, from: usize, bytes: &[u8]) {
        let around = (&self.network, &mut self.random);
        self.streams
            .send((id, from), bytes.to_vec(), self.now, around);
    }

    /// Lets so much time pass.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let mut due = self.streams.due.iter().enumerate();
            let next = due.by_ref().min_by_key(|(index, (at, _))| (*at, *index));
            let Some(index) = next.filter(|(_, (at, _))| *at <= until).map(|it| it.0) else {
                break;
            };
            let (at, event) = self.streams.due.remove(index);
            self.now = self.now.max(at);
            let hosts = self.hosts;
            let told = self
                .streams
                .handle(event, self.now, &self.network, |it| hosts[it]);
            for (member, _, notice) in told.notices {
                self.told[member].push(notice);
            }
        }
        self.now = until;
    }

    fn bytes(&self, member: usize) -> Vec<u8> {
        let told = self.told[member].iter();
        let bytes = told.filter_map(|it| match it {
            Notice::Bytes(bytes) => Some(bytes.clone()),
            Notice::Opened { .. } | Notice::Closed => None,
        });
        bytes.flatten().collect()
    }

    fn closed(&self) -> [usize; 2] {
        let closed = |told: &Vec<Notice>| told.iter().filter(|it| **it == Notice::Closed).count();
        [closed(&self.told[0]), closed(&self.told[1])]
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn both_sides_are_told_that_a_stream_is_open() {
    let mut pair = Pair::new(0);
    pair.connect();

    pair.pass(LONG);

    let opened = |peer, is_theirs| vec![Notice::Opened { peer, is_theirs }];
    assert_eq!(pair.told, [opened(1, false), opened(0, true)]);
}

#[test]
fn bytes_arrive_whole_and_in_order_however_many_packets_are_lost() {
    for loss in [0, 10_000, 300_000] {
        let mut pair = Pair::new(loss);
        let id = pair.connect();
        for byte in 0..200 {
            pair.send(id, 0, &[byte]);
            pair.send(id, 1, &[byte, byte]);
            pair.pass(Duration::from_millis(3));
        }
        pair.pass(LONG);

        assert_eq!(pair.bytes(1), (0..200).collect::<Vec<u8>>());
        assert_eq!(pair.bytes(0).len(), 400);
        assert_eq!(pair.closed(), [0, 0]);
    }
}

#[test]
fn bytes_wait_for_a_link_that_is_cut_for_a_moment() {
    let mut pair = Pair::new(0);
    let id = pair.connect();
    pair.pass(Duration::from_secs(1));
    pair.network.cut(1, 0);
    pair.send(id, 0, b"before");
    pair.pass(PATIENCE / 2);
    assert_eq!(pair.bytes(1), b"");

    pair.network.mend(1, 0);
    pair.pass(LONG);

    assert_eq!(pair.bytes(1), b"before");
    assert_eq!(pair.closed(), [0, 0]);
}

#[test]
fn a_stream_breaks_on_both_sides_if_its_link_stays_cut() {
    let mut pair = Pair::new(0);
    let id = pair.connect();
    pair.pass(Duration::from_secs(1));
    pair.network.cut(0, 1);
    pair.send(id, 0, b"lost");

    pair.pass(LONG);
    pair.network.mend(0, 1);
    pair.send(id, 0, b"too late");
    pair.pass(LONG);

    assert_eq!(pair.bytes(1), b"");
    assert_eq!(pair.closed(), [1, 1]);
}

#[test]
fn what_was_sent_before_a_stream_was_closed_arrives() {
    let mut pair = Pair::new(0);
    let id = pair.connect();
    pair.send(id, 0, b"last words");
    let around = (&pair.network, &mut pair.random);
    pair.streams.close((id, 0), pair.now, around);

    pair.pass(LONG);

    assert_eq!(pair.bytes(1), b"last words");
    assert_eq!(pair.closed(), [0, 1]);
}

#[test]
fn a_daemon_that_ends_takes_its_streams_along_and_the_other_side_hears_of_it() {
    let mut pair = Pair::new(0);
    let id = pair.connect();
    pair.pass(Duration::from_secs(1));
    pair.send(id, 1, b"not read any more");
    pair.hosts[0] = Host::Deaf;
    let around = (&pair.network, &mut pair.random);
    pair.streams.end(0, true, pair.now, around);

    pair.pass(LONG);

    assert_eq!(pair.bytes(0), b"");
    assert_eq!(pair.closed(), [0, 1]);
}

#[test]
fn of_a_host_that_died_the_other_side_hears_when_it_says_something() {
    for is_back in [false, true] {
        let mut pair = Pair::new(0);
        let id = pair.connect();
        pair.pass(Duration::from_secs(1));
        pair.hosts[1] = Host::Silent;
        let around = (&pair.network, &mut pair.random);
        pair.streams.end(1, false, pair.now, around);
        pair.pass(LONG);
        assert_eq!(pair.closed(), [0, 0]);

        if is_back {
            pair.hosts[1] = Host::Listens;
        }
        pair.send(id, 0, b"anybody?");
        pair.pass(LONG);

        assert_eq!(pair.bytes(1), b"");
        assert_eq!(pair.closed(), [1, 0]);
    }
}

#[test]
fn a_stream_to_somebody_without_a_daemon_is_refused() {
    let mut pair = Pair::new(0);
    pair.hosts[1] = Host::Deaf;
    pair.connect();

    pair.pass(LONG);

    assert_eq!(pair.closed()[0], 1);
    assert!(
        !pair.told[0]
            .iter()
            .any(|it| matches!(it, Notice::Opened { .. }))
    );
}

//! A member with a table, one that holds a copy, and a connection that breaks at any byte, stalls and is slow.
//!
//! The driver on the sender's side does what one of a kernel's table does: what it reads may be ahead of the
//! changes that it was told of, and what it has read may be late.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use replica::{
    Buckets, Change, Importance, KEY_MAX, Limits, Name, RECORD_MAX, Reason, Receiver, Record,
    Sender, Settings, VALUE_MAX, VERSIONS, What,
    frame::{Frame, Item, Reader},
    receiver, sender,
};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
/// Bytes that a hello may have, which does not ask whether there is room.
const HELLO: usize = 1024;

pub type Key = (u8, Vec<u8>);
pub type Table = BTreeMap<Key, Vec<u8>>;

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn settings(member: &str, peer: &str, limits: Limits) -> Settings {
    Settings {
        cluster: name("zurich"),
        member: name(member),
        peer: name(peer),
        format: 7,
        versions: VERSIONS,
        limits,
    }
}

/// One way of a connection.
#[derive(Default)]
struct Pipe {
    /// What the transport did not take.
    outbox: VecDeque<u8>,
    flight: VecDeque<(Instant, Vec<u8>)>,
}

/// A bucket that is being read.
struct Scan {
    request: u64,
    after: Option<Vec<u8>>,
}

struct Chunk {
    arrives: Instant,
    bucket: u8,
    request: u64,
    records: Vec<Record>,
    is_last: bool,
}

pub struct Network {
    pub now: Instant,
    pub limits: Limits,
    pub sender: Sender,
    pub receiver: Receiver,
    instance: u64,
    assigned: Buckets,
    pub truth: Table,
    /// The receiver's table, and whether each was put since its bucket was begun.
    copy: BTreeMap<Key, (Vec<u8>, bool)>,
    feed: VecDeque<(Instant, Change)>,
    scans: BTreeMap<u8, Scan>,
    chunks: VecDeque<Chunk>,
    /// Keys that the sender was handed and that were not removed.
    named: BTreeSet<Key>,
    there: Pipe,
    back: Pipe,
    pub is_connected: bool,
    /// Nothing arrives.
    pub is_stalled: bool,
    /// Bytes on the way to the receiver at most.
    pub capacity: usize,
    pub delay: Duration,
    /// How late changes and chunks are handed in.
    pub lateness: Duration,
    /// Buckets are not read.
    pub is_lazy: bool,
    random: u64,
    wire: Reader,
    /// What the sender sent on this connection.
    pub items: Vec<Item>,
    pub closed: Vec<Reason>,
    pub said: Vec<sender::Happening>,
    /// Heard of the receiver's table: puts, removals.
    pub applied: [u64; 2],
    pub bytes: usize,
}

impl Network {
    pub fn new(seed: u64, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            now,
            limits,
            sender: Sender::new(settings("a", "b", limits), 1),
            receiver: Receiver::new(settings("b", "a", limits)),
            instance: 1,
            assigned: Buckets::NONE,
            truth: Table::new(),
            copy: BTreeMap::new(),
            feed: VecDeque::new(),
            scans: BTreeMap::new(),
            chunks: VecDeque::new(),
            named: BTreeSet::new(),
            there: Pipe::default(),
            back: Pipe::default(),
            is_connected: false,
            is_stalled: false,
            capacity: 1 << 20,
            delay: MS,
            lateness: Duration::ZERO,
            is_lazy: false,
            random: seed,
            wire: Reader::default(),
            items: Vec::new(),
            closed: Vec::new(),
            said: Vec::new(),
            applied: [0; 2],
            bytes: 0,
        }
    }

    /// Connected, with these buckets assigned and sent.
    pub fn up(seed: u64, limits: Limits, buckets: &[u8]) -> Self {
        let mut network = Self::new(seed, limits);
        network.assign(buckets.iter().copied().collect());
        network.connect();
        network.pass(SECOND);
        network
    }

    pub fn put(&mut self, key: Key, value: Vec<u8>, importance: Importance) {
        self.truth.insert(key.clone(), value.clone());
        let what = What::Put {
            value,
            importance,
            // Filled in when it is handed in.
            is_new: false,
        };
        self.feed(key, what);
    }

    pub fn remove(&mut self, key: Key) {
        if self.truth.remove(&key).is_some() {
            self.feed(key, What::Remove);
        }
    }

    fn feed(&mut self, (bucket, key): Key, what: What) {
        let change = Change { bucket, key, what };
        let last = self.feed.back().map(|(at, _)| *at);
        let arrives = (self.now + self.lateness).max(last.unwrap_or(self.now));
        self.feed.push_back((arrives, change));
        self.work();
    }

    pub fn assign(&mut self, buckets: Buckets) {
        self.assigned = buckets;
        self.tell_sender(sender::Event::Assign(buckets));
    }

    pub fn connect(&mut self) {
        if self.is_connected {
            return;
        }
        self.is_connected = true;
        self.wire = Reader::default();
        self.items.clear();
        self.tell_sender(sender::Event::Connected);
        self.tell_receiver(receiver::Event::Connected);
    }

    /// Breaks the connection when so many more bytes have arrived, of those that are on their way.
    pub fn cut(&mut self, bytes: usize) {
        if !self.is_connected {
            return;
        }
        for is_there in [true, false] {
            let pipe = if is_there {
                &mut self.there
            } else {
                &mut self.back
            };
            let flight = pipe.flight.drain(..).flat_map(|(_, bytes)| bytes);
            let last: Vec<u8> = flight.take(bytes).collect();
            self.arrive(is_there, &last);
        }
        self.disconnect();
    }

    fn disconnect(&mut self) {
        if !std::mem::take(&mut self.is_connected) {
            return;
        }
        self.there = Pipe::default();
        self.back = Pipe::default();
        self.tell_sender(sender::Event::Disconnected);
        self.tell_receiver(receiver::Event::Disconnected);
    }

    pub fn restart_sender(&mut self) {
        self.disconnect();
        self.instance += 1;
        self.sender = Sender::new(settings("a", "b", self.limits), self.instance);
        self.feed.clear();
        self.scans.clear();
        self.chunks.clear();
        self.named.clear();
        self.assign(self.assigned);
    }

    pub fn restart_receiver(&mut self, keeps_table: bool) {
        self.disconnect();
        self.receiver = Receiver::new(settings("b", "a", self.limits));
        match keeps_table {
            true => self.copy.values_mut().for_each(|it| it.1 = true),
            false => self.copy.clear(),
        }
    }

    fn tell_sender(&mut self, event: sender::Event<'_>) {
        let actions = self.sender.handle(event, self.now);
        for action in actions {
            match action {
                sender::Action::Send(bytes) => {
                    let mut rest = &bytes[..];
                    while let Some(frame) = self.wire.read(&mut rest).unwrap() {
                        if let Frame::Batch(batch) = frame {
                            self.items.extend(batch.items);
                        }
                    }
                    self.bytes += bytes.len();
                    self.there.outbox.extend(bytes);
                }
                sender::Action::Need { bucket, request } => {
                    let scan = Scan {
                        request,
                        after: None,
                    };
                    self.scans.insert(bucket, scan);
                }
                sender::Action::Close(reason) => {
                    self.closed.push(reason);
                    self.disconnect();
                }
                sender::Action::Say(happening) => self.said.push(happening),
            }
        }
        self.check_bounds();
    }

    fn check_bounds(&self) {
        let limits = &self.limits;
        let status = self.sender.status(self.now);
        assert!(status.queued <= limits.queue);
        assert!(status.window_bytes <= limits.window);
        assert!(status.snapshot_records <= limits.snapshot);
        assert!(status.untaken_bytes <= limits.transport + HELLO);
        // What is in neither the queue nor the window is of snapshots: records, and a beginning, a completion,
        // two gaps and a farewell of each bucket.
        let queued = u64::try_from(status.queued).unwrap();
        let others = status.lag.changes - (status.sent - status.acknowledged) - queued;
        assert!(usize::try_from(others).unwrap() <= status.snapshot_records + 5 * 256);
        let records = limits.queue + limits.snapshot;
        assert!(status.lag.bytes <= limits.window + records * RECORD_MAX + 5 * 256 * 2);
        assert!(status.acknowledged <= status.sent);
        assert!(status.complete.without(&status.assigned).is_empty());
    }

    fn tell_receiver(&mut self, event: receiver::Event<'_>) {
        let actions = self.receiver.handle(event, self.now);
        for action in actions {
            match action {
                receiver::Action::Put { bucket, key, value } => {
                    self.applied[0] += 1;
                    self.copy.insert((bucket, key), (value, true));
                }
                receiver::Action::Remove { bucket, key } => {
                    self.applied[1] += 1;
                    self.copy.remove(&(bucket, key));
                }
                receiver::Action::Begin(bucket) => {
                    let all = self.copy.iter_mut();
                    let its = all.filter(|((it, _), _)| *it == bucket);
                    its.for_each(|(_, record)| record.1 = false);
                }
                receiver::Action::Complete(bucket) => {
                    self.copy
                        .retain(|(it, _), record| *it != bucket || record.1);
                }
                receiver::Action::Forget(bucket) | receiver::Action::Abandon(bucket) => {
                    self.copy.retain(|(it, _), _| *it != bucket);
                }
                receiver::Action::Send(bytes) => {
                    if self.is_connected {
                        let arrives = self.now + self.delay;
                        self.back.flight.push_back((arrives, bytes));
                    }
                }
                receiver::Action::Close(reason) => {
                    self.closed.push(reason);
                    self.disconnect();
                }
                receiver::Action::Say(_) => {}
            }
        }
    }

    /// The receiver did not take what it was told of a bucket, and has something else.
    pub fn doubt(&mut self, bucket: u8) {
        self.copy.retain(|(it, _), _| *it != bucket);
        self.tell_receiver(receiver::Event::Doubt(bucket));
    }

    /// Bytes arrive, in pieces of any length.
    fn arrive(&mut self, is_there: bool, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let length = 1 + usize::try_from(self.random()).unwrap() % bytes.len();
            let (piece, rest) = bytes.split_at(length);
            bytes = rest;
            match is_there {
                true => self.tell_receiver(receiver::Event::Received(piece)),
                false => self.tell_sender(sender::Event::Received(piece)),
            }
        }
    }

    /// Everything that is to be done now and is not a matter of time.
    fn work(&mut self) {
        while let Some((_, change)) = self.feed.pop_front_if(|it| it.0 <= self.now) {
            self.hand_in(change);
        }
        while let Some(chunk) = self.chunks.pop_front_if(|it| it.arrives <= self.now) {
            let keys = chunk.records.iter();
            self.named
                .extend(keys.map(|it| (chunk.bucket, it.key.clone())));
            self.tell_sender(sender::Event::Snapshot {
                bucket: chunk.bucket,
                request: chunk.request,
                records: chunk.records,
                is_last: chunk.is_last,
            });
        }
        self.transport();
    }

    fn hand_in(&mut self, mut change: Change) {
        let key = (change.bucket, change.key.clone());
        match &mut change.what {
            What::Put { is_new, .. } => *is_new = self.named.insert(key),
            What::Remove => {
                self.named.remove(&key);
            }
        }
        self.tell_sender(sender::Event::Changed(change));
    }

    fn transport(&mut self) {
        if !self.is_connected {
            return;
        }
        let flying: usize = self.there.flight.iter().map(|(_, it)| it.len()).sum();
        let room = self.capacity.saturating_sub(flying);
        let taken = room.min(self.there.outbox.len());
        if taken > 0 {
            let bytes = self.there.outbox.drain(..taken).collect();
            let arrives = self.now + self.delay;
            self.there.flight.push_back((arrives, bytes));
            self.tell_sender(sender::Event::Room(taken));
        }
    }

    /// Reads of the table what the sender has room for; whether there was anything to read.
    fn read_table(&mut self) -> bool {
        let waiting: usize = self.chunks.iter().map(|it| it.records.len()).sum();
        let room = self.sender.room().saturating_sub(waiting).min(5);
        if self.is_lazy || room == 0 {
            return false;
        }
        let count = u64::try_from(self.scans.len()).unwrap();
        let which = usize::try_from(self.random() % count.max(1)).unwrap();
        let Some((bucket, scan)) = self.scans.iter_mut().nth(which) else {
            return false;
        };
        let bucket = *bucket;
        let its = self.truth.iter().filter(|((it, _), _)| *it == bucket);
        let after = scan.after.clone();
        let rest = its.filter(|((_, key), _)| after.as_ref().is_none_or(|it| key > it));
        let records = rest.take(room).map(|((_, key), value)| Record {
            key: key.clone(),
            value: value.clone(),
        });
        let records: Vec<Record> = records.collect();
        let is_last = records.len() < room;
        scan.after = records.last().map(|it| it.key.clone()).or(after);
        let request = scan.request;
        if is_last {
            self.scans.remove(&bucket);
        }
        self.chunks.push_back(Chunk {
            arrives: self.now + self.lateness,
            bucket,
            request,
            records,
            is_last,
        });
        true
    }

    fn deliver(&mut self) {
        for is_there in [true, false] {
            loop {
                let pipe = if is_there {
                    &mut self.there
                } else {
                    &mut self.back
                };
                if self.is_stalled {
                    break;
                }
                let Some((_, bytes)) = pipe.flight.pop_front_if(|it| it.0 <= self.now) else {
                    break;
                };
                self.arrive(is_there, &bytes);
            }
        }
    }

    fn settle(&mut self) {
        self.work();
        self.deliver();
        if self.sender.deadline().is_some_and(|at| at <= self.now) {
            self.tell_sender(sender::Event::Tick);
            let next = self.sender.deadline();
            assert!(
                next.is_none_or(|at| at > self.now),
                "it is due at once again"
            );
        }
        if self.receiver.deadline().is_some_and(|at| at <= self.now) {
            self.tell_receiver(receiver::Event::Tick);
            let next = self.receiver.deadline();
            assert!(
                next.is_none_or(|at| at > self.now),
                "it is due at once again"
            );
        }
        while self.read_table() {
            self.work();
        }
        self.work();
    }

    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.settle();
            let flying = [&self.there, &self.back].map(|pipe| pipe.flight.front().map(|it| it.0));
            let flying = flying.map(|at| at.filter(|_| !self.is_stalled));
            let late = [
                self.feed.front().map(|it| it.0),
                self.chunks.front().map(|it| it.arrives),
                self.sender.deadline(),
                self.receiver.deadline(),
            ];
            let next = flying.into_iter().chain(late).flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
        }
        self.now = until;
    }

    /// Nothing disturbs any more; the connection is made whenever there is none.
    pub fn calm(&mut self) {
        self.is_stalled = false;
        self.is_lazy = false;
        self.lateness = Duration::ZERO;
        self.capacity = 1 << 20;
        for _ in 0..10 {
            self.connect();
            self.pass(2 * SECOND);
        }
    }

    /// The copy, without its marks.
    pub fn copy(&self) -> Table {
        let all = self.copy.iter();
        all.map(|(key, (value, _))| (key.clone(), value.clone()))
            .collect()
    }

    /// What the copy should be: of the assigned buckets whatever can be sent.
    pub fn wanted(&self) -> Table {
        let all = self.truth.iter();
        let sendable = all.filter(|((bucket, key), value)| {
            self.assigned.contains(*bucket) && key.len() <= KEY_MAX && value.len() <= VALUE_MAX
        });
        sendable.map(|it| (it.0.clone(), it.1.clone())).collect()
    }

    #[track_caller]
    pub fn check_equal(&self) {
        let status = self.sender.status(self.now);
        assert_eq!(self.copy(), self.wanted());
        assert_eq!(status.complete, self.assigned, "{status:?}");
        assert_eq!(status.snapshots_to_do, 0);
        assert_eq!(status.lag.changes, 0);
        assert_eq!(status.lag.bytes, 0);
        assert_eq!(self.receiver.status().complete, self.assigned);
        assert_eq!(self.receiver.status().applied, status.acknowledged);
    }

    pub fn random(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.random >> 33
    }
}

//! Sends flows to one member.

mod buckets;
mod status;

use std::time::{Duration, Instant};

use buckets::Assigned;
pub use status::{Happening, Lag, Status};

use crate::{
    buckets::Buckets,
    frame::{Batch, Frame, Hello, Item, Reader, Role},
    greeting::Settings,
    limits::{BATCH_HEAD, FRAME_MAX, KEY_MAX, RECORD_MAX, VALUE_MAX},
    queue::{Change, Queue, Record, What},
    reason::Reason,
    snapshots::Snapshots,
    window::Window,
};

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// There is a connection.
    Connected,
    /// There is none any more.
    Disconnected,
    /// Bytes came.
    Received(&'a [u8]),
    /// The transport took so many of the bytes that it was given for this connection.
    Room(usize),
    /// These buckets are the receiver's to hold, and no others.
    Assign(Buckets),
    /// A record changed. For each key in the order in which it happened; of buckets that are not assigned, too.
    Changed(Change),
    /// A chunk of what [`Action::Need`] asked for; at most [`Sender::room`] records. An answer that is asked
    /// for no longer is not taken.
    Snapshot {
        /// Which bucket.
        bucket: u8,
        /// Which time it was asked for.
        request: u64,
        /// Some of its records, each in one chunk.
        records: Vec<Record>,
        /// Nothing comes after this.
        is_last: bool,
    },
    /// The deadline has come, and what had come before was read.
    Tick,
}

/// What must be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give bytes to the transport; [`Event::Room`] says when it took them.
    Send(Vec<u8>),
    /// Read a bucket of the table and hand it in by [`Event::Snapshot`]. Whatever is read may be of any moment
    /// after this, as long as each change since then is handed in by [`Event::Changed`], before or after it.
    Need {
        /// Which bucket.
        bucket: u8,
        /// Which time it is asked for. What was read for another time must not be handed in for this one.
        request: u64,
    },
    /// Close the connection.
    Close(Reason),
    /// Tell whoever reads logs.
    Say(Happening),
}

/// A connection.
#[derive(Clone, Debug)]
struct Connection {
    reader: Reader,
    since: Instant,
    /// When something came last.
    heard: Instant,
    /// When something was sent last.
    spoke: Instant,
    /// Bytes that the transport was given and did not take.
    untaken: usize,
    /// Which was agreed on, once both have said who they are.
    version: Option<u16>,
}

/// Sends the flows of the assigned buckets to one member.
#[derive(Clone, Debug)]
pub struct Sender {
    settings: Settings,
    instance: u64,
    connection: Option<Connection>,
    assigned: Assigned,
    queue: Queue,
    snapshots: Snapshots,
    window: Window,
    /// The last frame was of snapshots; then changes are next.
    was_snapshot: bool,
    skipped: u64,
    refused: u64,
}

impl Sender {
    /// Nothing is assigned yet. `instance` is another number after each start of this member.
    pub fn new(settings: Settings, instance: u64) -> Self {
        let limits = settings.limits.sane();
        Self {
            settings: Settings { limits, ..settings },
            instance,
            connection: None,
            assigned: Assigned::default(),
            queue: Queue::new(limits.queue),
            snapshots: Snapshots::default(),
            window: Window::default(),
            was_snapshot: false,
            skipped: 0,
            refused: 0,
        }
    }

    /// Takes in what happened and says what must be done.
    pub fn handle(&mut self, event: Event<'_>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let was_short = self.queue.is_short();
        match event {
            Event::Connected => self.connect(now, &mut actions),
            Event::Disconnected => self.connection = None,
            Event::Received(bytes) => {
                if let Err(reason) = self.receive(bytes, now, &mut actions) {
                    self.close(reason, &mut actions);
                }
            }
            Event::Room(bytes) => {
                if let Some(connection) = &mut self.connection {
                    connection.untaken = connection.untaken.saturating_sub(bytes);
                }
            }
            Event::Assign(buckets) => self.assign(buckets),
            Event::Changed(change) => self.change(change, now, &mut actions),
            Event::Snapshot {
                bucket,
                request,
                records,
                is_last,
            } => {
                if self.assigned.is_reading(bucket, request) {
                    self.snapshot(bucket, records, is_last, &mut actions);
                }
            }
            Event::Tick => self.tick(now, &mut actions),
        }
        self.pump(now, &mut actions);
        match (was_short, self.queue.is_short()) {
            (false, true) => actions.push(Action::Say(Happening::Short)),
            (true, false) => actions.push(Action::Say(Happening::Relieved {
                skipped: self.skipped,
            })),
            (false, false) | (true, true) => {}
        }
        actions
    }

    /// When [`Event::Tick`] is due; one that comes for nothing does no harm.
    pub fn deadline(&self) -> Option<Instant> {
        let limits = &self.settings.limits;
        let connection = self.connection.as_ref()?;
        if connection.version.is_none() {
            return Some(connection.since + limits.silence);
        }
        let gone = connection.heard + limits.silence;
        // What waits in the transport says as well that we are there.
        let heartbeat = (connection.untaken == 0).then_some(connection.spoke + limits.heartbeat);
        let waits = self.queue.ready_since().filter(|_| self.may_send());
        let flush = waits.map(|since| since + limits.delay);
        [Some(gone), heartbeat, flush].into_iter().flatten().min()
    }

    /// How many records of snapshots are taken now. None without a connection or anything that is asked for.
    pub fn room(&self) -> usize {
        if !self.is_up() || !self.assigned.is_any_reading() {
            return 0;
        }
        let most = self.settings.limits.snapshot;
        most.saturating_sub(self.snapshots.records())
    }

    /// Whether something of a bucket waits to be sent.
    pub fn waits(&self, bucket: u8) -> bool {
        self.queue.has(bucket) || self.snapshots.has(bucket)
    }

    /// The number of the last change that was sent, and of the last that was acknowledged.
    pub fn numbers(&self) -> (u64, u64) {
        (self.window.last(), self.window.acknowledged())
    }

    /// The buckets that the receiver holds as they were at its last acknowledgement, with nothing left out.
    pub fn complete(&self) -> Buckets {
        self.assigned.complete(self.window.acknowledged())
    }

    /// How it stands.
    pub fn status(&self, now: Instant) -> Status {
        let window = &self.window;
        let waiting = self.queue.len() + self.snapshots.len();
        let since = [window.since(), self.queue.since()];
        let oldest = since.into_iter().flatten().min();
        Status {
            is_connected: self.connection.is_some(),
            version: self.connection.as_ref().and_then(|it| it.version),
            lag: Lag {
                changes: window.changes() + u64::try_from(waiting).unwrap_or(u64::MAX),
                bytes: window.bytes() + self.queue.bytes() + self.snapshots.bytes(),
                age: oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            },
            queued: self.queue.len(),
            window_bytes: window.bytes(),
            snapshot_records: self.snapshots.records(),
            untaken_bytes: self.connection.as_ref().map_or(0, |it| it.untaken),
            sent: window.last(),
            acknowledged: window.acknowledged(),
            skipped: self.skipped,
            refused: self.refused,
            snapshots_done: self.assigned.done(),
            snapshots_to_do: self.assigned.to_do(),
            assigned: self.assigned.all(),
            complete: self.complete(),
        }
    }

    fn is_up(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|it| it.version.is_some())
    }

    fn connect(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.connection = Some(Connection {
            reader: Reader::default(),
            since: now,
            heard: now,
            spoke: now,
            untaken: 0,
            version: None,
        });
        let instance = self.instance;
        let hello = self.settings.hello(Role::Sender { instance });
        self.send(Frame::Hello(hello).write(), now, actions);
    }

    fn close(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        self.connection = None;
        actions.push(Action::Close(reason));
    }

    fn send(&mut self, bytes: Vec<u8>, now: Instant, actions: &mut Vec<Action>) {
        if let Some(connection) = &mut self.connection {
            connection.untaken += bytes.len();
            connection.spoke = now;
            actions.push(Action::Send(bytes));
        }
    }

    fn receive(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Ok(());
            };
            connection.heard = now;
            let Some(frame) = connection.reader.read(&mut bytes)? else {
                return Ok(());
            };
            match (connection.version, frame) {
                (None, Frame::Hello(hello)) => self.greet(&hello, now, actions)?,
                (None, Frame::Batch(_) | Frame::Ack(_) | Frame::Heartbeat | Frame::Ask(_)) => {
                    return Err(Reason::Unexpected("there was no hello before it"));
                }
                (Some(_), Frame::Hello(_)) => {
                    return Err(Reason::Unexpected("a second hello"));
                }
                (Some(_), Frame::Batch(_)) => {
                    return Err(Reason::Unexpected("a batch, to a sender"));
                }
                (Some(_), Frame::Ack(number)) => self.acknowledge(number)?,
                (Some(_), Frame::Heartbeat) => {}
                (Some(_), Frame::Ask(buckets)) => buckets.iter().for_each(|it| self.again(it)),
            }
        }
    }

    fn greet(
        &mut self,
        hello: &Hello,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        let version = self.settings.judge(hello)?;
        let Role::Receiver { known } = hello.role else {
            return Err(Reason::Role("senders"));
        };
        if let Some(connection) = &mut self.connection {
            connection.version = Some(version);
        }
        actions.push(Action::Say(Happening::Agreed { version }));
        let ours = known.filter(|(instance, _)| *instance == self.instance);
        if ours.is_some_and(|(_, applied)| self.window.resume(applied)) {
            let changes = self.window.changes();
            actions.push(Action::Say(Happening::Resumed { changes }));
            return Ok(());
        }
        self.window.clear();
        self.queue.clear();
        self.snapshots = Snapshots::default();
        self.assigned.start();
        let buckets = self.assigned.all();
        let count = buckets.len();
        actions.push(Action::Say(Happening::Started { buckets: count }));
        self.frame(vec![Item::Start(buckets)], now);
        Ok(())
    }

    fn acknowledge(&mut self, number: u64) -> Result<(), Reason> {
        let sent = self.window.handed();
        if number > sent {
            return Err(Reason::Acknowledged {
                acknowledged: number,
                sent,
            });
        }
        self.window.acknowledge(number);
        Ok(())
    }

    fn assign(&mut self, buckets: Buckets) {
        for bucket in self.assigned.all().without(&buckets).iter() {
            self.queue.purge(bucket);
            self.snapshots.purge(bucket);
            self.assigned.remove(bucket);
            // Even if nothing of it was sent: the receiver may have something from before we began.
            self.snapshots.push(Item::Forget(bucket));
        }
        self.assigned.add(buckets);
    }

    /// The receiver did not take all that it was told of a bucket.
    fn again(&mut self, bucket: u8) {
        if self.assigned.is_begun(bucket) && self.assigned.leave_gap(bucket) {
            self.snapshots.push(Item::Gap(bucket));
        }
    }

    fn change(&mut self, mut change: Change, now: Instant, actions: &mut Vec<Action>) {
        let Some(coming) = self.assigned.coming(change.bucket, now) else {
            return;
        };
        let value = match &change.what {
            What::Put { value, .. } => value.len(),
            What::Remove => 0,
        };
        if self.is_refused(change.bucket, (change.key.len(), value), actions) {
            // No record at all is better than one that is no longer so.
            change.what = What::Remove;
        }
        if change.key.len() > KEY_MAX {
            return;
        }
        if let Some(bucket) = self.queue.push(change, coming) {
            self.skipped += 1;
            if self.assigned.leave_gap(bucket) {
                self.snapshots.push(Item::Gap(bucket));
            }
        }
    }

    /// Counts a record that is too long, and says so the first time.
    fn is_refused(
        &mut self,
        bucket: u8,
        lengths: (usize, usize),
        actions: &mut Vec<Action>,
    ) -> bool {
        let (key, value) = lengths;
        let is_refused = key > KEY_MAX || value > VALUE_MAX;
        if is_refused && self.refused == 0 {
            actions.push(Action::Say(Happening::Refused { bucket, key, value }));
        }
        self.refused += u64::from(is_refused);
        is_refused
    }

    fn snapshot(
        &mut self,
        bucket: u8,
        records: Vec<Record>,
        is_last: bool,
        actions: &mut Vec<Action>,
    ) {
        if records.len() > self.settings.limits.snapshot - self.snapshots.records() {
            actions.push(Action::Say(Happening::Overrun { bucket }));
            self.snapshots.purge(bucket);
            self.queue.purge(bucket);
            self.assigned.read_again(bucket);
            return;
        }
        for Record { key, value } in records {
            if !self.is_refused(bucket, (key.len(), value.len()), actions) {
                self.snapshots.push(Item::Put { bucket, key, value });
            }
        }
        if is_last {
            self.assigned.was_read(bucket);
            self.snapshots.push(Item::Complete(bucket));
            if self.assigned.has_gap(bucket) {
                self.snapshots.push(Item::Gap(bucket));
            }
        }
    }

    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(connection) = &self.connection else {
            return;
        };
        let limits = self.settings.limits;
        if connection.version.is_none() {
            if connection.since + limits.silence <= now {
                self.close(Reason::NoHello(limits.silence), actions);
            }
            return;
        }
        if connection.heard + limits.silence <= now {
            self.close(Reason::Silence(limits.silence), actions);
            return;
        }
        self.pump(now, actions);
        let is_quiet = |it: &Connection| it.untaken == 0 && it.spoke + limits.heartbeat <= now;
        if self.connection.as_ref().is_some_and(is_quiet) {
            self.send(Frame::Heartbeat.write(), now, actions);
        }
    }

    /// Bytes that the transport would be given now.
    fn transport_room(&self) -> usize {
        let untaken = self.connection.as_ref().map_or(0, |it| it.untaken);
        self.settings.limits.transport.saturating_sub(untaken)
    }

    /// Bytes that a frame may have now.
    fn frame_room(&self) -> usize {
        let window = self.settings.limits.window;
        let window = window.saturating_sub(self.window.bytes());
        FRAME_MAX.min(window).min(self.transport_room())
    }

    /// Whether a frame of any item may be made now.
    fn may_send(&self) -> bool {
        !self.window.is_behind() && self.frame_room() >= BATCH_HEAD + RECORD_MAX
    }

    /// Sends what there is to be sent and may be.
    fn pump(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.is_up() {
            return;
        }
        self.ask(actions);
        loop {
            if let Some(bytes) = self.window.hand(self.transport_room()) {
                self.send(bytes, now, actions);
                continue;
            }
            if !self.may_send() {
                break;
            }
            let has_changes = self.is_due(now);
            let is_snapshot = match (self.snapshots.is_empty(), has_changes) {
                (true, false) => break,
                (true, true) => false,
                (false, false) => true,
                (false, true) => !self.was_snapshot,
            };
            self.was_snapshot = is_snapshot;
            let (items, since) = self.take(is_snapshot, now);
            if items.is_empty() {
                break;
            }
            self.frame(items, since);
            self.ask(actions);
        }
    }

    /// Whether changes need wait no longer for others to go with them.
    fn is_due(&self, now: Instant) -> bool {
        let limits = &self.settings.limits;
        let since = self.queue.ready_since();
        self.queue.ready_bytes() >= FRAME_MAX - BATCH_HEAD
            || since.is_some_and(|since| since + limits.delay <= now)
    }

    /// Items for a frame, and since when the oldest of them waits.
    fn take(&mut self, is_snapshot: bool, now: Instant) -> (Vec<Item>, Instant) {
        let mut room = self.frame_room() - BATCH_HEAD;
        let mut items = Vec::new();
        let mut oldest = now;
        loop {
            let taken = match is_snapshot {
                true => self.snapshots.take(room).map(|item| (item, now)),
                false => self.queue.take(room),
            };
            let Some((item, since)) = taken else {
                return (items, oldest);
            };
            room -= item.length();
            oldest = oldest.min(since);
            items.push(item);
        }
    }

    /// Gives items their numbers; they are sent when they can be.
    fn frame(&mut self, items: Vec<Item>, since: Instant) {
        let first = self.window.last() + 1;
        for (number, item) in (first..).zip(&items) {
            if let Item::Complete(bucket) = item {
                self.assigned.finish(*bucket, number);
                self.queue.release(*bucket);
            }
        }
        self.window.push(Batch { first, items }, since);
    }

    /// Asks for the snapshots that may be read now.
    fn ask(&mut self, actions: &mut Vec<Action>) {
        let may_mend = self.queue.has_room();
        while self.assigned.under_way() < self.settings.limits.reading
            && let Some((bucket, request)) = self.assigned.next(may_mend)
        {
            // The table that is read from now on has these changes.
            self.queue.purge(bucket);
            self.snapshots.push(Item::Begin(bucket));
            actions.push(Action::Need { bucket, request });
        }
    }
}

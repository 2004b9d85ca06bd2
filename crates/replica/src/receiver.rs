//! Receives flows from one member.

mod status;

use std::time::Instant;

pub use status::{Happening, Status};

use crate::{
    buckets::Buckets,
    frame::{Batch, Frame, Hello, Item, Reader, Role},
    greeting::Settings,
    reason::Reason,
};

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// There is a connection.
    Connected,
    /// There is none any more. What is held stays: the sender may be dead, and then it is needed.
    Disconnected,
    /// Bytes came.
    Received(&'a [u8]),
    /// What was told of this bucket was not taken as it was told: it is to be told anew, if it is still ours to hold.
    Doubt(u8),
    /// The deadline has come, and what had come before was read.
    Tick,
}

/// What must be done, in this order, before anything else is handed in.
///
/// All of it is about records of this sender only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A record is there, or is another one.
    Put {
        /// Of which bucket.
        bucket: u8,
        /// Which record.
        key: Vec<u8>,
        /// What it says.
        value: Vec<u8>,
    },
    /// A record is gone, if it was there.
    Remove {
        /// Of which bucket.
        bucket: u8,
        /// Which record.
        key: Vec<u8>,
    },
    /// The bucket's records come anew. Those that are there stay for now, and are marked as not put. It may
    /// come again before the bucket is complete: then the marks begin anew, too.
    Begin(u8),
    /// All came: those that were not put since the last `Begin` must go.
    Complete(u8),
    /// The bucket is not ours to hold any more, and nothing more comes of it: its records must go.
    Forget(u8),
    /// The sender started anew, and the bucket is not ours to hold: its records must go. There may be more at the sender
    /// than it has told.
    Abandon(u8),
    /// Give bytes to the transport.
    Send(Vec<u8>),
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
    /// Once both have said who they are.
    agreed: Option<Agreed>,
    /// Changes that were applied and not acknowledged.
    unacknowledged: u64,
    /// When they must be.
    acknowledge_at: Option<Instant>,
}

/// What the sender said of itself.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    version: u16,
    instance: u64,
}

/// Receives the flows of the buckets that one member assigns.
#[derive(Clone, Debug)]
pub struct Receiver {
    settings: Settings,
    connection: Option<Connection>,
    /// The sender's instance whose changes were applied, and the number of the last.
    known: Option<(u64, u64)>,
    /// Buckets that were begun since the stream began.
    begun: Buckets,
    /// Those of them that are complete.
    complete: Buckets,
    /// Buckets of which the table may have something.
    held: Buckets,
    /// Buckets that were asked for anew, and have not begun to come.
    doubts: Buckets,
    changes: u64,
    bytes: u64,
}

impl Receiver {
    /// Knows nothing, not even that the table is empty: it may be one that an earlier process left.
    pub fn new(settings: Settings) -> Self {
        let limits = settings.limits.sane();
        Self {
            settings: Settings { limits, ..settings },
            connection: None,
            known: None,
            begun: Buckets::NONE,
            complete: Buckets::NONE,
            held: Buckets::ALL,
            doubts: Buckets::NONE,
            changes: 0,
            bytes: 0,
        }
    }

    /// Takes in what happened and says what must be done.
    pub fn handle(&mut self, event: Event<'_>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Connected => self.connect(now, &mut actions),
            Event::Disconnected => self.connection = None,
            Event::Received(bytes) => {
                let taken = self.receive(bytes, now, &mut actions);
                self.acknowledge(now, &mut actions);
                if let Err(reason) = taken {
                    self.close(reason, &mut actions);
                }
            }
            Event::Doubt(bucket) => {
                if self.begun.contains(bucket) {
                    self.doubts.insert(bucket);
                    self.ask(now, &mut actions);
                }
            }
            Event::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    /// When [`Event::Tick`] is due; one that comes for nothing does no harm.
    pub fn deadline(&self) -> Option<Instant> {
        let limits = &self.settings.limits;
        let connection = self.connection.as_ref()?;
        if connection.agreed.is_none() {
            return Some(connection.since + limits.silence);
        }
        let gone = connection.heard + limits.silence;
        let heartbeat = connection.spoke + limits.heartbeat;
        let each = [Some(gone), Some(heartbeat), connection.acknowledge_at];
        each.into_iter().flatten().min()
    }

    /// The buckets that are this member's to hold, as far as the sender has said.
    pub fn begun(&self) -> Buckets {
        self.begun
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let agreed = self.connection.as_ref().and_then(|it| it.agreed);
        Status {
            is_connected: self.connection.is_some(),
            version: agreed.map(|it| it.version),
            instance: self.known.map(|(instance, _)| instance),
            applied: self.known.map_or(0, |(_, applied)| applied),
            changes: self.changes,
            bytes: self.bytes,
            begun: self.begun,
            complete: self.complete,
        }
    }

    fn connect(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.connection = Some(Connection {
            reader: Reader::default(),
            since: now,
            heard: now,
            spoke: now,
            agreed: None,
            unacknowledged: 0,
            acknowledge_at: None,
        });
        let known = self.known;
        let hello = self.settings.hello(Role::Receiver { known });
        self.send(&Frame::Hello(hello), now, actions);
    }

    fn close(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        self.connection = None;
        actions.push(Action::Close(reason));
    }

    fn send(&mut self, frame: &Frame, now: Instant, actions: &mut Vec<Action>) {
        if let Some(connection) = &mut self.connection {
            connection.spoke = now;
            actions.push(Action::Send(frame.write()));
        }
    }

    fn receive(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        self.bytes += u64::try_from(bytes.len()).unwrap_or_default();
        loop {
            let Some(connection) = &mut self.connection else {
                return Ok(());
            };
            connection.heard = now;
            let Some(frame) = connection.reader.read(&mut bytes)? else {
                return Ok(());
            };
            match (connection.agreed, frame) {
                (None, Frame::Hello(hello)) => {
                    self.greet(&hello, actions)?;
                    self.ask(now, actions);
                }
                (None, Frame::Batch(_) | Frame::Ack(_) | Frame::Heartbeat | Frame::Ask(_)) => {
                    return Err(Reason::Unexpected("there was no hello before it"));
                }
                (Some(_), Frame::Hello(_)) => {
                    return Err(Reason::Unexpected("a second hello"));
                }
                (Some(agreed), Frame::Batch(batch)) => self.apply(agreed, batch, now, actions)?,
                (Some(_), Frame::Ack(_)) => {
                    return Err(Reason::Unexpected("an acknowledgement, to a receiver"));
                }
                (Some(_), Frame::Ask(_)) => {
                    return Err(Reason::Unexpected("a question, to a receiver"));
                }
                (Some(_), Frame::Heartbeat) => {}
            }
        }
    }

    fn greet(&mut self, hello: &Hello, actions: &mut Vec<Action>) -> Result<(), Reason> {
        let version = self.settings.judge(hello)?;
        let Role::Sender { instance } = hello.role else {
            return Err(Reason::Role("receivers"));
        };
        if let Some(connection) = &mut self.connection {
            connection.agreed = Some(Agreed { version, instance });
        }
        actions.push(Action::Say(Happening::Agreed { version }));
        Ok(())
    }

    fn apply(
        &mut self,
        agreed: Agreed,
        batch: Batch,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        let Agreed { instance, .. } = agreed;
        let is_start = matches!(batch.items.first(), Some(Item::Start(_)));
        if !is_start {
            let known = self.known.filter(|(known, _)| *known == instance);
            let (_, applied) = known.ok_or(Reason::NoBeginning)?;
            let awaited = applied + 1;
            if batch.first != awaited {
                let came = batch.first;
                return Err(Reason::Gap { awaited, came });
            }
        }
        self.judge(&batch)?;
        let last = batch.last();
        let count = last - batch.first + 1;
        for item in batch.items {
            self.item(item, actions);
        }
        self.known = Some((instance, last));
        self.changes += count;
        if let Some(connection) = &mut self.connection {
            connection.unacknowledged += count;
            let at = now + self.settings.limits.acknowledge_delay;
            connection.acknowledge_at.get_or_insert(at);
        }
        Ok(())
    }

    /// Whether a batch fits what came before it; one that does not must not be applied in part.
    fn judge(&self, batch: &Batch) -> Result<(), Reason> {
        let mut begun = self.begun;
        for item in &batch.items {
            let (bucket, what) = match item {
                Item::Start(_) => {
                    begun = Buckets::NONE;
                    continue;
                }
                Item::Begin(bucket) => {
                    begun.insert(*bucket);
                    continue;
                }
                Item::Forget(bucket) => {
                    begun.remove(*bucket);
                    continue;
                }
                Item::Complete(bucket) => (*bucket, "the completion"),
                Item::Gap(bucket) => (*bucket, "a gap"),
                Item::Put { bucket, .. } => (*bucket, "a record"),
                Item::Remove { bucket, .. } => (*bucket, "a removal"),
            };
            if !begun.contains(bucket) {
                return Err(Reason::NotBegun { bucket, what });
            }
        }
        Ok(())
    }

    fn item(&mut self, item: Item, actions: &mut Vec<Action>) {
        match item {
            Item::Start(assigned) => {
                let buckets = assigned.len();
                actions.push(Action::Say(Happening::Started { buckets }));
                for bucket in self.held.without(&assigned).iter() {
                    actions.push(Action::Abandon(bucket));
                }
                self.held = self.held.and(&assigned);
                self.begun = Buckets::NONE;
                self.complete = Buckets::NONE;
                self.doubts = Buckets::NONE;
            }
            Item::Begin(bucket) => {
                self.held.insert(bucket);
                self.begun.insert(bucket);
                self.complete.remove(bucket);
                self.doubts.remove(bucket);
                actions.push(Action::Begin(bucket));
            }
            Item::Complete(bucket) => {
                self.complete.insert(bucket);
                actions.push(Action::Complete(bucket));
            }
            Item::Gap(bucket) => self.complete.remove(bucket),
            Item::Forget(bucket) => {
                self.held.remove(bucket);
                self.begun.remove(bucket);
                self.complete.remove(bucket);
                self.doubts.remove(bucket);
                actions.push(Action::Forget(bucket));
            }
            Item::Put { bucket, key, value } => actions.push(Action::Put { bucket, key, value }),
            Item::Remove { bucket, key } => actions.push(Action::Remove { bucket, key }),
        }
    }

    /// Asks for what must come anew, once both have said who they are.
    fn ask(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let connection = self.connection.as_ref();
        if !self.doubts.is_empty() && connection.is_some_and(|it| it.agreed.is_some()) {
            self.send(&Frame::Ask(self.doubts), now, actions);
        }
    }

    /// Acknowledges what was applied if it is time to.
    fn acknowledge(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let is_due = connection.acknowledge_at.is_some_and(|at| at <= now);
        let is_enough = connection.unacknowledged >= self.settings.limits.acknowledge_count;
        if !is_due && !is_enough {
            return;
        }
        connection.unacknowledged = 0;
        connection.acknowledge_at = None;
        if let Some((_, applied)) = self.known {
            self.send(&Frame::Ack(applied), now, actions);
        }
    }

    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(connection) = &self.connection else {
            return;
        };
        let limits = self.settings.limits;
        if connection.agreed.is_none() {
            if connection.since + limits.silence <= now {
                self.close(Reason::NoHello(limits.silence), actions);
            }
            return;
        }
        if connection.heard + limits.silence <= now {
            self.close(Reason::Silence(limits.silence), actions);
            return;
        }
        self.acknowledge(now, actions);
        let is_quiet = |it: &Connection| it.spoke + limits.heartbeat <= now;
        if self.connection.as_ref().is_some_and(is_quiet) {
            self.send(&Frame::Heartbeat, now, actions);
        }
    }
}

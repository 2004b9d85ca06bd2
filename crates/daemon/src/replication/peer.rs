//! Another member: what it is told, and what it tells.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    io,
    sync::Arc,
    time::Instant,
};

use abi::cluster::NOBODY;
use gateway::{
    cluster::{self, Custody},
    copies::{Any, Outcome, Terms, Which, adopt, let_go},
};
use kernel::Tables;
use replica::{Buckets, Change, Importance, Receiver, Sender, Settings, receiver, sender};

use super::{
    LOOK,
    links::{End, Happened, Pipe},
    shelves::{self, Shelves},
};

/// Records of a snapshot that are read before something else has its turn.
const READ_AT_ONCE: usize = 512;

/// What whoever deals with another member knows of this one.
pub struct Ground {
    pub tables: Arc<Tables>,
    pub terms: Arc<Terms>,
    pub custody: Option<Arc<Custody>>,
    /// What the machine that knows who holds what is to be told.
    pub said: Vec<cluster::Event>,
    /// What others are to be told in turn.
    pub passed_on: Vec<Change>,
}

impl Ground {
    /// Whether this member serves a bucket.
    fn serves(&self, bucket: u8) -> bool {
        let custody = self.custody.as_deref();
        let role = custody.and_then(|it| it.roles.get(usize::from(bucket)));
        role.is_none_or(|role| role.serves())
    }

    /// Whether what a member says of a bucket's flows is so: it serves them, and this one does not.
    fn is_told_by_owner(&self, bucket: u8, from: u8) -> bool {
        let custody = self.custody.as_deref();
        let owner = custody.and_then(|it| it.owners.get(usize::from(bucket)));
        owner == Some(&from) && !self.serves(bucket)
    }

    /// To whom a bucket's flows are copied.
    pub fn copied_to(&self, bucket: u8) -> Option<u8> {
        let custody = self.custody.as_deref()?;
        let to = custody.copied_to.get(usize::from(bucket))?;
        (*to != NOBODY).then_some(*to)
    }
}

/// How copies to and from another member stand.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What it is told.
    pub sending: sender::Status,
    /// What it tells.
    pub receiving: receiver::Status,
    /// What became of what it told.
    pub adopted: Adopted,
}

/// What became of flows that a member told of, since this daemon began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// They stood in the tables then.
    pub kept: u64,
    /// Their external address is none of this gateway's.
    pub refused: u64,
    /// This gateway serves other flows with the same packets.
    pub contradicted: u64,
    /// The tables had no room, or could not be written.
    pub full: u64,
    /// They are no flows.
    pub malformed: u64,
}

/// How far a bucket is that this member serves no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Switched {
    /// A sweep that begins after this finds what became of its flows.
    Since(Instant),
    /// All is said, and waits to be sent.
    Said,
    /// All is sent when this is acknowledged.
    Sent(u64),
    /// The other one knows it all.
    Known,
}

/// Another member.
pub struct Peer {
    name: String,
    /// Its number.
    pub number: u8,
    sender: Sender,
    sending: Option<(u64, Pipe)>,
    receiver: Receiver,
    receiving: Option<(u64, Pipe)>,
    /// Buckets that are to be read, and which time they were asked for.
    wanted: Vec<(u8, u64)>,
    /// Those of them that the walk under way is for.
    walking: Vec<(u8, u64)>,
    /// What is there of buckets that are being read.
    lists: VecDeque<(u8, u64, Vec<Which>)>,
    switched: BTreeMap<u8, Switched>,
    /// Handed over, and said so.
    copied: Buckets,
    /// What has come of the buckets that come anew.
    came: BTreeMap<u8, HashSet<Which>>,
    /// Those of them of which all has come.
    complete: Buckets,
    /// Those of these that the walk under way is for.
    pruning: Buckets,
    adopted: Adopted,
}

impl Peer {
    /// One of which nothing is known.
    pub fn new(settings: &Settings, instance: u64) -> Self {
        Self {
            name: settings.peer.as_str().to_owned(),
            number: 0,
            sender: Sender::new(settings.clone(), instance),
            sending: None,
            receiver: Receiver::new(settings.clone()),
            receiving: None,
            wanted: Vec::new(),
            walking: Vec::new(),
            lists: VecDeque::new(),
            switched: BTreeMap::new(),
            copied: Buckets::NONE,
            came: BTreeMap::new(),
            complete: Buckets::NONE,
            pruning: Buckets::NONE,
            adopted: Adopted::default(),
        }
    }

    /// When [`Peer::settle`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let look = (!self.switched.is_empty()).then(|| Instant::now() + LOOK);
        let each = [self.sender.deadline(), self.receiver.deadline(), look];
        each.into_iter().flatten().min()
    }

    /// How copies to and from it stand.
    pub fn standing(&self, now: Instant) -> Standing {
        Standing {
            sending: self.sender.status(now),
            receiving: self.receiver.status(),
            adopted: self.adopted,
        }
    }

    /// Its connections are gone.
    pub fn disconnected(&mut self) {
        let now = Instant::now();
        if self.sending.take().is_some() {
            self.sender.handle(sender::Event::Disconnected, now);
        }
        if self.receiving.take().is_some() {
            self.receiver.handle(receiver::Event::Disconnected, now);
        }
    }

    /// Takes note of what is copied to it.
    pub fn entrust(&mut self, custody: &Custody, now: Instant) {
        let number = self.number;
        let to_it = |bucket: &u8| custody.copied_to.get(usize::from(*bucket)) == Some(&number);
        let assigned: Buckets = (0..=u8::MAX).filter(to_it).collect();
        let actions = self.sender.handle(sender::Event::Assign(assigned), now);
        self.send(actions);
        let switched: Vec<u8> = custody.switched.iter().copied().filter(to_it).collect();
        self.switched.retain(|bucket, _| switched.contains(bucket));
        for bucket in switched {
            let since = Switched::Since(now);
            self.switched.entry(bucket).or_insert(since);
        }
        let handing: Buckets = custody.handing.iter().copied().collect();
        self.copied = self.copied.and(&handing);
    }

    /// Tells it a change.
    pub fn changed(&mut self, change: Change) {
        let event = sender::Event::Changed(change);
        let actions = self.sender.handle(event, Instant::now());
        self.send(actions);
    }

    /// The sweep that began then has told all.
    pub fn swept(&mut self, began: Instant) {
        for state in self.switched.values_mut() {
            if matches!(state, Switched::Since(since) if *since < began) {
                *state = Switched::Said;
            }
        }
    }

    /// Takes in what happened to a connection.
    pub fn hear(&mut self, end: End, (number, what): (u64, Happened), ground: &mut Ground) {
        let now = Instant::now();
        let current = self.pipe(end).as_ref().map(|(number, _)| *number);
        let is_next = current.is_none_or(|it| it < number);
        match &what {
            Happened::Up(pipe) if is_next => {
                if current.is_some() {
                    self.tell(end, &Happened::Down, now, ground);
                }
                *self.pipe(end) = Some((number, pipe.clone()));
            }
            Happened::Up(_) | Happened::Bytes(_) | Happened::Written(_) | Happened::Down
                if current != Some(number) =>
            {
                return;
            }
            Happened::Up(_) | Happened::Bytes(_) | Happened::Written(_) | Happened::Down => {}
        }
        self.tell(end, &what, now, ground);
        if matches!(what, Happened::Down) {
            *self.pipe(end) = None;
        }
    }

    /// The connection by which this member is that end of a stream.
    fn pipe(&mut self, end: End) -> &mut Option<(u64, Pipe)> {
        match end {
            End::Sending => &mut self.sending,
            End::Receiving => &mut self.receiving,
        }
    }

    fn tell(&mut self, end: End, what: &Happened, now: Instant, ground: &mut Ground) {
        match end {
            End::Sending => {
                let event = match what {
                    Happened::Up(_) => sender::Event::Connected,
                    Happened::Bytes(bytes) => sender::Event::Received(bytes),
                    Happened::Written(count) => sender::Event::Room(*count),
                    Happened::Down => sender::Event::Disconnected,
                };
                let actions = self.sender.handle(event, now);
                self.send(actions);
            }
            End::Receiving => {
                let event = match what {
                    Happened::Up(_) => receiver::Event::Connected,
                    Happened::Bytes(bytes) => receiver::Event::Received(bytes),
                    Happened::Written(_) => return,
                    Happened::Down => receiver::Event::Disconnected,
                };
                let actions = self.receiver.handle(event, now);
                self.receive(actions, ground);
            }
        }
    }

    /// Does what the sender wants.
    fn send(&mut self, actions: Vec<sender::Action>) {
        let member = &self.name;
        for action in actions {
            match action {
                sender::Action::Send(bytes) => {
                    if let Some((_, pipe)) = &self.sending {
                        pipe.write(bytes);
                    }
                }
                sender::Action::Need { bucket, request } => self.wanted.push((bucket, request)),
                sender::Action::Close(reason) => {
                    tracing::warn!(member, %reason, "a connection by which flows are copied is closed");
                    self.sending = None;
                }
                sender::Action::Say(happening) => {
                    tracing::info!(member, "copies to it: {happening}");
                }
            }
        }
    }

    /// Does what the receiver wants.
    fn receive(&mut self, actions: Vec<receiver::Action>, ground: &mut Ground) {
        let from = self.number;
        for action in actions {
            match action {
                receiver::Action::Put { bucket, key, value } => {
                    self.put(bucket, &key, &value, ground);
                }
                receiver::Action::Remove { bucket, key } => self.remove(bucket, &key, ground),
                receiver::Action::Begin(bucket) => {
                    self.came.insert(bucket, HashSet::new());
                    self.complete.remove(bucket);
                    ground.said.push(cluster::Event::Held { bucket, from });
                }
                receiver::Action::Complete(bucket) => self.complete.insert(bucket),
                receiver::Action::Forget(bucket) => {
                    self.came.remove(&bucket);
                    self.complete.remove(bucket);
                    ground.said.push(cluster::Event::Forgotten { bucket, from });
                }
                receiver::Action::Send(bytes) => {
                    if let Some((_, pipe)) = &self.receiving {
                        pipe.write(bytes);
                    }
                }
                receiver::Action::Close(reason) => {
                    tracing::warn!(member = self.name, %reason, "a connection by which flows come is closed");
                    self.receiving = None;
                }
                receiver::Action::Say(happening) => {
                    tracing::info!(member = self.name, "copies from it: {happening}");
                }
            }
        }
    }

    fn put(&mut self, bucket: u8, key: &[u8], value: &[u8], ground: &mut Ground) {
        let (Ok(told), Ok(which)) = (Any::read(key, value), Which::read(key)) else {
            self.adopted.malformed += 1;
            return;
        };
        if told.bucket() != bucket {
            self.adopted.malformed += 1;
            return;
        }
        let from = self.number;
        let terms = (&*ground.terms, shelves::now());
        let outcome = adopt(
            &mut Shelves(&ground.tables),
            &told,
            terms,
            ground.serves(bucket),
        );
        let count = match outcome {
            Ok(Outcome::Stands) => {
                if let Some(came) = self.came.get_mut(&bucket) {
                    came.insert(which);
                }
                // Whoever keeps this member's own flows is to keep what it was handed too.
                if ground.serves(bucket) && ground.copied_to(bucket).is_some_and(|it| it != from) {
                    let value = (value.to_vec(), Importance::Established);
                    let change = super::change(bucket, key.to_vec(), Some(value));
                    ground.passed_on.push(change);
                }
                &mut self.adopted.kept
            }
            Ok(Outcome::Refused) => &mut self.adopted.refused,
            Ok(Outcome::Contradicted) => &mut self.adopted.contradicted,
            Ok(Outcome::Full) => &mut self.adopted.full,
            Err(error) => {
                tracing::debug!(%error, "a copy of a flow cannot be written");
                &mut self.adopted.full
            }
        };
        *count += 1;
    }

    fn remove(&mut self, bucket: u8, key: &[u8], ground: &Ground) {
        let Ok(which) = Which::read(key) else {
            self.adopted.malformed += 1;
            return;
        };
        if let Some(came) = self.came.get_mut(&bucket) {
            came.remove(&which);
        }
        // Who hands over what it had does not know what became of it since.
        if ground.is_told_by_owner(bucket, self.number) {
            let_go_of(&which, ground);
        }
    }

    /// The buckets of which it must be known what is there.
    pub fn wants(&mut self) -> Vec<u8> {
        self.walking = std::mem::take(&mut self.wanted);
        self.pruning = self.complete;
        let wanted = self.walking.iter().map(|(bucket, _)| *bucket);
        wanted.chain(self.complete.iter()).collect()
    }

    /// What was wanted cannot be read now, and is still wanted.
    pub fn not_walked(&mut self) {
        let walking = std::mem::take(&mut self.walking);
        self.wanted.splice(0..0, walking);
        self.pruning = Buckets::NONE;
    }

    /// This is there.
    pub fn walked(&mut self, found: &BTreeMap<u8, Vec<Which>>, ground: &Ground) {
        for (bucket, request) in std::mem::take(&mut self.walking) {
            let list = found.get(&bucket).cloned().unwrap_or_default();
            self.lists.push_back((bucket, request, list));
        }
        // Not those that have begun to come anew since.
        for bucket in self.pruning.and(&self.complete).iter() {
            let Some(came) = self.came.remove(&bucket) else {
                continue;
            };
            if !ground.is_told_by_owner(bucket, self.number) {
                continue;
            }
            let listed = found.get(&bucket).into_iter().flatten();
            for which in listed.filter(|it| !came.contains(it)) {
                let_go_of(which, ground);
            }
        }
        self.complete = self.complete.without(&self.pruning);
        self.pruning = Buckets::NONE;
    }

    /// Does what has become due.
    pub fn settle(&mut self, now: Instant, ground: &mut Ground) {
        if self.sender.deadline().is_some_and(|at| at <= now) {
            let actions = self.sender.handle(sender::Event::Tick, now);
            self.send(actions);
        }
        if self.receiver.deadline().is_some_and(|at| at <= now) {
            let actions = self.receiver.handle(receiver::Event::Tick, now);
            self.receive(actions, ground);
        }
        self.read(now, ground);
        self.hand_over(ground);
    }

    /// Reads flows for snapshots as long as there is room for them.
    fn read(&mut self, now: Instant, ground: &Ground) {
        while let Some((bucket, request, mut list)) = self.lists.pop_front() {
            let room = self.sender.room().min(READ_AT_ONCE);
            if room == 0 {
                self.lists.push_front((bucket, request, list));
                return;
            }
            let some = list.split_off(list.len().saturating_sub(room));
            let is_last = list.is_empty();
            let records = some.iter().filter_map(|which| {
                let found = shelves::record(&ground.tables, which, &ground.terms);
                let (found, record) = found.ok()??;
                (found == bucket).then_some(record)
            });
            let event = sender::Event::Snapshot {
                bucket,
                request,
                records: records.collect(),
                is_last,
            };
            let actions = self.sender.handle(event, now);
            self.send(actions);
            if !is_last {
                self.lists.push_front((bucket, request, list));
            }
        }
    }

    /// Tells how far buckets are that are handed over.
    fn hand_over(&mut self, ground: &mut Ground) {
        let Some(custody) = ground.custody.clone() else {
            return;
        };
        let to = self.number;
        let is_ours = |bucket: &u8| custody.copied_to.get(usize::from(*bucket)) == Some(&to);
        if custody.handing.iter().any(is_ours) {
            let complete = self.sender.complete();
            for bucket in custody.handing.iter().copied().filter(is_ours) {
                if complete.contains(bucket) && !self.copied.contains(bucket) {
                    self.copied.insert(bucket);
                    ground.said.push(cluster::Event::Copied { bucket, to });
                }
            }
        }
        let (sent, acknowledged) = self.sender.numbers();
        for (bucket, state) in &mut self.switched {
            if *state == Switched::Said && !self.sender.waits(*bucket) {
                *state = Switched::Sent(sent);
            }
            if matches!(state, Switched::Sent(number) if *number <= acknowledged) {
                *state = Switched::Known;
                ground
                    .said
                    .push(cluster::Event::Flushed { bucket: *bucket });
            }
        }
    }
}

fn let_go_of(which: &Which, ground: &Ground) {
    let gone: io::Result<()> = let_go(&mut Shelves(&ground.tables), which);
    if let Err(error) = gone {
        tracing::debug!(%error, "a copy of a flow cannot be removed");
    }
}

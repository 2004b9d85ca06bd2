//! Another member: what it is told, and what it tells.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fmt,
    time::Instant,
};

use replica::{Buckets, Change, Importance, Receiver, Sender, Settings, receiver, sender};

use super::{Action, Adopted, End, Ground, Listed, Notice, Said, Standing, serves_in};
use crate::{
    cluster::{self, Custody},
    copies::{Any, Outcome, Store, Which, adopt, let_go, told},
};

/// Records of a snapshot that are read before something else has its turn.
const READ_AT_ONCE: usize = 512;

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
#[derive(Debug)]
pub(super) struct Peer {
    name: String,
    /// Its number.
    pub number: u8,
    sender: Sender,
    /// The number of the connection by which it is told.
    sending: Option<u64>,
    receiver: Receiver,
    /// The number of the connection by which it tells.
    receiving: Option<u64>,
    /// Buckets that are to be read, and which time they were asked for.
    wanted: Vec<(u8, u64)>,
    /// Those of them whose flows are being listed.
    listing: Vec<(u8, u64)>,
    /// What is there of buckets that are being read.
    lists: VecDeque<(u8, u64, Vec<Which>)>,
    switched: BTreeMap<u8, Switched>,
    /// The turn of the custody that is known.
    turn: u64,
    /// Handed over, and said so in this turn.
    copied: Buckets,
    /// Complete when this turn began: of what changed before, something may be known to the next sweep only.
    early: Buckets,
    /// Since when such a sweep is waited for.
    unswept: Option<Instant>,
    /// What has come of the buckets that come anew.
    came: BTreeMap<u8, HashSet<Which>>,
    /// Those of them of which all has come.
    complete: Buckets,
    /// Those of these whose flows are being listed.
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
            listing: Vec::new(),
            lists: VecDeque::new(),
            switched: BTreeMap::new(),
            turn: 0,
            copied: Buckets::NONE,
            early: Buckets::NONE,
            unswept: None,
            came: BTreeMap::new(),
            complete: Buckets::NONE,
            pruning: Buckets::NONE,
            adopted: Adopted::default(),
        }
    }

    /// When [`Peer::settle`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let each = [self.sender.deadline(), self.receiver.deadline()];
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
    pub fn disconnected(&mut self, now: Instant) {
        if self.sending.take().is_some() {
            self.sender.handle(sender::Event::Disconnected, now);
        }
        if self.receiving.take().is_some() {
            self.receiver.handle(receiver::Event::Disconnected, now);
        }
    }

    /// Takes note of what is copied to it.
    pub fn entrust<S>(&mut self, custody: &Custody, ground: &mut Ground<'_, S>) {
        let number = self.number;
        let to_it = |bucket: &u8| custody.copied_to.get(usize::from(*bucket)) == Some(&number);
        let assigned: Buckets = (0..=u8::MAX).filter(to_it).collect();
        self.send(sender::Event::Assign(assigned), ground);
        let switched: Vec<u8> = custody.switched.iter().copied().filter(to_it).collect();
        self.switched.retain(|bucket, _| switched.contains(bucket));
        for bucket in switched {
            let since = Switched::Since(ground.now);
            self.switched.entry(bucket).or_insert(since);
        }
        // What was said in an earlier turn may not have been meant.
        if std::mem::replace(&mut self.turn, custody.turn) != custody.turn {
            self.copied = Buckets::NONE;
            self.early = self.sender.complete();
            self.unswept = Some(ground.now);
            for state in self.switched.values_mut() {
                if *state == Switched::Known {
                    *state = Switched::Since(ground.now);
                }
            }
        }
    }

    /// Tells it a change.
    pub fn changed<S>(&mut self, change: Change, ground: &mut Ground<'_, S>) {
        self.send(sender::Event::Changed(change), ground);
    }

    /// The sweep that began then has told all.
    pub fn swept(&mut self, began: Instant) {
        self.unswept.take_if(|since| *since < began);
        for state in self.switched.values_mut() {
            if matches!(state, Switched::Since(since) if *since < began) {
                *state = Switched::Said;
            }
        }
    }

    /// Takes in what happened to a connection.
    pub fn hear<E: fmt::Display, S: Store<E>>(
        &mut self,
        end: End,
        (number, what): (u64, Notice),
        ground: &mut Ground<'_, S>,
    ) {
        let current = *self.connection(end);
        let is_up = matches!(what, Notice::Up) && current.is_none_or(|it| it < number);
        if !is_up && current != Some(number) {
            return;
        }
        if is_up {
            if current.is_some() {
                self.tell(end, Notice::Down, ground);
            }
            *self.connection(end) = Some(number);
        }
        let is_down = matches!(what, Notice::Down);
        self.tell(end, what, ground);
        if is_down {
            *self.connection(end) = None;
        }
    }

    /// The number of the connection by which this member is that end of a stream.
    fn connection(&mut self, end: End) -> &mut Option<u64> {
        match end {
            End::Sending => &mut self.sending,
            End::Receiving => &mut self.receiving,
        }
    }

    fn tell<E: fmt::Display, S: Store<E>>(
        &mut self,
        end: End,
        what: Notice,
        ground: &mut Ground<'_, S>,
    ) {
        match (end, what) {
            (End::Sending, Notice::Up) => self.send(sender::Event::Connected, ground),
            (End::Sending, Notice::Bytes(bytes)) => {
                self.send(sender::Event::Received(&bytes), ground);
            }
            (End::Sending, Notice::Written(count)) => {
                self.send(sender::Event::Room(count), ground);
            }
            (End::Sending, Notice::Down) => self.send(sender::Event::Disconnected, ground),
            (End::Receiving, Notice::Up) => self.receive(receiver::Event::Connected, ground),
            (End::Receiving, Notice::Bytes(bytes)) => {
                self.receive(receiver::Event::Received(&bytes), ground);
            }
            (End::Receiving, Notice::Written(_)) => {}
            (End::Receiving, Notice::Down) => {
                self.receive(receiver::Event::Disconnected, ground);
                ground.actions.push(Action::Tell(self.hears(false)));
            }
        }
    }

    /// Tells the sender what happened, and does what it wants.
    fn send<S>(&mut self, event: sender::Event<'_>, ground: &mut Ground<'_, S>) {
        for action in self.sender.handle(event, ground.now) {
            match action {
                sender::Action::Send(bytes) => {
                    let send = self.sending.map(|number| Action::Send(number, bytes));
                    ground.actions.extend(send);
                }
                sender::Action::Need { bucket, request } => self.wanted.push((bucket, request)),
                sender::Action::Close(reason) => {
                    let close = self.sending.take().map(Action::Close);
                    ground.actions.extend(close);
                    self.say(Said::SendingEnds(reason), ground);
                }
                sender::Action::Say(happening) => self.say(Said::Sending(happening), ground),
            }
        }
    }

    /// Tells the receiver what happened, and does what it wants.
    fn receive<E: fmt::Display, S: Store<E>>(
        &mut self,
        event: receiver::Event<'_>,
        ground: &mut Ground<'_, S>,
    ) {
        let from = self.number;
        for action in self.receiver.handle(event, ground.now) {
            match action {
                receiver::Action::Put { bucket, key, value } => {
                    self.put(bucket, &key, &value, ground);
                }
                receiver::Action::Remove { bucket, key } => self.remove(bucket, &key, ground),
                receiver::Action::Begin(bucket) => {
                    self.came.insert(bucket, HashSet::new());
                    self.complete.remove(bucket);
                    if ground.is_told_by_owner(bucket, from) {
                        ground.doubts.remove(bucket);
                    }
                    let held = cluster::Event::Held { bucket, from };
                    ground.actions.push(Action::Tell(held));
                }
                receiver::Action::Complete(bucket) => {
                    self.complete.insert(bucket);
                    let completed = cluster::Event::Completed { bucket, from };
                    ground.actions.push(Action::Tell(completed));
                }
                receiver::Action::Forget(bucket) => self.forget(bucket, true, ground),
                receiver::Action::Abandon(bucket) => self.forget(bucket, false, ground),
                receiver::Action::Send(bytes) => {
                    let send = self.receiving.map(|number| Action::Send(number, bytes));
                    ground.actions.extend(send);
                }
                receiver::Action::Close(reason) => {
                    let close = self.receiving.take().map(Action::Close);
                    ground.actions.extend(close);
                    ground.actions.push(Action::Tell(self.hears(false)));
                    self.say(Said::ReceivingEnds(reason), ground);
                }
                receiver::Action::Say(happening) => {
                    if matches!(happening, receiver::Happening::Agreed { .. }) {
                        ground.actions.push(Action::Tell(self.hears(true)));
                    }
                    self.say(Said::Receiving(happening), ground);
                }
            }
        }
    }

    /// It copies a bucket no more, and may have told all of it.
    fn forget<S>(&mut self, bucket: u8, is_all: bool, ground: &mut Ground<'_, S>) {
        self.came.remove(&bucket);
        self.complete.remove(bucket);
        let from = self.number;
        let forgotten = cluster::Event::Forgotten {
            bucket,
            from,
            is_all,
        };
        ground.actions.push(Action::Tell(forgotten));
    }

    fn hears(&self, is_heard: bool) -> cluster::Event {
        let from = self.number;
        cluster::Event::Hears { from, is_heard }
    }

    fn say<S>(&self, said: Said, ground: &mut Ground<'_, S>) {
        ground.actions.push(Action::Say(self.name.clone(), said));
    }

    fn put<E: fmt::Display, S: Store<E>>(
        &mut self,
        bucket: u8,
        key: &[u8],
        value: &[u8],
        ground: &mut Ground<'_, S>,
    ) {
        let (Ok(told), Ok(which)) = (Any::read(key, value), Which::read(key)) else {
            self.adopted.malformed += 1;
            return;
        };
        if told.bucket() != bucket {
            self.adopted.malformed += 1;
            return;
        }
        let (from, serves) = (self.number, ground.serves(bucket));
        if !serves && !ground.is_told_by_owner(bucket, from) {
            ground.doubts.insert(bucket);
        }
        let terms = (ground.terms, ground.tick);
        let (custody, store) = (ground.custody, &mut *ground.store);
        let count = match adopt(store, &told, terms, &|it| serves_in(custody, it)) {
            Ok(Outcome::Stands) => {
                if let Some(came) = self.came.get_mut(&bucket) {
                    came.insert(which);
                }
                // Whoever keeps this member's own flows is to keep what it was handed too.
                if serves && ground.copied_to(bucket).is_some_and(|it| it != from) {
                    let value = (value.to_vec(), Importance::Established);
                    let change = told::change(bucket, key.to_vec(), Some(value));
                    ground.passed_on.push(change);
                }
                &mut self.adopted.kept
            }
            Ok(Outcome::Refused) => &mut self.adopted.refused,
            Ok(Outcome::Contradicted) => {
                ground.doubts.insert(bucket);
                &mut self.adopted.contradicted
            }
            Ok(Outcome::Full) => &mut self.adopted.full,
            Err(error) => {
                self.say(Said::Table(error.to_string()), ground);
                &mut self.adopted.full
            }
        };
        *count += 1;
    }

    fn remove<E: fmt::Display, S: Store<E>>(
        &mut self,
        bucket: u8,
        key: &[u8],
        ground: &mut Ground<'_, S>,
    ) {
        let Ok(which) = Which::read(key) else {
            self.adopted.malformed += 1;
            return;
        };
        if let Some(came) = self.came.get_mut(&bucket) {
            came.remove(&which);
        }
        // Who hands over what it had does not know what became of it since.
        match ground.is_told_by_owner(bucket, self.number) {
            true => self.let_go_of(&which, ground),
            false => ground.doubts.insert(bucket),
        }
    }

    /// What it told of a bucket that it owns was not taken as it was told. Returns whether it can be asked.
    pub fn doubt<E: fmt::Display, S: Store<E>>(
        &mut self,
        bucket: u8,
        ground: &mut Ground<'_, S>,
    ) -> bool {
        let is_begun = self.receiver.begun().contains(bucket);
        if is_begun {
            self.receive(receiver::Event::Doubt(bucket), ground);
        }
        is_begun
    }

    fn let_go_of<E: fmt::Display, S: Store<E>>(&self, which: &Which, ground: &mut Ground<'_, S>) {
        if let Err(error) = let_go(ground.store, which) {
            self.say(Said::Table(error.to_string()), ground);
        }
    }

    /// The buckets of which it must be known which flows are there.
    pub fn wants(&mut self) -> Vec<u8> {
        self.listing = std::mem::take(&mut self.wanted);
        self.pruning = self.complete;
        let wanted = self.listing.iter().map(|(bucket, _)| *bucket);
        wanted.chain(self.complete.iter()).collect()
    }

    /// These are there; or that could not be read, and is still wanted.
    pub fn listed<E: fmt::Display, S: Store<E>>(
        &mut self,
        found: Option<&Listed>,
        ground: &mut Ground<'_, S>,
    ) {
        let listing = std::mem::take(&mut self.listing);
        let pruning = std::mem::replace(&mut self.pruning, Buckets::NONE);
        let Some(found) = found else {
            self.wanted.splice(0..0, listing);
            return;
        };
        for (bucket, request) in listing {
            let list = found.get(&bucket).cloned().unwrap_or_default();
            self.lists.push_back((bucket, request, list));
        }
        // Not those that have begun to come anew since.
        for bucket in pruning.and(&self.complete).iter() {
            let Some(came) = self.came.remove(&bucket) else {
                continue;
            };
            if !ground.is_told_by_owner(bucket, self.number) {
                ground.doubts.insert(bucket);
                continue;
            }
            let listed = found.get(&bucket).into_iter().flatten();
            for which in listed.filter(|it| !came.contains(it)) {
                self.let_go_of(which, ground);
            }
        }
        self.complete = self.complete.without(&pruning);
    }

    /// Does what has become due.
    pub fn settle<E: fmt::Display, S: Store<E>>(&mut self, ground: &mut Ground<'_, S>) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= ground.now);
        let (sends, receives) = (
            is_due(self.sender.deadline()),
            is_due(self.receiver.deadline()),
        );
        if sends {
            self.send(sender::Event::Tick, ground);
        }
        if receives {
            self.receive(receiver::Event::Tick, ground);
        }
        self.read(ground);
        self.hand_over(ground);
    }

    /// Reads flows for snapshots as long as there is room for them.
    fn read<E: fmt::Display, S: Store<E>>(&mut self, ground: &mut Ground<'_, S>) {
        while let Some((bucket, request, mut list)) = self.lists.pop_front() {
            let room = self.sender.room().min(READ_AT_ONCE);
            if room == 0 {
                self.lists.push_front((bucket, request, list));
                return;
            }
            let some = list.split_off(list.len().saturating_sub(room));
            let is_last = list.is_empty();
            let terms = (ground.terms, ground.tick);
            let records = some.iter().filter_map(|which| {
                let found = told::record(ground.store, which, terms);
                let (found, record) = found.ok()??;
                (found == bucket).then_some(record)
            });
            let event = sender::Event::Snapshot {
                bucket,
                request,
                records: records.collect(),
                is_last,
            };
            self.send(event, ground);
            if !is_last {
                self.lists.push_front((bucket, request, list));
            }
        }
    }

    /// Tells how far buckets are that are handed over.
    fn hand_over<S>(&mut self, ground: &mut Ground<'_, S>) {
        let Some(custody) = ground.custody else {
            return;
        };
        let (to, turn) = (self.number, custody.turn);
        let is_ours = |bucket: &u8| custody.copied_to.get(usize::from(*bucket)) == Some(&to);
        if custody.handing.iter().any(is_ours) {
            let mut complete = self.sender.complete();
            if self.unswept.is_some() {
                complete = complete.without(&self.early);
            }
            for bucket in custody.handing.iter().copied().filter(is_ours) {
                if complete.contains(bucket) && !self.copied.contains(bucket) {
                    self.copied.insert(bucket);
                    let copied = cluster::Event::Copied { bucket, to, turn };
                    ground.actions.push(Action::Tell(copied));
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
                let bucket = *bucket;
                let flushed = cluster::Event::Flushed { bucket, turn };
                ground.actions.push(Action::Tell(flushed));
            }
        }
    }
}

//! Changes that wait to be sent: one for each key, the latest.
//!
//! Because each key has one, the order among keys is free. It is that of their coming, until there is no room
//! for all: from then on, until there is room again, the newest that are established go first.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
    time::Instant,
};

use crate::frame::Item;

/// A record that was put or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which bucket.
    pub bucket: u8,
    /// Which record; at most [`KEY_MAX`](crate::KEY_MAX) bytes.
    pub key: Vec<u8>,
    /// What became of it.
    pub what: What,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is there, or is another one.
    Put {
        /// What it says; at most [`VALUE_MAX`](crate::VALUE_MAX) bytes.
        value: Vec<u8>,
        /// What is lost if it is left out.
        importance: Importance,
        /// Neither a change nor a chunk of a snapshot that this sender was handed before names this key, but
        /// for one that a removal followed. Then a removal that comes before this is sent takes both out of
        /// the queue. False is always right.
        is_new: bool,
    },
    /// It is gone.
    Remove,
}

/// What is lost if a record is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// A connection that somebody uses.
    Established,
    /// One that is only being opened, or was only asked for.
    Opening,
}

/// A record of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which; at most [`KEY_MAX`](crate::KEY_MAX) bytes.
    pub key: Vec<u8>,
    /// What it says; at most [`VALUE_MAX`](crate::VALUE_MAX) bytes.
    pub value: Vec<u8>,
}

/// How much a change counts when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Established,
    /// Without it the receiver has a flow too many, which is better than one too few.
    Removal,
    Opening,
}

/// Where a change stands.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    class: Class,
    order: u64,
    is_held: bool,
}

#[derive(Clone, Debug)]
struct Waiting {
    item: Item,
    /// The receiver may have a record of this key, from before.
    may_have: bool,
    since: Instant,
}

/// Changes by what they count, and then by when their key came into the queue.
#[derive(Clone, Debug, Default)]
struct Lane {
    established: BTreeMap<u64, Waiting>,
    removals: BTreeMap<u64, Waiting>,
    opening: BTreeMap<u64, Waiting>,
    bytes: usize,
}

/// The queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    most: usize,
    tickets: BTreeMap<(u8, Vec<u8>), Ticket>,
    /// What may be sent.
    ready: Lane,
    /// What must wait until its bucket's snapshot is sent.
    held: Lane,
    order: u64,
    is_short: bool,
}

/// How a change comes into the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coming {
    /// Its bucket's snapshot is not sent yet.
    pub is_held: bool,
    /// The receiver may have its key, whatever the change says.
    pub may_have: bool,
    pub now: Instant,
}

impl Queue {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            tickets: BTreeMap::new(),
            ready: Lane::default(),
            held: Lane::default(),
            order: 0,
            is_short: false,
        }
    }

    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    pub fn bytes(&self) -> usize {
        self.ready.bytes + self.held.bytes
    }

    /// Bytes of what may be sent.
    pub fn ready_bytes(&self) -> usize {
        self.ready.bytes
    }

    /// Since when the oldest waits that may be sent.
    pub fn ready_since(&self) -> Option<Instant> {
        self.ready.oldest().map(|(_, since)| since)
    }

    /// Since when the oldest waits.
    pub fn since(&self) -> Option<Instant> {
        let both = [self.ready.oldest(), self.held.oldest()];
        both.into_iter().flatten().map(|(_, since)| since).min()
    }

    /// Whether something was left out since there was room last.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether half of it is free.
    pub fn has_room(&self) -> bool {
        self.len() <= self.most / 2
    }

    /// Takes a change in. If there are too many now, the bucket of the one that was left out.
    pub fn push(&mut self, change: Change, coming: Coming) -> Option<u8> {
        let place = (change.bucket, change.key.clone());
        let before = self.tickets.remove(&place);
        let (order, waiting) = match before.and_then(|it| Some((it.order, self.remove(it)?))) {
            Some((order, it)) => (order, Some(it)),
            None => (self.order, None),
        };
        self.order += u64::from(waiting.is_none());
        let since = waiting.as_ref().map_or(coming.now, |it| it.since);
        let may_have = match (&waiting, &change.what) {
            // What was to become of it before says whether it was there at all.
            (Some(it), _) => it.may_have || coming.may_have,
            (None, What::Put { is_new, .. }) => !is_new || coming.may_have,
            (None, What::Remove) => true,
        };
        let Change { bucket, key, what } = change;
        let (class, item) = match what {
            What::Put {
                value, importance, ..
            } => (importance.into(), Item::Put { bucket, key, value }),
            What::Remove if !may_have => return None,
            What::Remove => (Class::Removal, Item::Remove { bucket, key }),
        };
        let ticket = Ticket {
            class,
            order,
            is_held: coming.is_held,
        };
        self.tickets.insert(place, ticket);
        let waiting = Waiting {
            item,
            may_have,
            since,
        };
        self.lane(ticket.is_held).insert(class, order, waiting);
        if self.len() <= self.most {
            return None;
        }
        self.leave_out()
    }

    /// The next to be sent that is not longer than this, and since when it waits.
    pub fn take(&mut self, most: usize) -> Option<(Item, Instant)> {
        let (class, order) = match self.is_short {
            false => self.ready.first_of_all()?,
            true => self.ready.most_important()?,
        };
        let length = self.ready.of(class).get(&order)?.item.length();
        if length > most {
            return None;
        }
        let waiting = self.ready.remove(class, order)?;
        self.tickets.remove(&place(&waiting.item)?);
        self.is_short &= !self.has_room();
        Some((waiting.item, waiting.since))
    }

    /// Whether something of a bucket waits.
    pub fn has(&self, bucket: u8) -> bool {
        self.tickets.range(of(bucket)).next().is_some()
    }

    /// Forgets everything of a bucket.
    pub fn purge(&mut self, bucket: u8) {
        let gone = self.tickets.extract_if(of(bucket), |_, _| true);
        let gone: Vec<Ticket> = gone.map(|(_, ticket)| ticket).collect();
        for ticket in gone {
            self.remove(ticket);
        }
        self.is_short &= !self.has_room();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    /// Lets go what waited for a bucket's snapshot.
    pub fn release(&mut self, bucket: u8) {
        for (_, ticket) in self.tickets.range_mut(of(bucket)) {
            if let Some(waiting) = self.held.remove(ticket.class, ticket.order) {
                self.ready.insert(ticket.class, ticket.order, waiting);
                ticket.is_held = false;
            }
        }
    }

    fn lane(&mut self, is_held: bool) -> &mut Lane {
        match is_held {
            true => &mut self.held,
            false => &mut self.ready,
        }
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.lane(ticket.is_held).remove(ticket.class, ticket.order)
    }

    /// Leaves out the one that counts least, and of those the oldest.
    fn leave_out(&mut self) -> Option<u8> {
        self.is_short = true;
        let least = [Class::Opening, Class::Removal, Class::Established]
            .into_iter()
            .find_map(|class| {
                let [ready, held] = [&self.ready, &self.held]
                    .map(|lane| lane.of(class).first_key_value().map(|(order, _)| *order));
                let order = ready.into_iter().chain(held).min()?;
                Some(Ticket {
                    class,
                    order,
                    is_held: ready != Some(order),
                })
            })?;
        let place = place(&self.remove(least)?.item)?;
        self.tickets.remove(&place);
        Some(place.0)
    }
}

impl Lane {
    fn of(&self, class: Class) -> &BTreeMap<u64, Waiting> {
        match class {
            Class::Established => &self.established,
            Class::Removal => &self.removals,
            Class::Opening => &self.opening,
        }
    }

    fn of_mut(&mut self, class: Class) -> &mut BTreeMap<u64, Waiting> {
        match class {
            Class::Established => &mut self.established,
            Class::Removal => &mut self.removals,
            Class::Opening => &mut self.opening,
        }
    }

    fn insert(&mut self, class: Class, order: u64, waiting: Waiting) {
        self.bytes += waiting.item.length();
        self.of_mut(class).insert(order, waiting);
    }

    fn remove(&mut self, class: Class, order: u64) -> Option<Waiting> {
        let waiting = self.of_mut(class).remove(&order)?;
        self.bytes -= waiting.item.length();
        Some(waiting)
    }

    fn first_of_all(&self) -> Option<(Class, u64)> {
        let all = [Class::Established, Class::Removal, Class::Opening];
        let firsts = all.into_iter().filter_map(|class| {
            let (order, _) = self.of(class).first_key_value()?;
            Some((class, *order))
        });
        firsts.min_by_key(|(_, order)| *order)
    }

    fn most_important(&self) -> Option<(Class, u64)> {
        let newest = |class| self.of(class).last_key_value().map(|it| (class, *it.0));
        let oldest = |class| self.of(class).first_key_value().map(|it| (class, *it.0));
        newest(Class::Established)
            .or_else(|| oldest(Class::Removal))
            .or_else(|| newest(Class::Opening))
    }

    fn oldest(&self) -> Option<(u64, Instant)> {
        let (class, order) = self.first_of_all()?;
        Some((order, self.of(class).get(&order)?.since))
    }
}

impl From<Importance> for Class {
    fn from(importance: Importance) -> Self {
        match importance {
            Importance::Established => Self::Established,
            Importance::Opening => Self::Opening,
        }
    }
}

/// Where an item's ticket is.
fn place(item: &Item) -> Option<(u8, Vec<u8>)> {
    match item {
        Item::Put { bucket, key, .. } => Some((*bucket, key.clone())),
        Item::Remove { bucket, key } => Some((*bucket, key.clone())),
        Item::Start(_) => None,
        Item::Begin(_) => None,
        Item::Complete(_) => None,
        Item::Gap(_) => None,
        Item::Forget(_) => None,
    }
}

/// All keys of a bucket.
fn of(bucket: u8) -> impl RangeBounds<(u8, Vec<u8>)> {
    let next = bucket.checked_add(1).map(|next| (next, Vec::new()));
    let end = next.map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included((bucket, Vec::new())), end)
}

//! Changes, several in a frame.

use super::{Cursor, Fault, short};
use crate::{
    buckets::Buckets,
    limits::{KEY_MAX, VALUE_MAX},
};

const START: u8 = 0;
const BEGIN: u8 = 1;
const COMPLETE: u8 = 2;
const FORGET: u8 = 3;
const PUT: u8 = 4;
const REMOVE: u8 = 5;
const GAP: u8 = 6;

/// Items with numbers that follow on each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The number of the first; never zero.
    pub first: u64,
    /// At least one.
    pub items: Vec<Item>,
}

/// What changes at the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Nothing before this counts; these are the buckets that are assigned. Only as a batch's first.
    Start(Buckets),
    /// The snapshot of a bucket begins.
    Begin(u8),
    /// The snapshot of a bucket is complete: what was not put since it began is not there.
    Complete(u8),
    /// A change of a bucket was left out: it is not complete until its next snapshot is.
    Gap(u8),
    /// A bucket is no longer assigned.
    Forget(u8),
    /// A record is there, or is another one.
    Put {
        /// Of which bucket.
        bucket: u8,
        /// Which record.
        key: Vec<u8>,
        /// What it says.
        value: Vec<u8>,
    },
    /// A record is gone.
    Remove {
        /// Of which bucket.
        bucket: u8,
        /// Which record.
        key: Vec<u8>,
    },
}

impl Item {
    /// Bytes on the wire.
    pub fn length(&self) -> usize {
        match self {
            Self::Start(_) => 1 + 32,
            Self::Begin(_) => 2,
            Self::Complete(_) => 2,
            Self::Gap(_) => 2,
            Self::Forget(_) => 2,
            Self::Put { key, value, .. } => 5 + key.len() + value.len(),
            Self::Remove { key, .. } => 3 + key.len(),
        }
    }

    /// Which bucket it is of, if it is of one.
    pub fn bucket(&self) -> Option<u8> {
        match self {
            Self::Start(_) => None,
            Self::Begin(bucket) => Some(*bucket),
            Self::Complete(bucket) => Some(*bucket),
            Self::Gap(bucket) => Some(*bucket),
            Self::Forget(bucket) => Some(*bucket),
            Self::Put { bucket, .. } => Some(*bucket),
            Self::Remove { bucket, .. } => Some(*bucket),
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Start(buckets) => {
                bytes.push(START);
                bytes.extend(buckets.to_bytes());
            }
            Self::Begin(bucket) => bytes.extend([BEGIN, *bucket]),
            Self::Complete(bucket) => bytes.extend([COMPLETE, *bucket]),
            Self::Gap(bucket) => bytes.extend([GAP, *bucket]),
            Self::Forget(bucket) => bytes.extend([FORGET, *bucket]),
            Self::Put { bucket, key, value } => {
                bytes.extend([PUT, *bucket, short(key.len())]);
                bytes.extend(key);
                let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
                bytes.extend(length.to_be_bytes());
                bytes.extend(value);
            }
            Self::Remove { bucket, key } => {
                bytes.extend([REMOVE, *bucket, short(key.len())]);
                bytes.extend(key);
            }
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, (usize, Fault)> {
        let at = cursor.at;
        match cursor.u8()? {
            START => cursor.array().map(Buckets::from_bytes).map(Self::Start),
            BEGIN => cursor.u8().map(Self::Begin),
            COMPLETE => cursor.u8().map(Self::Complete),
            GAP => cursor.u8().map(Self::Gap),
            FORGET => cursor.u8().map(Self::Forget),
            PUT => Ok(Self::Put {
                bucket: cursor.u8()?,
                key: key(cursor)?,
                value: value(cursor)?,
            }),
            REMOVE => Ok(Self::Remove {
                bucket: cursor.u8()?,
                key: key(cursor)?,
            }),
            other => Err((at, Fault::Item(other))),
        }
    }
}

fn key(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, (usize, Fault)> {
    let at = cursor.at;
    let length = usize::from(cursor.u8()?);
    if length > KEY_MAX {
        return Err((at, Fault::Key(length)));
    }
    cursor.bytes(length).map(<[u8]>::to_vec)
}

fn value(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, (usize, Fault)> {
    let at = cursor.at;
    let length = usize::from(cursor.u16()?);
    if length > VALUE_MAX {
        return Err((at, Fault::Value(length)));
    }
    cursor.bytes(length).map(<[u8]>::to_vec)
}

impl Batch {
    /// The number of the last item.
    pub fn last(&self) -> u64 {
        let count = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(count.saturating_sub(1))
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.first.to_be_bytes());
        for item in &self.items {
            item.write(bytes);
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, (usize, Fault)> {
        let at = cursor.at;
        let first = cursor.u64()?;
        if cursor.left() == 0 {
            return Err((cursor.at, Fault::Empty));
        }
        let mut items = Vec::new();
        while cursor.left() > 0 {
            let place = cursor.at;
            let item = Item::read(cursor)?;
            if !items.is_empty() && matches!(item, Item::Start(_)) {
                return Err((place, Fault::Start));
            }
            items.push(item);
        }
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        if first == 0 || first.checked_add(count).is_none() {
            return Err((at, Fault::Number(first)));
        }
        Ok(Self { first, items })
    }
}

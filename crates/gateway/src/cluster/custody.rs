//! What a member has to do with each bucket's flows, where members copy them to each other.

use std::time::{Duration, Instant};

use abi::cluster::{BUCKETS, Holder, NOBODY};

use super::Member;

/// For so long at most, flows are not counted as silent while another member serves them too: what it hears of
/// them is not heard here.
pub const HAND_OVER: Duration = Duration::from_secs(60);

/// What a member has to do with a bucket's flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It serves them.
    Serves {
        /// Since when.
        since: Instant,
        /// Whether another one serves them too.
        is_shared: bool,
    },
    /// It keeps them for the one that serves them, and ends none.
    Keeps,
    /// None of them is its any more.
    Nothing,
}

impl Role {
    /// Whether it serves them.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Serves { .. })
    }

    /// Since when a flow can have been silent, as far as this member knows; nothing if it does not serve it.
    pub fn heard_since(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Serves { since, is_shared } => {
                let is_new = now.saturating_duration_since(since) < HAND_OVER;
                Some(if is_shared && is_new { now } else { since })
            }
            Self::Keeps | Self::Nothing => None,
        }
    }
}

/// What a member has to do with all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Custody {
    /// The members, in the order of their numbers.
    pub members: Vec<Member>,
    /// The number of this one.
    pub me: usize,
    /// By bucket, what it has to do with its flows.
    pub roles: Box<[Role; BUCKETS]>,
    /// By bucket, the number of the member that serves it, [`NOBODY`] if none does: what that one says of its flows
    /// is so.
    pub owners: Box<[u8; BUCKETS]>,
    /// By bucket, the number of the member that its flows are copied to; [`NOBODY`] if to none.
    pub copied_to: Box<[u8; BUCKETS]>,
    /// The buckets whose owner is to get all of their flows that this one has.
    pub handing: Vec<u8>,
    /// The buckets whose owner has got them, and must still be told what became of them until then.
    pub switched: Vec<u8>,
}

/// How far copies are, by bucket.
#[derive(Clone, Debug)]
pub(super) struct Copying {
    /// Whether there are any.
    pub are_made: bool,
    /// Which members copy its flows to this one, as bits.
    held: [u16; BUCKETS],
    /// Which members have handed it to this one since they came up and since they owned it, as bits.
    handed: [u16; BUCKETS],
    /// Whether this one may have flows that its owner does not know of: since one of the two came up, or since the
    /// owner became that.
    owed: [bool; BUCKETS],
    /// To whom this one handed it and does not serve it any more, until that one has been told everything.
    switched: [u8; BUCKETS],
    /// Since when this one serves it, and whether another one does too.
    serves: [Option<(Instant, bool)>; BUCKETS],
}

impl Default for Copying {
    fn default() -> Self {
        Self {
            are_made: false,
            held: [0; BUCKETS],
            handed: [0; BUCKETS],
            owed: [false; BUCKETS],
            switched: [NOBODY; BUCKETS],
            serves: [None; BUCKETS],
        }
    }
}

/// The element of a bucket.
fn at<T: Copy>(all: &[T; BUCKETS], bucket: usize, none: T) -> T {
    all.get(bucket).copied().unwrap_or(none)
}

fn put<T>(all: &mut [T; BUCKETS], bucket: usize, value: T) {
    if let Some(it) = all.get_mut(bucket) {
        *it = value;
    }
}

/// A member as a bit.
fn bit(member: u8) -> u16 {
    1u16.checked_shl(u32::from(member)).unwrap_or(0)
}

impl Copying {
    pub fn hold(&mut self, bucket: u8, from: u8) {
        let held = at(&self.held, usize::from(bucket), 0);
        put(&mut self.held, usize::from(bucket), held | bit(from));
    }

    /// Returns whether that member's were kept: then it has handed over all that it had.
    pub fn forget(&mut self, bucket: u8, from: u8) -> bool {
        let bucket = usize::from(bucket);
        let held = at(&self.held, bucket, 0);
        if held & bit(from) == 0 {
            return false;
        }
        put(&mut self.held, bucket, held & !bit(from));
        let handed = at(&self.handed, bucket, 0);
        put(&mut self.handed, bucket, handed | bit(from));
        true
    }

    /// Whether a member has nothing more to hand over.
    pub fn has_handed(&self, bucket: usize, from: u8) -> bool {
        at(&self.handed, bucket, 0) & bit(from) != 0
    }

    /// A member is gone: what it has when it comes back is not known.
    pub fn lose(&mut self, member: u8) {
        for handed in &mut self.handed {
            *handed &= !bit(member);
        }
    }

    /// A bucket's owner is another one than that now, or the same and only now there; so it must be told what
    /// there is here, and what the one until now has is not known.
    pub fn owe(&mut self, bucket: usize, is_mine: bool, before: Option<u8>) {
        put(&mut self.owed, bucket, !is_mine);
        put(&mut self.switched, bucket, NOBODY);
        if let Some(before) = before {
            let handed = at(&self.handed, bucket, 0);
            put(&mut self.handed, bucket, handed & !bit(before));
        }
    }

    /// All is at the owner, if that was waited for.
    pub fn switch(&mut self, bucket: u8, to: u8) {
        let bucket = usize::from(bucket);
        if at(&self.owed, bucket, false) {
            put(&mut self.switched, bucket, to);
        }
    }

    pub fn flushed(&mut self, bucket: u8) {
        put(&mut self.owed, usize::from(bucket), false);
        put(&mut self.switched, usize::from(bucket), NOBODY);
    }

    /// Members have other numbers.
    pub fn renumber(&mut self, number: impl Fn(u8) -> u8) {
        for it in &mut self.switched {
            *it = number(*it);
        }
        for bits in self.held.iter_mut().chain(&mut self.handed) {
            let members = (0..u16::BITS as u8).filter(|it| *bits & bit(*it) != 0);
            *bits = members.fold(0, |all, it| all | bit(number(it)));
        }
    }

    /// Takes note of who holds what now.
    pub fn serve(&mut self, me: usize, holders: Option<&[Holder; BUCKETS]>, now: Instant) {
        let Some(holders) = holders else {
            self.serves = [None; BUCKETS];
            return;
        };
        for (holder, serves) in holders.iter().zip(&mut self.serves) {
            let is_ours = [holder.owner, holder.before].map(usize::from).contains(&me);
            let is_shared = holder.before != NOBODY;
            *serves = match *serves {
                _ if !is_ours => None,
                Some((since, was_shared)) if was_shared == is_shared => Some((since, is_shared)),
                // What another one heard until now was not heard here.
                Some(_) | None => Some((now, is_shared)),
            };
        }
    }

    pub fn custody(
        &self,
        (members, me): (Vec<Member>, usize),
        holders: &[Holder; BUCKETS],
        successor: impl Fn(usize, u8) -> u8,
    ) -> Option<Custody> {
        if !self.are_made {
            return None;
        }
        let is_owed = |bucket: usize| at(&self.owed, bucket, false);
        let switched = |bucket: usize| at(&self.switched, bucket, NOBODY);
        let role = |bucket: usize| match at(&self.serves, bucket, None) {
            Some((since, is_shared)) => Role::Serves { since, is_shared },
            None if at(&self.held, bucket, 0) != 0 || is_owed(bucket) => Role::Keeps,
            None => Role::Nothing,
        };
        let copied_to = |bucket: usize| {
            let owner = at(holders, bucket, Holder::NONE).owner;
            match usize::from(owner) == me {
                true => successor(bucket, owner),
                false if is_owed(bucket) => owner,
                false => NOBODY,
            }
        };
        let owed = (0u8..=u8::MAX).filter(|bucket| is_owed(usize::from(*bucket)));
        let (handing, switched) = owed.partition(|it| switched(usize::from(*it)) == NOBODY);
        Some(Custody {
            members,
            me,
            owners: Box::new(holders.map(|it| it.owner)),
            roles: Box::new(std::array::from_fn(role)),
            copied_to: Box::new(std::array::from_fn(copied_to)),
            handing,
            switched,
        })
    }
}

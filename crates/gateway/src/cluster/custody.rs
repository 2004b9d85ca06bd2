//! What a member has to do with each bucket's flows, where members copy them to each other.

use std::time::{Duration, Instant};

use abi::cluster::{BUCKETS, Holder, NOBODY, SET_WORDS};

use super::Member;
use crate::sweep::{Part, Parts};

/// For so long at most, flows are not counted as silent while another member serves them too: what it hears of
/// them is not heard here.
pub const HAND_OVER: Duration = Duration::from_secs(60);

/// Whoever has flows of a bucket to hand over has begun to within this time: it knows of the owner by BFD, and has
/// a stream to it.
pub const SILENCE: Duration = Duration::from_secs(2);

/// For so long at most, what belongs to no flow here is not told that there is none, where a member that fell silent
/// may have one: it may have died, and whoever waits in vain gives up after minutes; or it is heard again.
pub const BLINDNESS: Duration = Duration::from_secs(5 * 60);

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
    /// It does not serve them, and may have some that the one that serves them does not know of yet: it ends none, nor
    /// does what that one says.
    Owes,
    /// It keeps them for the one that serves them, and ends none but those that that one says have ended.
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
            Self::Owes | Self::Keeps | Self::Nothing => None,
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
    /// Which of all that there have been it is: what is said of copies is about this one or an earlier one.
    pub turn: u64,
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

impl Custody {
    /// What a sweep that begins now must know of who has to do with which flows. The time is given as machines and as
    /// tables have it.
    pub fn parts(&self, (now, nanos): (Instant, u64)) -> Parts {
        std::array::from_fn(|bucket| match self.roles.get(bucket) {
            Some(role @ Role::Serves { .. }) => {
                let since = role.heard_since(now).unwrap_or(now);
                let ago = now.saturating_duration_since(since).as_nanos();
                Part::Serves(nanos.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX)))
            }
            Some(Role::Owes) if self.switched.iter().any(|it| usize::from(*it) == bucket) => {
                Part::Hands
            }
            Some(Role::Owes | Role::Keeps) => Part::Keeps,
            Some(Role::Nothing) | None => Part::Nothing,
        })
    }
}

/// How far copies are, by bucket.
#[derive(Clone, Debug)]
pub(super) struct Copying {
    /// Whether there are any.
    pub are_made: bool,
    /// Which members copy its flows to this one, as bits.
    held: [u16; BUCKETS],
    /// Of which members all that they had of it came here, since they came up and as long as they copy it, as bits.
    complete: [u16; BUCKETS],
    /// Since when this one, which owns it, does not know which of the ports that it may give are in use elsewhere: by
    /// flows of who held it before.
    unsure: [Option<Instant>; BUCKETS],
    /// Which members may have flows of it that this one knows nothing of.
    missing: [Option<Missing>; BUCKETS],
    /// To which members there is a stream by which they tell, as bits.
    heard: u16,
    /// Until when a member that began without knowing its own past gives only what it was told of since: its ports may be
    /// in use by flows that live on elsewhere.
    pub anew_until: Option<Instant>,
    /// Whether another one told all that it had of it since this one began, or had nothing to tell.
    told: [bool; BUCKETS],
    /// Which members have handed it to this one since they came up and since they owned it, as bits.
    handed: [u16; BUCKETS],
    /// Whether this one may have flows that its owner does not know of: since one of the two came up, or since the
    /// owner became that.
    owed: [bool; BUCKETS],
    /// Since which turn: what was said of copies before is not about this.
    owed_since: [u64; BUCKETS],
    turn: u64,
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
            complete: [0; BUCKETS],
            unsure: [None; BUCKETS],
            missing: [None; BUCKETS],
            heard: 0,
            anew_until: None,
            told: [false; BUCKETS],
            handed: [0; BUCKETS],
            owed: [false; BUCKETS],
            owed_since: [0; BUCKETS],
            turn: 0,
            switched: [NOBODY; BUCKETS],
            serves: [None; BUCKETS],
        }
    }
}

/// Who may have flows of a bucket that this member knows nothing of: it fell silent before all had been copied, or is
/// heard again and has not handed them over yet.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// As bits.
    members: u16,
    /// When the last one of them became one.
    since: Instant,
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
pub(super) fn bit(member: u8) -> u16 {
    1u16.checked_shl(u32::from(member)).unwrap_or(0)
}

impl Copying {
    pub fn hold(&mut self, bucket: u8, from: u8) {
        let held = at(&self.held, usize::from(bucket), 0);
        put(&mut self.held, usize::from(bucket), held | bit(from));
    }

    /// This one begins, and knows nothing of what was before: until then at most it waits to be told.
    pub fn begin_anew(&mut self, until: Option<Instant>) {
        self.anew_until = until;
        self.told = [false; BUCKETS];
    }

    /// Returns whether what this one waited to be told, it waits for no more.
    pub fn end_anew(&mut self, now: Instant) -> bool {
        self.anew_until.take_if(|at| *at <= now).is_some()
    }

    /// Whether it knows nothing of its own past that others may know.
    pub fn is_anew(&self, now: Instant) -> bool {
        self.are_made && self.anew_until.is_some_and(|at| now < at)
    }

    /// Whether it is known which ports of a bucket are in use, as far as anybody can tell.
    pub fn is_told(&self, bucket: usize, now: Instant) -> bool {
        at(&self.told, bucket, false) || !self.is_anew(now)
    }

    /// All that there is of a bucket was told. Returns whether that was not known.
    pub fn tell(&mut self, bucket: u8) -> bool {
        let was_told = at(&self.told, usize::from(bucket), true);
        put(&mut self.told, usize::from(bucket), true);
        !was_told && self.anew_until.is_some()
    }

    pub fn complete(&mut self, bucket: u8, from: u8) {
        let complete = at(&self.complete, usize::from(bucket), 0);
        put(
            &mut self.complete,
            usize::from(bucket),
            complete | bit(from),
        );
        self.find(usize::from(bucket), from);
    }

    /// Whether the owner of a bucket may give its ports, although another one held it before: it has all of that
    /// one's flows, or has waited in vain for it to begin to tell.
    pub fn may_give(&self, bucket: usize, before: u8, now: Instant) -> bool {
        let is_set = |bits: u16| bits & bit(before) != 0;
        let waits = match at(&self.unsure, bucket, None) {
            Some(since) => {
                let is_silent = !is_set(at(&self.held, bucket, 0)) && is_set(self.heard);
                !(is_silent && since + SILENCE <= now)
            }
            None => false,
        };
        !self.are_made || !waits || is_set(at(&self.complete, bucket, 0))
    }

    /// Another one may have what this one, the owner, does not know of.
    pub fn doubt(&mut self, bucket: usize, now: Instant) {
        put(&mut self.unsure, bucket, Some(now));
    }

    /// The owner gives ports of a bucket from now on. If another one held it before, all that it had is here, or it
    /// has nothing.
    pub fn give(&mut self, bucket: usize, before: u8) {
        put(&mut self.unsure, bucket, None);
        put(&mut self.told, bucket, true);
        self.find(bucket, before);
    }

    /// A member fell silent that had flows of a bucket: if not all were copied here, they are missing.
    pub fn miss(&mut self, bucket: usize, member: u8, now: Instant) {
        self.lack(bucket, bit(member) & !at(&self.complete, bucket, 0), now);
    }

    /// These members, as bits, are heard now, and may have flows of a bucket, unless they have told of them already.
    pub fn meet(&mut self, bucket: usize, members: u16, now: Instant) {
        let told = at(&self.handed, bucket, 0) | at(&self.complete, bucket, 0);
        self.lack(bucket, members & !told, now);
    }

    fn lack(&mut self, bucket: usize, members: u16, now: Instant) {
        if members != 0 {
            let known = at(&self.missing, bucket, None).map_or(0, |it| it.members);
            let missing = Missing {
                members: known | members,
                since: now,
            };
            put(&mut self.missing, bucket, Some(missing));
        }
    }

    /// That member has none, or told of them all.
    pub fn find(&mut self, bucket: usize, member: u8) {
        if let Some(missing) = self.missing.get_mut(bucket) {
            *missing = missing.and_then(|it| {
                let members = it.members & !bit(member);
                (members != 0).then_some(Missing { members, ..it })
            });
        }
    }

    /// Another one owns a bucket: it is that one's to know.
    pub fn mind_not(&mut self, bucket: usize) {
        put(&mut self.missing, bucket, None);
    }

    /// Takes those flows for gone that have been waited for long enough.
    pub fn give_up(&mut self, now: Instant) {
        for missing in &mut self.missing {
            *missing = missing.filter(|it| now < it.since + BLINDNESS);
        }
    }

    /// When flows are to be given up next.
    pub fn gives_up_at(&self) -> Option<Instant> {
        let oldest = self.missing.iter().flatten().map(|it| it.since).min();
        oldest.map(|since| since + BLINDNESS)
    }

    /// The buckets of which flows may live elsewhere, as [`abi::cluster::Division`] has them.
    pub fn unknown(&self) -> [u64; SET_WORDS] {
        let mut unknown = [0; SET_WORDS];
        // Where nothing is copied, all that a member had ends with it.
        for (word, missing) in unknown.iter_mut().zip(self.missing.chunks(64)) {
            let set = missing.iter().enumerate().filter(|(_, it)| it.is_some());
            *word = set.fold(0, |word, (bit, _)| word | u64::from(self.are_made) << bit);
        }
        unknown
    }

    /// Whether this member owns what it gives no ports of yet.
    pub fn is_unsure(&self) -> bool {
        self.are_made && self.unsure.iter().any(Option::is_some)
    }

    /// There is a stream by which a member tells, or none any more.
    pub fn hear(&mut self, from: u8, is_heard: bool) {
        self.heard = match is_heard {
            true => self.heard | bit(from),
            false => self.heard & !bit(from),
        };
    }

    /// Returns whether that member has handed over all that it had.
    pub fn forget(&mut self, bucket: u8, from: u8, is_all: bool) -> bool {
        let bucket = usize::from(bucket);
        let held = at(&self.held, bucket, 0);
        let complete = at(&self.complete, bucket, 0);
        put(&mut self.held, bucket, held & !bit(from));
        put(&mut self.complete, bucket, complete & !bit(from));
        let is_handed = is_all && held & bit(from) != 0;
        if is_handed {
            let handed = at(&self.handed, bucket, 0);
            put(&mut self.handed, bucket, handed | bit(from));
            self.find(bucket, from);
        }
        is_handed
    }

    /// Whether a member has nothing more to hand over.
    pub fn has_handed(&self, bucket: usize, from: u8) -> bool {
        at(&self.handed, bucket, 0) & bit(from) != 0
    }

    /// A member is gone: what it has when it comes back is not known.
    pub fn lose(&mut self, member: u8) {
        for bits in self.handed.iter_mut().chain(&mut self.complete) {
            *bits &= !bit(member);
        }
    }

    /// A bucket's owner is another one than that now, or the same and only now there; so it must be told what
    /// there is here, and what the one until now has is not known.
    pub fn owe(&mut self, bucket: usize, (is_mine, before): (bool, Option<u8>)) {
        put(&mut self.owed, bucket, !is_mine);
        put(&mut self.owed_since, bucket, self.turn);
        if !is_mine {
            put(&mut self.unsure, bucket, None);
        }
        put(&mut self.switched, bucket, NOBODY);
        if let Some(before) = before {
            let handed = at(&self.handed, bucket, 0);
            put(&mut self.handed, bucket, handed & !bit(before));
        }
    }

    /// Whether this one may have flows of a bucket that its owner does not know of.
    pub fn owes(&self, bucket: usize) -> bool {
        self.are_made && at(&self.owed, bucket, false)
    }

    /// Whether what was said of copies in that turn is about what is owed now.
    pub fn is_meant(&self, bucket: u8, turn: u64) -> bool {
        at(&self.owed_since, usize::from(bucket), 0) <= turn
    }

    /// What is owed from now on is owed since another turn.
    pub fn turn(&mut self) {
        self.turn += 1;
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
        let missing = self.missing.iter_mut().flatten();
        let missing = missing.map(|it| &mut it.members);
        let all = self.held.iter_mut().chain(&mut self.handed);
        for bits in all
            .chain(&mut self.complete)
            .chain([&mut self.heard])
            .chain(missing)
        {
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
            None if is_owed(bucket) => Role::Owes,
            None if at(&self.held, bucket, 0) != 0 => Role::Keeps,
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
            turn: self.turn,
            owners: Box::new(holders.map(|it| it.owner)),
            roles: Box::new(std::array::from_fn(role)),
            copied_to: Box::new(std::array::from_fn(copied_to)),
            handing,
            switched,
        })
    }
}

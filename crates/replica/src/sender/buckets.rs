//! How far each assigned bucket is.

use std::{collections::BTreeMap, time::Instant};

use crate::{buckets::Buckets, queue::Coming};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its snapshot is to be asked for.
    Waiting,
    /// It was asked for, by this number, and did not come whole.
    Reading(u64),
    /// It came whole and is not sent whole.
    Sending,
    /// It was sent whole; this is the number of its completion.
    Sent(u64),
}

/// The assigned buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct Assigned {
    stages: BTreeMap<u8, Stage>,
    /// Those that are [`Stage::Waiting`]; this and the next two are asked at every change.
    waiting: Buckets,
    /// Those that are [`Stage::Reading`].
    reading: Buckets,
    /// Those that are [`Stage::Sending`].
    sending: Buckets,
    /// Those of which a change was left out since their snapshot was asked for.
    gaps: Buckets,
    requests: u64,
    /// The one that was asked for last: the next is behind it, so that each has its turn.
    last: u8,
    done: u64,
}

impl Assigned {
    pub fn all(&self) -> Buckets {
        self.stages.keys().copied().collect()
    }

    /// Those without a gap of whose snapshot the receiver has acknowledged the completion.
    pub fn complete(&self, acknowledged: u64) -> Buckets {
        let is_complete = |stage: &Stage| match stage {
            Stage::Sent(number) => *number <= acknowledged,
            Stage::Waiting => false,
            Stage::Reading(_) => false,
            Stage::Sending => false,
        };
        let complete = self.stages.iter().filter(|(_, it)| is_complete(it));
        let complete: Buckets = complete.map(|(bucket, _)| *bucket).collect();
        complete.without(&self.gaps)
    }

    /// How many snapshots were sent.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// How many are to be sent, as far as is known.
    pub fn to_do(&self) -> u32 {
        let sent = self.all().without(&self.waiting).without(&self.reading);
        let mends = sent.without(&self.sending).and(&self.gaps);
        self.waiting.len() + self.under_way() + mends.len()
    }

    /// How many are being read or sent.
    pub fn under_way(&self) -> u32 {
        self.reading.len() + self.sending.len()
    }

    pub fn is_reading(&self, bucket: u8, request: u64) -> bool {
        self.stages.get(&bucket) == Some(&Stage::Reading(request))
    }

    /// Whether it is assigned, and its snapshot was asked for.
    pub fn is_begun(&self, bucket: u8) -> bool {
        let stage = self.stages.get(&bucket);
        stage.is_some_and(|it| *it != Stage::Waiting)
    }

    pub fn is_any_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    /// Adds those of these that are not in it yet.
    pub fn add(&mut self, buckets: Buckets) {
        for bucket in buckets.iter() {
            if !self.stages.contains_key(&bucket) {
                self.set(bucket, Stage::Waiting);
            }
        }
    }

    pub fn remove(&mut self, bucket: u8) {
        self.leave(bucket);
        self.stages.remove(&bucket);
        self.gaps.remove(bucket);
    }

    /// The receiver knows nothing, or what is of another start: all must be sent.
    pub fn start(&mut self) {
        for bucket in self.all().iter() {
            self.set(bucket, Stage::Waiting);
        }
    }

    /// How a change of a bucket comes into the queue; not at all if a snapshot will have it.
    pub fn coming(&self, bucket: u8, now: Instant) -> Option<Coming> {
        let is_held = match self.stages.get(&bucket)? {
            Stage::Waiting => return None,
            Stage::Reading(_) => true,
            Stage::Sending => true,
            Stage::Sent(_) => false,
        };
        Some(Coming {
            is_held,
            // The snapshot may have it, or its removal was left out.
            may_have: is_held || self.gaps.contains(bucket),
            now,
        })
    }

    /// Notes that a change was left out. Whether the receiver must be told now: it takes the bucket for
    /// complete, or will.
    pub fn leave_gap(&mut self, bucket: u8) -> bool {
        let is_new = !self.gaps.contains(bucket);
        self.gaps.insert(bucket);
        is_new && !self.reading.contains(bucket)
    }

    pub fn has_gap(&self, bucket: u8) -> bool {
        self.gaps.contains(bucket)
    }

    /// Takes the next to be read: one that waits, or if it may be, one that has a gap.
    pub fn next(&mut self, may_mend: bool) -> Option<(u8, u64)> {
        let mends = if may_mend { self.gaps } else { Buckets::NONE };
        if self.waiting.is_empty() && mends.is_empty() {
            return None;
        }
        let mends = mends.without(&self.reading).without(&self.sending);
        let bucket = self.after_last(&self.waiting);
        let bucket = bucket.or_else(|| self.after_last(&mends))?;
        self.requests += 1;
        self.last = bucket;
        self.set(bucket, Stage::Reading(self.requests));
        self.gaps.remove(bucket);
        Some((bucket, self.requests))
    }

    pub fn read_again(&mut self, bucket: u8) {
        self.set(bucket, Stage::Waiting);
    }

    pub fn was_read(&mut self, bucket: u8) {
        self.set(bucket, Stage::Sending);
    }

    pub fn finish(&mut self, bucket: u8, number: u64) {
        self.set(bucket, Stage::Sent(number));
        self.done += 1;
    }

    fn after_last(&self, buckets: &Buckets) -> Option<u8> {
        let behind = buckets.iter().find(|bucket| *bucket > self.last);
        behind.or_else(|| buckets.iter().next())
    }

    fn set(&mut self, bucket: u8, stage: Stage) {
        self.leave(bucket);
        self.stages.insert(bucket, stage);
        match stage {
            Stage::Waiting => self.waiting.insert(bucket),
            Stage::Reading(_) => self.reading.insert(bucket),
            Stage::Sending => self.sending.insert(bucket),
            Stage::Sent(_) => {}
        }
    }

    fn leave(&mut self, bucket: u8) {
        self.waiting.remove(bucket);
        self.reading.remove(bucket);
        self.sending.remove(bucket);
    }
}

//! On the way out: what is waited for between the wish to end and the end.

use std::{
    fmt,
    time::{Duration, Instant},
};

use gateway::{cluster::Moves, routing::drain::Phase};

use crate::routing::Standing;

/// For so long at most it is waited until other members have all flows, once routers send elsewhere. That takes some
/// 50 ms for a thousand flows, and a sweep; whoever stops a service does not want to wait much longer.
pub const HAND_OVER_MAX: Duration = Duration::from_secs(10);

/// How a wait has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// There was nothing to hand over, or nobody copies flows.
    Nothing,
    /// Everything is at other members.
    All,
    /// So many buckets are still here, and no other member is up to take them.
    Untaken(u32),
    /// So many buckets are not at other members, and the time is over.
    Late(u32),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stays = "packets of their flows are still served while this gateway forwards, for half a minute";
        match self {
            Self::Nothing => f.write_str("there is nothing to hand over"),
            Self::All => f.write_str("all flows are handed over to other members"),
            Self::Untaken(buckets) => write!(
                f,
                "flows of {buckets} buckets are not handed over, because no other member is up: nobody serves them \
                 when this gateway is gone"
            ),
            Self::Late(buckets) => write!(
                f,
                "flows of {buckets} buckets are not handed over within {} s: {stays}; `egret cluster` on another \
                 member says who lacks what",
                HAND_OVER_MAX.as_secs()
            ),
        }
    }
}

/// Since when what is waited for.
#[derive(Clone, Debug, Default)]
pub struct Leaving {
    /// Until when other members are waited for; known when routers send elsewhere.
    until: Option<Instant>,
}

impl Leaving {
    /// Looks where it stands; returns how it has ended, if it has.
    pub fn look(
        &mut self,
        standing: Standing,
        moves: Option<&Moves>,
        now: Instant,
    ) -> Option<Left> {
        if is_sent_here(standing) {
            self.until = None;
            return None;
        }
        let Some(moves) = moves.filter(|it| it.are_copied) else {
            return Some(Left::Nothing);
        };
        if moves.has_left() {
            return Some(Left::All);
        }
        let left = moves.owned + moves.going.values().sum::<u32>();
        if moves.is_leaving && !moves.is_taken {
            return Some(Left::Untaken(left));
        }
        let until = *self.until.get_or_insert(now + HAND_OVER_MAX);
        (until <= now).then_some(Left::Late(left))
    }

    /// When it is to be looked at again, whatever happens.
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        self.until.map(Into::into)
    }
}

/// Whether there is something to wait for before the end.
pub fn must_wait(standing: Standing, moves: Option<&Moves>) -> bool {
    is_sent_here(standing) || moves.is_some_and(Moves::is_worth_waiting)
}

/// Whether nothing is left here that others could ask for, as far as members know.
pub fn is_empty(moves: Option<&Moves>) -> bool {
    moves.is_none_or(|it| !it.are_copied || it.has_left())
}

/// Whether routers still send here what they could send elsewhere.
fn is_sent_here(standing: Standing) -> bool {
    standing.established > 0 && standing.phase != Phase::Drained
}

#[cfg(test)]
mod tests;

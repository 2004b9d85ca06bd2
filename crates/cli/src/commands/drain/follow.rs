//! When a drain, or its end, is over for somebody who waits.

use std::time::{Duration, Instant};

use api::http::{Drain, HandOver, Moving};

use crate::{
    failure::Exit,
    text::{printable, rate},
};

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aim {
    /// Nothing comes any more, and others have all flows.
    Leave,
    /// This member serves, and has what it is to serve.
    Stay,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// As it was wanted.
    Done,
    /// Routes are gone although packets still came.
    TimeOver,
    /// Somebody wanted the opposite.
    Ended,
    /// Members have not given each other what they should have.
    Late,
}

impl End {
    /// What the command ends with.
    pub const fn exit(self) -> Exit {
        match self {
            Self::Done => Exit::Fine,
            Self::TimeOver => Exit::Refused,
            Self::Ended => Exit::Refused,
            Self::Late => Exit::Refused,
        }
    }
}

/// Somebody who waits.
#[derive(Clone, Debug)]
pub struct Follow {
    aim: Aim,
    timeout: Duration,
    /// Until when members may give each other flows; known when nothing else is to be waited for.
    until: Option<Instant>,
}

impl Follow {
    /// One who waits so long at most for flows that go from one member to others.
    pub const fn new(aim: Aim, timeout: Duration) -> Self {
        Self {
            aim,
            timeout,
            until: None,
        }
    }

    /// Looks where it stands; returns how it ended, if it has.
    pub fn look(&mut self, drain: &Drain, now: Instant) -> Option<End> {
        let is_serving = drain.phase == "serving";
        match (self.aim, drain.phase.as_str()) {
            (Aim::Leave, "drained") | (Aim::Stay, "serving") => {}
            (Aim::Leave, "serving") => return Some(End::Ended),
            (Aim::Leave, _) => return None,
            (Aim::Stay, _) => return Some(End::Ended),
        }
        let copied = drain.hand_over.as_ref().filter(|it| it.copied);
        if copied.is_some_and(|it| !it.done || it.leaving == is_serving) {
            let until = *self.until.get_or_insert(now + self.timeout);
            return (until <= now).then_some(End::Late);
        }
        match drain.ended.as_deref() {
            Some("time over") => Some(End::TimeOver),
            Some(_) | None => Some(End::Done),
        }
    }

    /// Why it did not do what it was for.
    pub fn remark(&self, end: &End, drain: &Drain) -> Option<String> {
        match end {
            End::Done => None,
            End::TimeOver => Some(format!(
                "the time was over while {} packets a second still came",
                rate(drain.packets_per_second.unwrap_or_default())
            )),
            End::Ended => Some(match self.aim {
                Aim::Leave => "the drain was ended: this gateway serves again".to_owned(),
                Aim::Stay => "another drain was begun: this gateway does not serve".to_owned(),
            }),
            End::Late => drain.hand_over.as_ref().map(|it| self.late(it)),
        }
    }

    /// Who has not taken what, or not given it.
    fn late(&self, hand_over: &HandOver) -> String {
        let after = self.timeout.as_secs();
        let (all, verb) = match self.aim {
            Aim::Leave => (&hand_over.going, "has not taken"),
            Aim::Stay => (&hand_over.coming, "has not given"),
        };
        let mut reasons: Vec<String> = all.iter().map(|it| reason(it, verb)).collect();
        if self.aim == Aim::Leave && hand_over.owns > 0 {
            let nobody = format!("nobody else begins flows of {} buckets", hand_over.owns);
            reasons.push(format!("{nobody} (no other member is up)"));
        }
        let reasons = reasons.join("; ");
        match self.aim {
            Aim::Leave => format!(
                "after {after} s not all flows are at other members: {reasons}; stopping this gateway now \
                 would lose them. The drain goes on: `egret drain` waits again, `egret cluster` says who is \
                 up, `egret undrain` serves again"
            ),
            Aim::Stay => format!(
                "after {after} s not all flows are here: {reasons}. They go on, served by who has them: \
                 `egret cluster` says who is up, `egret undrain` waits again"
            ),
        }
    }
}

fn reason(it: &Moving, verb: &str) -> String {
    let Some(member) = &it.member else {
        return format!("nobody is there for {} buckets", it.buckets);
    };
    let connected = match it.connected {
        true => "",
        false => ", and not connected",
    };
    format!(
        "{} {verb} all flows of {} buckets ({}{connected})",
        printable(member),
        it.buckets,
        printable(&it.state)
    )
}

#[cfg(test)]
mod tests;

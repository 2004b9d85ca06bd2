//! What is to be done next, while the members of a cluster are taken out and brought back one after the other.
//!
//! ```text
//! all are well? ─► drain one ─► run ─► it is back, and all are well? ─► the next one
//! ```

use std::{
    fmt,
    time::{Duration, Instant},
};

use api::http::{Cluster, ClusterMember};

use crate::text::printable;

/// What a member is asked for, or what is done to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// How it sees the cluster.
    Cluster,
    /// That it goes, and hands over its flows.
    Drain,
    /// That it serves again.
    Undrain,
    /// Nothing: the user's command is run for it.
    Run,
}

/// What came of that.
#[derive(Clone, Debug)]
pub enum Answer {
    /// How it sees the cluster.
    Cluster(Box<Cluster>),
    /// It was done.
    Done,
    /// It was not, and why.
    Failed(String),
}

/// What is to be done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Ask this member, and say what it answered.
    Ask(String, Ask),
    /// Wait for a moment, and go on.
    Pause,
    /// Nothing: all are done.
    End,
    /// Nothing: this is why it cannot go on.
    Stop(Stop),
}

/// Where it is with the member at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// All members are asked whether they are well; this one is the next.
    Check(usize),
    /// It hands over its flows.
    Drain,
    /// The user's command runs.
    Run,
    /// It is to be back until then. Whether it was told to serve again, and which one is asked next.
    Return {
        /// When it is too late.
        until: Instant,
        /// Whether it was told to serve again.
        is_told: bool,
        /// The member that is asked next whether all are well.
        next: usize,
    },
}

impl Step {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Check(_) => "checking",
            Self::Drain => "draining",
            Self::Run => "running",
            Self::Return { .. } => "returning",
        }
    }
}

/// Why it cannot go on, and what is left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// At which step.
    pub step: &'static str,
    /// With which member at hand.
    pub member: String,
    /// Why.
    pub why: String,
    /// Members that are done.
    pub done: Vec<String>,
    /// Members that were not touched yet.
    pub left: Vec<String>,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            step,
            member,
            why,
            done,
            left,
        } = self;
        let member = printable(member);
        if *step == "checking" {
            return write!(
                f,
                "nothing was done: {why}\nhelp: `egret cluster` on the members says how they stand; a roll begins \
                 when all are up and have each other's flows"
            );
        }
        let list = |names: &[String]| match names.is_empty() {
            true => "none".to_owned(),
            false => printable(&names.join(", ")),
        };
        let state = match *step {
            "draining" => "It may be on its way out: `egret undrain` there serves again.",
            "running" => "It is drained, and others have its flows.",
            _ => "Others have its flows.",
        };
        write!(
            f,
            "stopped at {member}, {step}: {why}\nhelp: {state} Done: {}; not touched: {}. When it is well, or as it is \
             now, go on by the same command with `--from {member}`",
            list(done),
            list(left)
        )
    }
}

/// All that is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who is asked whether all are well: all members.
    all: Vec<String>,
    /// Who is taken out, in this order.
    members: Vec<String>,
    /// The index of the one at hand.
    at: usize,
    step: Step,
    /// Whether the first one may be on its way out already, where an earlier roll left it.
    resumes: bool,
    /// How long a member may take to be back.
    patience: Duration,
    /// Why all are not well yet.
    lack: String,
}

impl Plan {
    /// To take out `members` one after the other; `all` are those of the cluster.
    pub fn new(
        all: Vec<String>,
        members: Vec<String>,
        (resumes, patience): (bool, Duration),
    ) -> Self {
        Self {
            all,
            members,
            at: 0,
            step: Step::Check(0),
            resumes,
            patience,
            lack: String::new(),
        }
    }

    /// The member at hand, and where it is with it.
    pub fn stands(&self) -> (&str, Step) {
        (self.member(), self.step)
    }

    /// What is to be done first.
    pub fn begin(&self) -> Next {
        self.ask()
    }

    /// Takes in what came of what was to be done last; says what is next.
    pub fn handle(&mut self, answer: Answer, now: Instant) -> Next {
        match (self.step, answer) {
            (Step::Check(next), Answer::Cluster(cluster)) => {
                match self.judge(next, &cluster, self.resumes) {
                    Err(why) => self.stop(why),
                    Ok(()) => {
                        self.step = match next + 1 < self.all.len() {
                            true => Step::Check(next + 1),
                            false => Step::Drain,
                        };
                        self.ask()
                    }
                }
            }
            (Step::Drain, Answer::Done) => {
                self.step = Step::Run;
                self.ask()
            }
            (Step::Run, Answer::Done) => {
                let until = now + self.patience;
                "it has not been asked".clone_into(&mut self.lack);
                self.step = self.returning(until, false);
                self.ask()
            }
            (Step::Return { until, next, .. }, Answer::Cluster(cluster)) => {
                self.returned((until, next), &cluster, now)
            }
            // It was told to serve again.
            (Step::Return { until, .. }, Answer::Done) => {
                self.step = self.returning(until, true);
                Next::Pause
            }
            (Step::Return { until, next, .. }, Answer::Failed(why)) => {
                let whom = self.all.get(next).cloned().unwrap_or_default();
                self.lack = format!("{} does not answer: {why}", printable(&whom));
                self.again(until, now)
            }
            (Step::Check(next), Answer::Failed(why)) => {
                let whom = self.all.get(next).cloned().unwrap_or_default();
                self.stop(format!("{} does not answer: {why}", printable(&whom)))
            }
            (Step::Drain | Step::Run, Answer::Failed(why)) => self.stop(why),
            (Step::Check(_), Answer::Done) | (Step::Drain | Step::Run, Answer::Cluster(_)) => {
                self.stop("an answer came to what was not asked".to_owned())
            }
        }
    }

    /// What is to be done after a pause.
    pub fn ask(&self) -> Next {
        let asked = |next: usize| self.all.get(next).cloned().unwrap_or_default();
        match self.step {
            Step::Check(next) | Step::Return { next, .. } => Next::Ask(asked(next), Ask::Cluster),
            Step::Drain => Next::Ask(self.member().to_owned(), Ask::Drain),
            Step::Run => Next::Ask(self.member().to_owned(), Ask::Run),
        }
    }

    /// One says how it sees the cluster, after the member at hand was to be back.
    fn returned(
        &mut self,
        (until, next): (Instant, usize),
        cluster: &Cluster,
        now: Instant,
    ) -> Next {
        let is_told = matches!(self.step, Step::Return { is_told: true, .. });
        let own = cluster.own.as_deref();
        let is_leaving =
            |it: &ClusterMember| Some(it.name.as_str()) == own && it.state == "leaving";
        if own == Some(self.member()) && !is_told && cluster.members.iter().any(is_leaving) {
            return Next::Ask(self.member().to_owned(), Ask::Undrain);
        }
        if let Err(why) = self.judge(next, cluster, false) {
            self.lack = why;
            return self.again(until, now);
        }
        // The one at hand is asked first, then all others in turn.
        let others = (0..self.all.len()).filter(|it| *it != self.place());
        let following = match next == self.place() {
            true => others.min(),
            false => others.filter(|it| *it > next).min(),
        };
        if let Some(next) = following {
            self.step = Step::Return {
                until,
                is_told,
                next,
            };
            return self.ask();
        }
        self.at += 1;
        if self.at == self.members.len() {
            return Next::End;
        }
        self.step = Step::Drain;
        self.ask()
    }

    fn again(&mut self, until: Instant, now: Instant) -> Next {
        if until <= now {
            let why = format!("after {} s {}", self.patience.as_secs(), self.lack);
            return self.stop(why);
        }
        let is_told = matches!(self.step, Step::Return { is_told: true, .. });
        self.step = self.returning(until, is_told);
        Next::Pause
    }

    fn returning(&self, until: Instant, is_told: bool) -> Step {
        Step::Return {
            until,
            is_told,
            next: self.place(),
        }
    }

    /// The member at hand.
    fn member(&self) -> &str {
        self.members.get(self.at).map_or("", String::as_str)
    }

    /// Its index among all.
    fn place(&self) -> usize {
        let mut all = self.all.iter();
        all.position(|it| it == self.member()).unwrap_or(0)
    }

    fn stop(&self, why: String) -> Next {
        let part = |from: usize, to: usize| self.members.get(from..to).unwrap_or_default().to_vec();
        Next::Stop(Stop {
            step: self.step.word(),
            member: self.member().to_owned(),
            why,
            done: part(0, self.at),
            left: part((self.at + 1).min(self.members.len()), self.members.len()),
        })
    }

    /// Whether a member sees that all is well; what is not, if not. The first one may be on its way out where an
    /// earlier roll goes on.
    fn judge(&self, viewer: usize, cluster: &Cluster, may_leave: bool) -> Result<(), String> {
        let asked = self.all.get(viewer).map_or("", String::as_str);
        let says = |what: &str| format!("{} says {what}", printable(asked));
        let own = cluster.own.as_deref();
        if own != Some(asked) {
            let other = own.map_or("of no cluster".to_owned(), printable);
            return Err(says(&format!(
                "that it is {other}, so `--via` leads elsewhere"
            )));
        }
        if !cluster.settled {
            return Err(says("that it does not know yet who holds which flows"));
        }
        if !cluster.copied {
            return Err(says(
                "that flows are not copied (`cluster.replication`): a roll would lose them",
            ));
        }
        let mut names: Vec<&String> = cluster.members.iter().map(|it| &it.name).collect();
        let mut known: Vec<&String> = self.all.iter().collect();
        names.sort();
        known.sort();
        if names != known {
            return Err(says(
                "that the cluster has other members than what was asked first says",
            ));
        }
        let first = self.members.first().filter(|_| may_leave);
        for member in &cluster.members {
            let is_first = first == Some(&member.name);
            let lack = lack(member, (own == Some(&member.name), is_first));
            if let Some(lack) = lack {
                return Err(says(&format!("that {} {lack}", printable(&member.name))));
            }
        }
        Ok(())
    }
}

/// What is not well with a member.
fn lack(member: &ClusterMember, (is_own, may_leave): (bool, bool)) -> Option<String> {
    let is_up = member.state == "up" || may_leave && member.state == "leaving";
    if !is_up {
        return Some(format!("is {}", printable(&member.state)));
    }
    if member.owns == 0 && !may_leave {
        return Some("begins no flows yet".to_owned());
    }
    if member.serves > 0 {
        return Some(format!("still hands over {} buckets", member.serves));
    }
    let copies = match &member.copies {
        None if is_own => return None,
        None => return Some("is told of no flows".to_owned()),
        Some(copies) => copies,
    };
    if !copies.sent.connected || !copies.kept.connected {
        return Some("is not connected to copy flows".to_owned());
    }
    let missing = |buckets: u32, complete: u32| buckets.saturating_sub(complete);
    let sent = missing(copies.sent.buckets, copies.sent.complete);
    let kept = missing(copies.kept.buckets, copies.kept.complete);
    match (sent, kept) {
        (0, 0) => None,
        (0, kept) => Some(format!("has still to tell of the flows of {kept} buckets")),
        (sent, _) => Some(format!("does not know all flows of {sent} buckets yet")),
    }
}

#[cfg(test)]
mod tests;

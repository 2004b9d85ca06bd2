//! What happened in a run: a digest of all of it, and the last of it in words.

use std::{
    collections::VecDeque,
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use abi::Reason;
use gateway::cluster::Standing;

use crate::{frame::Word, hosts::Outcome, network::Realm, plan::Plan};

/// Entries that are kept.
const KEPT_MAX: usize = 20_000;
/// Entries that are told.
const TOLD_MAX: usize = 70;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A fault of the plan begins.
    Begins(usize),
    /// It is over.
    Ends(usize),
    /// A fault does not come about, because its gateway has another one.
    Skipped(usize),
    /// Everything that went wrong is put right.
    Healed,
    /// A connection begins.
    Opens(u32),
    /// A connection is over.
    Over(u32, Outcome),
    /// A host sends.
    Sends(Realm, u32, Option<Word>, u32),
    /// A host gets something; a server, from this port.
    Gets(Realm, u32, Option<Word>, u32, u16),
    /// No router knows a gateway to send to.
    NoWay(Realm, u32),
    /// A packet reached a gateway that does not run.
    Unheard(usize, u32),
    /// A gateway took a packet.
    Took(usize, u32, usize),
    /// What a member thinks of another.
    Heard(usize, usize, u8),
    /// A member's packet path knows who holds what; it holds so many buckets itself.
    Divided(usize, usize),
    /// A router sends to a gateway from now on, or no more.
    Routed(Realm, usize, bool),
    /// A daemon has started.
    Started(usize),
    /// A daemon has ended.
    Stopped(usize),
    /// A sweep removed so many flows.
    Swept(usize, usize),
    /// A stream told a member something.
    Streamed(usize, usize),
}

/// What happened.
#[derive(Debug, Default)]
pub struct Trace {
    digest: Fnv,
    last: VecDeque<(Duration, Entry)>,
}

impl Trace {
    /// Notes something.
    pub fn note(&mut self, now: Duration, entry: Entry) {
        (now, entry).hash(&mut self.digest);
        if self.last.len() == KEPT_MAX {
            self.last.pop_front();
        }
        self.last.push_back((now, entry));
    }

    /// A number that is another one if anything happened otherwise.
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// The last of what happened that matters to these connections, or to everybody.
    pub fn story(&self, plan: &Plan, connections: &[u32]) -> Vec<String> {
        let matters = |entry: &Entry| {
            entry
                .connection()
                .is_none_or(|it| connections.contains(&it))
        };
        let told = self.last.iter().rev();
        let told = told.filter(|(_, entry)| matters(entry) && !entry.is_small());
        let mut told: Vec<String> = told
            .take(TOLD_MAX)
            .map(|(at, entry)| {
                let whose = match (entry.connection(), connections) {
                    (Some(it), [_, _, ..]) => format!("{it}: "),
                    (Some(_) | None, _) => String::new(),
                };
                format!("{:>10.4} s  {whose}{}", at.as_secs_f64(), Told(entry, plan))
            })
            .collect();
        told.reverse();
        told
    }
}

impl Entry {
    /// The standing of a member, as a number.
    pub const fn standing(standing: Standing) -> u8 {
        match standing {
            Standing::Unknown => 0,
            Standing::Up => 1,
            Standing::Leaving => 2,
            Standing::Down => 3,
            Standing::Gone => 4,
            Standing::Starting => 5,
        }
    }

    const fn connection(&self) -> Option<u32> {
        match self {
            Self::Opens(it)
            | Self::Over(it, _)
            | Self::Sends(_, it, ..)
            | Self::Gets(_, it, ..)
            | Self::NoWay(_, it)
            | Self::Unheard(_, it)
            | Self::Took(_, it, _) => Some(*it),
            Self::Begins(_)
            | Self::Ends(_)
            | Self::Skipped(_)
            | Self::Healed
            | Self::Heard(..)
            | Self::Divided(..)
            | Self::Routed(..)
            | Self::Started(_)
            | Self::Stopped(_)
            | Self::Swept(..)
            | Self::Streamed(..) => None,
        }
    }

    const fn is_small(&self) -> bool {
        matches!(self, Self::Swept(..) | Self::Streamed(..))
    }
}

/// An entry in words.
struct Told<'a>(&'a Entry, &'a Plan);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = |number: &usize| match self.1.faults.get(*number) {
            Some((_, fault)) => format!("{fault:?}"),
            None => "a fault that is not planned".to_owned(),
        };
        let word = |word: &Option<Word>| {
            word.map_or("RST of a gateway".to_owned(), |it| format!("{it:?}"))
        };
        match self.0 {
            Entry::Begins(number) => write!(f, "BEGINS {}", fault(number)),
            Entry::Ends(number) => write!(f, "OVER {}", fault(number)),
            Entry::Skipped(number) => write!(f, "SKIPPED {}", fault(number)),
            Entry::Healed => write!(f, "everything is put right"),
            Entry::Opens(it) => write!(f, "connection {it} begins"),
            Entry::Over(it, outcome) => write!(f, "connection {it} is over: {outcome:?}"),
            Entry::Sends(Realm::Inside, _, said, number) => {
                write!(f, "the client sends {} {number}", word(said))
            }
            Entry::Sends(Realm::Outside, _, said, number) => {
                write!(f, "the server sends {} {number}", word(said))
            }
            Entry::Gets(Realm::Inside, _, said, number, _) => {
                write!(f, "the client gets {} {number}", word(said))
            }
            Entry::Gets(Realm::Outside, _, said, number, port) => {
                write!(
                    f,
                    "the server gets {} {number} from port {port}",
                    word(said)
                )
            }
            Entry::NoWay(realm, _) => write!(f, "the router {realm:?} knows no gateway"),
            Entry::Unheard(member, _) => write!(f, "gw{member} is not there to take it"),
            Entry::Took(member, _, reason) => {
                let reason = Reason::ALL.get(*reason).map_or("?", |it| it.label());
                write!(f, "gw{member}: {reason}")
            }
            Entry::Heard(member, other, standing) => {
                let standings = ["unknown", "up", "leaving", "down", "gone", "starting"];
                let standing = standings.get(usize::from(*standing)).unwrap_or(&"?");
                write!(f, "gw{member} finds gw{other} {standing}")
            }
            Entry::Divided(member, owned) => write!(f, "gw{member} holds {owned} buckets"),
            Entry::Routed(realm, member, is_up) => {
                let whether = if *is_up { "to" } else { "no more to" };
                write!(f, "the router {realm:?} sends {whether} gw{member}")
            }
            Entry::Started(member) => write!(f, "the daemon of gw{member} starts"),
            Entry::Stopped(member) => write!(f, "the daemon of gw{member} has ended"),
            Entry::Swept(member, flows) => write!(f, "gw{member} removes {flows} flows"),
            Entry::Streamed(member, bytes) => write!(f, "gw{member} gets {bytes} bytes"),
        }
    }
}

/// FNV-1a, which is the same on every machine and in every version of the standard library.
#[derive(Clone, Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

//! Faults that are put into a gateway on purpose: a simulator that finds none of these finds nothing.

use abi::cluster::{Division, NOBODY};
use gateway::{
    cluster::{Custody, Event},
    sweep::{Part, Parts},
};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Planted {
    /// The first member gives away the ports of another rank.
    AnothersPorts,
    /// The first member never learns that another one has gone or come.
    DeafToHealth,
    /// Nobody asks who held a bucket before.
    NoHandOver,
    /// Whoever hands a bucket over takes it for handed over at once.
    NoGate,
    /// Copies are swept as if they were served.
    CopiesExpire,
    /// What was said of an earlier hand-over is taken for this one.
    LostEpoch,
}

/// What says that all that is to be handed over is handed over.
pub fn ungated(custody: &Custody) -> Vec<Event> {
    let handing = custody.handing.iter().filter_map(|bucket| {
        let to = *custody.copied_to.get(usize::from(*bucket))?;
        Some(Event::Copied {
            bucket: *bucket,
            to,
            turn: custody.turn,
        })
    });
    let switched = custody.switched.iter();
    let flushed = switched.map(|bucket| Event::Flushed {
        bucket: *bucket,
        turn: custody.turn,
    });
    handing.chain(flushed).collect()
}

/// What was said of a hand-over, as if it were about any.
pub fn timeless(event: Event) -> Event {
    let always = u64::MAX;
    match event {
        Event::Copied { bucket, to, .. } => Event::Copied {
            bucket,
            to,
            turn: always,
        },
        Event::Flushed { bucket, .. } => Event::Flushed {
            bucket,
            turn: always,
        },
        Event::Found { .. }
        | Event::Configure { .. }
        | Event::Heard(..)
        | Event::Leave
        | Event::Stay
        | Event::Copies(_)
        | Event::Hears { .. }
        | Event::Held { .. }
        | Event::Completed { .. }
        | Event::Forgotten { .. }
        | Event::Tick => event,
    }
}

/// Has what is only kept end as if it were served.
pub fn expire(parts: &mut Parts) {
    for part in parts {
        if matches!(part, Part::Keeps) {
            *part = Part::Serves(0);
        }
    }
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AnothersPorts,
        Self::DeafToHealth,
        Self::NoHandOver,
        Self::NoGate,
        Self::CopiesExpire,
        Self::LostEpoch,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnothersPorts => "anothers_ports",
            Self::DeafToHealth => "deaf_to_health",
            Self::NoHandOver => "no_hand_over",
            Self::NoGate => "no_gate",
            Self::CopiesExpire => "copies_expire",
            Self::LostEpoch => "lost_epoch",
        }
    }

    /// Makes what a member is told wrong; nothing if it does not hear of it. `is_first` says that it was
    /// told nothing yet since it started.
    pub fn spoil(self, me: usize, is_first: bool, division: Division) -> Option<Division> {
        let mut division = division;
        match self {
            Self::AnothersPorts if me == 0 => {
                let ranks = division.withheld.iter().filter(|it| **it != [u64::MAX; 4]);
                let count = ranks.count().max(1);
                if let Some(given) = division.withheld.get_mut(..count) {
                    given.rotate_left(1);
                }
            }
            Self::DeafToHealth if me == 0 && !is_first => return None,
            Self::NoHandOver => division
                .holders
                .iter_mut()
                .for_each(|it| it.before = NOBODY),
            Self::AnothersPorts
            | Self::DeafToHealth
            | Self::NoGate
            | Self::CopiesExpire
            | Self::LostEpoch => {}
        }
        Some(division)
    }
}

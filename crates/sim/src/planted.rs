//! Faults that are put into a gateway on purpose: a simulator that finds none of these finds nothing.

use abi::cluster::{Division, NOBODY};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Planted {
    /// The first member gives away the ports of another rank.
    AnothersPorts,
    /// The first member never learns that another one has gone or come.
    DeafToHealth,
    /// Nobody asks who held a bucket before.
    NoHandOver,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AnothersPorts, Self::DeafToHealth, Self::NoHandOver];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnothersPorts => "anothers_ports",
            Self::DeafToHealth => "deaf_to_health",
            Self::NoHandOver => "no_hand_over",
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
            Self::AnothersPorts | Self::DeafToHealth => {}
        }
        Some(division)
    }
}

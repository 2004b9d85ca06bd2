//! What happened with a peer last.

use std::{collections::VecDeque, time::Instant};

use crate::snapshot::Moment;

/// Moments that are remembered of each peer: what led to where it is, and not what it did all day.
pub(crate) const HISTORY_MAX: usize = 100;

/// The last moments, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(VecDeque<Moment>);

impl History {
    pub fn note(&mut self, at: Instant, what: impl Into<String>) {
        if self.0.len() == HISTORY_MAX {
            self.0.pop_front();
        }
        let what = what.into();
        self.0.push_back(Moment { at, what });
    }

    pub fn moments(&self) -> Vec<Moment> {
        self.0.iter().cloned().collect()
    }
}

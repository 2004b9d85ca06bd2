//! The rig: a lane for each contender, and whose turn it is.

use anyhow::{Context, Result, bail};

use super::lane::{Contender, Lane};
use super::options::Effort;
use crate::demo::{Interrupt, Interrupted};

/// All lanes, and what measuring in them needs to know.
pub(super) struct Rig {
    pub(super) lanes: Vec<Lane>,
    /// Where everything happens that is measured on one core.
    pub(super) core: usize,
    pub(super) effort: Effort,
    interrupt: Interrupt,
}

impl Rig {
    /// Builds all lanes.
    pub(super) fn open(core: usize, effort: Effort, interrupt: Interrupt) -> Result<Self> {
        let mut rig = Self {
            lanes: Vec::new(),
            core,
            effort,
            interrupt,
        };
        for contender in Contender::ALL {
            rig.go_on()?;
            rig.lanes.push(Lane::open(contender)?);
        }
        Ok(rig)
    }

    /// The lane of a contender.
    pub(super) fn lane(&self, wanted: Contender) -> Result<&Lane> {
        let found = self.lanes.iter().find(|lane| lane.contender == wanted);
        found.with_context(|| format!("{wanted:?} has no lane"))
    }

    /// The same, to be changed.
    pub(super) fn lane_mut(&mut self, wanted: Contender) -> Result<&mut Lane> {
        let found = self.lanes.iter_mut().find(|lane| lane.contender == wanted);
        found.with_context(|| format!("{wanted:?} has no lane"))
    }

    /// Gives each its turn in each round, and returns what all its turns brought.
    pub(super) fn in_turn<C, T>(
        &self,
        contenders: &mut [C],
        mut turn: impl FnMut(usize, &mut C) -> Result<T>,
    ) -> Result<Vec<Vec<T>>> {
        let mut brought: Vec<Vec<T>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..self.effort.rounds {
            for (contender, brought) in contenders.iter_mut().zip(&mut brought) {
                self.go_on()?;
                brought.push(turn(round, contender)?);
            }
        }
        Ok(brought)
    }

    /// Says whether somebody wants the end.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.is_requested()
    }

    /// Takes everything down.
    pub(super) fn close(self) -> Result<()> {
        self.lanes.into_iter().try_for_each(Lane::close)
    }

    /// Takes everything down in whatever state it is.
    pub(super) fn discard(self) -> Result<()> {
        self.lanes.into_iter().try_for_each(Lane::discard)
    }

    fn go_on(&self) -> Result<()> {
        if self.is_interrupted() {
            bail!(Interrupted);
        }
        Ok(())
    }
}

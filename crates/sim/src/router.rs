//! The routers in front of the gateways, which spread packets over those that they believe to be there.

use std::time::Duration;

use abi::{Tuple, hash::hash};

use crate::{network::Realm, random::Random};

/// One router.
#[derive(Debug)]
pub struct Router {
    /// On which side it is.
    pub realm: Realm,
    salt: u64,
    believed: Vec<bool>,
    /// What is true, as soon as it notices.
    coming: Vec<bool>,
    turns: Vec<u32>,
}

/// A change that a router is about to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which router.
    pub realm: Realm,
    /// Which gateway.
    pub member: usize,
    turn: u32,
}

impl Router {
    /// One that knows no gateway.
    pub fn new(realm: Realm, members: usize, random: &mut Random) -> Self {
        Self {
            realm,
            salt: random.word(),
            believed: vec![false; members],
            coming: vec![false; members],
            turns: vec![0; members],
        }
    }

    /// This is true of a gateway; returns the change that it is about to notice, if it is one.
    pub fn sees(&mut self, member: usize, is_there: bool) -> Option<Change> {
        let coming = self.coming.get_mut(member)?;
        if *coming == is_there {
            return None;
        }
        *coming = is_there;
        let turn = self.turns.get_mut(member)?;
        *turn += 1;
        Some(Change {
            realm: self.realm,
            member,
            turn: *turn,
        })
    }

    /// It notices, unless something else has happened meanwhile; returns what it believes then, if that is
    /// something else.
    pub fn notice(&mut self, change: Change) -> Option<bool> {
        if self.turns.get(change.member) != Some(&change.turn) {
            return None;
        }
        let coming = *self.coming.get(change.member)?;
        let believed = self.believed.get_mut(change.member)?;
        (std::mem::replace(believed, coming) != coming).then_some(coming)
    }

    /// Where a packet goes: by its addresses and ports, so that another set of gateways means another way
    /// for most.
    pub fn pick(&self, tuple: &Tuple) -> Option<usize> {
        let all = self.believed.iter().enumerate();
        let there: Vec<usize> = all.filter(|(_, it)| **it).map(|(index, _)| index).collect();
        let address = |it: abi::Ip4| u64::from(u32::from_be_bytes(it.0));
        let ports = u64::from(tuple.source_port.get()) << 16 | u64::from(tuple.target_port.get());
        let addresses = address(tuple.source) << 32 | address(tuple.target);
        let hashed = hash(self.salt, addresses, ports) % (there.len().max(1) as u64);
        there.get(usize::try_from(hashed).unwrap_or(0)).copied()
    }
}

/// How long a router takes to notice.
pub fn notices_in(
    is_there: bool,
    (detection, learning): (Duration, Duration),
    random: &mut Random,
) -> Duration {
    let most = if is_there { learning } else { detection };
    random.time(most / 3, most)
}

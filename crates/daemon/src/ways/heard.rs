//! What BFD says of the other members of a cluster, and what a daemon before this one knew of them.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use bfd::{Diagnostic, Key, State, Status};
use gateway::cluster::{self, Standing};
use kernel::Tables;

use super::{SILENCE, Watcher};

impl Watcher {
    /// Notices that a member that leaves has fallen silent: its session is down, so BFD does not.
    pub(super) fn look_after_leaving(&mut self, now: Instant) {
        if self.leaving.is_empty() {
            return;
        }
        let snapshot: BTreeMap<Key, Status> = self.sessions.snapshot().into_iter().collect();
        let mut silent = Vec::new();
        self.leaving.retain(|key, (received, since)| {
            let found = snapshot.get(key).map_or(0, |it| it.received);
            if found != *received {
                (*received, *since) = (found, now);
            }
            let is_silent = now.duration_since(*since) >= SILENCE;
            if is_silent {
                silent.push(key.peer);
            }
            !is_silent
        });
        for peer in silent {
            let event = cluster::Event::Heard(peer, Standing::Down);
            self.flows.handle(event, now);
        }
    }

    /// How a member stands whose session stands otherwise now.
    pub(super) fn judge(
        &mut self,
        key: Key,
        (from, to): (State, State),
        theirs: (State, Diagnostic),
    ) {
        // A session that this side has ended says nothing of the other one.
        let is_reset = theirs.1 == Diagnostic::FORWARDING_PLANE_RESET;
        let is_cut = theirs.1 == Diagnostic::CONCATENATED_PATH_DOWN;
        let is_leaving = self.flows.cluster.is_leaving(key.peer);
        let standing = match (to, theirs.0) {
            (State::Init | State::Up, _) if is_reset => Standing::Gone,
            (State::Up, _) if is_cut => Standing::Starting,
            (State::Up, _) => Standing::Up,
            (State::Down, State::AdminDown) => Standing::Leaving,
            (State::Down, _) if from == State::Up => Standing::Down,
            // One that left and whose daemon came back has fallen silent: nothing is replaced there.
            (State::Down, _) if from == State::Init && is_leaving => Standing::Gone,
            (State::Down | State::Init | State::AdminDown, _) => return,
        };
        self.hear(key, standing);
    }

    /// A member stands so, if the session is with one.
    pub(super) fn hear(&mut self, key: Key, standing: Standing) {
        if !self.members.contains(&key) {
            return;
        }
        self.leaving.remove(&key);
        if standing == Standing::Leaving {
            self.leaving.insert(key, (0, Instant::now()));
        }
        let event = cluster::Event::Heard(key.peer, standing);
        self.flows.handle(event, Instant::now());
    }
}

/// What a daemon before this one left in the packet path.
pub(super) fn found(tables: &Tables) -> Option<cluster::Event> {
    let members = tables.members.all();
    let members = members.inspect_err(|error| {
        tracing::warn!(%error, "which flows this member held is not found again");
    });
    let known = |(number, member): (u32, abi::Member<abi::Picture>)| {
        let address = IpAddr::from(member.address);
        let number = u8::try_from(number).ok()?;
        (!address.is_unspecified()).then_some((number, address))
    };
    let buckets = tables.buckets.at(0);
    let holders = std::array::from_fn(|bucket| buckets.holder(bucket as u8));
    Some(cluster::Event::Found {
        holders: Box::new(holders),
        members: members.ok()?.into_iter().filter_map(known).collect(),
        unknown: std::array::from_fn(|word| buckets.unknown[word].get()),
    })
}

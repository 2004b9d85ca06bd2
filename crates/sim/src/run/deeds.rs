//! What hosts do, and what they complain of.

use abi::{FlowKey, Tuple};

use super::{Event, Run};
use crate::{
    hosts::{Connection, Deed},
    laws::Law,
    member::Power,
};

impl Run {
    /// Does what hosts want.
    pub(super) fn act(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Send(realm, segment) => {
                    self.quiet_at = self.quiet_at.max(self.now);
                    self.send(realm, &segment);
                }
                Deed::Wake(at, timer) => {
                    self.quiet_at = self.quiet_at.max(at);
                    self.at(at, Event::Host(timer));
                }
                Deed::Over(id, outcome) => self.over(id, outcome),
                Deed::Breaks(law, id, what) => self.breaks(law, &[id], what),
                Deed::Conflict { first, second } => self.judge_conflict(first, second),
            }
        }
    }

    /// Two clients are known by the same external end. That may be only if no gateway has the first one's flow
    /// any more.
    fn judge_conflict(&mut self, first: u32, second: u32) {
        let (Some(one), Some(other)) = (self.hosts.get(first), self.hosts.get(second)) else {
            return;
        };
        let Some(holder) = self.holder(one) else {
            return;
        };
        let what = format!(
            "{:?} is connection {first}'s ({:?} to {:?}), which gw{holder} holds, and connection {second}'s ({:?} to {:?})",
            one.external, one.client, one.server, other.client, other.server
        );
        self.breaks(Law::OneTupleOneConnection, &[first, second], what);
    }

    /// A gateway that has a connection's flow.
    pub(super) fn holder(&self, connection: &Connection) -> Option<usize> {
        self.members
            .iter()
            .filter(|it| it.power != Power::Off)
            .find(|it| holds(&it.tables.memory, connection))
            .map(|it| it.index)
    }
}

/// Whether these tables have a connection's flow: whether what its server answers reaches its client by them.
pub(super) fn holds(memory: &datapath::native::Memory, connection: &Connection) -> bool {
    let Some((external, port)) = connection.external else {
        return false;
    };
    let tuple = Tuple {
        source: connection.server.0,
        source_port: connection.server.1,
        target: external,
        target_port: port,
    };
    let flow = memory.v4.flows.get(&FlowKey::new(connection.protocol, tuple));
    flow.is_some_and(|it| (it.to.target, it.to.target_port) == connection.client)
}

//! What hosts do, and what they complain of.

use abi::{FlowKey, Tuple, cluster::bucket_of};

use super::{Event, Run};
use crate::{
    hosts::{Connection, Deed, End},
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
                Deed::Stray(id, what) => {
                    let is_excused = self.unrest.excuse(self.now).is_some();
                    if !is_excused || self.laws.agrees_on_ended {
                        self.breaks(Law::RightDelivery, &[id], what);
                    }
                }
                Deed::Moved {
                    first,
                    was,
                    second,
                    is,
                } => self.judge_move((first, was), (second, is)),
                Deed::Conflict {
                    first,
                    second,
                    external,
                } => self.judge_conflict((first, second), external),
            }
        }
    }

    /// Two clients are known by the same external end. That may be only if no gateway has the first one's flow
    /// any more.
    fn judge_conflict(&mut self, (first, second): (u32, u32), external: End) {
        let (Some(one), Some(other)) = (self.hosts.get(first), self.hosts.get(second)) else {
            return;
        };
        let Some(holder) = self.holder(one, external) else {
            return;
        };
        let is_copy = !one.is_live() && self.unrest.excuse(self.now).is_some();
        if is_copy && !self.laws.agrees_on_ended {
            return;
        }
        let what = format!(
            "{external:?} is connection {first}'s ({:?} to {:?}), which gw{holder} holds, and connection {second}'s ({:?} to {:?})",
            one.client, one.server, other.client, other.server
        );
        self.breaks(Law::OneTupleOneConnection, &[first, second], what);
    }

    /// A client is seen as somebody else than before.
    fn judge_move(&mut self, (first, was): (u32, End), (second, is): (u32, End)) {
        let Some(one) = self.hosts.get(first) else {
            return;
        };
        if self.unrest.is_change_new(self.now) && !self.laws.keeps_ports_at_once {
            return;
        }
        let what = format!(
            "{:?} is {was:?} for connection {first}, and {is:?} for connection {second}",
            one.client
        );
        self.breaks(Law::ClientsKeepPorts, &[first, second], what);
    }

    /// Excuses those whose flows are on a gateway that by what it was told has nothing to do with them.
    pub(super) fn excuse_guests(&mut self) {
        if self.laws.survives_as_guest {
            return;
        }
        let live = self.hosts.connections.iter().filter(|it| it.is_live());
        let guests: Vec<u32> = live
            .filter(|it| self.is_guest(it))
            .map(|it| it.id)
            .collect();
        for guest in guests {
            self.excuse_one(guest, "its gateway knew nothing of it");
        }
    }

    fn is_guest(&self, connection: &Connection) -> bool {
        let (client, server) = (connection.client, connection.server);
        let tuple = Tuple {
            source: client.0,
            source_port: client.1,
            target: server.0,
            target_port: server.1,
        };
        let key = FlowKey::new(connection.protocol, tuple);
        let mut members = self.members.iter().filter(|it| it.power != Power::Off);
        members.any(|it| {
            let memory = &it.tables.memory;
            let Some(flow) = memory.v4.flows.get(&key) else {
                return false;
            };
            let holder = memory.buckets.holder(bucket_of(flow.to.source_port));
            let is_it = |member: u8| usize::from(member) == it.index;
            !is_it(holder.owner) && !is_it(holder.before)
        })
    }

    /// A gateway that has a connection's flow, as this external end.
    fn holder(&self, connection: &Connection, external: End) -> Option<usize> {
        self.members
            .iter()
            .filter(|it| it.power != Power::Off)
            .find(|it| holds(&it.tables.memory, connection, external))
            .map(|it| it.index)
    }
}

/// Whether these tables have a connection's flow: whether what its server sends to this external end reaches its
/// client by them.
pub(super) fn holds(
    memory: &datapath::native::Memory,
    connection: &Connection,
    (external, port): End,
) -> bool {
    let tuple = Tuple {
        source: connection.server.0,
        source_port: connection.server.1,
        target: external,
        target_port: port,
    };
    let flow = memory
        .v4
        .flows
        .get(&FlowKey::new(connection.protocol, tuple));
    flow.is_some_and(|it| (it.to.target, it.to.target_port) == connection.client)
}

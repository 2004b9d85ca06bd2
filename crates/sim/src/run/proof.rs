//! Laws about tables, which are looked at every second and at the end.

use std::collections::BTreeMap;

use abi::{ExternalState, FlowKey, Side, cluster::bucket_of, ports::WORDS};
use gateway::bitmaps::reserved;

use super::Run;
use crate::{
    hosts::{Connection, End},
    laws::Law,
    member::Power,
    tables::{FLOWS_MAX, Tables},
};

impl Run {
    /// What must be true of all tables at any time.
    pub(super) fn prove_tables(&mut self) {
        let live: BTreeMap<(u8, End, End), u32> = self
            .hosts
            .connections
            .iter()
            .filter(|it| it.is_live())
            .map(|it| (key_of(it), it.id))
            .collect();
        // Which live connection each external tuple leads to.
        let mut leads: BTreeMap<FlowKey, (usize, u32)> = BTreeMap::new();
        let mut broken = None;
        for member in self.members.iter().filter(|it| it.power != Power::Off) {
            let flows = member.tables.flows();
            if flows.len() > 2 * FLOWS_MAX || member.tables.memory.v4.mappings.len() > 2 * FLOWS_MAX
            {
                broken = Some((
                    Law::SoundTables,
                    format!("gw{} has too much", member.index),
                    vec![],
                ));
            }
            for (key, flow) in flows {
                if flow.side() == Side::Outbound {
                    continue;
                }
                let client = (flow.to.target, flow.to.target_port);
                let server = (key.tuple.source, key.tuple.source_port);
                let Some(id) = live.get(&(key.protocol, client, server)) else {
                    continue;
                };
                let before = leads.insert(key, (member.index, *id));
                if let Some((other, first)) = before.filter(|(_, first)| first != id) {
                    let what = format!(
                        "{key:?} leads to connection {first} by gw{other}, and to connection {id} by gw{}",
                        member.index
                    );
                    broken = broken.or(Some((Law::OneTupleOneConnection, what, vec![first, *id])));
                }
            }
        }
        if let Some((law, what, whose)) = broken {
            self.breaks(law, &whose, what);
        }
    }

    /// What must be true when everything is over.
    pub(super) fn prove_all_ended(&mut self) {
        let unfinished = self.hosts.connections.iter().find(|it| it.is_live());
        if let Some(id) = unfinished.map(|it| it.id) {
            let what = format!("connection {id} is neither over nor given up");
            self.breaks(Law::EverythingEnds, &[id], what);
        }
        for index in 0..self.members.len() {
            let member = self.members.get(index);
            let left = member.and_then(|it| Some((left(&it.tables)?, it)));
            let left = left.map(|(left, it)| match it.tables.flows().first() {
                Some((key, flow)) => {
                    let bucket = bucket_of(match flow.side() {
                        Side::Outbound => flow.to.source_port,
                        Side::Inbound => key.tuple.target_port,
                    });
                    format!("{left}, {key:?} among them; {}", it.says_of(bucket))
                }
                None => left,
            });
            if let Some(left) = left {
                let what = format!("gw{index} has {left} when all is over");
                self.breaks(Law::EverythingEnds, &[], what);
            }
        }
    }
}

fn key_of(connection: &Connection) -> (u8, End, End) {
    (
        connection.protocol as u8,
        connection.client,
        connection.server,
    )
}

/// What is left in tables that should be empty.
fn left(tables: &Tables) -> Option<String> {
    let memory = &tables.memory;
    if !memory.v4.flows.is_empty() {
        return Some(format!("{} entries of flows", memory.v4.flows.len()));
    }
    if !memory.v4.mappings.is_empty() {
        return Some(format!("{} entries of mappings", memory.v4.mappings.len()));
    }
    for (address, external) in memory.v4.externals.all() {
        if external.state() != Some(ExternalState::Serving) {
            continue;
        }
        for (protocol, bitmap) in external.bitmaps() {
            let (words, kept) = (memory.bitmap(bitmap), reserved(&external, protocol));
            let taken = (0..WORDS).map(|it| {
                let word = words.get(it).map_or(0, |it| it.taken.get());
                (word & !kept.get(it).copied().unwrap_or(0)).count_ones()
            });
            let taken: u32 = taken.sum();
            if taken > 0 {
                return Some(format!("{taken} {protocol:?} ports of {address:?} taken"));
            }
        }
    }
    None
}

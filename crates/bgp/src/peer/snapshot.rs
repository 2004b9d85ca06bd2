//! How it is with a peer.

use std::collections::BTreeMap;

use super::Peer;
use crate::{
    connection::Connection,
    message::Kind,
    outbound::Outbound,
    snapshot::{Counted, FamilySnapshot, PeerSnapshot},
};

impl Peer {
    /// How it is.
    pub fn snapshot(&self) -> PeerSnapshot {
        let furthest = self
            .connections
            .iter()
            .max_by_key(|it| (it.is_established(), it.agreed().is_some()));
        let agreed = furthest.and_then(Connection::agreed);
        let outbound = furthest.and_then(Connection::outbound);
        let families = self.settings.families.iter();
        let count = |of: &BTreeMap<Kind, u64>, kind| of.get(&kind).copied().unwrap_or_default();
        PeerSnapshot {
            id: self.id,
            address: self.address,
            state: self.shown.state,
            since: self.shown.since,
            established_times: self.shown.established_times,
            last_down: self.shown.last_down.clone(),
            notification_received: self.shown.notification_received.clone(),
            notification_sent: self.shown.notification_sent.clone(),
            remote_as: agreed.map(|it| it.remote_as),
            remote_id: agreed.map(|it| it.remote_id),
            hold_time: agreed.map(|it| it.hold_time),
            capabilities: agreed.map_or_else(Vec::new, |it| it.common.words()),
            families: families
                .map(|family| FamilySnapshot {
                    family: *family,
                    announced: outbound.map_or(0, |it| it.count(*family)),
                    received: self.inbound.count(*family),
                })
                .collect(),
            messages: Kind::ALL
                .into_iter()
                .map(|kind| Counted {
                    kind,
                    sent: count(&self.shown.sent, kind),
                    received: count(&self.shown.received, kind),
                })
                .collect(),
            announced: outbound.map_or_else(Vec::new, Outbound::kept),
            received: self.inbound.kept(),
            history: self.shown.history.moments(),
        }
    }
}

//! What comes from a peer, and what follows (RFC 4271 §8.2.2).

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{Call, Context, PENANCE, Peer, Why};
use ipnet::IpNet;

use crate::{
    ConnectionId, Family,
    attributes::Sender,
    connection::{Agreed, Connection, Phase},
    inbound::TooMany,
    message::{
        self, EXTENDED_MAX, Kind, framed,
        notification::Notification,
        open::Open,
        refresh::{self, Refresh, Subtype},
        update::{Update, Writing},
    },
    outbound::{Audience, Outbound},
};

impl Peer {
    /// Bytes came.
    pub fn received(&mut self, id: ConnectionId, bytes: &[u8], context: &mut Context<'_>) {
        let Some(index) = self.connections.iter().position(|it| it.id == id) else {
            return;
        };
        let mut connection = self.connections.remove(index);
        connection.stream.extend_from_slice(bytes);
        let mut stream = std::mem::take(&mut connection.stream);
        let mut read = 0;
        let end = loop {
            let rest = stream.get(read..).unwrap_or_default();
            // What we said that we take, whatever the peer takes (RFC 8654 §4).
            match message::first(rest, EXTENDED_MAX) {
                Ok(None) => break None,
                Ok(Some(message::First { kind, body, length })) => {
                    let taken = self.take(&mut connection, kind, body, context);
                    read += length;
                    if let Err(end) = taken {
                        break Some(end);
                    }
                }
                Err(notification) => break Some(End::Tell(notification)),
            }
        };
        stream.drain(..read.min(stream.len()));
        connection.stream = stream;
        match end {
            None => {
                self.connections.push(connection);
                self.settle(None, context);
            }
            Some(end) => {
                self.connections.push(connection);
                let index = self.connections.len() - 1;
                match end {
                    End::Tell(notification) => {
                        let why = Why::Sent(notification.clone());
                        self.drop_at(index, Some(&notification), why, context);
                    }
                    End::Told(notification) => {
                        self.drop_at(index, None, Why::Received(notification), context);
                    }
                }
            }
        }
    }

    /// One message.
    fn take(
        &mut self,
        connection: &mut Connection,
        kind: Kind,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), End> {
        *self.shown.received.entry(kind).or_default() += 1;
        match (&mut connection.phase, kind) {
            (_, Kind::Notification) => {
                let notification = Notification::read(body);
                self.shown.notification_received = Some(notification.to_string());
                self.note(format!("received NOTIFICATION {notification}"), context);
                Err(End::Told(notification))
            }
            (Phase::OpenSent, Kind::Open) => self.opened(connection, body, context),
            (Phase::OpenSent, _) => Err(End::Tell(Notification::UNEXPECTED_IN_OPEN_SENT)),
            (Phase::OpenConfirm(_), Kind::Keepalive) => {
                self.established(connection, context);
                Ok(())
            }
            (Phase::OpenConfirm(_), _) => Err(End::Tell(Notification::UNEXPECTED_IN_OPEN_CONFIRM)),
            (Phase::Established(..), Kind::Open) => {
                Err(End::Tell(Notification::UNEXPECTED_IN_ESTABLISHED))
            }
            (Phase::Established(..), Kind::Keepalive) => {
                connection.heard(context.now);
                Ok(())
            }
            (Phase::Established(agreed, _), Kind::Update) => {
                let sender = Sender {
                    is_four_octet: agreed.common.four_octet.is_some(),
                    is_internal: agreed.remote_as == context.config.asn,
                    has_extended_next_hop: agreed.common.extended_next_hop,
                };
                let families = agreed.common.families.clone();
                connection.heard(context.now);
                self.updated(body, (sender, &families), context)
            }
            (Phase::Established(_, outbound), Kind::Refresh) => {
                let answer = match Refresh::read(body) {
                    refresh::Read::Known(Refresh {
                        family,
                        subtype: Subtype::Request,
                    }) => {
                        let begin = outbound.repeat(family);
                        self.note("the peer asks for everything again", context);
                        begin
                    }
                    refresh::Read::Known(_) | refresh::Read::Ignored => None,
                    refresh::Read::Malformed => {
                        let whole = framed(Kind::Refresh, body);
                        return Err(End::Tell(Notification::bad_refresh(&whole)));
                    }
                };
                connection.heard(context.now);
                if let Some(bytes) = answer {
                    self.send_framed(connection, Kind::Refresh, bytes, context);
                }
                Ok(())
            }
        }
    }

    fn opened(
        &mut self,
        connection: &mut Connection,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), End> {
        let tell = |notification| Err(End::Tell(notification));
        let theirs = Open::read(body).map_err(End::Tell)?;
        let ours = self.open(context);
        if !self.settings.remote.admits(theirs.asn, ours.asn) {
            self.note(format!("the peer is of AS {}", theirs.asn), context);
            return tell(Notification::BAD_PEER_AS);
        }
        // Two of one system must differ (RFC 6286 §2.3).
        if theirs.id == ours.id && theirs.asn == ours.asn {
            return tell(Notification::BAD_IDENTIFIER);
        }
        let agreed = Agreed::of(&ours, &theirs);
        if agreed.common.families.is_empty() {
            let mut wanted = Vec::new();
            ours.capabilities.write(&mut wanted);
            return tell(Notification::unsupported_capability(&wanted));
        }
        self.resolve_collision(connection, (ours.id, ours.asn), &theirs, context)
            .map_err(End::Tell)?;
        let hold = agreed.hold_time;
        connection.phase = Phase::OpenConfirm(Box::new(agreed));
        connection.hold = None;
        connection.heard(context.now);
        self.keep_alive(connection, hold, context);
        Ok(())
    }

    /// Of two connections the one stays that was begun by who has the higher identifier (RFC 4271 §6.8,
    /// RFC 6286 §2.3); fails if it is the other one. An established one stays in any case, unless its peer
    /// restarts (RFC 4724 §4.2).
    fn resolve_collision(
        &mut self,
        connection: &Connection,
        ours: (Ipv4Addr, u32),
        theirs: &Open,
        context: &mut Context<'_>,
    ) -> Result<(), Notification> {
        let is_other = |it: &Connection| !matches!(it.phase, Phase::OpenSent);
        let Some(index) = self.connections.iter().position(is_other) else {
            return Ok(());
        };
        let Some(other) = self.connections.get(index) else {
            return Ok(());
        };
        let (is_established, restarts) = (
            other.is_established(),
            other.agreed().is_some_and(|it| it.common.restart.is_some()),
        );
        let we_are_higher = ours > (theirs.id, theirs.asn);
        let is_ours = matches!(connection.id, ConnectionId::Called(_));
        let keeps_new = match is_established {
            true => restarts && !is_ours,
            false => is_ours == we_are_higher,
        };
        if !keeps_new {
            return Err(Notification::COLLISION);
        }
        let (told, why) = match is_established {
            true => (None, Why::PeerRestarted),
            false => (Some(&Notification::COLLISION), Why::Collision),
        };
        self.cut(index, told, &why, context);
        Ok(())
    }

    fn established(&mut self, connection: &mut Connection, context: &mut Context<'_>) {
        let Phase::OpenConfirm(agreed) = &connection.phase else {
            return;
        };
        let common = &agreed.common;
        let audience = Audience {
            asn: context.config.asn,
            is_internal: agreed.remote_as == context.config.asn,
            families: common.families.clone(),
            has_extended_next_hop: common.extended_next_hop,
            has_enhanced_refresh: common.enhanced_refresh,
            writing: Writing {
                is_four_octet: common.four_octet.is_some(),
                length_max: connection.length_max(),
            },
            ends: connection.ends,
        };
        // What a peer does not say that it kept is gone (RFC 4724 §4.2).
        let kept: BTreeSet<Family> = common
            .restart
            .iter()
            .flat_map(|it| &it.families)
            .filter(|(_, is_kept)| **is_kept)
            .map(|(family, _)| *family)
            .collect();
        self.inbound
            .forget_stale(|net| !kept.contains(&Family::of_net(net)));
        let outbound = Box::new(Outbound::new(audience, context.now));
        connection.phase = Phase::Established(agreed.clone(), outbound);
        connection.heard(context.now);
        self.shown.established_times += 1;
    }

    fn updated(
        &mut self,
        body: &[u8],
        (sender, agreed): (Sender, &BTreeSet<Family>),
        context: &mut Context<'_>,
    ) -> Result<(), End> {
        let mut update = Update::read(body, sender).map_err(End::Tell)?;
        // Of what was not agreed on nothing is heard (RFC 4760 §8).
        let is_agreed = |net: &IpNet| agreed.contains(&Family::of_net(net));
        update.announced.retain(is_agreed);
        // What has been here before leads nowhere (RFC 4271 §9.1.2).
        if update.seen.passed(context.config.asn) {
            let Update {
                announced,
                withdrawn,
                ..
            } = &mut update;
            withdrawn.append(announced);
        }
        if let Some(fault) = update.fault {
            let prefixes = update.withdrawn.len();
            let what = format!("{fault}: {prefixes} prefixes are taken for withdrawn (RFC 7606)");
            self.note(what, context);
        }
        for discarded in &update.discarded {
            self.note(format!("left out: {discarded} (RFC 7606)"), context);
        }
        let (keeps, most) = (self.settings.keeps_received, self.settings.prefixes_max);
        let taken = self.inbound.take(update, keeps, most);
        taken.map_err(|TooMany(family)| {
            self.call = Call::Held(context.now + PENANCE);
            End::Tell(Notification::too_many_prefixes(family.afi(), 1, most))
        })
    }
}

/// Why a connection ends.
enum End {
    /// The peer is told.
    Tell(Notification),
    /// The peer told us.
    Told(Notification),
}

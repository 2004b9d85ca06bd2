//! What servers do.

use std::time::Duration;

use abi::Protocol;

use super::{Connection, Deed, End, Hosts, Outcome, Serving, TRIES, backoff};
use crate::{
    frame::{Segment, Word},
    laws::Law,
    network::Realm,
    site,
};

impl Hosts {
    pub(super) fn server_wakes(&mut self, id: u32, now: Duration) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let Some(connection) = self.get_mut(id) else {
            return deeds;
        };
        let Some(external) = connection.external else {
            return deeds;
        };
        if connection.serving != Serving::Open {
            return deeds;
        }
        if connection.push_tries >= TRIES {
            connection.serving = Serving::Over;
            if connection.is_live() {
                Self::over(connection, Outcome::GaveUp, now, &mut deeds);
            }
            return deeds;
        }
        if connection.push_tries == 0 {
            connection.pushed += 1;
        }
        connection.push_tries += 1;
        let what = (Word::Push, connection.pushed);
        Self::reply(connection, external, what, &mut deeds);
        let at = now + backoff(connection.push_tries);
        Self::set(connection, Realm::Outside, at, &mut deeds);
        deeds
    }

    pub(super) fn server_gets(&mut self, segment: &Segment, now: Duration) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let tuple = &segment.tuple;
        let (own, external) = (
            (tuple.target, tuple.target_port),
            (tuple.source, tuple.source_port),
        );
        if !site::is_external(external.0) {
            let what = format!("{own:?} gets a packet from {external:?}");
            return vec![Deed::Breaks(Law::RightDelivery, 0, what)];
        }
        let known = (segment.protocol as u8, own, external);
        let Some(payload) = segment.payload else {
            // A gateway's own reset.
            let found = self.known.get(&known).copied();
            if let Some(connection) = found.and_then(|id| self.get_mut(id)) {
                Self::server_is_reset(connection, now, &mut deeds);
            }
            return deeds;
        };
        let id = payload.connection;
        let before = self.known.get(&known).copied();
        let Some(connection) = self.get(id) else {
            let what = format!("a packet of connection {id}, which there is not");
            return vec![Deed::Breaks(Law::RightDelivery, 0, what)];
        };
        if connection.server != own || connection.protocol != segment.protocol {
            let what = format!("a packet for {:?} reaches {own:?}", connection.server);
            return vec![Deed::Breaks(Law::RightDelivery, id, what)];
        }
        let is_late = !connection.is_live();
        let other = before.filter(|it| *it != id);
        if let Some(first) = other {
            if is_late {
                return deeds;
            }
            if self.get(first).is_some_and(Connection::is_live) {
                deeds.push(Deed::Conflict {
                    first,
                    second: id,
                    external,
                });
            }
        }
        let begins = segment.protocol != Protocol::Tcp || payload.word == Word::Syn;
        if begins && !is_late {
            self.known.insert(known, id);
            self.see(id, external, &mut deeds);
        }
        let is_known = self.known.get(&known) == Some(&id);
        let Some(connection) = self.get_mut(id) else {
            return deeds;
        };
        if !is_known {
            if !is_late && payload.word != Word::Reset {
                Self::reply(connection, external, (Word::Reset, 0), &mut deeds);
            }
            return deeds;
        }
        connection.external = Some(external);
        Self::server_hears(connection, (payload.word, payload.number), now, &mut deeds);
        deeds
    }

    /// Notes as whom a client is seen; one that still talks as somebody must not be seen as somebody else.
    fn see(&mut self, id: u32, external: End, deeds: &mut Vec<Deed>) {
        let Some(connection) = self.get(id) else {
            return;
        };
        let is_shared = self.is_overloaded && site::is_shared(external.0);
        if is_shared && connection.protocol == Protocol::Tcp {
            return;
        }
        let (protocol, client) = (connection.protocol as u8, connection.client);
        let owner = self.owners.insert((protocol, external), id);
        let first = owner.and_then(|it| self.get(it));
        if let Some(first) = first.filter(|it| it.client != client && it.is_live()) {
            let first = first.id;
            deeds.push(Deed::Conflict {
                first,
                second: id,
                external,
            });
        }
        let before = self.seen_as.insert((protocol, client), (id, external));
        let Some((other, was)) = before else {
            return;
        };
        let is_live = self
            .get(other)
            .is_some_and(|it| it.is_live() && it.established.is_some() && it.excuse.is_none());
        let is_excused = self.get(id).is_none_or(|it| it.excuse.is_some());
        if was != external && is_live && !is_excused {
            deeds.push(Deed::Moved {
                first: other,
                was,
                second: id,
                is: external,
            });
        }
    }

    fn server_hears(
        connection: &mut Connection,
        (word, number): (Word, u32),
        now: Duration,
        deeds: &mut Vec<Deed>,
    ) {
        let Some(external) = connection.external else {
            return;
        };
        match (word, connection.serving) {
            (Word::Reset, _) => Self::server_is_reset(connection, now, deeds),
            (Word::Syn, Serving::NotYet) => {
                Self::reply(connection, external, (Word::SynAck, 0), deeds);
            }
            (Word::Fin, _) => {
                connection.serving = Serving::Over;
                Self::reply(connection, external, (Word::FinAck, 0), deeds);
            }
            (Word::Ask, Serving::Over) | (Word::Syn, _) => {}
            (Word::Ask, Serving::NotYet | Serving::Open) => {
                Self::opens(connection, now, deeds);
                Self::reply(connection, external, (Word::Answer, number), deeds);
            }
            (Word::Open, Serving::NotYet) => Self::opens(connection, now, deeds),
            (Word::Pushed, Serving::Open)
                if number == connection.pushed && connection.push_tries > 0 =>
            {
                connection.push_tries = 0;
                Self::push_later(connection, now, deeds);
            }
            (
                Word::SynAck
                | Word::Open
                | Word::Answer
                | Word::Push
                | Word::Pushed
                | Word::FinAck
                | Word::Last,
                _,
            ) => {}
        }
    }

    fn opens(connection: &mut Connection, now: Duration, deeds: &mut Vec<Deed>) {
        if connection.serving == Serving::NotYet {
            connection.serving = Serving::Open;
            Self::push_later(connection, now, deeds);
        }
    }

    fn push_later(connection: &mut Connection, now: Duration, deeds: &mut Vec<Deed>) {
        let [_, number] = &mut connection.timers;
        *number += 1;
        if connection.pushed < connection.pushes {
            let at = now + connection.push_pause;
            Self::set(connection, Realm::Outside, at, deeds);
        }
    }

    fn server_is_reset(connection: &mut Connection, now: Duration, deeds: &mut Vec<Deed>) {
        connection.serving = Serving::Over;
        if connection.is_live() {
            Self::over(connection, Outcome::Reset, now, deeds);
        }
    }

    fn reply(connection: &Connection, to: End, what: (Word, u32), deeds: &mut Vec<Deed>) {
        let segment = connection.segment(Realm::Outside, to, what);
        deeds.push(Deed::Send(Realm::Outside, segment));
    }
}

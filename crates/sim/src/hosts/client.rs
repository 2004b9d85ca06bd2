//! What clients do.

use std::time::Duration;

use abi::Protocol;

use super::{Connection, Deed, Ending, FIRST_TRIES, Hosts, Outcome, Stage, TRIES, backoff};
use crate::{
    frame::{Segment, Word},
    laws::Law,
    network::Realm,
};

impl Hosts {
    /// A connection is dialled.
    pub(super) fn dial(&mut self, id: u32, now: Duration) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let Some(connection) = self.get_mut(id) else {
            return deeds;
        };
        if connection.protocol != Protocol::Tcp {
            // The first question is what opens it.
            connection.stage = Stage::Idle;
        }
        Self::client_goes_on(connection, now, &mut deeds);
        deeds
    }

    pub(super) fn client_wakes(&mut self, id: u32, now: Duration) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let Some(connection) = self.get_mut(id) else {
            return deeds;
        };
        let most = match connection.established {
            Some(_) => TRIES,
            None => FIRST_TRIES,
        };
        if connection.tries >= most {
            Self::over(connection, Outcome::GaveUp, now, &mut deeds);
            return deeds;
        }
        Self::client_goes_on(connection, now, &mut deeds);
        deeds
    }

    /// Says what is next, or says it again.
    fn client_goes_on(connection: &mut Connection, now: Duration, deeds: &mut Vec<Deed>) {
        let is_tcp = connection.protocol == Protocol::Tcp;
        let word = match connection.stage {
            Stage::Over => return,
            Stage::Opening => (Word::Syn, 0),
            Stage::Asking => (Word::Ask, connection.asked),
            Stage::Closing => (Word::Fin, 0),
            Stage::Idle if connection.asked < connection.asks => {
                connection.stage = Stage::Asking;
                connection.asked += 1;
                (Word::Ask, connection.asked)
            }
            Stage::Idle => match connection.ending {
                _ if !is_tcp => return Self::over(connection, Outcome::Finished, now, deeds),
                Ending::Vanishes => {
                    return Self::over(connection, Outcome::Vanished, now, deeds);
                }
                Ending::Resets => {
                    Self::over(connection, Outcome::Finished, now, deeds);
                    return Self::say(connection, (Word::Reset, 0), deeds);
                }
                Ending::Closes => {
                    connection.stage = Stage::Closing;
                    (Word::Fin, 0)
                }
            },
        };
        Self::say(connection, word, deeds);
        connection.tries += 1;
        let at = now + backoff(connection.tries);
        Self::set(connection, Realm::Inside, at, deeds);
    }

    fn say(connection: &Connection, what: (Word, u32), deeds: &mut Vec<Deed>) {
        let segment = connection.segment(Realm::Inside, connection.server, what);
        deeds.push(Deed::Send(Realm::Inside, segment));
    }

    pub(super) fn client_gets(&mut self, segment: &Segment, now: Duration) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let tuple = &segment.tuple;
        let (own, from) = (
            (tuple.target, tuple.target_port),
            (tuple.source, tuple.source_port),
        );
        let Some(payload) = segment.payload else {
            // A gateway's own reset: of whatever is dialled there now.
            let dialled = self.dialled.get(&(segment.protocol as u8, own, from));
            let Some(connection) = dialled.copied().and_then(|id| self.get_mut(id)) else {
                let what = format!("a reset of {from:?} reaches {own:?}, who did not dial it");
                return vec![Deed::Breaks(Law::RightDelivery, 0, what)];
            };
            if connection.is_live() {
                Self::over(connection, Outcome::Reset, now, &mut deeds);
            }
            return deeds;
        };
        let (id, number) = (payload.connection, payload.number);
        let Some(connection) = self.get_mut(id) else {
            let what = format!("a packet of connection {id}, which there is not");
            return vec![Deed::Breaks(Law::RightDelivery, 0, what)];
        };
        let is_right = connection.client == own
            && connection.server == from
            && connection.protocol == segment.protocol;
        // The port of a connection that is over, or that its gateway lost, may be another's; its server does not
        // know that.
        if !is_right && (connection.is_bereaved || !connection.is_live()) {
            return deeds;
        }
        if !is_right {
            let what = format!(
                "a packet of connection {id}, from {:?} to {:?}, reaches {own:?} from {from:?}",
                connection.server, connection.client
            );
            return vec![Deed::Stray(id, what)];
        }
        Self::client_hears(connection, (payload.word, number), now, &mut deeds);
        deeds
    }

    fn client_hears(
        connection: &mut Connection,
        (word, number): (Word, u32),
        now: Duration,
        deeds: &mut Vec<Deed>,
    ) {
        if let Some((outcome, _)) = connection.outcome {
            match (outcome, word) {
                (_, Word::Reset) | (Outcome::Vanished, _) => {}
                (Outcome::Finished, Word::FinAck) => {
                    Self::say(connection, (Word::Last, 0), deeds);
                }
                (Outcome::Finished, _) => {}
                (Outcome::Reset | Outcome::GaveUp, _) if connection.protocol == Protocol::Tcp => {
                    Self::say(connection, (Word::Reset, 0), deeds);
                }
                (Outcome::Reset | Outcome::GaveUp, _) => {}
            }
            return;
        }
        match (word, connection.stage) {
            (Word::SynAck, Stage::Opening) => {
                connection.established = Some(now);
                Self::rest(connection, now, deeds);
                Self::say(connection, (Word::Open, 0), deeds);
            }
            (Word::SynAck, _) => Self::say(connection, (Word::Open, 0), deeds),
            (Word::Answer, Stage::Asking) if number == connection.asked => {
                connection.established = connection.established.or(Some(now));
                Self::rest(connection, now, deeds);
            }
            (Word::Push, stage) if stage != Stage::Opening => {
                Self::say(connection, (Word::Pushed, number), deeds);
            }
            (Word::FinAck, Stage::Closing) => {
                Self::over(connection, Outcome::Finished, now, deeds);
                Self::say(connection, (Word::Last, 0), deeds);
            }
            (Word::Reset, _) => Self::over(connection, Outcome::Reset, now, deeds),
            (
                Word::Syn
                | Word::Open
                | Word::Ask
                | Word::Answer
                | Word::Push
                | Word::Pushed
                | Word::Fin
                | Word::FinAck
                | Word::Last,
                _,
            ) => {}
        }
    }

    /// Does nothing for a while.
    fn rest(connection: &mut Connection, now: Duration, deeds: &mut Vec<Deed>) {
        connection.stage = Stage::Idle;
        connection.tries = 0;
        let at = now + connection.pause;
        Self::set(connection, Realm::Inside, at, deeds);
    }
}

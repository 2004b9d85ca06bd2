//! Who had an external address and port: what the log says, and the flows there are.

use std::{net::IpAddr, time::Duration};

use abi::{Address, Ip4, Ip6, Port, Protocol, Side, map};
use api::http::{ApiError, Block, Party, Session, SessionState, Who, WhoQuery};
use gateway::sweep::Joined;
use kernel::{Tables, tables::In};
use sessions::{
    Endpoint, Time,
    blocks::{History, Owned},
    index::Key,
    who::{Answer, End, FLOWS_MAX, Found, Question},
};

use crate::{
    sessions::{Clock, journal::Searched},
    view::View,
};

use super::{ReadError, flows::join, of};

/// Understands a question.
///
/// # Errors
///
/// Says what is wrong and how it is written.
pub fn parse(query: &WhoQuery, now: Time) -> Result<Question, ApiError> {
    let key = key(&query.external)?;
    let time = |word: &Option<String>| word.as_deref().map(|word| time(word, now)).transpose();
    let (at, since, until) = (time(&query.at)?, time(&query.since)?, time(&query.until)?);
    let (since, until) = match (at, since, until) {
        (Some(at), None, None) => (at, at),
        (Some(_), ..) => {
            return Err(refused(
                "`at` is one moment, and `since` and `until` are a time".to_owned(),
                "ask for one or the other",
            ));
        }
        (None, None, None) => (now, now),
        (None, since, until) => (since.unwrap_or(Time::MIN), until.unwrap_or(now)),
    };
    if since > until {
        return Err(refused(
            format!("the time from {since} to {until} goes backwards"),
            "give `since` the earlier one",
        ));
    }
    Ok(Question { key, since, until })
}

fn refused(error: String, help: &str) -> ApiError {
    let help = help.to_owned();
    ApiError { error, help }
}

/// `192.0.2.10:40000/tcp`.
fn key(word: &str) -> Result<Key, ApiError> {
    let refused = |why: &str| {
        refused(
            format!("the endpoint `{word}` cannot be understood: {why}"),
            "write address, port and protocol: `192.0.2.10:40000/tcp`, `[2001:db8::10]:40000/tcp`, or \
             with the identifier of a ping: `192.0.2.10:77/icmp`; GRE and ESP have no port: \
             `192.0.2.10/gre`",
        )
    };
    let (endpoint, protocol) = word
        .rsplit_once('/')
        .ok_or_else(|| refused("it has no protocol"))?;
    let protocol: sessions::Protocol = protocol
        .parse()
        .map_err(|_| refused("there is no such protocol"))?;
    let portless = || match Protocol::from_number(protocol.0) {
        Some(Protocol::Gre | Protocol::Esp) => {
            let address = endpoint.parse::<IpAddr>().ok();
            address.map(|it| Endpoint::new(it, 0))
        }
        Some(Protocol::Tcp | Protocol::Udp | Protocol::Icmp | Protocol::Sctp) | None => None,
    };
    let external = endpoint.parse().ok().or_else(portless);
    let external = external.ok_or_else(|| refused("it has no address and port"))?;
    Ok(Key { external, protocol })
}

/// RFC 3339, or how long ago.
fn time(word: &str, now: Time) -> Result<Time, ApiError> {
    let ago = |word: &str| -> Option<Time> {
        let span: jiff::SignedDuration = word.parse().ok()?;
        Some(now.minus(Duration::try_from(span).ok()?))
    };
    let read = match word.strip_prefix('-') {
        Some(word) => ago(word),
        None if word == "now" => Some(now),
        None => word.parse().ok(),
    };
    read.ok_or_else(|| {
        refused(
            format!("the time `{word}` cannot be understood"),
            "write it as RFC 3339 has it, with its zone: `2026-11-03T14:05:00Z`, \
             `2026-11-03T15:05:00+01:00`; or how long ago it was: `-10m`, `-2h4m`",
        )
    })
}

/// Answers a question.
///
/// # Errors
///
/// If the table of flows cannot be read. A log that cannot be read is a note of the answer: what
/// the table says is still true.
pub fn who(tables: &Tables, view: &View, question: &Question) -> Result<Who, ReadError> {
    let open = open(tables, view, &question.key)?;
    let mut notes = Vec::new();
    let searched = match view.sessions.journal() {
        None => {
            notes.push(
                "no file of the session log is configured (log.sessions.file): only flows that are \
                 open now are known"
                    .to_owned(),
            );
            without_log(question, open)
        }
        Some(journal) => journal.search(question, open.clone()).unwrap_or_else(|error| {
            notes.push(format!(
                "the session log cannot be read, and only flows that are open now are known: {error}"
            ));
            without_log(question, open)
        }),
    };
    notes.extend(caveats(&searched, question));
    let mut history = searched.history;
    let standing = view.sessions.assignment();
    if standing.time != Time::MIN {
        history.add(&standing);
    }
    let blocks: Vec<Block> = history.owners(question).iter().map(block).collect();
    if !blocks.is_empty() {
        notes.push(
            "the port was in a client's own block: flows from there are not logged; one that is has \
             the port from before, or by a forward"
                .to_owned(),
        );
    }
    let Key { external, protocol } = question.key;
    Ok(Who {
        external: party(external),
        protocol: protocol.to_string(),
        since: question.since.to_string(),
        until: question.until.to_string(),
        sessions: searched.answer.found.iter().map(session).collect(),
        blocks,
        truncated: searched.answer.truncated,
        log_begins: searched.earliest.map(|time| time.to_string()),
        notes,
    })
}

/// What an answer without a log can say.
fn without_log(question: &Question, open: Vec<Found>) -> Searched {
    let found = open
        .into_iter()
        .filter(|flow| flow.opened <= question.until);
    Searched {
        answer: Answer {
            found: found.take(FLOWS_MAX).collect(),
            ..Answer::default()
        },
        history: History::default(),
        earliest: None,
        unindexed: Vec::new(),
    }
}

/// What one should know before one acts on the answer.
fn caveats(searched: &Searched, question: &Question) -> Vec<String> {
    let mut notes = Vec::new();
    if searched.answer.truncated {
        notes.push(format!(
            "there are more than {FLOWS_MAX} flows; ask about a shorter time"
        ));
    }
    if searched.answer.missing > 0 {
        notes.push(format!(
            "{} records are cut or damaged in the log and not part of the answer",
            searched.answer.missing
        ));
    }
    if !searched.unindexed.is_empty() {
        notes.push(format!(
            "files without an index were read as a whole: {}",
            searched.unindexed.join(", ")
        ));
    }
    if let Some(earliest) = searched.earliest.filter(|it| question.since < *it) {
        notes.push(format!(
            "the log begins at {earliest}, and knows nothing of before"
        ));
    }
    notes
}

/// The flows that have an external endpoint now.
fn open(tables: &Tables, view: &View, key: &Key) -> Result<Vec<Found>, ReadError> {
    let external = (
        Ip6::from(key.external.address),
        Port::new(key.external.port),
    );
    let mut found = Vec::new();
    // Flows between the versions are among those of IPv6.
    if let Some(address) = external.0.ip4() {
        open_in::<Ip4>(
            tables,
            view,
            key.protocol,
            (address, external.1),
            &mut found,
        )?;
    }
    open_in::<Ip6>(tables, view, key.protocol, external, &mut found)?;
    Ok(found)
}

fn open_in<A: In>(
    tables: &Tables,
    view: &View,
    protocol: sessions::Protocol,
    external: (A, Port),
    found: &mut Vec<Found>,
) -> Result<(), ReadError> {
    let mut halves = Vec::new();
    let walked = A::flows(tables).walk(|keys, entries| {
        let entries = keys.iter().zip(entries);
        let wanted = entries.filter(|(flow, entry)| {
            flow.protocol == protocol.0
                && (entry.to.source, entry.to.source_port) == external
                && entry.side() == Side::Outbound
        });
        // No more than an answer has room for, and one that says so.
        let room = (FLOWS_MAX + 1).saturating_sub(found.len() + halves.len());
        halves.extend(wanted.map(|(flow, entry)| (*flow, *entry)).take(room));
    });
    of(map::FLOWS, walked)?;
    let (clock, pools) = (Clock::now(), view.sessions.pools());
    for (flow, entry) in halves {
        let Some(protocol) = Protocol::from_number(flow.protocol) else {
            continue;
        };
        if let Some(joined) = join(tables, protocol, (flow, entry))? {
            found.push(Found {
                flow: pools.flow(&joined),
                opened: began(&joined, &clock),
                end: End::Open,
            });
        }
    }
    Ok(())
}

fn began<A: Address>(flow: &Joined<A>, clock: &Clock) -> Time {
    clock.tick(flow.outbound.1.created)
}

fn session(found: &Found) -> Session {
    let (state, ended) = match &found.end {
        End::Open => (SessionState::Open, None),
        End::Closed(time, closed) => (SessionState::Closed, Some((time, closed))),
        End::Unknown => (SessionState::Unknown, None),
    };
    let closed = ended.map(|(_, closed)| closed);
    Session {
        client: party(found.flow.client),
        remote: party(found.flow.remote),
        pool: found.flow.pool.as_deref().map(str::to_owned),
        state,
        opened: found.opened.to_string(),
        closed: ended.map(|(time, _)| time.to_string()),
        last_packet: closed.map(|closed| closed.last_packet.to_string()),
        reason: closed.map(|closed| closed.reason.label().to_owned()),
        packets_out: closed.map(|closed| closed.out.packets),
        bytes_out: closed.map(|closed| closed.out.bytes),
        packets_in: closed.map(|closed| closed.inward.packets),
        bytes_in: closed.map(|closed| closed.inward.bytes),
    }
}

fn block(owned: &Owned) -> Block {
    let Owned { since, owner } = owned;
    Block {
        client: owner.client.into(),
        pool: owner.pool.to_string(),
        address: owner.address.into(),
        first: owner.first,
        last: owner.last,
        since: since.to_string(),
    }
}

fn party(endpoint: Endpoint) -> Party {
    Party {
        address: endpoint.address,
        port: endpoint.port,
    }
}

#[cfg(test)]
mod tests;

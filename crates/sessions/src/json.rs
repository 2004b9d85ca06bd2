//! A record as a line of JSON: flat, one object, with a newline behind it.
//!
//! Fields may be added; whoever reads a line ignores what it does not know, and so does this.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use ipnet::Ipv4Net;

use crate::{
    Assignment, Blocks, Closed, Endpoint, Event, Flow, Kind, Protocol, Reason, Record, Time,
    Traffic, record::as_text,
};

/// Bytes of the longest line that is read. Those of flows are below 600, as a pool's name is at most 63
/// long; those of blocks below 6,000, with 256 addresses that do not lie side by side.
pub const LINE_BYTES_MAX: usize = 8192;

/// A prefix, as text.
#[derive(Clone, Copy)]
struct Prefix(Ipv4Net);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Prefix {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|net: Ipv4Net| Self(net.trunc()))
    }
}

as_text! { Prefix, "an IPv4 prefix"; }

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Something of a flow.
    Flow(Record),
    /// The blocks of a pool in force since a time, beside those of other lines of the same time; or
    /// that there are none.
    Blocks(Time, Option<Blocks>),
}

/// A record as it stands in a line.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    time: Time,
    event: Kind,
    protocol: Protocol,
    client: Endpoint,
    external: Endpoint,
    remote: Endpoint,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pool: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opened: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_packet: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packets_out: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_out: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packets_in: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

/// A pool's blocks as they stand in a line.
#[derive(Serialize, Deserialize)]
struct BlocksLine<'a> {
    time: Time,
    event: Kind,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pool: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    clients: Vec<Prefix>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Prefix>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clients_per_address: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ports: Option<u16>,
}

/// Why a line is no record.
#[derive(Debug)]
pub enum LineError {
    /// It is not JSON, or a field is missing or of the wrong kind.
    Json(serde_json::Error),
    /// It says that a flow closed, or which blocks there are, and not all of what is known then.
    Incomplete,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "not a record in JSON: {error}"),
            Self::Incomplete => f.write_str("a record lacks fields, or has them wrong"),
        }
    }
}

impl std::error::Error for LineError {}

/// Appends a record's line, with its newline.
pub fn write(record: &Record, text: &mut Vec<u8>) {
    let Record { time, flow, event } = record;
    let closed = match event {
        Event::Opened => None,
        Event::Closed(closed) => Some(closed),
    };
    let line = Line {
        time: *time,
        event: record.kind(),
        protocol: flow.protocol,
        client: flow.client,
        external: flow.external,
        remote: flow.remote,
        pool: flow.pool.as_deref().map(Cow::Borrowed),
        opened: closed.map(|closed| closed.opened),
        last_packet: closed.map(|closed| closed.last_packet),
        packets_out: closed.map(|closed| closed.out.packets),
        bytes_out: closed.map(|closed| closed.out.bytes),
        packets_in: closed.map(|closed| closed.inward.packets),
        bytes_in: closed.map(|closed| closed.inward.bytes),
        reason: closed.map(|closed| closed.reason),
    };
    push(&line, text);
}

/// Appends the lines of blocks: one for each pool, or one that says that there are none. Returns how
/// many, each with where it begins.
pub fn write_blocks(assignment: &Assignment, text: &mut Vec<u8>) -> Vec<usize> {
    let Assignment { time, pools } = assignment;
    let mut places = Vec::new();
    let none = pools.is_empty().then_some(None);
    for blocks in pools.iter().map(Some).chain(none) {
        places.push(text.len());
        let prefixes = |of: fn(&Blocks) -> &Vec<Ipv4Net>| {
            let all = blocks.into_iter().flat_map(of);
            all.copied().map(Prefix).collect()
        };
        let line = BlocksLine {
            time: *time,
            event: Kind::Blocks,
            pool: blocks.map(|blocks| Cow::Borrowed(&*blocks.pool)),
            clients: prefixes(|blocks| &blocks.clients),
            addresses: prefixes(|blocks| &blocks.addresses),
            clients_per_address: blocks.map(|blocks| blocks.sharing),
            first_port: blocks.map(|blocks| blocks.first),
            ports: blocks.map(|blocks| blocks.size),
        };
        push(&line, text);
    }
    places
}

fn push(line: &impl Serialize, text: &mut Vec<u8>) {
    let before = text.len();
    // Memory takes every byte, and no field's text can fail; still no half line is left behind.
    if serde_json::to_writer(&mut *text, line).is_err() {
        text.truncate(before);
        return;
    }
    text.push(b'\n');
}

/// Reads a line, with or without its newline.
///
/// # Errors
///
/// See [`LineError`].
pub fn read(line: &[u8]) -> Result<Said, LineError> {
    let flow: Result<Line<'_>, _> = serde_json::from_slice(line);
    let line = match flow {
        Ok(line) => line,
        // Hardly any line is of blocks, so it is looked for only now.
        Err(error) => return blocks(line).unwrap_or(Err(LineError::Json(error))),
    };
    let event = match line.event {
        Kind::Opened => Event::Opened,
        Kind::Closed => Event::Closed(closed(&line).ok_or(LineError::Incomplete)?),
        Kind::Blocks => return Err(LineError::Incomplete),
    };
    Ok(Said::Flow(Record {
        time: line.time,
        flow: Flow {
            protocol: line.protocol,
            client: line.client,
            external: line.external,
            remote: line.remote,
            pool: line.pool.as_deref().map(Into::into),
        },
        event,
    }))
}

/// Reads a line of blocks; nothing if it is none.
fn blocks(line: &[u8]) -> Option<Result<Said, LineError>> {
    let line: BlocksLine<'_> = serde_json::from_slice(line).ok()?;
    if line.event != Kind::Blocks {
        return None;
    }
    let Some(pool) = line.pool.as_deref() else {
        return Some(Ok(Said::Blocks(line.time, None)));
    };
    let facts = (line.clients_per_address, line.first_port, line.ports);
    let (Some(sharing), Some(first), Some(size)) = facts else {
        return Some(Err(LineError::Incomplete));
    };
    let nets = |prefixes: Vec<Prefix>| prefixes.into_iter().map(|Prefix(net)| net).collect();
    let blocks = Blocks {
        pool: pool.into(),
        clients: nets(line.clients),
        addresses: nets(line.addresses),
        sharing,
        first,
        size,
    };
    let ports = u64::from(sharing) * u64::from(size) + u64::from(first);
    if sharing == 0 || size == 0 || ports > 1 << 16 {
        return Some(Err(LineError::Incomplete));
    }
    Some(Ok(Said::Blocks(line.time, Some(blocks))))
}

fn closed(line: &Line<'_>) -> Option<Closed> {
    Some(Closed {
        opened: line.opened?,
        last_packet: line.last_packet?,
        out: Traffic {
            packets: line.packets_out?,
            bytes: line.bytes_out?,
        },
        inward: Traffic {
            packets: line.packets_in?,
            bytes: line.bytes_in?,
        },
        reason: line.reason?,
    })
}

#[cfg(test)]
mod tests;

//! A record as a line of JSON: flat, one object, with a newline behind it.
//!
//! Fields may be added; whoever reads a line ignores what it does not know, and so does this.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{Closed, Endpoint, Event, Flow, Kind, Protocol, Reason, Record, Time, Traffic};

/// Bytes of the longest line that is read. Ours are below 600; a pool's name is at most 63 long.
pub const LINE_BYTES_MAX: usize = 4096;

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

/// Why a line is no record.
#[derive(Debug)]
pub enum LineError {
    /// It is not JSON, or a field is missing or of the wrong kind.
    Json(serde_json::Error),
    /// It says that a flow closed, and not all of what is known then.
    Incomplete,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "not a record in JSON: {error}"),
            Self::Incomplete => f.write_str("a record of a flow's end lacks fields"),
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
    let before = text.len();
    // Memory takes every byte, and no field's text can fail; still no half line is left behind.
    if serde_json::to_writer(&mut *text, &line).is_err() {
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
pub fn read(line: &[u8]) -> Result<Record, LineError> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(LineError::Json)?;
    let event = match line.event {
        Kind::Opened => Event::Opened,
        Kind::Closed => Event::Closed(closed(&line).ok_or(LineError::Incomplete)?),
    };
    Ok(Record {
        time: line.time,
        flow: Flow {
            protocol: line.protocol,
            client: line.client,
            external: line.external,
            remote: line.remote,
            pool: line.pool.as_deref().map(Into::into),
        },
        event,
    })
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

//! A record as a message of RFC 5424, with its fields as structured data.
//!
//! Over UDP and a unix socket a message is a datagram (RFC 5426); over TCP it is counted (RFC 6587
//! §3.4.1), so that nothing in it can end it.

use std::fmt::{self, Write};

use ipnet::Ipv4Net;

use crate::{Assignment, Blocks, Event, Kind, Record, Time};

/// Facility `local0`, severity `informational`: `16 * 8 + 6`.
const PRIORITY: u8 = 134;

/// The name of the structured data. The number is the one that RFC 5612 keeps for documentation:
/// until the project has a private enterprise number of its own, it stands in its place.
pub const SD_ID: &str = "session@32473";

/// The longest host name that a message may have (RFC 5424 §6).
const HOST_BYTES_MAX: usize = 255;

/// Who says it.
#[derive(Clone, Debug)]
pub struct Syslog {
    host: String,
    process: u32,
}

impl Syslog {
    /// Messages from this host, by this process.
    pub fn new(host: &str, process: u32) -> Self {
        let graphic = host.chars().filter(char::is_ascii_graphic);
        let host: String = graphic.take(HOST_BYTES_MAX).collect();
        Self {
            host: if host.is_empty() {
                "-".to_owned()
            } else {
                host
            },
            process,
        }
    }

    /// The message of a record.
    pub fn message(&self, record: &Record) -> String {
        let Self { host, process } = self;
        let (time, kind, flow) = (record.time, record.kind().label(), &record.flow);
        let mut text = format!(
            "<{PRIORITY}>1 {time} {host} egretd {process} {kind} [{SD_ID} event=\"{kind}\""
        );
        let mut say = |name: &str, value: &dyn fmt::Display| parameter(&mut text, name, value);
        say("protocol", &flow.protocol);
        say("client", &flow.client);
        say("external", &flow.external);
        say("remote", &flow.remote);
        if let Some(pool) = &flow.pool {
            say("pool", pool);
        }
        if let Event::Closed(closed) = &record.event {
            let opened: Time = closed.opened;
            say("opened", &opened);
            say("last_packet", &closed.last_packet);
            say("packets_out", &closed.out.packets);
            say("bytes_out", &closed.out.bytes);
            say("packets_in", &closed.inward.packets);
            say("bytes_in", &closed.inward.bytes);
            say("reason", &closed.reason.label());
        }
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "] {} {} {} as {} to {}",
            flow.protocol, kind, flow.client, flow.external, flow.remote
        );
        text
    }

    /// The messages of blocks: one for each pool, or one that says that there are none.
    pub fn blocks(&self, assignment: &Assignment) -> Vec<String> {
        let Self { host, process } = self;
        let (time, kind) = (assignment.time, Kind::Blocks.label());
        let head = format!(
            "<{PRIORITY}>1 {time} {host} egretd {process} {kind} [{SD_ID} event=\"{kind}\""
        );
        if assignment.pools.is_empty() {
            return vec![format!("{head}] no client has ports of its own")];
        }
        let message = |blocks: &Blocks| {
            let mut text = head.clone();
            let mut say = |name: &str, value: &dyn fmt::Display| parameter(&mut text, name, value);
            say("pool", &blocks.pool);
            say("clients", &listed(&blocks.clients));
            say("addresses", &listed(&blocks.addresses));
            say("clients_per_address", &blocks.sharing);
            say("first_port", &blocks.first);
            say("ports", &blocks.size);
            let (pool, size) = (&blocks.pool, blocks.size);
            text + &format!("] each client of pool {pool} has {size} ports of its own")
        };
        assignment.pools.iter().map(message).collect()
    }
}

fn listed(nets: &[Ipv4Net]) -> String {
    let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
    nets.join(",")
}

/// Appends a message as it stands in a stream: behind its length.
pub fn framed(message: &str, stream: &mut Vec<u8>) {
    stream.extend_from_slice(message.len().to_string().as_bytes());
    stream.push(b' ');
    stream.extend_from_slice(message.as_bytes());
}

/// Appends a parameter; what would end its value is escaped (RFC 5424 §6.3.3).
fn parameter(text: &mut String, name: &str, value: &dyn fmt::Display) {
    text.push(' ');
    text.push_str(name);
    text.push_str("=\"");
    for character in value.to_string().chars() {
        if matches!(character, '"' | '\\' | ']') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

#[cfg(test)]
mod tests;

//! Records as IPFIX (RFC 7011) with the elements that NATs use (RFC 8158).
//!
//! A [`Template`] says which elements a record has; it depends on what the record tells and on the
//! families of its addresses. A collector that listens over UDP cannot ask for a template again, so
//! each one that is in use goes out anew every [`TEMPLATES_EVERY`].

mod template;

use std::{collections::BTreeMap, time::Duration};

pub use template::{Field, Template};

use crate::{Record, Time};

/// Bytes of a message: it fits into one packet of any path (RFC 7011 §10.3.3).
pub const MESSAGE_BYTES_MAX: usize = 1400;

/// How often templates are said again.
pub const TEMPLATES_EVERY: Duration = Duration::from_secs(60);

const VERSION: u16 = 10;
const HEADER_BYTES: usize = 16;
const SET_BYTES: usize = 4;
/// The set that holds templates (RFC 7011 §3.3.2).
const TEMPLATE_SET: u16 = 2;

/// What exports to one collector.
#[derive(Clone, Debug)]
pub struct Exporter {
    domain: u32,
    /// Data records sent, modulo 2³².
    sequence: u32,
    /// When each template was last said, by its number.
    said: BTreeMap<u16, Time>,
}

impl Exporter {
    /// An exporter of this observation domain that has said nothing.
    pub const fn new(domain: u32) -> Self {
        Self {
            domain,
            sequence: 0,
            said: BTreeMap::new(),
        }
    }

    /// The messages that tell of these records, in their order.
    pub fn messages(&mut self, records: &[Record], now: Time) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut message = Draft::new();
        for record in records {
            let template = Template::of(record);
            let data = template.data(record);
            let is_due = self.is_due(template, now);
            let needed = message.needs(template, data.len(), is_due);
            if message.bytes.len() + needed > MESSAGE_BYTES_MAX {
                messages.extend(self.finish(std::mem::replace(&mut message, Draft::new()), now));
            }
            if is_due {
                message.templates(template);
                self.said.insert(template.number(), now);
            }
            message.data(template, &data);
        }
        messages.extend(self.finish(message, now));
        messages
    }

    /// Says every template anew with the next record that needs it: the collector may be another.
    pub fn forget_templates(&mut self) {
        self.said.clear();
    }

    fn is_due(&self, template: Template, now: Time) -> bool {
        let said = self.said.get(&template.number());
        // A clock that was set back does not keep a collector waiting.
        said.is_none_or(|said| now < *said || now >= said.plus(TEMPLATES_EVERY))
    }

    fn finish(&mut self, draft: Draft, now: Time) -> Option<Message> {
        let Draft {
            mut bytes, records, ..
        } = draft.closed();
        if bytes.len() == HEADER_BYTES {
            return None;
        }
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend(VERSION.to_be_bytes());
        header.extend(length(bytes.len()));
        header.extend(now.secs().to_be_bytes());
        header.extend(self.sequence.to_be_bytes());
        header.extend(self.domain.to_be_bytes());
        bytes.splice(..HEADER_BYTES, header);
        self.sequence = self.sequence.wrapping_add(records);
        Some(Message { bytes, records })
    }
}

/// A message, ready to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// As it stands on the wire.
    pub bytes: Vec<u8>,
    /// Records in it.
    pub records: u32,
}

/// A message under construction.
struct Draft {
    bytes: Vec<u8>,
    /// The set that is open: its number, and where it begins.
    set: Option<(u16, usize)>,
    records: u32,
}

impl Draft {
    fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_BYTES],
            set: None,
            records: 0,
        }
    }

    /// Bytes that a record still needs.
    fn needs(&self, template: Template, data: usize, with_template: bool) -> usize {
        let own_set = match self.set {
            Some((number, _)) if number == template.number() && !with_template => 0,
            Some(_) | None => SET_BYTES,
        };
        let templates = if with_template {
            SET_BYTES + template.definition().len()
        } else {
            0
        };
        templates + own_set + data
    }

    fn templates(&mut self, template: Template) {
        self.open(TEMPLATE_SET);
        self.bytes.extend(template.definition());
    }

    fn data(&mut self, template: Template, data: &[u8]) {
        self.open(template.number());
        self.bytes.extend_from_slice(data);
        self.records = self.records.wrapping_add(1);
    }

    /// Opens a set, unless it is the one that is open.
    fn open(&mut self, number: u16) {
        if self.set.is_some_and(|(open, _)| open == number) {
            return;
        }
        self.close();
        self.set = Some((number, self.bytes.len()));
        self.bytes.extend(number.to_be_bytes());
        self.bytes.extend([0; 2]);
    }

    /// Writes the length of the open set.
    fn close(&mut self) {
        if let Some((_, start)) = self.set.take() {
            let length = length(self.bytes.len() - start);
            self.bytes.splice(start + 2..start + SET_BYTES, length);
        }
    }

    fn closed(mut self) -> Self {
        self.close();
        self
    }
}

/// A length on the wire; no message of ours is longer than [`MESSAGE_BYTES_MAX`].
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests;

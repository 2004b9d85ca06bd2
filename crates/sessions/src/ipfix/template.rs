//! Which elements a record has, and their bytes.

use std::net::IpAddr;

use crate::{Closed, Event, Reason, Record};

/// An information element as we use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its number in the registry of IANA.
    pub element: u16,
    /// Its bytes.
    pub length: u16,
}

const fn field(element: u16, length: u16) -> Field {
    Field { element, length }
}

/// A length that each record says by itself (RFC 7011 §7).
const VARIABLE: u16 = 65_535;

const OBSERVATION_TIME_MILLISECONDS: Field = field(323, 8);
const NAT_EVENT: Field = field(230, 1);
const PROTOCOL_IDENTIFIER: Field = field(4, 1);
const SOURCE_TRANSPORT_PORT: Field = field(7, 2);
const POST_NAPT_SOURCE_TRANSPORT_PORT: Field = field(227, 2);
const DESTINATION_TRANSPORT_PORT: Field = field(11, 2);
const NAT_POOL_NAME: Field = field(284, VARIABLE);
const FLOW_START_MILLISECONDS: Field = field(152, 8);
const FLOW_END_MILLISECONDS: Field = field(153, 8);
const INITIATOR_OCTETS: Field = field(231, 8);
const RESPONDER_OCTETS: Field = field(232, 8);
const INITIATOR_PACKETS: Field = field(298, 8);
const RESPONDER_PACKETS: Field = field(299, 8);
const FLOW_END_REASON: Field = field(136, 1);

/// An element in its form for IPv4 and in that for IPv6.
type Address = [Field; 2];
const SOURCE: Address = [field(8, 4), field(27, 16)];
const POST_NAT_SOURCE: Address = [field(225, 4), field(281, 16)];
const DESTINATION: Address = [field(12, 4), field(28, 16)];
/// Of a flow between the versions, what is known of the target is what it is after translation.
const POST_NAT_DESTINATION: Address = [field(226, 4), field(282, 16)];
const POST_NAPT_DESTINATION_TRANSPORT_PORT: Field = field(228, 2);

/// ICMP for IPv6 (RFC 4443), whose queries are those of ICMP otherwise.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The elements of one kind of record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Template {
    /// Whether it says that flows ended; else that they began.
    is_end: bool,
    /// Whether client, external and remote address are IPv6.
    is_v6: [bool; 3],
    /// Whether the pool's name is known. One that is not is left out: collectors stumble over text
    /// without a letter, though it is allowed.
    has_pool: bool,
}

/// The lowest number that a template may have (RFC 7011 §3.4.1).
const FIRST: u16 = 256;

impl Template {
    /// The template of a record.
    pub fn of(record: &Record) -> Self {
        let flow = &record.flow;
        Self {
            is_end: matches!(record.event, Event::Closed(_)),
            is_v6: [flow.client, flow.external, flow.remote].map(|it| it.address.is_ipv6()),
            has_pool: flow.pool.as_ref().is_some_and(|pool| !pool.is_empty()),
        }
    }

    /// Its number.
    pub fn number(self) -> u16 {
        let kind = if self.is_end { 8 } else { 0 };
        let [client, external, remote] = self.is_v6.map(u16::from);
        let pool = if self.has_pool { 16 } else { 0 };
        FIRST + pool + kind + 4 * client + 2 * external + remote
    }

    /// Its elements, in their order.
    pub fn fields(self) -> Vec<Field> {
        let address = |[v4, v6]: Address, is_v6| if is_v6 { v6 } else { v4 };
        let [client, external, remote] = self.is_v6;
        let (destination, destination_port) = match (client, remote) {
            (true, false) => (POST_NAT_DESTINATION, POST_NAPT_DESTINATION_TRANSPORT_PORT),
            (true, true) | (false, _) => (DESTINATION, DESTINATION_TRANSPORT_PORT),
        };
        let mut fields = vec![
            OBSERVATION_TIME_MILLISECONDS,
            NAT_EVENT,
            PROTOCOL_IDENTIFIER,
            address(SOURCE, client),
            SOURCE_TRANSPORT_PORT,
            address(POST_NAT_SOURCE, external),
            POST_NAPT_SOURCE_TRANSPORT_PORT,
            address(destination, remote),
            destination_port,
        ];
        if self.has_pool {
            fields.push(NAT_POOL_NAME);
        }
        if self.is_end {
            fields.extend([
                FLOW_START_MILLISECONDS,
                FLOW_END_MILLISECONDS,
                INITIATOR_PACKETS,
                INITIATOR_OCTETS,
                RESPONDER_PACKETS,
                RESPONDER_OCTETS,
                FLOW_END_REASON,
            ]);
        }
        fields
    }

    /// The template as it is said to a collector (RFC 7011 §3.4.1).
    pub fn definition(self) -> Vec<u8> {
        let fields = self.fields();
        let mut bytes = Vec::new();
        bytes.extend(self.number().to_be_bytes());
        bytes.extend((fields.len() as u16).to_be_bytes());
        for field in fields {
            bytes.extend(field.element.to_be_bytes());
            bytes.extend(field.length.to_be_bytes());
        }
        bytes
    }

    /// A record of this template, in the order of [`Self::fields`].
    pub fn data(self, record: &Record) -> Vec<u8> {
        let flow = &record.flow;
        let mut bytes = Vec::new();
        bytes.extend(record.time.millis().to_be_bytes());
        bytes.push(self.nat_event());
        bytes.push(match (flow.protocol.0, self.is_v6) {
            (ICMP, [true, ..]) => ICMPV6,
            (protocol, _) => protocol,
        });
        for endpoint in [flow.client, flow.external, flow.remote] {
            match endpoint.address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
            bytes.extend(endpoint.port.to_be_bytes());
        }
        if let Some(pool) = flow.pool.as_ref().filter(|_| self.has_pool) {
            text(pool, &mut bytes);
        }
        match &record.event {
            Event::Opened => {}
            Event::Closed(closed) => end(closed, &mut bytes),
        }
        bytes
    }

    /// RFC 8158 §8.2, and the registry of `natEvent`.
    const fn nat_event(self) -> u8 {
        let [client, external, _] = self.is_v6;
        let create = match (client, external) {
            // NAT44 session create.
            (false, _) => 4,
            // NAT64 session create.
            (true, false) => 6,
            // NAT translation create, the one that names no family.
            (true, true) => 1,
        };
        if self.is_end { create + 1 } else { create }
    }
}

fn end(closed: &Closed, bytes: &mut Vec<u8>) {
    for number in [
        closed.opened.millis(),
        closed.last_packet.millis(),
        closed.out.packets,
        closed.out.bytes,
        closed.inward.packets,
        closed.inward.bytes,
    ] {
        bytes.extend(number.to_be_bytes());
    }
    // RFC 5102 §5.11.3: idle timeout, end of flow detected, forced end.
    bytes.push(match closed.reason {
        Reason::Idle => 1,
        Reason::Finished | Reason::Reset => 3,
        Reason::Removed => 4,
    });
}

/// Text with its length before it, in the short form: names are below 255 bytes.
fn text(text: &str, bytes: &mut Vec<u8>) {
    const BYTES_MAX: u8 = 254;
    let mut end = text.len().min(usize::from(BYTES_MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    bytes.push(u8::try_from(text.len()).unwrap_or(BYTES_MAX));
    bytes.extend_from_slice(text.as_bytes());
}

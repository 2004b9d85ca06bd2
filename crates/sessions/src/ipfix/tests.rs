//! Our messages, read by a collector that is not our code.

use std::net::IpAddr;

use netflow_parser::{NetflowPacket, NetflowParser, variable_versions::ipfix::FlowSetBody};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    Event,
    samples::{any_record, closed, opened},
};

/// What the collector understood of some messages.
#[derive(Default)]
struct Collected {
    /// Each record by the names that the registry gives its elements.
    records: Vec<Map<String, Value>>,
    /// The number of each template that was said.
    templates: Vec<u16>,
    /// The sequence number of each message, and the records behind it.
    sequence: Vec<(u32, usize)>,
    domains: Vec<u32>,
}

fn collect(parser: &mut NetflowParser, messages: &[Message]) -> Collected {
    let mut collected = Collected::default();
    for message in messages {
        let parsed = parser.parse_bytes(&message.bytes);
        assert!(parsed.error.is_none(), "{:?}", parsed.error);
        for packet in parsed.packets {
            let NetflowPacket::IPFix(packet) = packet else {
                panic!("no IPFIX: {packet:?}");
            };
            assert_eq!(usize::from(packet.header.length), message.bytes.len());
            let before = collected.records.len();
            for set in packet.flowsets {
                if let FlowSetBody::Template(template) = &set.body {
                    collected.templates.push(template.template_id);
                } else if let FlowSetBody::Data(data) = &set.body {
                    collected.records.extend(data.fields.iter().map(|fields| {
                        let fields = fields.iter().map(|(name, value)| {
                            let name = serde_json::to_value(name).unwrap();
                            let value = serde_json::to_value(value).unwrap();
                            (name["IANA"].as_str().unwrap().to_owned(), value)
                        });
                        fields.collect()
                    }));
                } else {
                    panic!("neither template nor data: {:?}", set.body);
                }
            }
            let records = collected.records.len() - before;
            assert_eq!(usize::try_from(message.records).unwrap(), records);
            collected
                .sequence
                .push((packet.header.sequence_number, records));
            collected.domains.push(packet.header.observation_domain_id);
        }
    }
    collected
}

fn exported(records: &[Record]) -> Collected {
    let messages = Exporter::new(7).messages(records, opened().time);
    collect(&mut NetflowParser::default(), &messages)
}

#[test]
fn a_collector_understands_a_beginning_and_an_end() {
    let collected = exported(&[opened(), closed()]);

    let beginning = json!({
        "ObservationTimeMilliseconds": {"Duration": {"secs": 1_793_714_700, "nanos": 123_000_000}},
        "NatEvent": {"NatEvent": "Nat44SessionCreate"},
        "ProtocolIdentifier": {"ProtocolType": "Tcp"},
        "SourceIpv4address": {"Ip4Addr": "10.1.0.7"},
        "SourceTransportPort": {"DataNumber": {"U16": 40000}},
        "PostNatsourceIpv4address": {"Ip4Addr": "192.0.2.10"},
        "PostNaptsourceTransportPort": {"DataNumber": {"U16": 40000}},
        "DestinationIpv4address": {"Ip4Addr": "198.51.100.9"},
        "DestinationTransportPort": {"DataNumber": {"U16": 443}},
        "NatPoolName": {"String": "team-a"},
    });
    let mut end = beginning.clone();
    for (name, value) in json!({
        "ObservationTimeMilliseconds": {"Duration": {"secs": 1_793_714_947, "nanos": 500_000_000}},
        "NatEvent": {"NatEvent": "Nat44SessionDelete"},
        "FlowStartMilliseconds": {"Duration": {"secs": 1_793_714_700, "nanos": 0}},
        "FlowEndMilliseconds": {"Duration": {"secs": 1_793_714_703, "nanos": 0}},
        "InitiatorPackets": {"DataNumber": {"U64": 7}},
        "InitiatorOctets": {"DataNumber": {"U64": 812}},
        "ResponderPackets": {"DataNumber": {"U64": 5}},
        "ResponderOctets": {"DataNumber": {"U64": 4096}},
        "FlowEndReason": {"FlowEndReason": "EndOfFlow"},
    })
    .as_object()
    .unwrap()
    {
        end[name] = value.clone();
    }
    let understood: Vec<Value> = collected.records.into_iter().map(Value::Object).collect();
    assert_eq!(understood, [beginning, end]);
    assert_eq!(collected.domains, [7]);
}

#[test]
fn a_collector_understands_a_session_between_versions() {
    let between = |client: &str, external: &str, remote: &str| {
        let mut record = opened();
        record.flow.protocol = crate::Protocol(1);
        record.flow.client = client.parse().unwrap();
        record.flow.external = external.parse().unwrap();
        record.flow.remote = remote.parse().unwrap();
        record
    };
    let nat64 = between("[2001:db8::7]:77", "192.0.2.10:78", "198.51.100.9:0");
    let napt66 = between(
        "[2001:db8::7]:77",
        "[2001:db8:a::1]:78",
        "[2001:db8:9::9]:0",
    );

    let collected = exported(&[nat64, napt66]);

    let [nat64, napt66] = collected.records.as_slice() else {
        panic!("{:?}", collected.records);
    };
    assert_eq!(nat64["NatEvent"], json!({"NatEvent": "Nat64SessionCreate"}));
    assert_eq!(
        nat64["ProtocolIdentifier"],
        json!({"ProtocolType": "Ipv6Icmp"})
    );
    assert_eq!(
        nat64["SourceIpv6address"],
        json!({"Ip6Addr": "2001:db8::7"})
    );
    assert_eq!(
        nat64["PostNatsourceIpv4address"],
        json!({"Ip4Addr": "192.0.2.10"})
    );
    assert_eq!(
        nat64["PostNatdestinationIpv4address"],
        json!({"Ip4Addr": "198.51.100.9"})
    );
    assert_eq!(
        napt66["DestinationIpv6address"],
        json!({"Ip6Addr": "2001:db8:9::9"})
    );
    assert_eq!(
        napt66["ProtocolIdentifier"],
        json!({"ProtocolType": "Ipv6Icmp"})
    );
}

#[test]
fn a_flow_whose_pool_is_gone_has_no_name_of_a_pool() {
    let mut record = opened();
    record.flow.pool = None;

    let collected = exported(&[record, opened()]);

    let has_pool = |record: &Map<String, Value>| record.contains_key("NatPoolName");
    let have: Vec<bool> = collected.records.iter().map(has_pool).collect();
    assert_eq!(have, [false, true]);
}

#[test]
fn templates_are_said_again_in_time_and_not_before() {
    let mut exporter = Exporter::new(0);
    let mut parser = NetflowParser::default();
    let mut said_at = |seconds| {
        let now = opened().time.plus(Duration::from_secs(seconds));
        collect(&mut parser, &exporter.messages(&[opened()], now)).templates
    };

    assert_eq!(said_at(0), [272]);
    assert!(said_at(59).is_empty());
    assert_eq!(said_at(60), [272]);
    assert!(said_at(61).is_empty());
}

#[test]
fn another_collector_hears_the_templates_too() {
    let mut exporter = Exporter::new(0);
    let now = opened().time;
    exporter.messages(&[opened(), closed()], now);

    exporter.forget_templates();
    let messages = exporter.messages(&[opened(), closed()], now);

    let collected = collect(&mut NetflowParser::default(), &messages);
    assert_eq!(collected.templates, [272, 280]);
    assert_eq!(collected.records.len(), 2);
    assert_eq!(collected.sequence, [(2, 2)]);
}

#[test]
fn many_records_are_several_messages_that_each_fit_a_packet() {
    let records: Vec<Record> = (0..100)
        .map(|number| if number % 3 == 0 { opened() } else { closed() })
        .collect();

    let messages = Exporter::new(0).messages(&records, opened().time);

    assert!(messages.len() > 3);
    assert!(
        messages
            .iter()
            .all(|it| it.bytes.len() <= MESSAGE_BYTES_MAX)
    );
    let collected = collect(&mut NetflowParser::default(), &messages);
    assert_eq!(collected.records.len(), 100);
    let mut expected = 0;
    for (sequence, records) in collected.sequence {
        assert_eq!(sequence, expected);
        expected += u32::try_from(records).unwrap();
    }
}

#[test]
fn nothing_to_say_is_no_message() {
    assert!(Exporter::new(0).messages(&[], opened().time).is_empty());
}

/// The address and port of a record, whichever family it is of.
fn endpoint(record: &Map<String, Value>, names: [&str; 3]) -> Option<(String, u64)> {
    let [v4, v6, port] = names;
    let address = record.get(v4).or_else(|| record.get(v6))?;
    let address = address.get("Ip4Addr").or_else(|| address.get("Ip6Addr"))?;
    let port = record.get(port)?.pointer("/DataNumber/U16")?;
    Some((address.as_str()?.to_owned(), port.as_u64()?))
}

proptest! {
    #[test]
    fn a_collector_reads_back_every_record_in_its_order(
        records in prop::collection::vec(any_record(), 0..40),
    ) {
        let collected = exported(&records);
        prop_assert_eq!(collected.records.len(), records.len());
        for (read, record) in collected.records.iter().zip(&records) {
            let between = (record.flow.client.address, record.flow.remote.address);
            let remote = match between {
                (IpAddr::V6(_), IpAddr::V4(_)) => [
                    "PostNatdestinationIpv4address",
                    "PostNatdestinationIpv6address",
                    "PostNaptdestinationTransportPort",
                ],
                _ => ["DestinationIpv4address", "DestinationIpv6address", "DestinationTransportPort"],
            };
            for (endpoint_of, names) in [
                (record.flow.client, ["SourceIpv4address", "SourceIpv6address", "SourceTransportPort"]),
                (
                    record.flow.external,
                    ["PostNatsourceIpv4address", "PostNatsourceIpv6address", "PostNaptsourceTransportPort"],
                ),
                (record.flow.remote, remote),
            ] {
                let wanted = (endpoint_of.address.to_string(), u64::from(endpoint_of.port));
                prop_assert_eq!(endpoint(read, names), Some(wanted), "{:?}", read);
            }
            if let Event::Closed(closed) = &record.event {
                prop_assert_eq!(&read["InitiatorOctets"]["DataNumber"]["U64"], &json!(closed.out.bytes));
            }
        }
    }
}

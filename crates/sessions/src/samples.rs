//! Records for tests.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::{Closed, Endpoint, Event, Flow, Protocol, Reason, Record, Time, Traffic};

/// The flow that tests speak of.
pub fn flow() -> Flow {
    Flow {
        protocol: Protocol(6),
        client: "10.1.0.7:40000".parse().unwrap(),
        external: "192.0.2.10:40000".parse().unwrap(),
        remote: "198.51.100.9:443".parse().unwrap(),
        pool: Some("team-a".into()),
    }
}

/// Its beginning.
pub fn opened() -> Record {
    Record {
        time: "2026-11-03T14:05:00.123456Z".parse().unwrap(),
        flow: flow(),
        event: Event::Opened,
    }
}

/// Its end.
pub fn closed() -> Record {
    Record {
        time: "2026-11-03T14:09:07.5Z".parse().unwrap(),
        flow: flow(),
        event: Event::Closed(Closed {
            opened: "2026-11-03T14:05:00Z".parse().unwrap(),
            last_packet: "2026-11-03T14:05:03Z".parse().unwrap(),
            out: Traffic {
                packets: 7,
                bytes: 812,
            },
            inward: Traffic {
                packets: 5,
                bytes: 4096,
            },
            reason: Reason::Finished,
        }),
    }
}

/// Any time of the calendar.
pub fn any_time() -> impl Strategy<Value = Time> {
    (0..=Time::MAX.micros()).prop_map(Time::from_micros)
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let v4 = (any::<u32>(), any::<u16>())
        .prop_map(|(address, port)| Endpoint::new(Ipv4Addr::from(address), port));
    // What maps IPv4 is IPv4, and never on the wire.
    let v6 = (any::<u128>(), any::<u16>())
        .prop_map(|(address, port)| Endpoint::new(Ipv6Addr::from(address | 1 << 127), port));
    prop_oneof![v4, v6]
}

fn any_traffic() -> impl Strategy<Value = Traffic> {
    any::<(u64, u64)>().prop_map(|(packets, bytes)| Traffic { packets, bytes })
}

fn any_event() -> impl Strategy<Value = Event> {
    let reason = prop::sample::select(Reason::ALL.to_vec());
    let closed = (any_time(), any_time(), any_traffic(), any_traffic(), reason).prop_map(
        |(opened, last_packet, out, inward, reason)| {
            Event::Closed(Closed {
                opened,
                last_packet,
                out,
                inward,
                reason,
            })
        },
    );
    prop_oneof![Just(Event::Opened), closed]
}

prop_compose! {
    /// Any record, of either family.
    pub fn any_record()(
        time in any_time(),
        protocol in any::<u8>(),
        endpoints in [any_endpoint(), any_endpoint(), any_endpoint()],
        pool in prop::option::of("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"),
        event in any_event(),
    ) -> Record {
        let [client, external, remote] = endpoints;
        let flow = Flow { protocol: Protocol(protocol), client, external, remote, pool: pool.map(Into::into) };
        Record { time, flow, event }
    }
}

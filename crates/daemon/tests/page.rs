//! The page of metrics, from readings that no kernel was asked for.

use std::{sync::Arc, time::Duration};

use abi::{Counter, Protocol, Reason, Told};
use api::http::{
    AddressState, AttachMode, Bfd, BfdSession, Bgp, BgpPeer, ByProtocol, Cluster, ClusterMember,
    Copies, Family, InterfaceStatus, Kept, Messages, Pool, PoolAddress, Pools, Ports, Program,
    Realm, Refused, Sent, Traffic,
};
use daemon::{
    holding::Holding,
    metrics::{
        ALL, Readings, page,
        readings::{Fill, RuleUse},
    },
    sessions::Sessions,
    view::{ConfigView, SweepView, View},
};
use gateway::{Swept, sweep::FlowState};
use jiff::Timestamp;

use crate::rig::{CONFIG, prometheus};

fn readings() -> Readings {
    let swept = Swept {
        flows: [((Protocol::Tcp, FlowState::Established), 7)].into(),
        lag: 1_500_000_000,
        ..Swept::default()
    };
    let view = View {
        started: Timestamp::UNIX_EPOCH,
        adopted: true,
        program: Program {
            instructions: None,
            tag: String::new(),
        },
        config: ConfigView {
            source: "test.yaml".to_owned(),
            loaded_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            digest: String::new(),
            saved: false,
            text: CONFIG.into(),
            last_error: Some(api::Problems::default()),
        },
        intent: Arc::new(gateway::intent::parse("test.yaml", CONFIG).unwrap().intent),
        numbers: Arc::default(),
        leases: Arc::default(),
        unmapped: Arc::default(),
        interfaces: vec![InterfaceStatus {
            name: "a\\\"\nb".to_owned(),
            ifindex: Some(7),
            realm: Realm::Both,
            mode: Some(AttachMode::Generic),
            attached: true,
            pinned: true,
            addresses: Vec::new(),
        }],
        links: Arc::default(),
        sweep: SweepView {
            passes: 9,
            expired: 8,
            orphans: 1,
            duration: Some(Duration::from_millis(25)),
            last: Arc::new(swept),
        },
        sessions: Sessions::default(),
        holding: Holding::default(),
        notes: Vec::new(),
    };
    let counts = ByProtocol {
        tcp: 3,
        udp: 2,
        icmp: 1,
        ..ByProtocol::default()
    };
    Readings {
        view: Arc::new(view),
        pools: Pools {
            pools: vec![pool()],
        },
        expired: vec![("team-a".to_owned(), counts)],
        active: vec![("team-a".to_owned(), 7)],
        rules: vec![RuleUse {
            name: "databases".to_owned(),
            flows: 7,
            ports: 5,
            refused: 2,
        }],
        told: Told::ALL.map(|told| (told, 4)).into(),
        exits: Reason::ALL
            .iter()
            .map(|reason| {
                (
                    *reason,
                    Counter {
                        packets: 5,
                        bytes: 300,
                    },
                )
            })
            .collect(),
        events_lost: 3,
        bgp: bgp(),
        bfd: bfd(),
        cluster: cluster(),
        fills: vec![Fill {
            table: "FLOWS",
            entries: 14,
            max: 1024,
        }],
    }
}

fn cluster() -> Cluster {
    let copies = Copies {
        sent: Sent {
            connected: true,
            buckets: 40,
            complete: 39,
            lag: 7,
            lag_ms: 1500,
            changes: 8,
            skipped: 9,
        },
        kept: Kept {
            connected: true,
            buckets: 41,
            complete: 38,
            changes: 10,
            bytes: 11,
            flows: 12,
            refused: 13,
            contradicted: 14,
            full: 15,
            malformed: 16,
        },
    };
    Cluster {
        name: Some("west".to_owned()),
        own: Some("gw1".to_owned()),
        certificate_until: Some("2029-02-25T08:39:01Z".to_owned()),
        members: vec![ClusterMember {
            name: "gw2".to_owned(),
            state: "up".to_owned(),
            owns: 128,
            copies: Some(copies),
            ..ClusterMember::default()
        }],
        ..Cluster::default()
    }
}

fn bgp() -> Bgp {
    Bgp {
        peers: vec![BgpPeer {
            name: "leaf-1".to_owned(),
            state: "established".to_owned(),
            established_times: 2,
            families: vec![Family {
                family: "ipv4".to_owned(),
                announced: 3,
                received: 4,
            }],
            messages: vec![Messages {
                kind: "update".to_owned(),
                sent: 5,
                received: 6,
            }],
            ..BgpPeer::default()
        }],
        ..Bgp::default()
    }
}

fn bfd() -> Bfd {
    Bfd {
        sessions: vec![BfdSession {
            name: "leaf-1".to_owned(),
            state: "up".to_owned(),
            downs: 1,
            sent: 7,
            received: 8,
            ..BfdSession::default()
        }],
        refused: vec![Refused {
            reason: "no such session".to_owned(),
            packets: 9,
        }],
        ..Bfd::default()
    }
}

fn pool() -> Pool {
    let address = |last, state| PoolAddress {
        address: [192, 0, 2, last].into(),
        state,
        tcp: Ports {
            used: 7,
            free: 11,
            held: 5,
        },
        udp: Ports::default(),
        icmp: Ports::default(),
        flows: 7,
    };
    Pool {
        name: "team-a".to_owned(),
        draining: false,
        first_port: 1,
        last_port: 18,
        addresses: vec![
            address(1, AddressState::Serving),
            address(2, AddressState::Draining),
        ],
        out: Traffic {
            packets: 10,
            bytes: 1000,
        },
        inward: Traffic {
            packets: 20,
            bytes: 2000,
        },
        new_flows_total: ByProtocol {
            tcp: 3,
            udp: 2,
            icmp: 1,
            ..ByProtocol::default()
        },
    }
}

fn metric(name: &str) -> prometheus::Metric {
    let metrics = prometheus::read(&page(&readings()));
    metrics
        .into_iter()
        .find(|metric| metric.name == name)
        .unwrap()
}

#[test]
fn the_page_has_every_metric_of_the_list_as_it_is_declared() {
    let metrics = prometheus::read(&page(&readings()));

    assert_eq!(metrics.len(), ALL.len());
    for (metric, facts) in metrics.iter().zip(ALL) {
        assert_eq!(metric.name, facts.name);
        assert_eq!(metric.kind, facts.kind.label());
        assert_eq!(metric.help, facts.help);
        assert!(!metric.samples.is_empty(), "{} has no sample", metric.name);
        for (labels, _) in &metric.samples {
            let mut declared = facts.labels.to_vec();
            declared.sort_unstable();
            assert!(
                labels.keys().eq(&declared),
                "{} has {labels:?}",
                metric.name
            );
        }
    }
}

#[test]
fn names_say_what_they_count() {
    use daemon::metrics::list::Unit;

    for facts in ALL {
        let name = facts.name.trim_end_matches("_total");
        assert!(name.starts_with("egret_"), "{name}");
        match facts.unit {
            Unit::Bytes => assert!(name.ends_with("_bytes"), "{name}"),
            Unit::Packets => assert!(name.ends_with("_packets"), "{name}"),
            Unit::Seconds | Unit::Time => assert!(name.ends_with("_seconds"), "{name}"),
            Unit::Fragments => assert!(name.contains("fragments"), "{name}"),
            Unit::Flows => assert!(name.contains("flows"), "{name}"),
            Unit::Ports => assert!(name.contains("_ports_"), "{name}"),
            Unit::Prefixes => assert!(name.ends_with("_prefixes"), "{name}"),
            Unit::Messages => assert!(name.ends_with("_messages"), "{name}"),
            Unit::Sessions => assert!(name.contains("_sessions_"), "{name}"),
            Unit::Records => assert!(name.starts_with("egret_session_"), "{name}"),
            Unit::Buckets | Unit::Changes | Unit::Entries | Unit::Passes | Unit::Truth => {}
        }
    }
}

#[test]
fn traffic_is_told_apart_by_direction() {
    let packets = metric("egret_pool_packets_total");

    assert_eq!(
        packets.value(&[("pool", "team-a"), ("direction", "out")]),
        10.0
    );
    assert_eq!(
        packets.value(&[("pool", "team-a"), ("direction", "in")]),
        20.0
    );
}

#[test]
fn a_draining_address_has_ports_in_use_and_none_to_give() {
    let labels = |address| {
        [
            ("pool", "team-a"),
            ("address", address),
            ("protocol", "tcp"),
        ]
    };

    assert_eq!(metric("egret_ports_used").value(&labels("192.0.2.2")), 7.0);
    assert_eq!(metric("egret_ports_free").value(&labels("192.0.2.1")), 11.0);
    assert_eq!(metric("egret_ports_free").samples.len(), 3);
    assert_eq!(metric("egret_ports_held").value(&labels("192.0.2.1")), 5.0);
}

#[test]
fn states_that_no_flow_is_in_are_there_with_zero() {
    let flows = metric("egret_flows");

    assert_eq!(flows.samples.len(), 8);
    assert_eq!(
        flows.value(&[("protocol", "tcp"), ("state", "established")]),
        7.0
    );
    assert_eq!(
        flows.value(&[("protocol", "udp"), ("state", "active")]),
        0.0
    );
}

#[test]
fn a_name_that_is_hard_to_write_is_read_as_it_is() {
    let attached = metric("egret_interface_attached");
    let labels = [
        ("interface", "a\\\"\nb"),
        ("realm", "both"),
        ("mode", "generic"),
    ];

    assert_eq!(attached.value(&labels), 1.0);
}

#[test]
fn times_are_unix_times_and_failures_are_zero() {
    let loaded = metric("egret_config_loaded_timestamp_seconds").value(&[]);

    assert_eq!(loaded, 1_767_323_045.0);
    assert_eq!(
        metric("egret_config_last_reload_successful").value(&[]),
        0.0
    );
    assert_eq!(metric("egret_expiry_lag_seconds").value(&[]), 1.5);
}

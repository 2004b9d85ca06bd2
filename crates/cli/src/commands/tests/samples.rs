//! Answers as a daemon gives them.

use std::time::{Duration, Instant};

use api::{
    Problem, Problems, Severity,
    http::{
        ActiveFlows, AddressState, Announced, AttachMode, Bfd, BfdSession, Bgp, BgpPeer,
        ByProtocol, ByState, Cluster, ClusterMember, ConfigStatus, Copies, Drain, Drops, Endpoint,
        Exit, Family, Flow, FlowState, Flows, InterfaceStatus, Kept, Mapping, Mappings, Messages,
        Moment, Party, Pool, PoolAddress, Pools, Ports, Program, Protocol, Realm, Refused, Sent,
        Session, SessionState, Status, Sweep, Traffic, Verdict, Who,
    },
    problem::Excerpt,
};

use crate::commands::watch::Sample;

pub fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        build: Some("3f9c1d2".to_owned()),
        pid: 4242,
        started_at: "2026-11-22T08:00:00Z".to_owned(),
        uptime_seconds: 7440,
        adopted: true,
        config: ConfigStatus {
            source: "/etc/egret/gateway.yaml".to_owned(),
            loaded_at: "2026-11-22T08:00:01Z".to_owned(),
            digest: "sha256:9a1b".to_owned(),
            saved: true,
            last_error: None,
        },
        interfaces: vec![
            interface("eth0", Realm::Internal, &[[10, 0, 0, 1]]),
            interface(
                "eth1",
                Realm::External,
                &[[203, 0, 113, 2], [203, 0, 113, 3]],
            ),
        ],
        flows: ActiveFlows {
            active: 12_345,
            max: 262_144,
            active6: 345,
            max6: 65_536,
            by_protocol: ByProtocol {
                tcp: 12_000,
                udp: 300,
                icmp: 45,
                ..ByProtocol::default()
            },
            by_state: ByState {
                opening: 12,
                established: 11_900,
                closing: 88,
                active: 345,
            },
        },
        pools: 2,
        rules: 1,
        sweep: Sweep {
            passes_total: 7440,
            expired_total: 99_100,
            last_duration_seconds: Some(0.0123),
            lag_seconds: 0.4,
        },
        program: Program {
            instructions: Some(15_321),
            tag: "3b185187f1855c4c".to_owned(),
        },
        notes: Vec::new(),
    }
}

fn interface(name: &str, realm: Realm, addresses: &[[u8; 4]]) -> InterfaceStatus {
    InterfaceStatus {
        name: name.to_owned(),
        ifindex: Some(3),
        realm,
        mode: Some(AttachMode::Native),
        attached: true,
        pinned: true,
        addresses: addresses
            .iter()
            .copied()
            .map(std::net::IpAddr::from)
            .collect(),
    }
}

/// A gateway with everything that can be wrong at once.
pub fn unwell() -> Status {
    let well = status();
    Status {
        build: None,
        adopted: false,
        config: ConfigStatus {
            source: "api".to_owned(),
            saved: false,
            last_error: Some(Problems {
                problems: vec![problem()],
                omitted: 0,
            }),
            ..well.config
        },
        interfaces: vec![
            InterfaceStatus {
                mode: Some(AttachMode::Generic),
                pinned: false,
                ..interface("eth0", Realm::Both, &[[10, 0, 0, 1]])
            },
            InterfaceStatus {
                ifindex: None,
                mode: None,
                attached: false,
                pinned: false,
                ..interface("wlan0", Realm::External, &[])
            },
        ],
        sweep: Sweep::default(),
        program: Program {
            instructions: None,
            ..well.program
        },
        notes: vec!["interface wlan0 does not exist; it is attached as soon as it does".to_owned()],
        ..well
    }
}

pub fn problem() -> Problem {
    Problem {
        severity: Severity::Error,
        file: "gateway.yaml".to_owned(),
        line: 14,
        column: 11,
        excerpt: Excerpt::of("    pool: team-b", 11, 6),
        field: "rules[0].pool".to_owned(),
        message: "no pool is named `team-b`".to_owned(),
        help: "did you mean `team-a`?".to_owned(),
    }
}

fn endpoint(address: [u8; 4], port: u16) -> Endpoint {
    Endpoint {
        address: address.into(),
        port,
    }
}

pub fn flow() -> Flow {
    Flow {
        protocol: Protocol::Tcp,
        state: FlowState::Established,
        client: endpoint([10, 1, 0, 7], 40_000),
        external: endpoint([192, 0, 2, 10], 40_000),
        remote: endpoint([198, 51, 100, 9], 5432),
        target: None,
        pool: Some("team-a".to_owned()),
        rule: Some("databases".to_owned()),
        age_seconds: 7440,
        idle_seconds: 1,
        expires_in_seconds: 7439,
        packets_out: 1,
        bytes_out: 400,
        packets_in: 1_250_000,
        bytes_in: 1_288_490_189,
        interface_out: Some("eth1".to_owned()),
        interface_in: Some("eth0".to_owned()),
    }
}

/// A flow of which much is gone.
pub fn orphan() -> Flow {
    Flow {
        protocol: Protocol::Icmp,
        state: FlowState::Active,
        client: endpoint([10, 1, 0, 8], 77),
        external: endpoint([192, 0, 2, 10], 1024),
        remote: endpoint([198, 51, 100, 9], 0),
        target: None,
        pool: None,
        rule: None,
        interface_out: None,
        interface_in: None,
        ..flow()
    }
}

pub fn flows() -> Flows {
    let closing = Flow {
        state: FlowState::Closing,
        client: endpoint([10, 255, 255, 255], 65_535),
        external: endpoint([192, 0, 2, 255], 65_535),
        pool: Some("a-team-with-a-long-name".to_owned()),
        age_seconds: 0,
        ..flow()
    };
    let opening = Flow {
        state: FlowState::Opening,
        ..flow()
    };
    Flows {
        flows: vec![flow(), opening, closing, orphan()],
        matched: 4,
        total: 9,
        truncated: false,
    }
}

fn address(last: u8, used: u32, free: u32) -> PoolAddress {
    PoolAddress {
        address: [192, 0, 2, last].into(),
        state: AddressState::Serving,
        tcp: Ports {
            used,
            free,
            held: free / 2,
        },
        udp: Ports {
            used: 0,
            free: 64_512,
            held: 0,
        },
        icmp: Ports {
            used: 3,
            free: 64_509,
            held: 1,
        },
        flows: u64::from(used) + 3,
    }
}

pub fn mappings() -> Mappings {
    let endpoint = |address: [u8; 4], port| Endpoint {
        address: std::net::IpAddr::from(address),
        port,
    };
    let web = Mapping {
        protocol: Protocol::Tcp,
        external: endpoint([192, 0, 2, 10], 443),
        internal: endpoint([10, 1, 0, 5], 8443),
        ports: 1,
        pool: Some("team-a".to_owned()),
        forward: Some("web".to_owned()),
        from: Vec::new(),
        owner: None,
        expires_in_seconds: None,
        standing: true,
    };
    let range = Mapping {
        protocol: Protocol::Udp,
        external: endpoint([192, 0, 2, 10], 5000),
        internal: endpoint([10, 1, 0, 6], 5000),
        ports: 100,
        forward: Some("media".to_owned()),
        from: vec!["198.51.100.0/24".to_owned(), "203.0.113.7/32".to_owned()],
        standing: false,
        ..web.clone()
    };
    let granted = Mapping {
        external: endpoint([192, 0, 2, 11], 40_000),
        internal: endpoint([10, 1, 0, 7], 5060),
        forward: None,
        owner: Some("team-a".to_owned()),
        expires_in_seconds: Some(7_199),
        ..web.clone()
    };
    Mappings {
        mappings: vec![web, range, granted],
    }
}

pub fn pools() -> Pools {
    let team_a = Pool {
        name: "team-a".to_owned(),
        draining: false,
        first_port: 1024,
        last_port: 65_535,
        addresses: vec![address(10, 64_512, 0), address(11, 12, 64_500)],
        out: Traffic {
            packets: 24_000_000_123,
            bytes: 9_600_000_000_000,
        },
        inward: Traffic {
            packets: 24_000_000_100,
            bytes: 1_200_000_000,
        },
        new_flows_total: ByProtocol {
            tcp: 1_000_000,
            udp: 0,
            icmp: 6,
            sctp: 2,
            gre: 1,
            esp: 0,
        },
    };
    let leaving = Pool {
        name: "team-b".to_owned(),
        draining: true,
        addresses: vec![PoolAddress {
            state: AddressState::Draining,
            ..address(20, 0, 64_512)
        }],
        out: Traffic::default(),
        inward: Traffic::default(),
        new_flows_total: ByProtocol::default(),
        ..team_a.clone()
    };
    Pools {
        pools: vec![team_a, leaving],
    }
}

fn exit(reason: &str, verdict: Verdict, packets: u64, explanation: &str) -> Exit {
    Exit {
        reason: reason.to_owned(),
        verdict,
        packets,
        bytes: packets.saturating_mul(60),
        explanation: explanation.to_owned(),
    }
}

pub fn exits() -> Vec<Exit> {
    vec![
        exit(
            "translated_out",
            Verdict::Send,
            24_000_000_123,
            "Translated and sent on towards the external realm.",
        ),
        exit(
            "no_rule",
            Verdict::Pass,
            17,
            "No rule wants the packet; the kernel has it, untouched.",
        ),
        exit(
            "unsolicited",
            Verdict::Drop,
            3,
            "For an external address, but nobody inside asked for it.",
        ),
        exit(
            "ports_exhausted",
            Verdict::Drop,
            4711,
            "The client's external address has no free port left; the flow was refused.",
        ),
        exit(
            "internal",
            Verdict::Drop,
            0,
            "A table of this gateway contradicts itself. This is a defect: please report it.",
        ),
    ]
}

pub fn drops() -> Drops {
    Drops {
        drops: exits()
            .into_iter()
            .filter(|exit| exit.verdict == Verdict::Drop)
            .collect(),
    }
}

/// Two samples, and what two seconds of traffic changed between them.
pub fn two_seconds() -> (Sample, Sample) {
    let before = Sample {
        taken: Instant::now(),
        status: status(),
        pools: pools(),
        drops: drops(),
    };
    let mut after = before.clone();
    after.taken += Duration::from_secs(2);
    after.status.uptime_seconds += 2;
    for pool in after.pools.pools.iter_mut().take(1) {
        pool.out.packets += 2_500_000;
        pool.out.bytes += 2_450_000_000;
        pool.inward.packets += 1_000;
        pool.inward.bytes += 60_000;
        pool.new_flows_total.tcp += 2_400;
        pool.new_flows_total.icmp += 1;
    }
    for drop in &mut after.drops.drops {
        if drop.reason == "unsolicited" {
            drop.packets += 10;
        }
    }
    (before, after)
}

pub fn who() -> Who {
    let party = |address: [u8; 4], port| Party {
        address: address.into(),
        port,
    };
    let open = Session {
        client: party([10, 1, 0, 7], 40000),
        remote: party([198, 51, 100, 9], 5432),
        pool: Some("team-a".to_owned()),
        state: SessionState::Open,
        opened: "2026-11-22T08:59:30.250000Z".to_owned(),
        closed: None,
        last_packet: None,
        reason: None,
        packets_out: None,
        bytes_out: None,
        packets_in: None,
        bytes_in: None,
    };
    let closed = Session {
        remote: party([198, 51, 100, 10], 443),
        state: SessionState::Closed,
        opened: "2026-11-22T08:00:00.000000Z".to_owned(),
        closed: Some("2026-11-22T09:04:00.125000Z".to_owned()),
        last_packet: Some("2026-11-22T09:00:00.000000Z".to_owned()),
        reason: Some("finished".to_owned()),
        packets_out: Some(7),
        bytes_out: Some(812),
        packets_in: Some(5),
        bytes_in: Some(4096),
        ..open.clone()
    };
    let unknown = Session {
        state: SessionState::Unknown,
        pool: None,
        ..open.clone()
    };
    Who {
        external: party([192, 0, 2, 10], 40000),
        protocol: "tcp".to_owned(),
        since: "2026-11-22T09:00:00.000000Z".to_owned(),
        until: "2026-11-22T09:00:00.000000Z".to_owned(),
        blocks: Vec::new(),
        sessions: vec![closed, open, unknown],
        truncated: false,
        log_begins: Some("2026-11-01T00:00:00.000000Z".to_owned()),
        notes: Vec::new(),
    }
}

pub fn bgp() -> Bgp {
    let established = BgpPeer {
        name: "leaf-1".to_owned(),
        address: Some("172.31.2.1".to_owned()),
        asn: Some(65_000),
        router_id: Some("172.31.0.1".to_owned()),
        state: "established".to_owned(),
        since_seconds: 7_440,
        established_times: 2,
        last_down: Some("BFD says that the way is gone".to_owned()),
        notification_received: None,
        notification_sent: Some("Cease: BFD Down".to_owned()),
        hold_time_seconds: Some(9),
        capabilities: ["ipv4", "ipv6", "4-octet AS", "route refresh"]
            .map(str::to_owned)
            .to_vec(),
        families: vec![family("ipv4", 2, 1), family("ipv6", 1, 0)],
        messages: vec![messages("open", 2, 2), messages("update", 6, 2)],
        announced: vec![
            Announced {
                prefix: "192.0.2.8/29".to_owned(),
                next_hop: None,
                as_path: Some("65010 65010".to_owned()),
                communities: vec!["65010:100".to_owned(), "no-export".to_owned()],
                med: Some(10),
                local_preference: None,
            },
            Announced {
                prefix: "2001:db8::16/128".to_owned(),
                next_hop: Some("2001:db8::1".to_owned()),
                ..Announced::default()
            },
        ],
        received: vec![Announced {
            prefix: "0.0.0.0/0".to_owned(),
            next_hop: Some("172.31.2.1".to_owned()),
            as_path: Some("65000".to_owned()),
            ..Announced::default()
        }],
        history: vec![Moment {
            at: "2026-11-22T08:00:02.125Z".to_owned(),
            what: "established".to_owned(),
        }],
        bfd: Some("fast".to_owned()),
    };
    let silent = BgpPeer {
        name: "leaf-2".to_owned(),
        address: Some("172.31.2.2".to_owned()),
        state: "active".to_owned(),
        since_seconds: 12,
        last_down: Some("cannot connect: connection refused".to_owned()),
        ..BgpPeer::default()
    };
    Bgp {
        asn: Some(65_010),
        router_id: Some("172.31.2.10".to_owned()),
        drain: Drain {
            phase: "serving".to_owned(),
            ready: true,
            ..Drain::default()
        },
        peers: vec![established, silent],
        notes: Vec::new(),
    }
}

fn family(family: &str, announced: u64, received: u64) -> Family {
    Family {
        family: family.to_owned(),
        announced,
        received,
    }
}

fn messages(kind: &str, sent: u64, received: u64) -> Messages {
    Messages {
        kind: kind.to_owned(),
        sent,
        received,
    }
}

pub fn bfd() -> Bfd {
    let up = BfdSession {
        name: "leaf-1".to_owned(),
        address: "172.31.2.1".to_owned(),
        state: "up".to_owned(),
        remote_state: "up".to_owned(),
        since_seconds: 7_441,
        diagnostic: "No Diagnostic".to_owned(),
        remote_diagnostic: "No Diagnostic".to_owned(),
        downs: 1,
        transmit_ms: 100.0,
        receive_ms: 33.3,
        detection_ms: 300.0,
        sent: 74_410,
        received: 74_400,
        longest_gap_ms: Some(112.46),
        discriminators: [1, 7],
        ..BfdSession::default()
    };
    let down = BfdSession {
        name: "leaf-2".to_owned(),
        address: "172.31.2.2".to_owned(),
        state: "down".to_owned(),
        remote_state: "down".to_owned(),
        since_seconds: 3,
        diagnostic: "Control Detection Time Expired".to_owned(),
        downs: 3,
        transmit_ms: 1_000.0,
        longest_gap_ms: None,
        ..up.clone()
    };
    Bfd {
        sessions: vec![up, down],
        realtime: false,
        refused: vec![Refused {
            reason: "no session has this discriminator".to_owned(),
            packets: 4,
        }],
        notes: vec!["cannot listen for BFD on ports 3784 and 4784".to_owned()],
    }
}

/// A cluster in which one member leaves and one is dead.
pub fn cluster() -> Cluster {
    let copies = |is_connected, complete, buckets, lag_ms| Copies {
        sent: Sent {
            connected: is_connected,
            buckets,
            complete,
            lag_ms,
            ..Sent::default()
        },
        kept: Kept {
            connected: is_connected,
            buckets,
            complete: buckets,
            ..Kept::default()
        },
    };
    let member = |name: &str, last: u8, state: &str, owns, serves, copies| ClusterMember {
        name: name.to_owned(),
        address: format!("172.31.1.{last}"),
        state: state.to_owned(),
        owns,
        serves,
        copies,
    };
    Cluster {
        name: Some("west".to_owned()),
        own: Some("gw1".to_owned()),
        settled: true,
        buckets: 256,
        copied: true,
        certificate_until: Some("2029-02-25T08:39:01Z".to_owned()),
        members: vec![
            member("gw1", 11, "up", 171, 0, None),
            member("gw2", 12, "leaving", 0, 88, Some(copies(true, 40, 88, 17))),
            member("gw3", 13, "up", 85, 0, Some(copies(true, 83, 83, 2))),
            member("gw4", 14, "down", 0, 0, Some(copies(false, 0, 0, 0))),
        ],
    }
}

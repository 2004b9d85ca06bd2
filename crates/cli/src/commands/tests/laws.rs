//! Laws of everything that is shown: whatever the daemon answers, nothing panics, nothing reaches
//! the terminal that is not text, and colours change nothing but colours.

use std::net::{IpAddr, Ipv4Addr};

use api::{
    Problems,
    http::{
        AddressState, Applied, Bfd, Bgp, ByProtocol, Counters, Drain, Drops, Endpoint, Exit, Flow,
        FlowState, Flows, HandOver, Mapping, Mappings, Moving, Pool, PoolAddress, Pools, Ports,
        Protocol, Status, Traffic, Verdict,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    super::{apply, bfd, bgp, drain, exits, flow, flows, mappings, pools, status},
    listed, samples,
};
use crate::{
    commands::watch::{Rates, Sample, line, screenful},
    output::Look,
};

/// Text as the daemon never sends it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,40}", "[\\x00-\\x7f\u{202e}]{0,40}"]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    any::<(IpAddr, u16)>().prop_map(|(address, port)| Endpoint { address, port })
}

fn any_flow() -> impl Strategy<Value = Flow> {
    (
        (
            select(Protocol::ALL.to_vec()),
            select(FlowState::ALL.to_vec()),
        ),
        (endpoint(), endpoint(), endpoint()),
        proptest::array::uniform4(option::of(text())),
        any::<[u64; 7]>(),
    )
        .prop_map(
            |((protocol, state), endpoints, [pool, rule, out, inward], numbers)| Flow {
                protocol,
                state,
                client: endpoints.0,
                external: endpoints.1,
                remote: endpoints.2,
                target: None,
                pool,
                rule,
                age_seconds: numbers[0],
                idle_seconds: numbers[1],
                expires_in_seconds: numbers[2],
                packets_out: numbers[3],
                bytes_out: numbers[4],
                packets_in: numbers[5],
                bytes_in: numbers[6],
                interface_out: out,
                interface_in: inward,
            },
        )
}

fn any_mappings() -> impl Strategy<Value = Mappings> {
    let mapping = (
        select(Protocol::ALL.to_vec()),
        (endpoint(), endpoint()),
        (option::of(text()), option::of(text()), option::of(text())),
        vec(text(), 0..3),
        (any::<u32>(), option::of(any::<u64>()), any::<bool>()),
    );
    let mapping = mapping.prop_map(|(protocol, ends, names, from, rest)| Mapping {
        protocol,
        external: ends.0,
        internal: ends.1,
        ports: rest.0,
        pool: names.0,
        forward: names.1,
        from,
        owner: names.2,
        expires_in_seconds: rest.1,
        standing: rest.2,
    });
    vec(mapping, 0..5).prop_map(|mappings| Mappings { mappings })
}

fn any_ports() -> impl Strategy<Value = Ports> {
    any::<(u32, u32, u32)>().prop_map(|(used, free, held)| Ports { used, free, held })
}

fn any_address() -> impl Strategy<Value = PoolAddress> {
    let states = vec![AddressState::Serving, AddressState::Draining];
    (
        any::<u32>(),
        select(states),
        (any_ports(), any_ports(), any_ports()),
        any::<u64>(),
    )
        .prop_map(|(address, state, (tcp, udp, icmp), flows)| PoolAddress {
            address: Ipv4Addr::from(address).into(),
            state,
            tcp,
            udp,
            icmp,
            flows,
        })
}

fn any_pool() -> impl Strategy<Value = Pool> {
    (
        // Few names, so that two samples have some in common.
        prop_oneof![text(), select(vec!["a".to_owned(), "b".to_owned()])],
        any::<bool>(),
        any::<(u16, u16)>(),
        vec(any_address(), 0..4),
        any::<[u64; 7]>(),
    )
        .prop_map(|(name, draining, ports, addresses, numbers)| Pool {
            name,
            draining,
            first_port: ports.0,
            last_port: ports.1,
            addresses,
            out: Traffic {
                packets: numbers[0],
                bytes: numbers[1],
            },
            inward: Traffic {
                packets: numbers[2],
                bytes: numbers[3],
            },
            new_flows_total: ByProtocol {
                tcp: numbers[4],
                udp: numbers[5],
                icmp: numbers[6],
                sctp: numbers[4],
                gre: numbers[5],
                esp: numbers[6],
            },
        })
}

fn any_pools() -> impl Strategy<Value = Pools> {
    vec(any_pool(), 0..4).prop_map(|pools| Pools { pools })
}

fn any_exits() -> impl Strategy<Value = Vec<Exit>> {
    let verdicts = vec![Verdict::Send, Verdict::Pass, Verdict::Drop];
    let reason = prop_oneof![text(), Just("no_route".to_owned())];
    let exit = (reason, select(verdicts), any::<(u64, u64)>(), text()).prop_map(
        |(reason, verdict, (packets, bytes), explanation)| Exit {
            reason,
            verdict,
            packets,
            bytes,
            explanation,
        },
    );
    vec(exit, 0..6)
}

fn any_status() -> impl Strategy<Value = Status> {
    (
        vec(text(), 5),
        any::<[u64; 12]>(),
        any::<(bool, bool, bool, f64, f64)>(),
        option::of(Just(Problems {
            problems: vec![samples::problem()],
            omitted: 1,
        })),
    )
        .prop_map(
            |(texts, numbers, (adopted, saved, attached, lag, took), error)| {
                let mut status = samples::unwell();
                status.version.clone_from(&texts[0]);
                status.started_at.clone_from(&texts[1]);
                status.config.source.clone_from(&texts[2]);
                status.config.saved = saved;
                status.config.last_error = error;
                status.notes = vec![texts[3].clone()];
                status.adopted = adopted;
                status.uptime_seconds = numbers[0];
                status.flows.active = numbers[1];
                status.flows.max = numbers[2];
                status.flows.by_protocol.tcp = numbers[3];
                status.flows.by_state.closing = numbers[4];
                status.sweep.passes_total = numbers[5];
                status.sweep.lag_seconds = lag;
                status.sweep.last_duration_seconds = Some(took);
                for interface in &mut status.interfaces {
                    interface.name.clone_from(&texts[4]);
                    interface.attached = attached;
                }
                status
            },
        )
}

fn any_drain() -> impl Strategy<Value = Drain> {
    let phases = ["serving", "ebbing", "withdrawing", "drained"];
    let phase = prop_oneof![text(), select(phases.to_vec()).prop_map(str::to_owned)];
    let rate = option::of(any::<f64>());
    let hand_over = option::of(any_hand_over());
    (phase, any::<bool>(), rate, option::of(text()), hand_over).prop_map(
        |(phase, ready, packets_per_second, ended, hand_over)| Drain {
            phase,
            ready,
            packets_per_second,
            ended,
            hand_over,
        },
    )
}

fn any_hand_over() -> impl Strategy<Value = HandOver> {
    let moving = (option::of(text()), text(), 0..=256u32, any::<u32>());
    let moving = moving.prop_map(|(member, state, buckets, waiting)| Moving {
        member,
        state,
        buckets,
        connected: waiting % 2 == 0,
        waiting: waiting.into(),
    });
    let moving = proptest::array::uniform2(proptest::collection::vec(moving, 0..4));
    (any::<[bool; 3]>(), 0..=256u32, moving).prop_map(
        |([copied, leaving, done], owns, [going, coming])| HandOver {
            copied,
            leaving,
            done,
            owns,
            going,
            coming,
        },
    )
}

fn any_bgp() -> impl Strategy<Value = Bgp> {
    let texts = proptest::array::uniform32(text());
    (texts, any_drain(), any::<[u64; 4]>(), any::<bool>()).prop_map(
        |(texts, drain, numbers, is_known)| {
            let mut found = samples::bgp();
            let mut texts = texts.into_iter().cycle();
            let mut next = move || texts.next().unwrap_or_default();
            found.drain = drain;
            found.asn = found.asn.filter(|_| is_known);
            found.router_id = Some(next());
            found.notes = vec![next()];
            for peer in &mut found.peers {
                (peer.name, peer.state) = (next(), next());
                peer.since_seconds = numbers[0];
                peer.hold_time_seconds = Some(numbers[1]);
                peer.capabilities = vec![next()];
                for word in [
                    &mut peer.address,
                    &mut peer.router_id,
                    &mut peer.last_down,
                    &mut peer.notification_received,
                    &mut peer.notification_sent,
                    &mut peer.bfd,
                ] {
                    *word = Some(next());
                }
                for family in &mut peer.families {
                    family.family = next();
                    family.announced = numbers[2];
                }
                for messages in &mut peer.messages {
                    messages.kind = next();
                    messages.sent = numbers[3];
                }
                for route in peer.announced.iter_mut().chain(&mut peer.received) {
                    (route.prefix, route.communities) = (next(), vec![next()]);
                    (route.next_hop, route.as_path) = (Some(next()), Some(next()));
                }
                for moment in &mut peer.history {
                    (moment.at, moment.what) = (next(), next());
                }
            }
            found
        },
    )
}

fn any_bfd() -> impl Strategy<Value = Bfd> {
    let texts = proptest::array::uniform8(text());
    let times = any::<[f64; 4]>();
    (texts, times, any::<[u64; 3]>()).prop_map(|(texts, times, numbers)| {
        let mut found = samples::bfd();
        let [name, address, state, remote, why, its_why, reason, note] = texts;
        found.notes = vec![note];
        for refused in &mut found.refused {
            refused.reason.clone_from(&reason);
            refused.packets = numbers[0];
        }
        for session in &mut found.sessions {
            session.name.clone_from(&name);
            session.address.clone_from(&address);
            session.state.clone_from(&state);
            session.remote_state.clone_from(&remote);
            session.diagnostic.clone_from(&why);
            session.remote_diagnostic.clone_from(&its_why);
            (session.since_seconds, session.downs) = (numbers[1], numbers[2]);
            (session.transmit_ms, session.receive_ms) = (times[0], times[1]);
            (session.detection_ms, session.longest_gap_ms) = (times[2], Some(times[3]));
        }
        found
    })
}

fn any_look() -> impl Strategy<Value = Look> {
    (any::<bool>(), option::of(any::<u16>())).prop_map(|(colour, width)| Look { colour, width })
}

/// Shows something in a look, and in the same look without colours.
fn shown(look: Look, show: impl Fn(Look) -> String) -> Result<(), TestCaseError> {
    let coloured = show(look);
    let plain = show(Look {
        colour: false,
        ..look
    });

    prop_assert!(
        !plain.chars().any(|c| c != '\n' && c.is_control()),
        "{:?}",
        plain
    );
    prop_assert_eq!(without_colours(&coloured), plain);
    Ok(())
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, rest) = part.split_once('m').expect("a colour ends with m");
        plain.push_str(rest);
    }
    plain
}

proptest! {
    #[test]
    fn any_flows_can_be_shown(found in vec(any_flow(), 0..6), look in any_look()) {
        for one in &found {
            shown(look, |look| flow::show(one, look))?;
        }
        let found = Flows { flows: found, matched: u64::MAX, total: 0, truncated: true };
        shown(look, |look| listed(&found, look))?;
        prop_assert!(flows::remark(&found).is_some());
        let head = usize::from(!found.flows.is_empty());
        prop_assert_eq!(listed(&found, look).lines().count(), found.flows.len() + head);
    }

    #[test]
    fn any_pools_can_be_shown(found in any_pools(), look in any_look()) {
        shown(look, |look| pools::show(&found, look))?;
    }

    #[test]
    fn any_mappings_can_be_shown(found in any_mappings(), look in any_look()) {
        shown(look, |look| mappings::show(&found, look))?;
        for one in &found.mappings {
            shown(look, |look| mappings::show_granted(one, look))?;
            shown(look, |look| mappings::show_withdrawn(one, look))?;
        }
    }

    #[test]
    fn any_counters_can_be_shown(found in any_exits(), all: bool, look in any_look()) {
        let counters = Counters { counters: found.clone() };
        let drops = Drops { drops: found };
        shown(look, |look| exits::show_counters(&counters, look))?;
        shown(look, |look| exits::show_drops(&drops, all, look).unwrap_or_default())?;
    }

    #[test]
    fn any_status_can_be_shown(found in any_status(), look in any_look()) {
        shown(look, |look| status::show(&found, look))?;
    }

    #[test]
    fn any_bgp_can_be_shown(found in any_bgp(), look in any_look()) {
        shown(look, |look| bgp::show(&found, look))?;
        for peer in &found.peers {
            shown(look, |look| bgp::show_peer(peer, look))?;
        }
    }

    #[test]
    fn any_bfd_can_be_shown(found in any_bfd(), look in any_look()) {
        shown(look, |look| bfd::show(&found, look))?;
    }

    #[test]
    fn any_drain_can_be_shown_in_a_line(found in any_drain()) {
        shown(Look::default(), |look| drain::show(&found, look))?;
        prop_assert_eq!(drain::show(&found, Look::default()).lines().count(), 1);
    }

    #[test]
    fn any_change_can_be_shown(changes in vec(text(), 0..4), file in text(), applied: bool) {
        let found = Applied { changes, warnings: Vec::new(), applied, saved: !applied };
        shown(Look::default(), |_| apply::show(&found, &file))?;
    }

    #[test]
    fn any_two_samples_have_rates(
        pools in (any_pools(), any_pools()),
        exits in (any_exits(), any_exits()),
        status in any_status(),
        seconds in 0u64..100_000,
        look in any_look(),
    ) {
        let before = Sample {
            taken: std::time::Instant::now(),
            status,
            pools: pools.0,
            drops: Drops { drops: exits.0 },
        };
        let after = Sample {
            taken: before.taken + std::time::Duration::from_secs(seconds),
            status: before.status.clone(),
            pools: pools.1,
            drops: Drops { drops: exits.1 },
        };

        let rates = Rates::between(&before, &after);

        shown(look, |look| screenful(&rates, None, look))?;
        prop_assert_eq!(line(&rates).lines().count(), 1);
        for value in [rates.out.bits_per_second, rates.drops_per_second()] {
            prop_assert!(value.is_finite() && value >= 0.0);
        }
    }
}

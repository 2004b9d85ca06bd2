//! Quotas: no client and no rule has more than it may, one client's is not another's, and what is
//! counted is what there is.

use std::{collections::BTreeSet, time::Duration};

use abi::{
    Holder, Ip4, Limits, Load, Protocol, Quota, Reason, Refusal, Told, limits::ERRORS_PER_TICK,
};
use datapath::Exit;
use gateway::{
    Event,
    intent::{Intent, Pool, Rule},
};

use crate::rig::{
    Left, Site, Sketch,
    interrupted::process_with,
    laws::{counts_are_true, sound},
    site::{ARM, INSIDE, OUTSIDE, TIMEOUTS, from_pool, intent, own_mac, pool, rule, tuple, usual},
    sketch::read,
};

const SERVICE: ([u8; 4], u16) = ([198, 51, 100, 1], 443);

fn limits(flows: u32, ports: u32) -> Limits {
    Limits { flows, ports }
}

/// One rule with this quota, whose pool tells of refusals in this way.
fn limited(quota: Quota, refusal: Refusal) -> Intent {
    let pool = Pool {
        behaviour: Pool::BEHAVIOUR_DEFAULT.refusing(refusal),
        ..pool("web", [1], (1024, 65_535))
    };
    let rule = Rule {
        name: "ci".to_owned(),
        quota,
        ..rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))
    };
    intent(vec![pool], vec![rule])
}

fn of_client(flows: u32, ports: u32) -> Quota {
    Quota {
        client: limits(flows, ports),
        ..Quota::NONE
    }
}

/// The first packet of a client's flow from this port to this service.
fn first(client: u8, port: u16, service: u16) -> Sketch {
    let target = (SERVICE.0, service);
    Sketch::first(Protocol::Tcp, tuple(([10, 0, 0, client], port), target))
}

/// What a client's slot says.
fn held(site: &Site, client: u8) -> Load {
    let holder = Holder::new(site.gateway.numbers().rules["ci"], Ip4([10, 0, 0, client]));
    let slot = site.memory.clients.get(&holder);
    slot.map_or(Load::default(), |slot| {
        site.memory.in_use(*slot).picture().held()
    })
}

/// Sends the first packets of so many flows; says what they left for.
fn begin(site: &Site, client: u8, ports: std::ops::Range<u16>) -> Vec<Reason> {
    ports
        .map(|port| site.send(INSIDE, &first(client, port, 443)).reason)
        .collect()
}

#[test]
fn a_client_has_no_more_flows_and_ports_than_its_quota_and_never_anothers() {
    for (quota, reason) in [
        (of_client(10, 0), Reason::QuotaFlows),
        (of_client(0, 10), Reason::QuotaPorts),
    ] {
        let site = Site::new(limited(quota, Refusal::Icmp), 1000);

        let left = begin(&site, 1, 4000..4030);

        assert_eq!(left[..10], [Reason::TranslatedOut; 10]);
        assert_eq!(left[10..], [reason; 20]);
        assert_eq!(begin(&site, 2, 4000..4010), [Reason::TranslatedOut; 10]);
        // What it has goes on.
        let again = site.send(INSIDE, &first(1, 4003, 443));
        assert_eq!(again.reason, Reason::TranslatedOut);
        assert_eq!(held(&site, 1), Load::new(10, 10));
        counts_are_true(&site.memory, &site.gateway.quotas());
    }
}

#[test]
fn a_flow_from_a_port_that_the_client_has_takes_no_port() {
    let site = Site::new(limited(of_client(0, 1), Refusal::Icmp), 1000);

    for service in 1..50 {
        let left = site.send(INSIDE, &first(1, 4000, service));
        assert_eq!(left.reason, Reason::TranslatedOut);
    }

    assert_eq!(held(&site, 1), Load::new(49, 1));
    assert_eq!(begin(&site, 1, 4001..4002), [Reason::QuotaPorts]);
}

/// A port that several flows share is no client's; the flows are counted all the same.
#[test]
fn a_shared_port_counts_for_nobody() {
    let mut wanted = limited(of_client(10, 1), Refusal::Icmp);
    wanted.pools[0].behaviour = wanted.pools[0].behaviour.overloading();
    let site = Site::new(wanted, 1000);

    let left = begin(&site, 1, 4000..4012);

    assert_eq!(left[..10], [Reason::TranslatedOut; 10]);
    assert_eq!(left[10..], [Reason::QuotaFlows; 2]);
    assert_eq!(held(&site, 1), Load::new(10, 0));
    counts_are_true(&site.memory, &site.gateway.quotas());
}

#[test]
fn all_clients_of_a_rule_have_no_more_than_its_total_and_other_rules_are_not_touched() {
    let quota = Quota {
        total: limits(15, 0),
        client: limits(10, 0),
        ..Quota::NONE
    };
    let mut wanted = limited(quota, Refusal::Icmp);
    wanted.rules.insert(
        0,
        Rule {
            name: "other".to_owned(),
            ..rule("10.9.0.0/16", "0.0.0.0/0", from_pool("web"))
        },
    );
    let site = Site::new(wanted, 1000);

    begin(&site, 1, 4000..4020);
    let second = begin(&site, 2, 4000..4020);

    let begun = second.iter().filter(|it| **it == Reason::TranslatedOut);
    assert_eq!(begun.count(), 5);
    assert_eq!(
        held(&site, 2),
        Load::new(5, 5),
        "what is refused is not kept"
    );
    for port in 0..50 {
        let asked = tuple(([10, 9, 0, 1], 4000 + port), SERVICE);
        let left = site.send(INSIDE, &Sketch::first(Protocol::Tcp, asked));
        assert_eq!(left.reason, Reason::TranslatedOut);
    }
    counts_are_true(&site.memory, &site.gateway.quotas());
}

#[test]
fn a_client_begins_flows_at_its_rate_and_no_faster() {
    let quota = Quota::NONE.with_rate(5, 20);
    let mut site = Site::new(limited(quota, Refusal::Icmp), 5000);
    let is_begun = |reason: &&Reason| **reason == Reason::TranslatedOut;

    let left = begin(&site, 1, 1000..1100);
    assert_eq!(left.iter().filter(is_begun).count(), 20);
    assert_eq!(left[20..], [Reason::QuotaRate; 80]);
    assert_eq!(begin(&site, 2, 1000..1020), [Reason::TranslatedOut; 20]);
    let mut begun = 0;
    for second in 0..100 {
        site.pass(Duration::from_secs(1));
        let ports = 2000 + second * 20..2020 + second * 20;
        begun += begin(&site, 1, ports).iter().filter(is_begun).count();
    }

    assert!(begun.abs_diff(500) <= 10, "{begun} in 100 s");
}

#[test]
fn a_rule_without_a_quota_looks_up_no_client() {
    let site = Site::new(usual(), 100);

    begin(&site, 1, 4000..4020);

    assert!(site.memory.clients.is_empty());
    assert!(
        site.memory
            .uses
            .borrow()
            .values()
            .all(|it| it.held.get() == 0)
    );
}

#[test]
fn flows_from_outside_count_for_the_client_whose_port_they_are_to() {
    let mut wanted = limited(of_client(3, 0), Refusal::Icmp);
    let any = [abi::Dependence::Endpoint; 3];
    wanted.pools[0].behaviour = abi::Behaviour::new(any, any, true, 0);
    let site = Site::new(wanted, 100);
    let out = site.send(INSIDE, &first(1, 4000, 443));
    let (_, seen) = read(&out.after.bytes).expect("still such a packet");
    let knock = |last: u8| {
        let mut knock = seen.reversed();
        knock.source = Ip4([198, 51, 100, last]);
        site.send(OUTSIDE, &Sketch::first(Protocol::Tcp, knock))
    };

    assert_eq!(knock(7).reason, Reason::TranslatedIn);
    assert_eq!(knock(8).reason, Reason::TranslatedIn);
    assert_eq!(knock(9).reason, Reason::QuotaFlows);

    assert_eq!(held(&site, 1), Load::new(3, 1));
    counts_are_true(&site.memory, &site.gateway.quotas());
}

/// Everything that is refused: before anything is made, and after something was.
#[test]
fn what_is_refused_for_another_reason_is_not_charged() {
    let mut wanted = limited(of_client(100, 100), Refusal::Icmp);
    wanted.pools[0].ports.last = 1033;
    let site = Site::new(wanted, 8);

    let left: BTreeSet<Reason> = begin(&site, 1, 4000..4100).into_iter().collect();
    assert!(left.contains(&Reason::FlowTableFull));
    sound(&site.memory);
    assert_eq!(held(&site, 1), Load::new(8, 8));
    counts_are_true(&site.memory, &site.gateway.quotas());
}

#[test]
fn counts_return_to_nothing_when_all_flows_have_ended() {
    let quota = Quota {
        total: limits(500, 500),
        client: limits(20, 20),
        ..Quota::NONE
    }
    .with_rate(1000, 1000);
    let mut site = Site::new(limited(quota, Refusal::Icmp), 1000);
    for client in 1..30 {
        begin(&site, client, 4000..4000 + u16::from(client));
    }

    site.pass(TIMEOUTS.tcp_opening + Duration::from_secs(5));
    for _ in 0..6 {
        site.sweep();
        counts_are_true(&site.memory, &site.gateway.quotas());
        site.pass(Duration::from_secs(2));
    }

    assert!(site.memory.clients.is_empty());
    for (slot, it) in site.memory.uses.borrow().iter() {
        assert_eq!((it.held.get(), it.taken.get()), (0, 0), "slot {slot}");
    }
    assert_eq!(begin(&site, 1, 4000..4020), [Reason::TranslatedOut; 20]);
}

/// The daemon dies after it removed what had ended and before it said so.
#[test]
fn a_count_that_a_killed_daemon_left_wrong_is_right_after_two_sweeps() {
    let quota = Quota {
        total: limits(100, 100),
        ..of_client(20, 20)
    };
    let wanted = limited(quota, Refusal::Icmp);
    let site = Site::new(wanted.clone(), 1000);
    begin(&site, 1, 4000..4020);
    begin(&site, 2, 4000..4020);
    let all = site.memory.v4.flows.all();
    let lost = all.iter().filter(|(key, flow)| {
        let port = match flow.side() {
            abi::Side::Outbound => key.tuple.source_port,
            abi::Side::Inbound => flow.to.target_port,
        };
        port.get() < 4010
    });
    lost.for_each(|(key, _)| site.memory.v4.flows.remove(key));
    assert_eq!(begin(&site, 1, 4100..4101), [Reason::QuotaFlows]);

    let mut site = site.restarted();
    site.handle(Event::Configure(Box::new(wanted)));
    for _ in 0..6 {
        site.pass(Duration::from_secs(2));
        site.sweep();
    }

    counts_are_true(&site.memory, &site.gateway.quotas());
    assert_eq!(held(&site, 1), Load::new(10, 10));
    assert_eq!(begin(&site, 1, 4100..4110), [Reason::TranslatedOut; 10]);
    assert_eq!(begin(&site, 1, 4200..4201), [Reason::QuotaFlows]);
}

#[test]
fn a_quota_that_comes_later_counts_the_flows_there_are() {
    let mut site = Site::new(limited(Quota::NONE, Refusal::Icmp), 1000);
    begin(&site, 1, 4000..4030);

    let quota = Quota {
        total: limits(100, 100),
        ..of_client(20, 20)
    };
    site.handle(Event::Configure(Box::new(limited(quota, Refusal::Icmp))));
    for _ in 0..2 {
        site.pass(Duration::from_secs(2));
        site.sweep();
    }

    assert_eq!(held(&site, 1), Load::new(30, 30));
    counts_are_true(&site.memory, &site.gateway.quotas());
    assert_eq!(begin(&site, 1, 4100..4101), [Reason::QuotaFlows]);
    assert_eq!(begin(&site, 2, 4000..4020), [Reason::TranslatedOut; 20]);

    site.handle(Event::Configure(Box::new(limited(
        Quota::NONE,
        Refusal::Icmp,
    ))));
    assert_eq!(begin(&site, 1, 4100..4150), [Reason::TranslatedOut; 50]);
    for _ in 0..5 {
        site.pass(Duration::from_secs(2));
        site.sweep();
    }
    assert!(site.memory.clients.is_empty(), "nobody is counted any more");
}

#[test]
fn a_rules_number_stays_while_it_is_wanted_or_has_flows() {
    let wanted = limited(of_client(20, 20), Refusal::Icmp);
    let mut site = Site::new(wanted.clone(), 1000);
    begin(&site, 1, 4000..4005);
    let mut other = wanted.clone();
    other.rules[0].name = "other".to_owned();

    site.handle(Event::Configure(Box::new(other.clone())));
    site = site.restarted();
    site.handle(Event::Configure(Box::new(other)));
    site.pass(Duration::from_secs(2));
    site.sweep();
    let rules = &site.gateway.numbers().rules;
    assert_eq!((rules["ci"], rules["other"]), (1, 2));
    for (_, flow) in site.memory.v4.flows.all() {
        assert_eq!(flow.picture().rule(), 1);
    }

    site.pass(TIMEOUTS.tcp_opening + Duration::from_secs(5));
    for _ in 0..4 {
        site.sweep();
        site.pass(Duration::from_secs(2));
    }
    let rules = &site.gateway.numbers().rules;
    assert_eq!(rules.keys().collect::<Vec<_>>(), ["other"]);
}

/// Two CPUs at once: whatever the second does in the middle of the first, no more is granted than
/// there is, and everything that is counted is there.
#[test]
fn two_cpus_at_once_never_grant_more_than_a_quota() {
    for (quota, most) in [
        (of_client(1, 0), 1),
        (of_client(0, 1), 1),
        (of_client(2, 2), 2),
        (
            Quota {
                total: limits(1, 1),
                ..Quota::NONE
            },
            1,
        ),
        (Quota::NONE.with_rate(1, 1), 1),
    ] {
        for place in 0.. {
            let site = Site::new(limited(quota, Refusal::Silent), 16);
            let sketch = Sketch {
                to: own_mac(INSIDE),
                ingress: INSIDE,
                ..first(1, 4000, 443)
            };
            let event = || {
                site.send(INSIDE, &first(1, 4001, 443));
            };
            if process_with(&mut sketch.frame(), &site.memory, place, event).is_none() {
                assert!(place > 10, "a packet asks more than that");
                break;
            }
            sound(&site.memory);
            let flows = site.memory.v4.flows.len() / 2;
            assert!((1..=most).contains(&flows), "{flows} at {place}");
            counts_are_true(&site.memory, &site.gateway.quotas());
        }
    }
}

#[test]
fn two_clients_that_come_at_once_get_a_slot_each() {
    for place in 0.. {
        let site = Site::new(limited(of_client(5, 5), Refusal::Icmp), 16);
        let sketch = Sketch {
            to: own_mac(INSIDE),
            ingress: INSIDE,
            ..first(1, 4000, 443)
        };
        let event = || {
            site.send(INSIDE, &first(2, 4000, 443));
        };
        if process_with(&mut sketch.frame(), &site.memory, place, event).is_none() {
            break;
        }
        let slots: BTreeSet<u32> = site.memory.clients.all().iter().map(|it| *it.1).collect();
        assert_eq!(slots.len(), 2);
        counts_are_true(&site.memory, &site.gateway.quotas());
    }
}

#[test]
fn a_client_that_cannot_be_counted_is_refused_by_name() {
    // As many clients as flows.
    let site = Site::new(limited(of_client(5, 5), Refusal::Icmp), 4);
    for client in 1..=4 {
        let flow = begin(&site, client, 4000..4001);
        assert_eq!(flow, [Reason::TranslatedOut]);
    }

    assert_eq!(begin(&site, 5, 4000..4001), [Reason::QuotaTableFull]);
    let taken = site.memory.uses.borrow();
    assert_eq!(taken.values().filter(|it| it.taken.get() != 0).count(), 4);
}

/// What a refused packet's sender gets.
fn refused(refusal: Refusal, protocol: Protocol) -> Left {
    let site = Site::new(limited(of_client(1, 1), refusal), 16);
    begin(&site, 1, 4000..4001);
    let port = if protocol == Protocol::Icmp { 0 } else { 443 };
    let asked = tuple(([10, 0, 0, 1], 4001), (SERVICE.0, port));
    let left = site.send(INSIDE, &Sketch::first(protocol, asked));
    assert_eq!(left.reason, Reason::QuotaFlows);
    left
}

#[test]
fn a_client_is_told_of_a_refusal_as_its_pool_says() {
    for protocol in Protocol::PORTED {
        let by_icmp = refused(Refusal::Icmp, protocol);
        assert_eq!(by_icmp.exit, Exit::Transmit);
        assert_eq!(by_icmp.after.bytes[34..36], [3, 13]);

        assert_eq!(refused(Refusal::Silent, protocol).exit, Exit::Drop);

        let by_reset = refused(Refusal::Reset, protocol);
        assert_eq!(by_reset.exit, Exit::Transmit);
        match protocol == Protocol::Tcp {
            true => assert_eq!(by_reset.after.bytes[47], 4 | 16),
            false => assert_eq!(by_reset.after.bytes[34..36], [3, 13]),
        }
    }
}

#[test]
fn every_refusal_for_want_of_something_is_told() {
    let narrow = || {
        let rules = vec![rule("10.0.0.0/8", "0.0.0.0/0", from_pool("web"))];
        Site::new(intent(vec![pool("web", [1], (2000, 2000))], rules), 16)
    };
    let site = narrow();
    begin(&site, 1, 4000..4001);
    let left = site.send(INSIDE, &first(2, 4000, 443));
    assert_eq!(
        (left.reason, left.exit),
        (Reason::PortsExhausted, Exit::Transmit)
    );

    let mut site = narrow();
    let mut empty = site.gateway.intent().expect("is set").clone();
    empty.pools[0].addresses.clear();
    site.handle(Event::Configure(Box::new(empty)));
    let left = site.send(INSIDE, &first(2, 4000, 443));
    assert_eq!(
        (left.reason, left.exit),
        (Reason::PoolEmpty, Exit::Transmit)
    );

    let site = Site::new(usual(), 1);
    begin(&site, 1, 4000..4001);
    let left = site.send(INSIDE, &first(2, 4000, 443));
    assert_eq!(
        (left.reason, left.exit),
        (Reason::FlowTableFull, Exit::Transmit)
    );
    assert_eq!(site.memory.told(Told::Icmp), 1);
}

/// RFC 1812 §4.3.2.8.
#[test]
fn icmp_errors_are_limited_for_each_sender_and_for_all() {
    let mut site = Site::new(limited(of_client(1, 1), Refusal::Icmp), 10_000);
    let share = ERRORS_PER_TICK.div_ceil(abi::limits::ERRORS_SHARE) as usize;
    let told = |site: &Site, client: u8| {
        let all = (5000..6000).map(|port| site.send(INSIDE, &first(client, port, 443)));
        all.filter(|left| left.exit == Exit::Transmit && left.reason == Reason::QuotaFlows)
            .count()
    };
    begin(&site, 1, 4000..4001);
    begin(&site, 2, 4000..4001);

    assert_eq!(told(&site, 1), share);
    assert_eq!(told(&site, 1), 0);
    assert_eq!(told(&site, 2), share, "another sender has its own");
    assert_eq!(site.memory.told(Told::Withheld), 3000 - 2 * share as u64);

    for client in 3..=60 {
        begin(&site, client, 4000..4001);
    }
    let all: usize = (3..=60).map(|client| told(&site, client)).sum();
    assert_eq!(all, ERRORS_PER_TICK as usize - 2 * share);

    // It is the same bucket for all errors of our own, and full again after a tick.
    let expired = || site.send(INSIDE, &first(1, 4000, 443).ttl(1)).reason;
    assert_eq!(expired(), Reason::TtlExceeded);
    site.pass(Duration::from_secs(2));
    let expired = site.send(INSIDE, &first(1, 4000, 443).ttl(1)).reason;
    assert_eq!(expired, Reason::TimeExceededSent);
    assert_eq!(told(&site, 1), share - 1);
}

/// RFC 1812 §4.3.2.7: nor is there a flow that could be refused.
#[test]
fn no_error_is_sent_to_an_address_that_is_no_hosts() {
    let mut wanted = limited(of_client(1, 1), Refusal::Icmp);
    wanted.rules[0].sources = vec!["0.0.0.0/0".parse().expect("a prefix")];
    let site = Site::new(wanted, 16);
    for port in [4000, 4001] {
        let asked = tuple(([127, 0, 0, 1], port), SERVICE);
        let left = site.send(ARM, &Sketch::first(Protocol::Udp, asked));
        assert_eq!(
            (left.reason, left.exit),
            (Reason::IllegalSource, Exit::Drop)
        );
    }
    assert_eq!(site.memory.told(Told::Withheld), 0);
    assert_eq!(site.memory.told(Told::Icmp), 0);
}

//! The page that a scrape gets: every metric of the list, in its order, with its samples.

use abi::Protocol;
use api::http::{self, AddressState, PoolAddress, Ports};

use crate::{
    answers::{
        status::{BUILD, VERSION},
        words,
    },
    holding::Fates,
    sessions::tally::{Loss, Sink},
    view::{SweepView, View},
};

use gateway::fragments::BYTES_MAX;
use sessions::Kind;

use super::{
    label::{
        Address, Became, Because, Commit, Direction, Faces, Family, Fate, Goes, Hangs, Happened,
        HeldFate, How, Interface, Lost, Map, Message, Other, Peer, Pool, Rule, Sense, State,
        Transport, Version, Watch, Way, Why,
    },
    list,
    readings::{Fill, Readings, RuleUse, states},
    text::{Number, Text},
};

/// Says all of it.
pub fn page(readings: &Readings) -> String {
    let mut text = Text::default();
    pools(&mut text, readings);
    rules(&mut text, readings);
    flows(&mut text, &readings.view.sweep);
    addresses(&mut text, readings);
    exits(&mut text, readings);
    tables(&mut text, &readings.fills);
    sweep(&mut text, &readings.view.sweep);
    sessions(&mut text, readings);
    fragments(&mut text, &readings.view);
    routes(&mut text, &readings.bgp);
    ways(&mut text, &readings.bfd);
    members(&mut text, &readings.cluster);
    daemon(&mut text, &readings.view);
    text.finish()
}

fn pools(text: &mut Text, readings: &Readings) {
    let ways = |value: fn(http::Traffic) -> u64| {
        let both = move |pool: &http::Pool| {
            let sample =
                |way, traffic| ((Pool(pool.name.clone()), Way(way)), value(traffic).into());
            [
                sample(Direction::Out, pool.out),
                sample(Direction::In, pool.inward),
            ]
        };
        readings.pools.pools.iter().flat_map(both)
    };
    text.add(&list::POOL_PACKETS, ways(|traffic| traffic.packets));
    text.add(&list::POOL_BYTES, ways(|traffic| traffic.bytes));

    let opened = readings.pools.pools.iter();
    let opened = opened.flat_map(|pool| by_protocol(&pool.name, &pool.new_flows_total));
    text.add(&list::POOL_FLOWS_OPENED, opened);
    let expired = readings.expired.iter();
    let expired = expired.flat_map(|(pool, expired)| by_protocol(pool, expired));
    text.add(&list::POOL_FLOWS_EXPIRED, expired);
    let active = readings.active.iter();
    let active = active.map(|(pool, flows)| ((Pool(pool.clone()),), (*flows).into()));
    text.add(&list::POOL_FLOWS, active);
}

fn rules(text: &mut Text, readings: &Readings) {
    let every = |value: fn(&RuleUse) -> u64| {
        let rules = readings.rules.iter();
        rules.map(move |rule| ((Rule(rule.name.clone()),), value(rule).into()))
    };
    text.add(&list::RULE_FLOWS, every(|rule| rule.flows));
    text.add(&list::RULE_PORTS, every(|rule| rule.ports));
    text.add(&list::RULE_REFUSED, every(|rule| rule.refused));
    let told = readings.told.iter();
    let told = told.map(|(told, count)| ((How(*told),), (*count).into()));
    text.add(&list::REFUSALS_TOLD, told);
}

fn by_protocol(pool: &str, values: &http::ByProtocol<u64>) -> Vec<((Pool, Transport), Number)> {
    let of = |protocol| {
        let labels = (Pool(pool.to_owned()), Transport(protocol));
        (labels, (*values.of(protocol)).into())
    };
    http::Protocol::ALL.map(of).to_vec()
}

fn flows(text: &mut Text, sweep: &SweepView) {
    let every = Protocol::ALL.into_iter();
    let every = every.flat_map(|protocol| states(protocol).iter().map(move |it| (protocol, *it)));
    let samples = every.map(|(protocol, state)| {
        let labels = (
            Transport(words::protocol(protocol)),
            State(words::state(state)),
        );
        let flows = sweep.last.flows.get(&(protocol, state)).copied();
        (labels, flows.unwrap_or_default().into())
    });
    text.add(&list::FLOWS, samples);
}

fn addresses(text: &mut Text, readings: &Readings) {
    let every = || {
        let pools = readings.pools.pools.iter();
        pools.flat_map(|pool| pool.addresses.iter().map(move |address| (pool, address)))
    };
    let ports = |(pool, address): (&http::Pool, &PoolAddress), value: fn(Ports) -> u32| {
        let sample = |protocol, ports| {
            let labels = (
                Pool(pool.name.clone()),
                Address(address.address),
                Transport(protocol),
            );
            (labels, Number::from(value(ports)))
        };
        [
            sample(http::Protocol::Tcp, address.tcp),
            sample(http::Protocol::Udp, address.udp),
            sample(http::Protocol::Icmp, address.icmp),
        ]
    };
    let used = every().flat_map(|it| ports(it, |ports| ports.used));
    text.add(&list::PORTS_USED, used);
    let serving = || {
        every().filter(|(_, address)| match address.state {
            AddressState::Serving => true,
            AddressState::Draining => false,
        })
    };
    let free = serving().flat_map(|it| ports(it, |ports| ports.free));
    text.add(&list::PORTS_FREE, free);
    let held = serving().flat_map(|it| ports(it, |ports| ports.held));
    text.add(&list::PORTS_HELD, held);
    let flows = every().map(|(pool, address)| {
        let labels = (Pool(pool.name.clone()), Address(address.address));
        (labels, address.flows.into())
    });
    text.add(&list::ADDRESS_FLOWS, flows);
}

fn exits(text: &mut Text, readings: &Readings) {
    let labels = |reason: abi::Reason| (Why(reason), Fate(words::verdict(reason.verdict())));
    let every = || readings.exits.iter();
    let packets = every().map(|(reason, count)| (labels(*reason), count.packets.into()));
    text.add(&list::EXIT_PACKETS, packets);
    let bytes = every().map(|(reason, count)| (labels(*reason), count.bytes.into()));
    text.add(&list::EXIT_BYTES, bytes);
}

fn tables(text: &mut Text, fills: &[Fill]) {
    let entries = fills
        .iter()
        .map(|fill| ((Map(fill.table),), fill.entries.into()));
    text.add(&list::TABLE_ENTRIES, entries);
    let max = fills
        .iter()
        .map(|fill| ((Map(fill.table),), fill.max.into()));
    text.add(&list::TABLE_ENTRIES_MAX, max);
}

fn sweep(text: &mut Text, sweep: &SweepView) {
    text.add_one(&list::SWEEP_PASSES, sweep.passes);
    let duration = sweep.duration.map(|it| ((), it.as_secs_f64().into()));
    text.add(&list::SWEEP_DURATION, duration);
    let lag = std::time::Duration::from_nanos(sweep.last.lag);
    text.add_one(&list::EXPIRY_LAG, lag.as_secs_f64());
    text.add_one(&list::HALF_FLOWS_REMOVED, sweep.orphans);
}

fn sessions(text: &mut Text, readings: &Readings) {
    let tally = readings.view.sessions.tally();
    let written = Sink::ALL.into_iter().flat_map(|sink| {
        Kind::ALL.map(|kind| {
            (
                (Goes(sink), Happened(kind)),
                tally.written(sink, kind).into(),
            )
        })
    });
    text.add(&list::SESSION_RECORDS, written);
    let lost = Sink::ALL.into_iter().flat_map(|sink| {
        Loss::ALL.map(|loss| ((Goes(sink), Lost(loss)), tally.lost(sink, loss).into()))
    });
    text.add(&list::SESSION_RECORDS_LOST, lost);
    let spared = tally
        .spared()
        .map(|(kind, count)| ((Happened(kind),), count.into()));
    text.add(&list::SESSION_RECORDS_SPARED, spared);
    text.add_one(&list::SESSION_EVENTS_LOST, readings.events_lost);
}

fn fragments(text: &mut Text, view: &View) {
    let Fates { held, failed } = view.holding.fates();
    let done = [
        (HeldFate::Released, held.released.saturating_sub(failed)),
        (HeldFate::Expired, held.expired),
        (HeldFate::Displaced, held.displaced),
        (HeldFate::Failed, failed),
    ];
    let done = done.map(|(fate, count)| ((Became(fate),), count.into()));
    text.add(&list::HELD_FRAGMENTS_DONE, done);
    text.add_one(&list::CUT_PIECES, held.pieces);
    text.add_one(&list::HELD_FRAGMENTS, held.fragments as u64);
    text.add_one(&list::HELD_BYTES, held.bytes as u64);
    text.add_one(&list::HELD_BYTES_MAX, BYTES_MAX as u64);
}

fn routes(text: &mut Text, bgp: &http::Bgp) {
    let peer = |it: &http::BgpPeer| Peer(it.name.clone());
    let each = || bgp.peers.iter();
    let is_up = |it: &http::BgpPeer| (it.state == "established").into();
    text.add(&list::BGP_UP, each().map(|it| ((peer(it),), is_up(it))));
    let times = each().map(|it| ((peer(it),), it.established_times.into()));
    text.add(&list::BGP_ESTABLISHED, times);
    let families = |count: fn(&http::Family) -> u64| {
        each().flat_map(move |it| {
            let families = it.families.iter();
            families.map(move |of| ((peer(it), Family(of.family.clone())), count(of).into()))
        })
    };
    text.add(&list::BGP_ANNOUNCED, families(|it| it.announced));
    text.add(&list::BGP_RECEIVED, families(|it| it.received));
    let messages = each().flat_map(|it| {
        let kinds = it.messages.iter();
        kinds.flat_map(move |of| {
            let labels = |way| (peer(it), Message(of.kind.clone()), Sense(way));
            [
                (labels("sent"), of.sent.into()),
                (labels("received"), of.received.into()),
            ]
        })
    });
    text.add(&list::BGP_MESSAGES, messages);
    text.add_one(&list::ROUTES_READY, bgp.drain.ready);
    let is_draining = !matches!(bgp.drain.phase.as_str(), "" | "serving");
    text.add_one(&list::DRAINING, is_draining);
}

fn ways(text: &mut Text, bfd: &http::Bfd) {
    let name = |it: &http::BfdSession| Watch(it.name.clone());
    let each = || bfd.sessions.iter();
    let is_up = |it: &http::BfdSession| (it.state == "up").into();
    text.add(&list::BFD_UP, each().map(|it| ((name(it),), is_up(it))));
    let downs = each().map(|it| ((name(it),), it.downs.into()));
    text.add(&list::BFD_DOWNS, downs);
    let packets = each().flat_map(|it| {
        [
            ((name(it), Sense("sent")), it.sent.into()),
            ((name(it), Sense("received")), it.received.into()),
        ]
    });
    text.add(&list::BFD_PACKETS, packets);
    let refused = bfd.refused.iter();
    let refused = refused.map(|it| ((Because(it.reason.clone()),), it.packets.into()));
    text.add(&list::BFD_REFUSED, refused);
}

fn members(text: &mut Text, cluster: &http::Cluster) {
    let name = |it: &http::ClusterMember| Other(it.name.clone());
    let each = || cluster.members.iter();
    let is_up = |it: &http::ClusterMember| (it.state == "up").into();
    text.add(&list::MEMBER_UP, each().map(|it| ((name(it),), is_up(it))));
    let owns = each().map(|it| ((name(it),), it.owns.into()));
    text.add(&list::MEMBER_OWNS, owns);
    let copies = || each().filter_map(|it| Some((it, it.copies.as_ref()?)));
    let ways = |value: fn(&http::Copies) -> [u64; 2]| {
        copies().flat_map(move |(it, copies)| {
            let [sent, received] = value(copies);
            [
                ((name(it), Sense("sent")), sent.into()),
                ((name(it), Sense("received")), received.into()),
            ]
        })
    };
    let assigned = ways(|it| [it.sent.buckets.into(), it.kept.buckets.into()]);
    text.add(&list::COPIES_ASSIGNED, assigned);
    let complete = ways(|it| [it.sent.complete.into(), it.kept.complete.into()]);
    text.add(&list::COPIES_COMPLETE, complete);
    let lag = copies().map(|(it, copies)| ((name(it),), copies.sent.lag.into()));
    text.add(&list::COPIES_LAG, lag);
    let late = |it: &http::Copies| (it.sent.lag_ms as f64 / 1000.0).into();
    let late = copies().map(|(it, copies)| ((name(it),), late(copies)));
    text.add(&list::COPIES_LATE, late);
    let changes = ways(|it| [it.sent.changes, it.kept.changes]);
    text.add(&list::COPIES_CHANGES, changes);
    let skipped = copies().map(|(it, copies)| ((name(it),), copies.sent.skipped.into()));
    text.add(&list::COPIES_SKIPPED, skipped);
    let refused = copies().flat_map(|(it, copies)| {
        let kept = &copies.kept;
        [
            ("refused", kept.refused),
            ("contradicted", kept.contradicted),
            ("full", kept.full),
            ("malformed", kept.malformed),
        ]
        .map(|(why, count)| ((name(it), Because(why.to_owned())), count.into()))
    });
    text.add(&list::COPIES_REFUSED, refused);
    let until = cluster.certificate_until.as_deref();
    let until = until.and_then(|it| it.parse::<jiff::Timestamp>().ok());
    let until = until.map_or(0.0, |it| it.as_duration().as_secs_f64());
    text.add_one(&list::CERTIFICATE_UNTIL, until);
}

fn daemon(text: &mut Text, view: &View) {
    let interfaces = view.interfaces.iter().map(|interface| {
        let labels = (
            Interface(interface.name.clone()),
            Faces(interface.realm),
            Hangs(interface.mode),
        );
        (labels, interface.attached.into())
    });
    text.add(&list::INTERFACE_ATTACHED, interfaces);
    let loaded = view.config.loaded_at.as_duration().as_secs_f64();
    text.add_one(&list::CONFIG_LOADED, loaded);
    text.add_one(&list::CONFIG_LAST_RELOAD, view.config.last_error.is_none());
    text.add_one(&list::CONFIG_SAVED, view.config.saved);
    text.add_one(&list::ADOPTED, view.adopted);
    let started = view.started.as_duration().as_secs_f64();
    text.add_one(&list::PROCESS_START, started);
    let build = (Version(VERSION), Commit(BUILD));
    text.add(&list::BUILD_INFO, [(build, true.into())]);
}

//! What people see, on sample answers: the text stands in `tests/expected`.
//!
//! `EGRET_BLESS=1 cargo test -p egret-cli` writes what is shown at present; read the difference
//! before you commit it.

mod laws;
mod samples;

use std::{fs, path::PathBuf};

use api::http::{Applied, Counters, Drops};

use super::*;
use crate::{
    commands::watch::{Rates, line, screenful},
    output::Look,
};

/// A pipe: no colours, no width.
const PIPE: Look = Look {
    colour: false,
    width: None,
};

#[test]
fn status_shows_a_gateway_that_is_well() {
    check("status", &status::show(&samples::status(), PIPE));
}

#[test]
fn status_shows_what_is_wrong_at_its_end() {
    check("status-unwell", &status::show(&samples::unwell(), PIPE));
}

#[test]
fn flows_are_listed_one_a_line() {
    check("flows", &listed(&samples::flows(), PIPE));
}

#[test]
fn who_had_an_endpoint_is_one_line_for_each_flow() {
    check("who", &who::show(&samples::who(), PIPE));
}

#[test]
fn whose_own_a_port_is_stands_before_the_flows() {
    let who = api::http::Who {
        blocks: vec![api::http::Block {
            client: [100, 64, 0, 7].into(),
            pool: "homes".to_owned(),
            address: [192, 0, 2, 10].into(),
            first: 39_936,
            last: 40_447,
            since: "2026-11-20T08:00:00.000000Z".to_owned(),
        }],
        ..samples::who()
    };
    check("who-block", &who::show(&who, PIPE));

    let alone = api::http::Who {
        sessions: Vec::new(),
        ..who
    };
    assert_eq!(who::show(&alone, PIPE).lines().count(), 2);
    assert_eq!(who::remarks(&alone), Vec::<String>::new());
}

#[test]
fn who_is_nobody_says_so_and_how_far_the_log_goes_back() {
    let nobody = api::http::Who {
        sessions: Vec::new(),
        notes: vec!["the log begins at noon".to_owned()],
        ..samples::who()
    };

    assert_eq!(who::show(&nobody, PIPE), "");
    assert_eq!(
        who::remarks(&nobody),
        [
            "nobody is known to have had 192.0.2.10:40000/tcp at 2026-11-22T09:00:00.000000Z",
            "the log begins at noon"
        ]
    );
}

/// A list of flows, all pages of it.
fn listed(flows: &api::http::Flows, look: Look) -> String {
    flows::pages(flows, look).collect()
}

#[test]
fn a_long_list_of_flows_has_one_head_and_columns_that_line_up() {
    let mut many = samples::flows();
    many.flows = many.flows.into_iter().cycle().take(2500).collect();

    let shown = listed(&many, PIPE);

    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2501);
    let state = lines[0].find("STATE").unwrap();
    for (line, flow) in lines.iter().skip(1).zip(&many.flows) {
        assert!(line[state..].starts_with(flow.state.label()), "{line}");
    }
    assert_eq!(listed(&api::http::Flows::default(), PIPE), "");
}

#[test]
fn a_list_of_flows_says_that_it_is_not_all() {
    let all = samples::flows();
    let some = api::http::Flows {
        matched: 12_345,
        truncated: true,
        ..samples::flows()
    };
    let none = api::http::Flows {
        total: 7,
        ..api::http::Flows::default()
    };

    assert_eq!(flows::remark(&all), None);
    assert_eq!(
        flows::remark(&some).unwrap(),
        "4 of 12345 flows are listed; --limit 0 lists all"
    );
    assert_eq!(flows::remark(&none).unwrap(), "no flow matches, of 7");
}

#[test]
fn one_flow_is_shown_with_everything_known() {
    check("flow", &flow::show(&samples::flow(), PIPE));
}

#[test]
fn a_flow_whose_pool_and_next_hop_are_gone_says_so() {
    check("flow-orphan", &flow::show(&samples::orphan(), PIPE));
}

#[test]
fn pools_show_ports_by_address_and_traffic_by_pool() {
    check("pools", &pools::show(&samples::pools(), PIPE));
}

#[test]
fn mappings_are_listed_one_a_line_with_who_wants_them_and_until_when() {
    check("mappings", &mappings::show(&samples::mappings(), PIPE));
}

#[test]
fn no_mappings_are_no_table() {
    let none = api::http::Mappings::default();

    assert_eq!(
        mappings::show(&none, PIPE),
        "no external port was asked for\n"
    );
}

#[test]
fn a_mapping_that_was_granted_or_withdrawn_says_which() {
    let granted = &samples::mappings().mappings[2];

    let shown = [
        mappings::show_granted(granted, PIPE),
        mappings::show_withdrawn(granted, PIPE),
    ];

    check("mapping", &shown.concat());
}

#[test]
fn bgp_peers_are_listed_with_what_was_exchanged_and_why_one_is_down() {
    check("bgp", &bgp::show(&samples::bgp(), PIPE));
}

#[test]
fn bgp_says_that_nothing_is_announced_and_why() {
    let drain = api::http::Drain {
        phase: "ebbing".to_owned(),
        ready: false,
        packets_per_second: Some(51_234.0),
        ended: None,
        hand_over: None,
    };
    let leaving = api::http::Bgp {
        drain,
        notes: vec!["cannot listen for BGP peers on port 179".to_owned()],
        ..samples::bgp()
    };

    check("bgp-leaving", &bgp::show(&leaving, PIPE));
}

#[test]
fn a_gateway_without_bgp_says_so() {
    let none = api::http::Bgp {
        asn: None,
        router_id: None,
        peers: Vec::new(),
        ..samples::bgp()
    };

    assert_eq!(bgp::show(&none, PIPE), "the configuration has no `bgp`\n");
}

#[test]
fn one_bgp_peer_is_shown_with_everything_known() {
    check("bgp-peer", &bgp::show_peer(&samples::bgp().peers[0], PIPE));
}

#[test]
fn a_bgp_peer_that_never_answered_has_little_to_show() {
    let silent = &samples::bgp().peers[1];

    check("bgp-peer-silent", &bgp::show_peer(silent, PIPE));
}

#[test]
fn the_name_of_a_range_is_that_of_all_who_called() {
    let mut found = samples::bgp();
    for (peer, name) in found.peers.iter_mut().zip(["edge 10.0.0.1", "edge-2"]) {
        peer.name = name.to_owned();
    }
    let names = |name: &str| -> Vec<String> {
        let peers = bgp::named(&found, name).into_iter();
        peers.map(|peer| peer.name.clone()).collect()
    };

    assert_eq!(names("edge"), ["edge 10.0.0.1"]);
    assert_eq!(names("edge 10.0.0.1"), ["edge 10.0.0.1"]);
    assert_eq!(names("edge-2"), ["edge-2"]);
    assert_eq!(names("ed"), Vec::<String>::new());
    assert_eq!(names(""), Vec::<String>::new());
}

#[test]
fn bfd_sessions_are_listed_with_their_timers_and_why_one_is_down() {
    check("bfd", &bfd::show(&samples::bfd(), PIPE));
}

#[test]
fn nothing_watched_by_bfd_is_no_table() {
    let none = api::http::Bfd::default();

    assert_eq!(bfd::show(&none, PIPE), "no way is watched by BFD\n");
}

#[test]
fn members_of_a_cluster_are_listed_with_what_they_hold() {
    check("cluster", &cluster::show(&samples::cluster(), PIPE));
}

#[test]
fn a_gateway_that_is_alone_says_so_and_one_that_knows_nobody_yet_too() {
    let alone = cluster::show(&api::http::Cluster::default(), PIPE);
    assert_eq!(
        alone,
        "this gateway is alone: it is a member of no cluster\n"
    );
    let unsettled = api::http::Cluster {
        settled: false,
        ..samples::cluster()
    };
    assert!(cluster::show(&unsettled, PIPE).contains("not known yet who holds"));
}

/// A member with so many buckets of its own, on their way to another, and to come from there.
fn moving(leaving: bool, [owns, going, coming]: [u32; 3]) -> api::http::Drain {
    let moving = |buckets: u32| api::http::Moving {
        member: Some("gw2".to_owned()),
        state: "up".to_owned(),
        buckets,
        connected: true,
        waiting: u64::from(buckets) * 3,
    };
    api::http::Drain {
        phase: if leaving { "drained" } else { "serving" }.to_owned(),
        ready: true,
        hand_over: Some(api::http::HandOver {
            copied: true,
            leaving,
            done: going == 0 && coming == 0,
            owns,
            going: vec![moving(going)],
            coming: vec![moving(coming)],
        }),
        ..api::http::Drain::default()
    }
}

#[test]
fn an_owner_is_named_with_the_reasons_of_each_member() {
    let member = |name: &str, state: &str, why: &str| api::http::OwnerMember {
        name: name.to_owned(),
        state: state.to_owned(),
        why: why.to_owned(),
    };
    let known = api::http::Owner {
        bucket: 17,
        because: "it has the external port 40977".to_owned(),
        owner: Some("gw1".to_owned()),
        before: None,
        here: "absent".to_owned(),
        flow: None,
        members: vec![
            member("gw2", "down", "comes before the owner, and is down"),
            member("gw1", "up", "owns it: the first in the order that is up"),
            member("gw3", "up", "owns it when those before it do not"),
        ],
    };
    let both = api::http::Owner {
        before: Some("gw3".to_owned()),
        here: "copy".to_owned(),
        flow: Some(samples::flow()),
        ..known.clone()
    };
    let unknown = api::http::Owner {
        owner: None,
        ..known.clone()
    };
    let alone = api::http::Owner::default();

    let shown = [known, both, unknown, alone].map(|it| owner::show(&it, PIPE));

    check("owner", &shown.join("\n"));
}

#[test]
fn a_drain_says_where_it_stands_and_why_routes_are_gone() {
    let at = |phase: &str, ready, packets_per_second, ended: Option<&str>| api::http::Drain {
        phase: phase.to_owned(),
        ready,
        packets_per_second,
        ended: ended.map(str::to_owned),
        hand_over: None,
    };
    let all = [
        at("serving", true, None, None),
        at("serving", false, None, None),
        at("ebbing", true, None, None),
        at("ebbing", true, Some(51_234.0), None),
        at("withdrawing", true, Some(3.0), Some("ebbed")),
        at("drained", true, Some(3.0), Some("ebbed")),
        at("drained", true, Some(51_000.0), Some("time over")),
        moving(true, [8, 80, 0]),
        moving(true, [0, 0, 0]),
        moving(false, [8, 0, 80]),
        moving(false, [88, 0, 0]),
    ];

    let shown = all.iter().map(|it| {
        let mut follow = drain::Follow::new(drain::Aim::Leave, std::time::Duration::ZERO);
        let end = follow.look(it, std::time::Instant::now());
        let remark = end.and_then(|end| follow.remark(&end, it));
        let remark = remark.map_or_else(String::new, |it| format!("! {it}\n"));
        drain::show(it, PIPE) + &remark
    });

    check("drain", &shown.collect::<String>());
}

#[test]
fn drops_show_what_occurred_the_most_frequent_first() {
    let shown = exits::show_drops(&samples::drops(), false, PIPE).unwrap();

    check("drops", &shown);
}

#[test]
fn drops_show_every_reason_if_asked() {
    let shown = exits::show_drops(&samples::drops(), true, PIPE).unwrap();

    check("drops-all", &shown);
}

#[test]
fn no_drops_are_no_table() {
    assert_eq!(exits::show_drops(&Drops::default(), false, PIPE), None);
}

#[test]
fn an_explanation_is_broken_into_the_lines_a_screen_has_room_for() {
    let screen = Look {
        colour: false,
        width: Some(72),
    };

    let shown = exits::show_drops(&samples::drops(), true, screen).unwrap();

    check("drops-on-a-screen", &shown);
    assert!(shown.lines().all(|line| line.chars().count() <= 72));
}

#[test]
fn counters_show_what_became_of_every_packet() {
    let counters = Counters {
        counters: samples::exits(),
    };

    check("counters", &exits::show_counters(&counters, PIPE));
}

#[test]
fn apply_says_what_changed_and_whether_it_lasts() {
    let changes = vec![
        "pool team-b: added with 2 addresses".to_owned(),
        "rule partners: now leaves from team-b".to_owned(),
    ];
    let say = |changes: &[String], applied, saved| {
        let applied = Applied {
            changes: changes.to_vec(),
            warnings: Vec::new(),
            applied,
            saved,
        };
        apply::show(&applied, "gateway.yaml")
    };

    let shown = [
        say(&changes, true, true),
        say(&changes, true, false),
        say(&changes, false, false),
        say(&[], true, false),
        say(&[], false, false),
    ];

    check("apply", &shown.join("\n"));
}

#[test]
fn check_counts_what_a_good_configuration_holds() {
    let text = "
interfaces: [{ name: eth0, realm: both }]
pools: [{ name: team-a, addresses: [192.0.2.10, 192.0.2.16/30] }]
rules: [{ name: all, sources: [10.0.0.0/8], pool: team-a }]
";

    let parsed = gateway::intent::parse("gateway.yaml", text).unwrap();

    assert_eq!(
        check::summary("gateway.yaml", &parsed.intent, &parsed.warnings),
        "gateway.yaml: good: 1 interface, 1 pool, 5 external addresses, 1 rule\n"
    );
}

#[test]
fn watch_shows_rates_flows_ports_and_drops() {
    let (before, after) = samples::two_seconds();

    let rates = Rates::between(&before, &after);

    check("watch", &screenful(&rates, None, PIPE));
    check("watch-line", &line(&rates));
}

#[test]
fn watch_knows_no_rate_before_the_second_sample() {
    let (before, _) = samples::two_seconds();

    check("watch-first", &screenful(&Rates::at(&before), None, PIPE));
}

#[test]
fn watch_says_that_the_daemon_does_not_answer() {
    let (before, after) = samples::two_seconds();
    let rates = Rates::between(&before, &after);

    let shown = screenful(&rates, Some("cannot reach egretd"), PIPE);

    assert_eq!(
        shown.lines().next().unwrap(),
        "egretd 0.1.0, cannot reach egretd; what is shown is old    q ends"
    );
}

/// What is shown must be what is expected.
#[track_caller]
pub(super) fn check(name: &str, shown: &str) {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "tests/expected",
        &format!("{name}.txt"),
    ]
    .iter()
    .collect();
    if std::env::var_os("EGRET_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, shown).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shown == expected,
        "{name} is shown differently; EGRET_BLESS=1 accepts it\n\
         --- expected\n{expected}\n--- shown\n{shown}"
    );
}

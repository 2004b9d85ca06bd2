//! `egret drain`, and what is asked of BGP peers: what reaches the daemon, and how the command ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use api::http::{Bgp, BgpPeer, Drain, HandOver, Moving};

use crate::fake::{Fake, Request, json};

fn at(phase: &str, packets: f64, ended: Option<&str>) -> Drain {
    Drain {
        phase: phase.to_owned(),
        ready: true,
        packets_per_second: Some(packets),
        ended: ended.map(str::to_owned),
        hand_over: None,
    }
}

/// A daemon that stands elsewhere each time it is asked, and at the last place for ever.
fn draining(places: Vec<Drain>) -> Fake {
    let asked = AtomicUsize::new(0);
    Fake::answering(move |_: &Request| {
        let index = asked.fetch_add(1, Ordering::Relaxed);
        json("200 OK", &places[index.min(places.len() - 1)])
    })
}

fn lines(fake: &Fake) -> Vec<String> {
    fake.heard().into_iter().map(|it| it.line).collect()
}

#[test]
fn a_drain_is_followed_until_traffic_has_ebbed() {
    let fake = draining(vec![
        at("ebbing", 5000.0, None),
        at("ebbing", 5000.0, None),
        at("withdrawing", 3.0, Some("ebbed")),
        at("drained", 3.0, Some("ebbed")),
    ]);

    let said = fake.run(&["drain"]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert_eq!(said.stderr, "");
    let phases: Vec<&str> = said
        .stdout
        .lines()
        .filter_map(|line| line.split([':', ' ']).next())
        .collect();
    assert_eq!(phases, ["ebbing", "withdrawing", "drained"]);
    let get = "GET /v1/drain";
    assert_eq!(lines(&fake), ["POST /v1/drain", get, get, get]);
}

#[test]
fn a_drain_whose_time_is_over_fails_and_says_what_still_came() {
    let fake = draining(vec![at("drained", 51_000.0, Some("time over"))]);

    let said = fake.run(&["drain"]);

    assert_eq!(said.exit, Some(1));
    assert_eq!(
        said.stderr,
        "the time was over while 51.0 k packets a second still came\n"
    );
}

#[test]
fn a_drain_that_somebody_ends_fails() {
    let fake = draining(vec![at("ebbing", 7.0, None), at("serving", 7.0, None)]);

    let said = fake.run(&["drain"]);

    assert_eq!(said.exit, Some(1));
    assert!(said.stderr.contains("serves again"), "{}", said.stderr);
}

#[test]
fn a_drain_that_nobody_waits_for_is_only_begun() {
    let fake = draining(vec![at("ebbing", 7.0, None)]);

    let said = fake.run(&["drain", "--no-wait"]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert_eq!(lines(&fake), ["POST /v1/drain"]);
}

#[test]
fn a_drain_is_json_for_each_change_if_asked() {
    let places = vec![
        at("ebbing", 7.0, None),
        at("ebbing", 7.0, None),
        at("drained", 1.0, Some("ebbed")),
    ];
    let fake = draining(places.clone());

    let said = fake.run(&["drain", "--json"]);

    let read: Vec<Drain> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read, places[1..]);
}

#[test]
fn a_drain_is_ended_by_its_opposite() {
    let fake = draining(vec![Drain {
        packets_per_second: None,
        ..at("serving", 0.0, None)
    }]);

    let said = fake.run(&["undrain"]);

    assert_eq!(said.exit, Some(0), "{}", said.stderr);
    assert_eq!(said.stdout, "serving: routes are announced\n");
    assert_eq!(lines(&fake), ["DELETE /v1/drain"]);
}

#[test]
fn a_drain_waits_for_members_that_take_flows_and_names_one_that_does_not() {
    let going = |buckets: u32| Drain {
        hand_over: Some(HandOver {
            copied: true,
            leaving: true,
            done: buckets == 0,
            going: vec![Moving {
                member: Some("gw2".to_owned()),
                state: "down".to_owned(),
                buckets,
                ..Moving::default()
            }],
            ..HandOver::default()
        }),
        ..at("drained", 1.0, Some("ebbed"))
    };

    let taken = draining(vec![going(40), going(3), going(0)]).run(&["drain"]);
    let late = draining(vec![going(40)]).run(&["drain", "--timeout", "1s"]);

    assert_eq!(taken.exit, Some(0), "{}", taken.stderr);
    assert_eq!(taken.stdout.lines().count(), 3, "{}", taken.stdout);
    assert!(
        taken.stdout.ends_with("all flows are at other members\n"),
        "{}",
        taken.stdout
    );
    assert_eq!(late.exit, Some(1));
    assert!(
        late.stderr
            .contains("gw2 has not taken all flows of 40 buckets (down, and not connected)"),
        "{}",
        late.stderr
    );
}

fn peers() -> Bgp {
    let peer = |name: &str| BgpPeer {
        name: name.to_owned(),
        state: "idle".to_owned(),
        ..BgpPeer::default()
    };
    Bgp {
        asn: Some(65_010),
        peers: vec![peer("leaf-1"), peer("edge 10.0.0.1"), peer("edge 10.0.0.2")],
        ..Bgp::default()
    }
}

#[test]
fn what_is_asked_of_a_session_reaches_the_daemon() {
    for ask in ["reset", "refresh"] {
        let fake = Fake::always(json("200 OK", &peers()));

        let said = fake.run(&["bgp", ask, "leaf-1"]);

        assert_eq!(said.exit, Some(0), "{}", said.stderr);
        assert!(said.stdout.contains("leaf-1"), "{}", said.stdout);
        let heard = fake.heard();
        assert_eq!(heard[0].line, "POST /v1/bgp");
        assert_eq!(
            heard[0].body,
            format!("{{\"peer\":\"leaf-1\",\"ask\":\"{ask}\"}}")
        );
    }
}

#[test]
fn a_peer_is_shown_alone_and_a_range_with_all_who_called() {
    let fake = Fake::always(json("200 OK", &peers()));
    let json_of = |name: &str| -> Vec<String> {
        let said = fake.run(&["bgp", "show", name, "--json"]);
        assert_eq!(said.exit, Some(0), "{}", said.stderr);
        let names = said.stdout.lines().map(|line| {
            let peer: BgpPeer = serde_json::from_str(line).unwrap();
            peer.name
        });
        names.collect()
    };

    assert_eq!(json_of("leaf-1"), ["leaf-1"]);
    assert_eq!(json_of("edge"), ["edge 10.0.0.1", "edge 10.0.0.2"]);
}

#[test]
fn a_peer_that_nobody_knows_is_refused() {
    let fake = Fake::always(json("200 OK", &peers()));

    let said = fake.run(&["bgp", "show", "spine"]);

    assert_eq!(said.exit, Some(1));
    assert_eq!(said.stdout, "");
    assert_eq!(
        said.stderr,
        "error: there is no BGP peer `spine`\nhelp: `egret bgp` lists them\n"
    );
}

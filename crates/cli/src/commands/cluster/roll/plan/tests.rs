//! Three members are rolled, and what can go wrong does.

use api::http::{Copies, Kept, Sent};

use super::*;

const NAMES: [&str; 3] = ["gw1", "gw2", "gw3"];
const PATIENCE: Duration = Duration::from_secs(300);

fn names() -> Vec<String> {
    NAMES.map(str::to_owned).to_vec()
}

/// The cluster as a member sees it when all is well.
fn well(own: &str) -> Cluster {
    let copies = Copies {
        sent: Sent {
            connected: true,
            buckets: 40,
            complete: 40,
            ..Sent::default()
        },
        kept: Kept {
            connected: true,
            buckets: 40,
            complete: 40,
            ..Kept::default()
        },
    };
    let member = |name: &str| ClusterMember {
        name: name.to_owned(),
        state: "up".to_owned(),
        owns: 85,
        copies: (name != own).then(|| copies.clone()),
        ..ClusterMember::default()
    };
    Cluster {
        name: Some("west".to_owned()),
        own: Some(own.to_owned()),
        settled: true,
        copied: true,
        members: NAMES.map(member).to_vec(),
        ..Cluster::default()
    }
}

/// The same, but for one member, who is in this state.
fn but(own: &str, other: &str, state: &str) -> Cluster {
    let mut cluster = well(own);
    let mut members = cluster.members.iter_mut();
    let found = members.find(|it| it.name == other).expect("it is one");
    state.clone_into(&mut found.state);
    cluster
}

fn plan() -> Plan {
    Plan::new(names(), names(), (false, PATIENCE))
}

fn ask(member: &str, ask: Ask) -> Next {
    Next::Ask(member.to_owned(), ask)
}

/// Does what the plan wants, and answers that all is well, until it wants this.
fn goes_on_until(plan: &mut Plan, wanted: &Next, now: Instant) -> Vec<String> {
    let (mut next, mut done) = (plan.begin(), Vec::new());
    while next != *wanted {
        next = match &next {
            Next::Ask(member, Ask::Cluster) => {
                plan.handle(Answer::Cluster(Box::new(well(member))), now)
            }
            Next::Ask(member, what @ (Ask::Drain | Ask::Undrain | Ask::Run)) => {
                done.push(format!("{what:?} {member}"));
                plan.handle(Answer::Done, now)
            }
            Next::Pause => plan.ask(),
            Next::End | Next::Stop(_) => panic!("{next:?} after {done:?}"),
        };
    }
    done
}

#[test]
fn all_members_are_drained_and_replaced_in_their_order() {
    let done = goes_on_until(&mut plan(), &Next::End, Instant::now());

    let wanted = NAMES.map(|it| [format!("Drain {it}"), format!("Run {it}")]);
    assert_eq!(done, wanted.concat());
}

#[test]
fn nothing_is_begun_while_a_member_is_not_well() {
    let half = |own: &str| {
        let mut cluster = well(own);
        for copies in cluster
            .members
            .iter_mut()
            .filter_map(|it| it.copies.as_mut())
        {
            copies.sent.complete = 3;
        }
        cluster
    };
    let uncopied = |own: &str| Cluster {
        copied: false,
        ..well(own)
    };
    let cases = [
        (but("gw1", "gw3", "down"), "gw1 says that gw3 is down"),
        (but("gw1", "gw1", "leaving"), "gw1 says that gw1 is leaving"),
        (half("gw1"), "gw2 does not know all flows of 37 buckets yet"),
        (uncopied("gw1"), "flows are not copied"),
        (well("gw2"), "`--via` leads elsewhere"),
    ];
    for (cluster, why) in cases {
        let mut plan = plan();
        assert_eq!(plan.begin(), ask("gw1", Ask::Cluster));

        let next = plan.handle(Answer::Cluster(Box::new(cluster)), Instant::now());

        let Next::Stop(stop) = next else {
            panic!("{next:?}");
        };
        let said = stop.to_string();
        assert!(
            said.starts_with("nothing was done: ") && said.contains(why),
            "{said}"
        );
    }
}

#[test]
fn a_member_that_does_not_come_back_stops_the_roll_and_the_next_one_is_not_touched() {
    let (mut plan, now) = (plan(), Instant::now());
    goes_on_until(&mut plan, &ask("gw2", Ask::Run), now);
    plan.handle(Answer::Done, now);
    let gone = || Answer::Failed("it ended with status 3".to_owned());
    assert_eq!(plan.handle(gone(), now), Next::Pause);

    let next = plan.handle(gone(), now + PATIENCE);

    let Next::Stop(stop) = next else {
        panic!("{next:?}");
    };
    assert_eq!((stop.done.len(), stop.left.len()), (1, 1));
    let said = stop.to_string();
    assert!(
        said.contains("stopped at gw2") && said.contains("--from gw2"),
        "{said}"
    );
}

#[test]
fn a_drain_that_fails_stops_before_anything_is_run() {
    let (mut plan, now) = (plan(), Instant::now());
    goes_on_until(&mut plan, &ask("gw1", Ask::Drain), now);

    let next = plan.handle(Answer::Failed("it ended with status 1".to_owned()), now);

    let Next::Stop(stop) = next else {
        panic!("{next:?}");
    };
    assert_eq!(
        (stop.step, stop.done.len(), stop.left.len()),
        ("draining", 0, 2)
    );
    assert!(stop.to_string().contains("egret undrain"), "{stop}");
}

#[test]
fn the_next_one_is_drained_only_when_all_see_that_all_is_well() {
    let (mut plan, now) = (plan(), Instant::now());
    goes_on_until(&mut plan, &ask("gw1", Ask::Run), now);
    plan.handle(Answer::Done, now);
    let mut seen = |next: Next, cluster: Cluster| {
        let Next::Ask(member, Ask::Cluster) = next else {
            panic!("{next:?}");
        };
        assert_eq!(Some(member), cluster.own);
        plan.handle(Answer::Cluster(Box::new(cluster)), now)
    };
    let next = seen(ask("gw1", Ask::Cluster), well("gw1"));
    let next = seen(next, but("gw2", "gw1", "leaving"));
    assert_eq!(next, Next::Pause);
    let next = seen(ask("gw1", Ask::Cluster), well("gw1"));
    let next = seen(next, well("gw2"));
    let next = seen(next, well("gw3"));

    assert_eq!(next, ask("gw2", Ask::Drain));
}

#[test]
fn a_member_whose_daemon_went_on_is_told_to_serve_again_once() {
    let (mut plan, now) = (plan(), Instant::now());
    goes_on_until(&mut plan, &ask("gw1", Ask::Run), now);
    plan.handle(Answer::Done, now);
    let leaving = || Answer::Cluster(Box::new(but("gw1", "gw1", "leaving")));

    assert_eq!(plan.handle(leaving(), now), ask("gw1", Ask::Undrain));
    assert_eq!(plan.handle(Answer::Done, now), Next::Pause);
    assert_eq!(plan.handle(leaving(), now), Next::Pause);
}

#[test]
fn a_roll_that_goes_on_takes_its_first_member_as_it_was_left() {
    let rest = vec!["gw2".to_owned(), "gw3".to_owned()];
    let (mut plan, now) = (Plan::new(names(), rest, (true, PATIENCE)), Instant::now());
    let mut next = plan.begin();
    for viewer in NAMES {
        assert_eq!(next, ask(viewer, Ask::Cluster));
        let left = but(viewer, "gw2", "leaving");
        next = plan.handle(Answer::Cluster(Box::new(left)), now);
    }

    assert_eq!(next, ask("gw2", Ask::Drain));
}

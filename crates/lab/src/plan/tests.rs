//! What is wrong with a plan is said, all of it.

use super::*;

fn problems(plan: &Plan) -> String {
    plan.check().unwrap_err().to_string()
}

#[test]
fn a_sound_plan_has_no_problems() {
    let mut plan = Plan::new("sound-1");
    plan.link(("a", "eth0"), ("b", "eth0")).queues(2).mtu(9000);
    plan.host("a")
        .address("eth0", "10.0.0.1/24")
        .route("default via 10.0.0.2");

    plan.check().unwrap();
}

#[test]
fn all_problems_are_reported_at_once() {
    let mut plan = Plan::new("bad");
    plan.link(("a", "eth0"), ("b", "eth0"));
    plan.link(("a", "eth0"), ("no-hyphens", "an-interface-name-too-long"));
    plan.host("b")
        .address("eth0", "10.0.0.300/24")
        .ip("one\ntwo");

    let text = problems(&plan);

    for part in [
        "two interfaces eth0",
        "no-hyphens",
        "too-long",
        "10.0.0.300/24",
        "one line",
    ] {
        assert!(text.contains(part), "{part:?} is missing from {text:?}");
    }
}

#[test]
fn a_site_cannot_be_named_like_a_path() {
    for name in ["", "-a", "../etc", "A", "a/b", "a_b", &"a".repeat(33)] {
        assert!(
            problems(&Plan::new(name)).contains("cannot name a site"),
            "{name}"
        );
    }
}

#[test]
fn every_interface_has_its_own_mac() {
    let mut plan = Plan::new("macs");
    plan.link(("a", "eth0"), ("b", "in0"));
    plan.link(("b", "out0"), ("c", "eth0"));

    let macs = [("a", "eth0"), ("b", "in0"), ("b", "out0"), ("c", "eth0")]
        .map(|(host, interface)| plan.mac(host, interface).unwrap());

    assert_eq!(BTreeSet::from(macs).len(), 4);
    assert_eq!(plan.mac("a", "eth1"), None);
}

#[test]
fn static_neighbours_are_the_other_end_of_each_link() {
    let mut plan = Plan::new("neighbours");
    plan.link(("a", "eth0"), ("b", "in0"));
    plan.host("a").address("eth0", "10.0.0.1/24");
    plan.host("b")
        .address("in0", "10.0.0.2/24")
        .address("out0", "10.9.0.2/24");
    assert!(plan.neighbours("a").is_empty());

    plan.static_neighbours();

    let mac = plan.mac("b", "in0").unwrap();
    assert_eq!(
        plan.neighbours("a"),
        [(Ipv4Addr::new(10, 0, 0, 2), "eth0", mac)]
    );
}

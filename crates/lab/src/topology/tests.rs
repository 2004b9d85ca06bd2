//! What a short description becomes.

use super::*;

fn demo(topology: Topology) -> Plan {
    topology
        .pods("10.1.0.0/24", ["a1", "a2"])
        .clients("a1", "10.2.0.0/16")
        .gateway("gw")
        .target(Target::guarded("db").http(80))
        .external(["192.0.2.10", "192.0.2.11"])
        .plan()
}

#[track_caller]
fn check(plan: &mut Plan, host: &str, line: &str) {
    let lines = &plan.host(host).ip;
    assert!(
        lines.iter().any(|each| each == line),
        "{host} has no {line:?}: {lines:#?}"
    );
}

#[test]
fn two_arms_route_everything_through_the_gateway() {
    let mut plan = demo(Topology::two_arm("demo"));

    plan.check().unwrap();

    check(&mut plan, "a2", "address add 10.1.0.12/24 dev eth0");
    check(&mut plan, "a2", "route add default via 10.1.0.1");
    check(&mut plan, "inside", "route add default via 172.31.1.11");
    check(&mut plan, "gw", "route add 10.1.0.0/24 via 172.31.1.1");
    check(&mut plan, "gw", "route add default via 172.31.2.1");
    check(
        &mut plan,
        "outside",
        "route add 192.0.2.10/32 via 172.31.2.11",
    );
    check(
        &mut plan,
        "outside",
        "route add 10.2.0.0/16 via 172.31.2.11",
    );
    check(&mut plan, "a1", "route add local 10.2.0.0/16 dev lo");
    check(&mut plan, "db", "address add 198.51.100.11/24 dev eth0");
}

#[test]
fn one_arm_sends_only_what_comes_from_pods_to_the_gateway() {
    let mut plan = demo(Topology::one_arm("demo"));

    plan.check().unwrap();

    check(
        &mut plan,
        "router",
        "route add default via 172.31.1.11 table 100",
    );
    check(
        &mut plan,
        "router",
        "rule add from 10.1.0.0/24 iif pods0 lookup 100",
    );
    check(
        &mut plan,
        "router",
        "rule add from 10.2.0.0/16 iif pods0 lookup 100",
    );
    check(
        &mut plan,
        "router",
        "route add 192.0.2.11/32 via 172.31.1.11",
    );
    check(&mut plan, "gw", "route add default via 172.31.1.1");
}

#[test]
fn several_gateways_share_an_external_address_by_equal_cost_routes() {
    let mut plan = Topology::two_arm("many")
        .pods("10.1.0.0/24", ["a"])
        .gateway("g1")
        .gateway("g2")
        .external(["192.0.2.10"])
        .plan();

    let both = "nexthop via 172.31.2.11 nexthop via 172.31.2.12";
    check(
        &mut plan,
        "outside",
        &format!("route add 192.0.2.10/32 {both}"),
    );
}

#[test]
fn mistakes_of_a_description_are_reported_together() {
    let plan = Topology::two_arm("bad")
        .pods("10.1.0.0/30", ["a"])
        .clients("nobody", "10.2.0.0/16")
        .external(["192.0.2.999"])
        .plan();

    let text = plan.check().unwrap_err().to_string();

    for part in [
        "10.1.0.0/30 has no room",
        "nobody",
        "192.0.2.999",
        "no gateway",
    ] {
        assert!(text.contains(part), "{part:?} is missing from {text:?}");
    }
}

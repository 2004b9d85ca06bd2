//! Where the kernel's twin stands: a namespace whose routes and neighbours answer as
//! `rig::site::route` and `rig::dual::route6` do.

use std::{net::Ipv6Addr, path::Path};

use anyhow::{Context, Result};
use kernel::State;
use lab::{Plan, Role};

use crate::rig::{
    dual::NARROW_MTU6,
    site::{ARM, INSIDE, NARROW_MTU, OUTSIDE, UNLISTED, own_address6, own_mac, peer_mac},
};

/// Our numbers for interfaces, and their names.
pub const INTERFACES: [(u32, &str); 4] = [
    (INSIDE, "inside"),
    (OUTSIDE, "outside"),
    (ARM, "arm"),
    (UNLISTED, "unlisted"),
];

/// Builds the namespace and does something in it, with a state directory.
pub fn stand<T: Send>(name: &str, act: impl FnOnce(&Path) -> Result<T> + Send) -> Result<T> {
    let site = plan(name).build()?;
    let host = site.host("gw")?;
    // No address of the loopback range: the native routes know none.
    host.ip("addr flush dev lo")?;
    let state = host.bpffs().context("a gateway has a bpffs")?.join("egret");
    let result = host.enter(|| act(&state))?;
    State::remove(&state)?;
    result
}

fn plan(name: &str) -> Plan {
    let mut plan = Plan::new(name);
    for (_, interface) in INTERFACES {
        plan.link(("gw", interface), ("peer", interface));
    }
    let gw = plan.host("gw").role(Role::Gateway);
    for which in ["all", "default"] {
        gw.sysctl(&format!("ipv6/conf/{which}/disable_ipv6"), "0");
        gw.sysctl(&format!("ipv6/conf/{which}/accept_dad"), "0");
    }
    for (index, interface) in INTERFACES {
        let (own, peer) = (mac(own_mac(index)), mac(peer_mac(index)));
        gw.ip(&format!("link set {interface} address {own}"));
        gw.ip(&format!(
            "neigh replace 169.254.{index}.1 lladdr {peer} dev {interface} nud permanent"
        ));
        gw.ip(&format!(
            "neigh replace fe80::{index} lladdr {peer} dev {interface} nud permanent"
        ));
    }
    for (index, interface) in &INTERFACES[..3] {
        gw.ip(&format!("addr add 10.255.255.{index}/32 dev {interface}"));
        let own = Ipv6Addr::from(own_address6(*index).0);
        gw.ip(&format!("addr add {own}/128 dev {interface} nodad"));
    }
    gw.ip("addr add 192.0.2.1/32 dev arm");
    let via = |prefix: &str, index: u32, more: &str| {
        let interface = INTERFACES[index as usize - 1].1;
        format!("route add {prefix} via 169.254.{index}.1 dev {interface} onlink {more}")
    };
    gw.ip(&via("10.0.0.0/8", INSIDE, ""));
    gw.ip(&via("172.16.0.0/12", INSIDE, ""));
    gw.ip(&via(
        "203.0.113.0/24",
        OUTSIDE,
        &format!("mtu lock {NARROW_MTU}"),
    ));
    gw.ip("route add 198.18.0.0/24 via 169.254.2.99 dev outside onlink");
    gw.ip("route add unreachable 198.18.1.0/24");
    gw.ip(&via("198.18.2.0/24", ARM, ""));
    gw.ip(&via("198.18.3.0/24", UNLISTED, ""));
    gw.ip(&via("default", OUTSIDE, ""));
    routes6(&mut plan);
    plan
}

fn routes6(plan: &mut Plan) {
    let gw = plan.host("gw");
    let mut via = |prefix: &str, index: u32, next: u32, more: &str| {
        let interface = INTERFACES[index as usize - 1].1;
        gw.ip(&format!(
            "route add {prefix} via fe80::{next} dev {interface} onlink {more}"
        ));
    };
    let narrow = format!("mtu lock {NARROW_MTU6}");
    via("fd00::/8", INSIDE, INSIDE, "");
    via("fd12::/16", INSIDE, INSIDE, &narrow);
    via("fd13::/16", INSIDE, 99, "");
    via("2001:db8:12::/48", OUTSIDE, OUTSIDE, &narrow);
    via("2001:db8:13::/48", OUTSIDE, 99, "");
    via("::/0", OUTSIDE, OUTSIDE, "");
    gw.ip("route add unreachable 2001:db8:14::/48");
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

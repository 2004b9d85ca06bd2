//! The prefixes whose addresses stand for IPv4 ones, and how long packets from there may be.

use std::net::{IpAddr, Ipv6Addr};

use abi::{
    Address, Ip6, Prefix64,
    limits::{MTU6_MIN, PREFIXES64_MAX},
};
use api::Config;

use super::{
    super::{
        report::{Path, Report},
        words::{self, complaint},
    },
    accept, each, given,
    pools::Owners,
};

/// The largest packet that a network whose links are Ethernet's takes, jumbo frames included.
const LOWEST_MTU_MAX: u16 = 9000;

pub(super) fn lowest_mtu(config: &Config, report: &mut Report<'_>) -> u16 {
    let section = Path::ROOT.field("nat64");
    let Some((path, bytes)) = given(report, &section, "lowest_mtu", &config.nat64.lowest_mtu)
    else {
        return MTU6_MIN;
    };
    let mtu = u16::try_from(*bytes).ok();
    let mtu = mtu.filter(|mtu| (MTU6_MIN..=LOWEST_MTU_MAX).contains(mtu));
    let mtu = mtu.ok_or_else(|| {
        let help = format!("write from {MTU6_MIN} to {LOWEST_MTU_MAX}");
        complaint(format!("{bytes} bytes are no IPv6 MTU"), help)
    });
    accept(report, &path, mtu).unwrap_or(MTU6_MIN)
}

pub(super) fn judge(config: &Config, owners: &Owners, report: &mut Report<'_>) -> Vec<Prefix64> {
    let section = Path::ROOT.field("nat64");
    let Some((path, list)) = given(report, &section, "prefixes", &config.nat64.prefixes) else {
        return Vec::new();
    };
    if list.len() > PREFIXES64_MAX {
        let message = format!("{} prefixes; at most {PREFIXES64_MAX} fit", list.len());
        let help = "clients need one: keep those that your DNS64 servers use";
        report.error(&path, complaint(message, help));
    }
    let mut known: Vec<(Path, Prefix64)> = Vec::new();
    for (path, prefix) in each(report, &path, list, words::prefix64) {
        if let Some((first, other)) = known.iter().find(|(_, other)| overlap(*other, prefix)) {
            let line = report.line(first);
            let message = format!("`{prefix}` overlaps `{other}` in line {line}");
            let help = "an address must stand for one IPv4 address only: remove one of them";
            report.error(&path, complaint(message, help));
        }
        pool_inside(prefix, &path, owners, report);
        known.push((path, prefix));
    }
    known.into_iter().map(|(_, prefix)| prefix).collect()
}

/// An address that stands for an IPv4 one is not ours to give out.
fn pool_inside(prefix: Prefix64, path: &Path, owners: &Owners, report: &mut Report<'_>) {
    let first = prefix.address();
    let last = u128::from_be_bytes(first.0) | u128::MAX.checked_shr(prefix.bits()).unwrap_or(0);
    let bounds = IpAddr::from(first.0)..=IpAddr::V6(Ipv6Addr::from(last));
    if let Some((address, (entry, pool))) = owners.range(bounds).next() {
        let line = report.line(entry);
        let message = format!(
            "`{prefix}` holds `{address}`, an external address of pool `{pool}` (line {line})"
        );
        let help = "its addresses stand for IPv4 targets: take the pool's from another prefix";
        report.error(path, complaint(message, help));
    }
}

fn overlap(a: Prefix64, b: Prefix64) -> bool {
    let bits = a.bits().min(b.bits());
    let cut = |prefix: Prefix64| Ip6::cut(prefix.address().bits(), bits);
    cut(a) == cut(b)
}

//! Turns a plan into namespaces, links and everything inside them; the order matters throughout.
//!
//! What may fail half way is removed by whoever holds the site's claim, not here.

use std::fs;
use std::path::Path;
use std::thread;

use nix::mount::{MsFlags, mount};

use crate::Error;
use crate::host::Host;
use crate::mirror::mirrored;
use crate::pass::Pass;
use crate::plan::{HostPlan, Link, Plan, Role};
use crate::state::{directory_of, namespace_of};
use crate::tool::{self, Place};

/// Said to every namespace before it has a link, so that new links start with it.
///
/// Redirects are off because a
/// one-arm router would send one per flow; ICMP is not rate-limited because a test that asks twice
/// expects two answers; reverse-path filtering is off because a gateway's return path is its own.
const SYSCTLS: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv4/icmp_ratelimit", "0"),
];

/// The same to a site of IPv4 alone: solicitations of IPv6 would be counted as packets.
const WITHOUT_IPV6: &[(&str, &str)] = &[
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// The same to a site with IPv6: addresses are the plan's, are used at once, and errors are not
/// rate-limited.
const WITH_IPV6: &[(&str, &str)] = &[
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/all/accept_redirects", "0"),
    ("ipv6/conf/default/accept_redirects", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/icmp/ratelimit", "0"),
];

/// Makes everything the plan names except its services.
pub(crate) fn raise(plan: &Plan) -> Result<Vec<Host>, Error> {
    let namespaces = plan
        .hosts
        .iter()
        .map(|host| namespace_of(&plan.site, &host.name));
    let lines: Vec<String> = namespaces.map(|name| format!("netns add {name}")).collect();
    tool::ip_batch(Place::Here, &lines)?;

    let mut hosts = Vec::new();
    for host in &plan.hosts {
        let opened = open(plan, host)?;
        if let Some(bpffs) = opened.bpffs() {
            mount_bpffs(&bpffs)?;
        }
        set_sysctls(plan, &opened, host)?;
        hosts.push(opened);
    }

    let links: Vec<String> = plan
        .links
        .iter()
        .map(|link| link_line(plan, link))
        .collect();
    tool::ip_batch(Place::Here, &links)?;
    in_parallel(plan, &hosts, furnish)?;
    in_parallel(plan, &hosts, receive_redirects)?;
    receive_reflections(plan, &hosts)?;
    Ok(hosts)
}

/// Opens the hosts of a site that is up already.
pub(crate) fn reopen(plan: &Plan) -> Result<Vec<Host>, Error> {
    plan.hosts.iter().map(|host| open(plan, host)).collect()
}

fn open(plan: &Plan, host: &HostPlan) -> Result<Host, Error> {
    let directory = match host.role {
        Role::Gateway | Role::Router => Some(directory_of(&plan.site).join(&host.name)),
        Role::Pod | Role::Target | Role::Other => None,
    };
    Host::open(plan, host, &namespace_of(&plan.site, &host.name), directory)
}

/// Sets one host up inside, once its links are there.
fn furnish(plan: &Plan, host: &HostPlan, opened: &Host) -> Result<(), Error> {
    let mut lines = vec!["link set lo up".to_owned()];
    lines.extend(
        opened
            .interfaces()
            .map(|interface| format!("link set {interface} up")),
    );
    lines.extend_from_slice(&host.ip);
    for (address, interface, mac) in plan.neighbours(&host.name) {
        let mac = mac_text(mac);
        lines.push(format!(
            "neigh replace {address} lladdr {mac} dev {interface} nud permanent"
        ));
    }
    for interface in opened.interfaces() {
        set_offloads(opened, interface)?;
    }
    tool::ip_batch(opened.place(), &lines)?;
    if plan.ipv6 {
        let lines: Vec<String> = lines.iter().filter_map(|line| mirrored(line)).collect();
        tool::ip6_batch(opened.place(), &lines)?;
    }
    match &host.acl {
        Some(acl) => opened.enforce(acl),
        None => Ok(()),
    }
}

/// Makes a veth look like hardware to an XDP program at its other end.
///
/// Without this its frames carry partial checksums, many segments at once, and VLAN tags beside
/// the frame instead of in it.
fn set_offloads(host: &Host, interface: &str) -> Result<(), Error> {
    let off = [
        "tx", "off", "tso", "off", "gso", "off", "txvlan", "off", "gro", "off",
    ];
    let args = ["-K", interface].into_iter().chain(off);
    host.succeed("ethtool", args).map(drop)
}

/// Lets frames that XDP redirects into a veth arrive at everybody but a gateway, which has a program.
///
/// The kernel drops such a frame unless the receiving end has a program or GRO, and notes that at the
/// sending end only when GRO is turned on while both ends are up: therefore last.
fn receive_redirects(_: &Plan, host: &HostPlan, opened: &Host) -> Result<(), Error> {
    match host.role {
        Role::Gateway => Ok(()),
        Role::Pod | Role::Router | Role::Target | Role::Other => {
            opened.interfaces().try_for_each(|interface| {
                opened
                    .succeed("ethtool", ["-K", interface, "gro", "on"])
                    .map(drop)
            })
        }
    }
}

/// Lets frames that a gateway sends back by the interface they came from arrive at a router.
///
/// Only there: a program at the receiving end costs what the kernel itself forwards a copy, and the
/// shape for benchmarks, which has no routers, compares with that.
fn receive_reflections(plan: &Plan, hosts: &[Host]) -> Result<(), Error> {
    let host = |name: &str| hosts.iter().find(|host| host.name() == name);
    for link in &plan.links {
        let [one, other] = &link.ends;
        for (near, far) in [(one, other), (other, one)] {
            let (Some(router), Some(gateway)) = (host(&near.host), host(&far.host)) else {
                continue;
            };
            let Some(bpffs) = gateway.bpffs().filter(|_| router.role() == Role::Router) else {
                continue;
            };
            let pass = Pass::pin(&bpffs)?;
            let (interface, path) = (&near.interface, pass.path().display());
            router.ip(&format!("link set {interface} xdpdrv pinned {path}"))?;
        }
    }
    Ok(())
}

fn set_sysctls(plan: &Plan, opened: &Host, host: &HostPlan) -> Result<(), Error> {
    // Forwarding first: switching it resets what the others set.
    let by_role: &[(&str, &str)] = match host.role {
        Role::Gateway => &[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")],
        Role::Router => &[
            ("ipv4/ip_forward", "1"),
            ("ipv4/fib_multipath_hash_policy", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/fib_multipath_hash_policy", "1"),
        ],
        Role::Pod | Role::Target | Role::Other => &[],
    };
    let own = host
        .sysctls
        .iter()
        .map(|(path, value)| (path.as_str(), value.as_str()));
    let by_site = if plan.ipv6 { WITH_IPV6 } else { WITHOUT_IPV6 };
    let all = by_role.iter().chain(SYSCTLS).chain(by_site);
    for (path, value) in all.copied().chain(own) {
        opened.sysctl(path, value)?;
    }
    Ok(())
}

fn link_line(plan: &Plan, link: &Link) -> String {
    let Link { ends, queues, mtu } = link;
    let [one, other] = ends.each_ref().map(|end| {
        let namespace = namespace_of(&plan.site, &end.host);
        let mac = plan.mac(&end.host, &end.interface).map(mac_text);
        let mac = mac.expect("invariant: a checked plan numbers every interface");
        format!(
            "name {} netns {namespace} address {mac} mtu {mtu} numtxqueues {queues} numrxqueues {queues}",
            end.interface,
        )
    });
    format!("link add {one} type veth peer {other}")
}

fn mount_bpffs(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create", path))?;
    let mounted = mount(
        Some("bpf"),
        path,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    );
    mounted.map_err(|errno| Error::file("mount a bpffs on", path)(errno.into()))
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Does the same to every host at once and reports the first failure.
fn in_parallel(
    plan: &Plan,
    hosts: &[Host],
    work: impl Fn(&Plan, &HostPlan, &Host) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    thread::scope(|scope| {
        let pairs = plan.hosts.iter().zip(hosts);
        let threads: Vec<_> = pairs
            .map(|(host, opened)| scope.spawn(|| work(plan, host, opened)))
            .collect();
        let results = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        results.collect()
    })
}

//! Which clients have blocks of ports of their own, and that there are enough for all of them.

use std::net::IpAddr;

use abi::{
    blocks::{BLOCK_MAX, BLOCK_MIN},
    limits::BLOCK_PREFIXES_MAX,
};
use api::config;
use ipnet::Ipv4Net;

use super::super::{
    super::{
        Pool, PortRange,
        blocks::{Blocks, Misfit},
        report::{Path, Report},
        words::{self, complaint},
    },
    each, given, required,
};

/// The blocks of a pool with these addresses and ports, if it is to have some.
pub(super) fn judge(
    pool: &config::Pool,
    path: &Path,
    (addresses, ports): (&[IpAddr], PortRange),
    report: &mut Report<'_>,
) -> Option<Blocks> {
    let (path, written) = given(report, path, "blocks", &pool.blocks)?;
    let clients = clients(written, &path, report);
    let size = size(written, &path, report);
    let own = addresses.iter().filter(|it| it.is_ipv4()).count() as u32;
    if own == 0 && !addresses.is_empty() {
        let message = "a pool without IPv4 addresses has no ports for blocks";
        let help = "add IPv4 addresses, or remove `blocks`: IPv6 clients have none";
        report.error(&path, complaint(message, help));
        return None;
    }
    let (clients, size) = (clients?, size?);
    match Blocks::lay_out(clients, size, own, ports) {
        Ok(blocks) => Some(blocks),
        Err(Misfit::Clients { clients, each, all }) => {
            let message = format!(
                "{clients} clients with a block of {size} ports each, and room for {all}: {each} in \
                 {}-{} of each address, of which there are {own}",
                ports.first, ports.last
            );
            let help = "write a smaller `size`, more `addresses`, or fewer `clients`";
            report.error(&path, complaint(message, help));
            None
        }
        // What else could be wrong was judged before.
        Err(Misfit::Shape) => None,
    }
}

/// The prefixes of those who have blocks, in the order in which they are written.
fn clients(written: &config::Blocks, path: &Path, report: &mut Report<'_>) -> Option<Vec<Ipv4Net>> {
    let help = "add `clients: [100.64.0.0/22]`, those who have a block each";
    let (path, list) = required(report, path, "clients", &written.clients, help)?;
    if list.is_empty() {
        let help = "write the prefixes of those who have a block each: `[100.64.0.0/22]`";
        report.error(&path, complaint("blocks for no clients", help));
        return None;
    }
    if list.len() > BLOCK_PREFIXES_MAX {
        let message = format!(
            "{} prefixes of clients; at most {BLOCK_PREFIXES_MAX} fit",
            list.len()
        );
        let help = "merge prefixes that lie side by side, or divide the clients among pools";
        report.error(&path, complaint(message, help));
        return None;
    }
    let mut clients: Vec<(Path, Ipv4Net)> = Vec::new();
    let good = each(report, &path, list, words::prefix4);
    let is_whole = good.len() == list.len();
    for (path, net) in good {
        let met = clients
            .iter()
            .find(|(_, other)| other.contains(&net.network()) || net.contains(&other.network()));
        if let Some((_, other)) = met {
            let message = format!("`{net}` and `{other}` have clients in common");
            let help = "a client has one block in a pool: remove one of the two";
            report.error(&path, complaint(message, help));
        }
        clients.push((path, net));
    }
    is_whole.then(|| clients.into_iter().map(|(_, net)| net).collect())
}

fn size(written: &config::Blocks, path: &Path, report: &mut Report<'_>) -> Option<u16> {
    let help = "add `size: 512`, the ports of a block";
    let (path, number) = required(report, path, "size", &written.size, help)?;
    let size = u16::try_from(*number).ok();
    let size = size.filter(|it| it.is_power_of_two() && (BLOCK_MIN..=BLOCK_MAX).contains(it));
    if size.is_none() {
        let message = format!("a block cannot have {number} ports");
        let help = format!("write a power of two from {BLOCK_MIN} to {BLOCK_MAX}, such as `512`");
        report.error(&path, complaint(message, help));
    }
    size
}

/// What a forward has of a block is its client's no more, and the log of the block would name the
/// wrong one: so it may only have its own target's.
pub(super) fn foreign(forward: &super::super::super::Forward, pool: &Pool) -> Option<PortRange> {
    let blocks = pool.blocks.as_ref()?;
    let (target, _) = forward.target;
    let address = pool.index_of(forward.address);
    let ranks = blocks.ranks(target, address);
    let ports = forward.ports;
    let is_foreign = (ports.first..=ports.last).any(|port| {
        let mut allowed = ranks.iter().flatten();
        !allowed.any(|ranks| abi::blocks::has(ranks, abi::Port::new(port)))
    });
    is_foreign.then(|| blocks.all())
}

//! The prefixes whose addresses are translated one to one: that each address means one host, and
//! that nothing else gives it out.

use std::net::IpAddr;

use abi::limits::{FIXED_EXCEPTIONS_MAX, FIXED_MAX};
use api::{Config, config};
use ipnet::{IpNet, Ipv6Net};

use super::{
    super::{
        FixedPrefix, Prefix64,
        report::{Path, Report},
        words::{self, complaint},
    },
    Names, accept, each, given,
    pools::Owners,
    required,
};

/// The longest prefix of IPv6: the half behind it makes up for what is before it (RFC 6296 §3.5).
const LENGTH6_MAX: u8 = 64;

pub(super) fn judge(
    config: &Config,
    owners: &Owners,
    nat64: &[Prefix64],
    report: &mut Report<'_>,
) -> Vec<FixedPrefix> {
    let Some((path, list)) = given(report, &Path::ROOT, "prefixes", &config.prefixes) else {
        return Vec::new();
    };
    if list.len() > FIXED_MAX {
        let message = format!("{} prefixes; at most {FIXED_MAX} fit", list.len());
        let help = "merge those that lie side by side on both sides into shorter ones";
        report.error(&path, complaint(message, help));
    }
    let mut names = Names::of("prefix");
    let mut known = Vec::new();
    for (index, prefix) in list.iter().enumerate() {
        let path = path.item(index);
        if let Some(prefix) = one(prefix, &path, &mut names, report) {
            apart(&prefix, &path, &known, report);
            for (end, net) in [("internal", prefix.internal), ("external", prefix.external)] {
                let path = path.field(end);
                no_pool_inside(net, &path, owners, report);
                no_nat64_inside(net, &path, nat64, report);
            }
            known.push((path, prefix));
        }
    }
    let exceptions: usize = known.iter().map(|(_, prefix)| prefix.except.len()).sum();
    if exceptions > FIXED_EXCEPTIONS_MAX {
        let message = format!("the prefixes have {exceptions} exceptions");
        let help = format!("at most {FIXED_EXCEPTIONS_MAX} fit: write shorter ones");
        report.error(&path, complaint(message, help));
    }
    known.into_iter().map(|(_, prefix)| prefix).collect()
}

fn one(
    prefix: &config::Prefix,
    path: &Path,
    names: &mut Names,
    report: &mut Report<'_>,
) -> Option<FixedPrefix> {
    let help = "add `name: branch`; reports call the prefix by it";
    let name = required(report, path, "name", &prefix.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::name("prefix", word))
    });
    let help = "add `internal: 10.1.0.0/24`, the addresses that hosts inside have";
    let internal = end(path, "internal", &prefix.internal, help, report);
    let help = "add `external: 198.51.100.0/24`, addresses that your routers send to this gateway";
    let external = end(path, "external", &prefix.external, help, report);
    let except = match given(report, path, "except", &prefix.except) {
        Some((path, list)) => each(report, &path, list, words::prefix),
        None => Vec::new(),
    };
    let (internal, external) = alike(internal?, external?, path, report)?;
    for (path, net) in &except {
        if is_ip4(*net) != is_ip4(internal) {
            let message = format!("`{net}` and `{internal}` are of two versions of IP");
            let help = "write remotes of the prefix's own version";
            report.error(path, complaint(message, help));
        }
    }
    let mut except: Vec<IpNet> = except.into_iter().map(|(_, net)| net).collect();
    except.sort_unstable();
    except.dedup();
    Some(FixedPrefix {
        name: name?,
        internal,
        external,
        except,
    })
}

/// One of a prefix's two ends.
fn end(
    path: &Path,
    name: &str,
    word: &Option<String>,
    help: &str,
    report: &mut Report<'_>,
) -> Option<IpNet> {
    let (path, word) = required(report, path, name, word, help)?;
    let net = accept(report, &path, words::pool_addresses(word))?;
    if let IpNet::V6(net) = net
        && net.prefix_len() > LENGTH6_MAX
    {
        let message = format!("`{net}` leaves no room to make up for the other prefix");
        let help = format!("write a prefix of {LENGTH6_MAX} bits at most (RFC 6296 §3.5)");
        report.error(&path, complaint(message, help));
        return None;
    }
    Some(net)
}

/// Both ends, of one version and as long as each other: of IPv6, the shorter one goes on with zeros
/// (RFC 6296 §3.1).
fn alike(
    internal: IpNet,
    external: IpNet,
    path: &Path,
    report: &mut Report<'_>,
) -> Option<(IpNet, IpNet)> {
    let refused = match (internal, external) {
        (IpNet::V4(a), IpNet::V4(b)) if a.prefix_len() == b.prefix_len() => None,
        (IpNet::V4(a), IpNet::V4(_)) => Some((
            format!("`{internal}` and `{external}` are not of one length"),
            format!("write an external prefix of {} bits", a.prefix_len()),
        )),
        (IpNet::V6(a), IpNet::V6(b)) => {
            let length = a.prefix_len().max(b.prefix_len());
            let long = |net: Ipv6Net| Ipv6Net::new(net.network(), length).ok().map(IpNet::V6);
            return long(a).zip(long(b));
        }
        (IpNet::V4(_), IpNet::V6(_)) | (IpNet::V6(_), IpNet::V4(_)) => Some((
            format!("`{internal}` and `{external}` are of two versions of IP"),
            "write both of one version; IPv6 clients reach IPv4 by `nat64`".to_owned(),
        )),
    };
    if let Some((message, help)) = refused {
        report.error(&path.field("external"), complaint(message, help));
        return None;
    }
    Some((internal, external))
}

/// An address must mean one host only, inside and outside.
fn apart(
    prefix: &FixedPrefix,
    path: &Path,
    known: &[(Path, FixedPrefix)],
    report: &mut Report<'_>,
) {
    let itself = (path.clone(), prefix.clone());
    for (end, net) in [("internal", prefix.internal), ("external", prefix.external)] {
        for (first, other) in known.iter().chain([&itself]) {
            for (other_end, other_net) in
                [("internal", other.internal), ("external", other.external)]
            {
                let is_itself = first == path && (end == other_end || end == "external");
                if is_itself || !overlap(net, other_net) {
                    continue;
                }
                let (line, name) = (report.line(first), &other.name);
                let message = format!(
                    "`{net}` overlaps `{other_net}`, which is `{other_end}` of prefix `{name}` \
                     (line {line})"
                );
                let help = "an address belongs to one host: write prefixes that lie apart";
                report.error(&path.field(end), complaint(message, help));
            }
        }
    }
}

/// An external address of a pool is many hosts'.
fn no_pool_inside(net: IpNet, path: &Path, owners: &Owners, report: &mut Report<'_>) {
    let bounds: std::ops::RangeInclusive<IpAddr> = net.network()..=net.broadcast();
    if let Some((address, (entry, pool))) = owners.range(bounds).next() {
        let line = report.line(entry);
        let message = format!(
            "`{net}` holds `{address}`, an external address of pool `{pool}` (line {line})"
        );
        let help = "an address belongs to one host or to a pool: take the pool's from elsewhere";
        report.error(path, complaint(message, help));
    }
}

/// An address that stands for an IPv4 one is no host's.
fn no_nat64_inside(net: IpNet, path: &Path, nat64: &[Prefix64], report: &mut Report<'_>) {
    let is_inside = |prefix: &&Prefix64| {
        let length = u8::try_from(prefix.bits()).ok();
        let other = length.and_then(|it| Ipv6Net::new(prefix.address().0.into(), it).ok());
        other.is_some_and(|other| overlap(net, IpNet::V6(other)))
    };
    if let Some(prefix) = nat64.iter().find(is_inside) {
        let message = format!("`{net}` overlaps `{prefix}`, one of `nat64.prefixes`");
        let help = "those addresses stand for IPv4 targets: write another prefix";
        report.error(path, complaint(message, help));
    }
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

const fn is_ip4(net: IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

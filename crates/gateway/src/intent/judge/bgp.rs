//! What routers are told by BGP.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use api::{Config, config};

use super::{
    super::{
        FixedPrefix, Pool,
        report::{Path, Report},
        routing::{
            Announcement, BfdProfile, Bgp, Distance, Families, PEERS_MAX, Peer, Place, RemoteAs,
        },
        words::{self, Complaint, complaint, quoted, spelled},
    },
    Names, accept, bfd, each, given, required,
    settings::{PATH_MAX, absolute, port},
    tcp_ao,
};

/// The port of BGP (RFC 4271 §4.2).
const PORT: u16 = 179;
/// Links to a peer at most where `multihop` is left out.
const NEAR: u8 = 1;
/// What fits into twelve bits (RFC 4724 §3).
const RESTART_MAX: Duration = Duration::from_secs(4095);
const RESTART_DEFAULT: Duration = Duration::from_secs(120);
const DRAIN_MAX: Duration = Duration::from_secs(3600);
const DRAIN_DEFAULT: Duration = Duration::from_secs(30);
/// Three messages of a third of it, with a second to spare for each (RFC 4271 §4.2 wants three seconds).
const HOLD_MIN: Duration = Duration::from_secs(3);
const HOLD_MAX: Duration = Duration::from_secs(65_535);
const HOLD_DEFAULT: Duration = Duration::from_secs(90);
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(3600);
const RETRY_DEFAULT: Duration = Duration::from_secs(5);
const ADVERTISEMENT_MAX: Duration = Duration::from_secs(600);
/// A router that tells more than this takes us for somebody else.
const PREFIXES_MAX: u64 = 10_000_000;
const PREFIXES_DEFAULT: u32 = 1_000_000;
/// Longer paths are taken for a mistake, or for an attack.
const PREPEND_MAX: u64 = 16;
/// Communities of one kind in an announcement, and networks: all of them fit into one message.
const LIST_MAX: usize = 64;
const PASSWORD: &str = "/etc/egret/router.password";

/// Addresses that can be announced, and timers.
pub(super) struct Surroundings<'a> {
    pub pools: &'a [Pool],
    pub fixed: &'a [FixedPrefix],
    pub profiles: &'a [BfdProfile],
}

pub(super) fn judge(
    config: &Config,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Bgp> {
    let (path, written) = given(report, &Path::ROOT, "bgp", &config.bgp)?;
    let help = "add `as: 65010`, the autonomous system of this gateway";
    let asn = required(report, &path, "as", &written.asn, help)
        .and_then(|(path, number)| accept(report, &path, words::system(*number)));
    let router_id = given(report, &path, "router_id", &written.router_id)
        .and_then(|(path, word)| accept(report, &path, router_id(word)));
    let port = given(report, &path, "port", &written.port).map_or(Some(PORT), |(path, number)| {
        accept(report, &path, port(*number, PORT))
    });
    let graceful_restart = match given(report, &path, "graceful_restart", &written.graceful_restart)
    {
        Some((path, word)) => accept(report, &path, restart(word)).flatten(),
        None => Some(RESTART_DEFAULT),
    };
    let timer = Timer {
        least: Duration::ZERO,
        most: DRAIN_MAX,
        usual: DRAIN_DEFAULT,
    };
    let drain = timer.judge(&path, "drain", &written.drain, report);
    let mut peers: Vec<(Path, Peer)> = Vec::new();
    let mut names = Names::of("peer");
    let asn_or_any = asn.unwrap_or_default();
    if let Some((path, list)) = given(report, &path, "peers", &written.peers) {
        if list.len() > PEERS_MAX {
            let message = format!("{} peers; at most {PEERS_MAX} fit", list.len());
            let help = "peer with route reflectors, or with fewer routers";
            report.error(&path, complaint(message, help));
        }
        for (index, written) in list.iter().enumerate() {
            let path = path.item(index);
            let judged = peer((written, asn_or_any), &path, around, &mut names, report);
            peers.extend(judged.map(|peer| (path, peer)));
        }
    }
    once(&peers, report);
    Some(Bgp {
        asn: asn?,
        router_id,
        port: port?,
        graceful_restart,
        drain,
        peers: peers.into_iter().map(|(_, peer)| peer).collect(),
    })
}

fn router_id(word: &str) -> Result<Ipv4Addr, Complaint> {
    let id = word
        .parse()
        .ok()
        .filter(|id: &Ipv4Addr| !id.is_unspecified());
    id.ok_or_else(|| {
        let help = "write an IPv4 address of this gateway's: it must be unique in the network";
        complaint(format!("{} is no BGP identifier", quoted(word)), help)
    })
}

fn restart(word: &str) -> Result<Option<Duration>, Complaint> {
    if matches!(word, "off" | "false") {
        return Ok(None);
    }
    let time = words::duration(word)?;
    if time.is_zero() || time > RESTART_MAX {
        let message = format!(
            "{} is not from 1s to {}",
            quoted(word),
            spelled(RESTART_MAX)
        );
        let help = "write how long the daemon may take to come back, `2m`, or `off`";
        return Err(complaint(message, help));
    }
    Ok(Some(time))
}

/// What a timer may be.
struct Timer {
    least: Duration,
    most: Duration,
    usual: Duration,
}

impl Timer {
    fn judge(
        &self,
        section: &Path,
        field: &str,
        word: &Option<String>,
        report: &mut Report<'_>,
    ) -> Duration {
        let Some((path, word)) = given(report, section, field, word) else {
            return self.usual;
        };
        let Some(time) = accept(report, &path, words::duration(word)) else {
            return self.usual;
        };
        if !(self.least..=self.most).contains(&time) {
            let (least, most) = (spelled(self.least), spelled(self.most));
            let message = format!("{} is not from {least} to {most}", quoted(word));
            let help = format!("leave it out for `{}`", spelled(self.usual));
            report.error(&path, complaint(message, help));
        }
        time
    }
}

fn peer(
    (written, asn): (&config::BgpPeer, u32),
    path: &Path,
    around: &Surroundings<'_>,
    names: &mut Names,
    report: &mut Report<'_>,
) -> Option<Peer> {
    let help = "add `name: router-1`; reports call the peer by it";
    let name = required(report, path, "name", &written.name, help).and_then(|(path, word)| {
        names.take(report, word, &path);
        accept(report, &path, words::name("peer", word))
    });
    let place = place(written, path, report);
    let help = "add `as: 65000`, its autonomous system, or `as: external`, or `as: internal`";
    let remote = required(report, path, "as", &written.asn, help)
        .and_then(|(path, word)| accept(report, &path, words::remote_system(word)));
    let port = given(report, path, "port", &written.port).map_or(Some(PORT), |(path, number)| {
        accept(report, &path, port(*number, PORT))
    });
    let source = given(report, path, "source", &written.source)
        .and_then(|(path, word)| accept(report, &path, words::router(word)));
    if let (Some(source), Some(Place::Address(address))) = (source, &place)
        && source.is_ipv4() != address.is_ipv4()
    {
        let message =
            format!("`{source}` cannot reach `{address}`: they are of different versions");
        let help = "write an address of this gateway's of the peer's version";
        report.error(&path.field("source"), complaint(message, help));
    }
    let device = given(report, path, "device", &written.device)
        .and_then(|(path, word)| accept(report, &path, words::interface_name(word)));
    let distance = distance(written, path, report);
    let password = given(report, path, "password_file", &written.password_file)
        .and_then(|(path, word)| accept(report, &path, absolute(word, PATH_MAX, PASSWORD)));
    let keys = tcp_ao::keys(written, path, report);
    let is_passive = switch("passive", &written.passive, path, report);
    let families = families(written, path, report);
    let (next_hop4, next_hop6) = next_hops(written, path, report);
    let bfd = given(report, path, "bfd", &written.bfd)
        .and_then(|(path, word)| bfd::known(word, around.profiles, &path, report));
    if bfd.is_some() && matches!(place, Some(Place::Range(_))) {
        let message = "the ways to those who call from a range cannot be watched";
        let help = "write the peer's `address` or `interface`, or leave `bfd` out: the hold time notices its loss";
        report.error(&path.field("bfd"), complaint(message, help));
    }
    let prefixes_max = given(report, path, "prefixes_max", &written.prefixes_max)
        .map_or(Some(PREFIXES_DEFAULT), |(path, number)| {
            accept(report, &path, prefixes_max(*number))
        });
    let choices = [("count", false), ("keep", true)];
    let keeps_received = given(report, path, "received", &written.received)
        .map_or(Some(false), |(path, word)| {
            accept(report, &path, words::choice("choice", &choices, word))
        });
    let remote_as = remote.unwrap_or(RemoteAs::External);
    let is_internal = matches!(remote_as, RemoteAs::Internal) || remote_as == RemoteAs::Number(asn);
    let announce = match given(report, path, "announce", &written.announce) {
        Some((path, list)) => {
            let each = list.iter().enumerate();
            each.map(|(index, it)| announcement(it, is_internal, &path.item(index), around, report))
                .collect()
        }
        None => vec![everything(around)],
    };
    let timer = |least, most, usual| Timer { least, most, usual };
    let hold_time = hold_time(written, path, report);
    let connect_retry = timer(RETRY_MIN, RETRY_MAX, RETRY_DEFAULT).judge(
        path,
        "connect_retry",
        &written.connect_retry,
        report,
    );
    let advertisement_interval = timer(Duration::ZERO, ADVERTISEMENT_MAX, Duration::ZERO).judge(
        path,
        "advertisement_interval",
        &written.advertisement_interval,
        report,
    );
    Some(Peer {
        name: name?,
        place: place?,
        remote: remote?,
        port: port?,
        source,
        device,
        distance: distance?,
        password,
        keys,
        is_passive: is_passive?,
        hold_time,
        connect_retry,
        advertisement_interval,
        families,
        next_hop4,
        next_hop6,
        bfd,
        prefixes_max: prefixes_max?,
        keeps_received: keeps_received?,
        announce,
    })
}

/// A peer is at an address, behind an interface, or somewhere in a prefix.
fn place(written: &config::BgpPeer, path: &Path, report: &mut Report<'_>) -> Option<Place> {
    let address = given(report, path, "address", &written.address)
        .and_then(|(path, word)| accept(report, &path, words::host(word)))
        .map(Place::Address);
    let interface = given(report, path, "interface", &written.interface)
        .and_then(|(path, word)| accept(report, &path, words::interface_name(word)))
        .map(Place::Interface);
    let range = given(report, path, "range", &written.range)
        .and_then(|(path, word)| accept(report, &path, words::prefix(word)))
        .map(Place::Range);
    let written = [&written.address, &written.interface, &written.range];
    let places = written.iter().filter(|it| it.is_some()).count();
    if places != 1 {
        let message = match places {
            0 => format!("`{path}` is nowhere"),
            _ => format!("`{path}` is at several places"),
        };
        let help = "write `address: 198.51.100.1`, `interface: eth1` for the only router behind it, or \
                    `range: 198.51.100.0/24` for those who call from there";
        report.error(path, complaint(message, help));
        return None;
    }
    address.or(interface).or(range)
}

fn distance(written: &config::BgpPeer, path: &Path, report: &mut Report<'_>) -> Option<Distance> {
    let hops = given(report, path, "multihop", &written.multihop)
        .map_or(Some(NEAR), |(path, number)| {
            accept(report, &path, words::hops(*number))
        });
    let is_secured = switch("ttl_security", &written.ttl_security, path, report);
    Some(Distance {
        hops: hops?,
        is_secured: is_secured?,
    })
}

fn switch(
    field: &str,
    word: &Option<String>,
    path: &Path,
    report: &mut Report<'_>,
) -> Option<bool> {
    given(report, path, field, word).map_or(Some(false), |(path, word)| {
        accept(report, &path, words::switch(word))
    })
}

fn hold_time(written: &config::BgpPeer, path: &Path, report: &mut Report<'_>) -> Duration {
    if written.hold_time.as_deref() == Some("0s") {
        return Duration::ZERO;
    }
    let timer = Timer {
        least: HOLD_MIN,
        most: HOLD_MAX,
        usual: HOLD_DEFAULT,
    };
    timer.judge(path, "hold_time", &written.hold_time, report)
}

fn families(written: &config::BgpPeer, path: &Path, report: &mut Report<'_>) -> Families {
    let Some((path, list)) = given(report, path, "families", &written.families) else {
        return Families {
            ipv4: true,
            ipv6: true,
        };
    };
    if list.is_empty() {
        let help = "leave it out for both, or write `[ipv4]`";
        let message = "a session for no family announces nothing";
        report.error(&path, complaint(message, help));
    }
    let choices = [("ipv4", false), ("ipv6", true)];
    let read = |word: &str| words::choice("family", &choices, word);
    let families = each(report, &path, list, read);
    let has = |wanted| families.iter().any(|(_, is_ipv6)| *is_ipv6 == wanted);
    Families {
        ipv4: has(false),
        ipv6: has(true),
    }
}

/// The next hops for prefixes of IPv4 and of IPv6.
fn next_hops(
    written: &config::BgpPeer,
    path: &Path,
    report: &mut Report<'_>,
) -> (Option<IpAddr>, Option<IpAddr>) {
    let Some((path, list)) = given(report, path, "next_hops", &written.next_hops) else {
        return (None, None);
    };
    let addresses = each(report, &path, list, words::host);
    let of = |is_ipv6: bool| {
        let mut those = addresses.iter().filter(|(_, it)| it.is_ipv6() == is_ipv6);
        (those.next().map(|(_, address)| *address), those.next())
    };
    let ((four, second4), (six, second6)) = (of(false), of(true));
    for (path, address) in [second4, second6].into_iter().flatten() {
        let message = format!("`{address}` is a second next hop of its version");
        let help = "a route has one next hop: another gateway announces its own";
        report.error(path, complaint(message, help));
    }
    (four, six)
}

fn prefixes_max(number: u64) -> Result<u32, Complaint> {
    let max = Some(number).filter(|it| (1..=PREFIXES_MAX).contains(it));
    max.and_then(|it| u32::try_from(it).ok()).ok_or_else(|| {
        let help = format!(
            "write a number from 1 to {PREFIXES_MAX}, or leave it out for {PREFIXES_DEFAULT}"
        );
        complaint(format!("{number} prefixes cannot be the most"), help)
    })
}

/// What a peer is told that the configuration says nothing about.
fn everything(around: &Surroundings<'_>) -> Announcement {
    Announcement {
        pools: around.pools.iter().map(|pool| pool.name.clone()).collect(),
        prefixes: around.fixed.iter().map(|it| it.name.clone()).collect(),
        ..Announcement::default()
    }
}

fn announcement(
    written: &config::Announcement,
    is_internal: bool,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Announcement {
    let is_chosen = [&written.pools, &written.prefixes, &written.networks]
        .iter()
        .any(|it| it.is_some());
    let everything = match is_chosen {
        true => Announcement::default(),
        false => everything(around),
    };
    let networks = list(report, path, "networks", &written.networks, words::prefix);
    let mut named = |field, what, list: &Option<Vec<String>>, there: Vec<&str>| {
        let (path, list) = given(report, path, field, list)?;
        let known = |word: &str| known(what, word, &there);
        let names = each(report, &path, list, known).into_iter();
        Some(names.map(|(_, name)| name).collect())
    };
    let pools = around.pools.iter().map(|it| it.name.as_str()).collect();
    let pools = named("pools", "pool", &written.pools, pools);
    let prefixes = around.fixed.iter().map(|it| it.name.as_str()).collect();
    let prefixes = named("prefixes", "prefix", &written.prefixes, prefixes);
    let forms = [("prefixes", false), ("hosts", true)];
    let by_host = given(report, path, "form", &written.form)
        .and_then(|(path, word)| accept(report, &path, words::choice("form", &forms, word)));
    let communities = list(
        report,
        path,
        "communities",
        &written.communities,
        words::community,
    );
    let large_communities = list(
        report,
        path,
        "large_communities",
        &written.large_communities,
        words::large_community,
    );
    let med = given(report, path, "med", &written.med)
        .and_then(|(path, number)| accept(report, &path, metric(*number)));
    let preference = given(report, path, "local_preference", &written.local_preference);
    if let Some((path, _)) = preference.as_ref().filter(|_| !is_internal) {
        let message = "routers of another autonomous system are told no local preference";
        let help = "use `med` or `prepend` there (RFC 4271 §5.1.5), or leave it out";
        report.error(path, complaint(message, help));
    }
    let local_preference =
        preference.and_then(|(path, number)| accept(report, &path, metric(*number)));
    let prepend = given(report, path, "prepend", &written.prepend)
        .and_then(|(path, number)| accept(report, &path, prepend(*number)));
    Announcement {
        pools: pools.unwrap_or(everything.pools),
        prefixes: prefixes.unwrap_or(everything.prefixes),
        networks,
        by_host: by_host.unwrap_or(false),
        communities,
        large_communities,
        med,
        local_preference,
        prepend: prepend.unwrap_or(0),
    }
}

fn known(what: &str, word: &str, there: &[&str]) -> Result<String, Complaint> {
    if there.contains(&word) {
        return Ok(word.to_owned());
    }
    let message = format!("there is no {what} {}", quoted(word));
    let help = match there {
        [] => format!("there is none to announce: add a {what}, or leave this out"),
        there => format!("write one of `{}`", there.join("`, `")),
    };
    Err(complaint(message, help))
}

/// The good ones of a list, sorted and unique.
fn list<T: Ord>(
    report: &mut Report<'_>,
    path: &Path,
    field: &str,
    list: &Option<Vec<String>>,
    read: impl Fn(&str) -> Result<T, Complaint>,
) -> Vec<T> {
    let Some((path, list)) = given(report, path, field, list) else {
        return Vec::new();
    };
    if list.len() > LIST_MAX {
        let message = format!("{} values; at most {LIST_MAX} fit", list.len());
        report.error(&path, complaint(message, "leave some out"));
    }
    let mut good: Vec<T> = each(report, &path, list, read)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    good.sort_unstable();
    good.dedup();
    good
}

fn metric(number: u64) -> Result<u32, Complaint> {
    u32::try_from(number).map_err(|_| {
        complaint(
            format!("{number} does not fit"),
            format!("write a number from 0 to {}", u32::MAX),
        )
    })
}

fn prepend(number: u64) -> Result<u8, Complaint> {
    let times = Some(number).filter(|number| *number <= PREPEND_MAX);
    times.and_then(|it| u8::try_from(it).ok()).ok_or_else(|| {
        complaint(
            format!("{number} times is too often"),
            format!("write a number from 0 to {PREPEND_MAX}"),
        )
    })
}

/// No two peers may be at one place: which one it is that calls would be chance.
fn once(peers: &[(Path, Peer)], report: &mut Report<'_>) {
    for (index, (path, peer)) in peers.iter().enumerate() {
        let same = |(_, other): &&(Path, Peer)| other.place == peer.place;
        let Some((first, other)) = peers.iter().take(index).find(same) else {
            continue;
        };
        let (line, name) = (report.line(first), &other.name);
        let message = format!("peer `{name}` (line {line}) is at the same place");
        report.error(path, complaint(message, "remove one of the two"));
    }
}

//! Gateways that share external addresses.

use abi::limits::MEMBERS_MAX;
use api::{Config, config};

use super::{
    super::{
        cluster::{Cluster, Replication, is_certifiable, is_name},
        report::{Path, Report},
        routing::BfdProfile,
        words::{self, Complaint, complaint, quoted},
    },
    Names, accept, bfd, given, required,
    settings::{self, PATH_MAX, absolute},
};
use crate::cluster::Member;

/// What an Ethernet has.
const MTU_DEFAULT: u16 = 1500;
/// Below this, packets of IPv6 do not fit with an outer header (RFC 8200 §5).
const MTU_MIN: u16 = 1320;
/// As large as any link's.
const MTU_MAX: u16 = 9216;
/// Where members listen for each other's flows unless the configuration says otherwise: below those
/// that a kernel gives to who connects (RFC 6335 §6).
const PORT_DEFAULT: u16 = 3473;

pub(super) fn judge(
    config: &Config,
    profiles: &[BfdProfile],
    report: &mut Report<'_>,
) -> Option<Cluster> {
    let (path, written) = given(report, &Path::ROOT, "cluster", &config.cluster)?;
    let help = "add `name: west`; reports call the cluster by it";
    let name = required(report, &path, "name", &written.name, help)
        .and_then(|(path, word)| accept(report, &path, words::name("cluster", word)));
    let help = "add `secret_file: /etc/egret/cluster.secret`, a file that all members have alike";
    let secret = required(report, &path, "secret_file", &written.secret_file, help).and_then(
        |(path, word)| {
            let file = absolute(word, PATH_MAX, "/etc/egret/cluster.secret");
            accept(report, &path, file)
        },
    );
    let members = members(written, &path, report);
    let help = "add `self: gw1`, the name of this gateway among the members";
    let me = required(report, &path, "self", &written.own, help).and_then(|(path, word)| {
        let me = members.iter().position(|it| it.name == *word);
        let known = me.ok_or_else(|| {
            let message = format!("there is no member {}", quoted(word));
            let names: Vec<&str> = members.iter().map(|it| it.name.as_str()).collect();
            complaint(message, format!("the members are `{}`", names.join("`, `")))
        });
        accept(report, &path, known)
    });
    let profile = given(report, &path, "bfd", &written.bfd)
        .and_then(|(path, word)| bfd::known(word, profiles, &path, report));
    let hops = given(report, &path, "multihop", &written.multihop)
        .map_or(Some(1), |(path, number)| {
            accept(report, &path, words::hops(*number))
        });
    let mtu = given(report, &path, "mtu", &written.mtu)
        .map_or(Some(MTU_DEFAULT), |(path, number)| {
            accept(report, &path, mtu(*number))
        });
    let replication = given(report, &path, "replication", &written.replication)
        .map_or(Some(None), |(path, written)| {
            replication(written, &path, report).map(Some)
        });
    if written.replication.is_some() {
        certifiable(written, &path, report);
    }
    Some(Cluster {
        name: name?,
        members,
        me: me?,
        secret: secret?,
        bfd: profile,
        hops: hops?,
        mtu: mtu?,
        replication: replication?,
    })
}

/// Members who copy flows know each other by certificates, which are of names.
fn certifiable(written: &config::Cluster, path: &Path, report: &mut Report<'_>) {
    for (index, member) in written.members.iter().flatten().enumerate() {
        let path = path.field("members").item(index).field("name");
        if let Some(name) = &member.name
            && is_name(name)
            && !is_certifiable(name)
        {
            let message = format!(
                "{} is a number, of which there is no certificate",
                quoted(name)
            );
            let help = format!("rename the member, such as `gw-{name}`, or remove `replication`");
            report.error(&path, complaint(message, help));
        }
    }
}

fn replication(
    written: &config::Replication,
    path: &Path,
    report: &mut Report<'_>,
) -> Option<Replication> {
    let port = given(report, path, "port", &written.port)
        .map_or(Some(PORT_DEFAULT), |(path, number)| {
            accept(report, &path, settings::port(*number, PORT_DEFAULT))
        });
    let mut file = |name, value: &Option<String>, example: &str| {
        let help =
            format!("add `{name}: {example}`; `egret cluster certificates` makes such files");
        let (path, word) = required(report, path, name, value, &help)?;
        accept(report, &path, absolute(word, PATH_MAX, example))
    };
    let ca = file("ca_file", &written.ca_file, "/etc/egret/ca.pem");
    let certificate = file(
        "certificate_file",
        &written.certificate_file,
        "/etc/egret/gw1.pem",
    );
    let key = file("key_file", &written.key_file, "/etc/egret/gw1.key");
    Some(Replication {
        port: port?,
        ca: ca?,
        certificate: certificate?,
        key: key?,
    })
}

fn members(written: &config::Cluster, path: &Path, report: &mut Report<'_>) -> Vec<Member> {
    let help = "add `members:` with a name and an address for each gateway";
    let Some((path, list)) = required(report, path, "members", &written.members, help) else {
        return Vec::new();
    };
    if list.len() > MEMBERS_MAX {
        let message = format!("{} members; at most {MEMBERS_MAX} fit", list.len());
        report.error(
            &path,
            complaint(
                message,
                "make two clusters of them, with addresses of their own",
            ),
        );
    }
    if list.len() < 2 {
        let message = "a cluster has two members at least";
        report.error(
            &path,
            complaint(message, "leave `cluster` out where a gateway is alone"),
        );
    }
    let mut names = Names::of("member");
    let mut members: Vec<Member> = Vec::new();
    for (index, written) in list.iter().enumerate() {
        let path = path.item(index);
        let help = "add `name: gw1`";
        let name = required(report, &path, "name", &written.name, help).and_then(|(path, word)| {
            names.take(report, word, &path);
            accept(report, &path, words::name("member", word))
        });
        let help = "add `address: 10.0.0.11`, the gateway's own, which the others send to";
        let address = required(report, &path, "address", &written.address, help)
            .and_then(|(path, word)| Some((accept(report, &path, words::host(word))?, path)));
        let (Some(name), Some((address, path))) = (name, address) else {
            continue;
        };
        if let Some(same) = members.iter().find(|it| it.address == address) {
            let message = format!("member `{}` has the same address", same.name);
            report.error(&path, complaint(message, "give each its own"));
            continue;
        }
        if let Some(other) = members
            .first()
            .filter(|it| it.address.is_ipv4() != address.is_ipv4())
        {
            let message = format!(
                "`{address}` and `{}` are not of the same IP version",
                other.address
            );
            let help = "members hand packets to each other by IPv4 or by IPv6: write addresses of one of them";
            report.error(&path, complaint(message, help));
            continue;
        }
        if !members.iter().any(|it| it.name == name) {
            members.push(Member { name, address });
        }
    }
    // Numbers go by it, and must be the same for all.
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

fn mtu(number: u64) -> Result<u16, Complaint> {
    let mtu = u16::try_from(number).ok();
    mtu.filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu))
        .ok_or_else(|| {
            let message = format!("{number} is not from {MTU_MIN} to {MTU_MAX}");
            complaint(message, "write `1500`, or more where the network takes it")
        })
}

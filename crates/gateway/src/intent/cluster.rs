//! Gateways that share external addresses, as an intent has them.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use super::words;
use crate::cluster::Member;

/// The cluster that this gateway is a member of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// A DNS label.
    pub name: String,
    /// The gateways, sorted by name: at least two, at most [`abi::limits::MEMBERS_MAX`].
    pub members: Vec<Member>,
    /// The index of this one.
    pub me: usize,
    /// The file whose first line all members have alike.
    pub secret: PathBuf,
    /// The name of one of [`Bfd::profiles`](super::routing::Bfd::profiles).
    pub bfd: Option<String>,
    /// Links between two members at most; one is a link of ours.
    pub hops: u8,
    /// The MTU of the network between the members, in bytes.
    pub mtu: u16,
    /// How flows are copied to the others, if they are.
    pub replication: Option<Replication>,
}

/// How members copy flows to each other: by TCP between their addresses, with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// The port that all members listen on, which is not zero.
    pub port: u16,
    /// The file with the certificate of who signs the members'.
    pub ca: PathBuf,
    /// The file with this member's certificate, and those between it and the one in `ca`.
    pub certificate: PathBuf,
    /// The file with the key of this member's certificate.
    pub key: PathBuf,
}

impl Cluster {
    /// The address of this gateway.
    pub fn address(&self) -> IpAddr {
        let own = self.members.get(self.me);
        own.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |it| it.address)
    }

    /// The other members.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        let all = self.members.iter().enumerate();
        all.filter(|(index, _)| *index != self.me).map(|(_, it)| it)
    }

    /// The largest TCP segment that still fits, with the outer header, in bytes.
    pub fn mss(&self) -> u16 {
        let outer = match self.address() {
            IpAddr::V4(_) => 20,
            IpAddr::V6(_) => 40,
        };
        // The outer header, and IPv6's and TCP's, which are the largest without options.
        self.mtu - outer - 40 - 20
    }
}

/// Whether a word can be a cluster's name.
pub fn is_name(word: &str) -> bool {
    words::name("cluster", word).is_ok()
}

/// Whether a word can be the name of a member of whom there is a certificate: not a number, for which others
/// would look among addresses (RFC 3986 §3.2.2).
pub fn is_certifiable(word: &str) -> bool {
    let is_decimal = word.chars().all(|it| it.is_ascii_digit());
    let hexadecimal = word.strip_prefix("0x");
    let is_hexadecimal = hexadecimal.is_some_and(|it| it.chars().all(|it| it.is_ascii_hexdigit()));
    is_name(word) && !is_decimal && !is_hexadecimal
}

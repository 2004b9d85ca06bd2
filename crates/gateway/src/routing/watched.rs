//! Which ways BFD watches: those to other members of the cluster, to BGP peers that want it, and sessions of
//! their own.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
};

use crate::intent::{
    Intent,
    routing::{BfdProfile, Peer, Place},
};

/// A way that is to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What reports call it: the names of all who want it.
    pub name: String,
    /// The other side.
    pub peer: IpAddr,
    /// Our address, if one was chosen.
    pub local: Option<IpAddr>,
    /// The interface that it is behind, if one was chosen.
    pub interface: Option<String>,
    /// Links to it at most.
    pub hops: u8,
    /// Its timers.
    pub profile: BfdProfile,
    /// Whether it is the way to another member of the cluster.
    pub is_member: bool,
}

impl Watched {
    /// The lowest time to live that its packets may come with: they set out with 255.
    pub fn lowest_ttl(&self) -> u8 {
        u8::MAX - self.hops.saturating_sub(1)
    }

    /// The file of its secret, if it has one.
    pub fn secret(&self) -> Option<&PathBuf> {
        let authentication = self.profile.authentication.as_ref()?;
        Some(&authentication.secret)
    }
}

/// Who is behind interfaces, by their names: link-local addresses that nobody wrote.
pub type Neighbours = BTreeMap<String, Ipv6Addr>;

/// The ways, in the order of the configuration. Of two that have the same ends the first decides, and has
/// both names. The way to a peer behind an interface is watched as soon as it is one of `neighbours`.
pub fn watched(intent: &Intent, neighbours: &Neighbours) -> Vec<Watched> {
    let peers = intent.bgp.iter().flat_map(|bgp| &bgp.peers);
    let sessions = intent.bfd.sessions.iter().filter_map(|session| {
        Some(Watched {
            name: session.name.clone(),
            peer: session.address,
            local: session.source,
            interface: session.interface.clone(),
            hops: session.hops,
            profile: profile(intent, &session.profile)?,
            is_member: false,
        })
    });
    let mut ways: Vec<Watched> = Vec::new();
    let peers = peers.filter_map(|peer| of(intent, peer, neighbours));
    for way in members(intent).chain(peers).chain(sessions) {
        let ends = |it: &Watched| (it.peer, it.local, it.interface.clone(), it.hops > 1);
        match ways.iter_mut().find(|it| ends(it) == ends(&way)) {
            Some(same) => same.name = format!("{}, {}", same.name, way.name),
            None => ways.push(way),
        }
    }
    ways
}

/// The ways to the other members of the cluster.
fn members(intent: &Intent) -> impl Iterator<Item = Watched> {
    let cluster = intent.cluster.iter();
    cluster.flat_map(|cluster| {
        let named = cluster.bfd.as_deref();
        let profile = named.and_then(|it| profile(intent, it));
        let profile = profile.unwrap_or_else(BfdProfile::of_members);
        cluster.others().map(move |member| Watched {
            name: format!("member {}", member.name),
            peer: member.address,
            local: Some(cluster.address()),
            interface: None,
            hops: cluster.hops,
            profile: profile.clone(),
            is_member: true,
        })
    })
}

/// The way to a peer, if it is to be watched and known.
fn of(intent: &Intent, peer: &Peer, neighbours: &Neighbours) -> Option<Watched> {
    let (address, interface) = match &peer.place {
        Place::Address(address) => (*address, None),
        Place::Interface(name) => (IpAddr::V6(*neighbours.get(name)?), Some(name.clone())),
        Place::Range(_) => return None,
    };
    Some(Watched {
        name: peer.name.clone(),
        peer: address,
        local: peer.source,
        interface,
        hops: peer.distance.hops,
        profile: profile(intent, peer.bfd.as_deref()?)?,
        is_member: false,
    })
}

fn profile(intent: &Intent, name: &str) -> Option<BfdProfile> {
    let mut profiles = intent.bfd.profiles.iter();
    profiles.find(|it| it.name == name).cloned()
}

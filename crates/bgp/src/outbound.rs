//! What a peer is told: the wish, what it was told already, and the messages that make them the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use ipnet::IpNet;

use crate::{
    Family, Route, Table,
    attributes::Attributes,
    message::{
        Kind, framed,
        refresh::{Refresh, Subtype},
        update::{self, Writing},
    },
    settings::{Ends, PeerSettings},
    snapshot::Kept,
};

/// Asks whoever hears it to prefer other ways (RFC 8326).
pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
/// What an internal peer is told that nothing was said about, as everybody's default is.
const PREFERENCE: u32 = 100;

/// Whom it is told to, once there is a session.
#[derive(Clone, Debug)]
pub(crate) struct Audience {
    pub asn: u32,
    pub is_internal: bool,
    pub families: BTreeSet<Family>,
    pub has_extended_next_hop: bool,
    pub has_enhanced_refresh: bool,
    pub writing: Writing,
    pub ends: Ends,
}

/// What one peer is told in one session.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    audience: Audience,
    told: BTreeMap<IpNet, Attributes>,
    /// Families of which everything is to be said again.
    again: BTreeSet<Family>,
    /// Whether the wish may be another than what was told.
    is_dirty: bool,
    /// Families of which it must be said that everything was said.
    ending: BTreeMap<Family, Ending>,
    /// Announcements wait until then.
    next_at: Instant,
}

/// How it is said that everything was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    EndOfRib,
    Refresh,
}

impl Outbound {
    /// Nothing was told yet.
    pub fn new(audience: Audience, now: Instant) -> Self {
        let families = audience.families.iter();
        Self {
            ending: families.map(|it| (*it, Ending::EndOfRib)).collect(),
            audience,
            told: BTreeMap::new(),
            again: BTreeSet::new(),
            is_dirty: true,
            next_at: now,
        }
    }

    /// The wish is another.
    pub fn change(&mut self) {
        self.is_dirty = true;
    }

    /// The peer wants to hear everything again; returns what is said at once.
    pub fn repeat(&mut self, family: Family) -> Option<Vec<u8>> {
        if !self.audience.families.contains(&family) {
            return None;
        }
        self.again.insert(family);
        self.is_dirty = true;
        if !self.audience.has_enhanced_refresh {
            return None;
        }
        self.ending.insert(family, Ending::Refresh);
        let subtype = Subtype::Begin;
        Some(framed(Kind::Refresh, &Refresh { family, subtype }.body()))
    }

    /// When there is something to say that waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.is_dirty.then_some(self.next_at)
    }

    /// What is to be said now.
    pub fn flush(
        &mut self,
        wish: &Table,
        settings: &PeerSettings,
        is_leaving: bool,
        now: Instant,
    ) -> Vec<Vec<u8>> {
        if !self.is_dirty {
            return Vec::new();
        }
        let wanted: BTreeMap<IpNet, Attributes> = wish
            .iter()
            .filter(|(net, _)| self.audience.families.contains(&Family::of_net(net)))
            .filter_map(|(net, route)| {
                let family = Family::of_net(net);
                Some((*net, self.attributes(route, family, settings, is_leaving)?))
            })
            .collect();
        let mut messages = self.withdraw(&wanted);
        if now < self.next_at {
            return messages;
        }
        let mut groups: BTreeMap<(Family, &Attributes), Vec<IpNet>> = BTreeMap::new();
        for (net, attributes) in &wanted {
            let family = Family::of_net(net);
            if self.told.get(net) != Some(attributes) || self.again.contains(&family) {
                let key = (family, attributes);
                groups.entry(key).or_default().push(*net);
            }
        }
        if !groups.is_empty() {
            self.next_at = now + settings.advertisement_interval;
        }
        for ((family, attributes), nets) in groups {
            messages.extend(update::announce(
                family,
                attributes,
                &nets,
                self.audience.writing,
            ));
        }
        self.told = wanted;
        self.again.clear();
        self.is_dirty = false;
        for (family, ending) in std::mem::take(&mut self.ending) {
            messages.push(match ending {
                Ending::EndOfRib => update::end_of_rib(family),
                Ending::Refresh => {
                    let subtype = Subtype::End;
                    framed(Kind::Refresh, &Refresh { family, subtype }.body())
                }
            });
        }
        messages
    }

    /// Withdrawals wait for nothing: packets go where nobody takes them.
    fn withdraw(&mut self, wanted: &BTreeMap<IpNet, Attributes>) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        for family in Family::ALL {
            let gone: Vec<IpNet> = self
                .told
                .keys()
                .filter(|net| Family::of_net(net) == family && !wanted.contains_key(*net))
                .copied()
                .collect();
            for net in &gone {
                self.told.remove(net);
            }
            messages.extend(update::withdraw(family, &gone, self.audience.writing));
        }
        messages
    }

    /// What is said of a prefix; nothing if there is no next hop for it.
    fn attributes(
        &self,
        route: &Route,
        family: Family,
        settings: &PeerSettings,
        is_leaving: bool,
    ) -> Option<Attributes> {
        let next_hop = self.audience.next_hop(family, settings)?;
        let mut communities = route.communities.clone();
        if is_leaving {
            communities.push(GRACEFUL_SHUTDOWN);
            communities.sort_unstable();
            communities.dedup();
        }
        let Audience {
            asn, is_internal, ..
        } = self.audience;
        let times = if is_internal {
            0
        } else {
            usize::from(route.prepend) + 1
        };
        // Who leaves is the last choice inside as well (RFC 8326 §4.2).
        let preference = match is_leaving {
            true => 0,
            false => route.local_preference.unwrap_or(PREFERENCE),
        };
        let ends = self.audience.ends;
        let is_our_own = next_hop == ends.local && next_hop.is_ipv6();
        Some(Attributes {
            as_path: vec![asn; times],
            next_hop,
            link_local: ends.link_local.filter(|_| is_our_own),
            med: route.med,
            local_preference: is_internal.then_some(preference),
            communities,
            large_communities: route.large_communities.clone(),
        })
    }

    /// How many prefixes of a family were told.
    pub fn count(&self, family: Family) -> usize {
        let nets = self.told.keys();
        nets.filter(|net| Family::of_net(net) == family).count()
    }

    /// What was told.
    pub fn kept(&self) -> Vec<Kept> {
        let told = self.told.iter();
        told.map(|(net, said)| {
            let path: Vec<String> = said.as_path.iter().map(ToString::to_string).collect();
            let communities = said.communities.iter();
            let communities = communities.map(|it| format!("{}:{}", it >> 16, it & 0xffff));
            let large = said.large_communities.iter();
            let large = large.map(|[one, two, three]| format!("{one}:{two}:{three}"));
            Kept {
                prefix: *net,
                next_hop: Some(said.next_hop),
                as_path: path.join(" "),
                communities: communities.chain(large).collect(),
                med: said.med,
                local_preference: said.local_preference,
                is_stale: false,
            }
        })
        .collect()
    }
}

impl Audience {
    /// Where packets of a family go to: what was wanted, or our address on the way to the peer.
    fn next_hop(&self, family: Family, settings: &PeerSettings) -> Option<IpAddr> {
        let (wanted, is_own) = match family {
            Family::Ipv4 => (settings.next_hop4, self.ends.local.is_ipv4()),
            Family::Ipv6 => (settings.next_hop6, self.ends.local.is_ipv6()),
        };
        let own = is_own.then_some(self.ends.local);
        let extended = family == Family::Ipv4 && self.has_extended_next_hop;
        wanted
            .or(own)
            .or(self.ends.other)
            .or(extended.then_some(self.ends.local))
    }
}

//! What a peer announces: counted, kept if that is wanted, never used.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;

use crate::{Family, attributes::Seen, message::update::Update, snapshot::Kept};

/// What a peer has announced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbound(BTreeMap<IpNet, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    seen: Option<Arc<Seen>>,
    is_stale: bool,
}

/// It announced more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany(pub Family);

impl Inbound {
    /// Takes in what an UPDATE says.
    pub fn take(&mut self, update: Update, keeps: bool, most: u32) -> Result<(), TooMany> {
        for net in &update.withdrawn {
            self.0.remove(net);
        }
        let seen = keeps.then(|| Arc::new(update.seen));
        for net in update.announced {
            let entry = Entry {
                seen: seen.clone(),
                is_stale: false,
            };
            self.0.insert(net, entry);
            if self.0.len() > usize::try_from(most).unwrap_or(usize::MAX) {
                return Err(TooMany(Family::of_net(&net)));
            }
        }
        if let Some(family) = update.end_of_rib {
            self.forget_stale(|net| Family::of_net(net) == family);
        }
        Ok(())
    }

    /// The peer is away and will come back.
    pub fn keep(&mut self) {
        for entry in self.0.values_mut() {
            entry.is_stale = true;
        }
    }

    /// Nothing of it is kept any more.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// What is only kept for its return is not kept any longer.
    pub fn forget_stale(&mut self, is_meant: impl Fn(&IpNet) -> bool) {
        self.0
            .retain(|net, entry| !entry.is_stale || !is_meant(net));
    }

    /// How many prefixes there are of a family.
    pub fn count(&self, family: Family) -> usize {
        let nets = self.0.keys();
        nets.filter(|net| Family::of_net(net) == family).count()
    }

    /// What is kept of it.
    pub fn kept(&self) -> Vec<Kept> {
        let entries = self.0.iter();
        let kept = entries.filter_map(|(net, entry)| {
            let seen = entry.seen.as_deref()?;
            Some(Kept {
                prefix: *net,
                next_hop: seen.next_hop,
                as_path: seen.as_path.clone(),
                communities: seen.communities.clone(),
                med: seen.med,
                local_preference: seen.local_preference,
                is_stale: entry.is_stale,
            })
        });
        kept.collect()
    }
}

//! Entries of the tables of mappings that should stand, and how one comes to stand in the place of what
//! is there.
//!
//! Whom an external port leads to says in which table its entries are: who has IPv4 alone is in that of
//! IPv4, who has IPv6 in the other, also behind an external IPv4 port.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use abi::{Address, Admits, End, Ip4, Ip6, Mapping, MappingKey, Port, Protocol};

use crate::{machine::Action, numbers::Numbers};

/// A kind of address, and what is said of its table.
pub trait Kept: Address {
    /// The other kind.
    type Other: Address;

    /// The same address in the other table, if it can stand there.
    fn other(self) -> Option<Self::Other>;
    /// Has an entry put.
    fn put(key: MappingKey<Self>, mapping: Mapping<Self>) -> Action;
    /// Those among keys that are of this kind.
    fn of(keys: &Keys) -> &BTreeSet<MappingKey<Self>>;
    /// The same, to be changed.
    fn of_mut(keys: &mut Keys) -> &mut BTreeSet<MappingKey<Self>>;
}

impl Kept for Ip4 {
    type Other = Ip6;

    fn other(self) -> Option<Ip6> {
        Some(self.wide())
    }

    fn put(key: MappingKey, mapping: Mapping) -> Action {
        Action::PutMapping(key, mapping)
    }

    fn of(keys: &Keys) -> &BTreeSet<MappingKey> {
        &keys.v4
    }

    fn of_mut(keys: &mut Keys) -> &mut BTreeSet<MappingKey> {
        &mut keys.v4
    }
}

impl Kept for Ip6 {
    type Other = Ip4;

    fn other(self) -> Option<Ip4> {
        self.ip4()
    }

    fn put(key: MappingKey<Self>, mapping: Mapping<Self>) -> Action {
        Action::PutMapping6(key, mapping)
    }

    fn of(keys: &Keys) -> &BTreeSet<MappingKey<Self>> {
        &keys.v6
    }

    fn of_mut(keys: &mut Keys) -> &mut BTreeSet<MappingKey<Self>> {
        &mut keys.v6
    }
}

/// Keys of both tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Of those who have IPv4 alone.
    pub v4: BTreeSet<MappingKey>,
    /// Of those who have IPv6.
    pub v6: BTreeSet<MappingKey<Ip6>>,
}

impl Keys {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the external end of a mapping is among them.
    pub fn has_external(&self, protocol: Protocol, external: SocketAddr) -> bool {
        let (address, port) = (Ip6::from(external.ip()), Port::new(external.port()));
        let has_wide = self
            .v6
            .contains(&MappingKey::inward(protocol, (address, port)));
        let narrow = address.ip4();
        let narrow = narrow.map(|it| MappingKey::inward(protocol, (it, port)));
        has_wide || narrow.is_some_and(|key| self.v4.contains(&key))
    }
}

/// What should stand in one table.
pub(super) type Wanted<A> = BTreeMap<MappingKey<A>, Mapping<A>>;

/// What was asked for of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing<A: Address> {
    /// Entries that stand.
    pub entries: Wanted<A>,
    /// Entries that should and could not be written.
    pub missing: BTreeSet<MappingKey<A>>,
}

impl<A: Kept> Standing<A> {
    /// An entry could not be written.
    pub fn not_written(&mut self, key: &MappingKey<A>) {
        if self.entries.remove(key).is_some() {
            self.missing.insert(*key);
        }
    }

    /// Only these entries were found. Returns whether that is all that should stand.
    pub fn seen(&mut self, found: &BTreeSet<MappingKey<A>>) -> bool {
        let before = self.entries.len();
        self.entries.retain(|key, _| found.contains(key));
        self.entries.len() == before && self.missing.is_empty()
    }

    /// Has those that are not wanted any more become what packets would have made.
    pub fn withdraw(&self, wanted: &Wanted<A>, actions: &mut Vec<Action>) {
        for (key, mapping) in &self.entries {
            if !wanted.contains_key(key) {
                let prefix = mapping.prefix() as u16;
                let withdrawn = mapping.admitting(Admits::Filtered).under(0, prefix);
                actions.push(A::put(*key, withdrawn));
            }
        }
    }

    /// Has those put that are wanted and do not stand.
    pub fn put(&mut self, wanted: Wanted<A>, numbers: &Numbers, actions: &mut Vec<Action>) {
        // The external ends first: an internal one may only lead to one that leads back.
        let is_inward = |key: &MappingKey<A>| matches!(key.what(), Some(End::Inward { .. }));
        let (inward, outward): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|(key, _)| is_inward(key));
        for (key, mapping) in inward.into_iter().chain(outward) {
            let before = self.entries.get(key);
            if before.is_none() {
                actions.extend(take(key, numbers));
            }
            if before != Some(mapping) {
                actions.push(A::put(*key, *mapping));
            }
        }
        self.entries = wanted;
        self.missing.clear();
    }
}

/// Keeps the port of an external end from the packet path.
fn take<A: Address>(key: &MappingKey<A>, numbers: &Numbers) -> Option<Action> {
    let Some(End::Inward { port }) = key.what() else {
        return None;
    };
    let protocol = Protocol::from_number(key.protocol)?;
    let external = numbers.externals.get(&key.external.wide())?;
    Some(Action::TakePort(
        external.bitmaps_of(protocol).collect(),
        port,
    ))
}

/// A table of mappings, as whoever puts entries has it.
pub trait Entries<A: Address> {
    /// Why it cannot be read or written.
    type Error;

    /// What stands under a key.
    ///
    /// # Errors
    ///
    /// If the table cannot be read.
    fn get(&mut self, key: &MappingKey<A>) -> Result<Option<Mapping<A>>, Self::Error>;
    /// Puts an entry in the place of what stands there; `false` if there is no room.
    ///
    /// # Errors
    ///
    /// If the table cannot be written for another reason.
    fn put(&mut self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<bool, Self::Error>;
    /// Removes an entry, if it is there.
    ///
    /// # Errors
    ///
    /// If the table cannot be written.
    fn remove(&mut self, key: &MappingKey<A>) -> Result<(), Self::Error>;
}

/// Puts an entry in the place of what stands there, and lets go of what would contradict it. Returns
/// whether it stands: not if there is no room, or the external end does not lead back to it.
///
/// # Errors
///
/// If a table cannot be read or written.
pub fn put<A, E, T>(tables: &mut T, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<bool, E>
where
    A: Kept,
    T: Entries<A, Error = E> + Entries<A::Other, Error = E>,
{
    if let Some((inward, internal)) = leads_back(key, mapping) {
        let found = Entries::<A>::get(tables, &inward)?;
        if found.is_none_or(|it| (it.internal, it.port) != internal) {
            let stood = Entries::<A>::get(tables, key)?;
            if stood.is_some_and(|it| it.port == mapping.port) {
                Entries::<A>::remove(tables, key)?;
            }
            return Ok(false);
        }
    }
    let before = Entries::<A>::get(tables, key)?;
    let end = |it: &Mapping<A>| (it.internal, it.port);
    if let Some(before) = before.filter(|before| end(before) != end(mapping)) {
        displace(tables, key, &before)?;
    }
    if !Entries::<A>::put(tables, key, mapping)? {
        return Ok(false);
    }
    // The port was somebody's who is in the other table.
    if let Some(other) = in_other(key).filter(|_| mapping.is_asked_for())
        && let Some(before) = Entries::<A::Other>::get(tables, &other)?
    {
        displace(tables, &other, &before)?;
        Entries::<A::Other>::remove(tables, &other)?;
    }
    Ok(true)
}

/// The external end that must lead back before an internal one may lead to it, and to where. Without
/// it there is no room for the internal end either.
fn leads_back<A: Address>(
    key: &MappingKey<A>,
    mapping: &Mapping<A>,
) -> Option<(MappingKey<A>, (A, Port))> {
    let protocol = Protocol::from_number(key.protocol)?;
    match key.what()? {
        End::Outward { internal, .. } => {
            let end = (key.external, mapping.port);
            Some((MappingKey::inward(protocol, end), internal))
        }
        End::Inward { .. } | End::Permit { .. } => None,
    }
}

/// The external end under the same port in the other table.
fn in_other<A: Kept>(key: &MappingKey<A>) -> Option<MappingKey<A::Other>> {
    let Some(End::Inward { port }) = key.what() else {
        return None;
    };
    let protocol = Protocol::from_number(key.protocol)?;
    Some(MappingKey::inward(protocol, (key.external.other()?, port)))
}

/// Removes the internal ends of the endpoint that had an external port until now, if they have that one
/// indeed.
fn displace<A: Address, T: Entries<A>>(
    tables: &mut T,
    key: &MappingKey<A>,
    before: &Mapping<A>,
) -> Result<(), T::Error> {
    let (Some(End::Inward { port }), Some(protocol)) =
        (key.what(), Protocol::from_number(key.protocol))
    else {
        return Ok(());
    };
    let internal = (before.internal, before.port);
    for remote in [A::NONE, before.remote] {
        let outward = MappingKey::outward(protocol, internal, key.external, remote);
        if tables.get(&outward)?.is_some_and(|it| it.port == port) {
            tables.remove(&outward)?;
        }
    }
    Ok(())
}

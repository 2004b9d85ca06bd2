//! The gateway as a machine: events in, actions out.
//!
//! It holds what was asked for and what is known of the world, and says what must be written,
//! attached or taken away so that the two agree. A policy is replaced as a whole, between two packets
//! and without touching a flow: the new version is written beside the old one, then the version in
//! force is changed; the old one is removed before the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
};

use abi::{
    Address, ClassKey, Config, External, Fixed, FixedKey, Interface as InterfaceEntry, Ip4, Ip6,
    Lease, Mapping, MappingKey, Numbered, Pool as PoolEntry, Port, PortWord, Prefix64,
    Rule as RuleEntry, RuleSet, Slots6,
    blocks::NOBODY,
    limits::{CLASSES_MAX, ERRORS_SHARE, MEMBERS_MAX, PREFIXES64_MAX},
    policy::pool_index,
    ports::WORDS,
};

use crate::{
    fixed::FixedTables,
    intent::{HoldDown, Intent, Interface, Mode, Pool, Realm},
    mappings::{Ask, Denied, Granted, Keys, Lists, Mappings, Withdraw, leases::Circumstances},
    numbers::{Numbers, NumbersError},
    patience::Patience,
    policy::{self, Policy},
    quota::Quotas,
};

/// An interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address; without one it carries no Ethernet and cannot be listened on.
    pub mac: Option<[u8; 6]>,
    /// Its IPv4 addresses, primary first.
    pub addresses: Vec<Ipv4Addr>,
    /// Its IPv6 addresses, those that others reach it by first.
    pub addresses6: Vec<Ipv6Addr>,
}

/// Who runs the program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// The driver.
    Native,
    /// The kernel behind it. Such an interface may not take what XDP redirects to it.
    Generic,
}

/// What a daemon finds in the tables when it starts.
#[derive(Clone, Debug)]
pub struct Found {
    /// The words in force; version zero if the tables are new.
    pub config: Config,
    /// Pools by number, from the bank in force.
    pub pools: BTreeMap<u8, String>,
    /// Rules by number.
    pub rules: BTreeMap<u16, String>,
    /// External addresses.
    pub externals: BTreeMap<Ip6, External>,
    /// Prefixes of all versions of the policy, and of callers.
    pub classes: Vec<ClassKey>,
    /// The same of IPv6.
    pub classes6: Vec<ClassKey<Ip6>>,
    /// Prefixes of all versions that are translated one to one.
    pub fixed: Vec<FixedKey>,
    /// The same of IPv6.
    pub fixed6: Vec<FixedKey<Ip6>>,
    /// Entries of mappings that somebody asked for.
    pub mappings: BTreeMap<MappingKey, Mapping>,
    /// The same of those who have IPv6.
    pub mappings6: BTreeMap<MappingKey<Ip6>, Mapping<Ip6>>,
    /// For how long some of them were granted.
    pub leases: BTreeMap<MappingKey<Ip6>, Lease>,
    /// Interfaces by index.
    pub interfaces: BTreeMap<u32, InterfaceEntry>,
    /// Where the program is attached, and how.
    pub attached: BTreeMap<u32, Attachment>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The operator wants this.
    Configure(Box<Intent>),
    /// What all members of the cluster draw their hashes with, before the configuration that wants it.
    Key(u64),
    /// The interfaces of this host are these.
    Links(Vec<Link>),
    /// Routes or neighbours changed.
    RoutesChanged,
    /// Nobody uses these draining addresses.
    Idle(BTreeSet<Ip6>),
    /// No flow is of the pools with these numbers, which were not wanted any more before that was
    /// looked at.
    PoolsIdle(BTreeSet<u8>),
    /// Nothing is left of the rules with these numbers, which were not wanted any more before that
    /// was looked at.
    RulesIdle(BTreeSet<u16>),
    /// A sweep has ended at this time, in nanoseconds of `CLOCK_MONOTONIC`, and came by these entries of
    /// mappings that somebody asked for.
    Swept(u64, Keys),
    /// An entry of a mapping could not be written; it is tried again after the next sweep.
    NotMapped(MappingKey),
    /// The same of one of somebody who has IPv6.
    NotMapped6(MappingKey<Ip6>),
    /// The program was attached to an interface, or was found attached.
    Attached(u32, Attachment),
    /// The program could not be attached to an interface; it is tried again when interfaces change.
    NotAttached(u32),
}

/// What must be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Keep the ports outside its range from the packet path, then let it know the address.
    PutExternal(Ip6, External),
    /// Forget an address, and give back all its ports.
    RemoveExternal(Ip6),
    /// Write what stands under a rule's number; if the number is free, forget what it had.
    PutNumbered(u16, Box<Numbered>),
    /// Write a rule.
    PutRule(u32, RuleEntry),
    /// Write a pool.
    PutPool(u32, Box<PoolEntry>),
    /// Write the IPv6 addresses of a pool.
    PutSlots6(u32, Box<Slots6>),
    /// Write prefixes.
    PutClasses(Vec<(ClassKey, RuleSet)>),
    /// Write prefixes of IPv6.
    PutClasses6(Vec<(ClassKey<Ip6>, RuleSet)>),
    /// Remove prefixes.
    RemoveClasses(Vec<ClassKey>),
    /// Remove prefixes of IPv6.
    RemoveClasses6(Vec<ClassKey<Ip6>>),
    /// Write prefixes that are translated one to one.
    PutFixed(Vec<(FixedKey, Fixed)>),
    /// The same of IPv6.
    PutFixed6(Vec<(FixedKey<Ip6>, Fixed)>),
    /// Remove such prefixes.
    RemoveFixed(Vec<FixedKey>),
    /// The same of IPv6.
    RemoveFixed6(Vec<FixedKey<Ip6>>),
    /// Take a port in these bitmaps, whoever has it.
    TakePort(Vec<u32>, Port),
    /// Write an entry of a mapping as [`put`](crate::mappings::put) does; answer with
    /// [`Event::NotMapped`] if it does not stand then.
    PutMapping(MappingKey, Mapping),
    /// The same of somebody who has IPv6; answer with [`Event::NotMapped6`].
    PutMapping6(MappingKey<Ip6>, Mapping<Ip6>),
    /// Remember for how long a mapping is granted, by its external end.
    PutLease(MappingKey<Ip6>, Lease),
    /// Forget that.
    RemoveLease(MappingKey<Ip6>),
    /// Write a member of the cluster; without an address, there is none under that number.
    PutMember(u32, Option<IpAddr>),
    /// Forget who holds which flows. In a cluster nobody does, until somebody says who; a gateway that is
    /// alone may give away every port.
    ForgetHolders {
        /// Which of the two it is.
        is_alone: bool,
    },
    /// Put these words in force.
    SetConfig(Config),
    /// Let the packet path know an interface.
    PutInterface(u32, InterfaceEntry),
    /// Forget an interface.
    RemoveInterface(u32),
    /// Attach the program; answer with [`Event::Attached`] or [`Event::NotAttached`].
    Attach {
        /// Where.
        ifindex: u32,
        /// The interface's name, for the log.
        name: String,
        /// How.
        mode: Mode,
    },
    /// Take the program off.
    Detach(u32),
}

/// Why a configuration that is valid cannot be put in force now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Pools or addresses that drain are in the way.
    #[error(transparent)]
    Numbers(#[from] NumbersError),
    /// Two versions of the policy must fit side by side.
    #[error(
        "the rules have {0} different prefixes and port ranges, and at most {max} fit; \
         merge prefixes that lie side by side",
        max = CLASSES_MAX / 2
    )]
    Classes(usize),
}

/// One gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    intent: Option<Box<Intent>>,
    numbers: Numbers,
    config: Config,
    policy: Option<Policy>,
    /// What stands under the numbers of rules.
    numbered: BTreeMap<u16, Numbered>,
    /// Prefixes in the tables that are not the policy's.
    stale: Vec<ClassKey>,
    /// The same of IPv6.
    stale6: Vec<ClassKey<Ip6>>,
    fixed: FixedTables,
    /// What interfaces there are; nothing until that is known.
    links: Option<Vec<Link>>,
    interfaces: BTreeMap<u32, InterfaceEntry>,
    attached: BTreeMap<u32, Attachment>,
    refused: BTreeSet<u32>,
    modes: BTreeMap<u32, Mode>,
    mappings: Mappings,
    /// See [`Event::Key`].
    key: Option<u64>,
}

impl Gateway {
    /// A gateway that begins with what was found in the tables.
    pub fn new(found: Found) -> Self {
        let pools = found
            .pools
            .into_iter()
            .map(|(number, name)| (name, number))
            .collect();
        let (callers, stale) = without_callers(found.classes);
        let (callers6, stale6) = without_callers(found.classes6);
        let lists = Lists::found(callers, callers6);
        let rules = found.rules.into_iter();
        let rules = rules.map(|(number, name)| (name, number)).collect();
        Self {
            intent: None,
            numbers: Numbers {
                pools,
                rules,
                externals: found.externals,
            },
            config: found.config,
            policy: None,
            numbered: BTreeMap::new(),
            stale,
            stale6,
            fixed: FixedTables::found(&found.config, found.fixed, found.fixed6),
            links: None,
            interfaces: found.interfaces,
            attached: found.attached,
            refused: BTreeSet::new(),
            modes: BTreeMap::new(),
            mappings: Mappings::found(found.mappings, found.mappings6, lists, found.leases),
            key: None,
        }
    }

    /// What was asked for last.
    pub fn intent(&self) -> Option<&Intent> {
        self.intent.as_deref()
    }

    /// How long silent flows are kept; nothing before anything was asked for.
    pub fn patience(&self) -> Option<Patience> {
        let intent = self.intent.as_deref()?;
        Some(Patience::new(intent, &self.numbers))
    }

    /// How long freed ports are held back, by the number of their pool; pools without one give no
    /// ports out.
    pub fn holds(&self) -> BTreeMap<u8, HoldDown> {
        let pools = self.intent.iter().flat_map(|intent| &intent.pools);
        let is_copied = self
            .intent
            .as_ref()
            .is_some_and(|it| it.copying().is_some());
        // A member that is not heard may go on with a copy of what has ended here: its port goes behind others.
        let hold = |it: HoldDown| match is_copied {
            true => it.at_least(HoldDown::DEFAULT),
            false => it,
        };
        let numbered =
            pools.filter_map(|it| Some((*self.numbers.pools.get(&it.name)?, hold(it.hold))));
        numbered.collect()
    }

    /// The key of the packet path's hashes.
    pub fn seed(&self) -> u64 {
        self.config.seed
    }

    /// The numbers of pools and addresses.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The numbers of pools that are not wanted any more, and only kept for what still has them.
    pub fn unwanted_pools(&self) -> BTreeSet<u8> {
        let wanted = |name: &str| {
            self.intent
                .iter()
                .any(|intent| intent.pools.iter().any(|pool| pool.name == name))
        };
        let unwanted = self.numbers.pools.iter().filter(|(name, _)| !wanted(name));
        unwanted.map(|(_, number)| *number).collect()
    }

    /// The numbers of rules that are not wanted any more.
    pub fn unwanted_rules(&self) -> BTreeSet<u16> {
        let rules = self.intent.as_ref().map_or(&[][..], |intent| &intent.rules);
        let wanted = |name: &str| rules.iter().any(|rule| rule.name == name);
        let unwanted = self.numbers.rules.iter().filter(|(name, _)| !wanted(name));
        unwanted.map(|(_, number)| *number).collect()
    }

    /// What rules allow that do not allow everything.
    pub fn quotas(&self) -> Quotas {
        let limited = self.numbered.iter().filter(|(_, it)| !it.quota.is_none());
        limited.map(|(number, it)| (*number, it.quota)).collect()
    }

    /// Mappings that were asked for.
    pub fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    /// Grants a mapping, or more time for it; says what must be done for that. `port_of` is the port
    /// that an internal end has in its table, see [`MappingKey::narrow`], and `words` the bitmaps of ports.
    ///
    /// # Errors
    ///
    /// Why it is not granted; then nothing has changed.
    pub fn ask<W: Deref<Target = [PortWord; WORDS]>>(
        &mut self,
        ask: &Ask,
        now: u64,
        port_of: impl Fn(&MappingKey<Ip6>) -> Option<Port>,
        words: impl Fn(u32) -> W,
    ) -> Result<(Granted, Vec<Action>), Denied> {
        let intent = self.intent.as_deref().ok_or(Denied::Unconfigured)?;
        let at = Circumstances {
            intent,
            numbers: &self.numbers,
            now,
            seed: self.config.seed,
        };
        let (policy, numbers) = (self.policy.as_ref(), &self.numbers);
        let slot = |pool: &Pool, client, is_ipv6| slot(policy?, numbers, pool, (client, is_ipv6));
        let mut actions = Vec::new();
        let tables = (slot, port_of, words);
        let granted = self.mappings.ask(ask, &at, tables, &mut actions)?;
        self.mappings.reconcile(intent, numbers, &mut actions);
        Ok((granted, actions))
    }

    /// Withdraws a mapping that was granted; says what must be done for that. Its flows go on.
    ///
    /// # Errors
    ///
    /// Why it is not withdrawn; then nothing has changed.
    pub fn withdraw(&mut self, withdraw: &Withdraw) -> Result<(Granted, Vec<Action>), Denied> {
        let mut actions = Vec::new();
        let granted = self.mappings.withdraw(withdraw, &mut actions)?;
        self.reconcile_mappings(&mut actions);
        Ok((granted, actions))
    }

    /// The interfaces that are wanted, each with what is there of it.
    pub fn wanted_links(&self) -> impl Iterator<Item = (&Interface, Option<&Link>)> {
        let interfaces = self.intent.iter().flat_map(|intent| &intent.interfaces);
        interfaces.map(|interface| (interface, self.link(&interface.name)))
    }

    /// Whether packets can come in from both realms and are translated then: the program is attached to an
    /// interface of each, and that is up.
    pub fn is_serving(&self, is_up: impl Fn(u32) -> bool) -> bool {
        let is_faced = |wanted: Realm| {
            self.wanted_links().any(|(interface, link)| {
                let faces = interface.realm == wanted || interface.realm == Realm::Both;
                let is_attached = |link: &Link| self.attached.contains_key(&link.ifindex);
                faces && link.is_some_and(|link| is_attached(link) && is_up(link.ifindex))
            })
        };
        self.policy.is_some() && is_faced(Realm::Internal) && is_faced(Realm::External)
    }

    fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().flatten().find(|link| link.name == name)
    }

    /// Takes in what happened and says what must be done.
    ///
    /// # Errors
    ///
    /// Only for [`Event::Configure`]; then nothing has changed.
    pub fn handle(&mut self, event: Event) -> Result<Vec<Action>, Refusal> {
        let mut actions = Vec::new();
        match event {
            Event::Configure(intent) => self.configure(intent, &mut actions)?,
            Event::Key(key) => self.key = Some(key),
            Event::Links(links) => {
                if self.links.as_ref() != Some(&links) {
                    self.links = Some(links);
                    self.refused.clear();
                    self.bump(&mut actions);
                }
                self.reconcile_interfaces(&mut actions);
            }
            Event::RoutesChanged => self.bump(&mut actions),
            Event::Idle(idle) => self.forget(&idle, &mut actions),
            Event::PoolsIdle(idle) => {
                let pools = self.intent.as_ref().map_or(&[][..], |intent| &intent.pools);
                self.numbers
                    .forget_pools(pools, |number| idle.contains(&number));
            }
            Event::RulesIdle(idle) => {
                let rules = self.intent.as_ref().map_or(&[][..], |intent| &intent.rules);
                let is_idle = |number| idle.contains(&number);
                for number in self.numbers.forget_rules(rules, is_idle) {
                    self.numbered.remove(&number);
                    actions.push(Action::PutNumbered(number, Box::new(Numbered::FREE)));
                }
            }
            Event::Swept(now, asked) => {
                let are_all_there = self.mappings.seen(&asked);
                self.mappings.expire(now, &mut actions);
                if !are_all_there || !actions.is_empty() {
                    self.reconcile_mappings(&mut actions);
                }
            }
            Event::NotMapped(key) => self.mappings.not_written(&key),
            Event::NotMapped6(key) => self.mappings.not_written6(&key),
            Event::Attached(ifindex, attachment) => {
                self.attached.insert(ifindex, attachment);
                self.note_attachment(ifindex, attachment, &mut actions);
            }
            Event::NotAttached(ifindex) => {
                self.refused.insert(ifindex);
            }
        }
        Ok(actions)
    }

    fn configure(&mut self, intent: Box<Intent>, actions: &mut Vec<Action>) -> Result<(), Refusal> {
        let numbers = self.numbers.assign(&intent.pools)?;
        let numbers = numbers.assign_rules(&intent.rules)?;
        let is_same = self.intent.as_ref().is_some_and(|before| {
            before.rules == intent.rules
                && before.pools == intent.pools
                && before.prefixes == intent.prefixes
                && before.cluster == intent.cluster
        });
        let policy =
            (!is_same).then(|| policy::compile(&intent, &numbers, next(self.config.version)));
        let largest = policy
            .as_ref()
            .map_or(0, |new| new.classes.len().max(new.classes6.len()));
        if largest > CLASSES_MAX / 2 {
            return Err(Refusal::Classes(largest));
        }
        let is_new = |(address, external): &(&Ip6, &External)| {
            self.numbers.externals.get(address) != Some(*external) || self.policy.is_none()
        };
        let mut externals: Vec<_> = numbers.externals.iter().filter(is_new).collect();
        // Whoever gives its planes up first: they say what it has in use, until another gets them.
        externals.sort_by_key(|(_, external)| external.planes != 0);
        for (address, external) in externals {
            actions.push(Action::PutExternal(*address, *external));
        }
        self.numbers = numbers;
        // Before a rule is in force, so that no flow begins under it that its quota does not count.
        let numbered = policy::numbered(&intent.rules, &self.numbers);
        for (number, entry) in &numbered {
            if self.numbered.get(number) != Some(entry) {
                actions.push(Action::PutNumbered(*number, Box::new(*entry)));
            }
        }
        self.numbered = numbered;
        let before = self.config;
        // What is left of a policy before goes on, as long as this daemon runs.
        self.config.ipv6 |= u32::from(intent.has_ipv6());
        self.config.errors = intent.limits.icmp_errors;
        self.config.errors_each = self.config.errors.div_ceil(ERRORS_SHARE);
        self.config.lowest_mtu6 = u32::from(intent.lowest_mtu6);
        let holders = self.join(&intent, actions);
        self.fixed.change(&intent.fixed, &mut self.config, actions);
        match policy {
            Some(policy) => self.enforce(policy, prefixes(&intent.prefixes), actions),
            None if before != self.config => actions.push(Action::SetConfig(self.config)),
            None => {}
        }
        actions.extend(holders);
        self.intent = Some(intent);
        self.reconcile_mappings(actions);
        self.refused.clear();
        self.reconcile_interfaces(actions);
        Ok(())
    }

    /// Says who the members of the cluster are; returns what is to be done when that is in force.
    fn join(&mut self, intent: &Intent, actions: &mut Vec<Action>) -> Option<Action> {
        let cluster = intent.cluster.as_ref();
        let before = self.intent.as_ref().and_then(|it| it.cluster.as_ref());
        if before != cluster {
            let members = cluster.map_or(&[][..], |it| &it.members);
            actions.extend((0..MEMBERS_MAX).map(|number| {
                let address = members.get(number).map(|it| it.address);
                Action::PutMember(number as u32, address)
            }));
        }
        let old = self.config;
        self.config.members = cluster.map_or(0, |it| it.members.len() as u32);
        self.config.me = cluster.map_or(0, |it| it.me as u32);
        self.config.key = match cluster {
            Some(_) => self.key.unwrap_or(self.config.key),
            None => self.config.seed,
        };
        let words = |config: &Config| (config.members, config.me, config.key);
        let is_same = words(&old) == words(&self.config);
        match (is_same, cluster) {
            (true, _) => None,
            (false, Some(_)) => {
                actions.push(Action::ForgetHolders { is_alone: false });
                None
            }
            (false, None) => Some(Action::ForgetHolders { is_alone: true }),
        }
    }

    /// Writes a policy beside the one in force and puts it in force. The other one stays until the
    /// next change: a packet may be in the middle of reading it.
    fn enforce(
        &mut self,
        policy: Policy,
        prefixes: [Prefix64; PREFIXES64_MAX],
        actions: &mut Vec<Action>,
    ) {
        // Also what an interrupted predecessor left of the same version, which would mix with this.
        let in_force = self.config.version;
        let outdated = keep(&mut self.stale, in_force);
        if !outdated.is_empty() {
            actions.push(Action::RemoveClasses(outdated));
        }
        let outdated = keep(&mut self.stale6, in_force);
        if !outdated.is_empty() {
            actions.push(Action::RemoveClasses6(outdated));
        }
        for (index, pool, slots6) in &policy.pools {
            actions.push(Action::PutPool(*index, pool.clone()));
            actions.push(Action::PutSlots6(*index, slots6.clone()));
        }
        actions.extend(
            policy
                .rules
                .iter()
                .map(|(index, rule)| Action::PutRule(*index, *rule)),
        );
        actions.push(Action::PutClasses(pairs(&policy.classes)));
        if !policy.classes6.is_empty() {
            actions.push(Action::PutClasses6(pairs(&policy.classes6)));
        }
        self.config = Config {
            version: policy.version,
            generation: next(self.config.generation),
            prefixes,
            ..self.config
        };
        actions.push(Action::SetConfig(self.config));
        if let Some(before) = self.policy.replace(policy) {
            self.stale.extend(before.classes.into_keys());
            self.stale6.extend(before.classes6.into_keys());
        }
    }

    fn reconcile_mappings(&mut self, actions: &mut Vec<Action>) {
        if let Some(intent) = self.intent.as_deref() {
            self.mappings.reconcile(intent, &self.numbers, actions);
        }
    }

    fn bump(&mut self, actions: &mut Vec<Action>) {
        self.config.generation = next(self.config.generation);
        actions.push(Action::SetConfig(self.config));
    }

    fn forget(&mut self, idle: &BTreeSet<Ip6>, actions: &mut Vec<Action>) {
        let forgotten = self.numbers.forget(|address| idle.contains(address));
        actions.extend(forgotten.into_iter().map(Action::RemoveExternal));
    }

    /// How an interface can be used is known only when the program is there.
    fn note_attachment(&mut self, ifindex: u32, attachment: Attachment, actions: &mut Vec<Action>) {
        if let Some(entry) = self.interfaces.get_mut(&ifindex) {
            let known = usable(*entry, Some(&attachment));
            if known != *entry {
                *entry = known;
                actions.push(Action::PutInterface(ifindex, known));
            }
        }
    }

    fn reconcile_interfaces(&mut self, actions: &mut Vec<Action>) {
        // Until both are known nothing is taken away from a predecessor that knew them.
        if self.intent.is_none() || self.links.is_none() {
            return;
        }
        let wanted: BTreeMap<u32, (InterfaceEntry, String, Mode)> = self
            .wanted_links()
            .filter_map(|(interface, link)| {
                let link = link?;
                let address = link.addresses.first().map(|address| Ip4(address.octets()));
                let address6 = link.addresses6.first().map(|address| Ip6(address.octets()));
                let entry = InterfaceEntry::new(address, link.mac?, interface.realm)
                    .with_address6(address6.unwrap_or(Ip6::NONE));
                let entry = usable(entry, self.attached.get(&link.ifindex));
                Some((link.ifindex, (entry, link.name.clone(), interface.mode)))
            })
            .collect();
        let is_outdated = |ifindex: &u32| {
            wanted.get(ifindex).is_none_or(|(.., mode)| {
                self.modes
                    .get(ifindex)
                    .is_some_and(|attached| attached != mode)
            })
        };
        let outdated: Vec<_> = self.attached.keys().copied().filter(is_outdated).collect();
        for ifindex in outdated {
            self.attached.remove(&ifindex);
            self.modes.remove(&ifindex);
            actions.push(Action::Detach(ifindex));
        }
        let gone: Vec<_> = self
            .interfaces
            .keys()
            .copied()
            .filter(|ifindex| !wanted.contains_key(ifindex))
            .collect();
        for ifindex in gone {
            self.interfaces.remove(&ifindex);
            actions.push(Action::RemoveInterface(ifindex));
        }
        for (ifindex, (entry, name, mode)) in wanted {
            if self.interfaces.insert(ifindex, entry) != Some(entry) {
                actions.push(Action::PutInterface(ifindex, entry));
            }
            if !self.attached.contains_key(&ifindex) && !self.refused.contains(&ifindex) {
                actions.push(Action::Attach {
                    ifindex,
                    name,
                    mode,
                });
            }
            self.modes.insert(ifindex, mode);
        }
    }
}

/// The address of a version that a client has in a pool, as the packet path finds it.
fn slot(
    policy: &Policy,
    numbers: &Numbers,
    pool: &Pool,
    (client, is_ipv6): (IpAddr, bool),
) -> Option<IpAddr> {
    let index = pool_index(policy.version, *numbers.pools.get(&pool.name)?);
    let mut pools = policy.pools.iter();
    let (_, entry, slots6) = pools.find(|(found, ..)| *found == index)?;
    let blocks = &entry.blocks;
    let index = match client {
        IpAddr::V4(client) => {
            let client = Ip4(client.octets());
            blocks.slot(blocks.ordinal(client), client)
        }
        IpAddr::V6(client) => blocks.slot(NOBODY, Ip6(client.octets())),
    };
    let slot = match is_ipv6 {
        true => *slots6.0.get(index)?,
        false => {
            let slot = entry.slots.get(index)?;
            slot.with(slot.address.wide())
        }
    };
    (slot.filled != 0).then(|| slot.address.into())
}

/// Takes the prefixes of callers out of those of policies.
fn without_callers<A: Address>(keys: Vec<ClassKey<A>>) -> (Vec<ClassKey<A>>, Vec<ClassKey<A>>) {
    keys.into_iter().partition(|key| key.list().is_some())
}

/// An interface's entry, as the way in which the program is attached makes it.
const fn usable(entry: InterfaceEntry, attachment: Option<&Attachment>) -> InterfaceEntry {
    match attachment {
        Some(Attachment::Generic) => entry.without_redirect(),
        Some(Attachment::Native) | None => entry,
    }
}

/// Takes the keys of other versions out.
fn keep<A: Address>(keys: &mut Vec<ClassKey<A>>, version: u32) -> Vec<ClassKey<A>> {
    let (kept, others) = std::mem::take(keys)
        .into_iter()
        .partition(|key| key.version() == version);
    *keys = kept;
    others
}

fn pairs<A: Address>(classes: &BTreeMap<ClassKey<A>, RuleSet>) -> Vec<(ClassKey<A>, RuleSet)> {
    classes.iter().map(|(key, set)| (*key, *set)).collect()
}

/// The prefixes as the packet path has them; an intent has no more than fit.
fn prefixes(wanted: &[Prefix64]) -> [Prefix64; PREFIXES64_MAX] {
    std::array::from_fn(|index| wanted.get(index).copied().unwrap_or(Prefix64::NONE))
}

/// The number after this one; never zero, which stands for none.
const fn next(number: u32) -> u32 {
    match number.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

#[cfg(test)]
mod tests;

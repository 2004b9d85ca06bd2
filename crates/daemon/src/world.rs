//! The kernel as the driver acts on it: one action of the gateway at a time.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use abi::{
    Address, Config, External, Ip6, Mapping, MappingKey, Member, Needs, limits::POOLS_MAX,
    policy::pool_index,
};
use gateway::{
    Action, Attachment, Event, Found, bitmaps,
    intent::Mode,
    mappings::{self, Entries, Kept, Keys},
    policy,
};
use kernel::{
    AttachError, Attached, Events, LoadError, Program, Sizes, State, StateError, Tables,
    held::{Injector, Ring},
    links, sysctl,
    tables::In,
};

use crate::holding;

/// Why the kernel could not be brought to what is wanted.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The program or its tables.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A link.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A table.
    #[error("cannot {what} the table {table}")]
    Table {
        /// What was attempted.
        what: &'static str,
        /// On which table.
        table: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No randomness for the seed of the hashes.
    #[error("cannot draw a random seed")]
    Seed(getrandom::Error),
}

/// Everything of the kernel that one daemon holds.
pub struct World {
    state: State,
    program: Program,
    tables: Arc<Tables>,
    attached: BTreeMap<u32, Attached>,
    adopted: bool,
    asked: Asked,
}

impl World {
    /// Loads the program over what is pinned in the state directory, or over new tables of
    /// these sizes, and puts it in the place of its predecessor wherever that is attached.
    ///
    /// # Errors
    ///
    /// See [`WorldError`]; what a predecessor left goes on as it was.
    pub fn open(root: &std::path::Path, sizes: Sizes, needs: Needs) -> Result<Self, WorldError> {
        let state = State::open(root)?;
        let loaded = Program::load(&state, sizes, needs)?;
        seed(&loaded.tables)?;
        let has = loaded.program.needs();
        // A packet is sent on only to programs that are there: none is while links run either.
        say(&loaded.tables, |config| without(config, has))?;
        let attached = links::adopt(&state, loaded.program.fd()?)?;
        let ipv6 = u32::from(has.ipv6);
        say(&loaded.tables, |config| Config { ipv6, ..config })?;
        loaded.program.retire_others(&state)?;
        Ok(Self {
            state,
            program: loaded.program,
            tables: Arc::new(loaded.tables),
            attached: attached
                .into_iter()
                .map(|link| (link.ifindex, link))
                .collect(),
            adopted: loaded.adopted,
            asked: Asked::default(),
        })
    }

    /// Which entries of mappings sweeps must leave alone, whatever they were when they were
    /// looked at.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The tables, for everybody.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Whether the tables were a predecessor's.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// How the program is attached to an interface.
    pub fn attached(&self, ifindex: u32) -> Option<Attached> {
        self.attached.get(&ifindex).copied()
    }

    /// The ring of the packet path's events; it has one reader.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn events(&self) -> Result<Events, WorldError> {
        Ok(Events::open(&self.state)?)
    }

    /// What whoever holds fragments acts on; it has one.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn holding(&self) -> Result<holding::World, WorldError> {
        Ok(holding::World {
            ring: Ring::open(&self.state)?,
            injector: Injector::new(&self.program)?,
            tables: self.tables.clone(),
        })
    }

    /// Tells the packet path whether anybody wants its events.
    ///
    /// # Errors
    ///
    /// If the table cannot be written.
    pub fn want_events(&self, are_wanted: bool) -> Result<(), WorldError> {
        let wanted = self.tables.events_wanted.put(&0, &u32::from(are_wanted));
        write("EVENTS_WANTED", wanted)
    }

    /// What is in the tables now.
    ///
    /// # Errors
    ///
    /// If a table cannot be read.
    pub fn found(&self) -> Result<Found, WorldError> {
        let tables = &self.tables;
        let config = read("CONFIG", tables.config.get(&0))?.unwrap_or_default();
        let mut pools = BTreeMap::new();
        for number in 0..POOLS_MAX as u8 {
            let entry = read(
                "POOLS",
                tables.pools.get(&pool_index(config.version, number)),
            )?;
            if let Some(name) = entry.as_ref().and_then(policy::name) {
                pools.insert(number, name);
            }
        }
        let numbered = read("NUMBERED", tables.numbered.all())?;
        let rules = numbered.into_iter().filter_map(|(number, entry)| {
            Some((u16::try_from(number).ok()?, policy::rule_name(&entry)?))
        });
        Ok(Found {
            rules: rules.collect(),
            config,
            pools,
            mappings: asked_for(tables)?,
            mappings6: asked_for(tables)?,
            leases: read("LEASES", tables.leases.all())?.into_iter().collect(),
            externals: self.externals()?,
            classes: keys(read("CLASSES", tables.classes.all())?),
            classes6: keys(read("CLASSES6", tables.classes6.all())?),
            fixed: keys(read("FIXED", tables.fixed.all())?),
            fixed6: keys(read("FIXED6", tables.fixed6.all())?),
            interfaces: read("INTERFACES", tables.interfaces.all())?
                .into_iter()
                .collect(),
            attached: self
                .attached
                .iter()
                .map(|(ifindex, link)| (*ifindex, how(*link)))
                .collect(),
        })
    }

    /// The external addresses of both versions.
    fn externals(&self) -> Result<BTreeMap<Ip6, External>, WorldError> {
        let v4 = read("EXTERNALS", self.tables.externals.all())?;
        let v6 = read("EXTERNALS6", self.tables.externals6.all())?;
        let v4 = v4.into_iter().map(|(key, it)| (key.wide(), it));
        Ok(v4.chain(v6).collect())
    }

    /// Does what the gateway decided. Returns what came of it, for the gateway.
    ///
    /// # Errors
    ///
    /// If a table cannot be written. A program that cannot be attached is an event, not an error.
    pub fn apply(&mut self, action: Action) -> Result<Option<Event>, WorldError> {
        let tables = &self.tables;
        match action {
            Action::PutExternal(address, external) => {
                let before = match address.ip4() {
                    Some(ip4) => read("EXTERNALS", tables.externals.get(&ip4))?,
                    None => read("EXTERNALS6", tables.externals6.get(&address))?,
                };
                let words = |bitmap| tables.ports.words(bitmap);
                bitmaps::prepare(&external, before.as_ref(), words);
                match address.ip4() {
                    Some(ip4) => write("EXTERNALS", tables.externals.put(&ip4, &external))?,
                    None => write("EXTERNALS6", tables.externals6.put(&address, &external))?,
                }
            }
            Action::RemoveExternal(address) => match address.ip4() {
                Some(ip4) => write("EXTERNALS", tables.externals.remove(&ip4))?,
                None => write("EXTERNALS6", tables.externals6.remove(&address))?,
            },
            Action::PutNumbered(number, entry) => {
                let number = u32::from(number);
                write("NUMBERED", tables.numbered.put(&number, &entry))?;
                if policy::rule_name(&entry).is_none() {
                    tables.uses.at(number).release();
                }
            }
            Action::PutRule(index, rule) => write("RULES", tables.rules.put(&index, &rule))?,
            Action::PutPool(index, pool) => write("POOLS", tables.pools.put(&index, &pool))?,
            Action::PutSlots6(index, slots) => write("POOLS6", tables.pools6.put(&index, &slots))?,
            Action::PutClasses6(classes) => {
                let (keys, sets): (Vec<_>, Vec<_>) = classes.into_iter().unzip();
                write("CLASSES6", tables.classes6.put_all(&keys, &sets))?;
            }
            Action::RemoveClasses6(keys) => {
                write("CLASSES6", tables.classes6.remove_all(&keys))?;
            }
            Action::PutFixed(entries) => {
                let (keys, values): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
                write("FIXED", tables.fixed.put_all(&keys, &values))?;
            }
            Action::PutFixed6(entries) => {
                let (keys, values): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
                write("FIXED6", tables.fixed6.put_all(&keys, &values))?;
            }
            Action::RemoveFixed(keys) => write("FIXED", tables.fixed.remove_all(&keys))?,
            Action::RemoveFixed6(keys) => write("FIXED6", tables.fixed6.remove_all(&keys))?,
            Action::PutClasses(classes) => {
                let (keys, sets): (Vec<_>, Vec<_>) = classes.into_iter().unzip();
                write("CLASSES", tables.classes.put_all(&keys, &sets))?;
            }
            Action::RemoveClasses(keys) => {
                write("CLASSES", tables.classes.remove_all(&keys))?;
            }
            Action::TakePort(bitmaps, port) => {
                for bitmap in bitmaps {
                    bitmaps::take(port, tables.ports.words(bitmap));
                }
            }
            Action::PutMapping(key, mapping) => {
                let stands = self.put_mapping(&key, &mapping)?;
                return Ok((!stands).then_some(Event::NotMapped(key)));
            }
            Action::PutMapping6(key, mapping) => {
                let stands = self.put_mapping(&key, &mapping)?;
                return Ok((!stands).then_some(Event::NotMapped6(key)));
            }
            Action::PutLease(key, lease) => {
                write("LEASES", tables.leases.put(&key, &lease))?;
                tracing::info!(external = ?key, until = lease.until, "a mapping is granted");
            }
            Action::RemoveLease(key) => {
                write("LEASES", tables.leases.remove(&key))?;
                tracing::info!(external = ?key, "a mapping that was granted has ended");
            }
            Action::PutMember(number, address) => {
                let address = address.map_or(Ip6::NONE, Ip6::from);
                write("MEMBERS", tables.members.put(&number, &Member::at(address)))?;
            }
            Action::ForgetHolders { is_alone } => tables.buckets.at(0).forget(is_alone),
            Action::SetConfig(config) => write("CONFIG", tables.config.put(&0, &config))?,
            Action::PutInterface(ifindex, interface) => {
                write("INTERFACES", tables.interfaces.put(&ifindex, &interface))?;
            }
            Action::RemoveInterface(ifindex) => {
                write("INTERFACES", tables.interfaces.remove(&ifindex))?;
            }
            Action::Attach {
                ifindex,
                name,
                mode,
            } => {
                return Ok(Some(self.attach(ifindex, &name, mode)?));
            }
            Action::Detach(ifindex) => {
                if let Some(attached) = self.attached.remove(&ifindex) {
                    links::detach(&self.state, attached)?;
                    tracing::info!(ifindex, "detached");
                }
            }
        }
        Ok(None)
    }

    /// Loads the programs that are needed and not there.
    ///
    /// # Errors
    ///
    /// If the kernel refuses them; everything else goes on.
    pub fn load(&mut self, needs: Needs) -> Result<(), WorldError> {
        Ok(self.program.load_more(needs)?)
    }

    /// Lets this host forward IPv6, which it must not do before it translates any.
    pub fn forward_ipv6(&self) {
        match sysctl::needed6() {
            Ok(settings) => settings.iter().for_each(set),
            Err(error) => tracing::warn!(
                %error,
                "the configuration has IPv6 addresses, and this kernel has no IPv6"
            ),
        }
    }

    /// Puts an entry of a mapping that somebody asked for, or did until now; returns whether it stands.
    fn put_mapping<A>(&self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<bool, WorldError>
    where
        A: Kept,
        for<'a> Mapped<'a>: Entries<A, Error = WorldError> + Entries<A::Other, Error = WorldError>,
    {
        let mut tables = Mapped {
            tables: &self.tables,
            asked: self.asked.lock(),
        };
        mappings::put(&mut tables, key, mapping)
    }

    fn attach(&mut self, ifindex: u32, name: &str, mode: Mode) -> Result<Event, WorldError> {
        sysctl::needed(name).iter().for_each(set);
        let modes: &[kernel::Mode] = match mode {
            Mode::Native => &[kernel::Mode::Native],
            Mode::NativeOrGeneric => &[kernel::Mode::Native, kernel::Mode::Generic],
            Mode::Generic => &[kernel::Mode::Generic],
        };
        for mode in modes {
            match links::attach(&self.state, self.program.fd()?, ifindex, *mode) {
                Ok(attached) => {
                    self.attached.insert(ifindex, attached);
                    tracing::info!(interface = name, ifindex, mode = mode.label(), "attached");
                    return Ok(Event::Attached(ifindex, how(attached)));
                }
                Err(error) => tracing::error!(
                    interface = name,
                    ifindex,
                    mode = mode.label(),
                    error = %Chain(&error),
                    "cannot attach"
                ),
            }
        }
        Ok(Event::NotAttached(ifindex))
    }
}

fn set(setting: &sysctl::Setting) {
    let sysctl::Setting {
        version,
        interface,
        name,
        value,
        why,
    } = setting;
    match setting.apply() {
        Ok(true) => tracing::info!(version, interface, setting = name, value, why, "sysctl set"),
        Ok(false) => {}
        Err(error) => tracing::warn!(
            version,
            interface,
            setting = name,
            value,
            why,
            %error,
            "sysctl needed, but it cannot be set"
        ),
    }
}

/// The entries of mappings that somebody asked for and that were put since the daemon began.
///
/// A sweep that looked at one when flows had made it, and found that they have ended, must not remove
/// it any more.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<Keys>>);

impl Asked {
    /// While it is held, none comes or goes.
    pub fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tables of mappings while none is asked for or withdrawn otherwise.
struct Mapped<'a> {
    tables: &'a Tables,
    asked: MutexGuard<'a, Keys>,
}

impl<A: In + Kept> Entries<A> for Mapped<'_> {
    type Error = WorldError;

    fn get(&mut self, key: &MappingKey<A>) -> Result<Option<Mapping<A>>, WorldError> {
        read("MAPPINGS", A::mappings(self.tables).get(key))
    }

    fn put(&mut self, key: &MappingKey<A>, mapping: &Mapping<A>) -> Result<bool, WorldError> {
        if let Err(error) = A::mappings(self.tables).put(key, mapping) {
            tracing::debug!(%error, ?key, "an entry of a mapping cannot be written");
            return Ok(false);
        }
        let asked = A::of_mut(&mut self.asked);
        match mapping.is_asked_for() {
            true => asked.insert(*key),
            false => asked.remove(key),
        };
        Ok(true)
    }

    fn remove(&mut self, key: &MappingKey<A>) -> Result<(), WorldError> {
        A::of_mut(&mut self.asked).remove(key);
        write("MAPPINGS", A::mappings(self.tables).remove(key))
    }
}

/// The entries of mappings that somebody asked for, of one table.
fn asked_for<A: In>(tables: &Tables) -> Result<BTreeMap<MappingKey<A>, Mapping<A>>, WorldError> {
    let mut mappings = BTreeMap::new();
    let walked = A::mappings(tables).walk(|keys, values| {
        let asked = keys.iter().zip(values).filter(|(_, it)| it.is_asked_for());
        mappings.extend(asked.map(|(key, mapping)| (*key, *mapping)));
    });
    read("MAPPINGS", walked)?;
    Ok(mappings)
}

fn how(attached: Attached) -> Attachment {
    match attached.mode {
        kernel::Mode::Native => Attachment::Native,
        kernel::Mode::Generic => Attachment::Generic,
    }
}

/// Draws the seed of the hashes when the tables are new. It stays as long as they do.
fn seed(tables: &Tables) -> Result<(), WorldError> {
    let found = read("CONFIG", tables.config.get(&0))?;
    if found.is_some_and(|config| config.generation != 0) {
        return Ok(());
    }
    let seed = getrandom::u64().map_err(WorldError::Seed)?;
    let config = Config {
        seed,
        key: seed,
        generation: 1,
        ..Config::default()
    };
    write("CONFIG", tables.config.put(&0, &config))
}

/// Tells the packet path other words.
fn say(tables: &Tables, change: impl FnOnce(Config) -> Config) -> Result<(), WorldError> {
    let Some(config) = read("CONFIG", tables.config.get(&0))? else {
        return Ok(());
    };
    write("CONFIG", tables.config.put(&0, &change(config)))
}

/// The words without those that lead to programs that are not there.
fn without(config: Config, has: Needs) -> Config {
    let word = |is_there, word| if is_there { word } else { 0 };
    Config {
        ipv6: word(has.ipv6, config.ipv6),
        fixed: word(has.fixed, config.fixed),
        fixed6: word(has.fixed && has.ipv6, config.fixed6),
        members: word(has.cluster, config.members),
        ..config
    }
}

fn keys<K, V>(entries: Vec<(K, V)>) -> Vec<K> {
    entries.into_iter().map(|(key, _)| key).collect()
}

fn read<T>(table: &'static str, result: io::Result<T>) -> Result<T, WorldError> {
    result.map_err(|source| WorldError::Table {
        what: "read",
        table,
        source,
    })
}

fn write<T>(table: &'static str, result: io::Result<T>) -> Result<(), WorldError> {
    result.map(drop).map_err(|source| WorldError::Table {
        what: "write",
        table,
        source,
    })
}

/// An error with its causes, in one line.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

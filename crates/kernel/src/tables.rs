//! Typed handles to the tables: one element, a walk in batches, many at once.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use abi::{
    Address, Buckets, ClassKey, Config, Counter, External, Fixed, FixedKey, Flow, FlowKey,
    FragmentKey, Fragments, Holder, Interface, Ip4, Ip6, Layout, Lease, Mapping, MappingKey,
    Member, Numbered, Picture, Pool, PoolCounters, PortWord, Rule, RuleSet, Slots6, Use, map,
    ports::{BITMAPS, WORDS},
    quota,
};
use aya::maps::MapInfo;

use crate::{
    programs::{LoadError, check},
    sys::{self, Cursor},
};

/// Elements read by one system call. Sixteen pages of flows: large enough that the call does not
/// count, small enough for a thread's cache.
const BATCH: usize = 4096;
/// Elements in one bucket of a hash map that a walk still copes with.
const BATCH_MAX: usize = 1 << 20;

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of all times in the tables.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable; this clock exists on every kernel.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A map of keys to values.
pub struct Table<K, V> {
    fd: OwnedFd,
    max: u32,
    _types: PhantomData<fn() -> (K, V)>,
}

impl<K: Layout, V: Layout> Table<K, V> {
    pub(crate) fn open(maps: &Path, name: &'static str) -> Result<Self, LoadError> {
        let path = maps.join(name);
        let fd = sys::open_pinned(&path).map_err(|source| LoadError::Open { name, source })?;
        let max = max_entries(&path, name, size_of::<K>(), size_of::<V>())?;
        Ok(Self {
            fd,
            max,
            _types: PhantomData,
        })
    }

    /// Elements it has room for.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// The value under a key.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says, a missing key excepted.
    pub fn get(&self, key: &K) -> io::Result<Option<V>> {
        // SAFETY: `Layout` promises that every bit pattern, so also zero, is a valid value.
        let mut value: [V; 1] = unsafe { std::mem::zeroed() };
        match sys::lookup(self.fd.as_fd(), key, &mut value) {
            Ok(()) => Ok(Some(value[0])),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Inserts or replaces.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says; `E2BIG` if the table is full.
    pub fn put(&self, key: &K, value: &V) -> io::Result<()> {
        sys::update(self.fd.as_fd(), key, value)
    }

    /// Inserts; `false` if there is something under the key.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says, a key that is there excepted; `E2BIG` if the table is full.
    pub fn put_new(&self, key: &K, value: &V) -> io::Result<bool> {
        match sys::insert(self.fd.as_fd(), key, value) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes; `false` if it was not there.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says, a missing key excepted.
    pub fn remove(&self, key: &K) -> io::Result<bool> {
        match sys::delete(self.fd.as_fd(), key) {
            Ok(()) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Shows every element that is there from beginning to end of the walk, in batches.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says.
    pub fn walk(&self, mut show: impl FnMut(&[K], &[V])) -> io::Result<()> {
        // SAFETY: `Layout` promises that zero is a valid value.
        let (key, value): (K, V) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let mut size = BATCH.min(self.max as usize);
        let (mut keys, mut values) = (vec![key; size], vec![value; size]);
        let mut cursor = Cursor::default();
        loop {
            match sys::lookup_batch(self.fd.as_fd(), &mut cursor, &mut keys, &mut values) {
                Ok(step) => {
                    show(&keys[..step.count], &values[..step.count]);
                    if step.is_last {
                        return Ok(());
                    }
                }
                // One bucket is larger than the buffer: the cursor has not moved.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && size < BATCH_MAX => {
                    size *= 2;
                    keys.resize(size, key);
                    values.resize(size, value);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it has no element at all.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says.
    pub fn is_empty(&self) -> io::Result<bool> {
        let mut count = 0;
        self.walk(|keys, _| count += keys.len())?;
        Ok(count == 0)
    }

    /// Every element, for small tables.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says.
    pub fn all(&self) -> io::Result<Vec<(K, V)>> {
        let mut all = Vec::new();
        self.walk(|keys, values| all.extend(keys.iter().copied().zip(values.iter().copied())))?;
        Ok(all)
    }

    /// Inserts or replaces many.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says; those before the failed one are written.
    pub fn put_all(&self, keys: &[K], values: &[V]) -> io::Result<()> {
        sys::update_batch(self.fd.as_fd(), keys, values).1
    }

    /// Removes many; those that are not there do not matter. Returns how many were.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says.
    pub fn remove_all(&self, mut keys: &[K]) -> io::Result<usize> {
        let mut removed = 0;
        while !keys.is_empty() {
            let (count, result) = sys::delete_batch(self.fd.as_fd(), keys);
            removed += count;
            match result {
                Ok(()) => break,
                Err(error) if is_missing(&error) => {
                    keys = keys.get(count + 1..).unwrap_or_default();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}

/// An array with one value for each CPU under each index.
pub struct PerCpu<V> {
    fd: OwnedFd,
    cpus: usize,
    _type: PhantomData<fn() -> V>,
}

impl<V: Layout> PerCpu<V> {
    fn open(maps: &Path, name: &'static str, cpus: usize) -> Result<Self, LoadError> {
        const {
            assert!(
                size_of::<V>().is_multiple_of(8),
                "the kernel rounds values up to eight"
            )
        };
        let path = maps.join(name);
        let fd = sys::open_pinned(&path).map_err(|source| LoadError::Open { name, source })?;
        max_entries(&path, name, size_of::<u32>(), size_of::<V>())?;
        Ok(Self {
            fd,
            cpus,
            _type: PhantomData,
        })
    }

    /// The values of all possible CPUs under an index.
    ///
    /// # Errors
    ///
    /// What `bpf(2)` says.
    pub fn get(&self, index: u32) -> io::Result<Vec<V>> {
        // SAFETY: `Layout` promises that zero is a valid value.
        let mut values = vec![unsafe { std::mem::zeroed::<V>() }; self.cpus];
        sys::lookup(self.fd.as_fd(), &index, &mut values)?;
        Ok(values)
    }
}

/// An array mapped into this process, whose words the packet path changes meanwhile.
pub struct Mapped<T> {
    start: *const T,
    len: usize,
}

// SAFETY: the memory stays mapped for the value's life and is only touched through atomics, which is
// what every `T` consists of.
unsafe impl<T: Sync> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mapped<T> {}

impl<T> Mapped<T> {
    fn open(maps: &Path, name: &'static str, len: usize) -> Result<Self, LoadError> {
        let path = maps.join(name);
        let failed = |source| LoadError::Open { name, source };
        let fd = sys::open_pinned(&path).map_err(failed)?;
        let found = max_entries(&path, name, size_of::<u32>(), size_of::<T>())?;
        if found as usize != len {
            let (what, expected) = ("a size of", len as u32);
            return Err(LoadError::Mismatch {
                name,
                what,
                found,
                expected,
            });
        }
        const { assert!(size_of::<T>().is_multiple_of(8), "as the kernel rounds up") };
        // SAFETY: a fresh shared mapping of a map that was made to be mapped, of its exact size.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len * size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                std::os::fd::AsRawFd::as_raw_fd(&fd),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(failed(io::Error::last_os_error()));
        }
        Ok(Self {
            start: start.cast(),
            len,
        })
    }

    /// An element, which the packet path changes meanwhile.
    pub fn at(&self, index: u32) -> &T {
        assert!(
            (index as usize) < self.len,
            "invariant: indices come from abi"
        );
        // SAFETY: inside the mapping, aligned to a page plus whole elements of whole words; words are
        // atomics, of which every bit pattern is valid.
        unsafe { &*self.start.add(index as usize) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped; no reference outlives `self`.
        unsafe { libc::munmap(self.start as *mut _, self.len * size_of::<T>()) };
    }
}

/// The port bitmaps.
pub struct Ports(Mapped<[PortWord; WORDS]>);

impl Ports {
    /// A bitmap by its number, see [`abi::ports`]; the packet path claims ports in it meanwhile.
    pub fn words(&self, bitmap: u32) -> &[PortWord; WORDS] {
        self.0.at(bitmap)
    }
}

/// All tables of the packet path.
pub struct Tables {
    /// See [`map::FLOWS`].
    pub flows: Table<FlowKey, Flow<Picture>>,
    /// See [`map::MAPPINGS`].
    pub mappings: Table<MappingKey, Mapping>,
    /// See [`map::FLOWS6`].
    pub flows6: Table<FlowKey<Ip6>, Flow<Picture, Ip6>>,
    /// See [`map::MAPPINGS6`].
    pub mappings6: Table<MappingKey<Ip6>, Mapping<Ip6>>,
    /// See [`map::LEASES`].
    pub leases: Table<MappingKey<Ip6>, Lease>,
    /// See [`map::FRAGMENTS`].
    pub fragments: Table<FragmentKey, Fragments<Picture>>,
    /// See [`map::FRAGMENTS6`].
    pub fragments6: Table<FragmentKey<Ip6>, Fragments<Picture>>,
    /// See [`map::HELD_BY`].
    pub held_by: Table<u32, u32>,
    /// See [`map::PORTS`].
    pub ports: Ports,
    /// See [`map::NUMBERED`].
    pub numbered: Table<u32, Numbered>,
    /// See [`map::CLIENTS`].
    pub clients: Table<Holder, u32>,
    /// See [`map::USES`].
    pub uses: Mapped<Use>,
    /// See [`map::TOLD`].
    pub told: PerCpu<u64>,
    /// See [`map::EXTERNALS`].
    pub externals: Table<Ip4, External>,
    /// See [`map::EXTERNALS6`].
    pub externals6: Table<Ip6, External>,
    /// See [`map::CLASSES`].
    pub classes: Table<ClassKey, RuleSet>,
    /// See [`map::CLASSES6`].
    pub classes6: Table<ClassKey<Ip6>, RuleSet>,
    /// See [`map::FIXED`].
    pub fixed: Table<FixedKey, Fixed>,
    /// See [`map::FIXED6`].
    pub fixed6: Table<FixedKey<Ip6>, Fixed>,
    /// See [`map::RULES`].
    pub rules: Table<u32, Rule>,
    /// See [`map::POOLS`].
    pub pools: Table<u32, Pool>,
    /// See [`map::POOLS6`].
    pub pools6: Table<u32, Slots6>,
    /// See [`map::INTERFACES`].
    pub interfaces: Table<u32, Interface>,
    /// See [`map::BUCKETS`].
    pub buckets: Mapped<Buckets>,
    /// See [`map::MEMBERS`].
    pub members: Table<u32, Member<Picture>>,
    /// See [`map::CONFIG`].
    pub config: Table<u32, Config>,
    /// See [`map::COUNTERS`].
    pub counters: PerCpu<Counter>,
    /// See [`map::POOL_COUNTERS`].
    pub pool_counters: PerCpu<PoolCounters>,
    /// See [`map::REMOVED`].
    pub removed: Table<u32, [u64; abi::PROTOCOLS]>,
    /// See [`map::EVENTS_WANTED`].
    pub events_wanted: Table<u32, u32>,
    /// See [`map::EVENTS_LOST`].
    pub events_lost: PerCpu<u64>,
}

/// A kind of address, and its tables.
pub trait In: Address {
    /// The flows.
    fn flows(tables: &Tables) -> &Table<FlowKey<Self>, Flow<Picture, Self>>;
    /// Their mappings.
    fn mappings(tables: &Tables) -> &Table<MappingKey<Self>, Mapping<Self>>;
}

impl In for Ip4 {
    fn flows(tables: &Tables) -> &Table<FlowKey, Flow<Picture>> {
        &tables.flows
    }

    fn mappings(tables: &Tables) -> &Table<MappingKey, Mapping> {
        &tables.mappings
    }
}

impl In for Ip6 {
    fn flows(tables: &Tables) -> &Table<FlowKey<Self>, Flow<Picture, Self>> {
        &tables.flows6
    }

    fn mappings(tables: &Tables) -> &Table<MappingKey<Self>, Mapping<Self>> {
        &tables.mappings6
    }
}

impl Tables {
    /// Opens the tables that are pinned in a directory.
    ///
    /// # Errors
    ///
    /// [`LoadError::Mismatch`] if one is not of this layout, [`LoadError::Open`] if one is missing.
    pub fn open(maps: &Path) -> Result<Self, LoadError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| LoadError::Open {
            name: map::COUNTERS,
            source,
        })?;
        Ok(Self {
            flows: Table::open(maps, map::FLOWS)?,
            mappings: Table::open(maps, map::MAPPINGS)?,
            flows6: Table::open(maps, map::FLOWS6)?,
            mappings6: Table::open(maps, map::MAPPINGS6)?,
            leases: Table::open(maps, map::LEASES)?,
            fragments: Table::open(maps, map::FRAGMENTS)?,
            fragments6: Table::open(maps, map::FRAGMENTS6)?,
            held_by: Table::open(maps, map::HELD_BY)?,
            ports: Ports(Mapped::open(maps, map::PORTS, BITMAPS)?),
            numbered: Table::open(maps, map::NUMBERED)?,
            clients: Table::open(maps, map::CLIENTS)?,
            uses: Mapped::open(maps, map::USES, quota::SLOTS)?,
            told: PerCpu::open(maps, map::TOLD, cpus)?,
            externals: Table::open(maps, map::EXTERNALS)?,
            externals6: Table::open(maps, map::EXTERNALS6)?,
            classes: Table::open(maps, map::CLASSES)?,
            classes6: Table::open(maps, map::CLASSES6)?,
            fixed: Table::open(maps, map::FIXED)?,
            fixed6: Table::open(maps, map::FIXED6)?,
            rules: Table::open(maps, map::RULES)?,
            pools: Table::open(maps, map::POOLS)?,
            pools6: Table::open(maps, map::POOLS6)?,
            interfaces: Table::open(maps, map::INTERFACES)?,
            buckets: Mapped::open(maps, map::BUCKETS, 1)?,
            members: Table::open(maps, map::MEMBERS)?,
            config: Table::open(maps, map::CONFIG)?,
            counters: PerCpu::open(maps, map::COUNTERS, cpus)?,
            pool_counters: PerCpu::open(maps, map::POOL_COUNTERS, cpus)?,
            removed: Table::open(maps, map::REMOVED)?,
            events_wanted: Table::open(maps, map::EVENTS_WANTED)?,
            events_lost: PerCpu::open(maps, map::EVENTS_LOST, cpus)?,
        })
    }
}

fn max_entries(
    path: &Path,
    name: &'static str,
    key: usize,
    value: usize,
) -> Result<u32, LoadError> {
    let info = MapInfo::from_pin(path).map_err(|error| LoadError::Open {
        name,
        source: io::Error::other(error),
    })?;
    check(name, &info, key, value)?;
    Ok(info.max_entries())
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}

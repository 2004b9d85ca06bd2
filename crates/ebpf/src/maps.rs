//! The maps. Their names are `abi::map`'s; the loader refuses an object in which one is missing.

use abi::{
    Address, Buckets, ClassKey, Config, Counter, External, Fixed, FixedKey, Flow, FlowKey,
    FragmentKey, Fragments, Held, Holder, Interface, Ip4, Ip6, Lease, Live, Mapping, MappingKey,
    Member, Numbered, Pool, PoolCounters, PortWord, Rule, RuleSet, Shared, Slot, Slots6, Stage,
    Told, Trip, Tuple, Use,
    limits::{
        ADDRESSES_MAX, AWAITED_MAX, CALLERS_MAX, CLASSES_MAX, CLIENTS_MAX, ERROR_BUCKETS,
        EVENTS_BYTES, FIXED_ENTRIES_MAX, FLOWS_DEFAULT, FLOWS_MIN, FRAGMENTS_MAX, HELD_BYTES,
        HELD_FRAME_MAX, HELD_SHARES, INTERFACES_MAX, LEASES_MAX, MEMBERS_MAX, POOLS_MAX,
        REASONS_MAX, RULE_NUMBERS, RULES_MAX,
    },
    ports::{BITMAPS, WORDS},
    quota,
};
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, bpf_fib_lookup},
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf, lpm_trie},
};
use datapath::world::Room;

/// A fragment on its way to the ring: put together here, because the ring takes it in one piece.
#[repr(C)]
pub struct Record {
    pub held: Held,
    pub frame: [u8; HELD_FRAME_MAX],
}

// Preallocated, so that a packet never waits for memory and an element is never unmapped under a
// reader. The loader sets the size that the configuration asks for.
#[map]
pub static FLOWS: HashMap<FlowKey, Flow> = HashMap::with_max_entries(2 * FLOWS_DEFAULT, 0);
#[map]
pub static MAPPINGS: HashMap<MappingKey, Mapping> = HashMap::with_max_entries(2 * FLOWS_DEFAULT, 0);
#[map]
// As small as can be until there are flows for them: they are preallocated.
pub static FLOWS6: HashMap<FlowKey<Ip6>, Flow<Live, Ip6>> =
    HashMap::with_max_entries(2 * FLOWS_MIN, 0);
#[map]
pub static MAPPINGS6: HashMap<MappingKey<Ip6>, Mapping<Ip6>> =
    HashMap::with_max_entries(2 * FLOWS_MIN, 0);
#[map]
pub static LEASES: HashMap<MappingKey<Ip6>, Lease> =
    HashMap::with_max_entries(LEASES_MAX as u32, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Fragments> =
    LruHashMap::with_max_entries(FRAGMENTS_MAX as u32, 0);
#[map]
pub static FRAGMENTS6: LruHashMap<FragmentKey<Ip6>, Fragments> =
    LruHashMap::with_max_entries(FRAGMENTS_MAX as u32, 0);
#[map]
pub static AWAITED: LruHashMap<FragmentKey<Ip6>, u32> =
    LruHashMap::with_max_entries(AWAITED_MAX as u32, 0);
#[map]
pub static HELD: RingBuf = RingBuf::with_byte_size(HELD_BYTES, 0);
#[map]
pub static HELD_BY: Array<Shared<u32>> = Array::with_max_entries(HELD_SHARES as u32, 0);
// Mapped into the daemon's memory, so that it frees ports with the same atomic instructions with
// which the packet path claims them.
#[map]
pub static PORTS: Array<[PortWord; WORDS]> =
    Array::with_max_entries(BITMAPS as u32, BPF_F_MMAPABLE);
#[map]
pub static EXTERNALS: HashMap<Ip4, External> = HashMap::with_max_entries(ADDRESSES_MAX as u32, 0);
#[map]
pub static EXTERNALS6: HashMap<Ip6, External> = HashMap::with_max_entries(ADDRESSES_MAX as u32, 0);
#[map]
pub static CLASSES: LpmTrie<[u8; 8], RuleSet> =
    LpmTrie::with_max_entries((CLASSES_MAX + 2 * CALLERS_MAX) as u32, 0);
#[map]
pub static CLASSES6: LpmTrie<[u8; 20], RuleSet> =
    LpmTrie::with_max_entries((CLASSES_MAX + 2 * CALLERS_MAX) as u32, 0);
#[map]
pub static FIXED: LpmTrie<[u8; 8], Fixed> = LpmTrie::with_max_entries(FIXED_ENTRIES_MAX as u32, 0);
#[map]
pub static FIXED6: LpmTrie<[u8; 20], Fixed> =
    LpmTrie::with_max_entries(FIXED_ENTRIES_MAX as u32, 0);
#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(2 * RULES_MAX as u32, 0);
#[map]
pub static POOLS: Array<Pool> = Array::with_max_entries(2 * POOLS_MAX as u32, 0);
#[map]
pub static NUMBERED: Array<Numbered> = Array::with_max_entries(RULE_NUMBERS as u32, 0);
#[map]
pub static CLIENTS: HashMap<Holder, u32> = HashMap::with_max_entries(CLIENTS_MAX as u32, 0);
// Mapped as PORTS is: the daemon subtracts what has ended from the words that packets add to.
#[map]
pub static USES: Array<Use> = Array::with_max_entries(quota::SLOTS as u32, BPF_F_MMAPABLE);
#[map]
pub static TOLD: PerCpuArray<u64> = PerCpuArray::with_max_entries(Told::ALL.len() as u32, 0);
// One more, for all senders together. Nothing of it is worth keeping.
#[map]
pub static ERRORS: PerCpuArray<Shared<u64>> =
    PerCpuArray::with_max_entries(ERROR_BUCKETS as u32 + 1, 0);
#[map]
pub static POOLS6: Array<Slots6> = Array::with_max_entries(2 * POOLS_MAX as u32, 0);
#[map]
pub static INTERFACES: HashMap<u32, Interface> =
    HashMap::with_max_entries(INTERFACES_MAX as u32, 0);
// Mapped as PORTS is: a member that is gone has its buckets served by others at once.
#[map]
pub static BUCKETS: Array<Buckets> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static MEMBERS: Array<Member> = Array::with_max_entries(MEMBERS_MAX as u32, 0);
// How the packet at hand came, from one program to the next.
#[map]
pub static TRIP: PerCpuArray<Trip> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
pub static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(REASONS_MAX as u32, 0);
#[map]
pub static POOL_COUNTERS: PerCpuArray<PoolCounters> =
    PerCpuArray::with_max_entries(POOLS_MAX as u32, 0);
#[map]
pub static REMOVED: Array<[u64; abi::PROTOCOLS]> = Array::with_max_entries(POOLS_MAX as u32, 0);
// Room for one packet; nothing of it lasts.
#[map]
pub static ROOM: PerCpuArray<Room<Ip4>> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static ROOM6: PerCpuArray<Room<Ip6>> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static PLACE: PerCpuArray<Shared<u32>> = PerCpuArray::with_max_entries(1, 0);
// What is put into `FRAGMENTS`, whose zeros are written once and for all.
#[map]
pub static BEGUN: PerCpuArray<Fragments> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static RECORD: PerCpuArray<Record> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static STAGES: ProgramArray = ProgramArray::with_max_entries(Stage::ALL.len() as u32, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);
#[map]
pub static EVENTS_WANTED: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub static EVENTS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The maps of a kind of address, and what the kernel must be told of it.
pub trait Maps: Address {
    fn room() -> &'static PerCpuArray<Room<Self>>;
    fn flows() -> &'static HashMap<FlowKey<Self>, Flow<Live, Self>>;
    fn mappings() -> &'static HashMap<MappingKey<Self>, Mapping<Self>>;
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragments>;
    fn externals() -> &'static HashMap<Self, External>;
    fn class(key: &ClassKey<Self>) -> Option<&'static RuleSet>;
    fn fixed(key: &FixedKey<Self>) -> Option<&'static Fixed>;
    fn slot(pool: u32, slot: usize) -> Option<Slot<Self>>;
    /// Fills in the addresses of a question to the routing tables.
    fn ask(tuple: &Tuple<Self>, fib: &mut bpf_fib_lookup);
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

impl Maps for Ip4 {
    #[inline(always)]
    fn room() -> &'static PerCpuArray<Room<Self>> {
        &ROOM
    }

    #[inline(always)]
    fn flows() -> &'static HashMap<FlowKey<Self>, Flow<Live, Self>> {
        &FLOWS
    }

    #[inline(always)]
    fn mappings() -> &'static HashMap<MappingKey<Self>, Mapping<Self>> {
        &MAPPINGS
    }

    #[inline(always)]
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragments> {
        &FRAGMENTS
    }

    #[inline(always)]
    fn externals() -> &'static HashMap<Self, External> {
        &EXTERNALS
    }

    #[inline(always)]
    fn class(key: &ClassKey<Self>) -> Option<&'static RuleSet> {
        const { assert!(size_of::<ClassKey>() == size_of::<lpm_trie::Key<[u8; 8]>>()) };
        // SAFETY: `ClassKey` is laid out as the trie's key: the bits that count, then bytes.
        CLASSES.get(unsafe { &*(key as *const ClassKey).cast::<lpm_trie::Key<[u8; 8]>>() })
    }

    #[inline(always)]
    fn fixed(key: &FixedKey<Self>) -> Option<&'static Fixed> {
        const { assert!(size_of::<FixedKey>() == size_of::<lpm_trie::Key<[u8; 8]>>()) };
        // SAFETY: `FixedKey` is laid out as the trie's key: the bits that count, then bytes.
        FIXED.get(unsafe { &*(key as *const FixedKey).cast::<lpm_trie::Key<[u8; 8]>>() })
    }

    #[inline(always)]
    fn slot(pool: u32, slot: usize) -> Option<Slot<Self>> {
        POOLS.get(pool)?.slots.get(slot).copied()
    }

    #[inline(always)]
    fn ask(tuple: &Tuple<Self>, fib: &mut bpf_fib_lookup) {
        fib.family = AF_INET;
        fib.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(tuple.source.0);
        fib.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(tuple.target.0);
    }
}

impl Maps for Ip6 {
    #[inline(always)]
    fn room() -> &'static PerCpuArray<Room<Self>> {
        &ROOM6
    }

    #[inline(always)]
    fn flows() -> &'static HashMap<FlowKey<Self>, Flow<Live, Self>> {
        &FLOWS6
    }

    #[inline(always)]
    fn mappings() -> &'static HashMap<MappingKey<Self>, Mapping<Self>> {
        &MAPPINGS6
    }

    #[inline(always)]
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragments> {
        &FRAGMENTS6
    }

    #[inline(always)]
    fn externals() -> &'static HashMap<Self, External> {
        &EXTERNALS6
    }

    #[inline(always)]
    fn class(key: &ClassKey<Self>) -> Option<&'static RuleSet> {
        const { assert!(size_of::<ClassKey<Ip6>>() == size_of::<lpm_trie::Key<[u8; 20]>>()) };
        // SAFETY: `ClassKey` is laid out as the trie's key: the bits that count, then bytes.
        CLASSES6.get(unsafe { &*(key as *const ClassKey<Ip6>).cast::<lpm_trie::Key<[u8; 20]>>() })
    }

    #[inline(always)]
    fn fixed(key: &FixedKey<Self>) -> Option<&'static Fixed> {
        const { assert!(size_of::<FixedKey<Ip6>>() == size_of::<lpm_trie::Key<[u8; 20]>>()) };
        // SAFETY: `FixedKey` is laid out as the trie's key: the bits that count, then bytes.
        FIXED6.get(unsafe { &*(key as *const FixedKey<Ip6>).cast::<lpm_trie::Key<[u8; 20]>>() })
    }

    #[inline(always)]
    fn slot(pool: u32, slot: usize) -> Option<Slot<Self>> {
        POOLS6.get(pool)?.0.get(slot).copied()
    }

    #[inline(always)]
    fn ask(tuple: &Tuple<Self>, fib: &mut bpf_fib_lookup) {
        match (tuple.source.ip4(), tuple.target.ip4()) {
            (Some(source), Some(target)) => Ip4::ask(
                &Tuple {
                    source,
                    target,
                    ..Tuple::default()
                },
                fib,
            ),
            _ => {
                fib.family = AF_INET6;
                fib.__bindgen_anon_3.ipv6_src = tuple.source.bits();
                fib.__bindgen_anon_4.ipv6_dst = tuple.target.bits();
            }
        }
    }
}

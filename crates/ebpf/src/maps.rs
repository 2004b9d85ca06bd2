//! The maps. Their names are `abi::map`'s; the loader refuses an object in which one is missing.

use abi::{
    Config, Counter, External, Flow, FlowKey, FragmentKey, Fragments, Holder, Interface, Ip4,
    Mapping, MappingKey, Numbered, Pool, PoolCounters, Rule, RuleSet, Shared, Stage, Told, Use,
    limits::{
        ADDRESSES_MAX, CLASSES_MAX, CLIENTS_MAX, ERROR_BUCKETS, EVENTS_BYTES, FLOWS_DEFAULT, FRAGMENTS_MAX, INTERFACES_MAX,
        POOLS_MAX, REASONS_MAX, RULE_NUMBERS, RULES_MAX,
    },
    ports::{BITMAPS, WORDS},
    quota,
};
use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use datapath::world::Beginning;

// Preallocated, so that a packet never waits for memory and an element is never unmapped under a
// reader. The loader sets the size that the configuration asks for.
#[map]
pub static FLOWS: HashMap<FlowKey, Flow> = HashMap::with_max_entries(2 * FLOWS_DEFAULT, 0);
#[map]
pub static MAPPINGS: HashMap<MappingKey, Mapping> = HashMap::with_max_entries(2 * FLOWS_DEFAULT, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Fragments> =
    LruHashMap::with_max_entries(FRAGMENTS_MAX as u32, 0);
// Mapped into the daemon's memory, so that it frees ports with the same atomic instructions with
// which the packet path claims them.
#[map]
pub static PORTS: Array<[Shared<u64>; WORDS]> =
    Array::with_max_entries(BITMAPS as u32, BPF_F_MMAPABLE);
#[map]
pub static EXTERNALS: HashMap<Ip4, External> = HashMap::with_max_entries(ADDRESSES_MAX as u32, 0);
#[map]
pub static CLASSES: LpmTrie<[u8; 12], RuleSet> = LpmTrie::with_max_entries(CLASSES_MAX as u32, 0);
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
pub static INTERFACES: HashMap<u32, Interface> =
    HashMap::with_max_entries(INTERFACES_MAX as u32, 0);
#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
pub static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(REASONS_MAX as u32, 0);
#[map]
pub static POOL_COUNTERS: PerCpuArray<PoolCounters> =
    PerCpuArray::with_max_entries(POOLS_MAX as u32, 0);
#[map]
pub static REMOVED: Array<[u64; 4]> = Array::with_max_entries(POOLS_MAX as u32, 0);
// Room for one packet; nothing of it lasts.
#[map]
pub static BEGINNING: PerCpuArray<Beginning> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static PLACE: PerCpuArray<Shared<u32>> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static STAGES: ProgramArray = ProgramArray::with_max_entries(Stage::ALL.len() as u32, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);
#[map]
pub static EVENTS_WANTED: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub static EVENTS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

//! Sweeps ended flows out of the tables, and frees the ports that nobody uses.
//!
//! Reads the tables in batches, lets [`gateway::Sweep`] judge, and removes what ended in batches.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use abi::{External, ExternalState, FlowKey, Ip4, Ip6, MappingKey, Prefix64, Protocol, Tick};
use gateway::{
    Bitmaps, Patience, Sweep, Swept,
    copies::{self, Shadow, Terms},
    intent::HoldDown,
    mappings::{Kept, Keys},
    quota::{Books, Judged, Quotas},
    sweep::{FlowState, Joined, Parts},
};
use kernel::{Tables, tables::In};

use crate::{quotas, replication::Replication, sessions::Sessions, world::Asked};

/// The time from one sweep to the next, if sweeping is quick.
pub const PERIOD: Duration = Duration::from_secs(1);
/// Sweeping takes at most this share of one CPU: a large table is swept less often.
const SHARE: u32 = 20;
/// Entries that are removed at once when their flows are logged.
const LOGGED_AT_ONCE: usize = 4096;
/// Entries of mappings that are removed at once.
const UNMAPPED_AT_ONCE: usize = 4096;

/// What one sweep is told.
pub struct Order {
    /// The key of the packet path's hashes.
    pub seed: u64,
    /// How long silent flows are kept.
    pub patience: Patience,
    /// How long freed ports are held back, by pool.
    pub holds: BTreeMap<u8, HoldDown>,
    /// The external addresses.
    pub externals: BTreeMap<Ip6, External>,
    /// The prefixes whose addresses stand for IPv4 ones.
    pub prefixes: Vec<Prefix64>,
    /// The numbers of pools that are not wanted any more.
    pub unwanted_pools: BTreeSet<u8>,
    /// Entries of mappings that are not removed whatever was found.
    pub asked: Asked,
    /// What rules allow.
    pub quotas: Quotas,
    /// The numbers of rules that are not wanted any more.
    pub unwanted_rules: BTreeSet<u16>,
    /// Who is told of flows that have ended.
    pub log: Sessions,
    /// What this gateway has to do with flows, where members of a cluster copy them to each other.
    pub copies: Option<Copies>,
}

/// How flows are copied.
pub struct Copies {
    /// By bucket, what this gateway has to do with its flows.
    pub parts: Box<Parts>,
    /// What numbers mean.
    pub terms: Arc<Terms>,
    /// Who is told what changed.
    pub told: Replication,
}

/// What one sweep did.
pub struct Report {
    /// What it found.
    pub swept: Swept,
    /// Entries of mappings that somebody asked for.
    pub asked: Keys,
    /// Entries it removed.
    pub removed: usize,
    /// Draining addresses that nobody uses any more.
    pub idle: BTreeSet<Ip6>,
    /// Unwanted pools that no flow is of any more.
    pub idle_pools: BTreeSet<u8>,
    /// Unwanted rules that nothing is left of.
    pub idle_rules: BTreeSet<u16>,
    /// What it came to about quotas.
    pub judged: Judged,
    /// How long it took.
    pub duration: Duration,
}

impl Report {
    /// When the next sweep is due, counted from the end of this one.
    pub fn pause(&self) -> Duration {
        let left: u64 = self.swept.flows.values().sum();
        let ended: u64 = self.swept.removed.values().flatten().sum();
        // What is gone will not be walked again: after a flood has ended, its ports are free soon.
        let share_left = left as f64 / (left + ended).max(1) as f64;
        PERIOD.max((self.duration * (SHARE - 1)).mul_f64(share_left))
    }
}

/// What a sweep leaves to the next.
#[derive(Debug, Default)]
pub struct Memory {
    bitmaps: Bitmaps,
    books: Books,
    shadow: Shadow,
    shadow6: Shadow,
}

/// Sweeps once.
///
/// # Errors
///
/// What `bpf(2)` says. What was removed until then is removed; the next sweep does the rest.
pub fn sweep(tables: &Tables, order: &Order, memory: &mut Memory) -> io::Result<Report> {
    let Memory {
        bitmaps,
        books,
        shadow,
        shadow6,
    } = memory;
    let began = Instant::now();
    let now = kernel::now();
    let opening = quotas::open(tables, &order.quotas)?;
    let (mut swept, mut swept6) = look(tables, order, now, (shadow, shadow6))?;
    swept.count(&swept6);

    let judged = quotas::judge(tables, &opening, &swept, books);
    spare_the_revived(tables, order, &mut swept)?;
    spare_the_revived(tables, order, &mut swept6)?;
    let mut removed = remove(tables, &swept.ended, &order.log)?;
    removed += remove(tables, &swept6.ended, &order.log)?;
    tables.flows.remove_all(&swept.moved)?;
    tables.flows6.remove_all(&swept6.moved)?;
    if let Some(Copies { terms, told, .. }) = &order.copies {
        let tick = Tick::from_nanos(now);
        let mut changes = copies::changes(&mut swept, terms, tick);
        changes.extend(copies::changes(&mut swept6, terms, tick));
        told.swept(changes, began);
    }
    unmap(tables, &swept.unmapped, &order.asked)?;
    unmap(tables, &swept6.unmapped, &order.asked)?;
    quotas::give_back(tables, &swept)?;
    quotas::give_back(tables, &swept6)?;
    quotas::correct(tables, &judged)?;
    count_removed(tables, &swept)?;
    let unused = idle_addresses(order, &swept);
    let words = |bitmap| tables.ports.words(bitmap);
    let addresses = (&order.externals, &order.holds);
    bitmaps.free(now, addresses, (&swept, &unused), words);
    let has_no_flow =
        |number: &u8| !swept.by_pool.contains_key(number) && !swept.kept_pools.contains(number);
    let idle_pools = order
        .unwanted_pools
        .iter()
        .copied()
        .filter(has_no_flow)
        .collect();
    let is_gone = |number: &u16| !swept.rules.contains(number);
    let idle_rules = order.unwanted_rules.iter().copied().filter(is_gone);
    Ok(Report {
        idle_rules: idle_rules.collect(),
        judged,
        asked: Keys {
            v4: swept.asked.clone(),
            v6: swept6.asked,
        },
        swept,
        removed,
        idle: unused,
        idle_pools,
        duration: began.elapsed(),
    })
}

/// Looks at all flows, and then at all mappings, of both kinds of addresses.
fn look(
    tables: &Tables,
    order: &Order,
    now: u64,
    (shadow, shadow6): (&mut Shadow, &mut Shadow),
) -> io::Result<(Swept, Swept<Ip6>)> {
    let mut wide = walk_flows::<Ip6>(tables, order, now, shadow6)?;
    let mut narrow = walk_flows::<Ip4>(tables, order, now, shadow)?;
    narrow.beside(&wide);
    walk_mappings(tables, &mut wide)?;
    walk_mappings(tables, &mut narrow)?;
    Ok((narrow.finish(), wide.finish()))
}

fn walk_flows<'a, A: In>(
    tables: &Tables,
    order: &'a Order,
    now: u64,
    shadow: &'a mut Shadow,
) -> io::Result<Sweep<'a, A>> {
    let sweep = Sweep::new((now, order.seed), order.patience.clone(), &order.externals);
    let sweep = match &order.copies {
        Some(copies) => sweep.dividing(&copies.parts, shadow),
        None => sweep,
    };
    let mut sweep = sweep
        .knowing(order.prefixes.iter().copied())
        .counting(order.quotas.keys().copied());
    A::flows(tables).walk(|keys, flows| sweep.flows(keys, flows))?;
    sweep.flows_done();
    Ok(sweep)
}

fn walk_mappings<A: In>(tables: &Tables, sweep: &mut Sweep<'_, A>) -> io::Result<()> {
    A::mappings(tables).walk(|keys, mappings| sweep.mappings(keys, mappings))
}

/// Removes entries of mappings that no flow uses, some at a time: meanwhile none can be asked for.
fn unmap<A: In + Kept>(
    tables: &Tables,
    unmapped: &[MappingKey<A>],
    asked: &Asked,
) -> io::Result<()> {
    for some in unmapped.chunks(UNMAPPED_AT_ONCE) {
        let asked = asked.lock();
        let idle = some.iter().filter(|key| !A::of(&asked).contains(*key));
        let some: Vec<_> = idle.copied().collect();
        A::mappings(tables).remove_all(&some)?;
    }
    Ok(())
}

/// Removes what ended, and tells the log. Its last words are read just before it goes, some at a
/// time: the table may hold more than memory should.
fn remove<A: In>(tables: &Tables, ended: &[FlowKey<A>], log: &Sessions) -> io::Result<usize> {
    if !log.wants_closed() {
        return A::flows(tables).remove_all(ended);
    }
    let mut removed = 0;
    let mut rest = ended;
    while !rest.is_empty() {
        let (mut flows, mut keys) = (Vec::new(), Vec::new());
        while let Some((one, behind)) = rest.split_first()
            && keys.len() < LOGGED_AT_ONCE
        {
            // Both directions of a flow stand side by side; half a flow stands alone, and is none.
            let pair = behind.split_first().and_then(|(other, behind)| {
                let flow = joined(tables, one, other).transpose()?;
                Some((flow, other, behind))
            });
            keys.push(*one);
            rest = behind;
            if let Some((flow, other, behind)) = pair {
                flows.push(flow?);
                keys.push(*other);
                rest = behind;
            }
        }
        removed += A::flows(tables).remove_all(&keys)?;
        log.closed(&flows);
    }
    Ok(removed)
}

/// The flow of two entries, if they are its two directions.
fn joined<A: In>(
    tables: &Tables,
    one: &FlowKey<A>,
    other: &FlowKey<A>,
) -> io::Result<Option<Joined<A>>> {
    let Some(protocol) = Protocol::from_number(one.protocol) else {
        return Ok(None);
    };
    let Some(first) = A::flows(tables).get(one)? else {
        return Ok(None);
    };
    if first.twin(protocol) != *other {
        return Ok(None);
    }
    let second = A::flows(tables).get(other)?;
    Ok(second.map(|second| Joined::new(protocol, (*one, first), (*other, second))))
}

/// Looks again at connections that were open: one that spoke just now, after hours of silence, is
/// worth the two system calls.
fn spare_the_revived<A: In>(
    tables: &Tables,
    order: &Order,
    swept: &mut Swept<A>,
) -> io::Result<()> {
    let now = kernel::now();
    let mut ended = Vec::with_capacity(swept.ended.len());
    for pair in swept.ended.chunks(2) {
        let [one, other] = pair else {
            ended.extend_from_slice(pair);
            continue;
        };
        if one.protocol == Protocol::Tcp as u8 && is_revived(tables, order, now, one, other)? {
            continue;
        }
        ended.extend([*one, *other]);
    }
    swept.ended = ended;
    Ok(())
}

fn is_revived<A: In>(
    tables: &Tables,
    order: &Order,
    now: u64,
    one: &FlowKey<A>,
    other: &FlowKey<A>,
) -> io::Result<bool> {
    let (Some(a), Some(b)) = (A::flows(tables).get(one)?, A::flows(tables).get(other)?) else {
        return Ok(false);
    };
    let flow = Joined::new(Protocol::Tcp, (*one, a), (*other, b));
    Ok(flow.state() == FlowState::Established && !flow.has_ended(&order.patience, now))
}

/// Adds what was removed to the counts in the tables, where a restart does not lose them.
fn count_removed(tables: &Tables, swept: &Swept) -> io::Result<()> {
    for (pool, removed) in &swept.removed {
        let index = u32::from(*pool);
        let mut counts = tables.removed.get(&index)?.unwrap_or_default();
        for (count, more) in counts.iter_mut().zip(removed) {
            *count += more;
        }
        tables.removed.put(&index, &counts)?;
    }
    Ok(())
}

fn idle_addresses(order: &Order, swept: &Swept) -> BTreeSet<Ip6> {
    let draining = order
        .externals
        .iter()
        .filter(|(_, external)| external.state() == Some(ExternalState::Draining));
    let is_idle = |address: &Ip6, external: &External| {
        let has_ports = external
            .bitmaps()
            .any(|(_, bitmap)| swept.used.is_used(bitmap));
        !swept.by_external.contains_key(address) && !has_ports
    };
    draining
        .filter(|(address, external)| is_idle(address, external))
        .map(|(a, _)| *a)
        .collect()
}

//! Quotas as a sweep keeps them: reads the slots, gives back what ended, does what
//! [`gateway::quota`] judges.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use abi::{
    Address, Holder, Tick, Use,
    quota::{SLOTS, TRIES, slot},
};
use gateway::{
    Swept,
    quota::{Amount, Books, Correction, Judged, Opening, Quotas},
};
use kernel::Tables;

/// What the slots say before a sweep walks the tables; nothing if no rule has a quota and nobody is
/// counted.
///
/// # Errors
///
/// What `bpf(2)` says.
pub fn open<'a>(tables: &Tables, quotas: &'a Quotas) -> io::Result<Opening<'a>> {
    let clients = tables.clients.all()?;
    Ok(Opening::new(quotas, clients, |slot| read(tables, slot)))
}

/// Compares the slots with what a sweep found. To be called before anything is removed.
pub fn judge(tables: &Tables, opening: &Opening, swept: &Swept, books: &mut Books) -> Judged {
    let now = Tick::from_nanos(kernel::now());
    let taken = (slot(0, 0)..SLOTS as u32).filter(|slot| tables.uses.at(*slot).taken.get() != 0);
    let read = |slot| read(tables, slot);
    books.judge(opening, &swept.held, (now, read), taken)
}

/// Gives back what the ended flows and mapped ports of one kind of address took, now that they are removed.
///
/// # Errors
///
/// What `bpf(2)` says. What was not given back until then is found too much by the next sweeps.
pub fn give_back<A: Address>(tables: &Tables, swept: &Swept<A>) -> io::Result<()> {
    let mut amounts: HashMap<Holder, Amount> = HashMap::new();
    for holder in swept.ended.iter().filter_map(|key| swept.owners.get(key)) {
        amounts.entry(*holder).or_default().flows -= 1;
    }
    for (holder, ports) in &swept.ports {
        amounts.entry(*holder).or_default().ports -= i64::from(*ports);
    }
    let mut rules: BTreeMap<u16, Amount> = BTreeMap::new();
    for (holder, Amount { flows, ports }) in amounts {
        let rule = rules.entry(holder.rule()).or_default();
        rule.flows += flows;
        rule.ports += ports;
        if let Some(slot) = tables.clients.get(&holder)? {
            tables.uses.at(slot).correct(flows, ports);
        }
    }
    for (rule, Amount { flows, ports }) in rules {
        tables.uses.at(u32::from(rule)).correct(flows, ports);
    }
    Ok(())
}

/// Does what was judged.
///
/// # Errors
///
/// What `bpf(2)` says. The next sweeps do the rest.
pub fn correct(tables: &Tables, judged: &Judged) -> io::Result<()> {
    for correction in &judged.corrections {
        match correction {
            Correction::Adjust(slot, Amount { flows, ports }) => {
                tables.uses.at(*slot).correct(*flows, *ports);
            }
            Correction::Enter(holder, amount) => enter(tables, holder, *amount)?,
            Correction::Forget(holder) => forget(tables, holder)?,
            Correction::Free(slot) => tables.uses.at(*slot).release(),
        }
    }
    Ok(())
}

/// Counts a client that is not counted; if no slot is free, it stays so.
fn enter(tables: &Tables, holder: &Holder, Amount { flows, ports }: Amount) -> io::Result<()> {
    let (high, low) = holder.client.words();
    let hash = (high ^ low ^ u64::from(holder.rule)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let mut slots = (0..TRIES).map(|step| slot(hash, step));
    let Some(free) = slots.find(|slot| tables.uses.at(*slot).claim()) else {
        return Ok(());
    };
    tables.uses.at(free).correct(flows, ports);
    match tables.clients.put_new(holder, &free) {
        Ok(true) => Ok(()),
        // The packet path was faster, and counts from nothing; the next sweeps find what it lacks.
        Ok(false) => {
            tables.uses.at(free).release();
            Ok(())
        }
        Err(error) => {
            tables.uses.at(free).release();
            Err(error)
        }
    }
}

/// Forgets a client's slot, unless something came to be counted there since it was looked at.
fn forget(tables: &Tables, holder: &Holder) -> io::Result<()> {
    let Some(slot) = tables.clients.get(holder)? else {
        return Ok(());
    };
    tables.clients.remove(holder)?;
    let held = tables.uses.at(slot).picture().held();
    if held.0 == 0 || tables.clients.put_new(holder, &slot)? {
        return Ok(());
    }
    // It has another slot already.
    if let Some(other) = tables.clients.get(holder)? {
        let Amount { flows, ports } = held.into();
        tables.uses.at(other).correct(flows, ports);
    }
    Ok(())
}

fn read(tables: &Tables, slot: u32) -> Use<abi::Picture> {
    tables.uses.at(slot).picture()
}

//! Keeps the counts of quotas true: what the slots say is in use is compared with what a sweep found.
//!
//! The packet path adds to a slot before it makes anything, the daemon subtracts what it removed. That
//! is exact as long as nobody dies between the two. What may be wrong all the same, because a daemon
//! was killed, because a rule that has flows was given a quota, or because a client's entry was
//! forgotten at the very moment when it came back, is found here: a difference that two sweeps in a
//! row find is no flow under way, and is corrected. Everything is derived from the tables, but for
//! what the last sweep found.

use std::collections::{BTreeMap, HashMap, HashSet};

use abi::{Holder, Load, Picture, Quota, Tick, Use};

/// What rules allow, by number; only those that allow less than everything.
pub type Quotas = BTreeMap<u16, Quota>;

/// Ticks after its last refusal in which a client counts as one that is being refused.
const QUIET: u32 = 10;

/// Flows and ports, more or less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Flows.
    pub flows: i64,
    /// Ports.
    pub ports: i64,
}

impl From<Load> for Amount {
    fn from(held: Load) -> Self {
        Self {
            flows: held.flows().into(),
            ports: held.ports().into(),
        }
    }
}

impl Amount {
    /// Adds as much.
    pub(crate) const fn add(&mut self, other: Self) {
        self.flows += other.flows;
        self.ports += other.ports;
    }

    /// What both of two differences agree about.
    fn common(self, other: Self) -> Self {
        let common = |one: i64, other: i64| match one.signum() == other.signum() {
            true => one.signum() * one.abs().min(other.abs()),
            false => 0,
        };
        Self {
            flows: common(self.flows, other.flows),
            ports: common(self.ports, other.ports),
        }
    }

    const fn is_nothing(self) -> bool {
        self.flows == 0 && self.ports == 0
    }
}

/// Whose use is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Account {
    /// All clients' of a rule.
    Rule(u16),
    /// A client's.
    Client(Holder),
}

/// What rules allow and what the slots said when a sweep began.
pub struct Opening<'a> {
    quotas: &'a Quotas,
    clients: Vec<(Holder, u32)>,
    held: HashMap<u32, Load>,
}

impl<'a> Opening<'a> {
    /// Reads the slots of these clients and of the rules that have a quota.
    pub fn new(
        quotas: &'a Quotas,
        clients: Vec<(Holder, u32)>,
        read: impl Fn(u32) -> Use<Picture>,
    ) -> Self {
        let rules = quotas.keys().map(|rule| u32::from(*rule));
        let slots = clients.iter().map(|(_, slot)| *slot).chain(rules);
        let held = slots.map(|slot| (slot, read(slot).held())).collect();
        Self {
            quotas,
            clients,
            held,
        }
    }
}

/// What is to be done to the tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Correction {
    /// Add this to a slot, or subtract it.
    Adjust(u32, Amount),
    /// Count a client that is not counted, and begin with this.
    Enter(Holder, Amount),
    /// Forget a client's slot.
    Forget(Holder),
    /// Give back a slot that is nobody's.
    Free(u32),
}

/// What a look at the slots came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// What is to be done.
    pub corrections: Vec<Correction>,
    /// Clients that have begun to be refused, and how many of their packets were.
    pub refused: Vec<(Holder, u64)>,
    /// Clients that were being refused and are not any more.
    pub relieved: Vec<Holder>,
}

/// A client that is being refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    packets: u64,
    /// The last tick in which it was, if it is not long ago.
    last: Option<Tick>,
}

/// What is remembered from one sweep to the next.
#[derive(Clone, Debug, Default)]
pub struct Books {
    differences: HashMap<Account, Amount>,
    idle: HashSet<Holder>,
    loose: HashSet<u32>,
    /// Nothing before the first sweep: what a predecessor counted it also told.
    refused: Option<HashMap<Holder, Refused>>,
}

impl Books {
    /// Compares the slots, as they are after the walk and before anything is removed, with what the
    /// walk `found`.
    pub fn judge(
        &mut self,
        opening: &Opening,
        found: &HashMap<Holder, Amount>,
        (now, read): (Tick, impl Fn(u32) -> Use<Picture>),
        taken: impl Iterator<Item = u32>,
    ) -> Judged {
        let mut judged = Judged::default();
        let mut slots: HashMap<u32, Holder> = HashMap::new();
        let mut owners = HashMap::new();
        for (holder, slot) in &opening.clients {
            match slots.insert(*slot, *holder) {
                None => drop(owners.insert(*holder, *slot)),
                // Two clients in one slot: each is counted by itself when it is found uncounted.
                Some(first) => judged
                    .corrections
                    .extend([first, *holder].map(Correction::Forget)),
            }
        }
        let differences = differences(opening, &owners, found, &read);
        for (account, amount) in &differences {
            let before = self.differences.get(account).copied().unwrap_or_default();
            let amount = amount.common(before);
            if amount.is_nothing() {
                continue;
            }
            judged.corrections.push(match account {
                Account::Rule(rule) => Correction::Adjust(u32::from(*rule), amount),
                Account::Client(holder) => match owners.get(holder) {
                    Some(slot) => Correction::Adjust(*slot, amount),
                    None => Correction::Enter(*holder, amount),
                },
            });
        }
        // What was just corrected is right; one that is found twice again is another.
        let is_new = |account: &Account, amount: &Amount| {
            let before = self.differences.get(account).copied().unwrap_or_default();
            amount.common(before).is_nothing()
        };
        self.differences = differences
            .into_iter()
            .filter(|(account, amount)| is_new(account, amount))
            .collect();

        self.forget(opening.quotas, &owners, (now, &read), &mut judged);
        self.free(&slots, taken, &mut judged);
        self.tell(&owners, (now, &read), &mut judged);
        judged
    }

    /// Forgets clients that two sweeps in a row found without anything, and those of rules that count
    /// no clients any more.
    fn forget(
        &mut self,
        quotas: &Quotas,
        owners: &HashMap<Holder, u32>,
        (now, read): (Tick, impl Fn(u32) -> Use<Picture>),
        judged: &mut Judged,
    ) {
        let quota = |holder: &Holder| {
            let quota = quotas.get(&holder.rule());
            quota.filter(|quota| quota.counts_clients())
        };
        let mut idle = HashSet::new();
        for (holder, slot) in owners {
            let is_idle = match quota(holder) {
                Some(quota) => read(*slot).is_fresh(quota.refill, now),
                None => true,
            };
            if !is_idle {
                continue;
            }
            idle.insert(*holder);
            if self.idle.contains(holder) {
                if quota(holder).is_none() {
                    let Amount { flows, ports } = read(*slot).held().into();
                    let nothing = Amount {
                        flows: -flows,
                        ports: -ports,
                    };
                    judged.corrections.push(Correction::Adjust(*slot, nothing));
                }
                judged.corrections.push(Correction::Forget(*holder));
            }
        }
        self.idle = idle;
    }

    /// Frees slots that are taken, and that two sweeps in a row found to be nobody's: one sweep after
    /// a client was forgotten no packet is left that read its slot before.
    fn free(
        &mut self,
        slots: &HashMap<u32, Holder>,
        taken: impl Iterator<Item = u32>,
        judged: &mut Judged,
    ) {
        let loose: HashSet<u32> = taken.filter(|slot| !slots.contains_key(slot)).collect();
        let twice = loose.intersection(&self.loose).copied();
        judged.corrections.extend(twice.map(Correction::Free));
        self.loose = loose;
    }

    fn tell(
        &mut self,
        owners: &HashMap<Holder, u32>,
        (now, read): (Tick, impl Fn(u32) -> Use<Picture>),
        judged: &mut Judged,
    ) {
        let before = self.refused.take();
        let is_first = before.is_none();
        let before = before.unwrap_or_default();
        let mut after = HashMap::new();
        for (holder, slot) in owners {
            let packets = read(*slot).refused;
            let known = before.get(holder).copied();
            let known = known.unwrap_or(Refused {
                packets: if is_first { packets } else { 0 },
                last: None,
            });
            let more = packets.saturating_sub(known.packets);
            let last = match known.last {
                _ if more > 0 => Some(now),
                Some(last) if now.0.saturating_sub(last.0) <= QUIET => Some(last),
                Some(_) | None => None,
            };
            match (known.last, last) {
                (None, Some(_)) => judged.refused.push((*holder, more)),
                (Some(_), None) => judged.relieved.push(*holder),
                (None, None) | (Some(_), Some(_)) => {}
            }
            if packets > 0 {
                after.insert(*holder, Refused { packets, last });
            }
        }
        let gone = before
            .iter()
            .filter(|(holder, it)| it.last.is_some() && !owners.contains_key(holder));
        judged.relieved.extend(gone.map(|(holder, _)| *holder));
        self.refused = Some(after);
    }
}

/// By how much the slots must change to say what was found.
///
/// What was counted when the walk began and was not found is too much; what was found and is not
/// counted now is too little. What began or ended meanwhile is neither.
fn differences(
    opening: &Opening,
    owners: &HashMap<Holder, u32>,
    found: &HashMap<Holder, Amount>,
    read: &impl Fn(u32) -> Use<Picture>,
) -> HashMap<Account, Amount> {
    let quotas = opening.quotas;
    let mut differences = HashMap::new();
    let mut compare = |account, slot: Option<u32>, found: Amount| {
        let before = slot.and_then(|slot| opening.held.get(&slot).copied());
        let (before, after) = (before.unwrap_or_default(), slot.map(read));
        let after = after.map_or(Load::default(), |it| it.held());
        let differ = |before: u32, after: u32, found: i64| {
            let (before, after) = (i64::from(before), i64::from(after));
            (found - before).min(0) + (found - after).max(0)
        };
        let amount = Amount {
            flows: differ(before.flows(), after.flows(), found.flows),
            ports: differ(before.ports(), after.ports(), found.ports),
        };
        if !amount.is_nothing() {
            differences.insert(account, amount);
        }
    };
    let counts = |rule: u16| quotas.get(&rule).is_some_and(Quota::counts_clients);
    for (holder, slot) in owners.iter().filter(|(holder, _)| counts(holder.rule())) {
        let found = found.get(holder).copied().unwrap_or_default();
        compare(Account::Client(*holder), Some(*slot), found);
    }
    let mut totals: BTreeMap<u16, Amount> = BTreeMap::new();
    for (holder, amount) in found {
        let total = totals.entry(holder.rule()).or_default();
        total.flows += amount.flows;
        total.ports += amount.ports;
        if counts(holder.rule()) && !owners.contains_key(holder) {
            compare(Account::Client(*holder), None, *amount);
        }
    }
    for (rule, _) in quotas.iter().filter(|(_, quota)| !quota.total.is_none()) {
        let found = totals.get(rule).copied().unwrap_or_default();
        compare(Account::Rule(*rule), Some(u32::from(*rule)), found);
    }
    differences
}

#[cfg(test)]
mod tests;

//! How many flows and ports the clients of a rule may have, and how many they have.
//!
//! A rule has a number that stays while anything of it is left, whatever becomes of the policy: flows
//! and mappings carry it. Under that number stand its name and its [`Quota`]. What is in use stands in
//! slots ([`Use`]), one for each rule and one for each client of a rule whose quota speaks of clients.
//! The packet path adds to a slot before it makes anything, and the daemon subtracts what it removed,
//! both by atomic instructions on the same words: so a count is never another one's guess.

use crate::{
    Address, Ip6, Live, Picture, Shared, Tick, View,
    limits::{CLIENT_SLOTS, NAME_BYTES, RULE_NUMBERS},
};

/// What may be in use at one time; zero is no limit.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Flows.
    pub flows: u32,
    /// External ports.
    pub ports: u32,
}

impl Limits {
    /// Whether nothing is limited.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.flows == 0 && self.ports == 0
    }

    /// What would be exceeded by taking `more` when so much is in use.
    #[inline(always)]
    pub const fn exceeded(&self, held: Load, more: Load) -> Option<Exceeded> {
        if self.flows != 0 && more.flows() != 0 && held.flows() >= self.flows {
            return Some(Exceeded::Flows);
        }
        if self.ports != 0 && more.ports() != 0 && held.ports() >= self.ports {
            return Some(Exceeded::Ports);
        }
        None
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exceeded {
    /// That of flows.
    Flows,
    /// That of ports.
    Ports,
}

/// What a rule allows; zeroed memory allows everything.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// All its clients together.
    pub total: Limits,
    /// Each of its clients.
    pub client: Limits,
    /// What a client may begin anew after a tick, in [`FLOW`]ths of a flow; zero is no limit.
    pub refill: u32,
    /// What a client may begin at once after a pause, in the same unit; never less than `refill`.
    pub burst: u32,
}

/// Parts of a flow in which rates are counted, because a tick is not a second.
pub const FLOW: u32 = 1024;

/// The largest rate and burst, in flows: with [`FLOW`] parts to each, sums stay within a word's half.
pub const RATE_MAX: u32 = 1_000_000;

impl Quota {
    /// No limit at all.
    pub const NONE: Self = Self {
        total: Limits { flows: 0, ports: 0 },
        client: Limits { flows: 0, ports: 0 },
        refill: 0,
        burst: 0,
    };

    /// The same with a limit of new flows for each client: `rate` a second in the long run, `burst`
    /// at once.
    pub const fn with_rate(self, rate: u32, burst: u32) -> Self {
        let parts = rate as u64 * FLOW as u64 * Tick::NANOS;
        let refill = parts.div_ceil(1_000_000_000) as u32;
        let burst = burst * FLOW;
        Self {
            refill,
            burst: if burst < refill { refill } else { burst },
            ..self
        }
    }

    /// Whether nothing is limited.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.total.is_none() && !self.counts_clients()
    }

    /// Whether each client is counted by itself.
    #[inline(always)]
    pub const fn counts_clients(&self) -> bool {
        !self.client.is_none() || self.refill != 0
    }
}

/// What stands under a rule's number.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbered {
    /// The rule's name, for the daemon that comes after: UTF-8, zero-padded; empty if the number is
    /// free.
    pub name: [u8; NAME_BYTES],
    /// What the rule allows.
    pub quota: Quota,
}

impl Numbered {
    /// A number that is no rule's.
    pub const FREE: Self = Self {
        name: [0; NAME_BYTES],
        quota: Quota::NONE,
    };
}

/// A client of a rule.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Holder {
    /// Its address, of either version.
    pub client: Ip6,
    /// The rule's number.
    pub rule: u32,
    _pad: u32,
}

impl Holder {
    /// A client of the rule with this number.
    #[inline(always)]
    pub fn new<A: Address>(rule: u16, client: A) -> Self {
        Self {
            client: client.wide(),
            rule: rule as u32,
            _pad: 0,
        }
    }

    /// The rule's number.
    #[inline(always)]
    pub const fn rule(&self) -> u16 {
        self.rule as u16
    }
}

/// Flows and ports, in one word so that both are taken and given back at once.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load(pub u64);

impl Load {
    /// So many.
    #[inline(always)]
    pub const fn new(flows: u32, ports: u32) -> Self {
        Self(flows as u64 | (ports as u64) << 32)
    }

    /// Flows.
    #[inline(always)]
    pub const fn flows(self) -> u32 {
        self.0 as u32
    }

    /// Ports.
    #[inline(always)]
    pub const fn ports(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What is in use in a slot.
#[repr(C)]
#[derive(Debug)]
pub struct Use<V: View = Live> {
    /// See [`Load`].
    pub held: V::W64,
    /// When it was last filled (the tick, high half), and what of the burst is spent (low half).
    pub bucket: V::W64,
    /// Packets that were refused.
    pub refused: V::W64,
    /// Not zero if the slot is a client's, or about to be.
    pub taken: V::W64,
}

impl Default for Use {
    fn default() -> Self {
        Self {
            held: Shared::from(0),
            bucket: Shared::from(0),
            refused: Shared::from(0),
            taken: Shared::from(0),
        }
    }
}

impl Use {
    /// Takes the slot for a client; `false` if it is taken.
    #[inline(always)]
    pub fn claim(&self) -> bool {
        self.taken.fetch_or(1) == 0
    }

    /// Gives the slot back, with nothing in it.
    #[inline(always)]
    pub fn release(&self) {
        self.held.set(0);
        self.bucket.set(0);
        self.refused.set(0);
        self.taken.fetch_and(0);
    }

    /// Takes `more`, unless that would exceed a limit.
    ///
    /// It is added before it is compared, so however many CPUs take at once, no more than the limit
    /// is ever granted.
    #[inline(always)]
    pub fn take(&self, limits: &Limits, more: Load) -> Option<Exceeded> {
        let held = Load(self.held.fetch_add(more.0));
        let exceeded = limits.exceeded(held, more);
        if exceeded.is_some() {
            self.give_back(more);
        }
        exceeded
    }

    /// Gives back what was taken.
    #[inline(always)]
    pub fn give_back(&self, held: Load) {
        self.held.fetch_add(held.0.wrapping_neg());
    }

    /// Spends what one new flow costs; `false` if there is not enough left.
    ///
    /// CPUs that spend the last of it at once may overdraw it; then they are refused too, and the
    /// client waits that much longer.
    #[inline(always)]
    pub fn spend(&self, quota: &Quota, now: Tick) -> bool {
        let word = self.bucket.get();
        let mut spent = word as u32;
        let ticks = now.0.wrapping_sub((word >> 32) as u32);
        if ticks != 0 {
            spent = left(spent, ticks, quota.refill);
            // If another CPU was faster, it has filled it.
            self.bucket
                .replace(word, (now.0 as u64) << 32 | spent as u64);
        }
        if spent as u64 + FLOW as u64 > quota.burst as u64 {
            return false;
        }
        let before = self.bucket.fetch_add(FLOW as u64) as u32;
        before as u64 + FLOW as u64 <= quota.burst as u64
    }

    /// A copy of this moment.
    pub fn picture(&self) -> Use<Picture> {
        Use {
            held: self.held.get(),
            bucket: self.bucket.get(),
            refused: self.refused.get(),
            taken: self.taken.get(),
        }
    }

    /// Adds to what is in use what it lacks, or subtracts what is too much, but never below zero.
    pub fn correct(&self, flows: i64, ports: i64) {
        loop {
            let word = self.held.get();
            let (held, sum) = (Load(word), |count: u32, more: i64| {
                (count as i64 + more).clamp(0, u32::MAX as i64) as u32
            });
            let right = Load::new(sum(held.flows(), flows), sum(held.ports(), ports));
            if self.held.replace(word, right.0) {
                return;
            }
        }
    }
}

impl Clone for Use<Picture> {
    fn clone(&self) -> Self {
        *self
    }
}
impl Copy for Use<Picture> {}
impl PartialEq for Use<Picture> {
    fn eq(&self, other: &Self) -> bool {
        (self.held, self.bucket, self.refused, self.taken)
            == (other.held, other.bucket, other.refused, other.taken)
    }
}
impl Eq for Use<Picture> {}

impl Use<Picture> {
    /// What is in use.
    pub const fn held(&self) -> Load {
        Load(self.held)
    }

    /// Whether a client that comes back now finds what one finds that comes for the first time.
    pub const fn is_fresh(&self, refill: u32, now: Tick) -> bool {
        let ticks = now.0.wrapping_sub((self.bucket >> 32) as u32);
        self.held == 0 && left(self.bucket as u32, ticks, refill) == 0
    }
}

/// What is still spent after so many ticks.
#[inline(always)]
const fn left(spent: u32, ticks: u32, refill: u32) -> u32 {
    let filled = ticks as u64 * refill as u64;
    if filled > spent as u64 {
        0
    } else {
        spent - filled as u32
    }
}

/// Slots that are looked at for a client that has none. Half of all slots at most are taken, so that
/// all of these are is a matter of one in four thousand million.
pub const TRIES: u32 = 32;

/// The slot to try in this step for a client with this hash.
#[inline(always)]
pub const fn slot(hash: u64, step: u32) -> u32 {
    let place = (hash as u32).wrapping_add(step) % CLIENT_SLOTS as u32;
    RULE_NUMBERS as u32 + place
}

/// Slots of rules and of clients.
pub const SLOTS: usize = RULE_NUMBERS + CLIENT_SLOTS;

const _: () = assert!(size_of::<Quota>() == 24);
const _: () = assert!(size_of::<Numbered>() == NAME_BYTES + size_of::<Quota>());
const _: () = assert!(size_of::<Holder>() == 24);
const _: () = assert!(size_of::<Use>() == 32, "two slots in a cache line");
const _: () = assert!(size_of::<Use>() == size_of::<Use<Picture>>());
const _: () = assert!(RULE_NUMBERS <= 1 << 16, "a flow has 16 bits for its rule");
const _: () = assert!((RATE_MAX as u64 * FLOW as u64) < 1 << 31);

#[cfg(test)]
mod tests;

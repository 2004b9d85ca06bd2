//! The session log: tells every sink that the configuration names which flows began and ended.
//!
//! Nobody waits for a sink: each has a bounded queue and a thread of its own, and what finds no
//! room there, or cannot be written, is counted. What is said and how stands in [`sessions`].
//!
//! ```text
//! driver: events of the packet path ─┐            ┌─ queue ─ thread ─ journal: files, indexes
//! sweeper: flows that it ends ───────┴─ scribe ───┼─ queue ─ thread ─ syslog
//!                                                 └─ queue ─ thread ─ ipfix
//! ```

mod ipfix;
pub mod journal;
mod outlet;
mod scribe;
mod syslog;
pub mod tally;

use std::{
    borrow::Cow,
    fs,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use abi::{Address, Ip6, Opened};
use gateway::{
    intent::{Intent, SessionLog},
    numbers::Numbers,
    sweep::Joined,
};
use sessions::{Assignment, Record, Sieve, Time};

pub use outlet::Write;
pub use scribe::Clock;

use journal::Journal;
use outlet::Outlet;
use scribe::Pools;
use tally::{Sink, Tally};

/// The session log, for everybody who tells it something or asks it.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tally: Arc<Tally>,
    pools: RwLock<Pools>,
    /// The blocks of ports that are in force, by which some flows need no record.
    sieve: RwLock<Arc<Sieve>>,
    outlets: RwLock<Outlets>,
}

/// What the configuration in force asks for.
#[derive(Default)]
struct Outlets {
    config: Option<SessionLog>,
    journal: Option<Arc<Journal>>,
    file: Option<Outlet>,
    syslog: Option<Outlet>,
    ipfix: Option<Outlet>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let config = &self.outlets().config;
        f.debug_struct("Sessions").field("config", config).finish()
    }
}

impl Sessions {
    /// Opens and closes sinks until they are as they are wanted. Those that stay as they are lose
    /// nothing.
    pub fn configure(&self, wanted: Option<&SessionLog>) {
        let mut outlets = self.write_outlets();
        let Outlets { config, .. } = &*outlets;
        let (old, new) = (
            config.clone().unwrap_or(NONE),
            wanted.cloned().unwrap_or(NONE),
        );
        let tally = &self.0.tally;
        if old.file != new.file {
            // The next one may write to the same file, so this one must have ended.
            end(outlets.file.take());
            outlets.journal = new.file.map(|file| Arc::new(Journal::new(file)));
            outlets.file = outlets
                .journal
                .clone()
                .map(|journal| Outlet::start(Sink::File, tally, journal::Writer::new(journal)));
            self.assign_to(outlets.file.as_ref());
        }
        if old.syslog != new.syslog {
            let_end(outlets.syslog.take());
            outlets.syslog = new.syslog.map(|target| {
                Outlet::start(Sink::Syslog, tally, syslog::Writer::new(target, &host()))
            });
            self.assign_to(outlets.syslog.as_ref());
        }
        if old.ipfix != new.ipfix {
            let_end(outlets.ipfix.take());
            outlets.ipfix = new
                .ipfix
                .map(|collector| Outlet::start(Sink::Ipfix, tally, ipfix::Writer::new(collector)));
        }
        outlets.config = wanted.cloned();
    }

    /// Writes what waits, and ends all sinks.
    pub fn end(&self) {
        let mut outlets = std::mem::take(&mut *self.write_outlets());
        // All begin to end before the first is waited for.
        let sinks = [
            outlets.file.take(),
            outlets.syslog.take(),
            outlets.ipfix.take(),
        ];
        for outlet in sinks.iter().flatten() {
            outlet.begin_to_end();
        }
        sinks.into_iter().for_each(end);
    }

    /// Has it said which blocks of ports are whose own, if that is not what was said last: they are in
    /// force from now on.
    pub fn assign(&self, intent: &Intent) {
        let assignment = scribe::assignment(intent, Clock::now().wall());
        let before = Arc::clone(self.sieve().assignment());
        // The first thing that is said is so whatever it is: it may end what a predecessor said.
        if before.time != Time::MIN && before.pools == assignment.pools {
            return;
        }
        let assignment = Arc::new(assignment);
        // First the sinks: no flow is spared of which they were not told why.
        let outlets = self.outlets();
        for outlet in [&outlets.file, &outlets.syslog].into_iter().flatten() {
            outlet.assign(&assignment);
        }
        let mut sieve = self.0.sieve.write().unwrap_or_else(PoisonError::into_inner);
        *sieve = Arc::new(Sieve::new(assignment));
    }

    /// The blocks that are in force.
    pub fn assignment(&self) -> Arc<Assignment> {
        Arc::clone(self.sieve().assignment())
    }

    /// Tells a sink that has just begun.
    fn assign_to(&self, outlet: Option<&Outlet>) {
        let assignment = self.assignment();
        if let Some(outlet) = outlet.filter(|_| assignment.time != Time::MIN) {
            outlet.assign(&assignment);
        }
    }

    fn sieve(&self) -> Arc<Sieve> {
        let sieve = self.0.sieve.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&sieve)
    }

    /// Takes note of what pools are called.
    pub fn name_pools(&self, numbers: &Numbers) {
        let mut pools = self.0.pools.write().unwrap_or_else(PoisonError::into_inner);
        *pools = Pools::of(numbers);
    }

    /// Whether it is of interest that flows begin.
    pub fn wants_opened(&self) -> bool {
        let config = &self.outlets().config;
        config.as_ref().is_some_and(|config| config.opened)
    }

    /// Whether it is of interest that flows end.
    pub fn wants_closed(&self) -> bool {
        let config = &self.outlets().config;
        config.as_ref().is_some_and(|config| config.closed)
    }

    /// Says that flows began.
    pub fn opened(&self, events: &[Opened<Ip6>]) {
        if events.is_empty() || !self.wants_opened() {
            return;
        }
        let clock = Clock::now();
        let records = self.pools().opened(events, &clock);
        self.tell(&records);
    }

    /// Says that flows ended.
    pub fn closed<A: Address>(&self, flows: &[Joined<A>]) {
        if flows.is_empty() {
            return;
        }
        let clock = Clock::now();
        let records = self.pools().closed(flows, &clock);
        self.tell(&records);
    }

    /// What was written and lost, since the daemon started.
    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// What is in the files, if there are any.
    pub fn journal(&self) -> Option<Arc<Journal>> {
        self.outlets().journal.clone()
    }

    /// What pools are called.
    pub fn pools(&self) -> Pools {
        let pools = self.0.pools.read().unwrap_or_else(PoisonError::into_inner);
        pools.clone()
    }

    /// Tells file and syslog what the blocks do not say, and collectors, who are told no blocks, all.
    fn tell(&self, records: &[Record]) {
        let outlets = self.outlets();
        if let Some(ipfix) = &outlets.ipfix {
            ipfix.push(records);
        }
        let sinks = [&outlets.file, &outlets.syslog];
        if sinks.iter().all(|sink| sink.is_none()) {
            return;
        }
        let sieve = self.sieve();
        let mut said = Cow::Borrowed(records);
        if records.iter().any(|record| sieve.spares(record)) {
            let (spared, others): (Vec<_>, _) =
                (records.iter().cloned()).partition(|record| sieve.spares(record));
            spared.iter().for_each(|record| self.0.tally.spare(record));
            said = Cow::Owned(others);
        }
        for outlet in sinks.into_iter().flatten() {
            outlet.push(&said);
        }
    }

    fn outlets(&self) -> RwLockReadGuard<'_, Outlets> {
        let outlets = self.0.outlets.read();
        outlets.unwrap_or_else(PoisonError::into_inner)
    }

    fn write_outlets(&self) -> std::sync::RwLockWriteGuard<'_, Outlets> {
        let outlets = self.0.outlets.write();
        outlets.unwrap_or_else(PoisonError::into_inner)
    }
}

/// No log at all.
const NONE: SessionLog = SessionLog {
    opened: false,
    closed: false,
    file: None,
    syslog: None,
    ipfix: None,
};

fn end(outlet: Option<Outlet>) {
    if let Some(outlet) = outlet {
        outlet.end();
    }
}

/// Lets a sink end in its own time: a receiver that does not answer must not keep anybody waiting.
fn let_end(outlet: Option<Outlet>) {
    if let Some(outlet) = outlet {
        outlet.begin_to_end();
    }
}

/// What syslog messages call this host.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests;

//! The sweeps of the driver: what they are told, and what comes of them.

use std::{
    net::Ipv6Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use abi::Holder;
use gateway::{Event, quota::Judged};

use super::{CLIENTS_TOLD, Driver, DriverError, Sweeping, counted};
use crate::sweeper::{self, Copies, Memory, Order, Report};

impl Driver {
    /// Begins a sweep, unless one is under way.
    pub(super) fn begin_sweep(&mut self) -> Option<Sweeping> {
        let mut memory = self.memory.take()?;
        let tables = self.world.tables().clone();
        let order = Order {
            seed: self.gateway.seed(),
            holds: self.gateway.holds(),
            patience: self.gateway.patience()?,
            externals: self.gateway.numbers().externals.clone(),
            prefixes: self.gateway.intent()?.prefixes.clone(),
            unwanted_pools: self.gateway.unwanted_pools(),
            asked: self.world.asked().clone(),
            quotas: self.gateway.quotas(),
            unwanted_rules: self.gateway.unwanted_rules(),
            log: self.sessions.clone(),
            copies: self.copies(),
        };
        Some(tokio::task::spawn_blocking(move || {
            let report = sweeper::sweep(&tables, &order, &mut memory);
            (memory, report)
        }))
    }

    /// Takes in what a sweep did; says when the next one is due.
    pub(super) fn end_sweep(
        &mut self,
        done: Result<(Memory, std::io::Result<Report>), tokio::task::JoinError>,
    ) -> Result<Duration, DriverError> {
        let (memory, report) = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a sweep broke off; the next one begins anew");
                self.memory = Some(Memory::default());
                return Ok(sweeper::PERIOD);
            }
        };
        self.memory = Some(memory);
        let now = kernel::now();
        for alarm in self
            .alarms
            .check(now, |reason| counted(self.world.tables(), reason))
        {
            tracing::warn!(
                reason = alarm.reason.label(),
                packets = alarm.packets,
                "{}",
                alarm.reason.help()
            );
        }
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                tracing::error!(%error, "a sweep failed; the next one does the rest");
                return Ok(sweeper::PERIOD);
            }
        };
        let pause = report.pause();
        self.tell_of_quotas(&report.judged);
        for event in [
            Event::Idle(report.idle),
            Event::PoolsIdle(report.idle_pools),
            Event::RulesIdle(report.idle_rules),
            Event::Swept(now, report.asked),
        ] {
            let actions = self.gateway.handle(event)?;
            self.act(actions)?;
        }
        let ended: u64 = report.swept.removed.values().flatten().sum();
        self.shared.update(|view| {
            view.sweep.passes += 1;
            view.sweep.expired += ended;
            view.sweep.orphans += report.swept.orphans;
            view.sweep.duration = Some(report.duration);
            view.sweep.last = Arc::new(report.swept);
        });
        Ok(pause)
    }

    /// Says which clients have begun to be refused for their quotas, and which are not any more.
    fn tell_of_quotas(&self, judged: &Judged) {
        let numbers = self.gateway.numbers();
        let named = |holder: &Holder| {
            let rule = numbers.rule_name(holder.rule()).unwrap_or("(removed)");
            (
                rule.to_owned(),
                Ipv6Addr::from(holder.client.0).to_canonical(),
            )
        };
        for (holder, packets) in judged.refused.iter().take(CLIENTS_TOLD) {
            let (rule, client) = named(holder);
            tracing::warn!(rule, %client, packets, "a client is refused flows: its quota is reached");
        }
        for holder in judged.relieved.iter().take(CLIENTS_TOLD) {
            let (rule, client) = named(holder);
            tracing::info!(rule, %client, "a client is not refused flows any more");
        }
        let more = |count: usize| count.saturating_sub(CLIENTS_TOLD);
        let (refused, relieved) = (more(judged.refused.len()), more(judged.relieved.len()));
        if refused + relieved > 0 {
            tracing::warn!(refused, relieved, "as many more clients");
        }
    }

    /// How flows are copied, if they are and it is known who serves which.
    fn copies(&self) -> Option<Copies> {
        let custody = self.shared.ways.custody().borrow().clone()?;
        Some(Copies {
            parts: Box::new(custody.parts((Instant::now(), kernel::now()))),
            terms: self.shared.replication.wanted().terms,
            told: self.shared.replication.clone(),
        })
    }
}

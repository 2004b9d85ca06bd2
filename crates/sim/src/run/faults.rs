//! How faults come about, and whom they excuse.
//!
//! Every connection must work and survive unless it has an excuse: its flow was on a gateway that died, or it
//! began while gateways did not know yet who is there. What operators do excuses nobody.

use std::{collections::BTreeSet, time::Duration};

use abi::{Side, cluster::bucket_of};
use gateway::cluster::ABSENCE;

use super::{Event, Run, deeds::holds};
use crate::{
    faults::Fault,
    hosts::{Connection, End},
    member::{Member, Power},
    plan::Profile,
    trace::Entry,
};

/// How long a flow may take to be copied to another member.
const LAG: Duration = Duration::from_secs(3);

/// How long a packet is on its way at most, and news of a change: the last of what is handed over is found by a sweep.
const FLIGHT: Duration = Duration::from_secs(4);

/// A step of a fault that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is over.
    End,
    /// Routers are told to send nothing to the gateway.
    Withdraw,
    /// The gateway is switched on again.
    Boot,
    /// The configuration is put in force on this gateway.
    Configure(usize),
}

/// What is not as it should be.
#[derive(Debug)]
pub struct Unrest {
    /// Gateways to which something happens.
    busy: Vec<bool>,
    /// Those among them that serve and do not hear what happens to others.
    stale: Vec<bool>,
    /// What goes on that gateways cannot come to terms with.
    disturbances: u32,
    /// Until when gateways may be wrong about each other.
    until: Duration,
    /// Until when what an operator did takes effect.
    changing_until: Duration,
    /// Changes that there were so far.
    changes: u32,
    /// When the last one was.
    changed_at: Duration,
    /// How many there had been when a gateway was drained last; nothing if they were not over.
    drained_at: Vec<Option<u32>>,
    /// Clients' ends of which something is left from before gateways found each other again, by protocol.
    remnants: BTreeSet<(u8, End)>,
}

impl Unrest {
    /// All is well.
    pub fn new(members: usize) -> Self {
        Self {
            busy: vec![false; members],
            stale: vec![false; members],
            disturbances: 0,
            until: Duration::ZERO,
            changing_until: Duration::ZERO,
            changes: 0,
            changed_at: Duration::ZERO,
            drained_at: vec![None; members],
            remnants: BTreeSet::new(),
        }
    }

    /// Why a connection that begins now may fail.
    pub fn excuse(&self, now: Duration) -> Option<&'static str> {
        let is_stale = self.stale.contains(&true);
        let is_unsettled = self.disturbances > 0 || is_stale || now < self.until;
        is_unsettled.then_some("it began while gateways did not know who is there")
    }

    /// Whether packets may be on their way that set out before the last change.
    pub fn is_change_new(&self, now: Duration) -> bool {
        now < self.changed_at + FLIGHT
    }

    /// Whether nothing happens to any gateway but this one.
    fn is_calm(&self, now: Duration, member: Option<usize>) -> bool {
        let mut others = self.busy.iter().enumerate();
        let is_alone = others.all(|(index, it)| !*it || Some(index) == member);
        self.excuse(now).is_none() && is_alone && now >= self.changing_until
    }

    fn set_stale(&mut self, member: usize, is_stale: bool) {
        if let Some(stale) = self.stale.get_mut(member) {
            *stale = is_stale;
        }
    }

    fn set_busy(&mut self, member: usize, is_busy: bool) {
        if let Some(busy) = self.busy.get_mut(member) {
            *busy = is_busy;
        }
    }
}

impl Run {
    /// A fault of the plan is to begin.
    pub(super) fn begin_fault(&mut self, number: usize) {
        let Some((_, fault)) = self.plan.faults.get(number).copied() else {
            return;
        };
        let is_busy = |member: usize| self.unrest.busy.get(member).copied().unwrap_or(true);
        if fault.member().is_some_and(is_busy) {
            return self.note(Entry::Skipped(number));
        }
        self.note(Entry::Begins(number));
        if let Some(count) = self.report.faults.get_mut(fault.kind()) {
            *count += 1;
        }
        let was_calm = self.unrest.is_calm(self.now, None);
        if fault.is_gentle() {
            self.change(&fault, was_calm);
        }
        if let Some(member) = fault.member() {
            self.unrest.set_busy(member, true);
            self.unrest
                .set_stale(member, fault.is_gentle() && !was_calm);
        }
        match fault {
            Fault::Crash { member, .. } => self.crash(member),
            Fault::Freeze { member, .. } => {
                self.lose(member, |run| run.set_power(member, Power::Frozen))
            }
            Fault::Isolate { member, .. } => self.lose(member, |run| run.isolate(member, true)),
            Fault::Restart {
                member, is_said, ..
            } => self.stop(member, is_said),
            Fault::Partition {
                side, is_one_way, ..
            } => {
                self.disturb("members did not hear each other");
                self.divide((side, is_one_way), true);
            }
            Fault::CutPair {
                from,
                to,
                is_one_way,
                ..
            } => {
                self.disturb("two members did not hear each other");
                self.cut_pair((from, to), is_one_way, true);
            }
            Fault::Drain { member, ebb, .. } => {
                if let Some(changes) = self.unrest.drained_at.get_mut(member) {
                    *changes = was_calm.then_some(self.unrest.changes);
                }
                self.with(member, |it, now| it.leave_or_stay(true, now));
                self.at(self.now + ebb, Event::Step(number, Step::Withdraw));
            }
            Fault::Loss { in_a_million, .. } => {
                self.disturb("links lost packets");
                self.network.lose(in_a_million);
            }
            Fault::Configure { spread, .. } => self.configure_all(number, spread),
        }
        self.look_at_routes();
        let time = match fault {
            Fault::Drain { time, .. } => time,
            Fault::Crash { .. }
            | Fault::Freeze { .. }
            | Fault::Isolate { .. }
            | Fault::Restart { .. }
            | Fault::Partition { .. }
            | Fault::CutPair { .. }
            | Fault::Loss { .. }
            | Fault::Configure { .. } => fault.time(),
        };
        self.at(self.now + time, Event::Step(number, Step::End));
    }

    /// The next step of a fault that has begun.
    pub(super) fn step(&mut self, number: usize, step: Step) {
        let Some((_, fault)) = self.plan.faults.get(number).copied() else {
            return;
        };
        match (step, fault) {
            (Step::End, _) => self.end_fault(number, &fault),
            (Step::Withdraw, Fault::Drain { member, .. }) => {
                let is_busy = self.unrest.busy.get(member) == Some(&true);
                self.with_member(member, |it| it.is_withdrawn = is_busy);
            }
            (Step::Boot, _) => {
                if let Some(member) = fault.member() {
                    self.boot(member);
                    self.come_back(member, &fault);
                }
            }
            (Step::Configure(member), Fault::Configure { version, .. }) => {
                let plan = self.plan.clone();
                let has_daemon = self.members.get(member).is_some_and(|it| it.has_daemon());
                if has_daemon {
                    self.with(member, |it, now| it.configure(&plan, version, now));
                }
            }
            (Step::Withdraw | Step::Configure(_), _) => {}
        }
        self.look_at_routes();
    }

    fn end_fault(&mut self, number: usize, fault: &Fault) {
        self.note(Entry::Ends(number));
        match *fault {
            Fault::Crash { member, .. } => {
                self.boot(member);
                self.come_back(member, fault);
            }
            Fault::Freeze { member, .. } => {
                self.thaw(member);
                self.come_back(member, fault);
            }
            Fault::Isolate { member, .. } => {
                self.isolate(member, false);
                self.come_back(member, fault);
            }
            Fault::Restart {
                member, is_said, ..
            } => {
                let (plan, now) = (self.plan.clone(), self.now);
                if let Some(gateway) = self.members.get_mut(member) {
                    let effects = gateway.start(&plan, now);
                    self.started(member, effects);
                }
                if !is_said {
                    self.unrest.disturbances -= 1;
                }
                self.come_back(member, fault);
            }
            Fault::Partition {
                side, is_one_way, ..
            } => {
                self.divide((side, is_one_way), false);
                self.calm_down();
            }
            Fault::CutPair {
                from,
                to,
                is_one_way,
                ..
            } => {
                self.cut_pair((from, to), is_one_way, false);
                self.calm_down();
            }
            Fault::Drain { member, away, .. } => self.end_drain(number, member, away),
            Fault::Loss { .. } => {
                self.network.lose(0);
                self.calm_down();
            }
            Fault::Configure { .. } => {}
        }
    }

    /// Everything that went wrong is put right by now.
    pub(super) fn heal(&mut self) {
        self.note(Entry::Healed);
        self.unrest.stale.fill(false);
        if self.plan.profile == Profile::Harsh {
            self.unsettle(self.plan.settling());
        }
    }

    fn crash(&mut self, member: usize) {
        let must_survive = self.laws.survives_crash
            && self.plan.copies_flows
            && self.plan.profile == Profile::Crash;
        let now = self.now;
        if must_survive {
            let is_new = |it: &Connection| it.established.is_none_or(|at| at + LAG > now);
            self.excuse("it was too new to have been copied", is_new);
        }
        self.leave_alone(member, (must_survive, true));
        self.with_member(member, |it| it.crash());
        self.unrest.set_stale(member, false);
        if let Some(ring) = self.rings.get_mut(member) {
            ring.clear();
        }
        let around = (&self.network, &mut self.random);
        self.streams.end(member, false, now, around);
        self.schedule_streams();
    }

    /// Does something that makes a gateway be gone for others.
    fn lose(&mut self, member: usize, act: impl FnOnce(&mut Self)) {
        self.leave_alone(member, (false, false));
        act(self);
        self.unrest.set_stale(member, false);
    }

    /// Excuses those that a gateway takes along which is gone. It may be that they are also lost for ever: their
    /// ports are others' then.
    fn leave_alone(&mut self, member: usize, (must_survive, is_lost): (bool, bool)) {
        let is_busy = self.unrest.busy.iter().filter(|it| **it).count() > 1;
        if is_busy
            || self.unrest.excuse(self.now).is_some()
            || self.now < self.unrest.changing_until
        {
            self.excuse("several things happened at one time", |_| true);
        }
        let memory = self.members.get(member).map(|it| &it.tables.memory);
        let mut held = Vec::new();
        for connection in &self.hosts.connections {
            let external = connection.external;
            let holds = |it| external.is_some_and(|external| holds(it, connection, external));
            let is_held = memory.is_some_and(holds) && !must_survive;
            if connection.is_live() && (is_held || connection.established.is_none()) {
                held.push(connection.id);
            }
        }
        self.excuse("its gateway was gone", |it| held.contains(&it.id));
        for connection in self.hosts.live().filter(|it| held.contains(&it.id)) {
            connection.is_bereaved |= is_lost;
        }
        self.count_change();
        // Whoever said that it goes is counted on for longer.
        let is_leaving = self
            .members
            .get(member)
            .is_some_and(|it| it.is_withdrawn || !it.has_daemon());
        let time = match is_leaving {
            true => ABSENCE + Duration::from_secs(15),
            false => self.plan.settling(),
        };
        self.unsettle(time);
    }

    fn stop(&mut self, member: usize, is_said: bool) {
        if is_said {
            self.with(member, |it, now| it.end(false, now));
        } else {
            self.disturb("a daemon ended without a word");
            self.with_member(member, |it| it.kill());
        }
        self.note(Entry::Stopped(member));
        let around = (&self.network, &mut self.random);
        self.streams.end(member, true, self.now, around);
        self.schedule_streams();
    }

    /// A gateway is there again.
    fn come_back(&mut self, member: usize, fault: &Fault) {
        self.unrest.set_busy(member, false);
        let is_calm = self.unrest.is_calm(self.now, Some(member));
        self.unrest.set_stale(member, false);
        let is_stale = matches!(fault, Fault::Drain { .. })
            && self.unrest.drained_at.get(member) != Some(&Some(self.unrest.changes));
        if is_stale && !self.laws.survives_stale_drain {
            self.excuse("a gateway came back that had not heard of others", |_| true);
            self.unsettle(self.plan.settling());
            // Whoever died meanwhile is alive for it, until they hear of each other.
            let is_there = |it: &Member| it.power == Power::On && self.network.is_routed(it.index);
            let is_all_there = self.members.iter().all(is_there);
            self.unrest.set_stale(member, !is_all_there);
        }
        match fault {
            Fault::Drain { .. } | Fault::Restart { is_said: true, .. } => {
                self.change(fault, is_calm || self.plan.profile == Profile::Gentle);
            }
            Fault::Crash { .. } if self.plan.profile == Profile::Crash => {
                self.unrest.changed_at = self.now;
            }
            Fault::Crash { .. } | Fault::Restart { .. } => {
                self.count_change();
                self.unsettle(self.plan.settling());
                if !is_calm {
                    self.excuse("several things happened at one time", |_| true);
                }
            }
            Fault::Freeze { .. }
            | Fault::Isolate { .. }
            | Fault::Partition { .. }
            | Fault::CutPair { .. }
            | Fault::Loss { .. }
            | Fault::Configure { .. } => {
                self.count_change();
                self.unsettle(self.plan.settling());
                self.note_remnants();
                if !self.laws.survives_rejoin || !is_calm {
                    self.excuse("a gateway came back with its tables", |_| true);
                }
            }
        }
        self.look_at_routes();
    }

    /// What an operator does, which excuses nobody if nothing else happens.
    fn change(&mut self, fault: &Fault, is_calm: bool) {
        if matches!(fault, Fault::Configure { .. }) {
            return;
        }
        self.count_change();
        let settling = self.plan.settling();
        if !is_calm && !self.laws.survives_overlap {
            self.excuse("several things happened at one time", |_| true);
            self.unsettle(settling);
        }
        self.unrest.changing_until = self.unrest.changing_until.max(self.now + settling);
    }

    fn end_drain(&mut self, number: usize, member: usize, away: Duration) {
        let tables = self
            .members
            .get(member)
            .map(|it| &it.tables.memory.v4.flows);
        let is_empty = tables.is_some_and(|it| it.is_empty());
        let fault = self.plan.faults.get(number).map(|(_, fault)| *fault);
        if away.is_zero() || !is_empty {
            self.with(member, |it, now| it.leave_or_stay(false, now));
            self.with_member(member, |it| it.is_withdrawn = false);
            if let Some(fault) = fault {
                self.come_back(member, &fault);
            }
            return;
        }
        self.with(member, |it, now| it.end(true, now));
        self.note(Entry::Stopped(member));
        let around = (&self.network, &mut self.random);
        self.streams.end(member, true, self.now, around);
        self.schedule_streams();
        self.with_member(member, |it| it.crash());
        self.at(self.now + away, Event::Step(number, Step::Boot));
    }

    fn configure_all(&mut self, number: usize, spread: Duration) {
        for member in 0..self.members.len() {
            let after = self.random.time(Duration::ZERO, spread);
            self.at(
                self.now + after,
                Event::Step(number, Step::Configure(member)),
            );
        }
    }

    fn thaw(&mut self, member: usize) {
        self.set_power(member, Power::On);
        let kept = self.rings.get_mut(member).map(std::mem::take);
        for event in kept.into_iter().flatten() {
            self.at(self.now, event);
        }
        if let Some(wake) = self.wakes.get_mut(member) {
            *wake = None;
        }
        self.schedule(member);
    }

    fn set_power(&mut self, member: usize, power: Power) {
        self.with_member(member, |it| it.power = power);
    }

    fn isolate(&mut self, member: usize, is_cut: bool) {
        let others = (0..self.members.len()).filter(|it| *it != member);
        for other in others {
            self.cut_pair((member, other), false, is_cut);
        }
        match is_cut {
            true => self.network.cut_router(member),
            false => self.network.mend_router(member),
        }
    }

    fn divide(&mut self, (side, is_one_way): (u8, bool), is_cut: bool) {
        let members = self.members.len();
        let is_there = |member: usize| side & 1 << member != 0;
        for from in (0..members).filter(|it| is_there(*it)) {
            for to in (0..members).filter(|it| !is_there(*it)) {
                self.cut_pair((from, to), is_one_way, is_cut);
            }
        }
    }

    fn cut_pair(&mut self, (from, to): (usize, usize), is_one_way: bool, is_cut: bool) {
        let pairs = [(from, to), (to, from)];
        for (from, to) in pairs.into_iter().take(if is_one_way { 1 } else { 2 }) {
            match is_cut {
                true => self.network.cut(from, to),
                false => self.network.mend(from, to),
            }
        }
    }

    /// Excuses those whose flows are not where their buckets are now: the next change makes that two.
    fn excuse_former(&mut self) {
        let mut former = Vec::new();
        for gateway in self.members.iter().filter(|it| it.power != Power::Off) {
            let memory = &gateway.tables.memory;
            for it in self.hosts.connections.iter().filter(|it| it.is_live()) {
                let external = it.external.filter(|external| holds(memory, it, *external));
                let is_former = |(_, port): End| {
                    let owner = memory.buckets.holder(bucket_of(port)).owner;
                    usize::from(owner) != gateway.index
                };
                if external.is_some_and(is_former) {
                    former.push(it.id);
                }
            }
        }
        self.excuse("its flow was not where its bucket was", |it| {
            former.contains(&it.id)
        });
    }

    fn disturb(&mut self, why: &'static str) {
        self.unrest.disturbances += 1;
        self.count_change();
        self.excuse(why, |_| true);
    }

    /// What disturbed everybody is over.
    fn calm_down(&mut self) {
        self.unrest.disturbances -= 1;
        self.note_remnants();
        self.count_change();
        self.unsettle(self.plan.settling());
        self.excuse("members found each other again", |_| true);
    }

    fn unsettle(&mut self, time: Duration) {
        self.unrest.until = self.unrest.until.max(self.now + time);
    }

    /// Of two changes in a row only the last owner is asked: who lives through two may be lost.
    pub(super) fn count_change(&mut self) {
        self.unrest.changes += 1;
        self.unrest.changed_at = self.now;
        for member in &self.members {
            // One that drains, or whose daemon is away, hears of nothing.
            let serves = member.power == Power::On && self.network.is_routed(member.index);
            let is_busy = self.unrest.busy.get(member.index) == Some(&true);
            if let Some(stale) = self.unrest.stale.get_mut(member.index) {
                *stale |= serves && is_busy;
            }
        }
        let is_strict = self.plan.profile != Profile::Harsh || self.laws.survives_overlap;
        if !is_strict {
            self.excuse_former();
        }
        for connection in self.hosts.live() {
            connection.changes += 1;
            if connection.changes >= 2 && !is_strict {
                connection.excuse = connection
                    .excuse
                    .or(Some("it lived through several changes"));
            }
        }
    }

    /// Notes who has something in tables that gateways may not agree about.
    fn note_remnants(&mut self) {
        if !self.laws.survives_rejoin {
            self.unrest.remnants.extend(self.clients());
        }
    }

    /// Notes who begins something while gateways are wrong about each other, and forgets those of whom nothing is
    /// left.
    pub(super) fn look_for_remnants(&mut self) {
        if self.unrest.excuse(self.now).is_some() {
            return self.note_remnants();
        }
        if !self.unrest.remnants.is_empty() {
            let clients = self.clients();
            self.unrest.remnants.retain(|it| clients.contains(it));
        }
    }

    /// Clients' ends of which any gateway knows.
    fn clients(&self) -> BTreeSet<(u8, End)> {
        let memories = self.members.iter().map(|it| &it.tables.memory.v4);
        let entries = memories.flat_map(|it| it.flows.all());
        let outbound = entries.filter(|(_, flow)| flow.side() == Side::Outbound);
        let clients = outbound.map(|(key, _)| {
            let client = (key.tuple.source, key.tuple.source_port);
            (key.protocol, client)
        });
        clients.collect()
    }

    /// Why this connection may fail, which begins now.
    pub(super) fn excuse_for(&self, connection: &Connection) -> Option<&'static str> {
        let client = (connection.protocol as u8, connection.client);
        let is_remnant = self.unrest.remnants.contains(&client);
        let remnant = is_remnant.then_some("its client had flows before gateways found each other");
        self.unrest.excuse(self.now).or(remnant)
    }

    fn excuse(&mut self, why: &'static str, whom: impl Fn(&Connection) -> bool) {
        for connection in self.hosts.live().filter(|it| whom(it)) {
            connection.excuse = connection.excuse.or(Some(why));
        }
    }

    pub(super) fn excuse_one(&mut self, id: u32, why: &'static str) {
        self.excuse(why, |it| it.id == id);
    }

    fn with(
        &mut self,
        member: usize,
        act: impl FnOnce(&mut Member, Duration) -> crate::member::Effects,
    ) {
        let now = self.now;
        if let Some(gateway) = self.members.get_mut(member) {
            let effects = act(gateway, now);
            self.follow(member, effects);
        }
    }

    pub(super) fn with_member(&mut self, member: usize, act: impl FnOnce(&mut Member)) {
        if let Some(gateway) = self.members.get_mut(member) {
            act(gateway);
        }
    }
}

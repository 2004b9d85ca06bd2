//! New flows a second: one packet of each, through one core.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use lab::{Flows, Generator};

use super::compare::{cell, compare};
use super::lane::Lane;
use super::load::{Family, Passed, on_core};
use super::report::Section;
use super::rig::Rig;

/// Clients of one round, and flows of each: together 10,000, so that the masquerading kernel, which
/// has 64,512 ports towards one target, never has to look for a free one for long.
const CLIENTS: u32 = 250;
const PORTS: u16 = 40;

/// The first port of the sink that is used; each kind and each round has one of its own.
const FIRST_TARGET: u16 = 10_000;

/// Rounds of one kind: half the networks that the prefix of the clients has.
const ROUNDS_MAX: u8 = 128;

const TEXT: &str = "
One packet of each of 10,000 new flows, from 250 clients, each client and each round with endpoints
that were never seen before; counted where they arrive. *Cost* is 1/rate − 1/rate of the floor.
";

/// How a flow begins.
#[derive(Clone, Copy)]
enum Kind {
    Datagram,
    Syn,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Datagram, Self::Syn];

    const fn label(self) -> &'static str {
        match self {
            Self::Datagram => "UDP datagram",
            Self::Syn => "TCP SYN",
        }
    }

    /// The flows of a round: clients of a network of their own, towards a port of their own.
    fn family(self, round: usize) -> Result<Family> {
        let round = u8::try_from(round)?;
        let (number, offset) = match self {
            Self::Datagram => (round, 0),
            Self::Syn => (round, ROUNDS_MAX),
        };
        ensure!(
            number < ROUNDS_MAX,
            "there are clients for {ROUNDS_MAX} rounds only"
        );
        Ok(Family {
            first: Ipv4Addr::new(10, 3, number + offset, 1),
            clients: CLIENTS,
            ports: PORTS,
            target: FIRST_TARGET + u16::from(number + offset),
        })
    }
}

/// Measures both kinds.
pub(super) fn measure(rig: &Rig) -> Result<Section> {
    let mut section = Section {
        title: "New flows a second",
        text: TEXT.to_owned(),
        header: vec![
            "first packet",
            "contender",
            "thousand flows/s",
            "cost, ns/flow",
            "rate ÷ nftables",
            "lost, %",
        ],
        rows: Vec::new(),
        series: Vec::new(),
    };
    rig.lanes.iter().try_for_each(Lane::deafen)?;
    for kind in Kind::ALL {
        let mut lanes: Vec<&Lane> = rig.lanes.iter().collect();
        let passed = rig.in_turn(&mut lanes, |round, lane| {
            begin(lane, kind, &kind.family(round)?, rig.core)
        })?;
        let contenders = lanes.iter().map(|lane| lane.contender);
        let rates: Vec<_> = contenders
            .zip(passed.iter().map(|turns| Passed::rates(turns)))
            .collect();
        for (compared, turns) in compare(&rates).iter().zip(&passed) {
            let label = compared.contender.label();
            section.rows.push(vec![
                kind.label().to_owned(),
                label.to_owned(),
                compared.rate.per(1e3).shown(0).to_string(),
                cell(&compared.cost, 0),
                cell(&compared.ratio, 2),
                Passed::lost_percent(turns).shown(1).to_string(),
            ]);
            section.record(["flows", kind.label(), label], "flows/s", compared.rate);
        }
    }
    rig.lanes.iter().try_for_each(Lane::undeafen)?;
    Ok(section)
}

/// Begins all flows of a family in one lane.
fn begin(lane: &Lane, kind: Kind, family: &Family, core: usize) -> Result<Passed> {
    let (first, target) = (family.first, family.target(lane)?);
    let flows = family.shape(match kind {
        Kind::Datagram => Flows::udp(first, target),
        Kind::Syn => Flows::syn(first, target),
    });
    let mut generator = Generator::new(lane.host("generator")?, flows)?;
    let before = lane.arrived_in_the_end()?;
    let sent = on_core(core, || Ok(generator.send(0..family.count())?))?;
    let arrived = lane.arrived_in_the_end()? - before;
    Ok(Passed::new(arrived, sent.packets, sent.elapsed))
}

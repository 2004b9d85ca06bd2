//! Packets a second of established flows through one core, from a packet socket.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::compare::{cell, compare};
use super::lane::{Contender, Lane};
use super::load::{Family, Load, Passed};
use super::report::Section;
use super::rig::Rig;

/// A number of flows.
struct Case {
    name: &'static str,
    families: &'static [Family],
}

/// Masquerading has 64,512 ports towards one target, so the most flows go to two ports of it.
const CASES: [Case; 3] = [
    Case {
        name: "1 flow",
        families: &[Family {
            first: Ipv4Addr::new(10, 2, 0, 1),
            clients: 1,
            ports: 1,
            target: 9001,
        }],
    },
    Case {
        name: "1,000 flows",
        families: &[Family {
            first: Ipv4Addr::new(10, 2, 1, 0),
            clients: 100,
            ports: 10,
            target: 9002,
        }],
    },
    Case {
        name: "100,000 flows",
        families: &[
            Family {
                first: Ipv4Addr::new(10, 2, 2, 0),
                clients: 250,
                ports: 200,
                target: 9003,
            },
            Family {
                first: Ipv4Addr::new(10, 2, 3, 0),
                clients: 250,
                ports: 200,
                target: 9004,
            },
        ],
    },
];

const TEXT: &str = "
Datagrams of 64 bytes on the wire, one way, of flows that are established, from an `AF_PACKET`
socket; counted where they arrive. *Cost* is what the contender adds to a packet that is dropped at
arrival, the transmission to the sink included: 1/rate − 1/rate of the floor. *Of which translation*
is the difference to the contender that does the same without translating: forwarding for nftables,
the bare redirect for Egret. *Lost* is what was sent and did not arrive.
";

/// Measures all cases.
pub(super) fn measure(rig: &Rig) -> Result<Section> {
    let mut section = Section {
        title: "Packets a second, from a packet socket",
        text: TEXT.to_owned(),
        header: vec![
            "flows",
            "contender",
            "thousand packets/s",
            "cost, ns/packet",
            "of which translation",
            "rate ÷ nftables",
            "lost, %",
        ],
        rows: Vec::new(),
        series: Vec::new(),
    };
    for case in &CASES {
        let passed = pass(rig, case.families)?;
        let rates: Vec<_> = passed
            .iter()
            .map(|(contender, turns)| (*contender, Passed::rates(turns)))
            .collect();
        for (compared, (_, turns)) in compare(&rates).iter().zip(&passed) {
            let label = compared.contender.label();
            section.rows.push(vec![
                case.name.to_owned(),
                label.to_owned(),
                compared.rate.per(1e3).shown(0).to_string(),
                cell(&compared.cost, 0),
                cell(&compared.translation, 0),
                cell(&compared.ratio, 2),
                Passed::lost_percent(turns).shown(1).to_string(),
            ]);
            section.record(["packets", case.name, label], "packets/s", compared.rate);
        }
    }
    Ok(section)
}

/// Establishes the flows in all lanes and lets packets of them pass.
fn pass(rig: &Rig, families: &[Family]) -> Result<Vec<(Contender, Vec<Passed>)>> {
    let mut loads = Vec::new();
    for lane in &rig.lanes {
        let mut load = Load::new(lane, families)?;
        load.establish(lane)?;
        lane.deafen()?;
        loads.push((lane, load));
    }
    let passed = rig.in_turn(&mut loads, |_, (lane, load)| {
        load.pass(lane, rig.core, rig.effort.window)
    })?;
    rig.lanes.iter().try_for_each(Lane::undeafen)?;
    let contenders = rig.lanes.iter().map(|lane| lane.contender);
    Ok(contenders.zip(passed).collect())
}

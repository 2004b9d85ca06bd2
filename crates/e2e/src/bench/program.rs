//! What the XDP program costs by itself, in nanoseconds a packet, without anything around it.
//!
//! `BPF_PROG_TEST_RUN` runs it many times over one frame, and the frame stays as the last run left
//! it: over an ordinary flow, the second run would meet a packet that nobody sent. So the flow table
//! gets [rings](super::ring) of flows. Only the TTL falls, and bounds the runs of one call.

use std::net::{Ipv4Addr, SocketAddrV4};

use abi::{Needs, Side, limits::FLOWS6_UNUSED};
use anyhow::{Context, Result, ensure};
use aya::programs::Xdp;
use kernel::{Program, Sizes, State, links};
use lab::Frame;

use super::figures::Samples;
use super::lane::{Contender, FLOWS, Lane};
use super::load::{PAYLOAD, stay_on};
use super::report::Section;
use super::rig::Rig;
use super::ring::Ring;
use super::xdp::{Answer, SmallProgram, ifindex, test_run};

/// Runs over one frame: its TTL falls from 255, and at 1 the packet would be refused.
const RUNS: u32 = 250;

/// What the program answers to a packet of a flow, in `enum xdp_action`.
const REDIRECT: u32 = 4;

/// The client of the rings, and of the packets that belong to nothing.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 2, 200, 1);
/// Where no rule wants a packet to go.
const UNWANTED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 1), 7000);

/// Where the EtherType stands, and that of ARP.
const ETHERTYPE: usize = 12;
const ARP: [u8; 2] = [0x08, 0x06];

/// The name of the program that is the floor.
const EMPTY: &str = "passes everything";

const TEXT: &str = "
`BPF_PROG_TEST_RUN`, 250 runs over one frame in each call, less the same for a program that passes
everything at once. No driver, no frame memory, no transmission, and with few flows everything is in
the nearest cache: what surrounds a packet stands in the tables above. With many flows, neighbouring
packets are of different flows, and each flow comes back only after all others.
";

/// A kind of packet, and what the program has to answer.
#[derive(Clone)]
struct Case {
    name: &'static str,
    /// By which interface it comes.
    interface: &'static str,
    packets: Packets,
    answer: u32,
}

#[derive(Clone)]
enum Packets {
    /// Of the flows of a ring, one after the other.
    Ring(Ring),
    /// Always this one, which the program leaves as it is.
    Same(Vec<u8>),
}

/// Measures all cases, in the tables that Egret's daemon made. It ends here, so that it does not
/// wonder about the rings.
pub(super) fn measure(rig: &mut Rig) -> Result<Section> {
    let mut section = Section {
        title: "The program by itself",
        text: TEXT.to_owned(),
        header: vec!["packet", "program", "ns/packet"],
        rows: Vec::new(),
        series: Vec::new(),
    };
    let lane = rig.lane_mut(Contender::Egret)?;
    let ended = lane.gateway()?.stop()?;
    ensure!(ended.success(), "the daemon ended with {ended}");
    let state = State::open(lane.gateway()?.state())?;
    let sizes = Sizes {
        flows: FLOWS,
        flows6: FLOWS6_UNUSED,
    };
    let loaded = Program::load(&state, sizes, Needs::default())?;
    // Each run of a program that hangs nowhere waits for all CPUs twice, for the kernel rewrites its
    // XDP dispatcher for it.
    links::adopt(&state, loaded.program.fd()?)?;
    let mut cases = cases(lane)?;
    for case in &cases {
        if let Packets::Ring(ring) = &case.packets {
            ring.write(&loaded.tables)?;
        }
    }

    let measured = in_turn(rig, &loaded.program, &mut cases)?;
    let floors: Samples = measured
        .iter()
        .flat_map(|(floor, _)| floor.rounds())
        .copied()
        .collect();
    section.record(["program", "any", EMPTY], "ns", &floors);
    section.rows.push(vec![
        "any (the floor, not yet subtracted)".to_owned(),
        EMPTY.to_owned(),
        floors.shown(0).to_string(),
    ]);
    for (case, (floor, whole)) in cases.iter().zip(&measured) {
        section.record(["program", case.name, "Egret, floor included"], "ns", whole);
        section.rows.push(vec![
            case.name.to_owned(),
            Contender::Egret.label().to_owned(),
            whole.minus(floor).shown(0).to_string(),
        ]);
    }
    Ok(section)
}

fn cases(lane: &Lane) -> Result<Vec<Case>> {
    let target = lane.target()?;
    let ring = |name, (side, interface), flows, port| Case {
        name,
        interface,
        packets: Packets::Ring(Ring {
            side,
            flows,
            client: CLIENT,
            target: SocketAddrV4::new(target, port),
        }),
        answer: REDIRECT,
    };
    let passed = |name, frame| Case {
        name,
        interface: "in0",
        packets: Packets::Same(frame),
        answer: Answer::Pass as u32,
    };
    let unwanted = Frame::udp(SocketAddrV4::new(CLIENT, 7000), UNWANTED)
        .payload(&[0; PAYLOAD])
        .between([2, 0, 0, 0, 0, 1], lane.host("gateway")?.mac("in0")?)
        .build()?;
    let mut arp = unwanted.clone();
    arp[ETHERTYPE..ETHERTYPE + 2].copy_from_slice(&ARP);

    let (outbound, inbound) = ((Side::Outbound, "in0"), (Side::Inbound, "out0"));
    Ok(vec![
        ring("of one flow, outbound", outbound, 1, 7001),
        ring("of one flow, inbound", inbound, 1, 7001),
        ring("of 1,000 flows, outbound", outbound, 1_000, 7002),
        ring("of 100,000 flows, outbound", outbound, 100_000, 7003),
        passed("IPv4 that no rule wants", unwanted),
        passed("not IPv4", arp),
    ])
}

/// Nanoseconds a packet of the floor and of each case, in turn, on one core inside the gateway:
/// there the interfaces and the routes are.
fn in_turn(rig: &Rig, program: &Program, cases: &mut [Case]) -> Result<Vec<(Samples, Samples)>> {
    let lane = rig.lane(Contender::Egret)?;
    let empty = SmallProgram::always(Answer::Pass)?.attach(lane.host("generator")?, "eth0")?;
    let any = cases.iter().find(|case| case.answer == Answer::Pass as u32);
    let any = any.context("no case has packets that are passed")?.clone();
    let calls = rig.effort.calls;
    let measure = || {
        stay_on(rig.core)?;
        rig.in_turn(cases, |_, case| {
            let floor = any.cost(empty.as_xdp()?, calls)?;
            Ok((floor, case.cost(program.as_xdp()?, calls)?))
        })
    };
    let measured: Vec<Vec<(f64, f64)>> = lane.host("gateway")?.enter(measure)??;
    Ok(measured
        .into_iter()
        .map(|rounds| rounds.into_iter().unzip())
        .collect())
}

impl Case {
    /// Nanoseconds a packet over so many calls, after one time around.
    fn cost(&self, program: &Xdp, calls: u32) -> Result<f64> {
        let interface = ifindex(self.interface)?;
        let around = match &self.packets {
            Packets::Ring(ring) => ring.flows.div_ceil(RUNS),
            Packets::Same(_) => 1,
        };
        let mut total = 0.0;
        for call in 0..around + calls {
            let nanoseconds = self
                .run(program, interface, call)
                .with_context(|| format!("a packet {}", self.name))?;
            if call >= around {
                total += nanoseconds;
            }
        }
        Ok(total / f64::from(calls))
    }

    /// Runs the program over one frame; returns nanoseconds a run.
    fn run(&self, program: &Xdp, interface: u32, call: u32) -> Result<f64> {
        let (ring, frame);
        let (before, number) = match &self.packets {
            Packets::Ring(packets) => {
                let number = (u64::from(call) * u64::from(RUNS) % u64::from(packets.flows)) as u32;
                ring = Some(packets);
                frame = packets.frame(number)?;
                (&frame, number)
            }
            Packets::Same(packet) => {
                ring = None;
                (packet, 0)
            }
        };
        let (result, after) = test_run(program, before, interface, RUNS)?;
        ensure!(
            result.return_value == self.answer,
            "the program answers {} and not {}",
            result.return_value,
            self.answer
        );
        match ring {
            Some(ring) => ring.check(&after, number, RUNS)?,
            None => ensure!(after == *before, "the program changes what it passes"),
        }
        Ok(result.duration.as_nanos() as f64)
    }
}

//! Packets a second where XDP alone handles them: live frames, made in the driver by a program.
//!
//! The kernel's own stack cannot be measured so, because live frames do not work into it: the page
//! of a frame has to come back before it can be sent again.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Frame;

use super::compare::{cell, compare};
use super::figures::Samples;
use super::lane::{Contender, Lane};
use super::load::{PAYLOAD, stay_on};
use super::report::Section;
use super::rig::Rig;
use super::xdp::{Answer, LIVE_BATCH, SmallProgram, ifindex, send_live};

/// Who handles frames without a stack.
const CONTENDERS: [Contender; 3] = [Contender::Floor, Contender::Redirect, Contender::Egret];

/// The one client. Its flows differ by their ports.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 2, 128, 1);
const TARGET_PORT: u16 = 9010;
const FIRST_PORT: u16 = 10_000;

/// Flows, with the names of the cases. One client has the ports of one external address.
const CASES: [(&str, u16); 3] = [
    ("1 flow", 1),
    ("1,000 flows", 1_000),
    ("50,000 flows", 50_000),
];

/// Frames for each flow before the first round, in random order: so that none is new then.
const FRAMES_PER_FLOW: u32 = 16;

/// The share of the frames that may be untranslated before something is wrong.
const STRAY_MAX: f64 = 0.001;

const TEXT: &str = "
The same datagrams, made by an XDP program in the generator's driver (`BPF_PROG_TEST_RUN` with live
frames) and dropped by one in the sink's: no socket and no `sk_buff` anywhere, so this is XDP alone,
with a veth in the place of a network card. *Cost* and *translation* are differences, as above.
";

/// One contender, and the frames for it.
struct Stream<'a> {
    lane: &'a Lane,
    generator: SmallProgram,
    template: Vec<u8>,
    _sink: SmallProgram,
}

/// Measures all cases.
pub(super) fn measure(rig: &mut Rig) -> Result<Section> {
    let mut section = Section {
        title: "Packets a second, XDP alone",
        text: TEXT.to_owned(),
        header: vec![
            "flows",
            "contender",
            "thousand packets/s",
            "cost, ns/packet",
            "of which translation",
        ],
        rows: Vec::new(),
        series: Vec::new(),
    };
    for (case, flows) in CASES {
        let (translated, arrived) = progress(rig)?;
        let rates = stream(rig, flows)?;
        let (translated, arrived) = {
            let (translated_now, arrived_now) = progress(rig)?;
            (translated_now - translated, arrived_now - arrived)
        };
        ensure!(
            translated as f64 >= arrived as f64 * (1.0 - STRAY_MAX),
            "of {arrived} frames that passed Egret it translated {translated}"
        );
        for compared in compare(&rates) {
            let label = compared.contender.label();
            section.rows.push(vec![
                case.to_owned(),
                label.to_owned(),
                compared.rate.per(1e3).shown(0).to_string(),
                cell(&compared.cost, 0),
                cell(&compared.translation, 0),
            ]);
            section.record(["frames", case, label], "packets/s", compared.rate);
        }
    }
    Ok(section)
}

/// How many packets Egret has translated outwards, and how many have arrived behind it.
fn progress(rig: &mut Rig) -> Result<(u64, u64)> {
    let lane = rig.lane_mut(Contender::Egret)?;
    let arrived = lane.arrived_in_the_end()?;
    let translated = lane.gateway()?.counter("translated_out")?.packets;
    Ok((translated, arrived))
}

fn stream(rig: &Rig, flows: u16) -> Result<Vec<(Contender, Samples)>> {
    let mut streams = Vec::new();
    for contender in CONTENDERS {
        let stream = Stream::new(rig.lane(contender)?, flows)?;
        stream.send(rig.core, FRAMES_PER_FLOW * u32::from(flows).max(LIVE_BATCH))?;
        streams.push(stream);
    }
    let rates = rig.in_turn(&mut streams, |_, stream| {
        stream.rate(rig.core, rig.effort.frames)
    })?;
    let samples = rates.into_iter().map(Samples::from_iter);
    Ok(CONTENDERS.into_iter().zip(samples).collect())
}

impl<'a> Stream<'a> {
    fn new(lane: &'a Lane, flows: u16) -> Result<Self> {
        let (from, to) = (lane.host("generator")?, lane.host("gateway")?);
        let target = SocketAddrV4::new(lane.target()?, TARGET_PORT);
        let template = Frame::udp(SocketAddrV4::new(CLIENT, 0), target)
            .payload(&[0; PAYLOAD])
            .between(from.mac("eth0")?, to.mac("in0")?)
            .build()?;
        Ok(Self {
            lane,
            generator: SmallProgram::generator(&template, FIRST_PORT, flows)?,
            template,
            _sink: SmallProgram::always(Answer::Drop)?.attach(lane.host("sink")?, "eth0")?,
        })
    }

    /// Frames that arrive in a second.
    ///
    /// A call takes some 25 ms to make its pages and to give them back, however many frames it
    /// sends. So a call for one batch is subtracted from one for many.
    fn rate(&self, core: usize, frames: u32) -> Result<f64> {
        let overhead = self.send(core, LIVE_BATCH)?;
        let before = self.lane.arrived_in_the_end()?;
        let took = self.send(core, LIVE_BATCH + frames)?;
        let arrived = self.lane.arrived_in_the_end()? - before;
        let sending = took.saturating_sub(overhead).as_secs_f64();
        Ok(arrived.saturating_sub(LIVE_BATCH.into()) as f64 / sending)
    }

    /// Sends so many frames from one core, on which everything then happens; returns how long the
    /// kernel was busy with that.
    fn send(&self, core: usize, frames: u32) -> Result<Duration> {
        let send = || -> Result<Duration> {
            stay_on(core)?;
            let interface = ifindex("eth0")?;
            let started = Instant::now();
            send_live(self.generator.as_xdp()?, &self.template, interface, frames)?;
            Ok(started.elapsed())
        };
        self.lane.host("generator")?.enter(send)?
    }
}

//! Real TCP transfers: the kernel's own stacks at both ends, one of them or eight at a time.

use std::net::SocketAddrV4;
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Direction, Transfer};

use super::compare::{cell, compare};
use super::figures::Samples;
use super::lane::{Lane, STREAM_PORT};
use super::report::Section;
use super::rig::Rig;

/// Transfers at a time, with the names of the cases.
const CASES: [(&str, usize); 2] = [("1 transfer", 1), ("8 transfers", 8)];

/// How long transfers run before they are measured: to open their windows.
const WARM_UP: Duration = Duration::from_millis(100);

const TEXT: &str = "
Downloads between the kernel's own TCP stacks, every byte checked by the receiver, counted where they
arrive. Sender, gateway, receiver and the check share all cores, so the gateway is only one of those
who use them, and the figures vary more than the others. The senders do not offload segmentation:
every segment is a packet. A kernel with GRO puts segments together and handles them as one; Egret,
and a kernel without GRO, handle each.
";

/// Measures both cases.
pub(super) fn measure(rig: &Rig) -> Result<Section> {
    let mut section = Section {
        title: "Real TCP",
        text: TEXT.to_owned(),
        header: vec!["at a time", "contender", "Mbit/s, sum", "rate ÷ nftables"],
        rows: Vec::new(),
        series: Vec::new(),
    };
    let mut lanes: Vec<&Lane> = rig
        .lanes
        .iter()
        .filter(|it| it.contender.delivers())
        .collect();
    for (case, count) in CASES {
        let rates = rig.in_turn(&mut lanes, |_, lane| {
            throughput(lane, count, rig.effort.transfer)
        })?;
        let contenders = lanes.iter().map(|lane| lane.contender);
        let rates: Vec<_> = contenders
            .zip(rates.into_iter().map(Samples::from_iter))
            .collect();
        for compared in compare(&rates) {
            let label = compared.contender.label();
            section.rows.push(vec![
                case.to_owned(),
                label.to_owned(),
                compared.rate.shown(0).to_string(),
                cell(&compared.ratio, 2),
            ]);
            section.record(["tcp", case, label], "Mbit/s", compared.rate);
        }
    }
    Ok(section)
}

/// Megabits a second of some transfers together.
fn throughput(lane: &Lane, count: usize, window: Duration) -> Result<f64> {
    let target = SocketAddrV4::new(lane.target()?, STREAM_PORT);
    let generator = lane.host("generator")?;
    let start = || Transfer::start(generator, target, Direction::Download, None);
    let transfers: Vec<Transfer> = (0..count).map(|_| start()).collect::<Result<_, _>>()?;
    let bytes = || transfers.iter().map(Transfer::bytes).sum::<u64>();

    thread::sleep(WARM_UP);
    let (before, started) = (bytes(), Instant::now());
    thread::sleep(window);
    let (after, elapsed) = (bytes(), started.elapsed());

    finish(transfers)?;
    Ok((after - before) as f64 * 8.0 / 1e6 / elapsed.as_secs_f64())
}

/// Ends all transfers at once and checks that nothing was lost or changed.
fn finish(transfers: Vec<Transfer>) -> Result<()> {
    thread::scope(|scope| {
        let ends: Vec<_> = transfers
            .into_iter()
            .map(|transfer| scope.spawn(|| transfer.finish()))
            .collect();
        for end in ends {
            let received = end.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            let wrong = received.wrong_at;
            ensure!(
                wrong.is_none(),
                "a transfer is wrong from byte {wrong:?} on"
            );
        }
        Ok(())
    })
}

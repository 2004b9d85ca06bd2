//! The daemon is killed in the middle of the transfer, and nobody notices.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Site, Transfer};

use super::Narrator;
use super::passing::is_one_of;
use super::stage::{Database, TEAM_B};
use crate::harness::{Gateway, wait_for};

/// Bytes that have to arrive while nobody runs the gateway.
const BYTES_WITHOUT_DAEMON: u64 = 5_000_000;

/// How long that may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The longest time in which nothing may arrive: shorter than the shortest time after which TCP
/// sends a lost segment again (Linux, `TCP_RTO_MIN`).
const STALL_MAX: Duration = Duration::from_millis(200);

pub(super) fn show(
    site: &Site,
    gateway: &mut Gateway,
    transfer: Transfer,
    narrator: &mut Narrator,
) -> Result<()> {
    let db = Database::of(site)?;
    narrator.act("The daemon is killed in the middle of it")?;
    narrator.say("Programs and tables are pinned in the kernel: packets need no daemon.");

    let before = gateway.status()?.pid;
    let flows_before = gateway.all_flows()?.total;
    let sent_before = gateway.counter("translated_out")?.packets;
    gateway.kill()?;
    narrator.claim(&format!("kill -9 {before}: the transfer goes on"), || {
        let start = transfer.bytes();
        wait_for(LIMIT, "it goes on", || {
            Ok((transfer.bytes() > start + BYTES_WITHOUT_DAEMON).then_some(()))
        })?;
        Ok(format!(
            "{} MB more, and no egretd",
            (transfer.bytes() - start) / 1_000_000
        ))
    })?;
    narrator.claim("new connections pass, too", || {
        let seen = db.sees(site.host("b1")?)?;
        ensure!(is_one_of(*seen.ip(), &TEAM_B), "db saw {seen}");
        Ok(format!("b1 fetched a page; db saw {seen}"))
    })?;
    gateway.start()?;
    narrator.claim("a new egretd takes over the flows and the counters", || {
        let status = gateway.status()?;
        let (flows, sent) = (
            gateway.all_flows()?.total,
            gateway.counter("translated_out")?.packets,
        );
        ensure!(status.adopted, "process {} started afresh", status.pid);
        ensure!(
            flows >= flows_before,
            "{flows} flows are left of {flows_before}"
        );
        ensure!(
            sent >= sent_before,
            "{sent} packets are counted, before it were {sent_before}"
        );
        Ok(format!(
            "process {}: {flows} flows, {sent} packets sent out so far",
            status.pid
        ))
    })?;
    narrator.claim("the transfer has not noticed", || {
        let received = transfer.finish()?;
        ensure!(
            received.wrong_at.is_none(),
            "byte {:?} is wrong",
            received.wrong_at
        );
        let stall = received.longest_stall;
        ensure!(
            stall < STALL_MAX,
            "nothing came for {} ms",
            stall.as_millis()
        );
        let megabytes = received.bytes / 1_000_000;
        Ok(format!(
            "{megabytes} MB, no byte lost, never silent for more than {} ms",
            stall.as_millis()
        ))
    })
}

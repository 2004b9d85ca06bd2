//! Gateways do not see each other, and routers go on sending to all of them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::harness::{herd::Wanted, witness::Witness};

use super::run::{Run, Size};

/// How long new connections are tried when all see each other again.
const AFTER: Duration = Duration::from_secs(2);

/// Parts gateways for a while, and joins them again: established flows go on, no external endpoint is ever had by
/// two flows, and new connections work afterwards.
///
/// Flows begin in the meantime too. Not all can work then, for answers may come to a gateway that cannot know
/// of them, but each takes a port, and the witness sees whose.
fn part(what: &str, count: usize, pairs: &[[usize; 2]]) -> Result<()> {
    let Size { flows, apart, .. } = Size::asked();
    // What comes to a gateway that does not know of it is sent again when they are joined, after as long again.
    let limit = flows.limit + apart * 3;
    let run = Run::start(what, count, Wanted { limit, ..flows })?;
    let witness = Witness::start(&run.scene.site)?;

    let began = Instant::now();
    run.scene.part(pairs)?;
    println!(
        "they see nothing of each other after {:.0?}",
        began.elapsed()
    );
    let meanwhile = Wanted {
        tcp: flows.tcp / 5,
        udp: flows.udp,
        limit,
    };
    let young = run.echo.begin(&run.scene.site, meanwhile)?;
    thread::sleep(apart.saturating_sub(began.elapsed()));
    run.scene.ways(count)?;
    println!(
        "lost so far: {}, and {} that began meanwhile",
        run.herd.lost(),
        young.lost()
    );
    run.scene.join()?;

    run.is_whole(count)?;
    run.herd.go_on(3)?;
    let seen = run.load()?.run_for(AFTER)?;
    println!("short connections afterwards: {seen}");
    ensure!(seen.failed == 0 && seen.done > 0, "{seen}");
    for (kind, noticed) in ["TCP", "UDP"].into_iter().zip(young.stop()?) {
        println!("{kind}, begun in the meantime: {noticed}");
    }
    let testimony = witness.stop()?;
    println!("{testimony}");
    ensure!(testimony.flows() > flows.tcp + flows.udp, "{testimony}");
    let duplicates: Vec<_> = testimony.duplicates().collect();
    ensure!(duplicates.is_empty(), "{duplicates:?}");
    run.end_within(limit)
}

#[test]
fn two_gateways_that_do_not_see_each_other_give_no_port_twice_and_lose_no_flow() -> Result<()> {
    part("two parted", 2, &[[0, 1]])
}

#[test]
fn three_gateways_that_do_not_see_each_other_give_no_port_twice_and_lose_no_flow() -> Result<()> {
    part("three parted", 3, &[[0, 1], [0, 2], [1, 2]])
}

#[test]
fn one_gateway_that_the_other_two_do_not_see_gives_no_port_twice_and_no_flow_is_lost() -> Result<()>
{
    part("one parted from two", 3, &[[0, 1], [0, 2]])
}

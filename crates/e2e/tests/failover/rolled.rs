//! One command rolls all gateways under load.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::harness::{program, wait_for};

use super::run::{Run, Size, end_short};

/// Gateways.
const COUNT: usize = 3;
/// How long the whole roll may take.
const ROLL_MAX: Duration = Duration::from_secs(180);

/// Runs `egret cluster roll`. What is to be run for a member asks this test to restart its daemon, and waits for it.
fn roll(run: &Run, directory: &Path) -> Result<Child> {
    let egret = program("egret")?;
    // Each gateway has a directory of its own: where its socket is, is looked up by its name.
    for (number, gateway) in run.scene.gateways.iter().enumerate() {
        let link = directory.join(format!("gw{}.sock", number + 1));
        std::os::unix::fs::symlink(gateway.socket(), link)?;
    }
    let (egret, place) = (egret.display(), directory.display());
    let via = format!("{egret} --socket {place}/{{name}}.sock");
    let wanted = format!(
        "touch {place}/{{name}}.wanted; until test -e {place}/{{name}}.done; do sleep 0.1; done"
    );
    let names = (1..=COUNT).map(|it| format!("gw{it}"));
    let mut command = Command::new(program("egret")?);
    command.args(["cluster", "roll", "--timeout", "60s"]);
    command.args(["--via", &via, "--run", &wanted]).args(names);
    command.stdin(Stdio::null());
    command.spawn().context("cannot run `egret`")
}

#[test]
fn one_command_rolls_all_gateways_and_no_flow_is_lost() -> Result<()> {
    let mut run = Run::start("rolled", COUNT, Size::asked().flows)?;
    let load = run.load()?;
    let host = run.scene.site.host("gw1")?;
    let directory = host.directory().context("it is a gateway")?.join("roll");
    std::fs::create_dir_all(&directory)?;

    let mut rolling = roll(&run, &directory)?;
    for number in 0..COUNT {
        let file = |what: &str| directory.join(format!("gw{}.{what}", number + 1));
        wait_for(ROLL_MAX, "the next one is to be restarted", || {
            if let Some(ended) = rolling.try_wait()? {
                anyhow::bail!("the roll ended with {ended} before gateway {number}");
            }
            Ok(file("wanted").exists().then_some(()))
        })?;
        // Nothing of it is left: what it had is at others.
        ensure!(run.scene.gateways[number].stop()?.success());
        run.scene.gateways[number].uninstall()?;
        run.scene.gateways[number].start()?;
        std::fs::write(file("done"), "")?;
    }
    let ended = wait_for(ROLL_MAX, "the roll ends", || Ok(rolling.try_wait()?))?;
    ensure!(ended.success(), "the roll ended with {ended}");
    run.is_whole(COUNT)?;
    run.goes_on(1)?;

    ensure!(end_short(load)? == 0, "new connections work throughout");
    run.end()
}

//! The demo, as `cargo xtask demo` runs it: what it claims holds, and it leaves nothing behind.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::harness::wait_for;
use lab::Signal;

/// How long the whole of it may take. People watch it.
const DEMO_LIMIT: Duration = Duration::from_secs(45);

/// How long it may take to remove a site.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Claims that there are at least: so that one that no longer runs is missed.
const CLAIMS_MIN: u32 = 25;

#[test]
fn unattended_it_asserts_every_claim_and_ends() -> Result<()> {
    let name = name("once");
    let started = Instant::now();

    let output = demo(&name)
        .arg("--once")
        .output()
        .context("egret-demo runs")?;

    let took = started.elapsed();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{printed}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    println!("the demo took {:.1} s", took.as_secs_f64());
    ensure!(output.status.success(), "it ended with {}", output.status);
    let last = printed.lines().last().unwrap_or_default();
    let claims = last
        .strip_prefix("demo: ok, ")
        .and_then(|it| it.strip_suffix(" claims held"));
    let claims: u32 = claims
        .with_context(|| format!("it ended with {last:?}"))?
        .parse()?;
    ensure!(claims >= CLAIMS_MIN, "only {claims} claims were made");
    ensure!(
        printed.matches('✓').count() == claims as usize,
        "it counted {claims} claims"
    );
    ensure!(took < DEMO_LIMIT, "it took {took:?}");
    check_gone(&name)
}

#[test]
fn left_running_it_works_until_ctrl_c_and_then_removes_everything() -> Result<()> {
    let name = name("stays");
    let mut demo = demo(&name)
        .stdout(Stdio::piped())
        .spawn()
        .context("egret-demo runs")?;
    let mut printed = BufReader::new(demo.stdout.take().context("its output is piped")?);
    let commands = read_guide(&mut printed)?;

    let directory = std::env::temp_dir().join(&name);
    std::fs::create_dir(&directory)?;
    let typed = commands
        .iter()
        .filter(|it| ends(it))
        .try_for_each(|it| type_in(&directory, it));
    std::fs::remove_dir_all(&directory)?;
    typed?;
    send(&demo, Signal::SIGINT)?;

    let ended = await_end(&mut demo)?;
    let mut rest = String::new();
    printed.read_to_string(&mut rest)?;
    ensure!(ended.success(), "it ended with {ended}: {rest}");
    ensure!(rest.contains("demo: ok, "), "its last words were {rest:?}");
    check_gone(&name)
}

#[test]
fn interrupted_in_the_middle_it_removes_everything() -> Result<()> {
    let name = name("cut");
    let mut demo = demo(&name)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("egret-demo runs")?;
    let mut printed = BufReader::new(demo.stdout.take().context("its output is piped")?);
    read_until(&mut printed, |line| line.contains("egretd serves"))?;

    send(&demo, Signal::SIGTERM)?;
    // Read to the end, or it would wait for somebody to read.
    printed.read_to_end(&mut Vec::new())?;

    let ended = await_end(&mut demo)?;
    ensure!(ended.code() == Some(130), "it ended with {ended}");
    check_gone(&name)
}

/// A name that neither a person's demo nor another test uses.
fn name(test: &str) -> String {
    format!("d{}-{test}", std::process::id())
}

fn demo(name: &str) -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_egret-demo"));
    demo.args(["--name", name]).stdin(Stdio::null());
    demo
}

/// Reads until the demo runs on, and returns the commands that it says one may type.
fn read_guide(printed: &mut impl BufRead) -> Result<Vec<String>> {
    read_until(printed, |line| line.contains("until Ctrl-C"))?;
    let mut commands = Vec::new();
    let is_last = |line: &str| line.trim_start().starts_with("kill");
    read_until(printed, |line| {
        commands.extend(Some(line.trim().to_owned()).filter(|it| !it.is_empty()));
        is_last(line)
    })?;
    Ok(commands)
}

/// Says whether a command ends by itself, and lets the demo go on at once.
fn ends(command: &str) -> bool {
    !command
        .split(' ')
        .any(|word| ["watch", "ping", "kill"].contains(&word))
}

fn type_in(directory: &Path, command: &str) -> Result<()> {
    println!("typing: {command}");
    let typed = Command::new("sh")
        .args(["-c", command])
        .current_dir(directory)
        .output()?;
    let complaint = String::from_utf8_lossy(&typed.stderr);
    ensure!(
        typed.status.success(),
        "`{command}` failed ({}): {complaint}",
        typed.status
    );
    Ok(())
}

fn read_until(printed: &mut impl BufRead, mut found: impl FnMut(&str) -> bool) -> Result<()> {
    let mut seen = String::new();
    loop {
        let start = seen.len();
        ensure!(
            printed.read_line(&mut seen)? > 0,
            "it ended early, after\n{seen}"
        );
        if found(&seen[start..]) {
            return Ok(());
        }
    }
}

fn send(demo: &Child, signal: Signal) -> Result<()> {
    let id = nix::unistd::Pid::from_raw(i32::try_from(demo.id())?);
    Ok(nix::sys::signal::kill(id, signal)?)
}

fn await_end(demo: &mut Child) -> Result<ExitStatus> {
    wait_for(END_LIMIT, "the demo ends", || Ok(demo.try_wait()?))
}

/// Checks that nothing of a site is left.
fn check_gone(name: &str) -> Result<()> {
    let left = lab::list()?
        .into_iter()
        .filter(|site| site.site == name)
        .count();
    ensure!(left == 0, "the site {name} is still listed");
    for entry in std::fs::read_dir("/run/netns")? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        ensure!(
            !file.starts_with(&format!("egret-{name}-")),
            "{file} is left"
        );
    }
    let directory = Path::new(lab::ROOT).join(name);
    ensure!(!directory.exists(), "{} is left", directory.display());
    Ok(())
}

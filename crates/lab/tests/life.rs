//! How sites come and go, whatever happens to those who made them.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Error, Owner, Plan, Site, Topology};

use crate::{demo, name, remains};

/// Set for this very binary when it runs again as a helper of one of its tests: the site's name.
const HELP: &str = "EGRET_LAB_HELP";

/// How long a helper may take to do its part.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_site_is_up_within_a_second_or_so() -> Result<()> {
    let started = Instant::now();

    let site = demo(Topology::two_arm(&name("fast"))).build()?;

    let took = started.elapsed();
    println!("a site of {} hosts was up in {took:?}", site.hosts().len());
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    Ok(())
}

#[test]
fn everything_is_gone_when_a_site_is_dropped() -> Result<()> {
    let site = demo(Topology::two_arm(&name("drop"))).build()?;
    let site_name = site.name().to_owned();
    let mut sleeper = site.host("a1")?.spawn(sleep())?;
    assert!(!remains(&site_name).is_empty());

    drop(site);

    assert_eq!(remains(&site_name), [""; 0]);
    assert!(
        sleeper.wait(LIMIT)?.is_some(),
        "a program outlived its site"
    );
    Ok(())
}

#[test]
fn everything_is_gone_when_the_builder_was_killed() -> Result<()> {
    let site_name = name("killed");
    let mut builder = helper("life::helper_builds_and_waits", &site_name)?
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let marker = Path::new(lab::ROOT).join(&site_name).join("gw/sleeper");
    let sleeper = lab::until(LIMIT, || {
        std::fs::read_to_string(&marker)
            .ok()
            .filter(|it| !it.is_empty())
    });
    let sleeper = sleeper.context("the helper did not come up")?;
    assert!(matches!(
        Site::build(&Plan::new(&site_name)),
        Err(Error::Held { .. })
    ));

    builder.kill()?;
    builder.wait()?;

    let gone = lab::until(LIMIT, || has_ended(&sleeper).then_some(()));
    assert!(gone.is_some(), "the program {sleeper} outlived its lab");
    assert!(!remains(&site_name).is_empty(), "nobody has cleaned up yet");
    lab::sweep()?;
    assert_eq!(remains(&site_name), [""; 0]);
    Ok(())
}

#[test]
fn a_builder_that_is_killed_at_any_moment_leaves_nothing_after_a_sweep() -> Result<()> {
    for delay_ms in (5..300).step_by(15) {
        let site_name = name(&format!("at-{delay_ms}"));
        let mut builder = helper("life::helper_builds_and_waits", &site_name)?
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;

        std::thread::sleep(Duration::from_millis(delay_ms));
        builder.kill()?;
        builder.wait()?;

        lab::sweep()?;
        assert_eq!(remains(&site_name), [""; 0], "killed after {delay_ms} ms");
    }
    Ok(())
}

/// Not a test by itself: the builder that the test above kills.
#[test]
fn helper_builds_and_waits() -> Result<()> {
    let Ok(site_name) = std::env::var(HELP) else {
        return Ok(());
    };
    let site = demo(Topology::two_arm(&site_name)).build()?;
    let gateway = site.host("gw")?;
    let sleeper = gateway.spawn(sleep())?;
    let directory = gateway.directory().context("a gateway has a directory")?;
    std::fs::write(directory.join("sleeper"), sleeper.id().to_string())?;
    // Waits for the killer; ends by itself if that one is gone.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

#[test]
fn a_detached_site_serves_until_it_is_taken_down() -> Result<()> {
    let site_name = name("detached");
    let server = helper("life::helper_serves", &site_name)?;

    let listing = lab::up(&demo(Topology::two_arm(&site_name)).plan(), server)?;

    let Owner::Detached {
        server: Some(server),
    } = listing.owner
    else {
        panic!("{listing:?}")
    };
    let again = lab::list()?
        .into_iter()
        .find(|it| it.site == site_name)
        .context("not listed")?;
    assert_eq!(again.owner, listing.owner);
    assert_eq!(again.hosts.len(), 7);
    {
        let site = Site::open(&site_name)?;
        let body = site.host("a1")?.curl("http://198.51.100.12/")?;
        assert!(body.starts_with("10.1.0.11:"), "{body}");
    }
    assert!(
        !remains(&site_name).is_empty(),
        "looking at a site must not remove it"
    );
    let error = Site::build(&Plan::new(&site_name)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("cargo xtask lab down {site_name}")),
        "{error}"
    );

    lab::down(&site_name)?;

    assert_eq!(remains(&site_name), [""; 0]);
    assert!(lab::until(LIMIT, || has_ended(&server.to_string()).then_some(())).is_some());
    assert!(matches!(lab::down(&site_name), Err(Error::NoSite { .. })));
    Ok(())
}

/// Not a test by itself: the background process of the test above.
#[test]
fn helper_serves() -> Result<()> {
    let Ok(site_name) = std::env::var(HELP) else {
        return Ok(());
    };
    match lab::serve(&site_name)? {}
}

#[test]
fn a_background_process_that_cannot_serve_is_quoted() -> Result<()> {
    let site_name = name("mute");
    let mut server = Command::new("sh");
    server.args(["-c", "echo no such thing >&2; exit 3"]);

    let error = lab::up(&demo(Topology::two_arm(&site_name)).plan(), server).unwrap_err();

    assert!(error.to_string().contains("no such thing"), "{error}");
    assert_eq!(remains(&site_name), [""; 0]);
    Ok(())
}

#[test]
fn two_sites_stand_side_by_side_but_not_under_one_name() -> Result<()> {
    let (one, other) = (name("one"), name("other"));

    let first = demo(Topology::two_arm(&one)).build()?;
    let second = demo(Topology::one_arm(&other)).build()?;
    let error = demo(Topology::one_arm(&one)).build().unwrap_err();

    assert!(matches!(error, Error::Held { .. }), "{error}");
    assert!(first.host("a1")?.ping(second.host("api")?.address()?)?);
    drop(first);
    assert!(second.host("a1")?.ping(second.host("api")?.address()?)?);
    Ok(())
}

#[test]
fn a_build_that_fails_leaves_nothing_and_says_which_line_failed() -> Result<()> {
    let site_name = name("fails");
    let mut plan = demo(Topology::two_arm(&site_name)).plan();
    plan.host("a1").route("192.0.2.0/24 via 203.0.113.1");

    let error = plan.build().unwrap_err();

    assert!(
        error
            .to_string()
            .contains("`ip route add 192.0.2.0/24 via 203.0.113.1`"),
        "{error}"
    );
    assert_eq!(remains(&site_name), [""; 0]);
    Ok(())
}

#[test]
fn a_namespace_that_is_not_the_labs_is_left_alone() -> Result<()> {
    let site_name = name("guest");
    let guest = format!("egret-{site_name}-a1");
    let status = Command::new("ip").args(["netns", "add", &guest]).status()?;
    assert!(status.success());

    let error = demo(Topology::two_arm(&site_name)).build().unwrap_err();

    assert!(matches!(error, Error::Occupied { .. }), "{error}");
    assert_eq!(remains(&site_name), [format!("/run/netns/{guest}")]);
    let status = Command::new("ip").args(["netns", "del", &guest]).status()?;
    assert!(status.success());
    Ok(())
}

/// This very binary again, running nothing but one of its helpers.
fn helper(test: &str, site_name: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", test, "--nocapture"])
        .env(HELP, site_name);
    Ok(command)
}

fn sleep() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600");
    command
}

/// Says whether a process has ended, even if nobody has waited for it yet.
fn has_ended(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

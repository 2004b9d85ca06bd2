//! `egret-lab`: a site that stays up to play with; `cargo xtask lab` runs it.
//!
//! The library knows nothing of Egret's programs. This command does: it leaves an example
//! configuration in the gateway's directory and says how to start `egretd` with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use lab::{Error, ListedHost, Listing, Owner, Role, Target, Topology};

const USAGE: &str = "\
A site in network namespaces, to play with: pods, a gateway, routers, and targets with an ACL.

  cargo xtask lab up [SHAPE] [--name NAME]   build it; it stays when this command ends
  cargo xtask lab down [NAME]                remove it, with everything that is pinned in it
  cargo xtask lab list                       show what is up

SHAPE is two-arm (the gateway stands between inside and outside; without SHAPE it is this one) or
one-arm (it hangs off the router by one interface). Without NAME, `up` takes the name lab, and
`down` takes the only site there is.
";

/// What a site is called when nobody says otherwise.
const NAME_DEFAULT: &str = "lab";

/// The exit status for a command line that makes no sense.
const MISUSED: u8 = 2;

/// The external addresses of the two teams.
const TEAM_A: [&str; 2] = ["192.0.2.10", "192.0.2.11"];
const TEAM_B: [&str; 1] = ["192.0.2.20"];

#[derive(Clone, Copy)]
enum Shape {
    TwoArm,
    OneArm,
}

enum Order {
    Up {
        shape: Shape,
        name: String,
    },
    Down {
        name: Option<String>,
    },
    List,
    /// What the process in the background does; people do not type it.
    Serve {
        name: String,
    },
    Help,
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let Some(order) = parse(&given) else {
        eprint!(
            "egret-lab: cannot make sense of `{}`\n\n{USAGE}",
            given.join(" ")
        );
        return ExitCode::from(MISUSED);
    };
    match run(order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("egret-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(given: &[&str]) -> Option<Order> {
    let (verb, rest) = given.split_first()?;
    match (*verb, rest) {
        ("up", rest) => parse_up(rest),
        ("down", []) => Some(Order::Down { name: None }),
        ("down", [name]) => Some(Order::Down {
            name: Some((*name).to_owned()),
        }),
        ("list", []) => Some(Order::List),
        ("serve", [name]) => Some(Order::Serve {
            name: (*name).to_owned(),
        }),
        ("help" | "--help" | "-h", _) => Some(Order::Help),
        _ => None,
    }
}

fn parse_up(mut rest: &[&str]) -> Option<Order> {
    let (mut shape, mut name) = (Shape::TwoArm, NAME_DEFAULT);
    loop {
        match rest {
            [] => {
                return Some(Order::Up {
                    shape,
                    name: name.to_owned(),
                });
            }
            ["two-arm", more @ ..] => (shape, rest) = (Shape::TwoArm, more),
            ["one-arm", more @ ..] => (shape, rest) = (Shape::OneArm, more),
            ["--name", given, more @ ..] => (name, rest) = (given, more),
            [..] => return None,
        }
    }
}

fn run(order: Order) -> Result<()> {
    match order {
        Order::Up { shape, name } => up(shape, &name),
        Order::Down { name } => down(name),
        Order::List => list(),
        Order::Serve { name } => match lab::serve(&name)? {},
        Order::Help => {
            print!("{USAGE}");
            Ok(())
        }
    }
}

fn up(shape: Shape, name: &str) -> Result<()> {
    let topology = match shape {
        Shape::TwoArm => Topology::two_arm(name),
        Shape::OneArm => Topology::one_arm(name),
    };
    let plan = topology
        .pods("10.1.0.0/24", ["a1", "a2"])
        .pods("10.2.0.0/24", ["b1"])
        .gateway("gw")
        .target(Target::guarded("db").http(80).datagrams(53).stream(9000))
        .target(Target::open("api").http(80).datagrams(53).stream(9000))
        .external(TEAM_A.into_iter().chain(TEAM_B))
        .plan();
    let this = std::env::current_exe().context("cannot tell which program this is")?;
    let mut server = Command::new(&this);
    server.args(["serve", name]);
    let site = lab::up(&plan, server)?;

    // What cannot be written is no reason to leave a site that nobody was told of.
    let directory = Path::new(lab::ROOT).join(name).join("gw");
    let config = directory.join("gateway.yaml");
    let written = fs::write(&config, example(shape, &directory));
    if let Err(error) = written {
        lab::down(name)?;
        return Err(error).with_context(|| format!("cannot write {}", config.display()));
    }
    print!("{}", guide(shape, &site, &directory, &this)?);
    Ok(())
}

fn down(name: Option<String>) -> Result<()> {
    let name = match name {
        Some(name) => name,
        None => only_site()?,
    };
    match lab::down(&name) {
        Err(Error::NoSite { site }) => bail!("there is no site {site}; {}", names()?),
        ended => ended?,
    }
    println!("{name} is gone.");
    Ok(())
}

fn list() -> Result<()> {
    let sites = lab::list()?;
    if sites.is_empty() {
        println!("No site is up; `cargo xtask lab up` builds one.");
    }
    for site in sites {
        print!("{site}");
    }
    Ok(())
}

/// The site that `down` without a name means: the only one that stays by itself.
fn only_site() -> Result<String> {
    let mut detached = lab::list()?.into_iter().filter(|site| match site.owner {
        Owner::Detached { .. } => true,
        Owner::Process { .. } => false,
    });
    match (detached.next(), detached.next()) {
        (Some(site), None) => Ok(site.site),
        (None, _) => bail!("no site is up"),
        (Some(_), Some(_)) => bail!("say which: {}", names()?),
    }
}

fn names() -> Result<String> {
    let names: Vec<String> = lab::list()?.into_iter().map(|site| site.site).collect();
    Ok(if names.is_empty() {
        "none is up".to_owned()
    } else {
        format!("up: {}", names.join(", "))
    })
}

/// A configuration for the gateway of the site, in which each team has its own addresses.
fn example(shape: Shape, directory: &Path) -> String {
    let interfaces = match shape {
        Shape::TwoArm => "  - {name: in0, realm: internal}\n  - {name: out0, realm: external}",
        Shape::OneArm => "  - {name: eth0, realm: both}",
    };
    let (team_a, team_b, directory) = (TEAM_A.join(", "), TEAM_B.join(", "), directory.display());
    format!(
        "interfaces:
{interfaces}
pools:
  - {{name: team-a, addresses: [{team_a}]}}
  - {{name: team-b, addresses: [{team_b}]}}
rules:
  - {{name: inside-stays-inside, sources: [10.0.0.0/8], destinations: [10.0.0.0/8], action: pass}}
  - {{name: team-a, sources: [10.1.0.0/24], pool: team-a}}
  - {{name: team-b, sources: [10.2.0.0/24], pool: team-b}}
api:
  socket: {directory}/egret.sock
state: {directory}/bpf/egret
"
    )
}

/// What to know and what to type.
fn guide(shape: Shape, site: &Listing, directory: &Path, this: &Path) -> Result<String> {
    let picture = match shape {
        Shape::TwoArm => {
            "
  a1 ─┐                                    ┌─ db   lets in only the external addresses
  a2 ─┼─ inside ══ in0 gw out0 ══ outside ─┴─ api  lets in everybody
  b1 ─┘"
        }
        Shape::OneArm => {
            "
  a1 ─┐            ┌─ db   lets in only the external addresses
  a2 ─┼─ router ───┴─ api  lets in everybody
  b1 ─┘    ║ eth0
           gw"
        }
    };
    let mut hosts = String::new();
    for host in &site.hosts {
        hosts += &format!("{}\n", row(host));
    }
    let host = |name: &str| {
        let found = site.hosts.iter().find(|host| host.name == name);
        found.with_context(|| format!("the site was built without {name}"))
    };
    let address = |name: &str| {
        let found = host(name)?.address;
        found.with_context(|| format!("{name} was built without an address"))
    };
    let enter =
        |name: &str| host(name).map(|host| format!("nsenter --net=/run/netns/{}", host.namespace));
    let (pod, gateway) = (enter("a1")?, enter("gw")?);
    let (db, api) = (address("db")?, address("api")?);
    let (external, name) = (
        TEAM_A.into_iter().chain(TEAM_B).collect::<Vec<_>>(),
        &site.site,
    );
    let egretd = beside(this, "egretd");
    let egret = beside(this, "egret");
    let (external, directory) = (external.join(", "), directory.display());
    Ok(format!(
        "The site {name} is up, every host of it in a network namespace.
{picture}

{hosts}
The external addresses {external} are routed to gw. Targets serve HTTP on port 80,
which answers with the address it was asked from, and echo UDP on port 53.

No gateway program runs yet; the kernel of gw forwards packets as they are. As root:

  {pod} curl http://{api}/   # answers, and sees the pod's own address
  {pod} curl http://{db}/   # is refused

Start the gateway with the example configuration and try again:

  {gateway} {egretd} --config {directory}/gateway.yaml

In another terminal:

  {egret} --socket {directory}/egret.sock status
  {egret} --socket {directory}/egret.sock watch

When you have seen enough, end egretd and type

  cargo xtask lab down {name}
"
    ))
}

fn row(host: &ListedHost) -> String {
    let ListedHost {
        name,
        role,
        address,
        namespace,
    } = host;
    let role = match role {
        Role::Pod => "pod",
        Role::Gateway => "gateway",
        Role::Router => "router",
        Role::Target => "target",
        Role::Other => "other",
    };
    let address = address.map_or_else(|| "-".to_owned(), |it| it.to_string());
    format!("  {name:<8} {role:<8} {address:<15} /run/netns/{namespace}")
}

/// The path of a program that is built together with this one, as short as the current directory
/// allows.
fn beside(this: &Path, name: &str) -> String {
    let program: PathBuf = this.with_file_name(name);
    let here = std::env::current_dir().unwrap_or_default();
    program
        .strip_prefix(&here)
        .unwrap_or(&program)
        .display()
        .to_string()
}

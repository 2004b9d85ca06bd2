//! Sites that outlive the command that made them: what `cargo xtask lab up|down|list` calls.
//!
//! A site's services need a process to run in. [`up`] starts one in the background, from a command
//! its caller provides, whose only task is to call [`serve`].

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::plan::{Plan, Role};
use crate::state::{Holder, ProcessId, Registry, State, directory_of};
use crate::{Error, Host, Site, wait};

/// How long the background process may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A site as [`list`] shows it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Its name.
    pub site: String,
    /// Who it depends on.
    pub owner: Owner,
    /// Its hosts.
    pub hosts: Vec<ListedHost>,
}

/// One host of a [`Listing`].
#[derive(Clone, Debug)]
pub struct ListedHost {
    /// Its name within the site.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its own address, if it has one.
    pub address: Option<Ipv4Addr>,
    /// The name that `ip netns` knows it by. A program that pins BPF objects is better started with
    /// `nsenter --net=/run/netns/NAME`: `ip netns exec` hides the gateway's bpffs from everybody else.
    pub namespace: String,
}

/// Who a site depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A running process, with which it will go.
    Process {
        /// The process that built it.
        pid: u32,
    },
    /// Nobody: it stays until it is taken down.
    Detached {
        /// The background process that runs its services, or nothing if that has died.
        server: Option<u32>,
    },
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.site, self.owner)?;
        for ListedHost {
            name,
            role,
            address,
            namespace,
        } in &self.hosts
        {
            let role = format!("{role:?}").to_lowercase();
            let address = address.map_or_else(|| "-".to_owned(), |it| it.to_string());
            writeln!(
                f,
                "  {name:<12} {role:<8} {address:<15} /run/netns/{namespace}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid } => write!(f, "goes with process {pid}"),
            Self::Detached { server: Some(pid) } => write!(f, "up, process {pid} serves in it"),
            Self::Detached { server: None } => write!(f, "up, but nothing serves in it any more"),
        }
    }
}

/// Builds a site that stays up. `server` has to call [`serve`] with the site's name.
pub fn up(plan: &Plan, mut server: Command) -> Result<Listing, Error> {
    let site = Site::build_silent(plan)?;
    let directory = directory_of(site.name());
    fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
    let log = directory.join("serve.log");
    let open_log = || File::options().append(true).create(true).open(&log);
    let output = open_log().map_err(Error::file("create", &log))?;
    let errors = open_log().map_err(Error::file("create", &log))?;
    // A process group of its own, so that Ctrl-C in this terminal does not reach it.
    server
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors);
    let failed = |why: String| Error::Serving {
        site: plan.site.clone(),
        why,
        log: fs::read_to_string(&log).unwrap_or_default(),
    };
    let mut child = server.spawn().map_err(|error| failed(error.to_string()))?;

    if let Err(error) = await_serving(&mut child, plan, &failed) {
        // It may have ended by itself, which is as good.
        let _ = child.kill().and_then(|()| child.wait());
        return Err(error);
    }
    let id = ProcessId::of(child.id()).ok_or_else(|| failed("it ended at once".to_owned()))?;
    let hosts = site.hosts().iter().map(listed).collect();
    let claim = site
        .release()
        .expect("invariant: a site that was built has its claim");
    Registry::open()?.detach(claim, id)?;
    // The end of its input tells the server to look whether it is meant to stay.
    drop(child.stdin.take());
    let owner = Owner::Detached {
        server: Some(id.pid),
    };
    Ok(Listing {
        site: plan.site.clone(),
        owner,
        hosts,
    })
}

/// Runs the services of a detached site for as long as it is up: what the background process of
/// [`up`] does. Returns only if it cannot serve, or if `up` did not finish.
pub fn serve(site: &str) -> Result<Infallible, Error> {
    let mut opened = Site::open(site)?;
    opened.serve()?;
    let marker = ready_marker(site);
    fs::write(&marker, "").map_err(Error::file("create", &marker))?;
    // Whatever is said there, only its end matters.
    io::stdin()
        .read_to_end(&mut Vec::new())
        .map_err(Error::file("read", "/dev/stdin"))?;

    let this = ProcessId::this()?;
    let state = Registry::open()?.find(site)?;
    match state.map(|state| state.holder) {
        Some(Holder::Nobody { server }) if server == this => loop {
            thread::park();
        },
        Some(Holder::Nobody { .. } | Holder::Builder { .. }) | None => Err(Error::Serving {
            site: site.to_owned(),
            why: "the command that started it did not finish".to_owned(),
            log: String::new(),
        }),
    }
}

/// Removes a site that is detached, or whose builder is dead.
pub fn down(site: &str) -> Result<(), Error> {
    let registry = Registry::open()?;
    if registry.sweep()?.iter().any(|swept| swept == site) {
        return Ok(());
    }
    let state = registry.find(site)?.ok_or_else(|| Error::NoSite {
        site: site.to_owned(),
    })?;
    match state.holder {
        Holder::Nobody { .. } => registry.remove(&state),
        Holder::Builder { builder } => Err(Error::Held {
            site: site.to_owned(),
            pid: builder.pid,
        }),
    }
}

/// Returns the sites that are up, after removing what dead builders left.
pub fn list() -> Result<Vec<Listing>, Error> {
    let registry = Registry::open()?;
    registry.sweep()?;
    registry.all()?.iter().map(listing).collect()
}

/// Removes the sites whose builders are dead, and returns their names.
pub fn sweep() -> Result<Vec<String>, Error> {
    Registry::open()?.sweep()
}

fn await_serving(
    child: &mut Child,
    plan: &Plan,
    failed: &impl Fn(String) -> Error,
) -> Result<(), Error> {
    let marker = ready_marker(&plan.site);
    let outcome = wait::until(START_LIMIT, || match child.try_wait() {
        Ok(Some(status)) => Some(Err(failed(format!("it ended with {status}")))),
        Ok(None) => marker.exists().then_some(Ok(())),
        Err(error) => Some(Err(failed(error.to_string()))),
    });
    outcome.unwrap_or_else(|| Err(failed(format!("not within {} s", START_LIMIT.as_secs()))))
}

/// The file by which the background process says that it serves. No host can be named like it.
fn ready_marker(site: &str) -> PathBuf {
    directory_of(site).join("serve.ready")
}

fn listing(state: &State) -> Result<Listing, Error> {
    let plan = state.plan()?;
    let hosts = plan
        .hosts
        .iter()
        .zip(&state.made.namespaces)
        .map(|(host, namespace)| ListedHost {
            name: host.name.clone(),
            role: host.role,
            address: host.addresses.first().map(|(_, prefix)| prefix.address()),
            namespace: namespace.clone(),
        });
    let owner = match state.holder {
        Holder::Builder { builder } => Owner::Process { pid: builder.pid },
        Holder::Nobody { server } => Owner::Detached {
            server: server.is_running().then_some(server.pid),
        },
    };
    Ok(Listing {
        site: state.site.clone(),
        owner,
        hosts: hosts.collect(),
    })
}

fn listed(host: &Host) -> ListedHost {
    ListedHost {
        name: host.name().to_owned(),
        role: host.role(),
        address: host.address().ok(),
        namespace: host.namespace().to_owned(),
    }
}

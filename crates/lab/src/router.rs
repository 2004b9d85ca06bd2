//! Routers that speak BGP and BFD: FRR, BIRD and GoBGP, as their makers ship them, on hosts of a site.
//!
//! A [`RouterPlan`] says what one is told in words that all three have; each make has a file that turns it
//! into its own configuration, and what it answers into the same words again. They run from a folder into
//! which their packages were unpacked, so nothing of them is installed, and nothing of the machine's own is
//! touched.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path as FilePath, PathBuf},
    time::Duration,
};

use crate::{Error, Host, Process, wait};

mod bird;
mod control;
mod frr;
mod gobgp;

/// How long a router may take until it can be asked, on a machine that has other things to do.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Who made a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Brand {
    /// FRR: zebra, bgpd and bfdd.
    Frr,
    /// BIRD 2.
    Bird,
    /// GoBGP, which knows neither BFD nor the kernel's routes.
    Gobgp,
}

impl Brand {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Frr, Self::Bird, Self::Gobgp];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frr => "FRR",
            Self::Bird => "BIRD",
            Self::Gobgp => "GoBGP",
        }
    }

    /// The package of Debian's that has it.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Bird => "bird2",
            Self::Gobgp => "gobgpd",
        }
    }

    /// The variable that says in which folder it was unpacked.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Frr => "EGRET_FRR",
            Self::Bird => "EGRET_BIRD",
            Self::Gobgp => "EGRET_GOBGP",
        }
    }
}

/// What a router is told.
#[derive(Clone, Debug)]
pub struct RouterPlan {
    /// Its autonomous system.
    pub asn: u32,
    /// Its BGP identifier.
    pub id: Ipv4Addr,
    /// Whom it speaks with.
    pub neighbours: Vec<Neighbour>,
}

/// Somebody a router speaks with.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// The interface that it is behind, where no address is to be known (FRR only).
    pub interface: Option<String>,
    /// Its autonomous system.
    pub asn: u32,
    /// The password of TCP-MD5.
    pub password: Option<String>,
    /// Whether what did not come from the same link is not taken.
    pub ttl_security: bool,
    /// How long it may be silent.
    pub hold_time: Duration,
    /// How far apart its BFD packets are, of which three may be lost.
    pub bfd: Option<Duration>,
    /// How long its routes are kept when it restarts, where the router can be told; GoBGP only keeps any if it is.
    pub restart: Option<Duration>,
    /// Whether the router waits to be called.
    pub is_passive: bool,
    /// Prefixes that it is told of.
    pub announced: Vec<String>,
}

impl Neighbour {
    /// One of which nothing special is said.
    pub fn new(address: impl Into<IpAddr>, asn: u32) -> Self {
        Self {
            address: address.into(),
            interface: None,
            asn,
            password: None,
            ttl_security: false,
            hold_time: Duration::from_secs(9),
            bfd: None,
            restart: None,
            is_passive: false,
            announced: Vec::new(),
        }
    }
}

/// How a router's session with a neighbour stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Whether it is established.
    pub is_established: bool,
    /// What the router says of it, as it says it: for messages of tests.
    pub words: String,
}

/// One way to a prefix, as a router knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// `192.0.2.10/32`.
    pub prefix: String,
    /// Where to.
    pub next_hop: String,
    /// Numbers with spaces between them.
    pub as_path: String,
    /// Two numbers each: `65535:0`.
    pub communities: Vec<String>,
    /// Three numbers each: `65010:1:2`.
    pub large_communities: Vec<String>,
    /// The multi-exit discriminator.
    pub med: Option<u32>,
    /// Whether the neighbour is restarting, and the route only kept for it.
    pub is_stale: bool,
}

/// A router that runs.
pub struct Router {
    brand: Brand,
    host: Host,
    root: PathBuf,
    folder: PathBuf,
    processes: Vec<(&'static str, Process)>,
}

impl Router {
    /// Starts a router on a host and waits until it can be asked. `root` is where its package was
    /// unpacked.
    pub fn start(
        brand: Brand,
        root: &FilePath,
        host: &Host,
        plan: &RouterPlan,
    ) -> Result<Self, Error> {
        let folder = host.directory().ok_or_else(|| Error::NoRouter {
            host: host.name().to_owned(),
        })?;
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        let mut router = Self {
            brand,
            host: host.clone(),
            root: root.to_owned(),
            folder: folder.to_owned(),
            processes: Vec::new(),
        };
        match brand {
            Brand::Frr => frr::start(&mut router, plan)?,
            Brand::Bird => bird::start(&mut router, plan)?,
            Brand::Gobgp => gobgp::start(&mut router, plan)?,
        }
        Ok(router)
    }

    /// Who made it.
    pub fn brand(&self) -> Brand {
        self.brand
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// How its session with a neighbour stands.
    pub fn session(&self, neighbour: IpAddr) -> Result<Session, Error> {
        match self.brand {
            Brand::Frr => frr::session(self, neighbour),
            Brand::Bird => bird::session(self, neighbour),
            Brand::Gobgp => gobgp::session(self, neighbour),
        }
    }

    /// Every way that neighbours told it of, of both versions of IP, sorted.
    pub fn paths(&self) -> Result<Vec<Path>, Error> {
        let mut paths = match self.brand {
            Brand::Frr => frr::paths(self),
            Brand::Bird => bird::paths(self),
            Brand::Gobgp => gobgp::paths(self),
        }?;
        paths.sort();
        Ok(paths)
    }

    /// Whether its BFD session with a neighbour is up.
    pub fn is_bfd_up(&self, neighbour: IpAddr) -> Result<bool, Error> {
        match self.brand {
            Brand::Frr => frr::is_bfd_up(self, neighbour),
            Brand::Bird => bird::is_bfd_up(self, neighbour),
            Brand::Gobgp => Ok(false),
        }
    }

    /// Has it ask a neighbour to say everything again.
    pub fn refresh(&self, neighbour: IpAddr) -> Result<(), Error> {
        match self.brand {
            Brand::Frr => frr::refresh(self, neighbour),
            Brand::Bird => bird::refresh(self, neighbour),
            Brand::Gobgp => gobgp::refresh(self, neighbour),
        }
    }

    /// Sends a signal to all of its programs.
    pub fn signal(&mut self, signal: crate::Signal) -> Result<(), Error> {
        let mut processes = self.processes.iter_mut();
        processes.try_for_each(|(_, it)| it.signal(signal))
    }

    /// The last lines that it wrote of itself.
    pub fn log(&self) -> String {
        let mut text = String::new();
        for (program, _) in &self.processes {
            let written = fs::read_to_string(self.log_of(program)).unwrap_or_default();
            let lines: Vec<&str> = written.lines().rev().take(30).collect();
            text += &format!("--- {program}\n");
            for line in lines.iter().rev() {
                text += line;
                text.push('\n');
            }
        }
        text
    }

    fn log_of(&self, program: &str) -> PathBuf {
        self.folder.join(format!("{program}.log"))
    }

    /// Writes a file of its own.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(Error::file("write", &path))?;
        Ok(path)
    }

    /// Runs one of its programs, whose output goes to its log, and waits until `is_ready`.
    fn run(
        &mut self,
        program: &'static str,
        mut command: std::process::Command,
        is_ready: impl Fn(&Self) -> bool,
    ) -> Result<(), Error> {
        let log = self.log_of(program);
        let file = fs::File::create(&log).map_err(Error::file("create", &log))?;
        let again = file.try_clone().map_err(Error::file("open", &log))?;
        command.stdin(std::process::Stdio::null());
        command.stdout(file).stderr(again);
        let process = self.host.spawn(command)?;
        self.processes.push((program, process));
        let is_up = wait::until(START_LIMIT, || is_ready(self).then_some(()));
        is_up.ok_or_else(|| Error::RouterSilent {
            program: program.to_owned(),
            host: self.host.name().to_owned(),
            log: self.log(),
        })
    }

    /// The folders in which its libraries are.
    fn libraries(&self) -> String {
        let folders = [
            "usr/lib/x86_64-linux-gnu/frr",
            "usr/lib/x86_64-linux-gnu",
            "lib/x86_64-linux-gnu",
        ];
        let folders = folders.map(|it| self.root.join(it).display().to_string());
        folders.join(":")
    }

    fn unexpected(&self, question: &str, answer: &str) -> Error {
        Error::ToolOutput {
            command: format!("{}: {question}", self.brand.name()),
            output: answer.to_owned(),
        }
    }
}

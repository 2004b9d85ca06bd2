//! Who stands at the target and looks whose packets come from which external endpoint.
//!
//! The flows of a [herd](super::herd) say who they are in what they say. So two that have the same external
//! endpoint are seen, whatever became of the answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddrV4,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use etherparse::{SlicedPacket, TransportSlice};
use lab::{Capture, Site};

use super::herd::{PORT, speaker};

/// How long nothing may come before it is looked whether it is enough.
const LULL: Duration = Duration::from_millis(200);

/// A protocol's letters, and an external endpoint.
type Endpoint = (&'static str, SocketAddrV4);

/// Looks until it is enough.
pub struct Witness {
    enough: Arc<AtomicBool>,
    looking: JoinHandle<Result<Testimony>>,
}

/// What was seen.
#[derive(Default)]
pub struct Testimony {
    /// The flows that spoke from each external endpoint.
    speakers: BTreeMap<Endpoint, BTreeSet<u64>>,
}

impl Witness {
    /// Begins to look.
    ///
    /// # Errors
    ///
    /// If the site has no such target.
    pub fn start(site: &Site) -> Result<Self> {
        let target = site.host("api")?;
        let wire = target.interfaces().next().context("it has a link")?;
        let capture = Capture::open(target, wire)?;
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let looking = std::thread::spawn(move || look(capture, &stop));
        Ok(Self { enough, looking })
    }

    /// Ends, and says what it saw.
    ///
    /// # Errors
    ///
    /// If it broke off.
    pub fn stop(self) -> Result<Testimony> {
        self.enough.store(true, Ordering::Relaxed);
        self.looking.join().ok().context("nobody looked")?
    }
}

impl Testimony {
    /// The external endpoints that more than one flow had.
    pub fn duplicates(&self) -> impl Iterator<Item = (&Endpoint, &BTreeSet<u64>)> {
        self.speakers.iter().filter(|(_, flows)| flows.len() > 1)
    }

    /// How many flows spoke.
    pub fn flows(&self) -> usize {
        let all: BTreeSet<&u64> = self.speakers.values().flatten().collect();
        all.len()
    }
}

impl fmt::Display for Testimony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} flows seen at the target from {} external endpoints, {} of them had by two",
            self.flows(),
            self.speakers.len(),
            self.duplicates().count()
        )
    }
}

fn look(mut capture: Capture, enough: &AtomicBool) -> Result<Testimony> {
    let mut seen = Testimony::default();
    while !enough.load(Ordering::Relaxed) {
        // Those of one moment are one call: all that came are taken in before it returns.
        capture.find(LULL, |frame| {
            if let Some((endpoint, flow)) = spoken(frame) {
                seen.speakers.entry(endpoint).or_default().insert(flow);
            }
            enough.load(Ordering::Relaxed).then_some(())
        })?;
    }
    Ok(seen)
}

/// From where a frame's flow speaks, and which flow it is, if it is one of a herd's.
fn spoken(frame: &[u8]) -> Option<(Endpoint, u64)> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let address = sliced.net.as_ref()?.ipv4_ref()?.header().source_addr();
    let (protocol, ports, said) = match sliced.transport.as_ref()? {
        TransportSlice::Tcp(it) => (
            "tcp",
            [it.source_port(), it.destination_port()],
            it.payload(),
        ),
        TransportSlice::Udp(it) => (
            "udp",
            [it.source_port(), it.destination_port()],
            it.payload(),
        ),
        TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => {
            return None;
        }
    };
    let endpoint = (protocol, SocketAddrV4::new(address, ports[0]));
    let flow = (ports[1] == PORT).then(|| speaker(said))??;
    Some((endpoint, flow))
}

//! Short connections, one after the other, from several callers at once.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use lab::Site;

use super::members::HTTP;

/// Callers at one time.
const CALLERS: u32 = 8;
/// How long a connection may take before it counts as lost.
const LIMIT: Duration = Duration::from_secs(5);

/// Connections that are begun at a rate, until it is enough.
pub struct Load {
    enough: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Seen>>,
}

/// What became of the connections.
#[derive(Default)]
pub struct Seen {
    /// Those that ended well.
    pub done: u64,
    /// Those that did not.
    pub failed: u64,
    /// The addresses that they came from, as the target saw them.
    pub addresses: BTreeSet<String>,
    slowest: Duration,
    elapsed: Duration,
    errors: BTreeSet<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.done as f64 / self.elapsed.as_secs_f64().max(0.001);
        write!(
            f,
            "{} connections, {rate:.0} a second, {} failed {:?}, the slowest took {:?}",
            self.done, self.failed, self.errors, self.slowest
        )
    }
}

impl Load {
    /// Begins so many connections a second, or as many as the machine can.
    ///
    /// # Errors
    ///
    /// If the site has no such pod.
    pub fn start(site: &Site, rate: u32) -> Result<Self> {
        let enough = Arc::new(AtomicBool::new(false));
        let pause = Duration::from_secs(1) * CALLERS / rate;
        let pod = site.host("a1")?;
        let callers = (0..CALLERS).map(|_| {
            let enough = Arc::clone(&enough);
            pod.thread(move || call(&enough, pause))
        });
        Ok(Self {
            callers: callers.collect::<Result<_, _>>()?,
            enough,
        })
    }

    /// Goes on for a while, and ends.
    ///
    /// # Errors
    ///
    /// As [`Load::stop`].
    pub fn run_for(self, time: Duration) -> Result<Seen> {
        std::thread::sleep(time);
        self.stop()
    }

    /// Ends when the last connections have.
    ///
    /// # Errors
    ///
    /// If a caller broke off.
    pub fn stop(self) -> Result<Seen> {
        self.enough.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for caller in self.callers {
            let seen = caller.join().ok().context("a caller broke off")?;
            all.done += seen.done;
            all.failed += seen.failed;
            all.slowest = all.slowest.max(seen.slowest);
            all.elapsed = all.elapsed.max(seen.elapsed);
            all.addresses.extend(seen.addresses);
            all.errors.extend(seen.errors);
        }
        Ok(all)
    }
}

fn call(enough: &AtomicBool, pause: Duration) -> Seen {
    let (mut seen, began) = (Seen::default(), Instant::now());
    let mut next = began;
    while !enough.load(Ordering::Relaxed) {
        let start = Instant::now();
        match ask() {
            Ok(address) => {
                seen.done += 1;
                seen.addresses.insert(address);
            }
            Err(error) => {
                seen.failed += 1;
                seen.errors.insert(error.to_string());
            }
        }
        seen.slowest = seen.slowest.max(start.elapsed());
        // At a rate, and not after a pause: who is late does not wait.
        next = (next + pause).max(start);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    seen.elapsed = began.elapsed();
    seen
}

/// One connection: asks who calls, and returns the address.
fn ask() -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&HTTP, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    match body.trim().rsplit_once(':') {
        Some((address, _)) => Ok(address.to_owned()),
        None => Err(io::Error::other(format!("it answered {answer:?}"))),
    }
}

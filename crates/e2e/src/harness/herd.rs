//! Flows that are held open and go on talking, and what they notice of what happens on their way.
//!
//! Each sends a few bytes every so often and waits for the same bytes to come back. How long the longest wait
//! was is the flow's stall.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lab::Site;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

use super::{members::PATIENCE, wait_for};

/// Where the other side listens, for both protocols.
pub(super) const PORT: u16 = 7000;
/// How often a flow says something.
const PAUSE: Duration = Duration::from_millis(500);
/// After so long without an answer a flow is usually lost.
pub const LIMIT: Duration = Duration::from_secs(15);
/// How long a datagram's answer is waited for before it is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// Bytes of what is said.
const SAID: usize = 16;
/// Files that so many flows need, and some more.
const FILES: u64 = 16_384;

/// What kind of flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tcp,
    Udp,
}

/// One flow, for whoever looks at it meanwhile.
#[derive(Default)]
struct Flow {
    /// When it was answered for the first time.
    since: OnceLock<Instant>,
    /// What was answered.
    exchanges: AtomicU64,
    /// The longest wait so far, in microseconds.
    stall: AtomicU64,
    is_lost: AtomicBool,
}

impl Flow {
    fn stall(&self) -> Duration {
        Duration::from_micros(self.stall.load(Ordering::Relaxed))
    }
}

/// The other side of all flows, at the target.
pub struct Echo {
    is_over: Arc<AtomicBool>,
    answering: JoinHandle<io::Result<()>>,
    to: SocketAddr,
    /// How many flows there were: each has a number of its own.
    numbered: AtomicU64,
}

/// Which flows there are to be.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// TCP connections.
    pub tcp: usize,
    /// And so many of UDP.
    pub udp: usize,
    /// After so long without an answer a flow is lost.
    pub limit: Duration,
}

/// Flows that were begun together, until it is enough.
pub struct Herd {
    enough: Arc<AtomicBool>,
    flows: Arc<Vec<Flow>>,
    callers: JoinHandle<io::Result<Vec<Ended>>>,
    limit: Duration,
}

/// What became of one.
struct Ended {
    kind: Kind,
    stall: Duration,
    error: Option<String>,
}

/// What became of all of one kind.
#[derive(Default)]
pub struct Noticed {
    /// How many there were.
    pub flows: usize,
    /// Those that were reset, or had no answer any more.
    pub lost: usize,
    errors: BTreeMap<String, usize>,
    /// The longest wait of each, shortest first.
    stalls: Vec<Duration>,
}

impl Noticed {
    /// The longest wait of so large a part of the flows, at most.
    pub fn stall(&self, part: f64) -> Duration {
        let last = self.stalls.len().saturating_sub(1);
        let place = (last as f64 * part).round() as usize;
        self.stalls.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly, all] =
            [0.5, 0.9, 0.99, 1.0].map(|part| self.stall(part).as_millis());
        write!(
            f,
            "{} flows, {} lost {:?}; waits in ms: half {half}, 90 % {most}, 99 % {nearly}, worst {all}",
            self.flows, self.lost, self.errors,
        )
    }
}

impl Echo {
    /// Starts to answer.
    ///
    /// # Errors
    ///
    /// If it cannot.
    pub fn start(site: &Site) -> Result<Self> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, FILES.min(most), most)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let target = site.host("api")?;
        let to = SocketAddr::from((target.address()?, PORT));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let answering = target.thread(move || alone(answer(&stop, &ready)))?;
        is_ready.recv().context("nobody answers")?;
        Ok(Self {
            is_over,
            answering,
            to,
            numbered: AtomicU64::new(0),
        })
    }

    /// Begins flows; does not wait until they are answered.
    ///
    /// # Errors
    ///
    /// If nobody can call.
    pub fn begin(&self, site: &Site, wanted: Wanted) -> Result<Herd> {
        let count = wanted.tcp + wanted.udp;
        let flows: Arc<Vec<Flow>> = Arc::new((0..count).map(|_| Flow::default()).collect());
        let enough = Arc::new(AtomicBool::new(false));
        let call = Call {
            to: self.to,
            first: self.numbered.fetch_add(count as u64, Ordering::Relaxed),
            wanted,
            flows: Arc::clone(&flows),
            enough: Arc::clone(&enough),
        };
        let callers = site.host("a1")?.thread(move || alone(call_all(call)))?;
        Ok(Herd {
            enough,
            flows,
            callers,
            limit: wanted.limit,
        })
    }

    /// Begins flows, and returns when each has had an answer.
    ///
    /// # Errors
    ///
    /// If one has none.
    pub fn herd(&self, site: &Site, wanted: Wanted) -> Result<Herd> {
        let herd = self.begin(site, wanted)?;
        herd.go_on(1)?;
        ensure!(herd.lost() == 0, "{} could not begin", herd.lost());
        Ok(herd)
    }

    /// Answers no more. Who calls is to end first: this would look like a loss.
    ///
    /// # Errors
    ///
    /// If it broke off.
    pub fn stop(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        Ok(self.answering.join().ok().context("nobody answered")??)
    }
}

impl Herd {
    /// How many are lost.
    pub fn lost(&self) -> usize {
        let lost = |it: &&Flow| it.is_lost.load(Ordering::Relaxed);
        self.flows.iter().filter(lost).count()
    }

    /// The longest wait of any so far.
    pub fn worst(&self) -> Duration {
        self.flows.iter().map(Flow::stall).max().unwrap_or_default()
    }

    /// Waits until each has had so many more answers, or is lost.
    ///
    /// # Errors
    ///
    /// If that does not come to be.
    pub fn go_on(&self, more: u64) -> Result<()> {
        let count = |it: &Flow| it.exchanges.load(Ordering::Relaxed);
        let enough: Vec<u64> = self.flows.iter().map(|it| count(it) + more).collect();
        let has = |(flow, enough): (&Flow, &u64)| {
            count(flow) >= *enough || flow.is_lost.load(Ordering::Relaxed)
        };
        wait_for(PATIENCE + self.limit, "all flows go on", || {
            Ok(self.flows.iter().zip(&enough).all(has).then_some(()))
        })
    }

    /// Waits until each was answered for the first time so long ago, or is lost.
    ///
    /// # Errors
    ///
    /// If that does not come to be.
    pub fn is_older_than(&self, age: Duration) -> Result<()> {
        let is_old = |it: &Flow| it.since.get().is_some_and(|since| since.elapsed() > age);
        let has = |it: &Flow| is_old(it) || it.is_lost.load(Ordering::Relaxed);
        wait_for(PATIENCE + age, "all flows are old", || {
            Ok(self.flows.iter().all(has).then_some(()))
        })
    }

    /// Ends them, and says what those of TCP and those of UDP noticed.
    ///
    /// # Errors
    ///
    /// If a side broke off.
    pub fn stop(self) -> Result<[Noticed; 2]> {
        self.enough.store(true, Ordering::Relaxed);
        let ended = self
            .callers
            .join()
            .ok()
            .context("the callers broke off")??;
        Ok([Kind::Tcp, Kind::Udp].map(|kind| {
            let mut noticed = Noticed::default();
            for flow in ended.iter().filter(|it| it.kind == kind) {
                noticed.flows += 1;
                noticed.stalls.push(flow.stall);
                if let Some(error) = &flow.error {
                    noticed.lost += 1;
                    *noticed.errors.entry(error.clone()).or_default() += 1;
                }
            }
            noticed.stalls.sort_unstable();
            noticed
        }))
    }
}

/// Runs something on this thread, which stands in its host.
fn alone<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Says what it is told, until it is enough.
async fn answer(enough: &AtomicBool, ready: &std::sync::mpsc::Sender<()>) -> io::Result<()> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let listener = TcpListener::bind(any).await?;
    let socket = UdpSocket::bind(any).await?;
    let _ = ready.send(());
    let mut streams = tokio::task::JoinSet::new();
    let mut datagram = [0; SAID];
    while !enough.load(Ordering::Relaxed) {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                streams.spawn(echo(stream));
            }
            received = socket.recv_from(&mut datagram) => {
                let (length, from) = received?;
                socket.send_to(&datagram[..length], from).await?;
            }
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    Ok(())
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut said = [0; SAID];
    loop {
        stream.read_exact(&mut said).await?;
        stream.write_all(&said).await?;
    }
}

/// What all callers know.
struct Call {
    to: SocketAddr,
    /// The number of the first flow.
    first: u64,
    wanted: Wanted,
    flows: Arc<Vec<Flow>>,
    enough: Arc<AtomicBool>,
}

/// What one caller knows.
struct Caller<'a> {
    to: SocketAddr,
    number: u64,
    limit: Duration,
    flow: &'a Flow,
    enough: &'a AtomicBool,
}

async fn call_all(call: Call) -> io::Result<Vec<Ended>> {
    let mut tasks = tokio::task::JoinSet::new();
    let (count, call) = (call.flows.len(), Arc::new(call));
    for index in 0..count {
        let call = Arc::clone(&call);
        tasks.spawn(async move {
            // Not all at once, neither at the beginning nor later.
            tokio::time::sleep(PAUSE * 4 * index as u32 / count as u32).await;
            let flow = &call.flows[index];
            let caller = Caller {
                to: call.to,
                number: call.first + index as u64,
                limit: call.wanted.limit,
                flow,
                enough: &call.enough,
            };
            let (kind, talked) = if index < call.wanted.tcp {
                (Kind::Tcp, caller.talk_tcp().await)
            } else {
                (Kind::Udp, caller.talk_udp().await)
            };
            let error = talked.err().map(|it| it.kind().to_string());
            flow.is_lost.store(error.is_some(), Ordering::Relaxed);
            let stall = flow.stall();
            Ended { kind, stall, error }
        });
    }
    Ok(tasks.join_all().await)
}

/// What a flow says for the how-manieth time.
fn words(number: u64, exchange: u64) -> [u8; SAID] {
    (u128::from(exchange) << 64 | u128::from(number)).to_be_bytes()
}

/// The number of the flow that says this.
pub(super) fn speaker(said: &[u8]) -> Option<u64> {
    let said: [u8; SAID] = said.get(..SAID)?.try_into().ok()?;
    Some(u128::from_be_bytes(said) as u64)
}

impl Caller<'_> {
    fn words(&self) -> [u8; SAID] {
        words(self.number, self.flow.exchanges.load(Ordering::Relaxed))
    }

    fn is_enough(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    async fn talk_tcp(&self) -> io::Result<()> {
        let mut stream = timeout(self.limit, TcpStream::connect(self.to)).await??;
        stream.set_nodelay(true)?;
        while !self.is_enough() {
            let (said, began) = (self.words(), Instant::now());
            stream.write_all(&said).await?;
            let mut heard = [0; SAID];
            timeout(self.limit, stream.read_exact(&mut heard)).await??;
            if heard != said {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.answered(began).await;
        }
        Ok(())
    }

    async fn talk_udp(&self) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(self.to).await?;
        while !self.is_enough() {
            let (said, began) = (self.words(), Instant::now());
            let mut heard = [0; SAID];
            while heard != said {
                if began.elapsed() > self.limit {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                // A router that has no way at this moment says so; it will have one.
                let _ = socket.send(&said).await;
                let _ = timeout(AGAIN, socket.recv(&mut heard)).await;
            }
            self.answered(began).await;
        }
        Ok(())
    }

    async fn answered(&self, began: Instant) {
        self.flow.since.get_or_init(Instant::now);
        self.flow.exchanges.fetch_add(1, Ordering::Relaxed);
        let waited = began.elapsed().as_micros() as u64;
        self.flow.stall.fetch_max(waited, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

//! Flows that are held open and go on talking, and what they notice of what happens on their way.
//!
//! Each sends a few bytes every so often and waits for the same bytes to come back. How long the longest wait
//! was is the flow's stall.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
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
const PORT: u16 = 7000;
/// How often a flow says something.
const PAUSE: Duration = Duration::from_millis(500);
/// After so long without an answer a flow is lost.
const LIMIT: Duration = Duration::from_secs(15);
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
    /// What was answered.
    exchanges: AtomicU64,
    is_lost: AtomicBool,
}

/// The flows, until it is enough.
pub struct Herd {
    /// Whoever calls ends first: an end of who answers would look like a loss.
    enough: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    flows: Arc<Vec<Flow>>,
    callers: JoinHandle<io::Result<Vec<Ended>>>,
    answering: JoinHandle<io::Result<()>>,
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
        let [half, most, nearly, all] = [0.5, 0.9, 0.99, 1.0].map(|part| self.stall(part));
        write!(
            f,
            "{} flows, {} lost {:?}; waits: half {half:.0?}, 90 % {most:.0?}, 99 % {nearly:.0?}, worst {all:.0?}",
            self.flows, self.lost, self.errors,
        )
    }
}

impl Herd {
    /// Begins so many flows; returns when each has had an answer.
    ///
    /// # Errors
    ///
    /// If one has none.
    pub fn start(site: &Site, tcp: usize, udp: usize) -> Result<Self> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, FILES.min(most), most)?;
        let [enough, is_over] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&is_over);
        let target = site.host("api")?;
        let address = SocketAddr::from((target.address()?, PORT));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let answering = target.thread(move || alone(answer(&stop, &ready)))?;
        is_ready.recv().context("nobody answers")?;
        let flows: Arc<Vec<Flow>> = Arc::new((0..tcp + udp).map(|_| Flow::default()).collect());
        let (all, stop) = (Arc::clone(&flows), Arc::clone(&enough));
        let callers = site
            .host("a1")?
            .thread(move || alone(call_all(address, tcp, all, stop)))?;
        let herd = Self {
            enough,
            is_over,
            flows,
            callers,
            answering,
        };
        herd.go_on(1)?;
        ensure!(herd.lost() == 0, "{} could not begin", herd.lost());
        Ok(herd)
    }

    /// How many are lost.
    pub fn lost(&self) -> usize {
        let lost = |it: &&Flow| it.is_lost.load(Ordering::Relaxed);
        self.flows.iter().filter(lost).count()
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
        wait_for(PATIENCE + LIMIT, "all flows go on", || {
            Ok(self.flows.iter().zip(&enough).all(has).then_some(()))
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
        self.is_over.store(true, Ordering::Relaxed);
        self.answering.join().ok().context("nobody answered")??;
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

async fn call_all(
    to: SocketAddr,
    tcp: usize,
    flows: Arc<Vec<Flow>>,
    enough: Arc<AtomicBool>,
) -> io::Result<Vec<Ended>> {
    let mut tasks = tokio::task::JoinSet::new();
    let count = flows.len();
    for number in 0..count {
        let kind = if number < tcp { Kind::Tcp } else { Kind::Udp };
        let (flows, enough) = (Arc::clone(&flows), Arc::clone(&enough));
        tasks.spawn(async move {
            // Not all at once, neither at the beginning nor later.
            tokio::time::sleep(PAUSE * 4 * number as u32 / count as u32).await;
            let flow = &flows[number];
            let mut stall = Duration::ZERO;
            let talked = match kind {
                Kind::Tcp => talk_tcp(to, number, flow, &enough, &mut stall).await,
                Kind::Udp => talk_udp(to, number, flow, &enough, &mut stall).await,
            };
            let error = talked.err().map(|it| it.kind().to_string());
            flow.is_lost.store(error.is_some(), Ordering::Relaxed);
            Ended { kind, stall, error }
        });
    }
    Ok(tasks.join_all().await)
}

/// What a flow says for the how-manieth time.
fn words(number: usize, exchange: u64) -> [u8; SAID] {
    (u128::from(exchange) << 64 | number as u128).to_be_bytes()
}

async fn talk_tcp(
    to: SocketAddr,
    number: usize,
    flow: &Flow,
    enough: &AtomicBool,
    stall: &mut Duration,
) -> io::Result<()> {
    let mut stream = timeout(LIMIT, TcpStream::connect(to)).await??;
    stream.set_nodelay(true)?;
    while !enough.load(Ordering::Relaxed) {
        let said = words(number, flow.exchanges.load(Ordering::Relaxed));
        let began = Instant::now();
        stream.write_all(&said).await?;
        let mut heard = [0; SAID];
        timeout(LIMIT, stream.read_exact(&mut heard)).await??;
        if heard != said {
            return Err(io::ErrorKind::InvalidData.into());
        }
        done(flow, began, stall).await;
    }
    Ok(())
}

async fn talk_udp(
    to: SocketAddr,
    number: usize,
    flow: &Flow,
    enough: &AtomicBool,
    stall: &mut Duration,
) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(to).await?;
    while !enough.load(Ordering::Relaxed) {
        let said = words(number, flow.exchanges.load(Ordering::Relaxed));
        let began = Instant::now();
        let mut heard = [0; SAID];
        while heard != said {
            if began.elapsed() > LIMIT {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // A router that has no way at this moment says so; it will have one.
            let _ = socket.send(&said).await;
            let _ = timeout(AGAIN, socket.recv(&mut heard)).await;
        }
        done(flow, began, stall).await;
    }
    Ok(())
}

async fn done(flow: &Flow, began: Instant, stall: &mut Duration) {
    flow.exchanges.fetch_add(1, Ordering::Relaxed);
    *stall = (*stall).max(began.elapsed());
    tokio::time::sleep(PAUSE).await;
}

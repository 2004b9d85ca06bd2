//! The connections by which members copy flows to each other: one for each direction, made again when they
//! break.
//!
//! ```text
//! listener ─ TLS ─┐
//! callers ── TLS ─┴─► Pipe: bytes to be written ─►
//!                     News: up, bytes, written, down
//! ```

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gateway::{
    cluster::Member,
    copies::exchange::{End, News, Notice},
    intent,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use super::tls::{Credentials, CredentialsError, TlsError};

/// Bytes that are read at once.
const READ: usize = 64 * 1024;
/// How long a member may take to answer a call.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait before a member is called again.
const RETRY: Duration = Duration::from_secs(1);
/// How long to wait before an address is listened on again that could not be.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
/// Calls whose handshake is under way; more wait in the kernel.
const HANDSHAKES_MAX: usize = 16;
/// Calls that wait in the kernel.
const BACKLOG: u32 = 32;

/// Connections that there have been.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What happened to a connection.
#[derive(Debug)]
pub struct Happened {
    /// What.
    pub news: News,
    /// If it has just been made, the way to write to it.
    pub pipe: Option<Pipe>,
}

/// A way to write. When it is dropped, the connection is closed.
#[derive(Debug)]
pub struct Pipe(mpsc::UnboundedSender<Vec<u8>>);

impl Pipe {
    /// Has bytes written. How many may wait is bounded by whoever has them written: a sender by the room of its
    /// transport, a receiver by what it acknowledges.
    pub fn write(&self, bytes: Vec<u8>) {
        let _ = self.0.send(bytes);
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What all connections need.
struct Ground {
    own: IpAddr,
    replication: intent::cluster::Replication,
    names: Vec<String>,
    credentials: Mutex<Option<Credentials>>,
    news: mpsc::Sender<Happened>,
}

/// The connections to all members, which are made again until this is dropped.
pub struct Links {
    ground: Arc<Ground>,
    _tasks: Vec<Task>,
}

impl Links {
    /// Calls these members from an address, and listens on it.
    pub fn start(
        own: IpAddr,
        others: &[Member],
        replication: intent::cluster::Replication,
        news: mpsc::Sender<Happened>,
    ) -> Self {
        let ground = Arc::new(Ground {
            own,
            replication,
            names: others.iter().map(|it| it.name.clone()).collect(),
            credentials: Mutex::new(None),
            news,
        });
        let mut tasks = vec![Task(tokio::spawn(listen(ground.clone())))];
        for member in others {
            tasks.push(Task(tokio::spawn(call(ground.clone(), member.clone()))));
        }
        Self {
            ground,
            _tasks: tasks,
        }
    }

    /// Until when this member's certificate is good, if it could be read.
    pub fn valid_until(&self) -> Option<std::time::SystemTime> {
        let credentials = self.ground.credentials.lock();
        let credentials = credentials.unwrap_or_else(PoisonError::into_inner);
        credentials.as_ref().map(Credentials::valid_until)
    }
}

impl Ground {
    /// The credentials as they are in the files now.
    fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut credentials = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = credentials.as_ref().filter(|it| !it.is_stale()) {
            return Ok(known.clone());
        }
        let read = Credentials::read(&self.replication)?;
        *credentials = Some(read.clone());
        Ok(read)
    }

    /// Copies bytes both ways until the connection ends, and tells of them.
    async fn serve<S: AsyncRead + AsyncWrite>(&self, member: &str, end: End, stream: S) {
        let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        let tell = |what, pipe| {
            let news = News {
                member: member.to_owned(),
                end,
                number,
                what,
            };
            self.news.send(Happened { news, pipe })
        };
        let (pipe, mut bytes) = mpsc::unbounded_channel::<Vec<u8>>();
        if tell(Notice::Up, Some(Pipe(pipe))).await.is_err() {
            return;
        }
        let (mut reading, mut writing) = tokio::io::split(stream);
        let read = async {
            loop {
                let mut bytes = Vec::with_capacity(READ);
                let count = reading.read_buf(&mut bytes).await?;
                if count == 0 || tell(Notice::Bytes(bytes), None).await.is_err() {
                    return io::Result::Ok(());
                }
            }
        };
        let write = async {
            while let Some(some) = bytes.recv().await {
                writing.write_all(&some).await?;
                writing.flush().await?;
                if tell(Notice::Written(some.len()), None).await.is_err() {
                    break;
                }
            }
            io::Result::Ok(())
        };
        let ended = tokio::select! {
            ended = read => ended,
            ended = write => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(member, %error, "a connection of copies broke");
        }
        let _ = tell(Notice::Down, None).await;
    }
}

/// Calls a member, again and again.
async fn call(ground: Arc<Ground>, member: Member) {
    let mut said = String::new();
    loop {
        match connect(&ground, &member).await {
            Ok(stream) => {
                said.clear();
                ground.serve(&member.name, End::Sending, stream).await;
            }
            // Once, until it is another one.
            Err(error) => say(&mut said, &error, &member.name),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn say(said: &mut String, error: &LinkError, member: &str) {
    let words = crate::world::Chain(error).to_string();
    if *said != words {
        tracing::warn!(member, "flows cannot be copied: {words}");
        *said = words;
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("it cannot be called")]
    Call(#[source] io::Error),
    #[error("it does not answer")]
    Silence,
    #[error(transparent)]
    Tls(#[from] TlsError),
}

async fn connect(ground: &Ground, member: &Member) -> Result<super::tls::ClientStream, LinkError> {
    let credentials = ground.credentials()?;
    let own = SocketAddr::from((ground.own, 0));
    let socket = socket(own).map_err(LinkError::Call)?;
    socket.bind(own).map_err(LinkError::Call)?;
    let target = SocketAddr::from((member.address, ground.replication.port));
    let stream = tokio::time::timeout(PATIENCE, socket.connect(target))
        .await
        .map_err(|_| LinkError::Silence)?
        .map_err(LinkError::Call)?;
    stream.set_nodelay(true).map_err(LinkError::Call)?;
    Ok(credentials.connect(stream, &member.name).await?)
}

/// Listens for others, again and again.
async fn listen(ground: Arc<Ground>) {
    let address = SocketAddr::from((ground.own, ground.replication.port));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        match bind(address) {
            Ok(listener) => accept(&ground, &listener, &handshakes).await,
            Err(error) => {
                tracing::warn!(%address, %error, "copies of flows cannot be listened for; it is tried again");
            }
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

/// A socket for an address of that version.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes calls until the listener breaks. Connections end when their task does, and that with `streams`.
async fn accept(ground: &Arc<Ground>, listener: &TcpListener, handshakes: &Arc<Semaphore>) {
    let mut streams = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a call of another member cannot be taken");
                return;
            }
        };
        while streams.try_join_next().is_some() {}
        let ground = ground.clone();
        streams.spawn(async move {
            let taken = take(&ground, stream).await;
            drop(permit);
            match taken {
                Ok((member, stream)) => ground.serve(&member, End::Receiving, stream).await,
                Err((from, error)) => {
                    tracing::warn!(?from, "a call is refused: {}", crate::world::Chain(&error));
                }
            }
        });
    }
}

type Taken = Result<(String, super::tls::ServerStream), (Option<SocketAddr>, LinkError)>;

async fn take(ground: &Ground, stream: TcpStream) -> Taken {
    let from = stream.peer_addr().ok();
    let taken = async {
        stream.set_nodelay(true).map_err(LinkError::Call)?;
        let credentials = ground.credentials()?;
        Ok(credentials.accept(stream, &ground.names).await?)
    };
    taken.await.map_err(|error| (from, error))
}

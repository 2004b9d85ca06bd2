//! TCP connections with peers, each with a task that reads and one that writes.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bgp::ConnectionId;
use gateway::intent::routing::Peer;
use ipnet::IpNet;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

use super::{keys, password};

/// Bytes that are read at once: some messages.
const PIECE: usize = 16_384;
/// How long a connection that is to be closed may take to send what was said.
const CLOSING: Duration = Duration::from_secs(2);

/// What happens to a connection.
#[derive(Debug)]
pub(super) enum Happened {
    Connected(TcpStream),
    Failed(ErrorKind),
    Received(Vec<u8>),
    Unsent(usize),
    Closed(Option<ErrorKind>),
}

type News = mpsc::Sender<(ConnectionId, Happened)>;

/// All connections.
pub(super) struct Lines {
    news: News,
    open: HashMap<ConnectionId, Line>,
    calling: HashMap<ConnectionId, AbortHandle>,
    closing: Vec<JoinHandle<()>>,
    accepted: u64,
}

struct Line {
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    unsent: Arc<AtomicUsize>,
    reader: AbortHandle,
    writer: JoinHandle<()>,
}

/// How far away a peer may be, in the kernel's terms.
pub(super) fn distance(peer: &Peer) -> kernel::tcp::Distance {
    kernel::tcp::Distance {
        hops: peer.distance.hops,
        is_secured: peer.distance.is_secured,
    }
}

impl Lines {
    pub fn new(news: News) -> Self {
        Self {
            news,
            open: HashMap::new(),
            calling: HashMap::new(),
            closing: Vec::new(),
            accepted: 0,
        }
    }

    /// Calls a peer where it is; without, nobody knows that yet.
    pub fn call(&mut self, connection: ConnectionId, peer: &Peer, to: Option<SocketAddr>) {
        let (news, peer) = (self.news.clone(), peer.clone());
        let task = tokio::spawn(async move {
            let happened = match call(&peer, to).await {
                Ok(stream) => Happened::Connected(stream),
                Err(error) => {
                    tracing::debug!(peer = peer.name, %error, "a BGP peer cannot be called");
                    Happened::Failed(error.kind())
                }
            };
            let _ = news.send((connection, happened)).await;
        });
        self.calling.insert(connection, task.abort_handle());
    }

    /// Takes a connection that a peer made.
    pub fn add_accepted(&mut self, stream: TcpStream) -> ConnectionId {
        self.accepted = self.accepted.wrapping_add(1);
        let connection = ConnectionId::Accepted(self.accepted);
        self.add(connection, stream);
        connection
    }

    /// Takes a connection.
    pub fn add(&mut self, connection: ConnectionId, stream: TcpStream) {
        self.calling.remove(&connection);
        // Messages are small, and nobody waits for more of them.
        let _ = stream.set_nodelay(true);
        let (reading, writing) = stream.into_split();
        let (outgoing, queue) = mpsc::unbounded_channel();
        let unsent = Arc::new(AtomicUsize::new(0));
        let reader = tokio::spawn(read(connection, reading, self.news.clone()));
        let writer = write(
            connection,
            writing,
            queue,
            (unsent.clone(), self.news.clone()),
        );
        let line = Line {
            outgoing,
            unsent,
            reader: reader.abort_handle(),
            writer: tokio::spawn(writer),
        };
        self.open.insert(connection, line);
    }

    /// Sends bytes behind all others. How much may wait is bounded by who says it.
    pub fn send(&self, connection: ConnectionId, bytes: Vec<u8>) {
        if let Some(line) = self.open.get(&connection) {
            line.unsent.fetch_add(bytes.len(), Ordering::Relaxed);
            let _ = line.outgoing.send(bytes);
        }
    }

    /// Closes a connection when all is sent, or gives a call up.
    pub fn close(&mut self, connection: ConnectionId) {
        if let Some(calling) = self.calling.remove(&connection) {
            calling.abort();
        }
        self.closing.retain(|it| !it.is_finished());
        if let Some(line) = self.open.remove(&connection) {
            line.reader.abort();
            drop(line.outgoing);
            let mut writer = line.writer;
            self.closing.push(tokio::spawn(async move {
                if timeout(CLOSING, &mut writer).await.is_err() {
                    writer.abort();
                }
            }));
        }
    }

    /// A connection is gone by itself.
    pub fn remove(&mut self, connection: ConnectionId) {
        self.close(connection);
    }

    /// Waits until what was closed is closed.
    pub async fn finish(&mut self, patience: Duration) {
        let closing = std::mem::take(&mut self.closing);
        let all = async {
            for task in closing {
                let _ = task.await;
            }
        };
        let _ = timeout(patience, all).await;
    }
}

async fn call(peer: &Peer, to: Option<SocketAddr>) -> io::Result<TcpStream> {
    let to = to.ok_or(ErrorKind::AddrNotAvailable)?;
    let address = to.ip();
    let socket = match address.is_ipv4() {
        true => TcpSocket::new_v4()?,
        false => TcpSocket::new_v6()?,
    };
    if let Some(device) = &peer.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(source) = peer.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    kernel::tcp::set_distance(&socket, address, distance(peer))?;
    if let Some(path) = &peer.password {
        let password = password::read(path)?;
        kernel::tcp::set_password(&socket, IpNet::from(address), &password)?;
    }
    keys::sign(&socket, IpNet::from(address), &keys::read(&peer.keys)?)?;
    socket.connect(to).await
}

async fn read(connection: ConnectionId, mut reading: OwnedReadHalf, news: News) {
    loop {
        let mut piece = vec![0; PIECE];
        let happened = match reading.read(&mut piece).await {
            Ok(0) => Happened::Closed(None),
            Ok(count) => {
                piece.truncate(count);
                Happened::Received(piece)
            }
            Err(error) => Happened::Closed(Some(error.kind())),
        };
        let is_end = matches!(happened, Happened::Closed(_));
        if news.send((connection, happened)).await.is_err() || is_end {
            return;
        }
    }
}

async fn write(
    connection: ConnectionId,
    mut writing: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    (unsent, news): (Arc<AtomicUsize>, News),
) {
    while let Some(bytes) = queue.recv().await {
        // Who reads says how the connection ended.
        if writing.write_all(&bytes).await.is_err() {
            return;
        }
        let left = unsent.fetch_sub(bytes.len(), Ordering::Relaxed) - bytes.len();
        if !queue.is_closed() {
            let _ = news.send((connection, Happened::Unsent(left))).await;
        }
    }
    let _ = writing.shutdown().await;
}

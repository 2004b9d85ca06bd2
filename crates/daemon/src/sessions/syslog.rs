//! Sends records to a receiver of syslog messages.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::net::UnixDatagram,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway::intent::Syslog as Target;
use sessions::{
    Assignment, Record,
    syslog::{Syslog, framed},
};

use super::{
    outlet::{Health, Said, Unsaid, Write},
    tally::Sink,
};

/// How long a receiver may keep its sink waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// After a connection failed, records are lost for this long before the next is tried.
const RETRY: Duration = Duration::from_secs(1);

/// See the module.
pub struct Writer {
    target: Target,
    messages: Syslog,
    connection: Option<Connection>,
    retry: Option<Instant>,
    /// Blocks that nobody was told yet.
    unsaid: Unsaid,
    /// Whether the last that was told were some.
    has_blocks: bool,
    health: Health,
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

impl Writer {
    /// Nothing is opened before the first record.
    pub fn new(target: Target, host: &str) -> Self {
        let place = match &target {
            Target::Udp(address) => format!("udp://{address}"),
            Target::Tcp(address) => format!("tcp://{address}"),
            Target::Unix(path) => format!("unix://{}", path.display()),
        };
        Self {
            target,
            messages: Syslog::new(host, std::process::id()),
            connection: None,
            retry: None,
            unsaid: Unsaid::default(),
            has_blocks: false,
            health: Health::new(Sink::Syslog, place),
        }
    }

    fn connected(&mut self) -> io::Result<&mut Connection> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.target)?);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }

    /// Sends messages; returns how many were lost.
    fn send(&mut self, messages: &[String]) -> io::Result<u64> {
        match self.connected()? {
            Connection::Udp(socket) => Ok(each(messages, |message| socket.send(message))),
            Connection::Unix(socket) => {
                let lost = each(messages, |message| socket.send(message));
                if lost > 0 {
                    // It does not read; or it was started anew, and its socket is another.
                    self.connection = None;
                    self.retry = Some(Instant::now() + RETRY);
                }
                Ok(lost)
            }
            Connection::Tcp(stream) => {
                let mut bytes = Vec::new();
                messages
                    .iter()
                    .for_each(|message| framed(message, &mut bytes));
                stream.write_all(&bytes).map(|()| 0)
            }
        }
    }
}

impl Writer {
    fn failed(&mut self, error: &io::Error) {
        self.health.bad(error);
        self.connection = None;
        self.retry = Some(Instant::now() + RETRY);
    }
}

impl Write for Writer {
    fn write(&mut self, records: &[Record]) -> u64 {
        let all = records.len() as u64;
        if self.retry.is_some_and(|retry| Instant::now() < retry) {
            return all;
        }
        let message = |record| self.messages.message(record);
        let messages: Vec<String> = records.iter().map(message).collect();
        match self.send(&messages) {
            Ok(lost) => {
                if lost == 0 {
                    self.retry = None;
                    self.health.good();
                } else {
                    self.health.bad(&"nobody receives there");
                }
                lost
            }
            Err(error) => {
                self.failed(&error);
                all
            }
        }
    }

    fn assign(&mut self, assignment: Arc<Assignment>) {
        let has_blocks = !assignment.pools.is_empty();
        if has_blocks || self.has_blocks {
            self.unsaid.push(assignment);
        }
        self.has_blocks = has_blocks;
    }

    fn say_blocks(&mut self) -> Said {
        if self.unsaid.is_empty() || self.retry.is_some_and(|retry| Instant::now() < retry) {
            return Said::default();
        }
        let mut unsaid = std::mem::take(&mut self.unsaid);
        let (said, result) = unsaid.say(|assignment| {
            let messages = self.messages.blocks(assignment);
            match self.send(&messages)? {
                0 => Ok(messages.len() as u64),
                _ => Err(io::Error::other("nobody receives there")),
            }
        });
        self.unsaid = unsaid;
        if let Err(error) = result {
            self.failed(&error);
        }
        said
    }
}

/// Sends messages one by one; returns how many failed. A receiver that lets us wait once is not
/// waited for again: the rest of them are lost.
fn each(messages: &[String], send: impl Fn(&[u8]) -> io::Result<usize>) -> u64 {
    let mut lost = 0;
    for (index, message) in messages.iter().enumerate() {
        match send(message.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return lost + (messages.len() - index) as u64;
            }
            Err(_) => lost += 1,
        }
    }
    lost
}

fn connect(target: &Target) -> io::Result<Connection> {
    match target {
        Target::Udp(address) => udp(*address).map(Connection::Udp),
        Target::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Connection::Tcp(stream))
        }
        Target::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.connect(path)?;
            Ok(Connection::Unix(socket))
        }
    }
}

/// A socket that sends to one receiver only.
pub fn udp(receiver: SocketAddr) -> io::Result<UdpSocket> {
    let any = match receiver {
        SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(receiver)?;
    Ok(socket)
}

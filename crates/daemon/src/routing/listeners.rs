//! Where peers call: one socket for each version of IP, with the passwords of those who have one.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    task::Poll,
    time::{Duration, Instant},
};

use gateway::intent::routing::{Bgp, Place};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::password;

/// Calls that wait to be taken: all peers at once.
const BACKLOG: u32 = 128;
/// How long to wait before a port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The sockets.
#[derive(Default)]
pub(super) struct Listeners {
    port: Option<u16>,
    sockets: Vec<TcpListener>,
    passwords: Vec<(IpNet, PathBuf)>,
    retry_at: Option<Instant>,
}

impl Listeners {
    /// Opens what is not open, and lets peers in by their passwords as they are now.
    pub fn open(&mut self, bgp: &Bgp) -> io::Result<()> {
        self.retry_at = None;
        let opened = self.try_open(bgp);
        if opened.is_err() {
            self.retry_at = Some(Instant::now() + RETRY);
        }
        opened
    }

    fn try_open(&mut self, bgp: &Bgp) -> io::Result<()> {
        if self.port != Some(bgp.port) {
            self.close();
        }
        if self.sockets.is_empty() {
            let four = listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), bgp.port))?;
            self.sockets.push(four);
            // A kernel without IPv6 has no peers of it.
            let six = listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), bgp.port));
            self.sockets.extend(six.ok());
            self.port = Some(bgp.port);
            self.passwords.clear();
        }
        self.let_in(bgp)
    }

    fn let_in(&mut self, bgp: &Bgp) -> io::Result<()> {
        let wanted = bgp.peers.iter().filter_map(|peer| {
            let net = match &peer.place {
                Place::Address(address) => IpNet::from(*address),
                Place::Range(net) => *net,
                Place::Interface(_) => LINK_LOCAL,
            };
            Some((net, peer.password.clone()?))
        });
        let wanted: Vec<(IpNet, PathBuf)> = wanted.collect();
        for (net, _) in self.passwords.iter().filter(|it| !wanted.contains(it)) {
            self.sign(*net, &[])?;
        }
        self.passwords.clear();
        let mut failure = None;
        for (net, path) in wanted {
            let signed = password::read(&path).and_then(|it| self.sign(net, &it));
            match signed {
                Ok(()) => self.passwords.push((net, path)),
                Err(error) => {
                    let file = path.display();
                    let message = format!("the password in {file}: {error}");
                    failure.get_or_insert(io::Error::new(error.kind(), message));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn sign(&self, net: IpNet, password: &[u8]) -> io::Result<()> {
        for socket in &self.sockets {
            let is_ipv6 = socket.local_addr()?.is_ipv6();
            if is_ipv6 == matches!(net, IpNet::V6(_)) {
                kernel::tcp::set_password(socket, net, password)?;
            }
        }
        Ok(())
    }

    /// Nobody is let in any more.
    pub fn close(&mut self) {
        self.sockets.clear();
        self.port = None;
        self.retry_at = None;
    }

    /// When it is to be tried again.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The next call; waits for ever if there are no sockets.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| {
            let mut calls = self.sockets.iter().map(|it| it.poll_accept(context));
            calls.find(|it| it.is_ready()).unwrap_or(Poll::Pending)
        })
        .await
    }
}

const LINK_LOCAL: IpNet = IpNet::V6(ipnet::Ipv6Net::new_assert(
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
    10,
));

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            kernel::tcp::only_ipv6(&socket)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    kernel::tcp::answer_from_afar(&socket, address)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

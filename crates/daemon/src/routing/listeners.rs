//! Where peers call: one socket for each version of IP, with the passwords and keys of those who have some.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    task::Poll,
    time::{Duration, Instant},
};

use gateway::intent::routing::{Bgp, Peer, Place};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{keys, password};

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
    /// Keys that the sockets have, by their numbers.
    keys: Vec<(IpNet, (u8, u8))>,
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
            self.keys.clear();
        }
        let (by_password, by_key) = (self.let_in(bgp), self.let_in_by_keys(bgp));
        by_password.and(by_key)
    }

    fn let_in(&mut self, bgp: &Bgp) -> io::Result<()> {
        let wanted = bgp
            .peers
            .iter()
            .filter_map(|peer| Some((calls_from(peer), peer.password.clone()?)));
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

    /// Keys are set anew each time, as a file may say something else now. Who calls meanwhile without one is
    /// refused when the call is taken.
    fn let_in_by_keys(&mut self, bgp: &Bgp) -> io::Result<()> {
        for (net, ids) in std::mem::take(&mut self.keys) {
            for socket in of_version(&self.sockets, net) {
                // A socket has only the keys that the kernel took.
                let _ = kernel::tcp::ao::remove_key(socket, net, ids);
            }
        }
        let mut failure = None;
        for peer in bgp.peers.iter().filter(|peer| !peer.keys.is_empty()) {
            if let Err(error) = self.let_one_in(peer) {
                let message = format!("the keys of peer {}: {error}", peer.name);
                failure.get_or_insert(io::Error::new(error.kind(), message));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn let_one_in(&mut self, peer: &Peer) -> io::Result<()> {
        let (net, known) = (calls_from(peer), keys::read(&peer.keys)?);
        self.keys.extend(known.iter().map(|it| (net, it.ids())));
        for socket in of_version(&self.sockets, net) {
            keys::let_in(socket, net, &known)?;
        }
        Ok(())
    }

    fn sign(&self, net: IpNet, password: &[u8]) -> io::Result<()> {
        for socket in of_version(&self.sockets, net) {
            kernel::tcp::set_password(socket, net, password)?;
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

/// The sockets that somebody in a prefix can call.
fn of_version(sockets: &[TcpListener], net: IpNet) -> impl Iterator<Item = &TcpListener> {
    let is_wanted = matches!(net, IpNet::V6(_));
    let is_ipv6 = |it: &TcpListener| it.local_addr().is_ok_and(|it| it.is_ipv6());
    sockets.iter().filter(move |it| is_ipv6(it) == is_wanted)
}

/// From where a peer may call.
fn calls_from(peer: &Peer) -> IpNet {
    match &peer.place {
        Place::Address(address) => IpNet::from(*address),
        Place::Range(net) => *net,
        Place::Interface(_) => LINK_LOCAL,
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

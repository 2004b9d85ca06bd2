//! Routers behind an interface: they say that they are there by router advertisements (RFC 4861), and are told
//! so. BGP peers that have no configured address find each other by them.

use std::{
    io,
    mem::size_of,
    net::{IpAddr, Ipv6Addr, UdpSocket},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    time::{Instant, SystemTime},
};

use crate::{datagrams, tcp::set};

/// `linux/icmpv6.h`: which types a raw socket does not get.
const ICMP6_FILTER: libc::c_int = 1;
/// Router advertisement (RFC 4861 §4.2).
const ADVERTISEMENT: u8 = 134;
/// What comes with less came over another link (RFC 4861 §6.1).
const HOPS: u8 = 255;
/// All nodes of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Type, no code, a checksum that the kernel fills in, no hop limit, no flags, and a lifetime of zero: it is
/// no default router (RFC 4861 §4.2). Then no times.
const MESSAGE: [u8; 16] = [ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Bytes of a message that are looked at.
const LOOKED_AT: usize = 16;

/// A router that said that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its address on the link.
    pub address: Ipv6Addr,
    /// The index of the interface that it is behind.
    pub interface: u32,
}

/// A socket for router advertisements, of all interfaces. It needs `CAP_NET_RAW`.
///
/// # Errors
///
/// If that is not allowed, or the kernel knows no IPv6.
pub fn open() -> io::Result<UdpSocket> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_INET6, kind, libc::IPPROTO_ICMPV6) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave it to us alone. What is said of it here, UDP's type says as well.
    let socket = UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut blocked = [u32::MAX; 8];
    if let Some(word) = blocked.get_mut(usize::from(ADVERTISEMENT / 32)) {
        *word &= !(1 << (ADVERTISEMENT % 32));
    }
    let (on, hops): (libc::c_int, libc::c_int) = (1, HOPS.into());
    set(&socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &on)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &on)?;
    set(
        &socket,
        libc::IPPROTO_IPV6,
        libc::IPV6_MULTICAST_HOPS,
        &hops,
    )?;
    let off: libc::c_int = 0;
    // What it says itself it need not hear.
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &off)?;
    Ok(socket)
}

/// The next router that was heard, if there is one; what is no advertisement from its link is passed over.
///
/// # Errors
///
/// If the socket is broken.
pub fn hear(socket: &impl AsFd) -> io::Result<Option<Heard>> {
    let mut message = [0; LOOKED_AT];
    loop {
        let clocks = (Instant::now(), SystemTime::now());
        let Some(arrival) = datagrams::receive(socket, &mut message, clocks)? else {
            return Ok(None);
        };
        let (IpAddr::V6(address), Some(&ADVERTISEMENT)) = (arrival.from, message.first()) else {
            continue;
        };
        if arrival.ttl == HOPS && arrival.length >= LOOKED_AT && address.is_unicast_link_local() {
            return Ok(Some(Heard {
                address,
                interface: arrival.interface,
            }));
        }
    }
}

/// Says behind an interface that there is a router here.
///
/// # Errors
///
/// If it cannot be sent, as when the interface has no address on its link.
pub fn advertise(socket: &impl AsFd, interface: u32) -> io::Result<()> {
    let to = libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr {
            s6_addr: ALL_NODES.octets(),
        },
        sin6_scope_id: interface,
    };
    // SAFETY: the kernel reads live values of the lengths that are said.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            MESSAGE.as_ptr().cast(),
            MESSAGE.len(),
            libc::MSG_DONTWAIT,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_in6>() as libc::socklen_t,
        )
    };
    match sent {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

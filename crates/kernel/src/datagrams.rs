//! Datagrams of BFD: when they came, over how many links, and by which interface (RFC 5881, RFC 5883).

use std::{
    io,
    mem::{size_of, size_of_val},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::tcp::set;

/// The time to live of packets that must not have come over another link (RFC 5881 §5).
const TTL: libc::c_int = 255;
/// Precedence "internetwork control", as routers give their own.
const CLASS: libc::c_int = 0xc0;
/// Room for what arrives while nobody reads: a second of 256 sessions at 10 ms, 24 bytes and what the
/// kernel adds to each.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;
/// Source ports (RFC 5881 §4).
const SOURCES: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// Room for three control messages: addresses, time to live, time.
const CONTROL_BYTES: usize = 256;

/// A datagram's way here.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its length, in bytes.
    pub length: usize,
    /// Who sent it.
    pub from: IpAddr,
    /// To which address.
    pub to: IpAddr,
    /// The index of the interface that it came by.
    pub interface: u32,
    /// The time to live that it came with.
    pub ttl: u8,
    /// When the kernel took it from the interface.
    pub at: Instant,
}

/// A socket for all datagrams to a port, of one version of IP.
///
/// # Errors
///
/// If the port is taken, or the kernel does not know this version of IP.
pub fn listen(port: u16, is_ipv6: bool) -> io::Result<UdpSocket> {
    let any: IpAddr = match is_ipv6 {
        false => Ipv4Addr::UNSPECIFIED.into(),
        true => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = open(is_ipv6)?;
    let on: libc::c_int = 1;
    match is_ipv6 {
        false => {
            set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &on)?;
            set(&socket, libc::IPPROTO_IP, libc::IP_RECVTTL, &on)?;
        }
        true => {
            set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &on)?;
            set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &on)?;
        }
    }
    set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &on)?;
    // Without CAP_NET_ADMIN the system's limit holds.
    if set(
        &socket,
        libc::SOL_SOCKET,
        libc::SO_RCVBUFFORCE,
        &RECEIVE_BUFFER,
    )
    .is_err()
    {
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER)?;
    }
    bind(&socket, SocketAddr::new(any, port))?;
    Ok(socket)
}

/// Where datagrams of a session go, and from where.
#[derive(Clone, Debug)]
pub struct Way {
    /// The other side.
    pub peer: SocketAddr,
    /// The address that they are from; without, the one on the way there.
    pub source: Option<IpAddr>,
    /// The index of the interface that they leave by; without, the one on the way there.
    pub interface: Option<u32>,
}

/// A socket that sends one session's datagrams, from a port of its own.
///
/// # Errors
///
/// If the address is not this host's, or there is no way to the other side.
pub fn towards(way: &Way, first_port: u16) -> io::Result<UdpSocket> {
    let is_ipv6 = way.peer.is_ipv6();
    let socket = open(is_ipv6)?;
    match is_ipv6 {
        false => {
            set(&socket, libc::IPPROTO_IP, libc::IP_TTL, &TTL)?;
            set(&socket, libc::IPPROTO_IP, libc::IP_TOS, &CLASS)?;
        }
        true => {
            set(&socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &TTL)?;
            set(&socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &CLASS)?;
        }
    }
    if let Some(interface) = way.interface {
        // The same for both versions of IP, and a number in host byte order.
        set(
            &socket,
            libc::SOL_SOCKET,
            libc::SO_BINDTOIFINDEX,
            &interface,
        )?;
    }
    let source = way.source.unwrap_or(match is_ipv6 {
        false => Ipv4Addr::UNSPECIFIED.into(),
        true => Ipv6Addr::UNSPECIFIED.into(),
    });
    let (first, last) = (*SOURCES.start(), *SOURCES.end());
    let begin = first_port.clamp(first, last);
    let mut ports = (begin..=last).chain(first..begin);
    let bound = ports.find_map(|port| match bind(&socket, SocketAddr::new(source, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        other => Some(other),
    });
    bound.unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))?;
    socket.connect(way.peer)?;
    Ok(socket)
}

/// Reads one datagram into `buffer`, if there is one. `now` and `wall` are the same moment by both clocks.
///
/// # Errors
///
/// If the socket is broken.
pub fn receive(
    socket: &impl AsFd,
    buffer: &mut [u8],
    (now, wall): (Instant, SystemTime),
) -> io::Result<Option<Arrival>> {
    let mut name: libc::sockaddr_storage = zeroed();
    let mut control = [0_u64; CONTROL_BYTES / 8];
    let mut piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut message: libc::msghdr = zeroed();
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of_val(&name) as libc::socklen_t;
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header leads to live buffers of the lengths that it says.
    let length = unsafe {
        libc::recvmsg(
            socket.as_fd().as_raw_fd(),
            &raw mut message,
            libc::MSG_DONTWAIT,
        )
    };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        let is_none = matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        );
        return if is_none { Ok(None) } else { Err(error) };
    };
    let Some(from) = address(&name) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut arrival = Arrival {
        length,
        from,
        to: from,
        interface: 0,
        ttl: 0,
        at: now,
    };
    // SAFETY: the kernel filled the header in, and its control buffer is live and aligned.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: the macros stay within the control buffer; what stands behind a header is as long as the
        // kernel says for its type, and read without alignment.
        unsafe {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    let ttl = data.cast::<libc::c_int>().read_unaligned();
                    arrival.ttl = u8::try_from(ttl).unwrap_or_default();
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    arrival.interface = u32::try_from(info.ipi_ifindex).unwrap_or_default();
                    arrival.to = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into();
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    arrival.interface = info.ipi6_ifindex;
                    arrival.to = Ipv6Addr::from(info.ipi6_addr.s6_addr).into();
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time = data.cast::<libc::timespec>().read_unaligned();
                    arrival.at = before(now, wall, time);
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(Some(arrival))
}

/// The moment by the other clock. A time that lies ahead is now: somebody set the wall clock back.
fn before(now: Instant, wall: SystemTime, time: libc::timespec) -> Instant {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    let taken = UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999));
    let age = wall.duration_since(taken).unwrap_or_default();
    // One that waited longer than this did not wait: the wall clock was set.
    const AGE_MAX: Duration = Duration::from_secs(10);
    match age <= AGE_MAX {
        true => now.checked_sub(age).unwrap_or(now),
        false => now,
    }
}

/// Has the kernel run this thread before all ordinary ones, whenever it has something to do. It needs
/// `CAP_SYS_NICE`.
///
/// # Errors
///
/// If that is not allowed.
pub fn be_realtime() -> io::Result<()> {
    // Above ordinary threads, below what the kernel does for the machine itself.
    const PRIORITY: libc::c_int = 10;
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: the kernel reads a live value; zero is this thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn open(is_ipv6: bool) -> io::Result<UdpSocket> {
    let domain = match is_ipv6 {
        false => libc::AF_INET,
        true => libc::AF_INET6,
    };
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(domain, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave it to us alone.
    let socket = UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    if is_ipv6 {
        let on: libc::c_int = 1;
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &on)?;
    }
    Ok(socket)
}

fn bind(socket: &UdpSocket, local: SocketAddr) -> io::Result<()> {
    let mut storage: libc::sockaddr_storage = zeroed();
    let length = match local {
        SocketAddr::V4(local) => {
            let inner = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: local.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(local.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is larger, and aligned for every kind of address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(inner) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(local) => {
            let inner = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: local.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr {
                    s6_addr: local.ip().octets(),
                },
                sin6_scope_id: local.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(inner) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    // SAFETY: the kernel reads `length` bytes of a live value.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const storage).cast(),
            length as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn address(storage: &libc::sockaddr_storage) -> Option<IpAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is, and the storage is larger.
            let inner = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(inner.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let inner = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(inner.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// A value of the C library's that is empty.
fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` promises that all zeros are a valid value.
    unsafe { std::mem::zeroed() }
}

/// # Safety
///
/// All zeros are a valid value.
unsafe trait Plain {}
// SAFETY: an address of no family.
unsafe impl Plain for libc::sockaddr_storage {}
// SAFETY: a header that leads nowhere.
unsafe impl Plain for libc::msghdr {}

#[cfg(test)]
mod tests;

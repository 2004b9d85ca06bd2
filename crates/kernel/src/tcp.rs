//! What TCP sockets towards routers need that no library wraps: how far packets go and may have come
//! (RFC 5082), and the passwords (RFC 2385) and keys (RFC 5925) of segments.

use std::{
    io,
    mem::size_of,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd},
};

use ipnet::IpNet;

pub mod ao;

/// Bytes of a password: the kernel's `TCP_MD5SIG_MAXKEYLEN`.
pub const PASSWORD_MAX: usize = 80;

/// The time to live that nobody on another link can have left.
const TTL_MAX: u8 = u8::MAX;

/// `linux/tcp.h`: a password for peers in a prefix.
const TCP_MD5SIG_EXT: libc::c_int = 32;
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
/// `linux/in6.h`
const IPV6_MINHOPCOUNT: libc::c_int = 73;

/// `struct tcp_md5sig`
#[repr(C)]
struct Md5Sig {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    ifindex: libc::c_int,
    key: [u8; PASSWORD_MAX],
}

/// How far away a peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// Links to it at most; one is a link of ours.
    pub hops: u8,
    /// Whether what came further is dropped; then the other side must do as we do.
    pub is_secured: bool,
}

/// Lets a socket's packets go so far, and come so far.
///
/// # Errors
///
/// If the kernel refuses.
pub fn set_distance(socket: &impl AsFd, remote: IpAddr, distance: Distance) -> io::Result<()> {
    let ttl = match distance.is_secured {
        true => TTL_MAX,
        false => distance.hops,
    };
    let lowest = match distance.is_secured {
        // One that came over one link has what it was sent with.
        true => TTL_MAX.saturating_sub(distance.hops).saturating_add(1),
        false => 0,
    };
    let (level, ttl_option, lowest_option) = match remote {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_MINTTL),
        IpAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_UNICAST_HOPS,
            IPV6_MINHOPCOUNT,
        ),
    };
    set(socket, level, ttl_option, &libc::c_int::from(ttl))?;
    set(socket, level, lowest_option, &libc::c_int::from(lowest))
}

/// Lets a listening socket answer also those who want packets that came over one link.
///
/// # Errors
///
/// If the kernel refuses.
pub fn answer_from_afar(socket: &impl AsFd, local: SocketAddr) -> io::Result<()> {
    let (level, option) = match local {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    };
    set(socket, level, option, &libc::c_int::from(TTL_MAX))
}

/// Keeps a socket of IPv6 to IPv6, so that IPv4 has one of its own.
///
/// # Errors
///
/// If the kernel refuses.
pub fn only_ipv6(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &on)
}

/// Has a socket sign all segments from and to peers in a prefix, and drop those that are not signed so; an
/// empty password is none. It needs `CAP_NET_ADMIN`.
///
/// # Errors
///
/// If the password is too long, the kernel knows none, or it has none for this prefix to be removed.
pub fn set_password(socket: &impl AsFd, peers: IpNet, password: &[u8]) -> io::Result<()> {
    let mut sig = Md5Sig {
        address: storage(peers.network()),
        flags: TCP_MD5SIG_FLAG_PREFIX,
        prefix_length: peers.prefix_len(),
        key_length: 0,
        ifindex: 0,
        key: [0; PASSWORD_MAX],
    };
    let Some(key) = sig.key.get_mut(..password.len()) else {
        let message = format!("a password has at most {PASSWORD_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    key.copy_from_slice(password);
    sig.key_length = u16::try_from(password.len()).unwrap_or_default();
    set(socket, libc::IPPROTO_TCP, TCP_MD5SIG_EXT, &sig)
}

/// An address as the kernel has it.
fn storage(address: IpAddr) -> libc::sockaddr_storage {
    // SAFETY: all zeros is a valid one, of no family.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    match address {
        IpAddr::V4(address) => {
            let inner = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: 0,
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(address.octets()),
                },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is larger, and aligned for every kind of address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(inner) };
        }
        IpAddr::V6(address) => {
            let inner = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr {
                    s6_addr: address.octets(),
                },
                sin6_scope_id: 0,
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(inner) };
        }
    }
    storage
}

/// Sets one option.
pub(crate) fn set<T>(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of a live value.
    let result =
        unsafe { libc::setsockopt(fd, level, option, std::ptr::from_ref(value).cast(), length) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

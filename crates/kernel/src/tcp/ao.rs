//! Keys of TCP-AO (RFC 5925), by which each segment proves who sent it. Linux has them since 6.7, where it was
//! built with `CONFIG_TCP_AO`.

use std::{
    io,
    mem::{offset_of, size_of},
    os::fd::{AsFd, AsRawFd},
};

use ipnet::IpNet;

use super::{set, storage};

/// Bytes of a secret: the kernel's `TCP_AO_MAXKEYLEN`.
pub const SECRET_MAX: usize = 80;

/// `linux/tcp.h`
const TCP_AO_ADD_KEY: libc::c_int = 38;
const TCP_AO_DEL_KEY: libc::c_int = 39;
const TCP_AO_INFO: libc::c_int = 40;
/// The first two bits of the flags of a key: we sign with it, and ask the other side to.
const CURRENT: u32 = match cfg!(target_endian = "big") {
    true => 0b11 << 30,
    false => 0b11,
};

/// `struct tcp_ao_add`
#[repr(C, align(8))]
struct Add {
    address: libc::sockaddr_storage,
    algorithm: [u8; 64],
    ifindex: i32,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    receive_id: u8,
    code_length: u8,
    key_flags: u8,
    secret_length: u8,
    secret: [u8; SECRET_MAX],
}

const _: () = assert!(size_of::<Add>() == 288 && offset_of!(Add, secret) == 208);

/// `struct tcp_ao_del`
#[repr(C, align(8))]
struct Remove {
    address: libc::sockaddr_storage,
    ifindex: i32,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    receive_id: u8,
    current: u8,
    next: u8,
    key_flags: u8,
}

const _: () = assert!(size_of::<Remove>() == 144 && offset_of!(Remove, prefix_length) == 138);

/// `struct tcp_ao_info_opt`
#[repr(C, align(8))]
struct Info {
    flags: u32,
    reserved: u16,
    current: u8,
    next: u8,
    counters: [u64; 5],
}

const _: () = assert!(size_of::<Info>() == 48);

/// How a segment is signed (RFC 5926, and what the kernel knows besides).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-1-96, which every implementation has.
    HmacSha1,
    /// AES-128-CMAC-96, which every implementation has.
    Aes128Cmac,
    /// HMAC-SHA-256, of which 96 bits are sent.
    HmacSha256,
}

impl Algorithm {
    /// What the kernel calls it.
    const fn name(self) -> &'static [u8] {
        match self {
            Self::HmacSha1 => b"hmac(sha1)",
            Self::Aes128Cmac => b"cmac(aes128)",
            Self::HmacSha256 => b"hmac(sha256)",
        }
    }
}

/// A key that both sides have.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Its number in segments that we send.
    pub send_id: u8,
    /// Its number in segments that we get.
    pub receive_id: u8,
    /// What it is used with.
    pub algorithm: Algorithm,
    /// What nobody else knows.
    pub secret: &'a [u8],
}

/// Has a socket sign segments to peers in a prefix with a key, and take those that are signed with it; unsigned
/// ones from there are dropped. `is_first` says that a calling socket is to begin with it.
///
/// # Errors
///
/// If the secret is too long, or the kernel has no TCP-AO, or a password or a key of the same numbers for the prefix.
pub fn add_key(socket: &impl AsFd, peers: IpNet, key: Key<'_>, is_first: bool) -> io::Result<()> {
    let mut add = Add {
        address: storage(peers.network()),
        algorithm: [0; 64],
        ifindex: 0,
        flags: if is_first { CURRENT } else { 0 },
        reserved: 0,
        prefix_length: peers.prefix_len(),
        send_id: key.send_id,
        receive_id: key.receive_id,
        code_length: 0,
        key_flags: 0,
        secret_length: 0,
        secret: [0; SECRET_MAX],
    };
    for (to, from) in add.algorithm.iter_mut().zip(key.algorithm.name()) {
        *to = *from;
    }
    let Some(secret) = add.secret.get_mut(..key.secret.len()) else {
        let message = format!("a secret of TCP-AO has at most {SECRET_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    secret.copy_from_slice(key.secret);
    add.secret_length = u8::try_from(key.secret.len()).unwrap_or_default();
    explained(set(socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &add))
}

/// Takes a key of a prefix from a socket again.
///
/// # Errors
///
/// If it has no such key.
pub fn remove_key(
    socket: &impl AsFd,
    peers: IpNet,
    (send_id, receive_id): (u8, u8),
) -> io::Result<()> {
    let remove = Remove {
        address: storage(peers.network()),
        ifindex: 0,
        flags: 0,
        reserved: 0,
        prefix_length: peers.prefix_len(),
        send_id,
        receive_id,
        current: 0,
        next: 0,
        key_flags: 0,
    };
    explained(set(socket, libc::IPPROTO_TCP, TCP_AO_DEL_KEY, &remove))
}

/// Whether the segments of a connection are signed.
pub fn is_signed(socket: &impl AsFd) -> bool {
    let mut info = Info {
        flags: 0,
        reserved: 0,
        current: 0,
        next: 0,
        counters: [0; 5],
    };
    let mut length = size_of::<Info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to a live value that any bytes may fill.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_AO_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    result == 0
}

/// A kernel that does not know the option says so in words that nobody understands.
fn explained(result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOPROTOOPT) => io::Error::new(
            io::ErrorKind::Unsupported,
            "this kernel has no TCP-AO (CONFIG_TCP_AO, since Linux 6.7)",
        ),
        _ => error,
    })
}

#[cfg(test)]
mod tests;

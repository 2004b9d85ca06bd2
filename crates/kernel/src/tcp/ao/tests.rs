//! Two sockets of this host, and who gets through to whom. On a kernel without TCP-AO that it is missing is what
//! is said, and nothing else can be tried; `cargo xtask kernels` tries it on one that has it.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::{FromRawFd, OwnedFd},
    time::Duration,
};

use super::*;

/// How long a call may take: all is on this host, and who is not let in hears nothing.
const PATIENCE: Duration = Duration::from_millis(700);
const ALGORITHMS: [Algorithm; 3] = [
    Algorithm::HmacSha1,
    Algorithm::Aes128Cmac,
    Algorithm::HmacSha256,
];

fn key(id: u8, secret: &[u8]) -> Key<'_> {
    Key {
        send_id: id,
        receive_id: id,
        algorithm: Algorithm::HmacSha1,
        secret,
    }
}

/// A socket that listens with these keys, or nothing, and why, where the kernel has no TCP-AO.
fn listening(at: &str, peers: &str, keys: &[Key<'_>]) -> Option<TcpListener> {
    let listener = TcpListener::bind(at).unwrap();
    let peers: IpNet = peers.parse().unwrap();
    for key in keys {
        match add_key(&listener, peers, *key, false) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                println!("skipped: {error}");
                return None;
            }
            other => other.unwrap(),
        }
    }
    Some(listener)
}

/// Calls with these keys, the first one first; says whether it got through, and the side that was called.
fn calls(listener: &TcpListener, keys: &[Key<'_>]) -> bool {
    let to = listener.local_addr().unwrap();
    let family = match to {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    // SAFETY: no memory is involved, and the kernel gives the number to us alone.
    let socket = unsafe {
        let fd = libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    };
    for (index, key) in keys.iter().enumerate() {
        add_key(&socket, to.ip().into(), *key, index == 0).unwrap();
    }
    let patience = libc::timeval {
        tv_sec: PATIENCE.as_secs().cast_signed(),
        tv_usec: PATIENCE.subsec_micros().into(),
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &patience).unwrap();
    let address = storage_with_port(to);
    let length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel reads a live value of that length.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 {
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(is_signed(&accepted), !keys.is_empty());
        assert_eq!(is_signed(&socket), !keys.is_empty());
    }
    result == 0
}

fn storage_with_port(to: SocketAddr) -> libc::sockaddr_storage {
    let mut address = storage(to.ip());
    // SAFETY: the port stands at the same place in both kinds of address, and the storage holds either.
    unsafe {
        (*(&raw mut address).cast::<libc::sockaddr_in>()).sin_port = to.port().to_be();
    }
    address
}

#[test]
fn only_who_has_the_key_gets_through() {
    for algorithm in ALGORITHMS {
        let right = Key {
            algorithm,
            ..key(1, b"what both know")
        };
        let Some(listener) = listening("127.0.0.1:0", "127.0.0.1/32", &[right]) else {
            return;
        };
        assert!(calls(&listener, &[right]), "{algorithm:?}");
        let wrong = Key {
            secret: b"what nobody knows",
            ..right
        };
        assert!(!calls(&listener, &[wrong]), "{algorithm:?}");
        assert!(!calls(&listener, &[]), "{algorithm:?}");
    }
}

#[test]
fn a_prefix_has_a_key_and_so_has_ipv6() {
    let right = key(7, b"secret");
    for (at, peers) in [("127.0.0.1:0", "127.0.0.0/8"), ("[::1]:0", "::1/128")] {
        let Some(listener) = listening(at, peers, &[right]) else {
            return;
        };
        assert!(calls(&listener, &[right]), "{at}");
        assert!(!calls(&listener, &[]), "{at}");
    }
}

#[test]
fn while_keys_change_either_gets_through_and_afterwards_only_the_new_one() {
    let (old, new) = (key(1, b"old"), key(2, b"new"));
    let Some(listener) = listening("127.0.0.1:0", "127.0.0.1/32", &[old, new]) else {
        return;
    };
    assert!(calls(&listener, &[old]));
    assert!(calls(&listener, &[new]));
    assert!(calls(&listener, &[new, old]));
    let peers = "127.0.0.1/32".parse().unwrap();
    remove_key(&listener, peers, (1, 1)).unwrap();
    assert!(!calls(&listener, &[old]));
    assert!(calls(&listener, &[new]));
    remove_key(&listener, peers, (1, 1)).expect_err("it is gone");
}

#[test]
fn a_secret_that_is_too_long_is_no_key() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let long = [b'x'; SECRET_MAX + 1];
    let peers = "127.0.0.1/32".parse().unwrap();
    let error = add_key(&listener, peers, key(1, &long), false).expect_err("it does not fit");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

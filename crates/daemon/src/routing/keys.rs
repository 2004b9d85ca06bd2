//! Keys of TCP-AO, as they stand in files, on their way to the kernel.

use std::{io, os::fd::AsFd};

use gateway::intent::routing::{TcpAoAlgorithm, TcpAoKey};
use ipnet::IpNet;
use kernel::tcp::ao::{self, Algorithm, Key};

use super::password;

/// A key with its secret.
pub(super) struct Known<'a> {
    key: &'a TcpAoKey,
    secret: Vec<u8>,
}

/// Reads the secrets of keys.
///
/// # Errors
///
/// If one cannot be read: a session without it would be one that the operator does not know of.
pub(super) fn read(keys: &[TcpAoKey]) -> io::Result<Vec<Known<'_>>> {
    let each = keys.iter().map(|key| {
        let file = key.secret.display();
        let secret = password::read(&key.secret);
        let secret = secret.map_err(|error| {
            io::Error::new(error.kind(), format!("the secret in {file}: {error}"))
        })?;
        Ok(Known { key, secret })
    });
    each.collect()
}

/// Has a socket that calls begin with the first of these keys, and take all.
///
/// # Errors
///
/// If the kernel refuses one, or has no TCP-AO: then there must be no session.
pub(super) fn sign(socket: &impl AsFd, peers: IpNet, keys: &[Known<'_>]) -> io::Result<()> {
    for (index, known) in keys.iter().enumerate() {
        ao::add_key(socket, peers, known.for_kernel(), index == 0)?;
    }
    Ok(())
}

/// Has a socket that listens take all of these keys.
///
/// # Errors
///
/// If the kernel refuses one, or has no TCP-AO.
pub(super) fn let_in(socket: &impl AsFd, peers: IpNet, keys: &[Known<'_>]) -> io::Result<()> {
    for known in keys {
        ao::add_key(socket, peers, known.for_kernel(), false)?;
    }
    Ok(())
}

impl Known<'_> {
    /// The numbers of the key.
    pub fn ids(&self) -> (u8, u8) {
        (self.key.send_id, self.key.receive_id)
    }

    fn for_kernel(&self) -> Key<'_> {
        Key {
            send_id: self.key.send_id,
            receive_id: self.key.receive_id,
            algorithm: match self.key.algorithm {
                TcpAoAlgorithm::HmacSha1 => Algorithm::HmacSha1,
                TcpAoAlgorithm::Aes128Cmac => Algorithm::Aes128Cmac,
                TcpAoAlgorithm::HmacSha256 => Algorithm::HmacSha256,
            },
            secret: &self.secret,
        }
    }
}

//! What this gateway must have in common with the other members of its cluster, and no configuration says.

use std::io;

use gateway::intent::Intent;
use sha2::{Digest, Sha256};

use crate::routing::password;

/// The key by which all members find a client's bucket alike, which nobody outside may guess (RFC 6056): drawn
/// from the cluster's name and its secret. Nothing where there is no cluster.
///
/// # Errors
///
/// If the secret cannot be read; says which file it is in.
pub fn key(intent: &Intent) -> Result<Option<u64>, SecretError> {
    let Some(cluster) = &intent.cluster else {
        return Ok(None);
    };
    let secret = password::read(&cluster.secret).map_err(|source| SecretError {
        path: cluster.secret.display().to_string(),
        source,
    })?;
    let mut digest = Sha256::new();
    digest.update(b"egret: buckets of a cluster\0");
    digest.update(cluster.name.as_bytes());
    digest.update(b"\0");
    digest.update(&secret);
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest.finalize());
    Ok(Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])))
}

/// The cluster's secret cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the secret of the cluster cannot be read from {path}")]
pub struct SecretError {
    path: String,
    source: io::Error,
}

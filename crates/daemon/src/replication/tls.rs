//! TLS between members of a cluster: by which files this member shows who it is, and who the other side is.
//!
//! Both sides show a certificate that the cluster's CA signed, and a member is who the DNS name in it says.
//! TLS 1.3 only (RFC 8446), without resumption: a certificate is looked at in each handshake, so one that has
//! expired is of no use from the next connection on.
//!
//! Does not know what is said over a connection, when one is made, or to which address.

mod error;
mod files;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::Future,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use gateway::intent::cluster::Replication;
use rustls::{
    ClientConfig, CommonState, RootCertStore, ServerConfig,
    client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::{
        NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use error::time;
pub use error::{CredentialsError, Problem, TlsError};
use files::Seen;

/// What both sides say that they speak over TLS (RFC 7301).
pub const ALPN: &[u8] = b"egret-replica/1";

/// How long a handshake may take: three round trips of a bad network and what a busy machine takes for two
/// signatures are below a second, and who connects and says nothing must not keep a socket for long.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// A connection that another member made.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;
/// A connection that this member made.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// What this member shows of itself, and by whom others must be signed. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    inner: Arc<Inner>,
}

struct Inner {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    certificate: CertificateDer<'static>,
    valid_from: SystemTime,
    valid_until: SystemTime,
    paths: Replication,
    seen: [Seen; 3],
}

impl Credentials {
    /// Reads the files. What can be used some day can be read: whether others take it today, and for this
    /// member's, is [`check`](Self::check)'s to say.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has not in it what it should, if the key is another certificate's, or the
    /// certificate another CA's.
    pub fn read(replication: &Replication) -> Result<Self, CredentialsError> {
        let (roots, ca) = anchors(&replication.ca)?;
        let (chain, certificate) = certificates(&replication.certificate)?;
        let (key, key_file) = key(&replication.key)?;
        let provider = Arc::new(ring::default_provider());
        let own = certified(chain.clone(), key, replication, &provider)?;
        let roots = Arc::new(roots);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .expect("invariant: there is an anchor, and no list of revocations");
        let (valid_from, valid_until) = judged(&chain, &roots, &*verifier, &provider)
            .map_err(|source| CredentialsError::of_certificate(replication, source))?;
        let shown = own
            .end_entity_cert()
            .map(|it| it.clone().into_owned())
            .map_err(|source| CredentialsError::of_certificate(replication, source))?;
        let own = Arc::new(SingleCertAndKey::from(own));
        Ok(Self {
            inner: Arc::new(Inner {
                server: Arc::new(server(&provider, verifier, &own)),
                client: Arc::new(client(&provider, &roots, &own)),
                certificate: shown,
                valid_from,
                valid_until,
                paths: replication.clone(),
                seen: [ca, certificate, key_file],
            }),
        })
    }

    /// Until when the member's certificate is valid.
    pub fn valid_until(&self) -> SystemTime {
        self.inner.valid_until
    }

    /// Says whether others take this member for `member` at `now`.
    ///
    /// # Errors
    ///
    /// If the certificate is of another name, has expired, or is not valid yet.
    pub fn check(&self, member: &str, now: SystemTime) -> Result<(), CredentialsError> {
        let inner = &*self.inner;
        let path = inner.paths.certificate.clone();
        if now > inner.valid_until {
            let since = inner.valid_until;
            return Err(CredentialsError::Expired { path, since });
        }
        if now < inner.valid_from {
            let from = inner.valid_from;
            return Err(CredentialsError::Early { path, from });
        }
        match named(&inner.certificate, &[member.to_owned()]) {
            Ok(_) => Ok(()),
            Err(problem) => Err(CredentialsError::Name {
                path,
                problem,
                member: member.to_owned(),
            }),
        }
    }

    /// Whether a file is another than the one that was read, or is gone: then what is in them is to be read again.
    pub fn is_stale(&self) -> bool {
        self.inner.seen.iter().any(Seen::is_stale)
    }

    /// Takes a connection: the handshake, and which of these members the other side is by its certificate.
    ///
    /// # Errors
    ///
    /// If the other side is none of them, or the handshake is not done in time.
    pub async fn accept(
        &self,
        stream: TcpStream,
        members: &[String],
    ) -> Result<(String, ServerStream), TlsError> {
        let peer = address(&stream);
        let failed = |problem| TlsError::new(peer.clone(), problem);
        let handshake = TlsAcceptor::from(Arc::clone(&self.inner.server)).accept(stream);
        let stream = in_time(handshake).await.map_err(failed)?;
        let (_, connection) = stream.get_ref();
        speaks_ours(connection).map_err(failed)?;
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.ok_or_else(|| failed(Problem::Anonymous))?;
        let name = named(certificate, members).map_err(failed)?;
        Ok((name, stream))
    }

    /// Makes a TLS connection of a TCP one to this member.
    ///
    /// That it is made does not say that the other side takes this member: in TLS 1.3 it looks at the client's
    /// certificate when the handshake is over for the client. The first read fails then, and
    /// [`TlsError::of_stream`] says why.
    ///
    /// # Errors
    ///
    /// If the other side is not that member, or the handshake is not done in time.
    pub async fn connect(&self, stream: TcpStream, member: &str) -> Result<ClientStream, TlsError> {
        let peer = format!("{member} ({})", address(&stream));
        let failed = |problem| TlsError::new(peer.clone(), problem);
        let name = ServerName::try_from(member.to_owned());
        let name = name.map_err(|_| failed(Problem::Unnamable))?;
        let handshake = TlsConnector::from(Arc::clone(&self.inner.client)).connect(name, stream);
        let stream = in_time(handshake).await.map_err(failed)?;
        speaks_ours(stream.get_ref().1).map_err(failed)?;
        Ok(stream)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("paths", &self.inner.paths)
            .field("valid_until", &self.inner.valid_until)
            .finish_non_exhaustive()
    }
}

/// Who may sign: there may be several, so that a CA can be replaced member by member.
fn anchors(path: &Path) -> Result<(RootCertStore, Seen), CredentialsError> {
    let (found, seen) = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots
            .add(certificate)
            .map_err(|source| CredentialsError::Anchor {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok((roots, seen))
}

/// The certificates of a file, one at least.
fn certificates(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Seen), CredentialsError> {
    let (text, seen) = files::read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|source| CredentialsError::pem(path, source))?;
    if found.is_empty() {
        return Err(CredentialsError::Without {
            path: path.to_owned(),
            what: "certificate",
        });
    }
    Ok((found, seen))
}

fn key(path: &Path) -> Result<(PrivateKeyDer<'static>, Seen), CredentialsError> {
    let (text, seen) = files::read(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok((key, seen)),
        Err(pem::Error::NoItemsFound) => Err(CredentialsError::Without {
            path: path.to_owned(),
            what: "private key without a passphrase",
        }),
        Err(source) => Err(CredentialsError::pem(path, source)),
    }
}

/// The certificate with its key.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    paths: &Replication,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CredentialsError> {
    let signer = provider.key_provider.load_private_key(key);
    let signer = signer.map_err(|source| CredentialsError::Key {
        path: paths.key.clone(),
        source,
    })?;
    let own = CertifiedKey::new(chain, signer);
    match own.keys_match() {
        Ok(()) => Ok(own),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CredentialsError::Mismatch {
            key: paths.key.clone(),
            certificate: paths.certificate.clone(),
        }),
        Err(source) => Err(CredentialsError::of_certificate(paths, source)),
    }
}

/// Looks at this member's certificate as others will, on a day on which it is valid; from when to when that is.
fn judged(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    verifier: &dyn ClientCertVerifier,
    provider: &CryptoProvider,
) -> Result<(SystemTime, SystemTime), rustls::Error> {
    let Some((shown, between)) = chain.split_first() else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    let parsed = ParsedCertificate::try_from(shown)?;
    let as_server = |at: UnixTime| {
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, at, algorithms)
    };
    let (from, until) = validity(as_server)?;
    let now = UnixTime::now().max(from).min(until);
    as_server(now)?;
    verifier.verify_client_cert(shown, between, now)?;
    Ok((time(from), time(until)))
}

/// From when to when a certificate is valid: its verifier names the time when it is asked about one before or
/// after all that a certificate can say, which spares the daemon another parser of what strangers send.
fn validity(
    verify: impl Fn(UnixTime) -> Result<(), rustls::Error>,
) -> Result<(UnixTime, UnixTime), rustls::Error> {
    use rustls::{CertificateError as Why, Error::InvalidCertificate};
    let first = UnixTime::since_unix_epoch(Duration::ZERO);
    let from = match verify(first) {
        Err(InvalidCertificate(Why::NotValidYetContext { not_before, .. })) => not_before,
        Ok(()) | Err(_) => first,
    };
    match verify(UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX))) {
        Err(InvalidCertificate(Why::ExpiredContext { not_after, .. })) => Ok((from, not_after)),
        Err(error) => Err(error),
        Ok(()) => Err(InvalidCertificate(Why::BadEncoding)),
    }
}

fn server(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    own: &Arc<SingleCertAndKey>,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("invariant: the provider speaks TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(own) as _);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    own: &Arc<SingleCertAndKey>,
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("invariant: the provider speaks TLS 1.3")
        .with_root_certificates(Arc::clone(roots))
        .with_client_cert_resolver(Arc::clone(own) as _);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    // There is one certificate to choose, and whoever listens needs not read who talks to whom.
    config.enable_sni = false;
    config
}

/// What an address is called where there is none any more.
fn address(stream: &TcpStream) -> String {
    match stream.peer_addr() {
        Ok(address) => address.to_string(),
        Err(_) => "somebody who is gone".to_owned(),
    }
}

async fn in_time<T>(handshake: impl Future<Output = io::Result<T>>) -> Result<T, Problem> {
    match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
        Ok(done) => done.map_err(Problem::of),
        Err(_) => Err(Problem::Late),
    }
}

/// A side that names no protocol is let through by TLS.
fn speaks_ours(connection: &CommonState) -> Result<(), Problem> {
    match connection.alpn_protocol() {
        Some(ALPN) => Ok(()),
        Some(_) | None => Err(Problem::Protocol),
    }
}

/// Which of these members a certificate is of.
fn named(certificate: &CertificateDer<'_>, members: &[String]) -> Result<String, Problem> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(Problem::of_tls)?;
    let is_of = |member: &&String| {
        ServerName::try_from(member.as_str())
            .is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    };
    let mut found = members.iter().filter(is_of);
    match (found.next(), found.next()) {
        (Some(name), None) => Ok(name.clone()),
        (Some(_), Some(_)) => Err(Problem::Several),
        (None, _) => {
            let nobody = ServerName::try_from("nobody.invalid").expect("invariant: it is a name");
            let said = verify_server_name(&parsed, &nobody).err();
            Err(said.map_or(Problem::Name(Vec::new()), Problem::of_tls))
        }
    }
}

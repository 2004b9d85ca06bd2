//! What is wrong with files and with other sides, in words that say what to mend.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use gateway::intent::cluster::Replication;
use jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError,
    pki_types::{UnixTime, pem},
};
use thiserror::Error;

use super::HANDSHAKE_MAX;

/// Files by which this member cannot show who it is.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not PEM.
    #[error("{} is not PEM as it should be", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// It is PEM of something else.
    #[error("there is no {what} in {}", path.display())]
    Without {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// What is in the CA's file is not the certificate of one.
    #[error("the certificate in {} cannot be that of a CA", path.display())]
    Anchor {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// The key is of no kind that is known.
    #[error("the key in {} cannot be used", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// The key is not the certificate's.
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's.
        certificate: PathBuf,
    },
    /// The certificate is another CA's.
    #[error("the certificate in {} is not signed by the CA in {}", certificate.display(), ca.display())]
    Stranger {
        /// The certificate's file.
        certificate: PathBuf,
        /// The CA's.
        ca: PathBuf,
    },
    /// The certificate is of no use to a member.
    #[error("{} {problem}", path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why not.
        problem: Problem,
    },
    /// The certificate is too old.
    #[error("the certificate in {} expired at {}", path.display(), shown(*since))]
    Expired {
        /// Which.
        path: PathBuf,
        /// When.
        since: SystemTime,
    },
    /// The certificate is too new, or a clock is wrong.
    #[error("the certificate in {} is not valid before {}: is the clock right?", path.display(), shown(*from))]
    Early {
        /// Which.
        path: PathBuf,
        /// From when on it is.
        from: SystemTime,
    },
    /// The certificate is not this member's.
    #[error("{} {problem}, and this member is {member}", path.display())]
    Name {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        problem: Problem,
        /// Whose it should be.
        member: String,
    },
}

impl CredentialsError {
    pub(super) fn pem(path: &Path, source: pem::Error) -> Self {
        Self::Pem {
            path: path.to_owned(),
            source,
        }
    }

    /// What the verifier says of this member's certificate.
    pub(super) fn of_certificate(paths: &Replication, source: rustls::Error) -> Self {
        let problem = Problem::of_tls(source);
        if matches!(problem, Problem::Stranger) {
            return Self::Stranger {
                certificate: paths.certificate.clone(),
                ca: paths.ca.clone(),
            };
        }
        Self::Certificate {
            path: paths.certificate.clone(),
            problem,
        }
    }
}

/// A connection that there is not, and with whom.
#[derive(Debug, Error)]
#[error("{peer} {problem}")]
pub struct TlsError {
    peer: String,
    problem: Problem,
}

impl TlsError {
    pub(super) fn new(peer: String, problem: Problem) -> Self {
        Self { peer, problem }
    }

    /// What is wrong, apart from with whom.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Why a connection that was made cannot be read from: the other side's word on this member, if it is one.
    pub fn of_stream(member: &str, error: io::Error) -> Self {
        Self::new(member.to_owned(), Problem::of(error))
    }
}

/// What is wrong with the other side; each is the rest of a sentence about it.
#[derive(Debug, Error)]
pub enum Problem {
    /// It took too long.
    #[error("did not finish the TLS handshake within {} s", HANDSHAKE_MAX.as_secs())]
    Late,
    /// The connection ended.
    #[error("{}", lost(.0))]
    Lost(io::Error),
    /// It is something else than a member.
    #[error("does not speak TLS 1.3")]
    NotTls,
    /// It is something else than a member of this version.
    #[error("does not speak {} over TLS", String::from_utf8_lossy(super::ALPN))]
    Protocol,
    /// It does not say who it is.
    #[error("has no certificate to show")]
    Anonymous,
    /// Another CA signed its certificate.
    #[error("has a certificate that is not signed by the CA in `ca_file`")]
    Stranger,
    /// Its certificate is too old.
    #[error("has a certificate that expired at {}", shown(*.0))]
    Expired(SystemTime),
    /// Its certificate is too new, or a clock is wrong.
    #[error("has a certificate that is not valid before {}: are both clocks right?", shown(*.0))]
    Early(SystemTime),
    /// Its certificate is of these names, and of none that it should be.
    #[error("has a certificate of {}", listed(.0))]
    Name(Vec<String>),
    /// Its certificate is of more members than one.
    #[error("has a certificate of several members")]
    Several,
    /// Its certificate is of no use.
    #[error("has a certificate that cannot be used: {0}")]
    Certificate(CertificateError),
    /// No certificate can be of the name that it should have.
    #[error("has a name that no certificate can be of")]
    Unnamable,
    /// It does not take this member for one.
    #[error("refuses this member's certificate: {0}")]
    Refused(&'static str),
    /// It does not want to talk.
    #[error("ended the TLS handshake with `{0:?}`")]
    Alert(AlertDescription),
    /// Anything else.
    #[error("broke the TLS handshake: {0}")]
    Broken(rustls::Error),
}

impl Problem {
    pub(super) fn of(error: io::Error) -> Self {
        let inner = error.get_ref();
        match inner.and_then(|it| it.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::of_tls(tls.clone()),
            None => Self::Lost(error),
        }
    }

    pub(super) fn of_tls(error: rustls::Error) -> Self {
        use rustls::Error;
        if let Error::InvalidCertificate(why) = error {
            return Self::of_certificate(why);
        }
        if let Error::AlertReceived(alert) = error {
            return Self::of_alert(alert);
        }
        if matches!(error, Error::InvalidMessage(_) | Error::PeerIncompatible(_)) {
            return Self::NotTls;
        }
        if error == Error::NoCertificatesPresented {
            return Self::Anonymous;
        }
        if error == Error::NoApplicationProtocol {
            return Self::Protocol;
        }
        Self::Broken(error)
    }

    fn of_certificate(why: CertificateError) -> Self {
        if let CertificateError::ExpiredContext { not_after, .. } = why {
            return Self::Expired(time(not_after));
        }
        if let CertificateError::NotValidYetContext { not_before, .. } = why {
            return Self::Early(time(not_before));
        }
        if let CertificateError::NotValidForNameContext { presented, .. } = why {
            return Self::Name(presented.iter().map(|it| plain(it)).collect());
        }
        // A CA of the same name, but with another key, is another one.
        if matches!(
            why,
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        ) {
            return Self::Stranger;
        }
        Self::Certificate(why)
    }

    /// What the other side says of this one.
    fn of_alert(alert: AlertDescription) -> Self {
        const REFUSALS: [(AlertDescription, &str); 6] = [
            (
                AlertDescription::CertificateExpired,
                "it is not valid at this time, by the other side's clock",
            ),
            (
                AlertDescription::UnknownCA,
                "it is not signed by the CA that the other side has",
            ),
            (
                AlertDescription::DecryptError,
                "it is not signed by the CA that the other side has",
            ),
            (
                AlertDescription::BadCertificate,
                "it is damaged, or not of the member that the other side called",
            ),
            (
                AlertDescription::UnsupportedCertificate,
                "it is not for members, who need one for servers and clients",
            ),
            (
                AlertDescription::CertificateRequired,
                "the other side got none",
            ),
        ];
        if alert == AlertDescription::NoApplicationProtocol {
            return Self::Protocol;
        }
        if alert == AlertDescription::ProtocolVersion {
            return Self::NotTls;
        }
        let known = REFUSALS.iter().find(|(it, _)| *it == alert);
        known.map_or(Self::Alert(alert), |(_, why)| Self::Refused(why))
    }
}

/// A time as certificates say it.
pub(super) fn time(at: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_secs())
}

fn shown(at: SystemTime) -> String {
    match Timestamp::try_from(at) {
        Ok(at) => at.to_string(),
        Err(_) => "a time that no calendar has".to_owned(),
    }
}

fn lost(error: &io::Error) -> String {
    match error.kind() == io::ErrorKind::UnexpectedEof {
        true => "ended the connection in the middle".to_owned(),
        false => format!("cannot be talked to: {error}"),
    }
}

/// `DnsName("gw3")` is gw3; what is no name of a host stays as it is. A log gets no control characters.
fn plain(name: &str) -> String {
    let inner = name.strip_prefix("DnsName(\"");
    let inner = inner.and_then(|it| it.strip_suffix("\")"));
    inner.unwrap_or(name).escape_debug().to_string()
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.join(", "),
    }
}

//! Who signs members' certificates: read if there is one, else made.

use std::{fs, path::Path};

use gateway::intent::cluster::is_name;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use time::{Duration, OffsetDateTime};
use x509_parser::{certificate::X509Certificate, pem::parse_x509_pem};

use super::{
    CertificatesError, EARLIER,
    files::{self, Access, NewFile},
    moment,
};

/// What its files are called, apart from their ends: no member can be.
pub(super) const STEM: &str = "ca";
/// The file with its certificate.
pub(super) const CERTIFICATE: &str = "ca.pem";
/// The file with its key.
pub(super) const KEY: &str = "ca.key";

/// How long it is valid: while it is, members' certificates are renewed without touching the other members.
const VALID: Duration = Duration::days(3650);

/// Who signs.
pub(super) struct Ca {
    /// What its certificate calls it.
    pub name: String,
    pub issuer: Issuer<'static, KeyPair>,
    pub valid_until: OffsetDateTime,
    /// Its certificate and key in PEM, if they are new.
    pub made: Option<[String; 2]>,
}

impl Ca {
    /// The CA of a directory, or a new one for the cluster of this name.
    pub fn of(
        directory: &Path,
        cluster: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Self, CertificatesError> {
        let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
        match (files::is_there(&certificate)?, files::is_there(&key)?) {
            (true, true) => Self::read(&certificate, &key, cluster, now),
            (false, false) => {
                let cluster = cluster.ok_or_else(|| CertificatesError::Nameless {
                    directory: directory.to_owned(),
                })?;
                Self::make(cluster, now)
            }
            (true, false) => Err(CertificatesError::Half {
                there: certificate,
                missing: KEY,
            }),
            (false, true) => Err(CertificatesError::Half {
                there: key,
                missing: CERTIFICATE,
            }),
        }
    }

    fn make(cluster: &str, now: OffsetDateTime) -> Result<Self, CertificatesError> {
        if !is_name(cluster) {
            let name = cluster.to_owned();
            return Err(CertificatesError::Cluster { name });
        }
        let failed = |source| CertificatesError::Make { source };
        let name = called(cluster);
        let mut params = CertificateParams::default();
        params.not_before = now - EARLIER;
        params.not_after = now + VALID;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, name.clone());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let made = [certificate.pem(), key.serialize_pem()];
        Ok(Self {
            name,
            valid_until: params.not_after,
            issuer: Issuer::new(params, key),
            made: Some(made),
        })
    }

    fn read(
        certificate: &Path,
        key: &Path,
        cluster: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Self, CertificatesError> {
        let text = |path: &Path| {
            fs::read_to_string(path).map_err(|source| CertificatesError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let (pem, key_pem) = (text(certificate)?, text(key)?);
        let unfit = |why| CertificatesError::Unfit {
            path: certificate.to_owned(),
            why,
        };
        let (_, pem) =
            parse_x509_pem(pem.as_bytes()).map_err(|_| unfit("is no certificate in PEM"))?;
        let parsed = pem.parse_x509();
        let parsed = parsed.map_err(|_| unfit("is no certificate"))?;
        if !parsed.is_ca() {
            return Err(unfit("is no CA's certificate"));
        }
        let valid_until = parsed.validity().not_after.to_datetime();
        if valid_until <= now {
            return Err(CertificatesError::Expired {
                path: certificate.to_owned(),
                since: moment(valid_until),
            });
        }
        let signer = KeyPair::from_pem(&key_pem).map_err(|source| CertificatesError::Key {
            path: key.to_owned(),
            source,
        })?;
        if signer.der_bytes() != &*parsed.public_key().subject_public_key.data {
            let (key, certificate) = (key.to_owned(), certificate.to_owned());
            return Err(CertificatesError::Mismatch { key, certificate });
        }
        let name = name(&parsed);
        if let Some(cluster) = cluster
            && name != called(cluster)
        {
            return Err(CertificatesError::Other {
                path: certificate.to_owned(),
                found: name,
                wanted: called(cluster),
            });
        }
        let der = pem.contents.as_slice().into();
        let issuer = Issuer::from_ca_cert_der(&der, signer);
        Ok(Self {
            name,
            valid_until,
            issuer: issuer.map_err(|source| CertificatesError::Make { source })?,
            made: None,
        })
    }

    /// Its files, if they are new.
    pub fn files(&self, directory: &Path) -> Vec<NewFile> {
        let Some([certificate, key]) = &self.made else {
            return Vec::new();
        };
        vec![
            NewFile::new(directory.join(KEY), key.clone(), Access::Owner),
            NewFile::new(
                directory.join(CERTIFICATE),
                certificate.clone(),
                Access::Anybody,
            ),
        ]
    }
}

/// What the CA of a cluster is called.
fn called(cluster: &str) -> String {
    format!("Egret cluster {cluster}")
}

fn name(certificate: &X509Certificate<'_>) -> String {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().and_then(|it| it.as_str().ok());
    name.map_or_else(|| certificate.subject().to_string(), str::to_owned)
}

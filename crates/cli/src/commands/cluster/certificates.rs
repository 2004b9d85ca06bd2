//! `egret cluster certificates`: by what members of a cluster know each other.
//!
//! The CA is the cluster's own and signs nothing else: who has a certificate of it is a member, and is the one
//! whose name is in it.

mod ca;
mod error;
mod files;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use gateway::intent::cluster::is_certifiable;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::{
    args::CertificatesArgs,
    failure::{Exit, Failure},
    output::{Look, Output},
    table::{Table, cell, words},
    text::printable,
};

use ca::Ca;
pub use error::CertificatesError;
use files::{Access, NewFile};

/// Where a gateway's own files are, in what is said.
const PLACE: &str = "/etc/egret";

/// How much earlier than now a certificate is valid: clocks differ.
const EARLIER: Duration = Duration::days(1);

/// What there is when it is done.
#[derive(Debug, Serialize)]
struct Made {
    /// Where the files are.
    directory: PathBuf,
    /// Who signed.
    ca: Signer,
    /// In the order of the command line.
    members: Vec<Member>,
}

/// Who signs members' certificates.
#[derive(Debug, Serialize)]
struct Signer {
    /// What its certificate calls it.
    name: String,
    /// Whether it was made with the members.
    new: bool,
    /// The file with its certificate.
    certificate: String,
    /// The file with its key.
    key: String,
    /// RFC 3339.
    valid_until: String,
}

/// A member that has a certificate by now.
#[derive(Debug, Serialize)]
struct Member {
    name: String,
    certificate: String,
    key: String,
    /// RFC 3339.
    valid_until: String,
}

/// Makes them, and says what goes where.
pub fn run(output: &mut Output, wanted: &CertificatesArgs) -> Result<Exit, Failure> {
    let made = make(wanted, OffsetDateTime::now_utc())?;
    if output.is_json() {
        output.json(&made)?;
    } else {
        output.text(&show(&made, output.look()))?;
    }
    Ok(Exit::Fine)
}

/// Makes everything before it writes anything, so that what is refused leaves nothing behind.
fn make(wanted: &CertificatesArgs, now: OffsetDateTime) -> Result<Made, CertificatesError> {
    named(&wanted.members)?;
    let directory = &wanted.directory;
    for name in &wanted.members {
        files::nothing_at(&directory.join(certificate_of(name)))?;
        files::nothing_at(&directory.join(key_of(name)))?;
    }
    let ca = Ca::of(directory, wanted.name.as_deref(), now)?;
    let until = ca.valid_until.min(now + Duration::days(wanted.days.into()));
    let mut new = ca.files(directory);
    let mut members = Vec::new();
    for name in &wanted.members {
        new.extend(sign(name, &ca, directory, now, until)?);
        members.push(Member {
            name: name.clone(),
            certificate: certificate_of(name),
            key: key_of(name),
            valid_until: moment(until),
        });
    }
    files::write(directory, &new)?;
    Ok(Made {
        directory: directory.clone(),
        ca: Signer {
            name: ca.name,
            new: ca.made.is_some(),
            certificate: ca::CERTIFICATE.to_owned(),
            key: ca::KEY.to_owned(),
            valid_until: moment(ca.valid_until),
        },
        members,
    })
}

fn named(members: &[String]) -> Result<(), CertificatesError> {
    let mut seen = BTreeSet::new();
    for name in members {
        let name = name.clone();
        if !is_certifiable(&name) {
            return Err(CertificatesError::Name { name });
        }
        if name == ca::STEM {
            return Err(CertificatesError::Reserved { name });
        }
        if !seen.insert(name.clone()) {
            return Err(CertificatesError::Twice { name });
        }
    }
    Ok(())
}

/// The files of a member.
fn sign(
    name: &str,
    ca: &Ca,
    directory: &Path,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<[NewFile; 2], CertificatesError> {
    let failed = |source| CertificatesError::Make { source };
    let mut params = CertificateParams::default();
    params.not_before = now - EARLIER;
    params.not_after = until;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().map_err(failed)?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Each member calls the others, and is called.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, &ca.issuer).map_err(failed)?;
    Ok([
        NewFile::new(
            directory.join(key_of(name)),
            key.serialize_pem(),
            Access::Owner,
        ),
        NewFile::new(
            directory.join(certificate_of(name)),
            certificate.pem(),
            Access::Anybody,
        ),
    ])
}

fn certificate_of(name: &str) -> String {
    format!("{name}.pem")
}

fn key_of(name: &str) -> String {
    format!("{name}.key")
}

/// RFC 3339, to the second.
fn moment(at: OffsetDateTime) -> String {
    let (hour, minute, second) = at.to_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", at.date())
}

/// What was made, where it goes, and what a configuration says then.
fn show(made: &Made, look: Look) -> String {
    let directory = printable(&made.directory.display().to_string());
    let until = made.ca.valid_until.get(..10).unwrap_or_default();
    let whose = printable(&made.ca.name);
    let mut text = match made.ca.new {
        true => format!("made a CA, {whose}, valid until {until}\n\n"),
        false => format!("signed by the CA that was there, {whose}, valid until {until}\n\n"),
    };
    let columns = ["MEMBER", "VALID UNTIL", "FILES"].map(words);
    let mut table = Table::new(look, &columns);
    for member in &made.members {
        table.row([
            cell(&member.name),
            cell(member.valid_until.get(..10).unwrap_or_default()),
            cell(format!(
                "{}, {}, {}",
                made.ca.certificate, member.certificate, member.key
            )),
        ]);
    }
    text += &table.show();
    let first = made.members.first().map_or("", |it| &it.name);
    text += &format!(
        "
The files are in {directory}. Each member gets its own in {PLACE}, owned by root. {key} goes to no gateway:
whoever has it can make members. The configuration of {first} says then, and those of others the like:

cluster:
  replication:
    ca_file: {PLACE}/{ca}
    certificate_file: {PLACE}/{first}.pem
    key_file: {PLACE}/{first}.key
",
        key = made.ca.key,
        ca = made.ca.certificate,
    );
    text
}

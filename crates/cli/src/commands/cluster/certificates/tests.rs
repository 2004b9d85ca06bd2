//! Certificates that were made, shown to TLS as members show them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
    time_provider::TimeProvider,
};

use super::*;

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("egret-certificates-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn make(&self, name: Option<&str>, members: &[&str]) -> Result<Made, CertificatesError> {
        self.make_at(name, members, OffsetDateTime::now_utc())
    }

    fn make_at(
        &self,
        name: Option<&str>,
        members: &[&str],
        now: OffsetDateTime,
    ) -> Result<Made, CertificatesError> {
        let wanted = CertificatesArgs {
            members: members.iter().map(|it| (*it).to_owned()).collect(),
            directory: self.0.clone(),
            name: name.map(str::to_owned),
            days: 825,
        };
        make(&wanted, now)
    }

    /// What is said, without the directory.
    #[track_caller]
    fn refused(&self, name: Option<&str>, members: &[&str]) -> String {
        let Err(error) = self.make(name, members) else {
            panic!("{members:?} are made");
        };
        let directory = self.0.display().to_string();
        let said = Failure::from(error).message();
        said.replace(&format!("{directory}/"), "")
            .replace(&directory, "(directory)")
    }

    fn listed(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten();
        let name = |it: std::io::Result<fs::DirEntry>| it.unwrap().file_name();
        let mut names: Vec<_> = entries.map(|it| name(it).into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.0.join("ca.pem")).unwrap();
        roots.add(ca).unwrap();
        Arc::new(roots)
    }

    fn shown(&self, member: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let path = self.0.join(member);
        let certificate = CertificateDer::from_pem_file(path.with_extension("pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(path.with_extension("key")).unwrap();
        (vec![certificate], key)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A clock that stands.
#[derive(Debug)]
struct At(OffsetDateTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.unix_timestamp().try_into().unwrap();
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            seconds,
        )))
    }
}

/// Whether the first one, who is called, and the second one, who calls it, take each other, at that time.
fn meet(
    (called, server): (&str, &Place),
    (calling, client): (&str, &Place),
    at: OffsetDateTime,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let clock = Arc::new(At(at));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(server.roots(), Arc::clone(&provider))
            .build()
            .unwrap();
    let (chain, key) = server.shown(called);
    let of_server =
        ServerConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&clock) as _)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
    let (chain, key) = client.shown(calling);
    let of_client = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(client.roots())
        .with_client_auth_cert(chain, key)
        .unwrap();
    let name = ServerName::try_from(called.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(of_client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(of_server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[test]
fn members_of_a_cluster_take_each_other_both_ways() {
    let place = Place::new();
    place.make(Some("west"), &["gw1", "gw2"]).unwrap();

    meet(("gw1", &place), ("gw2", &place), now()).unwrap();
    meet(("gw2", &place), ("gw1", &place), now()).unwrap();
    // Members' clocks may differ.
    meet(
        ("gw1", &place),
        ("gw2", &place),
        now() - Duration::hours(23),
    )
    .unwrap();
}

#[test]
fn another_clusters_members_are_refused_even_under_the_same_names() {
    let (west, other) = (Place::new(), Place::new());
    west.make(Some("west"), &["gw1", "gw2"]).unwrap();
    other.make(Some("west"), &["gw1", "gw2"]).unwrap();

    meet(("gw1", &west), ("gw2", &other), now()).unwrap_err();
    meet(("gw1", &other), ("gw2", &west), now()).unwrap_err();
}

#[test]
fn a_later_run_adds_a_member_with_the_ca_that_is_there() {
    let place = Place::new();
    let first = place.make(Some("west"), &["gw1"]).unwrap();
    let ca = fs::read(place.0.join("ca.pem")).unwrap();

    let later = place.make(None, &["gw2"]).unwrap();
    place.make(Some("west"), &["gw3"]).unwrap();

    assert!(first.ca.new && !later.ca.new);
    assert_eq!(later.ca.name, "Egret cluster west");
    assert_eq!(later.ca.valid_until, first.ca.valid_until);
    assert_eq!(fs::read(place.0.join("ca.pem")).unwrap(), ca);
    meet(("gw1", &place), ("gw2", &place), now()).unwrap();
    meet(("gw3", &place), ("gw1", &place), now()).unwrap();
}

#[test]
fn certificates_end_when_it_was_said_and_with_their_ca() {
    let place = Place::new();
    let begun = now();
    let made = place.make_at(Some("west"), &["gw1", "gw2"], begun).unwrap();
    assert_eq!(
        made.members[0].valid_until,
        moment(begun + Duration::days(825))
    );
    let (first, second) = (("gw1", &place), ("gw2", &place));
    meet(first, second, begun + Duration::days(824)).unwrap();
    meet(first, second, begun + Duration::days(826)).unwrap_err();
    meet(first, second, begun - Duration::days(2)).unwrap_err();

    let late = begun + Duration::days(3600);
    let made = place.make_at(None, &["gw3", "gw4"], late).unwrap();
    assert_eq!(made.members[0].valid_until, made.ca.valid_until);
    let (third, fourth) = (("gw3", &place), ("gw4", &place));
    meet(third, fourth, late + Duration::days(49)).unwrap();
    meet(third, fourth, late + Duration::days(51)).unwrap_err();

    let Err(error) = place.make_at(None, &["gw5"], begun + Duration::days(3651)) else {
        panic!("it signs for ever");
    };
    assert!(error.to_string().contains("expired at "), "{error}");
}

#[test]
fn keys_are_their_owners_and_a_new_directory_too() {
    let place = Place::new();
    place.make(Some("west"), &["gw1"]).unwrap();

    let mode = |name: &str| {
        let metadata = fs::metadata(place.0.join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(place.listed(), ["ca.key", "ca.pem", "gw1.key", "gw1.pem"]);
    assert_eq!(
        [mode("ca.key"), mode("gw1.key"), mode("")],
        [0o600, 0o600, 0o700]
    );
}

#[test]
fn nothing_is_overwritten_and_what_is_in_the_way_is_named() {
    let place = Place::new();
    place.make(Some("west"), &["gw1"]).unwrap();
    let before = place.listed();

    for (kept, named) in [("gw1.pem", "gw1.pem"), ("gw1.key", "gw1.key")] {
        let other = if kept == "gw1.pem" {
            "gw1.key"
        } else {
            "gw1.pem"
        };
        let (path, aside) = (place.0.join(other), place.0.join("aside"));
        fs::rename(&path, &aside).unwrap();
        let said = place.refused(None, &["gw2", "gw1"]);
        assert!(
            said.starts_with(&format!("error: {named} is there already\nhelp: ")),
            "{said}"
        );
        fs::rename(&aside, &path).unwrap();
    }

    assert_eq!(place.listed(), before, "gw2 was not begun either");
}

#[test]
fn half_a_ca_is_not_made_whole() {
    for (gone, said) in [
        (
            "ca.key",
            "error: ca.pem is there, but no ca.key beside it\n",
        ),
        (
            "ca.pem",
            "error: ca.key is there, but no ca.pem beside it\n",
        ),
    ] {
        let place = Place::new();
        place.make(Some("west"), &["gw1"]).unwrap();
        fs::remove_file(place.0.join(gone)).unwrap();

        let refused = place.refused(Some("west"), &["gw2"]);

        assert!(refused.starts_with(said), "{refused}");
    }
}

#[test]
fn what_cannot_sign_is_refused() {
    let place = Place::new();
    place.make(Some("west"), &["gw1"]).unwrap();
    let other = Place::new();
    other.make(Some("east"), &["gw1"]).unwrap();
    let copy = |from: &Place, name: &str, to: &str| {
        fs::copy(from.0.join(name), place.0.join(to)).unwrap();
    };

    let said = place.refused(Some("east"), &["gw2"]);
    let expected = "error: the CA in ca.pem is `Egret cluster west`, not `Egret cluster east`\n";
    assert!(said.starts_with(expected), "{said}");

    copy(&other, "ca.key", "ca.key");
    let said = place.refused(None, &["gw2"]);
    assert!(
        said.starts_with("error: the key in ca.key is not that of ca.pem\n"),
        "{said}"
    );

    copy(&place, "ca.pem", "ca.key");
    let said = place.refused(None, &["gw2"]);
    assert!(
        said.starts_with("error: the key in ca.key cannot be used"),
        "{said}"
    );

    copy(&place, "gw1.pem", "ca.pem");
    let said = place.refused(None, &["gw2"]);
    assert!(
        said.starts_with("error: ca.pem is no CA's certificate\n"),
        "{said}"
    );

    fs::write(place.0.join("ca.pem"), "words").unwrap();
    let said = place.refused(None, &["gw2"]);
    assert!(
        said.starts_with("error: ca.pem is no certificate in PEM\n"),
        "{said}"
    );
}

#[test]
fn names_that_no_member_or_cluster_can_have_are_refused_before_anything_is_made() {
    let place = Place::new();
    for (cluster, members, said) in [
        (
            Some("west"),
            &["7"][..],
            "`7` cannot be the name of a member",
        ),
        (Some("west"), &["0x1f"], "`0x1f` cannot be"),
        (Some("west"), &["../gw1"], "`../gw1` cannot be"),
        (Some("west"), &["GW1"], "`GW1` cannot be"),
        (Some("west"), &[""], "`` cannot be"),
        (Some("west"), &["10.0.0.1"], "`10.0.0.1` cannot be"),
        (Some("west"), &["gw1", "ca"], "would be those of the CA"),
        (Some("west"), &["gw1", "gw1"], "`gw1` is named twice"),
        (Some("w/"), &["gw1"], "`w/` cannot be the name of a cluster"),
        (None, &["gw1"], "no CA in (directory) yet, and no name"),
    ] {
        let refused = place.refused(cluster, members);

        assert!(refused.contains(said), "{refused}");
        assert!(refused.contains("\nhelp: "), "{refused}");
        assert!(!place.0.exists());
    }
}

#[test]
fn what_was_made_is_said_with_where_it_goes() {
    let member = |name: &str| Member {
        name: name.to_owned(),
        certificate: certificate_of(name),
        key: key_of(name),
        valid_until: "2029-02-25T08:00:00Z".to_owned(),
    };
    let made = Made {
        directory: "west".into(),
        ca: Signer {
            name: "Egret cluster west".to_owned(),
            new: true,
            certificate: "ca.pem".to_owned(),
            key: "ca.key".to_owned(),
            valid_until: "2036-11-20T08:00:00Z".to_owned(),
        },
        members: vec![member("gw1"), member("gw2")],
    };

    super::super::super::tests::check("cluster-certificates", &show(&made, Look::default()));
}

#[test]
fn every_name_that_a_member_can_have_is_one_for_tls() {
    let letters = ["", "0", "1", "x", "a", "g", "-"];
    let mut words = vec![String::new()];
    for _ in 0..4 {
        let longer = |word: &String| letters.map(|letter| format!("{word}{letter}"));
        words = words.iter().flat_map(longer).collect();
    }
    for word in words {
        let is_dns = matches!(ServerName::try_from(&*word), Ok(ServerName::DnsName(_)));
        assert_eq!(is_certifiable(&word), is_dns, "{word}");
    }
}

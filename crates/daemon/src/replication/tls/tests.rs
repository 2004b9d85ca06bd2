//! Members, strangers and whoever else may call, over real sockets.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use time::{Duration as Span, OffsetDateTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// Who signs.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // All have the same: only the key tells one from another.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "west");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate, and its key, of somebody who may be anything.
    fn signs(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> [String; 2] {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        [certificate.pem(), key.serialize_pem()]
    }

    fn member(&self, name: &str) -> Member {
        Member::new(&self.pem, &self.signs(&[name], |_| ()))
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        Arc::new(roots)
    }
}

/// Days before and after today.
fn days(params: &mut CertificateParams, from: i64, until: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now + Span::days(from);
    params.not_after = now + Span::days(until);
}

/// The files of a member, in a directory that goes with it.
struct Member {
    paths: Replication,
}

impl Member {
    fn new(ca: &str, [certificate, key]: &[String; 2]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("egret-tls-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        Self {
            paths: Replication {
                port: 3473,
                ca: write("ca.pem", ca),
                certificate: write("own.pem", certificate),
                key: write("own.key", key),
            },
        }
    }

    fn read(&self) -> Credentials {
        Credentials::read(&self.paths).unwrap()
    }

    /// What is said of the files, without the directory they are in.
    #[track_caller]
    fn refused(&self) -> String {
        let error = Credentials::read(&self.paths).expect_err("they are good");
        self.plain(&error)
    }

    fn plain(&self, error: &CredentialsError) -> String {
        let directory = format!("{}/", self.directory().display());
        crate::world::Chain(error)
            .to_string()
            .replace(&directory, "")
    }

    fn directory(&self) -> &Path {
        self.paths.ca.parent().unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.directory());
    }
}

/// What somebody shows who read no files, and so may show anything.
fn shown([certificate, key]: &[String; 2]) -> Arc<SingleCertAndKey> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = ring::default_provider()
        .key_provider
        .load_private_key(key)
        .unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// A client that trusts a CA and shows this.
fn caller(ca: &Ca, shows: &[String; 2]) -> ClientConfig {
    client(
        &Arc::new(ring::default_provider()),
        &ca.roots(),
        &shown(shows),
    )
}

/// A server that trusts a CA and shows this.
fn called(ca: &Ca, shows: &[String; 2]) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(ca.roots(), Arc::clone(&provider));
    server(&provider, verifier.build().unwrap(), &shown(shows))
}

/// Both ends of a connection.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
    (accepted.unwrap().0, connected.unwrap())
}

fn members() -> Vec<String> {
    ["gw1", "gw2", "gw3"].map(str::to_owned).to_vec()
}

/// What a member says of a client that does this, apart from its address.
async fn said_of<F: Future>(server: &Credentials, does: impl FnOnce(TcpStream) -> F) -> String {
    let (here, there) = connection().await;
    let members = members();
    let (accepted, _) = tokio::join!(server.accept(here, &members), does(there));
    let error = accepted.expect_err("it is taken").to_string();
    let (address, said) = error.split_once(' ').unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{error}");
    said.to_owned()
}

/// What a member says of such a client, and what that client reads.
async fn said_of_caller(server: &Credentials, caller: ClientConfig) -> (String, String) {
    let mut read = String::new();
    let said = said_of(server, async |stream| {
        let connector = TlsConnector::from(Arc::new(caller));
        let name = ServerName::try_from("gw1").unwrap();
        let failed = match connector.connect(name, stream).await {
            Ok(mut stream) => stream.read_u8().await.unwrap_err(),
            Err(error) => error,
        };
        read = TlsError::of_stream("gw1", failed).to_string();
    })
    .await;
    (said, read)
}

/// What a member says of such a server when it wants `gw1`, apart from its address.
async fn said_of_called(client: &Credentials, called: ServerConfig) -> String {
    let (here, there) = connection().await;
    let acceptor = TlsAcceptor::from(Arc::new(called));
    let (connected, _) = tokio::join!(client.connect(here, "gw1"), acceptor.accept(there));
    let error = connected.expect_err("it is taken").to_string();
    assert!(error.starts_with("gw1 (127.0.0.1:"), "{error}");
    error.split_once(") ").unwrap().1.to_owned()
}

#[tokio::test]
async fn two_members_talk_and_each_knows_who_the_other_is() {
    let ca = Ca::new();
    let (first, second) = (ca.member("gw1"), ca.member("gw2"));
    let (server, client) = (first.read(), second.read());
    let (here, there) = connection().await;
    let members = members();

    let (accepted, connected) =
        tokio::join!(server.accept(here, &members), client.connect(there, "gw1"));
    let ((name, mut accepted), mut connected) = (accepted.unwrap(), connected.unwrap());

    assert_eq!(name, "gw2");
    connected.write_all(b"from gw2").await.unwrap();
    accepted.write_all(b"from gw1").await.unwrap();
    let (mut heard, mut answer) = ([0; 8], [0; 8]);
    accepted.read_exact(&mut heard).await.unwrap();
    connected.read_exact(&mut answer).await.unwrap();
    assert_eq!((&heard, &answer), (b"from gw2", b"from gw1"));
    let (_, tls) = accepted.get_ref();
    assert_eq!(
        tls.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
}

#[tokio::test]
async fn a_certificate_between_the_members_and_the_cas_may_be_in_the_members_file() {
    let ca = Ca::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate().unwrap();
    let between = params.signed_by(&key, &ca.issuer).unwrap().pem();
    let between = Ca {
        issuer: Issuer::new(params, key),
        pem: between,
    };
    let [certificate, key] = between.signs(&["gw2"], |_| ());
    let alone = Member::new(&ca.pem, &[certificate.clone(), key.clone()]);
    assert_eq!(
        alone.refused(),
        "the certificate in own.pem is not signed by the CA in ca.pem"
    );

    let second = Member::new(&ca.pem, &[certificate + &between.pem, key]);
    let (server, client) = (ca.member("gw1").read(), second.read());
    let (here, there) = connection().await;
    let members = members();
    let (accepted, connected) =
        tokio::join!(server.accept(here, &members), client.connect(there, "gw1"));

    assert_eq!(accepted.unwrap().0, "gw2");
    connected.unwrap();
}

#[tokio::test]
async fn a_stranger_is_refused_by_both_sides_and_told_so() {
    let (ca, other) = (Ca::new(), Ca::new());
    let member = ca.member("gw1").read();
    let strangers = other.signs(&["gw1"], |_| ());
    let why = "has a certificate that is not signed by the CA in `ca_file`";

    let (said, read) = said_of_caller(&member, caller(&ca, &strangers)).await;
    assert_eq!(said, why);
    assert_eq!(
        read,
        "gw1 refuses this member's certificate: it is not signed by the CA that the other side has"
    );
    assert_eq!(said_of_called(&member, called(&ca, &strangers)).await, why);

    let (said, read) = said_of_caller(&member, caller(&other, &strangers)).await;
    assert_eq!(
        said,
        "refuses this member's certificate: it is not signed by the CA that the other side has"
    );
    assert_eq!(read, format!("gw1 {why}"));
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_today_is_refused_with_the_day() {
    let ca = Ca::new();
    let member = ca.member("gw1").read();
    let old = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2025, 2, 1);
    };
    let expired = ca.signs(&["gw1"], old);
    let why = "has a certificate that expired at 2025-02-01T00:00:00Z";

    let (said, read) = said_of_caller(&member, caller(&ca, &expired)).await;
    assert_eq!(said, why);
    assert_eq!(
        read,
        "gw1 refuses this member's certificate: it is not valid at this time, by the other side's clock"
    );
    assert_eq!(said_of_called(&member, called(&ca, &expired)).await, why);

    let early = ca.signs(&["gw1"], |params| days(params, 2, 3));
    let (said, _) = said_of_caller(&member, caller(&ca, &early)).await;
    assert!(
        said.starts_with("has a certificate that is not valid before 20"),
        "{said}"
    );
    assert!(said.ends_with(": are both clocks right?"), "{said}");
}

#[tokio::test]
async fn who_has_another_name_is_refused_and_named() {
    let ca = Ca::new();
    let member = ca.member("gw1").read();
    let third = ca.signs(&["gw3"], |_| ());
    let said = said_of_called(&member, called(&ca, &third)).await;
    assert_eq!(said, "has a certificate of gw3");

    let (here, there) = connection().await;
    let acceptor = TlsAcceptor::from(Arc::new(called(&ca, &third)));
    let (connected, accepted) = tokio::join!(member.connect(here, "gw2"), acceptor.accept(there));
    assert!(connected.is_err());
    let read = TlsError::of_stream("gw1", accepted.unwrap_err()).to_string();
    assert_eq!(
        read,
        "gw1 refuses this member's certificate: it is damaged, or not of the member that the other side called"
    );

    for (names, why) in [
        (&["gw9"][..], "has a certificate of gw9"),
        (&["*"], "has a certificate of *"),
        (
            &["gw2.example.net", "gw8"],
            "has a certificate of gw2.example.net, gw8",
        ),
        (&["gw2", "gw3"], "has a certificate of several members"),
        (&[], "has a certificate of nobody"),
    ] {
        let other = ca.signs(names, |_| ());
        let (said, read) = said_of_caller(&member, caller(&ca, &other)).await;
        assert_eq!(said, why);
        assert_eq!(read, "gw1 ended the connection in the middle");
    }
}

#[tokio::test]
async fn who_shows_no_certificate_or_one_for_something_else_is_refused() {
    let ca = Ca::new();
    let member = ca.member("gw1").read();
    let mut nobody = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(ca.roots())
        .with_no_client_auth();
    nobody.alpn_protocols = vec![ALPN.to_vec()];

    let (said, read) = said_of_caller(&member, nobody).await;
    assert_eq!(said, "has no certificate to show");
    assert_eq!(
        read,
        "gw1 refuses this member's certificate: the other side got none"
    );

    let web = ca.signs(&["gw2"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let (said, read) = said_of_caller(&member, caller(&ca, &web)).await;
    assert!(
        said.starts_with("has a certificate that cannot be used: certificate does not allow"),
        "{said}"
    );
    assert!(read.contains("one for servers and clients"), "{read}");
    let web = Member::new(&ca.pem, &web).refused();
    assert!(
        web.starts_with("own.pem has a certificate that cannot be used"),
        "{web}"
    );
}

#[tokio::test]
async fn who_speaks_something_else_over_tls_is_refused() {
    let ca = Ca::new();
    let member = ca.member("gw1").read();
    let second = ca.signs(&["gw2"], |_| ());
    let why = "does not speak egret-replica/1 over TLS";
    for protocols in [vec![], vec![b"h2".to_vec()]] {
        let mut silent = caller(&ca, &second);
        silent.alpn_protocols.clone_from(&protocols);
        assert_eq!(said_of_caller(&member, silent).await.0, why);

        let mut silent = called(&ca, &ca.signs(&["gw1"], |_| ()));
        silent.alpn_protocols = protocols;
        assert_eq!(said_of_called(&member, silent).await, why);
    }
}

#[tokio::test]
async fn what_is_not_tls_is_refused_and_harms_nobody() {
    let ca = Ca::new();
    let member = ca.member("gw1").read();
    let web = b"GET / HTTP/1.1\r\n\r\n".as_slice();
    let said = said_of(&member, async |mut stream| {
        stream.write_all(web).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    assert_eq!(said.await, "does not speak TLS 1.3");

    let said = said_of(&member, async |stream| drop(stream)).await;
    assert_eq!(said, "ended the connection in the middle");

    // Whatever begins as a record of a handshake, and anything else.
    let mut word = 1_u32;
    for round in 0..200_u8 {
        let random = std::iter::repeat_with(|| {
            word ^= word << 13;
            word ^= word >> 17;
            word ^= word << 5;
            word.to_be_bytes()[0]
        });
        let mut bytes: Vec<u8> = random.take(usize::from(round) + 1).collect();
        if round % 2 == 0 {
            bytes.splice(0..0, [22, 3, 1, 0, round / 2 + 1, 1, 0, 0]);
        }
        said_of(&member, async |mut stream| {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
    }

    let (here, mut there) = connection().await;
    there.write_all(web).await.unwrap();
    let error = member.connect(here, "gw2").await.err().unwrap().to_string();
    assert!(error.ends_with(") does not speak TLS 1.3"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_waited_for_five_seconds() {
    let ca = Ca::new();
    let member = ca.member("gw1").read();
    let (here, there) = connection().await;

    let begun = tokio::time::Instant::now();
    let accepted = member.accept(here, &members()).await;

    let error = accepted.err().unwrap().to_string();
    assert!(
        error.ends_with(" did not finish the TLS handshake within 5 s"),
        "{error}"
    );
    assert!(begun.elapsed() >= HANDSHAKE_MAX);
    drop(there);
}

#[tokio::test]
async fn a_member_that_no_certificate_can_name_is_not_called() {
    let member = Ca::new().member("gw1").read();
    let (here, _there) = connection().await;

    let error = member.connect(here, "7").await.err().unwrap().to_string();

    assert!(error.starts_with("7 (127.0.0.1:"), "{error}");
    assert!(
        error.ends_with(") has a name that no certificate can be of"),
        "{error}"
    );
}

#[test]
fn files_that_are_of_no_use_are_named_with_what_is_wrong() {
    let (ca, other) = (Ca::new(), Ca::new());
    let good = ca.signs(&["gw1"], |_| ());
    let [certificate, key] = good.clone();
    let refused = |ca: &str, certificate: &str, key: &str| {
        let pair = [certificate.to_owned(), key.to_owned()];
        Member::new(ca, &pair).refused()
    };

    let not_pem = "-----BEGIN CERTIFICATE-----\nnonsense";
    for (said, expected) in [
        (
            refused("", &certificate, &key),
            "there is no certificate in ca.pem",
        ),
        (
            refused(&key, &certificate, &key),
            "there is no certificate in ca.pem",
        ),
        (
            refused(not_pem, &certificate, &key),
            "ca.pem is not PEM as it should be: ",
        ),
        (
            refused(&ca.pem, "words", &key),
            "there is no certificate in own.pem",
        ),
        (
            refused(&ca.pem, &certificate, &certificate),
            "there is no private key without a passphrase in own.key",
        ),
        (
            refused(&ca.pem, &certificate, &other.signs(&["gw1"], |_| ())[1]),
            "the key in own.key is not that of the certificate in own.pem",
        ),
        (
            refused(&other.pem, &certificate, &key),
            "the certificate in own.pem is not signed by the CA in ca.pem",
        ),
    ] {
        assert!(said.starts_with(expected), "{said}");
    }

    for name in ["ca.pem", "own.pem", "own.key"] {
        let member = Member::new(&ca.pem, &good);
        fs::remove_file(member.directory().join(name)).unwrap();
        let said = member.refused();
        assert!(
            said.starts_with(&format!("cannot read {name}: No such file")),
            "{said}"
        );
    }
    let endless = "a".repeat((1 << 20) + 1);
    let said = refused(&ca.pem, &certificate, &endless);
    assert_eq!(said, "cannot read own.key: it has more than 1 MiB");
}

#[test]
fn two_cas_in_a_file_are_both_trusted() {
    let (ca, other) = (Ca::new(), Ca::new());
    let both = format!("{}{}", other.pem, ca.pem);
    for signer in [&ca, &other] {
        Member::new(&both, &signer.signs(&["gw1"], |_| ())).read();
    }
}

#[test]
fn whether_others_will_take_it_is_said_beforehand() {
    let ca = Ca::new();
    let member = Member::new(
        &ca.pem,
        &ca.signs(&["gw1"], |params| {
            params.not_before = rcgen::date_time_ymd(2025, 1, 1);
            params.not_after = rcgen::date_time_ymd(2025, 2, 1);
        }),
    );
    let credentials = member.read();
    let on = |year, month, day| SystemTime::from(rcgen::date_time_ymd(year, month, day));
    let said = |name, at| {
        let error = credentials.check(name, at).expect_err("it is good");
        member.plain(&error)
    };

    assert_eq!(credentials.valid_until(), on(2025, 2, 1));
    credentials.check("gw1", on(2025, 1, 15)).unwrap();
    assert_eq!(
        said("gw2", on(2025, 1, 15)),
        "own.pem has a certificate of gw1, and this member is gw2"
    );
    assert_eq!(
        said("gw1", on(2025, 2, 2)),
        "the certificate in own.pem expired at 2025-02-01T00:00:00Z"
    );
    assert_eq!(
        said("gw1", on(2024, 12, 31)),
        "the certificate in own.pem is not valid before 2025-01-01T00:00:00Z: is the clock right?"
    );
}

#[test]
fn files_that_were_renewed_are_noticed() {
    let ca = Ca::new();
    let [certificate, key] = ca.signs(&["gw1"], |_| ());
    for renewed in ["ca.pem", "own.pem", "own.key"] {
        let member = Member::new(&ca.pem, &[certificate.clone(), key.clone()]);
        let credentials = member.read();
        assert!(!credentials.is_stale());

        let path = member.directory().join(renewed);
        let text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(credentials.is_stale(), "{renewed} is gone");
        let beside = path.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, &path).unwrap();
        assert!(credentials.is_stale(), "{renewed} is another");
        assert!(!member.read().is_stale());
    }
}

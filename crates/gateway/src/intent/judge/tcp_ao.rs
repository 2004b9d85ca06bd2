//! Keys of TCP-AO.

use api::config;

use super::{
    super::{
        report::{Path, Report},
        routing::{KEYS_MAX, TcpAoAlgorithm, TcpAoKey},
        words::{self, complaint},
    },
    accept, given, required,
    settings::{PATH_MAX, absolute},
};

const ALGORITHMS: [(&str, TcpAoAlgorithm); 3] = [
    ("hmac-sha1", TcpAoAlgorithm::HmacSha1),
    ("aes-128-cmac", TcpAoAlgorithm::Aes128Cmac),
    ("hmac-sha256", TcpAoAlgorithm::HmacSha256),
];
const SECRET: &str = "/etc/egret/router.key";

/// The keys of a peer; none if it has none.
pub(super) fn keys(
    written: &config::BgpPeer,
    path: &Path,
    report: &mut Report<'_>,
) -> Vec<TcpAoKey> {
    let Some((path, section)) = given(report, path, "tcp_ao", &written.tcp_ao) else {
        return Vec::new();
    };
    if written.password_file.is_some() {
        let message = "segments are signed by a password or by keys, not by both";
        let help = "leave out `password_file`, which is the older of the two";
        report.error(&path, complaint(message, help));
    }
    let help = "add `keys:` and below it what both sides have: `- {send_id: 1, receive_id: 1, algorithm: \
                hmac-sha1, secret_file: /etc/egret/router.key}`";
    let Some((path, list)) = required(report, &path, "keys", &section.keys, help) else {
        return Vec::new();
    };
    if list.is_empty() || list.len() > KEYS_MAX {
        let message = format!("{} keys; there are from 1 to {KEYS_MAX}", list.len());
        let help = "write the one in use, and behind it the next one";
        report.error(&path, complaint(message, help));
    }
    let mut keys: Vec<TcpAoKey> = Vec::new();
    for (index, written) in list.iter().enumerate() {
        let path = path.item(index);
        let Some(key) = key(written, &path, report) else {
            continue;
        };
        for (field, number, is_taken) in [
            (
                "send_id",
                key.send_id,
                keys.iter().any(|it| it.send_id == key.send_id),
            ),
            (
                "receive_id",
                key.receive_id,
                keys.iter().any(|it| it.receive_id == key.receive_id),
            ),
        ] {
            if is_taken {
                let message = format!("another key of this peer has the number {number}");
                let help = "give each key numbers of its own: segments name their key by them";
                report.error(&path.field(field), complaint(message, help));
            }
        }
        keys.push(key);
    }
    keys
}

fn key(written: &config::TcpAoKey, path: &Path, report: &mut Report<'_>) -> Option<TcpAoKey> {
    let mut number = |field, number: &Option<u64>, help| {
        required(report, path, field, number, help).and_then(|(path, number)| {
            let number = u8::try_from(*number).map_err(|_| {
                let message = format!("{number} is no number of a key");
                complaint(message, "write a number from 0 to 255")
            });
            accept(report, &path, number)
        })
    };
    let help = "add `send_id: 1`, the number that the other side receives the key by";
    let send_id = number("send_id", &written.send_id, help);
    let help = "add `receive_id: 1`, the number that the other side sends the key by";
    let receive_id = number("receive_id", &written.receive_id, help);
    let help = "add `algorithm: hmac-sha1`";
    let algorithm =
        required(report, path, "algorithm", &written.algorithm, help).and_then(|(path, word)| {
            accept(report, &path, words::choice("algorithm", &ALGORITHMS, word))
        });
    let help = "add `secret_file: /etc/egret/router.key`";
    let secret = required(report, path, "secret_file", &written.secret_file, help)
        .and_then(|(path, word)| accept(report, &path, absolute(word, PATH_MAX, SECRET)));
    Some(TcpAoKey {
        send_id: send_id?,
        receive_id: receive_id?,
        algorithm: algorithm?,
        secret: secret?,
    })
}

//! A client of the daemon's HTTP API that shares no code with `egret`: a second opinion.
//!
//! HTTP/1.0: one request for each connection, and the answer ends with it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

/// How long the daemon may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Bytes of an answer: a few million flows.
const ANSWER_MAX: u64 = 2 << 30;

/// Asks one daemon.
#[derive(Clone, Debug)]
pub struct HttpClient {
    socket: PathBuf,
}

/// What it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, status line included, as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpClient {
    /// A client of the daemon that listens on `socket`.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Asks for what stands under a path, query included.
    ///
    /// # Errors
    ///
    /// When nobody answers in HTTP. An answer that says no is an answer.
    pub fn get(&self, target: &str) -> Result<Answer> {
        self.exchange("GET", target, b"")
    }

    /// Sends a JSON body to a path.
    ///
    /// # Errors
    ///
    /// When nobody answers in HTTP. An answer that says no is an answer.
    pub fn post(&self, target: &str, body: &[u8]) -> Result<Answer> {
        self.exchange("POST", target, body)
    }

    /// Sends any request.
    ///
    /// # Errors
    ///
    /// When nobody answers in HTTP. An answer that says no is an answer.
    pub fn exchange(&self, method: &str, target: &str, body: &[u8]) -> Result<Answer> {
        let asked = || format!("{method} {target} on {}", self.socket.display());
        let exchange = || -> std::io::Result<Vec<u8>> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))?;
            let head = format!(
                "{method} {target} HTTP/1.0\r\nHost: localhost\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(body)?;
            let mut answer = Vec::new();
            stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().with_context(|| format!("no answer to {}", asked()))?;
        Answer::parse(&answer).with_context(|| format!("no HTTP in the answer to {}", asked()))
    }
}

impl Answer {
    /// Reads the body of an answer that did not say no.
    ///
    /// # Errors
    ///
    /// When it did, or the body is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if self.status != 200 {
            bail!("the daemon answered {}: {}", self.status, self.text());
        }
        self.refusal()
    }

    /// Reads the body whatever the status.
    ///
    /// # Errors
    ///
    /// When the body is not a `T`.
    pub fn refusal<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("cannot understand the daemon's answer: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn parse(answer: &[u8]) -> Option<Self> {
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let head = str::from_utf8(&answer[..end]).ok()?.to_owned();
        let status = head
            .strip_prefix("HTTP/1.")?
            .split(' ')
            .nth(1)?
            .parse()
            .ok()?;
        Some(Self {
            status,
            head,
            body: answer[end + 4..].to_vec(),
        })
    }
}

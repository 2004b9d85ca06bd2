//! The daemon, as the command sees it: requests over a unix socket, answers in `api` types.
//!
//! HTTP/1.1, one connection for each question. Nothing waits without end: a daemon that says
//! nothing for [`SILENCE_MAX`] counts as one that cannot be asked.

mod error;

use std::{future::Future, path::PathBuf, time::Duration};

use api::{Problems, http::ApiError};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

pub use error::CallError;

/// How long the daemon may say nothing, before its answer or in the middle of it. It walks a table
/// of millions of flows in less.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Bytes of an answer that are held in memory. JSON for programs is not held, and has no limit;
/// beyond this lie tables of more than four million flows, which nobody reads.
const BODY_BYTES_MAX: usize = 2 << 30;

/// Bytes of a refusal. Problems are limited by the daemon to far less.
const REFUSAL_BYTES_MAX: usize = 1 << 24;

/// A question.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    /// Path and query.
    target: String,
    body: Bytes,
}

impl Request {
    /// Asks for what stands under a path.
    pub fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            target: path.to_owned(),
            body: Bytes::new(),
        }
    }

    /// Asks for a part of what stands under a path.
    pub fn query(path: &str, query: &impl Serialize) -> Self {
        let query = serde_urlencoded::to_string(query)
            .expect("invariant: queries are structs of words and numbers");
        if query.is_empty() {
            return Self::get(path);
        }
        Self::get(&format!("{path}?{query}"))
    }

    /// Asks for a change.
    pub fn post(path: &str, body: &impl Serialize) -> Self {
        let body =
            serde_json::to_vec(body).expect("invariant: bodies are structs with text for keys");
        Self {
            method: Method::POST,
            target: path.to_owned(),
            body: body.into(),
        }
    }

    /// Asks for what needs no words but the path.
    pub fn post_nothing(path: &str) -> Self {
        Self {
            method: Method::POST,
            ..Self::get(path)
        }
    }

    /// Asks that what stands under a path be gone.
    pub fn delete_all(path: &str) -> Self {
        Self {
            method: Method::DELETE,
            ..Self::get(path)
        }
    }

    /// Asks that a part of what stands under a path be gone.
    pub fn delete(path: &str, query: &impl Serialize) -> Self {
        Self {
            method: Method::DELETE,
            ..Self::query(path, query)
        }
    }

    /// What errors call it: the query is not part of it, it may be long.
    fn name(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }

    fn into_http(self) -> Result<hyper::Request<Full<Bytes>>, CallError> {
        let request = self.name();
        hyper::Request::builder()
            .method(self.method)
            .uri(self.target)
            // HTTP/1.1 demands a host, and a unix socket has none (RFC 9112 §3.2).
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(self.body))
            .map_err(|source| CallError::Ask { request, source })
    }
}

/// Where the daemon is asked.
#[derive(Clone, Debug)]
pub struct Daemon {
    socket: PathBuf,
}

impl Daemon {
    /// A daemon that is expected to listen on `socket`. Nothing is opened before a question.
    pub const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks, and holds the whole answer.
    ///
    /// # Errors
    ///
    /// When the daemon cannot be asked, says no, or answers what this version does not know.
    pub async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, CallError> {
        let request_name = request.name();
        let answer = self.send(request).await?.accepted().await?;
        let body = answer.held(BODY_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|source| CallError::Understand {
            request: request_name,
            source,
        })
    }

    /// Asks, and returns as soon as it is known whether the daemon says no.
    ///
    /// # Errors
    ///
    /// When the daemon cannot be asked.
    pub async fn send(&self, request: Request) -> Result<Answer, CallError> {
        let call = Call {
            request: request.name(),
            changes: request.method != Method::GET,
            socket: self.socket.clone(),
        };
        let request = request.into_http()?;
        let stream = call.heard(UnixStream::connect(&self.socket)).await?;
        let stream = stream.map_err(|source| CallError::connect(&self.socket, source))?;

        let handshake = http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = call.exchanged(handshake).await?;
        // The connection ends with the answer, and what goes wrong on it is told to who reads that.
        tokio::spawn(connection);
        let response = call.exchanged(sender.send_request(request)).await?;
        Ok(Answer {
            call,
            status: response.status(),
            body: response.into_body(),
        })
    }
}

/// An answer, of which the body is still on its way.
#[derive(Debug)]
pub struct Answer {
    call: Call,
    status: StatusCode,
    body: Incoming,
}

impl Answer {
    /// The answer, if the daemon did what it was asked.
    ///
    /// # Errors
    ///
    /// When it did not.
    pub async fn accepted(self) -> Result<Self, CallError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let (status, request) = (self.status, self.call.request.clone());
        let body = self.held(REFUSAL_BYTES_MAX).await?;
        Err(refusal(request, status, &body))
    }

    /// Whether the daemon found problems in a configuration.
    pub fn is_about_problems(&self) -> bool {
        self.status == StatusCode::UNPROCESSABLE_ENTITY
    }

    /// The next piece of the body; nothing at its end.
    ///
    /// # Errors
    ///
    /// When the daemon hangs up before the end, or falls silent.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            let frame = self.call.heard(self.body.frame()).await?;
            let Some(frame) = frame
                .transpose()
                .map_err(|source| self.call.broken(source))?
            else {
                return Ok(None);
            };
            // What is no data are trailers, and nobody here asks for any.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    async fn held(mut self, limit: usize) -> Result<Vec<u8>, CallError> {
        let mut held = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if held.len() + chunk.len() > limit {
                return Err(CallError::TooLong {
                    request: self.call.request,
                    limit,
                });
            }
            held.extend_from_slice(&chunk);
        }
        Ok(held)
    }
}

/// What errors say about a question while it is asked.
#[derive(Debug)]
struct Call {
    request: String,
    changes: bool,
    socket: PathBuf,
}

impl Call {
    /// Waits for the daemon, but not for ever.
    async fn heard<T>(&self, wait: impl Future<Output = T>) -> Result<T, CallError> {
        timeout(SILENCE_MAX, wait)
            .await
            .map_err(|_| CallError::Silent {
                request: self.request.clone(),
                socket: self.socket.clone(),
                limit: SILENCE_MAX,
                changes: self.changes,
            })
    }

    async fn exchanged<T>(
        &self,
        step: impl Future<Output = hyper::Result<T>>,
    ) -> Result<T, CallError> {
        self.heard(step)
            .await?
            .map_err(|source| self.broken(source))
    }

    fn broken(&self, source: hyper::Error) -> CallError {
        CallError::Exchange {
            request: self.request.clone(),
            socket: self.socket.clone(),
            changes: self.changes,
            source,
        }
    }
}

/// Why the daemon said no, from the body in which it said so.
fn refusal(request: String, status: StatusCode, body: &[u8]) -> CallError {
    if let Ok(problems) = serde_json::from_slice::<Problems>(body) {
        return CallError::Problems(problems);
    }
    match serde_json::from_slice::<ApiError>(body) {
        Ok(error) => CallError::Refused(error),
        Err(_) => CallError::Unexplained {
            request,
            status,
            body: String::from_utf8_lossy(body).into_owned(),
        },
    }
}

//! A client in a few lines of its own, so that no library forgives what the daemon does wrong.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde::de::DeserializeOwned;

use super::gateway::SILENCE_MAX;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    target: String,
    body: Vec<u8>,
}

impl Request {
    /// For what stands under a path, with a query as the daemon is to get it.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target, Vec::new())
    }

    /// For what stands under a path, asked with a query in words.
    pub fn query(path: &str, query: &[(&str, &str)]) -> Self {
        let query = serde_urlencoded::to_string(query).unwrap();
        Self::get(&format!("{path}?{query}"))
    }

    /// For a change.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target, body.into())
    }

    /// Any other.
    pub fn new(method: &'static str, target: &str, body: Vec<u8>) -> Self {
        Self {
            method,
            target: target.to_owned(),
            body,
        }
    }

    /// As it stands on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let Self {
            method,
            target,
            body,
        } = self;
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }

    /// Asks on a connection, and reads to its end.
    pub fn ask(&self, mut stream: impl Read + Write) -> Answer {
        // Whoever is refused may be refused before the last byte is sent.
        let _ = stream.write_all(&self.bytes());
        Answer::read(stream).unwrap()
    }

    /// Asks over TCP.
    pub fn ask_tcp(&self, address: SocketAddr) -> Answer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SILENCE_MAX)).unwrap();
        self.ask(stream)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Its body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    fn read(mut stream: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let (head, body) = bytes.split_at(end);
        let head = String::from_utf8(head.to_vec()).expect("a head is text");
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let headers: Vec<_> = lines.map(header).collect();
        let is_chunked = headers
            .iter()
            .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = &body[4..];
        Ok(Self {
            status: status.parse().expect("a number"),
            body: if is_chunked {
                joined(body)
            } else {
                body.to_vec()
            },
            headers,
        })
    }

    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The body in its type.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{error} in an answer with status {}: {}",
                self.status,
                self.text()
            )
        })
    }
}

/// The body of chunks (RFC 9112 §7.1), which must be whole.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|window| window == b"\r\n");
        let (length, rest) = chunks.split_at(end.expect("the length of a chunk"));
        let length = std::str::from_utf8(length).expect("text");
        let length = usize::from_str_radix(length, 16).expect("a length");
        let (chunk, rest) = rest[2..].split_at(length);
        body.extend_from_slice(chunk);
        assert_eq!(&rest[..2], b"\r\n", "the end of a chunk");
        chunks = &rest[2..];
        if length == 0 {
            assert!(chunks.is_empty(), "something stands behind the last chunk");
            return body;
        }
    }
}

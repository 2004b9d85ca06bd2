//! A daemon that answers what a test tells it to, byte for byte.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde::Serialize;

use crate::Directory;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method and target, `GET /v1/status`.
    pub line: String,
    pub body: String,
}

/// A socket, and a thread behind it.
pub struct Fake {
    directory: Directory,
    heard: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Answers each request with bytes, and hangs up behind them.
    pub fn answering(answer: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Self {
        let directory = Directory::new();
        let listener = UnixListener::bind(directory.path("egret.sock")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (heard, stopped) = (Arc::clone(&heard), Arc::clone(&stopped));
            move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    serve(stream.unwrap(), &heard, &answer);
                }
            }
        });
        Self {
            directory,
            heard,
            stopped,
            thread: Some(thread),
        }
    }

    /// Answers everything with the same bytes.
    pub fn always(answer: Vec<u8>) -> Self {
        Self::answering(move |_| answer.clone())
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path("egret.sock")
    }

    /// Everything that was asked.
    pub fn heard(&self) -> Vec<Request> {
        self.heard.lock().unwrap().clone()
    }

    /// Runs the command against this daemon.
    pub fn run(&self, arguments: &[&str]) -> crate::Said {
        self.command(arguments).output().unwrap().into()
    }

    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = crate::egret(arguments);
        command.env("EGRET_SOCKET", self.socket());
        command
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Whoever waits for a call gets one.
        let _ = UnixStream::connect(self.socket());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: UnixStream, heard: &Mutex<Vec<Request>>, answer: &impl Fn(&Request) -> Vec<u8>) {
    let mut reader = BufReader::new(&stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let length = head
        .iter()
        .filter_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .next()
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();

    let request = Request {
        line: head[0].trim_end().trim_end_matches(" HTTP/1.1").to_owned(),
        body: String::from_utf8(body).unwrap(),
    };
    heard.lock().unwrap().push(request.clone());
    // The command may have had enough and be gone.
    let _ = (&stream).write_all(&answer(&request));
}

/// An answer of known length.
pub fn answer(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n")
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// An answer in JSON.
pub fn json(status: &str, body: &impl Serialize) -> Vec<u8> {
    answer(
        status,
        "application/json",
        &serde_json::to_vec(body).unwrap(),
    )
}

/// An answer in chunks of so many bytes, with what a server may add to them: an extension of a
/// chunk, and trailers (RFC 9112 §7.1).
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for (number, chunk) in body.chunks(size).enumerate() {
        let extension = if number == 0 { ";mood=good" } else { "" };
        bytes.extend(format!("{:X}{extension}\r\n", chunk.len()).into_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\nchecked: yes\r\n\r\n");
    bytes
}

//! An HTTP server whose only page says who asks: `192.0.2.10:40001`.
//!
//! One request per connection (RFC 9112 §9.6, `Connection: close`); bodies of requests are ignored.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes of a request's head; curl sends about a hundred.
const HEAD_MAX: usize = 8 * 1024;

/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn answer(stream: TcpStream, peer: SocketAddr) {
    // A client that went away or talks nonsense is its own problem.
    let _ = exchange(stream, peer);
}

fn exchange(mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 || head.len() > HEAD_MAX {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..length]);
    }
    let body = format!("{peer}\n");
    let length = body.len();
    let headers =
        format!("Content-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close");
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{body}").as_bytes())
}

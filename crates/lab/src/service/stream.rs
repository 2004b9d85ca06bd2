//! Transfers of a known byte pattern over TCP: nothing lost, nothing changed, and for how long
//! nothing came.
//!
//! The client sends a request of nine bytes: which way, and at what rate. Then one side sends the
//! pattern and the other checks it. A client that has had enough closes its sending half: a
//! sending server then ends the stream, a receiving server reports what it received, as JSON.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use serde::{Deserialize, Serialize};

/// Which way the bytes of a transfer go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the server to the client.
    Download,
    /// From the client to the server.
    Upload,
}

/// What the receiving side of a transfer saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Bytes that arrived.
    pub bytes: u64,
    /// Where the first byte that is not the pattern's was, if there was one.
    pub wrong_at: Option<u64>,
    /// The longest time in which nothing arrived, from the first byte to the end of the stream.
    pub longest_stall: Duration,
    /// How many bytes had arrived when the longest stall began.
    pub stalled_at: u64,
    /// The time from the first byte to the end of the stream.
    pub elapsed: Duration,
}

/// Bytes of a request.
const REQUEST_BYTES: usize = 9;

/// Bytes written at a time. Small, so that a paced transfer flows and does not come in bursts.
const CHUNK_BYTES: usize = 16 * 1024;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// How long either side waits for the other before it gives the connection up for dead.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Length of the pattern before it repeats: a prime, so that no lost segment or window, whose
/// sizes are not its multiples, leaves the rest of the stream looking right.
const PATTERN_BYTES: usize = 65_521;

/// Serves one connection.
pub(crate) fn serve(mut stream: TcpStream, _peer: SocketAddr) {
    // A connection that breaks is the client's to report.
    let _ = exchange(&mut stream);
}

/// Opens a transfer as a client: says which way, and at how many bytes a second.
pub(crate) fn request(
    stream: &mut TcpStream,
    direction: Direction,
    rate: Option<u64>,
) -> io::Result<()> {
    let way = match direction {
        Direction::Download => b'd',
        Direction::Upload => b'u',
    };
    let [a, b, c, d, e, f, g, h] = rate.unwrap_or(0).to_be_bytes();
    stream.write_all(&[way, a, b, c, d, e, f, g, h])
}

/// Sends the pattern, at `rate` bytes a second if there is one, until `enough` says so.
pub(crate) fn send(
    stream: &mut TcpStream,
    rate: Option<u64>,
    progress: &AtomicU64,
    enough: impl Fn() -> bool,
) -> io::Result<()> {
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let started = Instant::now();
    let mut sent = 0;
    while !enough() {
        stream.write_all(pattern_at(sent))?;
        sent += CHUNK_BYTES as u64;
        progress.store(sent, Ordering::Relaxed);
        if let Some(rate) = rate {
            // Against the start, so that a late wake-up is made good and not added up.
            let due = started + Duration::from_secs_f64(sent as f64 / rate as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

/// Receives the pattern until the stream ends.
pub(crate) fn receive(stream: &mut TcpStream, progress: &AtomicU64) -> io::Result<Received> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let mut received = Received::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut first = None;
    let mut last = Instant::now();
    loop {
        let length = stream.read(&mut buffer)?;
        let now = Instant::now();
        let started = *first.get_or_insert(now);
        let stall = now - last.max(started);
        if stall > received.longest_stall {
            received.longest_stall = stall;
            received.stalled_at = received.bytes;
        }
        last = now;
        received.elapsed = now - started;
        if length == 0 {
            return Ok(received);
        }
        let wrong = || first_difference(&buffer[..length], received.bytes);
        received.wrong_at = received.wrong_at.or_else(wrong);
        received.bytes += length as u64;
        progress.store(received.bytes, Ordering::Relaxed);
    }
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let mut request = [0; REQUEST_BYTES];
    stream.read_exact(&mut request)?;
    let [way, rate @ ..] = request;
    let rate = Some(u64::from_be_bytes(rate)).filter(|rate| *rate > 0);
    let progress = AtomicU64::new(0);
    match way {
        b'd' => {
            let peer = stream.try_clone()?;
            send(stream, rate, &progress, || has_ended(&peer))
        }
        b'u' => {
            let received = receive(stream, &progress)?;
            stream.write_all(&serde_json::to_vec(&received)?)
        }
        // Whoever speaks something else is not a client of ours.
        _ => Ok(()),
    }
}

/// Says whether the peer has closed its sending half.
fn has_ended(stream: &TcpStream) -> bool {
    let look = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(stream.as_raw_fd(), &mut [0], look) == Ok(0)
}

/// Returns where `bytes`, which begin at `position` of the stream, first differ from the pattern.
fn first_difference(bytes: &[u8], position: u64) -> Option<u64> {
    let mut at = position;
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let wanted = &pattern_at(at)[..chunk.len()];
        if chunk != wanted {
            let offset = chunk
                .iter()
                .zip(wanted)
                .position(|(one, other)| one != other)?;
            return Some(at + offset as u64);
        }
        at += chunk.len() as u64;
    }
    None
}

/// Returns a chunk of the pattern as it is at `position` of the stream.
fn pattern_at(position: u64) -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| {
        // A linear congruential generator's upper bits: no byte depends on its place in a way
        // that a shift would preserve.
        let mut state = 1_u64;
        let one_period = (0..PATTERN_BYTES).map(move |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let once: Vec<u8> = one_period.collect();
        // The beginning again, so that a chunk never wraps around.
        [&once[..], &once[..CHUNK_BYTES]].concat()
    });
    let start = (position % PATTERN_BYTES as u64) as usize;
    &pattern[start..start + CHUNK_BYTES]
}

#[cfg(test)]
mod tests;

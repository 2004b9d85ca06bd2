//! A UDP server that answers each datagram with who sent it and what it was, as a DNS server
//! answers each query: one packet in, one packet out.

use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;

use super::{Server, Stop, caller};
use crate::host::Answer;
use crate::{Error, Host};

/// Bytes of an answer: any UDP payload.
pub(crate) const ANSWER_MAX: usize = 65_535;

pub(crate) fn start(host: &Host, address: SocketAddr) -> Result<Server, Error> {
    let failed = |source| host.socket_error("listen on", address, source);
    let socket = host.enter(|| UdpSocket::bind(address))?.map_err(failed)?;
    // A datagram may turn out to be damaged between the poll and the read.
    socket.set_nonblocking(true).map_err(failed)?;
    let stop = Stop::new().map_err(failed)?;

    let requested = Arc::clone(&stop);
    let thread = host.thread(move || answer_all(&socket, &requested))?;
    Ok(Server::new(stop, thread, || {}))
}

/// Takes an answer apart.
pub(crate) fn parse<S: FromStr>(answer: &[u8]) -> Option<Answer<S>> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let seen = S::from_str(str::from_utf8(&answer[..end]).ok()?).ok()?;
    Some(Answer {
        seen,
        payload: answer[end + 1..].to_vec(),
    })
}

fn answer_all(socket: &UdpSocket, stop: &Stop) {
    let mut buffer = vec![0; ANSWER_MAX];
    while stop.readable(socket) {
        // An ICMP error about an earlier answer is reported here, and concerns nobody.
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let mut answer = format!("{}\n", caller(peer)).into_bytes();
        answer.extend_from_slice(&buffer[..length]);
        // What cannot be sent is lost, as datagrams are.
        let _ = socket.send_to(&answer, peer);
    }
}

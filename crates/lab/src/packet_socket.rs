//! Frames in and out of an interface, as they are: `AF_PACKET`, which nothing wraps well.
//!
//! The `unsafe` here is system calls on arguments that are built in the same function.

#![expect(
    unsafe_code,
    reason = "bind, setsockopt, sendmmsg and recvmsg of AF_PACKET have no safe wrapper"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{RcvBufForce, SndBuf};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket};

use crate::{Error, Host};

/// Frames handed to the kernel in one system call.
pub(crate) const BATCH_MAX: usize = 64;

/// Bytes of one frame: the largest MTU of a veth, and its headers.
const FRAME_MAX: usize = 65_535 + 22;

/// Bytes the kernel may queue towards a receiver that is late.
const RECEIVE_QUEUE_BYTES: usize = 32 << 20;

/// A socket that sends or receives whole frames on one interface.
pub(crate) struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Opens a socket that only sends, past any queueing discipline.
    pub(crate) fn sender(host: &Host, interface: &str) -> Result<Self, Error> {
        let open = || -> io::Result<Self> {
            let socket = Self::bound(interface, 0)?;
            socket.set_option(libc::PACKET_QDISC_BYPASS, 1)?;
            setsockopt(&socket.fd, SndBuf, &(4 << 20))?;
            Ok(socket)
        };
        host.enter(open)?
            .map_err(|source| error(host, "send frames", interface, source))
    }

    /// Opens a socket that receives what arrives, and not what is sent.
    pub(crate) fn receiver(host: &Host, interface: &str) -> Result<Self, Error> {
        let open = || -> io::Result<Self> {
            let socket = Self::bound(interface, libc::ETH_P_ALL as u16)?;
            socket.set_option(libc::PACKET_IGNORE_OUTGOING, 1)?;
            socket.set_option(libc::PACKET_AUXDATA, 1)?;
            setsockopt(&socket.fd, RcvBufForce, &RECEIVE_QUEUE_BYTES)?;
            Ok(socket)
        };
        host.enter(open)?
            .map_err(|source| error(host, "receive frames", interface, source))
    }

    /// Sends frames, in order, and returns how many the kernel took before the interface was full.
    pub(crate) fn send(&self, frames: &[impl AsRef<[u8]>]) -> io::Result<usize> {
        let frames = &frames[..frames.len().min(BATCH_MAX)];
        // SAFETY: both are plain data of the C library, for which all zeros is a valid value.
        let (mut vectors, mut messages): ([libc::iovec; BATCH_MAX], [libc::mmsghdr; BATCH_MAX]) =
            unsafe { (zeroed(), zeroed()) };
        for ((vector, message), frame) in vectors.iter_mut().zip(&mut messages).zip(frames) {
            let bytes = frame.as_ref();
            vector.iov_base = bytes.as_ptr().cast_mut().cast();
            vector.iov_len = bytes.len();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
        }
        let count = u32::try_from(frames.len()).map_err(io::Error::other)?;
        // SAFETY: the first `count` messages each point to one vector, which points to one frame;
        // all of them outlive the call, and sending only reads them.
        let sent = unsafe { libc::sendmmsg(self.fd.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        match Errno::result(sent) {
            Ok(sent) => usize::try_from(sent).map_err(io::Error::other),
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the next frame that has arrived, or nothing if none has.
    ///
    /// The kernel takes an outer VLAN tag out of the frame before anybody sees it; it is put back.
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        buffer.resize(FRAME_MAX, 0);
        let mut vector = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: FRAME_MAX,
        };
        let mut control = [0_u64; CONTROL_WORDS];
        // SAFETY: plain data of the C library, for which all zeros is a valid value.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the message points to one vector over `buffer`, exclusively borrowed and that
        // long, and to `control`, aligned for a control header and that long.
        let length =
            unsafe { libc::recvmsg(self.fd.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) };
        let length = match Errno::result(length) {
            Ok(length) => usize::try_from(length).map_err(io::Error::other)?,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let frame = &buffer[..length];
        Ok(Some(match vlan_tag(&message) {
            Some(tag) if length >= MAC_BYTES => {
                [&frame[..MAC_BYTES], &tag, &frame[MAC_BYTES..]].concat()
            }
            Some(_) | None => frame.to_vec(),
        }))
    }

    fn bound(interface: &str, protocol: u16) -> io::Result<Self> {
        // Protocol zero receives nothing; bound later, nothing of other interfaces slips in.
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        let index = if_nametoindex(interface)?;
        // SAFETY: plain data of the C library, for which all zeros is a valid value.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: `address` is a `sockaddr_ll` of that length and is only read.
        Errno::result(unsafe {
            libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), length)
        })?;
        Ok(Self { fd })
    }

    fn set_option(&self, option: i32, value: i32) -> io::Result<()> {
        let length = size_of::<i32>() as libc::socklen_t;
        let pointer = ptr::from_ref(&value).cast();
        // SAFETY: `pointer` is to an int that outlives the call, which all these options take.
        let set = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                pointer,
                length,
            )
        };
        Errno::result(set).map(drop).map_err(io::Error::from)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Bytes of the two addresses, after which a VLAN tag stands.
const MAC_BYTES: usize = 12;

/// Room for one control message with a `tpacket_auxdata`, in words, for their alignment.
const CONTROL_WORDS: usize = 8;

/// Returns the tag that the kernel took out of the frame, as it stood there.
fn vlan_tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel has filled in the message, whose control buffer is still there.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: a control message of this type carries one `tpacket_auxdata`, at any alignment.
    let auxdata: libc::tpacket_auxdata =
        unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast()) };
    if auxdata.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let ethertype = match auxdata.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
        0 => libc::ETH_P_8021Q as u16,
        _ => auxdata.tp_vlan_tpid,
    };
    let [a, b] = ethertype.to_be_bytes();
    let [c, d] = auxdata.tp_vlan_tci.to_be_bytes();
    Some([a, b, c, d])
}

fn error(host: &Host, attempt: &'static str, interface: &str, source: io::Error) -> Error {
    let (interface, host) = (interface.to_owned(), host.name().to_owned());
    Error::Interface {
        attempt,
        interface,
        host,
        source,
    }
}

//! A program that lets every frame pass, for the routers' ends of the wires to gateways.
//!
//! What a gateway's XDP program sends back by the interface that it came from (`XDP_TX`), a veth
//! puts into the other end's ring, but it wakes that end up only if a program is attached there
//! (`veth_xdp_flush` in the kernel's `drivers/net/veth.c`). Without one such frames lie there until
//! something else comes along. Hardware has no such condition.
//!
//! The `unsafe` here is the system call that loads two instructions and pins them, so that `ip` can
//! attach them.

#![expect(unsafe_code, reason = "nothing wraps bpf(2)")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// `BPF_PROG_LOAD` and `BPF_OBJ_PIN` of `enum bpf_cmd`.
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;

/// `BPF_PROG_TYPE_XDP` of `enum bpf_prog_type`.
const XDP: u32 = 6;

/// `r0 = 2 (XDP_PASS); exit`, eight bytes each: opcode, registers, offset, immediate.
const INSTRUCTIONS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The members of `union bpf_attr` for `BPF_PROG_LOAD` up to the last that is set; the kernel takes
/// the others for zero.
#[repr(C)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
}

/// The members for `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    path: u64,
    program: u32,
    flags: u32,
}

/// The program, pinned where `ip link set … xdp pinned` finds it. The pin goes when this is dropped;
/// interfaces keep the program.
pub(crate) struct Pass {
    path: PathBuf,
}

impl Pass {
    /// Loads the program and pins it on a bpffs.
    pub(crate) fn pin(bpffs: &Path) -> Result<Self, Error> {
        let path = bpffs.join("pass");
        let pinned = load().and_then(|program| pin(&program, &path));
        pinned.map_err(Error::file("pin an XDP program at", &path))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A pin that stays goes with its bpffs.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn load() -> io::Result<OwnedFd> {
    let attributes = Load {
        kind: XDP,
        instruction_count: INSTRUCTIONS.len() as u32,
        instructions: INSTRUCTIONS.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
    };
    let descriptor = bpf(PROG_LOAD, &attributes)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn pin(program: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Pin {
        path: path.as_ptr() as u64,
        program: program.as_raw_fd() as u32,
        flags: 0,
    };
    bpf(OBJ_PIN, &attributes).map(drop)
}

/// Calls bpf(2); `attributes` is a prefix of `union bpf_attr`, and what it points to must be there.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    let size = size_of::<T>() as libc::c_uint;
    // SAFETY: the kernel reads `size` bytes, which are `attributes`, and follows its pointers, which
    // point to data that the callers keep.
    let returned = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size) };
    match returned {
        -1 => Err(io::Error::last_os_error()),
        descriptor => libc::c_int::try_from(descriptor).map_err(io::Error::other),
    }
}

//! The `bpf(2)` commands that aya has no call for, or none that fits: batches, pinned links, info.
//!
//! Each attribute struct is the prefix of the kernel's `union bpf_attr` that its command reads.

use std::{
    ffi::CString,
    io,
    mem::{size_of, size_of_val},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP_ELEM: u32 = 1;
/// An update may insert or replace.
const BPF_ANY: u64 = 0;
/// It may only insert.
const BPF_NOEXIST: u64 = 1;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const PROG_LOAD: u32 = 5;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const PROG_TEST_RUN: u32 = 10;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const MAP_LOOKUP_BATCH: u32 = 24;
const MAP_UPDATE_BATCH: u32 = 26;
const MAP_DELETE_BATCH: u32 = 27;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;

/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_XDP: u32 = 37;

fn bpf<T>(command: u32, attr: &mut T) -> io::Result<u32> {
    // SAFETY: `attr` is a live attribute struct of the size given; the pointers in it are to buffers
    // that its maker borrows for the length of the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut T, size_of_val(attr)) };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn owned(fd: u32) -> OwnedFd {
    // SAFETY: the kernel just made this descriptor for us and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

#[repr(C)]
struct Element {
    map: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Reads one element into `value`, which for a per-CPU map holds all CPUs' values.
pub fn lookup<K, V>(map: BorrowedFd<'_>, key: &K, value: &mut [V]) -> io::Result<()> {
    let mut attr = Element {
        map: map.as_raw_fd() as u32,
        _pad: 0,
        key: key as *const K as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    bpf(MAP_LOOKUP_ELEM, &mut attr).map(drop)
}

/// Writes one element, whether or not it is there.
pub fn update<K, V>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    update_with(map, key, value, BPF_ANY)
}

/// Inserts one element; `EEXIST` if there is one under its key.
pub fn insert<K, V>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    update_with(map, key, value, BPF_NOEXIST)
}

fn update_with<K, V>(map: BorrowedFd<'_>, key: &K, value: &V, flags: u64) -> io::Result<()> {
    let mut attr = Element {
        map: map.as_raw_fd() as u32,
        _pad: 0,
        key: key as *const K as u64,
        value: value as *const V as u64,
        flags,
    };
    bpf(MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Removes one element.
pub fn delete<K>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attr = Element {
        map: map.as_raw_fd() as u32,
        _pad: 0,
        key: key as *const K as u64,
        value: 0,
        flags: 0,
    };
    bpf(MAP_DELETE_ELEM, &mut attr).map(drop)
}

#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Where a walk over a map stands: opaque to all but the kernel.
#[derive(Default)]
pub struct Cursor {
    /// Hash maps keep a bucket number here, others their last key.
    at: [u64; 8],
    started: bool,
}

/// What one step of a walk brought.
pub struct Step {
    /// Elements filled in.
    pub count: usize,
    /// Whether the walk is over.
    pub is_last: bool,
}

/// Reads the next elements of a walk.
///
/// # Errors
///
/// `ENOSPC` if one bucket of a hash map holds more than fits.
pub fn lookup_batch<K, V>(
    map: BorrowedFd<'_>,
    cursor: &mut Cursor,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Step> {
    const { assert!(size_of::<K>() <= size_of::<[u64; 8]>()) };
    let mut next = [0u64; 8];
    let mut attr = Batch {
        from: if cursor.started {
            cursor.at.as_ptr() as u64
        } else {
            0
        },
        to: next.as_mut_ptr() as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map: map.as_raw_fd() as u32,
        element_flags: 0,
        flags: 0,
    };
    let result = bpf(MAP_LOOKUP_BATCH, &mut attr);
    let count = attr.count as usize;
    match result {
        Ok(_) => {
            *cursor = Cursor {
                at: next,
                started: true,
            };
            Ok(Step {
                count,
                is_last: false,
            })
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Step {
            count,
            is_last: true,
        }),
        Err(error) => Err(error),
    }
}

/// Writes elements; returns how many were written before the first that failed.
pub fn update_batch<K, V>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> (usize, io::Result<()>) {
    many(MAP_UPDATE_BATCH, map, keys, values)
}

/// Removes elements; returns how many were removed before the first that failed.
pub fn delete_batch<K>(map: BorrowedFd<'_>, keys: &[K]) -> (usize, io::Result<()>) {
    many::<K, u8>(MAP_DELETE_BATCH, map, keys, &[])
}

fn many<K, V>(
    command: u32,
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> (usize, io::Result<()>) {
    let mut attr = Batch {
        from: 0,
        to: 0,
        keys: keys.as_ptr() as u64,
        values: if values.is_empty() {
            0
        } else {
            values.as_ptr() as u64
        },
        count: keys.len() as u32,
        map: map.as_raw_fd() as u32,
        element_flags: 0,
        flags: 0,
    };
    let result = bpf(command, &mut attr).map(drop);
    (attr.count as usize, result)
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Gives a BPF object a name in a BPF file system.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = Object {
        path: path.as_ptr() as u64,
        fd: fd.as_raw_fd() as u32,
        flags: 0,
    };
    bpf(OBJ_PIN, &mut attr).map(drop)
}

/// Opens a BPF object by its name in a BPF file system.
pub fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = Object {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    bpf(OBJ_GET, &mut attr).map(owned)
}

#[repr(C)]
struct Info {
    fd: u32,
    len: u32,
    info: u64,
}

/// The head of the kernel's `struct bpf_link_info`, as an XDP link has it.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    _pad: u32,
    ifindex: u32,
    rest: [u32; 27],
}

/// The interface a link is attached to; nothing if that interface is gone.
pub fn link_ifindex(link: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let mut info = LinkInfo::default();
    let mut attr = Info {
        fd: link.as_raw_fd() as u32,
        len: size_of::<LinkInfo>() as u32,
        info: &raw mut info as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok((info.ifindex != 0).then_some(info.ifindex))
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches an XDP program to an interface for as long as the link is open or pinned.
pub fn link_xdp(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let program = program.as_raw_fd() as u32;
    let mut attr = LinkCreate {
        program,
        ifindex,
        attach_type: ATTACH_XDP,
        flags,
    };
    bpf(LINK_CREATE, &mut attr).map(owned)
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Puts another program in a link's place, between two packets.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdate {
        link: link.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        flags: 0,
        old_program: 0,
    };
    bpf(LINK_UPDATE, &mut attr).map(drop)
}

/// Takes a link's program off its interface, at once. Closing a link or removing its pin does that
/// too, but only some time later.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut link = link.as_raw_fd() as u32;
    bpf(LINK_DETACH, &mut link).map(drop)
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    returned: u32,
    data_size: u32,
    data_size_out: u32,
    data: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size: u32,
    context_size_out: u32,
    context: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    _pad: u32,
}

/// Runs an XDP program on a frame as if it came by an interface, and does with it what the program
/// says.
pub fn run_live(program: BorrowedFd<'_>, ingress: u32, frame: &[u8]) -> io::Result<()> {
    const F_LIVE_FRAMES: u32 = 1 << 1;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let context = [0, frame.len() as u32, 0, ingress, 0, 0];
    let mut attr = TestRun {
        program: program.as_raw_fd() as u32,
        data_size: frame.len() as u32,
        data: frame.as_ptr() as u64,
        repeat: 1,
        context_size: size_of_val(&context) as u32,
        context: context.as_ptr() as u64,
        flags: F_LIVE_FRAMES,
        batch_size: 1,
        ..TestRun::default()
    };
    bpf(PROG_TEST_RUN, &mut attr).map(drop)
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

/// Makes, for a moment, the smallest array that could be mapped into memory.
pub fn make_mapped_array() -> io::Result<()> {
    const ARRAY: u32 = 2;
    const F_MMAPABLE: u32 = 1 << 10;
    let mut attr = MapCreate {
        kind: ARRAY,
        key: 4,
        value: 8,
        entries: 1,
        flags: F_MMAPABLE,
    };
    bpf(MAP_CREATE, &mut attr).map(owned).map(drop)
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instructions: u32,
    start: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// Loads, for a moment, the smallest program with an atomic instruction that returns the old value.
pub fn load_atomic_fetch() -> io::Result<()> {
    const XDP: u32 = 6;
    /// Operation, registers (target low, source high), offset, constant.
    const fn instruction(code: u8, registers: u8, offset: i16, constant: i32) -> u64 {
        let offset = offset.cast_unsigned() as u64;
        let constant = constant.cast_unsigned() as u64;
        code as u64 | (registers as u64) << 8 | offset << 16 | constant << 32
    }
    let program = [
        instruction(0x7a, 0x0a, -8, 0),    // *(u64 *)(r10 - 8) = 0
        instruction(0xb7, 0x01, 0, 1),     // r1 = 1
        instruction(0xdb, 0x1a, -8, 0x41), // r1 = atomic_fetch_or(r10 - 8, r1)
        instruction(0xb7, 0x00, 0, 2),     // r0 = XDP_PASS
        instruction(0x95, 0x00, 0, 0),     // return r0
    ];
    let mut attr = ProgramLoad {
        kind: XDP,
        instructions: program.len() as u32,
        start: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    bpf(PROG_LOAD, &mut attr).map(owned).map(drop)
}

/// What `uname -r` says, as far as it can be read.
pub fn release() -> String {
    // SAFETY: arrays of bytes; all zero is a valid value.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is writable; the kernel ends every field with a zero byte.
    let release = unsafe {
        libc::uname(&raw mut name);
        std::ffi::CStr::from_ptr(name.release.as_ptr())
    };
    release.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_runs_egret_lacks_nothing_that_is_asked_for() {
        make_mapped_array().expect("since 5.5");
        load_atomic_fetch().expect("since 5.12");
        assert!(release().contains('.'), "{}", release());
    }
}

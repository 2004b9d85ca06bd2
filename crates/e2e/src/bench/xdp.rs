//! The rig's own XDP programs: what the gateway's is measured against, and what makes frames.
//!
//! They are a few instructions each, so they are written down here as such and need no compiler.

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, TestRunResult, Xdp, XdpMode};
use lab::Host;
use nix::net::if_::if_nametoindex;
use object::write::{Object, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

use super::instructions::{Code, Function, R0, R1, R2, R3, R4, R5, R6, R7};

/// The name of the one program in each object.
const NAME: &str = "bench";

/// Frames the kernel hands on at once, its own maximum: fastest.
pub(super) const LIVE_BATCH: u32 = 256;

/// Bytes of the headers that a generator writes: Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;
/// Where the UDP source port stands.
const PORT: i16 = 34;
/// Where the UDP checksum stands, the last word of the headers.
const CHECKSUM: usize = 40;

/// What a program answers, by the numbers of `enum xdp_action`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// Forget the frame.
    Drop = 1,
    /// Give it to the kernel.
    Pass = 2,
    /// Send it by the interface it came by.
    Transmit = 3,
}

/// A loaded program. Dropped, it is taken off every interface it was attached to.
pub(super) struct SmallProgram {
    ebpf: Ebpf,
}

impl SmallProgram {
    /// A program that answers the same to every frame.
    pub(super) fn always(answer: Answer) -> Result<Self> {
        Self::load(&Code::default().set(R0, answer as i32).exit())
    }

    /// A program that sends every frame by another interface, untouched.
    pub(super) fn redirect(ifindex: u32) -> Result<Self> {
        let ifindex = i32::try_from(ifindex).context("interfaces are numbered from one")?;
        let code = Code::default().set(R1, ifindex).set(R2, 0);
        Self::load(&code.call(Function::Redirect).exit())
    }

    /// A program that turns each frame into a datagram of a random one of `ports` flows and
    /// transmits it. `template` is the datagram of a flow with port zero.
    ///
    /// It writes all headers each time, because live frames come back with the headers that the
    /// gateway under test gave them.
    pub(super) fn generator(template: &[u8], first_port: u16, ports: u16) -> Result<Self> {
        ensure!(
            template.len() >= HEADERS,
            "a template of {} bytes",
            template.len()
        );
        // What the checksum adds up without the port; one's complement sums have no byte order.
        let check = u16::from_ne_bytes([template[CHECKSUM], template[CHECKSUM + 1]]);
        let frame = i32::try_from(template.len()).context("a frame is short")?;

        let code = Code::default()
            .copy(R6, R1)
            .call(Function::Random)
            .remainder(R0, ports.into())
            .add(R0, first_port.into())
            .network16(R0)
            .copy(R7, R0);
        let mut code = within_bounds(code, frame);
        for (word, bytes) in (0..).zip(template[..CHECKSUM].chunks_exact(8)) {
            let value = bytes.try_into().context("chunks are eight bytes")?;
            let with_value = code.set_wide(R5, u64::from_ne_bytes(value));
            code = with_value.store64(R2, 8 * word, R5);
        }
        code = code
            .store16(R2, PORT, R7)
            .add(R7, (!check).into())
            .copy(R5, R7)
            .shift_right(R5, 16)
            .and(R7, 0xffff)
            .add_register(R7, R5)
            .xor(R7, 0xffff)
            .store16(R2, CHECKSUM as i16, R7)
            .set(R0, Answer::Transmit as i32)
            .exit();
        Self::load(&code)
    }

    fn load(code: &Code) -> Result<Self> {
        let object = object(code.bytes()).context("cannot write the object of a small program")?;
        let mut ebpf = Ebpf::load(&object).context("cannot read the object of a small program")?;
        let program = ebpf
            .program_mut(NAME)
            .context("the object has no program")?;
        let program: &mut Xdp = program.try_into()?;
        program
            .load()
            .context("the kernel refused a small program")?;
        Ok(Self { ebpf })
    }

    /// Attaches it to an interface of a host, in the driver, for as long as it is loaded.
    pub(super) fn attach(mut self, host: &Host, interface: &str) -> Result<Self> {
        let program = self
            .ebpf
            .program_mut(NAME)
            .context("the object has no program")?;
        let program: &mut Xdp = program.try_into()?;
        host.enter(move || program.attach(interface, XdpMode::Driver))?
            .with_context(|| format!("cannot attach to {interface} of {}", host.name()))?;
        Ok(self)
    }

    /// The program as aya sees it, for test runs.
    pub(super) fn as_xdp(&self) -> Result<&Xdp> {
        let program = self
            .ebpf
            .program(NAME)
            .context("the object has no program")?;
        Ok(program.try_into()?)
    }
}

/// Continues with the frame in `R2` if it has so many bytes; drops it otherwise.
fn within_bounds(code: Code, bytes: i32) -> Code {
    code.load32(R2, R6, 0)
        .load32(R3, R6, 4)
        .copy(R4, R2)
        .add(R4, bytes)
        .skip_if_at_most(R4, R3, 2)
        .set(R0, Answer::Drop as i32)
        .exit()
}

fn object(code: &[u8]) -> object::write::Result<Vec<u8>> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let section = elf.add_section(Vec::new(), b"xdp".to_vec(), SectionKind::Text);
    let value = elf.append_section_data(section, code, 8);
    elf.add_symbol(Symbol {
        name: NAME.into(),
        value,
        size: code.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    elf.write()
}

/// Returns the number of an interface of the host in which the thread runs.
pub(super) fn ifindex(interface: &str) -> Result<u32> {
    if_nametoindex(interface).with_context(|| format!("there is no interface {interface}"))
}

/// Runs a program `repeat` times over one frame, which it edits each time, as if that had come by
/// an interface of the thread's host. Returns what the kernel measured and the frame at the end.
pub(super) fn test_run(
    program: &Xdp,
    frame: &[u8],
    ifindex: u32,
    repeat: u32,
) -> Result<(TestRunResult, Vec<u8>)> {
    let mut after = vec![0; frame.len()];
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut after),
        ctx_in: Some(&context_of(frame, ifindex)),
        repeat,
        ..TestRunOptions::new()
    })?;
    Ok((result, after))
}

/// Lets a generator make so many live frames, which leave by an interface of the thread's host.
///
/// The time that the kernel says this took leaves out the time in which the sender had to wait for
/// those who handle its frames.
pub(super) fn send_live(generator: &Xdp, frame: &[u8], ifindex: u32, frames: u32) -> Result<()> {
    generator.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context_of(frame, ifindex)),
        repeat: frames,
        attrs: TestRunAttrs::new().xdp_live_frames(LIVE_BATCH),
        ..TestRunOptions::new()
    })?;
    Ok(())
}

/// A `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context_of(frame: &[u8], ifindex: u32) -> Vec<u8> {
    let words = [0, frame.len() as u32, 0, ifindex, 0, 0];
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

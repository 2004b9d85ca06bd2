//! The XDP hook: lends the packet path its packet and its maps, and turns its answer into a number.
//!
//! Decides nothing. What happens to a packet stands in `egret-datapath`.
#![no_std]
#![no_main]

mod context;
mod maps;

use abi::Reason;
use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    helpers::bpf_redirect,
    macros::xdp,
    programs::XdpContext,
};
use context::{Frame, Kernel};
use datapath::{Exit, Next, world::World};

/// The program on every interface.
#[xdp]
pub fn egret(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::enter)
}

/// [`abi::Stage::Open`].
#[xdp]
pub fn egret_open(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::open)
}

/// [`abi::Stage::Part`].
#[xdp]
pub fn egret_part(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::part)
}

/// [`abi::Stage::Six`].
#[xdp]
pub fn egret_six(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::six)
}

/// [`abi::Stage::SixOpen`].
#[xdp]
pub fn egret_six_open(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::six_open)
}

/// [`abi::Stage::SixPart`].
#[xdp]
pub fn egret_six_part(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::six_part)
}

/// [`abi::Stage::Cross`].
#[xdp]
pub fn egret_cross(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::cross)
}

/// [`abi::Stage::CrossOpen`].
#[xdp]
pub fn egret_cross_new(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::cross_open)
}

/// [`abi::Stage::Fixed`].
#[xdp]
pub fn egret_fixed(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::fixed)
}

/// [`abi::Stage::SixFixed`].
#[xdp]
pub fn egret_six_fixed(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::six_fixed)
}

/// [`abi::Stage::Tunnel`].
#[xdp]
pub fn egret_tunnel(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::tunnel)
}

/// [`abi::Stage::Relay`].
#[xdp]
pub fn egret_relay(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::relay)
}

/// [`abi::Stage::Own`].
#[xdp]
pub fn egret_own(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::own)
}

/// [`abi::Stage::SixOwn`].
#[xdp]
pub fn egret_six_own(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::six_own)
}

/// [`abi::Stage::CrossOwn`].
#[xdp]
pub fn egret_cross_own(ctx: XdpContext) -> u32 {
    go_on(&ctx, datapath::cross_own)
}

/// Takes the packet through one part of the packet path, and on to the next if it is not done.
#[inline(always)]
fn go_on(ctx: &XdpContext, part: impl FnOnce(&mut Frame, &Kernel) -> Next) -> u32 {
    let kernel = Kernel::new(ctx);
    let stage = match part(&mut Frame::new(ctx), &kernel) {
        Next::Leave(exit) => return number(exit),
        Next::Go(stage) => stage,
    };
    // SAFETY: the entries are XDP programs of this object. Does not come back if there is one.
    let _ = unsafe { maps::STAGES.tail_call(ctx, stage as u32) };
    kernel.count(Reason::Internal, (ctx.data_end() - ctx.data()) as u64);
    XDP_DROP
}

/// The number that the hook has for it.
#[inline(always)]
fn number(exit: Exit) -> u32 {
    match exit {
        Exit::Pass => XDP_PASS,
        Exit::Drop => XDP_DROP,
        Exit::Transmit => XDP_TX,
        Exit::Redirect(ifindex) => {
            // SAFETY: a helper without memory arguments.
            unsafe { bpf_redirect(ifindex, 0) as u32 }
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

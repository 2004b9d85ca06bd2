//! The XDP hook: lends the packet path its packet and its maps, and turns its answer into a number.
//!
//! Decides nothing. What happens to a packet stands in `egret-datapath`.
#![no_std]
#![no_main]

mod context;
mod maps;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    helpers::bpf_redirect,
    macros::xdp,
    programs::XdpContext,
};
use datapath::Exit;

/// The one program, on every interface.
#[xdp]
pub fn egret(ctx: XdpContext) -> u32 {
    let mut frame = context::Frame::new(&ctx);
    match datapath::process(&mut frame, &context::Kernel::new(&ctx)) {
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

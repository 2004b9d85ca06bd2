//! Hands the kernel object that `cargo xtask ebpf` built to the crate that embeds it.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=EGRET_BPF_OBJECT");
    let built = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../../target/bpf/egret.o");
    let object = env::var_os("EGRET_BPF_OBJECT").map_or(built, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    let target = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("egret.o");
    if let Err(error) = fs::copy(&object, &target) {
        let place = object.display();
        println!("cargo::error=no kernel object at {place} ({error}): run `cargo xtask ebpf`");
    }
}

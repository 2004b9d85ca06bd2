//! Builds the BPF object, the half of Egret that runs in the kernel.
//!
//! `crates/ebpf` is a workspace of its own because another toolchain builds it for another target.
//! What comes out lies at `target/bpf/egret.o`, where the build script of `kernel` finds it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{object, process, toolchain::Toolchain, workspace::Workspace};

const TARGET: &str = "bpfel-unknown-none";

/// How the programs are compiled.
///
/// BTF, because maps and the verifier's messages want it. cpu v3, for 32-bit arithmetic and its
/// jumps. Misaligned access is fine on every CPU we run on, and turns the reading of an address
/// from a frame from four byte loads with shifts into one load. It is given to rustc only, which
/// tells the linker; told twice, the linker refuses.
const RUSTFLAGS: &str = "-C debuginfo=2 -C link-arg=--btf -C target-cpu=v3 \
                         -C target-feature=+alu32,+allows-misaligned-mem-access";

/// Builds the object and returns where it is.
///
/// # Errors
///
/// If it does not compile, or what was compiled cannot be put in its place.
pub fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let folder = workspace.bpf();
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(workspace.root())
        .env("RUSTFLAGS", RUSTFLAGS)
        .args([
            "build",
            "--release",
            "--manifest-path",
            "crates/ebpf/Cargo.toml",
        ])
        .args([
            "--target",
            TARGET,
            "-Z",
            "build-std=core",
            "--target-dir",
            "target/bpf",
        ]);
    process::run(&mut cargo)?;

    let built = folder.join(TARGET).join("release/egret");
    let object = folder.join("egret.o");
    replace_if_changed(&built, &object)
        .with_context(|| format!("cannot copy {} to {}", built.display(), object.display()))?;
    Ok(object)
}

/// Copies a file unless the copy is there already, whose time then stays as it was: whoever
/// embeds it is rebuilt only when it differs.
fn replace_if_changed(from: &Path, to: &Path) -> io::Result<()> {
    let wanted = fs::read(from)?;
    if fs::read(to).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    // A new file in one step, so that nobody ever reads half an object.
    let fresh = to.with_extension("o.new");
    fs::write(&fresh, wanted)?;
    fs::rename(&fresh, to)
}

/// Prints how large the object and its functions are.
///
/// # Errors
///
/// If it is not the kind of object that the kernel loads.
pub fn report(object: &Path) -> Result<()> {
    let bytes = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
    let functions = object::functions(&bytes)
        .with_context(|| format!("cannot make sense of {}", object.display()))?;

    println!("\n{}: {} bytes", object.display(), bytes.len());
    let width = functions
        .iter()
        .map(|function| function.name.len())
        .max()
        .unwrap_or(0);
    println!("  {:width$}  instructions  stack bytes", "function");
    for object::Function {
        name,
        instructions,
        stack,
    } in functions
    {
        println!("  {name:width$}  {instructions:>12}  {stack:>11}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_object_keeps_its_time_and_a_different_one_replaces_it() {
        let folder = std::env::temp_dir().join(format!("egret-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let (built, object) = (folder.join("egret"), folder.join("egret.o"));
        let modified = || {
            fs::metadata(&object)
                .and_then(|found| found.modified())
                .expect("a time")
        };

        fs::write(&built, "one").expect("written");
        replace_if_changed(&built, &object).expect("copied");
        let first = modified();
        replace_if_changed(&built, &object).expect("left alone");
        let second = modified();
        fs::write(&built, "two").expect("written");
        replace_if_changed(&built, &object).expect("replaced");
        let content = fs::read_to_string(&object).expect("readable");
        fs::remove_dir_all(&folder).expect("cleaned up");

        assert_eq!(first, second);
        assert_eq!(content, "two");
    }
}

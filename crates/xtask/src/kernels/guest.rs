//! One command in one guest: boot, run, power off.
//!
//! The guest's root directory is this machine's, read-only under a layer of memory: what was built
//! here runs there under the same path. Its output is this program's, its exit status as well.
//!
//! Everything is emulated (TCG), on purpose: an accelerator is on few CI machines, and some that
//! show `/dev/kvm` cannot boot a kernel that is not prepared for them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{
    Kernel,
    image::{Cache, Image},
};
use crate::process;

/// After which a guest is ended by force, so that one that hangs fails and does not hang whoever waits
/// for it. The twins take some minutes, on a machine that does nothing else; three guests at the same
/// time on two busy CPUs have taken twelve.
const SECONDS_MAX: u32 = 1800;
/// What `timeout` returns if it had to end what it runs.
const TIMED_OUT: i32 = 124;
/// Enough for the tables of every suite.
const MEMORY: &str = "1024M";
/// One CPU at work, as emulated ones hold each other up, and one that might come: so that what
/// the kernel keeps for each CPU is there more than once.
const CPUS: &str = "1,maxcpus=2";
/// Lines of the console that are shown of a guest that ended without a word.
const CONSOLE_MAX: usize = 30;

/// Runs a command in the present directory and returns its exit status.
///
/// # Errors
///
/// If the guest ended, or had to be ended, without a status.
pub fn run(kernel: &Kernel, command: &[String]) -> Result<u8> {
    let cache = Cache::find()?;
    let (qemu, image) = (cache.qemu()?, cache.image(kernel)?);
    let shared = Shared::new(&image, command)?;
    let mut boot = boot(qemu, &image, &shared.folder);
    let ended = boot
        .status()
        .with_context(|| format!("cannot start `{}`", process::shown(&boot)))?;
    match shared.status() {
        Some(status) => Ok(status),
        None => {
            eprintln!("{}", shared.last_words());
            let name = kernel.name;
            match ended.code() {
                Some(TIMED_OUT) => bail!("the guest of Linux {name} took {SECONDS_MAX} seconds"),
                Some(_) | None => bail!("the guest of Linux {name} gave no status (QEMU: {ended})"),
            }
        }
    }
}

/// A folder that the guest reads what to do from and leaves the outcome in.
struct Shared {
    folder: PathBuf,
}

impl Shared {
    fn new(image: &Image, command: &[String]) -> Result<Self> {
        let folder = env::temp_dir().join(format!("egret-guest-{}", std::process::id()));
        let here = env::current_dir().context("there is no present directory")?;
        let mut program = Command::new(command.first().context("a guest needs a command")?);
        program.args(&command[1..]);
        let write = || -> io::Result<()> {
            fs::create_dir(&folder)?;
            fs::write(folder.join("command"), process::shown(&program))?;
            fs::write(folder.join("folder"), here.as_os_str().as_encoded_bytes())?;
            let modules = image.modules();
            fs::write(
                folder.join("modules"),
                modules.as_os_str().as_encoded_bytes(),
            )
        };
        write().with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(Self { folder })
    }

    fn status(&self) -> Option<u8> {
        let status = fs::read_to_string(self.folder.join("status")).ok()?;
        status.trim().parse().ok()
    }

    /// The end of what the kernel said on its console.
    fn last_words(&self) -> String {
        let said = fs::read(self.folder.join("console")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(CONSOLE_MAX)..].join("\n")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("xtask: cannot remove {}: {error}", self.folder.display());
        }
    }
}

fn boot(qemu: Command, image: &Image, shared: &Path) -> Command {
    let file_system = |id: &str, path: &Path, more: &str| {
        let path = path.display();
        format!("local,id={id},path={path},security_model=none,multidevs=remap{more}")
    };
    // In the foreground: an interrupt from the terminal reaches the emulator as well.
    let mut timeout = Command::new("timeout");
    timeout
        .args(["--foreground", "--kill-after=3"])
        .arg(SECONDS_MAX.to_string());
    timeout.arg(qemu.get_program()).args(qemu.get_args());
    for (name, value) in qemu.get_envs() {
        if let Some(value) = value {
            timeout.env(name, value);
        }
    }
    timeout
        .args(["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max"])
        .args(["-machine", "q35,hpet=off", "-smp", CPUS, "-m", MEMORY])
        .args(["-nodefaults", "-nographic", "-no-reboot"])
        .arg("-kernel")
        .arg(image.vmlinuz())
        .arg("-initrd")
        .arg(image.initrd())
        .arg("-append")
        .arg(
            "console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable random.trust_cpu=on",
        )
        .arg("-serial")
        .arg(format!("file:{}", shared.join("console").display()))
        .args(["-device", "virtio-serial-pci"])
        .args(["-chardev", "stdio,id=output,signal=off"])
        .args(["-device", "virtconsole,chardev=output"])
        .arg("-fsdev")
        .arg(file_system("host", Path::new("/"), ",readonly=on"))
        .args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"])
        .arg("-fsdev")
        .arg(file_system("shared", shared, ""))
        .args(["-device", "virtio-9p-pci,fsdev=shared,mount_tag=shared"])
        .stdin(Stdio::null());
    timeout
}

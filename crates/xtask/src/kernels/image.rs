//! What a guest boots: a Debian kernel with its modules, an initial RAM disk, and the emulator.
//!
//! Everything lies in one folder below the user's cache, made once. Each part is made beside its
//! place and then renamed into it, so that what is there is whole.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    Kernel,
    archive::{self, Archive},
};
use crate::{process, toolchain};

const QEMU: &str = "qemu-system-x86_64";
const FIRST: &str = include_str!("first.sh");
const SECOND: &str = include_str!("second.sh");

/// What the initial RAM disk loads, dependencies apart: the way to the host's root directory and
/// to its output. One that is built into a kernel is no module of it.
const BOOT_MODULES: [&str; 5] = [
    "virtio_pci",
    "virtio_console",
    "9pnet_virtio",
    "9p",
    "overlay",
];

/// Folders of a kernel's modules that a guest may want something of. All others are drivers of
/// hardware that no guest has.
const MODULES_KEPT: [&str; 6] = ["arch", "crypto", "drivers", "fs", "lib", "net"];
const DRIVERS_KEPT: [&str; 3] = ["char", "net", "virtio"];

/// One kernel, ready to boot.
#[derive(Debug)]
pub struct Image {
    /// What `uname -r` says in it.
    pub release: String,
    folder: PathBuf,
}

impl Image {
    pub fn vmlinuz(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    pub fn initrd(&self) -> PathBuf {
        self.folder.join("initrd")
    }

    /// What is `/lib/modules/RELEASE` in the guest.
    pub fn modules(&self) -> PathBuf {
        modules(&self.folder, &self.release)
    }

    fn of(folder: PathBuf) -> Result<Self> {
        let path = folder.join("release");
        let release = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; remove its folder", path.display()))?;
        Ok(Self {
            release: release.trim().to_owned(),
            folder,
        })
    }
}

/// The folder of all guests' files.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Finds the folder, there or not.
    ///
    /// # Errors
    ///
    /// If the environment names no home.
    pub fn find() -> Result<Self> {
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME is set, so there is no place for kernels")?;
        Ok(Self {
            folder: cache.join("egret-kernels"),
        })
    }

    /// Returns what starts the emulator: this machine's, or else one of the cache's own.
    ///
    /// # Errors
    ///
    /// If it has to be fetched and cannot.
    pub fn qemu(&self) -> Result<Command> {
        if let Some(installed) = toolchain::tools(QEMU).next() {
            return Ok(Command::new(installed));
        }
        let folder = self.package("qemu-system-x86", "runs other kernels in guests")?;
        let program = folder.join("usr/bin").join(QEMU);
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
            .map(|place| folder.join(place).display().to_string());
        let mut qemu = Command::new(program);
        qemu.env("LD_LIBRARY_PATH", libraries.join(":"));
        for place in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(folder.join(place));
        }
        Ok(qemu)
    }

    /// Returns the folder into which a package of this machine's Debian is unpacked, with what it
    /// needs, fetched if it is not there. So nothing is installed, and no service started.
    ///
    /// # Errors
    ///
    /// If it has to be fetched and cannot.
    pub fn package(&self, package: &str, why: &str) -> Result<PathBuf> {
        let folder = self.folder.join(package);
        if !folder.exists() {
            println!("set-up: fetching into {}", folder.display());
            println!("  {package:16} {why}");
            let archive = self.archive(&own_suite()?, Path::new(archive::HERE))?;
            made(&folder, |fresh| {
                let packages = fresh.join("packages");
                archive.download_with_dependencies(package, &packages)?;
                archive::unpack(&packages, fresh)?;
                remove(&packages)
            })?;
        }
        Ok(folder)
    }

    /// Returns the folder that holds one Python package, by a line of pip's requirements that names
    /// its version and hash, fetched from PyPI if it is not there. Nothing else is installed, neither
    /// beside it nor on this machine.
    ///
    /// # Errors
    ///
    /// If it has to be fetched and cannot.
    pub fn wheel(&self, package: &str, required: &str, why: &str) -> Result<PathBuf> {
        let pinned = required.split_whitespace().next().unwrap_or(package);
        let folder = self.folder.join(pinned.replace("==", "-"));
        if !folder.exists() {
            println!("set-up: fetching into {}", folder.display());
            println!("  {package:16} {why}");
            made(&folder, |fresh| {
                let list = fresh.join("requirements.txt");
                fs::write(&list, required)
                    .with_context(|| format!("cannot write {}", list.display()))?;
                process::run(
                    Command::new("pip3")
                        .args(["install", "--quiet", "--disable-pip-version-check"])
                        .args(["--no-deps", "--only-binary", ":all:", "--require-hashes"])
                        .args(["--root-user-action", "ignore"])
                        .args([OsStr::new("--target"), fresh.as_os_str()])
                        .args([OsStr::new("--requirement"), list.as_os_str()]),
                )
            })
            .with_context(|| format!("cannot have {pinned} of PyPI"))?;
        }
        Ok(folder)
    }

    /// Returns a kernel, fetched if it is not there.
    ///
    /// # Errors
    ///
    /// If it has to be fetched and cannot.
    pub fn image(&self, kernel: &Kernel) -> Result<Image> {
        let folder = self.folder.join(kernel.name);
        if !folder.exists() {
            let busybox = self.busybox()?;
            println!("set-up: fetching into {}", folder.display());
            println!(
                "  {:16} Linux {} of Debian's {}",
                METAPACKAGE, kernel.name, kernel.suite
            );
            let nothing = self.folder.join("apt").join(kernel.suite).join("nothing");
            let made = self
                .archive(kernel.suite, &nothing)
                .and_then(|archive| made(&folder, |fresh| make_image(&archive, &busybox, fresh)));
            made.with_context(|| {
                let (name, suite) = (kernel.name, kernel.suite);
                format!("cannot have Linux {name} ({METAPACKAGE} of Debian's {suite})")
            })?;
        }
        Image::of(folder)
    }

    /// The one program of the initial RAM disk; it also lists modules and packs the disk.
    fn busybox(&self) -> Result<PathBuf> {
        let folder = self.folder.join("busybox");
        if !folder.exists() {
            println!("set-up: fetching into {}", folder.display());
            println!(
                "  {:16} what a guest runs before it has a root directory",
                "busybox-static"
            );
            let suite = own_suite()?;
            let archive = self.archive(&suite, Path::new(archive::HERE))?;
            made(&folder, |fresh| {
                let packages = fresh.join("packages");
                archive.download(&["busybox-static".to_owned()], &packages)?;
                archive::unpack(&packages, fresh)?;
                remove(&packages)
            })?;
        }
        ["bin/busybox", "usr/bin/busybox"]
            .map(|place| folder.join(place))
            .into_iter()
            .find(|path| path.exists())
            .with_context(|| format!("busybox-static left no busybox in {}", folder.display()))
    }

    fn archive(&self, suite: &str, installed: &Path) -> Result<Archive> {
        Archive::open(&self.folder.join("apt").join(suite), suite, installed)
    }
}

const METAPACKAGE: &str = "linux-image-amd64";

/// Makes a folder that is there whole or not at all.
fn made(folder: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut fresh = folder.as_os_str().to_owned();
    fresh.push(format!(".new-{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    fs::create_dir_all(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    let result = make(&fresh).and_then(|()| {
        fs::rename(&fresh, folder).with_context(|| format!("cannot rename {}", fresh.display()))
    });
    if result.is_err() {
        remove(&fresh)?;
    }
    result
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// The name of this machine's own Debian.
fn own_suite() -> Result<String> {
    let path = "/etc/os-release";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .with_context(|| format!("{path} has no VERSION_CODENAME"))
}

fn make_image(archive: &Archive, busybox: &Path, folder: &Path) -> Result<()> {
    let image = kernel_package(&archive.dependencies(METAPACKAGE)?)?;
    let packages = contents(&image, &archive.dependencies(&image)?);
    let (downloads, unpacked) = (folder.join("packages"), folder.join("unpacked"));
    archive.download(&packages, &downloads)?;
    archive::unpack(&downloads, &unpacked)?;
    remove(&downloads)?;

    let release = image.trim_start_matches("linux-image-").to_owned();
    let found = ["lib/modules", "usr/lib/modules"]
        .map(|place| unpacked.join(place).join(&release))
        .into_iter()
        .find(|path| path.exists())
        .with_context(|| format!("{packages:?} brought no modules of {release}"))?;
    let vmlinuz = [
        unpacked.join("boot").join(format!("vmlinuz-{release}")),
        found.join("vmlinuz"),
    ]
    .into_iter()
    .find(|path| path.exists())
    .with_context(|| format!("{packages:?} brought no vmlinuz of {release}"))?;
    let kept = modules(folder, &release);
    let place = || -> io::Result<()> {
        fs::copy(&vmlinuz, folder.join("vmlinuz"))?;
        fs::create_dir_all(folder.join("lib/modules"))?;
        fs::rename(&found, &kept)?;
        keep(&kept.join("kernel"), &MODULES_KEPT)?;
        keep(&kept.join("kernel/drivers"), &DRIVERS_KEPT)
    };
    place().with_context(|| format!("cannot arrange {}", folder.display()))?;
    remove(&unpacked)?;

    process::run(
        Command::new(busybox)
            .args(["depmod", "-b"])
            .arg(folder)
            .arg(&release),
    )?;
    make_initrd(folder, &release, busybox)?;
    fs::write(folder.join("release"), release).context("cannot note the kernel's release")
}

fn modules(folder: &Path, release: &str) -> PathBuf {
    folder.join("lib/modules").join(release)
}

/// The kernel that the package without a number stands for.
fn kernel_package(dependencies: &[String]) -> Result<String> {
    let is_numbered = |name: &&String| {
        name.strip_prefix("linux-image-")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match dependencies.iter().find(is_numbered) {
        Some(name) => Ok(name.clone()),
        None => bail!("{METAPACKAGE} depends on no kernel, but on {dependencies:?}"),
    }
}

/// The packages that a kernel's files are in: until 6.18 its own, since then two others.
fn contents(image: &str, dependencies: &[String]) -> Vec<String> {
    let parts: Vec<String> = dependencies
        .iter()
        .filter(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"))
        .cloned()
        .collect();
    if parts.is_empty() {
        vec![image.to_owned()]
    } else {
        parts
    }
}

/// Removes all folders but some.
fn keep(folder: &Path, names: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_kept = names.iter().any(|name| entry.file_name() == *name);
        if entry.file_type()?.is_dir() && !is_kept {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn make_initrd(folder: &Path, release: &str, busybox: &Path) -> Result<()> {
    let (disk, from) = (folder.join("disk"), modules(folder, release));
    let into = modules(&disk, release);
    let list = from.join("modules.dep");
    let dependencies =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let (names, files) = boot_modules(&dependencies);
    let write = || -> io::Result<()> {
        for place in ["bin", "dev", "proc"] {
            fs::create_dir_all(disk.join(place))?;
        }
        fs::copy(busybox, disk.join("bin/busybox"))?;
        fs::write(disk.join("init"), FIRST)?;
        fs::set_permissions(
            disk.join("init"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        fs::write(disk.join("second.sh"), SECOND)?;
        fs::write(disk.join("modules"), names.join(" "))?;
        for file in &files {
            let place = into.join(file);
            fs::create_dir_all(place.parent().unwrap_or(&into))?;
            fs::copy(from.join(file), place)?;
        }
        fs::copy(&list, into.join("modules.dep")).map(drop)
    };
    write().with_context(|| format!("cannot fill {}", disk.display()))?;
    // The order matters: a folder before what is in it.
    let pack = "find . | sort | \"$1\" cpio -o -H newc >../initrd";
    process::run(
        Command::new(busybox)
            .current_dir(&disk)
            .args(["sh", "-ec", pack, "sh"])
            .arg(busybox),
    )?;
    remove(&disk)
}

/// The modules to boot with, by name, and the files of them and of all that they depend on.
fn boot_modules(dependencies: &str) -> (Vec<&'static str>, Vec<&str>) {
    let mut names = Vec::new();
    let mut files = Vec::new();
    for line in dependencies.lines() {
        let Some((file, others)) = line.split_once(':') else {
            continue;
        };
        let stem = file
            .rsplit('/')
            .next()
            .and_then(|name| name.split('.').next());
        if let Some(name) = BOOT_MODULES.iter().find(|name| Some(**name) == stem) {
            names.push(*name);
            files.extend([file].into_iter().chain(others.split_whitespace()));
        }
    }
    names.sort_by_key(|name| BOOT_MODULES.iter().position(|known| known == name));
    files.sort_unstable();
    files.dedup();
    (names, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_kernel_is_found_behind_the_package_without_a_number() {
        let found = kernel_package(&names(&[
            "linux-base-amd64",
            "linux-image-7.3.4+deb13-amd64",
        ]));
        assert_eq!(found.expect("one"), "linux-image-7.3.4+deb13-amd64");
        assert!(kernel_package(&names(&["linux-base-amd64", "linux-image-generic"])).is_err());
    }

    #[test]
    fn a_kernel_is_one_package_or_two_others() {
        let alone = contents("linux-image-6.1", &names(&["kmod", "linux-base"]));
        let split = contents(
            "linux-image-7.3",
            &names(&["linux-base-7.3", "linux-binary-7.3", "linux-modules-7.3"]),
        );

        assert_eq!(alone, ["linux-image-6.1"]);
        assert_eq!(split, ["linux-binary-7.3", "linux-modules-7.3"]);
    }

    #[test]
    fn the_modules_to_boot_with_come_in_order_and_with_what_they_need() {
        let list = "kernel/fs/overlayfs/overlay.ko.xz:\n\
                    kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz\n\
                    kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz\n\
                    kernel/drivers/net/veth.ko.xz:\n";

        let (names, files) = boot_modules(list);

        assert_eq!(names, ["9pnet_virtio", "9p", "overlay"]);
        assert_eq!(
            files,
            [
                "kernel/fs/9p/9p.ko.xz",
                "kernel/fs/overlayfs/overlay.ko.xz",
                "kernel/net/9p/9pnet.ko.xz",
                "kernel/net/9p/9pnet_virtio.ko.xz",
            ]
        );
    }
}

//! The few kernel settings without which the packets we leave to the kernel would be lost.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A setting under `/proc/sys/net/VERSION/conf/INTERFACE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// `ipv4` or `ipv6`.
    pub version: &'static str,
    /// The interface, or `all`.
    pub interface: String,
    /// The setting.
    pub name: &'static str,
    /// What it should be.
    pub value: &'static str,
    /// Why, for the log.
    pub why: &'static str,
}

/// What an interface we listen on needs.
pub fn needed(interface: &str) -> Vec<Setting> {
    let setting = |name, value, why| Setting {
        version: "ipv4",
        interface: interface.to_owned(),
        name,
        value,
        why,
    };
    vec![
        setting(
            "forwarding",
            "1",
            "the kernel forwards packets whose next hop is not resolved yet",
        ),
        setting(
            "rp_filter",
            "2",
            "a translated packet's source is not routed to where it came from",
        ),
        setting(
            "accept_local",
            "1",
            "an external address may be an address of this host",
        ),
        setting(
            "send_redirects",
            "0",
            "on one arm every client would be told to bypass the gateway",
        ),
    ]
}

/// What a host needs that translates IPv6, in this order.
///
/// Forwarding is a matter of the whole host in IPv6, and one that forwards does not listen to routers
/// any more unless it is told to.
///
/// # Errors
///
/// If the interfaces cannot be listed: this kernel has no IPv6.
pub fn needed6() -> io::Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join("ipv6/conf"))? {
        let Ok(interface) = entry?.file_name().into_string() else {
            continue;
        };
        let setting = Setting {
            version: "ipv6",
            interface,
            name: "accept_ra",
            value: "2",
            why: "routes that routers announce stay when the host begins to forward",
        };
        if setting.read()? == "1" {
            settings.push(setting);
        }
    }
    settings.push(Setting {
        version: "ipv6",
        interface: "all".to_owned(),
        name: "forwarding",
        value: "1",
        why: "the kernel forwards packets whose next hop is not resolved yet, and says where to",
    });
    Ok(settings)
}

const ROOT: &str = "/proc/sys/net";

impl Setting {
    fn path(&self) -> PathBuf {
        Path::new(ROOT)
            .join(self.version)
            .join("conf")
            .join(&self.interface)
            .join(self.name)
    }

    fn read(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.path())?.trim().to_owned())
    }

    /// Makes the setting; `true` if it was another before.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn apply(&self) -> io::Result<bool> {
        if self.read()? == self.value {
            return Ok(false);
        }
        fs::write(self.path(), self.value)?;
        Ok(true)
    }
}

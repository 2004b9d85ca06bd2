//! The few kernel settings without which the packets we leave to the kernel would be lost.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A setting under `/proc/sys/net/ipv4/conf/INTERFACE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The interface.
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

impl Setting {
    fn path(&self) -> PathBuf {
        Path::new("/proc/sys/net/ipv4/conf")
            .join(&self.interface)
            .join(self.name)
    }

    /// Makes the setting; `true` if it was another before.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn apply(&self) -> io::Result<bool> {
        let path = self.path();
        if fs::read_to_string(&path)?.trim() == self.value {
            return Ok(false);
        }
        fs::write(&path, self.value)?;
        Ok(true)
    }
}

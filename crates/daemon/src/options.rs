//! The command line of `egretd`.

use std::path::PathBuf;

use clap::Parser;

/// A NAT gateway on XDP.
///
/// Without --check or --uninstall it runs in the foreground until SIGTERM. Packets go on when it
/// ends; only --uninstall stops them.
#[derive(Clone, Debug, Parser)]
#[command(name = "egretd", version)]
pub struct Options {
    /// The configuration file.
    #[arg(
        long,
        short,
        default_value = "/etc/egret/gateway.yaml",
        value_name = "FILE"
    )]
    pub config: PathBuf,

    /// Only say what is wrong with the configuration; touches nothing, needs no privileges.
    #[arg(long, conflicts_with = "uninstall")]
    pub check: bool,

    /// Take the program off all interfaces and remove its tables, with all flows and counters.
    #[arg(long)]
    pub uninstall: bool,
}

//! `egretd`: reads its options and its configuration, and runs the driver.

use std::{
    fs::{self, File, TryLockError},
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use daemon::{
    capabilities,
    config_file::{Config, ConfigError},
    driver::Driver,
    holding::Holding,
    http,
    options::Options,
    replication::Replication,
    routing::Routes,
    sessions::Sessions,
    view::{COMMANDS_MAX, ConfigView, Shared, SweepView, View},
    ways::Ways,
    world::World,
};
use gateway::Gateway;
use jiff::Timestamp;
use kernel::{Sizes, State, netlink::Netlink};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_env("EGRET_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let result = match (options.check, options.uninstall) {
        (true, _) => check(&options.config),
        (false, true) => uninstall(&options.config),
        (false, false) => run(&options.config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("egretd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> Result<()> {
    let config = Config::read(path)?;
    for warning in &config.parsed.warnings {
        eprintln!("{warning}\n");
    }
    eprintln!("{} is valid", path.display());
    Ok(())
}

/// Needs no valid configuration, only one that says where the state is; without any, the usual place.
fn uninstall(path: &Path) -> Result<()> {
    let (socket, state) = match Config::read(path) {
        Ok(Config { parsed, .. }) => (parsed.intent.api_socket, parsed.intent.state),
        Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => (
            PathBuf::from(api::http::SOCKET),
            PathBuf::from(gateway::intent::STATE_DEFAULT),
        ),
        Err(error) => return Err(error).context("where the state is, only the configuration says"),
    };
    let _lock = lock(&socket)?;
    let removed = State::remove(&state)?;
    remove_socket(&socket);
    let lock = lock_path(&socket);
    fs::remove_file(&lock).with_context(|| format!("cannot remove {}", lock.display()))?;
    eprintln!("removed {} pins from {}", removed.len(), state.display());
    Ok(())
}

/// What cannot be removed is in nobody's way: the next daemon replaces it, or says what is wrong.
fn remove_socket(socket: &Path) {
    if let Err(error) = http::remove(socket) {
        tracing::warn!(%error, socket = %socket.display(), "cannot remove the socket");
    }
}

fn run(path: &Path) -> Result<()> {
    let config = Config::read(path)?;
    for warning in &config.parsed.warnings {
        tracing::warn!("{warning}");
    }
    let intent = &config.parsed.intent;
    let _lock = lock(&intent.api_socket)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let socket = intent.api_socket.clone();
    let outcome = runtime.block_on(serve(path, config));
    remove_socket(&socket);
    outcome
}

async fn serve(path: &Path, config: Config) -> Result<()> {
    let intent = &config.parsed.intent;
    let sizes = Sizes {
        flows: intent.limits.flows,
        flows6: intent.limits.flows6,
    };
    let world = World::open(&intent.state, sizes, intent.needs())?;
    let found = world.found()?;
    let is_clustered = found.config.members != 0;
    let gateway = Gateway::new(found);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        adopted = world.adopted(),
        instructions = world.program().verified_instructions(),
        "loaded"
    );

    let (commands, received) = mpsc::channel(COMMANDS_MAX);
    let (routes, bgp) = Routes::unstarted();
    // Before capabilities are given up: it asks the kernel to run it first.
    let is_known = world.adopted() && is_clustered;
    let ways = Ways::start(routes.clone(), world.tables().clone(), is_known)
        .context("cannot start the thread of BFD")?;
    let (replication, copies) = Replication::unstarted();
    let shared = Shared::new(
        world.tables().clone(),
        first_view(path, &config, &world),
        commands,
        (routes.clone(), ways.clone(), replication),
    );
    let listeners = http::listen(intent)?;
    let mut driver = Driver::new(
        gateway,
        world,
        shared.clone(),
        Netlink::open()?,
        (path.to_owned(), routes),
    )?;
    driver.start(&config).await?;
    capabilities::drop_others(driver.may_load()).context("cannot give up capabilities")?;
    bgp.start(shared.tables.clone())
        .context("cannot start the thread of BGP")?;
    copies
        .start(shared.tables.clone(), ways)
        .context("cannot start the thread of replication")?;
    http::serve(listeners, shared);
    driver.run(received).await?;
    Ok(())
}

fn first_view(path: &Path, config: &Config, world: &World) -> View {
    View {
        started: Timestamp::now(),
        adopted: world.adopted(),
        program: api::http::Program {
            instructions: world.program().verified_instructions().map(u64::from),
            tag: world.program().tag().unwrap_or_default(),
        },
        config: ConfigView {
            source: path.display().to_string(),
            loaded_at: Timestamp::now(),
            digest: config.digest(),
            saved: true,
            text: config.text.as_str().into(),
            last_error: None,
        },
        intent: Arc::new(config.parsed.intent.clone()),
        numbers: Arc::default(),
        leases: Arc::default(),
        unmapped: Arc::default(),
        interfaces: Vec::new(),
        links: Arc::default(),
        sweep: SweepView::default(),
        sessions: Sessions::default(),
        holding: Holding::default(),
        notes: Vec::new(),
    }
}

/// Makes sure that no other daemon runs for the same socket, as long as the file is held.
fn lock(socket: &Path) -> Result<File> {
    let path = lock_path(socket);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    }
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another egretd holds {}; stop it first", path.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn lock_path(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

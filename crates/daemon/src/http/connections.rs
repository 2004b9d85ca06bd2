//! Serves connections: so many at a time, and none without end.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
};

use crate::view::Shared;

use super::{patience::Patience, routes, sockets::Listeners};

/// Connections to the API at one time; more wait in the kernel's queue. Each costs some tens of
/// kilobytes, and nobody needs more than a few.
const API_CONNECTIONS_MAX: usize = 64;
/// Connections to the metrics' address at one time: a few scrapers.
const METRICS_CONNECTIONS_MAX: usize = 16;
/// How long a client may take from one request to the end of the next one's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a client may not read although there is something for it. People page through lists.
const UNREAD_TIME_MAX: Duration = Duration::from_secs(600);
/// How long nothing is accepted after the kernel refused to, for lack of files or memory: there is
/// nothing to wait for that would say when there is some.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// Serves the sockets in the background, until the runtime ends.
pub fn serve(listeners: Listeners, shared: Shared) {
    let api = routes::api(shared.clone());
    tokio::spawn(accept(listeners.api, api, API_CONNECTIONS_MAX));
    if let Some(listener) = listeners.metrics {
        let metrics = routes::metrics(shared);
        tokio::spawn(accept(listener, metrics, METRICS_CONNECTIONS_MAX));
    }
}

async fn accept(listener: impl Listener, router: Router, connections_max: usize) {
    let slots = Arc::new(Semaphore::new(connections_max));
    // The semaphore is never closed.
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match listener.next().await {
            Ok(stream) => {
                let router = router.clone();
                tokio::spawn(async move {
                    connection(stream, router).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the API");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let stream = TokioIo::new(Patience::new(stream, UNREAD_TIME_MAX));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(stream, TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the API ended early");
    }
}

/// What connections come from.
trait Listener: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

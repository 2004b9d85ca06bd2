//! The flow table as a body that is made while it is sent.
//!
//! A walk over the table runs on a thread of its own, a few pieces of JSON ahead of its client. Its
//! memory does not grow with the table: a batch of entries, and [`PIECES_MAX`] pieces. All walks
//! together take one CPU: one works, and a walk whose client does not keep up lets another work.

use std::{
    io,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use api::http::Flow;
use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, error::TrySendError},
};

use crate::{
    answers::{
        ReadError,
        flows::{self, Counts},
        selection::Selection,
    },
    view::Shared,
};

use super::failure::Failure;

/// Bytes of JSON that are sent together.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that a walk is ahead of its client.
const PIECES_MAX: usize = 4;
/// Lists that are made at one time: each has a thread, and a megabyte.
const LISTS_MAX: usize = 8;

/// The lists that are being made.
#[derive(Clone, Debug)]
pub struct Lists {
    places: Arc<Semaphore>,
    /// Who holds it works.
    work: Arc<Mutex<()>>,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(LISTS_MAX)),
            work: Arc::default(),
        }
    }
}

impl Lists {
    fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            Failure::busy(
                format!("{LISTS_MAX} others list flows already"),
                "ask again when one of them is done; `GET /v1/status` counts flows at any time",
            )
        })
    }

    fn work(&self) -> MutexGuard<'_, ()> {
        // It protects nothing that a panic could have left half done.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a walk hands over.
enum Piece {
    /// More will come.
    Part(Vec<u8>),
    /// This is the end.
    Last(Vec<u8>),
}

type Pieces = mpsc::Receiver<Result<Piece, ReadError>>;

/// Starts to list the flows that are asked for.
///
/// # Errors
///
/// If too many others do, or the table cannot be read.
pub async fn list(shared: Shared, lists: &Lists, selection: Selection) -> Result<Body, Failure> {
    let (place, lists) = (lists.place()?, lists.clone());
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        let last = walk(&shared, &lists, &selection, &sender).map(Piece::Last);
        // A client that is gone is nobody to tell.
        let _ = sender.blocking_send(last);
        drop(place);
    });
    // What fails at once can still be said with a status of its own.
    let first = match pieces.recv().await {
        Some(Err(error)) => return Err(error.into()),
        first => first,
    };
    let rest = Some((first, pieces));
    Ok(Body::from_stream(stream::unfold(rest, next)))
}

/// Walks and sends; returns the last piece. If the client hangs up, the walk ends early.
fn walk(
    shared: &Shared,
    lists: &Lists,
    selection: &Selection,
    sender: &mpsc::Sender<Result<Piece, ReadError>>,
) -> Result<Vec<u8>, ReadError> {
    let mut json = Listing::new();
    let mut work = Some(lists.work());
    let counts = flows::walk(&shared.tables, &shared.view(), selection, |flow| {
        json.add(flow);
        let Some(part) = json.take_full() else {
            return ControlFlow::Continue(());
        };
        let sent = match sender.try_send(Ok(Piece::Part(part))) {
            Err(TrySendError::Full(piece)) => {
                work = None;
                let sent = sender.blocking_send(piece).is_ok();
                work = Some(lists.work());
                sent
            }
            Err(TrySendError::Closed(_)) => false,
            Ok(()) => true,
        };
        if sent {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    drop(work);
    Ok(json.finish(counts))
}

/// What has been read ahead, and where more comes from; nothing after the end.
type Rest = Option<(Option<Result<Piece, ReadError>>, Pieces)>;

async fn next(rest: Rest) -> Option<(io::Result<Bytes>, Rest)> {
    let (read_ahead, mut pieces) = rest?;
    let piece = match read_ahead {
        Some(piece) => Some(piece),
        None => pieces.recv().await,
    };
    Some(match piece {
        Some(Ok(Piece::Part(part))) => (Ok(part.into()), Some((None, pieces))),
        Some(Ok(Piece::Last(last))) => (Ok(last.into()), None),
        // Half a list must not look like a whole one: the connection breaks off.
        Some(Err(error)) => (Err(io::Error::other(error)), None),
        None => (
            Err(io::Error::other("the walk over the table broke off")),
            None,
        ),
    })
}

/// An [`api::http::Flows`] that is written as its flows are found, with its counts at the end.
struct Listing {
    json: Vec<u8>,
    separator: &'static [u8],
}

impl Listing {
    fn new() -> Self {
        Self {
            json: b"{\"flows\":[".to_vec(),
            separator: b"",
        }
    }

    fn add(&mut self, flow: &Flow) {
        self.json.extend_from_slice(self.separator);
        self.separator = b",";
        serde_json::to_writer(&mut self.json, flow)
            .expect("invariant: a flow is words and numbers, and memory takes them");
    }

    /// What there is so far, once it is worth sending.
    fn take_full(&mut self) -> Option<Vec<u8>> {
        if self.json.len() < PIECE_BYTES {
            return None;
        }
        // What is sent is about as long as what comes next.
        let room = Vec::with_capacity(self.json.len());
        Some(std::mem::replace(&mut self.json, room))
    }

    fn finish(mut self, counts: Counts) -> Vec<u8> {
        let Counts {
            listed,
            matched,
            total,
        } = counts;
        let truncated = matched > listed;
        let end = format!("],\"matched\":{matched},\"total\":{total},\"truncated\":{truncated}}}");
        self.json.extend_from_slice(end.as_bytes());
        self.json
    }
}

#[cfg(test)]
mod tests;

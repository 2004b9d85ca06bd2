//! What comes with a request, bounded: its query, its body.

use std::time::Duration;

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use gateway::intent::CONFIG_BYTES_MAX;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::failure::Failure;

/// Bytes of a request's body: the longest configuration, with room for what JSON escapes.
pub const BODY_BYTES_MAX: usize = 2 * CONFIG_BYTES_MAX;
/// How long a client may take to send it.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// The query of a request, in its type.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query)
            .map(Self)
            .map_err(|error| {
                Failure::misasked(
                    format!("cannot understand the query of {path}: {error}"),
                    format!("{} says what {path} can be asked", api::http::path::OPENAPI),
                )
            })
    }
}

/// Reads a body that is JSON, whatever its sender calls it.
///
/// # Errors
///
/// If it is too long, too slow, or something else.
pub async fn json<T: DeserializeOwned>(body: Body) -> Result<T, Failure> {
    let bytes = match timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body has more than {BODY_BYTES_MAX} bytes, and no more are read"),
                "check that this is the configuration you mean",
            ));
        }
        Ok(Err(error)) => {
            return Err(Failure::misasked(
                format!("cannot read the body: {error}"),
                "send it again",
            ));
        }
        Err(_) => {
            return Err(Failure::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not come within {} s", BODY_TIME_MAX.as_secs()),
                "send it at once",
            ));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::misasked(
            format!("cannot understand the body: {error}"),
            format!("{} says what it is to be", api::http::path::OPENAPI),
        )
    })
}

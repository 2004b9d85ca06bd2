//! A request that was not served, as an answer.

use api::{Problems, http::ApiError};
use axum::{
    Json,
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::answers::ReadError;

/// Why a request was not served, and what to do.
#[derive(Clone, Debug)]
pub enum Failure {
    /// An error in words.
    Error(StatusCode, ApiError),
    /// A configuration that cannot be used.
    Problems(Problems),
}

impl Failure {
    /// The client asked wrongly.
    pub fn misasked(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, help)
    }

    /// Somebody else is being served; asking again later may do.
    pub fn busy(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, help)
    }

    /// An error in words.
    pub fn new(status: StatusCode, error: impl Into<String>, help: impl Into<String>) -> Self {
        let (error, help) = (error.into(), help.into());
        Self::Error(status, ApiError { error, help })
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let help = "the daemon's log may say more; packets do not need it and go on";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), help)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, why, mut response) = match self {
            Self::Error(status, error) => {
                let why = error.error.clone();
                (status, why, Json(error).into_response())
            }
            Self::Problems(problems) => {
                let why = "the configuration has problems".to_owned();
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                (status, why, Json(problems).into_response())
            }
        };
        *response.status_mut() = status;
        response.extensions_mut().insert(Why(why));
        response
    }
}

/// What the log says of a failure.
#[derive(Clone, Debug)]
struct Why(String);

/// Tells the log, at level debug, of requests that fail.
pub async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    if let Some(Why(why)) = response.extensions().get() {
        let status = response.status().as_u16();
        tracing::debug!(%method, path, status, why, "a request failed");
    }
    response
}

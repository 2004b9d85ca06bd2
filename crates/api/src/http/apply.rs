//! Replacing the configuration.

use serde::{Deserialize, Serialize};

use crate::Problem;

/// A configuration to be put in force, or only to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// What the sender calls the text; only for messages, the daemon does not open it.
    pub file: String,
    /// The configuration itself, YAML.
    pub text: String,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Also write it to the daemon's own file, so that a restart finds it.
    #[serde(default)]
    pub save: bool,
}

/// What a new configuration changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Applied {
    /// The differences to what was in force, in sentences; none if there are none.
    pub changes: Vec<String>,
    /// What is probably not meant, though it is possible.
    pub warnings: Vec<Problem>,
    /// Whether it is in force now; a dry run leaves things as they are.
    pub applied: bool,
    /// Whether the daemon's file holds it now.
    pub saved: bool,
}

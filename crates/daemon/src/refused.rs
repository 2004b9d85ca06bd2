//! Why a configuration is not put in force, in the words of whoever hears of it: the answer to a
//! request, the log, and the status afterwards.

use std::{fmt, io, path::Path};

use api::{Problem, Problems, Severity, http::ApiError, problem::Excerpt};

use crate::{config_file::ConfigError, member::SecretError, view::Refused, world::Chain};

impl Refused {
    /// The state stays where it is while it is in use.
    pub fn state_moves(from: &Path) -> Self {
        Self::NotNow(ApiError {
            error: format!(
                "the state directory cannot move from {} while the daemon runs",
                from.display()
            ),
            help: "stop the daemon, run `egretd --uninstall` with the old configuration, and \
                   start it with the new one"
                .to_owned(),
        })
    }

    /// The gateway cannot do it at present.
    pub fn by_gateway(refusal: &gateway::Refusal) -> Self {
        Self::NotNow(ApiError {
            error: refusal.to_string(),
            help: "nothing has changed; apply it again when this is mended".to_owned(),
        })
    }

    /// A file that it names cannot be read.
    pub fn without_secret(error: &SecretError) -> Self {
        Self::NotNow(ApiError {
            error: Chain(error).to_string(),
            help: "nothing has changed; put the same line into that file on every member"
                .to_owned(),
        })
    }

    /// The kernel refuses the programs that it needs.
    pub fn by_kernel(error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(error.source(), |error| error.source());
        let causes: String = causes.map(|cause| format!(": {cause}")).collect();
        Self::NotNow(ApiError {
            error: format!("it needs more programs than are loaded, and {error}{causes}"),
            help: "nothing has changed; a configuration without IPv6, `prefixes` or `cluster`, whichever \
                   is new, can be applied"
                .to_owned(),
        })
    }

    /// What was to be saved could not be.
    pub fn unsaved(file: &Path, error: &io::Error) -> Self {
        Self::NotNow(ApiError {
            error: format!("cannot save to {}: {error}", file.display()),
            help: "apply it without saving, or make the file's directory writable".to_owned(),
        })
    }

    /// The same as problems of the file, which is what the status keeps.
    pub fn problems(&self, file: &str) -> Problems {
        match self {
            Self::Invalid(problems) => problems.clone(),
            Self::NotNow(error) => Problems {
                problems: vec![Problem {
                    severity: Severity::Error,
                    file: file.to_owned(),
                    line: 1,
                    column: 1,
                    excerpt: Excerpt::default(),
                    field: String::new(),
                    message: error.error.clone(),
                    help: error.help.clone(),
                }],
                omitted: 0,
            },
        }
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Problems { problems, .. } => Self::Invalid(problems),
            ConfigError::Read { .. } => Self::NotNow(ApiError {
                error: Chain(&error).to_string(),
                help: "the configuration in force stays; put the file back, or make it readable"
                    .to_owned(),
            }),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(problems) => problems.fmt(f),
            Self::NotNow(error) => error.fmt(f),
        }
    }
}

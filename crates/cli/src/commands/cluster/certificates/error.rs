//! Why certificates cannot be made, and what to do.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Nothing was made, but for files that were written before one could not be.
#[derive(Debug, Error)]
pub enum CertificatesError {
    /// No certificate can be of this name.
    #[error("`{name}` cannot be the name of a member in a certificate")]
    Name {
        /// As it was given.
        name: String,
    },
    /// Its files would be the CA's.
    #[error("the files of a member named `{name}` would be those of the CA")]
    Reserved {
        /// The name.
        name: String,
    },
    /// It was named twice.
    #[error("member `{name}` is named twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// No cluster can have this name.
    #[error("`{name}` cannot be the name of a cluster")]
    Cluster {
        /// As it was given.
        name: String,
    },
    /// Something is where a file should be.
    #[error("{} is there already", path.display())]
    InTheWay {
        /// Where.
        path: PathBuf,
    },
    /// There is half a CA.
    #[error("{} is there, but no {missing} beside it", there.display())]
    Half {
        /// What is there.
        there: PathBuf,
        /// What is not.
        missing: &'static str,
    },
    /// There is no CA, and no name for one.
    #[error("there is no CA in {} yet, and no name for one was given", directory.display())]
    Nameless {
        /// Where.
        directory: PathBuf,
    },
    /// The CA is another cluster's.
    #[error("the CA in {} is `{found}`, not `{wanted}`", path.display())]
    Other {
        /// Its certificate.
        path: PathBuf,
        /// What it is called.
        found: String,
        /// What it should be called.
        wanted: String,
    },
    /// The CA cannot sign any more.
    #[error("the CA in {} expired at {since}", path.display())]
    Expired {
        /// Its certificate.
        path: PathBuf,
        /// When.
        since: String,
    },
    /// The CA cannot sign.
    #[error("{} {why}", path.display())]
    Unfit {
        /// Its certificate.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// The CA's key is of no kind that is known.
    #[error("the key in {} cannot be used", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rcgen::Error,
    },
    /// The CA's key is not its.
    #[error("the key in {} is not that of {}", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's.
        certificate: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What should be signed is not.
    #[error("cannot make a certificate")]
    Make {
        /// Why not.
        source: rcgen::Error,
    },
}

impl CertificatesError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Name { .. } => {
                "name it as in `cluster.members`, where it must not be a number".to_owned()
            }
            Self::Reserved { .. } => "rename the member".to_owned(),
            Self::Twice { .. } => "name each once".to_owned(),
            Self::Cluster { .. } => {
                "a name has 1 to 63 of the letters a-z, digits and `-`, which is at no end"
                    .to_owned()
            }
            Self::InTheWay { .. } => {
                "no file is overwritten: move it away to have another, or leave its member out"
                    .to_owned()
            }
            Self::Half { missing, .. } => {
                format!("bring {missing} back, or choose another directory for another CA")
            }
            Self::Nameless { .. } => {
                "say `--name` with the cluster's name to make one, or name the directory that has it"
                    .to_owned()
            }
            Self::Other { .. } => {
                "leave `--name` out if it is the right one, or choose another directory".to_owned()
            }
            Self::Expired { .. } | Self::Unfit { .. } | Self::Key { .. } => {
                "choose another directory: a new CA is made there, for which all members need new files"
                    .to_owned()
            }
            Self::Mismatch { .. } => "bring back the files that were made together".to_owned(),
            Self::Read { .. } | Self::Write { .. } => {
                "choose a directory that you can read and write".to_owned()
            }
            Self::Make { .. } => "this is a defect of egret: please report it".to_owned(),
        }
    }
}

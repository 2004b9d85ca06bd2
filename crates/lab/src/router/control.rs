//! How routers are asked: by a Unix socket of theirs, with a question and an answer that says where it
//! ends.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long an answer may take, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer longer than this is none to anything that is asked here.
const ANSWER_MAX: usize = 16 << 20;

/// A conversation.
pub(super) struct Control {
    stream: UnixStream,
}

impl Control {
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Says something and returns what comes back, up to where `is_whole` says that it ends.
    pub(super) fn ask(
        &mut self,
        question: &[u8],
        is_whole: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Vec<u8>> {
        self.stream.write_all(question)?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while !is_whole(&answer) && answer.len() < ANSWER_MAX {
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        Ok(answer)
    }
}

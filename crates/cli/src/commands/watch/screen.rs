//! A terminal as a screen: taken over, drawn on, listened to, and given back as it was.

use std::io;

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{Event, EventStream, KeyCode, KeyEvent, KeyModifiers},
    execute, queue,
    style::Print,
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
        EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
        enable_raw_mode, size,
    },
};
use futures_util::StreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Rows of a terminal that does not say.
const ROWS_DEFAULT: usize = 24;

/// A terminal that is taken over. Dropping gives it back.
pub struct Screen {
    keys: EventStream,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    _taken: Taken,
}

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// To see it again: the screen has another size.
    Redraw,
    /// To end.
    Quit,
}

impl Screen {
    /// Takes over the terminal.
    ///
    /// # Errors
    ///
    /// When there is none, or the process cannot wait for signals.
    pub fn open() -> Result<Self, Failure> {
        let wait = |kind| {
            signal(kind).map_err(|source| Failure::Wait {
                what: "signals",
                source,
            })
        };
        // Signals first: from then on an end by one of them gives the terminal back.
        let (interrupt, terminate, hang_up) = (
            wait(SignalKind::interrupt())?,
            wait(SignalKind::terminate())?,
            wait(SignalKind::hangup())?,
        );
        let taken = Taken::take().map_err(Failure::Screen)?;
        Ok(Self {
            keys: EventStream::new(),
            interrupt,
            terminate,
            hang_up,
            _taken: taken,
        })
    }

    /// Waits for something that the user wants.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be read.
    pub async fn input(&mut self) -> Result<Input, Failure> {
        loop {
            let event = tokio::select! {
                _ = self.interrupt.recv() => return Ok(Input::Quit),
                _ = self.terminate.recv() => return Ok(Input::Quit),
                _ = self.hang_up.recv() => return Ok(Input::Quit),
                event = self.keys.next() => event,
            };
            match event.transpose().map_err(Failure::Screen)? {
                Some(Event::Key(key)) if quits(key) => return Ok(Input::Quit),
                Some(Event::Resize(..)) => return Ok(Input::Redraw),
                // The terminal is gone.
                None => return Ok(Input::Quit),
                Some(_) => {}
            }
        }
    }
}

/// The rows that the terminal has at present.
pub fn rows() -> usize {
    size().map_or(ROWS_DEFAULT, |(_, rows)| usize::from(rows))
}

/// In raw mode Ctrl-C is a key like any other.
fn quits(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc)
        || (control && matches!(key.code, KeyCode::Char('c' | 'd')))
}

/// The bytes that make a screen of so many rows show a text, without flicker. What has no room is
/// cut off: the text begins with what matters most.
pub fn frame(text: &str, rows: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    draw(&mut bytes, text.lines().take(rows.saturating_sub(1)))
        .expect("invariant: memory can be written to");
    bytes
}

fn draw<'a>(bytes: &mut Vec<u8>, lines: impl Iterator<Item = &'a str>) -> io::Result<()> {
    queue!(bytes, BeginSynchronizedUpdate, MoveTo(0, 0))?;
    for line in lines {
        // In raw mode a new line does not return to the first column.
        queue!(
            bytes,
            Print(line),
            Clear(ClearType::UntilNewLine),
            Print("\r\n")
        )?;
    }
    queue!(
        bytes,
        Clear(ClearType::FromCursorDown),
        EndSynchronizedUpdate
    )
}

/// The terminal's other mode, as long as this lives.
struct Taken;

impl Taken {
    fn take() -> io::Result<Self> {
        enable_raw_mode()?;
        // From here on dropping undoes what was done, should the rest fail.
        let taken = Self;
        execute!(
            io::stdout(),
            EnterAlternateScreen,
            DisableLineWrap,
            Hide,
            Clear(ClearType::All)
        )?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Nothing helps if this fails: the terminal is gone, or somebody else's.
        let _ = execute!(io::stdout(), Show, EnableLineWrap, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

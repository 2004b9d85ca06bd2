//! `egret watch`: what changes from one moment to the next.
//!
//! A sample is three answers of the daemon; the difference of two samples is what is shown
//! (`rates`), as text (`view`), on a terminal as a `screen` that ends on a key.

mod rates;
mod screen;
mod view;

use std::time::{Duration, Instant};

use api::http::path;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::{
    args::WatchArgs,
    daemon::{CallError, Daemon, Request},
    failure::{Exit, Failure},
    output::Output,
    text::printable,
};

pub use rates::{Rates, Sample};
use screen::{Input, Screen};
pub use view::{line, screenful};

/// Watches until the user, or the number of refreshes, ends it.
///
/// A daemon that does not answer at the beginning is an error. Later it is not: it may be on its
/// way to a newer version, and packets flow meanwhile.
pub async fn run(daemon: &Daemon, output: &mut Output, args: &WatchArgs) -> Result<Exit, Failure> {
    let first = sample(daemon).await?;
    let mut watch = Watch {
        daemon,
        output,
        shown: Rates::at(&first),
        last: first,
        missed: None,
    };
    if watch.output.is_terminal() && !watch.output.is_json() {
        watch.on_screen(args).await?;
    } else {
        watch.in_lines(args).await?;
    }
    Ok(Exit::Fine)
}

struct Watch<'a> {
    daemon: &'a Daemon,
    output: &'a mut Output,
    last: Sample,
    shown: Rates,
    /// Why the daemon did not answer the last time, if it did not.
    missed: Option<CallError>,
}

impl Watch<'_> {
    async fn on_screen(&mut self, args: &WatchArgs) -> Result<(), Failure> {
        let mut screen = Screen::open()?;
        let mut pace = pace(args.interval);
        let mut refreshes = 0;
        self.draw()?;
        while args.count.is_none_or(|count| refreshes < count) {
            let input = tokio::select! {
                input = screen.input() => input?,
                refreshed = async { pace.tick().await; self.refresh().await } => {
                    refreshed?;
                    refreshes += 1;
                    Input::Redraw
                }
            };
            match input {
                Input::Redraw => self.draw()?,
                Input::Quit => break,
            }
        }
        Ok(())
    }

    async fn in_lines(&mut self, args: &WatchArgs) -> Result<(), Failure> {
        let mut pace = pace(args.interval);
        let mut refreshes = 0;
        while args.count.is_none_or(|count| refreshes < count) {
            pace.tick().await;
            self.refresh().await?;
            refreshes += 1;
            match &self.missed {
                Some(error) => self.output.remark(&printable(&error.to_string()))?,
                None if self.output.is_json() => self.output.json(&self.shown)?,
                None => self.output.text(&line(&self.shown))?,
            }
            self.output.flush()?;
        }
        Ok(())
    }

    /// Takes another sample. When the daemon cannot be asked, what was shown stays.
    async fn refresh(&mut self) -> Result<(), Failure> {
        match sample(self.daemon).await {
            Ok(sample) => {
                self.shown = Rates::between(&self.last, &sample);
                self.last = sample;
                self.missed = None;
            }
            Err(error) if error.is_unreachable() => self.missed = Some(error),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let missed = self.missed.as_ref().map(ToString::to_string);
        let text = screenful(&self.shown, missed.as_deref(), self.output.look());
        self.output.bytes(&screen::frame(&text, screen::rows()))?;
        self.output.flush()
    }
}

/// Asks for everything that is shown.
async fn sample(daemon: &Daemon) -> Result<Sample, CallError> {
    let status = daemon.ask(Request::get(path::STATUS)).await?;
    let pools = daemon.ask(Request::get(path::POOLS)).await?;
    let taken = Instant::now();
    let drops = daemon.ask(Request::get(path::DROPS)).await?;
    Ok(Sample {
        taken,
        status,
        pools,
        drops,
    })
}

fn pace(interval: Duration) -> tokio::time::Interval {
    let mut pace = interval_at(tokio::time::Instant::now() + interval, interval);
    // After a pause the next refresh is one interval away: rates over less would jump.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

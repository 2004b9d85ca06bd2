//! How a peer is called: when, for how long, and how soon again.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use super::{Call, Context, Peer, Why};
use crate::{Action, ConnectionId, Table, settings::Ends};

/// How long an attempt to connect may take.
const CALL_MAX: Duration = Duration::from_secs(20);
/// Between attempts there is never more than this, however often they failed.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How often the time between attempts doubles at most.
const DOUBLINGS_MAX: u32 = 6;
impl Peer {
    /// Does not begin with one that came when the speaker was about to go.
    pub fn leave_alone(&mut self, wish: Table) {
        self.is_over = true;
        self.wish = wish;
        self.call = Call::Never;
    }

    /// An attempt of ours succeeded.
    pub fn connected(&mut self, id: ConnectionId, ends: Ends, context: &mut Context<'_>) {
        if !matches!(self.call, Call::Calling(calling, _) if calling == id) {
            context.actions.push(Action::Close { connection: id });
            return;
        }
        self.call = Call::Never;
        self.begin(id, ends, context);
    }

    /// An attempt of ours failed.
    pub fn call_failed(&mut self, id: ConnectionId, kind: ErrorKind, context: &mut Context<'_>) {
        if matches!(self.call, Call::Calling(calling, _) if calling == id) {
            self.retry(context);
            self.settle(Some(Why::CallFailed(kind)), context);
        }
    }

    /// Calls now.
    pub(super) fn call(&mut self, context: &mut Context<'_>) {
        *context.next_call = context.next_call.wrapping_add(1);
        let connection = ConnectionId::Called(*context.next_call);
        self.call = Call::Calling(connection, context.now + CALL_MAX);
        context.actions.push(Action::Connect {
            connection,
            peer: self.id,
        });
    }

    /// Calls again, the later the more often it failed.
    pub(super) fn retry(&mut self, context: &mut Context<'_>) {
        let doubled = 1_u32 << self.failures.min(DOUBLINGS_MAX);
        self.failures = self.failures.saturating_add(1);
        let most = RETRY_MAX.max(self.settings.connect_retry);
        let wait = self
            .settings
            .connect_retry
            .saturating_mul(doubled)
            .min(most);
        self.call_later(wait, context);
    }

    pub(super) fn call_later(&mut self, wait: Duration, context: &mut Context<'_>) {
        let wait = context.random.jitter(wait);
        self.call_at(context.now + wait);
    }

    /// Calls then, if it is one to be called.
    pub(super) fn call_at(&mut self, at: Instant) {
        self.call = match self.is_called() {
            true => Call::At(at),
            false => Call::Never,
        };
    }

    /// Whether we call it.
    pub(super) fn is_called(&self) -> bool {
        self.settings.is_called && !self.settings.is_range && !self.is_over
    }
}

//! Where clients meet the guard: whose credential is proved when, and what follows from it.

use std::time::Instant;

use log::{info, warn};

use super::auth::verify::Start;
use super::response::Status;
use super::source::Source;
use super::{Address, PeerId, Server, Timer};
use crate::activation::{self, Passed};
use crate::error::{Error, Result};

/// Every word of `--open-socket` must name a socket: a slip of the pen is told at start.
pub(super) fn check_words(words: &[String], listen: &[Address], passed: &[Passed]) -> Result<()> {
    let names_none = |word: &&String| {
        let bound = listen
            .iter()
            .any(|address| word.parse().as_ref() == Ok(address));
        let inherited = passed.iter().any(|passed| match passed {
            Passed::Listener { name, .. } | Passed::Connection { name, .. } => {
                activation::is_named(name, word)
            }
        });
        !bound && !inherited
    };
    match words.iter().find(names_none) {
        Some(word) => Err(Error::Usage(format!(
            "--open-socket {word}: this is neither an address of --listen nor the name of a passed socket"
        ))),
        None => Ok(()),
    }
}

impl Server {
    /// Whether `--open-socket` names a socket: one of its words `is_its_name`.
    pub(super) fn is_open(&self, is_its_name: impl Fn(&str) -> bool) -> bool {
        let words = &self.options.open_sockets;
        words.iter().any(|word| is_its_name(word))
    }

    /// Sees to it that the credential of a client that waits for that is proved.
    pub(super) fn examine(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(credential) = peer.connection.take_credential() else {
            return;
        };
        let source = Source::of(peer.socket());
        let checks = self.checks.as_mut();
        if checks.is_some_and(|checks| checks.submit(id, source, credential)) {
            self.check_next(now);
        } else {
            self.send_away(id, now);
        }
    }

    /// Begins the next proof if there is one to begin.
    pub(super) fn check_next(&mut self, now: Instant) {
        let (Some(guard), Some(checks)) = (&self.settings.guard, &mut self.checks) else {
            return;
        };
        match checks.start(guard, now) {
            Start::Enough => {}
            Start::At(at) => self.timers.set(Timer::Checks, Some(at)),
            Start::Impossible(id) => {
                if let Some(more) = self.exhausted.pass(now) {
                    warn!("no thread for the proof of a password ({more} more like it)");
                }
                self.send_away(id, now);
            }
        }
    }

    /// A proof has ended.
    pub(super) fn take_outcomes(&mut self, now: Instant) {
        let (Some(guard), Some(checks)) = (&mut self.settings.guard, &mut self.checks) else {
            return;
        };
        let Some(outcome) = checks.finished(guard, now) else {
            return;
        };
        if outcome.wrong_until.is_some() {
            if let Some(more) = self.failures.pass(now) {
                let source = outcome.source;
                info!("a wrong name or password from {source} ({more} more like it)");
            }
        }
        if let Some(peer) = self.peers.get_mut(&outcome.peer) {
            match outcome.wrong_until {
                Some(until) => peer.connection.keep_out(until),
                None => {
                    peer.connection.let_in(now, &self.settings, &mut self.stats);
                }
            }
            self.serve(outcome.peer, now);
        }
        self.check_next(now);
    }

    /// Too much is asked: this client may come back later.
    fn send_away(&mut self, id: PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.connection
                .send_away(Status::Unavailable, &mut self.stats);
            // Written when its timer is looked at: somebody may be in the middle of serving it.
            self.timers.bring_forward(Timer::Peer(id), now);
        }
    }
}

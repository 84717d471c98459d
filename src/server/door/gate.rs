//! Where clients meet the guard: when a client's credential is proved, and what follows from the result.

use std::time::Instant;

use log::{info, warn};

use crate::activation::{self, Passed};
use crate::error::{Error, Result};
use crate::server::auth::verify::{Checks, Ruling, Start};
use crate::server::client::Place;
use crate::server::client_id::ClientId;
use crate::server::turn::Timer;
use crate::server::{Address, Server};

/// Checks that every word of `--open-socket` names a socket, so that a typing error is reported at start.
pub(in crate::server) fn check_words(
    words: &[String],
    listen: &[Address],
    passed: &[Passed],
) -> Result<()> {
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
    /// Whether `--open-socket` names a socket, which is so if one of its words `is_its_name`.
    pub(in crate::server) fn is_open(&self, is_its_name: impl Fn(&str) -> bool) -> bool {
        let words = &self.options.open_sockets;
        words.iter().any(|word| is_its_name(word))
    }

    /// If a client's credential has to be looked up or proved, sees to it. Returns whether the client can continue.
    pub(in crate::server) fn examine(&mut self, id: ClientId, now: Instant) -> bool {
        let (Some(client), Some(checks)) = (self.clients.get_mut(&id), &mut self.checks) else {
            return false;
        };
        let (Some(credential), Place::Served(network)) =
            (client.connection.take_credential(), client.place)
        else {
            return false;
        };
        match checks.submit(id, network, credential, client.proved.as_deref(), now) {
            Ruling::Right(print) => {
                client.proved = Some(print.into());
                client
                    .connection
                    .let_in(now, &self.turn.settings, &mut self.turn.stats);
                true
            }
            Ruling::Waits => {
                self.check_next(now);
                false
            }
            Ruling::TooMany => {
                client.connection.send_away(&mut self.turn.stats);
                true
            }
        }
    }

    /// Begins the next proof, if one is waiting.
    pub(in crate::server) fn check_next(&mut self, now: Instant) {
        let Some(checks) = &mut self.checks else {
            return;
        };
        match checks.start(now) {
            Start::Enough => {}
            Start::At(at) => self.turn.timers.set(Timer::Checks, Some(at)),
            Start::Impossible(at) => {
                if let Some(more) = self.exhausted.pass(now) {
                    warn!("no thread for the proof of a password ({more} more like it)");
                }
                self.turn.timers.set(Timer::Checks, Some(at));
            }
        }
    }

    /// Acts on the result of a proof that has ended.
    pub(in crate::server) fn take_outcomes(&mut self, now: Instant) {
        let Some(outcome) = self.checks.as_mut().and_then(Checks::finished) else {
            return;
        };
        if outcome.verdict.is_err() {
            if let Some(more) = self.failures.pass(now) {
                let network = outcome.network;
                info!("a wrong name or password from {network} ({more} more like it)");
            }
        }
        if let Some(client) = self.clients.get_mut(&outcome.client) {
            match outcome.verdict {
                Err(until) => client.connection.keep_out(until),
                Ok(print) => {
                    client.proved = Some(print.into());
                    client
                        .connection
                        .let_in(now, &self.turn.settings, &mut self.turn.stats);
                }
            }
            self.serve(outcome.client, now);
        }
        self.check_next(now);
    }
}

//! Where clients meet the guard: when a client's credential is proved, and what follows from the result.

use std::time::Duration;

use log::{info, warn};

use crate::error::{Context, Result};
use crate::event::Interest;
use crate::logging::Brake;
use crate::server::auth::verify::{Checks, ProofResult, Ruling, Start};
use crate::server::auth::{Credential, Guard};
use crate::server::client::Client;
use crate::server::client_id::{ClientId, Place};
use crate::server::turn::{Timer, Token, Turn};

/// How often each message is written at most.
const MESSAGE_EVERY: Duration = Duration::from_secs(10);

/// What a client is told whose credential is not even looked at.
const NOT_LOOKED_AT: &str = "your password was not looked at, because others from your address wait to be checked; try again";

/// The proofs of passwords, and what is said about them.
pub(in crate::server) struct Gate {
    checks: Checks,
    wrong: Brake,
    too_many: Brake,
    no_thread: Brake,
}

impl Gate {
    /// A gate at which this guard stands.
    pub(in crate::server) fn new(guard: Guard, turn: &mut Turn) -> Result<Self> {
        let checks = Checks::new(guard)?;
        turn.poll
            .add(&checks, Interest::Readable, Token::Checks)
            .doing(|| "wait for proofs of passwords".into())?;
        Ok(Gate {
            checks,
            wrong: Brake::new(MESSAGE_EVERY),
            too_many: Brake::new(MESSAGE_EVERY),
            no_thread: Brake::new(MESSAGE_EVERY),
        })
    }

    /// Looks up what a client sent, or has it proved when its turn comes.
    pub(in crate::server) fn examine(
        &mut self,
        (id, client): (ClientId, &mut Client),
        credential: Credential,
        turn: &mut Turn,
    ) {
        // Who is turned away is asked for nothing.
        let Place::Served(remote) = client.place else {
            return;
        };
        let proved = client.proved.as_deref();
        match self.checks.submit(id, remote, credential, proved, turn.now) {
            Ruling::Right(print) => {
                client.proved = Some(print.into());
                client.connection.let_in(&mut turn.lend());
            }
            Ruling::Waits => self.check_next(turn),
            Ruling::TooMany => {
                if let Some(more) = self.too_many.pass(turn.now) {
                    info!(
                        "a password from {remote} was not looked at, because others from there wait to be proved ({more} more like it)"
                    );
                }
                client.connection.send_away(NOT_LOOKED_AT, &mut turn.lend());
            }
        }
    }

    /// Begins the next proof, if one is waiting.
    pub(in crate::server) fn check_next(&mut self, turn: &mut Turn) {
        match self.checks.start(turn.now) {
            Start::Enough => {}
            Start::At(at) => turn.timers.set(Timer::Checks, Some(at)),
            Start::Impossible(at) => {
                if let Some(more) = self.no_thread.pass(turn.now) {
                    warn!("no thread for the proof of a password ({more} more like it)");
                }
                turn.timers.set(Timer::Checks, Some(at));
            }
        }
    }

    /// The result of a proof that has ended. Its clients are to be told, if they are still there.
    pub(in crate::server) fn finished(&mut self, turn: &Turn) -> Option<ProofResult> {
        let outcome = self.checks.finished()?;
        if outcome.verdict.is_err() {
            if let Some(more) = self.wrong.pass(turn.now) {
                let remote = outcome.remote;
                info!("a wrong name or password from {remote} ({more} more like it)");
            }
        }
        Some(outcome)
    }

    /// Forgets the waiting credentials of a client that has left.
    pub(in crate::server) fn forget(&mut self, id: ClientId) {
        self.checks.forget(id);
    }
}

impl ProofResult {
    /// Tells the client what became of its credential.
    pub(in crate::server) fn tell(&self, client: &mut Client, turn: &mut Turn) {
        match self.verdict {
            Err(until) => client.connection.keep_out(until),
            Ok(print) => {
                client.proved = Some(print.into());
                client.connection.let_in(&mut turn.lend());
            }
        }
    }
}

//! A request that waits while its credential is proved, and for the time that a wrong one costs.
//!
//! The request stays in the input as it came. If the credential is right, the request is read once more, and this time it
//! comes from somebody who is known.

use std::time::Instant;

use super::super::auth::{Credential, Entry};
use super::super::request::{Method, Request};
use super::super::response::Status;
use super::super::stats::Stats;
use super::{Connection, Settings, State};

/// The request, as far as it must be known to refuse it.
#[derive(Debug)]
pub(super) struct Trial {
    credential: Option<Credential>,
    head: usize,
    keep_alive: bool,
    pub(super) with_body: bool,
    answer_at: Option<Instant>,
}

impl Trial {
    /// Of a request whose head is so long.
    pub(super) fn new(credential: Credential, request: &Request<'_>, head: usize) -> Self {
        Trial {
            credential: Some(credential),
            head,
            keep_alive: request.keep_alive,
            with_body: request.method != Method::Head,
            answer_at: None,
        }
    }

    /// When the 401 goes out, if it was wrong.
    pub(super) fn answer_at(&self) -> Option<Instant> {
        self.answer_at
    }
}

impl<F> Connection<F> {
    /// Whether this request may be answered. OPTIONS may: a browser's preflight has no credentials.
    pub(super) fn entry(&self, request: &Request<'_>, settings: &Settings) -> Entry {
        match &settings.guard {
            Some(guard) if self.guarded && request.method != Method::Options => {
                guard.look_at(request.authorization)
            }
            _ => Entry::Known,
        }
    }

    /// The credential that has to be proved now; once.
    pub fn take_credential(&mut self) -> Option<Credential> {
        match &mut self.state {
            State::Trial(trial) => trial.credential.take(),
            _ => None,
        }
    }

    /// The credential was right, and is known now.
    pub fn let_in(&mut self, now: Instant, settings: &Settings, stats: &mut Stats) {
        if matches!(self.state, State::Trial(_)) {
            self.state = State::Request { since: now };
            self.take_requests(now, settings, stats);
            if self.half_closed {
                self.end_of_input();
            }
        }
    }

    /// The credential was wrong; the client is told so at this time.
    pub fn keep_out(&mut self, until: Instant) {
        if let State::Trial(trial) = &mut self.state {
            trial.answer_at = Some(until);
        }
    }

    /// Refuses the request whose credential was not proved.
    pub fn send_away(&mut self, status: Status, stats: &mut Stats) {
        if let State::Trial(trial) = &self.state {
            let (head, keep_alive, with_body) = (trial.head, trial.keep_alive, trial.with_body);
            self.input.drain(..head);
            if !keep_alive {
                self.input.clear();
            }
            self.refuse(status, keep_alive, with_body, stats);
        }
    }
}

//! A request that waits while its credential is proved, and afterwards for the penalty if it was wrong.
//!
//! The request stays in the input as it came. If the credential is right (`gate.rs` says so), the request is read
//! once more, and is answered this time.

use std::time::{Duration, Instant};

use super::{Connection, Settings, State};
use crate::server::auth::{Credential, Entry};
use crate::server::http::request::{Method, Request};
use crate::server::http::status::Status;
use crate::server::stats::Stats;

/// How long a credential waits for its proof at most, either behind wrong ones from the same address or for a thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// What must be known about the request to refuse it, and when and how to do that.
#[derive(Debug)]
pub(in crate::server) struct Trial {
    credential: Option<Credential>,
    head: usize,
    keep_alive: bool,
    pub(in crate::server) with_body: bool,
    refuse_at: Instant,
    status: Status,
}

impl Trial {
    /// The trial of a request whose head has this length.
    pub(in crate::server) fn new(
        credential: Credential,
        request: &Request<'_>,
        head: usize,
        now: Instant,
    ) -> Self {
        Trial {
            credential: Some(credential),
            head,
            keep_alive: request.keep_alive,
            with_body: request.method != Method::Head,
            refuse_at: now + PATIENCE,
            status: Status::Unavailable,
        }
    }

    /// When the request is refused, if nothing happens before that.
    pub(in crate::server) fn refuse_at(&self) -> Instant {
        self.refuse_at
    }
}

impl<F> Connection<F> {
    /// Whether this request may be answered. OPTIONS always may, because a browser's preflight has no credentials.
    pub(in crate::server) fn entry(&mut self, request: &Request<'_>) -> Entry {
        let proved = std::mem::take(&mut self.proved);
        if proved || !self.guarded || request.method == Method::Options {
            Entry::Known
        } else {
            Entry::of(request.authorization)
        }
    }

    /// The credential that has to be proved now. It is returned only once.
    pub fn take_credential(&mut self) -> Option<Credential> {
        match &mut self.state {
            State::Trial(trial) => trial.credential.take(),
            _ => None,
        }
    }

    /// The credential was right: answers the request.
    pub fn let_in(&mut self, now: Instant, settings: &Settings, stats: &mut Stats) {
        if matches!(self.state, State::Trial(_)) {
            self.state = State::Request { since: now };
            self.proved = true;
            self.take_requests(now, settings, stats);
            if self.half_closed {
                self.end_of_input();
            }
        }
    }

    /// The credential was wrong: the client will be told so at this time.
    pub fn keep_out(&mut self, until: Instant) {
        if let State::Trial(trial) = &mut self.state {
            trial.refuse_at = until;
            trial.status = Status::Unauthorized;
        }
    }

    /// Refuses the request because its credential was wrong or cannot be checked. If it cannot be checked, the
    /// connection ends as well, so that no further guesses can be made on it without a wait.
    pub fn send_away(&mut self, stats: &mut Stats) {
        if let State::Trial(trial) = &self.state {
            let (head, with_body, status) = (trial.head, trial.with_body, trial.status);
            let keep_alive = trial.keep_alive && status == Status::Unauthorized;
            self.input.drain(..head);
            if !keep_alive {
                self.input.clear();
            }
            self.refuse(status, keep_alive, with_body, stats);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connection::outbox::Output;

    struct Scene {
        connection: Connection<()>,
        now: Instant,
        settings: Settings,
        stats: Stats,
    }

    impl Scene {
        /// A connection that waits for a proof.
        fn new() -> Self {
            let now = Instant::now();
            let mut scene = Scene {
                connection: Connection::guarded(now),
                now,
                settings: Settings::default(),
                stats: Stats::default(),
            };
            scene.ask();
            scene
        }

        fn ask(&mut self) {
            let request =
                b"GET /favicon.ico HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\n\r\n";
            let (settings, stats) = (&self.settings, &mut self.stats);
            self.connection.receive(request, self.now, settings, stats);
            assert!(self.connection.take_credential().is_some());
            assert!(self.connection.take_credential().is_none());
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            let (settings, stats) = (&self.settings, &mut self.stats);
            self.connection.expire(self.now, settings, stats);
        }

        #[track_caller]
        fn expect(&mut self, status: &str, connection: &str) {
            let Some(Output::Bytes { bytes, .. }) = self.connection.output() else {
                panic!("no answer");
            };
            let (answer, n) = (String::from_utf8(bytes.to_vec()).unwrap(), bytes.len());
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            assert!(
                answer.contains(&format!("Connection: {connection}\r\n")),
                "{answer}"
            );
            let (settings, stats) = (&self.settings, &mut self.stats);
            self.connection.sent(n, self.now, settings, stats);
        }
    }

    #[test]
    fn who_is_wrong_is_told_when_it_is_time_and_who_is_right_at_once() {
        let mut scene = Scene::new();
        let second = Duration::from_secs(1);
        scene.connection.keep_out(scene.now + second);
        scene.pass(second / 2);
        assert!(scene.connection.output().is_none());
        scene.pass(second / 2);
        scene.expect("401", "keep-alive");
        scene.ask();
        let (settings, stats) = (&scene.settings, &mut scene.stats);
        scene.connection.let_in(scene.now, settings, stats);
        scene.expect("204", "keep-alive");
        // Only once: the next request may be from somebody else.
        scene.ask();
    }

    #[test]
    fn what_cannot_be_proved_is_refused_in_the_end_and_so_is_what_is_not_looked_at() {
        let mut scene = Scene::new();
        scene.pass(PATIENCE - Duration::from_secs(1));
        assert!(scene.connection.output().is_none());
        scene.pass(Duration::from_secs(1));
        scene.expect("503", "close");
        let mut scene = Scene::new();
        scene.connection.send_away(&mut scene.stats);
        scene.expect("503", "close");
    }
}

//! The way of a connection from a request to the state in which it is answered, and who is answered at all.

use std::time::Instant;

use super::Connection;
use super::answer::{Answer, Asker, answer};
use super::state::{Awaited, ConnectionState, Trial, Upload};
use super::stream::Stream;
use crate::server::auth::{Credential, Entry};
use crate::server::http::exchange::Exchange;
use crate::server::http::request::{self, Method, Parsed, Request};
use crate::server::http::response;
use crate::server::http::route::ALLOW;
use crate::server::http::status::Status;
use crate::server::lent::Lent;

impl<F> Connection<F> {
    /// Answers the next request, if it is complete. Further requests stay in the input until it is answered.
    pub(super) fn take_requests(&mut self, lent: &mut Lent<'_>) {
        let input = std::mem::take(&mut self.input);
        let origins = &lent.settings.origins;
        match request::parse(&input) {
            Parsed::Partial if self.half_closed => self.finish(lent.now),
            Parsed::Partial => self.input = input,
            Parsed::Refused(status) => {
                self.exchange = Exchange::with_fragment(&input, origins);
                self.refuse(status, lent);
            }
            Parsed::Complete(request, len) => {
                self.exchange = Exchange::of(&request, origins);
                let is_ours = self.asks_this_server(&request, lent);
                match self.entry(&request) {
                    _ if !is_ours => self.refuse(Status::Misdirected, lent),
                    Entry::Known => self.begin(&request, lent),
                    Entry::Nothing => self.refuse(Status::Unauthorized, lent),
                    Entry::Unproven(credential) => {
                        self.state = ConnectionState::Trial(Trial::new(credential, len, lent.now));
                        // The request is answered when it is known who sent it.
                        self.input = input;
                        return;
                    }
                }
                match self.state {
                    ConnectionState::Upload(_) => self.read_body(&input[len..], lent),
                    _ if self.is_last() => {}
                    _ => self.input = input[len..].to_vec(),
                }
            }
        }
    }

    /// Answers a request, or begins to wait for what it is answered with.
    fn begin(&mut self, request: &Request<'_>, lent: &mut Lent<'_>) {
        let asker = self.asker();
        match answer(request, &mut self.exchange, asker, lent) {
            Answer::Reply(reply) => self.reply(&reply),
            Answer::Refusal(refused, allow) => {
                self.refuse_with(refused.status, refused.why, allow, lent)
            }
            Answer::Upload { camera, length } => {
                if request.expects {
                    self.out.bytes().extend(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.state = ConnectionState::Upload(Upload {
                    camera,
                    since: lent.now,
                    left: length,
                    body: Vec::new(),
                });
            }
            Answer::Report(what) => self.state = ConnectionState::Report(what),
            Answer::Snapshot { camera, terms } => {
                self.poller.get_or_insert_default().ask(lent.now);
                self.state = ConnectionState::Snapshot(Awaited {
                    camera,
                    since: lent.now,
                    terms,
                });
            }
            Answer::Stream {
                camera,
                period,
                quirks,
            } => {
                lent.stats.streams += 1;
                let head = quirks.stream_head(&self.exchange, lent.moment.wall);
                self.out.bytes().extend(head);
                self.state = ConnectionState::Stream(Stream::new(camera, period, quirks, lent));
            }
        }
    }

    pub(super) fn asker(&self) -> Asker {
        Asker {
            // Where a password is asked for, whoever is answered has proved one.
            proved: self.guarded,
            by_unix: self.behind_proxy,
            is_near: self.is_near,
        }
    }

    /// Refuses the request.
    pub(super) fn refuse(&mut self, status: Status, lent: &mut Lent<'_>) {
        self.refuse_with(status, None, ALLOW, lent);
    }

    /// Refuses the request because of the server's condition, with this reason.
    pub(super) fn refuse_for_now(&mut self, why: &str, lent: &mut Lent<'_>) {
        self.refuse_with(Status::Unavailable, Some(why), ALLOW, lent);
    }

    pub(super) fn refuse_with(
        &mut self,
        status: Status,
        why: Option<&str>,
        allow: &str,
        lent: &mut Lent<'_>,
    ) {
        lent.stats.refuse(status);
        if self.half_closed {
            self.exchange.make_last();
        }
        let reply = response::refusal(status, why, allow, &self.exchange, lent.moment.wall);
        self.reply(&reply);
        self.refused = true;
    }

    /// Sends a whole reply.
    pub(super) fn reply(&mut self, reply: &[u8]) {
        self.out.bytes().extend_from_slice(reply);
        self.refused = false;
        self.state = ConnectionState::Reply;
    }

    /// Whether the request is for a name of this server. It need not be where a password is asked for, which a browser sends
    /// to the name alone for which it was typed, nor on a Unix socket, which no browser opens. In the log it is remarked if it is not, and if a
    /// page cannot read the answer.
    fn asks_this_server(&self, request: &Request<'_>, lent: &mut Lent<'_>) -> bool {
        let any_name = self.guarded || self.behind_proxy;
        let is_ours = any_name || lent.settings.hosts.include(request.host);
        if !is_ours {
            lent.remarks.unknown_host(request.host, lent.now);
        } else if let Some(origin) = request.origin {
            if !self.exchange.may_be_read() && lent.settings.origins.are_told() {
                lent.remarks.foreign_page(origin, lent.now);
            }
        }
        is_ours
    }

    /// Whether this request may be answered. OPTIONS always may, because a browser's preflight has no credentials.
    fn entry(&mut self, request: &Request<'_>) -> Entry {
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
            ConnectionState::Trial(trial) => trial.credential.take(),
            _ => None,
        }
    }

    /// The credential was right: answers the request.
    pub fn let_in(&mut self, lent: &mut Lent<'_>) {
        if matches!(self.state, ConnectionState::Trial(_)) {
            self.state = ConnectionState::Request { since: lent.now };
            self.proved = true;
            self.take_requests(lent);
            if self.half_closed {
                self.end_of_input();
            }
        }
    }

    /// The credential was wrong: the client will be told so at this time.
    pub fn keep_out(&mut self, until: Instant) {
        if let ConnectionState::Trial(trial) = &mut self.state {
            trial.refuse_at = until;
            trial.was_wrong = true;
        }
    }

    /// Refuses the request because its credential was wrong or cannot be checked. If it cannot be checked, the
    /// connection ends as well, so that no further guesses can be made on it without a wait; `unread` is what is said
    /// then.
    pub fn send_away(&mut self, unread: &str, lent: &mut Lent<'_>) {
        if let ConnectionState::Trial(trial) = &self.state {
            let (head, was_wrong) = (trial.head, trial.was_wrong);
            self.input.drain(..head);
            if !was_wrong {
                self.exchange.make_last();
            }
            if self.exchange.is_last() {
                self.input.clear();
            }
            match was_wrong {
                true => self.refuse(Status::Unauthorized, lent),
                false => self.refuse_for_now(unread, lent),
            }
        }
    }
}

//! From a request to its answer: at once where nothing is to be waited for, else the state that waits.

use std::time::Instant;

use super::stream::Stream;
use super::trial::Trial;
use super::{Connection, Report, Settings, Snapshot, State};
use crate::server::auth::Entry;
use crate::server::origins;
use crate::server::page;
use crate::server::preconditions::Verdict;
use crate::server::quirks::Quirks;
use crate::server::request::{self, Method, Parsed, Request};
use crate::server::response::{self, Status};
use crate::server::roster::Missing;
use crate::server::route::{self, NoRoute, Resource};
use crate::server::stats::Stats;

impl<F> Connection<F> {
    /// Answers the requests that are complete, as far as one can be answered before the next.
    pub(super) fn take_requests(&mut self, now: Instant, settings: &Settings, stats: &mut Stats) {
        let input = std::mem::take(&mut self.input);
        self.cors = Some(settings.origins.fields(None));
        match request::parse(&input) {
            Parsed::Partial if self.half_closed => self.finish(now),
            Parsed::Partial => self.input = input,
            Parsed::Refused(status) => {
                let with_body = !request::asks_for_head(&input);
                self.refuse(status, false, with_body, stats);
            }
            Parsed::Complete(request, len) => {
                self.cors = Some(settings.origins.fields(request.origin));
                match self.entry(&request) {
                    Entry::Known => self.answer(&request, now, settings, stats),
                    Entry::Unproven(credential) => {
                        self.state = State::Trial(Trial::new(credential, &request, len, now));
                        // The request is answered when it is known whose it is.
                        self.input = input;
                        return;
                    }
                    Entry::Nothing => {
                        let with_body = request.method != Method::Head;
                        self.refuse(Status::Unauthorized, request.keep_alive, with_body, stats);
                    }
                }
                if matches!(
                    self.state,
                    State::Snapshot(_)
                        | State::Report {
                            keep_alive: true,
                            ..
                        }
                        | State::Reply { keep_alive: true }
                ) {
                    self.input = input[len..].to_vec();
                }
            }
        }
    }

    fn answer(
        &mut self,
        request: &Request<'_>,
        now: Instant,
        settings: &Settings,
        stats: &mut Stats,
    ) {
        let keep_alive = request.keep_alive;
        let with_body = request.method != Method::Head;
        let found = route::route(&request.target);
        let camera = found.as_ref().ok().and_then(Resource::camera);
        let camera = match camera.map(|camera| settings.cameras.find(camera)) {
            Some(Err(Missing::Unknown)) => {
                return self.refuse(Status::NotFound, keep_alive, with_body, stats);
            }
            // The page says itself that a camera is away, and sees it come back.
            Some(Err(Missing::Away)) if matches!(found, Ok(Resource::Page { .. })) => 0,
            Some(Err(Missing::Away)) => {
                return self.refuse(Status::Unavailable, keep_alive, with_body, stats);
            }
            Some(Ok(number)) => number,
            None => 0,
        };
        let is_page = matches!(found, Ok(Resource::Page { .. }));
        let verdict = verdict(&found, request, settings);
        match (found, request.method) {
            (Err(NoRoute::NotFound), _) => {
                self.refuse(Status::NotFound, keep_alive, with_body, stats);
            }
            (Err(NoRoute::NotImplemented), _) => {
                self.refuse(Status::NotImplemented, keep_alive, with_body, stats);
            }
            (Err(NoRoute::BadParameter), _) => {
                self.refuse(Status::BadRequest, keep_alive, with_body, stats);
            }
            (Ok(resource), Method::Post) if !matches!(resource, Resource::Stream { .. }) => {
                self.refuse(Status::MethodNotAllowed, keep_alive, true, stats);
            }
            (Ok(_), Method::Options) => self.reply(response::options(keep_alive), keep_alive),
            (Ok(_), _) if verdict == Verdict::NotModified => {
                self.reply(response::not_modified(is_page, keep_alive), keep_alive);
            }
            (Ok(_), _) if verdict == Verdict::Failed => {
                self.refuse(Status::PreconditionFailed, keep_alive, with_body, stats);
            }
            (Ok(Resource::Server), _) => {
                self.refuse(Status::BadRequest, keep_alive, with_body, stats);
            }
            (Ok(Resource::Icon), _) => self.reply(response::no_content(keep_alive), keep_alive),
            (Ok(Resource::State { camera }), method) => {
                // Also of one that is not there now: this is where to learn that.
                let camera = match settings.cameras.number(&camera) {
                    Err(Missing::Unknown) => {
                        return self.refuse(Status::NotFound, keep_alive, with_body, stats);
                    }
                    number => number.ok(),
                };
                let what = Report::State { camera };
                self.report(what, keep_alive, method == Method::Get);
            }
            (Ok(Resource::Metrics), method) => {
                self.report(Report::Metrics, keep_alive, method == Method::Get);
            }
            (Ok(Resource::Page { .. }), _) => {
                self.reply(response::page(keep_alive, with_body), keep_alive);
            }
            (Ok(Resource::PageWithoutSlash { .. }), _) => {
                let name = &settings.cameras.entries()[camera].name;
                let location = format!("{name}/");
                self.reply(response::moved(&location, keep_alive), keep_alive);
            }
            // Their heads only, at once: asking what a picture is must not wake a camera.
            (Ok(Resource::Stream { .. }), Method::Head) => {
                self.reply(response::stream_head("", false), false);
            }
            (Ok(Resource::Snapshot { .. }), Method::Head) => {
                self.reply(response::snapshot_head(None, keep_alive), keep_alive);
            }
            (Ok(Resource::Stream { period, .. }), _) => match Quirks::of(request) {
                Ok(quirks) => {
                    stats.streams += 1;
                    self.say(quirks.stream_head());
                    let stream = Stream::new(camera, period, quirks, now, settings);
                    self.state = State::Stream(stream);
                }
                Err(_) => self.refuse(Status::BadRequest, keep_alive, with_body, stats),
            },
            (Ok(Resource::Snapshot { terms, .. }), _) => {
                self.state = State::Snapshot(Snapshot {
                    camera,
                    since: now,
                    terms,
                    keep_alive,
                });
            }
        }
    }

    pub(super) fn refuse(
        &mut self,
        status: Status,
        keep_alive: bool,
        with_body: bool,
        stats: &mut Stats,
    ) {
        stats.refuse(status);
        let keep_alive = keep_alive && !self.half_closed;
        self.reply(response::refusal(status, keep_alive, with_body), keep_alive);
    }

    pub(super) fn report(&mut self, what: Report, keep_alive: bool, with_body: bool) {
        self.state = State::Report {
            what,
            keep_alive,
            with_body,
        };
    }

    pub(super) fn reply(&mut self, bytes: Vec<u8>, keep_alive: bool) {
        self.say(bytes);
        self.state = State::Reply { keep_alive };
    }

    /// Puts a reply's head, and what of the reply is known with it, into the outbox.
    pub(super) fn say(&mut self, reply: Vec<u8>) {
        let cors = self.cors.as_deref().unwrap_or_default();
        let reply = origins::with_fields(reply, cors);
        self.out.bytes().extend(reply);
    }
}

/// What the request's conditions come to, where the answer would be 200 without them (RFC 9110, 13.2.1).
fn verdict(
    found: &Result<Resource, NoRoute>,
    request: &Request<'_>,
    settings: &Settings,
) -> Verdict {
    let tag = match found {
        Ok(Resource::Page { .. }) => Some(page::tag()),
        Ok(Resource::Stream { .. } | Resource::Snapshot { .. } | Resource::Metrics) => None,
        Ok(Resource::State { camera })
            if settings.cameras.number(camera) != Err(Missing::Unknown) =>
        {
            None
        }
        _ => return Verdict::Met,
    };
    request.preconditions.evaluate(tag.as_deref())
}

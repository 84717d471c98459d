//! From a request to its answer, which is sent at once if there is nothing to wait for; otherwise the connection
//! enters the state that waits.

use std::time::Instant;

use super::stream::Stream;
use super::trial::Trial;
use super::{Connection, Settings, Snapshot, State};
use crate::server::auth::Entry;
use crate::server::http::cors;
use crate::server::http::page;
use crate::server::http::preconditions::Verdict;
use crate::server::http::quirks::Quirks;
use crate::server::http::request::{self, Method, Parsed, Request};
use crate::server::http::response::{self, NOT_KEPT, PICTURE_CACHE};
use crate::server::http::route::{self, ALLOW, NoRoute, Resource};
use crate::server::http::status::Status;
use crate::server::roster::Missing;
use crate::server::stats::Stats;
use crate::server::want::Report;

impl<F> Connection<F> {
    /// Answers the next request, if it is complete. Further requests stay in the input until it is answered.
    pub(in crate::server) fn take_requests(
        &mut self,
        now: Instant,
        settings: &Settings,
        stats: &mut Stats,
    ) {
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
                        // The request is answered when it is known who sent it.
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
        let found = route::route(&request.target);
        let allow = found.as_ref().map_or(ALLOW, Resource::allow);
        let begun = match (&found, request.method) {
            // Refused whatever the target is, even if it is not a path: CONNECT has a host and a port.
            (_, Method::Other) => Err(Status::MethodNotAllowed),
            (Err(none), _) => Err(Status::from(*none)),
            (Ok(resource), _) => self.begin_answer(resource, request, now, settings, stats),
        };
        if let Err(status) = begun {
            let with_body = request.method != Method::Head;
            self.refuse_with(status, allow, request.keep_alive, with_body, stats);
        }
    }

    /// Checks what comes before the answer of any resource: whether it exists, which methods it has, and the
    /// conditions. `Err` is the status with which to refuse the request.
    fn begin_answer(
        &mut self,
        resource: &Resource,
        request: &Request<'_>,
        now: Instant,
        settings: &Settings,
        stats: &mut Stats,
    ) -> Result<(), Status> {
        let keep_alive = request.keep_alive;
        let camera = resource.camera().map(|one| settings.cameras.find(one));
        if camera == Some(Err(Missing::Unknown)) {
            return Err(Status::NotFound);
        }
        match request.method {
            // This comes before anything that can change. When a preflight fails, the browser blames the page that
            // asked, and the page does not see the 503.
            Method::Options => {
                self.reply(response::options(resource.allow(), keep_alive), keep_alive);
                return Ok(());
            }
            Method::Post if !matches!(resource, Resource::Stream { .. }) => {
                return Err(Status::MethodNotAllowed);
            }
            _ => {}
        }
        if camera == Some(Err(Missing::Away)) && !resource.tells_of_absence() {
            return Err(Status::Unavailable);
        }
        match verdict(resource, request) {
            Verdict::Met => self.send(resource, request, now, settings, stats),
            Verdict::Failed => Err(Status::PreconditionFailed),
            Verdict::NotModified => {
                let cache = match resource {
                    Resource::Page { .. } => response::page_cache_fields(),
                    Resource::Stream { .. } | Resource::Snapshot { .. } => PICTURE_CACHE.into(),
                    _ => NOT_KEPT.into(),
                };
                self.reply(response::not_modified(&cache, keep_alive), keep_alive);
                Ok(())
            }
        }
    }

    /// Answers with what was asked for, or begins to wait for it.
    fn send(
        &mut self,
        resource: &Resource,
        request: &Request<'_>,
        now: Instant,
        settings: &Settings,
        stats: &mut Stats,
    ) -> Result<(), Status> {
        let keep_alive = request.keep_alive;
        let is_head = request.method == Method::Head;
        match resource {
            Resource::Server => return Err(Status::BadRequest),
            Resource::Icon => self.reply(response::no_content(keep_alive), keep_alive),
            Resource::State { camera } => {
                let camera = settings.cameras.number(camera).ok();
                self.report(Report::State { camera }, keep_alive, !is_head);
            }
            Resource::Metrics => self.report(Report::Metrics, keep_alive, !is_head),
            Resource::Page { .. } => self.reply(response::page(keep_alive, !is_head), keep_alive),
            Resource::PageWithoutSlash { camera } => {
                let camera = settings.cameras.find(camera)?;
                let name = &settings.cameras.entries()[camera].name;
                let location = format!("{name}/");
                self.reply(response::moved(&location, keep_alive), keep_alive);
            }
            // HEAD gets only the head, at once: asking what kind of picture it is must not wake a camera.
            Resource::Stream { .. } if is_head => {
                self.reply(response::stream_head("", false), false);
            }
            Resource::Snapshot { .. } if is_head => {
                self.reply(response::snapshot_head(None, keep_alive), keep_alive);
            }
            Resource::Stream { camera, period } => {
                let camera = settings.cameras.find(camera)?;
                let quirks = Quirks::of(request);
                stats.streams += 1;
                self.say(quirks.stream_head());
                let stream = Stream::new(camera, *period, quirks, now, settings);
                self.state = State::Stream(stream);
            }
            Resource::Snapshot { camera, terms } => {
                self.state = State::Snapshot(Snapshot {
                    camera: settings.cameras.find(camera)?,
                    since: now,
                    terms: terms.clone(),
                    keep_alive,
                });
            }
        }
        Ok(())
    }

    pub(in crate::server) fn refuse(
        &mut self,
        status: Status,
        keep_alive: bool,
        with_body: bool,
        stats: &mut Stats,
    ) {
        self.refuse_with(status, ALLOW, keep_alive, with_body, stats);
    }

    fn refuse_with(
        &mut self,
        status: Status,
        allow: &str,
        keep_alive: bool,
        with_body: bool,
        stats: &mut Stats,
    ) {
        stats.refuse(status);
        let keep_alive = keep_alive && !self.half_closed;
        let reply = response::refusal(status, allow, keep_alive, with_body);
        self.reply(reply, keep_alive);
    }

    pub(in crate::server) fn report(&mut self, what: Report, keep_alive: bool, with_body: bool) {
        self.state = State::Report {
            what,
            keep_alive,
            with_body,
        };
    }

    pub(in crate::server) fn reply(&mut self, bytes: Vec<u8>, keep_alive: bool) {
        self.say(bytes);
        self.state = State::Reply { keep_alive };
    }

    /// Puts the head of a reply into the outbox, with anything else of the reply that is already known.
    pub(in crate::server) fn say(&mut self, reply: Vec<u8>) {
        let cors = self.cors.as_deref().unwrap_or_default();
        let reply = cors::with_fields(reply, cors);
        self.out.bytes().extend(reply);
    }
}

/// The result of the request's conditions, which count only if the answer would be 200 without them (RFC 9110,
/// 13.2.1).
fn verdict(resource: &Resource, request: &Request<'_>) -> Verdict {
    let tag = match resource {
        Resource::Page { .. } => Some(page::tag()),
        Resource::Stream { .. }
        | Resource::Snapshot { .. }
        | Resource::State { .. }
        | Resource::Metrics => None,
        Resource::PageWithoutSlash { .. } | Resource::Icon | Resource::Server => {
            return Verdict::Met;
        }
    };
    let read = matches!(request.method, Method::Get | Method::Head);
    request.preconditions.evaluate(tag.as_deref(), read)
}

impl From<NoRoute> for Status {
    fn from(none: NoRoute) -> Self {
        match none {
            NoRoute::NotFound => Status::NotFound,
            NoRoute::NotImplemented => Status::NotImplemented,
        }
    }
}

impl From<Missing> for Status {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Unknown => Status::NotFound,
            Missing::Away => Status::Unavailable,
        }
    }
}

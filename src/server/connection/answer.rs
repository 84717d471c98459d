//! From a request to its answer: one that is known at once, or what has to be waited for.

use std::time::Duration;

use crate::server::http::exchange::Exchange;
use crate::server::http::page;
use crate::server::http::part::{self, PICTURE_CACHE};
use crate::server::http::preconditions::Evaluation;
use crate::server::http::quirks::Quirks;
use crate::server::http::request::{Body, Method, Request};
use crate::server::http::response::{self, NOT_KEPT};
use crate::server::http::route::{self, ALLOW, NoRoute, Resource};
use crate::server::http::status::Status;
use crate::server::lent::Lent;
use crate::server::roster::Missing;
use crate::server::settings::Setters;
use crate::server::want::{ReportKind, Terms};

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    /// This reply, now.
    Reply(Vec<u8>),
    /// A refusal of a target that has these methods.
    Refusal(Denial, &'static str),
    /// Controls of this camera are to be set, when the body has come, which has this length.
    Upload { camera: usize, length: usize },
    /// A report, when it is made.
    Report(ReportKind),
    /// A frame, when there is one.
    Snapshot {
        /// Of this camera.
        camera: usize,
        /// Which frames will do.
        terms: Terms,
    },
    /// One frame after the other.
    Stream {
        /// Of this camera.
        camera: usize,
        /// At least this long after each other.
        period: Option<Duration>,
        /// How it is sent.
        quirks: Quirks,
    },
}

/// The status of a refusal, and what is said if not the status's own sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Denial {
    pub(super) status: Status,
    pub(super) why: Option<&'static str>,
}

/// What is known of who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// A password was proved.
    pub(super) proved: bool,
    /// It comes through a Unix socket.
    pub(super) by_unix: bool,
    /// It is a program of this machine.
    pub(super) is_near: bool,
}

impl Asker {
    /// Whether devices are told by their paths.
    pub(super) fn is_told_details(self) -> bool {
        self.proved || self.is_near
    }

    fn may_set(self, setters: Setters) -> bool {
        match setters {
            Setters::Nobody => false,
            Setters::Known => self.proved || self.by_unix,
            Setters::Everybody => true,
        }
    }
}

/// How large the JSON may be with which controls are set.
const LARGEST_BODY: u64 = 4096;

const NOT_SET_HERE: &str = "controls are not set here over HTTP: whoever runs this server can start it with --allow-control; \
     `lazycam control` sets them on its machine";

const FOREIGN_PAGE: &str = "this page is of another origin, which may not set controls: --allow-origin names those that may";

const SET_BY_POST: &str = "no GET sets anything here: POST JSON to /NAME/controls where the server allows it (--allow-control), \
     or use `lazycam control` on its machine";

/// The answer to a request.
pub(super) fn answer(
    request: &Request<'_>,
    exchange: &mut Exchange,
    asker: Asker,
    lent: &mut Lent<'_>,
) -> Answer {
    let found = route::route(&request.target);
    let allow = found.as_ref().map_or(ALLOW, Resource::allow);
    let answer = match (&found, request.method) {
        // Denial whatever the target is, even if it is not a path: CONNECT has a host and a port.
        (_, Method::Other) => Err(Status::MethodNotAllowed.into()),
        (Err(none), _) => Err(Denial::from(*none)),
        (Ok(resource), _) => examine(resource, request, exchange, asker, lent),
    };
    answer.unwrap_or_else(|refused| Answer::Refusal(refused, allow))
}

/// Checks what comes before the answer of any resource: whether it exists, which methods it has, and the conditions.
/// `Err` is the status with which to refuse the request.
fn examine(
    resource: &Resource,
    request: &Request<'_>,
    exchange: &mut Exchange,
    asker: Asker,
    lent: &mut Lent<'_>,
) -> Result<Answer, Denial> {
    let date = lent.moment.wall;
    // This comes before anything that can change. When a preflight fails, the browser blames the page that asked, and the
    // page does not see the 503. Nor does it tell whether there is such a camera: it is answered without a password.
    if request.method == Method::Options {
        let reply = response::options(resource.allow(), request, exchange, date);
        return Ok(Answer::Reply(reply));
    }
    let camera = resource.camera().map(|one| lent.roster.find(one));
    if camera == Some(Err(Missing::Unknown)) {
        return Err(Status::NotFound.into());
    }
    let takes_post = matches!(
        resource,
        Resource::Stream { .. } | Resource::Controls { .. }
    );
    if request.method == Method::Post && !takes_post {
        return Err(Status::MethodNotAllowed.into());
    }
    // A snapshot of it is refused as any other one: by a picture.
    let is_snapshot = matches!(resource, Resource::Snapshot { .. });
    if camera == Some(Err(Missing::Away)) && !resource.tells_of_absence() && !is_snapshot {
        return Err(Status::Unavailable.into());
    }
    match evaluate(resource, request, lent.settings.setters) {
        Evaluation::Met => fulfil(resource, request, exchange, asker, lent),
        Evaluation::Failed => Err(Status::PreconditionFailed.into()),
        Evaluation::NotModified => {
            let cache = match resource {
                Resource::Page { .. } => {
                    response::page_cache_fields(has_panel(lent.settings.setters))
                }
                Resource::Stream { .. } | Resource::Snapshot { .. } => PICTURE_CACHE.into(),
                _ => NOT_KEPT.into(),
            };
            let reply = response::not_modified(&cache, exchange, date);
            Ok(Answer::Reply(reply))
        }
    }
}

/// What was asked for.
fn fulfil(
    resource: &Resource,
    request: &Request<'_>,
    exchange: &mut Exchange,
    asker: Asker,
    lent: &mut Lent<'_>,
) -> Result<Answer, Denial> {
    let (roster, date) = (lent.roster, lent.moment.wall);
    if let Resource::Stream { camera, .. } | Resource::Snapshot { camera, .. } = resource {
        exchange.tell_way(&roster.entries()[roster.number(camera)?].via);
    }
    let head_only = request.method == Method::Head;
    Ok(match resource {
        Resource::Server => return Err(Status::BadRequest.into()),
        Resource::Icon => Answer::Reply(response::no_content(exchange, date)),
        Resource::State { camera } => Answer::Report(ReportKind::State {
            camera: roster.number(camera).ok(),
            details: asker.is_told_details(),
        }),
        Resource::Controls { camera } => {
            let setters = lent.settings.setters;
            if setters == Setters::Nobody {
                return Err(Denial::because(Status::NotFound, NOT_SET_HERE));
            }
            if !asker.may_set(setters) {
                return Err(Status::Forbidden.into());
            }
            let camera = roster.find(camera)?;
            match request.method {
                Method::Post => {
                    let length = check_upload(request, asker, lent)?;
                    exchange.make_last();
                    Answer::Upload { camera, length }
                }
                _ => Answer::Report(ReportKind::Controls { camera }),
            }
        }
        Resource::Metrics => Answer::Report(ReportKind::Metrics),
        Resource::Page { .. } => Answer::Reply(response::page(
            exchange,
            date,
            has_panel(lent.settings.setters),
        )),
        Resource::PageWithoutSlash { camera } => {
            let name = &roster.entries()[roster.find(camera)?].name;
            Answer::Reply(response::moved(&format!("{name}/"), exchange, date))
        }
        // HEAD gets only the head, at once: asking what kind of picture it is must not wake a camera.
        Resource::Stream { .. } if head_only => {
            exchange.make_last();
            Answer::Reply(part::stream_head("", exchange, date))
        }
        Resource::Snapshot { .. } if head_only => {
            Answer::Reply(part::snapshot_head(None, exchange, &lent.moment))
        }
        Resource::Stream { camera, period } => {
            exchange.make_last();
            Answer::Stream {
                camera: roster.find(camera)?,
                period: *period,
                quirks: Quirks::of(request, exchange, lent.ids.draw()),
            }
        }
        Resource::Snapshot { camera, terms } => {
            let mut terms = terms.clone();
            if roster.find(camera).is_err() {
                terms.timeout = Some(Duration::ZERO);
            }
            let camera = roster.number(camera)?;
            Answer::Snapshot { camera, terms }
        }
    })
}

/// How much JSON follows that may set controls.
fn check_upload(request: &Request<'_>, asker: Asker, lent: &Lent<'_>) -> Result<usize, Denial> {
    // A browser sends a password only to the name for which it was typed; to whom a proxy talks is not known here.
    let is_ours = asker.proved || lent.settings.hosts.include(request.host);
    let origins = &lent.settings.origins;
    if !origins.may_change(request.origin, request.host, is_ours) {
        return Err(Denial::because(Status::Forbidden, FOREIGN_PAGE));
    }
    match request.body {
        _ if !request.is_json => Err(Status::UnsupportedMediaType.into()),
        Body::Length(length) if length <= LARGEST_BODY => Ok(length as usize),
        Body::Length(_) => Err(Status::ContentTooLarge.into()),
        Body::Empty | Body::Chunked => Err(Status::LengthRequired.into()),
    }
}

fn has_panel(setters: Setters) -> bool {
    setters != Setters::Nobody
}

/// The result of the request's conditions, which count only if the answer would be 200 without them (RFC 9110,
/// 13.2.1).
fn evaluate(resource: &Resource, request: &Request<'_>, setters: Setters) -> Evaluation {
    let tag = match resource {
        Resource::Page { .. } => Some(page::tag(has_panel(setters))),
        Resource::Stream { .. }
        | Resource::Snapshot { .. }
        | Resource::State { .. }
        | Resource::Controls { .. }
        | Resource::Metrics => None,
        Resource::PageWithoutSlash { .. } | Resource::Icon | Resource::Server => {
            return Evaluation::Met;
        }
    };
    let read = matches!(request.method, Method::Get | Method::Head);
    request.preconditions.evaluate(tag.as_deref(), read)
}

impl Denial {
    fn because(status: Status, why: &'static str) -> Self {
        let why = Some(why);
        Denial { status, why }
    }
}

impl From<Status> for Denial {
    fn from(status: Status) -> Self {
        Denial { status, why: None }
    }
}

impl From<NoRoute> for Denial {
    fn from(none: NoRoute) -> Self {
        match none {
            NoRoute::NotFound => Status::NotFound.into(),
            NoRoute::SetByGet => Denial::because(Status::NotImplemented, SET_BY_POST),
        }
    }
}

impl From<Missing> for Denial {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Unknown => Status::NotFound.into(),
            Missing::Away => Status::Unavailable.into(),
        }
    }
}

//! From a request to its answer: one that is known at once, or what has to be waited for.

use std::time::Duration;

use crate::server::http::exchange::Exchange;
use crate::server::http::page;
use crate::server::http::part::{self, PICTURE_CACHE};
use crate::server::http::preconditions::Evaluation;
use crate::server::http::quirks::Quirks;
use crate::server::http::request::{Method, Request};
use crate::server::http::response::{self, NOT_KEPT};
use crate::server::http::route::{self, ALLOW, NoRoute, Resource};
use crate::server::http::status::Status;
use crate::server::lent::Lent;
use crate::server::roster::Missing;
use crate::server::want::{ReportKind, Terms};

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    /// This reply, now.
    Reply(Vec<u8>),
    /// A refusal of a target that has these methods.
    Refusal(Status, &'static str),
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

/// The answer to a request. `details` is whether the client is told of devices by their paths.
pub(super) fn answer(
    request: &Request<'_>,
    exchange: &mut Exchange,
    details: bool,
    lent: &mut Lent<'_>,
) -> Answer {
    let found = route::route(&request.target);
    let allow = found.as_ref().map_or(ALLOW, Resource::allow);
    let answer = match (&found, request.method) {
        // Refused whatever the target is, even if it is not a path: CONNECT has a host and a port.
        (_, Method::Other) => Err(Status::MethodNotAllowed),
        (Err(none), _) => Err(Status::from(*none)),
        (Ok(resource), _) => examine(resource, request, exchange, details, lent),
    };
    answer.unwrap_or_else(|status| Answer::Refusal(status, allow))
}

/// Checks what comes before the answer of any resource: whether it exists, which methods it has, and the conditions.
/// `Err` is the status with which to refuse the request.
fn examine(
    resource: &Resource,
    request: &Request<'_>,
    exchange: &mut Exchange,
    details: bool,
    lent: &mut Lent<'_>,
) -> Result<Answer, Status> {
    let date = lent.moment.wall;
    // This comes before anything that can change. When a preflight fails, the browser blames the page that asked, and the
    // page does not see the 503. Nor does it tell whether there is such a camera: it is answered without a password.
    if request.method == Method::Options {
        let reply = response::options(resource.allow(), request, exchange, date);
        return Ok(Answer::Reply(reply));
    }
    let camera = resource.camera().map(|one| lent.roster.find(one));
    if camera == Some(Err(Missing::Unknown)) {
        return Err(Status::NotFound);
    }
    match request.method {
        Method::Post if !matches!(resource, Resource::Stream { .. }) => {
            return Err(Status::MethodNotAllowed);
        }
        _ => {}
    }
    // A snapshot of it is refused as any other one: by a picture.
    let is_snapshot = matches!(resource, Resource::Snapshot { .. });
    if camera == Some(Err(Missing::Away)) && !resource.tells_of_absence() && !is_snapshot {
        return Err(Status::Unavailable);
    }
    match evaluate(resource, request) {
        Evaluation::Met => fulfil(resource, request, exchange, details, lent),
        Evaluation::Failed => Err(Status::PreconditionFailed),
        Evaluation::NotModified => {
            let cache = match resource {
                Resource::Page { .. } => response::page_cache_fields(),
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
    details: bool,
    lent: &mut Lent<'_>,
) -> Result<Answer, Status> {
    let (roster, date) = (lent.roster, lent.moment.wall);
    if let Resource::Stream { camera, .. } | Resource::Snapshot { camera, .. } = resource {
        exchange.tell_way(&roster.entries()[roster.number(camera)?].via);
    }
    let head_only = request.method == Method::Head;
    Ok(match resource {
        Resource::Server => return Err(Status::BadRequest),
        Resource::Icon => Answer::Reply(response::no_content(exchange, date)),
        Resource::State { camera } => Answer::Report(ReportKind::State {
            camera: roster.number(camera).ok(),
            details,
        }),
        Resource::Metrics => Answer::Report(ReportKind::Metrics),
        Resource::Page { .. } => Answer::Reply(response::page(exchange, date)),
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

/// The result of the request's conditions, which count only if the answer would be 200 without them (RFC 9110,
/// 13.2.1).
fn evaluate(resource: &Resource, request: &Request<'_>) -> Evaluation {
    let tag = match resource {
        Resource::Page { .. } => Some(page::tag()),
        Resource::Stream { .. }
        | Resource::Snapshot { .. }
        | Resource::State { .. }
        | Resource::Metrics => None,
        Resource::PageWithoutSlash { .. } | Resource::Icon | Resource::Server => {
            return Evaluation::Met;
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

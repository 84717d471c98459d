//! Which resource a request target names: the URLs that mjpg-streamer, ustreamer and their clients use.
//!
//! The action of mjpg-streamer's `/?action=stream` is found anywhere in the query and matched by prefix, because
//! clients append various things: `?action=stream&1698`, `?action=stream?nonce=1`. Unknown parameters are ignored and
//! never cause an error. Values that mean nothing are ignored too, because a parameter may have another meaning for
//! other software.
//!
//! A path may begin with the name of a camera. Which cameras exist is not known here (`roster.rs`). Nothing in a path
//! is decoded here: unnecessary escapes have already been decoded (`target.rs`), and anything still escaped
//! cannot be a name.

use std::time::Duration;

use crate::frames::name::Name;
use crate::server::http::target::{parameter, split_absolute};
use crate::server::want::{Terms, Which};

/// The methods that every resource has.
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// A stream is sent its last frame again after 5 s, because clients give up after 10. A new frame has to come before
/// that, or the viewer would be sent old ones in between.
const LOWEST_FPS: f64 = 0.25;

/// Above this rate, a limit makes no difference.
const HIGHEST_FPS: f64 = 10_000.0;

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// The page with the picture.
    Page {
        /// The camera that the path names, if it names one.
        camera: Option<Which>,
    },
    /// The page of a camera, at a path without a slash at its end, from which the relative URLs in the page would
    /// lead elsewhere.
    PageWithoutSlash {
        /// The camera that the path names.
        camera: Which,
    },
    /// One frame after the other, for as long as the client likes.
    Stream {
        /// Which camera.
        camera: Which,
        /// `fps=`: at most this many frames per second, stored as the time between two of them.
        period: Option<Duration>,
    },
    /// One frame.
    Snapshot {
        /// Which camera.
        camera: Which,
        /// How fresh it must be.
        terms: Terms,
    },
    /// The state of cameras and viewers.
    State {
        /// The camera that the report shows where ustreamer shows its only one.
        camera: Which,
    },
    /// What of a camera can be set.
    Controls {
        /// Which camera.
        camera: Which,
    },
    /// Counters for Prometheus.
    Metrics,
    /// An icon, which browsers request by themselves. There is none.
    Icon,
    /// The server as a whole: the target `*` of OPTIONS.
    Server,
}

/// Why a target leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// There is no such resource.
    NotFound,
    /// mjpg-streamer or camera-streamer has it, but this server does not: a GET that sets a control.
    SetByGet,
}

/// Finds the resource that `target` names, in one of the forms of RFC 9112, 3.2.
pub fn route(target: &str) -> Result<Resource, NoRoute> {
    if target == "*" {
        return Ok(Resource::Server);
    }
    let target = split_absolute(target).map_or(target, |(_, rest)| rest);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let slash = path.ends_with('/');
    let path = path.trim_matches('/');
    match path {
        "favicon.ico" => return Ok(Resource::Icon),
        "metrics" => return Ok(Resource::Metrics),
        _ => {}
    }
    if let Some(found) = of_camera(path, query, Which::Default) {
        return found;
    }
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    let name: Name = name.parse().map_err(|_| NoRoute::NotFound)?;
    let found = of_camera(rest.trim_start_matches('/'), query, Which::Name(name));
    match found.unwrap_or(Err(NoRoute::NotFound))? {
        Resource::Page {
            camera: Some(camera),
        } if !slash => Ok(Resource::PageWithoutSlash { camera }),
        resource => Ok(resource),
    }
}

impl Resource {
    /// The camera that it concerns.
    pub fn camera(&self) -> Option<&Which> {
        match self {
            Resource::Stream { camera, .. }
            | Resource::Snapshot { camera, .. }
            | Resource::State { camera }
            | Resource::Controls { camera }
            | Resource::PageWithoutSlash { camera } => Some(camera),
            Resource::Page { camera } => camera.as_ref(),
            Resource::Metrics | Resource::Icon | Resource::Server => None,
        }
    }

    /// The methods that it supports, in the format of `Allow` (RFC 9110, 10.2.1).
    pub fn allow(&self) -> &'static str {
        match self {
            Resource::Stream { .. } | Resource::Controls { .. } => "GET, HEAD, OPTIONS, POST",
            _ => ALLOW,
        }
    }

    /// Whether it is available while its camera is away, because it reports the absence itself.
    pub fn tells_of_absence(&self) -> bool {
        matches!(self, Resource::Page { .. } | Resource::State { .. })
    }
}

/// The meaning of a path that stands alone or behind the name of a camera.
fn of_camera(path: &str, query: &str, camera: Which) -> Option<Result<Resource, NoRoute>> {
    match path {
        "" => Some(by_action(query, camera)),
        "stream" | "stream.mjpg" => Some(Ok(stream(camera, query))),
        "snapshot" | "snapshot.jpg" => Some(Ok(snapshot(camera, query))),
        "state" => Some(Ok(Resource::State { camera })),
        "controls" => Some(Ok(Resource::Controls { camera })),
        "option" => Some(Err(NoRoute::SetByGet)),
        _ => None,
    }
}

fn by_action(query: &str, camera: Which) -> Result<Resource, NoRoute> {
    let Some(action) = parameter(query, "action") else {
        let camera = Some(camera).filter(|camera| *camera != Which::Default);
        return Ok(Resource::Page { camera });
    };
    if let Some(number) = action_on(action, "stream") {
        Ok(stream(numbered(camera, number?)?, query))
    } else if let Some(number) = action_on(action, "snapshot") {
        Ok(snapshot(numbered(camera, number?)?, query))
    } else if action.starts_with("command") {
        Err(NoRoute::SetByGet)
    } else {
        Err(NoRoute::NotFound)
    }
}

/// The camera that the number of an action means. Behind the name of a camera, only 0 is valid and means that camera.
fn numbered(camera: Which, number: Option<usize>) -> Result<Which, NoRoute> {
    match (camera, number) {
        (camera, None) | (camera @ Which::Name(_), Some(0)) => Ok(camera),
        (Which::Name(_), Some(_)) => Err(NoRoute::NotFound),
        (_, Some(number)) => Ok(Which::Number(number)),
    }
}

/// Whether `action` is `verb` or `verb_N`, followed by nothing or by anything but a letter. Returns N, if it is
/// there.
fn action_on(action: &str, verb: &str) -> Option<Result<Option<usize>, NoRoute>> {
    let rest = action.strip_prefix(verb)?;
    if rest.starts_with(char::is_alphabetic) {
        return None;
    }
    let number = rest.strip_prefix('_').unwrap_or_default();
    let end = number.find(|c: char| !c.is_ascii_digit());
    match &number[..end.unwrap_or(number.len())] {
        "" => Some(Ok(None)),
        digits => Some(digits.parse().map(Some).map_err(|_| NoRoute::NotFound)),
    }
}

fn stream(camera: Which, query: &str) -> Resource {
    // 0 means 'as they come', as in other servers.
    let fps = number(query, "fps").filter(|fps| *fps > 0.0);
    let period = fps.map(|fps| Duration::from_secs_f64(1.0 / fps.clamp(LOWEST_FPS, HIGHEST_FPS)));
    Resource::Stream { camera, period }
}

fn snapshot(camera: Which, query: &str) -> Resource {
    let seconds = |name| {
        let value = number(query, name)?;
        let longest = Duration::from_secs(u32::MAX.into());
        Some(Duration::try_from_secs_f64(value).unwrap_or(longest))
    };
    let terms = Terms {
        max_age: seconds("max_age"),
        after: seconds("after").map(whole_micros),
        timeout: seconds("timeout"),
        last_taken: parameter(query, "wake") == Some("0"),
    };
    Resource::Snapshot { camera, terms }
}

/// Rounds to whole microseconds. The 53 bits of an `f64` store seconds since 1970 with a precision of a quarter of a
/// microsecond, so the value is close to the six decimal places of `X-Timestamp`, but not always equal.
fn whole_micros(time: Duration) -> Duration {
    let rounded = time.saturating_add(Duration::from_nanos(500));
    Duration::new(rounded.as_secs(), rounded.subsec_micros() * 1000)
}

/// The value of a parameter, if it is there and is a number that makes sense.
fn number(query: &str, name: &str) -> Option<f64> {
    let number = parameter(query, name)?.parse::<f64>().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Resource = Resource::Stream {
        camera: Which::Default,
        period: None,
    };

    fn stream_of(camera: Which) -> Result<Resource, NoRoute> {
        Ok(Resource::Stream {
            camera,
            period: None,
        })
    }

    fn named(name: &str) -> Which {
        Which::Name(name.parse().unwrap())
    }

    fn is_snapshot(target: &str) -> bool {
        matches!(route(target), Ok(Resource::Snapshot { .. }))
    }

    #[test]
    fn streams_are_found_under_every_name_in_use() {
        for target in [
            "/stream",
            "/stream/",
            "/stream.mjpg",
            "/stream?extra_headers=1",
            "/?action=stream",
            "//?action=stream",
            "?action=stream",
            "/?x=1&action=stream",
            "/?action=stream&1698",
            "/?action=stream?nonce_dashboard=1",
            "/?action=stream&timestamp=99&_=1",
            "http://camera.local:8080/?action=stream",
            "http://camera.local?action=stream",
        ] {
            assert_eq!(route(target), Ok(STREAM), "{target}");
        }
    }

    #[test]
    fn snapshots_are_found_under_every_name_in_use() {
        for target in [
            "/snapshot",
            "/snapshot.jpg",
            "/?action=snapshot",
            "/?action=snapshot&bypassCache=5",
            "/snapshot?max_age=0.5",
        ] {
            assert!(is_snapshot(target), "{target}");
        }
    }

    #[test]
    fn the_number_of_a_camera_is_read_from_the_action() {
        assert_eq!(route("/?action=stream_0"), stream_of(Which::Number(0)));
        assert_eq!(route("/?action=stream_12&x"), stream_of(Which::Number(12)));
        for target in [
            "/?action=stream_",
            "/?action=stream_x",
            "/?action=stream_&1",
        ] {
            assert_eq!(route(target), Ok(STREAM), "{target}");
        }
        assert_eq!(
            route("/?action=stream_99999999999999999999"),
            Err(NoRoute::NotFound)
        );
    }

    #[test]
    fn everything_is_found_behind_the_name_of_a_camera_too() {
        for target in [
            "/front/stream",
            "/front/stream/",
            "//front//stream.mjpg",
            "/front/?action=stream",
            "/front?action=stream&17",
            "/front/?action=stream_0",
            "http://camera.local/front/stream",
        ] {
            assert_eq!(route(target), stream_of(named("front")), "{target}");
        }
        for target in ["/front/snapshot.jpg", "/front/?action=snapshot"] {
            let found = route(target).unwrap();
            assert!(is_snapshot(target), "{target}");
            assert_eq!(found.camera(), Some(&named("front")), "{target}");
        }
        for target in ["/front/", "/front/?x=1"] {
            let camera = Some(named("front"));
            assert_eq!(route(target), Ok(Resource::Page { camera }), "{target}");
        }
        for target in ["/front", "/front?x=1"] {
            let camera = named("front");
            let without = Ok(Resource::PageWithoutSlash { camera });
            assert_eq!(route(target), without, "{target}");
        }
        assert_eq!(route("/"), Ok(Resource::Page { camera: None }));
        let state = |camera| Ok(Resource::State { camera });
        assert_eq!(route("/front/state"), state(named("front")));
        assert_eq!(route("/state"), state(Which::Default));
        let controls = |camera| Ok(Resource::Controls { camera });
        assert_eq!(route("/front/controls"), controls(named("front")));
        assert_eq!(route("/controls/"), controls(Which::Default));
    }

    #[test]
    fn a_name_is_plain_or_it_is_no_name() {
        for target in [
            "/../stream",
            "/front/../bench/stream",
            "/./stream",
            "/..%2fstream",
            "/front%2fstream",
            "/front%00/stream",
            "/.hidden/stream",
            "/a/b/stream",
            "/state/stream",
            "/metrics/snapshot",
        ] {
            assert_eq!(route(target), Err(NoRoute::NotFound), "{target}");
        }
    }

    #[test]
    fn what_is_not_here_is_not_found() {
        for target in [
            "/front/nothing",
            "/front/favicon.ico",
            "/front/?action=stream_1",
            "/front/metrics",
            "/stream/x",
            "/?action=streams",
            "/?action=take",
            "/robots.txt",
        ] {
            assert_eq!(route(target), Err(NoRoute::NotFound), "{target}");
        }
        for target in [
            "/?action=command&id=1",
            "/front/?action=command",
            "/option?device=CAMERA&key=focus&value=1",
        ] {
            assert_eq!(route(target), Err(NoRoute::SetByGet), "{target}");
        }
    }

    #[test]
    fn parameters_are_numbers_or_count_for_nothing() {
        let every = |millis| {
            Ok(Resource::Stream {
                camera: Which::Default,
                period: Some(Duration::from_millis(millis)),
            })
        };
        for (fps, millis) in [("10", 100), ("0.5", 2000), ("0.25", 4000), ("0.01", 4000)] {
            assert_eq!(route(&format!("/stream?fps={fps}")), every(millis), "{fps}");
        }
        for all in ["0", "-1", "x", "", "auto", "inf", "NaN", "1 0", "10,5"] {
            assert_eq!(route(&format!("/stream?fps={all}")), Ok(STREAM), "{all}");
        }
        for fresh in [
            "max_age=-1",
            "max_age=&after=",
            "after=x",
            "max_age=inf",
            "wake=1",
            "wake=",
        ] {
            let fresh_one = Ok(Resource::Snapshot {
                camera: Which::Default,
                terms: Terms::default(),
            });
            assert_eq!(route(&format!("/snapshot?{fresh}")), fresh_one, "{fresh}");
        }
        assert_eq!(
            route("/snapshot?max_age=2&after=1733918400.5"),
            Ok(Resource::Snapshot {
                camera: Which::Default,
                terms: Terms {
                    max_age: Some(Duration::from_secs(2)),
                    after: Some(Duration::from_millis(1_733_918_400_500)),
                    timeout: None,
                    last_taken: false,
                }
            })
        );
    }

    #[test]
    fn after_is_the_very_time_that_the_timestamp_told() {
        for micros in (0..1_000_000).step_by(997) {
            let target = format!("/snapshot?after=1733918400.{micros:06}");
            let Ok(Resource::Snapshot { terms, .. }) = route(&target) else {
                panic!("{target}");
            };
            let told = Duration::new(1_733_918_400, micros * 1000);
            assert_eq!(terms.after, Some(told), "{target}");
        }
    }
}

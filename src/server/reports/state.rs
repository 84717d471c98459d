//! `/state`: what the cameras are doing and how the viewers fare, as JSON.
//!
//! The members of `result` other than `lazycam` have the names and shape of ustreamer's, for programs that read
//! those. They describe one camera, the one that was asked for. Everything else is in `lazycam`, where null means
//! that a value is not known. Where ustreamer has a number, an unknown value is 0.

use std::time::{Duration, SystemTime};

use crate::frames::{controls, state};
use crate::json::{NULL, list, number, object, plain, quoted};
use crate::picture::jpeg::Size;
use crate::sandbox::Sandbox;
use crate::server::cameras::camera::Camera;
use crate::server::cameras::condition::{CameraPhase, Finding, public};
use crate::server::http::quirks::Quirks;
use crate::server::reports::subjects::{Subjects, Viewer};
use crate::server::want::Look;
use crate::time::clock::{Clocks, Seconds};

/// The report, with this camera where ustreamer's clients look for theirs, and with `details` for whoever may know of the
/// devices of this machine.
pub(in crate::server) fn report(
    camera: Option<usize>,
    subjects: Subjects<'_>,
    (uptime, sandbox, details, may_set): (Duration, &Sandbox, bool, bool),
    clocks: Clocks,
) -> String {
    let viewers = &subjects.viewers;
    let cameras = subjects.cameras.iter_mut().enumerate();
    let cameras: Vec<_> = cameras
        .map(|(index, camera)| {
            let controls = may_set && controls::are_offered(camera.dir());
            let facts = CameraFacts::of((camera, index), viewers, details, clocks);
            CameraFacts { controls, ..facts }
        })
        .collect();
    let asked_for = camera.and_then(|camera| cameras.get(camera));
    let ours = object([
        ("version", quoted(env!("CARGO_PKG_VERSION"))),
        ("uptime", seconds(uptime)),
        // For clients whose clock differs: all times in the report are by this clock.
        ("time", timestamp(clocks.wall)),
        (
            "camera",
            asked_for.map_or(NULL.into(), |one| quoted(&one.name)),
        ),
        ("cameras", list(&cameras, CameraFacts::json)),
        ("viewers", list(viewers, |one| one.json(&cameras))),
        ("sandbox", sandbox.json()),
    ]);
    let mut result = as_ustreamer(asked_for, viewers);
    result.push(("lazycam", ours));
    let state = object([("ok", "true".into()), ("result", object(result))]);
    state + "\n"
}

impl Viewer {
    fn json(&self, cameras: &[CameraFacts]) -> String {
        let kind = match self.looks_at {
            Look::Stream(_) => "stream",
            Look::Snapshot(_) => "snapshot",
        };
        let camera = cameras.iter().find(|one| one.index == self.camera());
        object([
            ("id", quoted(&self.id())),
            (
                "camera",
                camera.map_or(NULL.into(), |one| quoted(&one.name)),
            ),
            ("kind", quoted(kind)),
            ("age_at_hand_over", optional(self.age_at_hand_over)),
            ("age_at_last_byte", optional(self.age_at_last_byte)),
            ("bytes_in_flight", self.in_flight.to_string()),
            ("frames_sent", self.sent.to_string()),
            ("frames_skipped", self.skipped.to_string()),
            ("fps", number(self.fps, 1)),
            ("bytes_per_second", number(self.bytes_per_second, 0)),
        ])
    }

    /// This viewer as a member of ustreamer's `clients_stat`.
    fn as_ustreamer(&self) -> (String, String) {
        let flag = |of: fn(&Quirks) -> bool| self.quirks.as_ref().is_some_and(of).to_string();
        let key = self.quirks.as_ref().map_or("0", |quirks| &*quirks.key);
        let stat = object([
            ("fps", number(self.fps, 0)),
            ("extra_headers", flag(|quirks| quirks.extra_headers)),
            ("advance_headers", flag(|quirks| quirks.advance_headers)),
            ("dual_final_frames", flag(|quirks| quirks.dual_final_frames)),
            ("zero_data", flag(|quirks| quirks.zero_data)),
            ("key", quoted(key)),
        ]);
        (self.id(), stat)
    }
}

/// One camera.
struct CameraFacts {
    index: usize,
    name: String,
    finding: Finding,
    source: Option<String>,
    size: Option<Size>,
    quality: Option<u8>,
    encoder: Option<String>,
    desired_fps: Option<f64>,
    fps: f64,
    published: u64,
    unwanted: Option<u64>,
    broken: u64,
    viewers: usize,
    /// For pictures from another server: through which, and how old the newest one was when it was sent from there.
    origin: Option<(String, Option<Duration>)>,
    /// Whether controls of it can be set here.
    controls: bool,
    /// Age, length in bytes and time of capture of the newest frame.
    frame: Option<(Duration, u64, SystemTime)>,
}

impl CameraFacts {
    fn of(
        (camera, index): (&mut Camera, usize),
        viewers: &[Viewer],
        details: bool,
        clocks: Clocks,
    ) -> Self {
        let (finding, now) = (camera.find(clocks), clocks.now);
        let (condition, seen) = (camera.condition(), camera.seen());
        let told = condition.told();
        let size = seen.map(|seen| seen.picture);
        let shown = |text: &String| match details {
            true => text.clone(),
            false => public(text),
        };
        CameraFacts {
            index,
            name: camera.name(),
            source: told.and_then(|told| told.source.as_ref()).map(shown),
            encoder: told.and_then(|told| told.encoder.as_ref()).map(shown),
            size: size.or(told.and_then(|told| told.size)),
            quality: told.and_then(|told| told.quality),
            desired_fps: told.and_then(|told| told.fps),
            fps: match finding.phase {
                CameraPhase::Of(state::Phase::Live) => condition.fps(now),
                _ => 0.0,
            },
            published: condition.published(),
            unwanted: told.map(|told| told.dropped),
            broken: condition.broken(),
            origin: told.and_then(|told| Some((told.via.clone()?, told.origin_age))),
            viewers: viewers.iter().filter(|one| one.camera() == index).count(),
            controls: false,
            frame: seen.map(|seen| {
                let age = now.saturating_duration_since(seen.taken);
                (age, seen.len, seen.captured)
            }),
            finding,
        }
    }

    fn json(&self) -> String {
        let name = &self.name;
        let text = |text: &Option<String>| text.as_deref().map_or(NULL.into(), quoted);
        let dropped = object([
            ("unwanted", plain(self.unwanted)),
            ("broken", self.broken.to_string()),
        ]);
        let frame = self.frame.map(|(age, bytes, captured)| {
            object([
                ("age", seconds(age)),
                ("bytes", bytes.to_string()),
                ("timestamp", quoted(&timestamp(captured))),
            ])
        });
        let origin = self.origin.as_ref();
        let origin =
            origin.map(|(via, age)| object([("via", quoted(via)), ("age", optional(*age))]));
        object([
            ("name", quoted(name)),
            ("number", self.index.to_string()),
            ("stream", quoted(&format!("/{name}/stream"))),
            ("snapshot", quoted(&format!("/{name}/snapshot"))),
            ("state", quoted(self.finding.phase.word())),
            ("since", self.finding.since.map_or(NULL.into(), timestamp)),
            ("why", text(&self.finding.why)),
            ("source", text(&self.source)),
            ("encoder", text(&self.encoder)),
            ("size", self.size.map_or(NULL.into(), size)),
            ("fps", number(self.fps, 1)),
            ("published", self.published.to_string()),
            ("dropped", dropped),
            ("viewers", self.viewers.to_string()),
            ("origin", origin.unwrap_or(NULL.into())),
            ("controls", self.controls.to_string()),
            ("frame", frame.unwrap_or(NULL.into())),
        ])
    }
}

/// The members of `result` that ustreamer has, for this camera, or without one.
fn as_ustreamer(camera: Option<&CameraFacts>, viewers: &[Viewer]) -> Vec<(&'static str, String)> {
    let resolution = camera.and_then(|one| one.size).unwrap_or(Size {
        width: 0,
        height: 0,
    });
    let quality = camera.and_then(|one| one.quality);
    let told = camera.and_then(|one| one.encoder.as_deref());
    let kind = encoder_type(told, quality.is_some());
    let encoder = object([
        ("type", quoted(kind)),
        ("quality", quality.unwrap_or(0).to_string()),
    ]);
    let online = camera.is_some_and(|one| !one.finding.phase.is_trouble());
    let desired_fps = camera.and_then(|one| one.desired_fps).unwrap_or(0.0);
    let fps = number(camera.map_or(0.0, |one| one.fps), 0);
    let source = object([
        ("resolution", size(resolution)),
        ("online", online.to_string()),
        ("desired_fps", number(desired_fps, 0)),
        ("captured_fps", fps.clone()),
    ]);
    let watches = |viewer: &&Viewer| camera.is_some_and(|one| viewer.streams(one.index));
    let clients = viewers.iter().filter(watches);
    let clients: Vec<_> = clients.map(Viewer::as_ustreamer).collect();
    let stream = object([
        ("queued_fps", fps),
        ("clients", clients.len().to_string()),
        ("clients_stat", object(clients)),
    ]);
    vec![
        ("instance_id", quoted("")),
        ("encoder", encoder),
        ("source", source),
        ("stream", stream),
    ]
}

/// ustreamer's word for what encodes. It uses 'HW' for frames that the camera encoded itself, and 'M2M-IMAGE' and 'M2M-VIDEO' for encoders in
/// hardware. Any program may have written what is told, and its other words are none that ustreamer's clients know.
fn encoder_type(told: Option<&str>, encodes: bool) -> &str {
    let word = told.and_then(|told| told.split(' ').next());
    let known = word.filter(|word| ["CPU", "HW", "M2M-VIDEO", "M2M-IMAGE"].contains(word));
    known.unwrap_or(if encodes { "CPU" } else { "HW" })
}

fn size(Size { width, height }: Size) -> String {
    object([("width", width.to_string()), ("height", height.to_string())])
}

fn seconds(duration: Duration) -> String {
    number(duration.as_secs_f64(), 6)
}

fn optional(duration: Option<Duration>) -> String {
    duration.map_or(NULL.into(), seconds)
}

/// Seconds since 1970 with six decimal places, as in `X-Timestamp`.
fn timestamp(time: SystemTime) -> String {
    Seconds::since_1970(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_ustreamer_has_not_is_none_for_its_clients() {
        let told = "M2M-IMAGE /dev/video31 (A coder)";
        assert_eq!(encoder_type(Some(told), true), "M2M-IMAGE");
        assert_eq!(encoder_type(Some("CPU"), false), "CPU");
        for other in [Some("libx264 fast"), Some("cpu"), None] {
            assert_eq!(encoder_type(other, true), "CPU");
            assert_eq!(encoder_type(other, false), "HW");
        }
    }
}

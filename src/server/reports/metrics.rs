//! `/metrics`: counters for Prometheus, in its text format (version 0.0.4,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>), with names that follow its conventions
//! (<https://prometheus.io/docs/practices/naming/>).
//!
//! The counters already exist (`stats.rs`), so this is a table of them. The crates for this purpose keep counters of
//! their own in a registry, behind locks and atomics that a single thread does not need, and `prometheus-client`
//! writes only OpenMetrics.
//!
//! A time series costs a monitoring system memory for as long as it keeps data. So labels are used only for values
//! from a small set: cameras, reasons and status codes. Viewers are in `/state`.

use std::fmt::{Display, Write as _};
use std::time::SystemTime;

use crate::frames::state;
use crate::json::number;
use crate::server::cameras::condition::CameraPhase;
use crate::server::http::status::Status;
use crate::server::reports::subjects::Subjects;
use crate::server::stats::{Ages, CloseReason, Stats};
use crate::server::want::Look;
use crate::time::clock::{Clocks, unix_time};

/// The media type of the text format (from its "Basic info").
pub(in crate::server) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The states of a camera. Each one is a series that is 1 or 0.
const PHASES: [CameraPhase; 5] = [
    CameraPhase::Of(state::Phase::Off),
    CameraPhase::Of(state::Phase::Starting),
    CameraPhase::Of(state::Phase::Live),
    CameraPhase::Of(state::Phase::Lost),
    CameraPhase::Absent,
];

/// All counters as text. The server started at this time.
pub(in crate::server) fn report(
    subjects: Subjects<'_>,
    started: SystemTime,
    stats: &Stats,
    clocks: Clocks,
) -> String {
    let mut text = Text::default();
    write_process(&mut text, &subjects, started);
    write_counters(&mut text, stats);
    write_cameras(&mut text, subjects, clocks);
    write_ages(&mut text, &stats.ages);
    text.0
}

fn write_process(text: &mut Text, subjects: &Subjects<'_>, started: SystemTime) {
    let name = "lazycam_build_info";
    text.family(name, "gauge", "The program, always 1.");
    text.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let name = "process_start_time_seconds";
    let started = number(unix_time(started).as_secs_f64(), 3);
    text.family(name, "gauge", "When the server started, in unix time.");
    text.sample(name, &[], started);
    let name = "lazycam_held_bytes";
    let help = "Bytes of frames in memory because a viewer is being sent them.";
    text.family(name, "gauge", help);
    text.sample(name, &[], subjects.held);
    let name = "lazycam_connections";
    text.family(name, "gauge", "Connections that are open.");
    text.sample(name, &[], subjects.connections);
}

fn write_counters(text: &mut Text, stats: &Stats) {
    for (name, help, value) in [
        (
            "lazycam_connections_accepted_total",
            "Connections accepted.",
            stats.accepted,
        ),
        (
            "lazycam_streams_begun_total",
            "Streams begun.",
            stats.streams,
        ),
        (
            "lazycam_snapshots_sent_total",
            "Snapshots sent.",
            stats.snapshots,
        ),
        (
            "lazycam_frames_sent_total",
            "Frames begun on streams.",
            stats.frames,
        ),
        (
            "lazycam_frames_repeated_total",
            "Frames sent once more because there was no newer one.",
            stats.repeats,
        ),
        (
            "lazycam_notices_sent_total",
            "Pictures sent in place of those of a lost camera.",
            stats.notices,
        ),
        (
            "lazycam_frames_unreadable_total",
            "Files of frames that could not be opened or read.",
            stats.unreadable_frames,
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], value);
    }
    let name = "lazycam_connections_turned_away_total";
    let help = "Connections sent away because there were too many, of all or of one address.";
    text.family(name, "counter", help);
    for (reason, count) in [("all", stats.turned_away), ("address", stats.over_share)] {
        text.sample(name, &[("reason", reason)], count);
    }
    let name = "lazycam_connections_closed_total";
    text.family(name, "counter", "Connections that ended, by reason.");
    for reason in CloseReason::ALL {
        let word = reason.word().replace(' ', "_");
        text.sample(name, &[("reason", &word)], stats.closed(reason));
    }
    let name = "lazycam_http_refused_total";
    text.family(name, "counter", "Requests refused, by status code.");
    for status in Status::ALL {
        let code = status.code().to_string();
        text.sample(name, &[("code", &code)], stats.refused(status));
    }
}

fn write_cameras(text: &mut Text, subjects: Subjects<'_>, clocks: Clocks) {
    let viewers = subjects.viewers;
    let cameras = subjects.cameras.iter_mut().enumerate();
    let cameras: Vec<_> = cameras
        .map(|(index, camera)| {
            let phase = camera.find(clocks).phase;
            let streams = viewers.iter().filter(|one| one.streams(index)).count();
            let snapshot = Look::Snapshot(index);
            let waiting = viewers.iter().filter(|one| one.looks_at == snapshot);
            let (waiting, condition) = (waiting.count(), camera.condition());
            let told = condition.told();
            let unwanted = told.map_or(0, |told| told.dropped);
            let broken = condition.broken();
            let counts = (condition.published(), unwanted, broken);
            (camera.name(), phase, [streams, waiting], counts)
        })
        .collect();
    let name = "lazycam_camera_up";
    let help = "Whether a picture can be had: 0 if the camera is lost or has no producer.";
    text.family(name, "gauge", help);
    for (camera, phase, ..) in &cameras {
        let up = u8::from(!phase.is_trouble());
        text.sample(name, &[("camera", camera)], up);
    }
    let name = "lazycam_camera_state";
    text.family(
        name,
        "gauge",
        "What the camera does: 1 for the state it is in.",
    );
    for (camera, phase, ..) in &cameras {
        for one in PHASES {
            let labels = [("camera", camera.as_str()), ("state", one.word())];
            text.sample(name, &labels, u8::from(*phase == one));
        }
    }
    let name = "lazycam_viewers";
    let help = "Clients that look: streams, and snapshots that are waited for.";
    text.family(name, "gauge", help);
    for (camera, _, [streams, waiting], _) in &cameras {
        for (kind, count) in [("stream", streams), ("snapshot", waiting)] {
            text.sample(name, &[("camera", camera), ("kind", kind)], count);
        }
    }
    let name = "lazycam_frames_published_total";
    text.family(
        name,
        "counter",
        "Frames that the camera's producer put in place.",
    );
    for (camera, .., (published, _, _)) in &cameras {
        text.sample(name, &[("camera", camera)], published);
    }
    let name = "lazycam_frames_dropped_total";
    let help = "Frames that nobody had asked for (as of the last change of state), or that were no whole JPEG.";
    text.family(name, "counter", help);
    for (camera, .., (_, unwanted, broken)) in &cameras {
        for (reason, count) in [("unwanted", unwanted), ("broken", broken)] {
            text.sample(name, &[("camera", camera), ("reason", reason)], count);
        }
    }
}

fn write_ages(text: &mut Text, ages: &Ages) {
    let name = "lazycam_frame_age_seconds";
    let help = "Age of frames since their capture when they were handed over to a viewer.";
    text.family(name, "histogram", help);
    let bounds = Ages::BOUNDS.map(|bound| number(bound.as_secs_f64(), 3));
    let bounds = bounds.into_iter().chain(["+Inf".into()]);
    let mut below = 0;
    for (bound, count) in bounds.zip(ages.counts()) {
        below += count;
        text.sample(&format!("{name}_bucket"), &[("le", &bound)], below);
    }
    let sum = number(ages.sum().as_secs_f64(), 6);
    text.sample(&format!("{name}_sum"), &[], sum);
    text.sample(&format!("{name}_count"), &[], below);
}

/// The text written so far.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Writes what the samples that follow are.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// The value of a label, with backslashes, quotes and line breaks escaped.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_label_may_hold_anything() {
        let mut text = Text::default();
        text.sample("n", &[("a", "x\"y\\z\n"), ("b", "")], 1);
        assert_eq!(text.0, "n{a=\"x\\\"y\\\\z\\n\",b=\"\"} 1\n");
    }

    #[test]
    fn the_classes_of_a_histogram_hold_those_below() {
        let mut stats = Stats::default();
        for millis in [1, 3, 34, 10_000] {
            stats.hand_over(Duration::from_millis(millis));
        }
        let mut text = Text::default();
        write_ages(&mut text, &stats.ages);
        for line in [
            "lazycam_frame_age_seconds_bucket{le=\"0.001\"} 1",
            "lazycam_frame_age_seconds_bucket{le=\"0.035\"} 3",
            "lazycam_frame_age_seconds_bucket{le=\"5\"} 3",
            "lazycam_frame_age_seconds_bucket{le=\"+Inf\"} 4",
            "lazycam_frame_age_seconds_sum 10.038",
            "lazycam_frame_age_seconds_count 4",
        ] {
            assert!(text.0.lines().any(|one| one == line), "{line}\n{}", text.0);
        }
    }
}

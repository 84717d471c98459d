//! The reports, without a socket and with a clock that only the test moves.

use std::os::fd::{AsFd, AsRawFd};

use super::*;
use crate::server::fixture::Directory;
use crate::server::reports::subjects::Viewer;
use crate::server::want::Look;

/// A server with one camera, `front`, whose directory is not there.
struct Scene {
    reports: Reports,
    cameras: Cameras,
    clients: Clients,
    turn: Turn,
    _dir: Directory,
}

impl Scene {
    fn new(test: &str) -> Self {
        let dir = Directory::new(test);
        let mut turn = Turn::of_a_test();
        let front = ("front".parse().unwrap(), dir.path().join("front"));
        Scene {
            reports: Reports::new(&turn),
            cameras: Cameras::new(&[front], None, None, &mut turn).unwrap(),
            clients: Clients::new(),
            turn,
            _dir: dir,
        }
    }

    fn ask(&mut self, what: ReportKind) -> ReportOutcome {
        let (cameras, clients) = (&mut self.cameras, &mut self.clients);
        self.reports.get(what, cameras, clients, 4711, &self.turn)
    }

    fn get(&mut self, what: ReportKind) -> (&'static str, String) {
        let answer = self.ask(what);
        let ReportOutcome::Report(media_type, shot) = answer else {
            panic!("{answer:?}");
        };
        let fd = shot.file.as_fd().as_raw_fd();
        let text = std::fs::read_to_string(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(text.len() as u64, shot.len);
        (media_type, text)
    }

    /// Another turn begins, so long after the last one.
    fn pass(&mut self, millis: u64) {
        self.turn.pass(millis);
        self.reports.begin_turn();
    }

    fn waits(&mut self, what: ReportKind) -> u128 {
        match self.ask(what) {
            ReportOutcome::Later(at) => (at - self.turn.now).as_millis(),
            answer => panic!("{answer:?}"),
        }
    }

    /// The report that these viewers would be in.
    fn with_viewers(&mut self, what: ReportKind, looks: &[Look]) -> String {
        let viewers = looks.iter().enumerate().map(|(number, looks_at)| Viewer {
            number: number as u64,
            looks_at: *looks_at,
            quirks: None,
            in_flight: 0,
            sent: 0,
            skipped: 0,
            fps: 0.0,
            bytes_per_second: 0.0,
            age_at_hand_over: None,
            age_at_last_byte: None,
        });
        let subjects = Subjects {
            viewers: viewers.collect(),
            cameras: &mut self.cameras,
            connections: looks.len(),
            held: 0,
        };
        self.reports.make(what, subjects, &self.turn)
    }
}

const STATE: ReportKind = ReportKind::State {
    camera: Some(0),
    details: true,
};

#[track_caller]
fn has(report: &str, text: &str) {
    assert!(report.contains(text), "{text}\n{report}");
}

#[test]
fn a_report_is_made_once_in_a_turn_and_again_after_a_tenth_of_a_second() {
    let mut scene = Scene::new("once");
    let first = scene.get(STATE);
    assert_eq!(first.0, "application/json");
    has(&first.1, "\"uptime\":0,");
    assert_eq!(scene.get(STATE), first);
    scene.pass(40);
    assert_eq!(scene.waits(STATE), 60);
    // Another camera stands in the place of ustreamer's only one, so this is another report.
    has(
        &scene
            .get(ReportKind::State {
                camera: None,
                details: true,
            })
            .1,
        "\"camera\":null",
    );
    scene.pass(60);
    has(&scene.get(STATE).1, "\"uptime\":0.1,");
}

#[test]
fn of_different_reports_a_few_are_made_in_a_tenth_of_a_second() {
    let mut scene = Scene::new("different");
    let of = |camera| ReportKind::State {
        camera: Some(camera),
        details: false,
    };
    for camera in 0..4 {
        scene.get(of(camera));
        scene.pass(10);
    }
    assert_eq!(scene.waits(of(4)), 60);
    scene.pass(60);
    scene.get(of(4));
    assert_eq!(scene.waits(of(5)), 10);
}

#[test]
fn a_camera_without_a_producer_is_absent_in_both_reports() {
    let mut scene = Scene::new("absent");
    has(&scene.get(STATE).1, "\"state\":\"absent\"");
    let (media_type, text) = scene.get(ReportKind::Metrics);
    assert!(media_type.starts_with("text/plain; version=0.0.4"));
    has(&text, "lazycam_camera_up{camera=\"front\"} 0\n");
    has(
        &text,
        "lazycam_camera_state{camera=\"front\",state=\"absent\"} 1\n",
    );
    has(
        &text,
        "lazycam_camera_state{camera=\"front\",state=\"live\"} 0\n",
    );
}

#[test]
fn what_the_server_has_counted_is_in_the_metrics() {
    let mut scene = Scene::new("counted");
    scene.turn.stats.accepted = 3;
    scene.turn.stats.over_share = 2;
    let (_, text) = scene.get(ReportKind::Metrics);
    has(&text, "lazycam_connections_accepted_total 3\n");
    has(
        &text,
        "lazycam_connections_turned_away_total{reason=\"address\"} 2\n",
    );
    has(&text, "lazycam_held_bytes 4711\n");
    has(&text, "lazycam_connections 0\n");
}

#[test]
fn viewers_are_counted_by_what_they_look_at() {
    let mut scene = Scene::new("viewers");
    let looks = [Look::Stream(0), Look::Snapshot(0), Look::Stream(0)];
    let text = scene.with_viewers(ReportKind::Metrics, &looks);
    has(
        &text,
        "lazycam_viewers{camera=\"front\",kind=\"stream\"} 2\n",
    );
    has(
        &text,
        "lazycam_viewers{camera=\"front\",kind=\"snapshot\"} 1\n",
    );
    has(&text, "lazycam_connections 3\n");
    let text = scene.with_viewers(STATE, &looks);
    has(&text, "\"viewers\":3");
    has(&text, "\"clients\":2");
}

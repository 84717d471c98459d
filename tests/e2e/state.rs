//! What lazycam tells about itself: the file `state`, /state and /metrics, and the picture for a lost camera.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::common::frames::{Maker, decode};
use crate::common::http::{Client, Part, Stream};
use crate::common::process::{
    Process, capture, has, is_emulated, is_left_alone, lazycam, pid, run, serve, switches,
    wait_until_asleep,
};
use crate::common::producer::{Camera, Hand};
use crate::common::{Scratch, eventually};
use lazycam::frames::state::{Phase, State};
use lazycam::picture::jpeg::Size;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

fn state(server: &Process) -> Value {
    state_at(server, "/state")
}

#[track_caller]
fn state_at(server: &Process, target: &str) -> Value {
    let reply = Client::connect(server.address()).get(target);
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.head.field("Content-Type"), Some("application/json"));
    assert_eq!(reply.head.field("Cache-Control"), Some("no-store"));
    assert_eq!(reply.head.field("Vary"), Some("Origin"));
    serde_json::from_slice(&reply.body).unwrap()
}

/// The only camera.
fn camera(state: &Value) -> &Value {
    &state["result"]["lazycam"]["cameras"][0]
}

fn phase(server: &Process) -> String {
    camera(&state(server))["state"].as_str().unwrap().to_owned()
}

fn wait_for_phase(server: &Process, wanted: &str) {
    eventually(&format!("it is {wanted}"), || phase(server) == wanted);
}

/// Reads on until a frame comes that a maker made.
#[track_caller]
fn expect_frame(stream: &mut Stream) -> Part {
    stream.part_that(|part| part.notice().is_none())
}

#[track_caller]
fn expect_notice(stream: &mut Stream) -> Part {
    stream.part_that(|part| part.notice().is_some())
}

fn lost(why: &str) -> State {
    State {
        why: Some(why.into()),
        ..State::new(Phase::Lost, SystemTime::now())
    }
}

fn live() -> State {
    State::new(Phase::Live, SystemTime::now())
}

#[test]
fn the_state_has_ustreamers_members_and_ours() {
    let scratch = Scratch::new();
    let flags = [
        "--size",
        "160x120",
        "--fps",
        "20",
        "--quality",
        "60",
        "--linger",
        "0.3",
    ];
    let server = Process::start(run(&scratch.join("front"), &flags));
    wait_for_phase(&server, "off");
    let mut stream = Client::connect(server.address()).stream("/stream");
    for _ in 0..40 {
        stream.frame();
    }
    // A machine that has just stood still has had no frame in the last second.
    let mut state = Value::Null;
    eventually("frames come and go", || {
        stream.frame();
        state = self::state(&server);
        let captured = state["result"]["source"]["captured_fps"].as_u64();
        let sent = state["result"]["lazycam"]["viewers"][0]["bytes_per_second"].as_f64();
        captured > Some(0) && sent > Some(1000.0)
    });
    assert_eq!(state["ok"], true);
    let result = &state["result"];
    assert_eq!(result["instance_id"], "");
    assert_eq!(result["encoder"]["type"], "CPU");
    assert_eq!(result["encoder"]["quality"], 60);
    let source = &result["source"];
    assert_eq!(source["resolution"]["width"], 160);
    assert_eq!(source["resolution"]["height"], 120);
    assert_eq!(
        (&source["online"], &source["desired_fps"]),
        (&true.into(), &20.into())
    );
    assert_eq!(result["stream"]["clients"], 1);
    let clients = result["stream"]["clients_stat"].as_object().unwrap();
    let (id, client) = clients.iter().next().unwrap();
    for flag in [
        "extra_headers",
        "advance_headers",
        "dual_final_frames",
        "zero_data",
    ] {
        assert_eq!(client[flag], false, "{flag}");
    }
    assert!(client["fps"].is_u64() && client["key"].is_string());
    let viewer = &result["lazycam"]["viewers"][0];
    assert_eq!(viewer["id"].as_str(), Some(id.as_str()));
    assert_eq!(
        (&viewer["camera"], &viewer["kind"]),
        (&"front".into(), &"stream".into())
    );
    assert!(viewer["frames_sent"].as_u64().unwrap() >= 40);
    assert!(viewer["bytes_in_flight"].is_u64() && viewer["frames_skipped"].is_u64());
    assert!(viewer["age_at_hand_over"].as_f64().unwrap() > 0.0);
    let front = camera(&state);
    assert_eq!(
        (&front["name"], &front["number"]),
        (&"front".into(), &0.into())
    );
    assert_eq!(
        (&front["state"], &front["why"]),
        (&"live".into(), &Value::Null)
    );
    assert!(
        front["source"]
            .as_str()
            .unwrap()
            .starts_with("pattern 160x120")
    );
    assert!(front["published"].as_u64().unwrap() >= 40);
    assert_eq!(front["viewers"], 1);
    assert!(front["since"].as_f64().unwrap() > 1.7e9);
    assert!(front["frame"]["bytes"].as_u64().unwrap() > 100);
    assert!(front["frame"]["age"].as_f64().unwrap() < 5.0);
    // An emulator cuts TCP_INFO short, and then nobody knows.
    if !is_emulated() {
        // Not of one and the same frame each time, and an acknowledgement's time is in whole milliseconds.
        eventually("handed over, then arrived", || {
            stream.part();
            let state = self::state(&server);
            let viewer = &state["result"]["lazycam"]["viewers"][0];
            let age = |member: &str| viewer[member].as_f64().unwrap();
            age("age_at_last_byte") + 0.001 >= age("age_at_hand_over")
        });
    }
    drop(stream);
    wait_for_phase(&server, "off");
    assert_eq!(self::state(&server)["result"]["stream"]["clients"], 0);
}

#[test]
fn a_slow_viewers_figures_say_that_it_is_slow() {
    let scratch = Scratch::new();
    let _camera = Camera::start(scratch.path(), 30.0, Maker::new(200_000));
    let server = serve(scratch.path(), &[]);
    let mut client = Client::connect_narrow(server.address());
    client.request("GET", "/stream");
    eventually("bytes wait for it, and frames pass it by", || {
        client.sip(30_000);
        let state = state(&server);
        let viewer = &state["result"]["lazycam"]["viewers"][0];
        let count = |member: &str| viewer[member].as_u64().unwrap_or(0);
        count("bytes_in_flight") > 0 && count("frames_skipped") > 2
    });
}

#[test]
fn asking_wakes_no_camera() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    hand.publish();
    let server = serve(scratch.path(), &[]);
    let mut client = Client::connect(server.address());
    for target in ["/state", "/metrics"] {
        for method in ["GET", "OPTIONS"] {
            client.request(method, target);
            assert_eq!(client.reply().head.status, 200, "{method} {target}");
        }
        client.request("HEAD", target);
        assert_eq!(client.head().status, 200);
    }
    assert!(!hand.was_asked());
    client.get("/snapshot");
    assert!(hand.was_asked());
}

#[test]
fn reports_that_are_asked_for_all_at_once_are_given_one_after_the_other_and_made_once_a_turn() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let mut client = Client::connect(server.address());
    let request = "GET /state HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send(request.repeat(12));
    // The uptime is that of the turn, the time that of the moment.
    let mut turns = HashMap::<String, Vec<String>>::new();
    for _ in 0..12 {
        let reply = client.reply();
        let state: Value = serde_json::from_slice(&reply.body).unwrap();
        let told = |member: &str| state["result"]["lazycam"][member].to_string();
        turns.entry(told("uptime")).or_default().push(told("time"));
    }
    for times in turns.values() {
        // Four in a visit, and two visits in a turn.
        assert!(times.len() <= 8, "{} answers in one turn", times.len());
        assert!(times.iter().all(|time| *time == times[0]), "{times:?}");
    }
}

#[test]
fn a_sleeping_capture_process_is_not_even_woken_by_who_asks_for_the_state() {
    let scratch = Scratch::new();
    // In a folder that nobody else has: its parent is watched, where the folders of other tests come and go.
    let frames = scratch.join("frames");
    let camera = Process::start(capture(&frames, &[]));
    let server = serve(&frames, &[]);
    wait_for_phase(&server, "off");
    // On a busy machine what a process does at its start comes with pauses, in which it does not run and does not sleep either.
    eventually("it has slept for a second", || {
        wait_until_asleep(camera.pid());
        let before = switches(camera.pid());
        thread::sleep(Duration::from_secs(1));
        wait_until_asleep(camera.pid());
        switches(camera.pid()) == before
    });
    let undisturbed = || {
        let before = switches(camera.pid());
        for _ in 0..3 {
            assert_eq!(phase(&server), "off");
            Client::connect(server.address()).get("/metrics");
        }
        switches(camera.pid()) == before
    };
    assert!(is_left_alone(undisturbed));
}

#[test]
fn the_state_file_is_written_when_the_phase_changes_and_not_for_each_frame() {
    let scratch = Scratch::new();
    let server = Process::start(run(scratch.path(), &["--linger", "5"]));
    let mut stream = Client::connect(server.address()).stream("/stream");
    stream.part();
    wait_for_phase(&server, "live");
    let inode = || fs::metadata(scratch.join("state")).unwrap().ino();
    let written = fs::read_to_string(scratch.join("state")).unwrap();
    assert!(written.starts_with("phase live\nsince "), "{written}");
    let (start, mut last, mut changes) = (Instant::now(), inode(), 0);
    for _ in 0..60 {
        stream.part();
        changes += u64::from(std::mem::replace(&mut last, inode()) != last);
    }
    // Its counters are written again every 2 s.
    let most = start.elapsed().as_secs() / 2 + 1;
    assert!(changes <= most, "{changes} times, {most} at most");
    drop(stream);
    eventually("the file says off", || {
        let text = fs::read_to_string(scratch.join("state")).unwrap();
        text.starts_with("phase off\n") && !text.contains("\npublished 0\n")
    });
}

#[test]
fn a_state_that_could_not_be_written_is_written_when_it_can_be() {
    let scratch = Scratch::new();
    let dir = scratch.join("front");
    let server = Process::start(run(&dir, &["--linger", "60"]));
    eventually("it is told", || dir.join("state").exists());
    // Nothing can be staged where a file stands in the place of the directory for it.
    let staging = dir.join(".new");
    fs::remove_dir_all(&staging).unwrap();
    fs::write(&staging, "").unwrap();
    let mut stream = Client::connect(server.address());
    stream.request("GET", "/stream");
    server.line("cannot publish to");
    assert_eq!(phase(&server), "off", "as it was told last");
    fs::remove_file(&staging).unwrap();
    wait_for_phase(&server, "live");
}

#[test]
fn a_producer_that_says_nothing_is_seen_by_its_frames() {
    let scratch = Scratch::new();
    let dir = scratch.join("front");
    let server = serve(&dir, &[]);
    assert_eq!(phase(&server), "absent");
    let mut hand = Hand::new(&dir, Maker::new(5000));
    wait_for_phase(&server, "off");
    let mut stream = Client::connect(server.address());
    stream.request("GET", "/stream");
    hand.wait_until_asked();
    wait_for_phase(&server, "starting");
    let published = hand.publish().frame;
    let mut stream = stream.begin_stream();
    assert_eq!(stream.frame().number(), published);
    // One frame makes it live for five seconds, in which a machine that stalls may not look.
    eventually("it is live", || {
        hand.publish();
        phase(&server) == "live"
    });
    drop(hand);
    wait_for_phase(&server, "absent");
}

#[test]
fn a_killed_capture_process_is_absent_and_what_it_said_is_not_the_next_ones_word() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let victim = Process::start(capture(scratch.path(), &["--fps", "50"]));
    let mut stream = Client::connect(server.address()).stream("/stream");
    stream.part();
    wait_for_phase(&server, "live");
    kill_process(pid(victim.pid()), Signal::KILL).unwrap();
    wait_for_phase(&server, "absent");
    assert!(scratch.join("state").exists());
    // A plain program takes over; it says nothing and holds the lock.
    thread::sleep(Duration::from_millis(20));
    let script =
        "exec 9>> \"$0/lock\"; flock -w 5 9 || exit 1; echo me > \"$0/lock\"; echo done; read end";
    let mut plain = Command::new("sh");
    plain.args(["-c", script]).arg(scratch.path());
    plain.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut plain = plain.spawn().unwrap();
    eventually("the killed one's words are forgotten", || {
        let state = state(&server);
        camera(&state)["state"] != "absent" && camera(&state)["source"].is_null()
    });
    plain.stdin.take().unwrap().write_all(b"\n").unwrap();
    plain.wait().unwrap();
}

#[test]
fn whatever_stands_in_a_state_file_the_answer_is_json() {
    let scratch = Scratch::new();
    let server = serve(scratch.path(), &[]);
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let file = scratch.join("state");
    let replace = |bytes: &[u8]| {
        fs::write(scratch.join("other"), bytes).unwrap();
        fs::rename(scratch.join("other"), &file).unwrap();
    };
    for text in [
        &b"phase live\nsince 1.5\nwhy \"\\\x01\xFF</script>\nsource a\"b\nfps 1e999\npublished 18446744073709551615\n"[..],
        b"phase \0\nsince 99999999999999999999\n",
        &[b'x'; 1 << 20],
        b"",
    ] {
        replace(text);
        hand.publish();
        let state = state(&server);
        assert!(camera(&state)["state"].is_string(), "{state}");
    }
    replace(b"phase live\nsince 1.5\nsource a\"b\n");
    eventually("it is read", || camera(&state(&server))["source"] == "a\"b");
    fs::remove_file(&file).unwrap();
    symlink("/dev/zero", scratch.join("other")).unwrap();
    fs::rename(scratch.join("other"), &file).unwrap();
    eventually("it is not", || camera(&state(&server))["source"].is_null());
}

#[test]
fn who_makes_the_pictures_is_told_as_the_producer_says_it_and_in_ustreamers_words() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(&scratch.join("front"), Maker::new(5000));
    let server = serve(&scratch.join("front"), &[]);
    let hardware = "M2M-IMAGE /dev/video31 (bcm2835-codec)";
    for (quality, encoder, kind) in [
        // The camera, a producer that says no more, and lazycam before and after its encoder has failed.
        (None, None, "HW"),
        (Some(80), None, "CPU"),
        (Some(80), Some(hardware), "M2M-IMAGE"),
        (Some(80), Some("CPU"), "CPU"),
    ] {
        hand.tell(&State {
            quality,
            encoder: encoder.map(str::to_owned),
            ..live()
        });
        eventually(kind, || {
            let state = state(&server);
            let told = &state["result"]["encoder"];
            *told == serde_json::json!({"type": kind, "quality": quality.unwrap_or(0)})
                && camera(&state)["encoder"] == serde_json::json!(encoder)
        });
    }
}

#[test]
fn what_the_producer_has_dropped_is_told_with_what_the_server_found_broken() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(&scratch.join("front"), Maker::new(5000));
    let server = serve(&scratch.join("front"), &[]);
    hand.tell(&State {
        published: 10,
        dropped: 3,
        broken: 2,
        ..live()
    });
    let mut stream = Client::connect(server.address()).stream("/stream");
    hand.wait_until_asked();
    hand.publish_bytes(b"no picture");
    hand.wait_until_asked();
    hand.publish();
    expect_frame(&mut stream);
    let dropped = camera(&state(&server))["dropped"].clone();
    assert_eq!(dropped, serde_json::json!({"unwanted": 3, "broken": 3}));
    let metrics = Client::connect(server.address()).get("/metrics").body;
    let metrics = String::from_utf8(metrics).unwrap();
    for (reason, count) in [("unwanted", 3), ("broken", 3)] {
        let series = "lazycam_frames_dropped_total";
        let line = format!("{series}{{camera=\"front\",reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
}

#[test]
fn a_stream_of_a_lost_camera_shows_what_is_wrong_and_goes_on_by_itself() {
    let scratch = Scratch::new();
    let dir = scratch.join("front");
    let maker = Maker::sized(320, 240, 9000);
    let mut hand = Hand::new(&dir, maker.clone());
    let server = serve(&dir, &[]);
    hand.tell(&live());
    let mut streams: Vec<_> = (0..3)
        .map(|_| Client::connect(server.address()).stream("/stream"))
        .collect();
    hand.wait_until_asked();
    hand.publish();
    for stream in &mut streams {
        maker.verify(&expect_frame(stream).jpeg);
    }
    while hand.was_asked() {}
    hand.tell(&lost("somebody pulled the plug"));
    hand.announce();
    let mut pictures = Vec::new();
    for stream in &mut streams {
        let part = expect_notice(stream);
        assert_eq!(part.notice().as_deref(), Some("front lost"));
        assert_eq!(decode(&part.jpeg), (320, 240), "as large as the stream");
        pictures.push(part.jpeg);
    }
    assert!(pictures.iter().all(|one| *one == pictures[0]), "made once");
    // Who waits goes on asking, or nobody would try to get the camera back.
    hand.wait_until_asked();
    // Again before anybody gives up, and it asks again.
    let again = expect_notice(&mut streams[0]);
    hand.wait_until_asked();
    let usual = streams[0].usual_gap(&again);
    assert!(usual < Duration::from_secs(7), "{usual:?}");
    let state = state(&server);
    assert_eq!(camera(&state)["why"], "somebody pulled the plug");
    assert_eq!(state["result"]["source"]["online"], false);
    let mut client = Client::connect(server.address());
    let snapshot = client.get("/snapshot");
    assert_eq!(snapshot.head.status, 503);
    assert!(snapshot.head.field("Retry-After").is_some());
    hand.tell(&live());
    let stamp = hand.publish();
    for stream in &mut streams {
        assert_eq!(maker.verify(&expect_frame(stream).jpeg).frame, stamp.frame);
    }
}

#[test]
fn a_viewer_who_comes_after_the_loss_sees_no_frame_from_before_it() {
    let scratch = Scratch::new();
    let mut hand = Hand::new(scratch.path(), Maker::new(5000));
    let server = serve(scratch.path(), &[]);
    hand.publish();
    let size = Some(Size {
        width: 400,
        height: 300,
    });
    // The last frame is left lying.
    hand.tell(&State {
        size,
        ..lost("smoke")
    });
    wait_for_phase(&server, "lost");
    let mut stream = Client::connect(server.address()).stream("/stream");
    let part = stream.part();
    assert!(part.notice().is_some(), "the first picture");
    assert_eq!(decode(&part.jpeg), (400, 300), "the size that was told");
    assert!(stream.part().notice().is_some(), "and the second");
}

#[test]
fn a_viewer_of_a_camera_that_nobody_captures_is_told_so() {
    let scratch = Scratch::new();
    let dir = scratch.join("front");
    let server = serve(&dir, &[]);
    let mut stream = Client::connect(server.address()).stream("/stream");
    let part = stream.part();
    assert_eq!(part.notice().as_deref(), Some("front absent"));
    assert_eq!(decode(&part.jpeg), (640, 480));
    // Nobody could know the size: the stream is that of the frames, and goes on.
    let maker = Maker::sized(320, 240, 9000);
    let _camera = Camera::on_demand(&dir, 30.0, maker.clone());
    maker.verify(&expect_frame(&mut stream).jpeg);
}

#[test]
fn a_viewer_of_a_camera_that_gives_nothing_is_told_so_and_gets_the_first_frame() {
    let scratch = Scratch::new();
    let maker = Maker::sized(320, 240, 9000);
    let mut hand = Hand::new(&scratch.join("front"), maker.clone());
    let server = serve(&scratch.join("front"), &[]);
    let off = State::new(Phase::Off, SystemTime::now());
    hand.tell(&off);
    hand.announce();
    let watch = || Client::connect(server.address()).stream("/stream");
    let (mut stream, mut other) = (watch(), watch());
    let mut drawn = Vec::new();
    for _ in 0..2 {
        for viewer in [&mut stream, &mut other] {
            let part = expect_notice(viewer);
            assert_eq!(part.notice().as_deref(), Some("front off"));
            drawn.push((part.timestamp, part.jpeg));
        }
        hand.wait_until_asked();
        // Empty files, as of a camera that is tried again, are no frames.
        hand.announce();
    }
    assert!(drawn.iter().all(|one| *one == drawn[0]), "drawn once");
    assert_eq!(camera(&state(&server))["published"], 0);
    hand.tell(&live());
    let stamp = hand.publish();
    let frame = expect_frame(&mut stream);
    assert_eq!(maker.verify(&frame.jpeg).frame, stamp.frame);
    assert_eq!(camera(&state(&server))["published"], 1);
}

#[test]
fn a_camera_that_is_not_there_is_lost_and_tried_again_while_somebody_looks() {
    let scratch = Scratch::new();
    let device = scratch.join("video7");
    let source = format!("v4l2:{}", device.display());
    let flags = ["--source", &source, "--size", "160x120"];
    let server = Process::start(run(&scratch.join("front"), &flags));
    wait_for_phase(&server, "off");
    let mut stream = Client::connect(server.address()).stream("/stream");
    let part = stream.part();
    assert_eq!(part.notice().as_deref(), Some("front lost"));
    assert_eq!(decode(&part.jpeg), (160, 120), "the size that is wanted");
    let told = state(&server);
    let since = camera(&told)["since"].clone();
    let why = camera(&told)["why"].as_str().unwrap().to_owned();
    // Which path that is only the log tells.
    assert!(why.starts_with("cannot open …: it is not there"), "{why}");
    // What is wrong changes, the loss does not; and it is noticed because it is tried again.
    fs::write(&device, "no camera").unwrap();
    eventually("it is tried again", || {
        camera(&state(&server))["why"] != *why
    });
    let told = state(&server);
    assert_eq!(camera(&told)["since"], since);
    assert_eq!(camera(&told)["published"], 0, "no frame has come");
}

#[test]
fn promtool_has_nothing_to_say_against_the_metrics() {
    let scratch = Scratch::new();
    let server = Process::start(run(&scratch.join("front"), &["--size", "160x120"]));
    let mut stream = Client::connect(server.address()).stream("/stream");
    for _ in 0..10 {
        stream.frame();
    }
    let mut client = Client::connect(server.address());
    client.get("/nothing/here/at/all");
    let reply = client.get("/metrics");
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(reply.head.field("Content-Type"), Some(media_type));
    let text = String::from_utf8(reply.body).unwrap();
    for line in [
        "lazycam_streams_begun_total 1",
        "lazycam_http_refused_total{code=\"404\"} 1",
        "lazycam_connections_closed_total{reason=\"stalled\"} 0",
        "lazycam_camera_up{camera=\"front\"} 1",
        "lazycam_camera_state{camera=\"front\",state=\"live\"} 1",
        "lazycam_viewers{camera=\"front\",kind=\"stream\"} 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}\n{text}"))
            .trim()
            .parse()
            .unwrap()
    };
    let frames = value("lazycam_frames_sent_total ");
    assert!(frames >= 10.0);
    // Where the machine stalls, something has stood in the place of new ones.
    let not_new = value("lazycam_frames_repeated_total ") + value("lazycam_notices_sent_total ");
    let aged = value("lazycam_frame_age_seconds_count ");
    assert!(
        (frames - not_new..=frames).contains(&aged),
        "{aged} of {frames}"
    );
    assert!(value("lazycam_frame_age_seconds_sum ") > 0.0);
    if has("promtool") {
        check(&text);
    }
}

fn check(text: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_server_without_a_directory_has_a_state_all_the_same() {
    let server = serve(Path::new("/dev/shm/lazycam-test-not-there/front"), &[]);
    let state = state(&server);
    assert_eq!(camera(&state)["state"], "absent");
    assert_eq!(camera(&state)["frame"], Value::Null);
    assert_eq!(state["result"]["source"]["resolution"]["width"], 0);
}

#[test]
fn the_state_without_a_camera_has_ustreamers_members_with_nothing_in_them() {
    let scratch = Scratch::new();
    let root = scratch.join("root");
    let listen = ["serve", "--listen", "127.0.0.1:0", "--root"];
    let root_alone = [&listen[..], &[root.to_str().unwrap()]].concat();
    let one_to_come = [&root_alone[..], &["--default-camera", "front"]].concat();
    for flags in [root_alone, one_to_come] {
        let server = Process::start(lazycam(&flags));
        let state = state(&server);
        let result = &state["result"];
        assert_eq!(result["instance_id"], "");
        assert_eq!(result["encoder"]["quality"], 0);
        let nothing = serde_json::json!({
            "resolution": {"width": 0, "height": 0},
            "online": false, "desired_fps": 0, "captured_fps": 0,
        });
        assert_eq!(result["source"], nothing);
        let nobody = serde_json::json!({"queued_fps": 0, "clients": 0, "clients_stat": {}});
        assert_eq!(result["stream"], nobody);
        assert_eq!(result["lazycam"]["camera"], Value::Null);
    }
}

//! Controls over HTTP, from the request through the server, its mailbox and the capture process to the picture's source.
//! What the page makes of it: tests/clients/page.py.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Scratch;
use crate::common::http::{Client, Reply};
use crate::common::process::{Process, capture, lazycam, serve, wait_until_asleep};
use serde_json::{Value, json};

const SETTABLE: &str = "clock,sweep,lane_brightness";

/// A camera and a server beside it.
struct Stage {
    scratch: Scratch,
    camera: Process,
    server: Process,
}

impl Stage {
    fn new(flags: &[&str]) -> Self {
        Stage::with(SETTABLE, flags)
    }

    fn with(settable: &str, flags: &[&str]) -> Self {
        let scratch = Scratch::new();
        let (frames, boxes) = (scratch.join("frames/front"), scratch.join("boxes"));
        let mailbox = boxes.join("front");
        let mailbox = [
            "--settable",
            settable,
            "--mailbox",
            mailbox.to_str().unwrap(),
        ];
        let camera = Process::start(capture(&frames, &mailbox));
        camera.line(" on demand");
        let all = [&["--allow-control", boxes.to_str().unwrap()], flags].concat();
        let server = serve(&frames, &all);
        Stage {
            server,
            camera,
            scratch,
        }
    }

    fn frames(&self) -> PathBuf {
        self.scratch.join("frames/front")
    }

    fn client(&self) -> Client {
        Client::connect(self.server.address())
    }

    fn get(&self) -> Value {
        let reply = self.client().get("/front/controls");
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn value(&self, name: &str) -> Value {
        let all = self.get();
        let found = all
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == name);
        found.unwrap()["value"].clone()
    }

    fn post(&self, body: &str) -> Reply {
        post(&mut self.client(), "", body)
    }
}

fn post(client: &mut Client, fields: &str, body: &str) -> Reply {
    let length = body.len();
    client.send(format!(
        "POST /front/controls HTTP/1.1\r\nHost: cam.local\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{fields}\r\n{body}"
    ));
    client.reply()
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

/// What `lazycam control` says.
fn control(frames: &Path, wish: &str) -> String {
    let mut command = lazycam(&["control", frames.to_str().unwrap(), wish]);
    let output = command.stdout(Stdio::piped()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn results(reply: &Reply) -> Value {
    let told: Value = serde_json::from_slice(&reply.body).unwrap();
    told["results"].clone()
}

#[test]
fn what_may_be_set_is_listed_and_set_and_listed_again() {
    let stage = Stage::new(&["--open-control"]);
    let names = stage.get();
    let names: Vec<_> = names
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, ["lane_brightness", "clock", "sweep"]);
    assert_eq!(stage.value("lane_brightness"), 24);
    let reply = stage.post(r#"{"lane_brightness": 180, "clock": false, "sweep": "Standing"}"#);
    assert_eq!(reply.head.status, 200);
    let set = |name: &str| json!({"name": name, "result": "set"});
    assert_eq!(
        results(&reply),
        json!([set("lane_brightness"), set("clock"), set("sweep")])
    );
    for (name, value) in [("lane_brightness", 180), ("clock", 0), ("sweep", 1)] {
        assert_eq!(stage.value(name), value, "{name}");
    }
    // In the picture, whose lowest lines are the lane.
    let picture = stage.client().picture("/front/snapshot").body;
    let mut decoder = jpeg_decoder::Decoder::new(&picture[..]);
    let pixels = decoder.decode().unwrap();
    let last = pixels[pixels.len() - 3];
    assert!((170..=190).contains(&last), "{last}");
    // What was refused says why, and the rest is set.
    let reply = stage.post(r#"{"lane_brightness": 201, "clock": true, "zoom": 1}"#);
    assert_eq!(reply.head.status, 422);
    let told = results(&reply);
    assert_eq!(told[0]["why"], "lane_brightness is 0 to 200, not '201'");
    assert_eq!(told[1], set("clock"));
    assert!(
        told[2]["why"].as_str().unwrap().contains("--settable"),
        "{told}"
    );
    // `lazycam control` and HTTP know of each other.
    assert_eq!(
        control(&stage.frames(), "sweep=moving"),
        "set sweep=moving\n"
    );
    assert_eq!(stage.post(r#"{"clock": false}"#).head.status, 200);
    let kept = fs::read_to_string(stage.frames().join("controls/wanted")).unwrap();
    // A value that was set stays in front of the next one, in case that is refused.
    assert_eq!(
        kept,
        "lane_brightness=180\nclock=true\nsweep=moving\nclock=false\n"
    );
    let state: Value = serde_json::from_slice(&stage.client().get("/state").body).unwrap();
    assert_eq!(state["result"]["lazycam"]["cameras"][0]["controls"], true);
    // Afterwards both sleep.
    for process in [&stage.camera, &stage.server] {
        wait_until_asleep(process.pid());
    }
}

#[test]
fn only_json_of_a_small_size_sets_something_and_never_a_get() {
    let stage = Stage::new(&["--open-control"]);
    let ask = |head: &str, body: &str| {
        let mut client = stage.client();
        client.send(format!("{head}Host: cam.local\r\n\r\n{body}"));
        client.reply()
    };
    let line = "POST /front/controls HTTP/1.1\r\n";
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    let wish = r#"{"clock":false}"#;
    for (fields, body, status) in [
        ("Content-Length: 15\r\n".to_owned(), wish, 415),
        (
            "Content-Type: text/plain\r\nContent-Length: 15\r\n".to_owned(),
            wish,
            415,
        ),
        (json.to_owned(), "", 411),
        (
            format!("{json}Transfer-Encoding: chunked\r\n"),
            "f\r\n{\"clock\":false}\r\n0\r\n\r\n",
            411,
        ),
        (format!("{json}Content-Length: 4097\r\n"), "", 413),
        (format!("{json}Content-Length: 14\r\n"), wish, 400),
        (format!("{json}Content-Length: 2\r\n"), "{}", 400),
        (
            format!("{json}Content-Length: 26\r\n"),
            r#"{"clock":"off\nsweep=1"}   "#,
            400,
        ),
    ] {
        let reply = ask(&format!("{line}{fields}"), body);
        assert_eq!(
            reply.head.status,
            status,
            "{fields} {body}: {}",
            text(&reply)
        );
    }
    for (target, status, word) in [
        ("/front/controls?clock=false", 200, "lane_brightness"),
        (
            "/?action=command&dest=0&plugin=0&id=1&group=1&value=2",
            501,
            "POST JSON to /NAME/controls",
        ),
        (
            "/front/option?device=CAMERA&key=clock&value=0",
            501,
            "POST JSON to /NAME/controls",
        ),
    ] {
        let reply = stage.client().get(target);
        assert_eq!(reply.head.status, status, "{target}");
        assert!(text(&reply).contains(word), "{target}: {}", text(&reply));
    }
    assert_eq!(stage.value("clock"), 1);
    // What comes behind the body is no request, and a body that comes late is waited for.
    let mut client = stage.client();
    client.send(format!(
        "{line}Host: cam.local\r\n{json}Content-Length: 15\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(client.head().status, 100);
    client.send(&wish[..7]);
    thread::sleep(Duration::from_millis(50));
    client.send(format!("{}POST /front/controls HTTP/1.1\r\n", &wish[7..]));
    let reply = client.reply();
    assert_eq!(reply.head.status, 200);
    assert_eq!(reply.head.field("connection"), Some("close"));
    assert_eq!(stage.value("clock"), 0);
}

#[test]
fn pages_of_other_origins_set_nothing() {
    let flags = ["--open-control", "--allow-origin", "http://octopi.local"];
    let stage = Stage::new(&flags);
    let wish = r#"{"clock":false}"#;
    for origin in [
        "http://evil.example",
        "null",
        "http://cam.local:81",
        "http://cam.local.evil.example",
    ] {
        let reply = post(&mut stage.client(), &format!("Origin: {origin}\r\n"), wish);
        assert_eq!(reply.head.status, 403, "{origin}");
        assert!(text(&reply).contains("--allow-origin"), "{}", text(&reply));
    }
    // DNS rebinding: the page's own name, which is none of ours.
    let mut client = stage.client();
    client.send(
        "POST /front/controls HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\
         Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"clock\":false}",
    );
    assert_eq!(client.reply().head.status, 421);
    assert_eq!(stage.value("clock"), 1);
    for origin in ["http://octopi.local", "http://CAM.local"] {
        let reply = post(&mut stage.client(), &format!("Origin: {origin}\r\n"), wish);
        assert_eq!(reply.head.status, 200, "{origin}: {}", text(&reply));
    }
}

#[test]
fn who_may_set_is_asked_for_a_password_or_comes_through_a_unix_socket() {
    // Not by TCP alone without a word that it is open.
    let scratch = Scratch::new();
    let boxes = scratch.join("boxes");
    let arguments = [
        "serve",
        "--frames",
        scratch.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let arguments = [
        &arguments[..],
        &["--allow-control", boxes.to_str().unwrap()],
    ]
    .concat();
    let refused = lazycam(&arguments).output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        told.contains("--open-control") && refused.status.code() == Some(2),
        "{told}"
    );
    // By a Unix socket, and not by TCP beside it.
    let socket = scratch.join("socket");
    let stage = Stage::new(&["--listen", socket.to_str().unwrap()]);
    let wish = r#"{"clock":false}"#;
    let reply = stage.post(wish);
    assert_eq!(reply.head.status, 403);
    assert!(text(&reply).contains("--open-control"), "{}", text(&reply));
    assert_eq!(stage.client().get("/front/controls").head.status, 403);
    let mut near = Client::connect_unix(&socket);
    let foreign = post(&mut near, "Origin: http://evil.example\r\n", wish);
    assert_eq!(foreign.head.status, 403);
    let mut near = Client::connect_unix(&socket);
    assert_eq!(
        post(&mut near, "Origin: http://cam.local\r\n", wish)
            .head
            .status,
        200
    );
    // By a password.
    let users = scratch.join("users");
    fs::write(&users, ANNA).unwrap();
    let stage = Stage::new(&["--auth", users.to_str().unwrap()]);
    assert_eq!(stage.post(wish).head.status, 401);
    let anna = "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    let reply = post(&mut stage.client(), anna, wish);
    assert_eq!(reply.head.status, 200, "{}", text(&reply));
    // Without the flag there is nothing, and the page says nothing of it.
    let off = serve(&stage.frames(), &[]);
    let reply = post(&mut Client::connect(off.address()), "", wish);
    assert_eq!(reply.head.status, 404);
    assert!(text(&reply).contains("--allow-control"), "{}", text(&reply));
    let page = text(&Client::connect(off.address()).get("/"));
    assert!(!page.contains("panel-title"));
}

/// `openssl passwd -6 -salt saltsalt secret`
const ANNA: &str = "anna:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1\n";

#[test]
fn somebody_who_sets_without_end_is_slowed_down_and_others_get_their_turn() {
    let stage = Stage::new(&["--open-control"]);
    let begun = Instant::now();
    let mut clients: Vec<_> = (0..12).map(|_| stage.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let body = format!(r#"{{"lane_brightness":{number}}}"#);
        let length = body.len();
        client.send(format!(
            "POST /front/controls HTTP/1.1\r\nHost: cam.local\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
    }
    for client in &mut clients {
        assert_eq!(client.reply().head.status, 200);
    }
    // Ten in a second. (Less would be a fault; more only says that this machine is slow.)
    assert!(
        begun.elapsed() >= Duration::from_millis(1000),
        "{:?}",
        begun.elapsed()
    );
    // Nobody is there to answer: the client is told so.
    let Stage { server, camera, .. } = stage;
    camera.stop();
    let reply = post(
        &mut Client::connect(server.address()),
        "",
        r#"{"clock":true}"#,
    );
    assert_eq!(reply.head.status, 503);
    assert!(
        text(&reply).contains("no program captures"),
        "{}",
        text(&reply)
    );
}

#[test]
fn a_camera_whose_program_knows_of_no_mailbox_does_not_hold_anybody_up_for_ever() {
    let scratch = Scratch::new();
    let frames = scratch.join("frames/front");
    let camera = Process::start(capture(&frames, &["--settable", "clock"]));
    camera.line(" on demand");
    let boxes = scratch.join("boxes");
    let server = serve(
        &frames,
        &["--open-control", "--allow-control", boxes.to_str().unwrap()],
    );
    let mut client = Client::connect(server.address());
    client.set_patience(Duration::from_secs(20));
    let reply = post(&mut client, "", r#"{"clock":false}"#);
    assert_eq!(reply.head.status, 503);
    assert!(text(&reply).contains("--mailbox"), "{}", text(&reply));
    // Its own lock does not keep `lazycam control` away afterwards.
    assert_eq!(
        control(&frames, "clock=off"),
        "set clock=off
"
    );
    assert!(is_below(&boxes, "front/wanted"));
}

fn is_below(dir: &Path, name: &str) -> bool {
    dir.join(name).is_file()
}

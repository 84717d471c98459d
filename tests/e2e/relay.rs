//! Cameras on the network: what is asked, what is understood, and that there is no connection while nobody looks.

mod far_sides;
mod life;
mod servers;
mod standin;

use std::thread;
use std::time::{Duration, Instant};

use lazycam::capture::pattern::stamp::Stamp;
use md5::{Digest, Md5};
use rustix::process::{Signal, kill_process};

use self::standin::{Camera, HEAD, edge, part, told};
use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, pid, run, stat};
use crate::common::{Scratch, eventually};

#[test]
fn a_camera_is_connected_while_somebody_looks_and_not_longer() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(30_000));
    let edge = edge(&scratch, &camera.url("/cam?pwd=secret"));
    eventually("the source is told", || {
        told(&edge)["source"] == camera.url("/cam")
    });
    assert!(camera.has_viewer().is_none());
    for from in [1, 1000] {
        let mut viewer = Client::connect(edge.address()).stream("/stream");
        let connection = camera.accept();
        let asked = format!(
            "GET /cam?pwd=secret HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n",
            camera.port()
        );
        assert!(
            connection.request.starts_with(&asked),
            "{}",
            connection.request
        );
        let fed = connection.feed(&maker, from);
        let first = viewer.number(&maker);
        assert!(first >= from);
        assert!(viewer.number(&maker) > first);
        drop(viewer);
        fed.join().unwrap();
        assert!(camera.has_viewer().is_none());
    }
    let log = edge.stop().log;
    assert!(!log.contains("secret") && !log.contains("lost"), "{log}");
}

#[test]
fn a_camera_that_was_not_read_for_a_while_shows_its_newest_frame() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(1500));
    let edge = edge(&scratch, &camera.url("/"));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    connection.send(format!("{HEAD}\r\n"));
    connection.send(part(&maker.make(&Stamp::now(1))));
    assert_eq!(viewer.number(&maker), 1);
    let capture = pid(edge.child());
    kill_process(capture, Signal::STOP).unwrap();
    let number = edge.child();
    eventually("it is stopped", || stat(number).starts_with('T'));
    // Less than the smallest window, so that all of it is there when it goes on.
    for number in 2..=30 {
        connection.send(part(&maker.make(&Stamp::now(number))));
    }
    kill_process(capture, Signal::CONT).unwrap();
    assert_eq!(viewer.number(&maker), 30);
}

#[test]
fn single_pictures_are_fetched_one_after_the_other_and_no_faster_than_asked_for() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let url = camera.url("/capture?x=1");
    let flags = ["--source", &url, "--linger", "60", "--fps", "20"];
    let edge = Process::start(run(&scratch.join("front"), &flags));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let begun = Instant::now();
    // Not every picture is shown: one that came late has a successor too early, and nobody may have asked for it yet.
    let watching = thread::spawn(move || (viewer.part_after(9).number(), begun.elapsed(), viewer));
    let mut number = 0;
    while !watching.is_finished() {
        // Two on a connection that is kept; it is closed while the third is asked for.
        let mut connection = camera.accept();
        for _ in 0..2 {
            number += 1;
            assert!(
                connection
                    .request
                    .starts_with("GET /capture?x=1 HTTP/1.1\r\n")
            );
            let jpeg = maker.make(&Stamp::now(number));
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nX-Timestamp: 1.5\r\nContent-Length: {}\r\n\r\n",
                jpeg.len()
            );
            if number == 4 {
                // So the next one is asked for as soon as this one is there.
                thread::sleep(Duration::from_millis(130));
            }
            connection.send([head.as_bytes(), &jpeg].concat());
            connection = connection.again();
        }
    }
    let (shown, after, _viewer) = watching.join().unwrap();
    assert!((10..=number).contains(&shown), "{shown} of {number}");
    let least = Duration::from_millis(50) * (shown as u32 - 1);
    assert!(after > least, "{shown} pictures in {after:?}");
    assert!(!edge.stop().log.contains("lost"));
}

#[test]
fn the_password_of_a_camera_comes_from_a_file_and_is_told_to_nobody_else() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let file = scratch.join("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let url = camera.url("/").replace("http://", "http://Aladdin@");
    let mut flags = vec!["--source", &url, "--log", "debug"];
    let ended = Process::start(run(&scratch.join("front"), &flags)).end();
    assert!(ended.log.contains("go together"), "{}", ended.log);
    flags.extend(["--source-password", file.to_str().unwrap()]);
    let edge = Process::start(run(&scratch.join("front"), &flags));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    assert!(!connection.request.contains("Authorization"));
    connection.send("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n");
    let connection = camera.accept();
    // The example of RFC 7617, 2.
    let field = "\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
    assert!(connection.request.contains(field), "{}", connection.request);
    let _fed = connection.feed(&maker, 1);
    viewer.number(&maker);
    assert_eq!(told(&edge)["source"], camera.url("/"));
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", edge.child())).unwrap();
    let log = edge.stop().log;
    for secret in ["sesame", "QWxh"] {
        assert!(
            !arguments.contains(secret) && !log.contains(secret),
            "{log}"
        );
    }
}

#[test]
fn a_password_goes_to_a_camera_that_knows_digest_as_a_proof_only() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let file = scratch.join("password");
    std::fs::write(&file, "Circle of Life").unwrap();
    let url = camera.url("/x?y").replace("http://", "http://Mufasa@");
    let password = ["--source-password", file.to_str().unwrap()];
    let mut flags = vec!["--source", &url, "--linger", "0.2"];
    flags.extend(password);
    let edge = Process::start(run(&scratch.join("front"), &flags));
    let challenge = |nonce: &str| {
        format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\
             WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"\r\n\r\n"
        )
    };
    let proof = |request: &str, nonce: &str, count: &str| {
        let value = |name: &str| {
            let (_, behind) = request.split_once(&format!("{name}=\"")).expect(request);
            behind.split_once('"').unwrap().0.to_owned()
        };
        let hash = |text: String| -> String {
            let hash = Md5::digest(text);
            hash.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let who = hash("Mufasa:r:Circle of Life".into());
        let what = hash("GET:/x?y".into());
        let ours = value("cnonce");
        assert!(request.contains(&format!("nc={count}, ")), "{request}");
        assert_eq!(
            value("response"),
            hash(format!("{who}:{nonce}:{count}:{ours}:auth:{what}"))
        );
        assert!(
            !request.contains("Basic") && !request.contains("Circle"),
            "{request}"
        );
    };
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    camera.accept().send(challenge("one"));
    let connection = camera.accept();
    proof(&connection.request, "one", "00000001");
    let fed = connection.feed(&maker, 1);
    viewer.number(&maker);
    drop(viewer);
    fed.join().unwrap();
    // The camera has forgotten in the meantime.
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let mut connection = camera.accept();
    proof(&connection.request, "one", "00000002");
    connection.send(challenge("two"));
    let connection = camera.accept();
    proof(&connection.request, "two", "00000001");
    let _fed = connection.feed(&maker, 1);
    viewer.number(&maker);
    assert!(!edge.stop().log.contains("lost"));
}

#[test]
fn a_redirect_is_followed_on_the_same_host_and_to_no_other() {
    let (scratch, camera, maker) = (Scratch::new(), Camera::new(), Maker::new(3000));
    let (other, edge) = (Camera::new(), edge(&scratch, &camera.url("/old?x")));
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n");
    camera.accept().send(redirect(&other.url("/")));
    eventually("the reason is told", || {
        told(&edge)["why"]
            .as_str()
            .is_some_and(|why| why.starts_with("answers 302 Found and sends us to "))
    });
    camera.accept().send(redirect(&camera.url("/new?y#z")));
    let connection = camera.accept();
    assert!(connection.request.starts_with("GET /new?y HTTP/1.1\r\n"));
    let _fed = connection.feed(&maker, 7);
    assert!(viewer.number(&maker) >= 7);
    assert!(other.has_viewer().is_none());
}

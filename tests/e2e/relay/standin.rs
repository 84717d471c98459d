//! A camera on the network that is played here: it writes what the test says, or what the firmware of cameras writes.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lazycam::capture::pattern::stamp::Stamp;
use serde_json::Value;

use crate::common::frames::Maker;
use crate::common::http::Client;
use crate::common::process::{Process, run};
use crate::common::{PATIENCE, Scratch, eventually};

pub(super) const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=123456789000000000000987654321\r\n";

/// A camera on the network that nobody has connected to.
pub(super) struct Camera {
    pub(super) listener: TcpListener,
}

/// Frames of a lazycam come by at the edge, and it sleeps when the edge's only viewer has left. Ends the edge.
#[track_caller]
pub(super) fn expect_frames_and_sleep(edge: Process, origin: &Process) {
    let mut viewer = Client::connect(edge.address()).stream("/stream");
    let first = viewer.frame().number();
    viewer.part_after(first + 5);
    drop(viewer);
    eventually("the origin sleeps", || told(origin)["state"] == "off");
    edge.stop();
}

/// A connection to it, after the request.
pub(super) struct Viewer {
    pub(super) socket: TcpStream,
    pub(super) request: String,
}

impl Camera {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Camera { listener }
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port())
    }

    pub(super) fn has_viewer(&self) -> Option<TcpStream> {
        match self.listener.accept() {
            Ok((socket, _)) => Some(socket),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn accept(&self) -> Viewer {
        let mut socket = None;
        eventually("somebody connects", || {
            socket = self.has_viewer();
            socket.is_some()
        });
        Viewer::of(socket.unwrap())
    }
}

impl Camera {
    /// Serves one viewer after the other, and lets the rest wait, until what it returns is dropped.
    pub(super) fn serve_one_at_a_time(self, maker: &Maker) -> Arc<()> {
        let (kept, maker) = (Arc::new(()), maker.clone());
        let is_kept = Arc::downgrade(&kept);
        thread::spawn(move || {
            while is_kept.strong_count() > 0 {
                match self.has_viewer() {
                    Some(socket) => drop(Viewer::of(socket).feed(&maker, 1).join()),
                    None => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        kept
    }
}

impl Viewer {
    fn of(socket: TcpStream) -> Self {
        socket.set_nonblocking(false).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Viewer::over(socket)
    }

    /// Reads a request.
    fn over(mut socket: TcpStream) -> Self {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let request = String::from_utf8(request).unwrap();
        Viewer { socket, request }
    }

    /// Reads the next request on the same connection.
    pub(super) fn again(self) -> Self {
        Viewer::over(self.socket)
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends frames from this number on, until the other side is gone, as the CameraWebServer among the examples of ESP32's Arduino core
    /// does (app_httpd.cpp): boundary, head and picture are a chunk each.
    pub(super) fn feed(mut self, maker: &Maker, from: u64) -> JoinHandle<()> {
        self.send(format!(
            "{HEAD}Transfer-Encoding: chunked\r\nAccess-Control-Allow-Origin: *\r\nX-Framerate: 60\r\n\r\n"
        ));
        self.continue_with(maker, from, |jpeg| {
            let part = part(jpeg);
            let (head, picture) = part.split_at(part.len() - jpeg.len());
            let (boundary, head) = head.split_at("\r\n--123456789000000000000987654321\r\n".len());
            let chunk = |bytes: &[u8]| {
                [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
            };
            [boundary, head, picture].map(chunk).concat()
        })
    }

    /// Sends what this makes of each frame.
    pub(super) fn continue_with(
        mut self,
        maker: &Maker,
        from: u64,
        part: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> JoinHandle<()> {
        let maker = maker.clone();
        thread::spawn(move || {
            for number in from.. {
                let part = part(&maker.make(&Stamp::now(number)));
                if self.socket.write_all(&part).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        })
    }
}

pub(super) fn part(jpeg: &[u8]) -> Vec<u8> {
    let head = format!(
        "\r\n--123456789000000000000987654321\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        jpeg.len()
    );
    [head.as_bytes(), jpeg].concat()
}

pub(super) fn edge(scratch: &Scratch, source: &str) -> Process {
    let flags = ["--source", source, "--linger", "0.2"];
    Process::start(run(&scratch.join("front"), &flags))
}

pub(super) fn told(server: &Process) -> Value {
    told_over(Client::connect(server.address()))
}

/// What the state says of the first camera.
pub(super) fn told_over(mut client: Client) -> Value {
    let reply = client.get("/state");
    let state: Value = serde_json::from_slice(&reply.body).unwrap();
    state["result"]["lazycam"]["cameras"][0].clone()
}

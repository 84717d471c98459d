//! The programs to compare with. Each sends one viewer the frames of a directory, in the format of lazycam.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::common::calls::unacknowledged;

const TICK: Duration = Duration::from_millis(1);

/// When a frame is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// When all before it was acknowledged, and then one has come: no frame can be younger on arrival, but the line is idle in between.
    Acknowledged,
    /// When the socket takes it: what servers do that do not look further, and the most that a line can carry.
    Accepted,
}

/// Serves the first viewer until it leaves.
pub(crate) fn serve(listener: &TcpListener, dir: &Path, when: When) {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    let mut request = BufReader::new(socket.try_clone().unwrap()).lines();
    while request
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n--boundarydonotcross\r\n";
    let mut had = 0;
    let mut result = socket.write_all(head.as_bytes());
    while result.is_ok() {
        let frame = next(&socket, dir, when, &mut had);
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let length = frame.len();
        let mut part = format!("Content-Type: image/jpeg\r\nContent-Length: {length}\r\nX-Timestamp: {timestamp:.6}\r\n\r\n").into_bytes();
        part.extend(frame);
        part.extend(b"\r\n--boundarydonotcross\r\n");
        result = socket.write_all(&part);
    }
}

/// The next frame for a viewer that `had` the one with this inode.
fn next(socket: &TcpStream, dir: &Path, when: When, had: &mut u64) -> Vec<u8> {
    let path = dir.join("current.jpg");
    let inode = || fs::metadata(&path).map_or(0, |file| file.ino());
    let waits = || unacknowledged(socket).is_ok_and(|bytes| bytes > 0);
    // What a viewer that has left did not acknowledge stays counted.
    while when == When::Acknowledged && waits() && matches!(socket.take_error(), Ok(None)) {
        sleep(TICK);
    }
    // Opening it asks for the next one.
    if when == When::Acknowledged {
        *had = fs::File::open(&path)
            .and_then(|frame| frame.metadata())
            .map_or(0, |frame| frame.ino());
    }
    while inode() == *had {
        sleep(TICK);
    }
    let mut bytes = Vec::new();
    if let Ok(mut frame) = fs::File::open(&path) {
        *had = frame.metadata().map_or(0, |frame| frame.ino());
        let _ = frame.read_to_end(&mut bytes);
    }
    bytes
}

//! The load: any number of viewers in one thread, with one epoll, cheap enough not to dominate the measurement.
//!
//! A viewer reads the head of each part and the beginning of its picture, for the stamp. It has the kernel discard
//! the rest without copying it (`MSG_TRUNC` on TCP, tcp(7)), so a frame takes few calls and no memory traffic. It
//! checks what it reads: boundaries must be where the lengths say, and numbers must increase.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use lazycam::capture::pattern::stamp::Stamp;
use lazycam::server::http::part::DELIMITER;
use lazycam::time::clock::monotonic;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, send};

use crate::{Failure, Outcome};

const REQUEST: &[u8] = b"GET /stream HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\r\n";

/// Room for a reply's head, a part's head and the picture's beginning.
const LOOK: usize = 1024;

/// The number of bytes at the start of a picture that are sure to contain the stamp.
const STAMPED: usize = 128;

/// The most that is discarded in one call.
const GULP: usize = 1 << 20;

/// One client, between its socket and its position in the stream.
struct Viewer {
    socket: TcpStream,
    begun: Instant,
    look: [u8; LOOK],
    len: usize,
    /// The number of bytes of the current picture that are still to come, with its stamp, which is known.
    body: Option<(usize, Stamp)>,
    last: u64,
    greeted: bool,
}

enum Step {
    /// Nothing more can be read now.
    Blocked,
    /// Less was available than there was room for.
    Moved,
    /// There is likely to be more.
    More,
    /// The body of a frame is complete; the delimiter is not read yet.
    Whole,
    /// A frame is complete, delimiter and all. This is its age.
    Delivered(Duration),
}

impl Viewer {
    fn connect(address: SocketAddr) -> Outcome<Self> {
        let begun = Instant::now();
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        send(&socket, REQUEST, rustix::net::SendFlags::NOSIGNAL)?;
        socket.set_nonblocking(true)?;
        Ok(Viewer {
            socket,
            begun,
            look: [0; LOOK],
            len: 0,
            body: None,
            last: 0,
            greeted: false,
        })
    }

    fn step(&mut self, gulp: &mut [u8]) -> Outcome<Step> {
        if let Some((left, stamp)) = self.body.filter(|(left, _)| *left > 0) {
            let gulp = &mut gulp[..left.min(GULP)];
            return Ok(match take(&self.socket, gulp, RecvFlags::TRUNC)? {
                None => Step::Blocked,
                Some(n) => {
                    self.body = Some((left - n, stamp));
                    if n == left { Step::Whole } else { Step::Moved }
                }
            });
        }
        let room = &mut self.look[self.len..];
        let Some(n) = take(&self.socket, room, RecvFlags::empty())? else {
            return Ok(Step::Blocked);
        };
        self.len += n;
        self.parse()
    }

    /// Splits what `look` contains: the end of one part, the beginning of the next.
    fn parse(&mut self) -> Outcome<Step> {
        let bytes = &self.look[..self.len];
        let mut step = if self.len == LOOK {
            Step::More
        } else {
            Step::Moved
        };
        let start = if self.greeted {
            if self.len < DELIMITER.len() {
                return Ok(step);
            }
            if !bytes.starts_with(DELIMITER) {
                return Err(Failure("no boundary behind a frame".into()).into());
            }
            DELIMITER.len()
        } else {
            match find(bytes, DELIMITER) {
                Some(at) => at + DELIMITER.len(),
                None => return Ok(step),
            }
        };
        if let Some((_, stamp)) = self.body.take() {
            step = Step::Delivered(monotonic().saturating_sub(stamp.monotonic));
        }
        let rest = &bytes[start..];
        let Some(end) = find(rest, b"\r\n\r\n") else {
            // The delimiter stays where it is, to be examined again once more has been read.
            return Ok(step);
        };
        let (head, picture) = (&rest[..end], &rest[end + 4..]);
        if picture.len() < STAMPED {
            return Ok(step);
        }
        let len = content_length(head).ok_or(Failure("a part without a length".into()))?;
        let stamp = Stamp::find(picture).ok_or(Failure("a frame without a stamp".into()))?;
        if stamp.frame <= self.last || len < picture.len() {
            let last = self.last;
            let problem = format!("frame {} of {len} bytes after {last}", stamp.frame);
            return Err(Failure(problem).into());
        }
        self.last = stamp.frame;
        self.body = Some((len - picture.len(), stamp));
        self.greeted = true;
        self.len = 0;
        Ok(step)
    }
}

/// Performs one read; `None` if there is nothing to read.
fn take(socket: &TcpStream, buffer: &mut [u8], flags: RecvFlags) -> Outcome<Option<usize>> {
    match recv(socket, buffer, flags) {
        // With MSG_TRUNC the first number refers to the buffer, the second is the number of bytes taken.
        Ok((_, 0)) => Err(Failure("the server ended a stream".into()).into()),
        Ok((_, n)) => Ok(Some(n)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(head).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?;
    line.parse().ok()
}

/// Viewers that stay.
pub(crate) struct Crowd {
    epoll: OwnedFd,
    viewers: Vec<Viewer>,
    batch: Vec<epoll::Event>,
    gulp: Vec<u8>,
}

impl Crowd {
    pub(crate) fn connect(address: SocketAddr, count: usize) -> Outcome<Self> {
        let mut crowd = Crowd {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            viewers: Vec::new(),
            batch: Vec::with_capacity(256),
            gulp: vec![0; GULP],
        };
        for index in 0..count {
            let viewer = Viewer::connect(address)?;
            crowd.wait_for(&viewer, index)?;
            crowd.viewers.push(viewer);
        }
        Ok(crowd)
    }

    fn wait_for(&self, viewer: &Viewer, index: usize) -> Outcome<()> {
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::add(
            &self.epoll,
            &viewer.socket,
            data,
            epoll::EventFlags::IN,
        )?)
    }

    fn wait(&mut self, until: Instant) -> Outcome<Vec<usize>> {
        let left = until.saturating_duration_since(Instant::now());
        let millis = left.as_millis().min(1000) as i64 + 1;
        let timeout = Timespec {
            tv_sec: millis / 1000,
            tv_nsec: (millis % 1000) * 1_000_000,
        };
        self.batch.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.batch), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = self.batch.iter().map(|event| event.data.u64() as usize);
        Ok(ready.collect())
    }

    /// Watches until `until`; returns the ages of all frames that were completed.
    pub(crate) fn watch(&mut self, until: Instant) -> Outcome<Vec<Duration>> {
        let mut ages = Vec::new();
        while Instant::now() < until {
            for index in self.wait(until)? {
                loop {
                    match self.viewers[index].step(&mut self.gulp)? {
                        Step::Blocked | Step::Moved => break,
                        Step::More | Step::Whole => {}
                        Step::Delivered(age) => {
                            ages.push(age);
                            break;
                        }
                    }
                }
            }
        }
        Ok(ages)
    }
}

/// Visits: each connects, takes one whole frame and leaves; `at_a_time` of them are in progress at a time. Returns
/// how long each took, from connecting to the last byte of the frame.
pub(crate) fn storm(
    address: SocketAddr,
    visits: usize,
    at_a_time: usize,
    limit: Duration,
) -> Outcome<Vec<Duration>> {
    let end = Instant::now() + limit;
    let mut crowd = Crowd::connect(address, at_a_time.min(visits))?;
    let mut begun = crowd.viewers.len();
    let mut times = Vec::with_capacity(visits);
    while times.len() < visits {
        if Instant::now() > end {
            return Err(Failure(format!("only {} visits in {limit:?}", times.len())).into());
        }
        for index in crowd.wait(end)? {
            loop {
                match crowd.viewers[index].step(&mut crowd.gulp)? {
                    Step::More => continue,
                    Step::Blocked | Step::Moved => break,
                    Step::Whole | Step::Delivered(_) => {}
                }
                times.push(crowd.viewers[index].begun.elapsed());
                if begun == visits {
                    // Its slot stays empty.
                    epoll::delete(&crowd.epoll, &crowd.viewers[index].socket)?;
                    crowd.viewers[index]
                        .socket
                        .shutdown(std::net::Shutdown::Both)?;
                    break;
                }
                begun += 1;
                let viewer = Viewer::connect(address)?;
                crowd.wait_for(&viewer, index)?;
                // This closes the previous one, which also removes it from the epoll.
                crowd.viewers[index] = viewer;
            }
        }
    }
    Ok(times)
}

//! The bare program that lazycam is compared with: epoll, inotify, and the newest file for everyone.
//!
//! What: it sends the same replies byte for byte, and does nothing beyond that. A frame is opened once per rename and
//! shared, its head is made once, and each viewer has an offset of its own: `send` with MSG_MORE, `sendfile`, `send`.
//!
//! Why: the ratio to this program shows what lazycam's precautions cost, on any machine and under any load.
//!
//! What not: no checks of frames or requests, no pacing, no freshness, no time-outs, no limits, no demand, no orderly
//! end. The benchmark kills it when it is done with it.
//!
//! Two other ways of sending are included for comparison. [`How::Copy`]: the frame is read into memory once and sent
//! with its head and delimiter in a single `sendmsg`. [`How::Cork`]: like the default, but between two calls that
//! hold back what does not fill a segment, so that the delimiter shares a segment with the end of the frame.

use std::io::{IoSlice, IoSliceMut, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use lazycam::frames::CURRENT;
use lazycam::picture::format::USUAL_SIZE;
use lazycam::server::http::exchange::Exchange;
use lazycam::server::http::part::{self, FrameFacts};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags, fstat, open, sendfile};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg, sockopt};

use crate::{Failure, Outcome};

const LISTENER: u64 = u64::MAX;
const FRAMES: u64 = u64::MAX - 1;

/// How a frame is written to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum How {
    /// `send`, `sendfile`, `send`.
    Sendfile,
    /// Read once, then one `sendmsg`.
    Copy,
    /// `send`, `sendfile`, `send`, corked.
    Cork,
}

struct Frame {
    file: OwnedFd,
    /// The number is not reused while this file is open.
    inode: u64,
    content: Vec<u8>,
    len: usize,
    head: Vec<u8>,
    number: u64,
}

struct Client {
    socket: TcpStream,
    asked: bool,
    /// What is sent before the first part.
    greeting: Vec<u8>,
    sending: Option<Rc<Frame>>,
    /// The number of bytes sent of greeting, head, frame and delimiter together.
    sent: usize,
    have: u64,
}

/// Serves `dir` until it is killed.
pub(crate) fn run(dir: &Path, how: How) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // std asks for a backlog of 128; lazycam for 1024.
    rustix::net::listen(&listener, 1024)?;
    listener.set_nonblocking(true)?;
    let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, dir, WatchFlags::MOVED_TO)?;
    let readable = epoll::EventFlags::IN;
    epoll::add(
        &events,
        &listener,
        epoll::EventData::new_u64(LISTENER),
        readable,
    )?;
    epoll::add(&events, &watch, epoll::EventData::new_u64(FRAMES), readable)?;
    writeln!(std::io::stderr(), "listening on {}", listener.local_addr()?)?;

    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut newest: Option<Rc<Frame>> = None;
    let mut number = 0;
    let mut batch = Vec::with_capacity(128);
    loop {
        batch.clear();
        match epoll::wait(&events, spare_capacity(&mut batch), None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        for event in &batch {
            match event.data.u64() {
                LISTENER => accept(&listener, &events, &mut clients, how, newest.as_ref())?,
                FRAMES => {
                    // One read takes all there is; the contents do not matter.
                    let _ = rustix::io::read(&watch, &mut [0; 4096]);
                    number += 1;
                    let frame = open_newest(dir, number, how)?;
                    // There may be two renames and one event, or the reverse: no frame is sent twice.
                    if newest.as_ref().is_some_and(|old| old.inode == frame.inode) {
                        continue;
                    }
                    newest = Some(Rc::new(frame));
                    for place in &mut clients {
                        move_on(place, how, newest.as_ref());
                    }
                }
                index => {
                    if let Some(place) = clients.get_mut(index as usize) {
                        let gone = place.as_mut().is_some_and(|client| !client.read());
                        if gone {
                            *place = None;
                        }
                        move_on(place, how, newest.as_ref());
                    }
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    events: &OwnedFd,
    clients: &mut Vec<Option<Client>>,
    how: How,
    newest: Option<&Rc<Frame>>,
) -> Outcome<()> {
    use epoll::EventFlags as F;
    while let Ok((socket, _)) = listener.accept() {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let free = clients.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            clients.push(None);
            clients.len() - 1
        });
        let edges = F::IN | F::OUT | F::RDHUP | F::ET;
        epoll::add(
            events,
            &socket,
            epoll::EventData::new_u64(index as u64),
            edges,
        )?;
        let place = clients.get_mut(index).ok_or(Failure("no place".into()))?;
        let mut client = Client {
            socket,
            asked: false,
            greeting: [
                part::stream_head("", &Exchange::default(), SystemTime::now()),
                part::DELIMITER[2..].to_vec(),
            ]
            .concat(),
            sending: None,
            sent: 0,
            have: 0,
        };
        if client.read() {
            *place = Some(client);
            move_on(place, how, newest);
        }
    }
    Ok(())
}

fn open_newest(dir: &Path, number: u64, how: How) -> Outcome<Frame> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = open(dir.join(CURRENT), flags, Mode::empty())?;
    let about = fstat(&file)?;
    let len = usize::try_from(about.st_size)?;
    let mut content = Vec::new();
    if how == How::Copy {
        content = vec![0; len];
        rustix::io::preadv(&file, &mut [IoSliceMut::new(&mut content)], 0)?;
    }
    let since = Duration::new(about.st_mtime as u64, about.st_mtime_nsec as u32);
    let mut head = Vec::new();
    // The same for all viewers: only the length of what it says about the age matters here.
    let facts = FrameFacts {
        len: len as u64,
        captured: SystemTime::UNIX_EPOCH + since,
        picture: USUAL_SIZE,
        age: Duration::ZERO,
        online: true,
    };
    facts.write_part_head(&mut head, facts.len, "");
    Ok(Frame {
        file,
        inode: about.st_ino,
        content,
        len,
        head,
        number,
    })
}

fn move_on(place: &mut Option<Client>, how: How, newest: Option<&Rc<Frame>>) {
    let failed = place
        .as_mut()
        .is_some_and(|client| client.write(how, newest).is_err());
    if failed {
        *place = None;
    }
}

impl Client {
    /// Looks for the end of the request; `false` means that the client has gone.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 1024];
        match recv(&self.socket, &mut bytes, RecvFlags::empty()) {
            Ok((_, 0)) => false,
            Ok((_, n)) => {
                self.asked |= bytes[..n].ends_with(b"\r\n\r\n");
                true
            }
            Err(errno) => errno == Errno::AGAIN,
        }
    }

    /// Sends until the socket is full or there is nothing newer.
    fn write(&mut self, how: How, newest: Option<&Rc<Frame>>) -> Result<(), Errno> {
        let Some(newest) = newest.filter(|frame| self.asked && frame.len > 0) else {
            return Ok(());
        };
        loop {
            let frame = match &self.sending {
                Some(frame) => Rc::clone(frame),
                None if newest.number > self.have => Rc::clone(newest),
                None => return Ok(()),
            };
            self.have = frame.number;
            let sent = match how {
                How::Sendfile => self.send_piece(&frame),
                How::Cork => {
                    if self.sending.is_none() {
                        sockopt::set_tcp_cork(&self.socket, true)?;
                    }
                    self.send_piece(&frame)
                }
                How::Copy => self.send_all(&frame),
            };
            match sent {
                Ok(n) => self.sent += n,
                Err(Errno::AGAIN) => {
                    self.sending = Some(frame);
                    return Ok(());
                }
                Err(errno) => return Err(errno),
            }
            let whole = self.greeting.len() + frame.head.len() + frame.len + part::DELIMITER.len();
            if self.sent < whole {
                self.sending = Some(frame);
            } else {
                self.sending = None;
                self.greeting = Vec::new();
                self.sent = 0;
                if how == How::Cork {
                    sockopt::set_tcp_cork(&self.socket, false)?;
                }
            }
        }
    }

    fn send_piece(&self, frame: &Frame) -> Result<usize, Errno> {
        let (head, file) = (
            self.greeting.len() + frame.head.len(),
            self.greeting.len() + frame.head.len() + frame.len,
        );
        if self.sent < head {
            let bytes = [&self.greeting[..], &frame.head[..]].concat();
            let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
            send(&self.socket, &bytes[self.sent..], flags)
        } else if self.sent < file {
            let mut offset = (self.sent - head) as u64;
            sendfile(
                &self.socket,
                &frame.file,
                Some(&mut offset),
                file - self.sent,
            )
        } else {
            let rest = &part::DELIMITER[self.sent - file..];
            send(&self.socket, rest, SendFlags::NOSIGNAL)
        }
    }

    fn send_all(&self, frame: &Frame) -> Result<usize, Errno> {
        let pieces = [
            &self.greeting[..],
            &frame.head[..],
            &frame.content[..],
            part::DELIMITER,
        ];
        let mut slices = pieces.map(IoSlice::new);
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, self.sent);
        let mut control = SendAncillaryBuffer::default();
        sendmsg(&self.socket, rest, &mut control, SendFlags::NOSIGNAL)
    }
}

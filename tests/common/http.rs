//! A small and strict HTTP client: what a lenient one would forgive fails here.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use lazycam::capture::pattern::stamp::Stamp;
use lazycam::picture::jpeg;
use lazycam::time::clock::monotonic;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::PATIENCE;
use super::frames::Maker;

/// The boundary with its dashes and line break, as it stands before the first part.
const BOUNDARY: &[u8] = b"--boundarydonotcross\r\n";

pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A client with one connection.
pub(crate) struct Client {
    socket: Socket,
    /// Received and not used yet.
    buffer: Vec<u8>,
}

/// The head of a reply.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// A TCP socket to be prepared, which no process inherits that another test starts meanwhile.
pub(crate) fn unconnected() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
}

/// A client with an address of its own: all of 127.0.0.0/8 is this machine's.
pub(crate) fn connect_from(last: u8, server: SocketAddr) -> Client {
    let socket = unconnected();
    let own = SocketAddr::from((Ipv4Addr::new(127, 0, 9, last), 0));
    rustix::net::bind(&socket, &own).unwrap();
    rustix::net::connect(&socket, &server).unwrap();
    Client::over(socket.into())
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Client::over(TcpStream::connect(address).unwrap())
    }

    /// One whose system holds back little for it: what it does not read stays with the server.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        Client::connect_with_buffer(address, 4096)
    }

    /// One whose system holds back as little as it can.
    pub(crate) fn connect_tiny(address: SocketAddr) -> Self {
        Client::connect_with_buffer(address, 1)
    }

    fn connect_with_buffer(address: SocketAddr, bytes: usize) -> Self {
        assert!(address.is_ipv4());
        let socket = unconnected();
        sockopt::set_socket_recv_buffer_size(&socket, bytes).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        Client::over(socket.into())
    }

    pub(crate) fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Client {
            socket: Socket::Tcp(socket),
            buffer: Vec::new(),
        }
    }

    pub(crate) fn connect_unix(path: &Path) -> Self {
        Client::over_unix(UnixStream::connect(path).unwrap())
    }

    pub(crate) fn over_unix(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            socket: Socket::Unix(socket),
            buffer: Vec::new(),
        }
    }

    /// How long to wait for bytes.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        let patience = Some(patience);
        match &self.socket {
            Socket::Tcp(socket) => socket.set_read_timeout(patience).unwrap(),
            Socket::Unix(socket) => socket.set_read_timeout(patience).unwrap(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.write_all(bytes),
            Socket::Unix(socket) => socket.write_all(bytes),
        }
    }

    /// Sends a request of HTTP/1.1 with nothing but what it must have.
    pub(crate) fn request(&mut self, method: &str, target: &str) {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }

    /// The whole exchange of one request.
    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.request("GET", target);
        self.reply()
    }

    /// The reply to a request for a picture. Where a machine stalls for longer than the server waits for a frame, that is a 503 when
    /// this time has passed, and no sooner: then it is asked again.
    #[track_caller]
    pub(crate) fn picture(&mut self, target: &str) -> Reply {
        self.picture_by(|client| client.request("GET", target))
    }

    /// The same, with the request that `ask` sends.
    #[track_caller]
    pub(crate) fn picture_by(&mut self, mut ask: impl FnMut(&mut Client)) -> Reply {
        let limit = Instant::now() + PATIENCE;
        loop {
            let asked = Instant::now();
            ask(self);
            let reply = self.reply();
            if !reply.is_out_of_time(asked) || Instant::now() > limit {
                assert_eq!(reply.head.status, 200, "{:?}", reply.head);
                return reply;
            }
        }
    }

    /// Ends the sending side.
    pub(crate) fn half_close(&mut self) {
        match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write).unwrap(),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// With a time-out the kernel does not take it up again by itself when this process was stopped and goes on (signal(7)).
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = match &mut self.socket {
                Socket::Tcp(socket) => socket.read(bytes),
                Socket::Unix(socket) => socket.read(bytes),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Receives some bytes; none at the end of the connection.
    fn receive(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; 65536];
        let n = self.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// Whether there is something to read, or the end, within `patience`.
    pub(crate) fn hears_something(&mut self, patience: Duration) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        self.set_patience(patience);
        let received = self.receive();
        self.set_patience(PATIENCE);
        match received {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether nothing more comes, but the clean end of the connection; waits for either.
    #[track_caller]
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.buffer.is_empty() && self.receive().expect("something to read, or the end") == 0
    }

    /// Exactly `n` bytes.
    #[track_caller]
    pub(crate) fn take(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            match self.receive() {
                Ok(0) => panic!("the end after {:?}", show(&self.buffer)),
                Ok(_) => {}
                Err(error) => panic!("{error} after {:?}", show(&self.buffer)),
            }
        }
        self.buffer.drain(..n).collect()
    }

    /// Takes `n` bytes at most off the connection, and forgets them.
    #[track_caller]
    pub(crate) fn sip(&mut self, n: usize) {
        let mut bytes = vec![0; n];
        assert!(self.read(&mut bytes).unwrap() > 0, "the end");
    }

    /// Everything up to and with the next empty line.
    #[track_caller]
    fn take_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.take(1));
        }
        String::from_utf8(head).unwrap()
    }

    /// A reply's head.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        let text = self.take_head();
        let mut lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
        let status = lines.next().unwrap();
        let (version, rest) = status.split_once(' ').unwrap();
        let (code, reason) = rest.split_once(' ').unwrap();
        assert!(code.len() == 3 && !reason.is_empty(), "{status}");
        let fields = lines.map(|line| {
            assert!(!line.contains(['\r', '\n']), "{line:?}");
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            assert!(!name.is_empty() && !name.contains(' '), "{line:?}");
            (name.to_owned(), value.to_owned())
        });
        Head {
            version: version.to_owned(),
            status: code.parse().unwrap(),
            fields: fields.collect(),
        }
    }

    /// A reply with a body as long as it says; one without has none.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        let head = self.head();
        let body = self.take(head.length());
        Reply { head, body }
    }

    /// Everything up to the end of the connection, which must be a clean one.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self
            .receive()
            .expect("the end of the connection, not an error")
            > 0
        {}
        std::mem::take(&mut self.buffer)
    }

    /// Nothing more comes, and then the connection ends cleanly.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{:?}", show(&rest));
    }

    /// Waits for the end of a connection that the server may break off, and throws away what comes before it.
    pub(crate) fn wait_for_any_end(&mut self) {
        loop {
            match self.receive() {
                Ok(0) => return,
                Ok(_) => self.buffer.clear(),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Asks for a stream and reads its head.
    #[track_caller]
    pub(crate) fn stream(mut self, target: &str) -> Stream {
        self.request("GET", target);
        self.begin_stream()
    }

    /// Asks as HTTP/1.0 does, so that no proxy in between sends chunks.
    #[track_caller]
    pub(crate) fn stream_without_chunks(mut self, target: &str) -> Stream {
        self.send(format!("GET {target} HTTP/1.0\r\nHost: test\r\n\r\n"));
        self.begin_stream()
    }

    /// What comes is a stream without its head: another program has that.
    #[track_caller]
    pub(crate) fn body_of_stream(mut self) -> Stream {
        assert_eq!(self.take(BOUNDARY.len()), BOUNDARY);
        Stream { client: self }
    }

    /// Reads the head of a stream that was asked for.
    #[track_caller]
    pub(crate) fn begin_stream(mut self) -> Stream {
        let head = self.head();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(
            head.field("Content-Type"),
            Some("multipart/x-mixed-replace;boundary=boundarydonotcross")
        );
        assert_eq!(self.take(BOUNDARY.len()), BOUNDARY);
        Stream { client: self }
    }
}

impl Reply {
    /// Whether it is the 503 of a server that was `asked` for a picture, and has waited for a frame as long as it does.
    pub(crate) fn is_out_of_time(&self, asked: Instant) -> bool {
        // 1.5 s, but for the moment between the server's look at the clock and its read.
        self.head.status == 503 && asked.elapsed() >= Duration::from_millis(1400)
    }
}

impl Head {
    /// The value of a field that is there at most once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self
            .fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }

    fn length(&self) -> usize {
        let length = self.field("Content-Length").unwrap_or("0");
        length.parse().unwrap()
    }
}

/// A stream after its head and its first boundary.
pub(crate) struct Stream {
    client: Client,
}

/// A frame as it came.
pub(crate) struct Part {
    pub(crate) jpeg: Vec<u8>,
    /// `X-Timestamp`, since 1970.
    pub(crate) timestamp: Duration,
    /// `X-Frame-Age`; the programs that benches compare with do not tell it.
    age_when_sent: Option<Duration>,
    /// When its last byte was there, by the clock that stamps carry.
    pub(crate) received: Duration,
}

impl Part {
    #[track_caller]
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::find(&self.jpeg).expect("a frame without a stamp")
    }

    #[track_caller]
    pub(crate) fn number(&self) -> u64 {
        self.stamp().frame
    }

    /// What it says if it is no frame but the picture of a lost camera.
    pub(crate) fn notice(&self) -> Option<String> {
        let mut comments =
            jpeg::comments(&self.jpeg).filter_map(|text| std::str::from_utf8(text).ok());
        comments.find_map(|text| Some(text.strip_prefix("lazycam notice: ")?.into()))
    }

    #[track_caller]
    pub(crate) fn age_when_sent(&self) -> Duration {
        self.age_when_sent.expect("a part without X-Frame-Age")
    }

    pub(crate) fn age(&self) -> Duration {
        self.received.saturating_sub(self.stamp().monotonic)
    }
}

impl Stream {
    /// The next part with the delimiter behind it; `None` at the clean end of the stream.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Part> {
        if self.client.buffer.is_empty() {
            match self.client.receive() {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => panic!("{error} where a part should begin"),
            }
        }
        let head = self.client.take_head();
        let lines: Vec<_> = head.split("\r\n").collect();
        let [kind, length, timestamp, ref rest @ ..] = lines[..] else {
            panic!("{head:?}");
        };
        let (age, rest) = match rest[0].strip_prefix("X-Frame-Age: ") {
            Some(age) => (Some(age), &rest[1..]),
            None => (None, rest),
        };
        assert!(
            matches!(rest, ["", ""] | ["X-UStreamer-Online: false", "", ""]),
            "{head:?}"
        );
        assert_eq!(kind, "Content-Type: image/jpeg");
        let length = length.strip_prefix("Content-Length: ").expect(length);
        let timestamp = timestamp.strip_prefix("X-Timestamp: ").expect(timestamp);
        let jpeg = self.client.take(length.parse().unwrap());
        let received = monotonic();
        assert_eq!(show(&self.client.take(2)), "\r\n");
        assert_eq!(show(&self.client.take(BOUNDARY.len())), show(BOUNDARY));
        let timestamp = parse_timestamp(timestamp);
        Some(Part {
            jpeg,
            timestamp,
            age_when_sent: age.map(parse_timestamp),
            received,
        })
    }

    /// The next part, which must come.
    #[track_caller]
    pub(crate) fn part(&mut self) -> Part {
        self.next().expect("a frame, not the end of the stream")
    }

    /// The next part that is a frame. Where a machine stalls, the picture of a camera that is not there yet may come before it.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Part {
        self.part_that(|part| part.notice().is_none())
    }

    /// The usual time between this part and those that follow: the middle one of three, because a machine may stand still for once.
    #[track_caller]
    pub(crate) fn usual_gap(&mut self, first: &Part) -> Duration {
        let mut last = first.received;
        let mut gaps = [(); 3].map(|()| {
            let before = std::mem::replace(&mut last, self.part().received);
            last - before
        });
        gaps.sort();
        gaps[1]
    }

    /// The next frame, of which each byte is as `maker` made it; its number.
    #[track_caller]
    pub(crate) fn number(&mut self, maker: &Maker) -> u64 {
        maker.verify(&self.frame().jpeg).frame
    }

    /// Reads on until a frame with a number above `number` comes.
    #[track_caller]
    pub(crate) fn part_after(&mut self, number: u64) -> Part {
        self.part_that(|part| part.notice().is_none() && part.number() > number)
    }

    #[track_caller]
    pub(crate) fn part_that(&mut self, mut is_it: impl FnMut(&Part) -> bool) -> Part {
        let limit = Instant::now() + PATIENCE;
        loop {
            let part = self.part();
            if is_it(&part) {
                return part;
            }
            assert!(Instant::now() < limit, "frames come, but not the right one");
        }
    }

    /// The clean end of the stream, after at most some more whole parts.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let limit = Instant::now() + PATIENCE;
        while self.next().is_some() {
            assert!(Instant::now() < limit, "the stream goes on");
        }
    }

    /// The connection below.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Reads on until a frame comes that was captured after this call.
#[track_caller]
pub(crate) fn expect_new_frame(stream: &mut Stream) {
    let now = monotonic();
    // A slow machine may be shown the picture of a camera that is not there yet.
    stream.part_that(|part| part.notice().is_none() && part.stamp().monotonic > now);
}

/// Seconds with exactly six digits behind the point.
#[track_caller]
pub(crate) fn parse_timestamp(text: &str) -> Duration {
    let (secs, micros) = text.split_once('.').expect(text);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    assert!(
        digits(secs) && digits(micros) && micros.len() == 6,
        "{text}"
    );
    let micros: u32 = micros.parse().unwrap();
    Duration::new(secs.parse().unwrap(), micros * 1000)
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}

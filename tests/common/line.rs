//! A line between two machines, packet by packet: rate, queue, round trip, loss, and acknowledgements that pass in clumps.
//!
//! Each of two network namespaces has a tun device (kernel document networking/tuntap), and a thread here carries the packets from one
//! to the other. It needs no netem, which few small kernels have. Tun devices without offloads see the very packets that a wire would
//! carry; a token bucket (tc-tbf(8)) sees segments of up to 64 KB. Rate, queue and losses are for what the server sends. Both
//! directions take half of the round trip.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::calls::open_tun;

/// What a line does to packets. The default does nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Bits per second towards the viewer, counted with IP headers; 0: as fast as this machine.
    pub(crate) rate: f64,
    /// How much the line holds back before it drops, as time at its rate.
    pub(crate) queue: Duration,
    pub(crate) round_trip: Duration,
    /// How many of the packets towards the viewer are lost, of 1.
    pub(crate) loss: f64,
    /// What the viewer sends passes only at multiples of this.
    pub(crate) clump: Duration,
    pub(crate) lost_tails: Option<LostTails>,
    /// The server's congestion control, chosen by route (ip-route(8)); `None` is that of the machine.
    pub(crate) congestion: Option<&'static str>,
}

/// From every second frame the last packets are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LostTails {
    /// Bytes of a frame.
    pub(crate) frame: u32,
    /// How many bytes of its end are lost, with all that is sent behind them and before the next frame.
    pub(crate) bytes: u32,
}

/// Carries packets until it is dropped.
pub(crate) struct Pump {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    dropped: AtomicU64,
}

impl Line {
    /// Joins two namespaces, each of which gets a tun device of this name.
    pub(crate) fn join(&self, device: &str, server: &str, viewer: &str) -> Pump {
        let ends = [server, viewer].map(|namespace| open(namespace, device));
        let (stop, counts) = (Arc::default(), Arc::<Counts>::default());
        let carrier = Carrier {
            line: self.clone(),
            ends,
            free: Instant::now(),
            due: BinaryHeap::new(),
            order: 0,
            chance: Chance(1),
            tails: Tails::default(),
            counts: Arc::clone(&counts),
        };
        let halt: Arc<AtomicBool> = Arc::clone(&stop);
        Pump {
            stop,
            counts,
            thread: Some(thread::spawn(move || carrier.run(&halt))),
        }
    }
}

impl Pump {
    /// Bytes of packets that the viewer was sent.
    pub(crate) fn bytes(&self) -> u64 {
        self.counts.bytes.load(Relaxed)
    }

    /// Packets that were lost on purpose, or for want of room in the queue.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Relaxed)
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Opens a new device in a namespace. A thread moves there, not the process, and a device stays where it was made.
fn open(namespace: &str, device: &str) -> OwnedFd {
    let place = File::open(format!("/run/netns/{namespace}")).unwrap();
    let device = device.to_owned();
    thread::spawn(move || {
        move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        open_tun(&device).expect("/dev/net/tun")
    })
    .join()
    .unwrap()
}

/// A packet on its way: when it arrives, its place among all, at which end it arrives, and its bytes.
type Packet = (Instant, u64, usize, Vec<u8>);

struct Carrier {
    line: Line,
    /// The server's, and the viewer's.
    ends: [OwnedFd; 2],
    /// When all that is queued will have been sent.
    free: Instant,
    due: BinaryHeap<Reverse<Packet>>,
    order: u64,
    chance: Chance,
    tails: Tails,
    counts: Arc<Counts>,
}

impl Carrier {
    fn run(mut self, stop: &AtomicBool) {
        let start = Instant::now();
        let mut bytes = vec![0; 65536];
        while !stop.load(Relaxed) {
            let next = self.deliver();
            let wait = next.min(Duration::from_millis(100));
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: wait.subsec_nanos().into(),
            };
            let mut polled = [
                PollFd::new(&self.ends[0], PollFlags::IN),
                PollFd::new(&self.ends[1], PollFlags::IN),
            ];
            let _ = poll(&mut polled, Some(&wait));
            for from in 0..2 {
                self.take(from, &mut bytes, start);
            }
        }
    }

    /// Hands over what is due, and returns the time until the next packet is.
    fn deliver(&mut self) -> Duration {
        while let Some(Reverse((at, ..))) = self.due.peek() {
            let wait = at.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return wait;
            }
            if let Some(Reverse((_, _, to, packet))) = self.due.pop() {
                // A device that takes no more has lost it, as a network card would have.
                let _ = write(&self.ends[to], &packet);
            }
        }
        Duration::MAX
    }

    /// Takes the packets that one end has sent.
    fn take(&mut self, from: usize, bytes: &mut [u8], start: Instant) {
        for _ in 0..64 {
            let n = match read(&self.ends[from], &mut *bytes) {
                Ok(n) => n,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            };
            let packet = &bytes[..n];
            let now = Instant::now();
            let at = match from {
                0 => self.send(packet, now),
                _ => Some(self.return_at(now, start)),
            };
            self.order += 1;
            match at {
                Some(at) => {
                    let packet = (at, self.order, 1 - from, packet.to_vec());
                    self.due.push(Reverse(packet));
                }
                None => {
                    self.counts.dropped.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// When a packet of the server arrives, unless it is lost.
    fn send(&mut self, packet: &[u8], now: Instant) -> Option<Instant> {
        let lost = self.chance.is(self.line.loss);
        let tail = self.line.lost_tails;
        if lost || tail.is_some_and(|tail| self.tails.loses(tail, packet)) {
            return None;
        }
        let half = self.line.round_trip / 2;
        self.counts.bytes.fetch_add(packet.len() as u64, Relaxed);
        if self.line.rate == 0.0 {
            return Some(now + half);
        }
        if self.free.saturating_duration_since(now) > self.line.queue {
            return None;
        }
        let time = Duration::from_secs_f64(packet.len() as f64 * 8.0 / self.line.rate);
        self.free = self.free.max(now) + time;
        Some(self.free + half)
    }

    /// When a packet of the viewer arrives.
    fn return_at(&self, now: Instant, start: Instant) -> Instant {
        let at = now + self.line.round_trip / 2;
        let clump = self.line.clump.as_nanos();
        if clump == 0 {
            return at;
        }
        let clumps = (at - start).as_nanos() / clump + 1;
        start + Duration::from_nanos(u64::try_from(clumps * clump).unwrap())
    }
}

/// Numbers that look like chance and are the same in each run: xorshift.
struct Chance(u64);

impl Chance {
    fn is(&mut self, probability: f64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64) < probability * (1u64 << 53) as f64
    }
}

/// Where in the sequence of bytes a frame ends.
#[derive(Default)]
struct Tails {
    frames: u32,
    /// The sequence number from which on all is lost, and that from which on nothing was sent yet.
    lost_from: Option<u32>,
    sent: Option<u32>,
}

impl Tails {
    fn loses(&mut self, tail: LostTails, packet: &[u8]) -> bool {
        let Some((sequence, payload)) = tcp(packet) else {
            return false;
        };
        let end = sequence.wrapping_add(payload.len() as u32);
        let is_new = |sent: u32| (end.wrapping_sub(sent) as i32) > 0;
        // What is sent again arrives.
        if payload.is_empty() || !self.sent.is_none_or(is_new) {
            return false;
        }
        self.sent = Some(end);
        if let Some(at) = payload.windows(3).position(|at| at == [0xFF, 0xD8, 0xFF]) {
            self.frames += 1;
            let first = sequence.wrapping_add(at as u32);
            let lost_from = first.wrapping_add(tail.frame - tail.bytes);
            self.lost_from = (self.frames % 2 == 0).then_some(lost_from);
        }
        self.lost_from
            .is_some_and(|from| (end.wrapping_sub(from) as i32) > 0)
    }
}

/// Sequence number and data of a TCP segment in an IPv4 packet. Namespaces send packets of IPv6 by themselves.
fn tcp(packet: &[u8]) -> Option<(u32, &[u8])> {
    const TCP: u8 = 6;
    if packet.first()? >> 4 != 4 || *packet.get(9)? != TCP {
        return None;
    }
    let header = usize::from(packet.first()? & 15) * 4;
    let segment = packet.get(header..)?;
    let sequence = segment.get(4..8)?.try_into().ok()?;
    let data = usize::from(segment.get(12)? >> 4) * 4;
    Some((u32::from_be_bytes(sequence), segment.get(data..)?))
}

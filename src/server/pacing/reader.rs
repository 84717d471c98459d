//! Whether the program at the other end has read what its system has acknowledged.
//!
//! A program that works on each frame for longer than its line takes leaves frames in its own system's buffer, which holds seconds of them and
//! acknowledges all at once. Nobody reports how much of it is unread. The advertised window (`tcpi_snd_wnd`) does not tell: Linux advertises
//! far less than it has (`rcv_ssthresh`), so it stays where it is while megabytes wait, and even grows. But Linux tells by *when* it acknowledges a
//! lone small segment: at once if that is read at once and nothing else waits (`tcp_cleanup_rbuf`), otherwise after 40 ms (`TCP_DELACK_MIN`).
//!
//! So the answer is asked for, by a byte: the next one of what begins every part's head ([`AHEAD`]), sent ahead of the frame.
//!
//! ```text
//!   frame 1 ─► acknowledged ─► a byte ─► acknowledged after 40 ms: unread ─► a byte ─► … ─► at once: read ─► frame 2
//! ```
//!
//! - A viewer is *watched* at first: every [`WATCH`], one byte is sent before a frame, and the frame is held back for 20 ms. If three such
//!   bytes in a row were unread, each right after all of a frame was acknowledged quickly, the viewer is slow.
//! - A *slow* viewer gets a frame when a byte says that the last one was read. When eight in a row were read at once, it is not slow any more.
//! - When no byte is left to ask by, which takes some seconds, the next frame is begun without an answer.
//!
//! A line that is busy when the next frame could be begun is not held up, and so not asked either, unless the other end takes nothing any more. A
//! line of which acknowledgements come late, by its length or in clumps, answers nothing; only lines of less than [`NEAR`] are asked, and a
//! viewer is called slow only if all else was acknowledged at once. Nor do other systems: those are told by their window scale, as none but Linux has
//! more than 6 and time stamps. Between two bytes there are at most 150 ms, because after a silence of a time-out Linux acknowledges
//! at once whatever comes (`tcp_event_data_recv`); so cameras of less than six frames per second have no slow viewers.
//!
//! Nothing here reads a clock or a socket.

use std::time::{Duration, Instant};

use super::line::DELAYED_ACK;

/// With this begins the head of every part, whatever the frame.
pub const AHEAD: &[u8] = b"Content-Type: image/jpeg\r\nContent-Length: ";

/// How often a viewer is asked that seems to read at once, and how soon for the first time.
const WATCH: Duration = Duration::from_secs(2);
const FIRST_WATCH: Duration = Duration::from_millis(50);

/// Only lines with a shorter round trip answer.
const NEAR: Duration = Duration::from_millis(5);

/// An acknowledgement that comes within a round trip and this is no delayed one, which takes 40 ms. Both are known to a tick of the kernel, 1 to 10 ms.
const AT_ONCE: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(8);

/// Bytes are asked by at intervals from that of a delayed acknowledgement up to this.
const RAREST: Duration = Duration::from_millis(150);

/// How soon after a frame its acknowledgement is looked for.
const SOON: Duration = Duration::from_millis(8);

/// How many acknowledgements Linux sends at once after a silence (`TCP_MAX_QUICKACKS`).
const QUICK: u8 = 16;

/// So many answers in a row make a viewer slow, or not slow any more.
const UNREAD_TO_BE_SLOW: u8 = 3;
const READ_TO_BE_PROMPT: u8 = 8;

/// What the kernel says about a viewer that has been handed everything.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Bytes that are not acknowledged.
    pub queued: u64,
    /// The length of a full segment, of which two are acknowledged at once.
    pub segment: u64,
    /// How many bytes of [`AHEAD`] were sent since the last frame.
    pub ahead: usize,
    /// How long the line still takes for them, as far as that is known.
    pub left: Duration,
    /// How long ago the last acknowledgement came.
    pub silent: Duration,
    /// The shortest round trip.
    pub round_trip: Duration,
    /// There is something to send, and nothing is on its way: the other end takes no more.
    pub is_closed: bool,
    /// The other end runs Linux.
    pub is_linux: bool,
}

/// What to do before the next frame is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it may be begun.
    Begin,
    /// Send the next byte of [`AHEAD`], and look again after this time.
    Ask(Duration),
    /// Look again after this time.
    Look(Duration),
}

/// What is known about a viewer's program.
#[derive(Debug)]
pub struct Reader {
    /// When to ask, of a viewer that is not slow, and how long after it again: twice as long each time.
    watch_at: Instant,
    watch: Duration,
    is_slow: bool,
    /// Answers in a row that are against what it is taken for.
    against: u8,
    /// When something was last sent, and how many of the acknowledgements from then on may be those that Linux sends at once after a silence.
    wrote: Instant,
    quick: u8,
    /// Whether the frame itself was acknowledged at once, which says that the line answers.
    answers: Option<bool>,
    /// When a byte was sent whose answer is waited for.
    asked: Option<Instant>,
    /// When the answer was first looked for in vain.
    held: Option<Instant>,
    /// It was read: the next frame may be begun.
    is_read: bool,
}

impl Reader {
    /// A viewer of which nothing is known.
    pub fn new(now: Instant) -> Self {
        Reader {
            watch_at: now + FIRST_WATCH,
            watch: FIRST_WATCH,
            is_slow: false,
            against: 0,
            wrote: now,
            quick: QUICK,
            answers: None,
            asked: None,
            held: None,
            is_read: false,
        }
    }

    /// Whether its program reads more slowly than its line carries.
    pub fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Whether there is anything to ask before the next frame.
    pub fn has_doubts(&self, now: Instant) -> bool {
        (self.is_slow || now >= self.watch_at) && !self.is_read
    }

    /// Something is sent.
    pub fn wrote(&mut self, now: Instant) {
        if now > self.wrote + RAREST {
            self.quick = QUICK;
        }
        self.wrote = now;
    }

    /// A frame is begun.
    pub fn begin(&mut self) {
        self.quick = self.quick.saturating_sub(1);
        (self.answers, self.asked, self.held, self.is_read) = (None, None, None, false);
    }

    /// When to call [`Reader::frame_sent`]; the line still takes `left` for what it has.
    pub fn look_at(&self, now: Instant, left: Duration) -> Option<Instant> {
        let after = left.max((self.wrote + SOON).saturating_duration_since(now));
        let is_due = self.is_slow || now + after >= self.watch_at;
        (is_due && self.answers.is_none() && !self.is_read).then(|| now + after)
    }

    /// Whether the frame is acknowledged, a moment after it was sent. A line of which acknowledgements come late says nothing about the program.
    pub fn frame_sent(&mut self, now: Instant, seen: Seen) {
        let is_late = now >= self.wrote + AT_ONCE;
        let answers = seen.queued <= DELAYED_ACK.max(2 * seen.segment) || seen.is_closed;
        self.answers = (!is_late || !answers).then_some(answers);
    }

    /// The next frame could be begun, and there are doubts.
    pub fn step(&mut self, now: Instant, seen: Seen) -> Step {
        if !seen.is_linux || seen.round_trip > NEAR {
            (self.is_slow, self.against) = (false, 0);
            return self.answer(now, WATCH);
        }
        if !seen.left.is_zero() {
            // A line that is busy all the time is not held up for a question.
            return if self.is_slow {
                Step::Look(seen.left)
            } else {
                self.watch_less(now)
            };
        }
        if self.answers == Some(false) {
            (self.is_slow, self.against) = (false, 0);
            return self.watch_less(now);
        }
        if self.answers.is_none() && !self.is_slow && !seen.is_closed {
            // Nobody looked in time: after the next one.
            self.is_read = true;
            return Step::Begin;
        }
        let held = *self.held.get_or_insert(now);
        let at_once = seen.round_trip + AT_ONCE;
        let Some(asked) = self.asked else {
            if seen.is_closed && now >= held + at_once {
                return self.unread(now, held, seen);
            }
            if seen.queued > DELAYED_ACK.max(2 * seen.segment) {
                // Not even the frame. A line that acknowledges late says nothing about the program; but to one that is slow,
                // it may be the window that is closed.
                if !self.is_slow && now >= held + at_once {
                    self.against = 0;
                    return self.watch_less(now);
                }
                return Step::Look(AT_ONCE / 4);
            }
            if seen.queued > 0 {
                // The frame's own end asks as well.
                let left = (self.wrote + at_once).saturating_duration_since(now);
                return if left.is_zero() {
                    self.asked = Some(self.wrote);
                    self.unread(now, held, seen)
                } else {
                    Step::Look(left)
                };
            }
            return self.ask(now, seen.ahead, AT_ONCE / 4);
        };
        if seen.queued > 0 && now < asked + at_once {
            return Step::Look(asked + at_once - now);
        }
        let took = (now - asked).saturating_sub(seen.silent);
        if seen.queued == 0 && took <= at_once + TICK {
            if self.is_slow && self.quick > 0 {
                // It says nothing.
                self.quick -= 1;
                return self.ask(now, seen.ahead, AT_ONCE / 4);
            }
            return self.read(now, held);
        }
        self.unread(now, held, seen)
    }

    /// All was read.
    fn read(&mut self, now: Instant, held: Instant) -> Step {
        let is_at_once = now <= held + NEAR + AT_ONCE + TICK;
        if self.is_slow {
            self.against = if is_at_once { self.against + 1 } else { 0 };
            if self.against >= READ_TO_BE_PROMPT {
                (self.is_slow, self.against) = (false, 0);
            }
        } else {
            self.against = 0;
            if self.quick == 0 {
                return self.watch_less(now);
            }
        }
        self.answer(now, self.watch)
    }

    fn watch_less(&mut self, now: Instant) -> Step {
        self.watch = (self.watch * 2).min(WATCH);
        self.answer(now, self.watch)
    }

    /// Something is unread. The acknowledgement of the last byte may have come.
    fn unread(&mut self, now: Instant, held: Instant, seen: Seen) -> Step {
        if !self.is_slow {
            self.against += 1;
            if self.against < UNREAD_TO_BE_SLOW {
                return self.answer(now, Duration::ZERO);
            }
            self.is_slow = true;
        }
        self.against = 0;
        if seen.queued > 0 {
            return Step::Look(AT_ONCE);
        }
        let rest = ((now - held) / 8).clamp(AT_ONCE * 2, RAREST);
        let next = self.asked.map_or(now, |asked| asked + rest);
        if now < next {
            return Step::Look(next - now);
        }
        self.ask(now, seen.ahead, rest)
    }

    fn ask(&mut self, now: Instant, ahead: usize, again: Duration) -> Step {
        if ahead == AHEAD.len() {
            return self.answer(now, WATCH);
        }
        self.wrote(now);
        self.asked = Some(now);
        Step::Ask(again)
    }

    /// There is nothing more to ask before the next frame. The next time is after this one.
    fn answer(&mut self, now: Instant, next: Duration) -> Step {
        self.watch_at = now + next;
        self.is_read = true;
        Step::Begin
    }
}

#[cfg(test)]
mod tests;

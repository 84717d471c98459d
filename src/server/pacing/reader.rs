//! Whether the program at the other end has read what its system has acknowledged.
//!
//! A program that works on each frame for longer than its line takes leaves frames in its own system's buffer, which holds seconds of them and
//! acknowledges all at once. Two things tell, each of them something that the other does not:
//!
//! - **The window** (`tcpi_snd_wnd`). A system advertises what it still takes. If all is read, this is as much as it ever was; what is not read is
//!   missing. But it says so only with an acknowledgement, and Linux advertises less than it has at first (`rcv_ssthresh`, which grows by twice of what
//!   comes): until then, the window does not shrink while a third of the buffer fills, 20 KB of 128 KB or 300 KB of 900.
//! - **When a lone byte is acknowledged.** Linux does so at once if all that waits is read at once (`tcp_cleanup_rbuf`), otherwise after 40 ms
//!   (`TCP_DELACK_MIN`). This is exact, but takes time, and not all acknowledgements count: up to 16 come at once after a silence of a time-out, after
//!   something that came twice, and after a closed window (`TCP_MAX_QUICKACKS`).
//!
//! The byte is the next one of what begins every part's head ([`AHEAD`]), sent ahead of the frame. So the rule is:
//!
//! 1. A program that seems to read at once costs a look at the window, up to four times a second. Only if that is smaller than the largest by a quarter of a
//!    frame, the next frame is held back for the time that a byte takes to be acknowledged. If the window is still as small then, the program is slow.
//! 2. A slow one gets a frame when a byte says that all is read, which is when it comes back for the next; so this is as young as the line allows. Where
//!    bytes do not tell, as on lines of [`NEAR`] and more and from other systems, it gets it when the window is what it was. Other systems are told by
//!    their window scale, as none but Linux has more than 6 and time stamps.
//! 3. When eight frames in a row were read before anybody had to wait, a program is not slow any more.
//!
//! ```text
//!   frame 1 ─► window smaller ─► a byte ─► acknowledged after 40 ms: unread ─► a byte ─► … ─► at once: read ─► frame 2
//! ```
//!
//! What is taken back: a window that stays small while 17 bytes in a row are acknowledged at once is small for another reason, and from then on the largest
//! that there can be; so it is after a second where bytes do not tell, and when all bytes are used up, which takes some seconds. What arrived behind a
//! gap takes room too and does not count. What came before a program was known to be slow is read first. Between two bytes there are at most 150 ms,
//! because after 200 Linux acknowledges at once whatever comes.
//!
//! A frame that stands outside of a full buffer is seen without a byte: it does not fit into the window, and nothing of it has been acknowledged for longer
//! than the line takes. Then the program is slow, whatever the window was before.
//!
//! **Nothing is read at all** is another question, for `--stall-timeout`: a system goes on acknowledging, for minutes at the pace of the above, what its
//! program does not read. It is told by the edge of the window, which is what was acknowledged and what is still taken: only reading moves it (and the
//! growth of a young window, and rounding, by less than a third of what comes with the scales that Linux uses). So whose edge has moved by less than half of
//! what came may have read nothing since; one step that is larger, or one while nothing came, and it has. So it has if the edge has moved by more than a
//! third over all such steps: a single one is too short to tell a steady, slow reader from rounding. Age counts only as far as acknowledgements have come,
//! because without them nobody knows: [`Reader::unread_for`].
//!
//! A stream whose parts do not begin with that byte (`advance_headers`, `zero_data`) gets its frames whatever its program does, and is looked at for this
//! alone.
//!
//! What is not told apart: a near line that holds acknowledgements back, and a program that reads late. One that has not read for some seconds stays slow
//! there (`benches/runs/README.md` has what was tried).
//!
//! `findings/unread.sh` shows both, and `benches/lines/slow_programs` measures it with three programs. Nothing here reads a clock or a socket.

use std::time::{Duration, Instant};

use super::line::DELAYED_ACK;

/// With this begins the head of every part, whatever the frame.
pub const AHEAD: &[u8] = b"Content-Type: image/jpeg\r\nContent-Length: ";

/// How soon the window of a new viewer is looked at; then twice as long after it each time, up to the second, or to the third if it
/// was small without a reason.
const FIRST_WATCH: Duration = Duration::from_millis(15);
const WATCH: Duration = Duration::from_millis(250);
const RARE_WATCH: Duration = Duration::from_secs(2);

/// Only on lines with a shorter round trip does the time of an acknowledgement tell that all was read.
const NEAR: Duration = Duration::from_millis(5);

/// An acknowledgement that comes within a round trip and this is no delayed one, which takes 40 ms. Both are known to a tick of the kernel, 1 to 10 ms.
const AT_ONCE: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(8);

/// How soon to look for an answer.
const SOON: Duration = Duration::from_millis(4);

/// Bytes are asked by at intervals from that of a delayed acknowledgement up to this.
const RAREST: Duration = Duration::from_millis(150);

/// For so long a small window alone holds up the next frame; it may have another reason.
const LONGEST: Duration = Duration::from_secs(1);

/// How many acknowledgements Linux sends at once after a silence (`TCP_MAX_QUICKACKS`).
const QUICK: u8 = 16;

/// A window tells nothing of less than this.
const LITTLE: u64 = 4096;

/// For about so long all bytes of [`AHEAD`] last, between two frames of a program that reads nothing.
const ALL_AHEAD: Duration = Duration::from_secs(7);

/// The edge of a window moves by less than this without reading: rounding adds one to each lone byte.
const EDGE: u64 = 256;

/// After so many frames in a row that were read at once, a viewer is not slow any more.
const READ_TO_BE_PROMPT: u8 = 8;

/// What the kernel says about a viewer that has been handed everything.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How many bytes the other end has acknowledged.
    pub acknowledged: u64,
    /// How many bytes the other end takes beyond what it has acknowledged in order, if the kernel tells.
    pub window: Option<u64>,
    /// How many bytes came behind one that was lost, and are in the way.
    pub behind_gap: u64,
    /// Bytes that are not acknowledged.
    pub queued: u64,
    /// The length of the last frame.
    pub frame: u64,
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
    /// How many segments were sent again.
    pub repeated: u32,
    /// The other end runs Linux.
    pub is_linux: bool,
}

impl Seen {
    /// Whether the time of an acknowledgement tells that all was read.
    fn tells_of_all(&self) -> bool {
        self.is_linux && self.round_trip <= NEAR
    }
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
    /// When to look at a viewer that is not slow, and how long after it again.
    watch_at: Instant,
    watch: Duration,
    /// The largest window.
    most: u64,
    is_slow: bool,
    /// Frames in a row that a slow viewer had read when the next one could be begun.
    prompt: u8,
    /// When something was last sent, and how many of the acknowledgements from then on may be those that Linux sends at once after a silence.
    wrote: Instant,
    quick: u8,
    /// How many segments had been sent again.
    repeated: u32,
    /// When the next frame could first be begun.
    held: Option<Instant>,
    /// When a byte was sent whose answer is waited for, and how many were answered at once.
    asked: Option<Instant>,
    at_once: u8,
    /// Something of the last frame was found unread.
    was_unread: bool,
    /// It was read: the next frame may be begun.
    is_read: bool,
    /// What was acknowledged, and the edge of the window, when either last told something.
    told: (u64, u64),
    /// The same, when it last told of reading.
    read_at: (u64, u64),
    /// When something was first sent after the program was last known to have read.
    unseen: Option<Instant>,
    /// Since when nothing was read, and at which time that was last known.
    unread: Option<(Instant, Instant)>,
}

impl Reader {
    /// A viewer of which nothing is known.
    pub fn new(now: Instant) -> Self {
        Reader {
            watch_at: now,
            watch: FIRST_WATCH,
            most: 0,
            is_slow: false,
            prompt: 0,
            wrote: now,
            quick: QUICK,
            repeated: 0,
            held: None,
            asked: None,
            at_once: 0,
            was_unread: false,
            is_read: false,
            told: (0, 0),
            read_at: (0, 0),
            unseen: None,
            unread: None,
        }
    }

    /// For how long the program is known to have read nothing at all, if it is.
    pub fn unread_for(&self) -> Option<Duration> {
        self.unread.map(|(since, until)| until - since)
    }

    /// Looks whether the program has read anything.
    pub fn look_for_reading(&mut self, now: Instant, seen: Seen) {
        let Some(window) = seen.window else {
            return;
        };
        let here = (seen.acknowledged, seen.acknowledged + window);
        let since =
            |then: (u64, u64)| (here.0.saturating_sub(then.0), here.1.saturating_sub(then.1));
        let (came, moved) = since(self.told);
        let (all_came, all_moved) = since(self.read_at);
        if moved >= EDGE && moved > came / 2 || all_moved > all_came / 3 + LITTLE {
            (self.told, self.read_at) = (here, here);
            (self.unseen, self.unread) = (None, None);
            return;
        }
        // A system without a window scale keeps the edge where it is until a segment has been read, or two.
        let least = match seen.is_linux {
            true => LITTLE,
            false => LITTLE.max(2 * seen.segment),
        };
        if came > least {
            self.told = here;
            if self.unread.is_none() {
                let earliest = self.wrote.checked_sub(ALL_AHEAD).unwrap_or(self.wrote);
                let since = self.unseen.map_or(self.wrote, |at| at.max(earliest));
                self.unread = Some((since, since));
            }
        }
        if let Some((_, until)) = &mut self.unread {
            // A window that is shut, or too small for what waits, would be opened at once.
            let is_shut = window < LITTLE.max(seen.queued);
            let silent = if is_shut { Duration::ZERO } else { seen.silent };
            *until = now.checked_sub(silent).map_or(*until, |at| at.max(*until));
        }
    }

    /// Looks for that alone, before a frame that is not to wait for its program.
    pub fn look_only(&mut self, now: Instant, seen: Seen) {
        self.look_for_reading(now, seen);
        self.read(now);
    }

    /// Whether its program reads more slowly than its line carries.
    pub fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Whether there is anything to find out before the next frame.
    pub fn has_doubts(&self, now: Instant) -> bool {
        (self.is_slow || now >= self.watch_at) && !self.is_read
    }

    /// Something is sent.
    pub fn wrote(&mut self, now: Instant) {
        if now > self.wrote + RAREST {
            self.quick = QUICK;
        }
        self.wrote = now;
        self.unseen.get_or_insert(now);
    }

    /// A frame is begun.
    pub fn begin(&mut self) {
        self.quick = self.quick.saturating_sub(1);
        (self.held, self.asked, self.at_once) = (None, None, 0);
        (self.was_unread, self.is_read) = (false, false);
    }

    /// The next frame could be begun, and there are doubts.
    pub fn step(&mut self, now: Instant, seen: Seen) -> Step {
        let Some(window) = seen.window else {
            return self.begin_next(now);
        };
        self.look_for_reading(now, seen);
        self.most = self.most.max(window);
        if self.repeated != seen.repeated || window == 0 {
            // What comes twice or beyond the window is answered at once too, and so are some segments behind it.
            (self.repeated, self.quick) = (seen.repeated, QUICK);
        }
        let held = *self.held.get_or_insert(now);
        if self.stands_outside(now, (window, seen)) {
            self.unread();
            return self.look(now);
        }
        if window + seen.behind_gap + LITTLE.max(seen.frame / 4) < self.most {
            return self.small(now, held, (window, seen));
        }
        if !self.is_slow {
            return self.read(now);
        }
        if !seen.left.is_zero() {
            return Step::Look(seen.left);
        }
        if !seen.tells_of_all() {
            return self.read(now);
        }
        self.ask_for_all(now, held, seen)
    }

    /// A frame has had the time that its line takes, does not fit into the window, and nothing of it is being acknowledged: it waits outside of a
    /// full buffer, whatever the window was before.
    fn stands_outside(&self, now: Instant, (window, seen): (u64, Seen)) -> bool {
        let late = seen.round_trip + AT_ONCE + TICK;
        let has_time = seen.left.is_zero() && seen.silent > late && now > self.wrote + late;
        // What came behind a gap is in the window's way, and waits for no program.
        seen.tells_of_all() && has_time && window + seen.behind_gap < seen.queued
    }

    /// The window is smaller than it was by more than a rest of the last frame.
    fn small(&mut self, now: Instant, held: Instant, (window, seen): (u64, Seen)) -> Step {
        let at_once = seen.round_trip + AT_ONCE;
        if !seen.tells_of_all() && now >= held + LONGEST {
            self.most = window;
            return self.read(now);
        }
        if seen.queued > 0 {
            // News of it is on its way, unless nothing can be.
            if window < LITTLE && now >= held + at_once {
                self.unread();
            }
            return self.look(now);
        }
        let Some(asked) = self.asked else {
            return self.ask(now, seen.ahead, SOON);
        };
        if (now - asked).saturating_sub(seen.silent) <= at_once + TICK {
            self.at_once += 1;
            if self.at_once > QUICK {
                // It is small for another reason.
                self.most = window;
                return self.read(now);
            }
            return self.ask(now, seen.ahead, SOON);
        }
        self.unread();
        if seen.ahead == AHEAD.len() {
            self.most = window;
        }
        self.ask_again(now, held, seen)
    }

    /// The window of a slow viewer does not tell of anything unread, but there may be more than it tells of.
    fn ask_for_all(&mut self, now: Instant, held: Instant, seen: Seen) -> Step {
        let at_once = seen.round_trip + AT_ONCE;
        if seen.queued > DELAYED_ACK.max(2 * seen.segment) {
            let fits = seen.window.is_some_and(|window| window >= seen.queued);
            if now < held + at_once || seen.silent < at_once || !fits {
                return Step::Look(SOON);
            }
            // Not even the frame: a line of which acknowledgements come late does not tell.
            return self.read(now);
        }
        let Some(asked) = self.asked else {
            if seen.queued == 0 {
                return self.ask(now, seen.ahead, SOON);
            }
            // The frame's own end asks as well.
            let left = (self.wrote + at_once).saturating_duration_since(now);
            if !left.is_zero() {
                return Step::Look(left);
            }
            self.asked = Some(self.wrote);
            return self.look(now);
        };
        if seen.queued > 0 {
            return self.look(now);
        }
        if (now - asked).saturating_sub(seen.silent) > at_once + TICK {
            self.unread();
            return self.ask_again(now, held, seen);
        }
        if self.quick > 0 {
            // It says nothing.
            self.quick -= 1;
            return self.ask(now, seen.ahead, SOON);
        }
        self.read(now)
    }

    /// The answer is waited for.
    fn look(&self, now: Instant) -> Step {
        let since = self.asked.map_or(Duration::ZERO, |asked| now - asked);
        Step::Look(SOON.max(since / 2).min(AT_ONCE))
    }

    /// Something of the last frame is unread.
    fn unread(&mut self) {
        (self.is_slow, self.was_unread) = (true, true);
        self.watch = FIRST_WATCH;
    }

    /// As much was read as can be found out.
    fn read(&mut self, now: Instant) -> Step {
        if !self.was_unread {
            self.unseen = None;
        }
        if self.was_unread {
            self.prompt = 0;
        } else if self.is_slow {
            self.prompt += 1;
            self.is_slow = self.prompt < READ_TO_BE_PROMPT;
        } else {
            let most = if self.asked.is_some() {
                RARE_WATCH
            } else {
                WATCH
            };
            self.watch = (self.watch * 2).min(most.max(self.watch));
        }
        self.begin_next(now)
    }

    fn ask_again(&mut self, now: Instant, held: Instant, seen: Seen) -> Step {
        let rest = ((now - held) / 8).clamp(AT_ONCE * 2, RAREST);
        let next = self.asked.map_or(now, |asked| asked + rest);
        if now < next {
            return Step::Look(next - now);
        }
        self.ask(now, seen.ahead, SOON)
    }

    fn ask(&mut self, now: Instant, ahead: usize, again: Duration) -> Step {
        if ahead == AHEAD.len() {
            return self.begin_next(now);
        }
        self.wrote(now);
        self.asked = Some(now);
        Step::Ask(again)
    }

    /// There is nothing more to find out before the next frame. The next time is after this one.
    fn begin_next(&mut self, now: Instant) -> Step {
        self.watch_at = now + self.watch;
        self.is_read = true;
        Step::Begin
    }
}

#[cfg(test)]
mod tests;

//! What a connection waits for from the rest of the server, frames and reports, and how it is supplied with them.

use std::time::{Duration, Instant};

use super::Connection;
use super::state::ConnectionState;
use super::stream::Course;
use crate::server::http::part::{self, FrameFacts};
use crate::server::http::quirks::Quirks;
use crate::server::http::response;
use crate::server::http::status::Status;
use crate::server::lent::Lent;
use crate::server::shot::Shot;
use crate::server::want::{Given, Look, ReportKind, Want};

impl<F> Connection<F> {
    /// The frame that this connection waits for, if it does.
    pub fn want(&self, now: Instant) -> Option<Want> {
        match &self.state {
            ConnectionState::Stream(stream) if stream.takes_a_frame(&self.out) => {
                Some(Want::Stream {
                    camera: stream.camera,
                    have: stream.have,
                    not_before: stream.not_before,
                    repeat: stream.repeat_at <= now,
                    picture: stream.picture,
                })
            }
            ConnectionState::Snapshot(snapshot) => Some(Want::Snapshot {
                camera: snapshot.camera,
                since: snapshot.since,
                terms: snapshot.terms.clone(),
                have: self.poller.as_ref()?.have(snapshot.camera),
                slack: self.poller.as_ref()?.slack(),
            }),
            _ => None,
        }
    }

    /// There was no frame to give. `later` is when to decide again, if that is known.
    pub fn give_nothing(&mut self, later: Option<Instant>, lent: &Lent<'_>) {
        if let ConnectionState::Stream(stream) = &mut self.state {
            stream.give_nothing(later, lent);
        }
    }

    /// Gives it the frame that it wants, or a stream a picture in place of one. The size of such a picture is not
    /// taken for the size of the frames: before the first frame it is only a guess.
    pub fn give(&mut self, shot: Shot<F>, given: Given, lent: &mut Lent<'_>) {
        match &mut self.state {
            ConnectionState::Stream(stream) => {
                if stream.quirks.any_size && !given.is_notice {
                    stream.picture = Some(shot.picture);
                }
                if given.is_notice || *stream.picture.get_or_insert(shot.picture) == shot.picture {
                    self.give_part(shot, given, lent);
                } else {
                    // Players and recorders keep a stream's first size, so the stream ends and they can reconnect.
                    self.finish(lent.now);
                }
            }
            ConnectionState::Snapshot(snapshot) => {
                lent.stats.snapshots += 1;
                if let Some(poller) = &mut self.poller {
                    poller.give(snapshot.camera, shot.number, lent.now);
                }
                let frame = facts(&shot, true, lent.now);
                let head = part::snapshot_head(Some(frame), &self.exchange, &lent.moment);
                self.reply(&head);
                self.out.put(shot, None);
            }
            _ => {}
        }
    }

    /// Refuses a snapshot for this reason. The picture says the same, for clients that show whatever they get.
    pub fn give_refusal(&mut self, why: &str, picture: Option<Shot<F>>, lent: &mut Lent<'_>) {
        if !matches!(self.state, ConnectionState::Snapshot(_)) {
            return;
        }
        lent.stats.refuse(Status::Unavailable);
        if self.half_closed {
            self.exchange.make_last();
        }
        let picture = picture.filter(|_| self.exchange.takes_picture());
        let facts = picture.as_ref().map(|shot| facts(shot, false, lent.now));
        let reply = part::snapshot_refusal(why, facts, &self.exchange, &lent.moment);
        self.reply(&reply);
        if let Some(shot) = picture {
            self.out.put(shot, None);
        }
    }

    fn give_part(&mut self, shot: Shot<F>, given: Given, lent: &mut Lent<'_>) {
        let ConnectionState::Stream(stream) = &mut self.state else {
            return;
        };
        lent.stats.frames += 1;
        lent.stats.repeats += u64::from(given.is_repeat());
        stream.begin(shot.number, given, lent.now);
        let (quirks, fps) = (&stream.quirks, stream.rate.at(lent.now).round() as u32);
        quirks.write_part_head(
            self.out.bytes(),
            &facts(&shot, !given.is_notice, lent.now),
            fps,
            &lent.moment,
        );
        if quirks.zero_data {
            self.out.bytes().extend(quirks.delimiter.iter());
        } else {
            self.out.put(shot, Some(&quirks.delimiter));
        }
    }

    /// The report that it waits for.
    pub fn wants_report(&self) -> Option<ReportKind> {
        match self.state {
            ConnectionState::Report(what) => Some(what),
            _ => None,
        }
    }

    /// Gives it the report that it wants, with this media type, or refuses it if there is none.
    pub fn give_report(&mut self, report: Option<(&str, Shot<F>)>, lent: &mut Lent<'_>) {
        if !matches!(self.state, ConnectionState::Report(_)) {
            return;
        }
        let Some((media_type, shot)) = report else {
            self.refuse(Status::Unavailable, lent);
            return;
        };
        if self.half_closed {
            self.exchange.make_last();
        }
        let date = lent.moment.wall;
        let head = response::report_head(media_type, shot.len, &self.exchange, date);
        self.reply(&head);
        if self.exchange.has_content() {
            self.out.put(shot, None);
        }
    }

    /// What it is looking at, if it is a viewer.
    pub fn looks_at(&self) -> Option<Look> {
        match &self.state {
            ConnectionState::Stream(stream) => Some(Look::Stream(stream.camera)),
            ConnectionState::Snapshot(snapshot) => Some(Look::Snapshot(snapshot.camera)),
            _ => None,
        }
    }

    /// A camera has gone: a stream of it ends after the current frame, and a snapshot of it waits no longer. Returns
    /// whether this connection was affected.
    pub fn camera_gone(&mut self, camera: usize, now: Instant) -> bool {
        match &mut self.state {
            ConnectionState::Stream(stream)
                if stream.camera == camera && stream.course != Course::IsHandedOver =>
            {
                stream.course = Course::Ends;
                if self.out.is_empty() {
                    self.finish(now);
                }
            }
            ConnectionState::Snapshot(snapshot) if snapshot.camera == camera => {
                snapshot.terms.timeout = Some(Duration::ZERO);
            }
            _ => return false,
        }
        true
    }

    /// How the stream is sent and how it is identified, if this is one.
    pub fn quirks(&self) -> Option<&Quirks> {
        match &self.state {
            ConnectionState::Stream(stream) => Some(&stream.quirks),
            _ => None,
        }
    }

    /// How much was sent of the next part's head, which begins as all do, if that is the next thing to send.
    pub fn sent_of_next_head(&self) -> Option<usize> {
        let ConnectionState::Stream(stream) = &self.state else {
            return None;
        };
        let goes_on = stream.course == Course::GoesOn && self.out.is_empty();
        (goes_on && !self.sends_nothing_ahead()).then(|| self.out.ahead())
    }

    /// Whether this is a stream of which a part's head is never sent ahead of its frame, but with the one before or alone.
    pub fn sends_nothing_ahead(&self) -> bool {
        self.quirks()
            .is_some_and(|quirks| quirks.advance_headers || quirks.zero_data)
    }

    /// One more byte of it was sent.
    pub fn sent_ahead(&mut self) {
        self.out.sent_ahead();
    }

    /// The camera of the stream on which a frame is being sent, if the stream continues after that frame.
    pub fn sends_stream_of(&self) -> Option<usize> {
        match &self.state {
            ConnectionState::Stream(stream)
                if stream.course == Course::GoesOn && !self.out.takes_a_frame() =>
            {
                Some(stream.camera)
            }
            _ => None,
        }
    }

    /// How many frames per second a stream is sent.
    pub fn stream_fps(&self, now: Instant) -> Option<f64> {
        match &self.state {
            ConnectionState::Stream(stream) => Some(stream.rate.at(now)),
            _ => None,
        }
    }
}

/// What a picture's head says about this frame.
fn facts<F>(shot: &Shot<F>, online: bool, now: Instant) -> FrameFacts {
    FrameFacts {
        age: now.saturating_duration_since(shot.taken),
        len: shot.len,
        captured: shot.captured,
        picture: shot.picture,
        online,
    }
}

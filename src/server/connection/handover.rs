//! The end of the server: what becomes of its connections. A stream may outlive it; this is what the next server has to know of it, in words.
//!
//! While a service is restarted, its service manager keeps the sockets that it was given (sd_notify(3), `FDSTORE=1`), each under a
//! name, and passes them to the next process beside the listening ones. Between two frames, a stream is no more than
//! these words, so its viewer sees a pause and no end. An `<img>` never begins a stream anew that has ended.
//!
//! What they cannot say ends as it does without a service manager, and so does everything when the process is killed.

use std::time::Duration;

use super::Connection;
use super::outbox::Outbox;
use super::state::ConnectionState;
use super::stream::{Course, Stream};
use crate::frames::name::Name;
use crate::picture::jpeg::Size;
use crate::server::http::quirks::Quirks;
use crate::server::lent::Lent;
use crate::server::roster::Roster;
use crate::server::stats::CloseReason;

/// The first word. The number is to be raised when anything changes that is sent between two frames: a server does not go on with what it
/// would not have begun alike.
const FIRST: &str = "stream1";

/// What is said while the server is ending.
const STOPPING: &str = "this server is ending; try again";

impl<F> Connection<F> {
    /// The server is stopping: finishes what was begun, and begins nothing new.
    pub fn stop(&mut self, lent: &mut Lent<'_>) {
        match &mut self.state {
            ConnectionState::Request { .. } => self.close(CloseReason::Stopping),
            ConnectionState::Snapshot(_)
            | ConnectionState::Trial(_)
            | ConnectionState::Upload(_)
            | ConnectionState::Setting(_) => {
                self.exchange.make_last();
                self.refuse_for_now(STOPPING, lent);
            }
            ConnectionState::Reply | ConnectionState::Report(_) => self.exchange.make_last(),
            ConnectionState::Stream(stream) if lent.settings.hands_over => {
                stream.course = Course::IsHandedOver;
            }
            ConnectionState::Stream(_) if self.out.is_empty() => self.finish(lent.now),
            ConnectionState::Stream(stream) => stream.course = Course::Ends,
            ConnectionState::Drain { .. } | ConnectionState::Closed(_) => {}
        }
    }

    /// Goes on with the stream that these words tell of; `None` if that cannot be.
    pub(in crate::server) fn resumed(words: &str, lent: &mut Lent<'_>) -> Option<Self> {
        let mut words = words.split(' ');
        if words.next()? != FIRST {
            return None;
        }
        let name: Name = words.next()?.parse().ok()?;
        let camera = lent.roster.number_of(&name)?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let (period, ahead) = (number()?, number()?);
        let (width, height) = (number()?, number()?);
        let quirks = Quirks::from_words(lent.ids.draw(), &mut words)?;
        let period = (period > 0).then(|| Duration::from_micros(period));
        let mut stream = Stream::new(camera, period, quirks, lent);
        let picture = Size {
            width: width.try_into().ok()?,
            height: height.try_into().ok()?,
        };
        stream.picture = (picture.width > 0).then_some(picture);
        Some(Connection {
            state: ConnectionState::Stream(stream),
            out: Outbox::ahead_by(ahead.try_into().ok()?),
            ..Connection::new(lent.now)
        })
    }

    /// What the next server has to know of a stream that it is to go on with.
    pub(in crate::server) fn to_words(&self, roster: &Roster) -> Option<String> {
        let ConnectionState::Stream(stream) = &self.state else {
            return None;
        };
        let name = &roster.entries().get(stream.camera)?.name;
        let period = stream.period.map_or(0, |period| period.as_micros());
        let (width, height) = stream
            .picture
            .map_or((0, 0), |size| (size.width, size.height));
        let (ahead, quirks) = (self.out.ahead(), stream.quirks.to_words());
        let words = format!("{FIRST} {name} {period} {ahead} {width} {height} {quirks}");
        Some(words)
    }
}

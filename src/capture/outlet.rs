//! The place where frames go out and requests come in: the publisher and the demand watch of one directory, which are
//! kept together when the directory is deleted or replaced.
//!
//! The order of the steps by which a directory is taken over is part of the contract: make and lock it, watch it,
//! then announce. A request made before the watch was set is repeated at the announcement.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};

use crate::error::{Context, Error, Result};
use crate::frames::demand::Demand;
use crate::frames::filesystem;
use crate::frames::publish::Publisher;
use crate::frames::state::State;
use crate::logging::Brake;
use crate::picture::jpeg::{self, exif};
use crate::time::backoff::Backoff;

/// The first and the longest wait between two attempts to take over the directory again.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// The producer's end of a frame directory.
#[derive(Debug)]
pub(super) struct Outlet {
    dir: PathBuf,
    publisher: Publisher,
    demand: Demand,
    /// Set while the directory is not ours: when to try again, and the waits after that.
    retry: Option<(Instant, Backoff)>,
    /// What the camera is doing.
    state: Option<State>,
    /// Whether that state has been written.
    told: bool,
    brake: Brake,
    /// The memory for frames that are changed before they are published.
    spare: Vec<u8>,
    /// Whether anybody has asked yet.
    was_asked: bool,
}

impl Outlet {
    /// Takes over `dir`. The first time this must succeed.
    pub(super) fn open(dir: PathBuf) -> Result<Self> {
        let mut outlet = Outlet {
            publisher: Publisher::open(&dir)?,
            demand: Demand::new(&dir)?,
            dir,
            retry: None,
            state: None,
            told: true,
            brake: Brake::new(Duration::from_secs(60)),
            spare: Vec::new(),
            was_asked: false,
        };
        let announced = outlet.publisher.announce();
        announced.doing(|| format!("publish to {}", outlet.dir.display()))?;
        Ok(outlet)
    }

    /// Whether somebody has asked since the last call. A directory that was lost is made again; only if another
    /// producer was faster is this an error.
    pub(super) fn look(&mut self, now: Instant) -> Result<bool> {
        let what = || format!("read the events of {}", self.dir.display());
        let mut seen = self.demand.drain(now).doing(what)?;
        if self.demand.retry_at().is_some_and(|at| at <= now) {
            let followed = self.demand.follow(now);
            seen.asked |= followed.asked;
            seen.lost |= followed.lost;
        }
        let due = self.retry.is_some_and(|(at, _)| at <= now);
        if due || (seen.lost && !self.publisher.in_place()) {
            self.take_over(now)?;
        }
        if seen.asked && !mem::replace(&mut self.was_asked, true) {
            if let Some(what) = filesystem::described(&self.dir) {
                info!("frames lie on {what}: {}", self.dir.display());
            }
        }
        Ok(seen.asked)
    }

    /// When [`Outlet::look`] has something to do even though nothing has happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let retry = self.retry.map(|(at, _)| at);
        retry.into_iter().chain(self.demand.retry_at()).min()
    }

    /// Publishes a frame, without any pictures hidden in it; a failure is logged, at a limited rate. Returns whether
    /// the frame is in place.
    pub(super) fn publish(&mut self, jpeg: &[u8], captured: SystemTime, now: Instant) -> bool {
        let jpeg = without_hidden_pictures(jpeg, &mut self.spare);
        let published = self.publisher.publish(jpeg, captured);
        self.tell(published, now)
    }

    /// Puts the empty file in place, which means that there is nothing to see now, and that those who are waiting
    /// should ask again.
    pub(super) fn announce(&mut self, now: Instant) -> bool {
        let announced = self.publisher.announce();
        self.tell(announced, now)
    }

    /// Records what the camera is doing now; [`Outlet::tell_state`] publishes it.
    pub(super) fn set_state(&mut self, state: State) {
        self.state = Some(state);
        self.told = false;
    }

    /// Publishes what the camera is doing, unless that has already been done. If writing fails, the next call tries
    /// again, and when the directory has been made anew, the whole state is written again.
    pub(super) fn tell_state(&mut self, now: Instant) {
        if let (Some(state), false) = (&self.state, self.told) {
            let told = self.publisher.tell(state);
            self.told = self.tell(told, now);
        }
    }

    fn tell(&mut self, published: io::Result<()>, now: Instant) -> bool {
        let Err(error) = published else {
            return true;
        };
        if let Some(held_back) = self.brake.pass(now) {
            let dir = self.dir.display();
            warn!("cannot publish to {dir}: {error} ({held_back} more since the last message)");
        }
        false
    }

    fn take_over(&mut self, now: Instant) -> Result<()> {
        let dir = self.dir.display();
        match Publisher::open(&self.dir) {
            Ok(publisher) => {
                info!("frame directory {dir} was removed or replaced: made it ours again");
                self.publisher = publisher;
                // Requests made in the new directory are repeated when it is announced. But it may have been replaced
                // once more.
                self.demand.follow(now);
                self.retry = (!self.publisher.in_place()).then_some((now, RETRY));
                self.told = false;
                self.tell_state(now);
                self.announce(now);
                Ok(())
            }
            Err(busy @ Error::Busy(_)) => Err(busy),
            Err(error) => {
                let mut backoff = self.retry.map_or(RETRY, |(_, backoff)| backoff);
                self.retry = Some((now + backoff.fail(), backoff));
                if let Some(held_back) = self.brake.pass(now) {
                    warn!("{error}; trying again ({held_back} more since the last message)");
                }
                Ok(())
            }
        }
    }
}

/// The frame without thumbnails and anything else that contains the bytes of a picture's beginning or end: Mainsail
/// and Home Assistant look for the bytes of SOI and EOI, wherever they are. If that takes the Exif data away, the
/// orientation in it stays, or the picture would lie on its side. Nearly always the result is the frame itself, without
/// copying it.
fn without_hidden_pictures<'a>(jpeg: &'a [u8], spare: &'a mut Vec<u8>) -> &'a [u8] {
    let mut kept = 0;
    spare.clear();
    for hidden in jpeg::hidden_pictures(jpeg) {
        spare.extend_from_slice(&jpeg[kept..hidden.start]);
        if let Some(turned) = exif::orientation(&jpeg[hidden.clone()]) {
            spare.extend(exif::segment(turned));
        }
        kept = hidden.end;
    }
    if kept == 0 {
        return jpeg;
    }
    spare.extend_from_slice(&jpeg[kept..]);
    spare
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.demand.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::jpeg::sample::{DQT, EOI, SOF, SOI, SOS};

    fn rest() -> Vec<u8> {
        [DQT, SOF, SOS, &[1, 2], EOI].concat()
    }

    const THUMBNAIL: &[u8] = &[0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9];
    const EXIF: &[u8] = &[0xFF, 0xE1, 0, 4, b'E', b'x'];

    #[test]
    fn a_frame_loses_its_thumbnails_and_nothing_else() {
        let frame = [SOI, THUMBNAIL, EXIF, THUMBNAIL, &rest()].concat();
        let bare = [SOI, EXIF, &rest()].concat();
        let mut spare = vec![1, 2, 3];
        assert_eq!(without_hidden_pictures(&frame, &mut spare), bare);
        assert_eq!(without_hidden_pictures(&frame, &mut spare), bare);
    }

    #[test]
    fn the_orientation_stays_when_the_thumbnail_goes() {
        let turned = exif::segment(6);
        let mut with_thumbnail = [&turned, SOI, b"thumbnail", EOI].concat();
        with_thumbnail[3] += (with_thumbnail.len() - turned.len()) as u8;
        let frame = [SOI, &with_thumbnail, EXIF, &rest()].concat();
        let mut spare = Vec::new();
        let kept = without_hidden_pictures(&frame, &mut spare);
        assert_eq!(kept, [SOI, &turned, EXIF, &rest()].concat());
    }

    #[test]
    fn a_frame_without_thumbnails_goes_out_where_it_lies() {
        let frame = [SOI, EXIF, &rest()].concat();
        let kept = without_hidden_pictures(&frame, &mut Vec::new()).as_ptr_range();
        assert_eq!(kept, frame.as_ptr_range());
    }
}

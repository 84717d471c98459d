//! Inputs whose pictures have the size and rate that their source sends: HDMI and other digital video (DV timings), and
//! analogue video (standards, see `standard`).
//!
//! <https://docs.kernel.org/userspace-api/media/v4l/dv-timings.html>. A driver never changes its timings by itself. It reports
//! that its source has (V4L2_EVENT_SOURCE_CHANGE), goes on as before or stops, and waits to be set up anew, without buffers.
//! So the source's timings are set when the device is opened, compared at each start, because it may have changed while
//! nobody looked, and compared at each event while frames come. If they differ, the device is closed and opened again.
//!
//! Whether there is a signal is what the driver answers when it is asked. Frames are no sign of it: some drivers go on to
//! deliver them without one.
//!
//! What the source is offered (EDID) is not set here: `v4l2-ctl --set-edid` does that, once after the machine has started.

use std::os::fd::AsFd;

use log::debug;
use rustix::io::Errno;

use super::device::Device;
use super::ioctl::{self, DvTimings, Plain};
use super::standard;
use crate::capture::opening_log::OpeningLog;
use crate::error::{Error, Result};

/// V4L2_IN_CAP_DV_TIMINGS
const CAP_DV_TIMINGS: u32 = 0x2;
/// V4L2_EVENT_SOURCE_CHANGE
const SOURCE_CHANGE: u32 = 5;
/// Events that come between two looks are one; there may be a few of other kinds.
const MOST_EVENTS: usize = 64;
/// A source's clock as it is measured may differ by this much each time (as the kernel's own drivers compare it).
const INEXACT_HZ: u64 = 250_000;

/// What a device is set to, as it was measured.
pub(super) enum Signal {
    Timings(DvTimings),
    /// A set of standards.
    Standard(u64),
}

impl Signal {
    /// Sets a device to what its source sends; `None` if it has no such input. Without a signal that can be used, an error of a
    /// digital one says what to do.
    pub(super) fn take(device: &Device, told: &mut OpeningLog) -> Result<Option<Self>> {
        let Ok(Some(input)) = device.input() else {
            return Ok(None);
        };
        let has_standards = standard::has_standards(Some(input));
        let has_timings = input.capabilities & CAP_DV_TIMINGS != 0;
        if !has_standards && !has_timings {
            return Ok(None);
        }
        // Before the question, so that no change is missed.
        let mut events = ioctl::EventSubscription::zeroed();
        (events.kind, events.id) = (SOURCE_CHANGE, input.index);
        if let Err(errno) = ioctl::subscribe_event(device.as_fd(), &mut events) {
            debug!("{}", device.refused("watch the source of", errno));
        }
        let standard = has_standards
            .then(|| standard::follow(device, told))
            .flatten();
        // An input may have both, as for components. Without timings (ENODATA) it gets the other.
        let measured = if has_timings { query(device)? } else { None };
        let Some(measured) = measured else {
            return Ok(standard.map(Signal::Standard));
        };
        // A driver writes into it what it has made of them, such as the clock of the nearest standard.
        let mut timings = measured;
        match ioctl::s_dv_timings(device.as_fd(), &mut timings) {
            Ok(()) => Ok(Some(Signal::Timings(measured))),
            // It measures more than it takes.
            Err(Errno::INVAL) => Err(failure(device, Errno::RANGE, &timings)),
            Err(errno) => Err(failure(device, errno, &timings)),
        }
    }

    /// Whether the source still sends what the device is set to. Takes all events, so that only later ones are reported.
    pub(super) fn is_current(&self, device: &Device) -> Result<bool> {
        drain(device);
        Ok(match self {
            Signal::Timings(set) => query(device)?.is_none_or(|now| is_same(set, &now)),
            Signal::Standard(set) => standard::is_still(device, *set),
        })
    }
}

/// Takes the events that have come. Returns whether there were any.
pub(super) fn drain(device: &Device) -> bool {
    let take =
        |_: &usize| ioctl::dqevent(device.as_fd(), &mut ioctl::KernelEvent::zeroed()).is_ok();
    (0..MOST_EVENTS).take_while(take).count() > 0
}

/// What the source sends; `None` if the input cannot tell.
fn query(device: &Device) -> Result<Option<DvTimings>> {
    let mut timings = DvTimings::zeroed();
    match ioctl::query_dv_timings(device.as_fd(), &mut timings) {
        Ok(()) => Ok(Some(timings)),
        Err(Errno::NODATA | Errno::NOTTY) => Ok(None),
        Err(errno) => Err(failure(device, errno, &timings)),
    }
}

fn failure(device: &Device, errno: Errno, found: &DvTimings) -> Error {
    match without(errno, found) {
        Some(why) => Error::Input(format!("{}: {why}", device.path().display())),
        None => device.refused("set the timings of", errno),
    }
}

/// What is wrong with a signal, by the answer of VIDIOC_QUERY_DV_TIMINGS or VIDIOC_S_DV_TIMINGS.
fn without(errno: Errno, found: &DvTimings) -> Option<String> {
    match errno {
        Errno::NOLINK => Some(
            "no signal: look at its source and the cable; a source that has read no EDID sends nothing".into(),
        ),
        Errno::NOLCK => Some("its source's signal is not stable: it is changing, or the cable is bad".into()),
        Errno::RANGE => {
            let sent = match (found.width, found.height) {
                (0, _) | (_, 0) => "something".into(),
                (width, height) => format!("{width}x{height}"),
            };
            Some(format!(
                "its source sends {sent} in timings that the device cannot take: choose another mode there"
            ))
        }
        _ => None,
    }
}

fn is_same(one: &DvTimings, other: &DvTimings) -> bool {
    let all = |it: &DvTimings| (it.width, it.height, it.interlaced);
    let clocks = [one, other].map(|it| u64::from_ne_bytes(it.pixelclock));
    all(one) == all(other) && clocks[0].abs_diff(clocks[1]) <= INEXACT_HZ
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings(size: (u32, u32), clock: u64) -> DvTimings {
        let mut timings = DvTimings::zeroed();
        (timings.width, timings.height) = size;
        timings.pixelclock = clock.to_ne_bytes();
        timings
    }

    #[test]
    fn timings_are_the_same_within_what_is_measured() {
        let hd = timings((1280, 720), 74_250_000);
        assert!(is_same(&hd, &timings((1280, 720), 74_176_000)));
        assert!(!is_same(&hd, &timings((1280, 720), 61_875_000)));
        assert!(!is_same(&hd, &timings((1280, 768), 74_250_000)));
        let mut half = hd;
        half.interlaced = 1;
        assert!(!is_same(&hd, &half));
    }

    #[test]
    fn what_is_wrong_with_a_signal_is_told_with_what_to_do() {
        let told = |errno, size| without(errno, &timings(size, 1));
        assert!(told(Errno::NOLINK, (0, 0)).unwrap().contains("EDID"));
        assert!(told(Errno::NOLCK, (0, 0)).unwrap().contains("not stable"));
        let odd = told(Errno::RANGE, (4096, 2160)).unwrap();
        assert!(
            odd.starts_with("its source sends 4096x2160 in timings"),
            "{odd}"
        );
        assert!(told(Errno::RANGE, (0, 0)).unwrap().contains("something"));
        assert_eq!(told(Errno::IO, (0, 0)), None);
    }
}

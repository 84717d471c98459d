//! Standards of analogue video: PAL, NTSC, SECAM and what is like them. They decide how many lines a picture has.
//!
//! <https://docs.kernel.org/userspace-api/media/v4l/standard.html>. The kernel gives them names and bits, and a set of bits stands for what
//! has not to be told apart. An input is set to what was asked for (`--standard`), or else to what its driver detects, if it can.
//!
//! An input without a signal is left as it is: decoders deliver a picture all the same, and what it is set to is as good as any.

use std::os::fd::AsFd;
use std::time::Instant;

use log::{Level, log};
use rustix::io::Errno;

use super::device::{Device, exists, text};
use super::ioctl::{self, Plain};
use crate::capture::opening_log::OpeningLog;
use crate::error::{Error, Result};

/// V4L2_IN_CAP_STD
const CAP_STD: u32 = 0x4;
/// The kernel has some thirty.
const MOST: u32 = 64;

impl Device {
    /// The standards that its present input can be set to, by the kernel's names for them; none if it is not analogue.
    /// (VIDIOC_ENUMSTD)
    pub fn standards(&self) -> Vec<(String, u64)> {
        self.enumerate_standards().unwrap_or_default()
    }

    fn enumerate_standards(&self) -> Result<Vec<(String, u64)>, Errno> {
        let mut standards = Vec::new();
        if !has_standards(self.input()?) {
            return Ok(standards);
        }
        for index in 0..MOST {
            let mut entry = ioctl::Standard::zeroed();
            entry.index = index;
            if !exists(ioctl::enumstd(self.as_fd(), &mut entry))? {
                break;
            }
            standards.push((text(&entry.name), entry.id));
        }
        Ok(standards)
    }
}

/// Whether an input is one for analogue video.
pub(super) fn has_standards(input: Option<ioctl::Input>) -> bool {
    input.is_some_and(|input| input.capabilities & CAP_STD != 0)
}

/// Sets the input to the standard of this name. (VIDIOC_S_STD)
pub(super) fn set(device: &Device, wanted: &str) -> Result<()> {
    let standards = device
        .enumerate_standards()
        .map_err(|errno| device.refused("ask for the standards of", errno))?;
    let of = format!("{} ({})", device.path().display(), device.card().card);
    let mut set = find(&of, wanted, &standards)?;
    ioctl::s_std(device.as_fd(), &mut set)
        .map_err(|errno| device.refused("set the standard of", errno))
}

/// The bits of a standard of this device, or what is wrong with its name. Without any standards that is only so for now: another input may
/// be set later, and another device may come under the same node.
fn find(of: &str, wanted: &str, standards: &[(String, u64)]) -> Result<u64> {
    let same = |(name, _): &&(String, u64)| name.eq_ignore_ascii_case(wanted);
    if let Some((_, set)) = standards.iter().find(same) {
        return Ok(*set);
    }
    let names: Vec<_> = standards.iter().map(|(name, _)| name.as_str()).collect();
    Err(match names.is_empty() {
        true => Error::Input(format!(
            "{of} has no analogue video input now, and so no standard {wanted}: set another input, or leave --standard out"
        )),
        false => Error::Usage(format!(
            "{of} has no standard {wanted}; it has {}",
            names.join(", ")
        )),
    })
}

/// Sets the input to the standard that it detects, unless that is set. Returns what its pictures are right for from now on; `None` if the
/// driver cannot detect any. (VIDIOC_QUERYSTD)
pub(super) fn follow(device: &Device, told: &mut OpeningLog) -> Option<u64> {
    let (fd, mut found, mut set) = (device.as_fd(), 0, 0);
    ioctl::querystd(fd, &mut found).ok()?;
    ioctl::g_std(fd, &mut set).ok()?;
    let kept = kept(set, found);
    if kept.is_some() {
        return kept;
    }
    // It may write into it.
    let mut wanted = found;
    let Err(errno) = ioctl::s_std(fd, &mut wanted) else {
        return Some(found);
    };
    let refused = device.refused("set the standard of", errno);
    let level = match told.level(Instant::now()) {
        Level::Info => Level::Warn,
        quiet => quiet,
    };
    log!(
        level,
        "{refused}; it is left as it is, and its pictures may be wrong"
    );
    // Both, or the same would be tried again at each event.
    Some(set | found)
}

/// What is right of what is set; `None` if it is something else that is found. An input that is set to several and finds one of them is not
/// right for the others.
fn kept(set: u64, found: u64) -> Option<u64> {
    match (found, set & found) {
        (0, _) => Some(set),
        (_, 0) => None,
        (_, both) => Some(both),
    }
}

/// Whether an input still gets one of these, or nothing. Some decoders do not say while they stream (EBUSY), and this is no change:
/// they also tell of changes that their own detection has caused, and set up anew for each of these, they would never come to an end.
/// They are asked again at the next start.
pub(super) fn is_still(device: &Device, set: u64) -> bool {
    let mut found = 0;
    let found = ioctl::querystd(device.as_fd(), &mut found).map(|()| found);
    is_no_change(found, set)
}

fn is_no_change(found: Result<u64, Errno>, set: u64) -> bool {
    found.map_or(true, |found| found == 0 || found & set != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_is_found_by_its_name_and_what_there_is_not_is_told_with_what_there_is() {
        let some = [("NTSC-M".to_owned(), 0x1000), ("PAL".to_owned(), 0xFF)];
        let found = |wanted, standards| find("/dev/video0 (A card)", wanted, standards);
        assert_eq!(found("PAL", &some).unwrap(), 0xFF);
        assert_eq!(found("ntsc-m", &some).unwrap(), 0x1000);
        // No attempt can succeed with this name,
        let Err(Error::Usage(told)) = found("NTSC", &some) else {
            panic!("a name that the input lacks is a mistake");
        };
        let expected = "/dev/video0 (A card) has no standard NTSC; it has NTSC-M, PAL";
        assert_eq!(told, expected);
        // and with this one a later attempt may.
        let Err(Error::Input(told)) = found("PAL", &[]) else {
            panic!("another input may have standards");
        };
        assert!(told.contains("has no analogue video input now"), "{told}");
    }

    #[test]
    fn what_is_kept_of_a_standard_is_no_more_than_what_is_set_and_found() {
        let (pal, ntsc, any) = (0xFF, 0x1000, 0xFF_FFFF);
        assert_eq!(kept(pal, 0x1), Some(0x1));
        assert_eq!(kept(ntsc, any), Some(ntsc), "a driver that finds anything");
        assert_eq!(kept(pal, 0), Some(pal), "no signal");
        assert_eq!(kept(pal, ntsc), None);
    }

    #[test]
    fn a_decoder_that_does_not_say_while_it_streams_gets_what_it_got() {
        assert!(is_no_change(Err(Errno::BUSY), 0xFF));
        assert!(is_no_change(Ok(0x1), 0xFF) && is_no_change(Ok(0), 0xFF));
        assert!(!is_no_change(Ok(0x1000), 0xFF));
    }

    #[test]
    fn only_an_input_that_says_so_is_analogue() {
        let mut input = ioctl::Input::zeroed();
        assert!(!has_standards(Some(input)) && !has_standards(None));
        // V4L2_IN_CAP_DV_TIMINGS, and V4L2_IN_CAP_STD
        input.capabilities = 0x2;
        assert!(!has_standards(Some(input)));
        input.capabilities = 0x4;
        assert!(has_standards(Some(input)));
    }
}

//! What single controls say about the pictures that come.

use std::os::fd::AsFd;

use super::controls::READ_ONLY;
use super::device::Device;
use super::ioctl::{self, Plain};

/// V4L2_CID_AUTOGAIN
const AUTOGAIN: u32 = 0x0098_0912;
/// V4L2_CID_EXPOSURE_AUTO
const EXPOSURE_AUTO: u32 = 0x009A_0901;
/// V4L2_EXPOSURE_MANUAL
const EXPOSURE_MANUAL: i32 = 1;
/// V4L2_CID_DV_RX_RGB_RANGE
const RX_RGB_RANGE: u32 = 0x00A0_0965;
/// V4L2_DV_RGB_RANGE_LIMITED
const RGB_RANGE_LIMITED: i32 = 1;

impl Device {
    /// Whether an HDMI input says that its source sends R, G and B from 16 to 235. A driver that can stretch them takes this control as
    /// an order, and delivers full range; one that only reports what it gets has it read-only (hdmirx of the RK3588).
    pub(super) fn gets_limited_rgb(&self) -> bool {
        let (mut query, id) = (ioctl::QueryCtrl::zeroed(), RX_RGB_RANGE);
        query.id = id;
        ioctl::queryctrl(self.as_fd(), &mut query).is_ok()
            && query.flags & READ_ONLY != 0
            && self.value(id) == Some(RGB_RANGE_LIMITED)
    }

    /// Whether the camera is set to one exposure, and leaves its gain alone.
    pub(super) fn has_fixed_exposure(&self) -> bool {
        let gain_is_fixed = || self.value(AUTOGAIN).unwrap_or(0) == 0;
        self.value(EXPOSURE_AUTO) == Some(EXPOSURE_MANUAL) && gain_is_fixed()
    }
}

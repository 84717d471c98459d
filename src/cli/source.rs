//! The flags that say what is captured, and how. `run` passes them on to its capture processes, so they can be written
//! as arguments again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::common::Common;
use super::values;
use crate::capture::assignment::Assignment;
use crate::capture::source::SourceKind;
use crate::capture::v4l2::EncoderKind;
use crate::picture::format::Fourcc;
use crate::picture::jpeg::Size;
use crate::picture::turn::{Flip, Rotation, Transform};

/// What is captured, and how.
#[derive(Clone, Debug, Args)]
pub struct SourceFlags {
    /// Where pictures come from: `pattern` (a built-in test picture), `stdin` (an MJPEG stream), `/dev/videoN` (a video
    /// device; `v4l2` alone: the first camera found), `libcamera:N` or `libcamera:ID` (a camera of libcamera, in builds with
    /// libcamera; `libcamera` alone: the first camera found), `http://HOST[:PORT]/PATH` or `http+unix:/SOCKET:/PATH` (MJPEG
    /// or single pictures from the network).
    #[arg(long, env = "LAZYCAM_SOURCE", default_value = "pattern")]
    pub source: SourceKind,
    /// A file with the password of the user in `http://USER@HOST…`. A relative FILE may be one of the service's credentials
    /// (`LoadCredential=`).
    #[arg(long, env = "LAZYCAM_SOURCE_PASSWORD", value_name = "FILE")]
    pub source_password: Option<PathBuf>,
    /// Width and height in pixels, for `pattern` and cameras [default: 640x480, or the nearest size that the camera has].
    #[arg(long, env = "LAZYCAM_SIZE", value_name = "WxH", value_parser = values::parse_size)]
    pub size: Option<Size>,
    /// Frames per second. `pattern`: exactly this rate [default: 30]. `stdin`: at most this rate [default: all]. Cameras: the
    /// nearest supported rate, with frames dropped if that is faster [default: the camera's].
    #[arg(long, env = "LAZYCAM_FPS", value_name = "N", value_parser = values::parse_fps)]
    pub fps: Option<f64>,
    /// Pixel format of a camera, by its code in V4L2, such as MJPG or YUYV [default: the camera's own JPEG, or what costs the
    /// least to encode].
    #[arg(long, env = "LAZYCAM_FORMAT", value_name = "FOURCC")]
    pub format: Option<Fourcc>,
    /// Standard of an analogue video input (`v4l2`), such as PAL or NTSC-M [default: what the input detects]. `lazycam list`
    /// shows the names.
    #[arg(long, env = "LAZYCAM_STANDARD", value_name = "NAME", value_parser = values::parse_standard)]
    pub standard: Option<String>,
    /// Set a control of the camera, such as brightness=10. May be given several times. `lazycam list` shows the names.
    #[arg(
        long,
        env = "LAZYCAM_CONTROL",
        value_name = "NAME=VALUE",
        value_delimiter = ','
    )]
    pub control: Vec<Assignment>,
    /// Controls that `lazycam control` may set while the camera runs, beside those of --control. May be given several times.
    #[arg(
        long,
        env = "LAZYCAM_SETTABLE",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub settable: Vec<String>,
    /// A directory in which others than the owner of the frame directory may want such controls: NAME below the DIR of
    /// `lazycam serve --allow-control DIR`.
    #[arg(long, env = "LAZYCAM_MAILBOX", value_name = "DIR")]
    pub mailbox: Option<PathBuf>,
    /// Rotate the pictures clockwise by 90, 180 or 270 degrees. The camera does it if it can.
    #[arg(long, env = "LAZYCAM_ROTATE", value_name = "DEGREES")]
    pub rotate: Option<Rotation>,
    /// Flip the pictures `horizontal` (left and right) or `vertical` (top and bottom), after they are rotated.
    #[arg(long, env = "LAZYCAM_FLIP", value_name = "WAY")]
    pub flip: Option<Flip>,
    /// JPEG quality from 1 to 100, for frames that lazycam encodes itself.
    #[arg(long, env = "LAZYCAM_QUALITY", value_name = "Q", default_value_t = 80,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,
    /// What encodes raw frames: `software`, or a JPEG encoder in hardware that the kernel has as a video device: `v4l2` (the
    /// first one found) or `v4l2:/dev/videoN`. What it cannot encode is encoded in software. `auto`: hardware if there is any
    /// [default: software].
    #[arg(
        long,
        env = "LAZYCAM_ENCODER",
        value_name = "ENCODER",
        default_value_t,
        hide_default_value = true
    )]
    pub encoder: EncoderKind,
    /// Keep the camera running for this many seconds after the last requested frame.
    #[arg(long, env = "LAZYCAM_LINGER", value_name = "SECONDS", default_value = "5", value_parser = values::parse_seconds)]
    pub linger: Duration,
}

impl SourceFlags {
    /// The names of all controls that may be set while the camera runs.
    pub fn all_settable(&self) -> Vec<String> {
        let given = self.control.iter().map(|control| control.name.clone());
        given.chain(self.settable.iter().cloned()).collect()
    }

    /// How the pictures are turned.
    pub fn turn(&self) -> Transform {
        Transform::new(self.rotate, self.flip)
    }

    /// The settings that were given as flags, under the flags' names without the dashes.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let size = self.size.map(|size| size.to_string());
        let controls = self
            .control
            .iter()
            .map(|control| ("control", control.to_string()));
        let mut settings = vec![("source", self.source.to_string())];
        let password = self.source_password.as_ref();
        settings.extend(password.map(|file| ("source-password", file.display().to_string())));
        settings.extend(size.map(|size| ("size", size)));
        settings.extend(self.fps.map(|fps| ("fps", fps.to_string())));
        settings.extend(self.format.map(|format| ("format", format.to_string())));
        let standard = self.standard.as_ref();
        settings.extend(standard.map(|name| ("standard", name.clone())));
        settings.extend(controls);
        let settable = self.settable.iter();
        settings.extend(settable.map(|name| ("settable", name.clone())));
        let mailbox = self.mailbox.as_ref();
        settings.extend(mailbox.map(|dir| ("mailbox", dir.display().to_string())));
        settings.extend(self.rotate.map(|rotate| ("rotate", rotate.to_string())));
        settings.extend(self.flip.map(|flip| ("flip", flip.to_string())));
        settings.push(("quality", self.quality.to_string()));
        settings.push(("encoder", self.encoder.to_string()));
        settings.push(("linger", self.linger.as_secs_f64().to_string()));
        settings
    }

    /// The arguments of a `capture` command that captures this source into the directory `frames`.
    pub fn capture_arguments(&self, frames: &Path, common: &Common) -> Vec<OsString> {
        let mut arguments = vec!["capture".into(), "--frames".into(), frames.into()];
        arguments.extend(["--log".into(), common.log.to_string().into()]);
        arguments.extend(["--max-frame".into(), common.max_frame.to_string().into()]);
        for (name, value) in self.settings() {
            arguments.extend([format!("--{name}").into(), value.into()]);
        }
        arguments
    }
}

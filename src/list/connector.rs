//! What can be seen of a camera on the board's connector (CSI, a ribbon cable) without libcamera, and what to do.
//!
//! Such a camera is no single `/dev/videoN` that delivers pictures: its sensor is a device on an I2C bus, once an overlay
//! of the device tree or the firmware has told the kernel of it, and its receiver is a media device (Linux, Documentation
//! /userspace-api/media/mediactl). libcamera puts the two together.

use std::fs;
use std::path::Path;

/// Whether libcamera is part of this program.
const HAS_LIBCAMERA: bool = cfg!(feature = "libcamera");

/// Beginnings of the names of sensors' drivers (Linux, drivers/media/i2c): Sony, OmniVision, Samsung, onsemi.
const SENSORS: [&str; 5] = ["imx", "ov", "s5k", "ar0", "mt9"];

/// What the system knows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Connector {
    /// Paths of media devices.
    media: Vec<String>,
    /// Names of sensors.
    sensors: Vec<String>,
    /// The board, if a device tree tells.
    board: Option<String>,
}

impl Connector {
    pub(super) fn look() -> Self {
        let board = fs::read_to_string("/proc/device-tree/model").ok();
        Connector {
            media: media(Path::new("/dev")),
            sensors: sensors(Path::new("/sys/bus/i2c/devices")),
            board: board.map(|text| text.trim_matches('\0').to_owned()),
        }
    }

    /// Whether there is a sensor, which should be in the list of cameras.
    pub(super) fn has_sensor(&self) -> bool {
        !self.sensors.is_empty()
    }

    pub(super) fn text(&self) -> String {
        self.advice(HAS_LIBCAMERA)
    }

    fn advice(&self, has_libcamera: bool) -> String {
        let found = match (&*self.sensors, &*self.media) {
            ([], []) => "the kernel knows of none, neither a sensor nor a /dev/mediaN".to_owned(),
            ([], media) => format!("there is {}, and no sensor is known", media.join(", ")),
            (sensors, media) => format!(
                "the kernel knows {}, with {}",
                sensors.join(", "),
                listed(media)
            ),
        };
        let mut lines = vec![found];
        if self.sensors.is_empty() {
            let is_pi = self
                .board
                .as_ref()
                .is_some_and(|board| board.contains("Raspberry Pi"));
            lines.push(match is_pi {
                true => "switch the board off and check the cable; /boot/firmware/config.txt needs camera_auto_detect=1, \
                         or dtoverlay=imx219 (or what the sensor is); then start it again"
                    .into(),
                false => "if there is one: check the cable, and whether the device tree or an overlay names its sensor".into(),
            });
        }
        lines.push(match has_libcamera {
            true => "this lazycam has libcamera, and it finds no camera".into(),
            false => "this lazycam has no libcamera, which these cameras need: take a build that has it, or \
                      `rpicam-vid -t 0 --codec mjpeg -o - | lazycam --source stdin`"
                .into(),
        });
        lines.iter().map(|line| format!("  {line}\n")).collect()
    }
}

fn listed(media: &[String]) -> String {
    match media {
        [] => "no /dev/mediaN".into(),
        _ => media.join(", "),
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn media(dev: &Path) -> Vec<String> {
    let is_node = |name: &String| {
        let number = name.strip_prefix("media");
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let nodes = names(dev).into_iter().filter(is_node);
    nodes
        .map(|name| dev.join(name).display().to_string())
        .collect()
}

fn sensors(bus: &Path) -> Vec<String> {
    let called = names(bus)
        .into_iter()
        .filter_map(|device| fs::read_to_string(bus.join(device).join("name")).ok());
    let called = called.map(|name| name.trim().to_owned());
    let is_sensor = |name: &String| {
        SENSORS.iter().any(|start| {
            let rest = name.strip_prefix(start);
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    called.filter(is_sensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_sensors_are_found_by_their_names() {
        let base = std::env::temp_dir().join(format!("lazycam-connector-{}", std::process::id()));
        for (device, name) in [
            ("10-0010", "imx219\n"),
            ("1-0050", "24c32\n"),
            ("1-0036", "ov5647\n"),
            ("2-0001", "overlay\n"),
        ] {
            fs::create_dir_all(base.join(device)).unwrap();
            fs::write(base.join(device).join("name"), name).unwrap();
        }
        for node in ["media0", "mediax", "media", "video0"] {
            fs::write(base.join(node), "").unwrap();
        }
        assert_eq!(sensors(&base), ["ov5647", "imx219"]);
        assert_eq!(media(&base), [base.join("media0").display().to_string()]);
        fs::remove_dir_all(&base).unwrap();
        assert!(sensors(&base).is_empty());
    }

    #[test]
    fn what_to_do_depends_on_what_is_there() {
        let nothing = Connector::default();
        assert!(nothing.advice(true).contains("check the cable"));
        assert!(!nothing.advice(true).contains("config.txt"));
        let pi = Connector {
            board: Some("Raspberry Pi 4 Model B".into()),
            ..Connector::default()
        };
        assert!(pi.advice(false).contains("config.txt") && pi.advice(false).contains("rpicam-vid"));
        let sensor = Connector {
            sensors: vec!["imx219".into()],
            media: vec!["/dev/media0".into()],
            board: None,
        };
        let told = sensor.advice(false);
        assert!(
            told.starts_with("  the kernel knows imx219, with /dev/media0\n"),
            "{told}"
        );
        assert!(!told.contains("cable"), "{told}");
    }
}

//! `lazycam list`: the cameras of this machine, with the values to use for `--source`, `--size`, `--fps`, `--format`
//! and `--control`.
//!
//! The output is text for people or JSON for programs. Video devices that are not cameras (metadata, outputs, parts of
//! an ISP) are left out, but for JPEG encoders, which come last, for `--encoder`; cameras that have no format that lazycam can read are shown and marked as
//! such. Devices are only opened; nothing is started or changed. If libcamera is built in, its cameras follow.

mod connector;
mod encoder;
#[cfg(feature = "libcamera")]
mod libcamera;

use std::fmt::Write as _;
use std::io::Write as _;

use self::connector::Connector;
use crate::capture::devices::video_nodes;
use crate::capture::v4l2::{Control, Device, EncoderFacts, readable_formats};
use crate::error::{Context, Result};
use crate::json::{list, object, plain, quoted};
use crate::picture::format::{Fourcc, Sizes};

/// Writes the list to standard output.
pub fn run(json: bool) -> Result<()> {
    let found = Listing::look()?;
    let text = if json { found.json() } else { found.text() };
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .doing(|| "write the list to standard output".into())
}

/// What was found.
#[derive(Default)]
struct Listing {
    cameras: Vec<ListedCamera>,
    /// Device nodes that could not be opened, and the reasons.
    refused: Vec<(String, String)>,
    connector: Connector,
    encoders: Vec<EncoderFacts>,
}

struct ListedCamera {
    /// The value for `--source`.
    source: String,
    device: String,
    card: String,
    driver: String,
    bus: String,
    formats: Vec<CameraFormat>,
    /// The names of the standards of an analogue input.
    standards: Vec<String>,
    controls: Vec<ListedControl>,
}

/// A control, in both forms of output.
struct ListedControl {
    text: String,
    json: String,
}

struct CameraFormat {
    /// The value for `--format`.
    name: String,
    /// Whether lazycam can read it.
    readable: bool,
    sizes: Vec<CameraSize>,
    /// Set if the sizes are a range with steps; the rates in `sizes` are then those of the smallest and the largest
    /// size.
    range: Option<[(u32, u32); 3]>,
}

struct CameraSize {
    width: u32,
    height: u32,
    fps: Vec<f64>,
}

impl Listing {
    fn look() -> Result<Self> {
        let mut found = Listing {
            connector: Connector::look(),
            ..Listing::default()
        };
        for node in video_nodes().doing(|| "look into /dev".into())? {
            match Device::open(&node) {
                Ok(device) if device.card().is_camera() => {
                    found.cameras.push(ListedCamera::of(&device))
                }
                Ok(device) => found.encoders.extend(EncoderFacts::of(&device)),
                Err(error) => found
                    .refused
                    .push((node.display().to_string(), error.to_string())),
            }
        }
        #[cfg(feature = "libcamera")]
        match crate::capture::libcamera::list() {
            Ok(cameras) => found
                .cameras
                .extend(cameras.iter().map(ListedCamera::of_libcamera)),
            Err(error) => found.refused.push(("libcamera".into(), error.to_string())),
        }
        Ok(found)
    }

    fn is_best(&self, facts: &EncoderFacts) -> bool {
        EncoderFacts::best(&self.encoders) == Some(facts)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for camera in &self.cameras {
            camera.text(&mut text);
        }
        for (_, error) in &self.refused {
            let _ = writeln!(text, "{error}");
        }
        if self.cameras.is_empty() && self.refused.is_empty() {
            text +=
                "no cameras\nUSB: plug one in and call this again; `--source pattern` needs none\n";
        }
        let by_libcamera = |camera: &ListedCamera| camera.driver == "libcamera";
        if self.cameras.is_empty()
            || self.connector.has_sensor() && !self.cameras.iter().any(by_libcamera)
        {
            text += "on the board's connector (ribbon cable):\n";
            text += &self.connector.text();
        }
        for facts in &self.encoders {
            encoder::text(facts, self.is_best(facts), &mut text);
        }
        text
    }

    fn json(&self) -> String {
        let cameras = list(&self.cameras, ListedCamera::json);
        let refused = list(&self.refused, |(device, error)| {
            object([("device", quoted(device)), ("error", quoted(error))])
        });
        let encoders = list(&self.encoders, |facts| {
            encoder::json(facts, self.is_best(facts))
        });
        let all = [
            ("cameras", cameras),
            ("refused", refused),
            ("encoders", encoders),
        ];
        object(all) + "\n"
    }
}

impl ListedCamera {
    fn of(device: &Device) -> Self {
        let card = device.card();
        let readable = readable_formats(device);
        let format = |fourcc| CameraFormat::of(device, fourcc, readable.contains(&fourcc));
        let path = device.path().display();
        let standards = device.standards().into_iter();
        ListedCamera {
            source: format!("v4l2:{path}"),
            device: path.to_string(),
            card: card.card.clone(),
            driver: card.driver.clone(),
            bus: card.bus.clone(),
            formats: device.formats().into_iter().map(format).collect(),
            standards: standards.map(|(name, _)| name).collect(),
            controls: device.controls().iter().map(ListedControl::of).collect(),
        }
    }

    fn is_readable(&self) -> bool {
        self.formats.iter().any(|format| format.readable)
    }

    fn text(&self, text: &mut String) {
        let ListedCamera {
            source,
            device,
            driver,
            bus,
            ..
        } = self;
        // libcamera passes on what a device calls itself.
        let card = self.card.replace(char::is_control, "\u{fffd}");
        let _ = writeln!(text, "{card} ({driver}, {bus})");
        let _ = match self.is_readable() {
            true => writeln!(text, "  --source {source}"),
            false => writeln!(text, "  {device}: no format that lazycam can read"),
        };
        for format in &self.formats {
            let note = if format.readable { "" } else { " (not read)" };
            let _ = writeln!(text, "  --format {}{note}", format.name);
            if let Some(range) = format.range {
                let _ = writeln!(text, "    --size {}", Sizes::Stepwise(range));
            }
            for CameraSize { width, height, fps } in &format.sizes {
                let fps: Vec<_> = fps.iter().map(|&fps| rounded(fps)).collect();
                let rates = if fps.is_empty() {
                    "not told".into()
                } else {
                    fps.join(", ")
                };
                let _ = writeln!(text, "    --size {width}x{height}  --fps {rates}");
            }
        }
        if !self.standards.is_empty() {
            let _ = writeln!(text, "  --standard {}", self.standards.join(", "));
        }
        for control in &self.controls {
            let _ = writeln!(text, "  --control {}", control.text);
        }
    }

    fn json(&self) -> String {
        object([
            ("source", quoted(&self.source)),
            ("device", quoted(&self.device)),
            ("card", quoted(&self.card)),
            ("driver", quoted(&self.driver)),
            ("bus", quoted(&self.bus)),
            ("readable", self.is_readable().to_string()),
            ("formats", list(&self.formats, CameraFormat::json)),
            ("standards", list(&self.standards, |name| quoted(name))),
            ("controls", list(&self.controls, |one| one.json.clone())),
        ])
    }
}

impl CameraFormat {
    fn of(device: &Device, fourcc: Fourcc, readable: bool) -> Self {
        let (sizes, range) = match device.sizes(fourcc) {
            Some(Sizes::Discrete(sizes)) => (sizes, None),
            Some(Sizes::Stepwise(range)) => (vec![range[0], range[1]], Some(range)),
            None => (Vec::new(), None),
        };
        let with_rates = |(width, height)| {
            let intervals = device.intervals(fourcc, (width, height));
            let fps = intervals
                .into_iter()
                .filter_map(|interval| interval.fps())
                .collect();
            CameraSize { width, height, fps }
        };
        CameraFormat {
            name: fourcc.to_string(),
            readable,
            sizes: sizes.into_iter().map(with_rates).collect(),
            range,
        }
    }

    fn json(&self) -> String {
        let size = |CameraSize { width, height, fps }: &CameraSize| {
            object([
                ("width", width.to_string()),
                ("height", height.to_string()),
                ("fps", list(fps, |&fps| rounded(fps))),
            ])
        };
        let pair = |(width, height): (u32, u32)| list([width, height], |side| side.to_string());
        let range = self.range.map(|[minimum, maximum, step]| {
            object([
                ("minimum", pair(minimum)),
                ("maximum", pair(maximum)),
                ("step", pair(step)),
            ])
        });
        object([
            ("format", quoted(&self.name)),
            ("readable", self.readable.to_string()),
            ("sizes", list(&self.sizes, size)),
            ("range", plain(range)),
        ])
    }
}

impl ListedControl {
    fn of(control: &Control) -> Self {
        let (name, range) = (&control.name, control.range());
        let value = control
            .value
            .map_or(String::new(), |value| format!(", now {value}"));
        let note = match (control.read_only, control.inactive) {
            (true, _) => ", read only",
            (_, true) => ", inactive",
            _ => "",
        };
        ListedControl {
            text: format!("{name}={range}, default {}{value}{note}", control.default),
            json: control.facts().json(),
        }
    }
}

/// With at most two decimal places: 30, 29.97.
fn rounded(fps: f64) -> String {
    ((fps * 100.0).round() / 100.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::v4l2::Card;

    fn found() -> Listing {
        let size = |width, height, fps: &[f64]| CameraSize {
            width,
            height,
            fps: fps.to_vec(),
        };
        let formats = vec![
            CameraFormat {
                name: "MJPG".into(),
                readable: true,
                sizes: vec![
                    size(640, 480, &[30.0, 30000.0 / 1001.0]),
                    size(320, 240, &[]),
                ],
                range: None,
            },
            CameraFormat {
                name: "H264".into(),
                readable: false,
                sizes: Vec::new(),
                range: Some([(16, 16), (64, 48), (2, 2)]),
            },
        ];
        let camera = ListedCamera {
            source: "v4l2:/dev/video0".into(),
            device: "/dev/video0".into(),
            card: "A \"HD\" Webcam\n\u{1b}[2J".into(),
            driver: "uvcvideo".into(),
            bus: "usb-1".into(),
            formats,
            standards: vec!["NTSC-M".into(), "PAL".into()],
            controls: Vec::new(),
        };
        let encoder = |node: &str, gives: &[u8; 4]| EncoderFacts {
            path: node.into(),
            card: Card {
                driver: "coder".into(),
                card: "A coder".into(),
                bus: "platform:coder".into(),
                ..Card::default()
            },
            takes: vec![Fourcc(*b"YU12"), Fourcc(*b"YUYV")],
            raw: Fourcc(*b"YU12"),
            gives: Fourcc(*gives),
        };
        Listing {
            cameras: vec![camera],
            refused: vec![("/dev/video2".into(), "cannot open /dev/video2: why".into())],
            connector: Connector::default(),
            encoders: vec![
                encoder("/dev/video11", b"MJPG"),
                encoder("/dev/video31", b"JPEG"),
            ],
        }
    }

    #[test]
    fn the_text_says_what_to_type() {
        let text = found().text();
        for line in [
            "A \"HD\" Webcam\u{fffd}\u{fffd}[2J (uvcvideo, usb-1)",
            "  --source v4l2:/dev/video0",
            "  --format MJPG",
            "    --size 640x480  --fps 30, 29.97",
            "    --size 320x240  --fps not told",
            "  --format H264 (not read)",
            "    --size 16x16 to 64x48 by 2x2",
            "  --standard NTSC-M, PAL",
            "cannot open /dev/video2: why",
            "A coder (coder, platform:coder), a JPEG encoder",
            "  --encoder v4l2:/dev/video11",
            "  --encoder v4l2:/dev/video31, or v4l2 alone",
            "  YU12, YUYV become JPEG",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_json_is_the_same_whatever_a_device_calls_itself() {
        let json = found().json();
        let start = r#"{"cameras":[{"source":"v4l2:/dev/video0","device":"/dev/video0","card":"A \"HD\" Webcam\u000a\u001b[2J","driver":"uvcvideo","bus":"usb-1","readable":true,"formats":[{"format":"MJPG","readable":true,"sizes":[{"width":640,"height":480,"fps":[30,29.97]},{"width":320,"height":240,"fps":[]}],"range":null},"#;
        assert!(json.starts_with(start), "{json}");
        let end = r#""range":{"minimum":[16,16],"maximum":[64,48],"step":[2,2]}}],"standards":["NTSC-M","PAL"],"controls":[]}],"refused":[{"device":"/dev/video2","error":"cannot open /dev/video2: why"}],"encoders":[{"encoder":"v4l2:/dev/video11","device":"/dev/video11","card":"A coder","driver":"coder","bus":"platform:coder","takes":["YU12","YUYV"],"gives":"MJPG","best":false},{"encoder":"v4l2:/dev/video31","device":"/dev/video31","card":"A coder","driver":"coder","bus":"platform:coder","takes":["YU12","YUYV"],"gives":"JPEG","best":true}]}"#;
        assert_eq!(
            json.trim_end().get(json.trim_end().len() - end.len()..),
            Some(end),
            "{json}"
        );
    }

    #[test]
    fn no_cameras_are_told_as_such() {
        assert!(Listing::default().text().starts_with("no cameras"));
        assert_eq!(
            Listing::default().json(),
            "{\"cameras\":[],\"refused\":[],\"encoders\":[]}\n"
        );
    }
}

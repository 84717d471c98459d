//! One of several cameras, as the flags `--camera NAME=SOURCE,SETTING=VALUE,...` and `--frames NAME=DIR` describe it.
//!
//! A setting has the name and the values of the corresponding flag of `capture`. The same code parses both, so there
//! is no second list of settings to maintain.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::source::SourceFlags;
use crate::capture::source::SourceKind;
use crate::error::{Error, Result};
use crate::frames::name::Name;

/// A camera of the command `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraFlag {
    /// The camera's name.
    pub name: Name,
    /// Where the camera's pictures come from.
    pub source: SourceKind,
    /// The settings that are specific to this camera: names of flags without their dashes, and their values.
    pub settings: Vec<(String, String)>,
}

impl FromStr for CameraFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text
            .split_once('=')
            .ok_or("a camera is NAME=SOURCE, such as front=v4l2:/dev/video0")?;
        let mut words = rest.split(',');
        let source = words.next().unwrap_or_default().parse()?;
        let mut settings = Vec::new();
        for word in words {
            let setting = word.split_once('=').filter(|(key, _)| *key != "source");
            let (key, value) = setting
                .ok_or_else(|| format!("'{word}' is no setting: that is one like size=640x480"))?;
            settings.push((key.to_owned(), value.to_owned()));
        }
        Ok(CameraFlag {
            name: name.parse()?,
            source,
            settings,
        })
    }
}

/// All flags of a `capture` command that describe the source.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Words {
    #[command(flatten)]
    source: SourceFlags,
}

impl CameraFlag {
    /// What to capture: the camera's own settings and, where it has none, those from `defaults` that apply to its
    /// source.
    pub fn over(&self, defaults: &SourceFlags) -> Result<SourceFlags> {
        let own = |name: &str| self.settings.iter().any(|(key, _)| key == name);
        let kept = defaults.settings().into_iter().filter(|(name, _)| {
            // Controls accumulate; of two that set the same control, the later one wins.
            *name != "source"
                && self.source.takes(name)
                && (matches!(*name, "control" | "settable") || !own(name))
        });
        let kept = kept.map(|(name, value)| (name.to_owned(), value));
        let source = ("source".to_owned(), self.source.to_string());
        let all = kept.chain([source]).chain(self.settings.iter().cloned());
        // As a single word, so that a value cannot be mistaken for a flag.
        let words = all.map(|(name, value)| format!("--{name}={value}"));
        // The defaults already include the values of environment variables, where they apply, so no variable may be
        // read here.
        let command = Words::command().mut_args(|flag| flag.env(""));
        let matches = command.try_get_matches_from(words);
        let words = matches.and_then(|matches| Words::from_arg_matches(&matches));
        words.map(|words| words.source).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let what = first.strip_prefix("error: ").unwrap_or(first);
            Error::Usage(format!("--camera {}: {what}", self.name))
        })
    }
}

/// A frame directory of `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The camera's name.
    pub name: Name,
    /// The directory that holds its frames.
    pub dir: PathBuf,
}

impl FromStr for Frames {
    type Err = String;

    /// A path with a `=` in its first component has to be written with `./` in front.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a frame directory has a name".into());
        }
        match text.split_once('=') {
            Some((name, dir)) if !name.contains('/') => match dir {
                "" => Err(format!("which directory is {name}?")),
                dir => Ok(Frames {
                    name: name.parse()?,
                    dir: dir.into(),
                }),
            },
            _ => Ok(Frames {
                name: Name::of_directory(text.as_ref()),
                dir: text.into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(flags: &[&str]) -> SourceFlags {
        Words::try_parse_from(flags).unwrap().source
    }

    fn over(text: &str, flags: &[&str]) -> Result<SourceFlags> {
        text.parse::<CameraFlag>().unwrap().over(&defaults(flags))
    }

    #[test]
    fn a_camera_is_a_name_a_source_and_settings() {
        let camera: CameraFlag = "front=v4l2:/dev/v4l/by-id/a=b:c,size=1280x720,control=focus=1"
            .parse()
            .unwrap();
        assert_eq!(camera.name.as_str(), "front");
        assert_eq!(
            camera.source,
            SourceKind::V4l2(Some("/dev/v4l/by-id/a=b:c".into()))
        );
        let settings = [("size", "1280x720"), ("control", "focus=1")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(camera.settings, settings);
        for bad in [
            "",
            "front",
            "=pattern",
            "front=",
            "front=webcam",
            "../x=pattern",
            "stream=pattern",
            "front=pattern,",
            "front=pattern,fast",
            "front=pattern,source=stdin",
        ] {
            assert!(bad.parse::<CameraFlag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_camera_says_goes_before_what_is_said_for_all() {
        let all = [
            "--size=64x64",
            "--fps=5",
            "--linger=9",
            "--control=brightness=1",
        ];
        let camera = over("a=v4l2,fps=7.5,quality=33,control=focus=2", &all).unwrap();
        let same = [
            "--source=v4l2",
            "--size=64x64",
            "--fps=7.5",
            "--quality=33",
            "--linger=9",
            "--control=brightness=1",
            "--control=focus=2",
        ];
        assert_eq!(format!("{camera:?}"), format!("{:?}", defaults(&same)));
    }

    #[test]
    fn what_is_said_for_all_does_not_hold_for_sources_that_have_no_use_for_it() {
        let all = ["--size=64x64", "--format=YUYV", "--control=brightness=1"];
        let stdin = over("a=stdin", &all).unwrap();
        assert_eq!((stdin.size, stdin.format), (None, None));
        let pattern = over("a=pattern", &all).unwrap();
        assert_eq!(pattern.size, "64x64".parse().ok());
        assert_eq!(pattern.format, None);
        assert!(pattern.control.is_empty());
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_refused_under_the_cameras_name() {
        for bad in [
            "size=1",
            "speed=3",
            "fps=0",
            "help=1",
            "frames=/tmp",
            "log=debug",
        ] {
            let error = over(&format!("bench=pattern,{bad}"), &[]).unwrap_err();
            assert!(matches!(error, Error::Usage(_)));
            assert!(error.to_string().starts_with("--camera bench: "), "{error}");
        }
    }

    #[test]
    fn a_frame_directory_has_a_name_or_gets_one() {
        for (text, name, dir) in [
            ("front=/run/x", "front", "/run/x"),
            ("/run/lazycam/front", "front", "/run/lazycam/front"),
            ("/run/a=b", "camera", "/run/a=b"),
            ("./a=b", "camera", "./a=b"),
            ("a=b=c", "a", "b=c"),
        ] {
            let frames: Frames = text.parse().unwrap();
            assert_eq!((frames.name.as_str(), frames.dir), (name, dir.into()));
        }
        for bad in ["", "front=", "..=x", "=x"] {
            assert!(bad.parse::<Frames>().is_err(), "{bad}");
        }
    }
}

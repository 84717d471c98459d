//! Controls that are set while the camera runs (`lazycam control`): those that its owner has named may be set by
//! whoever may write into the directory. They are set at once, and again after each start.

use std::path::Path;
use std::str::FromStr;
use std::time::Instant;

use log::{info, warn};

use super::assignment::Assignment;
use super::source::{Source, Unset};
use crate::error::Result;
use crate::frames::controls::{Outcome, Wishes};

/// What is wanted of one camera.
pub(super) struct Live {
    pub(super) wishes: Wishes,
    /// The names that may be set.
    settable: Vec<String>,
    /// What was answered last.
    told: Vec<(String, Outcome)>,
}

impl Live {
    /// For a frame directory, which must exist; `None` if nothing may be set.
    pub(super) fn new(dir: &Path, settable: &[String]) -> Result<Option<Self>> {
        if settable.is_empty() {
            return Ok(None);
        }
        Ok(Some(Live {
            wishes: Wishes::new(dir)?,
            settable: settable.iter().map(|name| plain(name)).collect(),
            told: Vec::new(),
        }))
    }

    /// Handles what has happened in the directory, without blocking, and sets what is wanted anew.
    pub(super) fn look(&mut self, source: &mut dyn Source, now: Instant) {
        match self.wishes.look(now) {
            Ok(true) => self.set(source),
            Ok(false) => {}
            Err(error) => warn!("cannot read what controls are wanted: {error}"),
        }
    }

    /// Sets what is wanted, in its order.
    pub(super) fn set(&mut self, source: &mut dyn Source) {
        let Some((at, text)) = self.wishes.wanted() else {
            return;
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let outcomes: Vec<_> = lines
            .map(|line| (line.to_owned(), self.outcome(line, source)))
            .collect();
        if outcomes != self.told {
            for (line, outcome) in outcomes.iter().filter(|one| !self.told.contains(one)) {
                match outcome {
                    Outcome::Set => info!("control {line} is set"),
                    Outcome::Later => info!("control {line} will be set when the camera is there"),
                    Outcome::Refused(why) => info!("control {line} is refused: {why}"),
                }
            }
        }
        if let Err(error) = self.wishes.answer(at, &outcomes) {
            warn!("{error}");
        }
        self.told = outcomes;
    }

    fn outcome(&self, line: &str, source: &mut dyn Source) -> Outcome {
        let wanted = match Assignment::from_str(line) {
            Ok(wanted) => wanted,
            Err(why) => return Outcome::Refused(why),
        };
        if !self.settable.contains(&plain(&wanted.name)) {
            return Outcome::Refused("it is not among those that may be set (--settable)".into());
        }
        match source.set_control(&wanted) {
            Ok(()) => Outcome::Set,
            Err(Unset::Later) => Outcome::Later,
            Err(Unset::Refused(why)) => Outcome::Refused(why),
        }
    }
}

/// A name without what libcamera's users write in different ways: AfMode, af_mode.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::BorrowedFd;

    use super::*;
    use crate::capture::source::{Captured, Trouble};

    /// A camera with one control, and what it was set to.
    #[derive(Default)]
    struct Camera {
        is_there: bool,
        set: Vec<String>,
    }

    impl Source for Camera {
        fn describe(&self) -> String {
            String::new()
        }
        fn start(&mut self, _: Instant) -> Result<(), Trouble> {
            Ok(())
        }
        fn stop(&mut self) {}
        fn fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }
        fn deadline(&self) -> Option<Instant> {
            None
        }
        fn advance(&mut self, _: Instant) -> Result<Option<Captured>, Trouble> {
            Ok(None)
        }
        fn jpeg(&mut self) -> Result<&[u8], Trouble> {
            Ok(&[])
        }
        fn set_control(&mut self, wanted: &Assignment) -> Result<(), Unset> {
            if !self.is_there {
                return Err(Unset::Later);
            }
            if wanted.name != "focus" && wanted.name != "afmode" {
                return Err(Unset::Refused(format!("no control {}", wanted.name)));
            }
            self.set.push(wanted.to_string());
            Ok(())
        }
    }

    #[test]
    fn what_may_be_set_is_set_in_its_order_and_the_rest_is_answered() {
        let dir = std::env::temp_dir().join(format!("lazycam-wishes-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let settable = ["AfMode", "focus", "gain"].map(str::to_owned);
        let mut live = Live::new(&dir, &settable).unwrap().unwrap();
        let (mut camera, now) = (Camera::default(), Instant::now());
        let answer = || {
            let text = fs::read_to_string(dir.join("controls/answer")).unwrap();
            let (first, rest) = text.split_once('\n').unwrap();
            assert!(first.starts_with("wanted "), "{first}");
            rest.to_owned()
        };
        let want = |text: &str| {
            fs::write(dir.join("controls/new"), text).unwrap();
            fs::rename(dir.join("controls/new"), dir.join("controls/wanted")).unwrap();
        };
        live.set(&mut camera);
        assert!(!dir.join("controls/answer").exists());
        want("afmode=Manual\nfocus=10\ngain=1\nzoom=2\nnonsense\n");
        live.look(&mut camera, now);
        assert!(answer().starts_with("later afmode=Manual\nlater focus=10\nlater gain=1\n"));
        camera.is_there = true;
        live.set(&mut camera);
        assert_eq!(camera.set, ["afmode=Manual", "focus=10"]);
        let expected = "set afmode=Manual\nset focus=10\nrefused gain=1: no control gain\n\
            refused zoom=2: it is not among those that may be set (--settable)\n\
            refused nonsense: a control is NAME=VALUE, such as brightness=10\n";
        assert_eq!(answer(), expected);
        // The directory is made again, and what is wanted then is set at once.
        fs::remove_dir_all(&dir).unwrap();
        live.look(&mut camera, now);
        fs::create_dir_all(&dir).unwrap();
        live.look(&mut camera, now);
        want("focus=3");
        live.look(&mut camera, now);
        assert_eq!(camera.set[2..], ["focus=3"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn without_anything_that_may_be_set_nothing_is_made() {
        let dir = Path::new("/no/such/directory");
        assert!(Live::new(dir, &[]).unwrap().is_none());
    }
}

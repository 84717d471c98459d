//! Controls that are set while the camera runs (`lazycam control`): those that its owner has named may be set by
//! whoever may write into the directory. They are set at once, and again after each start.

use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::assignment::Assignment;
use super::control_facts::ControlFacts;
use super::source::{Source, Unset};
use crate::error::Result;
use crate::frames::controls::{Outcome, Wishes, is_about_same};
use crate::json::list;
use crate::logging::Brake;
use crate::time::clock::Seconds;

/// At most as many lines are looked at for one wish as any camera has controls, with two values for each.
const MOST: usize = 128;

/// How long after one wish the next one is looked at: whoever may want something could do so without end.
const REST: Duration = Duration::from_millis(50);

/// What is wanted of one camera.
pub(super) struct Live {
    pub(super) wishes: Wishes,
    /// The names that may be set.
    settable: Vec<String>,
    /// Which wish was answered last, and how.
    answered: Option<Seconds>,
    told: Vec<(String, Outcome)>,
    /// The lines of it that were set when that was tried last.
    held: Vec<String>,
    /// What was said last that may be set.
    offered: String,
    /// When the next wish is looked at.
    rests_until: Option<Instant>,
    is_due: bool,
    brake: Brake,
}

impl Live {
    /// For a frame directory, which must exist; `None` if nothing may be set.
    pub(super) fn new(
        dir: &Path,
        settable: &[String],
        mailbox: Option<&Path>,
    ) -> Result<Option<Self>> {
        if settable.is_empty() {
            return Ok(None);
        }
        Ok(Some(Live {
            wishes: Wishes::new(dir, mailbox)?,
            settable: settable.iter().map(|name| plain(name)).collect(),
            answered: None,
            told: Vec::new(),
            held: Vec::new(),
            offered: String::new(),
            rests_until: None,
            is_due: false,
            brake: Brake::new(Duration::from_secs(10)),
        }))
    }

    /// Handles what has happened in the directory, without blocking, and sets what is wanted anew.
    pub(super) fn look(&mut self, source: &mut dyn Source, now: Instant) {
        match self.wishes.look(now) {
            Ok(seen) => self.is_due |= seen,
            Err(error) => warn!("cannot read what controls are wanted: {error}"),
        }
        if self.is_due && self.rests_until.is_none_or(|until| until <= now) {
            self.is_due = false;
            self.rests_until = Some(now + REST);
            let wanted = self.wishes.wanted();
            if wanted.as_ref().map(|(at, _)| *at) != self.answered {
                self.grant(wanted, source, now);
            } else if !self.wishes.is_offered() {
                self.offer(source);
            }
        }
    }

    /// When to look although nothing has happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let rest = self.rests_until.filter(|_| self.is_due);
        self.wishes.retry_at().into_iter().chain(rest).min()
    }

    /// Sets what is wanted, in its order.
    pub(super) fn set(&mut self, source: &mut dyn Source, now: Instant) {
        self.grant(self.wishes.wanted(), source, now);
    }

    fn grant(&mut self, wanted: Option<(Seconds, String)>, source: &mut dyn Source, now: Instant) {
        if let Some((at, text)) = wanted {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let lines: Vec<_> = lines.take(MOST).collect();
            if self.answered != Some(at) {
                self.held.clear();
            }
            let outcomes = self.outcomes(&lines, source);
            let holds = |(line, outcome): &&(String, Outcome)| match outcome {
                Outcome::Set => true,
                Outcome::Later => self.held.contains(line),
                Outcome::Refused(_) => false,
            };
            let held = outcomes.iter().filter(holds);
            self.held = held.map(|(line, _)| line.clone()).collect();
            let new: Vec<_> = outcomes
                .iter()
                .filter(|one| !self.told.contains(one))
                .collect();
            let is_told = !new.is_empty() && self.brake.pass(now).is_some();
            for (line, outcome) in new.into_iter().filter(|_| is_told) {
                match outcome {
                    Outcome::Set => info!("control {line} is set"),
                    Outcome::Later => info!("control {line} will be set when the camera is there"),
                    Outcome::Refused(why) => info!("control {line} is refused: {why}"),
                }
            }
            if let Err(error) = self.wishes.answer(at, &outcomes) {
                warn!("{error}");
            }
            (self.told, self.answered) = (outcomes, Some(at));
        }
        self.offer(source);
    }

    /// Says what may be set, if that has changed, or if the directory was made again.
    fn offer(&mut self, source: &mut dyn Source) {
        let controls = source.controls();
        let controls = controls
            .iter()
            .filter(|one| self.settable.contains(&plain(&one.name)) && !one.read_only);
        let offered = list(controls, ControlFacts::json);
        if offered != self.offered || !self.wishes.is_offered() {
            match self.wishes.offer(&offered) {
                Ok(()) => self.offered = offered,
                Err(error) => warn!("{error}"),
            }
        }
    }

    /// Sets what these lines want, in their order, and says what became of each.
    ///
    /// What another value comes after that was set the last time is left out: a motor would go there and back at each
    /// start. It is what holds if that other value is not set this time.
    fn outcomes(&self, lines: &[&str], source: &mut dyn Source) -> Vec<(String, Outcome)> {
        let mut outcomes = vec![None; lines.len()];
        for (i, line) in lines.iter().enumerate() {
            let is_held = |later: &&str| {
                self.held.iter().any(|held| held == later) && is_about_same(later, line)
            };
            if lines[i + 1..].iter().any(is_held) {
                continue;
            }
            let outcome = self.outcome(line, source);
            let mut is_set = outcome == Outcome::Set;
            outcomes[i] = Some(outcome);
            for before in (0..i).rev() {
                let is_left_out = outcomes[before].is_none();
                if !is_set && is_left_out && is_about_same(lines[before], line) {
                    let outcome = self.outcome(lines[before], source);
                    is_set = outcome == Outcome::Set;
                    outcomes[before] = Some(outcome);
                }
            }
        }
        let told = lines.iter().zip(outcomes);
        told.filter_map(|(line, outcome)| Some(((*line).to_owned(), outcome?)))
            .collect()
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
        /// A value.
        refuses: Option<String>,
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
            if self.refuses.as_deref() == Some(wanted.value.as_str()) {
                return Err(Unset::Refused("not today".into()));
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
        let mut live = Live::new(&dir, &settable, None).unwrap().unwrap();
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
        live.set(&mut camera, now);
        assert!(!dir.join("controls/answer").exists());
        want("afmode=Manual\nfocus=10\ngain=1\nzoom=2\nnonsense\n");
        live.look(&mut camera, now);
        assert!(answer().starts_with("later afmode=Manual\nlater focus=10\nlater gain=1\n"));
        camera.is_there = true;
        live.set(&mut camera, now);
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
        // Not as fast as somebody may want it.
        live.look(&mut camera, now);
        assert_eq!(camera.set.len(), 2);
        assert_eq!(live.deadline(), Some(now + REST));
        live.look(&mut camera, now + REST);
        assert_eq!(camera.set[2..], ["focus=3"]);
        let is_offered = || dir.join("controls/offered").exists();
        assert!(is_offered(), "it is said once more");
        fs::remove_dir_all(&dir).unwrap();
        live.look(&mut camera, now + REST);
        fs::create_dir_all(&dir).unwrap();
        live.look(&mut camera, now + REST);
        live.look(&mut camera, now + 2 * REST);
        assert!(is_offered(), "also where nothing is wanted");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn of_two_values_the_first_is_set_again_only_where_the_second_is_not() {
        let dir = std::env::temp_dir().join(format!("lazycam-two-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut live = Live::new(&dir, &["focus".to_owned()], None)
            .unwrap()
            .unwrap();
        let (mut camera, now) = (Camera::default(), Instant::now());
        let answer = || {
            let text = fs::read_to_string(dir.join("controls/answer")).unwrap();
            text.split_once('\n').unwrap().1.to_owned()
        };
        let mut start = |is_there, refuses: Option<&str>| {
            camera.is_there = is_there;
            camera.refuses = refuses.map(str::to_owned);
            live.set(&mut camera, now);
            (camera.set.split_off(0).join(" "), answer())
        };
        fs::write(dir.join("controls/wanted"), "focus=1\nFocus=2\nfocus=3\n").unwrap();
        let later = "later focus=1\nlater Focus=2\nlater focus=3\n";
        for (is_there, refuses, set, said) in [
            (false, None, "", later),
            (
                true,
                Some("3"),
                "focus=1 focus=2",
                "set focus=1\nset Focus=2\nrefused focus=3: not today\n",
            ),
            (true, None, "focus=2 focus=3", "set Focus=2\nset focus=3\n"),
            (true, None, "focus=3", "set focus=3\n"),
            // It was unplugged.
            (false, None, "", later),
            (true, None, "focus=3", "set focus=3\n"),
            (
                true,
                Some("3"),
                "focus=2",
                "set Focus=2\nrefused focus=3: not today\n",
            ),
            (
                true,
                Some("2"),
                "focus=1 focus=3",
                "set focus=1\nrefused Focus=2: not today\nset focus=3\n",
            ),
        ] {
            assert_eq!(start(is_there, refuses), (set.to_owned(), said.to_owned()));
        }
        // Who wants the same anew wants all of it.
        let wanted = fs::File::open(dir.join("controls/wanted")).unwrap();
        wanted
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(start(true, None).0, "focus=1 focus=2 focus=3");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn two_values_for_each_of_many_controls_are_answered() {
        let dir = std::env::temp_dir().join(format!("lazycam-many-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let settable: Vec<_> = (0..64).map(|i| format!("c{i}")).collect();
        let mut live = Live::new(&dir, &settable, None).unwrap().unwrap();
        let lines: String = settable
            .iter()
            .map(|name| format!("{name}=1\n{name}=2\n"))
            .collect();
        fs::write(dir.join("controls/wanted"), lines).unwrap();
        live.set(&mut Camera::default(), Instant::now());
        let answer = fs::read_to_string(dir.join("controls/answer")).unwrap();
        assert!(answer.ends_with("later c63=1\nlater c63=2\n"), "{answer}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn without_anything_that_may_be_set_nothing_is_made() {
        let dir = Path::new("/no/such/directory");
        assert!(Live::new(dir, &[], None).unwrap().is_none());
    }
}

//! A frame directory under any order of what can happen to it, as a reader sees it: real files on a tmpfs, the real inotify, the
//! server's own camera, and a clock of our own.
//!
//! The input is a row of steps of two bytes: what happens, and with what.
//! `p` a frame is published; `e` the empty file is; `k` something of another kind takes its place; `w` it is written in place, by a
//! producer that should not; `x` it is deleted; `s` the producer says something. `D` the directory is deleted; `M` made; `A` moved away;
//! `B` moved back; `K` something of another kind takes its place; `P` the parent is moved away, or back, or a link takes its place;
//! `o` a frame is published in the directory that a link may lead to. `t` time passes; `r` the events are read; `l` a viewer
//! looks at once after that; `n` it is a new one; `g` somebody takes a snapshot; `a` a viewer asks for what there is to repeat; `W`
//! the watch is set anew; `O` the queue of events overflows (in few inputs: it takes long).
//!
//! What holds, by a look at the directory itself: a frame that is given is one that was published, whole; it is the newest there
//! is; nobody gets one twice; none is taken for a fresh one that was there before anybody watched, or is old; the directory comes
//! and goes for the reader when it does. And at the end, with everything as it should be, the next frame reaches every viewer.
#![no_main]

#[path = "frames/disk.rs"]
mod disk;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use disk::{contents, identity, inode, jpeg, make_another_kind, move_parent, number_in, remove};
use lazycam::frames::CURRENT;
use lazycam::frames::copy::{CLASSES, FrameCopy};
use lazycam::frames::frame::{Frame, Links};
use lazycam::picture::jpeg::Size;
use lazycam::frames::watch::{Change, DirId, Watcher};
use lazycam::server::cameras::camera::{Camera, Opening};
use lazycam::server::cameras::camera::choice::Choice;
use lazycam::server::pacing;
use lazycam::server::shot::Shot;
use lazycam::server::stats::Stats;
use lazycam::server::want::{Terms, Want};
use lazycam::time::clock::Clocks;
use libfuzzer_sys::fuzz_target;

/// Steps of one input; more say nothing new.
const MOST_STEPS: usize = 200;

/// No frame is fresh for longer: one and a quarter of the longest interval that is believed.
const FRESH: Duration = Duration::from_millis(2500);

/// The size of every picture, in pixels.
const SIZE: Size = Size {
    width: 16,
    height: 8,
};

/// To end an inotify instance takes the kernel longer than all the rest.
static WATCHER: LazyLock<Mutex<Watcher>> = LazyLock::new(|| Mutex::new(Watcher::new().unwrap()));

static BASE: LazyLock<PathBuf> =
    LazyLock::new(|| format!("/dev/shm/lazycam-fuzz-{}", std::process::id()).into());

fuzz_target!(|input: &[u8]| {
    let mut watcher = WATCHER.lock().unwrap();
    let _ = fs::remove_dir_all(&*BASE);
    fs::create_dir_all(BASE.join("b/cam/.new")).unwrap();
    fs::create_dir_all(BASE.join("a/cam/.new")).unwrap();
    let mut scene = Scene::new(&mut watcher);
    let mut overflows =
        usize::from(input.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 256 == 0);
    for step in input.chunks_exact(2).take(MOST_STEPS) {
        if step[0] == b'O' {
            if overflows > 0 {
                overflows -= 1;
                scene.overflow();
            }
            continue;
        }
        scene.step(step[0], step[1]);
    }
    scene.end();
    let _ = fs::remove_dir_all(&*BASE);
});

/// A frame as it was published, by its number.
struct Published {
    at: Instant,
    /// When its event was read; none before that, and never one for a frame that nobody watched.
    arrived: Option<Instant>,
    watched: bool,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Viewer {
    have: Option<u64>,
    given: BTreeSet<usize>,
}

struct Scene<'a> {
    watcher: &'a mut Watcher,
    id: DirId,
    dir: PathBuf,
    camera: Camera,
    stats: Stats,
    /// Frames are copied and not, by turns.
    copy: FrameCopy,
    now: Instant,
    frames: Vec<Published>,
    viewers: [Viewer; 2],
    /// The directory as of the last reading.
    home: Option<u64>,
    /// Directories in which something was renamed onto `current.jpg` since then.
    renamed: BTreeSet<u64>,
    /// Events were lost: what is told is less.
    overflown: bool,
    in_hand: Option<Shot<Frame>>,
    /// Files that were written in place, by inode: they hold anything, whoever has them open.
    spoilt: BTreeSet<u64>,
}

impl<'a> Scene<'a> {
    fn new(watcher: &'a mut Watcher) -> Self {
        let dir = BASE.join("a/cam");
        let id = watcher.add(&dir);
        // Left over from the scene before.
        watcher.read(Instant::now(), &mut Vec::new()).unwrap();
        let name = "cam".parse().unwrap();
        let (watched, now) = (watcher.is_watched(id), Instant::now());
        Scene {
            id,
            camera: Camera::new(name, dir.clone(), Links::Follow, watched, now),
            stats: Stats::default(),
            copy: FrameCopy::default(),
            now,
            frames: Vec::new(),
            viewers: Default::default(),
            home: identity(&dir),
            renamed: BTreeSet::new(),
            overflown: false,
            in_hand: None,
            spoilt: BTreeSet::new(),
            watcher,
            dir,
        }
    }

    fn step(&mut self, what: u8, with: u8) {
        let dir = self.dir.clone();
        match what {
            b'p' => self.publish(&dir, with),
            b'o' => self.publish(&BASE.join("b/cam"), with),
            b'e' => self.put(&dir, "", |new| fs::write(new, "").is_ok()),
            b'k' => self.put_another_kind(with),
            b'w' => self.write_in_place(with),
            b'x' => remove(&dir.join(CURRENT)),
            b's' => self.say(with),
            b'D' => remove(&dir),
            b'M' => drop(fs::create_dir_all(dir.join(".new"))),
            b'A' => {
                remove(&BASE.join("away"));
                let _ = fs::rename(&dir, BASE.join("away"));
            }
            b'B' => drop(fs::rename(BASE.join("away"), &dir)),
            b'K' => {
                remove(&dir);
                let _ = make_another_kind(&dir, with, &BASE.join("b/cam"));
            }
            b'P' => move_parent(&BASE, with),
            b't' => {
                // Events are read as they come, not when time has passed.
                self.read();
                let unit = if with & 0x80 == 0 { 1 } else { 100 };
                self.now += Duration::from_millis(unit * u64::from(with & 0x7F));
            }
            b'r' => self.read(),
            b'l' => self.look(usize::from(with & 1), false),
            b'a' => self.look(usize::from(with & 1), true),
            b'n' => self.viewers[usize::from(with & 1)] = Viewer::default(),
            b'g' => self.take_snapshot(),
            b'W' => self.watch_anew(),
            _ => {}
        }
    }

    /// Writes aside and renames into place.
    fn put(&mut self, dir: &Path, aside: &str, make: impl FnOnce(&Path) -> bool) {
        let new = dir.join(if aside.is_empty() {
            ".current.jpg.1"
        } else {
            aside
        });
        if !make(&new) {
            return;
        }
        match fs::rename(&new, dir.join(CURRENT)) {
            Ok(()) => drop(self.renamed.extend(identity(dir))),
            // Something that no file is renamed onto.
            Err(_) => remove(&new),
        }
    }

    fn publish(&mut self, dir: &Path, with: u8) {
        let number = self.frames.len();
        let bytes = jpeg(number, usize::from(with) * 40);
        let there = dir.join(CURRENT);
        let before = fs::symlink_metadata(&there).map(|about| about.ino()).ok();
        self.put(dir, ".new/current.jpg", |new| {
            let Ok(mut file) = File::create(new) else {
                return false;
            };
            file.write_all(&bytes).unwrap();
            if with & 1 == 0 {
                // A clock that stands still, or jumped back.
                let day = Duration::from_secs(86_400 * u64::from(with & 6));
                file.set_modified(SystemTime::UNIX_EPOCH + day).unwrap();
            }
            true
        });
        if fs::symlink_metadata(&there).map(|about| about.ino()).ok() == before {
            return;
        }
        let here = identity(dir);
        self.frames.push(Published {
            at: self.now,
            arrived: None,
            watched: here.is_some() && here == self.home,
            bytes,
        });
    }

    fn put_another_kind(&mut self, with: u8) {
        let dir = self.dir.clone();
        let other = BASE.join("b/cam").join(CURRENT);
        if with & 8 != 0 {
            remove(&dir.join(CURRENT));
        }
        self.put(&dir, "", |new| make_another_kind(new, with, &other).is_ok());
    }

    fn write_in_place(&mut self, with: u8) {
        let path = self.dir.join(CURRENT);
        let Some(about) = fs::symlink_metadata(&path)
            .ok()
            .filter(|about| about.is_file())
        else {
            return;
        };
        self.spoilt.insert(about.ino());
        // A number that nobody has published.
        let bytes = jpeg(usize::MAX, usize::from(with) * 9);
        let cut = bytes.len() * usize::from(with % 5) / 4;
        let _ = fs::write(&path, &bytes[..cut.min(bytes.len())]);
    }

    fn say(&self, with: u8) {
        let text = match with % 4 {
            0 => "phase live\nsince 1\n",
            1 => "phase lost\nsince 1\nwhy unplugged\n",
            2 => "phase off\nsince 1\nsize 64x64\n",
            _ => "nonsense",
        };
        let new = self.dir.join(".state");
        if fs::write(&new, text).is_ok() {
            let _ = fs::rename(&new, self.dir.join("state"));
        }
    }

    fn overflow(&mut self) {
        let limit =
            fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap_or_default();
        let limit: usize = limit.trim().parse().unwrap_or(usize::MAX);
        if limit > 50_000 || self.home.is_none() || identity(&self.dir) != self.home {
            return;
        }
        let (new, current) = (self.dir.join(".new/e"), self.dir.join(CURRENT));
        let state = self.dir.join("state");
        // The same event twice in a row would count as one.
        for _ in 0..=limit / 2 {
            for name in [&current, &state] {
                if fs::write(&new, "")
                    .and_then(|()| fs::rename(&new, name))
                    .is_err()
                {
                    return;
                }
            }
        }
        self.renamed.extend(self.home);
        self.overflown = true;
    }

    /// What the server's loop does when the watcher has something to read.
    fn read(&mut self) {
        let mut changes = Vec::new();
        if self.watcher.retry_at().is_some_and(|at| at <= self.now) {
            self.watcher.retry(self.now, &mut changes);
        }
        self.watcher.read(self.now, &mut changes).unwrap();
        for (id, change) in &changes {
            assert_eq!(*id, self.id, "{change:?} of nobody");
            match change {
                Change::Frame => self.camera.frame_arrived(self.now),
                Change::State => self.camera.state_changed(self.now),
                Change::Returned => self.camera.returned(self.now),
                Change::Gone => self.camera.gone(),
                Change::Written => self.camera.written_in_place(self.clocks()),
            }
        }
        let told = |change| changes.contains(&(self.id, change));
        let (before, home) = (self.home, identity(&self.dir));
        let renamed = before.is_some_and(|before| self.renamed.contains(&before));
        let text = format!(
            "{changes:?}, {before:?}, then {home:?}, renamed in {:?}",
            self.renamed
        );
        assert!(
            !told(Change::Frame) || renamed,
            "nothing was renamed: {text}"
        );
        assert_eq!(
            told(Change::Gone),
            before.is_some() && home.is_none(),
            "{text}"
        );
        let other = home.is_some() && home != before;
        assert_eq!(
            told(Change::Returned),
            other || (home.is_some() && self.overflown),
            "{text}"
        );
        if before == home && renamed {
            assert!(
                told(Change::Frame) || told(Change::Returned),
                "a frame unnoticed: {text}"
            );
        }
        if told(Change::Frame) && before == home {
            let now = self.now;
            let last = self.current().and_then(|last| self.frames.get_mut(last));
            last.map(|last| last.arrived.get_or_insert(now));
        }
        self.home = home;
        self.renamed.clear();
        self.overflown = false;
    }

    /// The frame that is in place now, if that is one.
    fn current(&self) -> Option<usize> {
        let path = self.dir.join(CURRENT);
        let about = fs::symlink_metadata(&path).ok()?;
        let small = about.is_file() && about.len() <= 1 << 20;
        let number = small.then(|| number_in(&fs::read(&path).unwrap_or_default()));
        number
            .flatten()
            .filter(|number| *number < self.frames.len())
    }

    fn look(&mut self, viewer: usize, repeat: bool) {
        self.read();
        let have = self.viewers[viewer].have;
        let want = Want::Stream {
            camera: 0,
            have,
            not_before: self.now,
            repeat,
            // Small: to code the picture that says why there is none takes longer than all the rest.
            picture: Some(SIZE),
        };
        let repeated = repeat && have.is_some();
        match self.choose(&want) {
            Choice::Give(shot) => {
                let number = self.check(&shot, repeated);
                let viewer = &mut self.viewers[viewer];
                if let (Some(number), false) = (number, repeated) {
                    assert!(viewer.given.insert(number), "frame {number} a second time");
                }
                assert!(repeated || viewer.have.is_none_or(|have| have < shot.number));
                viewer.have = Some(shot.number);
                viewer.given.extend(number);
                self.in_hand = number.map(|_| shot);
            }
            Choice::Notice(shot) => self.viewers[viewer].have = Some(shot.number),
            Choice::Refuse(why, _) => panic!("a stream is not refused: {why}"),
            Choice::Later(at) => assert!(at.is_none_or(|at| at > self.now), "at once is not later"),
        }
        self.check_in_hand();
    }

    fn take_snapshot(&mut self) {
        self.read();
        let want = Want::Snapshot {
            camera: 0,
            since: self.now,
            terms: Terms::default(),
            have: None,
            slack: Duration::ZERO,
        };
        if let Choice::Give(shot) = self.choose(&want) {
            self.check(&shot, false);
        }
    }

    /// Frames are dated by the clock on the wall, which is nobody's here.
    fn clocks(&self) -> Clocks {
        Clocks {
            now: self.now,
            wall: SystemTime::now(),
        }
    }

    fn choose(&mut self, want: &Want) -> Choice {
        let (path, clocks) = (|| pacing::Path::IDLE, self.clocks());
        self.copy.wanted = [!self.copy.wanted[0]; CLASSES];
        let opening = &mut Opening {
            stats: &mut self.stats,
            copy: &mut self.copy,
        };
        self.camera.choose(want, path, clocks, opening)
    }

    /// The number of the frame that is given, unless its file was written over.
    fn check(&self, shot: &Shot<Frame>, repeated: bool) -> Option<usize> {
        if self.spoilt.contains(&inode(shot)) {
            return None;
        }
        let bytes = contents(shot);
        let number = number_in(&bytes);
        let frame = number.and_then(|number| self.frames.get(number));
        let frame = frame.unwrap_or_else(|| panic!("{number:?} was never published"));
        assert!(bytes == frame.bytes, "frame {number:?} is torn");
        assert_eq!(shot.len, bytes.len() as u64);
        if !repeated {
            let current = self.current();
            assert!(
                current.is_none_or(|current| Some(current) == number),
                "{number:?}, not {current:?}"
            );
            assert!(
                frame.watched,
                "frame {number:?} was there before anybody watched"
            );
            let arrived = frame.arrived.expect("a frame that never arrived");
            assert!(
                arrived >= frame.at && self.now - arrived <= FRESH,
                "frame {number:?} is old"
            );
        }
        number
    }

    /// What a viewer is being sent does not change.
    fn check_in_hand(&self) {
        let Some(shot) = &self.in_hand else {
            return;
        };
        let bytes = contents(shot);
        let spoilt = self.spoilt.contains(&inode(shot));
        assert!(spoilt || self.frames.iter().any(|frame| frame.bytes == bytes));
    }

    fn watch_anew(&mut self) {
        self.read();
        self.watcher.remove(self.id);
        self.camera.gone();
        self.id = self.watcher.add(&self.dir);
        if self.watcher.is_watched(self.id) {
            self.camera.returned(self.now);
        }
        self.home = identity(&self.dir);
        // Events of the watch before are nobody's.
        self.read();
    }

    /// With a directory as it should be, the next frame reaches every viewer.
    fn end(mut self) {
        remove(&BASE.join("a"));
        fs::create_dir_all(self.dir.join(".new")).unwrap();
        self.read();
        assert!(self.home.is_some());
        let before = self.viewers.each_ref().map(|viewer| viewer.given.len());
        for _ in 0..3 {
            self.look(0, false);
            self.look(1, false);
            self.now += Duration::from_millis(1100);
            let dir = self.dir.clone();
            self.publish(&dir, 3);
        }
        self.look(0, false);
        self.look(1, false);
        for (viewer, before) in self.viewers.iter().zip(before) {
            assert!(
                viewer.given.contains(&(self.frames.len() - 1)),
                "the last frame is missed"
            );
            assert_eq!(
                viewer.given.len(),
                before + 3,
                "three frames were published"
            );
        }
        self.watcher.remove(self.id);
    }
}

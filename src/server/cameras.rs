//! The cameras that the server has: those named in its options, and those in a root, which come and go.
//!
//! Each camera is kept with its directory and with the clients that wait for its next frame. What it has is its own
//! business (`camera.rs`), and who is given it that of `delivery.rs`. The roster, in which requests look cameras up,
//! is changed here and nowhere else.

pub mod camera;
pub(in crate::server) mod condition;
mod intervals;
mod looking;
mod notice;
mod patience;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{debug, info};

use crate::error::{Context, Error, Result};
use crate::event::Interest;
use crate::frames::frame::Links;
use crate::frames::name::Name;
use crate::frames::root::Root;
use crate::frames::watch::{Change, DirId, Watcher};
use crate::logging::Brake;
use crate::server::cameras::camera::Camera;
use crate::server::cameras::condition::CameraPhase;
use crate::server::client_id::ClientId;
use crate::server::roster::{Missing, TooMany};
use crate::server::turn::{Token, Turn};
use crate::server::want::Which;

/// All cameras of the server.
#[derive(Debug)]
pub(in crate::server) struct Cameras {
    watcher: Watcher,
    root: Option<Root>,
    /// In the order of their numbers.
    list: Vec<Kept>,
    /// How many of them, the first ones, are named in the options. The others are in the root.
    named: usize,
    /// An empty list with room for the clients of one camera.
    spare: Vec<ClientId>,
    /// Limits the messages about cameras that come and go.
    changes: Brake,
}

/// A camera that exists or existed.
#[derive(Debug)]
struct Kept {
    camera: Camera,
    /// Its directory, while it is followed.
    followed: Option<DirId>,
    /// The clients that wait for its next frame.
    waiting: Vec<ClientId>,
}

impl Cameras {
    /// Begins to watch the directories of the `named` cameras, and the root. There must be a camera that URLs without
    /// a name mean (`default`, or the first one), unless it can still appear in the root.
    pub(in crate::server) fn new(
        named: &[(Name, PathBuf)],
        root: Option<&Path>,
        default: Option<&Name>,
        turn: &mut Turn,
    ) -> Result<Self> {
        let mut cameras = Cameras {
            watcher: Watcher::new()?,
            root: root.map(Root::new).transpose()?,
            list: Vec::new(),
            named: named.len(),
            spare: Vec::new(),
            changes: Brake::new(Duration::from_secs(10)),
        };
        turn.poll
            .add(&cameras.watcher, Interest::Readable, Token::Frames)
            .doing(|| "wait for frames".into())?;
        for (name, dir) in named {
            if turn.roster.number_of(name).is_some() {
                let message =
                    format!("two cameras are called '{name}'; give each a name: NAME=DIR");
                return Err(Error::Usage(message));
            }
            cameras.appear(name, dir.clone(), Links::Follow, turn);
        }
        if let Some(root) = &cameras.root {
            turn.poll
                .add(root, Interest::Readable, Token::Root)
                .doing(|| format!("wait for cameras in {}", root.dir().display()))?;
            cameras.look_into_root(turn);
        } else if turn.roster.find(&Which::Default) == Err(Missing::Away) {
            let message = match default {
                Some(name) => format!("--default-camera: there is no camera called '{name}'"),
                None => "there is no camera: name a frame directory (--frames) or a root (--root)"
                    .into(),
            };
            return Err(Error::Usage(message));
        }
        Ok(cameras)
    }

    /// Reads what has happened in the frame directories. Each change is to be applied by itself, and its camera's
    /// clients served, before the next one.
    pub(in crate::server) fn read(&mut self, turn: &Turn) -> Result<Vec<(DirId, Change)>> {
        let mut changes = Vec::new();
        self.watcher
            .read(turn.now, &mut changes)
            .doing(|| "read the events of the frame directories".into())?;
        Ok(changes)
    }

    /// Takes note of what has happened in a frame directory. Returns the number of its camera.
    pub(in crate::server) fn apply(
        &mut self,
        (dir, change): (DirId, Change),
        turn: &mut Turn,
    ) -> Option<usize> {
        let is_its = |kept: &Kept| kept.followed == Some(dir);
        let number = self.list.iter().position(is_its)?;
        let camera = &mut self.list[number].camera;
        if matches!(change, Change::Frame | Change::State) {
            turn.roster.notice(number, true);
        }
        match change {
            Change::Frame => camera.frame_arrived(turn.now),
            Change::Written => camera.written_in_place(turn.clocks()),
            Change::State => {
                camera.state_changed(turn.now);
                self.tell_way(number, turn);
            }
            Change::Returned | Change::Gone => {
                debug!("{}: {change:?}", camera.dir().display());
                match change {
                    Change::Gone => camera.gone(),
                    _ => camera.returned(turn.now),
                }
                // What its program wrote before the directory was watched is not reported by itself.
                self.notice(number, turn);
            }
        }
        Some(number)
    }

    /// Reads what has happened in the root. Returns the numbers of the cameras that have gone.
    pub(in crate::server) fn read_root(&mut self, turn: &mut Turn) -> Result<Vec<usize>> {
        let Some(root) = &mut self.root else {
            return Ok(Vec::new());
        };
        let changed = root
            .read(turn.now)
            .doing(|| format!("read the events of {}", root.dir().display()))?;
        Ok(if changed {
            self.look_into_root(turn)
        } else {
            Vec::new()
        })
    }

    /// When to try again to watch what could not be watched.
    pub(in crate::server) fn retry_at(&self) -> Option<Instant> {
        let root = self.root.as_ref().and_then(Root::retry_at);
        self.watcher.retry_at().into_iter().chain(root).min()
    }

    /// Tries again to watch the frame directories that could not be watched. Returns what that reveals.
    pub(in crate::server) fn retry(&mut self, turn: &Turn) -> Vec<(DirId, Change)> {
        let mut changes = Vec::new();
        self.watcher.retry(turn.now, &mut changes);
        changes
    }

    /// Does the same for the root. Returns the numbers of the cameras that have gone.
    pub(in crate::server) fn retry_root(&mut self, turn: &mut Turn) -> Vec<usize> {
        if self.root.as_mut().is_some_and(|root| root.retry(turn.now)) {
            self.look_into_root(turn)
        } else {
            Vec::new()
        }
    }

    /// Compares what is in the root with what was there before. Returns the numbers of the cameras that have gone.
    fn look_into_root(&mut self, turn: &mut Turn) -> Vec<usize> {
        let Some(root) = &mut self.root else {
            return Vec::new();
        };
        let dir = root.dir().to_owned();
        let Some(found) = root.cameras(turn.now) else {
            return Vec::new();
        };
        let entries = turn.roster.entries().iter().enumerate();
        let in_root = entries.skip(self.named);
        let gone: Vec<_> = in_root
            .filter(|(_, one)| one.present && !found.contains(&one.name))
            .map(|(number, _)| number)
            .collect();
        for number in &gone {
            self.vanish(*number, turn);
        }
        for name in found {
            let there = turn.roster.number_of(&name);
            let is_served = there.is_some_and(|number| self.list[number].followed.is_some());
            if !is_served && there.is_none_or(|number| number >= self.named) {
                self.appear(&name, dir.join(name.as_str()), Links::Refuse, turn);
            }
        }
        gone
    }

    /// A camera has appeared, possibly not for the first time.
    fn appear(&mut self, name: &Name, dir: PathBuf, links: Links, turn: &mut Turn) {
        let number = match turn.roster.appear(name) {
            Ok(number) => number,
            Err(TooMany(most)) => {
                return debug!(
                    "there were {most} cameras already: not serving {}",
                    dir.display()
                );
            }
        };
        let followed = self.watcher.add(&dir);
        let is_watched = self.watcher.is_watched(followed);
        if let Some(kept) = self.list.get_mut(number) {
            kept.followed = Some(followed);
            if is_watched {
                kept.camera.returned(turn.now);
            }
            self.tell_change(number, "is back", turn);
        } else {
            info!("camera {number} is {name}: {}", dir.display());
            self.list.push(Kept {
                camera: Camera::new(name.clone(), dir, links, is_watched, turn.now),
                followed: Some(followed),
                waiting: Vec::new(),
            });
        }
        self.notice(number, turn);
    }

    /// Looks whether the camera of URLs without a name is still there, and if not, which ones are.
    pub(in crate::server) fn check_default(&mut self, turn: &mut Turn) {
        let Ok(default) = turn.roster.number(&Which::Default) else {
            return;
        };
        if default < self.list.len() && !self.notice(default, turn) {
            for number in 0..self.list.len() {
                self.notice(number, turn);
            }
        }
    }

    /// Looks whether a program captures for this camera, which nothing signals.
    fn notice(&mut self, number: usize, turn: &mut Turn) -> bool {
        let finding = self.list[number].camera.find(turn.clocks());
        let is_there = finding.phase != CameraPhase::Absent;
        turn.roster.notice(number, is_there);
        self.tell_way(number, turn);
        is_there
    }

    fn tell_way(&self, number: usize, turn: &mut Turn) {
        let told = self.list[number].camera.condition().told();
        let via = told.and_then(|told| told.via.as_deref());
        turn.roster.tell_way(number, via);
    }

    /// A camera has gone, or will deliver no more pictures. Its viewers are told by the owner.
    pub(in crate::server) fn vanish(&mut self, number: usize, turn: &mut Turn) {
        self.tell_change(number, "is gone", turn);
        turn.roster.vanish(number);
        let kept = &mut self.list[number];
        kept.camera.gone();
        if let Some(followed) = kept.followed.take() {
            self.watcher.remove(followed);
        }
    }

    /// Limits the messages, because anybody who can write into a root can make its cameras come and go without end.
    fn tell_change(&mut self, number: usize, what: &str, turn: &Turn) {
        let dir = self.list[number].camera.dir().display();
        if let Some(more) = self.changes.pass(turn.now) {
            info!(
                "camera {number} {what}: {dir} ({more} more came or went since the last message)"
            );
        }
    }

    /// How many cameras exist or existed.
    pub(in crate::server) fn len(&self) -> usize {
        self.list.len()
    }

    /// The camera with this number, which the roster gave out.
    pub(in crate::server) fn camera(&mut self, number: usize) -> &mut Camera {
        &mut self.list[number].camera
    }

    /// All of them, in the order of their numbers.
    pub(in crate::server) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Camera> {
        self.list.iter_mut().map(|kept| &mut kept.camera)
    }

    /// A client waits for the next frame of a camera.
    pub(in crate::server) fn wait(&mut self, client: ClientId, number: usize) {
        self.list[number].waiting.push(client);
    }

    /// A client does not wait for this camera any more.
    pub(in crate::server) fn end_waiting(&mut self, client: ClientId, number: usize) {
        self.list[number].waiting.retain(|other| *other != client);
    }

    /// The clients that wait for a frame of this camera; they wait no more. The list is to be given back, with
    /// [`Cameras::put_back`], so that two lists take turns and neither has to grow again with every frame.
    pub(in crate::server) fn take_waiting(&mut self, number: usize) -> Vec<ClientId> {
        let spare = std::mem::take(&mut self.spare);
        std::mem::replace(&mut self.list[number].waiting, spare)
    }

    /// Takes back a list that is no longer needed.
    pub(in crate::server) fn put_back(&mut self, mut list: Vec<ClientId>) {
        list.clear();
        self.spare = list;
    }
}

#[cfg(test)]
mod tests;

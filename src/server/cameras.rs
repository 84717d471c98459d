//! The cameras that the server has: those named in its options, and those in a root, which come and go.

pub mod camera;
pub(in crate::server) mod condition;
mod intervals;
mod notice;

use std::path::PathBuf;
use std::time::Instant;

use log::{debug, info};

use crate::error::{Context, Error, Result};
use crate::event::Interest;
use crate::frames::frame::Links;
use crate::frames::root::Root;
use crate::frames::watch::{Change, DirId};
use crate::server::cameras::camera::Camera;
use crate::server::client_id::ClientId;
use crate::server::roster::{Missing, TooMany};
use crate::server::want::Which;
use crate::server::{CameraName, Name, Server};

impl Server {
    /// Begins to watch what the options name.
    pub(in crate::server) fn set_up_cameras(&mut self) -> Result<()> {
        for (name, dir) in self.options.cameras.clone() {
            if self.settings.cameras.number_of(&name).is_some() {
                let message =
                    format!("two cameras are called '{name}'; give each a name: NAME=DIR");
                return Err(Error::Usage(message));
            }
            self.appear(&name, dir, Links::Follow);
        }
        if let Some(dir) = self.options.root.clone() {
            let root = Root::new(&dir)?;
            self.poll
                .add(&root, Interest::Readable, Name::Root)
                .doing(|| format!("wait for cameras in {}", dir.display()))?;
            self.root = Some(root);
            self.look_into_root(Instant::now());
        } else if self.settings.cameras.find(&Which::Default) == Err(Missing::Away) {
            let named = self.options.default_camera.as_ref();
            let message = match named {
                Some(name) => format!("--default-camera: there is no camera called '{name}'"),
                None => "there is no camera: name a frame directory (--frames) or a root (--root)"
                    .into(),
            };
            return Err(Error::Usage(message));
        }
        Ok(())
    }

    /// Reads what has happened in the frame directories.
    pub(in crate::server) fn take_changes(&mut self, now: Instant) -> Result<()> {
        let mut changes = Vec::new();
        self.watcher
            .read(now, &mut changes)
            .doing(|| "read the events of the frame directories".into())?;
        self.apply_changes(changes, now);
        Ok(())
    }

    fn apply_changes(&mut self, changes: Vec<(DirId, Change)>, now: Instant) {
        for (dir, change) in changes {
            let Some(&index) = self.directories.get(&dir) else {
                continue;
            };
            let camera = &mut self.cameras[index];
            match change {
                Change::Frame => camera.frame_arrived(now),
                Change::State => camera.state_changed(),
                Change::Returned | Change::Gone => {
                    debug!("{}: {change:?}", camera.dir().display());
                    match change {
                        Change::Gone => camera.gone(),
                        _ => camera.returned(),
                    }
                }
            }
            self.serve_waiting(index, now);
        }
    }

    /// Reads what has happened in the root.
    pub(in crate::server) fn take_root_changes(&mut self, now: Instant) -> Result<()> {
        let Some(root) = &mut self.root else {
            return Ok(());
        };
        let changed = root
            .read(now)
            .doing(|| format!("read the events of {}", root.dir().display()))?;
        if changed {
            self.look_into_root(now);
        }
        Ok(())
    }

    /// When to try again to watch what could not be watched.
    pub(in crate::server) fn retry_at(&self) -> Option<Instant> {
        let root = self.root.as_ref().and_then(Root::retry_at);
        self.watcher.retry_at().into_iter().chain(root).min()
    }

    /// Tries again to watch what could not be watched.
    pub(in crate::server) fn retry(&mut self, now: Instant) {
        let mut changes = Vec::new();
        self.watcher.retry(now, &mut changes);
        self.apply_changes(changes, now);
        if self.root.as_mut().is_some_and(|root| root.retry(now)) {
            self.look_into_root(now);
        }
    }

    /// Compares what is in the root with what was there before.
    fn look_into_root(&mut self, now: Instant) {
        let Some(root) = &mut self.root else {
            return;
        };
        let dir = root.dir().to_owned();
        let Some(found) = root.cameras(now) else {
            return;
        };
        let named = |name: &CameraName| self.options.cameras.iter().any(|(other, _)| other == name);
        let entries = self.settings.cameras.entries().iter().enumerate();
        let gone: Vec<_> = entries
            .filter(|(_, one)| one.present && !named(&one.name) && !found.contains(&one.name))
            .map(|(number, _)| number)
            .collect();
        let new: Vec<_> = found.into_iter().filter(|name| !named(name)).collect();
        for number in gone {
            self.vanish(number, now);
        }
        for name in new {
            let there = Which::Name(name.clone());
            if self.settings.cameras.find(&there).is_err() {
                self.appear(&name, dir.join(name.as_str()), Links::Refuse);
            }
        }
    }

    /// A camera has appeared, possibly not for the first time.
    fn appear(&mut self, name: &CameraName, dir: PathBuf, links: Links) {
        let number = match self.settings.cameras.appear(name) {
            Ok(number) => number,
            Err(TooMany(most)) => {
                return debug!(
                    "there were {most} cameras already: not serving {}",
                    dir.display()
                );
            }
        };
        let watched = self.watcher.add(&dir);
        self.directories.insert(watched, number);
        if number == self.cameras.len() {
            info!("camera {number} is {name}: {}", dir.display());
            let is_watched = self.watcher.is_watched(watched);
            let camera = Camera::new(name.clone(), dir, links, is_watched);
            self.cameras.push(camera);
            self.waiting.push(Vec::new());
        } else {
            if self.watcher.is_watched(watched) {
                self.cameras[number].returned();
            }
            self.tell_change(number, "is back", Instant::now());
        }
    }

    /// Limits the messages, because anybody who can write into a root can make its cameras come and go without end.
    fn tell_change(&mut self, number: usize, what: &str, now: Instant) {
        let dir = self.cameras[number].dir().display();
        if let Some(more) = self.changes.pass(now) {
            info!(
                "camera {number} {what}: {dir} ({more} more came or went since the last message)"
            );
        }
    }

    /// A camera has gone: ends the streams and snapshots of its viewers. Nobody else is affected.
    pub(in crate::server) fn vanish(&mut self, number: usize, now: Instant) {
        self.tell_change(number, "is gone", now);
        self.settings.cameras.vanish(number);
        let watched = self
            .directories
            .iter()
            .find(|(_, camera)| **camera == number);
        if let Some(watched) = watched.map(|(watched, _)| *watched) {
            self.directories.remove(&watched);
            self.watcher.remove(watched);
        }
        self.cameras[number].gone();
        self.held.outdate(number);
        let all: Vec<ClientId> = self.clients.keys().copied().collect();
        for id in all {
            if let Some(client) = self.clients.get_mut(&id) {
                if client.connection.camera_gone(number, now, &mut self.stats) {
                    self.serve(id, now);
                }
            }
        }
    }
}

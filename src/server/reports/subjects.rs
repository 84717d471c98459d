//! What the reports are about: the cameras, and everybody who looks at them.

use std::time::{Duration, Instant};

use crate::server::cameras::Cameras;
use crate::server::client::Client;
use crate::server::client_id::ClientId;
use crate::server::clients::Clients;
use crate::server::http::quirks::Quirks;
use crate::server::want::Look;

/// What there is to tell about.
pub(in crate::server) struct Subjects<'a> {
    pub(in crate::server) cameras: &'a mut Cameras,
    /// In the order of their numbers.
    pub(in crate::server) viewers: Vec<Viewer>,
    /// How many connections are open.
    pub(in crate::server) connections: usize,
    /// Bytes of frames in memory because a viewer is being sent them.
    pub(in crate::server) held: u64,
}

impl<'a> Subjects<'a> {
    /// The cameras and those among the clients who are watching a stream or waiting for a snapshot.
    pub(in crate::server) fn new(
        cameras: &'a mut Cameras,
        clients: &mut Clients,
        held: u64,
        now: Instant,
    ) -> Self {
        let viewers = clients.iter_mut();
        let viewers = viewers.filter_map(|(id, client)| Viewer::of(id, client, now));
        let mut viewers: Vec<_> = viewers.collect();
        viewers.sort_by_key(|viewer| viewer.number);
        Subjects {
            cameras,
            viewers,
            connections: clients.len(),
            held,
        }
    }
}

/// One viewer.
pub(in crate::server) struct Viewer {
    pub(in crate::server) number: ClientId,
    /// How its stream is sent, if it has one.
    pub(in crate::server) quirks: Option<Quirks>,
    pub(in crate::server) looks_at: Look,
    pub(in crate::server) in_flight: u64,
    pub(in crate::server) sent: u64,
    pub(in crate::server) skipped: u64,
    pub(in crate::server) fps: f64,
    pub(in crate::server) bytes_per_second: f64,
    pub(in crate::server) age_at_hand_over: Option<Duration>,
    pub(in crate::server) age_at_last_byte: Option<Duration>,
}

impl Viewer {
    fn of(number: ClientId, client: &mut Client, now: Instant) -> Option<Self> {
        let looks_at = client.connection.looks_at()?;
        let quirks = client.connection.quirks().cloned();
        let fps = client.connection.stream_fps(now).unwrap_or(0.0);
        let (in_flight, figures) = client.figures(now);
        Some(Viewer {
            number,
            quirks,
            looks_at,
            in_flight,
            sent: figures.map_or(0, |figures| figures.sent),
            skipped: figures.map_or(0, |figures| figures.skipped),
            fps,
            bytes_per_second: figures.map_or(0.0, |figures| figures.bytes_per_second(now)),
            age_at_hand_over: figures.and_then(|figures| figures.age_at_hand_over),
            age_at_last_byte: figures.and_then(|figures| figures.age_at_last_byte()),
        })
    }

    /// The identifier of this viewer. A stream's identifier is in its cookie as well.
    pub(in crate::server) fn id(&self) -> String {
        match &self.quirks {
            Some(quirks) => format!("{:x}", quirks.id),
            None => format!("{:04x}", self.number),
        }
    }

    pub(in crate::server) fn camera(&self) -> usize {
        match self.looks_at {
            Look::Stream(camera) | Look::Snapshot(camera) => camera,
        }
    }

    pub(in crate::server) fn streams(&self, index: usize) -> bool {
        self.looks_at == Look::Stream(index)
    }
}

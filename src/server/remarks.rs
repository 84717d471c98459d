//! What is said in the log about requests that were refused, or whose answer a page cannot read, because of a name that
//! nobody has told this server. Whoever did not expect that needs the flag, and the name to write behind it.
//!
//! Strangers choose these names, so a message shows at most the beginning of one, and each is written at most once in ten seconds.

use std::time::{Duration, Instant};

use log::warn;

use crate::logging::Brake;

const MESSAGE_EVERY: Duration = Duration::from_secs(10);

/// How much of a name is shown.
const LONGEST: usize = 100;

/// The messages.
#[derive(Debug)]
pub struct Remarks {
    host: Brake,
    origin: Brake,
}

impl Default for Remarks {
    fn default() -> Self {
        Remarks {
            host: Brake::new(MESSAGE_EVERY),
            origin: Brake::new(MESSAGE_EVERY),
        }
    }
}

impl Remarks {
    /// A request was refused because of its `Host`.
    pub fn unknown_host(&mut self, host: Option<&[u8]>, now: Instant) {
        if let Some(more) = self.host.pass(now) {
            let host = shown(host.unwrap_or_default());
            warn!(
                "refused a request for '{host}', which is no name of this server: --allow-host makes it one ({more} more like it)"
            );
        }
    }

    /// A page of this origin cannot read the answer to its request.
    pub fn foreign_page(&mut self, origin: &[u8], now: Instant) {
        if let Some(more) = self.origin.pass(now) {
            let origin = shown(origin);
            warn!(
                "a page of '{origin}' may not read what it asked for: --allow-origin lets it ({more} more like it)"
            );
        }
    }
}

fn shown(name: &[u8]) -> String {
    let name = &name[..name.len().min(LONGEST)];
    String::from_utf8_lossy(name).into_owned()
}

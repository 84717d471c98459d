//! What is sent to the camera: one `GET` for a stream, or for the next single picture.

use base64ct::{Base64, Encoding};

use crate::capture::url::Url;

/// The parts of a request that change.
#[derive(Clone, Default)]
pub(super) struct CameraRequest {
    /// The time of capture that the next picture must not have; from another lazycam, and only digits.
    pub(super) after: Option<String>,
    /// The field `Authorization`, with its line break; empty if there is none. It is never printed.
    authorization: String,
}

impl CameraRequest {
    /// As the URL's user with this password (RFC 7617), if it has one.
    pub(super) fn new(url: &Url, password: &str) -> Self {
        let authorization = url.user.as_ref().map_or(String::new(), |user| {
            let both = Base64::encode_string(format!("{user}:{password}").as_bytes());
            format!("Authorization: Basic {both}\r\n")
        });
        CameraRequest {
            after: None,
            authorization,
        }
    }

    /// The bytes to send.
    pub(super) fn text(&self, url: &Url) -> String {
        let target = url.target();
        let separator = match target.contains('?') {
            true => '&',
            false => '?',
        };
        // It waits for less time than we do.
        let after = self.after.as_ref();
        let after = after.map_or(String::new(), |after| {
            format!("{separator}after={after}&timeout=8")
        });
        format!(
            "GET {target}{after} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lazycam/{}\r\n{}\r\n",
            url.authority(),
            env!("CARGO_PKG_VERSION"),
            self.authorization,
        )
    }
}

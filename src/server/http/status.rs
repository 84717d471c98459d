//! The status codes with which requests are refused, and what they say to people.

/// The status codes of RFC 9110 and RFC 6585 that this server uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Status {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    LengthRequired,
    PreconditionFailed,
    ContentTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    Misdirected,
    Unprocessable,
    HeadersTooLarge,
    NotImplemented,
    Unavailable,
    VersionNotSupported,
}

impl Status {
    /// Every status, in the order of the counters.
    pub const ALL: [Status; 17] = [
        Status::BadRequest,
        Status::Unauthorized,
        Status::Forbidden,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::RequestTimeout,
        Status::LengthRequired,
        Status::PreconditionFailed,
        Status::ContentTooLarge,
        Status::UriTooLong,
        Status::UnsupportedMediaType,
        Status::Misdirected,
        Status::Unprocessable,
        Status::HeadersTooLarge,
        Status::NotImplemented,
        Status::Unavailable,
        Status::VersionNotSupported,
    ];

    /// The code, the reason phrase, and a sentence for the person who sees it.
    pub(in crate::server) fn texts(self) -> (u16, &'static str, &'static str) {
        match self {
            Status::BadRequest => (
                400,
                "Bad Request",
                "this is not a request that can be understood",
            ),
            Status::Unauthorized => (401, "Unauthorized", "authentication required"),
            Status::Forbidden => (
                403,
                "Forbidden",
                "controls are set with a password (--auth), through a Unix socket, or where --open-control lets everybody",
            ),
            Status::NotFound => (
                404,
                "Not Found",
                "there is nothing here; try /stream or /snapshot",
            ),
            Status::MethodNotAllowed => (405, "Method Not Allowed", "this resource is read-only"),
            Status::RequestTimeout => {
                (408, "Request Timeout", "the request did not arrive in time")
            }
            Status::LengthRequired => (
                411,
                "Length Required",
                "say in Content-Length how long the JSON is",
            ),
            Status::PreconditionFailed => (412, "Precondition Failed", "no matching version"),
            Status::ContentTooLarge => (413, "Content Too Large", "this is more than 4096 bytes"),
            Status::UriTooLong => (414, "URI Too Long", "the address is too long"),
            Status::UnsupportedMediaType => (
                415,
                "Unsupported Media Type",
                "controls are set by JSON: Content-Type: application/json",
            ),
            Status::Misdirected => (
                421,
                "Misdirected Request",
                "this is no name of this camera server, which protects it from pages that claim to be its own; \
                 whoever runs it can start it with --allow-host and the name (LAZYCAM_ALLOW_HOST), or open it by its address",
            ),
            Status::Unprocessable => (422, "Unprocessable Content", "something was refused"),
            Status::HeadersTooLarge => (
                431,
                "Request Header Fields Too Large",
                "the request is too long",
            ),
            Status::NotImplemented => (501, "Not Implemented", "not implemented by this server"),
            Status::Unavailable => (
                503,
                "Service Unavailable",
                "there is no picture for you now; try again",
            ),
            Status::VersionNotSupported => (
                505,
                "HTTP Version Not Supported",
                "HTTP/1.0 and HTTP/1.1 are spoken here",
            ),
        }
    }

    /// The code alone, for counting.
    pub fn code(self) -> u16 {
        self.texts().0
    }
}

//! What a reply has to observe beside what was asked for, from the request on until the reply is written.

use std::rc::Rc;
use std::time::SystemTime;

use crate::server::http::cors::{Origins, let_read};
use crate::server::http::request::{Method, Request, asks_for_head};
use crate::time::date::date_field;

/// One request and its reply. Before the first request of a connection, it is [`Exchange::default`].
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// The connection can serve another request after the reply.
    keep_alive: bool,
    /// The method is HEAD, to which no reply has content (RFC 9110, 9.3.2).
    head_only: bool,
    /// A picture may stand for an answer in words.
    takes_picture: bool,
    /// The CORS fields of the reply, and `Via` if it is pictures from another server.
    cors: Option<Rc<String>>,
}

impl Exchange {
    /// The exchange that a request begins.
    pub fn of(request: &Request<'_>, origins: &Origins) -> Self {
        Exchange {
            keep_alive: request.keep_alive,
            head_only: request.method == Method::Head,
            takes_picture: request.takes_picture(),
            cors: Some(origins.fields(request.origin, request.host)),
        }
    }

    /// The last exchange of a connection on which nothing but this can be read, which is no whole request.
    pub fn with_fragment(input: &[u8], origins: &Origins) -> Self {
        Exchange {
            keep_alive: false,
            head_only: asks_for_head(input),
            takes_picture: false,
            cors: Some(origins.fields(None, None)),
        }
    }

    /// Whether there was a request.
    pub fn has_begun(&self) -> bool {
        self.cors.is_some()
    }

    /// The connection will serve no other request, whatever this one said.
    pub fn make_last(&mut self) {
        self.keep_alive = false;
    }

    /// The reply is pictures that come through other servers: this field says which.
    pub fn tell_way(&mut self, via: &str) {
        if !via.is_empty() {
            let cors = self.cors.as_ref().map_or("", |fields| fields);
            self.cors = Some(Rc::new(format!("{cors}{via}")));
        }
    }

    /// Whether no other request is served on the connection.
    pub fn is_last(&self) -> bool {
        !self.keep_alive
    }

    /// Whether the page that asks, if it is one, may read the reply.
    pub fn may_be_read(&self) -> bool {
        self.cors.as_ref().is_some_and(|fields| let_read(fields))
    }

    /// Whether a picture may stand for an answer in words.
    pub fn takes_picture(&self) -> bool {
        self.takes_picture
    }

    /// The first lines of a reply: its status, whether the connection continues, who may read it, and the date.
    pub(super) fn head(&self, status_line: &str, date: SystemTime) -> String {
        // `keep-alive` is sent to HTTP/1.1 clients too, which do not need it, because 1.0 clients do (RFC 9112,
        // C.2.2).
        let connection = match self.keep_alive {
            true => "keep-alive",
            false => "close",
        };
        let cors = self.cors.as_ref().map_or("", |fields| fields);
        let date = date_field(date);
        format!("{status_line}\r\nConnection: {connection}\r\n{cors}{date}")
    }

    /// Whether the page that asks may do so with credentials.
    pub(super) fn allows_credentials(&self) -> bool {
        self.access_fields().contains("-Credentials: true")
    }

    /// The fields about who may read or show the reply, without `Vary`, which is for caches, and `Via`.
    pub(super) fn access_fields(&self) -> String {
        let fields = self.cors.as_ref().map_or("", |fields| fields);
        let lines = fields.split_inclusive('\n');
        let others = ["Vary:", "Via:"];
        let is_other = |line: &&str| others.iter().any(|other| line.starts_with(other));
        lines.filter(|line| !is_other(line)).collect()
    }

    /// Whether more than the head is wanted.
    pub fn has_content(&self) -> bool {
        !self.head_only
    }

    /// The content, or nothing where only the head is wanted.
    pub(super) fn content<'a>(&self, content: &'a str) -> &'a str {
        if self.head_only { "" } else { content }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::server::http::request::{Parsed, parse};

    fn head(exchange: &Exchange) -> String {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_386_179);
        exchange.head("HTTP/1.1 200 OK", date)
    }

    fn exchange(text: &str, origins: &Origins) -> Exchange {
        match parse(text.as_bytes()) {
            Parsed::Complete(request, _) => Exchange::of(&request, origins),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_says_what_the_request_makes_it_say() {
        let origins = Origins::new(&["http://a".into()], false).unwrap();
        let text = "HEAD / HTTP/1.1\r\nHost: b\r\nOrigin: http://a\r\n\r\n";
        let mut exchange = exchange(text, &origins);
        let rest = "Access-Control-Allow-Origin: http://a\r\n\
                    Access-Control-Allow-Credentials: true\r\n\
                    Vary: Origin\r\n\
                    Date: Sun, 22 Nov 2026 22:22:59 GMT\r\n";
        let first = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n";
        assert_eq!(head(&exchange), format!("{first}{rest}"));
        assert_eq!(exchange.content("text"), "");
        exchange.make_last();
        let first = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
        assert_eq!(head(&exchange), format!("{first}{rest}"));
    }

    #[test]
    fn what_is_no_request_is_the_last_thing_and_from_nowhere() {
        let origins = Origins::default();
        let exchange = Exchange::with_fragment(b"GET / HT", &origins);
        assert!(exchange.is_last());
        assert_eq!(exchange.content("text"), "text");
        assert!(head(&exchange).contains("\r\nVary: Origin\r\n"));
        let exchange = Exchange::with_fragment(b"HEAD / HT", &origins);
        assert_eq!(exchange.content("text"), "");
    }
}

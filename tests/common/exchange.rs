//! What comes back for some bytes, as a table of cases states it: one connection each, up to its clean end.

use std::net::SocketAddr;

use super::http::{Client, Reply};

/// What a request is followed by on its connection. Whoever answers it with [`BEHIND`] has read on.
const NEXT: &str = "GET /behind HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";

/// The answer to [`NEXT`].
const BEHIND: u16 = 404;

/// The answer to a request, and whether another one is answered behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This status; the connection goes on.
    GoesOn(u16),
    /// This status, and it says that the connection ends, and that does, with nothing more said.
    Ends(u16),
}

/// The section that asks for it, what is sent, the answer that it gets.
pub(crate) type Case<'a> = (&'a str, &'a [u8], Answer);

/// Every case on a connection of its own; all that are answered otherwise are told at once.
#[track_caller]
pub(crate) fn check(server: SocketAddr, cases: &[Case<'_>]) {
    let wrong = cases.iter().filter_map(|(section, sent, expected)| {
        let answers = answers(server, sent);
        let is_right = match (expected, &answers[..]) {
            (Answer::GoesOn(status), [first, next]) => {
                first.head.status == *status
                    && first.head.field("Connection") == Some("keep-alive")
                    && next.head.status == BEHIND
            }
            (Answer::Ends(status), [only]) => {
                only.head.status == *status && only.head.field("Connection") == Some("close")
            }
            _ => false,
        };
        let heads: Vec<_> = answers.iter().map(|reply| &reply.head).collect();
        let sent = String::from_utf8_lossy(&sent[..sent.len().min(200)]);
        (!is_right).then(|| format!("{section}: {sent:?} is not {expected:?} but {heads:?}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The replies to these bytes with another request behind them, and then the end. No reply to HEAD has content.
#[track_caller]
pub(crate) fn answers(server: SocketAddr, sent: &[u8]) -> Vec<Reply> {
    let mut client = Client::connect(server);
    client.send([sent, NEXT.as_bytes()].concat());
    let mut is_head = sent.trim_ascii_start().starts_with(b"HEAD ");
    let mut replies = Vec::new();
    while !client.is_at_end() {
        replies.push(if std::mem::take(&mut is_head) {
            let (head, body) = (client.head(), Vec::new());
            Reply { head, body }
        } else {
            client.reply()
        });
    }
    replies
}

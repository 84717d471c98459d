//! Log lines on standard error, with a rate limit for those that strangers can cause.
//!
//! Under systemd, standard error goes to the journal, which reads a leading `<N>` as the priority (sd-daemon(3));
//! elsewhere the level is written as a word. Lines have no time stamp: the journal and syslog add their own, and
//! reading a clock to say nothing new would cost a system call.

use std::env;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// An environment variable for capture processes when there are several: the text that their log lines begin with, so
/// that it is clear which process they come from.
pub const SPEAKER: &str = "LAZYCAM_SPEAKER";

struct Stderr {
    /// Whether standard error is the journal.
    journal: bool,
    /// The beginning of each line.
    speaker: String,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (level, speaker) = (record.level(), &self.speaker);
        let text = on_one_line(record.args().to_string());
        let line = if self.journal {
            format!("<{}>{speaker}{text}\n", priority(level))
        } else {
            format!("lazycam: {}{speaker}{text}\n", word(level))
        };
        // If standard error has been closed, there is nobody to report this to.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Escapes what a terminal would act upon, and what would begin a line of its own: devices, producers and clients choose
/// some of the words in a message.
fn on_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::new();
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// syslog(3) priorities.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info => "",
        Level::Debug | Level::Trace => "debug: ",
    }
}

/// Starts logging at `level`. Called once, as the first step of `main`.
pub fn start(level: LevelFilter) {
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    let speaker = env::var(SPEAKER).map_or(String::new(), |name| format!("{name}: "));
    // This fails only if a logger is already set, and then that one will do.
    let _ = log::set_boxed_logger(Box::new(Stderr { journal, speaker }));
    log::set_max_level(level);
}

/// Lets one line through per interval and counts those that it held back, so that nobody who can cause a line can
/// fill the journal with it.
#[derive(Debug)]
pub struct Brake {
    interval: Duration,
    open_at: Option<Instant>,
    held_back: u64,
}

impl Brake {
    /// Creates a brake that lets one line through per `interval`.
    pub fn new(interval: Duration) -> Self {
        Brake {
            interval,
            open_at: None,
            held_back: 0,
        }
    }

    /// Whether a line may be written now; the number says how many similar lines were suppressed since the last one.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.open_at.is_some_and(|open_at| now < open_at) {
            self.held_back += 1;
            return None;
        }
        self.open_at = Some(now + self.interval);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_moves_no_cursor_and_begins_no_line() {
        let shown = |text: &str| on_one_line(text.into());
        assert_eq!(shown("größer: 'a\\b'"), "größer: 'a\\b'");
        let hostile = "Cam\u{1b}[2J\r\nlazycam: error: \u{9b}";
        assert_eq!(shown(hostile), "Cam\\u{1b}[2J\\r\\nlazycam: error: \\u{9b}");
    }

    #[test]
    fn a_brake_passes_one_line_per_interval_and_counts_the_rest() {
        let start = Instant::now();
        let mut brake = Brake::new(Duration::from_secs(10));
        assert_eq!(brake.pass(start), Some(0));
        assert_eq!(brake.pass(start + Duration::from_secs(1)), None);
        assert_eq!(brake.pass(start + Duration::from_secs(9)), None);
        assert_eq!(brake.pass(start + Duration::from_secs(10)), Some(2));
    }
}

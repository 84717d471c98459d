//! How long this machine stands still, as those do that share their processors with others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two looks at the clock.
const BEAT: Duration = Duration::from_millis(10);

/// Later than this is no matter of a busy scheduler.
const LATE: Duration = Duration::from_millis(100);

/// A thread that does nothing but sleep, and finds how much too long it has slept.
pub(crate) struct Heartbeat {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Heartbeat {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut stalled = Duration::ZERO;
            while !end.load(SeqCst) {
                let before = Instant::now();
                thread::sleep(BEAT);
                stalled += before.elapsed().saturating_sub(LATE);
            }
            stalled
        });
        Heartbeat { stop, thread }
    }

    /// The time in which nothing has run since the start, but for pauses shorter than [`LATE`].
    pub(crate) fn stalled(self) -> Duration {
        self.stop.store(true, SeqCst);
        self.thread.join().unwrap()
    }
}

//! Whether a driver's time stamps are to be believed.
//!
//! A stamp says when a frame was captured, which is earlier than when it arrives. But there are drivers whose stamps stand still, jump
//! back, or come from a clock of the camera's own. Frames with such stamps would look old, or all the same. So a stamp
//! counts only if it is later than the start and than the one before, and not in the future. After the first that is
//! not, the stream's other stamps are not believed either: what came before is then of another time than what follows.

use std::time::Duration;

/// The stamps of one stream, from a start to a stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    last: Duration,
    believed: bool,
}

impl Stamps {
    /// For a stream that begins at this time of the stamps' clock.
    pub(super) fn since(began: Duration) -> Self {
        Stamps {
            last: began,
            believed: true,
        }
    }

    /// How long ago a frame was captured, of which the stamp and the present time are given; nothing if that is not
    /// known.
    pub(super) fn age(&mut self, stamp: Option<Duration>, now: Duration) -> Duration {
        self.believed &= stamp.is_some_and(|stamp| stamp > self.last && stamp <= now);
        match stamp.filter(|_| self.believed) {
            Some(stamp) => {
                self.last = stamp;
                now - stamp
            }
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ages of frames that come one second apart, the first of them ten seconds after the start.
    fn ages(stamps: &[Option<f64>]) -> Vec<f64> {
        let began = Duration::from_secs(100);
        let mut known = Stamps::since(began);
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap();
        let now = (110..).map(Duration::from_secs);
        let of = |(stamp, now): (&Option<f64>, _)| known.age(stamp.map(seconds), now);
        let ages = stamps.iter().zip(now).map(of);
        ages.map(|age| age.as_secs_f64()).collect()
    }

    #[test]
    fn stamps_that_go_on_are_believed() {
        let half = [Some(109.5), Some(110.5), Some(111.75)];
        assert_eq!(ages(&half), [0.5, 0.5, 0.25]);
    }

    #[test]
    fn stamps_that_cannot_be_are_not_believed_for_the_rest_of_the_stream() {
        /// What is wrong with the stamps, they, and the ages that follow.
        type Case = (&'static str, &'static [Option<f64>], &'static [f64]);
        let cases: [Case; 7] = [
            ("stand", &[Some(109.0); 4], &[1.0, 0.0, 0.0, 0.0]),
            (
                "jump back",
                &[Some(109.0), Some(105.0), Some(106.0)],
                &[1.0, 0.0, 0.0],
            ),
            (
                "lie in the future",
                &[Some(4e9), Some(4e9 + 1.0)],
                &[0.0, 0.0],
            ),
            (
                "jump ahead",
                &[Some(109.0), Some(500.0), Some(111.0)],
                &[1.0, 0.0, 0.0],
            ),
            (
                "lie before the start",
                &[Some(99.0), Some(110.0)],
                &[0.0, 0.0],
            ),
            (
                "are those of a clock of its own",
                &[Some(0.0), Some(1.0)],
                &[0.0, 0.0],
            ),
            ("are none", &[None, None], &[0.0, 0.0]),
        ];
        for (what, stamps, expected) in cases {
            assert_eq!(ages(stamps), expected, "they {what}");
        }
    }
}

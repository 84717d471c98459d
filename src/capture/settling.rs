//! When automatic exposure has settled after a start, for cameras that do not say so.
//!
//! It has when what it is about is the same in a few frames in a row: how bright they are, or exposure and gain
//! where they are told. A picture that is nearly black or nearly white is none to go by, because that is what a camera
//! sends before it begins to adjust. What is slower than this, or never steady because something moves, is bounded by a
//! number of frames, and by the deadline of the capture loop.
//!
//! The numbers are choices, not measurements: no camera was available.

/// The number of frames after a start that are not yet settled, unless they are known to be.
pub(super) const WARM_UP: u32 = 8;

/// So many frames in a row have to be alike.
const ALIKE: u32 = 3;

/// How much two of them may differ: a step of automatic exposure is larger.
const TOLERANCE: f32 = 0.02;

/// What is known since a start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settling {
    /// Exposure is fixed, so only the first frame is not settled: there are sensors that send it before they are ready.
    is_fixed: bool,
    frames: u32,
    last: Option<f32>,
    alike: u32,
    has_settled: bool,
}

impl Settling {
    /// For a camera that is started now.
    pub(super) fn new(is_fixed: bool) -> Self {
        Settling {
            is_fixed,
            ..Settling::default()
        }
    }

    /// More frames have come; `level` is what is compared, of the newest one, if it can be told. It is asked for only as long as
    /// it matters, and not if none has come. Returns whether the newest frame is settled.
    pub(super) fn frames(&mut self, count: u32, level: impl FnOnce() -> Option<f32>) -> bool {
        self.frames = self.frames.saturating_add(count);
        let warm_up = if self.is_fixed { 1 } else { WARM_UP };
        self.has_settled |= self.frames > warm_up;
        if self.has_settled || self.is_fixed || count == 0 {
            return self.has_settled;
        }
        let level = level();
        let is_alike = match (self.last, level) {
            (Some(last), Some(level)) => (last - level).abs() <= TOLERANCE * last.max(level),
            _ => false,
        };
        self.alike = match (level, is_alike) {
            (None, _) => 0,
            (Some(_), true) => self.alike + 1,
            (Some(_), false) => 1,
        };
        self.last = level;
        self.has_settled = self.alike >= ALIKE;
        self.has_settled
    }
}

/// The brightness of a picture, from 0 to 255, as far as it is one to go by.
pub(super) fn usable(brightness: f32) -> Option<f32> {
    (16.0..=240.0).contains(&brightness).then_some(brightness)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the first frame that is settled, when frames of these levels come one by one and the last goes on.
    fn settles_at(levels: &[f32]) -> usize {
        let mut settling = Settling::new(false);
        let last = levels.last().copied();
        let all = levels
            .iter()
            .copied()
            .chain(std::iter::repeat_with(|| last.unwrap()));
        1 + all
            .take(100)
            .position(|level| settling.frames(1, || usable(level)))
            .unwrap()
    }

    #[test]
    fn what_is_steady_is_settled_at_the_third_frame_and_what_is_not_when_it_becomes_so() {
        assert_eq!(settles_at(&[100.0]), 3);
        assert_eq!(settles_at(&[100.0, 101.0, 100.0]), 3);
        assert_eq!(settles_at(&[40.0, 60.0, 80.0, 100.0]), 6);
        // It stands for a moment.
        assert_eq!(settles_at(&[40.0, 40.0, 60.0, 100.0]), 6);
    }

    #[test]
    fn what_never_is_steady_is_settled_after_a_number_of_frames() {
        let flickering: Vec<f32> = (0..50)
            .map(|n| if n % 2 == 0 { 90.0 } else { 120.0 })
            .collect();
        for levels in [&flickering[..], &[2.0], &[255.0]] {
            assert_eq!(settles_at(levels), WARM_UP as usize + 1);
        }
        let mut settling = Settling::new(false);
        assert!(settling.frames(WARM_UP + 1, || None));
    }

    #[test]
    fn where_exposure_is_fixed_nothing_is_measured() {
        let mut settling = Settling::new(true);
        assert!(!settling.frames(1, || unreachable!()));
        assert!(settling.frames(1, || unreachable!()));
    }

    #[test]
    fn waking_up_for_nothing_changes_nothing() {
        let mut settling = Settling::new(false);
        let told = [1, 1, 0, 1].map(|count| settling.frames(count, || (count > 0).then_some(90.0)));
        assert_eq!(told, [false, false, false, true]);
    }

    #[test]
    fn a_frame_that_cannot_be_read_begins_anew() {
        let mut settling = Settling::new(false);
        let told: Vec<bool> = [
            Some(90.0),
            Some(90.0),
            None,
            Some(90.0),
            Some(90.0),
            Some(90.0),
        ]
        .into_iter()
        .map(|level| settling.frames(1, || level))
        .collect();
        assert_eq!(told, [false, false, false, false, false, true]);
    }
}

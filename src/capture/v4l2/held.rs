//! The buffer that is kept for the frame that somebody may still ask for, and which buffer goes back to the driver for it.
//!
//! A driver is not bound to hand its buffers out in turn: v4l2loopback returns the very buffer that is still held, with a new frame in it. Given
//! back then, the frame would be written to while it is read.

use super::buffers::Filled;

/// The newest good frame, in a buffer that is ours until the next one has come.
#[derive(Debug, Default)]
pub(super) struct HeldBuffer(Option<Filled>);

impl HeldBuffer {
    /// Takes what the driver has returned. Returns the buffer that is to be queued for it, if there is one: of a good frame the buffer held before, of
    /// a marked one its own.
    pub(super) fn take(&mut self, filled: Filled) -> Option<u32> {
        if is_marked(&filled) {
            self.0 = self.0.filter(|held| held.index != filled.index);
            return Some(filled.index);
        }
        let older = self.0.replace(filled)?;
        (older.index != filled.index).then_some(older.index)
    }

    /// The frame that is held.
    pub(super) fn newest(&self) -> Option<Filled> {
        self.0
    }
}

/// Whether there is no frame in it, or one that the driver says is damaged.
pub(super) fn is_marked(filled: &Filled) -> bool {
    filled.error || filled.bytesused == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFERS: u32 = 3;

    fn filled(index: u32, error: bool) -> Filled {
        Filled {
            index,
            bytesused: 1,
            error,
            monotonic: None,
            stamp: None,
        }
    }

    /// All sequences of six buffers out of three, each good or marked, from a driver that may return any buffer, also one that is held.
    #[test]
    fn whatever_order_a_driver_returns_its_buffers_in_the_held_one_is_never_given_back() {
        let choices = 2 * BUFFERS;
        for sequence in 0..choices.pow(6) {
            let mut held = HeldBuffer::default();
            let (mut digits, mut newest) = (sequence, None);
            for _ in 0..6 {
                let (index, error) = (digits % BUFFERS, digits / BUFFERS % 2 == 1);
                digits /= choices;
                let given_back = held.take(filled(index, error));
                newest = if error {
                    assert_eq!(given_back, Some(index), "{sequence}");
                    newest.filter(|held| *held != index)
                } else {
                    assert_eq!(
                        given_back,
                        newest.filter(|held| *held != index),
                        "{sequence}"
                    );
                    Some(index)
                };
                let now = held.newest().map(|held| held.index);
                assert_eq!(now, newest, "{sequence}");
                assert!(now.is_none() || now != given_back, "{sequence}");
            }
        }
    }

    #[test]
    fn a_buffer_without_bytes_holds_no_frame() {
        let mut held = HeldBuffer::default();
        let empty = Filled {
            bytesused: 0,
            ..filled(1, false)
        };
        assert_eq!(held.take(filled(0, false)), None);
        assert_eq!(held.take(empty), Some(1));
        assert_eq!(held.newest().map(|held| held.index), Some(0));
    }
}

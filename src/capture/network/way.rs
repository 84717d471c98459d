//! Which servers the pictures come through (`Via`, RFC 9110, 7.6.3), so that lazycams that are each other's cameras notice it: otherwise each would
//! wait for the other.
//!
//! The server tells it with each stream and snapshot, and knows it from the state file. So a loop is noticed as soon as what this process has
//! written has gone round, which may take one attempt for each server in it.

use std::hash::{BuildHasher, RandomState};

/// More than this comes through more servers than anybody has.
const LONGEST: usize = 240;

/// The way of the pictures of one camera.
pub(super) struct Way {
    /// This process, as it calls itself.
    own: String,
    /// What the server is to tell.
    text: String,
}

impl Way {
    pub(super) fn new() -> Self {
        let own = format!("1.1 lazycam-{:016x}", RandomState::new().hash_one(0));
        Way {
            text: own.clone(),
            own,
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What the far side says. The error says why its pictures are none.
    pub(super) fn note(&mut self, via: &str) -> Result<(), &'static str> {
        if via.contains(&self.own) {
            return Err("gets its pictures from this camera: they go round in a loop");
        }
        if via.len() > LONGEST - self.own.len() {
            return Err("sends pictures that come through too many others");
        }
        self.text = match via {
            "" => self.own.clone(),
            via => format!("{via}, {}", self.own),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_noticed_and_so_is_a_way_without_end() {
        let (mut first, mut second) = (Way::new(), Way::new());
        let own = first.text().to_owned();
        assert!(first.note(&own).is_err());
        second.note(first.text()).unwrap();
        assert_eq!(second.text(), format!("{}, {}", first.text(), second.own));
        assert!(first.note(second.text()).is_err());
        second.note("").unwrap();
        assert_eq!(second.text(), second.own);
        let hops = (0..100).take_while(|_| {
            let (before, mut next) = (second.text().to_owned(), Way::new());
            let noted = next.note(&before).is_ok();
            second = next;
            noted
        });
        assert!((5..20).contains(&hops.count()));
    }
}

//! The cameras of a server, by name and by number.
//!
//! A camera keeps its number for as long as the server runs. Cameras named by flags come first, in the order of the
//! flags. Next come those that a root contains at the start, in the order of their names. A camera that appears later
//! gets the next free number. One that disappears keeps its number and has it again when it comes back, so a number never
//! comes to mean a different camera. URLs without a name mean the first camera that is there: whoever came before, and
//! was killed, may have left a directory that would come first for ever.
//!
//! This is pure bookkeeping: it knows neither the contents of directories nor the viewers.

use std::rc::Rc;

use crate::frames::name::Name;
use crate::server::want::Which;

/// How many names a server accepts in its lifetime. Without a limit, anyone who can write into a root could make up
/// new ones for ever.
const MOST: usize = 1000;

/// The cameras of a server. A camera's index is its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    entries: Vec<RosterEntry>,
    default: Option<Name>,
}

/// A camera that exists or existed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// Its name.
    pub name: Name,
    /// Whether it exists now.
    pub present: bool,
    /// Whether anything has been seen of a program that captures for it, since it appeared.
    pub captured: bool,
    /// The field `Via` of its pictures, with its line break; empty if they come from this machine.
    pub via: Rc<str>,
}

/// Why there is no camera to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There never was a camera with this name or number.
    Unknown,
    /// It has gone, or has not appeared yet.
    Away,
}

impl Roster {
    /// A roster without cameras. URLs without a name mean `default`, or if that is `None` the first camera that is there.
    pub fn new(default: Option<Name>) -> Self {
        Roster {
            entries: Vec::new(),
            default,
        }
    }

    /// Adds a camera and returns its number, which is a new one if the name is new. Fails if there have been too many
    /// names.
    pub fn appear(&mut self, name: &Name) -> Result<usize, TooMany> {
        let number = match self.number_of(name) {
            Some(number) => number,
            None if self.entries.len() >= MOST => return Err(TooMany(MOST)),
            None => {
                self.entries.push(RosterEntry {
                    name: name.clone(),
                    present: false,
                    captured: false,
                    via: "".into(),
                });
                self.entries.len() - 1
            }
        };
        self.entries[number].present = true;
        Ok(number)
    }

    /// Marks a camera as gone.
    pub fn vanish(&mut self, number: usize) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.present = false;
            entry.captured = false;
        }
    }

    /// Something, or nothing, has been seen of a program that captures for this camera.
    pub fn notice(&mut self, number: usize, captured: bool) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.captured = captured;
        }
    }

    /// The pictures of this camera come through other servers. What is no value of a field is not told (RFC 9110, 5.5).
    pub fn tell_way(&mut self, number: usize, via: Option<&str>) {
        let via = via.filter(|via| via.bytes().all(|c| matches!(c, b' '..=b'~')));
        let via = via.map_or(String::new(), |via| format!("Via: {via}\r\n"));
        if let Some(entry) = self.entries.get_mut(number) {
            entry.via = via.into();
        }
    }

    /// The first camera of the best that there are: those that somebody captures for, those that exist, any.
    fn first(&self) -> usize {
        let first = |is: fn(&RosterEntry) -> bool| self.entries.iter().position(is);
        let there = first(|entry| entry.present && entry.captured);
        there.or_else(|| first(|entry| entry.present)).unwrap_or(0)
    }

    /// The number of the camera that a URL means, whether it exists now or not. [`Missing::Away`] if there has never
    /// been any camera.
    pub fn number(&self, which: &Which) -> Result<usize, Missing> {
        let number = match which {
            Which::Default => match &self.default {
                Some(name) => self.number_of(name).ok_or(Missing::Away)?,
                None if self.entries.is_empty() => return Err(Missing::Away),
                None => self.first(),
            },
            Which::Number(number) => *number,
            Which::Name(name) => self.number_of(name).ok_or(Missing::Unknown)?,
        };
        match self.entries.get(number) {
            Some(_) => Ok(number),
            None => Err(Missing::Unknown),
        }
    }

    /// Finds the camera that a URL means, if it exists now.
    pub fn find(&self, which: &Which) -> Result<usize, Missing> {
        let number = self.number(which)?;
        match self.entries[number].present {
            true => Ok(number),
            false => Err(Missing::Away),
        }
    }

    /// The number that belongs to a name, whether its camera exists now or not.
    pub fn number_of(&self, name: &Name) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == *name)
    }

    /// All cameras that exist or existed, in the order of their numbers.
    pub fn entries(&self) -> &[RosterEntry] {
        &self.entries
    }
}

/// The server has met as many names as it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(pub usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn roster(names: &[&str]) -> Roster {
        let mut roster = Roster::new(None);
        for text in names {
            roster.appear(&name(text)).unwrap();
        }
        roster
    }

    fn named(text: &str) -> Which {
        Which::Name(name(text))
    }

    #[test]
    fn cameras_are_found_by_name_and_by_number_and_the_first_by_nothing() {
        let roster = roster(&["front", "bench"]);
        for (which, found) in [
            (Which::Default, Ok(0)),
            (Which::Number(0), Ok(0)),
            (Which::Number(1), Ok(1)),
            (Which::Number(2), Err(Missing::Unknown)),
            (named("front"), Ok(0)),
            (named("bench"), Ok(1)),
            (named("Bench"), Err(Missing::Unknown)),
        ] {
            assert_eq!(roster.find(&which), found, "{which:?}");
        }
    }

    #[test]
    fn a_number_means_the_same_camera_for_ever() {
        let mut roster = roster(&["b", "c"]);
        roster.vanish(0);
        assert_eq!(roster.find(&Which::Number(0)), Err(Missing::Away));
        assert_eq!(roster.find(&named("b")), Err(Missing::Away));
        assert_eq!(roster.appear(&name("a")), Ok(2));
        assert_eq!(roster.find(&Which::Number(1)), roster.find(&named("c")));
        assert_eq!(roster.appear(&name("b")), Ok(0));
        assert_eq!(roster.find(&Which::Number(0)), Ok(0));
    }

    #[test]
    fn a_camera_that_is_not_there_is_not_the_default_while_another_is() {
        let mut roster = roster(&["ghost", "front", "bench"]);
        assert_eq!(roster.find(&Which::Default), Ok(0));
        roster.notice(1, true);
        assert_eq!(roster.find(&Which::Default), Ok(1));
        roster.notice(0, true);
        assert_eq!(roster.find(&Which::Default), Ok(0));
        roster.vanish(0);
        assert_eq!(roster.find(&Which::Default), Ok(1));
        roster.vanish(1);
        assert_eq!(roster.find(&Which::Default), Ok(2));
        roster.vanish(2);
        assert_eq!(roster.find(&Which::Default), Err(Missing::Away));
        assert_eq!(roster.number(&Which::Default), Ok(0));
    }

    #[test]
    fn the_default_camera_is_the_one_that_was_named_also_before_it_comes() {
        let mut roster = Roster::new(Some(name("bench")));
        assert_eq!(roster.find(&Which::Default), Err(Missing::Away));
        roster.appear(&name("front")).unwrap();
        assert_eq!(roster.find(&Which::Default), Err(Missing::Away));
        roster.appear(&name("bench")).unwrap();
        assert_eq!(roster.find(&Which::Default), Ok(1));
    }

    #[test]
    fn a_server_without_cameras_has_none_yet() {
        assert_eq!(Roster::new(None).find(&Which::Default), Err(Missing::Away));
        let number = Roster::new(None).find(&Which::Number(0));
        assert_eq!(number, Err(Missing::Unknown));
    }

    #[test]
    fn new_names_come_to_an_end_and_the_old_ones_stay() {
        let mut roster = Roster::new(None);
        for number in 0..MOST {
            assert_eq!(roster.appear(&name(&format!("c{number}"))), Ok(number));
        }
        assert_eq!(roster.appear(&name("one-more")), Err(TooMany(MOST)));
        assert_eq!(roster.appear(&name("c7")), Ok(7));
    }
}

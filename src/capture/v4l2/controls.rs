//! Controls by name: the settings of a camera besides format, size and rate.
//!
//! The names are derived from the driver's in the same way as v4l2-ctl does it, so names found in its output or on
//! the web can be used unchanged: letters and digits in lower case, and an underscore for whatever is between them
//! ("White Balance, Automatic" is `white_balance_automatic`).
//!
//! Supported are integers, booleans, menus, bitmasks and buttons. 64-bit integers, strings and arrays are not,
//! because no camera needs them.

use std::fmt;
use std::os::fd::AsFd;

use log::debug;
use rustix::io::Errno;

use super::device::{Device, text};
use super::ioctl::{self, Plain};
use crate::capture::assignment::{Assignment, normalised};
use crate::capture::control_facts::ControlFacts;
use crate::error::{Error, Result};

/// V4L2_CTRL_FLAG_NEXT_CTRL: the control after this one.
const NEXT_CTRL: u32 = 0x8000_0000;
/// V4L2_CTRL_FLAG_DISABLED
const DISABLED: u32 = 0x1;
/// V4L2_CTRL_FLAG_READ_ONLY
pub(super) const READ_ONLY: u32 = 0x4;
/// V4L2_CTRL_FLAG_INACTIVE: has no effect now, because of another control.
const INACTIVE: u32 = 0x10;
/// V4L2_CTRL_FLAG_WRITE_ONLY
const WRITE_ONLY: u32 = 0x40;
/// V4L2_CTRL_FLAG_MODIFY_LAYOUT: it changes how the buffers are laid out, so it cannot be set while they are in use.
const MODIFY_LAYOUT: u32 = 0x400;

/// A number of controls that no driver exceeds.
const MOST: usize = 1024;

/// V4L2_CID_BASE and V4L2_CID_CAMERA_CLASS_BASE, where the numbers of a camera's controls begin, each with a number
/// of controls that no class exceeds.
const CLASSES: [(u32, u32); 2] = [(0x0098_0900, 64), (0x009A_0900, 64)];

/// enum v4l2_ctrl_type, as far as it is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// V4L2_CTRL_TYPE_INTEGER
    Integer,
    /// V4L2_CTRL_TYPE_BOOLEAN
    Boolean,
    /// V4L2_CTRL_TYPE_MENU, and V4L2_CTRL_TYPE_INTEGER_MENU
    Menu,
    /// V4L2_CTRL_TYPE_BUTTON
    Button,
    /// V4L2_CTRL_TYPE_BITMASK
    Bitmask,
}

impl ControlKind {
    fn word(self) -> &'static str {
        match self {
            ControlKind::Integer => "integer",
            ControlKind::Boolean => "boolean",
            ControlKind::Menu => "menu",
            ControlKind::Button => "button",
            ControlKind::Bitmask => "bitmask",
        }
    }
}

/// A control that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    id: u32,
    value: i32,
    /// Whether it changes how buffers are laid out.
    layout: bool,
    /// As it was given.
    told: String,
}

impl Setting {
    /// Whether it is the same control, with any value.
    pub(super) fn is_same(&self, other: &Setting) -> bool {
        self.id == other.id
    }

    /// The other value of a switch.
    pub(super) fn inverted(&self) -> Self {
        Setting {
            value: 1 - self.value,
            ..self.clone()
        }
    }
}

/// A control and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    id: u32,
    /// The normalised name.
    pub name: String,
    /// The type of its value.
    pub kind: ControlKind,
    /// The least value.
    pub minimum: i32,
    /// The greatest value.
    pub maximum: i32,
    /// The distance between two values.
    pub step: i32,
    /// The driver's initial value.
    pub default: i32,
    /// The present value; `None` if it cannot be read.
    pub value: Option<i32>,
    /// Whether it cannot be set.
    pub read_only: bool,
    /// Whether it has no effect now, because of another control.
    pub inactive: bool,
    /// Whether it changes how buffers are laid out.
    layout: bool,
    /// The items of a menu by index.
    pub items: Vec<(i32, String)>,
}

impl Control {
    /// What is told about it.
    pub fn facts(&self) -> ControlFacts {
        let numbers = [self.minimum, self.maximum, self.default];
        ControlFacts {
            name: self.name.clone(),
            kind: self.kind.word(),
            numbers: numbers.map(|number| Some(number.into())),
            step: Some(self.step),
            value: self.value.map(f64::from),
            read_only: self.read_only,
            inactive: self.inactive,
            items: self.items.clone(),
        }
    }

    /// The number that the text of a value stands for.
    fn number(&self, value: &str) -> Result<i32, String> {
        let name = &self.name;
        let number = match self.kind {
            ControlKind::Boolean => match value.to_ascii_lowercase().as_str() {
                "1" | "true" | "on" | "yes" => Some(1),
                "0" | "false" | "off" | "no" => Some(0),
                _ => None,
            },
            ControlKind::Menu => {
                let wanted = normalised(value);
                let named = self
                    .items
                    .iter()
                    .find(|(_, item)| normalised(item) == wanted);
                let index = value.parse().ok();
                let indexed = self.items.iter().find(|(at, _)| Some(*at) == index);
                indexed.or(named).map(|(at, _)| *at)
            }
            ControlKind::Button => Some(0),
            ControlKind::Bitmask => bitmask(value),
            ControlKind::Integer => value
                .parse()
                .ok()
                .filter(|number| (self.minimum..=self.maximum).contains(number)),
        };
        number.ok_or_else(|| format!("{name} is {}, not '{value}'", self.range()))
    }

    /// The values that it can be set to, for people.
    pub fn range(&self) -> String {
        match self.kind {
            ControlKind::Integer if self.step > 1 => {
                format!("{} to {} by {}", self.minimum, self.maximum, self.step)
            }
            ControlKind::Integer => format!("{} to {}", self.minimum, self.maximum),
            ControlKind::Boolean => "0 or 1".into(),
            ControlKind::Button => "a button (any value presses it)".into(),
            ControlKind::Bitmask => format!("bits out of {:#x}", self.maximum),
            ControlKind::Menu => {
                let items = self.items.iter().map(|(at, item)| format!("{at} ({item})"));
                items.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl Device {
    /// The supported controls, in the driver's order. (VIDIOC_QUERYCTRL, VIDIOC_QUERYMENU, VIDIOC_G_CTRL)
    pub fn controls(&self) -> Vec<Control> {
        let found = enumerate(|id| {
            let mut query = ioctl::QueryCtrl::zeroed();
            query.id = id;
            ioctl::queryctrl(self.as_fd(), &mut query).map(|()| query)
        });
        let known = found.iter().filter_map(|query| self.control(query));
        known.collect()
    }

    /// The present value of a control. (VIDIOC_G_CTRL)
    pub(super) fn value(&self, id: u32) -> Option<i32> {
        let mut control = ioctl::ControlValue { id, value: 0 };
        ioctl::g_ctrl(self.as_fd(), &mut control).ok()?;
        Some(control.value)
    }

    fn control(&self, query: &ioctl::QueryCtrl) -> Option<Control> {
        let kind = match query.kind {
            1 => ControlKind::Integer,
            2 => ControlKind::Boolean,
            3 | 9 => ControlKind::Menu,
            4 => ControlKind::Button,
            8 => ControlKind::Bitmask,
            _ => return None,
        };
        if query.flags & DISABLED != 0 {
            return None;
        }
        let readable = kind != ControlKind::Button && query.flags & WRITE_ONLY == 0;
        let value = readable.then(|| self.value(query.id));
        let items = match kind {
            ControlKind::Menu => self.items(query),
            _ => Vec::new(),
        };
        Some(Control {
            id: query.id,
            name: normalised(&text(&query.name)),
            kind,
            minimum: query.minimum,
            maximum: query.maximum,
            step: query.step,
            default: query.default_value,
            value: value.flatten(),
            read_only: query.flags & READ_ONLY != 0,
            inactive: query.flags & INACTIVE != 0,
            layout: query.flags & MODIFY_LAYOUT != 0,
            items,
        })
    }

    /// The items of a menu. Indices for which the driver has no name are left out on purpose.
    fn items(&self, query: &ioctl::QueryCtrl) -> Vec<(i32, String)> {
        let last = query.maximum.min(query.minimum.saturating_add(MOST as i32));
        let item = |index: i32| {
            let mut menu = ioctl::QueryMenu::zeroed();
            (menu.id, menu.index) = (query.id, u32::try_from(index).ok()?);
            ioctl::querymenu(self.as_fd(), &mut menu).ok()?;
            let [a, b, c, d, e, f, g, h, ..] = menu.name;
            Some(match query.kind {
                9 => (
                    index,
                    i64::from_ne_bytes([a, b, c, d, e, f, g, h]).to_string(),
                ),
                _ => (index, text(&menu.name)),
            })
        };
        (query.minimum..=last).filter_map(item).collect()
    }

    /// Sets controls in the given order: an automatic mode has to be switched off before the value can be set by
    /// hand. Returns what was set. (VIDIOC_S_CTRL)
    pub(super) fn set_controls(&self, assignments: &[Assignment]) -> Result<Vec<Setting>> {
        // Read again each time, because setting a control changes which others are active.
        let set = |assignment| self.set_control(&self.controls(), assignment);
        assignments.iter().map(set).collect()
    }

    /// Sets controls once more while the camera streams, in the same order. A control that the driver refuses now
    /// has been set before, so this is no reason to give the camera up.
    pub(super) fn set_again(&self, settings: &[Setting]) {
        for setting in settings.iter().filter(|setting| !setting.layout) {
            let (id, value) = (setting.id, setting.value);
            if let Err(errno) = ioctl::s_ctrl(self.as_fd(), &mut ioctl::ControlValue { id, value })
            {
                let doing = format!("set {} on", setting.told);
                debug!("{}", self.refused(&doing, errno));
            }
        }
    }

    fn set_control(&self, controls: &[Control], assignment: &Assignment) -> Result<Setting> {
        let path = self.path().display();
        let Some(control) = controls
            .iter()
            .find(|control| control.name == assignment.name)
        else {
            return Err(Error::Usage(unknown(&path, &assignment.name, controls)));
        };
        let number = control.number(&assignment.value);
        let value = number.map_err(|why| Error::Usage(format!("{path}: {why}")))?;
        if control.read_only {
            let name = &control.name;
            return Err(Error::Usage(format!(
                "{path}: {name} can be read but not set"
            )));
        }
        let id = control.id;
        let set = ioctl::s_ctrl(self.as_fd(), &mut ioctl::ControlValue { id, value });
        set.map_err(|errno| match self.refused(&format!("set {assignment} on"), errno) {
            Error::Input(told) if control.inactive => Error::Input(format!(
                "{told}; it is inactive: a control such as auto_exposure holds it, so set that one first"
            )),
            error => error,
        })?;
        Ok(Setting {
            id,
            value,
            layout: control.layout,
            told: assignment.to_string(),
        })
    }
}

/// All controls that `ask` knows. If the camera does not answer about one control, the list does not end there:
/// uvcvideo passes on the error (EIO) without saying which control it was, so the following numbers are tried until a
/// control is found.
fn enumerate(mut ask: impl FnMut(u32) -> Result<ioctl::QueryCtrl, Errno>) -> Vec<ioctl::QueryCtrl> {
    let mut found: Vec<ioctl::QueryCtrl> = Vec::new();
    while found.len() < MOST {
        let last = found.last().map_or(0, |query| query.id);
        let next = match ask(last | NEXT_CTRL) {
            Ok(query) => Some(query),
            Err(Errno::IO | Errno::PIPE | Errno::TIMEDOUT) => {
                let ids = CLASSES.iter().flat_map(|(base, count)| *base..base + count);
                let mut behind = ids.filter(|id| *id > last);
                behind.find_map(|id| ask(id).ok())
            }
            // EINVAL: no control follows.
            Err(_) => None,
        };
        let Some(query) = next else { break };
        found.push(query);
    }
    found
}

fn unknown(path: &impl fmt::Display, name: &str, controls: &[Control]) -> String {
    let names = controls.iter().map(|control| control.name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    match names.as_str() {
        "" => format!("{path} has no control {name}: it has none at all"),
        _ => format!("{path} has no control {name}; it has {names}"),
    }
}

fn bitmask(value: &str) -> Option<i32> {
    let bits = match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => value.parse().ok()?,
    };
    Some(bits as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(kind: ControlKind, items: &[(i32, &str)]) -> Control {
        let item = |(at, item): &(i32, &str)| (*at, (*item).to_owned());
        Control {
            id: 1,
            name: "it".into(),
            kind,
            minimum: -64,
            maximum: 64,
            step: 1,
            default: 0,
            value: Some(3),
            read_only: false,
            inactive: false,
            layout: false,
            items: items.iter().map(item).collect(),
        }
    }

    /// The numbers found with a driver that has controls of these numbers and fails for some of them.
    fn numbers(ids: &[u32], failing: &[u32]) -> Vec<u32> {
        let found = enumerate(|asked| {
            let behind = |id: &&u32| match asked & NEXT_CTRL {
                0 => **id == asked,
                _ => **id > asked & !NEXT_CTRL,
            };
            let id = *ids.iter().find(behind).ok_or(Errno::INVAL)?;
            let mut query = ioctl::QueryCtrl::zeroed();
            query.id = id;
            (!failing.contains(&id)).then_some(query).ok_or(Errno::IO)
        });
        found.iter().map(|query| query.id).collect()
    }

    #[test]
    fn a_control_that_does_not_answer_hides_no_other() {
        let ids = [0x98_0900, 0x98_0901, 0x98_0913, 0x9A_0901, 0x9A_0902];
        assert_eq!(numbers(&ids, &[]), ids);
        for silent in 0..ids.len() {
            let others = [&ids[..silent], &ids[silent + 1..]].concat();
            assert_eq!(numbers(&ids, &[ids[silent]]), others);
        }
        assert_eq!(numbers(&ids, &ids), []);
        assert_eq!(numbers(&[], &[]), []);
    }

    #[test]
    fn integers_are_held_to_their_range() {
        let control = control(ControlKind::Integer, &[]);
        assert_eq!(control.number("-64"), Ok(-64));
        let told = control.number("65").unwrap_err();
        assert_eq!(told, "it is -64 to 64, not '65'");
        assert!(control.number("many").is_err());
    }

    #[test]
    fn booleans_are_taken_in_words_too() {
        let control = control(ControlKind::Boolean, &[]);
        assert_eq!(control.number("on"), Ok(1));
        assert_eq!(control.number("0"), Ok(0));
        assert!(control.number("2").is_err());
    }

    #[test]
    fn menus_are_taken_by_index_or_by_item() {
        let control = control(
            ControlKind::Menu,
            &[(0, "Disabled"), (1, "50 Hz"), (3, "Auto Mode")],
        );
        assert_eq!(control.number("50 hz"), Ok(1));
        assert_eq!(control.number("auto_mode"), Ok(3));
        assert_eq!(control.number("3"), Ok(3));
        let told = control.number("2").unwrap_err();
        assert_eq!(
            told,
            "it is 0 (Disabled), 1 (50 Hz), 3 (Auto Mode), not '2'"
        );
    }

    #[test]
    fn bitmasks_are_taken_in_both_bases() {
        assert_eq!(bitmask("0xffffffff"), Some(-1));
        assert_eq!(bitmask("12"), Some(12));
        assert_eq!(bitmask("0xg"), None);
    }

    #[test]
    fn an_unknown_control_is_told_with_those_there_are() {
        let controls = [control(ControlKind::Integer, &[])];
        let told = unknown(&"/dev/video0", "sharp", &controls);
        assert_eq!(told, "/dev/video0 has no control sharp; it has it");
        assert!(unknown(&"/dev/video0", "sharp", &[]).ends_with("none at all"));
    }
}

//! Controls by libcamera's names: the settings of a camera besides format, size and rate.
//!
//! <https://libcamera.org/api-html/namespacelibcamera_1_1controls.html>. Names are accepted in upper or lower case,
//! with or without underscores (AfMode, afmode, af_mode). A value is parsed according to the control's type: `true`
//! or `on`, whole numbers, fractions, or the name or number of a menu item; several values are separated by colons
//! (ColourGains=1.5:2.0), and a rectangle is X:Y:WIDTH:HEIGHT. Controls that a camera does not have are refused here,
//! because libcamera itself ignores them silently.
//!
//! `Orientation` is one of the names although it is not a control of libcamera but a part of its configuration: the
//! source `v4l2` rotates pictures with a control, and so does this one.

use libcamera::camera::{Camera, Orientation};
use libcamera::control_value::ControlValue;
use libcamera::controls::ControlId;
use libcamera::geometry::{Rectangle, Size};

use crate::capture::assignment::Assignment;
use crate::capture::control_facts::ControlFacts;
use crate::error::{Error, Result};

/// The possible orientations of pictures, with the names from libcamera's enumeration.
pub(super) const ORIENTATIONS: [(Orientation, &str); 8] = [
    (Orientation::Rotate0, "Rotate0"),
    (Orientation::Rotate0Mirror, "Rotate0Mirror"),
    (Orientation::Rotate180, "Rotate180"),
    (Orientation::Rotate180Mirror, "Rotate180Mirror"),
    (Orientation::Rotate90Mirror, "Rotate90Mirror"),
    (Orientation::Rotate270, "Rotate270"),
    (Orientation::Rotate270Mirror, "Rotate270Mirror"),
    (Orientation::Rotate90, "Rotate90"),
];

/// A control of a camera.
#[derive(Clone, Debug)]
pub struct LibcameraControl {
    id: u32,
    /// libcamera's name.
    pub name: String,
    /// `bool`, `integer`, `float`, `menu`, `rectangle`, `size`, `other`.
    pub kind: &'static str,
    minimum: ControlValue,
    maximum: ControlValue,
    default: ControlValue,
    array: bool,
    /// The items of a menu, by number.
    pub items: Vec<(i32, String)>,
}

impl LibcameraControl {
    /// The minimum, the maximum and the default, as numbers; `None` for those that are not a single number.
    pub fn numbers(&self) -> [Option<f64>; 3] {
        [&self.minimum, &self.maximum, &self.default].map(|value| match elements(value)[..] {
            [one] => Some(one),
            _ => None,
        })
    }

    /// What is told about it. libcamera tells neither steps nor present values.
    pub fn facts(&self) -> ControlFacts {
        ControlFacts {
            name: self.name.clone(),
            kind: self.kind,
            numbers: self.numbers(),
            items: self.items.clone(),
            ..ControlFacts::default()
        }
    }

    /// The values that it can be set to, for people.
    pub fn range(&self) -> String {
        if !self.items.is_empty() {
            let items = self.items.iter().map(|(at, item)| format!("{at} ({item})"));
            return items.collect::<Vec<_>>().join(", ");
        }
        let several = if self.array {
            ", several with a colon between"
        } else {
            ""
        };
        match self.kind {
            "bool" => format!("false or true{several}"),
            "rectangle" => format!("X:Y:WIDTH:HEIGHT, up to {}", text(&self.maximum)),
            _ => format!(
                "{} to {}{several}",
                text(&self.minimum),
                text(&self.maximum)
            ),
        }
    }

    /// The default value, for people.
    pub fn default(&self) -> String {
        text(&self.default)
    }

    /// The value that a text stands for.
    fn value(&self, given: &str) -> Result<ControlValue, String> {
        let wrong = || format!(": {} is {}, not '{given}'", self.name, self.range());
        if let Some((number, _)) = self
            .items
            .iter()
            .find(|(number, item)| plain(item) == plain(given) || given.parse() == Ok(*number))
        {
            return Ok((*number).into());
        }
        if !self.items.is_empty() {
            return Err(wrong());
        }
        let parts: Vec<&str> = given.split(':').map(str::trim).collect();
        if parts.len() > 1 && !self.array && self.kind != "rectangle" && self.kind != "size" {
            return Err(wrong());
        }
        parsed(&self.default, &self.minimum, &parts)
            .filter(|value| self.holds(value))
            .ok_or_else(wrong)
    }

    /// Whether every number is within the limits, if these are single numbers.
    fn holds(&self, value: &ControlValue) -> bool {
        let [minimum, maximum, _] = self.numbers();
        let above = |number: &f64| minimum.is_none_or(|minimum| *number >= minimum);
        let below = |number: &f64| maximum.is_none_or(|maximum| *number <= maximum);
        elements(value)
            .iter()
            .all(|number| above(number) && below(number))
    }
}

/// The controls of a camera, by name. Those whose names the bindings do not know (from other vendors) are left out.
pub(super) fn of(camera: &Camera<'_>) -> Vec<LibcameraControl> {
    let mut known: Vec<LibcameraControl> = camera
        .controls()
        .into_iter()
        .filter_map(|(id, info)| {
            let about = ControlId::from_id(id)?;
            if !about.is_input() {
                return None;
            }
            let (minimum, maximum) = (info.min(), info.max());
            let allowed: Vec<f64> = info.values().iter().flat_map(elements).collect();
            let mut items: Vec<(i32, String)> = about.enumerators_map().into_iter().collect();
            items.sort();
            let items = shortened(items);
            let within = |(number, _): &(i32, String)| match allowed[..] {
                [] => {
                    let limits = [&minimum, &maximum].map(|limit| elements(limit).first().copied());
                    let [minimum, maximum] = limits;
                    let number = f64::from(*number);
                    minimum.is_none_or(|limit| number >= limit)
                        && maximum.is_none_or(|limit| number <= limit)
                }
                _ => allowed.contains(&f64::from(*number)),
            };
            let items: Vec<_> = items.into_iter().filter(within).collect();
            Some(LibcameraControl {
                id,
                name: about.name(),
                kind: if items.is_empty() {
                    kind(&minimum)
                } else {
                    "menu"
                },
                default: info.def(),
                minimum,
                maximum,
                array: about.is_array(),
                items,
            })
        })
        .collect();
    known.sort_by(|a, b| a.name.cmp(&b.name));
    known
}

/// Separates `orientation` from the other assignments.
pub(super) fn split_orientation(
    assignments: &[Assignment],
) -> Result<(Option<Orientation>, Vec<Assignment>)> {
    let is_orientation = |assignment: &&Assignment| plain(&assignment.name) == "orientation";
    let others = assignments
        .iter()
        .filter(|one| !is_orientation(one))
        .cloned()
        .collect();
    let Some(wanted) = assignments.iter().rfind(is_orientation) else {
        return Ok((None, others));
    };
    let found = ORIENTATIONS
        .iter()
        .find(|(_, name)| plain(name) == plain(&wanted.value));
    let names = ORIENTATIONS.map(|(_, name)| name).join(", ");
    let (orientation, _) = found.ok_or_else(|| {
        Error::Usage(format!(
            "Orientation is one of {names}, not '{}'",
            wanted.value
        ))
    })?;
    Ok((Some(*orientation), others))
}

/// The number and the value that an assignment stands for, or the rest of a sentence that begins with the camera's
/// name.
pub(super) fn value(
    known: &[LibcameraControl],
    assignment: &Assignment,
) -> Result<(u32, ControlValue), String> {
    let wanted = plain(&assignment.name);
    let Some(control) = known.iter().find(|control| plain(&control.name) == wanted) else {
        let names: Vec<&str> = known.iter().map(|control| control.name.as_str()).collect();
        return Err(match names[..] {
            [] => format!(
                " has no control {}: it has none but Orientation",
                assignment.name
            ),
            _ => format!(
                " has no control {}; it has {}, Orientation",
                assignment.name,
                names.join(", ")
            ),
        });
    };
    Ok((control.id, control.value(&assignment.value)?))
}

/// The shortest and the longest frame duration in microseconds, if the camera has a control for it.
pub(super) fn frame_durations(known: &[LibcameraControl]) -> Option<(i64, i64)> {
    let limits = known
        .iter()
        .find(|control| control.id == ControlId::FrameDurationLimits.id())?;
    let first = |value: &ControlValue| elements(value).first().map(|micros| *micros as i64);
    let (shortest, longest) = (first(&limits.minimum)?, first(&limits.maximum)?);
    (0 < shortest && shortest <= longest).then_some((shortest, longest))
}

/// A name reduced to what distinguishes it from others.
pub(super) fn plain(name: &str) -> String {
    let kept = name.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

/// Turns `AfModeManual`, `AfModeAuto` into `Manual`, `Auto`: the words that all of them begin with are left out.
fn shortened(items: Vec<(i32, String)>) -> Vec<(i32, String)> {
    let Some((_, first)) = items.first().filter(|_| items.len() > 1) else {
        return items;
    };
    let shared = |at: &usize| {
        items
            .iter()
            .all(|(_, item)| item.get(..*at) == first.get(..*at))
    };
    let is_word = |at: &usize| {
        items
            .iter()
            .all(|(_, item)| item[*at..].starts_with(|c: char| c.is_ascii_uppercase()))
    };
    let cut = (0..first.len())
        .rev()
        .filter(shared)
        .find(is_word)
        .unwrap_or(0);
    items
        .iter()
        .map(|(at, item)| (*at, item[cut..].to_owned()))
        .collect()
}

fn kind(value: &ControlValue) -> &'static str {
    match value {
        ControlValue::Bool(_) => "bool",
        ControlValue::Float(_) => "float",
        ControlValue::Rectangle(_) => "rectangle",
        ControlValue::Size(_) => "size",
        ControlValue::None | ControlValue::String(_) | ControlValue::Point(_) => "other",
        _ => "integer",
    }
}

/// The numbers in a value; none if it does not consist of numbers.
fn elements(value: &ControlValue) -> Vec<f64> {
    match value {
        ControlValue::Bool(v) => v.iter().map(|&v| f64::from(u8::from(v))).collect(),
        ControlValue::Byte(v) => v.iter().map(|&v| v.into()).collect(),
        ControlValue::Uint16(v) => v.iter().map(|&v| v.into()).collect(),
        ControlValue::Uint32(v) => v.iter().map(|&v| v.into()).collect(),
        ControlValue::Int32(v) => v.iter().map(|&v| v.into()).collect(),
        // The precision that is lost beyond 2^53 does not matter in a range.
        ControlValue::Int64(v) => v.iter().map(|&v| v as f64).collect(),
        ControlValue::Float(v) => v.iter().map(|&v| v.into()).collect(),
        _ => Vec::new(),
    }
}

fn text(value: &ControlValue) -> String {
    let texts: Vec<String> = match value {
        ControlValue::Bool(v) => v.iter().map(bool::to_string).collect(),
        // Converted by way of f64, 0.1 would become 0.10000000149011612.
        ControlValue::Float(v) => v.iter().map(f32::to_string).collect(),
        ControlValue::Rectangle(v) => v
            .iter()
            .map(
                |Rectangle {
                     x,
                     y,
                     width,
                     height,
                 }| format!("{x}:{y}:{width}:{height}"),
            )
            .collect(),
        ControlValue::Size(v) => v
            .iter()
            .map(|Size { width, height }| format!("{width}:{height}"))
            .collect(),
        other => elements(other).iter().map(f64::to_string).collect(),
    };
    match texts[..] {
        [] => "not told".into(),
        _ => texts.join(":"),
    }
}

/// Parses a value to the type of the control's own values.
fn parsed(default: &ControlValue, minimum: &ControlValue, parts: &[&str]) -> Option<ControlValue> {
    fn all<T: std::str::FromStr>(parts: &[&str]) -> Option<Vec<T>> {
        parts.iter().map(|part| part.parse().ok()).collect()
    }
    let typed = if matches!(default, ControlValue::None) {
        minimum
    } else {
        default
    };
    Some(match typed {
        ControlValue::Bool(_) => parts
            .iter()
            .map(|part| switch(part))
            .collect::<Option<Vec<bool>>>()?
            .into(),
        ControlValue::Byte(_) => all::<u8>(parts)?.into(),
        ControlValue::Uint16(_) => all::<u16>(parts)?.into(),
        ControlValue::Uint32(_) => all::<u32>(parts)?.into(),
        ControlValue::Int32(_) => all::<i32>(parts)?.into(),
        ControlValue::Int64(_) => all::<i64>(parts)?.into(),
        ControlValue::Float(_) => {
            let numbers = all::<f32>(parts)?;
            numbers
                .iter()
                .all(|number| number.is_finite())
                .then_some(numbers)?
                .into()
        }
        ControlValue::Rectangle(_) => {
            let [x, y, width, height] = all::<u32>(parts)?.try_into().ok()?;
            let (x, y) = (i32::try_from(x).ok()?, i32::try_from(y).ok()?);
            Rectangle {
                x,
                y,
                width,
                height,
            }
            .into()
        }
        ControlValue::Size(_) => {
            let [width, height] = all::<u32>(parts)?.try_into().ok()?;
            Size { width, height }.into()
        }
        _ => return None,
    })
}

fn switch(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Some(true),
        "0" | "false" | "off" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

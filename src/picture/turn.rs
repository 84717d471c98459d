//! Turned and mirrored pictures, for cameras that hang upside down or on their side.
//!
//! | pictures | how |
//! | --- | --- |
//! | raw | the planes are turned before they are encoded (`planes`) |
//! | MJPEG | what is coded is put in another order, without loss ([`lossless`]) |
//!
//! Cameras that can do it themselves are asked first, because it costs nothing there; that is up to their sources.
//!
//! All turns are one of eight: as it is, or transposed (mirrored at the diagonal from the top left), and then mirrored in
//! one direction, in the other, or in both.

pub(crate) mod brightness;
pub mod entropy;
mod geometry;
mod head;
pub mod lossless;
pub(crate) mod planes;

use std::fmt;
use std::str::FromStr;

use super::jpeg::Size;

/// What happens to a picture. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transform {
    /// Whether rows become columns; this comes first.
    pub transposed: bool,
    /// Whether left and right are exchanged.
    pub horizontal: bool,
    /// Whether top and bottom are exchanged.
    pub vertical: bool,
}

impl Transform {
    /// All eight.
    pub const ALL: [Transform; 8] = {
        let mut all = [Transform::of(false, false, false); 8];
        let mut n = 0;
        while n < 8 {
            all[n] = Transform::of(n & 4 != 0, n & 1 != 0, n & 2 != 0);
            n += 1;
        }
        all
    };

    const fn of(transposed: bool, horizontal: bool, vertical: bool) -> Self {
        Transform {
            transposed,
            horizontal,
            vertical,
        }
    }

    /// The picture is rotated first, and then flipped.
    pub fn new(rotation: Option<Rotation>, flip: Option<Flip>) -> Self {
        let rotated = rotation.map_or(Transform::default(), Rotation::turn);
        rotated.then(flip.map_or(Transform::default(), Flip::turn))
    }

    /// What Exif's orientation asks a viewer to do, from 1 to 8 (JEITA CP-3451, tag 0x0112).
    pub fn of_orientation(orientation: u8) -> Self {
        match orientation {
            2 => Transform::of(false, true, false),
            3 => Transform::of(false, true, true),
            4 => Transform::of(false, false, true),
            5 => Transform::of(true, false, false),
            6 => Transform::of(true, true, false),
            7 => Transform::of(true, true, true),
            8 => Transform::of(true, false, true),
            _ => Transform::default(),
        }
    }

    /// This one, and then the other.
    #[must_use]
    pub fn then(self, other: Transform) -> Transform {
        let (horizontal, vertical) = match other.transposed {
            true => (self.vertical, self.horizontal),
            false => (self.horizontal, self.vertical),
        };
        Transform {
            transposed: self.transposed ^ other.transposed,
            horizontal: horizontal ^ other.horizontal,
            vertical: vertical ^ other.vertical,
        }
    }

    /// Whether nothing happens.
    pub fn is_none(self) -> bool {
        self == Transform::default()
    }

    /// The size of a picture of this size, turned.
    #[must_use]
    pub fn size(self, size: Size) -> Size {
        match self.transposed {
            true => Size {
                width: size.height,
                height: size.width,
            },
            false => size,
        }
    }
}

/// For people, and as part of a sentence: `rotated by 90 degrees`.
impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.transposed, self.horizontal, self.vertical) {
            (false, false, false) => "not turned",
            (false, true, false) => "flipped horizontally",
            (false, false, true) => "flipped vertically",
            (false, true, true) => "rotated by 180 degrees",
            (true, true, false) => "rotated by 90 degrees",
            (true, false, true) => "rotated by 270 degrees",
            (true, false, false) => "rotated by 90 degrees and flipped horizontally",
            (true, true, true) => "rotated by 90 degrees and flipped vertically",
        })
    }
}

/// A rotation, clockwise and in degrees, as `--rotate` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation(u16);

impl Rotation {
    fn turn(self) -> Transform {
        match self.0 {
            90 => Transform::of(true, true, false),
            180 => Transform::of(false, true, true),
            270 => Transform::of(true, false, true),
            _ => Transform::default(),
        }
    }
}

impl FromStr for Rotation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(degrees @ (0 | 90 | 180 | 270)) => Ok(Rotation(degrees)),
            _ => Err("a rotation is 90, 180 or 270 degrees clockwise, or 0".into()),
        }
    }
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What `--flip` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// Left and right are exchanged, as in a mirror.
    Horizontal,
    /// Top and bottom are exchanged.
    Vertical,
}

impl Flip {
    fn turn(self) -> Transform {
        Transform::of(false, self == Flip::Horizontal, self == Flip::Vertical)
    }
}

impl FromStr for Flip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "horizontal" => Ok(Flip::Horizontal),
            "vertical" => Ok(Flip::Vertical),
            _ => Err("a picture is flipped horizontal or vertical; both is --rotate 180".into()),
        }
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flip::Horizontal => "horizontal",
            Flip::Vertical => "vertical",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a turn moves the corners of a picture, clockwise from the top left.
    fn corners(turn: Transform) -> [u8; 4] {
        let mut at = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(x, y)| {
            let (x, y) = if turn.transposed { (y, x) } else { (x, y) };
            (x ^ u8::from(turn.horizontal), y ^ u8::from(turn.vertical))
        });
        let names = [0, 1, 2, 3];
        let mut named: Vec<_> = at.iter_mut().zip(names).collect();
        named.sort_by_key(|(at, _)| match **at {
            (0, 0) => 0,
            (1, 0) => 1,
            (1, 1) => 2,
            _ => 3,
        });
        [0, 1, 2, 3].map(|n| named[n].1)
    }

    #[test]
    fn a_rotation_is_clockwise() {
        let rotated = |degrees: &str| corners(Transform::new(degrees.parse().ok(), None));
        assert_eq!(rotated("0"), [0, 1, 2, 3]);
        assert_eq!(rotated("90"), [3, 0, 1, 2]);
        assert_eq!(rotated("180"), [2, 3, 0, 1]);
        assert_eq!(rotated("270"), [1, 2, 3, 0]);
        let flipped = |way: &str| corners(Transform::new(None, way.parse().ok()));
        assert_eq!(flipped("horizontal"), [1, 0, 3, 2]);
        assert_eq!(flipped("vertical"), [3, 2, 1, 0]);
    }

    #[test]
    fn turns_follow_one_another() {
        let quarter = Transform::new("90".parse().ok(), None);
        let half = quarter.then(quarter);
        assert_eq!(half, Transform::new("180".parse().ok(), None));
        assert_eq!(half.then(quarter), Transform::new("270".parse().ok(), None));
        assert!(half.then(half).is_none());
        let both = Transform::new("90".parse().ok(), Some(Flip::Horizontal));
        assert_eq!(both, Transform::of(true, false, false));
        let moved = |order: [u8; 4], turn| corners(turn).map(|n| order[usize::from(n)]);
        for first in Transform::ALL {
            for second in Transform::ALL {
                let one_by_one = moved(corners(first), second);
                assert_eq!(corners(first.then(second)), one_by_one);
            }
        }
    }

    #[test]
    fn an_orientation_says_what_a_viewer_has_to_do() {
        assert!(Transform::of_orientation(1).is_none());
        let quarter = Transform::new("90".parse().ok(), None);
        assert_eq!(Transform::of_orientation(6), quarter);
        assert!(quarter.then(Transform::of_orientation(8)).is_none());
        let mut all: Vec<_> = (1..=8)
            .map(|n| corners(Transform::of_orientation(n)))
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn what_is_no_turn_is_refused_with_those_there_are() {
        for bad in ["45", "-90", "360", "", "left"] {
            let told = bad.parse::<Rotation>().unwrap_err();
            assert!(told.contains("90, 180 or 270"), "{told}");
        }
        assert!("both".parse::<Flip>().unwrap_err().contains("--rotate 180"));
        for text in ["90", "180", "270"] {
            assert_eq!(text.parse::<Rotation>().unwrap().to_string(), text);
        }
    }
}

//! What is told about a control of a camera, whichever interface it is from: in `lazycam list --json`, and to those who
//! may set it while the camera runs. Both have the same form.

use crate::json::{list, object, plain, quoted};

/// A control.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlFacts {
    /// Its name.
    pub name: String,
    /// `integer`, `boolean`, `menu` and others.
    pub kind: &'static str,
    /// Minimum, maximum and default, as far as there are numbers.
    pub numbers: [Option<f64>; 3],
    /// The distance between two values.
    pub step: Option<i32>,
    /// The present value.
    pub value: Option<f64>,
    /// Whether it cannot be set.
    pub read_only: bool,
    /// Whether it has no effect now, because of another control.
    pub inactive: bool,
    /// The items of a menu by number.
    pub items: Vec<(i32, String)>,
}

impl ControlFacts {
    /// All of it.
    pub fn json(&self) -> String {
        let [minimum, maximum, default] = self.numbers.map(plain);
        let item = |(index, name): &(i32, String)| {
            object([("index", index.to_string()), ("name", quoted(name))])
        };
        object([
            ("name", quoted(&self.name)),
            ("kind", quoted(self.kind)),
            ("minimum", minimum),
            ("maximum", maximum),
            ("step", plain(self.step)),
            ("default", default),
            ("value", plain(self.value)),
            ("read_only", self.read_only.to_string()),
            ("inactive", self.inactive.to_string()),
            ("items", list(&self.items, item)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_has_the_same_members_whatever_is_known_of_it() {
        let control = ControlFacts {
            name: "AfMode".into(),
            kind: "menu",
            numbers: [Some(0.0), Some(1.5), None],
            value: Some(-2.0),
            inactive: true,
            items: vec![(0, "Manual \"x\"".to_owned())],
            ..ControlFacts::default()
        };
        assert_eq!(
            control.json(),
            r#"{"name":"AfMode","kind":"menu","minimum":0,"maximum":1.5,"step":null,"default":null,"value":-2,"read_only":false,"inactive":true,"items":[{"index":0,"name":"Manual \"x\""}]}"#
        );
    }
}

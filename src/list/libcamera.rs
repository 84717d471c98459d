//! libcamera's cameras, as part of the list.

use super::{
    CameraFormat, CameraSize, ControlFacts, ListedCamera, ListedControl, control_json, items,
};
use crate::capture::libcamera::{LibcameraControl, Listed, ListedFormat};
use crate::picture::format::Sizes;

impl ListedCamera {
    pub(super) fn of_libcamera(listed: &Listed) -> Self {
        let Listed {
            id,
            model,
            formats,
            controls,
            orientations,
        } = listed;
        let controls = controls.iter().map(control);
        ListedCamera {
            source: format!("libcamera:{id}"),
            device: id.clone(),
            card: model.clone(),
            driver: "libcamera".into(),
            bus: id.clone(),
            formats: formats.iter().map(format).collect(),
            controls: controls.chain([orientation(orientations)]).collect(),
        }
    }
}

fn format(listed: &ListedFormat) -> CameraFormat {
    let (sizes, range) = match &listed.sizes {
        Sizes::Discrete(sizes) => (sizes.clone(), None),
        Sizes::Stepwise(range) => (Vec::new(), Some(*range)),
    };
    // Rates are not known before the camera is configured; the control FrameDurationLimits has the present ones.
    let size = |(width, height)| CameraSize {
        width,
        height,
        fps: Vec::new(),
    };
    CameraFormat {
        name: listed.name.clone(),
        readable: listed.readable,
        sizes: sizes.into_iter().map(size).collect(),
        range,
    }
}

fn control(control: &LibcameraControl) -> ListedControl {
    let (name, range) = (&control.name, control.range());
    ListedControl {
        text: format!("{name}={range}, default {}", control.default()),
        json: control_json(ControlFacts {
            numbers: control.numbers(),
            ..settable(name, control.kind, items(control.items.iter().cloned()))
        }),
    }
}

fn orientation(names: &str) -> ListedControl {
    let names: Vec<&str> = names.split(", ").collect();
    let numbered = names.iter().map(|&name| name.to_owned()).enumerate();
    ListedControl {
        text: format!("Orientation={}, default Rotate0", names.join(", ")),
        json: control_json(settable("Orientation", "menu", items(numbered))),
    }
}

/// A control of which no more is known: libcamera tells neither steps nor present values.
fn settable<'a>(name: &'a str, kind: &'a str, items: String) -> ControlFacts<'a> {
    ControlFacts {
        name,
        kind,
        numbers: [None; 3],
        step: None,
        value: None,
        read_only: false,
        inactive: false,
        items,
    }
}

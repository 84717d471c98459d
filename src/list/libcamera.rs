//! libcamera's cameras, as part of the list.

use super::{CameraFormat, CameraSize, ListedCamera, ListedControl};
use crate::capture::control_facts::ControlFacts;
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
            standards: Vec::new(),
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
        json: control.facts().json(),
    }
}

fn orientation(names: &str) -> ListedControl {
    let names: Vec<&str> = names.split(", ").collect();
    let numbered = names.iter().map(|&name| name.to_owned());
    let facts = ControlFacts {
        name: "Orientation".into(),
        kind: "menu",
        items: (0..).zip(numbered).collect(),
        ..ControlFacts::default()
    };
    ListedControl {
        text: format!("Orientation={}, default Rotate0", names.join(", ")),
        json: facts.json(),
    }
}

//! libcamera's cameras, as part of the list.

use super::{Camera, Format, ListedControl, Size, list, quoted};
use crate::capture::libcamera::{Control, Listed, ListedFormat};
use crate::picture::format::Sizes;

impl Camera {
    pub(super) fn of_libcamera(listed: &Listed) -> Self {
        let Listed {
            id,
            model,
            formats,
            controls,
            orientations,
        } = listed;
        let controls = controls.iter().map(control);
        Camera {
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

fn format(listed: &ListedFormat) -> Format {
    let (sizes, range) = match &listed.sizes {
        Sizes::Discrete(sizes) => (sizes.clone(), None),
        Sizes::Stepwise(range) => (Vec::new(), Some(*range)),
    };
    // Rates are not known before the camera is configured; the control FrameDurationLimits has the present ones.
    let size = |(width, height)| Size {
        width,
        height,
        fps: Vec::new(),
    };
    Format {
        name: listed.name.clone(),
        readable: listed.readable,
        sizes: sizes.into_iter().map(size).collect(),
        range,
    }
}

fn control(control: &Control) -> ListedControl {
    let (name, range) = (&control.name, control.range());
    let [minimum, maximum, default] = control.numbers().map(|number| match number {
        Some(number) => number.to_string(),
        None => "null".into(),
    });
    let items = list(&control.items, |(index, item)| {
        format!(r#"{{"index":{index},"name":{}}}"#, quoted(item))
    });
    ListedControl {
        text: format!("{name}={range}, default {}", control.default()),
        json: json(name, control.kind, [&minimum, &maximum, &default], &items),
    }
}

fn orientation(names: &str) -> ListedControl {
    let names: Vec<&str> = names.split(", ").collect();
    let items: Vec<_> = names.iter().enumerate().collect();
    let items = list(&items, |(index, name)| {
        format!(r#"{{"index":{index},"name":{}}}"#, quoted(name))
    });
    ListedControl {
        text: format!("Orientation={}, default Rotate0", names.join(", ")),
        json: json("Orientation", "menu", ["null"; 3], &items),
    }
}

/// Has the same members as for V4L2's controls.
fn json(name: &str, kind: &str, [minimum, maximum, default]: [&str; 3], items: &str) -> String {
    format!(
        r#"{{"name":{},"kind":"{kind}","minimum":{minimum},"maximum":{maximum},"step":null,"default":{default},"value":null,"read_only":false,"inactive":false,"items":{items}}}"#,
        quoted(name)
    )
}

use super::*;

fn control(
    name: &str,
    limits: [ControlValue; 3],
    array: bool,
    items: &[(i32, &str)],
) -> LibcameraControl {
    let [minimum, maximum, default] = limits;
    LibcameraControl {
        id: 7,
        name: name.into(),
        kind: kind(&minimum),
        minimum,
        maximum,
        default,
        array,
        items: items
            .iter()
            .map(|(at, item)| (*at, (*item).to_owned()))
            .collect(),
    }
}

fn brightness() -> LibcameraControl {
    control(
        "Brightness",
        [(-1.0_f32).into(), 1.0_f32.into(), 0.1_f32.into()],
        false,
        &[],
    )
}

fn af_mode() -> LibcameraControl {
    let items = [(0, "Manual"), (1, "Auto"), (2, "Continuous")];
    control("AfMode", [0.into(), 2.into(), 0.into()], false, &items)
}

fn set(control: LibcameraControl, assignment: &str) -> Result<ControlValue, String> {
    value(&[control], &assignment.parse().unwrap()).map(|(_, value)| value)
}

#[test]
fn values_have_the_type_of_their_control() {
    assert_eq!(text(&set(brightness(), "brightness=-0.5").unwrap()), "-0.5");
    let exposure = control(
        "ExposureTime",
        [1.into(), 66666.into(), 0.into()],
        false,
        &[],
    );
    assert!(
        matches!(set(exposure, "exposure_time=10000"), Ok(ControlValue::Int32(v)) if v[..] == [10000])
    );
    let ae = control(
        "AeEnable",
        [false.into(), true.into(), true.into()],
        false,
        &[],
    );
    assert!(matches!(set(ae, "AeEnable=off"), Ok(ControlValue::Bool(v)) if v[..] == [false]));
    let gains = control(
        "ColourGains",
        [0.0_f32.into(), 32.0_f32.into(), ControlValue::None],
        true,
        &[],
    );
    assert!(
        matches!(set(gains, "ColourGains=1.5:2"), Ok(ControlValue::Float(v)) if v[..] == [1.5, 2.0])
    );
}

#[test]
fn items_are_taken_by_name_or_by_number() {
    for text in ["AfMode=Continuous", "afmode=continuous", "af_mode=2"] {
        assert!(
            matches!(set(af_mode(), text), Ok(ControlValue::Int32(v)) if v[..] == [2]),
            "{text}"
        );
    }
    let told = set(af_mode(), "AfMode=3").unwrap_err();
    assert_eq!(
        told,
        ": AfMode is 0 (Manual), 1 (Auto), 2 (Continuous), not '3'"
    );
}

#[test]
fn what_is_out_of_range_or_of_another_type_is_refused_with_the_range() {
    for value in ["1.5", "NaN", "0:0", "much", ""] {
        let assignment = Assignment {
            name: "brightness".into(),
            value: value.into(),
        };
        let told = super::value(&[brightness()], &assignment).unwrap_err();
        assert_eq!(told, format!(": Brightness is -1 to 1, not '{value}'"));
    }
}

#[test]
fn an_unknown_control_is_told_with_those_there_are() {
    let told = set(af_mode(), "Sharpness=1").unwrap_err();
    assert_eq!(
        told,
        " has no control sharpness; it has AfMode, Orientation"
    );
}

#[test]
fn a_rectangle_is_four_numbers() {
    let rectangle = |width, height| {
        Rectangle {
            x: 0,
            y: 0,
            width,
            height,
        }
        .into()
    };
    let crop = || {
        control(
            "ScalerCrop",
            [
                rectangle(64, 64),
                rectangle(3280, 2464),
                rectangle(3280, 2464),
            ],
            false,
            &[],
        )
    };
    assert_eq!(
        text(&set(crop(), "ScalerCrop=100:50:640:480").unwrap()),
        "100:50:640:480"
    );
    assert!(set(crop(), "ScalerCrop=100:50:640").is_err());
}

#[test]
fn what_all_items_begin_with_is_left_out() {
    let items = |names: &[&str]| (0..).zip(names.iter().map(|&name| name.into())).collect();
    let short = |names: &[&str]| -> Vec<String> {
        shortened(items(names))
            .into_iter()
            .map(|(_, item)| item)
            .collect()
    };
    assert_eq!(short(&["AfModeManual", "AfModeAuto"]), ["Manual", "Auto"]);
    assert_eq!(short(&["AwbAuto", "AwbAll"]), ["Auto", "All"]);
    assert_eq!(short(&["MeteringSpot"]), ["MeteringSpot"]);
    assert_eq!(short(&["Off", "On"]), ["Off", "On"]);
}

#[test]
fn the_orientation_is_no_control_of_libcamera() {
    let assignments = [
        "Orientation=rotate180".parse().unwrap(),
        "AfMode=1".parse().unwrap(),
    ];
    let (orientation, others) = split_orientation(&assignments).unwrap();
    assert_eq!(orientation, Some(Orientation::Rotate180));
    assert_eq!(others, assignments[1..]);
    assert!(split_orientation(&["orientation=upside_down".parse().unwrap()]).is_err());
}

#[test]
fn limits_of_the_rate_are_those_of_the_frame_duration() {
    let mut limits = control(
        "FrameDurationLimits",
        [33333_i64.into(), 1_000_000_i64.into(), ControlValue::None],
        true,
        &[],
    );
    assert_eq!(frame_durations(&[limits.clone()]), None);
    limits.id = ControlId::FrameDurationLimits.id();
    assert_eq!(frame_durations(&[limits]), Some((33333, 1_000_000)));
}

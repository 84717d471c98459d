//! The controls of the test picture: one of each kind that cameras mostly have, so that setting them can be tried, and
//! tested, without a camera.

use super::card::Appearance;
use crate::capture::assignment::{Assignment, normalised};
use crate::capture::control_facts::ControlFacts;

/// The brightest lane on which the bar can still be seen.
const BRIGHTEST: u8 = 200;

/// The items of `sweep`.
const SWEEPS: [&str; 2] = ["moving", "standing"];

/// Changes how the picture looks, or says why not.
pub(super) fn set(look: &mut Appearance, wanted: &Assignment) -> Result<(), String> {
    let (name, value) = (wanted.name.as_str(), wanted.value.as_str());
    let number = value.parse::<u8>().ok();
    match name {
        "lane_brightness" => {
            let brightness = number.filter(|number| *number <= BRIGHTEST);
            look.lane = brightness.ok_or_else(|| wrong(name, "0 to 200", value))?;
        }
        "clock" => {
            look.clock = match value {
                "1" | "true" | "on" => true,
                "0" | "false" | "off" => false,
                _ => return Err(wrong(name, "0 or 1", value)),
            };
        }
        "sweep" => {
            let wanted = normalised(value);
            let named = SWEEPS.iter().position(|item| *item == wanted);
            let index = named.or(number.map(usize::from).filter(|at| *at < SWEEPS.len()));
            let index = index.ok_or_else(|| wrong(name, "0 (moving), 1 (standing)", value))?;
            look.sweeps = index == 0;
        }
        _ => {
            return Err(format!(
                "the pattern has no control {name}; it has lane_brightness, clock, sweep"
            ));
        }
    }
    Ok(())
}

fn wrong(name: &str, range: &str, value: &str) -> String {
    format!("{name} is {range}, not '{value}'")
}

/// What is told about them.
pub(super) fn facts(look: Appearance) -> Vec<ControlFacts> {
    let facts = |name: &str, kind, (maximum, default, value): (u8, u8, u8)| ControlFacts {
        name: name.into(),
        kind,
        numbers: [0, maximum, default].map(|number| Some(number.into())),
        step: Some(1),
        value: Some(value.into()),
        ..ControlFacts::default()
    };
    let plain = Appearance::default();
    let items = (0..).zip(SWEEPS.map(str::to_owned)).collect();
    let lane = (BRIGHTEST, plain.lane, look.lane);
    vec![
        facts("lane_brightness", "integer", lane),
        facts("clock", "boolean", (1, 1, look.clock.into())),
        ControlFacts {
            items,
            ..facts("sweep", "menu", (1, 0, (!look.sweeps).into()))
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_told_and_what_is_wrong_is_refused() {
        let mut look = Appearance::default();
        let mut set_to = |wish: &str| set(&mut look, &wish.parse().unwrap());
        for wish in ["lane_brightness=200", "clock=off", "sweep=Standing"] {
            assert_eq!(set_to(wish), Ok(()), "{wish}");
        }
        for (wish, why) in [
            (
                "lane_brightness=201",
                "lane_brightness is 0 to 200, not '201'",
            ),
            ("clock=2", "clock is 0 or 1, not '2'"),
            ("sweep=2", "sweep is 0 (moving), 1 (standing), not '2'"),
            (
                "zoom=1",
                "the pattern has no control zoom; it has lane_brightness, clock, sweep",
            ),
        ] {
            assert_eq!(set_to(wish), Err(why.to_owned()), "{wish}");
        }
        let values: Vec<_> = facts(look).iter().map(|one| one.value).collect();
        assert_eq!(values, [Some(200.0), Some(0.0), Some(1.0)]);
        assert_eq!(set(&mut look, &"sweep=0".parse().unwrap()), Ok(()));
        assert!(look.sweeps && !look.clock);
    }
}

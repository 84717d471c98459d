//! JPEG encoders in hardware, as part of the list. `is_best` says whether `--encoder v4l2` without a path takes this one.

use std::fmt::Write as _;

use crate::capture::v4l2::{EncoderFacts, EncoderKind};
use crate::json::{list, object, quoted};

/// The value for `--encoder`.
fn value(facts: &EncoderFacts) -> String {
    EncoderKind::V4l2(Some(facts.path.clone())).to_string()
}

pub(super) fn text(facts: &EncoderFacts, is_best: bool, text: &mut String) {
    let (card, takes) = (&facts.card, &facts.takes);
    let takes: Vec<_> = takes.iter().map(|code| code.to_string()).collect();
    let takes = takes.join(", ");
    let or = if is_best { ", or v4l2 alone" } else { "" };
    let _ = writeln!(
        text,
        "{} ({}, {}), a JPEG encoder\n  --encoder {}{or}\n  {takes} become {}",
        card.card,
        card.driver,
        card.bus,
        value(facts),
        facts.gives
    );
}

pub(super) fn json(facts: &EncoderFacts, is_best: bool) -> String {
    object([
        ("encoder", quoted(&value(facts))),
        ("device", quoted(&facts.path.display().to_string())),
        ("card", quoted(&facts.card.card)),
        ("driver", quoted(&facts.card.driver)),
        ("bus", quoted(&facts.card.bus)),
        (
            "takes",
            list(&facts.takes, |code| quoted(&code.to_string())),
        ),
        ("gives", quoted(&facts.gives.to_string())),
        ("best", is_best.to_string()),
    ])
}

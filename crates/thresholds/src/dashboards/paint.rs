//! Colours and words: bands as threshold steps, states as words, and absence as grey.

use std::collections::BTreeMap;

use super::model::{Mapping, MappingResult, Special, Step, Thresholds};
use crate::{
    catalogue::BANDS,
    judge::State,
    model::{Bound, Op, Signal, Unit},
    plan,
};

/// Words and colours of the states that a value can have.
pub(super) const STATES: [(&str, &str); 3] = [State::Ok.shown(), State::Warn.shown(), State::Crit.shown()];

/// What is drawn where there is nothing. Without it, Grafana gives null and NaN the colour of the first step.
const NO_DATA: (&str, &str) = State::NoData.shown();

/// What is there and judges nothing.
pub(super) const BLUE: &str = "#56B4E9";

/// The text where a query returns no series at all.
pub(super) const NO_VALUE: &str = NO_DATA.0;

pub(super) const GREY: &str = NO_DATA.1;

/// Whether a high red band needs more than the value.
pub(super) fn is_conditional(signal: &Signal) -> bool {
    signal.red_when.is_some()
}

/// The worst state that follows from the value alone: what the steps show.
pub(super) fn state_of(bounds: &BTreeMap<String, Bound>, conditional: bool, value: f64) -> u8 {
    if !conditional {
        return plan::state_of(bounds, value);
    }
    let mut lower = bounds.clone();
    let red = lower.remove("red").is_some_and(|red| red.op.holds(value, red.number()));
    plan::state_of(&lower, value).max(u8::from(red))
}

/// Steps out of bands; none when there are no bands.
///
/// A step begins at its value; where the bound itself still belongs to the band below, the step begins at the
/// next larger number. A red that needs more than the value keeps its step, in amber: only the recorded state
/// shows it.
pub(super) fn steps(bounds: &BTreeMap<String, Bound>, conditional: bool) -> Option<Thresholds> {
    // The state below the lowest bound, and above each.
    let after = |band: &str| match band {
        "low_red" if bounds.contains_key("low_amber") => 1,
        "low_red" | "low_amber" => 0,
        "red" if !conditional => 2,
        _ => 1,
    };
    let mut steps = Vec::new();
    for band in BANDS {
        let Some(bound) = bounds.get(band) else { continue };
        if steps.is_empty() {
            let below = match band {
                "low_red" => 2,
                "low_amber" => 1,
                _ => 0,
            };
            steps.push(Step { color: STATES[below].1, value: None });
        }
        let from = match bound.op {
            Op::AtLeast | Op::Below => bound.number(),
            Op::Above | Op::AtMost => bound.number().next_up(),
        };
        steps.push(Step { color: STATES[after(band)].1, value: Some(from) });
    }
    (!steps.is_empty()).then_some(Thresholds { mode: "absolute", steps })
}

/// Steps of a number that means nothing at 0 and a state above.
pub(super) fn alarm(state: &str) -> Option<Thresholds> {
    let (_, color) = STATES.iter().find(|(word, _)| *word == state)?;
    let steps = vec![Step { color: BLUE, value: None }, Step { color, value: Some(1.0) }];
    Some(Thresholds { mode: "absolute", steps })
}

/// Grey for what is not there: part of every panel.
pub(super) fn absence() -> Mapping {
    let (text, color) = NO_DATA;
    let result = MappingResult { text: text.to_owned(), color: color.to_owned(), index: 0 };
    Mapping::Special(Special { of: "null+nan", result })
}

/// Words and colours of values.
pub(super) fn words<'w>(words: impl IntoIterator<Item = (&'w str, &'w str, &'w str)>) -> Mapping {
    let shown = |(index, (value, text, color)): (usize, (&str, &str, &str))| {
        let shown = MappingResult { text: text.to_owned(), color: color.to_owned(), index: index + 1 };
        (value.to_owned(), shown)
    };
    Mapping::Value(words.into_iter().enumerate().map(shown).collect())
}

/// Words and colours of states.
pub(super) fn state_words() -> Mapping {
    words(["0", "1", "2"].into_iter().zip(STATES).map(|(value, (text, color))| (value, text, color)))
}

/// The bands in words.
pub(super) fn bands(bounds: &BTreeMap<String, Bound>, unit: Unit, conditional: bool) -> String {
    let band = |name: &str| {
        let bound = bounds.get(name)?;
        let word = STATES[if name.ends_with("red") { 2 } else { 1 }].0;
        let more =
            if name == "red" && conditional { " (only with a second condition: see the tile)" } else { "" };
        Some(format!("{word} {} {}{more}", bound.op.text(), unit.show(bound.number())))
    };
    let bands: Vec<_> = ["low_red", "low_amber", "amber", "red"].into_iter().filter_map(band).collect();
    if bands.is_empty() { String::new() } else { format!("{}.", bands.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{STATES, state_of, steps};
    use crate::model::{Bound, Limit, Op};

    #[test]
    fn every_shape_of_bands_is_painted_as_the_rules_see_it() {
        let shapes: [&[(&str, Op, f64)]; 7] = [
            &[("amber", Op::AtLeast, 0.86), ("red", Op::AtLeast, 0.92)],
            &[("amber", Op::AtLeast, 4.0), ("red", Op::Above, 8.0)],
            &[("red", Op::Above, 0.0)],
            &[("low_red", Op::Below, 1.0)],
            &[("low_red", Op::AtMost, 2.0), ("low_amber", Op::AtMost, 10.0)],
            &[("low_amber", Op::Below, 0.6)],
            &[
                ("low_red", Op::Below, 0.1),
                ("low_amber", Op::Below, 0.3),
                ("amber", Op::Above, 0.7),
                ("red", Op::Above, 0.95),
            ],
        ];
        for shape in shapes {
            for conditional in [false, true] {
                let bounds: BTreeMap<_, _> = shape
                    .iter()
                    .map(|(name, op, number)| {
                        ((*name).to_owned(), Bound { op: *op, limit: Limit::Number(*number) })
                    })
                    .collect();
                let steps = steps(&bounds, conditional).unwrap().steps;
                assert!(steps.windows(2).all(|pair| pair[0].value < pair[1].value), "{steps:?}");
                for (_, _, edge) in shape {
                    for value in [edge - 1e-9, edge.next_down(), *edge, edge.next_up(), edge + 1e-9] {
                        // As Grafana does: the last step whose value is not above.
                        let shown = steps
                            .iter()
                            .rfind(|step| step.value.is_none_or(|from| value >= from))
                            .map(|step| step.color);
                        let state = usize::from(state_of(&bounds, conditional, value));
                        assert_eq!(shown, Some(STATES[state].1), "{shape:?} {conditional} at {value}");
                    }
                }
            }
        }
    }
}

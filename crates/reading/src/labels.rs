//! Labels of readings: small, allocation-free in the common case, in a fixed order.

use std::{collections::BTreeMap, sync::Arc};

use naming::Label;

/// The value of one inline label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LabelValue {
    /// A word from a fixed set.
    Word(&'static str),
    /// An index or code, printed in decimal.
    Number(u32),
}

impl From<&'static str> for LabelValue {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<u32> for LabelValue {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

/// A reading's own labels, beyond those of its [`Identity`](crate::Identity).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Labels {
    /// None to three labels of words and numbers.
    Inline {
        /// How many count.
        len: u8,
        /// Their names; those past `len` are filler. Apart from the values, since a snapshot has thousands of labels
        /// and pairs would be a third larger.
        names: [Label; 3],
        /// Their values; those past `len` are filler.
        values: [LabelValue; 3],
    },
    /// Free text, built once per session (info metrics).
    Shared(Arc<[(Label, String)]>),
}

impl Labels {
    /// No labels.
    pub const NONE: Self =
        Self::Inline { len: 0, names: [Label::Action; 3], values: [LabelValue::Word(""); 3] };

    /// One label.
    pub fn one(label: Label, value: impl Into<LabelValue>) -> Self {
        Self::NONE.with(label, value)
    }

    /// This and one more label.
    ///
    /// # Panics
    /// On a fourth inline label or on shared labels: both are programming errors, found by the first test.
    #[must_use]
    pub fn with(mut self, label: Label, value: impl Into<LabelValue>) -> Self {
        let Self::Inline { len, names, values } = &mut self else {
            panic!("labels of an info metric are built whole")
        };
        let place = usize::from(*len);
        (names[place], values[place]) = (label, value.into());
        *len += 1;
        self
    }

    /// These free texts, and those of `newer` whose labels are not among them.
    #[must_use]
    pub fn filled(&self, newer: &Self) -> Self {
        let (Self::Shared(known), Self::Shared(newer)) = (self, newer) else { return self.clone() };
        let is_among = |all: &[(Label, String)], wanted: Label| all.iter().any(|(label, _)| *label == wanted);
        if newer.iter().all(|(label, _)| is_among(known, *label)) {
            return self.clone();
        }
        let known_or_new =
            |fact: &(Label, String)| known.iter().find(|(label, _)| *label == fact.0).unwrap_or(fact).clone();
        let others = known.iter().filter(|(label, _)| !is_among(newer, *label)).cloned();
        Self::Shared(newer.iter().map(known_or_new).chain(others).collect())
    }

    /// The labels, in order.
    pub fn names(&self) -> impl Iterator<Item = Label> {
        let (inline, shared): (&[_], &[_]) = match self {
            Self::Inline { len, names, .. } => (&names[..usize::from(*len)], &[]),
            Self::Shared(all) => (&[], all),
        };
        inline.iter().copied().chain(shared.iter().map(|(label, _)| *label))
    }

    /// The inline labels with their values, in order; none of shared ones.
    pub fn inline(&self) -> impl Iterator<Item = (Label, LabelValue)> {
        let (names, values): (&[_], &[_]) = match self {
            Self::Inline { len, names, values } => {
                (&names[..usize::from(*len)], &values[..usize::from(*len)])
            }
            Self::Shared(_) => (&[], &[]),
        };
        names.iter().copied().zip(values.iter().copied())
    }

    /// Calls `visit` with each label and its value, in order. Not through `Display`: that doubles the time
    /// that a body takes to print.
    pub fn for_each(&self, mut visit: impl FnMut(Label, &str)) {
        match self {
            Self::Inline { .. } => {
                for (label, value) in self.inline() {
                    match value {
                        LabelValue::Word(word) => visit(label, word),
                        LabelValue::Number(number) => visit(label, itoa::Buffer::new().format(number)),
                    }
                }
            }
            Self::Shared(all) => all.iter().for_each(|(label, value)| visit(*label, value)),
        }
    }

    /// The values as text, by the labels' names.
    pub fn texts(&self) -> BTreeMap<&'static str, String> {
        let mut texts = BTreeMap::new();
        self.for_each(|label, value| _ = texts.insert(label.name(), value.to_owned()));
        texts
    }

    /// The value of an inline label, if the reading has it.
    pub fn value(&self, wanted: Label) -> Option<LabelValue> {
        self.inline().find(|(label, _)| *label == wanted).map(|(_, value)| value)
    }

    /// The value of an inline label that is a word, if the reading has it.
    pub fn word(&self, wanted: Label) -> Option<&'static str> {
        match self.value(wanted)? {
            LabelValue::Word(word) => Some(word),
            LabelValue::Number(_) => None,
        }
    }

    /// Whether the reading has the label with this value.
    pub fn has(&self, wanted: Label, text: &str) -> bool {
        let mut is_that = false;
        self.with_value(wanted, |value| is_that = value == text);
        is_that
    }

    /// Calls `visit` with the value of the label, if the reading has it.
    pub fn with_value(&self, wanted: Label, mut visit: impl FnMut(&str)) {
        self.for_each(|label, value| {
            if label == wanted {
                visit(value);
            }
        });
    }
}

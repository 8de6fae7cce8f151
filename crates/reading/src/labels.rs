//! Labels of readings: small, allocation-free in the common case, in a fixed order.

use std::sync::Arc;

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

/// A reading's own labels, beyond those of its [`Identity`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Labels {
    /// None to three labels of words and numbers.
    Inline {
        /// How many of `items` count.
        len: u8,
        /// Name and value; entries past `len` are filler.
        items: [(&'static str, LabelValue); 3],
    },
    /// Free text, built once per session (info metrics).
    Shared(Arc<[(&'static str, String)]>),
}

impl Labels {
    /// No labels.
    pub const NONE: Self = Self::Inline { len: 0, items: [("", LabelValue::Word("")); 3] };

    /// One label.
    pub fn one(name: &'static str, value: impl Into<LabelValue>) -> Self {
        Self::NONE.with(name, value)
    }

    /// This and one more label.
    ///
    /// # Panics
    /// On a fourth inline label or on shared labels: both are programming errors, found by the first test.
    #[must_use]
    pub fn with(self, name: &'static str, value: impl Into<LabelValue>) -> Self {
        match self {
            Self::Inline { len, mut items } => {
                items[usize::from(len)] = (name, value.into());
                Self::Inline { len: len + 1, items }
            }
            Self::Shared(_) => panic!("labels of an info metric are built whole"),
        }
    }

    /// Calls `visit` with each name and value, in order. Not through `Display`: that doubles the time that
    /// a body takes to print.
    pub fn for_each(&self, mut visit: impl FnMut(&'static str, &str)) {
        match self {
            Self::Inline { len, items } => {
                for (name, value) in &items[..usize::from(*len)] {
                    match value {
                        LabelValue::Word(word) => visit(name, word),
                        LabelValue::Number(number) => visit(name, itoa::Buffer::new().format(*number)),
                    }
                }
            }
            Self::Shared(all) => all.iter().for_each(|(name, value)| visit(name, value)),
        }
    }

    /// Calls `visit` with the value of the label called `wanted`, if there is one.
    pub fn with_value(&self, wanted: &str, mut visit: impl FnMut(&str)) {
        self.for_each(|name, value| {
            if name == wanted {
                visit(value);
            }
        });
    }
}

/// Who a group of readings belongs to: the labels that every one of them carries.
///
/// The exporter's own readings have an identity without labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Labels of the unified schema: `family`, `device`, then `uuid` and `partition` where they exist.
    pub unified: Vec<(&'static str, String)>,
    /// Labels of the vendor's vocabulary, in the vendor's order.
    pub vendor: Vec<(&'static str, String)>,
}

//! The axis of vocabularies: what is written once for the unified schema and once for stock dcgm-exporter.

use serde::{Deserialize, Deserializer};

/// Whose metric names an expression reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vocabulary {
    /// The unified schema.
    Unified,
    /// Stock dcgm-exporter.
    Dcgm,
}

/// Something that is written once for each vocabulary: `key.unified = ...` and `key.dcgm = ...`. A plain `key
/// = ...` is the one over unified names.
#[derive(Clone, Debug)]
pub(crate) struct PerVocabulary<T> {
    unified: Option<T>,
    dcgm: Option<T>,
}

impl<T> PerVocabulary<T> {
    pub fn unified(value: T) -> Self {
        Self { unified: Some(value), dcgm: None }
    }

    /// The same in every vocabulary.
    pub fn same(value: T) -> Self
    where
        T: Clone,
    {
        Self { unified: Some(value.clone()), dcgm: Some(value) }
    }

    /// What is written for exactly this vocabulary.
    pub fn get(&self, vocabulary: Vocabulary) -> Option<&T> {
        match vocabulary {
            Vocabulary::Unified => self.unified.as_ref(),
            Vocabulary::Dcgm => self.dcgm.as_ref(),
        }
    }

    /// What is written for this vocabulary, or else for the unified one.
    pub fn or_unified(&self, vocabulary: Vocabulary) -> Option<&T> {
        self.get(vocabulary).or(self.unified.as_ref())
    }

    /// What is written, to change it.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.unified.iter_mut().chain(&mut self.dcgm)
    }

    /// What is written, unified first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.unified.iter().chain(&self.dcgm)
    }
}

impl<T> Default for PerVocabulary<T> {
    fn default() -> Self {
        Self { unified: None, dcgm: None }
    }
}

impl<T> From<T> for PerVocabulary<T> {
    fn from(value: T) -> Self {
        Self::unified(value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for PerVocabulary<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Both<T> {
            unified: Option<T>,
            dcgm: Option<T>,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<T> {
            Both(Both<T>),
            Plain(T),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Both(Both { unified, dcgm }) => Self { unified, dcgm },
            Written::Plain(value) => Self::unified(value),
        })
    }
}

//! A TOML or YAML document that a person wrote, as one tree that knows the line of every node.
//!
//! Whoever reads one takes it apart with [`Node::table`], [`Node::text`] and the others. Each of them returns a
//! [`DocumentError`] that says on which line what is wrong; [`unknown`] names the nearest known words.

#![forbid(unsafe_code)]

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use toml::de::{DeTable, DeValue};

/// A value and the line on which it stands, from 1.
#[derive(Clone, Debug)]
pub struct Node {
    /// The line.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// A value of either format.
#[derive(Clone, Debug)]
pub enum Value {
    /// Keys and values, in order.
    Map(Vec<(Node, Node)>),
    /// A list.
    List(Vec<Node>),
    /// A string, or a date as it is written.
    Text(String),
    /// A number, whole or not.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// An empty YAML value.
    Nothing,
}

/// What is wrong, and on which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to write instead, in one line.
    pub what: String,
}

impl DocumentError {
    /// The error with its file, as one line, even where the file holds control characters.
    pub fn of(self, file: impl fmt::Display) -> String {
        let what: String = self.what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{file}:{}: {what}", self.line)
    }
}

impl Node {
    /// The error that this node is wrong.
    ///
    /// # Errors
    /// Always.
    pub fn error<T>(&self, what: impl fmt::Display) -> Result<T, DocumentError> {
        Err(DocumentError { line: self.line, what: what.to_string() })
    }

    /// The pairs of a table: the key, its node and the value. An empty YAML value is an empty table.
    ///
    /// # Errors
    /// When it is no table, or a key is no text.
    pub fn table(&self, name: &str) -> Result<Vec<(&str, &Self, &Self)>, DocumentError> {
        match &self.value {
            Value::Nothing => Ok(Vec::new()),
            Value::Map(pairs) => pairs
                .iter()
                .map(|(key, value)| match &key.value {
                    Value::Text(text) => Ok((text.as_str(), key, value)),
                    _ => key.error(format!("a key of {name} is no text; quote it")),
                })
                .collect(),
            _ => self.error(format!("{name} is a table of keys and values")),
        }
    }

    /// The items of a list; an empty YAML value has none.
    ///
    /// # Errors
    /// When it is no list.
    pub fn list(&self, name: &str) -> Result<&[Self], DocumentError> {
        match &self.value {
            Value::Nothing => Ok(&[]),
            Value::List(items) => Ok(items),
            _ => self.error(format!("{name} is a list")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// When it is none.
    pub fn text(&self, name: &str) -> Result<&str, DocumentError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => self.error(format!("{name} is a text; put it in quotes")),
        }
    }

    /// A number from 0 to a million millions.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, name: &str) -> Result<f64, DocumentError> {
        match self.value {
            Value::Number(number) if number.is_finite() && (0.0..=1e12).contains(&number) => Ok(number),
            _ => self.error(format!("{name} is a number, zero or more")),
        }
    }

    /// True or false.
    ///
    /// # Errors
    /// When it is neither.
    pub fn flag(&self, name: &str) -> Result<bool, DocumentError> {
        match self.value {
            Value::Flag(flag) => Ok(flag),
            _ => self.error(format!("{name} is true or false")),
        }
    }
}

/// The known words that are most like `name`, the nearest first.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>, count: usize) -> Vec<&'k str> {
    let mut known: Vec<_> = known.map(|word| (strsim::levenshtein(name, word), word)).collect();
    known.sort_unstable();
    known.into_iter().map(|(_, word)| word).take(count).collect()
}

/// The error that a key is unknown in `place`, with the nearest that are known.
///
/// # Errors
/// Always.
pub fn unknown<'k, T>(
    key: &Node,
    name: &str,
    place: &str,
    known: impl Iterator<Item = &'k str>,
) -> Result<T, DocumentError> {
    key.error(format!("`{name}` is unknown in {place}; nearest: {}", nearest(name, known, 4).join(", ")))
}

/// Reads TOML.
///
/// # Errors
/// When it is not TOML.
pub fn toml(text: &str) -> Result<Node, DocumentError> {
    let line = |offset: usize| {
        text.char_indices().take_while(|(at, _)| *at < offset).filter(|(_, c)| *c == '\n').count() + 1
    };
    match DeTable::parse(text) {
        Ok(table) => Ok(Node { line: 1, value: from_table(table.get_ref(), &line) }),
        Err(error) => Err(DocumentError {
            line: error.span().map_or(1, |span| line(span.start)),
            what: error.message().lines().next().unwrap_or("no TOML").to_owned(),
        }),
    }
}

fn from_table(table: &DeTable<'_>, line: &impl Fn(usize) -> usize) -> Value {
    let pair = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let key = Node { line: line(key.span().start), value: Value::Text(name.to_string()) };
        (key, Node { line: line(value.span().start), value: from_value(value.get_ref(), line) })
    };
    Value::Map(table.iter().map(pair).collect())
}

fn from_value(value: &DeValue<'_>, line: &impl Fn(usize) -> usize) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Number(number.to_string().parse().unwrap_or(f64::NAN)),
        DeValue::Float(number) => Value::Number(number.to_string().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(date) => Value::Text(date.to_string()),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Node { line: line(item.span().start), value: from_value(item.get_ref(), line) })
                .collect(),
        ),
        DeValue::Table(table) => from_table(table, line),
    }
}

/// Reads YAML.
///
/// # Errors
/// When it is not YAML.
pub fn yaml(text: &str) -> Result<Node, DocumentError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let whole = error.to_string();
        let first = whole.lines().next().unwrap_or("no YAML");
        // The position is kept apart from the message.
        let what =
            first.split_once(": ").filter(|(head, _)| head.contains("error")).map_or(first, |(_, rest)| rest);
        let what = what
            .split_once(": ")
            .filter(|(head, _)| head.starts_with("line "))
            .map_or(what, |(_, rest)| rest);
        // The rest is advice to programmers.
        let what = what.split(", set DuplicateKeyPolicy").next().unwrap_or(what);
        let line = error.location().map_or(1, |place| usize::try_from(place.line()).unwrap_or(1));
        DocumentError { line: line.max(1), what: what.to_owned() }
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<Value>::deserialize(deserializer)?;
        let line = usize::try_from(spanned.referenced.line()).unwrap_or(1);
        Ok(Self { line, value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, list, text, number or flag")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Value::Map(pairs))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
}

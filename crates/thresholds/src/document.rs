//! A TOML or YAML document as one tree that knows the line of every node.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use toml::de::{DeTable, DeValue};

/// A value and the line on which it stands, from 1.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Map(Vec<(Node, Node)>),
    List(Vec<Node>),
    Text(String),
    Number(f64),
    Flag(bool),
    /// An empty YAML value.
    Nothing,
}

/// What is wrong, and on which line.
#[derive(Clone, Debug)]
pub(crate) struct DocumentError {
    pub line: usize,
    pub what: String,
}

/// Reads TOML.
pub(crate) fn toml(text: &str) -> Result<Node, DocumentError> {
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
pub(crate) fn yaml(text: &str) -> Result<Node, DocumentError> {
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

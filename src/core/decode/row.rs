//! A JSON object as a list of cells in the order of a schema.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::core::event::{RawRow, Rejection, RowSchema};
use crate::core::wire::{Field, WireType};

static NEXT_SCHEMA: AtomicU64 = AtomicU64::new(1);

/// Lists of fields that a decoder remembers. A topic may carry several tables by turns, and each list must keep its number:
/// mappings are made and remembered by it.
const REMEMBERED: usize = 256;

/// The lists of fields that were met, the last one first.
#[derive(Debug, Default)]
pub(super) struct Schemas(Vec<Arc<RowSchema>>);

impl Schemas {
    /// The list that fits, else a new one with a new number.
    pub(super) fn find(
        &mut self,
        fits: impl Fn(&[Field]) -> bool,
        make: impl FnOnce() -> Vec<Field>,
    ) -> Arc<RowSchema> {
        let known = self.0.iter().position(|schema| fits(&schema.fields));
        let schema = match known {
            Some(0) => return Arc::clone(&self.0[0]),
            Some(at) => self.0.remove(at),
            None => new_schema(make()),
        };
        self.0.truncate(REMEMBERED - 1);
        self.0.insert(0, Arc::clone(&schema));
        schema
    }
}

/// Gives a list of fields its number.
fn new_schema(fields: Vec<Field>) -> Arc<RowSchema> {
    Arc::new(RowSchema::new(NEXT_SCHEMA.fetch_add(1, Ordering::Relaxed), fields))
}

/// Reads a row whose fields are known; a field that is missing or not known is an error, because a guess could put a value
/// into the wrong column or lose one.
pub(super) fn with_schema<'a>(
    text: &'a RawValue,
    schema: &Arc<RowSchema>,
    part: &'static str,
) -> Result<RawRow<'a>, Rejection> {
    let cells = read(text, KnownFields { schema }, part)?;
    Ok(RawRow { schema: Arc::clone(schema), cells })
}

/// Reads a row without a schema. `known` are the lists of fields of the rows before it.
pub(super) fn without_schema<'a>(
    text: &'a RawValue,
    known: &mut Schemas,
    part: &'static str,
) -> Result<RawRow<'a>, Rejection> {
    let named = read(text, AnyFields, part)?;
    let fits = |fields: &[Field]| {
        fields.len() == named.len() && fields.iter().zip(&named).all(|(field, (name, _))| field.name == *name)
    };
    let field = |name: &Cow<'_, str>| Field::new(name.as_ref(), WireType::Untyped, true);
    let schema = known.find(fits, || named.iter().map(|(name, _)| field(name)).collect());
    Ok(RawRow { schema, cells: named.into_iter().map(|(_, cell)| cell).collect() })
}

fn read<'a, S: DeserializeSeed<'a>>(text: &'a RawValue, seed: S, part: &'static str) -> Result<S::Value, Rejection> {
    let mut json = serde_json::Deserializer::from_str(text.get());
    let value = seed.deserialize(&mut json);
    // The text of a serde error names positions and fields of ours, and never holds the input.
    value.map_err(|error| Rejection::new("undecodable", format!("`{part}` is not a row: {}", plain(&error))))
}

/// A JSON error without what it quotes of the input.
pub(super) fn plain(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io => "it cannot be read",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "its JSON has another shape than expected",
        serde_json::error::Category::Eof => "it ends too early",
    };
    format!("{kind} (line {}, column {})", error.line(), error.column())
}

struct KnownFields<'s> {
    schema: &'s RowSchema,
}

impl<'de> DeserializeSeed<'de> for KnownFields<'_> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for KnownFields<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the fields of its schema")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let fields = &self.schema.fields;
        let mut cells: Vec<Option<&'de RawValue>> = vec![None; fields.len()];
        let mut guess = 0;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let in_order = fields.get(guess).is_some_and(|field| field.name == name);
            let at = if in_order { Some(guess) } else { self.schema.position(&name) };
            let Some(at) = at else { return Err(A::Error::custom("a field that its schema does not have")) };
            if cells[at].replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("a field that occurs twice"));
            }
            guess = at + 1;
        }
        cells
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| A::Error::custom("a field of the schema is missing"))
    }
}

struct AnyFields;

impl<'de> DeserializeSeed<'de> for AnyFields {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AnyFields {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut named: Self::Value = Vec::new();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            if named.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a field that occurs twice"));
            }
            named.push((name, map.next_value()?));
        }
        Ok(named)
    }
}

/// A field name: borrowed unless it holds an escape.
struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).expect("json")
    }

    fn schema(names: &[&str]) -> Arc<RowSchema> {
        let field = |name: &&str| Field::new(*name, WireType::Text, true);
        new_schema(names.iter().map(field).collect())
    }

    #[test]
    fn cells_follow_the_schema_in_any_order() {
        let schema = schema(&["a", "b", "Größe"]);
        let row = with_schema(raw(r#"{"Gr\u00f6\u00dfe":3,"a":1,"b":"x"}"#), &schema, "after").expect("row");
        let texts: Vec<&str> = row.cells.iter().map(|cell| cell.get()).collect();
        assert_eq!(texts, ["1", "\"x\"", "3"]);
    }

    #[test]
    fn missing_unknown_and_double_fields_are_refused() {
        let schema = schema(&["a", "b"]);
        for text in [r#"{"a":1}"#, r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"a":1,"b":2}"#, "[]", "7"] {
            let rejection = with_schema(raw(text), &schema, "after").expect_err(text);
            assert_eq!(rejection.reason, "undecodable");
        }
        assert!(without_schema(raw(r#"{"a":1,"a":2}"#), &mut Schemas::default(), "after").is_err());
    }

    #[test]
    fn a_row_without_schema_keeps_its_schema_while_its_fields_stay() {
        let mut last = Schemas::default();
        let first = without_schema(raw(r#"{"a":1,"b":2}"#), &mut last, "after").expect("row").schema.id;
        let same = without_schema(raw(r#"{"a":3,"b":4}"#), &mut last, "after").expect("row").schema.id;
        let other = without_schema(raw(r#"{"a":3,"b":4,"c":5}"#), &mut last, "after").expect("row").schema.id;
        assert_eq!(first, same);
        assert_ne!(first, other);
        // Tables that come by turns keep their numbers: a new one for every record would be a new mapping each.
        let again = without_schema(raw(r#"{"a":5,"b":6}"#), &mut last, "after").expect("row").schema.id;
        assert_eq!(first, again);
        for field in 0..2 * REMEMBERED {
            without_schema(raw(&format!("{{\"x{field}\":1}}")), &mut last, "after").expect("row");
        }
        assert_eq!(last.0.len(), REMEMBERED);
    }
}

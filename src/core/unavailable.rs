//! The placeholder that a connector writes where it did not see a value: unchanged TOAST values of PostgreSQL, unchanged LOBs of
//! Oracle, columns that a MySQL row image without BLOBs leaves out.
//!
//! Its text is the connector's `unavailable.value.placeholder`; what of it stands in an event depends on the column's type:
//!
//! | column | form |
//! |---|---|
//! | text, JSON, XML, ranges … | the text |
//! | bytes | base64 of its bytes; the text or its hex digits with `binary.handling.mode=hex` |
//! | list of texts, of bytes | a list with one element of that form |
//! | list of whole numbers or dates | its bytes as numbers |
//! | list of UUIDs | a list with the name-based UUID of the text |
//! | hstore | `{text: text}`, as an object or as text |
//!
//! Every form is recognised in every column, because the mode that the connector runs in is not known here. A user's own value
//! that reads the same cannot be told apart; the remedy is a placeholder that occurs nowhere in the data. PostgreSQL's bytea
//! with `binary.handling.mode=base64` comes as null, which nobody can tell from NULL.
//!
//! # Source
//!
//! Forms as Debezium 3.5 writes them: seen for text, jsonb, bytea, text lists and hstore, the others read in its code.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use md5::{Digest, Md5};
use serde_json::{Value as Json, json};

/// Debezium's default.
pub const DEFAULT: &str = "__debezium_unavailable_value";
/// Begin of a placeholder that is written as the hex digits of its bytes.
const HEX: &str = "hex:";

/// A placeholder in all its forms.
#[derive(Clone, Debug)]
pub struct Unavailable {
    written: String,
    forms: Vec<Json>,
    /// The forms as they are written without blanks and needless escapes.
    texts: Vec<String>,
    /// No form is longer than this, however it is escaped.
    longest: usize,
}

impl Default for Unavailable {
    fn default() -> Self {
        Self::of(DEFAULT.to_owned(), DEFAULT.as_bytes())
    }
}

impl Unavailable {
    /// The placeholder as the connector's option has it: text, or `hex:` and hex digits. `Err` says what is wrong with it.
    pub fn new(written: &str) -> Result<Self, String> {
        let bytes = match written.strip_prefix(HEX) {
            Some(digits) => unhex(digits).ok_or("expected an even number of hex digits behind hex:")?,
            None => written.as_bytes().to_vec(),
        };
        if bytes.is_empty() {
            return Err("is empty: empty values would be taken for values that the connector did not see".to_owned());
        }
        Ok(Self::of(written.to_owned(), &bytes))
    }

    fn of(written: String, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (standard, url_safe) = (STANDARD.encode(bytes), URL_SAFE.encode(bytes));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let map = json!({ text.as_str(): text.as_str() });
        let mut forms = vec![
            json!(text),
            json!(standard),
            json!(hex),
            json!([text]),
            json!([standard]),
            json!([hex]),
            json!(bytes),
            // Java's bytes are signed.
            json!(bytes.iter().map(|byte| byte.cast_signed()).collect::<Vec<i8>>()),
            json!([name_uuid(text.as_bytes())]),
            json!(map.to_string()),
            map,
            json!(url_safe),
        ];
        let mut known = Vec::with_capacity(forms.len());
        forms.retain(|form| {
            !known.contains(form) && {
                known.push(form.clone());
                true
            }
        });
        let texts: Vec<String> = forms.iter().map(Json::to_string).collect();
        // \u0041 for each character.
        let longest = texts.iter().map(|text| text.len() * 6).max().unwrap_or(0);
        Self { written, forms, texts, longest }
    }

    /// As it is configured.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether the JSON text of a cell is the placeholder in one of its forms.
    pub fn is(&self, json: &str) -> bool {
        let plain = match json.as_bytes().first() {
            Some(b'"') => !json.contains('\\'),
            Some(b'[' | b'{') => !json.contains(['\\', ' ', '\t', '\r', '\n']),
            _ => return false,
        };
        if self.texts.iter().any(|text| text == json) {
            return true;
        }
        // The same, written in another way.
        !plain
            && json.len() <= self.longest
            && serde_json::from_str::<Json>(json).is_ok_and(|value| self.forms.contains(&value))
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()
            }
            _ => None,
        })
        .collect()
}

/// Java's `UUID.nameUUIDFromBytes`: version 3, without a name space.
fn name_uuid(name: &[u8]) -> String {
    let mut bytes: [u8; 16] = Md5::digest(name).into();
    bytes[6] = bytes[6] & 0x0f | 0x30;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    super::text::uuid(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_default_is_recognised() {
        let unavailable = Unavailable::default();
        for json in [
            r#""__debezium_unavailable_value""#,
            r#""\u005f_debezium_unavailable_value""#,
            r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
            r#""5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#,
            r#"["__debezium_unavailable_value"]"#,
            r#"[ "__debezium_unavailable_value" ]"#,
            r#"["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]"#,
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
            r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#,
            r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
            r#"{"__debezium_unavailable_value": "__debezium_unavailable_value"}"#,
            r#""{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}""#,
        ] {
            assert!(unavailable.is(json), "{json}");
        }
        for json in [
            r#""__debezium_unavailable_value ""#,
            r#""a\nb""#,
            "null",
            "95",
            "[]",
            "{}",
            r#"["__debezium_unavailable_value",null]"#,
            r#""""#,
            r#"{"a": 1}"#,
        ] {
            assert!(!unavailable.is(json), "{json}");
        }
    }

    #[test]
    fn a_configured_text_takes_the_place_of_the_default() {
        let unavailable = Unavailable::new("~unavailable~").expect("text");
        assert!(unavailable.is(r#""~unavailable~""#) && unavailable.is(r#""fnVuYXZhaWxhYmxlfg==""#));
        assert!(!unavailable.is(r#""__debezium_unavailable_value""#));
        let bytes = Unavailable::new("hex:00ff61").expect("hex");
        assert!(bytes.is(r#""AP9h""#) && bytes.is("[0,255,97]") && bytes.is("[0,-1,97]") && bytes.is(r#""00ff61""#));
        assert!(bytes.is("\"\\u0000\u{FFFD}a\""));
        for wrong in ["", "hex:", "hex:0", "hex:0g"] {
            assert!(Unavailable::new(wrong).is_err(), "{wrong}");
        }
    }
}

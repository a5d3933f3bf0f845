//! JSON Schema as Confluent's `JsonSchemaConverter` writes it: the body is JSON, the schema says which Connect types it holds.
//!
//! Schemas of other writers say too little of types (`number` may be a decimal or a float): their records are taken as JSON
//! without a schema, where the destination's columns decide.
//!
//! Source: Confluent's `JsonSchemaData`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::core::event::Rejection;

use super::connect::{DEPTH, Json, Kind, Schema, quoted};
use super::{Definition, undecodable, unsupported};

/// How a body is read. Never deeper than twice [`DEPTH`].
#[derive(Debug)]
pub(super) struct Reader(Arc<Node>);

#[derive(Debug)]
enum Node {
    /// Written as it is, if it is no object and no list.
    Plain,
    Array(Arc<Node>),
    Map(Arc<Node>),
    /// A map whose keys are no text: objects of `key` and `value`.
    Entries(Arc<Node>, Arc<Node>),
    /// Names, also as JSON.
    Struct(Vec<(String, String, Arc<Node>)>),
    Nullable(Arc<Node>),
}

type Typed = (Arc<Schema>, Arc<Node>);

/// Compiles a schema; `None` if it is not of Connect's making.
pub(super) fn compile(definition: &Definition) -> Result<Option<(Arc<Schema>, Reader)>, Rejection> {
    let parse = |text: &str| -> Result<Value, Rejection> {
        serde_json::from_str(text).map_err(|error| {
            unsupported(format!("the schema is not JSON (line {}, column {})", error.line(), error.column()))
        })
    };
    let root = parse(&definition.text)?;
    let mut documents = HashMap::new();
    for (name, text) in &definition.references {
        documents.insert(name.clone(), parse(text)?);
    }
    let of_connect = |text: &str| text.contains("\"connect.index\"") || text.contains("\"connect.type\"");
    if !of_connect(&definition.text) && !definition.references.iter().any(|(_, text)| of_connect(text)) {
        return Ok(None);
    }
    let mut compiler = Compiler { documents: &documents, open: HashSet::new() };
    let (schema, node) = compiler.compile(&root, &root, 0)?;
    Ok(Some((schema, Reader(node))))
}

struct Compiler<'d> {
    documents: &'d HashMap<String, Value>,
    /// References that are being followed.
    open: HashSet<String>,
}

impl<'d> Compiler<'d> {
    fn compile(&mut self, schema: &'d Value, root: &'d Value, depth: usize) -> Result<Typed, Rejection> {
        if depth > DEPTH {
            return Err(unsupported(format!("the JSON schema is nested deeper than {DEPTH}")));
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return self.reference(reference, root, depth);
        }
        let branches = schema.get("oneOf").and_then(Value::as_array);
        if let Some([first, second]) = branches.map(Vec::as_slice) {
            let is_null = |branch: &Value| branch.get("type").is_some_and(|kind| kind == "null");
            let inner = if is_null(first) { second } else { first };
            if is_null(first) || is_null(second) {
                let (schema, node) = self.compile(inner, root, depth + 1)?;
                let schema = Schema { optional: true, ..(*schema).clone() };
                return Ok((Arc::new(schema), Arc::new(Node::Nullable(node))));
            }
        }
        let (kind, node) = self.kind(schema, root, depth)?;
        let mut typed = Schema::of(kind);
        typed.check_depth()?;
        typed.name = schema.get("title").and_then(Value::as_str).map(str::to_owned);
        typed.version = schema.get("connect.version").and_then(Value::as_i64);
        let parameters = schema.get("connect.parameters").and_then(Value::as_object).into_iter().flatten();
        for (name, value) in parameters {
            typed = typed.with(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        Ok((Arc::new(typed), Arc::new(node)))
    }

    fn reference(&mut self, reference: &str, root: &'d Value, depth: usize) -> Result<Typed, Rejection> {
        let missing = || unsupported(format!("the JSON schema refers to {reference:?}, which is not there"));
        let (document, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let root = if document.is_empty() { root } else { self.documents.get(document).ok_or_else(missing)? };
        let target = root.pointer(pointer).ok_or_else(missing)?;
        // Documents are told apart by where they lie.
        let place = format!("{:p}", target);
        if !self.open.insert(place.clone()) {
            return Err(unsupported("the JSON schema contains itself, which rows cannot"));
        }
        let typed = self.compile(target, root, depth + 1);
        self.open.remove(&place);
        typed
    }

    fn kind(&mut self, schema: &'d Value, root: &'d Value, depth: usize) -> Result<(Kind, Node), Rejection> {
        let part = |name: &str| {
            schema.get(name).ok_or_else(|| unsupported(format!("a type of the JSON schema has no `{name}`")))
        };
        let connect = schema.get("connect.type").and_then(Value::as_str);
        let kind = match (schema.get("type").and_then(Value::as_str), connect) {
            (Some("boolean"), _) => Kind::Boolean,
            (Some("integer"), Some("int8")) => Kind::Int8,
            (Some("integer"), Some("int16")) => Kind::Int16,
            (Some("integer"), Some("int32")) => Kind::Int32,
            (Some("integer"), _) => Kind::Int64,
            (Some("number"), Some("float32")) => Kind::Float32,
            (Some("number"), Some("bytes")) | (Some("string"), Some("bytes")) => Kind::Bytes,
            (Some("number"), Some("float64")) => Kind::Float64,
            (Some("string"), _) => Kind::String,
            (Some("array"), Some("map")) => {
                let entry = part("items")?.get("properties").unwrap_or(&Value::Null);
                let (Some(key), Some(value)) = (entry.get("key"), entry.get("value")) else {
                    return Err(unsupported("a map of the JSON schema has no `key` and `value`"));
                };
                let ((key, read_key), (value, read_value)) =
                    (self.compile(key, root, depth + 1)?, self.compile(value, root, depth + 1)?);
                return Ok((Kind::Map(key, value), Node::Entries(read_key, read_value)));
            }
            (Some("array"), _) => {
                let (items, node) = self.compile(part("items")?, root, depth + 1)?;
                return Ok((Kind::Array(items), Node::Array(node)));
            }
            (Some("object"), Some("map")) => {
                let (values, node) = self.compile(part("additionalProperties")?, root, depth + 1)?;
                return Ok((Kind::Map(Arc::new(Schema::of(Kind::String)), values), Node::Map(node)));
            }
            (Some("object"), _) => return self.fields(schema, root, depth),
            (kind, connect) => {
                let what = format!("the JSON schema has a type that is none of Connect's: {kind:?}, {connect:?}");
                return Err(unsupported(what));
            }
        };
        Ok((kind, Node::Plain))
    }

    fn fields(&mut self, schema: &'d Value, root: &'d Value, depth: usize) -> Result<(Kind, Node), Rejection> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut ordered: Vec<(&String, &Value)> = properties.into_iter().flatten().collect();
        let index = |schema: &Value| {
            let own = schema.get("connect.index").and_then(Value::as_i64);
            // Of an optional field it may be beside `oneOf` or inside.
            let inner = || schema.get("oneOf")?.as_array()?.iter().find_map(|it| it.get("connect.index")?.as_i64());
            own.or_else(inner).unwrap_or(i64::MAX)
        };
        ordered.sort_by_key(|(_, schema)| index(schema));
        let (mut fields, mut nodes) = (Vec::new(), Vec::new());
        for (name, schema) in ordered {
            let (schema, node) = self.compile(schema, root, depth + 1)?;
            fields.push((name.clone(), schema));
            nodes.push((name.clone(), quoted(name), node));
        }
        Ok((Kind::Struct(fields), Node::Struct(nodes)))
    }
}

impl Reader {
    /// Writes a body as Connect's JSON. All of it must be read.
    pub(super) fn read(&self, body: &[u8], json: &mut Json) -> Result<(), Rejection> {
        let text = std::str::from_utf8(body).map_err(|_| undecodable("the record's JSON is not UTF-8"))?;
        write(&self.0, parse(text)?, json)
    }
}

/// Whether a body is JSON.
pub(super) fn check(body: &[u8]) -> Result<(), Rejection> {
    let text = std::str::from_utf8(body).map_err(|_| undecodable("the record's JSON is not UTF-8"))?;
    parse::<&RawValue>(text).map(|_| ())
}

fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Rejection> {
    serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        undecodable(format!("the record's JSON is not of its schema's shape ({place} of it or of a part)"))
    })
}

fn write(node: &Node, value: &RawValue, json: &mut Json) -> Result<(), Rejection> {
    let text = value.get();
    match node {
        Node::Nullable(_) if text == "null" => json.raw(b"null"),
        Node::Nullable(node) => write(node, value, json),
        Node::Plain if text.starts_with(['{', '[']) || text == "null" => {
            Err(undecodable("the record's JSON has null, an object or a list where its schema has a value"))
        }
        Node::Plain => json.raw(text.as_bytes()),
        Node::Array(items) => {
            let values: Vec<&RawValue> = parse(text)?;
            json.list(b"[", b"]", values, |value, json| write(items, value, json))
        }
        Node::Map(values) => {
            let entries: BTreeMap<Cow<'_, str>, &RawValue> = parse(text)?;
            json.list(b"{", b"}", entries, |(key, value), json| {
                json.text(&key)?;
                json.raw(b":")?;
                write(values, value, json)
            })
        }
        Node::Entries(key, value) => {
            #[derive(serde::Deserialize)]
            struct Entry<'a> {
                #[serde(borrow)]
                key: &'a RawValue,
                #[serde(borrow)]
                value: &'a RawValue,
            }
            let entries: Vec<Entry<'_>> = parse(text)?;
            json.list(b"[", b"]", entries, |entry, json| {
                json.raw(b"[")?;
                write(key, entry.key, json)?;
                json.raw(b",")?;
                write(value, entry.value, json)?;
                json.raw(b"]")
            })
        }
        Node::Struct(fields) => {
            let mut values: HashMap<Cow<'_, str>, &RawValue> = parse(text)?;
            json.list(b"{", b"}", fields, |(name, quoted, node), json| {
                json.raw(quoted.as_bytes())?;
                json.raw(b":")?;
                match (values.remove(name.as_str()), &**node) {
                    (Some(value), node) => write(node, value, json),
                    (None, Node::Nullable(_)) => json.raw(b"null"),
                    (None, _) => Err(undecodable("the record's JSON lacks a field that its schema demands")),
                }
            })?;
            if values.is_empty() {
                Ok(())
            } else {
                Err(undecodable("the record's JSON has a field that its schema does not have"))
            }
        }
    }
}

//! Avro: a writer schema compiled to a Connect schema and a reader of its binary form.
//!
//! # Why not by a library
//!
//! What Connect's converters add to a schema (`connect.name`, `connect.type`, `connect.parameters` …) must be read from its JSON
//! in any case, because libraries drop it, and the binary form is a page: so bodies become JSON without a tree of values between,
//! and what is hostile is bounded here: depths, lengths, elements without bytes. `apache-avro` is the oracle of the tests.
//!
//! Source: Avro 1.12 specification; Confluent's and Apicurio's `AvroData` (both write the same properties).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::core::event::Rejection;

use super::connect::{DEPTH, Json, Kind, Schema, names, quoted};
use super::{Definition, undecodable, unsupported};

/// How a body is read. Never deeper than [`DEPTH`], because schemas are not.
#[derive(Debug)]
pub(super) struct Reader(Arc<Node>);

#[derive(Debug)]
enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Fixed(usize),
    /// A UUID in 16 bytes.
    Uuid,
    String,
    Enum(Vec<String>),
    Array(Arc<Node>),
    Map(Arc<Node>),
    /// A map whose keys are no text: an array of records of key and value.
    Entries(Arc<Node>, Arc<Node>),
    /// Names as JSON.
    Record(Vec<(String, Arc<Node>)>),
    /// Null and one other type: whether null is the second branch.
    Nullable(bool, Arc<Node>),
    /// Several types: a struct with a field for each, of which one is set. Null has none.
    Union(Vec<Option<(String, Arc<Node>)>>),
}

/// A type with how it is read.
type Typed = (Arc<Schema>, Arc<Node>);

/// Compiles a writer schema.
pub(super) fn compile(definition: &Definition) -> Result<(Arc<Schema>, Reader), Rejection> {
    let mut types = Types::default();
    for text in definition.references.iter().map(|(_, text)| text) {
        types.compile(&parse(text)?, "", 0)?;
    }
    let (schema, node) = types.compile(&parse(&definition.text)?, "", 0)?;
    Ok((schema, Reader(node)))
}

fn parse(text: &str) -> Result<Value, Rejection> {
    // A bare name is a schema as well, and some registries keep it without quotes.
    serde_json::from_str(text).or_else(|error| {
        let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
        if bare {
            Ok(Value::from(text))
        } else {
            Err(unsupported(format!("the schema is not JSON (line {}, column {})", error.line(), error.column())))
        }
    })
}

#[derive(Default)]
struct Types {
    /// Named types by their full names; `None` while one is being compiled.
    named: HashMap<String, Option<Typed>>,
}

impl Types {
    fn compile(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<Typed, Rejection> {
        if depth > DEPTH {
            return Err(unsupported(format!("the Avro schema is nested deeper than {DEPTH}")));
        }
        let typed = match schema {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => self.union(branches, namespace, depth),
            Value::Object(object) => self.object(object, namespace, depth),
            _ => Err(unsupported("the Avro schema holds something that is no type")),
        }?;
        typed.0.check_depth()?;
        Ok(typed)
    }

    fn by_name(&mut self, name: &str, namespace: &str) -> Result<Typed, Rejection> {
        if let Some((kind, node)) = primitive(name) {
            return Ok((Arc::new(Schema::of(kind)), Arc::new(node)));
        }
        let full = full_name(name, namespace);
        let known = self.named.get(&full).or_else(|| self.named.get(name));
        match known {
            Some(Some(typed)) => Ok(typed.clone()),
            Some(None) => Err(unsupported(format!("the Avro type {full} contains itself, which rows cannot"))),
            None => Err(unsupported(format!("the Avro schema names a type {full} that is not there"))),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Typed, Rejection> {
        let kind = object.get("type").ok_or_else(|| unsupported("an Avro type without `type`"))?;
        let (schema, node) = match kind.as_str() {
            Some("record" | "error" | "enum" | "fixed") => {
                let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
                let space = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
                let full = full_name(name, space);
                let space = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
                if name.is_empty() || self.named.insert(full.clone(), None).is_some() {
                    return Err(unsupported(format!("the Avro schema defines a type {full:?} that it cannot")));
                }
                let (schema, node) = self.definition(kind, object, &full, &space, depth)?;
                let typed = described(schema, node, object);
                self.named.insert(full, Some(typed.clone()));
                return Ok(typed);
            }
            Some("array") => self.array(object, namespace, depth)?,
            Some("map") => {
                let values = object.get("values").ok_or_else(|| unsupported("an Avro map without `values`"))?;
                let (schema, node) = self.compile(values, namespace, depth + 1)?;
                let keys = Arc::new(Schema::of(Kind::String));
                (Schema::of(Kind::Map(keys, schema)), Node::Map(node))
            }
            _ => {
                let (schema, node) = self.compile(kind, namespace, depth + 1)?;
                let (schema, node) = logical((*schema).clone(), node, object);
                return Ok((Arc::new(with_properties(schema, object)), node));
            }
        };
        Ok(described(schema, node, object))
    }

    fn definition(
        &mut self,
        kind: &Value,
        object: &Map<String, Value>,
        full: &str,
        space: &str,
        depth: usize,
    ) -> Result<(Schema, Node), Rejection> {
        match kind.as_str() {
            Some("enum") => {
                let symbols = object.get("symbols").and_then(Value::as_array).into_iter().flatten();
                let symbols = symbols.filter_map(|symbol| symbol.as_str().map(str::to_owned)).collect();
                Ok((Schema::of(Kind::String), Node::Enum(symbols)))
            }
            Some("fixed") => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| unsupported(format!("the Avro type {full} has no `size`")))?;
                Ok((Schema::of(Kind::Bytes), Node::Fixed(size)))
            }
            _ => {
                let mut fields = Vec::new();
                let mut nodes = Vec::new();
                for field in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
                    let name = field.get("name").and_then(Value::as_str);
                    let (Some(name), Some(kind)) = (name, field.get("type")) else {
                        return Err(unsupported(format!("a field of the Avro type {full} has no name or no type")));
                    };
                    let (schema, node) = self.compile(kind, space, depth + 1)?;
                    fields.push((name.to_owned(), schema));
                    nodes.push((quoted(name), node));
                }
                Ok((Schema::named(Kind::Struct(fields), full), Node::Record(nodes)))
            }
        }
    }

    /// An array, or a map that Connect's converters write as one.
    fn array(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<(Schema, Node), Rejection> {
        let items = object.get("items").ok_or_else(|| unsupported("an Avro array without `items`"))?;
        let (schema, node) = self.compile(items, namespace, depth + 1)?;
        let is_entry = schema.name.as_deref().is_some_and(|name| {
            matches!(name.rsplit('.').next(), Some("MapEntry"))
                || object.get("connect.internal.type").and_then(Value::as_str) == Some("MapEntry")
                || items.get("connect.internal.type").and_then(Value::as_str) == Some("MapEntry")
        });
        if let (true, Kind::Struct(fields), Node::Record(nodes)) = (is_entry, &schema.kind, &*node)
            && let ([(key, keys), (value, values)], [(_, read_key), (_, read_value)]) =
                (fields.as_slice(), nodes.as_slice())
            && key == "key"
            && value == "value"
        {
            let kind = Kind::Map(Arc::clone(keys), Arc::clone(values));
            return Ok((Schema::of(kind), Node::Entries(Arc::clone(read_key), Arc::clone(read_value))));
        }
        Ok((Schema::of(Kind::Array(schema)), Node::Array(node)))
    }

    fn union(&mut self, branches: &[Value], namespace: &str, depth: usize) -> Result<Typed, Rejection> {
        let is_null = |branch: &Value| branch == "null" || branch.get("type").is_some_and(|kind| kind == "null");
        let nullable = branches.iter().any(is_null);
        if let ([first, second], true) = (branches, nullable) {
            let (inner, null_second) = if is_null(first) { (second, false) } else { (first, true) };
            let (schema, node) = self.compile(inner, namespace, depth + 1)?;
            let schema = Schema { optional: true, ..(*schema).clone() };
            return Ok((Arc::new(schema), Arc::new(Node::Nullable(null_second, node))));
        }
        if let [only] = branches {
            let (schema, node) = self.compile(only, namespace, depth + 1)?;
            return Ok((schema, Arc::new(Node::Union(vec![Some((String::new(), node))]))));
        }
        let mut fields = Vec::new();
        let mut nodes = Vec::new();
        for branch in branches {
            if is_null(branch) {
                nodes.push(None);
                continue;
            }
            let (schema, node) = self.compile(branch, namespace, depth + 1)?;
            let name = branch_name(branch);
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(unsupported(format!("an Avro union has two branches named {name:?}")));
            }
            fields.push((name.clone(), Arc::new(Schema { optional: true, ..(*schema).clone() })));
            nodes.push(Some((quoted(&name), node)));
        }
        let mut schema = Schema::named(Kind::Struct(fields), "io.confluent.connect.avro.Union");
        schema.optional = nullable;
        Ok((Arc::new(schema), Arc::new(Node::Union(nodes))))
    }
}

fn primitive(name: &str) -> Option<(Kind, Node)> {
    Some(match name {
        // No field can hold anything but null.
        "null" => (Kind::String, Node::Null),
        "boolean" => (Kind::Boolean, Node::Boolean),
        "int" => (Kind::Int32, Node::Int),
        "long" => (Kind::Int64, Node::Long),
        "float" => (Kind::Float32, Node::Float),
        "double" => (Kind::Float64, Node::Double),
        "bytes" => (Kind::Bytes, Node::Bytes),
        "string" => (Kind::String, Node::String),
        _ => return None,
    })
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// The name of a union's branch: of a named type without its namespace, else of the type.
fn branch_name(branch: &Value) -> String {
    let name = branch.get("name").or_else(|| branch.get("type")).unwrap_or(branch).as_str().unwrap_or("union");
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

fn described(schema: Schema, node: Node, object: &Map<String, Value>) -> Typed {
    let (schema, node) = logical(schema, Arc::new(node), object);
    (Arc::new(with_properties(schema, object)), node)
}

/// What a logical type makes of a base type. One that is not known, or on the wrong base, says nothing, as Avro demands.
fn logical(schema: Schema, node: Arc<Node>, object: &Map<String, Value>) -> (Schema, Arc<Node>) {
    let number = |key: &str| object.get(key).and_then(Value::as_i64);
    let name = match (object.get("logicalType").and_then(Value::as_str), &schema.kind, &*node) {
        (Some("decimal"), Kind::Bytes, _) => {
            let decimal = Schema::named(Kind::Bytes, names::DECIMAL).with("scale", number("scale").unwrap_or(0));
            // 64 stands for "not known".
            let precision = number("precision").filter(|precision| *precision != 64);
            let decimal = match precision {
                Some(precision) => decimal.with("connect.decimal.precision", precision),
                None => decimal,
            };
            return (decimal, node);
        }
        (Some("uuid"), Kind::Bytes, Node::Fixed(16)) => {
            return (Schema::named(Kind::String, names::UUID), Arc::new(Node::Uuid));
        }
        (Some("uuid"), Kind::String, _) => names::UUID,
        (Some("date"), Kind::Int32, _) => names::DATE,
        (Some("time-millis"), Kind::Int32, _) => names::TIME,
        (Some("time-micros"), Kind::Int64, _) => names::MICRO_TIME,
        (Some("timestamp-millis" | "local-timestamp-millis"), Kind::Int64, _) => names::TIMESTAMP,
        (Some("timestamp-micros" | "local-timestamp-micros"), Kind::Int64, _) => names::MICRO_TIMESTAMP,
        (Some("timestamp-nanos" | "local-timestamp-nanos"), Kind::Int64, _) => names::NANO_TIMESTAMP,
        _ => return (schema, node),
    };
    (Schema { name: Some(name.to_owned()), ..schema }, node)
}

/// What Connect's converters say of a type beside it.
fn with_properties(mut schema: Schema, object: &Map<String, Value>) -> Schema {
    if let Some(kind) = object.get("connect.type").and_then(Value::as_str) {
        schema.kind = match (kind, schema.kind) {
            ("int8", Kind::Int32) => Kind::Int8,
            ("int16", Kind::Int32) => Kind::Int16,
            (_, kind) => kind,
        };
    }
    if let Some(name) = object.get("connect.name").and_then(Value::as_str) {
        schema.name = Some(name.to_owned());
    }
    if let Some(version) = object.get("connect.version").and_then(Value::as_i64) {
        schema.version = Some(version);
    }
    if let Some(parameters) = object.get("connect.parameters").and_then(Value::as_object) {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let parameters: BTreeMap<_, _> = parameters.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        schema.parameters.extend(parameters);
    }
    let is_plain = !matches!(schema.kind, Kind::Bytes | Kind::Array(_) | Kind::Map(..) | Kind::Struct(_));
    if let Some(default) = object.get("connect.default").filter(|default| is_plain && !default.is_object()) {
        schema.default = Some(default.clone());
    }
    schema
}

impl Reader {
    /// Writes a body as JSON. All of it must be read.
    pub(super) fn read(&self, body: &[u8], json: &mut Json) -> Result<(), Rejection> {
        let mut input = Input(body);
        input.node(&self.0, json)?;
        if input.0.is_empty() {
            Ok(())
        } else {
            Err(undecodable(format!("{} bytes follow the record's Avro value", input.0.len())))
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Rejection> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| undecodable("the Avro value ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Rejection> {
        self.take(N)?.try_into().map_err(|_| undecodable("the Avro value ends too early"))
    }

    fn long(&mut self) -> Result<i64, Rejection> {
        let mut number = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(undecodable("an Avro number is longer than 64 bits"))
    }

    fn length(&mut self) -> Result<usize, Rejection> {
        usize::try_from(self.long()?).map_err(|_| undecodable("an Avro length is below zero"))
    }

    fn string(&mut self) -> Result<&'a str, Rejection> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| undecodable("an Avro string is not UTF-8"))
    }

    /// Number of items of the next block of an array or map; 0 is the end.
    fn block(&mut self) -> Result<u64, Rejection> {
        let count = self.long()?;
        if count < 0 {
            // The bytes of the block, for who wants to pass over it.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }

    fn blocks(
        &mut self,
        brackets: [&[u8]; 2],
        json: &mut Json,
        item: impl Fn(&mut Self, &mut Json) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        json.raw(brackets[0])?;
        let mut first = true;
        loop {
            let count = self.block()?;
            if count == 0 {
                return json.raw(brackets[1]);
            }
            // Each item writes at least a comma, whatever it reads: the length of the JSON bounds the loop.
            for _ in 0..count {
                if !std::mem::take(&mut first) {
                    json.raw(b",")?;
                }
                item(self, json)?;
            }
        }
    }

    fn node(&mut self, node: &Node, json: &mut Json) -> Result<(), Rejection> {
        match node {
            Node::Null => json.raw(b"null"),
            Node::Boolean => match self.array()? {
                [0] => json.raw(b"false"),
                [1] => json.raw(b"true"),
                _ => Err(undecodable("an Avro boolean is neither 0 nor 1")),
            },
            Node::Int => {
                let number = i32::try_from(self.long()?).map_err(|_| undecodable("an Avro int beyond 32 bits"))?;
                json.plain(number)
            }
            Node::Long => json.plain(self.long()?),
            Node::Float => json.float(f32::from_le_bytes(self.array()?)),
            Node::Double => json.double(f64::from_le_bytes(self.array()?)),
            Node::Bytes => {
                let length = self.length()?;
                json.base64(self.take(length)?)
            }
            Node::Fixed(length) => json.base64(self.take(*length)?),
            Node::Uuid => {
                let hex: String = self.take(16)?.iter().map(|byte| format!("{byte:02x}")).collect();
                let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                json.text(&parts.join("-"))
            }
            Node::String => json.text(self.string()?),
            Node::Enum(symbols) => {
                let symbol = symbols.get(self.length()?);
                json.text(symbol.ok_or_else(|| undecodable("an Avro enum value that its schema does not have"))?)
            }
            Node::Array(items) => self.blocks([b"[", b"]"], json, |input, json| input.node(items, json)),
            Node::Map(values) => self.blocks([b"{", b"}"], json, |input, json| {
                json.text(input.string()?)?;
                json.raw(b":")?;
                input.node(values, json)
            }),
            Node::Entries(key, value) => self.blocks([b"[", b"]"], json, |input, json| {
                json.raw(b"[")?;
                input.node(key, json)?;
                json.raw(b",")?;
                input.node(value, json)?;
                json.raw(b"]")
            }),
            Node::Record(fields) => json.list(b"{", b"}", fields, |(name, node), json| {
                json.raw(name.as_bytes())?;
                json.raw(b":")?;
                self.node(node, json)
            }),
            Node::Nullable(null_second, inner) => match self.long()? {
                branch @ (0 | 1) if (branch == 1) == *null_second => json.raw(b"null"),
                0 | 1 => self.node(inner, json),
                _ => Err(undecodable("an Avro union value of a branch that its schema does not have")),
            },
            Node::Union(branches) => self.union(branches, json),
        }
    }

    fn union(&mut self, branches: &[Option<(String, Arc<Node>)>], json: &mut Json) -> Result<(), Rejection> {
        let chosen = self.length()?;
        match branches.get(chosen) {
            None => Err(undecodable("an Avro union value of a branch that its schema does not have")),
            Some(None) => json.raw(b"null"),
            // A union of one type is that type.
            Some(Some((name, node))) if name.is_empty() => self.node(node, json),
            Some(Some(_)) => {
                let fields = branches.iter().enumerate().filter_map(|(at, branch)| Some((at, branch.as_ref()?)));
                json.list(b"{", b"}", fields, |(at, (name, node)), json| {
                    json.raw(name.as_bytes())?;
                    json.raw(b":")?;
                    if at == chosen { self.node(node, json) } else { json.raw(b"null") }
                })
            }
        }
    }
}

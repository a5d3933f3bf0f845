//! What lists, maps, vectors and shapes mean.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::core::geometry as wkb;
use crate::core::table::ColumnType;
use crate::core::text;
use crate::core::value::Value;
use crate::core::wire::WireType;

use super::read::{base64, float};
use super::{Misfit, Read, Reader, TEXT, bad, no};

/// Dimensions that PostgreSQL's arrays can have.
const DEPTH_MAX: usize = 6;
/// Elements that pgvector's sparse vectors can have.
const SPARSE_MAX: u32 = 1_000_000_000;

impl Reader<'_> {
    /// A list, its elements as the column's elements if it is one of lists, else as they become parts of JSON.
    pub(super) fn list(self, json: &str, element: &WireType, column: &ColumnType) -> Read {
        match column {
            ColumnType::Array { element: inner } => {
                let list = self.elements(json, element, Some(inner), DEPTH_MAX)?;
                shape(&list).ok_or_else(|| no("a list whose parts are not of one length"))?;
                Ok(list)
            }
            ColumnType::Vector { .. } => self.elements(json, element, Some(&ColumnType::Float64), 1),
            _ => self.elements(json, element, None, usize::MAX),
        }
    }

    /// Without a column they become parts of JSON and are not made text here, so that numbers stay numbers.
    fn elements(self, json: &str, element: &WireType, column: Option<&ColumnType>, depth: usize) -> Read {
        let cells: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| bad("not a list"))?;
        if depth == 0 {
            return Err(no("a list of more dimensions than a column can have"));
        }
        let one = |cell: &&RawValue| {
            let json = cell.get();
            let nested = match element {
                WireType::Array(inner) if json != "null" => Some(&**inner),
                WireType::Untyped if json.starts_with('[') => Some(element),
                _ => None,
            };
            match (nested, column) {
                (Some(inner), _) => self.elements(json, inner, column, depth - 1),
                (None, Some(column)) => self.cell(json, element, None, column),
                (None, None) if json == "null" => Ok(Value::Null),
                (None, None) => self.read(json, element, None, &TEXT),
            }
        };
        Ok(Value::Array(cells.iter().map(one).collect::<Result<_, _>>()?))
    }
}

/// Lengths of a list in each dimension; `None` if it is not a box, or a dimension of several is empty.
fn shape(list: &Value) -> Option<Vec<usize>> {
    let Value::Array(elements) = list else { return Some(Vec::new()) };
    let mut shapes = elements.iter().map(shape);
    let inner = shapes.next().unwrap_or(Some(Vec::new()))?;
    if inner.contains(&0) || !shapes.all(|other| other.as_ref() == Some(&inner)) {
        return None;
    }
    Some([vec![elements.len()], inner].concat())
}

/// An object of texts or nulls.
pub(super) fn map(json: &str) -> Result<Vec<(ByteString, Option<ByteString>)>, Misfit> {
    struct Pairs(Vec<(ByteString, Option<ByteString>)>);
    struct PairsVisitor;
    impl<'de> Visitor<'de> for PairsVisitor {
        type Value = Pairs;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of texts")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
            let mut pairs = Vec::new();
            while let Some((name, text)) = map.next_entry::<String, Option<String>>()? {
                pairs.push((ByteString::from(name), text.map(ByteString::from)));
            }
            Ok(Pairs(pairs))
        }
    }
    impl<'de> Deserialize<'de> for Pairs {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(PairsVisitor)
        }
    }
    let Pairs(pairs) = serde_json::from_str(json).map_err(|_| bad("not an object of texts"))?;
    let mut names: Vec<&ByteString> = pairs.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(bad("an object with a name that occurs twice"));
    }
    Ok(pairs)
}

/// `{"dimensions": 9, "vector": [[1, 1.5], [4, 2.0]]}`: places are counted from 1, as pgvector writes them (read in Debezium's
/// code); an object `{"1": 1.5}` is the same.
pub(super) fn sparse_vector(json: &str) -> Read {
    #[derive(Deserialize)]
    struct Sparse<'a> {
        dimensions: u32,
        #[serde(borrow)]
        vector: &'a RawValue,
    }
    let sparse: Sparse<'_> = serde_json::from_str(json).map_err(|_| bad("not a sparse vector"))?;
    let pairs: Vec<(u32, f64)> = if sparse.vector.get().starts_with('[') {
        serde_json::from_str(sparse.vector.get()).map_err(|_| bad("not a sparse vector"))?
    } else {
        let named: std::collections::BTreeMap<u32, f64> =
            serde_json::from_str(sparse.vector.get()).map_err(|_| bad("not a sparse vector"))?;
        named.into_iter().collect()
    };
    sparse_of(sparse.dimensions, pairs)
}

/// A sparse vector from places counted from 1.
pub(super) fn sparse_of(dimensions: u32, mut pairs: Vec<(u32, f64)>) -> Read {
    pairs.sort_by_key(|(place, _)| *place);
    let places_fit = pairs.iter().all(|(place, _)| (1..=dimensions).contains(place));
    if !places_fit || dimensions > SPARSE_MAX || pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(bad("a sparse vector whose places are not its own"));
    }
    let elements = pairs.into_iter().map(|(place, number)| (place - 1, number)).collect();
    Ok(Value::SparseVector { dimensions, elements })
}

/// Coordinates of points, and the well-known binary of all shapes.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    x: Option<&'a RawValue>,
    #[serde(borrow)]
    y: Option<&'a RawValue>,
    #[serde(borrow)]
    wkb: Option<&'a RawValue>,
    srid: Option<i32>,
}

impl Shape<'_> {
    fn point(&self) -> Result<Option<(f64, f64)>, Misfit> {
        let number = |part: Option<&RawValue>| {
            part.filter(|part| part.get() != "null").map(|part| float(part.get())).transpose()
        };
        Ok(number(self.x)?.zip(number(self.y)?))
    }
}

/// A point, geometry or geography.
pub(super) fn geometry(json: &str) -> Read {
    let shape: Shape<'_> = serde_json::from_str(json).map_err(|_| bad("not a shape"))?;
    let point = shape.point()?;
    let Some(cell) = shape.wkb.filter(|cell| cell.get() != "null") else {
        let (x, y) = point.ok_or_else(|| bad("a shape without its binary form"))?;
        return Ok(Value::Geometry { srid: shape.srid, wkb: wkb::point(x, y) });
    };
    let bytes = Bytes::from(base64(cell.get(), &Bytes::new())?);
    let (inner, wkb) = wkb::split(bytes).ok_or_else(|| bad("a shape whose binary form is not understood"))?;
    if inner.is_some() && shape.srid.is_some() && inner != shape.srid {
        return Err(bad("a shape with two reference systems"));
    }
    if let (Some((x, y)), Some((a, b))) = (point, wkb::coordinates(&wkb))
        && (x.to_bits(), y.to_bits()) != (a.to_bits(), b.to_bits())
        && (x, y) != (a, b)
    {
        return Err(bad("a point whose coordinates and binary form differ"));
    }
    Ok(Value::Geometry { srid: shape.srid.or(inner), wkb })
}

/// As PostgreSQL writes it for its own column, else as JSON.
pub(super) fn circle(json: &str, column: &ColumnType) -> Read {
    #[derive(Deserialize)]
    struct Circle<'a> {
        #[serde(borrow)]
        center: Shape<'a>,
        #[serde(borrow)]
        radius: &'a RawValue,
    }
    let circle: Circle<'_> = serde_json::from_str(json).map_err(|_| bad("not a circle"))?;
    let (x, y) = circle.center.point()?.ok_or_else(|| bad("a circle without its center"))?;
    let [x, y, radius] = [x, y, float(circle.radius.get())?].map(text::float64);
    drawn(column, || format!("<({x},{y}),{radius}>"), &[("x", &x), ("y", &y), ("radius", &radius)])
}

/// As PostgreSQL writes it for its own column, else as JSON.
pub(super) fn line(json: &str, column: &ColumnType) -> Read {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        a: &'a RawValue,
        #[serde(borrow)]
        b: &'a RawValue,
        #[serde(borrow)]
        c: &'a RawValue,
    }
    let line: Line<'_> = serde_json::from_str(json).map_err(|_| bad("not a line"))?;
    let [a, b, c] = [float(line.a.get())?, float(line.b.get())?, float(line.c.get())?].map(text::float64);
    drawn(column, || format!("{{{a},{b},{c}}}"), &[("a", &a), ("b", &b), ("c", &c)])
}

fn drawn(column: &ColumnType, literal: impl FnOnce() -> String, parts: &[(&str, &String)]) -> Read {
    if matches!(column, ColumnType::Literal) {
        return Ok(Value::Text(literal().into()));
    }
    let part = |(name, number): &(&str, &String)| {
        let number: Cow<'_, str> =
            if number.ends_with(char::is_alphabetic) { text::quoted(number).into() } else { number.as_str().into() };
        format!("\"{name}\":{number}")
    };
    let parts: Vec<String> = parts.iter().map(part).collect();
    Ok(Value::Json(format!("{{{}}}", parts.join(",")).into()))
}

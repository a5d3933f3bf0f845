//! What a table lacks for its events, and what it has to become.
//!
//! # What a wire type says of the source
//!
//! A wire type is an upper bound: TINYINT comes as 16 bits, DATETIME without fraction digits as milliseconds, VARCHAR(20) as text of
//! any length. A column that holds *one* source type which comes so is not called narrower for that; a value that does not fit
//! then shows what is needed. Where the connector propagates the source's type ([`Declared`]) that is what counts.
//!
//! # Why it only ever grows
//!
//! The needed type is joined with what is there, so that an event with an older schema (a replay, a slow partition) asks for nothing
//! and takes nothing back. Columns that no event carries any more stay. For the same reason a change that a process makes after
//! it lost its partition does no harm: whatever the new owner wrote still fits.

use super::table::{Column, ColumnType, TableShape};
use super::wire::{Declared, Field, WireType};

/// What is done when a table is not as its events need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Evolve {
    /// A field without a column stops the table; other values are judged one by one.
    #[default]
    None,
    /// Any difference stops the table before the first value that does not fit.
    Validate,
    /// Missing columns are added.
    Add,
    /// Missing columns are added, narrow ones widened.
    Widen,
}

/// What is wrong with a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// There is none for the field.
    Missing,
    /// Its type has to hold more.
    Narrow(ColumnType),
    /// Its type and the field's have nothing in common that would hold both without changing what is there.
    Apart,
    /// It does not allow NULL, the field does.
    NotNull,
    /// It needs a value, and its events carry none.
    NotCarried,
}

/// A difference between a table and its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the column.
    pub column: String,
    /// What is wrong with it.
    pub lack: Lack,
}

impl Evolve {
    /// Whether a difference of this kind is looked for at all.
    fn minds(self, lack: &Lack) -> bool {
        match self {
            Self::None | Self::Add => matches!(lack, Lack::Missing | Lack::NotCarried),
            Self::Validate | Self::Widen => true,
        }
    }

    /// Whether it is resolved by a statement of ours.
    pub fn resolves(self, lack: &Lack) -> bool {
        match self {
            Self::None | Self::Validate => false,
            Self::Add => *lack == Lack::Missing,
            Self::Widen => *lack != Lack::Apart,
        }
    }
}

/// What events show of their rows.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The fields that have a column, key fields among them.
    pub fields: &'a [Field],
    /// Names of the key columns.
    pub key: &'a [String],
    /// They are whole rows, not only keys or what a delete knows.
    pub whole: bool,
    /// A column that could not hold a value: there everything counts that its field may bring.
    pub misfit: Option<&'a str>,
}

/// The differences that matter, in the order of the fields.
pub fn differences(evolve: Evolve, shape: &TableShape, shown: Shown<'_>) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    for field in shown.fields {
        let mut note = |lack| found.push(Difference { column: field.name.clone(), lack });
        match shape.position(&field.name).map(|at| &shape.columns[at]) {
            // A missing key column is no matter of evolution.
            None if shown.key.contains(&field.name) => {}
            None => note(Lack::Missing),
            Some(column) if column.generated => {}
            Some(column) => {
                match judge(column, field, shown.misfit == Some(&field.name)) {
                    Judged::Fits => {}
                    Judged::Wider(kind) => note(Lack::Narrow(kind)),
                    Judged::Apart => note(Lack::Apart),
                }
                let may_be_null = field.optional && field.kind != WireType::Untyped;
                if may_be_null && !column.nullable && !shown.key.contains(&field.name) {
                    note(Lack::NotNull);
                }
            }
        }
    }
    // Where fields come without types, a record that lacks one is a bad record and no new schema.
    if shown.whole && shown.fields.iter().any(|field| field.kind != WireType::Untyped) {
        let needs_value = |column: &&Column| !column.nullable && !column.has_default && !column.generated;
        let carried = |column: &&Column| shown.fields.iter().any(|field| field.name == column.name);
        let bare = shape.columns.iter().filter(needs_value).filter(|column| !carried(column));
        found.extend(bare.map(|column| Difference { column: column.name.clone(), lack: Lack::NotCarried }));
    }
    found.retain(|difference| evolve.minds(&difference.lack));
    found
}

enum Judged {
    Fits,
    Wider(ColumnType),
    Apart,
}

/// Whether a column holds what a field brings. `strictly`: all that it may bring, not only what it is known to bring.
fn judge(column: &Column, field: &Field, strictly: bool) -> Judged {
    let Some(needed) = Needed::of(field) else { return Judged::Fits };
    let have = &column.kind;
    let Some(holds) = holds(have, &needed.most) else { return Judged::Fits };
    if holds || !strictly && needed.least.iter().any(|least| self::holds(have, least) != Some(false)) {
        return Judged::Fits;
    }
    join(have, &needed.most).map_or(Judged::Apart, Judged::Wider)
}

/// What a field brings.
struct Needed {
    /// Whatever it may bring.
    most: ColumnType,
    /// Source types that come so; it is one of them.
    least: Vec<ColumnType>,
}

impl Needed {
    /// `None` where the values themselves have to tell.
    fn of(field: &Field) -> Option<Self> {
        let exact = |most: ColumnType| Some(Self { least: vec![most.clone()], most });
        let up_to = |most: ColumnType, least: ColumnType| Some(Self { most, least: vec![least] });
        if let Some(kind) = field.declared.as_ref().and_then(declared_kind) {
            return exact(kind);
        }
        let int = |bits, unsigned| ColumnType::Int { bits, unsigned };
        match &field.kind {
            WireType::Bool => exact(ColumnType::Bool),
            WireType::Int { bits } => {
                let least = match bits {
                    16 => vec![int(8, false), int(8, true)],
                    32 => vec![int(16, true), int(24, false), int(24, true)],
                    64 => vec![int(32, true), int(64, true)],
                    _ => Vec::new(),
                };
                Some(Self { most: int(*bits, false), least })
            }
            WireType::Float32 => exact(ColumnType::Float32),
            WireType::Float64 => exact(ColumnType::Float64),
            WireType::Decimal { scale, precision: Some(precision) } => {
                exact(ColumnType::Decimal { limit: Some((*precision, *scale)) })
            }
            WireType::Decimal { precision: None, .. } | WireType::VariableDecimal => {
                up_to(ColumnType::Decimal { limit: None }, ColumnType::Decimal { limit: Some((1, 0)) })
            }
            WireType::Text => up_to(ColumnType::Text { max_chars: None }, ColumnType::Text { max_chars: Some(0) }),
            WireType::Bytes => up_to(ColumnType::Bytes { max_bytes: None }, ColumnType::Bytes { max_bytes: Some(0) }),
            WireType::Date => exact(ColumnType::Date),
            WireType::Time(unit) => up_to(ColumnType::Time { digits: unit.digits() }, ColumnType::Time { digits: 0 }),
            WireType::Timestamp(unit) => {
                up_to(ColumnType::Timestamp { digits: unit.digits() }, ColumnType::Timestamp { digits: 0 })
            }
            WireType::ZonedTimestamp => {
                up_to(ColumnType::TimestampTz { digits: 6 }, ColumnType::TimestampTz { digits: 0 })
            }
            WireType::Uuid => exact(ColumnType::Uuid),
            WireType::Json => exact(ColumnType::Json),
            _ => None,
        }
    }
}

/// What a declared source type says more exactly than the wire type: the ranges of integers, the lengths of texts and bytes.
fn declared_kind(declared: &Declared) -> Option<ColumnType> {
    let mut words = declared.kind.split_whitespace();
    let (name, unsigned) = (words.next()?, words.any(|word| word == "UNSIGNED"));
    let length = declared.length.map(u64::from);
    let bits = match name {
        "TINYINT" => 8,
        "SMALLINT" => 16,
        "MEDIUMINT" => 24,
        "INT" | "INTEGER" => 32,
        "BIGINT" => 64,
        "VARCHAR" | "BPCHAR" | "CHAR" => return length.map(|chars| ColumnType::Text { max_chars: Some(chars) }),
        "BINARY" | "VARBINARY" => return length.map(|bytes| ColumnType::Bytes { max_bytes: Some(bytes) }),
        _ => return None,
    };
    Some(ColumnType::Int { bits, unsigned })
}

/// Whether a column holds every value of a type as [`super::decode::fit_cell`] converts it. `None`: the value decides.
fn holds(have: &ColumnType, need: &ColumnType) -> Option<bool> {
    use ColumnType as T;
    if let Some(joined) = join(have, need) {
        return Some(joined == *have);
    }
    match (have, need) {
        (T::Text { .. }, T::Bytes { .. }) => Some(false),
        (T::Text { .. } | T::Json, _) | (T::Uuid, T::Text { .. }) => None,
        (T::Int { .. }, T::Bool) => Some(true),
        (T::Bool, T::Int { .. }) => None,
        (T::Float64, T::Int { bits, .. }) => Some(*bits <= 32),
        (T::Float32, T::Float64) => None,
        (T::Timestamp { digits }, T::TimestampTz { digits: needed }) => Some(digits >= needed),
        (have, need) => (is_plain(have) && is_plain(need)).then_some(false),
    }
}

/// Types that are understood well enough to say that two of them are apart.
fn is_plain(kind: &ColumnType) -> bool {
    use ColumnType as T;
    matches!(
        kind,
        T::Bool
            | T::Int { .. }
            | T::Float32
            | T::Float64
            | T::Decimal { .. }
            | T::Text { .. }
            | T::Bytes { .. }
            | T::Date
            | T::Time { .. }
            | T::Timestamp { .. }
            | T::TimestampTz { .. }
            | T::Uuid
    )
}

/// The least type that holds every value of both, if there is one to which a database changes a column of either without touching
/// what its values mean. A number never becomes text by itself.
pub fn join(a: &ColumnType, b: &ColumnType) -> Option<ColumnType> {
    use ColumnType as T;
    let most = |a: &u8, b: &u8| *a.max(b);
    Some(match (a, b) {
        (a, b) if a == b => a.clone(),
        (T::Int { .. } | T::Decimal { .. }, T::Int { .. } | T::Decimal { .. }) => return join_numbers(a, b),
        (T::Float32 | T::Float64, T::Float32 | T::Float64) => T::Float64,
        (T::Text { max_chars: a }, T::Text { max_chars: b }) => T::Text { max_chars: longer(*a, *b) },
        (T::Bytes { max_bytes: a }, T::Bytes { max_bytes: b }) => T::Bytes { max_bytes: longer(*a, *b) },
        (T::Time { digits: a }, T::Time { digits: b }) => T::Time { digits: most(a, b) },
        (T::Timestamp { digits: a }, T::Timestamp { digits: b }) => T::Timestamp { digits: most(a, b) },
        (T::TimestampTz { digits: a }, T::TimestampTz { digits: b }) => T::TimestampTz { digits: most(a, b) },
        (T::TimeSpan { digits: a }, T::TimeSpan { digits: b }) => T::TimeSpan { digits: most(a, b) },
        _ => return None,
    })
}

fn longer(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.max(b?))
}

/// Widths of integers.
const WIDTHS: [u8; 5] = [8, 16, 24, 32, 64];

/// Least and greatest number of an integer type.
fn range(bits: u8, unsigned: bool) -> (i128, i128) {
    if unsigned { (0, (1 << bits) - 1) } else { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) }
}

fn join_numbers(a: &ColumnType, b: &ColumnType) -> Option<ColumnType> {
    use ColumnType as T;
    if let (T::Int { bits: a, unsigned: c }, T::Int { bits: b, unsigned: d }) = (a, b) {
        let ((low, high), (other_low, other_high)) = (range(*a, *c), range(*b, *d));
        let (low, high) = (low.min(other_low), high.max(other_high));
        let unsigned = *c && *d;
        let fitting = WIDTHS.into_iter().find(|bits| {
            let (least, most) = range(*bits, unsigned);
            least <= low && high <= most
        });
        return Some(match fitting {
            Some(bits) => T::Int { bits, unsigned },
            None => T::Decimal { limit: Some((20, 0)) },
        });
    }
    // All numbers of so many digits are in the integer's range: nothing has to change.
    for (int, decimal) in [(a, b), (b, a)] {
        if let (T::Int { bits, unsigned: false }, T::Decimal { limit: Some((precision, scale)) }) = (int, decimal)
            && *scale == 0
            && *precision < digits_of(*bits, false)
        {
            return Some(int.clone());
        }
    }
    let (Some((whole, scale)), Some((other_whole, other_scale))) = (digits(a)?, digits(b)?) else {
        return Some(T::Decimal { limit: None });
    };
    let (whole, scale) = (whole.max(other_whole), scale.max(other_scale));
    let precision = u32::try_from(whole.checked_add(scale)?).ok()?;
    Some(T::Decimal { limit: Some((precision, scale)) })
}

/// Digits of the greatest number of an integer type.
fn digits_of(bits: u8, unsigned: bool) -> u32 {
    match (bits, unsigned) {
        (8, _) => 3,
        (16, _) => 5,
        (24, false) => 7,
        (24, true) => 8,
        (32, _) => 10,
        (_, false) => 19,
        (_, true) => 20,
    }
}

/// Digits before and behind the point; `Some(None)` without a limit.
#[allow(clippy::option_option)]
fn digits(kind: &ColumnType) -> Option<Option<(i32, i32)>> {
    match kind {
        ColumnType::Int { bits, unsigned } => Some(Some((i32::try_from(digits_of(*bits, *unsigned)).ok()?, 0))),
        ColumnType::Decimal { limit: None } => Some(None),
        ColumnType::Decimal { limit: Some((precision, scale)) } => {
            Some(Some((i32::try_from(*precision).ok()?.checked_sub(*scale)?, *scale)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

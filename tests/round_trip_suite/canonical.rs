//! One form for the same value, whatever database prints it. Shares no code with the program.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use lastword::core::dialect::Dialect;
use lastword::core::value::Value;

use super::{Family, Kind};
use crate::support::database::Database;

/// What a setting does to every value of a kind: both sides are compared after it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// Spans are microseconds, a month being 30.4375 days (`interval.handling.mode=numeric`).
    pub(super) spans_are_micros: bool,
    /// A destination that has no negative zero (MariaDB, SQLite): it equals zero everywhere.
    pub(super) one_zero: bool,
}

/// Types of a table's columns, as its database writes them.
pub(super) fn natives(database: &Database, table: &str) -> BTreeMap<String, String> {
    let sql = match database.dialect {
        Dialect::Postgres => format!(
            "select attname::text, format_type(atttypid, atttypmod) from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped"
        ),
        Dialect::Mysql => format!(
            "select column_name, column_type from information_schema.columns where table_schema = database() and table_name = '{table}'"
        ),
        // A name with a schema is one name there.
        Dialect::Sqlite => format!("select name, type from pragma_table_info('{}.{table}')", database.home()),
    };
    let cell = |value: &Value| match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        value => value.as_text().expect("text").to_owned(),
    };
    database.query(&sql).iter().map(|row| (cell(&row[0]), cell(&row[1]))).collect()
}

/// Cells of a table in one form, by key.
pub(super) fn cells(database: &Database, family: &Family, reading: Reading) -> BTreeMap<i64, Vec<Option<String>>> {
    let natives = natives(database, family.name);
    let native = |place: usize| {
        let found = natives.get(&format!("c{place}"));
        found.unwrap_or_else(|| panic!("no column c{place} of {} among {natives:?}", family.name)).as_str()
    };
    let selected: Vec<String> = (0..family.columns.len())
        .map(|place| expression(database.dialect, &format!("c{place}"), native(place)))
        .collect();
    let sql = format!("select id, {} from {}", selected.join(", "), database.table(family.name));
    let mut cells = BTreeMap::new();
    for row in database.query(&sql) {
        let id = row[0].as_int().expect("a key");
        let row = row[1..].iter().zip(family.columns).enumerate().map(|(place, (value, column))| match value {
            Value::Null => None,
            Value::Float64(number) => Some(canonical(column.kind, &number.to_string(), "real", reading)),
            value => Some(canonical(column.kind, value.as_text().expect("text"), native(place), reading)),
        });
        cells.insert(id, row.collect());
    }
    cells
}

/// A column as text that holds all of the value.
fn expression(dialect: Dialect, name: &str, native: &str) -> String {
    match dialect {
        Dialect::Postgres if native.starts_with("interval") => format!(
            "case when {name} is not null then concat_ws(' ', (extract(year from {name}) * 12 + extract(month from {name}))::bigint, extract(day from {name})::bigint, (extract(hour from {name}) * 3600000000 + extract(minute from {name}) * 60000000 + extract(second from {name}) * 1000000)::bigint) end"
        ),
        Dialect::Postgres if native == "hstore" => format!("hstore_to_json({name})::text"),
        // A cast writes the length of every address.
        Dialect::Postgres if native == "inet" => format!("abbrev({name})"),
        Dialect::Postgres if native == "money" => format!("{name}::numeric::text"),
        Dialect::Postgres => format!("{name}::text"),
        Dialect::Mysql if native.starts_with("float") => format!("cast(cast({name} as double) as char)"),
        Dialect::Mysql if native.starts_with("bit(") => {
            format!("lpad(bin({name}), {}, '0')", native.trim_start_matches("bit(").trim_end_matches(')'))
        }
        Dialect::Mysql if native.contains("binary") || native.contains("blob") => format!("concat('0x', hex({name}))"),
        Dialect::Mysql if ["point", "geometry", "polygon", "linestring"].contains(&native) => {
            format!("concat(st_srid({name}), ':', hex(st_aswkb({name})))")
        }
        Dialect::Mysql => format!("cast({name} as char)"),
        // As a number: SQLite's own texts of it lose digits.
        Dialect::Sqlite if native.eq_ignore_ascii_case("real") => name.to_owned(),
        Dialect::Sqlite => {
            format!("case typeof({name}) when 'blob' then '0x' || hex({name}) else cast({name} as text) end")
        }
    }
}

/// The form. What cannot be read is returned as it is, and equals nothing.
fn canonical(kind: Kind, text: &str, native: &str, reading: Reading) -> String {
    let read = match kind {
        Kind::Bool => match text {
            "true" | "t" | "1" => Some("true".to_owned()),
            "false" | "f" | "0" => Some("false".to_owned()),
            _ => None,
        },
        Kind::Bits => Some(match text {
            "true" | "t" => "1".to_owned(),
            "false" | "f" => "0".to_owned(),
            bits => bits.to_owned(),
        }),
        Kind::Number => Some(number(text)),
        Kind::Float32 => text.parse::<f32>().ok().map(|number| zero(format!("{number:?}"), reading)),
        Kind::Float64 => text.parse::<f64>().ok().map(|number| zero(format!("{number:?}"), reading)),
        Kind::Text => Some(text.to_owned()),
        Kind::Padded => Some(text.trim_end_matches(' ').to_owned()),
        Kind::Bytes => bytes(text, native),
        Kind::Date => Some(date(text)),
        Kind::Time => Some(short_fraction(text)),
        Kind::TimeTz => time_in_utc(text),
        Kind::Timestamp => Some(date_and_time(text)),
        Kind::Instant => {
            Some(date_and_time(text.trim_end_matches("+00:00").trim_end_matches("+00").trim_end_matches('Z')))
        }
        Kind::Interval => span(text, native, reading),
        Kind::Json => json(text),
        Kind::Array(element) => list(text, *element, reading),
        Kind::Point => point(text),
        Kind::Shape => shape(text),
    };
    read.unwrap_or_else(|| format!("unreadable {text}"))
}

fn zero(text: String, reading: Reading) -> String {
    if reading.one_zero && text == "-0.0" { "0.0".to_owned() } else { text }
}

/// Without zeros that say nothing.
fn number(text: &str) -> String {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.')) {
        return text.to_owned();
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{}.{fraction}", if whole.is_empty() { "0" } else { whole }),
    }
}

/// Text of the connector's binary modes stands in text columns only.
fn bytes(text: &str, native: &str) -> Option<String> {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("\\x")) {
        return Some(digits.to_ascii_lowercase());
    }
    let native = native.to_ascii_lowercase();
    if !native.contains("text") && !native.contains("char") {
        return None;
    }
    if text.len().is_multiple_of(2) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Some(text.to_owned());
    }
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok().map(hex)
}

fn short_fraction(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        kept => format!("{whole}.{kept}"),
    }
}

/// Years count on through zero: 1 BC is 0.
fn date(text: &str) -> String {
    let (text, before) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') if text != "-infinity" => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    match digits.split_once('-') {
        Some((year, rest)) if !year.is_empty() => match year.parse::<i64>() {
            Ok(year) => format!("{} {rest}", if before { 1 - year } else { sign * year }),
            Err(_) => text.to_owned(),
        },
        _ => text.to_owned(),
    }
}

fn date_and_time(text: &str) -> String {
    // PostgreSQL writes the era behind the zone.
    let (text, era) = text.strip_suffix(" BC").map_or((text, ""), |text| (text, " BC"));
    let text = text.trim_end_matches("+00");
    match text.split_once(['T', ' ']) {
        Some((day, time)) => format!("{} {}", date(&format!("{day}{era}")), short_fraction(time)),
        None => text.to_owned(),
    }
}

fn clock_micros(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60 + whole.parse::<i64>().ok()?;
    Some(seconds * 1_000_000 + fraction)
}

fn time_in_utc(text: &str) -> Option<String> {
    let text = text.strip_suffix('Z').map_or_else(|| text.to_owned(), |text| format!("{text}+00:00"));
    let at = text.rfind(['+', '-'])?;
    let (time, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let offset = offset.trim_start_matches(['+', '-']);
    let offset = if offset.contains(':') { offset.to_owned() } else { format!("{offset}:00") };
    let micros = clock_micros(time)? - sign * clock_micros(&offset)?;
    Some(micros.rem_euclid(86_400_000_000).to_string())
}

/// Months, days and microseconds; or all of it in microseconds.
fn span(text: &str, native: &str, reading: Reading) -> Option<String> {
    let is_number = text.parse::<i64>().is_ok() && !native.starts_with("interval");
    if is_number {
        return Some(text.to_owned());
    }
    let (months, days, micros) = if text.starts_with('P') {
        iso_span(text)?
    } else {
        let mut parts = text.split(' ').map(|part| part.parse::<i64>().ok());
        (parts.next()??, parts.next()??, parts.next()??)
    };
    Some(if reading.spans_are_micros {
        let micros = i128::from(months) * 2_629_800_000_000 + i128::from(days) * 86_400_000_000 + i128::from(micros);
        micros.to_string()
    } else {
        format!("{months} {days} {micros}")
    })
}

fn iso_span(text: &str) -> Option<(i64, i64, i64)> {
    let (mut months, mut days, mut micros) = (0, 0, 0);
    let (mut in_time, mut from) = (false, 1);
    for (at, letter) in text.char_indices().skip(1).filter(|(_, c)| c.is_ascii_alphabetic()) {
        let part = &text[from..at];
        from = at + 1;
        let whole = || part.parse::<i64>().ok();
        match (letter, in_time) {
            ('T', _) => in_time = true,
            ('Y', _) => months += 12 * whole()?,
            ('M', false) => months += whole()?,
            ('D', _) => days += whole()?,
            ('H', _) => micros += 3_600_000_000 * whole()?,
            ('M', true) => micros += 60_000_000 * whole()?,
            ('S', _) => {
                let (sign, part) = part.strip_prefix('-').map_or((1, part), |part| (-1, part));
                let (seconds, fraction) = part.split_once('.').unwrap_or((part, ""));
                let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
                micros += sign * (seconds.parse::<i64>().ok()? * 1_000_000 + fraction);
            }
            _ => return None,
        }
    }
    Some((months, days, micros))
}

/// The structure, and the exact numbers in their order where there is one.
fn json(text: &str) -> Option<String> {
    let structure: serde_json::Value = serde_json::from_str(text).ok()?;
    let mut numbers = Vec::new();
    let (mut in_text, mut escaped, mut current) = (false, false, String::new());
    for c in text.chars().chain([' ']) {
        if !in_text
            && (c.is_ascii_digit() || matches!(c, '-' | '.' | '+' | 'e' | 'E') && !current.is_empty() || c == '-')
        {
            current.push(c);
            continue;
        }
        if !current.is_empty() {
            numbers.push(number(&std::mem::take(&mut current)));
        }
        in_text ^= c == '"' && !escaped;
        escaped = in_text && c == '\\' && !escaped;
    }
    numbers.sort();
    Some(format!("{structure} {numbers:?}"))
}

/// PostgreSQL's `{…}` or JSON's `[…]`.
fn list(text: &str, element: Kind, reading: Reading) -> Option<String> {
    if text.starts_with('[') {
        let items: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
        return json_list(&items, text, element, reading);
    }
    let mut chars = text.strip_prefix('{')?.strip_suffix('}')?.chars().peekable();
    let (mut items, mut depth) = (Vec::new(), 0i32);
    let (mut item, mut quoted, mut any) = (String::new(), false, false);
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = true;
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    item.push(if c == '\\' { chars.next()? } else { c });
                }
            }
            '{' | '}' => {
                depth += if c == '{' { 1 } else { -1 };
                item.push(c);
            }
            ',' if depth == 0 => {
                items.push((std::mem::take(&mut item), std::mem::take(&mut quoted)));
                any = true;
            }
            c => item.push(c),
        }
    }
    if any || quoted || !item.is_empty() {
        items.push((item, quoted));
    }
    let form = |(item, quoted): (String, bool)| match (&item[..], quoted) {
        ("NULL", false) => Some("null".to_owned()),
        (item, false) if item.starts_with('{') => list(item, element, reading),
        (item, _) => Some(format!("{:?}", canonical(element, item, "text", reading))),
    };
    items.into_iter().map(form).collect::<Option<Vec<_>>>().map(|items| format!("[{}]", items.join(",")))
}

fn json_list(items: &[serde_json::Value], text: &str, element: Kind, reading: Reading) -> Option<String> {
    // Numbers by their own digits, which a parsed number may have lost.
    let raw: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
    let form = |(item, raw): (&serde_json::Value, &&serde_json::value::RawValue)| match item {
        serde_json::Value::Null => Some("null".to_owned()),
        serde_json::Value::Array(_) => list(raw.get(), element, reading),
        serde_json::Value::String(text) => Some(format!("{:?}", canonical(element, text, "text", reading))),
        _ => Some(format!("{:?}", canonical(element, raw.get(), "text", reading))),
    };
    items.iter().zip(&raw).map(form).collect::<Option<Vec<_>>>().map(|items| format!("[{}]", items.join(",")))
}

/// Reference system and body of a (E)WKB in hex, or of what MariaDB's expression prints.
fn wkb(text: &str) -> Option<(u32, Vec<u8>)> {
    let unhex = |hex: &str| -> Option<Vec<u8>> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
    };
    if let Some((srid, hex)) = text.split_once(':') {
        return Some((srid.parse().ok()?, unhex(hex)?));
    }
    let mut bytes = unhex(text.trim_start_matches("0x").trim_start_matches("\\x"))?;
    const SRID: u32 = 0x2000_0000;
    if bytes.first() != Some(&1) {
        return Some((0, bytes));
    }
    let kind = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?);
    if kind & SRID == 0 {
        return Some((0, bytes));
    }
    let srid = u32::from_le_bytes(bytes.get(5..9)?.try_into().ok()?);
    bytes.splice(1..9, (kind & !SRID).to_le_bytes());
    Some((srid, bytes))
}

fn shape(text: &str) -> Option<String> {
    let (srid, body) = match plane(text) {
        // PostgreSQL's own point knows no reference system: the WKB of the same two numbers.
        Some((x, y)) => (0, [&[1, 1, 0, 0, 0][..], &x.to_le_bytes(), &y.to_le_bytes()].concat()),
        None => wkb(text)?,
    };
    Some(format!("{srid} {body:02x?}"))
}

/// The numbers of PostgreSQL's `(x,y)`.
fn plane(text: &str) -> Option<(f64, f64)> {
    let (x, y) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some((x.parse().ok()?, y.parse().ok()?))
}

fn point(text: &str) -> Option<String> {
    if let Some((x, y)) = plane(text) {
        return Some(format!("{x:?} {y:?}"));
    }
    let (_, body) = wkb(text)?;
    let number = |at: usize| -> Option<f64> {
        let bytes: [u8; 8] = body.get(at..at + 8)?.try_into().ok()?;
        Some(if body[0] == 1 { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) })
    };
    Some(format!("{:?} {:?}", number(5)?, number(13)?))
}

#[test]
fn the_same_value_has_one_form_and_another_value_another() {
    let form = |kind, text, native| canonical(kind, text, native, Reading::default());
    let same = [
        (Kind::Number, ("001.500", "numeric"), ("1.5", "text")),
        (Kind::Date, ("0044-03-15 BC", "date"), ("-0043-03-15", "text")),
        (Kind::Instant, ("2024-01-02 03:04:05.5+00", "timestamptz"), ("2024-01-02T03:04:05.500000Z", "text")),
        (Kind::Instant, ("0044-03-15 12:00:00+00 BC", "timestamptz"), ("-0043-03-15T12:00:00Z", "text")),
        (Kind::TimeTz, ("04:05:06.12+02", "timetz"), ("02:05:06.12Z", "text")),
        (Kind::Interval, ("14 3 14706789000", "interval"), ("P1Y2M3DT4H5M6.789S", "text")),
        (Kind::Array(&Kind::Text), ("{a,\"b \\\"c\",NULL}", "text[]"), ("[\"a\", \"b \\\"c\", null]", "text")),
        (Kind::Array(&Kind::Number), ("{{1,2},{3,NULL}}", "integer[]"), ("[[1,2],[3,null]]", "text")),
        (Kind::Bytes, ("\\xDEAD", "bytea"), ("3q0=", "text")),
        (Kind::Json, ("{\"a\": 1.50, \"b\": 2}", "jsonb"), ("{\"b\":2,\"a\":1.5}", "text")),
        (Kind::Shape, ("(1.5,-2)", "point"), ("0:0101000000000000000000F83F00000000000000C0", "point")),
    ];
    for (kind, left, right) in same {
        assert_eq!(form(kind, left.0, left.1), form(kind, right.0, right.1), "{kind:?}");
    }
    let other = [
        (Kind::Number, "1.5", "-1.5"),
        (Kind::Date, "0044-03-15", "0044-03-15 BC"),
        (Kind::Timestamp, "2024-01-02 00:00:00.5", "2024-01-02 00:00:00.05"),
        (Kind::Array(&Kind::Text), "{NULL}", "{\"NULL\"}"),
        (Kind::Json, "12345678901234567890.125", "12345678901234567890.12"),
        (Kind::Float64, "0", "-0"),
    ];
    for (kind, left, right) in other {
        assert_ne!(form(kind, left, "text"), form(kind, right, "text"), "{kind:?}");
    }
}

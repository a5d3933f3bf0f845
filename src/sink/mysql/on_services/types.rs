//! Values of every type, and what the server would change silently if it were let.

use super::*;
use crate::core::failure::Class;
use crate::core::table::ColumnType;

fn blob(hex: &str) -> bytes::Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect::<Vec<_>>().into()
}

fn shape(srid: i32, hex: &str) -> Value {
    Value::Geometry { srid: Some(srid), wkb: blob(hex) }
}

const POINT: &str = "0101000000000000000000f03f0000000000000040";
const POINT_BIG_ENDIAN: &str = "00000000013ff00000000000004000000000000000";
const LINE: &str = "01020000000200000000000000000000000000000000000040000000000000f03f000000000000f03f";
const EMPTY_POINT: &str = "0101000000000000000000f87f000000000000f87f";
const POINT_Z: &str = "01e9030000000000000000f03f00000000000000400000000000000840";

/// Type, value, how the server shows it.
fn held() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let same = "CAST(v AS CHAR)";
    vec![
        ("BIT(1)", bits(1, &[0x80]), "BIN(v)", "1"),
        ("BIT(12)", bits(12, &[0x80, 0x10]), "BIN(v)", "100000000001"),
        ("BIT(64)", bits(64, &[0xff; 8]), "HEX(v)", "FFFFFFFFFFFFFFFF"),
        ("YEAR", Value::Int(0), same, "0000"),
        ("YEAR", Value::Int(1970), same, "1970"),
        ("YEAR", Value::Int(2155), same, "2155"),
        ("ENUM('A', 'it''s', 'b,c', '1', 'back\\\\slash', 'x\\ny')", "b,c".into(), same, "b,c"),
        ("ENUM('A', '2', '1')", "1".into(), same, "1"),
        ("SET('a', 'b', 'c')", "c,a".into(), same, "a,c"),
        ("SET('a', 'b', 'c')", "".into(), same, ""),
        ("TIME", Value::Time(-3_020_399_000_000), same, "-838:59:59"),
        ("TIME(6)", Value::Time(86_400_000_001), same, "24:00:00.000001"),
        ("TIME(3)", Value::Time(-1_000), same, "-00:00:00.001"),
        ("DATE", Value::Date(-719_528), same, "0000-01-01"),
        ("DATE", Value::Date(2_932_896), same, "9999-12-31"),
        ("DATETIME(6)", Value::Timestamp(-62_135_596_799_999_999), same, "0001-01-01 00:00:00.000001"),
        ("TIMESTAMP(6) NULL", Value::TimestampTz(1), same, "1970-01-01 00:00:00.000001"),
        ("TIMESTAMP(6) NULL", Value::TimestampTz(2_147_483_647_000_001), same, "2038-01-19 03:14:07.000001"),
        ("TINYINT UNSIGNED", Value::Int(255), same, "255"),
        ("MEDIUMINT UNSIGNED", Value::Int(16_777_215), same, "16777215"),
        ("INT(5) ZEROFILL", Value::Int(4_294_967_295), same, "4294967295"),
        ("BIGINT UNSIGNED", Value::UInt(u64::MAX), same, "18446744073709551615"),
        (
            "DECIMAL(65,30)",
            Value::Decimal("-0.000000000000000000000000000001".into()),
            same,
            "-0.000000000000000000000000000001",
        ),
        ("DECIMAL(5,2) UNSIGNED", Value::Decimal("999.99".into()), same, "999.99"),
        ("FLOAT", Value::Float32(16_777_217.0), "v = 16777216", "1"),
        ("DOUBLE", Value::Float64(0.1), "v = 0.1e0", "1"),
        ("INET4", "10.0.0.1".into(), same, "10.0.0.1"),
        ("INET6", "2001:DB8:0:0::1".into(), same, "2001:db8::1"),
        ("UUID", Value::Uuid([0xab; 16]), same, "abababab-abab-abab-abab-abababababab"),
        (
            "JSON",
            Value::Json("{\"a\":  1.50, \"a\": 12345678901234567890123}".into()),
            same,
            "{\"a\":  1.50, \"a\": 12345678901234567890123}",
        ),
        ("POINT", shape(4326, POINT), "CONCAT(ST_SRID(v), ST_AsText(v))", "4326POINT(1 2)"),
        ("POINT", shape(0, POINT_BIG_ENDIAN), "ST_AsText(v)", "POINT(1 2)"),
        (
            "GEOMETRY",
            Value::Geometry { srid: None, wkb: blob(LINE) },
            "CONCAT(ST_SRID(v), ST_AsText(v))",
            "0LINESTRING(0 2,1 1)",
        ),
        ("GEOMETRYCOLLECTION", shape(0, "010700000000000000"), "ST_AsText(v)", "GEOMETRYCOLLECTION EMPTY"),
        ("VARCHAR(4) CHARACTER SET latin1", "é€äÿ".into(), same, "é€äÿ"),
        ("VARCHAR(4) CHARACTER SET utf8mb3", "Ωж語ü".into(), same, "Ωж語ü"),
        ("CHAR(4) CHARACTER SET ucs2", "Ωж語ü".into(), same, "Ωж語ü"),
        ("TINYTEXT", "x".into(), same, "x"),
    ]
}

/// Type and value that the server, or lastword before it, refuses: most of them a lax session would change silently.
fn refused() -> Vec<(&'static str, Value)> {
    vec![
        ("BIT(12)", bits(13, &[0x80, 0])),
        ("BIT(64)", bits(65, &[0; 9])),
        ("YEAR", Value::Int(1900)),
        ("YEAR", Value::Int(2156)),
        ("ENUM('a')", "b".into()),
        ("ENUM('a')", "".into()),
        ("SET('a')", "a,b".into()),
        ("TIME", Value::Time(3_020_400_000_000)),
        ("DATE", Value::Date(-719_529)),
        ("DATE", Value::Date(crate::core::value::INFINITE_DAY.0)),
        ("DATETIME(6)", Value::Timestamp(crate::core::value::INFINITE_TIME.0)),
        ("DATETIME(6)", Value::Timestamp(crate::core::value::INFINITE_TIME.1)),
        ("TIMESTAMP(6) NULL", Value::TimestampTz(0)),
        ("TIMESTAMP(6) NULL", Value::TimestampTz(-1)),
        ("TIMESTAMP(6) NULL", Value::TimestampTz(2_147_483_648_000_000)),
        ("TINYINT UNSIGNED", Value::Int(256)),
        ("INT UNSIGNED", Value::Int(-1)),
        ("BIGINT", Value::UInt(u64::MAX)),
        ("DECIMAL(5,2) UNSIGNED", Value::Decimal("-1.00".into())),
        ("DECIMAL(5,2)", Value::Decimal("1000.00".into())),
        ("DECIMAL(5,2)", Value::Decimal("NaN".into())),
        ("FLOAT", Value::Float32(f32::INFINITY)),
        ("DOUBLE", Value::Float64(f64::NAN)),
        ("FLOAT UNSIGNED", Value::Float32(-1.0)),
        ("INET4", "10.0.0.0/8".into()),
        ("INET6", "10.0.0.1".into()),
        ("UUID", "abc".into()),
        ("JSON", Value::from("{")),
        ("POINT", shape(0, LINE)),
        ("POINT", shape(0, EMPTY_POINT)),
        ("GEOMETRY", shape(0, POINT_Z)),
        ("GEOMETRY", shape(0, &POINT[..40])),
        ("LINESTRING", shape(0, POINT)),
        ("VARCHAR(4) CHARACTER SET latin1", "Ω".into()),
        ("VARCHAR(4) CHARACTER SET utf8mb3", "😀".into()),
        ("VARCHAR(4) CHARACTER SET ascii", "ü".into()),
        ("VARCHAR(4)", "12345".into()),
        ("VARCHAR(4)", "1234 ".into()),
        ("CHAR(4)", "a ".into()),
        ("BINARY(3)", Value::bytes(&[1, 2])),
        ("VARBINARY(2)", Value::bytes(&[1, 2, 3])),
        ("TINYTEXT", Value::from("ü".repeat(128))),
    ]
}

/// A table with a column `v0`, `v1`, … of each type.
async fn table_of(world: &mut World, name: &str, natives: impl Iterator<Item = &'static str>) -> Arc<Table> {
    let columns: Vec<String> = natives.enumerate().map(|(number, native)| format!("v{number} {native}, ")).collect();
    let ddl = format!(
        "CREATE TABLE {name} (id INT PRIMARY KEY, {}_lastword_token VARBINARY(48)) DEFAULT CHARACTER SET utf8mb4",
        columns.concat()
    );
    world.table(name, &ddl, &["id"], HARD).await
}

/// Invariant 5: each value is what the server shows, NULL is NULL, and what a column cannot hold leaves no trace.
#[tokio::test]
async fn values_of_every_type_are_held_or_refused() {
    let mut world = world("types").await;
    let mode = world.rows("SELECT @@SESSION.sql_mode").await;
    for strict in ["STRICT_ALL_TABLES", "NO_ZERO_DATE", "NO_ZERO_IN_DATE", "NO_AUTO_VALUE_ON_ZERO"] {
        assert!(mode[0].contains(strict), "{mode:?}");
    }
    let held = held();
    let table = table_of(&mut world, "held", held.iter().map(|(native, ..)| *native)).await;
    let all: Vec<usize> = (0..=held.len()).collect();
    let row = |value: &dyn Fn(&Value) -> Value| {
        std::iter::once(Value::Int(1)).chain(held.iter().map(|(_, held, ..)| value(held))).collect::<Vec<_>>()
    };
    // A new row, a row that is written over, NULL over it.
    for token in 1..=3 {
        let values = row(&|value| if token < 3 { value.clone() } else { Value::Null });
        world.apply(&plan_of(&table, &all, vec![upsert(token, values)], Vec::new())).await;
        for (number, (native, value, show, shown)) in held.iter().enumerate() {
            assert_ne!(table.shape.columns[number + 1].kind, ColumnType::Unsupported, "{native}");
            let show = show.replace('v', &format!("v{number}"));
            let found = world.rows(&format!("SELECT COALESCE({show}, 'NULL') FROM held")).await;
            assert_eq!(found, [if token < 3 { shown } else { "NULL" }], "{native} {value:?}");
        }
    }
    let refused = refused();
    let table = table_of(&mut world, "refused", refused.iter().map(|(native, _)| *native)).await;
    for (number, (native, value)) in refused.into_iter().enumerate() {
        let bad = upsert(1, vec![Value::Int(1), value.clone()]);
        let plan = plan_of(&table, &[0, number + 1], vec![bad], Vec::new());
        let failure = world.session.apply(&plan).await.expect_err(&format!("{native} {value:?}"));
        assert_eq!(failure.class, Class::Record, "{native} {value:?}: {failure}");
        let named = failure.message.contains(&format!("v{number}"));
        assert!(named || failure.code == "mysql 1416", "{native} {value:?}: {failure}");
        assert_eq!(world.rows("SELECT id FROM refused").await, Vec::<String>::new(), "{native}");
    }
    world.end().await;
}

/// Labels come from the server's own text of the type, whatever is in them (but characters beyond utf8mb3: their labels are `?` there,
/// and such values are refused).
#[tokio::test]
async fn labels_are_what_the_table_was_made_with() {
    let mut world = world("labels").await;
    let wanted = ["A", "it's", "b,c", "back\\slash", "tab\tline\n\r", "\u{1a}\u{8}", "ü\"`", ")", "%_", ""];
    let quoted: Vec<String> =
        wanted.iter().map(|label| format!("'{}'", label.replace('\\', "\\\\").replace('\'', "''"))).collect();
    let ddl = format!(
        "CREATE TABLE t (id INT PRIMARY KEY, v ENUM({}), _lastword_token VARBINARY(48)) \
         DEFAULT CHARACTER SET utf8mb4",
        quoted.join(", ")
    );
    let table = world.table("t", &ddl, &["id"], HARD).await;
    let ColumnType::Choice { labels, several: false } = &table.shape.columns[1].kind else {
        panic!("{:?}", table.shape.columns[1]);
    };
    assert_eq!(labels, &wanted);
    for (number, label) in wanted.iter().enumerate() {
        let row = upsert(number as u64 + 1, vec![Value::Int(1), Value::from(*label)]);
        world.apply(&plan_of(&table, &[0, 1], vec![row], Vec::new())).await;
        let found = world.session.query("SELECT v + 0 FROM t", &[]).await.expect("number");
        assert_eq!(found, [[Value::Int(number as i64 + 1)]], "{label:?}");
    }
    world.end().await;
}

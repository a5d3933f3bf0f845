//! The types of MariaDB. INET4 and INET6 are not among them: a captured table that has one stops the connector at its snapshot.

use super::Kind::{Bits, Bytes, Date, Float32, Float64, Instant, Json, Number, Shape, Text, Time, Timestamp};
use super::{Family, Values, column};

/// All types.
pub(super) const FAMILIES: [Family; 5] = [NUMBERS, TEXTS, BINARY, TIMES, SHAPES];

const NUMBERS: Family = Family {
    name: "numbers",
    columns: &[
        column("tinyint", Number, Values::Int(-128, 128), &["-128", "127"]),
        column("tinyint unsigned", Number, Values::Int(0, 256), &["0", "255"]),
        column("tinyint(1)", Number, Values::None, &["0", "1"]),
        column("smallint", Number, Values::Int(-32768, 32768), &["-32768", "32767"]),
        column("smallint unsigned", Number, Values::Int(0, 65536), &["65535"]),
        column("mediumint", Number, Values::Int(-8_388_608, 8_388_608), &["-8388608", "8388607"]),
        column("mediumint unsigned", Number, Values::Int(0, 16_777_216), &["16777215"]),
        column("int", Number, Values::Int(-2_147_483_648, 2_147_483_648), &["-2147483648", "2147483647"]),
        column("int unsigned", Number, Values::Int(0, 4_294_967_296), &["4294967295"]),
        column(
            "bigint",
            Number,
            Values::Int(i64::MIN, i64::MAX),
            &["-9223372036854775808", "9223372036854775807", "9007199254740993"],
        ),
        column(
            "bigint unsigned",
            Number,
            Values::Int(0, i64::MAX),
            &["0", "9223372036854775807", "9223372036854775808", "18446744073709551615"],
        ),
        column("decimal(12,4)", Number, Values::Decimal(12, 4), &["0", "-0.0001", "99999999.9999", "1.5000"]),
        column(
            "decimal(65,30)",
            Number,
            Values::Decimal(65, 30),
            &["99999999999999999999999999999999999.999999999999999999999999999999"],
        ),
        column("decimal(20,0) unsigned", Number, Values::Int(0, i64::MAX), &["99999999999999999999"]),
        column("float", Float32, Values::None, &["0", "1.5", "-3.402823466e38", "16777216", "1.17549435e-38"]),
        column("double", Float64, Values::Float64, &["0", "-1.7976931348623157e308", "0.1", "2.2250738585072014e-308"]),
        column("bit(1)", Bits, Values::None, &["b'0'", "b'1'"]),
        column("bit(12)", Bits, Values::Bits(12), &["b'0'", "b'100000000000'", "b'1'"]),
        column("bit(64)", Bits, Values::Bits(64), &["b'0'", "18446744073709551615"]),
        column("year", Number, Values::Int(1901, 2156), &["1901", "2155"]),
    ],
};

const TEXTS: Family = Family {
    name: "texts",
    columns: &[
        column("char(5)", Text, Values::None, &["''", "'ab'", "'äöü😀x'"]),
        column("varchar(20)", Text, Values::Text(18), &["''", "' a '", "repeat('😀', 20)"]),
        column("tinytext", Text, Values::Text(30), &["''"]),
        column("text", Text, Values::Text(60), &["''", "repeat('x', 60000)"]),
        column("mediumtext", Text, Values::Text(60), &["repeat('x', 70000)"]),
        column("longtext", Text, Values::Text(60), &["''"]),
        column("varchar(10) character set latin1", Text, Values::None, &["'äöü'"]),
        column("enum('a','b c','très')", Text, Values::None, &["'a'", "'b c'", "'très'"]),
        column("set('x','y','z')", Text, Values::None, &["''", "'x'", "'x,z'"]),
        column(
            "json",
            Json,
            Values::None,
            &["'{}'", "'{\"b\": 1, \"a\": [null, true, \"ü\"]}'", "'12345678901234567890.125'"],
        ),
        column("uuid", Text, Values::Uuid, &["'00000000-0000-0000-0000-000000000001'"]),
    ],
};

const BINARY: Family = Family {
    name: "binary_values",
    columns: &[
        column("binary(4)", Bytes, Values::Bytes(4), &["x''", "x'00'", "x'ffffffff'"]),
        column("varbinary(10)", Bytes, Values::Bytes(10), &["x''", "x'0000'"]),
        column("tinyblob", Bytes, Values::Bytes(40), &["x''"]),
        column("blob", Bytes, Values::Bytes(40), &["x'ff00fe'", "unhex(repeat('ab', 60000))"]),
        column("longblob", Bytes, Values::Bytes(40), &["unhex(repeat('cd', 70000))"]),
    ],
};

const TIMES: Family = Family {
    name: "times",
    columns: &[
        column(
            "date",
            Date,
            Values::Date,
            &[
                "'1970-01-01'",
                "'1000-01-01'",
                "'9999-12-31'",
                "'1582-10-10'",
                "'0001-01-01'",
                "'0000-00-00'",
                "'2024-00-10'",
            ],
        ),
        column(
            "time",
            Time,
            Values::Time(0),
            &["'00:00:00'", "'23:59:59'", "'24:00:00'", "'-12:34:56'", "'838:59:59'", "'-838:59:59'"],
        ),
        column("time(3)", Time, Values::Time(3), &["'-00:00:00.001'", "'100:00:00.5'"]),
        column("time(6)", Time, Values::Time(6), &["'23:59:59.999999'", "'-838:59:58.999999'"]),
        column(
            "datetime",
            Timestamp,
            Values::Timestamp(0),
            &["'1970-01-01 00:00:00'", "'1000-01-01 00:00:00'", "'1582-10-10 12:00:00'", "'0000-00-00 00:00:00'"],
        ),
        column("datetime(3)", Timestamp, Values::Timestamp(3), &["'9999-12-31 23:59:59.999'"]),
        column(
            "datetime(6)",
            Timestamp,
            Values::Timestamp(6),
            &["'9999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00'"],
        ),
        column(
            "timestamp",
            Instant,
            Values::Instant(0),
            &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"],
        ),
        column("timestamp(3)", Instant, Values::Instant(3), &["'2024-02-29 23:59:59.999'"]),
        column("timestamp(6)", Instant, Values::Instant(6), &["'2024-02-29 23:59:59.999999'"]),
    ],
};

const SHAPES: Family = Family {
    name: "shapes",
    columns: &[
        column(
            "point",
            Shape,
            Values::None,
            &["st_geomfromtext('POINT(1.5 -2)')", "st_geomfromtext('POINT(1 2)', 4326)"],
        ),
        column(
            "geometry",
            Shape,
            Values::None,
            &["st_geomfromtext('LINESTRING(0 0,1 1,2 0)')", "st_geomfromtext('POINT(3 4)', 4326)"],
        ),
        column("polygon", Shape, Values::None, &["st_geomfromtext('POLYGON((0 0,1 0,1 1,0 0))')"]),
    ],
};

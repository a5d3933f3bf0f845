//! The types of PostgreSQL. Others are left out by the connector: composite types, lines and polygons, arrays of money and intervals.

use super::Kind::{
    Array, Bits, Bool, Bytes, Date, Float32, Float64, Instant, Interval, Json, Number, Padded, Point, Text, Time,
    TimeTz, Timestamp,
};
use super::{Family, Values, column};

/// What the types need in a database.
pub(super) const PREPARE: [&str; 4] = [
    "create extension citext",
    "create extension hstore",
    "create extension ltree",
    "create type mood as enum ('calm', 'so-so', 'quo''ted \"x\"', 'très content')",
];

/// All types.
pub(super) const FAMILIES: [Family; 8] = [NUMBERS, TEXTS, BINARY, TIMES, NETWORK, DOCUMENTS, LISTS, RANGES];

const NUMBERS: Family = Family {
    name: "numbers",
    columns: &[
        column("boolean", Bool, Values::None, &["true", "false"]),
        column("smallint", Number, Values::Int(-32768, 32768), &["-32768", "32767", "0"]),
        column("integer", Number, Values::Int(-2_147_483_648, 2_147_483_648), &["-2147483648", "2147483647"]),
        column(
            "bigint",
            Number,
            Values::Int(i64::MIN, i64::MAX),
            &["-9223372036854775808", "9223372036854775807", "9007199254740993"],
        ),
        column("oid", Number, Values::Int(0, 1 << 32), &["0", "4294967295"]),
        column(
            "numeric(12,4)",
            Number,
            Values::Decimal(12, 4),
            &["0", "-0.0001", "99999999.9999", "-99999999.9999", "1.5000", "'NaN'"],
        ),
        column(
            "numeric(38,10)",
            Number,
            Values::Decimal(38, 10),
            &["9999999999999999999999999999.9999999999", "-0.0000000001"],
        ),
        column("numeric(5,0)", Number, Values::Decimal(5, 0), &["99999", "-99999"]),
        column("numeric(3,-2)", Number, Values::None, &["99900", "-12300"]),
        column("numeric(3,5)", Number, Values::None, &["0.00999", "-0.00001"]),
        column(
            "numeric",
            Number,
            Values::Decimal(24, 7),
            &[
                "0",
                "1.50",
                "0.000000000000000000000000000000000000000000000000001",
                "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890.5",
                "1e300",
                "'NaN'",
                "'Infinity'",
                "'-Infinity'",
            ],
        ),
        column(
            "real",
            Float32,
            Values::Float32,
            &["0", "'-0'", "3.4028235e38", "1.17549435e-38", "1e-45", "16777217", "'NaN'", "'Infinity'", "'-Infinity'"],
        ),
        column(
            "double precision",
            Float64,
            Values::Float64,
            &["0", "'-0'", "1.7976931348623157e308", "5e-324", "0.1", "'NaN'", "'Infinity'", "'-Infinity'"],
        ),
        column("money", Number, Values::Decimal(9, 2), &["0", "'-12.34'", "'92233720368547758.07'"]),
    ],
};

const TEXTS: Family = Family {
    name: "texts",
    columns: &[
        column("text", Text, Values::Text(60), &["''", "' a '", "'Ünïcödé 😀'", "e'\\u0001'", "repeat('x', 70000)"]),
        column("varchar(20)", Text, Values::Text(18), &["''", "repeat('😀', 20)"]),
        column("char(5)", Padded, Values::None, &["''", "'ab'", "'abcde'"]),
        column("citext", Text, Values::Text(20), &["'MiXed'"]),
        column("name", Text, Values::None, &["'a name'"]),
        column("\"char\"", Text, Values::None, &["'x'"]),
        column("xml", Text, Values::None, &["'<a b=\"1\">x &amp; y</a>'"]),
        column("mood", Text, Values::None, &["'calm'", "'quo''ted \"x\"'", "'très content'"]),
        column("ltree", Text, Values::None, &["'Top.Science.Astronomy'", "''"]),
        column("tsvector", Text, Values::None, &["'a:1A fat:2B,4C cat:5'", "''"]),
        column("uuid", Text, Values::Uuid, &["'00000000-0000-0000-0000-000000000000'"]),
    ],
};

const BINARY: Family = Family {
    name: "binary_values",
    columns: &[
        column(
            "bytea",
            Bytes,
            Values::Bytes(40),
            &["''", "'\\x00'", "'\\xff00fe'", "decode(repeat('ab', 70000), 'hex')"],
        ),
        column("bit(1)", Bits, Values::None, &["b'0'", "b'1'"]),
        column("bit(12)", Bits, Values::Bits(12), &["b'000000000000'", "b'100000000000'", "b'000000000001'"]),
        column("bit(70)", Bits, Values::Bits(70), &[]),
        column("bit varying(20)", Bits, Values::None, &["b''", "b'0'", "b'0001'", "b'10000000000000000000'"]),
        column("bit varying", Bits, Values::None, &["b''", "b'0000000000'"]),
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
                "'0001-01-01'",
                "'9999-12-31'",
                "'1582-10-10'",
                "'0044-03-15 BC'",
                "'5874897-12-31'",
                "'infinity'",
                "'-infinity'",
            ],
        ),
        column("time", Time, Values::Time(6), &["'00:00'", "'23:59:59.999999'", "'24:00:00'"]),
        column("time(3)", Time, Values::Time(3), &["'23:59:59.999'", "'24:00:00'"]),
        column("timetz", TimeTz, Values::Time(6), &["'04:05:06.12+02'", "'00:00:00+14'", "'24:00:00+00'"]),
        column(
            "timestamp",
            Timestamp,
            Values::Timestamp(6),
            &[
                "'1970-01-01 00:00:00'",
                "'0001-01-01 00:00:00'",
                "'1582-10-10 12:00:00'",
                "'9999-12-31 23:59:59.999999'",
                "'0044-03-15 12:00:00 BC'",
                "'12345-01-01 00:00:00.5'",
                "'294276-12-31 23:59:59.999999'",
                "'infinity'",
                "'-infinity'",
            ],
        ),
        column("timestamp(3)", Timestamp, Values::Timestamp(3), &["'2024-02-29 23:59:59.999'", "'infinity'"]),
        column("timestamp(0)", Timestamp, Values::Timestamp(0), &["'2024-02-29 23:59:59'"]),
        column(
            "timestamptz",
            Instant,
            Values::Instant(6),
            &[
                "'1970-01-01 00:00:00+00'",
                "'0001-01-01 00:00:00+00'",
                "'1582-10-10 12:00:00+00'",
                "'9999-12-31 23:59:59.999999+00'",
                "'0044-03-15 12:00:00+00 BC'",
                "'12345-01-01 00:00:00+00'",
                "'infinity'",
                "'-infinity'",
            ],
        ),
        column("timestamptz(3)", Instant, Values::Instant(3), &["'2038-01-19 03:14:08.123+00'"]),
        column(
            "interval",
            Interval,
            Values::None,
            &[
                "'0'",
                "'1 day'",
                "'24:00:00'",
                "'1 year 2 mons 3 days 04:05:06.789'",
                "'-1 mons +2 days -00:00:00.000001'",
                "'178000000 years'",
            ],
        ),
    ],
};

const NETWORK: Family = Family {
    name: "network",
    columns: &[
        column("inet", Text, Values::None, &["'192.168.0.1'", "'10.1.2.3/8'", "'::1'", "'2001:db8::1/64'"]),
        column("cidr", Text, Values::None, &["'10.0.0.0/8'", "'2001:db8::/32'"]),
        column("macaddr", Text, Values::None, &["'08:00:2b:01:02:03'"]),
        column("macaddr8", Text, Values::None, &["'08:00:2b:01:02:03:04:05'"]),
        column("point", Point, Values::None, &["'(1.5,-2)'", "'(0,1e300)'"]),
    ],
};

const DOCUMENTS: Family = Family {
    name: "documents",
    columns: &[
        column(
            "json",
            Json,
            Values::None,
            &[
                "'{}'",
                "'{\"b\": 1, \"a\": [null, true, \"ü\\u0041\"]}'",
                "'12345678901234567890.125'",
                "'null'",
                "'\"x\"'",
            ],
        ),
        column(
            "jsonb",
            Json,
            Values::None,
            &["'{}'", "'{\"b\": 1, \"a\": [null, true, \"ü\"]}'", "'12345678901234567890.125'", "'null'"],
        ),
        column("hstore", Json, Values::None, &["''", "'a=>1, \"b c\"=>NULL, \"d\\\"\"=>\"x,y\"'"]),
    ],
};

const LISTS: Family = Family {
    name: "lists",
    columns: &[
        column("int[]", Array(&Number), Values::None, &["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'"]),
        column("bigint[]", Array(&Number), Values::None, &["'{9223372036854775807,NULL}'"]),
        column("smallint[]", Array(&Number), Values::None, &["'{1,2}'"]),
        column("text[]", Array(&Text), Values::None, &["'{}'", "'{a,\"b c\",NULL,\"NULL\",\"q\\\"\\\\,{}\",\"\"}'"]),
        column("varchar(3)[]", Array(&Text), Values::None, &["'{abc,\"😀\"}'"]),
        column("boolean[]", Array(&Bool), Values::None, &["'{t,f,NULL}'"]),
        column("numeric(10,2)[]", Array(&Number), Values::None, &["'{1.50,-99999999.99,NULL}'"]),
        column("real[]", Array(&Float32), Values::None, &["'{1.5,NaN,Infinity}'"]),
        column("double precision[]", Array(&Float64), Values::None, &["'{0.1,NaN,-Infinity,NULL}'"]),
        column("uuid[]", Array(&Text), Values::None, &["'{00000000-0000-0000-0000-000000000001,NULL}'"]),
        column("date[]", Array(&Date), Values::None, &["'{2024-02-29,NULL}'"]),
        column("timestamp[]", Array(&Timestamp), Values::None, &["'{\"2024-02-29 01:02:03.000004\"}'"]),
        column("timestamptz[]", Array(&Instant), Values::None, &["'{\"2024-02-29 01:02:03.5+00\",NULL}'"]),
        column("mood[]", Array(&Text), Values::None, &["'{calm,so-so}'"]),
        column("bytea[]", Array(&Bytes), Values::None, &["'{\"\\\\\\\\x00ff\",NULL}'"]),
        column("jsonb[]", Array(&Json), Values::None, &["array['{\"a\": 1}'::jsonb]"]),
        column("inet[]", Array(&Text), Values::None, &["'{10.0.0.1}'"]),
    ],
};

const RANGES: Family = Family {
    name: "ranges",
    columns: &[
        column("int4range", Text, Values::None, &["'[1,10)'", "'empty'", "'(,5)'"]),
        column("int8range", Text, Values::None, &["'[1,9223372036854775807)'"]),
        column("numrange", Text, Values::None, &["'(1.5,2.50]'"]),
        column(
            "tsrange",
            Text,
            Values::None,
            &["'[2024-01-01 00:00,2024-02-01 00:00:00.5)'", "'[2024-01-01,infinity)'"],
        ),
        column("tstzrange", Text, Values::None, &["'[2024-01-01 00:00+00,)'"]),
        column("daterange", Text, Values::None, &["'[2024-01-01,2024-02-01)'"]),
    ],
};

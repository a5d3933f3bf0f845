//! Values there and back: parameters, COPY, results.

use super::*;
use crate::core::failure::Class;

const BODY: &str = "id bigint primary key, b boolean, i2 smallint, i4 integer, f4 real, f8 double precision, n numeric, \
    n2 numeric(12,3), t text, vc varchar(10), raw bytea, d date, tm time, tm0 time(0), ts timestamp, ts3 timestamp(3), \
    tz timestamptz, u uuid, j json, jb jsonb, _lastword_token bytea";

fn rows() -> Vec<Vec<Value>> {
    let decimal = |text: &str| Value::Decimal(text.into());
    let full = |id: i64| {
        vec![
            Value::Int(id),
            Value::Bool(true),
            Value::Int(-32_768),
            Value::Int(2_147_483_647),
            Value::Float32(1.5e-10),
            Value::Float64(-0.1),
            decimal("-123456789012345678901234567890.000100"),
            decimal("-999999999.999"),
            Value::text("Größe\n\\N\t'\""),
            Value::text("ten chars!"),
            Value::bytes(&[0, 255, 7]),
            Value::Date(-800_000),
            Value::Time(86_400_000_000),
            Value::Time(3_000_000),
            Value::Timestamp(-62_135_596_800_000_001),
            Value::Timestamp(1_700_000_000_123_000),
            Value::TimestampTz(1_700_000_000_123_456),
            Value::Uuid([7; 16]),
            Value::Json("{\"a\" : 1e400}".into()),
            Value::Json("{\"a\": [1, null]}".into()),
        ]
    };
    let mut extreme = full(2);
    extreme[5] = Value::Float64(f64::MIN_POSITIVE);
    extreme[6] = decimal(&format!("{}.{}", "7".repeat(400), "3".repeat(200)));
    extreme[7] = decimal("0.000");
    extreme[11] = Value::Date(2_145_042_905);
    extreme[14] = Value::Timestamp(-210_866_803_200_000_000);
    let mut nulls = vec![Value::Null; extreme.len()];
    nulls[0] = Value::Int(3);
    vec![full(1), extreme, nulls]
}

#[tokio::test]
async fn every_type_comes_back_as_it_went() {
    let mut s = session().await;
    let t = make(&mut s, "t_types", BODY, HARD).await;
    let columns: Vec<usize> = (0..t.shape.columns.len()).collect();
    let upserts = rows().into_iter().map(|values| Upsert { token: token(1), values });
    let group = UpsertGroup { columns: columns.into(), rows: upserts.collect() };
    let table_plan = TablePlan { upserts: vec![group], ..TablePlan::new(Arc::clone(&t)) };
    assert_eq!(apply(&mut s, &plan(vec![table_plan])).await.applied, 3);
    let names = "id, b, i2, i4, f4, f8, n, n2, t, vc, raw, d, tm, tm0, ts, ts3, tz, u, j, jb";
    assert_eq!(s.query(&format!("select {names} from t_types order by id"), &[]).await.expect("rows"), rows());
    // As the server prints them: no shift of an epoch, no lost digit.
    let printed = "select ts::text, tz::text, d - date '1970-01-01', tm::text, n::text from t_types where id = 1";
    assert_eq!(
        show(&mut s, printed).await,
        "0001-12-31 23:59:59.999999 BC,2023-11-14 22:13:20.123456+00,-800000,24:00:00,\
         -123456789012345678901234567890.000100"
    );
}

#[tokio::test]
async fn parameters_take_the_type_of_their_place() {
    let mut s = session().await;
    let sql = "select $1::int2, $2::text, $3::numeric, $4::bytea, $5::timestamptz, $6::jsonb, $7::interval::text, $8::text, $9::bool";
    let params = [
        Value::Int(7),
        Value::Int(8),
        Value::Int(9),
        Value::bytes(b"x"),
        Value::TimestampTz(5),
        Value::text("{}"),
        Value::text("1 day"),
        Value::Null,
        Value::Bool(false),
    ];
    let back = s.query(sql, &params).await.expect("a row");
    let expected = vec![
        Value::Int(7),
        Value::text("8"),
        Value::Decimal("9".into()),
        Value::bytes(b"x"),
        Value::TimestampTz(5),
        Value::Json("{}".into()),
        Value::text("1 day"),
        Value::Null,
        Value::Bool(false),
    ];
    assert_eq!(back, [expected]);
    for (sql, value) in [
        ("select $1::int2", Value::Int(70_000)),
        ("select $1::int8", Value::text("secret")),
        ("select $1::text", Value::text("secret\0")),
    ] {
        let failure = s.query(sql, &[value]).await.expect_err(sql);
        assert!(failure.class == Class::Record && !failure.to_string().contains("secret"), "{failure}");
    }
    assert_eq!(s.query("select $1::int2", &[]).await.expect_err("no parameter").class, Class::Operator);
    for sql in ["select array[1]", "select '1 day'::interval", "select '1.5'::money"] {
        assert_eq!(s.query(sql, &[]).await.expect_err(sql).code, "result", "{sql}");
    }
    assert_eq!(show(&mut s, "select 1").await, "1", "the session goes on");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_column() {
    let mut s = session().await;
    let t = make(
        &mut s,
        "t_refused",
        "id bigint primary key, v varchar(3), n numeric(4,2), ts timestamp(3), j jsonb, _lastword_token bytea",
        HARD,
    )
    .await;
    let good = vec![Value::Int(1), Value::text("abc"), Value::Null, Value::Null, Value::Null];
    // Enough rows for the first chunks to be under way when the bad one is met.
    let with = |at: usize, value: Value| {
        let mut rows: Vec<Vec<Value>> = (10..20_000)
            .map(|id| {
                let mut row = good.clone();
                row[0] = Value::Int(id);
                row
            })
            .collect();
        let mut bad = good.clone();
        bad[at] = value;
        rows.push(bad);
        let rows = rows.into_iter().map(|values| Upsert { token: token(1), values }).collect();
        let group = UpsertGroup { columns: Arc::from([0, 1, 2, 3, 4]), rows };
        plan(vec![TablePlan { upserts: vec![group], ..TablePlan::new(Arc::clone(&t)) }])
    };
    for (at, column, value, code) in [
        (1, "\"v\"", Value::text("secret"), "22001"),
        (1, "\"v\"", Value::text("\0"), "unencodable_value"),
        (2, "\"n\"", Value::Decimal("1.234".into()), "unencodable_value"),
        (3, "\"ts\"", Value::Timestamp(1), "unencodable_value"),
        (4, "\"j\"", Value::Json("{\"secret\": \"\\u0000\"}".into()), "22P05"),
        (4, "\"j\"", Value::Json("{secret".into()), "22P02"),
    ] {
        let failure = s.apply(&with(at, value)).await.expect_err(column);
        assert_eq!(
            (failure.class, failure.code.as_str(), failure.connection_lost),
            (Class::Record, code, false),
            "{failure}"
        );
        let text = failure.to_string();
        assert!(text.contains(column) && text.contains("t_refused") && !text.contains("secret"), "{text}");
    }
    assert_eq!(show(&mut s, "select count(*) from t_refused").await, "0");
    assert_eq!(apply(&mut s, &with(1, Value::text("abc"))).await.applied, 19_991);
}

use proptest::prelude::*;

use super::super::wire::{Field, WireType};
use super::*;

fn source() -> SourceTable {
    SourceTable {
        schema: Some("Inventory".into()),
        table: "OrderItems".into(),
        database: Some("Shop DB".into()),
        server: Some("harbor".into()),
    }
}

fn named(template: &str, topic: &str, expression: &str, case: Case) -> Result<TableName, String> {
    let source = source();
    let expression = Regex::new(expression).expect("an expression");
    let template: Template = template.parse()?;
    template.check_groups(Some(&expression))?;
    let event = Event { topic, source: &source, groups: expression.captures(topic) };
    template.table(&event, case).map_err(|why| why.to_string())
}

#[test]
fn templates_are_filled() {
    const VERSIONS: &str = r"^x\.(?:(?<version>v\d+)\.)?(?<tenant>[^.]+)\.(?<table>[^.]+)$";
    let table = [
        ("t", "x.a.b", Case::Keep, "t"),
        ("${topic}", "x.a.b", Case::Keep, "\"x.a.b\""),
        ("${topic}", "x.a.b", Case::Snake, "x_a_b"),
        ("cdc.${source.schema}_${source.table}", "x.a.b", Case::Keep, "cdc.Inventory_OrderItems"),
        ("Cdc.${source.schema}_${source.table}", "x.a.b", Case::Lower, "Cdc.inventory_orderitems"),
        ("${source.db}.${source.table}", "x.a.b", Case::Snake, "shop_db.order_items"),
        ("${source.name}.${source.table}", "x.a.b", Case::Upper, "HARBOR.ORDERITEMS"),
        ("${tenant}.${table}", "x.acme.b", Case::Keep, "acme.b"),
        ("${2}.${3}", "x.v2.acme.b", Case::Keep, "acme.b"),
        ("${tenant}.${table}_${version:-v1}", "x.acme.b", Case::Keep, "acme.b_v1"),
        ("${tenant}.${table}_${version:-v1}", "x.v2.acme.b", Case::Keep, "acme.b_v2"),
        ("${tenant}.${table}${version:-}", "x.acme.b", Case::Keep, "acme.b"),
        ("\"a.b\".\"q\"\"${tenant}\"", "x.acme.b", Case::Keep, "\"a.b\".\"q\"\"acme\""),
        ("price_$$", "x.a.b", Case::Keep, "price_$"),
        ("${tenant}.t", "x.a;drop\"b.b", Case::Keep, "\"a;drop\"\"b\".t"),
    ];
    for (template, topic, case, wanted) in table {
        let name = named(template, topic, VERSIONS, case).unwrap_or_else(|why| panic!("{template}: {why}"));
        assert_eq!(name.to_string(), wanted, "{template} of {topic}");
    }
}

#[test]
fn templates_that_cannot_be_meant_are_refused() {
    for template in [
        "",
        ".",
        "a.",
        "a.b.c",
        "\"a",
        "\"a\"b",
        "a\0",
        "$",
        "a$b",
        "${",
        "${}",
        "${tenant",
        "${source.tabel}",
        "${a-b}",
        "${9}",
    ] {
        let refused = named(template, "x.a.b", r"^x\.(?<tenant>.*)$", Case::Keep);
        assert!(refused.is_err(), "{template:?} became {refused:?}");
    }
    // A group that took no part has no value, and nobody guesses one.
    let why = named("${a}_${b}", "x", "^(?<a>x)(?<b>y)?", Case::Keep).expect_err("no value");
    assert!(why.contains("${…:-value}"), "{why}");
    let plain: Template = "${tenant}".parse().expect("a template");
    assert!(plain.check_groups(None).is_err());
}

#[test]
fn names_of_the_database_and_of_lastword_are_never_written_to() {
    for (dialect, name, is_reserved) in [
        (Dialect::Postgres, "LastWord.t", true),
        (Dialect::Postgres, "pg_catalog.pg_class", true),
        (Dialect::Postgres, "information_schema.t", true),
        (Dialect::Postgres, "lastword_x.t", false),
        (Dialect::Mysql, "mysql.user", true),
        (Dialect::Mysql, "Sys.t", true),
        (Dialect::Mysql, "app.LASTWORD_feed", true),
        (Dialect::Mysql, "app.feed", false),
        (Dialect::Sqlite, "sqlite_schema", true),
        (Dialect::Sqlite, "lastword_x.t", true),
        (Dialect::Sqlite, "app.t", false),
    ] {
        assert_eq!(reserved(dialect, &name.parse().expect("a name")).is_some(), is_reserved, "{dialect:?} {name}");
    }
}

#[test]
fn styles() {
    for (name, lower, snake, camel) in [
        ("OrderItems", "orderitems", "order_items", "orderItems"),
        ("ORDER_ITEMS", "order_items", "order_items", "orderItems"),
        ("orderID", "orderid", "order_id", "orderId"),
        ("HTTPServer", "httpserver", "http_server", "httpServer"),
        ("a1B2", "a1b2", "a1_b2", "a1B2"),
        ("_id", "_id", "_id", "_id"),
        ("__OrderId", "__orderid", "__order_id", "__orderId"),
        ("GrößeÜber", "größeüber", "größe_über", "größeÜber"),
        ("a b-c.d", "a b-c.d", "a_b_c_d", "aBCD"),
        ("__", "__", "__", "__"),
        ("", "", "", ""),
    ] {
        assert_eq!(
            (&*Case::Lower.of(name), &*Case::Snake.of(name), &*Case::Camel.of(name)),
            (lower, snake, camel),
            "{name}"
        );
        assert_eq!(Case::Keep.of(name), name);
    }
}

fn columns(include: &[&str], exclude: &[&str], renamed: &[(&str, &str)], case: Case) -> Columns {
    let patterns = |names: &[&str]| {
        let pattern = |name: &&str| match name.starts_with('^') {
            true => Pattern::Expression(Regex::new(name).expect("an expression")),
            false => Pattern::Name((*name).to_owned()),
        };
        names.iter().map(pattern).collect()
    };
    Columns {
        include: patterns(include),
        exclude: patterns(exclude),
        renamed: renamed.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        names: ColumnNames { case, ..ColumnNames::default() },
        on_unrepresentable: BTreeMap::new(),
    }
}

fn fields(names: &[&str]) -> RowSchema {
    RowSchema::new(7, names.iter().map(|name| Field::new(*name, WireType::Text, true)).collect())
}

fn selected(columns: &Columns, names: &[&str], key: &[&str]) -> Result<Vec<(usize, String)>, String> {
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let schema = columns.select(Dialect::Postgres, &fields(names), &key).map_err(|why| why.detail)?;
    Ok(schema.placed().map(|(place, field)| (place, field.name.clone())).collect())
}

#[test]
fn columns_are_selected_and_keep_their_cells() {
    let all = &["id", "a", "a_v2", "secret_x"];
    let wanted = |columns: &Columns, wanted: &[(usize, &str)]| {
        let found = selected(columns, all, &["id"]).unwrap_or_else(|why| panic!("{why}"));
        let found: Vec<(usize, &str)> = found.iter().map(|(place, name)| (*place, name.as_str())).collect();
        assert_eq!(found, wanted);
    };
    wanted(&columns(&[], &["^secret_"], &[], Case::Keep), &[(0, "id"), (1, "a"), (2, "a_v2")]);
    // The key stays with any list of columns.
    wanted(&columns(&["a"], &[], &[], Case::Keep), &[(0, "id"), (1, "a")]);
    // The name of a column that is left out is free for another.
    wanted(&columns(&[], &["a", "secret_x"], &[("a_v2", "a")], Case::Upper), &[(0, "ID"), (2, "a")]);
    let why = selected(&columns(&[], &["^i"], &[], Case::Keep), all, &["id"]).expect_err("the key");
    assert!(why.contains("\"id\""), "{why}");
}

#[test]
fn two_columns_never_become_one() {
    let why = selected(&columns(&[], &[], &[], Case::Lower), &["Id", "iD"], &[]).expect_err("a collision");
    assert!(why.contains("\"Id\"") && why.contains("\"iD\""), "{why}");
    // Databases that ignore the case of letters.
    let schema = fields(&["Id", "id"]);
    assert!(columns(&[], &[], &[], Case::Keep).select(Dialect::Postgres, &schema, &[]).is_ok());
    for dialect in [Dialect::Mysql, Dialect::Sqlite] {
        assert!(columns(&[], &[], &[], Case::Keep).select(dialect, &schema, &[]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a topic is called, what a variable brings stays inside its part of the name.
    #[test]
    fn a_topic_never_leaves_its_part(tenant in "[^\u{0}\n]{1,40}", table in "[^\u{0}\n.]{1,20}") {
        let topic = format!("{table}.{tenant}");
        let name = named("t_${tenant}.x_${table}", &topic, "^(?<table>[^.]+)[.](?<tenant>.*)$", Case::Keep);
        let name = name.map_err(TestCaseError::fail)?;
        prop_assert_eq!(&name.schema, &Some(format!("t_{tenant}")));
        prop_assert_eq!(&name.table, &format!("x_{table}"));
        prop_assert_eq!(name.to_string().parse::<TableName>(), Ok(name));
    }

    /// A style changes a name once, and never to nothing.
    #[test]
    fn styles_are_stable(name in "[A-Za-z0-9_ .ÄÖüß-]{1,20}") {
        for case in [Case::Lower, Case::Upper, Case::Snake] {
            let once = case.of(&name);
            prop_assert!(!once.is_empty());
            prop_assert_eq!(case.of(&once), once);
        }
        prop_assert!(!Case::Camel.of(&name).is_empty());
    }

    /// Every field that is selected is the field of its cell, and no two have one name.
    #[test]
    fn selection_mixes_nothing_up(names in prop::collection::btree_set("[a-cA-C_]{1,3}", 1..8), exclude in "[a-c]") {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let columns = columns(&[], &[&format!("^{exclude}")], &[], Case::Snake);
        match columns.select(Dialect::Mysql, &fields(&names), &[]) {
            Ok(schema) => {
                let mut seen = std::collections::BTreeSet::new();
                for (place, field) in schema.placed() {
                    prop_assert_eq!(&field.name, &Case::Snake.of(names[place]));
                    prop_assert!(!names[place].starts_with(&exclude));
                    prop_assert!(seen.insert(field.name.clone()));
                }
            }
            Err(why) => prop_assert!(why.detail.contains("would both be"), "{}", why.detail),
        }
    }
}

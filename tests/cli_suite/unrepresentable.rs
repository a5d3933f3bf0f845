//! What becomes of a value that its column cannot hold, where that was chosen for the column (invariant 6: never by itself).

use serde_json::json;

use crate::support::database::Database;
use crate::support::events::Source;
use crate::support::program::{Program, number, over_files};

/// Columns of at most 999.99.
fn table(database: &Database) {
    let column = |name: &str| format!("{name} decimal_text(5,2)");
    let columns = ["clamped", "nulled", "aside"].map(column).join(", ");
    database.execute(&format!("create table measures (id integer not null primary key, {columns})"));
}

fn measures() -> Source {
    let columns =
        [("id", "int32", None), ("clamped", "int64", None), ("nulled", "int64", None), ("aside", "int64", None)];
    let mut source = Source::new("shop.public.measures", "public", "measures", &columns);
    source.upsert(10, json!({"id": 1, "clamped": 1, "nulled": 2, "aside": 3}));
    source.upsert(20, json!({"id": 2, "clamped": 123_456, "nulled": -123_456, "aside": null}));
    source.upsert(30, json!({"id": 3, "clamped": 5, "nulled": 5, "aside": 123_456}));
    source.upsert(40, json!({"id": 4, "clamped": -123_456, "nulled": null, "aside": 7}));
    source
}

fn program(database: &Database, aside: &str) -> Program {
    let rule = format!(
        "[errors]\nbad_record = \"stop\"\n\
         [[table]]\ntopic = \"shop.public.measures\"\ninto = \"measures\"\n\
         [table.columns.clamped]\non_unrepresentable = \"clamp\"\n\
         [table.columns.nulled]\non_unrepresentable = \"null\"\n\
         [table.columns.aside]\non_unrepresentable = \"{aside}\"\n"
    );
    over_files(database, &measures().records, &rule)
}

fn rows(database: &Database) -> Vec<String> {
    let rows = database.texts("select id, clamped, nulled, aside from measures order by id");
    let text = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    rows.into_iter().map(|row| row.into_iter().map(text).collect::<Vec<_>>().join(" ")).collect()
}

/// The nearest value, NULL, and the quarantine (also where bad records stop); an event's own NULL stays one.
#[test]
fn what_was_chosen_for_a_column_happens() {
    let database = Database::sqlite();
    table(&database);
    let program = program(&database, "quarantine");
    let end = program.catch_up(&[]);
    assert_eq!(number(&end, "quarantined"), 1, "{end}");
    assert_eq!(rows(&database), ["1 1.00 2.00 3.00", "2 999.99 - -", "4 -999.99 - 7.00"]);
    let kept = program.run(&["quarantine", "list", "--json"]).ok().json();
    let detail = kept[0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("\"aside\"") && !detail.contains("123456"), "{kept}");
}

/// `refuse` stops in front of the record; what lies before it is there, and nothing behind it.
#[test]
fn a_refused_value_stops_its_partition() {
    let database = Database::sqlite();
    table(&database);
    let program = program(&database, "refuse");
    let stopped = program.run(&["run", "--until-caught-up"]);
    assert_ne!(stopped.code, Some(0), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("does_not_fit") && !stopped.stderr.contains("123456"), "{}", stopped.stderr);
    assert_eq!(rows(&database), ["1 1.00 2.00 3.00", "2 999.99 - -"]);
}

/// NULL for a key, or for a column that allows none, would be a choice that cannot be kept.
#[test]
fn a_key_is_never_bent() {
    let database = Database::sqlite();
    table(&database);
    let rule = "[[table]]\ntopic = \"shop.public.measures\"\ninto = \"measures\"\nkey = [\"id\"]\n\
                [table.columns.id]\non_unrepresentable = \"clamp\"\n";
    let checked = over_files(&database, &measures().records, rule).run(&["check"]);
    assert_ne!(checked.code, Some(0), "{}", checked.stdout);
    let told = format!("{}{}", checked.stdout, checked.stderr);
    assert!(told.contains("on_unrepresentable") && told.contains("id"), "{told}");
}

use super::*;
use crate::core::table::{Column, ColumnType, TableName, TableShape, fixture};

fn table(delete: DeleteMode, storage: TokenStorage) -> Table {
    let column = |name: &str, generated| Column {
        native: "text".to_owned(),
        generated,
        ..fixture::column(name, ColumnType::Text { max_chars: None })
    };
    Table {
        id: 7,
        shape: TableShape {
            name: TableName::new(Some("s\""), "t; drop table x; --"),
            columns: vec![column("a\"; --", false), column("made", true), column("op", false), column("Größe", false)],
            primary_key: vec!["op".to_owned(), "a\"; --".to_owned()],
            unique_keys: Vec::new(),
            has_token: true,
            has_deleted: delete == DeleteMode::Soft,
            delete_has_effects: false,
            remarks: Vec::new(),
        },
        contract: Contract::FinalState,
        delete,
        token_storage: storage,
        key: vec![2, 0],
        single_writer: false,
    }
}

/// All statements that a plan of the table can send.
fn all(sql: &TableSql<'_>) -> Vec<String> {
    let columns = [0, 2, 3];
    let mut texts = vec![
        sql.upsert(&columns),
        sql.delete(),
        sql.bury(),
        sql.exhume(),
        sql.recheck(),
        sql.recheck_truncate(),
        sql.recheck_truncate_tombstones(),
        sql.truncate(),
        sql.truncate_tombstones(),
        sql.truncate_incomparable(),
        sql.count_lost(),
        sql.append(&columns),
        sql.side_win(),
        sql.side_upsert(&columns),
        sql.side_recheck_truncate(),
        sql.side_truncate(),
    ];
    texts.extend([sql.side_delete(), sql.side_truncate_rows(), sql.side_truncate_unknown()].into_iter().flatten());
    texts
}

/// What is left when quoted names and their contents are taken out.
fn outside_of_quotes(text: &str) -> String {
    text.replace("\"\"", "").split('"').step_by(2).collect()
}

#[test]
fn every_statement_has_a_parameter_and_no_name_gets_out() {
    for delete in [DeleteMode::Hard, DeleteMode::Soft, DeleteMode::Ignore] {
        for storage in [TokenStorage::Column, TokenStorage::Side] {
            let table = table(delete, storage);
            for text in all(&TableSql::new(&table, false)) {
                assert!(text.contains("$1"), "would keep its first plan: {text}");
                let bare = outside_of_quotes(&text);
                assert!(!bare.contains(';') && !bare.contains("drop") && !bare.contains("--"), "{bare}");
                assert!(!bare.contains("Größe"), "{bare}");
            }
        }
    }
}

#[test]
fn an_upsert_is_guarded_three_times() {
    let table = table(DeleteMode::Hard, TokenStorage::Column);
    let upsert = TableSql::new(&table, false).upsert(&[0, 2, 3]);
    let side = format!("\"lastword\".\"{}\"", table.side_name());
    let expected = format!(
        "insert into \"s\"\"\".\"t; drop table x; --\" as t (\"a\"\"; --\", \"op\", \"Größe\", \"_lastword_token\") \
         overriding system value\n\
         select s.c0, s.c2, s.c3, s.token from pg_temp.lw_stage_7 s\n\
         where s.op = $2 and ($1::bytea is null or ($1::bytea < s.token and substring($1::bytea for 3) = \
         substring(s.token for 3))) and not exists (\n    \
         select 1 from {side} m where m.\"op\" = s.c2 and m.\"a\"\"; --\" = s.c0 and (m.\"_lastword_token\" < s.token and \
         substring(m.\"_lastword_token\" for 3) = substring(s.token for 3)) is not true)\n\
         on conflict (\"op\", \"a\"\"; --\") do update set \"Größe\" = excluded.\"Größe\", \"_lastword_token\" = \
         excluded.\"_lastword_token\"\n\
         where t.\"_lastword_token\" is null or (t.\"_lastword_token\" < excluded.\"_lastword_token\" and \
         substring(t.\"_lastword_token\" for 3) = substring(excluded.\"_lastword_token\" for 3))"
    );
    assert_eq!(upsert, expected);
    let repair = TableSql::new(&table, true).upsert(&[0, 2, 3]);
    assert_eq!(repair, expected.replace("t.\"_lastword_token\" < excluded", "t.\"_lastword_token\" <= excluded"));
}

#[test]
fn generated_columns_are_not_staged() {
    let table = table(DeleteMode::Hard, TokenStorage::Column);
    let create = TableSql::new(&table, false).stage_create();
    assert!(
        create.contains("t.\"op\"::text as c2, ") && !create.contains("c1") && !create.contains("made"),
        "{create}"
    );
}

#[test]
fn soft_deletes_never_delete_rows() {
    for storage in [TokenStorage::Column, TokenStorage::Side] {
        let table = table(DeleteMode::Soft, storage);
        let sql = TableSql::new(&table, false);
        for text in all(&sql) {
            assert!(!text.contains(&format!("delete from {}", sql.target)), "{text}");
        }
    }
}

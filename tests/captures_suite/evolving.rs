//! Captured tables whose schema changed while they were streamed, under `evolve = "widen"`.

use std::collections::BTreeSet;
use std::sync::Arc;

use lastword::core::dialect::Dialect;

use super::inside::Job;
use super::stage::{Form, Material, Stage};
use crate::support::database::assert_same;

/// Rows that the source changed by its DDL alone have no event: defaults of added columns, a renamed column, a dropped one. All
/// others are as the source has them, and a second reading from the beginning changes nothing. Not for SQLite, which cannot alter
/// the type of a column.
pub(super) fn tables_follow_the_captured_schemas(dialect: Dialect) {
    for connector in ["postgresql", "mariadb"] {
        let mut material = Material::load(connector, Form::Schemas, &["schema_change"]);
        Arc::get_mut(&mut material).expect("alone").widens = true;
        let mut first: Option<BTreeSet<String>> = None;
        for rows in [1000, 1, 3] {
            let stage = Stage::of(&material, dialect);
            let job = |pipeline| Job { pipeline, records: stage.records(), rows };
            let runs = stage.apply(&[job("one"), job("two")]).expect("applied");
            for run in &runs {
                assert!(run.halted.is_empty() && run.quarantined == 0, "{connector} {dialect:?}: {run}");
            }
            let contents = stage.database.contents();
            stage.apply(&[job("again")]).expect("applied");
            assert_same("the old schemas again", &contents, &stage.database.contents());
            let differences: BTreeSet<String> = stage.differences().iter().map(ToString::to_string).collect();
            println!("{connector} {dialect:?}: {differences:#?}");
            let first = first.get_or_insert_with(|| differences.clone());
            assert_eq!(*first, differences, "{connector} {dialect:?}, batches of {rows}");
        }
    }
}

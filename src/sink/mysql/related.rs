//! Tables of one batch that refer to each other.
//!
//! The servers check a foreign key with every row, and a batch is written table by table. So a batch that a foreign key refused is
//! written once more in another order: rows to write from the parents to their children, then rows to delete from the
//! children to their parents. A child that was moved to another parent has left the old one by then.

use std::collections::HashMap;

use crate::core::failure::Failure;
use crate::core::plan::Plan;
use crate::core::value::Value;
use crate::sink::Statements;

use super::session::MysqlSession;

const PARENTS: &str = "SELECT REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE \
     WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND REFERENCED_TABLE_NAME IS NOT NULL";

/// Which changes of a table are written in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All, deletes first: they free unique values.
    All,
    /// Rows to write.
    Upserts,
    /// Rows to delete.
    Deletes,
}

impl MysqlSession {
    /// Steps that write a plan in the order of its tables' foreign keys.
    pub(super) async fn steps_by_parents(&mut self, plan: &Plan) -> Result<Vec<(usize, Part)>, Failure> {
        let name = |at: usize| {
            let name = plan.tables[at].table.name();
            [name.schema.as_deref().unwrap_or(""), &name.table].map(str::to_lowercase)
        };
        let places: HashMap<_, usize> = (0..plan.tables.len()).map(|at| (name(at), at)).collect();
        let mut parents = Vec::with_capacity(places.len());
        for part in &plan.tables {
            let name = part.table.name();
            let params = [Value::from(name.schema.as_deref()), Value::from(name.table.as_str())];
            let text = |value: Option<&Value>| {
                let bytes = value.and_then(Value::as_bytes).unwrap_or_default();
                String::from_utf8_lossy(bytes).to_lowercase()
            };
            let rows = self.query(PARENTS, &params).await?;
            let found = rows.iter().filter_map(|row| places.get(&[text(row.first()), text(row.get(1))]).copied());
            parents.push(found.collect::<Vec<usize>>());
        }
        let order = parents_first(&parents);
        let upserts = order.iter().map(|at| (*at, Part::Upserts));
        Ok(upserts.chain(order.iter().rev().map(|at| (*at, Part::Deletes))).collect())
    }
}

/// Places in an order in which each comes behind its parents; those of a circle as they were.
fn parents_first(parents: &[Vec<usize>]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(parents.len());
    while order.len() < parents.len() {
        let rest = || (0..parents.len()).filter(|at| !order.contains(at));
        let free = |at: &usize| parents[*at].iter().all(|parent| parent == at || order.contains(parent));
        match rest().find(free).or_else(|| rest().next()) {
            Some(next) => order.push(next),
            None => break,
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first() {
        assert_eq!(parents_first(&[vec![1, 0], vec![2], vec![]]), [2, 1, 0]);
        assert_eq!(parents_first(&[vec![1], vec![0], vec![0]]), [0, 1, 2]);
        assert_eq!(parents_first(&[]), Vec::<usize>::new());
    }
}

//! Rows that trade a value of a second unique key in one transaction.
//!
//! A batch holds the newest change of each key, not the steps between. Where the source moved a unique value from one row to
//! another, one after the other, both ends of the move may be in one batch: written one by one, the first meets the second's old
//! value. A destination first tries to write such a batch as it is. If a second unique key refuses it, the same plan is applied
//! once more in two steps: rows that are there and will be written over let go of their old unique values, then all are written.
//!
//! # Why NULL first, and a delete only where nothing hangs on it
//!
//! A unique column that takes NULL is set to NULL, which clashes with nothing (but under NULLS NOT DISTINCT: then the batch is
//! refused as before). One that does not is freed by deleting the row and inserting it again, for which the event must carry
//! every column, and no foreign key may point at the table and no trigger watch its deletes: a cascade would take children with
//! it, and they would not come back. Where neither can be done the rows are refused.

use super::failure::{Class, Failure};
use super::plan::{Applied, Plan};
use super::table::{Contract, Table};

/// How rows of a group of columns let go of their unique values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parking {
    /// They have none that they could let go of.
    None,
    /// These columns are set to NULL.
    Null(Vec<usize>),
    /// The rows are deleted, to be inserted again; these are the unique columns whose values may change.
    Away(Vec<usize>),
}

impl Parking {
    /// How rows that carry `columns` (indices into the table's) can be parked.
    pub fn of(table: &Table, columns: &[usize]) -> Self {
        let shape = &table.shape;
        if table.contract != Contract::FinalState || shape.unique_keys.is_empty() {
            return Self::None;
        }
        let (mut null, mut changing, mut away) = (Vec::new(), Vec::new(), false);
        for key in std::iter::once(&shape.primary_key).chain(&shape.unique_keys) {
            // An expression has no column; what the event does not carry or what names the row does not change.
            let held: Vec<usize> = key.iter().filter_map(|name| shape.position(name)).collect();
            let held: Vec<usize> =
                held.into_iter().filter(|at| columns.contains(at) && !table.key.contains(at)).collect();
            match held.iter().find(|at| shape.columns[**at].nullable) {
                Some(at) if !null.contains(at) => null.push(*at),
                Some(_) => {}
                None => away |= !held.is_empty(),
            }
            changing.extend(held.into_iter().filter(|at| !changing.contains(at)).collect::<Vec<_>>());
        }
        let whole = (0..shape.columns.len()).all(|at| columns.contains(&at) || shape.columns[at].generated);
        match (away, null.is_empty()) {
            (false, true) => Self::None,
            (false, false) => Self::Null(null),
            (true, _) if whole && !shape.delete_has_effects => Self::Away(changing),
            (true, _) => Self::None,
        }
    }
}

/// Whether a plan that was refused so may be taken if it is applied in two steps.
pub fn may_help(plan: &Plan, failure: &Failure) -> bool {
    let parks = |plan: &Plan| {
        let mut groups = plan.tables.iter().flat_map(|part| part.upserts.iter().map(|group| (&part.table, group)));
        groups.any(|(table, group)| Parking::of(table, &group.columns) != Parking::None)
    };
    failure.is_unique_violation() && !failure.connection_lost && parks(plan)
}

/// The outcome of the second try. Where it was refused, too, the first refusal says what is wrong: a second one may be about a
/// row that was parked.
pub fn outcome(first: Failure, second: Result<Applied, Failure>) -> Result<Applied, Failure> {
    match second {
        Err(second) if second.class == Class::Record && !second.connection_lost => Err(first),
        second => second,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::fixture;
    use super::*;

    fn table(not_null: &[usize], unique: &[&[&str]]) -> Table {
        let mut table = fixture::table(1, "t", &["id", "code", "name"]);
        not_null.iter().for_each(|at| table.shape.columns[*at].nullable = false);
        table.shape.unique_keys =
            unique.iter().map(|key| key.iter().map(|name| (*name).to_owned()).collect()).collect();
        table
    }

    #[test]
    fn what_can_be_null_is_set_to_null_and_the_rest_goes_away() {
        let of =
            |not_null: &[usize], unique: &[&[&str]], columns: &[usize]| Parking::of(&table(not_null, unique), columns);
        assert_eq!(of(&[0], &[], &[0, 1, 2]), Parking::None);
        assert_eq!(of(&[0], &[&["code"]], &[0, 1, 2]), Parking::Null(vec![1]));
        assert_eq!(of(&[0, 1], &[&["code", "name"]], &[0, 1, 2]), Parking::Null(vec![2]));
        assert_eq!(of(&[0, 1], &[&["code"]], &[0, 1, 2]), Parking::Away(vec![1]));
        // A value that the event does not bring back must stay.
        assert_eq!(of(&[0], &[&["code"]], &[0, 2]), Parking::None);
        assert_eq!(of(&[0, 1], &[&["code"]], &[0, 1]), Parking::None);
        assert_eq!(of(&[0], &[&["id", "(an expression)"]], &[0, 1, 2]), Parking::None);
    }

    /// A delete that would take other rows with it is no way to park a row.
    #[test]
    fn rows_with_children_do_not_go_away() {
        let mut table = table(&[0, 1], &[&["code"]]);
        table.shape.delete_has_effects = true;
        assert_eq!(Parking::of(&table, &[0, 1, 2]), Parking::None);
    }
}

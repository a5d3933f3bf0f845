//! Who wins: a change against what is stored for its key.
//!
//! One function for the destinations that are judged in Rust (MySQL, SQLite); PostgreSQL says the same in its statements and
//! counts in the same order: what loses to the truncate token is not asked about a tombstone, and what loses to a tombstone
//! not about the row.

use super::guard::{Guard, stands};
use super::token::Token;

/// What becomes of a change, given what is stored for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is written.
    Wins,
    /// It loses to the row.
    ByRow,
    /// It loses to a tombstone.
    ByTombstone,
    /// It loses to a TRUNCATE.
    ByTruncate,
}

/// The row of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredRow {
    /// There is none.
    #[default]
    Absent,
    /// One that no event wrote yet: it loses to any.
    Unversioned,
    /// One with the token of its newest change. A softly deleted row has the token of its delete.
    At(Token),
    /// The key's side token is that of a live row, but the row is gone: someone deleted it by hand. Its newest event brings
    /// it back, as it does where tokens are in the rows and vanish with them.
    Vanished(Token),
}

/// What is stored for a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its row.
    pub row: StoredRow,
    /// Token of its tombstone.
    pub tombstone: Option<Token>,
}

/// Two tokens that must not be compared: the stored one is of another format or scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomparable(pub Token);

/// What decides beside the tokens of the key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judge {
    /// The table's truncate token.
    pub truncate: Option<Token>,
    /// A soft delete leaves its token and its mark in the row.
    pub marks: bool,
    /// What an event of equal token wrote is written again (`replay --repair`).
    pub repair: bool,
}

impl Judge {
    /// Decides about an upsert or a delete. Nothing is decided if any of the stored tokens cannot be compared with the event's.
    pub fn verdict(&self, token: &Token, is_upsert: bool, stored: &Stored) -> Result<Verdict, Incomparable> {
        let row = match stored.row {
            StoredRow::At(row) | StoredRow::Vanished(row) => Some(row),
            StoredRow::Absent | StoredRow::Unversioned => None,
        };
        if let Some(other) = [self.truncate, stored.tombstone, row].into_iter().flatten().find(|t| !t.comparable(token))
        {
            return Err(Incomparable(other));
        }
        let beats = |held: Option<Token>, equal_too: bool| {
            held.is_none_or(|held| held < *token || (equal_too && held == *token))
        };
        if stands(Guard::Truncate) && !beats(self.truncate, false) {
            return Ok(Verdict::ByTruncate);
        }
        if stands(Guard::Tombstone) && !beats(stored.tombstone, false) {
            return Ok(Verdict::ByTombstone);
        }
        let again = match stored.row {
            StoredRow::Vanished(_) => is_upsert,
            _ => self.repair && (is_upsert || self.marks),
        };
        Ok(if !stands(Guard::Row) || beats(row, again) { Verdict::Wins } else { Verdict::ByRow })
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::TokenWriter;
    use super::*;

    fn token(number: u64) -> Token {
        TokenWriter::new(1, 1).number(number).finish()
    }

    /// What is stored, as numbers: truncate token, tombstone, row.
    type Case = (Option<u64>, Option<u64>, Row);

    #[derive(Clone, Copy, Debug)]
    enum Row {
        Absent,
        Unversioned,
        At(u64),
        Vanished(u64),
    }

    /// The rules as a list of what beats an event, in the order in which they are counted.
    fn model(event: u64, is_upsert: bool, marks: bool, repair: bool, (truncate, tombstone, row): Case) -> Verdict {
        let by_row = match row {
            Row::Absent | Row::Unversioned => false,
            Row::At(row) if row == event => !repair || !(is_upsert || marks),
            Row::Vanished(row) if row == event => !is_upsert,
            Row::At(row) | Row::Vanished(row) => row > event,
        };
        let by_tombstone = tombstone.is_some_and(|dead| dead >= event);
        let by_truncate = truncate.is_some_and(|truncate| truncate >= event);
        let reasons =
            [(by_truncate, Verdict::ByTruncate), (by_tombstone, Verdict::ByTombstone), (by_row, Verdict::ByRow)];
        reasons.into_iter().find(|(holds, _)| *holds).map_or(Verdict::Wins, |(_, verdict)| verdict)
    }

    /// Invariants 2 and 3, over every set of small tokens.
    #[test]
    fn every_case_is_judged_as_the_model_says() {
        let held = || (0..4).map(|number| (number > 0).then_some(number));
        let rows = [Row::Absent, Row::Unversioned].into_iter();
        let rows: Vec<Row> = rows.chain((1..4).flat_map(|at| [Row::At(at), Row::Vanished(at)])).collect();
        let flags = [(true, true), (true, false), (false, true), (false, false)];
        let mut seen = [0; 4];
        for (event, truncate, tombstone) in
            (1..4).flat_map(|event| held().flat_map(move |a| held().map(move |b| (event, a, b))))
        {
            for (row, is_upsert, (marks, repair)) in rows
                .iter()
                .flat_map(|row| [true, false].map(|is_upsert| (*row, is_upsert)))
                .flat_map(|(row, is_upsert)| flags.map(|flags| (row, is_upsert, flags)))
            {
                let judge = Judge { truncate: truncate.map(token), marks, repair };
                let stored_row = match row {
                    Row::Absent => StoredRow::Absent,
                    Row::Unversioned => StoredRow::Unversioned,
                    Row::At(at) => StoredRow::At(token(at)),
                    Row::Vanished(at) => StoredRow::Vanished(token(at)),
                };
                let stored = Stored { row: stored_row, tombstone: tombstone.map(token) };
                let wanted = model(event, is_upsert, marks, repair, (truncate, tombstone, row));
                let found = judge.verdict(&token(event), is_upsert, &stored);
                assert_eq!(found, Ok(wanted), "{event} {is_upsert} {judge:?} {stored:?}");
                seen[wanted as usize] += 1;
            }
        }
        assert!(seen.iter().all(|count| *count > 20), "a verdict that was hardly met is not tested: {seen:?}");
    }

    /// Invariant 6: tokens of different scopes are never compared, not even where another token decides.
    #[test]
    fn tokens_of_another_scope_are_refused() {
        let other = TokenWriter::new(2, 1).number(1).finish();
        let dead = Stored { tombstone: Some(other), ..Stored::default() };
        let live = Stored { row: StoredRow::At(other), ..Stored::default() };
        let judge = Judge { truncate: Some(token(9)), ..Judge::default() };
        for stored in [dead, live] {
            assert_eq!(judge.verdict(&token(3), true, &stored), Err(Incomparable(other)));
        }
        let judge = Judge { truncate: Some(other), ..Judge::default() };
        assert_eq!(judge.verdict(&token(3), true, &Stored::default()), Err(Incomparable(other)));
    }
}

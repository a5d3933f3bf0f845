//! Partial rows: what an update that does not carry all columns, and a late full row, do to a stored row.
//!
//! Each column holds the value of the newest event that carried it. A row has one token; columns that its newest event did not
//! carry are *open*: their own, older tokens are kept beside the row (see [`encode_open`]) and hold only while the row has the
//! token that they were written with. So an older event that comes late still fills what newer ones left open, and nothing else.
//!
//! # Why an update is refused
//!
//! - *No row*: what it does not carry is nowhere. A create is never completed at all: what is stored under its key is a former
//!   life of the key.
//! - *Held back*: an event of the key was quarantined, and for some column that the update does not carry nothing newer than
//!   that event is known: the quarantined event may hold its value. A full row passes such a mark, and so does a delete, because
//!   after them no column is older than the mark.

use std::sync::Arc;

use super::plan::Partial;
use super::token::Token;
use super::verdict::Verdict;

/// A column and the token of the event that its value is from; `None` is older than every event.
pub type ColumnToken = (usize, Option<Token>);

/// What is stored for a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// There is a row, and it is not marked as deleted.
    pub live: bool,
    /// Token of the row, also of one that is marked as deleted; `None` of one from before lastword.
    pub row: Option<Token>,
    /// Token of the key's tombstone.
    pub tombstone: Option<Token>,
    /// Columns whose values are older than the row.
    pub open: Vec<ColumnToken>,
    /// Tokens of the key's events that are in quarantine.
    pub marks: Vec<Token>,
}

/// Why an update cannot be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No row to complete it from.
    NoRow,
    /// An older event of the key is in quarantine.
    HeldBack,
    /// Its token cannot be compared with what is stored.
    Incomparable,
}

impl Refusal {
    /// Stable reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoRow => "partial_row",
            Self::HeldBack => "held_back",
            Self::Incomparable => "incomparable_token",
        }
    }

    /// What is wrong and what to do, for the table of this name.
    pub fn detail(self, table: &str) -> String {
        match self {
            Self::NoRow => format!(
                "an update for {table} lacks columns that the connector did not see (unchanged TOAST or LOB), and there is \
                 no row to take them from; send the row again with an incremental snapshot signal for its key"
            ),
            Self::HeldBack => format!(
                "an update for {table} lacks columns that the connector did not see, and an older event of its key, which may \
                 carry them, is in quarantine; retry that one first, then this one, or send the row again with an \
                 incremental snapshot signal for its key"
            ),
            Self::Incomparable => {
                format!("an update for {table} and what is stored for its key have tokens of different sources")
            }
        }
    }
}

/// What becomes of a partial row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It changes the row.
    Write(Written),
    /// It changes nothing.
    Superseded(Verdict),
    /// It cannot be applied.
    Refused(Refusal),
}

/// A change of a stored row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which of the given cells are written.
    pub cells: Vec<usize>,
    /// Token of the row afterwards.
    pub row: Token,
    /// Columns that are older than that.
    pub open: Vec<ColumnToken>,
}

/// Cells of an event, or of several of a key that were folded: column and token each, without the key's.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Token of the newest event.
    pub token: Token,
    /// What is carried.
    pub cells: &'a [(usize, Token)],
    /// Columns that no event carried.
    pub missing: &'a [usize],
}

/// Lays cells over what is stored. With `repair` cells of equal token are written again.
pub fn merge(base: &Base, truncate: Option<Token>, incoming: Incoming<'_>, repair: bool) -> Merged {
    let Incoming { token, cells, missing } = incoming;
    if [truncate, base.row, base.tombstone].into_iter().flatten().any(|other| !other.comparable(&token)) {
        return Merged::Refused(Refusal::Incomparable);
    }
    let reaches = |other: Option<Token>| other.is_some_and(|other| other >= token);
    if reaches(truncate) {
        return Merged::Superseded(Verdict::ByTruncate);
    }
    if reaches(base.tombstone) || (!base.live && reaches(base.row)) {
        return Merged::Superseded(Verdict::ByTombstone);
    }
    if !base.live {
        return Merged::Refused(Refusal::NoRow);
    }
    let stored = |column: usize| {
        let open = base.open.iter().find(|(known, _)| *known == column);
        open.map_or(base.row, |(_, token)| *token)
    };
    let newer = |(column, token): &(usize, Token)| {
        let stored = stored(*column);
        stored < Some(*token) || (repair && stored == Some(*token))
    };
    let written: Vec<usize> = (0..cells.len()).filter(|at| newer(&cells[*at])).collect();
    let row = base.row.map_or(token, |row| row.max(token));
    let carried = |column: usize| cells.iter().find(|(known, _)| *known == column).map(|(_, token)| *token);
    let mut columns: Vec<usize> = base.open.iter().map(|(column, _)| *column).collect();
    columns.extend(cells.iter().map(|(column, _)| *column).chain(missing.iter().copied()));
    columns.sort_unstable();
    columns.dedup();
    let after = columns.into_iter().map(|column| (column, stored(column).max(carried(column))));
    let open: Vec<ColumnToken> = after.filter(|(_, token)| *token < Some(row)).collect();
    let raised = base.row < Some(token);
    let hidden = |mark: &Token| *mark < token && open.iter().any(|(_, known)| *known < Some(*mark));
    if raised && base.marks.iter().any(hidden) {
        return Merged::Refused(Refusal::HeldBack);
    }
    if !raised && written.is_empty() {
        return Merged::Superseded(Verdict::ByRow);
    }
    Merged::Write(Written { cells: written, row, open })
}

/// One partial event of a batch.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its token.
    pub token: Token,
    /// What it carries.
    pub cells: Vec<super::plan::Cell>,
    /// What it lacks.
    pub missing: Vec<usize>,
}

impl Piece {
    fn tokens(&self) -> Vec<(usize, Token)> {
        self.cells.iter().map(|cell| (cell.column, cell.token)).collect()
    }
}

/// Which of a key's partial events in a batch cannot be applied, as if each were applied alone, in the order of their arrival. Before
/// them stands the batch's full row, with its token and columns, if it has one.
pub fn refusals(
    base: Base,
    truncate: Option<Token>,
    full: Option<(Token, Arc<[usize]>)>,
    pieces: &[&Piece],
) -> Vec<Option<Refusal>> {
    let mut base = base;
    // A TRUNCATE of the batch takes the row before anything else.
    if truncate.is_some_and(|truncate| base.row.is_none_or(|row| row <= truncate)) {
        base.live = false;
    }
    if let Some((token, columns)) = full {
        base = under(base, truncate, token, &columns);
    }
    let mut judge = |piece: &&Piece| {
        let incoming = Incoming { token: piece.token, cells: &piece.tokens(), missing: &piece.missing };
        match merge(&base, truncate, incoming, false) {
            Merged::Write(written) => {
                (base.row, base.open) = (Some(written.row), written.open);
                None
            }
            Merged::Superseded(_) => None,
            Merged::Refused(why) => Some(why),
        }
    };
    pieces.iter().map(&mut judge).collect()
}

/// What is stored after a full row.
fn under(base: Base, truncate: Option<Token>, token: Token, columns: &[usize]) -> Base {
    if [truncate, base.tombstone, base.row].into_iter().flatten().all(|other| other < token) {
        return Base { live: true, row: Some(token), tombstone: None, open: Vec::new(), marks: base.marks };
    }
    let cells: Vec<(usize, Token)> = columns.iter().map(|column| (*column, token)).collect();
    match merge(&base, truncate, Incoming { token, cells: &cells, missing: &[] }, false) {
        Merged::Write(written) => Base { open: written.open, ..base },
        _ => base,
    }
}

/// Folds a key's partial events of a batch, given in the order of their arrival: of each column the newest cell.
pub fn fold(key: Vec<super::value::Value>, pieces: Vec<Piece>) -> Option<Partial> {
    let mut pieces = pieces.into_iter();
    let first = pieces.next()?;
    let mut folded = Partial { token: first.token, key, cells: first.cells, missing: first.missing };
    for piece in pieces {
        folded.token = folded.token.max(piece.token);
        for cell in piece.cells {
            match folded.cells.iter_mut().find(|known| known.column == cell.column) {
                Some(known) if known.token < cell.token => *known = cell,
                Some(_) => {}
                None => folded.cells.push(cell),
            }
        }
    }
    folded.cells.sort_by_key(|cell| cell.column);
    folded.missing.retain(|column| !folded.cells.iter().any(|cell| cell.column == *column));
    Some(folded)
}

/// Format of [`encode_open`].
const OPEN_FORMAT: u8 = 1;

/// Open columns as they are stored: `1`, then for each token its length (1 byte; 0 for none), the token, the number of columns (2
/// bytes), and for each its name's length (2 bytes) and the name. Names, because numbers of columns change with the table.
pub fn encode_open<'n>(open: &[ColumnToken], name: impl Fn(usize) -> &'n str) -> Vec<u8> {
    let mut groups: Vec<(Option<Token>, Vec<&str>)> = Vec::new();
    for (column, token) in open {
        match groups.iter_mut().find(|(known, _)| known == token) {
            Some((_, names)) => names.push(name(*column)),
            None => groups.push((*token, vec![name(*column)])),
        }
    }
    let mut bytes = vec![OPEN_FORMAT];
    for (token, names) in groups {
        let token = token.as_ref().map_or(&[][..], Token::as_bytes);
        bytes.push(token.len() as u8);
        bytes.extend_from_slice(token);
        bytes.extend_from_slice(&(names.len() as u16).to_be_bytes());
        for name in names {
            bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
    }
    bytes
}

/// Takes stored open columns back; columns that `column` does not know any more are left out. `None` if the bytes are damaged.
pub fn decode_open(bytes: &[u8], column: impl Fn(&str) -> Option<usize>) -> Option<Vec<ColumnToken>> {
    let mut rest = bytes.strip_prefix(&[OPEN_FORMAT])?;
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(taken)
    };
    let mut open = Vec::new();
    while let Some(length) = take(1) {
        let token = match length[0] {
            0 => None,
            length => Some(Token::from_bytes(take(length.into())?)?),
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        for _ in 0..number(take(2)?) {
            let length = number(take(2)?);
            let name = std::str::from_utf8(take(length)?).ok()?;
            open.extend(column(name).map(|column| (column, token)));
        }
    }
    Some(open)
}

#[cfg(test)]
mod tests;

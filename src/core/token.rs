//! Order tokens: bytes that compare with `<` and tell which of two changes of a key is the newer one.
//!
//! ```text
//! format(1) | scope(2) | source_epoch(4) | position of the commit | phase(1: snapshot 0, stream 1) | position inside
//! ```
//!
//! Every part has a fixed width within a layout and is big-endian, so that the order of bytes is the order of changes in
//! Rust (`Ord`), in PostgreSQL (`bytea`), in MySQL (`VARBINARY`) and in SQLite (`BLOB`). `format` and `scope` are compared
//! for equality only: the first [`PREFIX_BYTES`] bytes of two tokens must be equal before the tokens may be compared.
//!
//! `format` says how the rest is to be read: [`TOKEN_VERSION`] in its high half, the [`Layout`] in its low half. So a token
//! can be read without anything else ([`text`]), and tokens of two layouts are never compared. A store or a command that
//! meets another version refuses it; there is no conversion.
//!
//! # Why the Kafka position is inside some tokens
//!
//! Where two changes of a key may have one position (which sources these are: [`super::order`]) the Kafka position is the
//! last part of the token (`partition(4) | offset(8)`), so one comparison decides everywhere and the order is total: within a partition the greater offset wins, between partitions
//! the outcome of a tie is arbitrary but the same in every delivery order. A tie between partitions has no right answer
//! in the event's own bytes; a stable one keeps replays from changing anything.

use std::cmp::Ordering;
use std::fmt;

use super::table::TOKEN_BYTES_MAX;

pub mod text;

/// Version of the tokens that this program writes and reads: the high half of their first byte.
pub const TOKEN_VERSION: u8 = 1;
/// Bytes that must be equal before two tokens may be compared: format and scope.
pub const PREFIX_BYTES: usize = 3;

/// An order token; at most [`TOKEN_BYTES_MAX`] bytes, held inline.
#[derive(Clone, Copy)]
pub struct Token {
    length: u8,
    bytes: [u8; TOKEN_BYTES_MAX],
}

impl Token {
    /// Takes stored bytes back; `None` if they are too long or too short to be a token.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > TOKEN_BYTES_MAX || bytes.len() < PREFIX_BYTES {
            return None;
        }
        let mut token = Self { length: bytes.len() as u8, bytes: [0; TOKEN_BYTES_MAX] };
        token.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(token)
    }

    /// The bytes, as they are stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The token of the change at this place of a record that holds several: the first one has the record's token, the others
    /// follow it and lie before the next record's. Only for tokens that end with a Kafka offset.
    #[must_use]
    pub fn part(self, index: u32) -> Self {
        if index == 0 {
            return self;
        }
        TokenWriter { token: self }.short(index).finish()
    }

    /// Whether the two may be compared at all.
    pub fn comparable(&self, other: &Self) -> bool {
        self.as_bytes()[..PREFIX_BYTES] == other.as_bytes()[..PREFIX_BYTES]
    }

    /// Number of its scope.
    pub fn scope(&self) -> u16 {
        u16::from_be_bytes([self.bytes[1], self.bytes[2]])
    }

    /// The greatest token of its length below it: its bytes as a big-endian number, less one. `None` if that would be another
    /// format or scope.
    pub fn just_below(&self) -> Option<Self> {
        let mut below = *self;
        for at in (PREFIX_BYTES..usize::from(self.length)).rev() {
            let (byte, borrows) = below.bytes[at].overflowing_sub(1);
            below.bytes[at] = byte;
            if !borrows {
                return Some(below);
            }
        }
        None
    }

    /// Lower-case hex, as errors and commands print it.
    pub fn hex(&self) -> String {
        self.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Token {}

impl PartialOrd for Token {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Token {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Whether a change was read by a snapshot or from the log. At one position a snapshot row is the older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Read from the table.
    Snapshot = 0,
    /// Read from the log.
    Stream = 1,
    /// Read from the table after all of the stream up to that position had been seen (a connector that was made anew).
    Resnapshot = 2,
}

/// How the bytes of a token behind its source epoch are to be read: the low half of its first byte. The numbers are stored
/// and never change; the parts of each are in [`super::order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The Kafka offset.
    Offset = 0,
    /// `order_by` columns.
    Columns = 1,
    /// PostgreSQL's log.
    Postgres = 2,
    /// MySQL's and MariaDB's binlog.
    Binlog = 3,
    /// SQL Server's log.
    SqlServer = 4,
    /// Oracle's system change numbers.
    Oracle = 5,
    /// Db2's log.
    Db2 = 6,
    /// Informix's log.
    Informix = 7,
    /// MongoDB's cluster time.
    Mongo = 8,
    /// Vitess's epoch and rank of a transaction.
    Vitess = 9,
    /// Spanner's commit time.
    Spanner = 10,
    /// CockroachDB's hybrid clock.
    Hlc = 11,
    /// TiDB's timestamps.
    Tso = 12,
    /// A trail of GoldenGate.
    Trail = 13,
    /// The record form's LSN.
    Lsn = 14,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Offset,
        Self::Columns,
        Self::Postgres,
        Self::Binlog,
        Self::SqlServer,
        Self::Oracle,
        Self::Db2,
        Self::Informix,
        Self::Mongo,
        Self::Vitess,
        Self::Spanner,
        Self::Hlc,
        Self::Tso,
        Self::Trail,
        Self::Lsn,
    ];

    /// The first byte of its tokens.
    pub fn format(self) -> u8 {
        TOKEN_VERSION << 4 | self as u8
    }

    /// The layout of a token with this first byte; `None` for another version or a layout that is not known.
    pub fn of_format(format: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.format() == format)
    }
}

/// Puts the parts of a token together.
#[derive(Debug)]
pub struct TokenWriter {
    token: Token,
}

impl TokenWriter {
    /// Begins a token of a bare number: [`Layout::Offset`].
    pub fn new(scope: u16, source_epoch: u32) -> Self {
        Self::with(Layout::Offset, scope, source_epoch)
    }

    /// Begins a token of a layout, a scope and a source epoch.
    pub fn with(layout: Layout, scope: u16, source_epoch: u32) -> Self {
        let mut writer = Self { token: Token { length: 0, bytes: [0; TOKEN_BYTES_MAX] } };
        writer.put(&[layout.format()]);
        writer.put(&scope.to_be_bytes());
        writer.put(&source_epoch.to_be_bytes());
        writer
    }

    fn put(&mut self, bytes: &[u8]) {
        let from = usize::from(self.token.length);
        let to = (from + bytes.len()).min(TOKEN_BYTES_MAX);
        debug_assert_eq!(to - from, bytes.len(), "a token part does not fit");
        self.token.bytes[from..to].copy_from_slice(&bytes[..to - from]);
        self.token.length = to as u8;
    }

    /// Appends a 64 bit number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.put(&number.to_be_bytes());
        self
    }

    /// Appends a 32 bit number.
    #[must_use]
    pub fn short(mut self, number: u32) -> Self {
        self.put(&number.to_be_bytes());
        self
    }

    /// Appends a 128 bit number.
    #[must_use]
    pub fn long(mut self, number: u128) -> Self {
        self.put(&number.to_be_bytes());
        self
    }

    /// Appends bytes of a fixed width.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.put(bytes);
        self
    }

    /// Appends the phase.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.put(&[phase as u8]);
        self
    }

    /// Appends a Kafka position: partition and offset.
    #[must_use]
    pub fn kafka(mut self, partition: i32, offset: i64) -> Self {
        self.put(&(partition as u32).to_be_bytes());
        self.put(&(offset as u64).to_be_bytes());
        self
    }

    /// The finished token.
    pub fn finish(self) -> Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_bytes_is_order_of_parts() {
        let token = |commit, phase, inside| TokenWriter::new(1, 1).number(commit).phase(phase).number(inside).finish();
        assert!(token(1, Phase::Stream, 9) < token(2, Phase::Snapshot, 0));
        assert!(token(2, Phase::Snapshot, 9) < token(2, Phase::Stream, 0));
        assert!(token(255, Phase::Stream, 0) < token(256, Phase::Stream, 0));
        assert!(token(2, Phase::Stream, u64::MAX - 1) < token(2, Phase::Stream, u64::MAX));
    }

    #[test]
    fn scopes_and_layouts_are_not_comparable() {
        let token = |layout, scope| TokenWriter::with(layout, scope, 1).number(7).finish();
        assert!(token(Layout::Hlc, 1).comparable(&token(Layout::Hlc, 1)));
        assert!(!token(Layout::Hlc, 1).comparable(&token(Layout::Hlc, 2)));
        assert!(!token(Layout::Hlc, 1).comparable(&token(Layout::Tso, 1)));
    }

    /// The numbers are stored in every row.
    #[test]
    fn first_bytes_never_change() {
        let formats: Vec<u8> = Layout::ALL.into_iter().map(Layout::format).collect();
        assert_eq!(formats, (0x10..=0x1e).collect::<Vec<u8>>());
        for other in [0x00, 0x01, 0x1f, 0x20, 0xff] {
            assert_eq!(Layout::of_format(other), None);
        }
    }

    #[test]
    fn nothing_lies_between_a_token_and_the_one_below() {
        let token = |bytes: &[u8]| Token::from_bytes(&[&[1, 0, 7], bytes].concat()).expect("token");
        assert_eq!(token(&[1, 0, 0]).just_below(), Some(token(&[0, 255, 255])));
        assert_eq!(token(&[1, 0, 9]).just_below(), Some(token(&[1, 0, 8])));
        assert_eq!(token(&[0, 0]).just_below(), None);
    }

    #[test]
    fn stored_bytes_are_checked() {
        assert!(Token::from_bytes(&[1, 0]).is_none());
        assert!(Token::from_bytes(&[0; TOKEN_BYTES_MAX + 1]).is_none());
        let token = TokenWriter::new(3, 1).kafka(2, 77).finish();
        assert_eq!(Token::from_bytes(token.as_bytes()), Some(token));
    }
}

//! Order tokens: bytes that compare with `<` and tell which of two changes of a key is the newer one.
//!
//! ```text
//! format(1) | scope(2) | source_epoch(4) | position of the commit | phase(1: snapshot 0, stream 1) | position inside
//! ```
//!
//! Every part has a fixed width within a scope and is big-endian, so that the order of bytes is the order of changes in
//! Rust (`Ord`), in PostgreSQL (`bytea`), in MySQL (`VARBINARY`) and in SQLite (`BLOB`). `format` and `scope` are compared
//! for equality only: the first [`PREFIX_BYTES`] bytes of two tokens must be equal before the tokens may be compared.
//!
//! # Why the Kafka position is inside some tokens
//!
//! Where positions repeat (`order_by` columns, the record form's LSN) the design keeps the Kafka position beside the token
//! and compares it when tokens are equal. Here it is the last part of such a token (`partition(4) | offset(8)`), so one
//! comparison decides everywhere and the order is total: within a partition the greater offset wins, between partitions
//! the outcome of a tie is arbitrary but the same in every delivery order. A tie between partitions has no right answer
//! in the event's own bytes; a stable one keeps replays from changing anything.

use std::cmp::Ordering;
use std::fmt;

use super::table::TOKEN_BYTES_MAX;

/// Format of the tokens that this version writes.
pub const TOKEN_FORMAT: u8 = 1;
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

    /// Whether the two may be compared at all.
    pub fn comparable(&self, other: &Self) -> bool {
        self.as_bytes()[..PREFIX_BYTES] == other.as_bytes()[..PREFIX_BYTES]
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

/// Puts the parts of a token together.
#[derive(Debug)]
pub struct TokenWriter {
    token: Token,
}

impl TokenWriter {
    /// Begins a token of a scope and a source epoch.
    pub fn new(scope: u16, source_epoch: u32) -> Self {
        let mut writer = Self { token: Token { length: 0, bytes: [0; TOKEN_BYTES_MAX] } };
        writer.put(&[TOKEN_FORMAT]);
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
    fn scopes_are_not_comparable() {
        let token = |scope| TokenWriter::new(scope, 1).number(7).finish();
        assert!(token(1).comparable(&token(1)));
        assert!(!token(1).comparable(&token(2)));
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

//! What can be taken away from the protocol, and which invariants fall then.

use lastword::core::guard::Guard;

/// Something that is missing, or done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A guard of the program.
    Guard(Guard),
    /// The compare-and-swap does not look at the fence.
    WithoutFence,
    /// The compare-and-swap does not look at the expected offset.
    WithoutExpectedOffset,
    /// Nobody asks the floor.
    WithoutFloor,
    /// Tombstones are collected although someone still reads below the ends of their generation.
    WithoutReaders,
    /// A claim reads the position by a SELECT, which does not wait, and raises the fence after it.
    ClaimReadsFirst,
    /// An unknown outcome is taken for a failure.
    UnknownIsFailed,
}

//! The guards by name. Every one stands, always; a test may take one away and show that the contents are others then, because
//! a guard that can be missing without a difference was not tested.
//!
//! Tests of the library take one away for their thread. The program in debug builds is told by its environment (see
//! [`crate::failpoint`]), so that tests from outside can break it, too. In release builds there is nothing to take away.

/// A rule that keeps a change from being written, or takes back what was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A change that is not newer than its row loses.
    Row,
    /// A change that is not newer than its key's tombstone loses.
    Tombstone,
    /// A change that is not newer than the table's TRUNCATE loses.
    Truncate,
    /// Of the changes of a key in one batch the one with the greatest token stays.
    Collapse,
    /// A streamed change ranks above the snapshot rows that lie before it in its partition.
    SnapshotFloor,
    /// Under the table's lock, what writers did without seeing each other is put right.
    Recheck,
    /// A checkpoint moves only under the current fence, and only from where the batch began.
    Fence,
    /// Checkpoints move in the transaction of the rows. Without it they move in one of their own, before.
    OneTransaction,
}

/// Whether a guard stands: always.
#[cfg(not(any(test, debug_assertions)))]
pub(crate) const fn stands(_: Guard) -> bool {
    true
}

/// Whether a guard stands.
#[cfg(all(not(test), debug_assertions))]
pub(crate) fn stands(guard: Guard) -> bool {
    TAKEN_AWAY.get() != Some(&guard)
}

#[cfg(all(not(test), debug_assertions))]
static TAKEN_AWAY: std::sync::OnceLock<Guard> = std::sync::OnceLock::new();

/// Takes a guard away for good, by its name; false if it has none. Only what simulation, model and fault tests break has one.
#[cfg(debug_assertions)]
pub(crate) fn take_away(name: &str) -> bool {
    let guard = match name {
        "fence" => Guard::Fence,
        "tombstone" => Guard::Tombstone,
        "one_transaction" => Guard::OneTransaction,
        _ => return false,
    };
    #[cfg(test)]
    REMOVED.set(Some(guard));
    #[cfg(not(test))]
    let _ = TAKEN_AWAY.set(guard);
    true
}

/// Whether a guard stands.
#[cfg(test)]
pub(crate) fn stands(guard: Guard) -> bool {
    REMOVED.get() != Some(guard)
}

#[cfg(test)]
thread_local! {
    static REMOVED: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
}

/// Takes a guard away on this thread until it is dropped.
#[cfg(test)]
pub(crate) struct Removed;

#[cfg(test)]
impl Removed {
    pub(crate) fn new(guard: Option<Guard>) -> Self {
        REMOVED.set(guard);
        Self
    }
}

#[cfg(test)]
impl Drop for Removed {
    fn drop(&mut self) {
        REMOVED.set(None);
    }
}

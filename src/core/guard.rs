//! The guards by name. Every one stands, always; a test may take one away for its thread and show that the contents are others
//! then, because a guard that can be missing without a difference was not tested.

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
}

/// Whether a guard stands: outside of tests always.
#[cfg(not(test))]
pub(crate) const fn stands(_: Guard) -> bool {
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

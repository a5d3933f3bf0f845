//! Values that a connector changes before anybody else can see them, each seen in the records themselves. They are told apart from
//! mistakes of lastword by this list alone, so a value that arrives exact after all fails the run as well.

use lastword::core::dialect::Dialect;

/// When a fact holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// In rows of the snapshot.
    Snapshot,
    /// In rows of the stream.
    Stream,
    /// In both.
    Always,
}

/// See the module.
pub(super) struct Fact {
    /// Kind of the source.
    pub(super) source: Dialect,
    /// Type of the column.
    pub(super) sql: &'static str,
    /// Literals.
    pub(super) edges: &'static [&'static str],
    /// Names of settings; none means all.
    pub(super) settings: &'static [&'static str],
    /// When.
    pub(super) when: When,
    /// What the connector does.
    pub(super) what: &'static str,
}

impl Fact {
    /// Whether it is about a value.
    pub(super) fn covers(&self, source: Dialect, sql: &str, edge: Option<&str>, setting: &str, way: &str) -> bool {
        let when = match self.when {
            When::Snapshot => way == "snapshot",
            When::Stream => way != "snapshot",
            When::Always => true,
        };
        let is_setting = self.settings.is_empty() || self.settings.contains(&setting);
        let is_edge = self.edges.is_empty() || edge.is_some_and(|edge| self.edges.contains(&edge));
        self.source == source && self.sql == sql && is_edge && is_setting && when
    }
}

/// All facts.
pub(super) const FACTS: [Fact; 0] = [];

//! The list of outcomes as a document.

/// File and header of the list.
pub(super) const OUTCOMES: (&str, &str) =
    ("types/outcomes.tsv", "source\tsetting\ttype\tdestination\ttables\tcolumn\toutcome");

//! What the reason codes of refused and quarantined records mean, and what to do about them.
//!
//! Codes are stable: scripts and alerts may rest on them. A database's own error codes (`23514`, `mysql 1062`, …) are kept as
//! they come and stand for a row that the table does not take.

/// A reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The code.
    pub code: &'static str,
    /// What was seen.
    pub meaning: &'static str,
    /// What brings the row right.
    pub remedy: &'static str,
}

const REASONS: &[Reason] = &[
    Reason {
        code: "below_floor",
        meaning: "a row that is not there, from an event not newer than the tombstones that were collected: it may have been deleted since",
        remedy: "ask the source: an incremental snapshot signal brings a row that lives; drop the record of one that does not",
    },
    Reason {
        code: "cut",
        meaning: "the record can only be applied behind others",
        remedy: "replay the partition from its offset",
    },
    Reason {
        code: "does_not_fit",
        meaning: "the column cannot hold the value exactly",
        remedy: "widen the column and `lastword quarantine retry` the record, or leave the column out with `exclude_columns`",
    },
    Reason {
        code: "epoch_regression",
        meaning: "the change is later than everything before it in its partition, but its position is lower: the source's positions seem to have started again",
        remedy: "if the source was restored or replaced: `lastword epoch open`; if its clock was wrong, `lastword quarantine retry` or a larger `regression_margin`",
    },
    Reason {
        code: "foreign_key_violation",
        meaning: "the row's parent is not there, or a child of the deleted row still is, and no change that would clear the way came in time",
        remedy: "when the other table has caught up, `lastword quarantine retry` the record; if the source does not have that foreign key, drop it here",
    },
    Reason {
        code: "held_back",
        meaning: "an update without all values, of a key of which an older event is in quarantine that may hold them",
        remedy: "`lastword quarantine retry` the older one and then this one; or an incremental snapshot signal, which brings the full row of the key",
    },
    Reason {
        code: "incomparable_token",
        meaning: "the key's stored row was ordered by another source or in another way",
        remedy: "let one source write the table, or order both by a column of the rows with `order_by`",
    },
    Reason {
        code: "key",
        meaning: "a key column is NULL or of a type that cannot be a key",
        remedy: "choose other columns with `key = […]`, or keep the events in a `change-log` table",
    },
    Reason {
        code: "missing_position",
        meaning: "the event lacks the position of its source that its form promises",
        remedy: "mend the producer; a table can be ordered by a column (`order_by`) or within partitions (`offset_order`) instead",
    },
    Reason {
        code: "null_in_not_null",
        meaning: "NULL for a column that does not allow it",
        remedy: "let the column be NULL here as at the source",
    },
    Reason {
        code: "order_by",
        meaning: "an `order_by` column is NULL or has no order of its own",
        remedy: "make the column NOT NULL at the source, or choose another one",
    },
    Reason {
        code: "orphan_null",
        meaning: "a null value whose delete event is gone, for a row that no event wrote, or of a topic whose keys do not tell the table",
        remedy: "compare the key with the source; an incremental snapshot signal brings a row that lives, a row that is gone there can be deleted by hand",
    },
    Reason {
        code: "out_of_range",
        meaning: "the number, date or time lies beyond what the column's type holds",
        remedy: "widen the column and `lastword quarantine retry` the record",
    },
    Reason {
        code: "parameter",
        meaning: "a value that the database's driver does not take for the column",
        remedy: "leave the column out with `exclude_columns`, and report it",
    },
    Reason {
        code: "partial_row",
        meaning: "the connector did not see some values (unchanged TOAST or LOB), and there is no row to take them from",
        remedy: "REPLICA IDENTITY FULL for the table; an incremental snapshot signal (`execute-snapshot` with `additional-conditions`) brings the full row of the key",
    },
    Reason {
        code: "row_too_large",
        meaning: "the row is larger than one statement may be (`max_allowed_packet`)",
        remedy: "raise the server's limit and `lastword quarantine retry` the record",
    },
    Reason {
        code: "refused_by_destination",
        meaning: "the database refuses the row: a constraint, a trigger, a type; its own error code is named",
        remedy: "change the table, then `lastword quarantine retry` the record",
    },
    Reason {
        code: "several_changes",
        meaning: "the record holds several changes (rows of one statement, a key that moved), and a change log keeps one for each record",
        remedy: "let the producer write one row a message, or keep the table as `final-state`",
    },
    Reason {
        code: "source_epoch",
        meaning: "partitions of the topic show the source's servers in contradicting order",
        remedy: "find out which server is the newest, then `lastword epoch open`",
    },
    Reason {
        code: "truncate",
        meaning: "a TRUNCATE that cannot be ordered against the table's rows",
        remedy: "compare the table with the source; order the table by its source's positions",
    },
    Reason {
        code: "undecodable",
        meaning: "the record is not an event of a form that is understood",
        remedy: "`lastword quarantine show` prints its bytes; mend the producer or leave the topic out",
    },
    Reason {
        code: "unencodable_value",
        meaning: "a value that the column's type cannot be given",
        remedy: "change the column's type, or leave the column out with `exclude_columns`",
    },
    Reason {
        code: "unique_violation",
        meaning: "another row holds the value of a second unique key, and no change that would free it came in time",
        remedy: "when the other partition has caught up, `lastword quarantine retry` the record; if the source does not have that unique key, drop it here",
    },
    Reason {
        code: "unsupported_schema",
        meaning: "the registry's schema of the record cannot be turned into fields of rows",
        remedy: "the detail says what stands in the way; change the schema at the producer, or leave the topic out",
    },
    Reason {
        code: "unsupported_type",
        meaning: "a column's type is not understood",
        remedy: "leave the column out with `exclude_columns`",
    },
];

/// The reason of a code, if it is one of lastword's.
pub fn reason(code: &str) -> Option<&'static Reason> {
    REASONS.iter().find(|reason| reason.code == code)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    /// A code that a record can be quarantined with has a meaning and a remedy, and none is explained that does not occur.
    #[test]
    fn every_code_is_explained() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        let pattern = regex::Regex::new(r#"(?:Rejection::new\(|Class::Record,)\s*"([a-z_]+)""#).expect("pattern");
        let mut used = BTreeSet::new();
        let mut texts = String::new();
        for file in files.iter().filter(|file| !file.ends_with("core/reason.rs")) {
            let text = fs::read_to_string(file).expect("source");
            used.extend(pattern.captures_iter(&text).map(|found| found[1].to_owned()));
            texts.push_str(&text);
        }
        let unexplained: Vec<&String> = used.iter().filter(|code| reason(code).is_none()).collect();
        assert!(unexplained.is_empty(), "not explained in core/reason.rs: {unexplained:?}");
        let unused: Vec<&str> =
            REASONS.iter().map(|reason| reason.code).filter(|code| !texts.contains(&format!("\"{code}\""))).collect();
        assert!(unused.is_empty(), "explained, but nothing uses them: {unused:?}");
    }
}

//! Rows that differ from the source's, by the list of `tests/captures`.

use super::stage::Material;
use crate::support::lists::{List, accepting};

/// The rows that differ from the source's against those of the list; returns what is on one side only.
pub(super) fn unlisted(material: &Material, differences: &[String], may_accept: bool) -> Option<String> {
    let list = List::take("captures/exceptions.tsv", "connector\tform\tscenario\ttable\twhat\trow");
    let place = format!("{}\t{}\t", material.connector, material.form.folder());
    let mine = |line: &str| line.starts_with(&place);
    let found: Vec<String> = differences.iter().map(|line| format!("{place}{line}")).collect();
    if may_accept && accepting() {
        list.accept(mine, &found);
    }
    let listed: Vec<String> = list.lines().into_iter().filter(|line| mine(line)).collect();
    list.unequal(&listed, &found)
}

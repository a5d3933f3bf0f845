//! The lists of `tests/captures` that say what becomes of captures; `LASTWORD_TEST_ACCEPT=1` writes them anew.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::stage::Material;
use crate::support::captures;

/// Tests of one process may write one list.
static LISTS: Mutex<()> = Mutex::new(());

/// A list, to be read or written by one at a time.
pub(super) struct List {
    name: &'static str,
    header: &'static str,
    _one: MutexGuard<'static, ()>,
}

impl List {
    /// Takes the list.
    pub(super) fn take(name: &'static str, header: &'static str) -> Self {
        Self { name, header, _one: LISTS.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    fn path(&self) -> PathBuf {
        captures::folder().join(self.name)
    }

    /// Its lines, without the header.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path()).unwrap_or_default();
        text.lines().skip(1).map(str::to_owned).collect()
    }

    /// Puts `found` in the place of the lines that are `mine`.
    pub(super) fn accept(&self, mine: impl Fn(&str) -> bool, found: &[String]) {
        let mut lines: BTreeSet<String> = self.lines().into_iter().filter(|line| !mine(line)).collect();
        lines.extend(found.iter().cloned());
        let all = std::iter::once(self.header).chain(lines.iter().map(String::as_str));
        let text: String = all.map(|line| format!("{line}\n")).collect();
        std::fs::write(self.path(), text).expect("the list is written");
    }

    /// What is listed and not found, and the other way round.
    pub(super) fn unequal(&self, listed: &[String], found: &[String]) -> Option<String> {
        let gone: Vec<&String> = listed.iter().filter(|line| !found.contains(line)).collect();
        let new: Vec<&String> = found.iter().filter(|line| !listed.contains(line)).collect();
        (!gone.is_empty() || !new.is_empty() || listed.len() != found.len()).then(|| {
            format!(
                "tests/captures/{} is another now; LASTWORD_TEST_ACCEPT=1 writes it\nlisted only: {gone:#?}\nfound only: {new:#?}",
                self.name
            )
        })
    }
}

/// Whether the lists are to be written.
pub(super) fn accepting() -> bool {
    std::env::var("LASTWORD_TEST_ACCEPT").is_ok_and(|accept| accept == "1")
}

/// The rows that differ from the source's against those of the list; returns what is on one side only.
pub(super) fn unlisted(material: &Material, differences: &[String], may_accept: bool) -> Option<String> {
    let list = List::take("exceptions.tsv", "connector\tform\tscenario\ttable\twhat\trow");
    let place = format!("{}\t{}\t", material.connector, material.form.folder());
    let mine = |line: &str| line.starts_with(&place);
    let found: Vec<String> = differences.iter().map(|line| format!("{place}{line}")).collect();
    if may_accept && accepting() {
        list.accept(mine, &found);
    }
    let listed: Vec<String> = list.lines().into_iter().filter(|line| mine(line)).collect();
    list.unequal(&listed, &found)
}

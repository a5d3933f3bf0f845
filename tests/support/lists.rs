//! Lists that are checked in and say what a run came to; `LASTWORD_TEST_ACCEPT=1` writes them anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests of one process may write one list.
static LISTS: Mutex<()> = Mutex::new(());

/// A list, to be read or written by one at a time.
pub struct List {
    /// Its file, from the folder of the tests.
    path: &'static str,
    header: &'static str,
    _one: MutexGuard<'static, ()>,
}

impl List {
    /// Takes the list.
    pub fn take(path: &'static str, header: &'static str) -> Self {
        Self { path, header, _one: LISTS.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(self.path)
    }

    /// Its lines, without the header.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path()).unwrap_or_default();
        text.lines().skip(1).map(str::to_owned).collect()
    }

    /// Puts `found` in the place of the lines that are `mine`.
    pub fn accept(&self, mine: impl Fn(&str) -> bool, found: &[String]) {
        let mut lines: BTreeSet<String> = self.lines().into_iter().filter(|line| !mine(line)).collect();
        lines.extend(found.iter().cloned());
        let all = std::iter::once(self.header).chain(lines.iter().map(String::as_str));
        let text: String = all.map(|line| format!("{line}\n")).collect();
        std::fs::write(self.path(), text).expect("the list is written");
    }

    /// What is listed and not found, and the other way round.
    pub fn unequal(&self, listed: &[String], found: &[String]) -> Option<String> {
        let gone: Vec<&String> = listed.iter().filter(|line| !found.contains(line)).collect();
        let new: Vec<&String> = found.iter().filter(|line| !listed.contains(line)).collect();
        (!gone.is_empty() || !new.is_empty() || listed.len() != found.len()).then(|| {
            format!(
                "tests/{} is another now; LASTWORD_TEST_ACCEPT=1 writes it\nlisted only: {gone:#?}\nfound only: {new:#?}",
                self.path
            )
        })
    }

    /// Writes what was found where that is asked for; then says what is listed and not found, and the other way round.
    pub fn compare(&self, mine: impl Fn(&str) -> bool, found: &[String]) -> Option<String> {
        if accepting() {
            self.accept(&mine, found);
        }
        let listed: Vec<String> = self.lines().into_iter().filter(|line| mine(line)).collect();
        self.unequal(&listed, found)
    }
}

/// Whether the lists are to be written.
pub fn accepting() -> bool {
    std::env::var("LASTWORD_TEST_ACCEPT").is_ok_and(|accept| accept == "1")
}

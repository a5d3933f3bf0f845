//! The repository keeps its own rules: what the core may know, how long files are, what tracked files may name.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|is| is == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing to look at in {folder}");
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Whether a file holds tests only.
fn is_tests(path: &Path) -> bool {
    path.components().any(|part| {
        matches!(
            part.as_os_str().to_str(),
            Some("tests" | "tests.rs" | "on_services" | "on_services.rs" | "sim" | "sim.rs")
        )
    })
}

/// Lines of a file outside of comments and before its inner test module.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]" || !text.contains("mod tests {"));
    lines.enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(at, line)| (at + 1, line))
}

#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The core is pure: no runtime, no driver, no clock, no randomness, no environment.
#[test]
fn the_core_knows_nothing_impure() {
    const IMPURE: [&str; 14] = [
        "tokio",
        "rdkafka",
        "sqlx",
        "tokio_postgres",
        "deadpool",
        "SystemTime",
        "Instant::now",
        "std::env",
        "std::fs",
        "std::net",
        "std::thread",
        "rand::",
        "chrono::Utc",
        "reqwest",
    ];
    const SHELL: [&str; 6] =
        ["crate::sink", "crate::source", "crate::runtime", "crate::cli", "crate::server", "crate::config"];
    let mut found = Vec::new();
    for path in files_under("src/core", "rs").into_iter().filter(|path| !is_tests(path)) {
        for (number, line) in code(&read(&path)) {
            if IMPURE.iter().chain(&SHELL).any(|name| line.contains(name)) {
                found.push(format!("{}:{number}: {}", shown(&path), line.trim()));
            }
        }
    }
    assert_none("the core may not use these", &found);
}

#[test]
fn files_stay_short() {
    let mut found = Vec::new();
    for path in files_under("src", "rs") {
        let lines = read(&path).lines().count();
        if lines > 600 {
            found.push(format!("{}: {lines} lines", shown(&path)));
        }
    }
    assert_none("files over 600 lines", &found);
}

#[test]
fn nothing_is_unwrapped_outside_of_tests() {
    let mut found = Vec::new();
    for path in files_under("src", "rs").into_iter().filter(|path| !is_tests(path)) {
        for (number, line) in code(&read(&path)) {
            if [".unwrap()", "todo!(", "unimplemented!(", "dbg!("].iter().any(|call| line.contains(call)) {
                found.push(format!("{}:{number}: {}", shown(&path), line.trim()));
            }
        }
    }
    assert_none("these end the process where an error belongs", &found);
}

#[test]
fn every_statement_is_used() {
    let sources: String = files_under("src", "rs").iter().map(|path| read(path)).collect();
    let unused: Vec<String> = files_under("sql", "sql")
        .iter()
        .filter(|path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            !sources.contains(&format!("{stem}.sql")) && !sources.contains(&format!("\"{stem}\""))
        })
        .map(|path| shown(path))
        .collect();
    assert_none("no source file names these statements", &unused);
}

/// A clone is the same everywhere: no folder of one machine, no host of a mirror.
#[test]
fn tracked_files_name_no_machine() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git runs");
    if !listed.status.success() {
        // An unpacked archive has no list of tracked files; there is nothing to compare with.
        return assert!(!root().join(".git").exists(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    }
    // Written in two parts, so that this file does not name them.
    let names: Vec<String> = [
        ("/wo", "rk/"),
        ("../sha", "red"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("artifact", "ory"),
        ("index.crates", ".io"),
        ("goproxy", "."),
    ]
    .iter()
    .map(|(a, b)| format!("{a}{b}"))
    .collect();
    let mut found = Vec::new();
    for name in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|name| !name.is_empty()) {
        // Captured data say what they say; the lock file names the public registry by design of cargo.
        if name.starts_with("tests/captures/") || name == "Cargo.lock" {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(named) = names.iter().find(|named| line.contains(named.as_str())) {
                found.push(format!("{name}:{}: {named}", number + 1));
            }
        }
    }
    assert_none("tracked files name a machine", &found);
}

/// Every file that the compose file mounts or builds from is there.
#[test]
fn the_compose_file_names_files_that_exist() {
    let path = root().join("docker-compose.yml");
    let text = read(&path);
    let mut seen = 0;
    let mut missing = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '[' | ']')) {
        let word = word.strip_prefix("./").map(|rest| rest.split(':').next().unwrap_or(rest));
        if let Some(word) = word {
            seen += 1;
            if !root().join(word).exists() {
                missing.push(word.to_owned());
            }
        }
    }
    assert!(seen > 0, "no file is referenced: the test looks for `./…`");
    assert_none("docker-compose.yml names files that are not there", &missing);
}

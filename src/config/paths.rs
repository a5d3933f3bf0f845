//! Files by pattern: `*` stands for any characters within a part of the path.

use std::path::{Component, Path, PathBuf};

/// Expands a path in which any part may hold `*`, in the order of the names. Hidden files are only met by a pattern that
/// begins with a dot. The error says what is missing.
pub fn expand(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![PathBuf::new()];
    for part in Path::new(pattern).components() {
        let text = part.as_os_str();
        match (part, text.to_str()) {
            (Component::Normal(_), Some(part)) if part.contains('*') => {
                let mut next = Vec::new();
                for folder in &found {
                    next.extend(matching_entries(folder, part)?);
                }
                found = next;
            }
            _ => found.iter_mut().for_each(|path| path.push(text)),
        }
    }
    if pattern.contains('*') {
        found.retain(|path| path.is_file());
        if found.is_empty() {
            return Err("no file matches this pattern".to_owned());
        }
        return Ok(found);
    }
    match found.first().map(std::fs::metadata) {
        Some(Ok(meta)) if meta.is_dir() => {
            Err("is a folder; expected a file, or a pattern such as folder/*".to_owned())
        }
        Some(Ok(_)) => Ok(found),
        Some(Err(error)) => Err(format!("cannot be read: {error}")),
        None => Err("is empty; expected the path of a file".to_owned()),
    }
}

fn matching_entries(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // A folder that another part's pattern met may be a file or gone; that is a folder without matches.
    let Ok(entries) = std::fs::read_dir(listed) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("the folder {} cannot be listed: {error}", listed.display()))?;
        // Names that are not UTF-8 cannot be written in the configuration, so no pattern means them.
        if let Some(name) = entry.file_name().to_str()
            && (!name.starts_with('.') || pattern.starts_with('.'))
            && matches(pattern, name)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Whether a name is one that the pattern means. Goes back at most to the last `*`, so its time is bounded by the product
/// of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p) == Some(&name[n]) {
            p += 1;
            n += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            p = star_at + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_within_a_name() {
        for (pattern, name, wanted) in [
            ("*", "", true),
            ("*.jsonl", "a.jsonl", true),
            ("*.jsonl", "a.jsonl.gz", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXcXb", false),
            ("**", "ü", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_expand_in_order_and_what_is_missing_is_said() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["b/2.jsonl", "b/10.jsonl", "a/x.jsonl", "a/.hidden.jsonl", "a/y.txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folders");
            std::fs::write(path, "").expect("file");
        }
        let at = |rest: &str| folder.path().join(rest);
        let expanded = expand(at("*/*.jsonl").to_str().expect("path")).expect("matches");
        assert_eq!(expanded, [at("a/x.jsonl"), at("b/10.jsonl"), at("b/2.jsonl")]);
        assert_eq!(expand(at("a/y.txt").to_str().expect("path")), Ok(vec![at("a/y.txt")]));
        assert!(expand(at("c/*").to_str().expect("path")).expect_err("none").contains("no file matches"));
        assert!(expand(at("a").to_str().expect("path")).expect_err("folder").contains("is a folder"));
        assert!(expand(at("z").to_str().expect("path")).expect_err("missing").contains("cannot be read"));
        assert!(expand("").is_err());
    }
}

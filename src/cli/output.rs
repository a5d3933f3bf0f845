//! What commands print: results to stdout, as text for people or as JSON; errors to stderr.

use std::io::{self, Write};

use serde::Serialize;

use super::exit::{CommandError, Exit};
use crate::server::report::printable;

pub use crate::server::report::table;

/// Form of the results.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
}

impl Output {
    /// Prints a result: with `--json` the value, else the text that `human` makes of it. A reader that went away (`| head`)
    /// is no failure.
    pub fn result<T: Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) -> Result<(), CommandError> {
        let text = if self.json { json(value)? } else { human(value) };
        write_result(&mut io::stdout().lock(), &text)
    }

    /// Prints a line for people, nothing with `--json`.
    pub fn note(&self, line: &str) -> Result<(), CommandError> {
        if self.json { Ok(()) } else { write_result(&mut io::stdout().lock(), line) }
    }

    /// Prints an error to stderr: `error: …`, `because: …`, `hint: …`, or one JSON object with `--json`.
    pub fn error(&self, error: &CommandError) {
        // Nobody is left to be told when stderr is gone.
        let _ = io::stderr().lock().write_all(self.error_text(error).as_bytes());
    }

    fn error_text(&self, error: &CommandError) -> String {
        if self.json {
            let object = serde_json::json!({
                "error": error.chain.first(),
                "because": error.chain.get(1..).unwrap_or_default(),
                "code": error.code,
                "hint": error.hint,
                "exit": error.exit as u8,
            });
            return format!("{object}\n");
        }
        let mut text = String::new();
        for (number, message) in error.chain.iter().enumerate() {
            let label = if number == 0 { "error" } else { "because" };
            // Line ends are meant: several problems of a configuration stand below each other.
            let lines: Vec<String> = message.lines().map(printable).collect();
            text.push_str(&format!("{label}: {}\n", lines.join("\n")));
        }
        // A usage error says all there is to say; its code is for machines.
        if !error.code.is_empty() && error.exit != Exit::Usage {
            text.insert_str(text.len() - 1, &format!(" ({})", printable(&error.code)));
        }
        if let Some(hint) = &error.hint {
            text.push_str(&format!("hint: {}\n", printable(hint)));
        }
        text
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, CommandError> {
    serde_json::to_string_pretty(value).map_err(|error| CommandError::from_error(Exit::Failed, &error))
}

fn write_result(out: &mut impl Write, text: &str) -> Result<(), CommandError> {
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::from_error(Exit::Failed, &error).context("the result cannot be printed"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> CommandError {
        let error = CommandError::new(Exit::Operator, "offset 7 of t\u{1b}[0] is gone").context("claiming t[0]");
        CommandError { code: "kafka.range".to_owned(), ..error.hint("lastword offsets set …") }
    }

    #[test]
    fn errors_say_why_and_what_to_do() {
        let text = Output { json: false }.error_text(&sample());
        assert_eq!(
            text,
            "error: claiming t[0]\nbecause: offset 7 of t\\u{1b}[0] is gone (kafka.range)\nhint: lastword offsets set …\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&Output { json: true }.error_text(&sample())).expect("one object");
        assert_eq!(
            (&json["exit"], &json["code"], &json["error"]),
            (&4.into(), &"kafka.range".into(), &"claiming t[0]".into())
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_but_a_full_disk_is() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(write_result(&mut Broken(io::ErrorKind::BrokenPipe), "x").is_ok());
        let error = write_result(&mut Broken(io::ErrorKind::StorageFull), "x").expect_err("full");
        assert_eq!((error.exit, error.chain.len()), (Exit::Failed, 2));
        let mut out = Vec::new();
        write_result(&mut out, "a").expect("written");
        assert_eq!(out, b"a\n");
    }
}

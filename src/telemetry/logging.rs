//! Logs: to stderr, as text on a terminal and as JSON lines otherwise, with times in UTC.
//!
//! Values of rows, keys of records and secrets are never logged.

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::core::failure::Failure;

/// Level that holds unless another is asked for. librdkafka repeats itself on every reconnect; its warnings are enough.
pub const DEFAULT_LEVEL: &str = "info,rdkafka=warn,librdkafka=warn";

/// Form of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging; once in a process. `level` is a level (`debug`) or a filter by module (`info,lastword::sink=debug`). A
/// filter that cannot be read is a failure that says so.
pub fn init(format: Option<LogFormat>, level: Option<&str>) -> Result<(), Failure> {
    let on_terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if on_terminal { LogFormat::Text } else { LogFormat::Json });
    let wants_colour = on_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(BesideBars).with_ansi(wants_colour);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    started.map_err(|error| Failure::operator("logging", format!("logging cannot be started: {error}")))
}

/// Takes a level or filter that [`init`] can use; the error says what is expected.
pub fn check_level(text: &str) -> Result<String, String> {
    filter(Some(text)).map(|_| text.to_owned()).map_err(|failure| failure.message)
}

fn filter(level: Option<&str>) -> Result<EnvFilter, Failure> {
    let text = level.filter(|text| !text.trim().is_empty()).unwrap_or(DEFAULT_LEVEL);
    EnvFilter::builder().parse(text).map_err(|error| {
        let expected = "expected error, warn, info, debug, trace, or a filter such as info,lastword::sink=debug";
        Failure::operator("logging", format!("the log level {text:?} cannot be read ({error}); {expected}"))
    })
}

/// The progress bars of this process, on stderr if that is a terminal. Bars that are added here are put aside while a log
/// line is written.
pub fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> =
        LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
    &BARS
}

/// Writes log lines between the progress bars.
struct BesideBars;

impl MakeWriter<'_> for BesideBars {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bars().suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_refused_with_what_is_expected() {
        for text in [None, Some(""), Some("debug"), Some("warn,lastword::sink=trace")] {
            assert!(filter(text).is_ok(), "{text:?}");
        }
        let default = filter(None).expect("default").to_string();
        assert!(DEFAULT_LEVEL.split(',').all(|part| default.contains(part)), "{default}");
        let failure = filter(Some("lastword=louder")).expect_err("no such level");
        assert!(failure.message.contains("expected error, warn, info"), "{failure}");
    }
}

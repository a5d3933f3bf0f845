//! What a configuration means: defaults filled in, everything judged. All problems go to one report; a part that cannot
//! be used becomes `None`, so that the other parts are still judged.

mod sink;
mod source;
mod tables;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::core::dialect::Dialect;

use super::checked::{BatchConfig, Config, OnBadRecord, OnRegression, PlainConfig, SinkConfig};
use super::load::Environment;
use super::problem::{Origin, Report};
use super::raw::{Align, Raw, RawBatch, RawPipeline, RawServer};
use super::read::{Field, Given};
use super::units::{format_duration, format_size};

/// Rows of a batch: the knee of all destinations lies at 2,000 to 5,000.
pub const BATCH_ROWS: usize = 5_000;
/// Bytes of a batch: two batches per lane (one filling, one applied) stay small beside the rest of the process.
pub const BATCH_BYTES: usize = 8 << 20;
/// Age of a batch: short beside a commit, long beside the gap between two records of a busy topic.
pub const BATCH_AGE: Duration = Duration::from_millis(10);
/// A silent partition: long beside the time in which a producer writes what it has for all partitions, short for a reader.
pub const ALIGN_WAIT: Duration = Duration::from_secs(1);
/// Lanes: enough to keep a destination busy while others wait for their commit.
pub const WRITERS: usize = 4;
/// Wait for locks: longer than any batch takes, shorter than a group's patience.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// A stop: what supervisors allow before they kill (10 s and more), with a margin.
pub const DRAIN: Duration = Duration::from_secs(5);
/// Later source time of a change that lost: beyond what clocks of servers differ by, far below the time of a failover or a restore.
pub const REGRESSION_MARGIN: Duration = Duration::from_secs(10);
/// Where metrics, health and status are served: this machine only.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Judges a configuration.
pub struct Checker<'a> {
    /// Where problems go.
    pub report: &'a mut Report,
    /// Variables that values refer to.
    pub environment: &'a Environment,
    /// The file as a whole, for what is missing.
    pub file: Origin,
}

impl Checker<'_> {
    /// The whole configuration, if it can be used.
    pub fn config(&mut self, raw: Raw) -> Option<Config> {
        let pipeline = self.pipeline(&section(raw.pipeline));
        let sink = self.sink(&section(raw.sink));
        let raw_source = section(raw.source);
        let source = self.source(&raw_source, pipeline.as_deref().unwrap_or_default());
        let dialect = sink.as_ref().map(|sink| sink.dialect);
        let defaults = self.defaults(&section(raw.defaults), dialect);
        let tables = self.rules(&section(raw.table), &defaults, source.as_ref(), dialect);
        let batch = self.batch(&section(raw.batch), sink.as_ref());
        let listen = self.listen(&section(raw.server));
        let drains = Duration::ZERO..=Duration::from_secs(600);
        let drain = self.duration(&section(raw.service).drain, "service.drain", DRAIN, drains);
        let plain = section(raw.plain);
        let margins = Duration::ZERO..=Duration::from_secs(86_400);
        let regression_margin =
            self.duration(&raw_source.regression_margin, "source.regression_margin", REGRESSION_MARGIN, margins);
        Some(Config {
            pipeline: pipeline?,
            source: source?,
            sink: sink?,
            batch,
            defaults,
            tables,
            plain: PlainConfig { decimal: plain.decimal.value().copied(), time: plain.time.value().copied() },
            on_bad_record: section(raw.errors).bad_record.value().copied().unwrap_or(OnBadRecord::Quarantine),
            on_regression: raw_source.on_regression.value().copied().unwrap_or(OnRegression::Halt),
            regression_margin,
            listen,
            drain,
        })
    }

    fn pipeline(&mut self, raw: &RawPipeline) -> Option<String> {
        let name = self.required(&raw.name, "pipeline.name", "name = \"orders\"")?;
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
        if name.value.is_empty() || name.value.len() > 100 || !name.value.chars().all(allowed) {
            let expected =
                "expected 1 to 100 characters of a-z, 0-9, _ . -, because it is a part of names in databases";
            self.report.add(&name.origin, "pipeline.name", expected);
            return None;
        }
        Some(name.value.clone())
    }

    fn batch(&mut self, raw: &RawBatch, sink: Option<&SinkConfig>) -> BatchConfig {
        let bytes = match raw.bytes.given() {
            Some(given) if !(1024..=1 << 30).contains(&given.value.0) => {
                let expected = format!("expected a size from 1KiB to {}", format_size(1 << 30));
                self.report.add(&given.origin, "batch.bytes", expected);
                BATCH_BYTES
            }
            given => given.map_or(BATCH_BYTES, |given| given.value.0),
        };
        let ages = Duration::ZERO..=Duration::from_secs(60);
        let waits = Duration::from_millis(1)..=Duration::from_secs(600);
        let align_wait = self.duration(&raw.align_wait, "batch.align_wait", ALIGN_WAIT, waits);
        let aligned = raw.align.value() == Some(&Align::Transaction);
        if let Some(given) = raw.align_wait.given().filter(|_| !aligned) {
            let message = "says nothing without align = \"transaction\"";
            self.report.add(&given.origin, "batch.align_wait", message);
        }
        let writers = sink.map_or(1, |sink| sink.writers);
        if let Some(given) = raw.align.given().filter(|_| aligned && writers != 1) {
            let message = format!(
                "a source transaction lies in several partitions, and {writers} writers commit theirs one by one: write \
                 writers = 1 under [sink]"
            );
            self.report.add(&given.origin, "batch.align", message);
        }
        BatchConfig {
            rows: self.number(&raw.rows, "batch.rows", BATCH_ROWS, 1..=100_000),
            bytes,
            age: self.duration(&raw.age, "batch.age", BATCH_AGE, ages),
            align_wait: aligned.then_some(align_wait),
        }
    }

    fn listen(&mut self, raw: &RawServer) -> Option<SocketAddr> {
        let Some(given) = raw.listen.given() else { return Some(LISTEN) };
        let address: SocketAddr = match given.value.trim() {
            "off" => return None,
            text => match text.replacen("localhost:", "127.0.0.1:", 1).parse() {
                Ok(address) => address,
                Err(_) => {
                    let expected = "expected an IP address with a port, as in \"127.0.0.1:9464\", or \"off\"";
                    self.report.add(&given.origin, "server.listen", expected);
                    return None;
                }
            },
        };
        if !address.ip().is_loopback() && raw.public.value() != Some(&true) {
            let message = format!(
                "other machines reach {address}, and what is served there needs no password; write public = true beside \
                 it if that is meant, or listen on 127.0.0.1"
            );
            self.report.add(&given.origin, "server.listen", message);
        }
        Some(address)
    }

    fn required<'v, T>(&mut self, field: &'v Field<T>, key: &str, example: &str) -> Option<&'v Given<T>> {
        if !field.is_written() {
            self.missing(key, example);
        }
        field.given()
    }

    fn missing(&mut self, key: &str, example: &str) {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let message = format!("is missing; write for example {example} under [{section}]");
        self.report.add(&self.file, key, message);
    }

    fn number(&mut self, field: &Field<i64>, key: &str, default: usize, range: RangeInclusive<usize>) -> usize {
        let Some(given) = field.given() else { return default };
        match usize::try_from(given.value) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let expected = format!("expected a whole number from {} to {}", range.start(), range.end());
                self.report.add(&given.origin, key, format!("{expected}, found {}", given.value));
                default
            }
        }
    }

    fn duration(
        &mut self,
        field: &Field<Duration>,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(given) = field.given() else { return default };
        if !range.contains(&given.value) {
            let (from, to) = (format_duration(*range.start()), format_duration(*range.end()));
            let message = format!("expected {from} to {to}, found {}", format_duration(given.value));
            self.report.add(&given.origin, key, message);
        }
        given.value
    }

    /// Why a name cannot be one of a table or column in the destination, if it cannot. Without a usable sink nothing is
    /// known about that.
    fn name(&mut self, dialect: Option<Dialect>, name: &str, origin: &Origin, key: &str) {
        if let Some(Err(message)) = dialect.map(|dialect| dialect.check_name(name)) {
            self.report.add(origin, key, message);
        }
    }
}

/// A section, or an empty one where it is not written or not a table.
fn section<T: Default>(field: Field<T>) -> T {
    match field {
        Field::Given(given) => given.value,
        Field::Absent | Field::Refused => T::default(),
    }
}

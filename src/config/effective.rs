//! The configuration that holds, as TOML: every default written out, no secret in it.

use std::fmt::Write;

use crate::core::evolve::Evolve;
use crate::core::naming::{Columns, Pattern};
use crate::core::table::{DeleteMode, TokenStorage};

use super::checked::{
    Config, FileConfig, IdBytes, KafkaConfig, OnBadRecord, OnRegression, PlainDecimal, PlainTime, RegistryAuth,
    RegistryConfig, Resnapshot, SchemaIds, SourceConfig, Start, TableRule, TopicRule,
};
use super::secret::{HIDDEN, redact_url};
use super::units::{format_duration, format_size};

/// Writes a configuration as TOML that lastword reads again, but for passwords and values of librdkafka properties, which
/// are hidden.
pub fn effective(config: &Config) -> String {
    let mut page = Page(String::new());
    page.section("[pipeline]").text("name", &config.pipeline);
    match &config.source {
        SourceConfig::Kafka(kafka) => write_kafka(&mut page, kafka),
        SourceConfig::File(file) => write_files(&mut page, file),
    }
    let on_regression = match config.on_regression {
        OnRegression::Halt => "halt",
        OnRegression::Quarantine => "quarantine",
    };
    page.text("on_regression", on_regression).text("regression_margin", &format_duration(config.regression_margin));
    if let SourceConfig::Kafka(KafkaConfig { client, .. }) = &config.source
        && !client.is_empty()
    {
        page.section("[source.client]");
        client.keys().for_each(|name| {
            page.text(&quoted(name), HIDDEN);
        });
    }
    if let Some(registry) = &config.registry {
        write_registry(&mut page, registry);
    }
    page.section("[sink]")
        .text("url", &redact_url(config.sink.url.expose()))
        .plain("writers", config.sink.writers)
        .text("lock_timeout", &format_duration(config.sink.lock_timeout));
    page.section("[batch]")
        .plain("rows", config.batch.rows)
        .text("bytes", &format_size(config.batch.bytes))
        .text("age", &format_duration(config.batch.age))
        .text("align", if config.batch.align_wait.is_some() { "transaction" } else { "none" });
    if let Some(wait) = config.batch.align_wait {
        page.text("align_wait", &format_duration(wait));
    }
    write_rule(page.section("[defaults]"), &config.defaults);
    config.tables.iter().for_each(|rule| write_topic_rule(&mut page, rule));
    if config.plain.decimal.is_some() || config.plain.time.is_some() {
        page.section("[plain]");
        if let Some(decimal) = config.plain.decimal {
            page.text(
                "decimal",
                match decimal {
                    PlainDecimal::Base64 => "base64",
                    PlainDecimal::Text => "text",
                },
            );
        }
        if let Some(time) = config.plain.time {
            page.text(
                "time",
                match time {
                    PlainTime::Adaptive => "adaptive",
                    PlainTime::AdaptiveTimeMicros => "adaptive_time_microseconds",
                    PlainTime::Millis => "millis",
                    PlainTime::Micros => "micros",
                    PlainTime::Nanos => "nanos",
                },
            );
        }
    }
    page.section("[errors]").text(
        "bad_record",
        match config.on_bad_record {
            OnBadRecord::Quarantine => "quarantine",
            OnBadRecord::Stop => "stop",
        },
    );
    page.section("[server]").text("listen", &config.listen.map_or_else(|| "off".to_owned(), |at| at.to_string()));
    if config.listen.is_some_and(|at| !at.ip().is_loopback()) {
        page.plain("public", true);
    }
    page.section("[service]").text("drain", &format_duration(config.drain));
    page.0
}

fn write_kafka(page: &mut Page, kafka: &KafkaConfig) {
    page.section("[source]").text("kind", "kafka").text("brokers", &kafka.brokers);
    if !kafka.topics.is_empty() {
        page.list("topics", &kafka.topics);
    }
    if let Some(regex) = &kafka.topics_regex {
        page.text("topics_regex", regex);
    }
    if !kafka.exclude.is_empty() {
        page.list("exclude", &kafka.exclude);
    }
    page.text("group", &kafka.group).text(
        "start",
        match kafka.start {
            Start::Earliest => "earliest",
            Start::Latest => "latest",
        },
    );
}

fn write_files(page: &mut Page, file: &FileConfig) {
    let paths: Vec<String> = file.paths.iter().map(|path| path.display().to_string()).collect();
    page.section("[source]").text("kind", "file").list("paths", &paths);
    if !file.topics.is_empty() {
        page.list("topics", &file.topics);
    }
}

fn write_registry(page: &mut Page, registry: &RegistryConfig) {
    let urls: Vec<&str> = registry.urls.iter().map(|url| url.as_str().trim_end_matches('/')).collect();
    page.section("[registry]").text("url", &urls.join(","));
    if let Some(ids) = registry.ids {
        page.text(
            "ids",
            match ids {
                SchemaIds::Schema => "schema",
                SchemaIds::Global => "global",
                SchemaIds::Content => "content",
            },
        );
    }
    match registry.id_bytes {
        IdBytes::Either => {}
        IdBytes::Four => _ = page.plain("id_bytes", 4),
        IdBytes::Eight => _ = page.plain("id_bytes", 8),
    }
    match &registry.auth {
        RegistryAuth::None => {}
        RegistryAuth::Basic { user, .. } => _ = page.text("user", user).text("password", HIDDEN),
        RegistryAuth::Bearer(_) => _ = page.text("token", HIDDEN),
    }
    if let Some(path) = &registry.ca_file {
        page.text("ca_file", &path.display().to_string());
    }
    if let Some((certificate, key)) = &registry.certificate {
        page.text("cert_file", &certificate.display().to_string()).text("key_file", &key.display().to_string());
    }
    page.text("timeout", &format_duration(registry.timeout));
}

fn write_topic_rule(page: &mut Page, rule: &TopicRule) {
    page.section("[[table]]").text("topic", rule.topic.as_str());
    if let Some(table) = &rule.source_table {
        page.text("source_table", table);
    }
    if rule.skip {
        page.plain("skip", true);
        return;
    }
    if let Some(form) = rule.format {
        page.text("format", form.name());
    }
    if let Some(prefix) = &rule.flat_prefix {
        page.text("flat_prefix", prefix);
    }
    if let Some(format) = rule.key_format {
        page.text("key_format", format.name());
    }
    if let Some(key) = &rule.key {
        page.list("key", key);
    }
    if !rule.order_by.is_empty() {
        page.list("order_by", &rule.order_by);
    }
    write_rule(page, &rule.rule);
    for (column, to) in &rule.rule.columns.renamed {
        page.section(&format!("[table.columns.{}]", quoted(column))).text("to", to);
    }
}

fn write_rule(page: &mut Page, rule: &TableRule) {
    let is_change_log = rule.contract == crate::core::table::Contract::ChangeLog;
    if let Some(into) = &rule.into {
        page.text("into", &into.to_string());
    }
    page.text("table_case", rule.table_case.as_str());
    if !is_change_log {
        write_columns(page, &rule.columns);
    }
    page.text("contract", &rule.contract.to_string()).plain("create", rule.create);
    page.plain("single_writer", rule.single_writer).text("unavailable_value", rule.unavailable.written());
    // A change-log has neither deletes nor an order; saying so would be refused when it is read again.
    if is_change_log {
        return;
    }
    page.text(
        "delete",
        match rule.delete {
            DeleteMode::Hard => "hard",
            DeleteMode::Soft => "soft",
            DeleteMode::Ignore => "ignore",
        },
    );
    page.text(
        "token_storage",
        match rule.token_storage {
            TokenStorage::Column => "column",
            TokenStorage::Side => "side",
        },
    );
    page.text(
        "evolve",
        match rule.evolve {
            Evolve::None => "none",
            Evolve::Validate => "validate",
            Evolve::Add => "add",
            Evolve::Widen => "widen",
        },
    );
    page.plain("offset_order", rule.offset_order);
    let (retain, collect) = (format_duration(rule.tombstones.retain), rule.tombstones.collect);
    page.plain("tombstones", format_args!("{{ retain = {}, collect = {collect} }}", quoted(&retain)));
    page.text(
        "resnapshot",
        match rule.resnapshot {
            Resnapshot::Keep => "keep",
            Resnapshot::Sweep => "sweep",
        },
    );
}

fn write_columns(page: &mut Page, columns: &Columns) {
    let texts = |patterns: &[Pattern]| patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>();
    page.text("column_case", columns.names.case.as_str());
    for (key, text) in [("column_prefix", &columns.names.prefix), ("column_suffix", &columns.names.suffix)] {
        if !text.is_empty() {
            page.text(key, text);
        }
    }
    for (key, patterns) in [("include_columns", &columns.include), ("exclude_columns", &columns.exclude)] {
        if !patterns.is_empty() {
            page.list(key, &texts(patterns));
        }
    }
}

/// TOML as it grows.
struct Page(String);

impl Page {
    fn section(&mut self, header: &str) -> &mut Self {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{gap}{header}");
        self
    }

    fn plain(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        let _ = writeln!(self.0, "{key} = {value}");
        self
    }

    fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.plain(key, quoted(text))
    }

    fn list(&mut self, key: &str, items: &[String]) -> &mut Self {
        let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
        self.plain(key, format_args!("[{}]", items.join(", ")))
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

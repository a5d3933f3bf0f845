//! `[defaults]` and `[[table]]`

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::checked::{Form, Resnapshot, SourceConfig, TableRule, TombstoneRule, TopicMatch, TopicRule};
use crate::config::problem::nearest;
use crate::config::raw::{RawColumns, RawDefaults, RawRule, RawTombstones};
use crate::config::read::{Field, Given, Texts};
use crate::core::dialect::Dialect;
use crate::core::naming::{ColumnNames, Columns, Pattern, Template, reserved};
use crate::core::table::{Contract, DeleteMode, TokenStorage};
use crate::core::unavailable::Unavailable;

use super::Checker;

/// Begin of the names that lastword gives to its own columns.
const OWN_COLUMNS: &str = "_lastword_";

impl Checker<'_> {
    /// Judges `[defaults]`.
    pub(super) fn defaults(&mut self, raw: &RawDefaults, dialect: Option<Dialect>) -> TableRule {
        let into = raw.into.given().and_then(|given| self.into(given, "defaults.into", None, dialect));
        let names = ColumnNames {
            case: raw.column_case.value().copied().unwrap_or_default(),
            prefix: raw.column_prefix.value().cloned().unwrap_or_default(),
            suffix: raw.column_suffix.value().cloned().unwrap_or_default(),
        };
        let mut rule = TableRule {
            into,
            table_case: raw.table_case.value().copied().unwrap_or_default(),
            columns: Columns { names, ..Columns::default() },
            contract: raw.contract.value().copied().unwrap_or(Contract::FinalState),
            delete: raw.delete.value().copied().unwrap_or(DeleteMode::Hard),
            create: raw.create.value().copied().unwrap_or(true),
            evolve: raw.evolve.value().copied().unwrap_or_default(),
            token_storage: raw.token_storage.value().copied().unwrap_or(TokenStorage::Column),
            single_writer: raw.single_writer.value().copied().unwrap_or(false),
            offset_order: raw.offset_order.value().copied().unwrap_or(false),
            unavailable: self.unavailable(&raw.unavailable_value, "defaults.unavailable_value").unwrap_or_default(),
            tombstones: tombstones(&raw.tombstones, TombstoneRule::default()),
            resnapshot: raw.resnapshot.value().copied().unwrap_or_default(),
        };
        self.judge_collection(&raw.tombstones, &raw.resnapshot, "defaults", &mut rule, false);
        rule
    }

    /// Refuses to collect or sweep where that is written but would not be sound; turns it off where it is only inherited.
    fn judge_collection(
        &mut self,
        written: &Field<RawTombstones>,
        resnapshot: &Field<Resnapshot>,
        path: &str,
        rule: &mut TableRule,
        ordered_by_columns: bool,
    ) {
        let collect = written.value().and_then(|raw| raw.collect.given()).filter(|given| given.value);
        let sweep = resnapshot.given().filter(|given| given.value == Resnapshot::Sweep);
        if let Some(why) = cannot_collect(rule, ordered_by_columns) {
            if let Some(given) = collect {
                self.report.add(&given.origin, format!("{path}.tombstones.collect"), why);
            }
            rule.tombstones.collect = false;
        }
        if let Some(why) = cannot_sweep(rule, ordered_by_columns) {
            if let Some(given) = sweep {
                self.report.add(&given.origin, format!("{path}.resnapshot"), why);
            }
            rule.resnapshot = Resnapshot::Keep;
        }
    }

    fn unavailable(&mut self, field: &Field<String>, key: &str) -> Option<Arc<Unavailable>> {
        let given = field.given()?;
        match Unavailable::new(&given.value) {
            Ok(unavailable) => Some(Arc::new(unavailable)),
            Err(message) => {
                self.report.add(&given.origin, key, message);
                None
            }
        }
    }

    /// Judges `[[table]]`. The rules are put in the order in which they are asked: names before expressions, those for one
    /// source table before the others; else as written.
    pub(super) fn rules(
        &mut self,
        raw: &[RawRule],
        defaults: &TableRule,
        source: Option<&SourceConfig>,
        dialect: Option<Dialect>,
    ) -> Vec<TopicRule> {
        let mut rules = Vec::new();
        for (number, rule) in raw.iter().enumerate() {
            let Some(topic) = self.rule_topic(rule, number, source) else { continue };
            let twin = |other: &&RawRule| {
                other.topic.value() == rule.topic.value() && other.source_table.value() == rule.source_table.value()
            };
            if let (Some(first), Some(again)) = (raw[..number].iter().find(twin), rule.topic.given()) {
                let place = first.topic.given().map_or_else(String::new, |given| format!(" at {}", given.origin));
                let message = format!("there is a rule for this topic and source table already{place}");
                self.report.add(&again.origin, path(number, "topic"), message);
            }
            rules.push(self.rule(rule, number, topic, defaults, dialect));
        }
        rules.sort_by_key(|rule| (matches!(rule.topic, TopicMatch::Pattern(_)), rule.source_table.is_none()));
        rules
    }

    fn rule_topic(&mut self, raw: &RawRule, number: usize, source: Option<&SourceConfig>) -> Option<TopicMatch> {
        let key = path(number, "topic");
        if !raw.topic.is_written() {
            let origin = raw.origin.clone().unwrap_or_else(|| self.file.clone());
            self.report.add(&origin, key, "is missing; write the topic's name, or an expression that begins with ^");
            return None;
        }
        let given = raw.topic.given()?;
        let topic = if given.value.starts_with('^') {
            TopicMatch::Pattern(self.pattern(&given.value, &given.origin, &key)?)
        } else {
            self.topic(&given.value, &given.origin, &key);
            TopicMatch::Name(given.value.clone())
        };
        if let Some(message) = source.and_then(|source| never_met(&topic, &given.value, source)) {
            self.report.add(&given.origin, key, message);
        }
        Some(topic)
    }

    fn rule(
        &mut self,
        raw: &RawRule,
        number: usize,
        topic: TopicMatch,
        defaults: &TableRule,
        dialect: Option<Dialect>,
    ) -> TopicRule {
        let contract = raw.contract.value().copied().unwrap_or(defaults.contract);
        let skip = raw.skip.value().copied().unwrap_or(false);
        if skip {
            self.meaningless_when_skipped(raw, number);
        } else if contract == Contract::ChangeLog {
            self.meaningless_in_change_log(raw, number);
        }
        if raw.order_by.is_written() {
            let why = "contradicts order_by: changes have one order";
            self.refuse_truth(&raw.offset_order, &path(number, "offset_order"), why);
        }
        if let Some(given) = raw.source_table.given().filter(|given| given.value.is_empty()) {
            self.report.add(&given.origin, path(number, "source_table"), "is empty");
        }
        let key = raw.key.given().map(|_| self.columns(&raw.key, &path(number, "key")));
        let order_by = self.columns(&raw.order_by, &path(number, "order_by"));
        let needed: Vec<&String> = key.iter().flatten().chain(&order_by).collect();
        let columns = self.selected(raw, number, &needed, &defaults.columns.names, dialect);
        let unavailable = self.unavailable(&raw.unavailable_value, &path(number, "unavailable_value"));
        let own_into =
            raw.into.given().and_then(|given| self.into(given, &path(number, "into"), Some(&topic), dialect));
        let mut treated = TableRule {
            into: own_into.or_else(|| defaults.into.clone()),
            table_case: raw.table_case.value().copied().unwrap_or(defaults.table_case),
            columns,
            contract,
            delete: raw.delete.value().copied().unwrap_or(defaults.delete),
            create: raw.create.value().copied().unwrap_or(defaults.create),
            evolve: raw.evolve.value().copied().unwrap_or(defaults.evolve),
            token_storage: raw.token_storage.value().copied().unwrap_or(defaults.token_storage),
            single_writer: raw.single_writer.value().copied().unwrap_or(defaults.single_writer),
            // A rule's columns are a better order than the default's offsets.
            offset_order: !raw.order_by.is_written()
                && raw.offset_order.value().copied().unwrap_or(defaults.offset_order),
            unavailable: unavailable.unwrap_or_else(|| Arc::clone(&defaults.unavailable)),
            tombstones: tombstones(&raw.tombstones, defaults.tombstones),
            resnapshot: raw.resnapshot.value().copied().unwrap_or(defaults.resnapshot),
        };
        let place = format!("table[{number}]");
        self.judge_collection(&raw.tombstones, &raw.resnapshot, &place, &mut treated, raw.order_by.is_written());
        TopicRule {
            topic,
            source_table: raw.source_table.value().cloned(),
            format: raw.format.value().copied(),
            flat_prefix: self.flat_prefix(raw, number),
            key_format: raw.key_format.value().copied(),
            key,
            order_by,
            skip,
            rule: treated,
        }
    }

    fn flat_prefix(&mut self, raw: &RawRule, number: usize) -> Option<String> {
        let given = raw.flat_prefix.given()?;
        let key = path(number, "flat_prefix");
        if given.value.is_empty() {
            let message =
                "is empty: added fields could not be told from columns; set the transform's `add.fields.prefix`";
            self.report.add(&given.origin, &key, message);
        }
        if let Some(form) = raw.format.value().filter(|form| **form != Form::Flat) {
            let message = format!("has no meaning with format = {:?}: it is of flattened rows", form.name());
            self.report.add(&given.origin, key, message);
        }
        Some(given.value.clone())
    }

    /// Which columns are written, and under which names.
    fn selected(
        &mut self,
        raw: &RawRule,
        number: usize,
        needed: &[&String],
        names: &ColumnNames,
        dialect: Option<Dialect>,
    ) -> Columns {
        let columns = Columns {
            include: self.patterns(&raw.include_columns, &path(number, "include_columns")),
            exclude: self.patterns(&raw.exclude_columns, &path(number, "exclude_columns")),
            names: ColumnNames {
                case: raw.column_case.value().copied().unwrap_or(names.case),
                prefix: raw.column_prefix.value().unwrap_or(&names.prefix).clone(),
                suffix: raw.column_suffix.value().unwrap_or(&names.suffix).clone(),
            },
            renamed: self.renamed(&raw.columns, &path(number, "columns"), dialect),
        };
        for (pattern, given) in columns.exclude.iter().zip(raw.exclude_columns.value().into_iter().flatten()) {
            if let Some(column) = needed.iter().find(|column| pattern.matches(column)) {
                let message = format!("{column:?} is needed: it is in key or order_by");
                self.report.add(&given.origin, path(number, "exclude_columns"), message);
            }
        }
        columns
    }

    fn meaningless_when_skipped(&mut self, raw: &RawRule, number: usize) {
        let why = "has no meaning with skip = true: nothing of the topic is applied";
        self.refuse_key(&raw.format, &path(number, "format"), why);
        self.refuse_key(&raw.flat_prefix, &path(number, "flat_prefix"), why);
        self.refuse_key(&raw.key_format, &path(number, "key_format"), why);
        self.refuse_key(&raw.into, &path(number, "into"), why);
        self.refuse_key(&raw.key, &path(number, "key"), why);
        self.refuse_key(&raw.order_by, &path(number, "order_by"), why);
        self.refuse_columns(raw, number, why);
        self.refuse_key(&raw.contract, &path(number, "contract"), why);
    }

    fn meaningless_in_change_log(&mut self, raw: &RawRule, number: usize) {
        let why = "has no meaning in a change-log, which appends every record; use contract = \"final-state\" or leave it out";
        self.refuse_key(&raw.key, &path(number, "key"), why);
        self.refuse_key(&raw.order_by, &path(number, "order_by"), why);
        self.refuse_columns(raw, number, why);
        self.refuse_key(&raw.delete, &path(number, "delete"), why);
        self.refuse_key(&raw.evolve, &path(number, "evolve"), why);
        self.refuse_key(&raw.token_storage, &path(number, "token_storage"), why);
        self.refuse_truth(&raw.offset_order, &path(number, "offset_order"), why);
    }

    fn refuse_columns(&mut self, raw: &RawRule, number: usize, why: &str) {
        self.refuse_key(&raw.include_columns, &path(number, "include_columns"), why);
        self.refuse_key(&raw.exclude_columns, &path(number, "exclude_columns"), why);
        self.refuse_key(&raw.columns, &path(number, "columns"), why);
        self.refuse_key(&raw.column_case, &path(number, "column_case"), why);
        self.refuse_key(&raw.column_prefix, &path(number, "column_prefix"), why);
        self.refuse_key(&raw.column_suffix, &path(number, "column_suffix"), why);
    }

    fn refuse_truth(&mut self, field: &Field<bool>, key: &str, why: &str) {
        if let Some(given) = field.given().filter(|given| given.value) {
            self.report.add(&given.origin, key, why);
        }
    }

    /// Columns as the source names them.
    fn columns(&mut self, field: &Field<Texts>, key: &str) -> Vec<String> {
        let Some(given) = field.given() else { return Vec::new() };
        if given.value.is_empty() {
            self.report.add(&given.origin, key, "names no column; leave it out or name one");
        }
        let mut columns: Vec<String> = Vec::new();
        for column in &given.value {
            if column.value.is_empty() {
                self.report.add(&column.origin, key, "a column's name is empty");
            }
            if columns.contains(&column.value) {
                self.report.add(&column.origin, key, format!("{:?} is named twice", column.value));
            }
            if column.value.starts_with(OWN_COLUMNS) {
                let message = format!("{:?} is a column of lastword's own", column.value);
                self.report.add(&column.origin, key, message);
            }
            columns.push(column.value.clone());
        }
        columns
    }

    /// Names of columns, or `^…` expressions over them.
    fn patterns(&mut self, field: &Field<Texts>, key: &str) -> Vec<Pattern> {
        self.columns(field, key);
        let mut patterns = Vec::new();
        for given in field.value().into_iter().flatten() {
            if !given.value.starts_with('^') {
                patterns.push(Pattern::Name(given.value.clone()));
            } else if let Some(expression) = self.pattern(&given.value, &given.origin, key) {
                patterns.push(Pattern::Expression(expression));
            }
        }
        patterns
    }

    /// The new names of single columns.
    fn renamed(&mut self, field: &Field<RawColumns>, key: &str, dialect: Option<Dialect>) -> BTreeMap<String, String> {
        let mut renamed: BTreeMap<String, String> = BTreeMap::new();
        for (column, raw) in field.value().into_iter().flatten() {
            let Some(to) = raw.to.given() else { continue };
            let key = format!("{key}.{column}.to");
            self.name(dialect, &to.value, &to.origin, &key);
            if to.value.starts_with(OWN_COLUMNS) {
                self.report.add(&to.origin, &key, format!("{:?} is a column of lastword's own", to.value));
            }
            if let Some((other, _)) = renamed.iter().find(|(_, known)| **known == to.value) {
                self.report.add(&to.origin, &key, format!("{other:?} has that name already"));
            }
            renamed.insert(column.clone(), to.value.clone());
        }
        renamed
    }

    /// The template of a table's name. What its variables will bring is checked when a table is met.
    fn into(
        &mut self,
        given: &Given<String>,
        key: &str,
        topic: Option<&TopicMatch>,
        dialect: Option<Dialect>,
    ) -> Option<Template> {
        let expression = topic.and_then(|topic| match topic {
            TopicMatch::Name(_) => None,
            TopicMatch::Pattern(expression) => Some(expression),
        });
        let template = given.value.parse::<Template>().and_then(|template| {
            template.check_groups(expression)?;
            Ok(template)
        });
        let template = match template {
            Ok(template) => template,
            Err(message) => {
                self.report.add(&given.origin, key, message);
                return None;
            }
        };
        if let Some(name) = template.plain() {
            for part in name.schema.iter().chain([&name.table]) {
                self.name(dialect, part, &given.origin, key);
            }
            if let Some(why) = dialect.and_then(|dialect| reserved(dialect, &name)) {
                self.report.add(&given.origin, key, why);
            }
        }
        Some(template)
    }
}

/// Why no selected topic can ever meet a rule, if that can be told.
fn never_met(rule: &TopicMatch, written: &str, source: &SourceConfig) -> Option<String> {
    let (topics, regex) = match source {
        SourceConfig::Kafka(kafka) => (&kafka.topics, kafka.topics_regex.as_deref()),
        SourceConfig::File(file) if file.topics.is_empty() => return None,
        SourceConfig::File(file) => (&file.topics, None),
    };
    let by_regex = match (regex, rule) {
        (None, _) => false,
        // Whether two expressions have a topic in common is not judged.
        (Some(_), TopicMatch::Pattern(_)) => true,
        (Some(regex), TopicMatch::Name(name)) => regex::Regex::new(regex).map_or(true, |regex| regex.is_match(name)),
    };
    if by_regex || topics.iter().any(|topic| rule.matches(topic)) {
        return None;
    }
    let meant = nearest(written, topics.iter().map(String::as_str));
    let hint = meant.map(|topic| format!("; did you mean {topic:?}?")).unwrap_or_default();
    Some(format!("no topic of [source] is meant by {written:?}{hint}"))
}

fn tombstones(written: &Field<RawTombstones>, inherited: TombstoneRule) -> TombstoneRule {
    let Some(raw) = written.value() else { return inherited };
    TombstoneRule {
        collect: raw.collect.value().copied().unwrap_or(inherited.collect),
        retain: raw.retain.value().copied().unwrap_or(inherited.retain),
    }
}

/// Why tombstones of a table cannot be collected soundly, if they cannot.
fn cannot_collect(rule: &TableRule, ordered_by_columns: bool) -> Option<&'static str> {
    if rule.contract == Contract::ChangeLog {
        return Some("has no meaning in a change-log, which has no tombstones");
    }
    if rule.delete == DeleteMode::Ignore {
        return Some("has no meaning with delete = \"ignore\": there are no tombstones");
    }
    if rule.single_writer {
        return Some("contradicts single_writer: collecting changes the table beside its writer");
    }
    if ordered_by_columns {
        return Some(
            "contradicts order_by: a new row's values may be lower than those of a deleted one, so every new row would be refused",
        );
    }
    if rule.offset_order {
        return Some(
            "contradicts offset_order: offsets of two partitions have no order, so a key that moved could come back",
        );
    }
    if rule.delete == DeleteMode::Soft && rule.token_storage == TokenStorage::Side {
        return Some(
            "contradicts delete = \"soft\" with token_storage = \"side\": the tokens of marked rows would be lost",
        );
    }
    None
}

/// Why a table cannot be swept, if it cannot.
fn cannot_sweep(rule: &TableRule, ordered_by_columns: bool) -> Option<&'static str> {
    if rule.contract == Contract::ChangeLog || rule.delete == DeleteMode::Ignore {
        return Some("\"sweep\" has no meaning for a table to which deletes are not applied");
    }
    if ordered_by_columns || rule.offset_order {
        return Some(
            "\"sweep\" needs the order of the source: a snapshot has no place in an order of columns or offsets",
        );
    }
    None
}

fn path(number: usize, key: &str) -> String {
    format!("table[{number}].{key}")
}

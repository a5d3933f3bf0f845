//! What a table and its events must have: a business key, an order, a unique key over exactly that.

use crate::config::checked::{Resnapshot, TableRule, TopicRule};
use crate::core::dialect::Dialect;
use crate::core::event::{Rejection, SourcePosition};
use crate::core::order::OrderPolicy;
use crate::core::table::{Table, TableShape};

use super::{Met, Refused};

pub(super) fn key_names(rule: Option<&TopicRule>, met: Met<'_>) -> Result<Vec<String>, Refused> {
    if let Some(key) = rule.and_then(|rule| rule.key.clone()) {
        return Ok(key);
    }
    match met.key {
        Some(schema) if !schema.fields.is_empty() => Ok(schema.fields.iter().map(|field| field.name.clone()).collect()),
        _ => Err(Refused::Table(Rejection::table(
            "no_key",
            format!(
                "the events of {} (topic {}) have no record key that names its columns, so `final-state` cannot be kept; name the key with `key = [..]`, or choose `contract = \"change-log\"`",
                met.source, met.topic
            ),
        ))),
    }
}

pub(super) fn order_policy(
    topic_rule: Option<&TopicRule>,
    rule: &TableRule,
    met: Met<'_>,
) -> Result<OrderPolicy, Refused> {
    if topic_rule.is_some_and(|rule| !rule.order_by.is_empty()) {
        return Ok(OrderPolicy::Columns(Vec::new()));
    }
    let SourcePosition::None(why) = met.position else {
        if rule.resnapshot == Resnapshot::Sweep && !matches!(met.position, SourcePosition::Postgres { .. }) {
            let what = format!(
                "`resnapshot = \"sweep\"` needs one position for a whole snapshot, which only PostgreSQL's connector gives; the rows of {} (topic {}) have one that counts within their partition; use \"keep\"",
                met.source, met.topic
            );
            return Err(Refused::Table(Rejection::table("resnapshot", what)));
        }
        return Ok(OrderPolicy::Source);
    };
    if rule.offset_order {
        return Ok(OrderPolicy::Offset);
    }
    Err(Refused::Table(Rejection::table(
        "no_order",
        format!(
            "the events of {} (topic {}) carry no position of their source that orders them, so `final-state` has no order token: {why}; or name columns with `order_by = [..]`, or accept the order of each partition with `offset_order = true`",
            met.source, met.topic
        ),
    )))
}

pub(super) fn key_columns(shape: &TableShape, key: &[String]) -> Result<Vec<usize>, Refused> {
    let position = |name: &String| {
        shape.position(name).ok_or_else(|| {
            Refused::Table(Rejection::table(
                "no_key",
                format!("{} has no column {name:?}, which is part of its business key", shape.name),
            ))
        })
    };
    key.iter().map(position).collect()
}

fn same_columns(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|name| b.contains(name))
}

pub(super) fn check_unique(shape: &TableShape, key: &[String]) -> Result<(), Refused> {
    let unique =
        same_columns(&shape.primary_key, key) || shape.unique_keys.iter().any(|columns| same_columns(columns, key));
    if unique {
        return Ok(());
    }
    Err(Refused::Table(Rejection::table(
        "key_not_unique",
        format!(
            "{} has neither a primary key nor a unique key over exactly its business key ({}); add one",
            shape.name,
            key.join(", ")
        ),
    )))
}

/// Keys must be equal in the destination exactly where they are equal in the source.
pub(super) fn check_key(dialect: Dialect, shape: &TableShape, key: &[usize], names: &[String]) -> Result<(), Refused> {
    let refuse = |reason, what| Err(Refused::Table(Rejection::table(reason, what)));
    check_unique(shape, names)?;
    for column in key.iter().map(|at| &shape.columns[*at]) {
        if let Some(why) = &column.wide_equality {
            return refuse(
                "wide_key",
                format!(
                    "key column {:?} of {} holds keys equal that the source holds different: {why}",
                    column.name, shape.name
                ),
            );
        }
        if column.generated {
            return refuse(
                "generated_key",
                format!("key column {:?} of {} is made by the database", column.name, shape.name),
            );
        }
    }
    if dialect == Dialect::Mysql && !same_columns(&shape.primary_key, names) {
        return refuse(
            "key_is_not_primary",
            format!(
                "the business key ({}) of {} is not its primary key; on MySQL and MariaDB it must be, because rows are found and locked by that",
                names.join(", "),
                shape.name
            ),
        );
    }
    Ok(())
}

/// Whether a table was met with this key: another topic, or another key schema, may name other columns.
pub(super) fn has_key(table: &Table, key: &[String]) -> bool {
    let names: Vec<String> = table.key.iter().map(|at| table.shape.columns[*at].name.clone()).collect();
    same_columns(&names, key)
}

//! The round trips: every setting into every destination. One Connect worker serves all.

use lastword::core::dialect::Dialect::{self, Mysql, Postgres, Sqlite};

use super::facts::FACTS;
use super::outcome::{self, Found, Tables};
use super::source::{Setting, Source, Wire};
use crate::support::lists::List;
use crate::support::random::{Random, seed};

const DEFAULT: Setting =
    Setting { name: "default", wire: Wire::Schemas, options: &[("column.propagate.source.type", ".*")], config: "" };

const PLAIN: Setting = Setting {
    name: "no schemas",
    wire: Wire::Plain,
    options: &[],
    config: "[plain]\ndecimal = \"base64\"\ntime = \"adaptive\"\n",
};

const PLAIN_MARIADB: Setting =
    Setting { config: "[plain]\ndecimal = \"base64\"\ntime = \"adaptive_time_microseconds\"\n", ..PLAIN };

/// Setting, destination, tables.
type Trip = (&'static Setting, Dialect, Tables);

const MICROSECONDS: Setting = Setting {
    name: "microseconds",
    wire: Wire::Schemas,
    options: &[
        ("time.precision.mode", "microseconds"),
        ("binary.handling.mode", "base64-url-safe"),
        ("column.propagate.source.type", ".*"),
    ],
    config: "[defaults]\nbinary = \"base64url\"\n",
};

const FLAT: Setting = Setting {
    name: "flat, nanoseconds",
    wire: Wire::Flat,
    options: &[("time.precision.mode", "nanoseconds"), ("binary.handling.mode", "base64")],
    config: "",
};

mod postgres {
    use super::{Setting, Wire};

    pub(super) const TEXTS: Setting = Setting {
        name: "texts",
        wire: Wire::Schemas,
        options: &[
            ("decimal.handling.mode", "string"),
            ("time.precision.mode", "isostring"),
            ("binary.handling.mode", "hex"),
            ("interval.handling.mode", "string"),
            ("hstore.handling.mode", "map"),
        ],
        config: "[defaults]\nbinary = \"hex\"\n",
    };
    pub(super) const AVRO: Setting =
        Setting { name: "Avro", wire: Wire::Avro, options: &[("time.precision.mode", "connect")], config: "" };
}

mod mariadb {
    use super::{Setting, Wire};

    pub(super) const TEXTS: Setting = Setting {
        name: "texts",
        wire: Wire::Schemas,
        options: &[
            ("decimal.handling.mode", "string"),
            ("time.precision.mode", "isostring"),
            ("binary.handling.mode", "hex"),
            ("bigint.unsigned.handling.mode", "precise"),
        ],
        config: "[defaults]\nbinary = \"hex\"\n",
    };
    pub(super) const AVRO: Setting = Setting {
        name: "Avro",
        wire: Wire::Avro,
        options: &[("time.precision.mode", "connect"), ("bigint.unsigned.handling.mode", "precise")],
        config: "",
    };
}

/// Every setting into every destination; events without schemas need tables that are there.
fn trips(source: Dialect, settings: &[&'static Setting]) -> Vec<Trip> {
    let mut trips = Vec::new();
    for setting in settings {
        trips.push((*setting, source, Tables::Natural));
        if setting.wire != Wire::Plain {
            trips.extend([Postgres, Mysql, Sqlite].map(|destination| (*setting, destination, Tables::Made)));
        }
    }
    trips
}

fn every_type(source: Dialect, settings: &[&'static Setting]) {
    let mut random = Random::new(seed());
    let trips = trips(source, settings);
    let origin = Source::start(source, settings, &mut random);
    let mut all = Found::default();
    for (setting, destination, tables) in &trips {
        let began = std::time::Instant::now();
        let found = outcome::run(&origin, setting, *destination, *tables);
        println!("{} into {destination:?} ({tables:?}): {:.1} s", setting.name, began.elapsed().as_secs_f32());
        all.lines.extend(found.lines);
        all.problems.extend(found.problems);
        all.facts.extend(found.facts);
    }
    assert!(all.problems.is_empty(), "{} differences:\n{}", all.problems.len(), all.problems.join("\n"));
    let mine = format!("{source:?}\t").to_lowercase();
    let mine = |line: &str| line.starts_with(&mine);
    let unequal = List::take(super::type_table::OUTCOMES.0, super::type_table::OUTCOMES.1).compare(mine, &{
        all.lines.sort();
        all.lines
    });
    assert!(unequal.is_none(), "{}", unequal.unwrap_or_default());
    let idle = FACTS.iter().enumerate().filter(|(at, fact)| fact.source == source && !all.facts.contains(at));
    let idle: Vec<String> = idle.map(|(_, fact)| format!("{} {:?}: {}", fact.sql, fact.edges, fact.what)).collect();
    assert!(idle.is_empty(), "facts that hold no more:\n{}", idle.join("\n"));
}

/// Invariant 6.
#[test]
fn every_type_of_postgresql_arrives_or_is_refused_by_name() {
    every_type(Postgres, &[&DEFAULT, &MICROSECONDS, &postgres::TEXTS, &PLAIN, &FLAT, &postgres::AVRO]);
}

/// Invariant 6.
#[test]
fn every_type_of_mariadb_arrives_or_is_refused_by_name() {
    every_type(Mysql, &[&DEFAULT, &MICROSECONDS, &mariadb::TEXTS, &PLAIN_MARIADB, &FLAT, &mariadb::AVRO]);
}

//! A source database with a row for every value, and the connectors that read it.

use std::collections::BTreeMap;
use std::time::Duration;

use lastword::core::dialect::Dialect;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::connect::{self, Connector};
use super::values::generate;
use super::{Family, mariadb, postgres};
use crate::support::database::Database;
use crate::support::random::Random;
use crate::support::{eventually, kafka, service, unique};

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// JSON with schemas.
    Schemas,
    /// JSON without.
    Plain,
    /// JSON with schemas, flattened.
    Flat,
    /// Avro with a registry.
    Avro,
}

/// A connector's settings under test.
pub(super) struct Setting {
    /// Name in the lists.
    pub(super) name: &'static str,
    /// Form of the events.
    pub(super) wire: Wire,
    /// Options of the connector.
    pub(super) options: &'static [(&'static str, &'static str)],
    /// What lastword has to be told.
    pub(super) config: &'static str,
}

/// Ways in which a value comes to its row, and rows that have to go. The last digit of a row's key.
pub(super) const WAYS: [(i64, &str); 4] = [(0, "snapshot"), (1, "insert"), (2, "update"), (4, "NULL between")];
/// In the snapshot, deleted in the stream.
pub(super) const GONE: i64 = 3;

/// A value under test.
pub(super) struct Case {
    /// Place of its column in the family.
    pub(super) column: usize,
    /// Key of its rows without the last digit.
    pub(super) id: i64,
    /// Its literal; `None` for generated ones.
    pub(super) edge: Option<&'static str>,
}

/// See the module.
pub(super) struct Source {
    /// The database.
    pub(super) database: Database,
    /// Its tables.
    pub(super) families: &'static [Family],
    /// Their values.
    pub(super) cases: BTreeMap<&'static str, Vec<Case>>,
    /// The connectors' topic prefixes by the name of their settings.
    pub(super) prefixes: BTreeMap<&'static str, String>,
    connectors: Vec<Connector>,
}

impl Source {
    /// Makes the database, reads it with a connector for each of the settings, and changes it.
    pub(super) fn start(dialect: Dialect, settings: &[&Setting], random: &mut Random) -> Self {
        let database = Database::new(dialect);
        let families: &'static [Family] =
            if dialect == Dialect::Postgres { &postgres::FAMILIES } else { &mariadb::FAMILIES };
        prepare(&database, dialect);
        let mut source =
            Self { database, families, cases: BTreeMap::new(), prefixes: BTreeMap::new(), connectors: Vec::new() };
        for family in families {
            source.database.execute(&create_table(&source.database, family));
            let cases = source.fill(family, random);
            source.cases.insert(family.name, cases);
        }
        for setting in settings {
            let prefix = unique("rt");
            source.connectors.push(Connector::create(&prefix, &options(&source.database, setting, &prefix)));
            source.prefixes.insert(setting.name, prefix);
        }
        settings.iter().for_each(|setting| source.wait(setting, |values| 4 * values));
        for family in families {
            source.change(family);
        }
        // A deleted row leaves a delete and a null, but for the flattened form.
        let stream = |setting: &Setting| if setting.wire == Wire::Flat { 5 } else { 6 };
        settings.iter().for_each(|setting| source.wait(setting, |values| (4 + stream(setting)) * values));
        source
    }

    /// Zero dates are values, too; anything else that is not exact is a mistake.
    fn execute(&self, sql: &str) {
        let modes = if self.database.dialect == Dialect::Mysql {
            "set statement sql_mode = 'STRICT_ALL_TABLES' for "
        } else {
            ""
        };
        self.database.execute(&format!("{modes}{sql}"));
    }

    /// A row for each value, and the copies that the stream will change.
    fn fill(&self, family: &Family, random: &mut Random) -> Vec<Case> {
        let (table, dialect) = (self.database.table(family.name), self.database.dialect);
        let mut cases = Vec::new();
        for (place, column) in family.columns.iter().enumerate() {
            let generated = generate(column.values, dialect, random);
            let literals = column.edges.iter().map(|edge| ((*edge).to_owned(), Some(*edge)));
            let literals: Vec<(String, Option<&str>)> =
                literals.chain(generated.into_iter().map(|literal| (literal, None))).collect();
            let mut rows = Vec::new();
            for (number, (literal, edge)) in literals.iter().enumerate() {
                let id = (place as i64 * 100 + number as i64) * 10;
                rows.push(format!("({id}, {literal})"));
                cases.push(Case { column: place, id, edge: *edge });
            }
            self.execute(&format!("insert into {table} (id, c{place}) values {}", rows.join(", ")));
        }
        let columns = columns(family);
        self.execute(&format!("insert into {table} (id) select id + 2 from {table} where id % 10 = 0"));
        for way in [GONE, 4] {
            self.execute(&format!(
                "insert into {table} (id, {columns}) select id + {way}, {columns} from {table} where id % 10 = 0"
            ));
        }
        cases
    }

    /// The changes that are streamed: one event a row but for way 4, which has two, and deletes.
    fn change(&self, family: &Family) {
        let table = self.database.table(family.name);
        let each = |assign: &dyn Fn(usize) -> String| -> String {
            (0..family.columns.len()).map(assign).collect::<Vec<_>>().join(", ")
        };
        let columns = columns(family);
        self.execute(&format!(
            "insert into {table} (id, {columns}) select id + 1, {columns} from {table} where id % 10 = 0"
        ));
        let copy = |way: i64| match self.database.dialect {
            Dialect::Postgres => format!(
                "update {table} as a set {} from {table} as b where b.id = a.id - {way} and a.id % 10 = {way}",
                each(&|place| format!("c{place} = b.c{place}"))
            ),
            _ => format!(
                "update {table} as a join {table} as b on b.id = a.id - {way} set {} where a.id % 10 = {way}",
                each(&|place| format!("a.c{place} = b.c{place}"))
            ),
        };
        self.execute(&copy(2));
        self.execute(&format!("update {table} set {} where id % 10 = 4", each(&|place| format!("c{place} = null"))));
        self.execute(&copy(4));
        self.execute(&format!("delete from {table} where id % 10 = {GONE}"));
    }

    /// Waits until every topic of a connector holds its records; fails when the connector does.
    fn wait(&self, setting: &Setting, count: impl Fn(i64) -> i64) {
        let client = || -> BaseConsumer { kafka::client().create().expect("a consumer") };
        let mut consumer = client();
        for family in self.families {
            let (topic, wanted) = (self.topic(setting, family.name), count(self.cases[family.name].len() as i64));
            let mut seen = 0;
            eventually(&format!("{topic} ({}) holds {wanted} records", setting.name), || {
                self.connectors.iter().for_each(Connector::assert_alive);
                let end = match consumer.fetch_watermarks(&topic, 0, Duration::from_secs(5)) {
                    Ok((_, end)) => end,
                    // A client that asked for a topic before it was there may not see it for a minute after it is.
                    Err(_) => {
                        consumer = client();
                        0
                    }
                };
                if end != seen {
                    seen = end;
                    println!("{topic} ({}): {end} of {wanted}", setting.name);
                }
                (end >= wanted).then_some(())
            });
        }
    }

    /// The topic of a table.
    pub(super) fn topic(&self, setting: &Setting, table: &str) -> String {
        format!("{}.{}.{table}", self.prefixes[setting.name], self.database.home())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        connect::remove(&mut self.connectors);
        if self.database.dialect == Dialect::Postgres {
            // A database that has a slot cannot be dropped.
            let slots =
                format!("select count(*) from pg_replication_slots where database = '{}'", self.database.name());
            eventually("the replication slots are dropped", || (self.database.count(&slots) == 0).then_some(()));
        }
    }
}

/// What the types need before a table can have them.
pub(super) fn prepare(database: &Database, source: Dialect) {
    if source == Dialect::Postgres && database.dialect == Dialect::Postgres {
        for statement in postgres::PREPARE {
            database.execute(statement);
        }
    }
}

/// The statement for a table as the source has it.
pub(super) fn create_table(database: &Database, family: &Family) -> String {
    let columns: Vec<String> =
        family.columns.iter().enumerate().map(|(place, column)| format!("c{place} {} null", column.sql)).collect();
    format!("create table {} (id int not null primary key, {})", database.table(family.name), columns.join(", "))
}

fn columns(family: &Family) -> String {
    (0..family.columns.len()).map(|place| format!("c{place}")).collect::<Vec<_>>().join(", ")
}

fn options(database: &Database, setting: &Setting, prefix: &str) -> Vec<(String, String)> {
    let (_, rest) = database.url.split_once("://").expect("a URL");
    let (user, rest) = rest.split_once('@').expect("a user");
    let (address, _) = rest.split_once('/').expect("a database");
    let (host, port) = address.split_once(':').expect("a port");
    let name = database.name();
    let number = prefix.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) >> 1;
    let mut options: Vec<(&str, String)> = vec![
        ("topic.prefix", prefix.to_owned()),
        ("topic.creation.default.partitions", "1".to_owned()),
        ("topic.creation.default.replication.factor", "1".to_owned()),
        ("database.hostname", host.to_owned()),
        ("database.port", port.to_owned()),
        ("database.user", user.to_owned()),
        ("database.password", String::new()),
        ("poll.interval.ms", "50".to_owned()),
    ];
    match database.dialect {
        Dialect::Postgres => options.extend([
            ("connector.class", "io.debezium.connector.postgresql.PostgresConnector".to_owned()),
            ("database.dbname", name.to_owned()),
            ("schema.include.list", "public".to_owned()),
            ("plugin.name", "pgoutput".to_owned()),
            ("publication.autocreate.mode", "filtered".to_owned()),
            ("publication.name", prefix.to_owned()),
            ("slot.name", prefix.to_owned()),
            ("slot.drop.on.stop", "true".to_owned()),
        ]),
        _ => options.extend([
            ("connector.class", "io.debezium.connector.mariadb.MariaDbConnector".to_owned()),
            ("database.include.list", name.to_owned()),
            ("database.server.id", number.to_string()),
            ("database.ssl.mode", "disable".to_owned()),
            ("schema.history.internal", "io.debezium.relational.history.MemorySchemaHistory".to_owned()),
            ("schema.history.internal.store.only.captured.databases.ddl", "true".to_owned()),
        ]),
    }
    options.extend(wire_options(setting.wire, database.dialect));
    options.extend(setting.options.iter().map(|(key, value)| (*key, (*value).to_owned())));
    options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn wire_options(wire: Wire, source: Dialect) -> Vec<(&'static str, String)> {
    let position = match source {
        Dialect::Postgres => "lsn,source.sequence",
        _ => "file,pos,row,gtid",
    };
    match wire {
        // The worker's own converter.
        Wire::Schemas => Vec::new(),
        Wire::Plain => vec![
            ("key.converter", "org.apache.kafka.connect.json.JsonConverter".to_owned()),
            ("key.converter.schemas.enable", "false".to_owned()),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter".to_owned()),
            ("value.converter.schemas.enable", "false".to_owned()),
        ],
        Wire::Flat => vec![
            ("transforms", "unwrap".to_owned()),
            ("transforms.unwrap.type", "io.debezium.transforms.ExtractNewRecordState".to_owned()),
            ("transforms.unwrap.delete.tombstone.handling.mode", "rewrite".to_owned()),
            ("transforms.unwrap.add.fields", format!("op,{position},source.ts_ms,table")),
        ],
        Wire::Avro => {
            let registry = service("LASTWORD_TEST_REGISTRY").replace("/ccompat/v7", "/registry/v2");
            let mut options = Vec::new();
            for side in ["key", "value"] {
                let set = |option: &str| -> &'static str { format!("{side}.converter{option}").leak() };
                options.extend([
                    (set(""), "io.apicurio.registry.utils.converter.AvroConverter".to_owned()),
                    (set(".apicurio.registry.url"), registry.clone()),
                    (set(".apicurio.registry.auto-register"), "true".to_owned()),
                    (set(".apicurio.registry.find-latest"), "true".to_owned()),
                    (set(".apicurio.registry.as-confluent"), "true".to_owned()),
                    (set(".apicurio.registry.use-id"), "contentId".to_owned()),
                    (set(".apicurio.registry.headers.enabled"), "false".to_owned()),
                ]);
            }
            options
        }
    }
}

//! The cases.

use lastword::core::dialect::Dialect;

use super::events::{Table, UNAVAILABLE};
use crate::support::captures::{self, Captured};

/// What happens, one after the other.
pub enum Step {
    /// These records are put into the topic, and both sinks read until they have everything.
    Deliver(Vec<Captured>),
    /// The topic gets more partitions.
    Partitions(usize),
    /// Both read a partition again from its begin.
    Again(i32),
}

/// One line of the table.
pub struct Case {
    /// What happens, for people.
    pub name: &'static str,
    /// Where it goes.
    pub dialect: Dialect,
    /// Partitions of the topic in the beginning.
    pub partitions: i32,
    /// The table, if it is there before: what stands between its parentheses.
    pub table: Option<&'static str>,
    /// A statement before that, with its type for example.
    pub before: Option<&'static str>,
    /// How far lastword changes tables; the JDBC sink always has `schema.evolution=basic`.
    pub evolve: &'static str,
    /// Columns that are compared.
    pub columns: Vec<String>,
    /// What happens.
    pub steps: Vec<Step>,
    /// Rows of the source.
    pub truth: Vec<Vec<String>>,
}

impl Case {
    /// Into a table of PostgreSQL that the sinks make; `truth` has a space between cells.
    pub fn new(name: &'static str, columns: &[&str], steps: Vec<Step>, truth: &[&str]) -> Self {
        Self {
            name,
            dialect: Dialect::Postgres,
            partitions: 2,
            table: None,
            before: None,
            evolve: "none",
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            steps,
            truth: truth.iter().map(|row| row.split(' ').map(str::to_owned).collect()).collect(),
        }
    }
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = orders();
    cases.extend(truncates());
    cases.extend(contents());
    cases.extend(uniques());
    cases.extend(captured());
    cases.extend(super::types::cases());
    cases
}

const NAMED: [&str; 2] = ["id", "name"];

/// Old changes after newer ones.
fn orders() -> Vec<Case> {
    use Step::{Again, Deliver, Partitions};
    let people = Table::new(&["name"]);
    let old = || people.insert(0, 100, 1, &["old"]);
    let new = || people.update(1, 200, 1, &["new"]);
    let gone = || people.delete(1, 200, 1);
    let raised = |name, newer: Vec<Captured>, truth: &[&str]| Case {
        partitions: 1,
        ..Case::new(name, &NAMED, vec![Deliver(old()), Partitions(2), Deliver(newer), Again(0)], truth)
    };
    let twice = [old(), old(), people.update(0, 200, 1, &["new"]), people.update(0, 200, 1, &["new"])].concat();
    vec![
        raised("an old range is read again after the partition count was raised", new(), &["1 new"]),
        raised("the same, the newer change is a delete", gone(), &[]),
        Case::new(
            "partition count raised, the new partition is read first",
            &NAMED,
            vec![Deliver(new()), Deliver(old())],
            &["1 new"],
        ),
        Case::new("the same, a delete is read first", &NAMED, vec![Deliver(gone()), Deliver(old())], &[]),
        Case::new("every record delivered twice", &NAMED, vec![Deliver(twice)], &["1 new"]),
        Case::new(
            "a key changes, its two records lie in two partitions, the new one is read first and the old one again",
            &NAMED,
            vec![
                Deliver(people.insert(0, 100, 1, &["one"])),
                Deliver(people.insert(1, 200, 2, &["one"])),
                Deliver(people.delete(0, 200, 1)),
                Again(0),
            ],
            &["2 one"],
        ),
    ]
}

fn truncates() -> Vec<Case> {
    use Step::{Again, Deliver};
    let people = Table::new(&["name"]);
    let before = || people.insert(0, 100, 1, &["before"]);
    let after = || people.insert(0, 300, 2, &["after"]);
    vec![
        Case::new(
            "TRUNCATE lies in another partition than older rows and is read before them",
            &NAMED,
            vec![
                Deliver(people.insert(1, 50, 9, &["first"])),
                Deliver(people.truncate(1, 200)),
                Deliver([before(), after()].concat()),
            ],
            &["2 after"],
        ),
        Case::new(
            "the same, and it is the first record of its table",
            &NAMED,
            vec![Deliver(people.truncate(1, 200)), Deliver([before(), after()].concat())],
            &["2 after"],
        ),
        Case::new(
            "TRUNCATE is read again",
            &NAMED,
            vec![Deliver(before()), Deliver(people.truncate(1, 200)), Deliver(after()), Again(1)],
            &["2 after"],
        ),
    ]
}

/// What records may hold.
fn contents() -> Vec<Case> {
    use Step::Deliver;
    let people = Table::new(&["name"]);
    let documents = Table::new(&["name", "body"]);
    let large = [documents.insert(0, 100, 1, &["one", "large"]), documents.update(0, 200, 1, &["two", UNAVAILABLE])];
    let bad = |name: &str| {
        [people.insert(0, 100, 1, &["good"]), people.insert(0, 200, 2, &[name]), people.insert(0, 300, 3, &["good"])]
    };
    let mut garbage = bad("x").concat();
    garbage[1].payload = Some("{\"schema\":".to_owned());
    vec![
        Case::new(
            "an update leaves a large (TOAST) value alone: a placeholder comes in its place",
            &["id", "name", "body"],
            vec![Deliver(large.concat())],
            &["1 two large"],
        ),
        Case::new(
            "compacted topic: of a delete only the null is left",
            &NAMED,
            vec![Deliver(
                [people.insert(0, 100, 1, &["one"]), people.insert(0, 110, 2, &["two"]), people.null(0, 200, 1)]
                    .concat(),
            )],
            &["2 two"],
        ),
        Case {
            table: Some("id integer primary key, name text check (name <> 'bad')"),
            ..Case::new(
                "one record of three violates a CHECK of the destination",
                &NAMED,
                vec![Deliver(bad("bad").concat())],
                &["1 good", "3 good"],
            )
        },
        Case::new("one record of three is not JSON", &NAMED, vec![Deliver(garbage)], &["1 good", "3 good"]),
    ]
}

/// A secondary unique column.
fn uniques() -> Vec<Case> {
    use Step::Deliver;
    let people = Table::new(&["name", "mail"]);
    let columns = ["id", "name", "mail"];
    let taken_over = || {
        vec![
            Deliver(people.insert(0, 100, 1, &["ann", "a"])),
            Deliver(people.insert(1, 300, 2, &["bob", "a"])),
            Deliver(people.update(0, 200, 1, &["ann", "b"])),
        ]
    };
    let trade = vec![
        Deliver([people.insert(0, 100, 1, &["ann", "a"]), people.insert(0, 110, 2, &["bob", "b"])].concat()),
        Deliver(
            [
                people.update(0, 200, 1, &["ann", "t"]),
                people.update(0, 210, 2, &["bob", "a"]),
                people.update(0, 220, 1, &["ann", "b"]),
            ]
            .concat(),
        ),
    ];
    let end = ["1 ann b", "2 bob a"];
    let table = Some("id integer primary key, name varchar(99), mail varchar(99) unique");
    vec![
        Case {
            dialect: Dialect::Mysql,
            table,
            ..Case::new(
                "MariaDB: a unique value goes to another row, whose record is read first",
                &columns,
                taken_over(),
                &end,
            )
        },
        Case { table, ..Case::new("PostgreSQL: the same", &columns, taken_over(), &end) },
        Case { table, ..Case::new("PostgreSQL: two rows trade a unique value", &columns, trade, &end) },
    ]
}

/// What a real connector wrote of a table, and the table's contents in the end.
pub fn capture(name: &'static str, connector: &str, scenario: &str, table: &str) -> Case {
    let path = captures::file(connector, "json-schemas", scenario).expect("a capture");
    let mut records = captures::read(&path);
    records.retain(|record| record.topic.ends_with(&format!(".{table}")));
    let expected = captures::expected(connector, scenario).into_iter().find(|expected| expected.table == table);
    let expected = expected.expect("expected contents");
    let cell = |cell: &Option<String>| cell.as_deref().unwrap_or("NULL").to_owned();
    Case {
        partitions: 4,
        columns: expected.columns.clone(),
        truth: expected.rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
        ..Case::new(name, &[], vec![Step::Deliver(records)], &[])
    }
}

/// Records of a real connector, in the order of their offsets.
fn captured() -> Vec<Case> {
    let case = |name, scenario, table| {
        let mut case = capture(name, "postgresql", scenario, table);
        case.steps.extend([0, 1].map(Step::Again));
        case
    };
    vec![
        case(
            "captured: a transaction was open while the snapshot was taken; two partitions read again",
            "snapshot_with_open_tx",
            "contacts_open",
        ),
        case("captured: connector made anew, rows changed in the gap", "recreated_new_slot", "contacts_new_slot"),
        case("captured: TRUNCATE twice, once inside a transaction; two partitions read again", "truncate", "staging"),
        case("captured: keys change in chains; two partitions read again", "key_update", "products"),
        case("captured: keys under a deferred constraint exchanged", "key_swap", "seats"),
    ]
}

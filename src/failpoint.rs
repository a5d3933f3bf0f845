//! What tests can do to the program from outside: let it die, stop or pause at a named place, and take a guard away.
//!
//! Only debug builds listen. In release builds [`failpoint!`](crate::failpoint) is nothing, and neither variable is read.
//!
//! - `LASTWORD_FAILPOINTS` is a list of `PLACE=ACTION` with commas between, then perhaps `;seed=N`. Actions: `kill` (SIGKILL
//!   of itself), `stop` (SIGSTOP of itself, until someone sends SIGCONT), `pause:MILLISECONDS`. `ACTION@N` happens at the
//!   N-th time that the place is passed and not again; `ACTION%P` every time with a chance of P in a hundred, drawn from the
//!   seed; without either, every time. For example
//!   `apply.committed=kill@3,claim.raised=stop@1,plan.made=pause:20%5;seed=7`.
//! - `LASTWORD_WITHOUT_GUARD` names a guard of [`crate::core::guard`] that does not stand: `fence`, `tombstone` or
//!   `one_transaction`. Such a program loses, doubles or resurrects data: tests show that they notice.
//!
//! Both are said loudly when the program starts.

/// Passes a place of [`ALL`]: `failpoint!(APPLY_ADVANCED)`, in async functions.
macro_rules! failpoint {
    ($place:ident) => {
        #[cfg(debug_assertions)]
        $crate::failpoint::pass($crate::failpoint::$place).await
    };
}
pub(crate) use failpoint;

macro_rules! places {
    ($($(#[$doc:meta])* $place:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $place: &str = $name;)*

        /// The names of all places.
        pub const ALL: &[&str] = &[$($place),*];

        #[cfg(all(test, debug_assertions))]
        const PLACES: &[&str] = &[$(stringify!($place)),*];
    };
}

places! {
    /// A claim has begun its transaction and raised no fence.
    CLAIM_BEGUN = "claim.begun";
    /// All fences of a claim are raised, not yet committed.
    CLAIM_RAISED = "claim.raised";
    /// A claim is committed; the lane does not know it yet.
    CLAIM_COMMITTED = "claim.committed";
    /// A process claims again what was its own: nothing is raised yet.
    RECLAIM_BEGUN = "reclaim.begun";
    /// The fences are raised again, not yet committed.
    RECLAIM_RAISED = "reclaim.raised";
    /// They are committed; the lane does not know it yet.
    RECLAIM_COMMITTED = "reclaim.committed";
    /// A batch is planned, and nothing of it was sent to the destination.
    PLAN_MADE = "plan.made";
    /// A plan's transaction has begun and is about to move the checkpoints.
    APPLY_BEGUN = "apply.begun";
    /// The checkpoints are moved, no row is written.
    APPLY_ADVANCED = "apply.advanced";
    /// Only without [`crate::core::guard::Guard::OneTransaction`]: the checkpoints are committed, the rows have not begun.
    APPLY_BETWEEN = "apply.between";
    /// All rows are written; the bookkeeping that goes with them is not.
    APPLY_ROWS = "apply.rows";
    /// Records were put into the quarantine, not yet committed.
    QUARANTINE_WRITTEN = "quarantine.written";
    /// Everything is written, and COMMIT is the next statement.
    APPLY_BOOKED = "apply.booked";
    /// COMMIT was answered; the lane does not know it yet.
    APPLY_COMMITTED = "apply.committed";
    /// Partitions are to be let go, nothing is in flight for them.
    REVOKE_BEGUN = "revoke.begun";
    /// Partitions were let go, the source does not know it yet.
    REVOKE_DONE = "revoke.done";
    /// A replay is recorded, and has read nothing.
    REPLAY_RECORDED = "replay.recorded";
    /// A replay is marked as running, and has read nothing.
    REPLAY_BEGUN = "replay.begun";
    /// A replay has read its ranges; that is not written down.
    REPLAY_READ = "replay.read";
    /// A replay's end is written down.
    REPLAY_ENDED = "replay.ended";
    /// An operator's new offset has raised the fence, and is not set.
    OFFSETS_RAISED = "offsets.raised";
    /// It is set and audited, not yet committed.
    OFFSETS_AUDITED = "offsets.audited";
    /// The store is about to be made or upgraded.
    MIGRATE_BEGUN = "migrate.begun";
    /// One of the statements of a migration has run.
    MIGRATE_STATEMENT = "migrate.statement";
    /// All of them have run; in MySQL they are there already, elsewhere not yet committed.
    MIGRATE_DONE = "migrate.done";
    /// A table, or something that belongs to one, was made.
    TABLE_MADE = "table.made";
    /// A table is about to be altered.
    ALTER_BEGUN = "alter.begun";
    /// It was altered; in PostgreSQL and SQLite not yet committed.
    ALTER_DONE = "alter.done";
    /// The floors over collected tombstones are raised, and no tombstone is deleted.
    COLLECT_FLOORS = "collect.floors";
    /// Some tombstones are deleted and committed, others not.
    COLLECT_SLICE = "collect.slice";
}

#[cfg(debug_assertions)]
pub(crate) use active::{pass, prepare};

#[cfg(debug_assertions)]
mod active {
    use std::collections::HashMap;
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use crate::core::failure::Failure;
    use crate::core::table::fnv1a;

    static SCHEDULE: OnceLock<Schedule> = OnceLock::new();

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Action {
        Kill,
        Stop,
        Pause(Duration),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum When {
        Always,
        At(u64),
        Percent(u64),
    }

    #[derive(Debug)]
    struct Rule {
        action: Action,
        when: When,
        passed: AtomicU64,
    }

    /// What happens where.
    #[derive(Debug, Default)]
    pub(super) struct Schedule {
        rules: HashMap<String, Rule>,
        seed: u64,
    }

    impl Schedule {
        pub(super) fn parse(text: &str) -> Result<Self, String> {
            let (rules, seed) = text.split_once(';').unwrap_or((text, "seed=0"));
            let seed = seed.strip_prefix("seed=").and_then(|seed| seed.parse().ok()).ok_or("bad seed")?;
            let mut schedule = Self { seed, ..Self::default() };
            for rule in rules.split(',') {
                let (place, action) = rule.split_once('=').ok_or_else(|| format!("{rule:?} has no ="))?;
                if !super::ALL.contains(&place) {
                    return Err(format!("there is no place {place:?}"));
                }
                schedule.rules.insert(place.to_owned(), Rule::parse(action)?);
            }
            Ok(schedule)
        }

        pub(super) fn passed(&self, place: &str) -> Option<Action> {
            let rule = self.rules.get(place)?;
            let number = rule.passed.fetch_add(1, Ordering::Relaxed) + 1;
            let happens = match rule.when {
                When::Always => true,
                When::At(at) => at == number,
                When::Percent(chance) => fnv1a(format!("{} {place} {number}", self.seed).as_bytes()) % 100 < chance,
            };
            happens.then_some(rule.action)
        }
    }

    impl Rule {
        fn parse(text: &str) -> Result<Self, String> {
            let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
            let (action, when) = if let Some((action, at)) = text.split_once('@') {
                (action, When::At(number(at)?))
            } else if let Some((action, chance)) = text.split_once('%') {
                (action, When::Percent(number(chance)?))
            } else {
                (text, When::Always)
            };
            let action = match action.split_once(':') {
                None if action == "kill" => Action::Kill,
                None if action == "stop" => Action::Stop,
                Some(("pause", time)) => Action::Pause(Duration::from_millis(number(time)?)),
                _ => return Err(format!("there is no action {action:?}")),
            };
            Ok(Self { action, when, passed: AtomicU64::new(0) })
        }
    }

    /// Does what is scheduled for a place.
    pub(crate) async fn pass(place: &'static str) {
        let Some(action) = SCHEDULE.get().and_then(|schedule| schedule.passed(place)) else { return };
        // Not through the log: the next moment may be the last one.
        eprintln!("failpoint {place}: {action:?}");
        match action {
            Action::Kill => signal("KILL"),
            Action::Stop => signal("STOP"),
            Action::Pause(time) => tokio::time::sleep(time).await,
        }
    }

    /// The thread waits until the signal was sent, so it never gets beyond its place.
    fn signal(name: &str) {
        let id = std::process::id().to_string();
        if !Command::new("kill").args([&format!("-{name}"), &id]).status().is_ok_and(|status| status.success()) {
            eprintln!("failpoint: the signal cannot be sent");
            std::process::abort();
        }
    }

    /// Reads the variables when the program starts.
    pub(crate) fn prepare() -> Result<(), Failure> {
        let bad = |name: &str, why: String| Failure::operator("bad_variable", format!("{name}: {why}"));
        if let Ok(name) = std::env::var("LASTWORD_WITHOUT_GUARD") {
            if !crate::core::guard::take_away(&name) {
                return Err(bad(
                    "LASTWORD_WITHOUT_GUARD",
                    format!("there is no guard {name:?} that can be taken away"),
                ));
            }
            tracing::error!(guard = name, "A GUARD IS TAKEN AWAY: this program breaks its promise and destroys data");
        }
        if let Ok(text) = std::env::var("LASTWORD_FAILPOINTS") {
            let schedule = Schedule::parse(&text).map_err(|why| bad("LASTWORD_FAILPOINTS", why))?;
            tracing::error!(schedule = text, "failpoints are set: this program will die or stop by itself");
            let _ = SCHEDULE.set(schedule);
        }
        Ok(())
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::time::Duration;

    use super::active::{Action, Schedule};
    use super::{ALL, PLACES};

    fn uses(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                uses(&path, found);
            } else if !path.ends_with("failpoint.rs") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let names = text.split("failpoint!(").skip(1).filter_map(|rest| rest.split(')').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }

    /// A place that is in the list only would be a fault that never happens.
    #[test]
    fn every_place_is_passed_somewhere() {
        let mut found = BTreeSet::new();
        uses(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert_eq!(found, PLACES.iter().map(|place| (*place).to_owned()).collect());
        assert_eq!(ALL.iter().collect::<BTreeSet<_>>().len(), ALL.len(), "two places of one name");
    }

    #[test]
    fn a_schedule_is_read_and_counted() {
        let schedule = Schedule::parse("apply.committed=kill@3,claim.raised=stop,plan.made=pause:20%25;seed=7");
        let schedule = schedule.expect("a schedule");
        let three = [(); 4].map(|()| schedule.passed("apply.committed"));
        assert_eq!(three, [None, None, Some(Action::Kill), None]);
        assert_eq!(schedule.passed("claim.raised"), Some(Action::Stop));
        assert_eq!(schedule.passed("apply.begun"), None);
        let paused = (0..1000).filter_map(|_| schedule.passed("plan.made"));
        let paused: Vec<Action> = paused.collect();
        assert!((150..350).contains(&paused.len()), "{}", paused.len());
        assert!(paused.iter().all(|action| *action == Action::Pause(Duration::from_millis(20))));
    }

    #[test]
    fn a_schedule_that_names_nothing_is_refused() {
        for text in
            ["", "apply.comitted=kill", "apply.committed", "apply.committed=die", "apply.rows=kill@x", "a=kill;7"]
        {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }
}

//! Processes that are killed, stopped and woken while partitions move and traffic goes on.

use lastword::core::dialect::Dialect;

use super::{Scene, is_long, pause};
use crate::support::{Dice, LIMIT, eventually};

/// Invariants 1 to 5: two processes in a group, one of them killed ten times at random while traffic goes on.
fn killed_ten_times(dialect: Dialect, seed: u64) {
    let mut scene = Scene::new(dialect, seed);
    let mut dice = Dice(seed);
    let (rounds, changes) = if is_long() { (400, 2500) } else { (40, 500) };
    let mut processes = [scene.program.start(&["run"]), scene.program.start(&["run"])];
    let mut kills = 0;
    for round in 0..rounds {
        scene.produce(changes);
        pause(&mut dice, 50, 350);
        if round % (rounds / 10) == rounds / 20 {
            let victim = dice.roll(2);
            processes[victim].signal("KILL");
            pause(&mut dice, 10, 400);
            processes[victim] = scene.program.start(&["run"]);
            kills += 1;
        }
    }
    scene.wait_caught_up();
    for process in processes {
        process.signal("TERM");
        process.wait(LIMIT).ok();
    }
    assert_eq!(kills, 10);
    scene.check();
    let fence = scene.database.count(&format!("select max(fence) from {}", scene.database.bookkeeping("checkpoint")));
    assert!(fence > 1, "no partition was ever taken over");
    assert!(scene.sum("superseded_in_batch + superseded_by_row + superseded_by_tombstone", "table_counter") > 0);
}

#[test]
fn postgres_survives_ten_kills() {
    killed_ten_times(Dialect::Postgres, 11);
}

#[test]
fn mariadb_survives_ten_kills() {
    killed_ten_times(Dialect::Mysql, 12);
}

/// SQLite serialises its writers: two processes on one file.
#[test]
fn sqlite_is_shared_by_two_processes() {
    let mut scene = Scene::new(Dialect::Sqlite, 13);
    let processes = [scene.program.start(&["run"]), scene.program.start(&["run"])];
    for _ in 0..10 {
        scene.produce(300);
    }
    scene.wait_caught_up();
    for process in processes {
        process.signal("TERM");
        process.wait(LIMIT).ok();
    }
    scene.check();
}

/// Invariant 5: a process that was stopped, lost its partitions and wakes up later changes nothing any more.
#[test]
fn a_zombie_has_no_effect() {
    let mut scene = Scene::new(Dialect::Postgres, 14);
    let zombie = scene.program.start(&["run"]);
    scene.produce(2000);
    let checkpoint = scene.database.bookkeeping("checkpoint");
    scene.wait_caught_up();
    let owned = |scene: &Scene| scene.database.texts(&format!("select distinct owner from {checkpoint} order by 1"));
    let first = owned(&scene);
    scene.produce(3000);
    zombie.signal("STOP");
    scene.produce(3000);
    let heir = scene.program.start(&["run"]);
    scene.wait_caught_up();
    let second = owned(&scene);
    assert!(second.len() == 1 && second != first, "the heir owns every partition: {first:?}, then {second:?}");
    let fences = format!("select sum(fence)::bigint from {checkpoint}");
    let before = scene.database.count(&fences);
    zombie.signal("CONT");
    scene.produce(2000);
    scene.wait_caught_up();
    eventually("the zombie noticed", || {
        zombie.stderr().contains("fenced").then_some(()).or_else(|| {
            // It may also have learned it from the group before it wrote anything; then it claims anew and raises fences.
            (scene.database.count(&fences) > before).then_some(())
        })
    });
    for process in [zombie, heir] {
        process.signal("TERM");
        process.wait(LIMIT).ok();
    }
    scene.check();
}

/// Two signals: the process ends at once, and nothing is lost.
#[test]
fn a_second_signal_stops_at_once_and_loses_nothing() {
    let mut scene = Scene::new(Dialect::Postgres, 15);
    scene.produce(5000);
    let process = scene.program.start(&["run"]);
    eventually("it works", || (scene.sum("next_offset", "checkpoint") > 0).then_some(()));
    process.signal("TERM");
    process.signal("TERM");
    process.wait(LIMIT);
    let result = scene.program.catch_up(&[]);
    assert_eq!(result["caught_up"], true);
    scene.check();
}

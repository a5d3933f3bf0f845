//! The campaign against all destinations at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lastword::core::dialect::Dialect;

use super::super::campaign::{Campaign, Outcome};
use super::super::faults::{self, LIVE};
use super::super::report;
use crate::crash_suite::servers::{Down, Servers};
use crate::support::random::{Random, seed};

/// Faults that a short run and a long run have to see.
const SHORT: u64 = 50;
const LONG: u64 = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_doubled_or_resurrected_whatever_fails() {
    let seed = seed();
    let long = std::env::var("LASTWORD_TEST_LONG").is_ok_and(|long| long == "1");
    let (began, commit) = (Instant::now(), report::commit());
    let (servers, services) = Servers::start();
    let servers = (Arc::new(servers), services);
    let broker = Arc::new(tokio::sync::Mutex::new(()));
    let mut places = LIVE;
    faults::shuffle(&mut places, &mut Random::new(seed));
    // Each destination visits a third of the places; the broker goes once, for all of them.
    let down = if seed.is_multiple_of(2) { Down::Kill } else { Down::Stop };
    let plans = [
        (Dialect::Postgres, &places[..5], Some(down)),
        (Dialect::Mysql, &places[5..10], None),
        (Dialect::Sqlite, &places[10..], None),
    ];
    let mut campaigns = Vec::new();
    for (number, (dialect, places, down)) in plans.into_iter().enumerate() {
        let (servers, broker, places) = (servers.clone(), Arc::clone(&broker), places.to_vec());
        campaigns.push(tokio::spawn(async move {
            let seed = seed.wrapping_add(number as u64);
            let mut random = Random::new(seed);
            let mut campaign = Campaign::begin(&servers, &broker, dialect, seed).await;
            campaign.round(faults::short(dialect, &places, down, &mut random)).await;
            let share = LONG / 3 + 1;
            while long && campaign.outcome().violations.is_empty() && seen(campaign.outcome()) < share {
                campaign.round(faults::long(dialect, &mut random)).await;
                println!("{dialect:?}: {} faults in {:?}", seen(campaign.outcome()), began.elapsed());
            }
            if campaign.outcome().violations.is_empty() {
                campaign.collect().await;
            }
            campaign.end()
        }));
    }
    let mut outcomes = Vec::new();
    for campaign in campaigns {
        outcomes.push(campaign.await.expect("a campaign"));
    }
    let text = report::report(&outcomes, &commit, seed, began.elapsed(), &servers.0.versions());
    println!("{text}");
    let right = outcomes.iter().all(|outcome| outcome.violations.is_empty());
    if long && right {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fault_suite/REPORT.md");
        std::fs::write(file, &text).expect("the report is written");
    }
    assert!(right, "seed {seed}: {text}");
    let wanted = if long { LONG } else { SHORT };
    assert!(report::seen(&outcomes) >= wanted, "only {} faults were seen to hit", report::seen(&outcomes));
}

fn seen(outcome: &Outcome) -> u64 {
    outcome.tally.values().map(|(_, seen)| seen).sum()
}

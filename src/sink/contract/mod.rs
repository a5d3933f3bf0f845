//! What every destination promises: the same tests against the one in memory, SQLite, and each server.
//!
//! A [`Stand`] does everything twice, to the destination and to a memory beside it (the oracle), and compares after each plan what
//! was answered, what the tables hold and what is kept beside them. So a test mostly is a list of plans. [`broken`] shows that each
//! of them can fail.

mod broken;
mod cases;
mod database;
mod destination;
mod orders;
mod stand;

use crate::sink::bookkeep::tests::Database;
use destination::Destination;
pub(super) use stand::{advance, counts};

/// Every case, at each of the places.
macro_rules! suite {
    ($($case:ident)*) => {
        suite! { @place memory (async |_: &str| Memory::default()) $($case)* }
        suite! { @place sqlite (super::sqlite) $($case)* }
        mod on_services {
            suite! { @place postgres (async |test| super::super::server("LASTWORD_TEST_POSTGRES", test).await) $($case)* }
            suite! { @place mariadb (async |test| super::super::server("LASTWORD_TEST_MARIADB", test).await) $($case)* }
            suite! { @place postgres18 (async |test| super::super::server("LASTWORD_TEST_POSTGRES18", test).await) $($case)* }
            suite! { @place mariadb114 (async |test| super::super::server("LASTWORD_TEST_MARIADB114", test).await) $($case)* }
        }
    };
    (@place $place:ident ($open:expr) $($case:ident)*) => {
        mod $place {
            #[allow(unused_imports)]
            use crate::sink::{contract::{cases, destination::Destination, stand::Stand}, memory::Memory};
            $(
                #[tokio::test]
                async fn $case() {
                    let open = $open;
                    let mut stand = Stand::new(open(stringify!($case)).await);
                    cases::$case(&mut stand).await;
                    stand.destination.close().await;
                }
            )*
        }
    };
}

suite! {
    a_claim_raises_the_fence_and_returns_the_position
    what_a_former_owner_still_does_has_no_effect
    the_expected_offset_is_part_of_the_swap
    claims_are_made_all_together_or_not_at_all
    the_newest_change_has_the_last_word
    soft_deletes_mark_rows_and_unknown_keys_get_tombstones
    a_truncate_is_a_tombstone_of_the_whole_table
    what_is_below_the_floor_makes_no_row
    repair_writes_rows_of_equal_token_and_nothing_else
    orphans_delete_exactly_the_row_that_was_seen
    a_change_log_takes_every_record_once
    partial_rows_are_completed_from_what_is_stored
    a_record_that_is_refused_leaves_nothing_of_its_plan
    tokens_of_other_sources_leave_nothing_of_their_plan
    what_is_put_aside_and_settled_moves_with_the_checkpoint
    facts_are_written_once
    partitions_get_their_epochs_under_the_fence
    a_replay_has_checkpoints_of_its_own_and_changes_nothing
    any_order_and_any_cut_end_in_the_same_contents
    partial_rows_converge_in_any_order
}

async fn sqlite(test: &str) -> database::Real {
    let mut databases = Database::sqlite(test).await;
    database::Real::open(databases.remove(0)).await
}

async fn server(variable: &str, test: &str) -> database::Real {
    database::Real::open(Database::server(variable, test).await).await
}

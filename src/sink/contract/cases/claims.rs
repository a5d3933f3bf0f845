//! Who may advance a partition (invariants 1 and 5).

use std::collections::HashMap;

use super::super::destination::{Destination, requests};
use super::super::stand::{Del, KINDS, SHOP, Stand, Up, advance, at, changes, plan};
use super::beside::full_plan;
use crate::core::failure::Class;
use crate::core::plan::Plan;
use crate::sink::bookkeep::Claim;

fn moves(claim: &Claim, records: i64) -> Plan {
    let advances = vec![advance(claim, records)];
    Plan { checkpoint_owner: SHOP.into(), pipeline: SHOP.into(), advances, ..Plan::default() }
}

pub(in super::super) async fn a_claim_raises_the_fence_and_returns_the_position<D: Destination>(stand: &mut Stand<D>) {
    let partitions = [at(2), at(0), at(1)];
    let claims = stand.claim("one", &partitions, 7).await;
    let order: Vec<i32> = claims.iter().map(|claim| claim.at.partition).collect();
    assert_eq!(order, [0, 1, 2], "in one order, whoever claims");
    assert!(claims.iter().all(|claim| claim.fresh && claim.fence == 1 && claim.next_offset == 7));
    stand.apply(&moves(&claims[0], 3)).await.expect("moved");
    let taken = stand.claim("two", &partitions[1..2], 0).await;
    assert_eq!((taken[0].fence, taken[0].next_offset, taken[0].fresh), (2, 10, false));
    assert_eq!(taken[0].open_delete.as_deref(), Some(b"\0key".as_slice()));
    assert_eq!(taken[0].top, advance(&claims[0], 3).top);
    let again = stand.destination.reclaim(SHOP, "one", &partitions).await;
    assert_eq!(again.not_mine, [at(0)]);
    assert_eq!(again.claims.iter().map(|claim| claim.fence).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(stand.oracle.reclaim(SHOP, "one", &partitions).claims.len(), 2);
    stand.apply(&moves(&again.claims[0], 1)).await.expect("claimed again");
}

/// Invariant 5, with everything that a plan may hold.
pub(in super::super) async fn what_a_former_owner_still_does_has_no_effect<D: Destination>(stand: &mut Stand<D>) {
    for kind in KINDS {
        let t = stand.table(kind).await;
        let claims = stand.claim("one", &[at(0), at(1)], 0).await;
        stand.apply(&full_plan(&claims[0], changes(&t, &[Up(1, 1), Up(2, 1)]))).await.expect("its own");
        let newer = stand.claim("two", &[at(0)], 0).await;
        // It goes on as if nothing had happened, with one partition lost and one kept.
        let stale = Claim { next_offset: newer[0].next_offset, ..claims[0].clone() };
        let mut late = full_plan(&stale, changes(&t, &[Up(1, 2), Del(2, 2), Up(3, 2)]));
        late.advances.push(advance(&claims[1], 1));
        let (rows, kept) = (stand.contents(&t).await, stand.destination.kept(SHOP).await);
        let failure = stand.refused(&late).await;
        assert_eq!((failure.class, failure.fenced.clone()), (Class::Fenced, vec![at(0)]), "{failure}");
        assert_eq!(stand.contents(&t).await, rows);
        assert_eq!(stand.destination.kept(SHOP).await, kept);
        late.advances = vec![advance(&newer[0], 3), advance(&claims[1], 1)];
        stand.apply(&late).await.expect("the same from the owner");
        stand.forget();
    }
}

/// Invariant 1: under the right fence, but not from where the checkpoint is.
pub(in super::super) async fn the_expected_offset_is_part_of_the_swap<D: Destination>(stand: &mut Stand<D>) {
    let t = stand.table(KINDS[0]).await;
    let claims = stand.claim("one", &[at(0), at(1)], 0).await;
    let mut batch = plan(changes(&t, &[Up(1, 1)]));
    batch.advances = vec![advance(&claims[0], 5)];
    stand.apply(&batch).await.expect("first");
    batch.tables = vec![changes(&t, &[Up(1, 2)])];
    batch.advances.push(advance(&claims[1], 5));
    assert_eq!(stand.refused(&batch).await.fenced, [at(0)], "the same records again");
    let ahead = Claim { next_offset: 6, ..claims[0].clone() };
    assert_eq!(stand.refused(&moves(&ahead, 1)).await.fenced, [at(0)], "a gap");
    assert_eq!(stand.rows(&t).await, ["1 v1 1"]);
    // A move that applies nothing is found although little changes.
    let nothing = Claim { next_offset: 5, ..claims[0].clone() };
    stand.apply(&moves(&nothing, 0)).await.expect("nothing to apply");
}

pub(in super::super) async fn claims_are_made_all_together_or_not_at_all<D: Destination>(stand: &mut Stand<D>) {
    let partitions = [at(0), at(1), at(2)];
    let first = HashMap::from([(at(0), 0), (at(1), 0)]);
    let failure = stand.destination.claim(SHOP, "one", &requests(&partitions), &first).await.expect_err("no start");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "no_checkpoint"), "{failure}");
    assert_eq!(stand.destination.kept(SHOP).await, [""; 0]);
    let claims = stand.claim("one", &partitions, 0).await;
    let mut requests = requests(&partitions);
    requests[2].incarnation = "made anew".into();
    let failure = stand.destination.claim(SHOP, "two", &requests, &first).await.expect_err("another topic");
    assert_eq!((failure.class, failure.code.as_str()), (Class::Operator, "topic_recreated"), "{failure}");
    let wrong = |claim: &Claim| Claim { fence: claim.fence + i64::from(claim.at.partition != 1), ..claim.clone() };
    let mut late = moves(&claims[1], 1);
    late.advances = claims.iter().map(|claim| advance(&wrong(claim), 1)).collect();
    assert_eq!(stand.refused(&late).await.fenced, [at(0), at(2)], "all that missed are named");
    stand.apply(&moves(&claims[0], 1)).await.expect("no fence was touched");
}

//! Random sources, read in random orders.

use super::*;

/// Random lives of a source spread over partitions that are read in any order, with redelivery and restarts: every partition
/// keeps the source's order; where every partition saw every life, so do all of them together, and none stops.
#[test]
fn any_order_of_reading_builds_the_order_of_the_source() {
    let mut stopped = 0;
    for seed in 0..400u64 {
        let mut state = seed;
        let mut below = move |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        let dense = seed % 2 == 0;
        let timed = seed % 3 != 0;
        // (partition, marker, number) in the order of the source.
        let mut source: Vec<(usize, usize, u64)> = Vec::new();
        let mut numbers = [0u64; 3];
        let mut marker = 0;
        for life in 0..1 + below(5) {
            if life > 0 {
                marker = (marker + 1 + below(2) as usize) % 3;
            }
            for at in 0..3 + below(6) {
                numbers[marker] += 1 + below(3);
                let partition = if dense && at < 3 { at } else { below(3) };
                source.push((partition as usize, marker, numbers[marker]));
            }
        }
        let mut logs: [Vec<(usize, usize)>; 3] = Default::default();
        let mut told: Vec<usize> = Vec::new();
        for (nth, (partition, _, _)) in source.iter().enumerate() {
            told.push(nth);
            logs[*partition].push((nth, 0));
            if below(8) == 0 {
                let from = told.len().saturating_sub(1 + below(12) as usize);
                for again in told[from..].iter().copied() {
                    logs[source[again].0].push((again, 1));
                }
            }
        }
        let mut store = Store::default();
        let mut parts = [0, 1, 2].map(Part::new);
        let mut built: Vec<Option<Token>> = vec![None; source.len()];
        let mut next = [0usize; 3];
        let mut halted = false;
        while !halted && (0..3).any(|at| next[at] < logs[at].len()) {
            let at = below(3) as usize;
            let Some((nth, again)) = logs[at].get(next[at]).copied() else { continue };
            next[at] += 1;
            if below(5) == 0 {
                parts[at].restart(&store);
            }
            let (_, marker, number) = source[nth];
            parts[at].clock = timed.then_some(nth as i64 * 1000);
            match parts[at].see(&mut store, gtid(["a", "b", "c"][marker], number)) {
                Ok(token) if again == 0 => built[nth] = Some(token),
                Ok(token) => assert_eq!(built[nth], Some(token), "seed {seed}: what comes twice has one token"),
                Err(_) => halted = true,
            }
        }
        stopped += u32::from(halted);
        assert!(!((dense || timed) && halted), "seed {seed}: nothing contradicts");
        for part in &parts {
            part.replayed(&store);
        }
        for (at, _) in parts.iter().enumerate() {
            let own: Vec<Token> =
                built.iter().zip(&source).filter(|(_, event)| event.0 == at).filter_map(|(token, _)| *token).collect();
            rising(&own);
        }
        if dense {
            rising(&built.into_iter().flatten().collect::<Vec<_>>());
        }
    }
    assert!(stopped > 0, "a contradiction that never came was not tested");
}

//! Simulations run one seed after the other.

/// Runs `work` for seeds; a failure names its seed. `LASTWORD_SIM_SEED` runs one alone.
pub(crate) fn seeds(count: u64, mut work: impl FnMut(u64)) {
    let one = std::env::var("LASTWORD_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..count, |seed: u64| seed..seed + 1) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(seed)));
        if let Err(panic) = outcome {
            eprintln!("failing seed: LASTWORD_SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

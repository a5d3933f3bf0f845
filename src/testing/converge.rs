//! The whole test in one call.

use std::fmt;

use crate::core::failure::Failure;
use crate::sink::{Sink, Statements};

use super::{Contents, Delivery, Report, Scenario};

/// Why a scenario does not converge.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Divergence {
    /// It could not be delivered.
    Failed(Failure),
    /// Records were kept aside, so that nothing is proven.
    Quarantined(Report),
    /// The rows are not those of the oracle. Values are shown: they are the test's own.
    Rows {
        /// The seed; `None` for the delivery in order.
        seed: Option<u64>,
        /// What is on one side only: `-` the oracle's, `+` the destination's.
        difference: String,
    },
    /// A replay of everything changed something.
    Replay {
        /// The seed; `None` for the delivery in order.
        seed: Option<u64>,
        /// What is on one side only: `-` before, `+` after it.
        difference: String,
    },
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |seed: &Option<u64>| match seed {
            Some(seed) => format!("delivered with seed {seed} (Delivery::hostile({seed}))"),
            None => "delivered in order".to_owned(),
        };
        match self {
            Self::Failed(failure) => write!(f, "{failure}"),
            Self::Quarantined(report) => {
                writeln!(f, "delivered with seed {}: records were kept aside, which proves nothing:", report.seed)?;
                report.quarantined.iter().take(20).try_for_each(|record| writeln!(f, "  {record}"))
            }
            Self::Rows { seed, difference } => {
                writeln!(f, "{}: the rows are not those that are expected (-), but others (+)", how(seed))?;
                f.write_str(difference)
            }
            Self::Replay { seed, difference } => {
                writeln!(f, "{}: a replay changed what was there before (-) to something else (+)", how(seed))?;
                f.write_str(difference)
            }
        }
    }
}

impl std::error::Error for Divergence {}

impl From<Failure> for Divergence {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Scenario {
    /// Delivers in order, and [hostilely](Delivery::hostile) for each seed; after each the rows must be those that are
    /// [expected](Self::expected), and a [replay](Self::replay) must change neither rows nor tokens nor tombstones. Returns the reports of the seeds.
    ///
    /// `fresh` hands out the URL of an empty database for each run, and for the oracle; what it pushes are statements that are run in it first.
    ///
    /// # Errors
    ///
    /// See [`Divergence`].
    pub async fn converges(
        &self,
        seeds: impl IntoIterator<Item = u64>,
        mut fresh: impl FnMut(&mut Vec<String>) -> String,
    ) -> Result<Vec<Report>, Divergence> {
        let expected = self.expected_in(ask(&mut fresh)).await?;
        self.meets_in(ask(&mut fresh), &expected, None).await?;
        let mut reports = Vec::new();
        for seed in seeds {
            reports.push(self.meets_in(ask(&mut fresh), &expected, Some(seed)).await?);
        }
        Ok(reports)
    }

    /// [`Self::converges`] for a test that is not asynchronous.
    ///
    /// # Panics
    ///
    /// It does not converge: the panic shows the seed and the difference. Also inside of an asynchronous runtime; there
    /// [`Self::converges`] is to be used.
    #[track_caller]
    pub fn assert_converges(
        &self,
        seeds: impl IntoIterator<Item = u64>,
        mut fresh: impl FnMut(&mut Vec<String>) -> String,
    ) -> Vec<Report> {
        // One thread: what a test sets for its thread holds for the pipelines, too.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
        let or_panic = |divergence: Divergence| -> ! { panic!("{divergence}") };
        // `fresh` is asked outside of the runtime: it may use one of its own.
        let place = ask(&mut fresh);
        let expected = runtime.block_on(self.expected_in(place)).unwrap_or_else(|why| or_panic(why));
        let mut reports = Vec::new();
        for seed in std::iter::once(None).chain(seeds.into_iter().map(Some)) {
            let place = ask(&mut fresh);
            let report = runtime.block_on(self.meets_in(place, &expected, seed)).unwrap_or_else(|why| or_panic(why));
            reports.extend(seed.map(|_| report));
        }
        reports
    }

    async fn fresh(&self, (url, statements): Place) -> Result<Self, Failure> {
        let scenario = self.on(&url);
        let mut session = Sink::new(&scenario.checked(None)?.sink)?.session("testing").await?;
        for (number, statement) in statements.iter().enumerate() {
            let ran = session.execute(statement, &[]).await;
            ran.map_err(|failure| failure.context(format_args!("statement {} of a fresh database", number + 1)))?;
        }
        Ok(scenario)
    }

    async fn expected_in(&self, place: Place) -> Result<Contents, Divergence> {
        Ok(self.fresh(place).await?.expected().await?)
    }

    async fn meets_in(&self, place: Place, expected: &Contents, seed: Option<u64>) -> Result<Report, Divergence> {
        let scenario = self.fresh(place).await?;
        let delivery = seed.map_or_else(Delivery::in_order, Delivery::hostile);
        let report = scenario.deliver(&delivery).await?;
        if !report.quarantined.is_empty() {
            return Err(Divergence::Quarantined(report));
        }
        let contents = scenario.contents().await?;
        if let Some(difference) = expected.difference(&contents) {
            return Err(Divergence::Rows { seed, difference });
        }
        scenario.replay(&report).await?;
        match contents.difference_of_everything(&scenario.contents().await?) {
            Some(difference) => Err(Divergence::Replay { seed, difference }),
            None => Ok(report),
        }
    }
}

/// URL of an empty database, and statements to run in it.
type Place = (String, Vec<String>);

fn ask(fresh: &mut impl FnMut(&mut Vec<String>) -> String) -> Place {
    let mut statements = Vec::new();
    (fresh(&mut statements), statements)
}

//! What a planner learns and refuses about the source's epochs.

use crate::config::checked::OnRegression;
use crate::core::batch::BatchBuilder;
use crate::core::event::{Place, RawEvent, Rejection};
use crate::core::failure::Failure;
use crate::core::ledger::{Ledger, Meeting};
use crate::core::order::{OrderPolicy, token};
use crate::core::record::Record;
use crate::core::token::Token;
use crate::runtime::lookup::Lookup;

use super::{Planner, Reading};

impl Planner {
    /// Learns what the record shows about its source's epoch, so that its token can be built.
    pub(super) async fn meet<L: Lookup>(
        &mut self,
        builder: &mut BatchBuilder,
        reading: &Reading<'_>,
        event: &RawEvent<'_>,
        lookup: &mut L,
    ) -> Result<Result<(), Rejection>, Failure> {
        let Reading { record, incarnation, .. } = *reading;
        let ledger = self.ledgers.entry(record.at.clone()).or_default();
        match ledger.meet(&record.at, incarnation, record.offset, &event.position, event.source_time_ms) {
            Meeting::Known => {}
            Meeting::Fact(fact) if self.follows => ledger.without(&fact),
            Meeting::Fact(entry) => builder.ledger(entry),
            Meeting::Ask(question) if self.follows => return Ok(ledger.follow(question)),
            Meeting::Ask(question) => {
                let fence = self.fences.get(&record.at).copied().unwrap_or_default();
                match lookup.epoch(question, &self.checkpoint_owner, fence).await? {
                    Ok(row) => ledger.add(row),
                    Err(why) => return Ok(Err(why)),
                }
            }
        }
        Ok(Ok(()))
    }

    /// The token that an event's position has by what its partition's ledger knows; `None` if it carries none.
    pub(super) fn placed(
        &self,
        order: &OrderPolicy,
        scope: u16,
        event: &RawEvent<'_>,
        record: &Record,
    ) -> Option<Token> {
        let fallback = Ledger::default();
        let ledger = self.ledgers.get(&record.at).unwrap_or(&fallback);
        token(order, scope, &event.position, ledger, &record.at, record.offset)
    }

    /// Notes the token of a streamed change. Refuses one that lost only because its source's positions started again.
    pub(super) fn watch(&mut self, record: &Record, event: &RawEvent<'_>, token: Token) -> Result<(), Rejection> {
        if self.follows || !event.position.is_streamed() || event.position.place() == Place::Unknown {
            return Ok(());
        }
        let ledger = self.ledgers.entry(record.at.clone()).or_default();
        let margin_ms = i64::try_from(self.config.regression_margin.as_millis()).unwrap_or(i64::MAX);
        if ledger.regresses(&token, event.source_time_ms, margin_ms) {
            let top = ledger.top_token().map(|top| top.to_string()).unwrap_or_default();
            let what = format!(
                "{} offset {}: the change is later by its source time than everything before it in the partition, but its position is lower ({token}; the greatest before it: {top}): the source's positions seem to have started again (a restore, another server). If so: `lastword epoch open --topic {}`",
                record.at, record.offset, record.at.topic
            );
            return Err(match self.config.on_regression {
                OnRegression::Halt => Rejection::table("epoch_regression", what),
                OnRegression::Quarantine => Rejection::new("epoch_regression", what),
            });
        }
        self.streamed = Some((token, event.source_time_ms));
        Ok(())
    }
}

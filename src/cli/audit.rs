//! `lastword audit`.

use serde::Serialize;

use crate::server::report::{printable, table};
use crate::sink::bookkeep;

use super::args::AuditArgs;
use super::context::{Context, time_text};
use super::exit::{CommandError, Exit};

#[derive(Serialize)]
struct Act {
    id: i64,
    at: String,
    who: String,
    act: String,
    what: String,
    before: Option<String>,
    after: Option<String>,
}

/// Lists what operators did.
pub(super) async fn audit(context: &Context, args: &AuditArgs) -> Result<Exit, CommandError> {
    let config = context.config()?;
    let mut session = context.session(&config, "audit").await?;
    let acts: Vec<Act> = bookkeep::audit_list(&mut session, args.limit)
        .await?
        .into_iter()
        .map(|entry| Act {
            id: entry.id,
            at: time_text(entry.at_ms),
            who: entry.who,
            act: entry.act,
            what: entry.what,
            before: entry.before,
            after: entry.after,
        })
        .collect();
    context.output.result(&acts, |acts| {
        let mut page = table(&["id", "at", "who", "act", "what", "before", "after"], &[0]);
        for act in acts {
            // The ranges of a replay can be long; `--json` has them whole.
            let text =
                |text: &Option<String>| printable(text.as_deref().unwrap_or("")).chars().take(80).collect::<String>();
            page.add_row([
                act.id.to_string(),
                act.at.clone(),
                printable(&act.who),
                printable(&act.act),
                printable(&act.what),
                text(&act.before),
                text(&act.after),
            ]);
        }
        format!("{page}\n")
    })?;
    Ok(Exit::Ok)
}

//! `lastword adopt`.

use crate::core::adopt::Dump;
use crate::core::token::Token;
use crate::core::token::text::describe;
use crate::runtime::adopt::{self as runner, Outcome, Request};
use crate::server::report::printable;

use super::args::AdoptArgs;
use super::context::{Context, stop_on_signals, who};
use super::exit::{CommandError, Exit};

/// Takes a filled table over, or says what would be done.
pub(super) async fn adopt(context: &Context, args: &AdoptArgs) -> Result<Exit, CommandError> {
    let request = Request {
        table: args.table.clone(),
        topics: args.topics.clone(),
        source_table: args.source_table.clone(),
        dump: dump(args)?,
        accept_gaps: args.accept_gaps,
    };
    let pipeline = context.pipeline().await?;
    let mut session = pipeline.sink.session("adopt").await?;
    let (who, stop) = (who(), stop_on_signals()?);
    let acting = args.yes.then_some(who.as_str());
    let outcome = runner::adopt(&pipeline, &mut session, &request, acting, &stop).await?;
    context.output.result(&outcome, |outcome| render(outcome, args.yes))?;
    Ok(if args.yes && !outcome.done { Exit::Stopped } else { Exit::Ok })
}

fn dump(args: &AdoptArgs) -> Result<Dump, CommandError> {
    if let Some(dump) = args.lsn.as_ref().or(args.gtid.as_ref()).or(args.binlog.as_ref()) {
        return Ok(dump.clone());
    }
    let token = args.token.as_ref().and_then(|hex| Token::from_bytes(&hex.0));
    let known = token.filter(|token| describe(token).is_some());
    known.map(Dump::Token).ok_or_else(|| CommandError::new(Exit::Usage, "--token is no token of this version"))
}

fn render(outcome: &Outcome, acted: bool) -> String {
    let mut page = format!(
        "{}: the changes of \"{}\", {} records read\ntoken {}\n",
        printable(&outcome.table),
        printable(&outcome.source),
        outcome.records,
        outcome.token
    );
    for gap in &outcome.gaps {
        page.push_str(&format!("accepted: {}\n", printable(gap)));
    }
    page.push_str(&format!("{} rows without a token, {} rows keep theirs\n", outcome.rows, outcome.kept));
    page.push_str(&match (acted, outcome.done) {
        (false, _) => "nothing was changed; --yes does it\n".to_owned(),
        (true, true) => format!("{} rows adopted\n", outcome.adopted),
        (true, false) => format!("interrupted after {} rows; the same command goes on\n", outcome.adopted),
    });
    page
}

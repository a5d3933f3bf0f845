//! The stage of a table: a temporary table that a batch is copied into before any shared row is touched, so that no lock
//! is held while the server waits for the client's data.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, pin_mut};

use crate::core::dialect::postgres::{OP_DELETE, TableSql};
use crate::core::failure::{Class, Failure};
use crate::core::pgcopy::literal::{self, Form};
use crate::core::pgcopy::{self, Misfit, PgType};
use crate::core::plan::TablePlan;
use crate::core::table::Table;
use crate::core::token::Token;
use crate::core::value::Value;
use crate::sink::Statements;

use super::session::PostgresSession;

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Stages that a session keeps. The server empties every one of them at each commit.
const STAGES_MAX: usize = 256;

impl PostgresSession {
    /// Sees to it that the table has a stage here; outside of a transaction. The stage takes its types from the table as it
    /// is now: a table that is not as it was described is refused.
    pub(super) async fn make_stage(&mut self, table: &Table, sql: &TableSql<'_>) -> Result<(), Failure> {
        if self.stages.contains(&table.id) {
            return Ok(());
        }
        if self.stages.len() >= STAGES_MAX {
            self.drop_stages().await?;
        }
        self.execute(&sql.stage_create(), &[]).await?;
        let found = self.columns(table.name()).await?;
        for column in table.shape.columns.iter().filter(|column| !column.generated) {
            let now = found.iter().find(|now| now.name == column.name);
            if now.is_none_or(|now| (&now.native, &now.kind) != (&column.native, &column.kind)) {
                let message = format!("column {:?} is no longer {}", column.name, column.native);
                return Err(Failure::new(Class::Table, "schema_changed", message));
            }
        }
        self.stages.insert(table.id);
        Ok(())
    }

    async fn drop_stages(&mut self) -> Result<(), Failure> {
        let names: Vec<String> = self.stages.drain().map(|id| format!("pg_temp.lw_stage_{id}")).collect();
        self.execute(&format!("drop table if exists {}", names.join(", ")), &[]).await.map(drop)
    }

    /// Copies a table's changes into its stage. Inside the transaction, which has to be rolled back after an error.
    pub(super) async fn fill_stage(&mut self, plan: &TablePlan, sql: &TableSql<'_>) -> Result<(), Failure> {
        let mut encoder = Encoder::new(plan)?;
        let copy = self.prepared(&sql.stage_copy(&encoder.columns, encoder.binary)).await?;
        let sink = match self.client.copy_in::<_, Bytes>(&copy).await {
            Ok(sink) => sink,
            Err(error) => return Err(self.failed(&error)),
        };
        pin_mut!(sink);
        let mut sent = Ok(());
        for number in 0..=plan.upserts.len() {
            // Upserts first, deletes last; within each the plan's order, which is the key's.
            let entries = encoder.entries(number);
            for entry in 0..entries {
                // A value that cannot be written: the sink is dropped, which tells the server to give the COPY up.
                encoder.put(number, entry)?;
                if encoder.out.len() >= CHUNK_BYTES && sent.is_ok() {
                    sent = sink.send(encoder.out.split().freeze()).await;
                }
            }
        }
        if encoder.binary {
            pgcopy::put_trailer(&mut encoder.out);
        }
        if sent.is_ok() {
            sent = sink.send(encoder.out.split().freeze()).await;
        }
        // After a refusal in mid-stream sending fails without saying why: the answer is read in any case.
        match (sink.finish().await, sent) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(self.copy_failed(&error, plan)),
            (Ok(_), Ok(())) => Ok(()),
        }
    }

    fn copy_failed(&mut self, error: &tokio_postgres::Error, plan: &TablePlan) -> Failure {
        let failure = self.failed(error);
        let column = error.as_db_error().and_then(|refused| refused.where_()).and_then(stage_column);
        match column.and_then(|at| plan.table.shape.columns.get(at)) {
            Some(column) => failure.context(format!("column {:?}", column.name)),
            None => failure,
        }
    }
}

/// Index of the column that the context of a COPY error names: `COPY lw_stage_1, line 2, column c3`, with `: "value"` behind it
/// where the rows are text. Lines before it can hold values, too.
fn stage_column(context: &str) -> Option<usize> {
    let place = context.lines().find_map(|line| line.strip_prefix("COPY lw_stage_"))?;
    let column = place.split_once(", column c")?.1;
    let end = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    column[..end].parse().ok()
}

/// Writes the rows of a plan's table in the order of the stage's columns.
struct Encoder<'a> {
    plan: &'a TablePlan,
    /// Indices of the columns that any of the batch's changes carries, ascending.
    columns: Vec<usize>,
    kinds: Vec<Written>,
    /// All columns have a binary writer; else all are written as text.
    binary: bool,
    /// For each column group, then for the deletes: where a change's values lie for `columns`.
    places: Vec<Vec<Option<usize>>>,
    out: BytesMut,
}

impl<'a> Encoder<'a> {
    fn new(plan: &'a TablePlan) -> Result<Self, Failure> {
        let table = &plan.table;
        let carried = plan.upserts.iter().flat_map(|group| group.columns.iter().copied());
        let columns: Vec<usize> =
            carried.chain(table.key.iter().copied()).collect::<BTreeSet<_>>().into_iter().collect();
        let kinds = columns.iter().map(|at| written(table, *at)).collect::<Result<Vec<_>, _>>()?;
        let binary = kinds.iter().all(|kind| kind.binary.is_some());
        let place = |of: &[usize]| columns.iter().map(|at| of.iter().position(|own| own == at)).collect();
        let mut places: Vec<Vec<Option<usize>>> = plan.upserts.iter().map(|group| place(&group.columns)).collect();
        places.push(place(&table.key));
        if i16::try_from(places.len()).is_err() {
            return Err(Failure::operator("column_sets", "a batch has too many different sets of columns"));
        }
        let mut out = BytesMut::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        if binary {
            pgcopy::put_header(&mut out);
        }
        Ok(Self { plan, columns, kinds, binary, places, out })
    }

    /// Changes in the group of this number; behind the last group come the deletes.
    fn entries(&self, number: usize) -> usize {
        self.plan.upserts.get(number).map_or(self.plan.deletes.len(), |group| group.rows.len())
    }

    fn put(&mut self, number: usize, entry: usize) -> Result<(), Failure> {
        match self.plan.upserts.get(number) {
            Some(group) => {
                let row = &group.rows[entry];
                self.row(number, (number + 1) as i16, &row.token, &row.values)
            }
            None => {
                let delete = &self.plan.deletes[entry];
                self.row(number, OP_DELETE, &delete.token, &delete.key)
            }
        }
    }

    fn row(&mut self, number: usize, op: i16, token: &Token, values: &[Value]) -> Result<(), Failure> {
        if self.binary {
            pgcopy::put_row(&mut self.out, (self.columns.len() + 2) as u16);
        }
        for (at, place) in self.places[number].iter().enumerate() {
            let value = place.map_or(Some(&Value::Null), |place| values.get(place)).ok_or(Misfit::Kind);
            let written = value.and_then(|value| self.kinds[at].put(&mut self.out, value, self.binary));
            written.map_err(|misfit| refused(&self.plan.table, self.columns[at], misfit))?;
        }
        self.end_of_row(op, token).map_err(|misfit| Failure::operator("token", misfit.to_string()))
    }

    /// The last two columns: a number that fits, and at most 48 bytes.
    fn end_of_row(&mut self, op: i16, token: &Token) -> Result<(), Misfit> {
        let out = &mut self.out;
        if self.binary {
            pgcopy::put_field(out, PgType::Int2, &Value::Int(i64::from(op)))?;
            return pgcopy::put_bytes(out, token.as_bytes());
        }
        literal::put_copy_field(out, &Form::Plain, &Value::Int(i64::from(op)))?;
        out.put_u8(b'\t');
        literal::put_copy_field(out, &Form::Plain, &Value::bytes(token.as_bytes()))?;
        out.put_u8(b'\n');
        Ok(())
    }
}

/// How a column is written.
struct Written {
    binary: Option<PgType>,
    text: Form,
}

impl Written {
    fn put(&self, out: &mut BytesMut, value: &Value, binary: bool) -> Result<(), Misfit> {
        match self.binary {
            Some(kind) if binary => return pgcopy::put_field(out, kind, value),
            // What is refused must not hang on the other columns of the table.
            Some(kind) if !value.is_null() => pgcopy::put_value(&mut BytesMut::new(), kind, value)?,
            _ => {}
        }
        literal::put_copy_field(out, &self.text, value)?;
        out.put_u8(b'\t');
        Ok(())
    }
}

fn written(table: &Table, at: usize) -> Result<Written, Failure> {
    let column = table.shape.columns.get(at);
    let written = column.and_then(|column| {
        let text = Form::of_column(column)?;
        Some(Written { binary: PgType::of_column(column), text })
    });
    written.ok_or_else(|| {
        let what = column.map_or_else(|| format!("number {at}"), |c| format!("{:?} of type {}", c.name, c.native));
        Failure::new(Class::Record, "unsupported_type", format!("column {what} cannot be written"))
    })
}

fn refused(table: &Table, at: usize, misfit: Misfit) -> Failure {
    let column = &table.shape.columns[at];
    let message = format!("column {:?} of type {} got {misfit}", column.name, column.native);
    Failure::new(Class::Record, "unencodable_value", message)
}

#[cfg(test)]
mod tests {
    use super::stage_column;

    #[test]
    fn the_context_of_a_copy_error_names_the_column() {
        assert_eq!(stage_column("COPY lw_stage_1, line 2, column c13"), Some(13));
        assert_eq!(stage_column("JSON data, line 1: , column c5\nCOPY lw_stage_1, line 2, column c3"), Some(3));
        assert_eq!(
            stage_column("COPY lw_stage_1, line 2, column c3: \"secret\nCOPY lw_stage_1, line 2, column c9\""),
            Some(3)
        );
        assert_eq!(stage_column("COPY lw_stage_1, line 2, column token"), None);
        assert_eq!(stage_column("SQL function"), None);
    }
}

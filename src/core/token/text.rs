//! A token as text that people can read: every part by its name.
//!
//! The token's own bytes say all of it; nothing is looked up. The scope is a number here: its meaning is in the table `scope` of
//! the bookkeeping.

use std::fmt;

use super::{Layout, PREFIX_BYTES, Phase, Token};

/// A token taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// How the parts were read.
    pub layout: Layout,
    /// Number of the scope.
    pub scope: u16,
    /// Source epoch.
    pub epoch: u32,
    /// Name and text of each part, in the order in which they are compared.
    pub parts: Vec<(&'static str, String)>,
}

/// Takes a token apart; `None` if its version or layout is not known, or its parts are not those of its layout.
pub fn describe(token: &Token) -> Option<Described> {
    let bytes = token.as_bytes();
    let layout = Layout::of_format(*bytes.first()?)?;
    let mut reader = Reader { rest: bytes.get(1..)?, parts: Vec::new() };
    let scope = reader.number(PREFIX_BYTES - 1)? as u16;
    let epoch = reader.number(4)? as u32;
    match layout {
        Layout::Offset => {
            reader.decimal("offset", 8)?;
            // A change log's row without a token has no phase either.
            if !reader.rest.is_empty() {
                reader.phase()?;
            }
        }
        Layout::Columns => {
            let values = reader.rest.len().checked_sub(1 + KAFKA_BYTES)? / 8;
            for _ in 0..values {
                let value = reader.number(8)?;
                reader.part("order value", format!("0x{value:016x}"));
            }
            reader.phase()?;
            reader.kafka()?;
        }
        Layout::Postgres => {
            reader.lsn("commit")?;
            reader.phase()?;
            reader.lsn("change")?;
        }
        Layout::Binlog => binlog(&mut reader)?,
        Layout::SqlServer => {
            reader.hex("commit LSN", &[4, 4, 2])?;
            reader.phase()?;
            reader.hex("change LSN", &[4, 4, 2])?;
            reader.decimal("serial number", 4)?;
            reader.kafka()?;
        }
        Layout::Oracle => {
            reader.decimal("commit SCN", 8)?;
            reader.phase()?;
            reader.decimal("SCN", 8)?;
            reader.kafka()?;
        }
        Layout::Db2 => {
            reader.hex("commit LSN", &[4, 4, 8])?;
            reader.phase()?;
            reader.hex("change LSN", &[4, 4, 8])?;
            reader.decimal("Kafka offset", 8)?;
        }
        Layout::Informix => {
            reader.decimal("commit LSN", 8)?;
            reader.phase()?;
            reader.decimal("change LSN", 8)?;
            reader.kafka()?;
        }
        Layout::Mongo => {
            let (seconds, ord) = (reader.number(4)?, reader.number(4)?);
            reader.part("cluster time", format!("{seconds} s, {ord}"));
            reader.phase()?;
            reader.kafka()?;
        }
        Layout::Vitess => {
            reader.decimal("transaction epoch", 8)?;
            reader.decimal("transaction rank", 16)?;
            reader.phase()?;
            reader.kafka()?;
        }
        Layout::Spanner => {
            let nanos = reader.number(8)?;
            reader.part("commit time", format!("{}.{:09} s", nanos / NANOS, nanos % NANOS));
            reader.phase()?;
            reader.decimal("sequence", 8)?;
            reader.decimal("change in its record", 4)?;
            reader.kafka()?;
        }
        Layout::Hlc => {
            let (nanos, logical) = (reader.number(8)?, reader.number(4)?);
            reader.part("hybrid clock", format!("{nanos}.{logical:010}"));
            reader.phase()?;
            reader.kafka()?;
        }
        Layout::Tso => {
            let commit = reader.number(8)?;
            // 18 bits of counter below the milliseconds.
            reader.part("commit timestamp", format!("{commit} ({} ms, {})", commit >> 18, commit & 0x3_ffff));
            reader.phase()?;
            reader.kafka()?;
        }
        Layout::Trail => {
            let position = reader.number(16)?;
            reader.part("trail position", format!("{position:020}"));
            reader.phase()?;
            reader.kafka()?;
        }
        Layout::Lsn => {
            reader.lsn("LSN")?;
            reader.phase()?;
            reader.kafka()?;
        }
    }
    if reader.rest.len() == 4 {
        reader.decimal("change of its record", 4)?;
    }
    reader.rest.is_empty().then_some(Described { layout, scope, epoch, parts: reader.parts })
}

const KAFKA_BYTES: usize = 12;
const NANOS: u128 = 1_000_000_000;

/// The binlog layout has three forms: with and without a Kafka position, and that of a snapshot row without a GTID, which
/// lies below all of the stream or directly above the number that its partition had seen.
fn binlog(reader: &mut Reader<'_>) -> Option<()> {
    let commit = reader.number(8)?;
    let phase = *reader.rest.first()?;
    let number = match commit >> 32 {
        0 => commit.to_string(),
        // A place has the file in its upper half; a GTID with a number this large is possible.
        file => format!("{commit} (as a place: file {file}, position {})", commit & 0xffff_ffff),
    };
    if commit == 0 && phase == Phase::Snapshot as u8 || phase == Phase::Resnapshot as u8 {
        reader.part("GTID number or place", if commit == 0 { "none".to_owned() } else { number });
        reader.phase()?;
        reader.decimal("binlog file", 8)?;
        return reader.decimal("position", 8);
    }
    reader.part("GTID number or place", number);
    reader.phase()?;
    reader.decimal("position", 8)?;
    reader.decimal("row", 8)?;
    if reader.rest.is_empty() { Some(()) } else { reader.kafka() }
}

struct Reader<'t> {
    rest: &'t [u8],
    parts: Vec<(&'static str, String)>,
}

impl Reader<'_> {
    /// A number of at most 16 bytes.
    fn number(&mut self, width: usize) -> Option<u128> {
        let (bytes, rest) = self.rest.split_at_checked(width)?;
        self.rest = rest;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    fn part(&mut self, name: &'static str, text: String) {
        self.parts.push((name, text));
    }

    fn decimal(&mut self, name: &'static str, width: usize) -> Option<()> {
        let number = self.number(width)?;
        self.part(name, number.to_string());
        Some(())
    }

    /// PostgreSQL's form: two halves in hexadecimal.
    fn lsn(&mut self, name: &'static str) -> Option<()> {
        let lsn = self.number(8)?;
        self.part(name, format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff));
        Some(())
    }

    /// Groups of bytes in hexadecimal.
    fn hex(&mut self, name: &'static str, groups: &[usize]) -> Option<()> {
        let groups = groups.iter().map(|width| Some(format!("{:0digits$x}", self.number(*width)?, digits = 2 * width)));
        let groups = groups.collect::<Option<Vec<_>>>()?;
        self.part(name, groups.join(":"));
        Some(())
    }

    fn phase(&mut self) -> Option<()> {
        let phase = match self.number(1)? {
            0 => "snapshot",
            1 => "stream",
            2 => "snapshot after the stream",
            _ => return None,
        };
        self.part("phase", phase.to_owned());
        Some(())
    }

    fn kafka(&mut self) -> Option<()> {
        self.decimal("Kafka partition", 4)?;
        self.decimal("Kafka offset", 8)
    }
}

impl Layout {
    /// Its name in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offset => "kafka offset",
            Self::Columns => "order_by",
            Self::Postgres => "postgresql",
            Self::Binlog => "binlog",
            Self::SqlServer => "sqlserver",
            Self::Oracle => "oracle",
            Self::Db2 => "db2",
            Self::Informix => "informix",
            Self::Mongo => "mongodb",
            Self::Vitess => "vitess",
            Self::Spanner => "spanner",
            Self::Hlc => "cockroachdb",
            Self::Tso => "tidb",
            Self::Trail => "goldengate",
            Self::Lsn => "record",
        }
    }
}

/// One line; the bytes in hexadecimal where they are not understood.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(described) = describe(self) else { return f.write_str(&self.hex()) };
        write!(f, "{} (scope {}, epoch {})", described.layout.name(), described.scope, described.epoch)?;
        for (name, text) in &described.parts {
            write!(f, ", {name} {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::TokenWriter;
    use super::*;

    fn parts(writer: TokenWriter) -> Vec<String> {
        let described = describe(&writer.finish()).expect("a token");
        assert_eq!((described.scope, described.epoch), (3, 2));
        described.parts.into_iter().map(|(name, text)| format!("{name} {text}")).collect()
    }

    fn begin(layout: Layout) -> TokenWriter {
        TokenWriter::with(layout, 3, 2)
    }

    /// Every part of every layout by its name, in the source's own form.
    #[test]
    fn every_layout_can_be_read() {
        let lsn = [0, 0, 0, 0x27, 0, 0, 7, 0x58, 0, 3];
        let kafka = "Kafka partition 5, Kafka offset 77";
        let k = |writer: TokenWriter| writer.kafka(5, 77);
        for (writer, expected) in [
            (begin(Layout::Offset).number(9).phase(Phase::Stream), "offset 9, phase stream".to_owned()),
            (
                k(begin(Layout::Columns).number(1).number(2).phase(Phase::Stream)),
                format!("order value 0x{:016x}, order value 0x{:016x}, phase stream, {kafka}", 1, 2),
            ),
            (
                begin(Layout::Postgres).number(0x16B_6A90).phase(Phase::Snapshot).number(1 << 32),
                "commit 0/16B6A90, phase snapshot, change 1/0".to_owned(),
            ),
            (
                begin(Layout::Binlog).number(0).phase(Phase::Snapshot).number(2).number(4),
                "GTID number or place none, phase snapshot, binlog file 2, position 4".to_owned(),
            ),
            (
                begin(Layout::Binlog).number(61).phase(Phase::Resnapshot).number(2).number(4),
                "GTID number or place 61, phase snapshot after the stream, binlog file 2, position 4".to_owned(),
            ),
            (
                begin(Layout::Binlog).number(2 << 32 | 4).phase(Phase::Stream).number(4).number(1),
                "GTID number or place 8589934596 (as a place: file 2, position 4), phase stream, position 4, row 1".to_owned(),
            ),
            (
                begin(Layout::Binlog).number(61).phase(Phase::Stream).number(4).number(1),
                "GTID number or place 61, phase stream, position 4, row 1".to_owned(),
            ),
            (
                k(begin(Layout::Binlog).number(61).phase(Phase::Stream).number(4).number(0)),
                format!("GTID number or place 61, phase stream, position 4, row 0, {kafka}"),
            ),
            (
                k(begin(Layout::SqlServer).bytes(&lsn).phase(Phase::Stream).bytes(&lsn).short(2)),
                format!(
                    "commit LSN 00000027:00000758:0003, phase stream, change LSN 00000027:00000758:0003, serial number 2, {kafka}"
                ),
            ),
            (
                k(begin(Layout::Oracle).number(7).phase(Phase::Stream).number(6)),
                format!("commit SCN 7, phase stream, SCN 6, {kafka}"),
            ),
            (
                begin(Layout::Db2).long(0x7c5e).phase(Phase::Stream).long(1).number(77),
                "commit LSN 00000000:00000000:0000000000007c5e, phase stream, change LSN 00000000:00000000:0000000000000001, Kafka offset 77".to_owned(),
            ),
            (
                k(begin(Layout::Informix).number(7).phase(Phase::Stream).number(6)),
                format!("commit LSN 7, phase stream, change LSN 6, {kafka}"),
            ),
            (
                k(begin(Layout::Mongo).short(1_735_689_600).short(3).phase(Phase::Stream)),
                format!("cluster time 1735689600 s, 3, phase stream, {kafka}"),
            ),
            (
                k(begin(Layout::Vitess).number(2).long(12_345).phase(Phase::Stream)),
                format!("transaction epoch 2, transaction rank 12345, phase stream, {kafka}"),
            ),
            (
                k(begin(Layout::Spanner).number(1_000_000_002).phase(Phase::Stream).number(4).short(5)),
                format!("commit time 1.000000002 s, phase stream, sequence 4, change in its record 5, {kafka}"),
            ),
            (
                k(begin(Layout::Hlc).number(17).short(2).phase(Phase::Stream)),
                format!("hybrid clock 17.0000000002, phase stream, {kafka}"),
            ),
            (
                k(begin(Layout::Tso).number(3 << 18 | 4).phase(Phase::Stream)),
                format!("commit timestamp 786436 (3 ms, 4), phase stream, {kafka}"),
            ),
            (
                k(begin(Layout::Trail).long(10_000_002_345).phase(Phase::Stream)),
                format!("trail position 00000000010000002345, phase stream, {kafka}"),
            ),
            (
                k(begin(Layout::Lsn).number(0x16B_6A90).phase(Phase::Stream)),
                format!("LSN 0/16B6A90, phase stream, {kafka}"),
            ),
        ] {
            assert_eq!(parts(writer).join(", "), expected);
        }
    }

    #[test]
    fn what_is_no_token_of_this_version_is_refused() {
        let good = begin(Layout::Oracle).number(7).phase(Phase::Stream).number(6).kafka(5, 77).finish();
        assert!(describe(&good).is_some());
        assert_eq!(
            good.to_string(),
            "oracle (scope 3, epoch 2), commit SCN 7, phase stream, SCN 6, Kafka partition 5, Kafka offset 77"
        );
        let mut older = good.as_bytes().to_vec();
        older[0] = 1;
        let longer = [good.as_bytes(), &[0]].concat();
        let shorter = &good.as_bytes()[..good.as_bytes().len() - 1];
        let phase = begin(Layout::Oracle).number(7).bytes(&[9]).number(6).kafka(5, 77).finish();
        for bytes in [&older[..], &longer, shorter, phase.as_bytes(), &[0x15, 0, 3]] {
            let token = Token::from_bytes(bytes).expect("bytes");
            assert!(describe(&token).is_none(), "{token:?}");
            assert_eq!(token.to_string(), token.hex());
        }
    }
}

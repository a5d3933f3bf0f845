//! Positions of every connector from hand-made source blocks. Their fields: Debezium's documentation and sources.

use super::*;
use crate::core::event::Gtid;

fn position(text: &str) -> Position {
    serde_json::from_str::<SourceBlock<'_>>(text).expect("source block").position(None)
}

fn reason(text: &str) -> &'static str {
    position(text).expect_err(text).reason
}

#[test]
fn postgres_sequences_are_numbers_never_text() {
    let block = |sequence: &str| format!(r#"{{"connector":"postgresql","snapshot":"false","sequence":{sequence}}}"#);
    assert_eq!(
        position(&block(r#""[\"9\",\"10\"]""#)),
        Ok(SourcePosition::Postgres { commit: Some(9), lsn: 10, phase: Phase::Stream })
    );
    assert_eq!(
        position(&block(r#""[null,\"10\"]""#)),
        Ok(SourcePosition::Postgres { commit: None, lsn: 10, phase: Phase::Stream })
    );
    for bad in ["null", r#""[]""#, r#""[\"9\",null]""#, r#""[\"x\",\"1\"]""#, r#""7""#, "7", r#""[\"+9\",\"1\"]""#] {
        assert_eq!(reason(&block(bad)), "missing_position", "{bad}");
    }
}

#[test]
fn binlog_positions_have_the_file_as_number() {
    let text =
        r#"{"connector":"mysql","snapshot":"false","gtid":"ab:tag:77","file":"mysql-bin.1000000","pos":4,"row":9}"#;
    let gtid = Gtid { marker: "ab:tag".into(), number: 77 };
    let expected =
        SourcePosition::Binlog { gtid: Some(gtid), file: 1_000_000, pos: 4, row: None, phase: Phase::Stream };
    assert_eq!(position(text), Ok(expected));
    let text = r#"{"connector":"mariadb","snapshot":"true","gtid":null,"file":"binlog.000002","pos":4}"#;
    assert_eq!(
        position(text),
        Ok(SourcePosition::Binlog { gtid: None, file: 2, pos: 4, row: Some(0), phase: Phase::Snapshot })
    );
    for bad in [
        r#"{"connector":"mariadb","gtid":"0-1","file":"binlog.000002","pos":4}"#,
        r#"{"connector":"mariadb","file":"binlog","pos":4}"#,
        r#"{"connector":"mariadb","file":"binlog.000002"}"#,
        r#"{"connector":"mariadb","file":"binlog.000002","pos":-4}"#,
        r#"{"connector":"mariadb","file":"binlog.000002","pos":4,"row":"x"}"#,
    ] {
        assert_eq!(reason(bad), "missing_position", "{bad}");
    }
}

#[test]
fn sql_server_has_its_lsn_as_bytes() {
    let block = |more: &str| format!(r#"{{"connector":"sqlserver","commit_lsn":"00000027:00000758:0005"{more}}}"#);
    let commit = [0, 0, 0, 0x27, 0, 0, 7, 0x58, 0, 5];
    let change = [0, 0, 0, 0x27, 0, 0, 7, 0x58, 0, 3];
    assert_eq!(
        position(&block(r#","change_lsn":"00000027:00000758:0003","event_serial_no":2"#)),
        Ok(SourcePosition::SqlServer { commit, change, serial: 2, phase: Phase::Stream })
    );
    assert_eq!(
        position(&block(r#","change_lsn":null,"event_serial_no":null,"snapshot":"first""#)),
        Ok(SourcePosition::SqlServer { commit, change: [0; 10], serial: 0, phase: Phase::Snapshot })
    );
    // Only snapshot rows may lack a place in their transaction.
    assert_eq!(reason(&block("")), "missing_position");
    assert_eq!(reason(&block(r#","change_lsn":"27:758:3""#)), "missing_position");
    assert_eq!(reason(r#"{"connector":"sqlserver","commit_lsn":null,"snapshot":"true"}"#), "missing_position");
}

#[test]
fn oracle_is_ordered_by_the_commit() {
    assert_eq!(
        position(r#"{"connector":"oracle","scn":"2122185","commit_scn":"2122190","txSeq":4}"#),
        Ok(SourcePosition::Oracle { commit: 2_122_190, scn: 2_122_185, phase: Phase::Stream })
    );
    assert_eq!(
        position(r#"{"connector":"oracle","scn":"2122185","commit_scn":null,"snapshot":"true"}"#),
        Ok(SourcePosition::Oracle { commit: 2_122_185, scn: 2_122_185, phase: Phase::Snapshot })
    );
    assert!(position(r#"{"connector":"oracle","lcr_position":"0000"}"#).expect("none").is_none());
    assert_eq!(reason(r#"{"connector":"oracle","commit_scn":"x"}"#), "missing_position");
    assert_eq!(reason(r#"{"connector":"oracle","snapshot":"true"}"#), "missing_position");
}

#[test]
fn db2_is_hexadecimal_and_informix_decimal() {
    let db2 = r#"{"connector":"db2","commit_lsn":"00000000:00000000:0000000000007c5e","change_lsn":"00000000:00000000:0000000000007c5d"}"#;
    assert_eq!(position(db2), Ok(SourcePosition::Db2 { commit: 0x7c5e, change: 0x7c5d, phase: Phase::Stream }));
    let informix = r#"{"connector":"informix","commit_lsn":"51539628032","change_lsn":"51539624000"}"#;
    assert_eq!(
        position(informix),
        Ok(SourcePosition::Informix { commit: 51_539_628_032, change: 51_539_624_000, phase: Phase::Stream })
    );
    assert_eq!(reason(r#"{"connector":"db2","commit_lsn":"1"}"#), "missing_position");
    assert_eq!(reason(r#"{"connector":"informix","commit_lsn":"7c5e","change_lsn":"1"}"#), "missing_position");
}

#[test]
fn mongodb_has_a_cluster_time_up_to_version_3_3() {
    let block = |version: &str| {
        format!(r#"{{"connector":"mongodb","version":"{version}","ts_ms":1735689600000,"ord":3,"wallTime":7}}"#)
    };
    let time = SourcePosition::Mongo { seconds: 1_735_689_600, ord: 3, phase: Phase::Stream };
    assert_eq!(position(&block("2.7.4.Final")), Ok(time.clone()));
    assert_eq!(position(&block("3.3.1.Final")), Ok(time));
    assert!(position(&block("3.4.0.Final")).expect("none").is_none());
    assert!(position(&block("10.0.0")).expect("none").is_none());
    assert_eq!(reason(&block("next")), "missing_position");
    assert_eq!(reason(r#"{"connector":"mongodb","version":"3.0","ts_ms":-1,"ord":3}"#), "missing_position");
}

#[test]
fn vitess_is_ordered_by_its_transaction_block() {
    let source: SourceBlock<'_> =
        serde_json::from_str(r#"{"connector":"vitess","name":"v","keyspace":"k","shard":"-80","table":"t"}"#)
            .expect("source");
    let with = |block: &str| source.position(Some(serde_json::from_str(block).expect("json")));
    assert_eq!(
        with(r#"{"id":"x","transaction_epoch":2,"transaction_rank":"MDk="}"#),
        Ok(SourcePosition::Vitess { epoch: 2, rank: 12_345, phase: Phase::Stream })
    );
    assert_eq!(with(r#"{"transaction_epoch":2,"transaction_rank":"!"}"#).expect_err("rank").reason, "missing_position");
    assert!(with(r#"{"id":"x","total_order":1}"#).expect("none").is_none());
    assert!(source.position(None).expect("none").is_none());
    assert_eq!(source.source(), "vitess v k/-80");
    assert_eq!(source.table().expect("table").to_string(), "k.t");
}

#[test]
fn clocks_of_spanner_and_cockroachdb() {
    let spanner = r#"{"connector":"spanner","ts_ns":1735689600123456000,"sequence":"00000001","mod_number":2}"#;
    let expected =
        SourcePosition::Spanner { nanos: 1_735_689_600_123_456_000, sequence: 1, item: 2, phase: Phase::Stream };
    assert_eq!(position(spanner), Ok(expected));
    let cockroach = r#"{"connector":"cockroachdb","ts_hlc":"1735689600123456789.0000000002"}"#;
    let expected = SourcePosition::Hlc { nanos: 1_735_689_600_123_456_789, logical: 2, phase: Phase::Stream };
    assert_eq!(position(cockroach), Ok(expected));
    assert_eq!(reason(r#"{"connector":"cockroachdb","ts_hlc":"1735689600"}"#), "missing_position");
    assert_eq!(reason(r#"{"connector":"spanner","ts_ns":1}"#), "missing_position");
}

#[test]
fn each_log_is_a_scope_of_its_own() {
    let scope = |text: &str| serde_json::from_str::<SourceBlock<'_>>(text).expect("source").source();
    assert_eq!(scope(r#"{"connector":"postgresql","name":"s","db":"a"}"#), "postgresql s");
    assert_ne!(
        scope(r#"{"connector":"sqlserver","name":"s","db":"a"}"#),
        scope(r#"{"connector":"sqlserver","name":"s","db":"b"}"#)
    );
    assert!(position(r#"{"connector":"cassandra"}"#).expect("none").is_none());
}

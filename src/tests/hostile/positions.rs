//! Positions and tokens as text: what operators type, what sources write, what lies in rows.

use super::fuzz;
use crate::core::adopt::{Dump, parse_binlog, parse_gtids, parse_lsn};
use crate::core::decode::TopicDecoder;
use crate::core::event::{Decoded, SourcePosition};
use crate::core::token::text::describe;
use crate::core::token::{Layout, Token};
use crate::support::mutate::Tape;

const TEXTS: [&str; 14] = [
    "0/16B6A90",
    "FFFFFFFF/FFFFFFFF",
    "100000000/0",
    "18446744073709551615",
    "18446744073709551616",
    "0-1-61204",
    "4294967295-4294967295-18446744073709551615",
    "24bc7850-2c16-11e6-a073-0242ac110002:77",
    "24bc7850-2c16-11e6-a073-0242ac110002:1-77",
    "24bc7850-2c16-11e6-a073-0242ac110002:tag:77",
    "24bc7850-2c16-11e6-a073-0242ac110002:1-3:5-9",
    "mysql-bin.000003:4711",
    "binlog.99999999999999999999:4",
    "12000100000001000000",
];

fn text(tape: &mut Tape<'_>) -> String {
    let mut bytes = tape.pick(&TEXTS).as_bytes().to_vec();
    if tape.one_in(3) {
        bytes.extend_from_slice(b",");
        bytes.extend_from_slice(tape.pick(&TEXTS).as_bytes());
    }
    if !tape.one_in(3) {
        crate::support::mutate::damage(&mut bytes, tape);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A position that was read is written in its own form and read to the same.
fn any_position(bytes: &[u8]) {
    let text = text(&mut Tape::new(bytes));
    if let Some(Dump::Lsn(lsn)) = parse_lsn(&text) {
        for again in [format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff), lsn.to_string()] {
            assert!(matches!(parse_lsn(&again), Some(Dump::Lsn(same)) if same == lsn), "{text:?} is not {again}");
        }
    }
    if let Some(Dump::Gtids(gtids)) = parse_gtids(&text) {
        assert_eq!(gtids.len(), text.split(',').count(), "{text:?}");
        for gtid in gtids {
            let marker = &gtid.marker;
            let again = if !text.contains(':') {
                format!("{marker}-1-{}", gtid.number)
            } else {
                format!("{marker}:{}", gtid.number)
            };
            let same = parse_gtids(&again);
            assert!(matches!(same, Some(Dump::Gtids(same)) if same == [gtid]), "{text:?} is not {again}");
        }
    }
    if let Some(Dump::Binlog { file, pos }) = parse_binlog(&text) {
        let again = parse_binlog(&format!("b.{file:06}:{pos}"));
        assert!(matches!(again, Some(Dump::Binlog { file: f, pos: p }) if (f, p) == (file, pos)), "{text:?}");
    }
    let quoted = serde_json::Value::from(text.as_str());
    let event = format!(r#"{{"source_table":"t","op":"d","key":{{"id":1}},"source_position":{{"lsn":{quoted}}}}}"#);
    if let Ok(Decoded::Change(event)) = TopicDecoder::default().decode("t", None, Some(event.as_bytes())) {
        let SourcePosition::Lsn(lsn) = event.position else { panic!("{text:?} is no LSN: {:?}", event.position) };
        assert!(matches!(parse_lsn(&text), Some(Dump::Lsn(same)) if same == lsn), "{text:?}");
    }
}

fuzz!(positions_as_text, any_position);

/// Bytes of a stored token are taken apart completely or shown as they are; order and comparability are those of the bytes.
fn any_token(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let token = |tape: &mut Tape<'_>| {
        let mut raw = tape.take(tape.clone().below(60)).to_vec();
        if let (Some(first), true) = (raw.first_mut(), !tape.one_in(4)) {
            *first = tape.pick(&Layout::ALL).format();
        }
        (Token::from_bytes(&raw), raw)
    };
    let ((Some(first), raw), (Some(second), _)) = (token(tape), token(tape)) else { return };
    assert_eq!(first.as_bytes(), raw);
    assert_eq!(first.cmp(&second), first.as_bytes().cmp(second.as_bytes()));
    assert_eq!(first.comparable(&second), first.as_bytes()[..3] == second.as_bytes()[..3]);
    if let Some(below) = first.just_below() {
        assert!(below < first && below.comparable(&first), "{below:?} is not below {first:?}");
    }
    match describe(&first) {
        Some(described) => {
            assert_eq!(described.layout.format(), raw[0]);
            assert!(described.parts.iter().all(|(name, text)| !name.is_empty() && !text.is_empty()));
            assert_eq!(described, describe(&first).expect("the same again"));
        }
        None => assert_eq!(first.to_string(), first.hex()),
    }
}

fuzz!(tokens_of_any_bytes, any_token);

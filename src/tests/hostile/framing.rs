//! Records of a schema registry: frames, schemas and bodies that another program's serialisers wrote, and what becomes of them.

use std::sync::LazyLock;

use bytes::Bytes;

use super::{bounded, fuzz};
use crate::core::framing::{Compiled, Definition, IdBytes, Language, Part, compile, header_id, split};
use crate::core::reason::reason;
use crate::core::record::Headers;
use crate::support::mutate::{self, Tape};

struct Sample {
    definition: Definition,
    body: Bytes,
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/framing/confluent.json")).expect("JSON");
    let sample = |sample: &serde_json::Value| {
        let text = |name: &str| sample[name].as_str().expect("text").to_owned();
        let hex = text("hex");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let framed: Bytes = (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>().into();
        let references = serde_json::from_value(sample["references"].clone()).expect("references");
        let language = Language::named(&text("type")).expect("a language");
        let (_, body) = split(&framed, IdBytes::Either).expect("a frame");
        Sample { definition: Definition { language, text: text("schema"), references }, body }
    };
    file["samples"].as_array().expect("samples").iter().map(sample).collect()
});

/// A body is JSON or refused for a reason that is listed, the same every time.
fn check(compiled: &Compiled, body: &Bytes) {
    let read = || compiled.transcode(body).map(|payload| payload.whole());
    let first = bounded(body.len(), 400, 1 << 20, read);
    match &first {
        Ok(json) => {
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(json);
            assert!(parsed.is_ok(), "no JSON: {}", String::from_utf8_lossy(json));
        }
        Err(rejection) => assert!(reason(rejection.reason).is_some(), "{} is not listed", rejection.reason),
    }
    assert_eq!(first, read(), "a body is another one when it is read again");
}

/// The compiled schemas of the samples, and bodies that are nearly theirs.
fn any_body(bytes: &[u8]) {
    thread_local! {
        static COMPILED: Vec<Compiled> =
            SAMPLES.iter().map(|sample| compile(&sample.definition).expect("a schema")).collect();
    }
    let tape = &mut Tape::new(bytes);
    let at = tape.below(SAMPLES.len());
    let mut body = SAMPLES[at].body.to_vec();
    match tape.below(4) {
        0 => body = tape.take(usize::MAX).to_vec(),
        1 => body.splice(..0, tape.take(4).iter().copied()).for_each(drop),
        _ if SAMPLES[at].definition.language == Language::Json => {
            body = mutate::json(&String::from_utf8_lossy(&body), tape);
        }
        _ => mutate::damage(&mut body, tape),
    }
    COMPILED.with(|compiled| check(&compiled[at], &body.into()));
}

fuzz!(bodies_of_known_schemas, any_body);

/// Schemas that are nearly right: compiled or refused, and if compiled, then good for any body.
fn any_schema(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let sample = tape.pick(&SAMPLES);
    let mut definition = sample.definition.clone();
    if tape.one_in(10) {
        definition.language = *tape.pick(&[Language::Avro, Language::Json, Language::Protobuf]);
    }
    definition.text = match definition.language {
        Language::Protobuf => {
            let mut text = definition.text.into_bytes();
            mutate::damage(&mut text, tape);
            if tape.one_in(4) {
                let depth = *tape.pick(&[3, 60, 2_000]);
                text = format!("syntax = \"proto3\";{}{}", "message A{".repeat(depth), "}".repeat(depth)).into_bytes();
            }
            String::from_utf8_lossy(&text).into_owned()
        }
        Language::Avro | Language::Json => String::from_utf8_lossy(&mutate::json(&definition.text, tape)).into_owned(),
    };
    let given =
        definition.text.len() + definition.references.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>();
    match bounded(given, 2_000, 16 << 20, || compile(&definition)) {
        Err(rejection) => assert!(reason(rejection.reason).is_some(), "{} is not listed", rejection.reason),
        Ok(compiled) => {
            check(&compiled, &sample.body);
            check(&compiled, &Bytes::copy_from_slice(tape.take(usize::MAX)));
        }
    }
}

fuzz!(schemas_that_are_nearly_right, any_schema);

/// A frame is an id and the rest, never more than there was; ids in headers are found or not.
fn any_frame(bytes: &[u8]) {
    let tape = &mut Tape::new(bytes);
    let width = *tape.pick(&[IdBytes::Either, IdBytes::Four, IdBytes::Eight]);
    let names = ["__key_schema_id", "__value_schema_id", "apicurio.key.globalId", "apicurio.value.contentId", "x"];
    let name = *tape.pick(&names);
    let value = tape.one_in(3).then_some(&[][..]).or(Some(tape.take(17)));
    let headers = Headers::pack([(name, value)]);
    let _ = (header_id(&headers, Part::Key), header_id(&headers, Part::Value));
    let packed = Headers::from_packed(Bytes::copy_from_slice(tape.take(40)));
    assert!(packed.iter().count() <= 40 && packed.pairs().count() <= 40);
    let framed = Bytes::from([&[0][..], tape.take(usize::MAX)].concat());
    if let Some((_, body)) = split(&framed, width) {
        assert!(body.len() + 5 <= framed.len() && framed.ends_with(&body));
    }
}

fuzz!(frames_of_any_bytes, any_frame);

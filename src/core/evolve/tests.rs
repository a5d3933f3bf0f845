use super::*;
use crate::core::table::fixture::column;
use crate::core::wire::Unit;
use crate::support::random::Random;
use crate::tests::seeds;

fn kind(random: &mut Random) -> ColumnType {
    let limited = |random: &mut Random, most| (!random.percent(20)).then(|| random.below(most));
    let digits = |random: &mut Random| random.below(7) as u8;
    match random.below(12) {
        0..=3 => ColumnType::Int { bits: WIDTHS[random.below(5) as usize], unsigned: random.percent(50) },
        4..=6 => {
            let scale = random.below(8) as i32 - 2;
            let limit = (scale.max(1) as u32 + random.below(25) as u32, scale);
            ColumnType::Decimal { limit: (!random.percent(10)).then_some(limit) }
        }
        7 => ColumnType::Text { max_chars: limited(random, 300) },
        8 => ColumnType::Bytes { max_bytes: limited(random, 300) },
        9 => ColumnType::Timestamp { digits: digits(random) },
        10 => ColumnType::Time { digits: digits(random) },
        _ => [ColumnType::Float32, ColumnType::Float64, ColumnType::Date, ColumnType::Bool][random.below(4) as usize]
            .clone(),
    }
}

/// Whether a type holds `unscaled / 10^scale`; numbers only.
fn has(kind: &ColumnType, unscaled: i128, scale: u32) -> bool {
    let shortest = |mut unscaled: i128, mut scale: i32| {
        while unscaled != 0 && unscaled % 10 == 0 {
            (unscaled, scale) = (unscaled / 10, scale - 1);
        }
        (unscaled, if unscaled == 0 { i32::MIN } else { scale })
    };
    let (digits, places) = shortest(unscaled, scale as i32);
    match kind {
        ColumnType::Int { bits, unsigned } => {
            let (low, high) = range(*bits, *unsigned);
            let whole = unscaled / 10_i128.pow(scale);
            places <= 0 && (low..=high).contains(&whole)
        }
        ColumnType::Decimal { limit: None } => true,
        ColumnType::Decimal { limit: Some((precision, limit)) } => {
            let whole = digits.to_string().trim_start_matches('-').len() as i32 - places.max(-40);
            digits == 0 || places <= *limit && whole <= *precision as i32 - limit
        }
        _ => false,
    }
}

/// A column only ever grows: the join holds all that either held, does not depend on which was there first, and asks for nothing
/// when it is met again.
#[test]
fn a_join_holds_what_both_held() {
    seeds(400, |seed| {
        let mut random = Random::new(seed);
        for _ in 0..50 {
            let (a, b) = (kind(&mut random), kind(&mut random));
            let joined = join(&a, &b);
            assert_eq!(joined, join(&b, &a), "{a:?} {b:?}");
            assert_eq!(join(&a, &a), Some(a.clone()));
            let Some(joined) = joined else { continue };
            for part in [&a, &b] {
                assert_eq!(join(&joined, part).as_ref(), Some(&joined), "{a:?} {b:?} {part:?}");
                assert_eq!(holds(&joined, part), Some(true));
            }
            for _ in 0..20 {
                let length = random.below(38) as u32;
                let digits = (i128::from(random.next()) << 62 ^ i128::from(random.next())) % 10_i128.pow(length.max(1));
                let (number, scale) = (if random.percent(50) { digits } else { -digits }, random.below(9) as u32);
                if has(&a, number, scale) || has(&b, number, scale) {
                    assert!(has(&joined, number, scale), "{a:?} {b:?}: {joined:?} lost {number}e-{scale}");
                }
            }
        }
    });
}

#[test]
fn types_join_in_their_family_and_never_beyond() {
    let int = |bits| ColumnType::Int { bits, unsigned: false };
    let decimal = |precision, scale| ColumnType::Decimal { limit: Some((precision, scale)) };
    let text = |max_chars| ColumnType::Text { max_chars };
    let unsigned = |bits| ColumnType::Int { bits, unsigned: true };
    for (a, b, joined) in [
        (int(16), int(32), Some(int(32))),
        (int(32), unsigned(32), Some(int(64))),
        (int(64), unsigned(64), Some(decimal(20, 0))),
        (decimal(6, 2), decimal(14, 4), Some(decimal(14, 4))),
        (decimal(14, 2), decimal(8, 6), Some(decimal(18, 6))),
        (int(32), decimal(6, 2), Some(decimal(12, 2))),
        (decimal(6, 2), ColumnType::Decimal { limit: None }, Some(ColumnType::Decimal { limit: None })),
        (text(Some(20)), text(Some(50)), Some(text(Some(50)))),
        (text(Some(20)), text(None), Some(text(None))),
        (ColumnType::Float32, ColumnType::Float64, Some(ColumnType::Float64)),
        (int(32), text(None), None),
        (int(32), ColumnType::Date, None),
        (int(32), ColumnType::Float64, None),
    ] {
        assert_eq!(join(&a, &b), joined, "{a:?} {b:?}");
    }
}

fn shape(columns: Vec<Column>) -> TableShape {
    let mut shape = crate::core::table::fixture::table(1, "t", &["id"]).shape;
    shape.columns.extend(columns);
    shape
}

fn found(evolve: Evolve, columns: Vec<Column>, fields: &[Field], misfit: Option<&str>) -> Vec<(String, Lack)> {
    let key = ["id".to_owned()];
    let shown = Shown { fields, key: &key, whole: true, misfit };
    differences(evolve, &shape(columns), shown).into_iter().map(|found| (found.column, found.lack)).collect()
}

#[test]
fn each_mode_minds_what_it_says() {
    let number = Column { nullable: false, ..column("n", ColumnType::Int { bits: 32, unsigned: false }) };
    let left = Column { nullable: false, ..column("left", ColumnType::Text { max_chars: None }) };
    let fields = [
        Field::new("id", WireType::Int { bits: 64 }, false),
        Field::new("n", WireType::Int { bits: 64 }, true),
        Field::new("new", WireType::Text, true),
    ];
    let columns = || vec![number.clone(), left.clone()];
    let narrow = ("n".to_owned(), Lack::Narrow(ColumnType::Int { bits: 64, unsigned: false }));
    let (null, new) = (("n".to_owned(), Lack::NotNull), ("new".to_owned(), Lack::Missing));
    let left = ("left".to_owned(), Lack::NotCarried);
    for evolve in [Evolve::None, Evolve::Add] {
        assert_eq!(found(evolve, columns(), &fields, None), [new.clone(), left.clone()]);
    }
    for evolve in [Evolve::Validate, Evolve::Widen] {
        assert_eq!(found(evolve, columns(), &fields, None), [narrow.clone(), null.clone(), new.clone(), left.clone()]);
    }
}

/// A wire type tells no more than the greatest source type that comes so.
#[test]
fn a_column_of_a_source_type_is_not_narrow() {
    let check = |kind: ColumnType, wire: WireType, misfit| {
        let fields = [Field::new("id", WireType::Int { bits: 64 }, false), Field::new("c", wire, true)];
        found(Evolve::Widen, vec![column("c", kind)], &fields, misfit)
    };
    let int = |bits, unsigned| ColumnType::Int { bits, unsigned };
    let text = ColumnType::Text { max_chars: Some(9) };
    for (kind, wire) in [
        (int(8, false), WireType::Int { bits: 16 }),
        (int(24, false), WireType::Int { bits: 32 }),
        (int(32, true), WireType::Int { bits: 64 }),
        (text.clone(), WireType::Text),
        (ColumnType::Timestamp { digits: 0 }, WireType::Timestamp(Unit::Millis)),
        (ColumnType::Text { max_chars: None }, WireType::Int { bits: 64 }),
        (ColumnType::Json, WireType::Text),
        (ColumnType::Unsupported, WireType::Date),
    ] {
        assert_eq!(check(kind.clone(), wire.clone(), None), [], "{kind:?} {wire:?}");
    }
    // A value that did not fit shows that it was more.
    let wider = |kind| vec![("c".to_owned(), Lack::Narrow(kind))];
    assert_eq!(check(text.clone(), WireType::Text, Some("c")), wider(ColumnType::Text { max_chars: None }));
    assert_eq!(check(text, WireType::Text, Some("id")), []);
    assert_eq!(check(int(16, false), WireType::Int { bits: 32 }, None), wider(int(32, false)));
    assert_eq!(check(int(32, false), WireType::Text, None), [("c".to_owned(), Lack::Apart)]);
}

#[test]
fn what_the_source_declares_counts() {
    let field = |kind: &str, length, wire| Field {
        declared: Some(Declared { kind: kind.to_owned(), length, scale: None }),
        ..Field::new("c", wire, true)
    };
    let judged = |kind, field| {
        let fields = [Field::new("id", WireType::Int { bits: 64 }, false), field];
        found(Evolve::Validate, vec![column("c", kind)], &fields, None).len()
    };
    let varchar = |chars| ColumnType::Text { max_chars: Some(chars) };
    assert_eq!(judged(varchar(20), field("VARCHAR", Some(20), WireType::Text)), 0);
    assert_eq!(judged(varchar(20), field("VARCHAR", Some(21), WireType::Text)), 1);
    let unsigned = ColumnType::Int { bits: 64, unsigned: true };
    let exact = WireType::Decimal { scale: 0, precision: Some(20) };
    assert_eq!(judged(unsigned, field("BIGINT UNSIGNED", None, exact)), 0);
}

/// An older schema asks for nothing: neither its types nor the columns that it does not have yet.
#[test]
fn an_old_schema_undoes_nothing() {
    let columns = vec![
        column("n", ColumnType::Decimal { limit: Some((14, 4)) }),
        column("added", ColumnType::Text { max_chars: None }),
    ];
    let old = [
        Field::new("id", WireType::Int { bits: 32 }, false),
        Field::new("n", WireType::Decimal { scale: 2, precision: Some(6) }, false),
    ];
    assert_eq!(found(Evolve::Widen, columns, &old, None), []);
}

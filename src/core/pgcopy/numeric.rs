//! NUMERIC in binary: groups of four decimal digits, exact at any length that PostgreSQL holds.
//!
//! ```text
//! groups (u16) | weight of the first group (i16) | sign (u16) | digits after the point (u16) | group (u16) …
//! ```

use bytes::{BufMut, BytesMut};

use super::Misfit;

const NEGATIVE: u16 = 0x4000;
/// Signs of what is no number. A column with a precision takes NaN; the server refuses the others there.
const SPECIAL: [(&str, u16); 3] = [("NaN", 0xC000), ("Infinity", 0xD000), ("-Infinity", 0xF000)];
/// PostgreSQL keeps 14 bits for the number of digits after the point.
const SCALE_MAX: usize = 0x3fff;
/// PostgreSQL holds this many digits before the point.
const INTEGER_DIGITS_MAX: usize = 131_072;
/// Bytes before the groups.
const HEADER: usize = 8;

/// Writes decimal text (`-?digits(.digits)?`, `NaN`, `Infinity`, `-Infinity`). Refuses what does not fit the limit (precision, scale) exactly.
pub(super) fn put(out: &mut BytesMut, text: &str, limit: Option<(u32, i32)>) -> Result<(), Misfit> {
    if let Some((_, sign)) = SPECIAL.iter().find(|(word, _)| *word == text) {
        [0, 0, *sign, 0].iter().for_each(|word| out.put_u16(*word));
        return Ok(());
    }
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (integer, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return Err(Misfit::NotDecimal),
        Some(parts) => parts,
        None => (unsigned, ""),
    };
    if integer.is_empty() || !integer.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(Misfit::NotDecimal);
    }
    let integer = integer.trim_start_matches('0');
    let fraction = fit(integer, fraction, limit)?;
    if fraction.len() > SCALE_MAX || integer.len() > INTEGER_DIGITS_MAX {
        return Err(Misfit::Range);
    }
    let start = out.len();
    out.put_bytes(0, HEADER);
    let weight = put_groups(out, integer.as_bytes(), fraction.as_bytes());
    while out.len() > start + HEADER && out[out.len() - 2..] == [0, 0] {
        out.truncate(out.len() - 2);
    }
    let groups = (out.len() - start - HEADER) / 2;
    let (weight, sign) = match groups {
        0 => (0, 0),
        _ => (weight, if negative { NEGATIVE } else { 0 }),
    };
    let mut header = &mut out[start..start + HEADER];
    header.put_u16(groups as u16);
    header.put_i16(weight);
    header.put_u16(sign);
    header.put_u16(fraction.len() as u16);
    Ok(())
}

/// The fraction as the column keeps it, if the number fits the column.
fn fit<'a>(integer: &str, fraction: &'a str, limit: Option<(u32, i32)>) -> Result<&'a str, Misfit> {
    let Some((precision, scale)) = limit else { return Ok(fraction) };
    let integer_max = i64::from(precision) - i64::from(scale);
    // A scale above the precision demands zeros right behind the point.
    let leading = if integer_max < 0 { usize::try_from(-integer_max).unwrap_or(usize::MAX) } else { 0 };
    if integer.len() as i64 > integer_max.max(0) || fraction.bytes().take(leading).any(|byte| byte != b'0') {
        return Err(Misfit::Range);
    }
    let kept = fraction.len().min(usize::try_from(scale).unwrap_or(0));
    let rounded_integer = usize::try_from(-i64::from(scale)).unwrap_or(0);
    let mut lost = fraction[kept..].bytes().chain(integer.bytes().rev().take(rounded_integer));
    if lost.any(|byte| byte != b'0') {
        return Err(Misfit::Fraction);
    }
    Ok(&fraction[..kept])
}

/// Writes the groups without leading empty ones; returns the weight of the first. At most 32,768 + 4,096 groups.
fn put_groups(out: &mut BytesMut, integer: &[u8], fraction: &[u8]) -> i16 {
    let value = |digits: &[u8]| digits.iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let mut weight = integer.len().div_ceil(4) as i64 - 1;
    let (first, rest) = integer.split_at(integer.len() % 4);
    if !first.is_empty() {
        out.put_u16(value(first));
    }
    for group in rest.chunks_exact(4) {
        out.put_u16(value(group));
    }
    let mut empty = integer.is_empty();
    for group in fraction.chunks(4) {
        let number = value(group) * 10_u16.pow(4 - group.len() as u32);
        if empty && number == 0 {
            weight -= 1;
            continue;
        }
        empty = false;
        out.put_u16(number);
    }
    weight as i16
}

/// Reads decimal text back, with as many fraction digits as the value carries.
pub(super) fn read(bytes: &[u8]) -> Result<String, Misfit> {
    let word = |at: usize| -> Result<u16, Misfit> {
        match bytes.get(at..at + 2) {
            Some(pair) => Ok(u16::from_be_bytes([pair[0], pair[1]])),
            None => Err(Misfit::Binary),
        }
    };
    let (count, weight, sign, scale) = (usize::from(word(0)?), i64::from(word(2)? as i16), word(4)?, word(6)?);
    if bytes.len() != HEADER + 2 * count || usize::from(scale) > SCALE_MAX {
        return Err(Misfit::Binary);
    }
    let mut text = String::new();
    match SPECIAL.iter().find(|(_, special)| *special == sign) {
        Some((word, _)) => return Ok((*word).to_owned()),
        None if sign == NEGATIVE => text.push('-'),
        None if sign == 0 => {}
        None => return Err(Misfit::Binary),
    }
    let group = |at: i64| -> Result<u16, Misfit> {
        let index = usize::try_from(weight - at).ok().filter(|index| *index < count);
        let number = index.map_or(Ok(0), |index| word(HEADER + 2 * index))?;
        if number < 10_000 { Ok(number) } else { Err(Misfit::Binary) }
    };
    if weight < 0 {
        text.push('0');
    }
    for at in (0..=weight).rev() {
        let number = group(at)?;
        text.push_str(&if at == weight { number.to_string() } else { format!("{number:04}") });
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + usize::from(scale);
        for at in 1..=i64::from(scale.div_ceil(4)) {
            text.push_str(&format!("{:04}", group(-at)?));
        }
        text.truncate(end);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(text: &str, limit: Option<(u32, i32)>) -> Result<String, Misfit> {
        let mut out = BytesMut::from(&b"x"[..]);
        put(&mut out, text, limit)?;
        read(&out[1..])
    }

    #[test]
    fn known_bytes() {
        let mut out = BytesMut::new();
        put(&mut out, "-12345.678", None).expect("decimal");
        // 1 | 2345 | 6780, weight 1, negative, 3 digits
        assert_eq!(&out[..], [0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 9, 41, 26, 124]);
        out.clear();
        put(&mut out, "0.00000012", None).expect("decimal");
        assert_eq!(&out[..], [0, 1, 255, 254, 0, 0, 0, 8, 0, 12]);
        out.clear();
        put(&mut out, "-0.00", None).expect("decimal");
        assert_eq!(&out[..], [0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn limits_hold_exactly() {
        let fits = |text, limit| there_and_back(text, Some(limit));
        assert_eq!(fits("12.30", (4, 2)).as_deref(), Ok("12.30"));
        assert_eq!(fits("12.3000", (4, 2)).as_deref(), Ok("12.30"), "zeros beyond the scale lose nothing");
        assert_eq!(fits("12.305", (4, 2)), Err(Misfit::Fraction));
        assert_eq!(fits("123", (4, 2)), Err(Misfit::Range));
        assert_eq!(fits("0099.9", (3, 1)).as_deref(), Ok("99.9"));
        assert_eq!(fits("1200", (2, -2)).as_deref(), Ok("1200"));
        assert_eq!(fits("1250", (2, -2)), Err(Misfit::Fraction));
        assert_eq!(fits("0.0012", (2, 4)).as_deref(), Ok("0.0012"));
        assert_eq!(fits("0.0112", (2, 4)), Err(Misfit::Range));
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", "-", ".", ".5", "5.", "+5", "1e3", "nan", "-NaN", "1.2.3", "--1", "١", "1 "] {
            assert_eq!(there_and_back(text, None), Err(Misfit::NotDecimal), "{text:?}");
        }
        assert!(there_and_back(&"9".repeat(INTEGER_DIGITS_MAX), None).is_ok());
        assert_eq!(there_and_back(&"9".repeat(INTEGER_DIGITS_MAX + 1), None), Err(Misfit::Range));
        assert_eq!(there_and_back(&format!("0.{}", "1".repeat(SCALE_MAX + 1)), None), Err(Misfit::Range));
    }

    proptest! {
        #[test]
        fn every_decimal_comes_back(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?") {
            let zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
            let expected = if zero { text.trim_start_matches('-') } else { &text };
            prop_assert_eq!(there_and_back(&text, None), Ok(expected.to_owned()));
        }
    }
}

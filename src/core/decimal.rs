//! Exact decimal text: `-?digits(.digits)?`, of any length.

/// Text of `unscaled × 10^-scale`, the unscaled number as big-endian two's complement (Connect's `Decimal`). `None` for no
/// bytes, and for sizes that no database has.
pub fn from_unscaled(bytes: &[u8], scale: i32) -> Option<String> {
    if bytes.is_empty() || bytes.len() > 8192 || !(-20_000..=20_000).contains(&scale) {
        return None;
    }
    let negative = bytes[0] & 0x80 != 0;
    let digits = if bytes.len() <= 16 { small_digits(bytes, negative) } else { large_digits(bytes, negative) };
    Some(place_point(digits, scale, negative))
}

fn small_digits(bytes: &[u8], negative: bool) -> String {
    let fill = if negative { 0xff } else { 0 };
    let mut wide = [fill; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    i128::from_be_bytes(wide).unsigned_abs().to_string()
}

/// Digits of a number of more than 128 bits: repeated division by 10^9.
fn large_digits(bytes: &[u8], negative: bool) -> String {
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (sum, overflow) = (!*byte).overflowing_add(u8::from(carry));
            *byte = sum;
            carry = overflow;
        }
    }
    let mut groups = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0u64;
        for byte in &mut magnitude {
            let current = rest << 8 | u64::from(*byte);
            *byte = (current / 1_000_000_000) as u8;
            rest = current % 1_000_000_000;
        }
        groups.push(rest);
        let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
        magnitude.drain(..zeros);
    }
    let mut digits = groups.pop().unwrap_or(0).to_string();
    for group in groups.iter().rev() {
        digits.push_str(&format!("{group:09}"));
    }
    digits
}

fn place_point(mut digits: String, scale: i32, negative: bool) -> String {
    if scale < 0 && digits != "0" {
        digits.push_str(&"0".repeat(scale.unsigned_abs() as usize));
    }
    if scale > 0 {
        let scale = scale as usize;
        if digits.len() <= scale {
            digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
        }
        digits.insert(digits.len() - scale, '.');
    }
    if negative { format!("-{digits}") } else { digits }
}

/// Plain text of a decimal number in JSON or Java notation (`1E-7`, `0E-10`, `-12.50`); `None` if it is no number or its
/// exponent is beyond what databases hold.
pub fn from_notation(text: &str) -> Option<String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || !all_digits(whole)
        || !all_digits(fraction)
        || (mantissa.contains('.') && fraction.is_empty())
    {
        return None;
    }
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if !(-20_000..=20_000).contains(&scale) || whole.len() + fraction.len() > 150_000 {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_start_matches('0');
    let digits = if trimmed.is_empty() { "0" } else { trimmed };
    Some(place_point(digits.to_owned(), scale, negative && digits != "0"))
}

/// The nearest number of `precision` digits with `scale` of them behind the point: rounded half away from zero, then the least or
/// greatest. `Infinity` and `-Infinity` have nearest ones too; `None` for a scale that is negative.
pub fn nearest(text: &str, precision: u32, scale: i32) -> Option<String> {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let scale = usize::try_from(scale).ok()?;
    let whole_digits = usize::try_from(precision).ok()?.saturating_sub(scale);
    let greatest = || "9".repeat(whole_digits + scale);
    let mut digits = if unsigned == "Infinity" {
        greatest()
    } else {
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let kept = format!("{whole}{:0<scale$}", fraction.get(..scale).unwrap_or(fraction));
        let up = fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5');
        let rounded = if up { increment(&kept) } else { kept };
        let significant = rounded.trim_start_matches('0');
        if significant.len() > whole_digits + scale { greatest() } else { significant.to_owned() }
    };
    if digits.is_empty() {
        digits.push('0');
    }
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    Some(place_point(digits, i32::try_from(scale).ok()?, sign == "-" && !is_zero))
}

fn increment(digits: &str) -> String {
    let mut bytes = digits.as_bytes().to_vec();
    for digit in bytes.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return bytes.iter().map(|digit| char::from(*digit)).collect();
        }
        *digit = b'0';
    }
    format!("1{}", "0".repeat(digits.len()))
}

/// Whether two plain texts are the same number, whatever their scales.
pub fn equal(a: &str, b: &str) -> bool {
    fn parts(text: &str) -> (bool, &str, &str) {
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        (negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction)
    }
    parts(a) == parts(b)
}

/// Text that fits into `precision` digits with `scale` of them behind the point, without a change of value; `None` if a
/// digit would be lost.
pub fn fit(text: &str, precision: u32, scale: i32) -> Option<String> {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let (whole_max, fraction_max) = (i64::from(precision) - i64::from(scale), i64::from(scale.max(0)));
    if whole.len() as i64 > whole_max.max(0) || fraction.len() as i64 > fraction_max {
        return None;
    }
    if scale < 0 && !whole.is_empty() && !whole.ends_with(&"0".repeat(scale.unsigned_abs() as usize)) {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    if scale <= 0 {
        return Some(format!("{sign}{whole}"));
    }
    Some(format!("{sign}{whole}.{fraction:0<width$}", width = scale as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unscaled_numbers_of_the_reference() {
        // Values from the Connect and Debezium documentation and from captures.
        for (bytes, scale, text) in [
            (&b"\x30\x39"[..], 2, "123.45"),
            (b"\xcf\xc7", 2, "-123.45"),
            (b"\x00", 0, "0"),
            (b"\x00", 3, "0.000"),
            (b"\x00\x80", 0, "128"),
            (b"\x80", 0, "-128"),
            (b"\xff", 2, "-0.01"),
            (b"\x05", -3, "5000"),
            (b"\x00\xff\xff\xff\xff\xff\xff\xff\xff", 0, "18446744073709551615"),
        ] {
            assert_eq!(from_unscaled(bytes, scale).as_deref(), Some(text));
        }
        assert_eq!(from_unscaled(b"", 0), None);
    }

    #[test]
    fn large_numbers_agree_with_small_ones_and_with_powers() {
        for number in [1i128, -1, 999_999_999, 1_000_000_000, i128::MAX, i128::MIN] {
            let mut wide = vec![if number < 0 { 0xff } else { 0 }; 8];
            wide.extend_from_slice(&number.to_be_bytes());
            assert_eq!(from_unscaled(&wide, 0).as_deref(), Some(number.to_string().as_str()));
        }
        let mut power = vec![1u8];
        power.extend([0u8; 32]);
        let two_to_256 = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        assert_eq!(from_unscaled(&power, 0).as_deref(), Some(two_to_256));
    }

    #[test]
    fn notations_become_plain() {
        for (text, plain) in [
            ("1E-7", "0.0000001"),
            ("0E-10", "0.0000000000"),
            ("-12.50", "-12.50"),
            ("1.5e3", "1500"),
            ("-0", "0"),
            ("007", "7"),
        ] {
            assert_eq!(from_notation(text).as_deref(), Some(plain), "{text}");
        }
        for bad in ["", "-", ".5", "1.", "1e", "1e99999", "NaN", "0x1", "1 "] {
            assert_eq!(from_notation(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_nearest_number_is_rounded_away_from_zero_and_kept_in_range() {
        for (text, precision, scale, expected) in [
            ("12.345", 5, 2, "12.35"),
            ("-12.345", 5, 2, "-12.35"),
            ("12.344", 5, 2, "12.34"),
            ("9.995", 3, 2, "9.99"),
            ("99.995", 5, 2, "100.00"),
            ("-1000", 3, 0, "-999"),
            ("0.4", 3, 0, "0"),
            ("-0.4", 3, 0, "0"),
            ("0.5", 3, 0, "1"),
            ("-Infinity", 4, 2, "-99.99"),
            ("7", 4, 2, "7.00"),
        ] {
            assert_eq!(nearest(text, precision, scale).as_deref(), Some(expected), "{text}");
        }
        assert!(equal("1.50", "01.5") && equal("-0", "0.0") && !equal("-1", "1") && !equal("1.05", "1.5"));
    }

    #[test]
    fn fitting_never_loses_a_digit() {
        assert_eq!(fit("12.5", 5, 2).as_deref(), Some("12.50"));
        assert_eq!(fit("12.500", 5, 2).as_deref(), Some("12.50"));
        assert_eq!(fit("12.505", 5, 2), None);
        assert_eq!(fit("1234.5", 5, 2), None);
        assert_eq!(fit("-0.01", 2, 2).as_deref(), Some("-0.01"));
        assert_eq!(fit("0", 1, 0).as_deref(), Some("0"));
        assert_eq!(fit("1200", 4, -2).as_deref(), Some("1200"));
        assert_eq!(fit("1234", 6, -2), None);
    }
}

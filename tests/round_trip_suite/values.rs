//! Values that come of the seed: inside the range that every destination holds, so that all of them have to arrive. What lies at the
//! limits stands in the lists of the types.

use lastword::core::dialect::Dialect;

use crate::support::random::Random;

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(super) enum Values {
    /// Nothing.
    None,
    /// Whole numbers from a number on, below another.
    Int(i64, i64),
    /// Decimals of so many digits, so many of them behind the point.
    Decimal(u32, u32),
    /// Any finite number of single precision that is not tiny.
    Float32,
    /// Any finite number of double precision that is not tiny.
    Float64,
    /// Text of at most so many characters.
    Text(u64),
    /// Bytes, at most so many.
    Bytes(u64),
    /// Days between 1900 and 2100.
    Date,
    /// Times of a day with so many digits of a second.
    Time(u32),
    /// Dates and times between 1971 and 2037 with so many digits of a second.
    Timestamp(u32),
    /// The same in UTC.
    Instant(u32),
    /// So many bits.
    Bits(u32),
    /// UUIDs.
    Uuid,
}

/// How many of them for a column.
const COUNT: usize = 3;

/// Literals for a source.
pub(super) fn generate(values: Values, source: Dialect, random: &mut Random) -> Vec<String> {
    let count = if matches!(values, Values::None) { 0 } else { COUNT };
    (0..count).map(|_| literal(values, source, random)).collect()
}

fn literal(values: Values, source: Dialect, random: &mut Random) -> String {
    match values {
        Values::None => "null".to_owned(),
        Values::Int(from, to) => {
            let span = to.abs_diff(from);
            from.wrapping_add_unsigned(random.below(span)).to_string()
        }
        Values::Decimal(digits, scale) => {
            let mut text: String = (0..digits).map(|_| digit(random)).collect();
            text.insert((digits - scale) as usize, '.');
            let text = text.trim_end_matches('.');
            let text = if text.starts_with('.') { format!("0{text}") } else { text.to_owned() };
            if random.percent(50) { format!("-{text}") } else { text }
        }
        Values::Float32 => loop {
            let number = f32::from_bits(random.next() as u32);
            if number.is_finite() && number.abs() > 1e-30 && number.abs() < 1e30 {
                // All digits of the double that it is: what a server reads of them is this number again.
                break format!("{:e}", f64::from(number));
            }
        },
        Values::Float64 => loop {
            let number = f64::from_bits(random.next());
            if number.is_finite() && number.abs() > 1e-300 && number.abs() < 1e300 {
                break format!("{number:e}");
            }
        },
        Values::Text(most) => {
            const LETTERS: [&str; 16] =
                ["a", "Z", "0", " x", "'", "\"", "\\", "\n", "\t", "ä", "ß", "☃", "語", "😀", "%", "$1"];
            let length = random.below(most / 2 + 1);
            let text: String = (0..length).map(|_| LETTERS[random.below(16) as usize]).collect();
            quoted(&text, source)
        }
        Values::Bytes(most) => {
            let length = random.below(most + 1);
            let hex: String = (0..length).map(|_| format!("{:02x}", random.next() as u8)).collect();
            if source == Dialect::Postgres { format!("'\\x{hex}'") } else { format!("x'{hex}'") }
        }
        Values::Date => format!("'{}'", date(random, 1900, 200)),
        Values::Time(digits) => format!("'{}'", time(random, digits)),
        Values::Timestamp(digits) => format!("'{} {}'", date(random, 1971, 66), time(random, digits)),
        Values::Instant(digits) => {
            let zone = if source == Dialect::Postgres { "+00" } else { "" };
            format!("'{} {}{zone}'", date(random, 1971, 66), time(random, digits))
        }
        Values::Bits(length) => {
            let bits: String = (0..length).map(|_| if random.percent(50) { '1' } else { '0' }).collect();
            format!("b'{bits}'")
        }
        Values::Uuid => {
            let (high, low) = (random.next(), random.next());
            format!(
                // Version 4: MariaDB refuses some of the others.
                "'{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}'",
                high >> 32,
                high >> 16 & 0xffff,
                high & 0xfff,
                low >> 52,
                low & 0xffff_ffff_ffff
            )
        }
    }
}

fn digit(random: &mut Random) -> char {
    char::from(b'0' + random.below(10) as u8)
}

fn date(random: &mut Random, from: u64, years: u64) -> String {
    format!("{:04}-{:02}-{:02}", from + random.below(years), 1 + random.below(12), 1 + random.below(28))
}

fn time(random: &mut Random, digits: u32) -> String {
    let mut text = format!("{:02}:{:02}:{:02}", random.below(24), random.below(60), random.below(60));
    if digits > 0 {
        text.push('.');
        text.extend((0..digits).map(|_| digit(random)));
    }
    text
}

/// A text literal.
pub(super) fn quoted(text: &str, source: Dialect) -> String {
    let text = text.replace('\'', "''");
    let text = if source == Dialect::Mysql { text.replace('\\', "\\\\") } else { text };
    format!("'{text}'")
}

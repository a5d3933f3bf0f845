//! Positions as sources write them in texts: log sequence numbers, GTIDs, hybrid clocks. All are compared as numbers, never
//! as text: text order breaks at a digit more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::core::decimal;
use crate::core::event::Gtid;

/// `uuid:number` or `uuid:tag:number` of MySQL. A set of GTIDs (`uuid:1-77`) is none.
pub(in crate::core) fn mysql_gtid(text: &str) -> Option<Gtid> {
    let (marker, number) = text.rsplit_once(':')?;
    Some(Gtid { marker: marker.to_owned(), number: digits(number)? })
}

/// `domain-server-number` of MariaDB.
pub(in crate::core) fn mariadb_gtid(text: &str) -> Option<Gtid> {
    let mut parts = text.split('-');
    let (domain, server, number) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || digits::<u32>(domain).is_none() || digits::<u32>(server).is_none() {
        return None;
    }
    Some(Gtid { marker: domain.to_owned(), number: digits(number)? })
}

/// Number of a binlog file: `mysql-bin.000003` is 3.
pub(in crate::core) fn binlog_file(name: &str) -> Option<u64> {
    digits(name.rsplit_once('.')?.1)
}

/// The LSN text of the record form and of PostgreSQL itself: two hexadecimal halves, `0/16B6A90`.
pub(in crate::core) fn lsn_text(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |digits: &str| {
        if digits.len() > 8 { None } else { u64::try_from(hexadecimal(digits)?).ok() }
    };
    Some(half(high)? << 32 | half(low)?)
}

/// SQL Server's LSN: `00000027:00000758:0003`, ten bytes.
pub(super) fn sqlserver_lsn(text: &str) -> Option<[u8; 10]> {
    let mut parts = text.split(':');
    let widths = [8, 8, 4];
    let fits = widths.iter().all(|width| parts.next().is_some_and(|part| part.len() == *width));
    if !fits || parts.next().is_some() {
        return None;
    }
    let number = hexadecimal(&text.replace(':', ""))?;
    number.to_be_bytes()[6..].try_into().ok()
}

/// Db2's LSN: hexadecimal digits in groups, at most 16 bytes; shorter ones (z/OS) are the lower bytes.
pub(super) fn db2_lsn(text: &str) -> Option<u128> {
    hexadecimal(&text.replace(':', ""))
}

/// A hybrid clock: `1735689600123456789.0000000002`. The counter has ten digits, so it is a number and not a fraction.
pub(super) fn hybrid_clock(text: &str) -> Option<(u64, u32)> {
    let (nanos, logical) = text.split_once('.')?;
    if logical.len() != 10 {
        return None;
    }
    Some((digits(nanos)?, digits(logical)?))
}

/// A whole number from Connect's decimal of scale 0: base64 of its bytes, or the number itself.
pub(super) fn whole_decimal(json: &str) -> Option<u128> {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(encoded) => decimal::from_unscaled(&BASE64.decode(encoded).ok()?, 0)?.parse().ok(),
        None => digits(json),
    }
}

/// Decimal digits and nothing else: no sign, no space.
pub(super) fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn hexadecimal(text: &str) -> Option<u128> {
    let plain = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_texts() {
        assert_eq!(lsn_text("0/16B6A90"), Some(0x16B_6A90));
        assert_eq!(lsn_text("1/0"), Some(1 << 32));
        for bad in ["", "/", "0/", "0/x", "+1/2", "123456789/0", "0-1"] {
            assert_eq!(lsn_text(bad), None, "{bad}");
        }
        assert_eq!(sqlserver_lsn("00000027:00000758:0003"), Some([0, 0, 0, 0x27, 0, 0, 7, 0x58, 0, 3]));
        for bad in ["", "NULL", "00000027:00000758", "00000027:00000758:00003", "0000002g:00000758:0003", "1:2:3"] {
            assert_eq!(sqlserver_lsn(bad), None, "{bad}");
        }
        assert_eq!(db2_lsn("00000000:00000000:0000000000007c5e"), Some(0x7c5e));
        assert_eq!(db2_lsn("NULL"), None);
        assert_eq!(db2_lsn(&"1".repeat(33)), None);
    }

    #[test]
    fn gtids_files_and_clocks() {
        assert_eq!(mariadb_gtid("0-1-61204"), Some(Gtid { marker: "0".into(), number: 61_204 }));
        assert_eq!(mysql_gtid("ab:tag:77"), Some(Gtid { marker: "ab:tag".into(), number: 77 }));
        for bad in ["ab:1-77", "ab", "ab:", "ab:+7"] {
            assert_eq!(mysql_gtid(bad), None, "{bad}");
        }
        for bad in ["0-1", "0-1-2-3", "0-1-x", "a-1-2"] {
            assert_eq!(mariadb_gtid(bad), None, "{bad}");
        }
        assert_eq!(binlog_file("mysql-bin.1000000"), Some(1_000_000));
        assert_eq!(binlog_file("mysql-bin"), None);
        assert_eq!(hybrid_clock("1735689600123456789.0000000002"), Some((1_735_689_600_123_456_789, 2)));
        for bad in ["1", "1.2", "x.0000000000", "1.00000000000", "-1.0000000000"] {
            assert_eq!(hybrid_clock(bad), None, "{bad}");
        }
        assert_eq!(whole_decimal("\"MDk=\""), Some(12_345));
        assert_eq!(whole_decimal("12345"), Some(12_345));
        assert_eq!(whole_decimal("-1"), None);
        assert_eq!(whole_decimal("\"/w==\""), None);
    }
}

//! Well-known binary of shapes (OGC WKB), and the form of it that carries a reference system (EWKB of PostGIS).

mod turned;

use bytes::Bytes;

pub use turned::little_endian;

/// Bit of the type in EWKB that says that a reference system follows.
const HAS_SRID: u32 = 0x2000_0000;
/// Bytes of a point of the plane: byte order, type, x, y.
const POINT_BYTES: usize = 21;

/// Byte order and type of a shape.
fn header(wkb: &[u8]) -> Option<(bool, u32)> {
    let (order, rest) = wkb.split_first()?;
    let kind: [u8; 4] = rest.get(..4)?.try_into().ok()?;
    match order {
        0 => Some((false, u32::from_be_bytes(kind))),
        1 => Some((true, u32::from_le_bytes(kind))),
        _ => None,
    }
}

/// Takes the reference system out of EWKB; WKB stays as it is. `None` if it is neither.
pub fn split(ewkb: Bytes) -> Option<(Option<i32>, Bytes)> {
    let (little, kind) = header(&ewkb)?;
    if kind & HAS_SRID == 0 {
        return Some((None, ewkb));
    }
    let srid: [u8; 4] = ewkb.get(5..9)?.try_into().ok()?;
    let (srid, kind) = if little {
        (i32::from_le_bytes(srid), (kind & !HAS_SRID).to_le_bytes())
    } else {
        (i32::from_be_bytes(srid), (kind & !HAS_SRID).to_be_bytes())
    };
    let mut wkb = Vec::with_capacity(ewkb.len() - 4);
    wkb.push(ewkb[0]);
    wkb.extend_from_slice(&kind);
    wkb.extend_from_slice(&ewkb[9..]);
    Some((Some(srid), wkb.into()))
}

/// WKB with its reference system, if there is one.
pub fn ewkb(srid: Option<i32>, wkb: &[u8]) -> Vec<u8> {
    let (Some(srid), Some((little, kind))) = (srid, header(wkb)) else { return wkb.to_vec() };
    let (kind, srid) = if little {
        ((kind | HAS_SRID).to_le_bytes(), srid.to_le_bytes())
    } else {
        ((kind | HAS_SRID).to_be_bytes(), srid.to_be_bytes())
    };
    let mut bytes = Vec::with_capacity(wkb.len() + 4);
    bytes.push(wkb[0]);
    bytes.extend_from_slice(&kind);
    bytes.extend_from_slice(&srid);
    bytes.extend_from_slice(&wkb[5..]);
    bytes
}

/// WKB of a point of the plane.
pub fn point(x: f64, y: f64) -> Bytes {
    let mut wkb = Vec::with_capacity(POINT_BYTES);
    wkb.push(1);
    wkb.extend_from_slice(&1u32.to_le_bytes());
    wkb.extend_from_slice(&x.to_le_bytes());
    wkb.extend_from_slice(&y.to_le_bytes());
    wkb.into()
}

/// Coordinates of a point of the plane; `None` if the shape is another one.
pub fn coordinates(wkb: &[u8]) -> Option<(f64, f64)> {
    let (little, 1) = header(wkb)? else { return None };
    if wkb.len() != POINT_BYTES {
        return None;
    }
    let number = |from: usize| {
        let bytes: [u8; 8] = wkb.get(from..from + 8)?.try_into().ok()?;
        Some(if little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) })
    };
    Some((number(5)?, number(13)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 6: a shape keeps its reference system and its bytes through EWKB, in both byte orders.
    #[test]
    fn reference_systems_go_in_and_out() {
        let little = point(1.5, -2.25);
        let mut big = vec![0, 0, 0, 0, 1];
        big.extend(1.5f64.to_be_bytes());
        big.extend((-2.25f64).to_be_bytes());
        for wkb in [little, big.into()] {
            assert_eq!(coordinates(&wkb), Some((1.5, -2.25)));
            assert_eq!(ewkb(None, &wkb), wkb);
            let with = Bytes::from(ewkb(Some(4326), &wkb));
            assert_eq!(with.len(), wkb.len() + 4);
            assert_eq!(coordinates(&with), None);
            assert_eq!(split(with), Some((Some(4326), wkb.clone())));
            assert_eq!(split(wkb.clone()), Some((None, wkb)));
        }
        for bad in [&b""[..], b"\x02\x01\0\0\0", b"\x01\x01\0\0", b"\x01\x01\0\0\x20\x01"] {
            assert_eq!(split(Bytes::copy_from_slice(bad)), None);
        }
    }
}

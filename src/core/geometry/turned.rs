//! Shapes in one byte order, as MySQL and MariaDB store them (OGC Simple Feature Access, part 1: a byte order, a type, coordinates).

/// Deepest collection in a collection.
const DEPTH_MAX: usize = 32;
/// Type of a collection of any shapes; below it are point, line, polygon and lists of each.
const COLLECTION: u32 = 7;

/// The same shape with little-endian numbers throughout, as MySQL and MariaDB store shapes. Both hold shapes of the plane with two
/// coordinates a point; `Err` says what a shape has that they cannot hold.
pub fn little_endian(wkb: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut reader = Reader { rest: wkb, out: Vec::with_capacity(wkb.len()), big: false };
    reader.shape(None, DEPTH_MAX)?;
    if reader.rest.is_empty() { Ok(reader.out) } else { Err("a shape with bytes behind it") }
}

struct Reader<'a> {
    rest: &'a [u8],
    out: Vec<u8>,
    big: bool,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or("a shape that is cut off")?;
        self.rest = rest;
        let mut bytes = *taken;
        if self.big {
            bytes.reverse();
        }
        self.out.extend_from_slice(&bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, &'static str> {
        self.take().map(u32::from_le_bytes)
    }

    fn points(&mut self, count: u32) -> Result<(), &'static str> {
        for _ in 0..u64::from(count) * 2 {
            // An empty point is two NaN; MySQL would show 0.
            if !f64::from_le_bytes(self.take()?).is_finite() {
                return Err("a point that is empty or infinite");
            }
        }
        Ok(())
    }

    fn line(&mut self) -> Result<(), &'static str> {
        let count = self.number()?;
        self.points(count)
    }

    fn shape(&mut self, wanted: Option<u32>, depth: usize) -> Result<(), &'static str> {
        let Some(([order], rest)) = self.rest.split_first_chunk::<1>() else { return Err("a shape that is cut off") };
        self.big = match order {
            0 => true,
            1 => false,
            _ => return Err("no shape"),
        };
        self.rest = rest;
        self.out.push(1);
        let kind = self.number()?;
        if depth == 0 || wanted.is_some_and(|wanted| wanted != kind) {
            return Err("a shape of shapes that do not belong together");
        }
        match kind {
            1 => self.points(1),
            2 => self.line(),
            3 => (0..self.number()?).try_for_each(|_| self.line()),
            4..=COLLECTION => {
                let element = (kind < COLLECTION).then(|| kind - 3);
                let big = self.big;
                (0..self.number()?).try_for_each(|_| {
                    let shape = self.shape(element, depth - 1);
                    self.big = big;
                    shape
                })
            }
            _ => Err("a shape with curves, heights or measures"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(big: bool) -> Vec<u8> {
        let mut bytes = vec![u8::from(!big)];
        bytes.extend(if big { 1_u32.to_be_bytes() } else { 1_u32.to_le_bytes() });
        for coordinate in [2.0_f64, -3.5] {
            bytes.extend(if big { coordinate.to_be_bytes() } else { coordinate.to_le_bytes() });
        }
        bytes
    }

    fn collection(kind: u32, parts: &[Vec<u8>]) -> Vec<u8> {
        let head = [&[0][..], &kind.to_be_bytes(), &(parts.len() as u32).to_be_bytes()].concat();
        [head, parts.concat()].concat()
    }

    /// Invariant 6: whatever a shape's bytes are, what comes out says the same or there is a refusal.
    #[test]
    fn shapes_are_turned_or_refused() {
        assert_eq!(little_endian(&point(true)), Ok(point(false)));
        assert_eq!(little_endian(&point(false)), Ok(point(false)));
        let many = little_endian(&collection(4, &[point(true), point(false)])).expect("points");
        assert_eq!(many[..9], [1, 4, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(many[9..], [point(false), point(false)].concat());
        assert_eq!(little_endian(&many).as_deref(), Ok(&many[..]));
        let empty = collection(7, &[]);
        assert_eq!(little_endian(&empty), Ok(vec![1, 7, 0, 0, 0, 0, 0, 0, 0]));
        let deep = (0..40).fold(empty, |inner, _| collection(7, &[inner]));
        let line = [&[1][..], &2_u32.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
        let nan = [&point(false)[..13], &f64::NAN.to_le_bytes()].concat();
        let high = [&[1][..], &1001_u32.to_le_bytes(), &[0; 24]].concat();
        let tail = [point(false), vec![0]].concat();
        let mixed = collection(5, &[point(true)]);
        for bad in [vec![], vec![2], deep, line, nan, high, tail, mixed, point(true)[..20].to_vec()] {
            assert!(little_endian(&bad).is_err(), "{bad:?}");
        }
    }
}

//! Zig-zag variable-length integers, as the v2 record format uses them.
//!
//! ```text
//! byte:  c b b b b b b b     c = 1: another byte follows; seven bits each, least significant first
//! value: (n << 1) ^ (n >> sign)      so that small negative numbers stay short
//! ```

/// Most bytes a 32-bit value takes.
pub const VARINT_BYTES_MAX: usize = 5;
/// Most bytes a 64-bit value takes.
pub const VARLONG_BYTES_MAX: usize = 10;

/// Why a variable-length integer could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end before the last byte of the integer.
    Cut,
    /// The integer does not fit its width.
    TooLong,
}

/// Reads a 32-bit integer at the start of `bytes`: the value and how many bytes it took.
#[inline(always)]
pub fn get_varint(bytes: &[u8]) -> Result<(i32, usize), Fault> {
    if let Some((raw, len)) = get_short(bytes) {
        return Ok((zigzag_32(raw), len));
    }
    let (raw, len) = get_unsigned(bytes, VARINT_BYTES_MAX)?;
    let raw = u32::try_from(raw).map_err(|_| Fault::TooLong)?;
    Ok((zigzag_32(raw), len))
}

/// Reads a 64-bit integer at the start of `bytes`: the value and how many bytes it took.
#[inline(always)]
pub fn get_varlong(bytes: &[u8]) -> Result<(i64, usize), Fault> {
    if let Some((raw, len)) = get_short(bytes) {
        return Ok((zigzag_64(u64::from(raw)), len));
    }
    let (raw, len) = get_unsigned(bytes, VARLONG_BYTES_MAX)?;
    Ok((zigzag_64(raw), len))
}

/// The raw form of an integer of at most three bytes, as nearly every field of a record is: walking records
/// spends its time here.
#[inline(always)]
pub(crate) fn get_short(bytes: &[u8]) -> Option<(u32, usize)> {
    match *bytes {
        [a, ..] if a < 0x80 => Some((u32::from(a), 1)),
        [a, b, ..] if b < 0x80 => Some((u32::from(a & 0x7f) | u32::from(b) << 7, 2)),
        [a, b, c, ..] if c < 0x80 => Some((u32::from(a & 0x7f) | u32::from(b & 0x7f) << 7 | u32::from(c) << 14, 3)),
        _ => None,
    }
}

/// Appends a 32-bit integer to `out`.
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, i64::from(value));
}

/// Appends a 64-bit integer to `out`.
pub fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// How many bytes [`put_varint`] writes for `value`.
pub fn varint_len(value: i32) -> usize {
    varlong_len(i64::from(value))
}

/// How many bytes [`put_varlong`] writes for `value`.
pub fn varlong_len(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

#[inline]
pub(crate) fn zigzag_32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

#[inline]
pub(crate) fn zigzag_64(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[inline(never)]
fn get_unsigned(bytes: &[u8], len_max: usize) -> Result<(u64, usize), Fault> {
    let mut raw = 0u64;
    for (at, &byte) in bytes.iter().take(len_max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if at == VARLONG_BYTES_MAX - 1 && bits > 1 {
            return Err(Fault::TooLong);
        }
        raw |= bits << (7 * at);
        if byte < 0x80 {
            return Ok((raw, at + 1));
        }
    }
    if bytes.len() < len_max { Err(Fault::Cut) } else { Err(Fault::TooLong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_got(value: i64, narrow: i32) {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            prop_assert_eq!(out.len(), varlong_len(value));
            prop_assert_eq!(get_varlong(&out), Ok((value, out.len())));
            for cut in 0..out.len() {
                prop_assert_eq!(get_varlong(&out[..cut]), Err(Fault::Cut));
            }
            out.clear();
            put_varint(&mut out, narrow);
            prop_assert_eq!(out.len(), varint_len(narrow));
            prop_assert_eq!(get_varint(&out), Ok((narrow, out.len())));
        }
    }

    #[test]
    fn known_encodings() {
        for (value, bytes) in [(0, &[0u8][..]), (-1, &[1]), (1, &[2]), (63, &[126]), (-64, &[127]), (64, &[0x80, 1])] {
            assert_eq!(get_varint(bytes), Ok((value, bytes.len())));
        }
        let mut out = Vec::new();
        put_varint(&mut out, i32::MIN);
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn too_wide_a_value_is_refused() {
        assert_eq!(get_varint(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(Fault::TooLong));
        assert_eq!(get_varint(&[0x80; 5]), Err(Fault::TooLong));
        assert_eq!(get_varlong(&[0x80; 10]), Err(Fault::TooLong));
        let mut wide = [0xff; 10];
        wide[9] = 2;
        assert_eq!(get_varlong(&wide), Err(Fault::TooLong));
    }
}

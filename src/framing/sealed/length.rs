//! The lengths of keys and messages: eight bytes with a decimal number, filled up with `=`.

/// Bytes of a length in clear text.
pub(super) const LENGTH_BYTES: usize = 8;

/// Reads a length.
pub(super) fn read(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
    let (number, rest) = bytes.split_at(digits);
    let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    if !is_number || rest.iter().any(|&byte| byte != b'=') {
        return None;
    }
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Writes a length of at most eight digits.
pub(super) fn write(length: usize) -> [u8; LENGTH_BYTES] {
    let digits = length.to_string();
    debug_assert!(digits.len() <= LENGTH_BYTES, "{digits} does not fit");
    let mut bytes = [b'='; LENGTH_BYTES];
    bytes.iter_mut().zip(digits.bytes()).for_each(|(byte, digit)| *byte = digit);
    bytes
}

/// Whether these eight bytes are a length in clear text or meant to be one, rather than half a block of random bytes:
/// of those, one in 16 million looks like a length.
pub(super) fn is_clear(bytes: &[u8]) -> bool {
    read(bytes).is_some() || bytes.ends_with(b"===")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_decimal_and_filled_up() {
        for (bytes, length) in [
            (b"800=====", Some(800)),
            (b"0=======", Some(0)),
            (b"00000048", Some(48)),
            (b"99999999", Some(99_999_999)),
            (b"========", None),
            (b"-5======", None),
            (b"+5======", None),
            (b"5=5=====", None),
            (b"48 =====", None),
            (b"48\0\0\0\0\0\0", None),
            (b"GET / HT", None),
        ] {
            assert_eq!(read(bytes), length, "{}", bytes.escape_ascii());
        }
        assert_eq!([write(800), write(48), write(12_345_678)], [*b"800=====", *b"48======", *b"12345678"]);
    }
}

//! Parses and writes timestamps and values of points.

use std::io::Write;

use crate::limits;
use crate::model::MetricValue;

/// Why a text is not a valid timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimestampError {
    /// It is not an integer.
    NotAnInteger,
    /// It is out of range; most likely not in seconds.
    OutOfRange,
}

/// Parses a 64-bit integer: decimal digits after an optional `-`.
pub(super) fn read_integer(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    if !(1..=I64_SAFE_DIGITS).contains(&digits.len()) {
        integer_digits(text)?;
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = 10 * number + i64::from(digit);
    }
    Some(sign * number)
}

/// Parses a timestamp in seconds since 1970.
pub(super) fn read_timestamp(text: &[u8]) -> Result<i64, TimestampError> {
    match read_integer(text) {
        Some(timestamp) if limits::POINT_TIMESTAMPS.contains(&timestamp) => Ok(timestamp),
        None if integer_digits(text).is_none() => Err(TimestampError::NotAnInteger),
        _ => Err(TimestampError::OutOfRange),
    }
}

/// The digits of an integer of any size, without its sign.
fn integer_digits(text: &[u8]) -> Option<&[u8]> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(digits)
}

/// Parses a finite decimal number with optional sign, point and exponent.
pub(super) fn read_value(text: &[u8]) -> Option<MetricValue> {
    // Rejects `inf` and `nan`, which the standard library would parse.
    let unsigned = match text {
        [b'-' | b'+', unsigned @ ..] => unsigned,
        unsigned => unsigned,
    };
    if !matches!(unsigned.first(), Some(b'0'..=b'9' | b'.')) {
        return None;
    }
    if let Some(number) = read_short_decimal(unsigned) {
        return MetricValue::new(if text[0] == b'-' { -number } else { number });
    }
    MetricValue::new(std::str::from_utf8(text).ok()?.parse().ok()?)
}

/// Parses a number of few digits with or without a point, such as most values are: both the digits and the power of ten
/// are exact floats then, and their quotient is the nearest one.
fn read_short_decimal(text: &[u8]) -> Option<f64> {
    if text.len() > DECIMAL_DIGITS_MAX {
        return None;
    }
    let (mut digits, mut after_point) = (0_u64, None);
    for (index, &byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            digits = 10 * digits + u64::from(digit);
        } else if byte == b'.' && after_point.is_none() {
            after_point = Some(index + 1);
        } else {
            return None;
        }
    }
    let decimals = after_point.map_or(0, |begin| text.len() - begin);
    (text != b".").then_some(digits as f64 / POWERS_OF_TEN[decimals])
}

/// Writes `value` as valid JSON.
pub(super) fn write_value(value: MetricValue, output: &mut Vec<u8>) {
    let number = value.get();
    // Decimals with so few digits map to distinct floats: a match, without trailing zeros, is the shortest.
    let thousandths = (number * 1000.0 + 0.5_f64.copysign(number)) as i64;
    let (whole, fraction) =
        if thousandths as f64 / 1000.0 == number && thousandths.unsigned_abs() < EXACT_DECIMAL_MAX {
            let digits = thousandths.unsigned_abs();
            (digits / 1000, digits % 1000)
        } else if (number as i64) as f64 == number && number.abs() < EXACT_DECIMAL_MAX as f64 {
            ((number as i64).unsigned_abs(), 0)
        } else {
            return write!(output, "{value}").expect("a Vec takes whatever is written");
        };
    let mut text = Digits::new();
    match fraction {
        tenths if tenths.is_multiple_of(100) => text.push(tenths / 100),
        hundredths if hundredths.is_multiple_of(10) => text.push_pair(hundredths / 10),
        thousandths => {
            text.push(thousandths % 10);
            text.push_pair(thousandths / 10);
        }
    }
    text.push_byte(b'.');
    text.push_all(whole);
    if number.is_sign_negative() {
        text.push_byte(b'-');
    }
    output.extend_from_slice(text.as_slice());
}

/// Writes a timestamp.
pub(super) fn write_timestamp(timestamp: i64, output: &mut Vec<u8>) {
    let mut text = Digits::new();
    text.push_all(timestamp.unsigned_abs());
    if timestamp < 0 {
        text.push_byte(b'-');
    }
    output.extend_from_slice(text.as_slice());
}

/// The text of a number, which is written from its end.
struct Digits {
    bytes: [u8; DIGITS_MAX],
    start: usize,
}

impl Digits {
    fn new() -> Digits {
        Digits { bytes: [0; DIGITS_MAX], start: DIGITS_MAX }
    }

    fn push_byte(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    fn push(&mut self, digit: u64) {
        self.push_byte(b'0' + digit as u8);
    }

    /// Adds a number below 100 as two digits.
    fn push_pair(&mut self, number: u64) {
        let [tens, ones] = PAIRS[number as usize];
        self.push_byte(ones);
        self.push_byte(tens);
    }

    fn push_all(&mut self, mut number: u64) {
        while number >= 100 {
            self.push_pair(number % 100);
            number /= 100;
        }
        if number < 10 { self.push(number) } else { self.push_pair(number) }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// The sign, the digits of 64 bits, a point and a digit.
const DIGITS_MAX: usize = 24;

/// 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let (mut pairs, mut number) = ([[0; 2]; 100], 0);
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Below this, decimals of up to 15 digits round-trip through a float.
const EXACT_DECIMAL_MAX: u64 = 1_000_000_000_000_000;

/// Every number with this many digits is a float.
const DECIMAL_DIGITS_MAX: usize = 15;

/// 1, 10, 100 and so on, which are exact.
const POWERS_OF_TEN: [f64; DECIMAL_DIGITS_MAX] = {
    let (mut powers, mut index) = ([1.0; DECIMAL_DIGITS_MAX], 1);
    while index < DECIMAL_DIGITS_MAX {
        powers[index] = 10.0 * powers[index - 1];
        index += 1;
    }
    powers
};

/// Every number with this many digits fits into 64 bits.
const I64_SAFE_DIGITS: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_decimal_and_have_64_bits() {
        let good = [
            ("0", 0),
            ("-0", 0),
            ("007", 7),
            ("1501864247", 1_501_864_247),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("00000000000000000000000000000001", 1),
        ];
        for (text, number) in good {
            assert_eq!(read_integer(text.as_bytes()), Some(number), "{text}");
        }
        let bad = [
            "",
            "-",
            "+1",
            "--1",
            "1-",
            "1.0",
            "1e3",
            "0x1",
            "1_0",
            " 1",
            "a",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "\u{661}",
        ];
        for text in bad {
            assert_eq!(read_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn timestamps_are_limited_to_the_years_1_to_9999() {
        let out = Err(TimestampError::OutOfRange);
        for (text, second) in [
            ("0", Ok(0)),
            ("-62135596800", Ok(-62_135_596_800)),
            ("-62135596801", out),
            ("253402300799", Ok(253_402_300_799)),
            ("253402300800", out),
            ("1501864247123", out),
            ("9223372036854775807", out),
            ("-9223372036854775808", out),
            ("9223372036854775808", out),
            ("-99999999999999999999999999", out),
            ("00000000000000000000000000000001", Ok(1)),
            ("", Err(TimestampError::NotAnInteger)),
            ("-", Err(TimestampError::NotAnInteger)),
            ("1.0", Err(TimestampError::NotAnInteger)),
            ("99999999999999999999.0", Err(TimestampError::NotAnInteger)),
        ] {
            assert_eq!(read_timestamp(text.as_bytes()), second, "{text}");
        }
    }

    #[test]
    fn integers_are_written_as_they_are_read() {
        for number in [0, 1, -1, 9, 10, 1_501_864_247, -1_501_864_247, i64::MAX, i64::MIN] {
            let mut text = b"before ".to_vec();
            write_timestamp(number, &mut text);
            assert_eq!(text, format!("before {number}").as_bytes());
        }
    }

    #[test]
    fn values_are_decimal_and_finite() {
        let good = [
            ("10", 10.0),
            ("10.6", 10.6),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5", -0.5),
            ("+1", 1.0),
            ("+1.5e+2", 150.0),
            ("1E3", 1000.0),
            ("1.e3", 1000.0),
            (".1e-1", 0.01),
            ("-0", -0.0),
            ("007", 7.0),
            ("1e308", 1e308),
            ("1e-999", 0.0),
            ("1.7976931348623157e308", f64::MAX),
            ("00.1", 0.1),
            ("0.30000000000000004", 0.1 + 0.2),
            ("99999999999999.9", 99_999_999_999_999.9),
            ("9007199254740993", 9_007_199_254_740_992.0),
        ];
        for (text, number) in good {
            assert_eq!(read_value(text.as_bytes()), MetricValue::new(number), "{text}");
        }
        let bad = [
            "",
            ".",
            "+",
            "-",
            "e",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "1e1.5",
            "--1",
            "+-1",
            "1-2",
            "1.2.3",
            "1e5e5",
            "0x10",
            "0x1p3",
            "1_000",
            "1,5",
            "inf",
            "-inf",
            "+infinity",
            "Infinity",
            "nan",
            "NaN",
            "1e999",
            "-1e999",
            "1.8e308",
            "1f",
            "1 ",
            " 1",
            "\u{661}",
            "one",
        ];
        for text in bad {
            assert_eq!(read_value(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn values_are_written_with_a_point_or_an_exponent() {
        let written = |number: f64| {
            let mut output = Vec::new();
            write_value(MetricValue::new(number).unwrap(), &mut output);
            String::from_utf8(output).unwrap()
        };
        for (number, text) in [
            (10.0, "10.0"),
            (-0.0, "-0.0"),
            (0.0, "0.0"),
            (1e15, "1000000000000000.0"),
            (999_999_999_999_999.0, "999999999999999.0"),
            (1e16, "1e16"),
            (1e-7, "1e-7"),
            (0.1, "0.1"),
            (-0.25, "-0.25"),
            (12.005, "12.005"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
        ] {
            assert_eq!(written(number), text);
        }
        // Whatever it is, it is what the standard library takes for the shortest.
        let mut number: u64 = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..200_000 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (few, some, any) = (number >> 44, number >> 16, f64::from_bits(number));
            let few = few as f64 / [1.0, 10.0, 100.0, 1000.0, 10_000.0][(number % 5) as usize];
            for value in [few, -few, some as f64, some as f64 / 1000.0, any] {
                if value.is_finite() {
                    assert_eq!(written(value), format!("{value:?}"));
                    assert_eq!(read_value(written(value).as_bytes()), MetricValue::new(value));
                }
            }
        }
    }
}

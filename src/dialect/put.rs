//! `put` of one point without an id, which collectors send one after the other.

use super::json::{after_number, after_text, token};
use super::number::{read_timestamp, read_value};
use crate::limits;
use crate::model::{MetricKey, NewPoint, Point};

/// Reads messages at the front of `input` as long as each is `{"command": "put", "data": {"key": KEY, "value": VALUE,
/// "timestamp": TIMESTAMP}}`, or the same with a list `points` of one, with any white space; and adds their points to
/// `points`. Returns the bytes of these messages. The readers of all requests take them too, and find the same.
pub fn read_plain_puts(input: &[u8], points: &mut Vec<NewPoint>) -> usize {
    let input = &input[..input.len().min(limits::READ_CHUNK_BYTES)];
    let mut end = 0;
    while points.len() < limits::ORDERED_WRITES_MAX
        && let Some((point, after)) = read_plain_put(input, end)
    {
        if end == 0 {
            // Most that follow are as long.
            points.reserve_exact((input.len() / after).min(limits::ORDERED_WRITES_MAX));
        }
        points.push(point);
        end = after;
    }
    end
}

/// The point of the message at `at`, and where that ends.
fn read_plain_put(bytes: &[u8], at: usize) -> Option<(NewPoint, usize)> {
    let at = after(bytes, at, b"{")?;
    let at = after(bytes, at, b"\"command\"")?;
    let at = after(bytes, at, b":")?;
    let at = after(bytes, at, b"\"put\"")?;
    let at = after(bytes, at, b",")?;
    let at = after(bytes, at, b"\"data\"")?;
    let at = after(bytes, at, b":")?;
    let at = after(bytes, at, b"{")?;
    let (point, at) = match after(bytes, at, b"\"points\"") {
        None => read_point(bytes, at)?,
        Some(at) => {
            let at = after(bytes, at, b":")?;
            let at = after(bytes, at, b"[")?;
            let (point, at) = read_point(bytes, after(bytes, at, b"{")?)?;
            let at = after(bytes, at, b"]")?;
            (point, after(bytes, at, b"}")?)
        }
    };
    Some((point, after(bytes, at, b"}")?))
}

/// The point whose fields begin at `at`, in any order, and where its object ends.
fn read_point(bytes: &[u8], mut at: usize) -> Option<(NewPoint, usize)> {
    let (mut key, mut value, mut timestamp) = (None, None, None);
    loop {
        let (name, name_end) = text(bytes, at)?;
        let of_field = after(bytes, name_end, b":")?;
        at = match name {
            b"key" if key.is_none() => {
                let (text, end) = text(bytes, of_field)?;
                key = Some(text);
                end
            }
            b"value" if value.is_none() => {
                let (text, end) = number(bytes, of_field)?;
                value = Some(read_value(text)?);
                end
            }
            b"timestamp" if timestamp.is_none() => {
                let (text, end) = number(bytes, of_field)?;
                timestamp = Some(read_timestamp(text).ok()?);
                end
            }
            _ => return None,
        };
        at = match token(bytes, at)? {
            (b',', comma) => comma + 1,
            (b'}', end) => {
                let key = MetricKey::parse(str::from_utf8(key?).ok()?).ok()?;
                let point = Point { timestamp: timestamp?, value: value? };
                return Some((NewPoint { key, point }, end + 1));
            }
            _ => return None,
        };
    }
}

/// The string at `at` without its quotes, if it has no escapes, and where it ends.
#[inline(always)]
fn text(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let begin = after(bytes, at, b"\"")?;
    let end = after_text(bytes, begin);
    (*bytes.get(end)? == b'"').then_some((&bytes[begin..end], end + 1))
}

/// The number at `at`, and where it ends.
#[inline(always)]
fn number(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (first, begin) = token(bytes, at)?;
    let end = after_number(bytes, begin + usize::from(first == b'-'))?;
    Some((&bytes[begin..end], end))
}

/// After `wanted`, which may have white space before it.
#[inline(always)]
fn after<const LENGTH: usize>(bytes: &[u8], at: usize, wanted: &[u8; LENGTH]) -> Option<usize> {
    let (_, at) = token(bytes, at)?;
    (bytes[at..].first_chunk() == Some(wanted)).then_some(at + LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::decode_json;
    use crate::model::{Command, CommandName, CustomCommands, Dialect, Put, Request};

    /// The bytes and the points of the plain puts at the front of `input`.
    fn read(input: &[u8]) -> (usize, Vec<NewPoint>) {
        let mut points = Vec::new();
        (read_plain_puts(input, &mut points), points)
    }

    /// The points of the put `text`, as the readers of all requests find them.
    fn read_by_all(text: &[u8]) -> Vec<NewPoint> {
        let mut request = *decode_json(text, &CustomCommands::default()).expect("it is a request");
        let Ok(Command::Put(Put { points, undated, is_atomic: true })) = &mut request.command else {
            panic!("{request:?} for {}", text.escape_ascii())
        };
        assert!(undated.is_empty());
        let points = std::mem::take(points);
        let put = Put { points: Vec::new(), undated: Vec::new(), is_atomic: true };
        assert_eq!(request, Request::new(Dialect::Command, CommandName::Put, Ok(Command::Put(put))));
        points
    }

    const PUTS: [&str; 4] = [
        "{\"command\":\"put\",\"data\":{\"key\":\"a\",\"value\":-1.5e1,\"timestamp\":1700000000}}",
        "{\"command\": \"put\", \"data\": {\"points\": [{\"key\": \"a.b\", \"value\": 1, \"timestamp\": 5}]}}",
        "{\r\n\"command\" :\t\"put\" , \"data\" : { \"timestamp\" : -7 , \"value\" : 0.25 , \"key\" : \"ключ\" } }",
        "{\"command\":\"put\",\"data\":{\"points\":[\n{\"value\":0,\"key\":\"~\",\"timestamp\":0} ] } \n}",
    ];

    #[test]
    fn whatever_is_read_is_the_same_put_to_all_readers() {
        for put in PUTS {
            let (length, points) = read(put.as_bytes());
            assert_eq!((length, points), (put.len(), read_by_all(put.as_bytes())), "{put}");
            for at in 0..put.len() {
                assert_eq!(read(&put.as_bytes()[..at]), (0, Vec::new()), "{put} up to {at}");
                let mut changed = put.as_bytes().to_vec();
                for byte in 0..=255 {
                    changed[at] = byte;
                    let (length, points) = read(&changed);
                    if length > 0 {
                        assert_eq!(points, read_by_all(&changed[..length]));
                    }
                }
            }
        }
    }

    #[test]
    fn puts_that_are_not_plain_are_left_to_the_readers_of_all_requests() {
        let plain = PUTS[0];
        for (part, other) in [
            ("{\"command\"", "{\"request_id\":1,\"command\""),
            ("\"put\"", "\"get\""),
            ("}}", "},\"request_id\":1}"),
            ("}}", ",\"token\":null}}"),
            ("}}", ",\"key\":\"b\"}}"),
            ("}}", ",\"value\":1}}"),
            ("}}", ",\"timestamp\":1}}"),
            (",\"timestamp\":1700000000", ""),
            ("-1.5e1", "\"1\""),
            ("-1.5e1", "+1"),
            ("-1.5e1", "01"),
            ("-1.5e1", ".5"),
            ("-1.5e1", "1e999"),
            ("1700000000", "1700000000000"),
            ("1700000000", "1.0"),
            ("\"a\"", "\"\""),
            ("\"a\"", "\"a b\""),
            ("\"a\"", "\"\\u0061\""),
            ("\"a\"", "1"),
        ] {
            assert_eq!(read(plain.replacen(part, other, 1).as_bytes()).0, 0, "{part} {other}");
        }
        let [begin, end] = ["{\"command\":\"put\",\"data\":{\"points\":[", "]}}"];
        let point = "{\"key\":\"a\",\"value\":1,\"timestamp\":1}";
        assert_eq!(read(format!("{begin}{point}{end}").as_bytes()).1.len(), 1);
        for points in [String::new(), format!("{point},{point}"), format!("{point},")] {
            assert_eq!(read(format!("{begin}{points}{end}").as_bytes()).0, 0, "{points}");
        }
    }

    #[test]
    fn consecutive_puts_are_read_together_up_to_a_bound() {
        let ping = "{\"command\": \"ping\"}";
        let stream = format!(" {}\n\n{} {}{ping}{}", PUTS[0], PUTS[1], PUTS[2], PUTS[3]);
        let (length, points) = read(stream.as_bytes());
        assert_eq!(&stream[length..], format!("{ping}{}", PUTS[3]));
        let keys: Vec<&str> = points.iter().map(|new| new.key.as_str()).collect();
        assert_eq!(keys, ["a", "a.b", "ключ"]);
        let many = "{\"command\":\"put\",\"data\":{\"key\":\"a\",\"value\":1,\"timestamp\":1}}".repeat(1000);
        let (length, points) = read(many.as_bytes());
        assert_eq!(points.len(), limits::ORDERED_WRITES_MAX);
        assert_eq!(length, many.len() / 1000 * points.len());
        let spaced = many.replace(',', &format!(",{}", " ".repeat(100)));
        assert!((1..=limits::READ_CHUNK_BYTES).contains(&read(spaced.as_bytes()).0));
    }
}

//! `ping` without an id, the most frequent request.

/// The length of the message at the front of `input` if it is `{"command": "ping"}` or `{"command": "ping", "data": {}}`,
/// with any white space; the readers of all requests read it as the same `ping`.
pub fn ping_length(input: &[u8]) -> Option<usize> {
    let rest = [&b"{"[..], b"\"command\"", b":", b"\"ping\""].into_iter().try_fold(input, after)?;
    let data = [&b","[..], b"\"data\"", b":", b"{", b"}"].into_iter().try_fold(rest, after);
    let rest = after(data.unwrap_or(rest), b"}")?;
    Some(input.len() - rest.len())
}

/// What follows `token`, which may have white space before it.
#[inline(always)]
fn after<'a>(mut input: &'a [u8], token: &[u8]) -> Option<&'a [u8]> {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = input {
        input = rest;
    }
    input.strip_prefix(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::decode_json;
    use crate::model::{CustomCommands, Request};

    #[test]
    fn pings_are_found_with_white_space_and_nothing_else_is() {
        let pings: [&[u8]; 4] = [
            b"{\"command\":\"ping\"}",
            b"{\"command\": \"ping\", \"data\": {}}",
            b"{\r\n\t\"command\" : \"ping\" , \"data\" : { } }",
            b"{ \"command\":\"ping\",\n\"data\":{\n}}",
        ];
        for ping in pings {
            let followed = [ping, b"{}"].concat();
            assert_eq!(ping_length(&followed), Some(ping.len()));
            assert_eq!(decode_json(ping, &CustomCommands::default()), Ok(Box::new(Request::ping())));
            for at in 0..ping.len() {
                assert_eq!(ping_length(&ping[..at]), None);
                let mut changed = ping.to_vec();
                for byte in 0..=255 {
                    changed[at] = byte;
                    if ping_length(&changed) == Some(ping.len()) {
                        assert_eq!(
                            decode_json(&changed, &CustomCommands::default()),
                            Ok(Box::new(Request::ping()))
                        );
                    }
                }
            }
        }
        for other in
            ["{\"command\":\"ping\",\"data\":{\"token\":1}}", "{\"command\":\"ping\",\"request_id\":1}"]
        {
            assert_eq!(ping_length(other.as_bytes()), None);
        }
    }
}

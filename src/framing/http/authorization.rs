//! Parses the header `Authorization`: a bearer token (RFC 6750, 2.1).

use super::headers::HeaderValue;
use crate::model::Secret;

/// The credentials of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Authorization {
    /// No header.
    #[default]
    Absent,
    /// A bearer token, not verified yet.
    Bearer(Secret),
    /// An unsupported scheme, a malformed token or a repeated header.
    Unusable,
}

impl Authorization {
    /// Heap size in bytes.
    pub fn held_bytes(&self) -> usize {
        match self {
            Authorization::Bearer(token) => token.length(),
            Authorization::Absent | Authorization::Unusable => 0,
        }
    }

    /// Parses the header: `Bearer`, spaces and a token.
    pub fn parse(field: HeaderValue<'_>) -> Authorization {
        match field {
            HeaderValue::Absent => Authorization::Absent,
            HeaderValue::Repeated => Authorization::Unusable,
            HeaderValue::Once(value) => bearer_token(value)
                .map_or(Authorization::Unusable, |token| Authorization::Bearer(Secret::new(token))),
        }
    }
}

fn bearer_token(value: &[u8]) -> Option<&str> {
    let value = std::str::from_utf8(value).ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let token = rest.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && is_token68(token)).then_some(token)
}

/// RFC 9110, 11.2.
fn is_token68(text: &str) -> bool {
    let unpadded = text.trim_end_matches('=');
    !unpadded.is_empty()
        && unpadded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;

//! What the header `Authorization` says: a bearer token (RFC 6750, 2.1) or nothing that is of use.

use super::headers::HeaderValue;
use crate::model::Secret;

/// Who a request says that it comes from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Authorization {
    /// It does not say.
    #[default]
    Absent,
    /// The owner of this token, if it is one.
    Bearer(Secret),
    /// In a way that we do not know, or twice.
    Unusable,
}

impl Authorization {
    /// Bytes of memory that it takes beside itself.
    pub fn held_bytes(&self) -> usize {
        match self {
            Authorization::Bearer(token) => token.length(),
            Authorization::Absent | Authorization::Unusable => 0,
        }
    }

    /// Reads the header: `Bearer`, spaces, and a token.
    pub fn parse(field: HeaderValue<'_>) -> Authorization {
        match field {
            HeaderValue::Absent => Authorization::Absent,
            HeaderValue::Repeated => Authorization::Unusable,
            HeaderValue::Once(value) => match bearer_token(value) {
                Some(token) => Authorization::Bearer(Secret::new(token)),
                None => Authorization::Unusable,
            },
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

//! Parsing of the header `Authorization`.

use super::*;

#[test]
fn a_bearer_token_is_a_single_token68() {
    let usable = [("Bearer a", "a"), ("bearer   a-._~+/9==", "a-._~+/9=="), ("BEARER Zz", "Zz")];
    for (value, token) in usable {
        let parsed = Authorization::parse(HeaderValue::Once(value.as_bytes()));
        assert_eq!(parsed, Authorization::Bearer(Secret::new(token)), "{value}");
    }
    let unusable: [&[u8]; 14] = [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer =",
        b"Bearer a b",
        b"Bearer a,b",
        b"Bearer a=b",
        b"Bearer\ta",
        b"Bearer \ta",
        b"Bearer a\xff",
        b"Bearera",
        b"Basic a",
        b"a",
        b" Bearer a",
    ];
    for value in unusable {
        let parsed = Authorization::parse(HeaderValue::Once(value));
        assert_eq!(parsed, Authorization::Unusable, "{}", value.escape_ascii());
    }
    assert_eq!(Authorization::parse(HeaderValue::Absent), Authorization::Absent);
    assert_eq!(Authorization::parse(HeaderValue::Repeated), Authorization::Unusable);
}

#[test]
fn a_token_is_not_printed() {
    let parsed = Authorization::parse(HeaderValue::Once(b"Bearer sesame"));
    assert!(!format!("{parsed:?}").contains("sesame"), "{parsed:?}");
}

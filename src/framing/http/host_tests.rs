//! Parsing of the settings for hosts and origins; `source_tests` covers their effect.

use super::*;

#[test]
fn rules_are_host_names_or_origins() {
    for (text, kept) in
        [("vms.example.org", "vms.example.org"), ("a.", "a"), ("10.0.0.1", "10.0.0.1"), ("[::1]", "[::1]")]
    {
        assert_eq!(format!("{:?}", AllowedHost::parse(text).unwrap()), format!("AllowedHost({kept:?})"));
    }
    for text in ["", "a b", "http://a", "a/b", "*", "*.example.org", "[::1", "a:x", "h\u{f6}st"] {
        assert_eq!(AllowedHost::parse(text), Err(HOST_IS_NONE), "{text}");
    }
    for text in ["a:80", "[::1]:80", "a:"] {
        assert_eq!(AllowedHost::parse(text), Err(HOST_HAS_PORT), "{text}");
    }
    for text in ["http://a", "https://a:8443", "http://[::1]:80", "HTTP://A", "app+x://host"] {
        assert_eq!(format!("{:?}", AllowedOrigin::parse(text).unwrap()), format!("AllowedOrigin({text:?})"));
    }
    let refused = [
        ("", ORIGIN_IS_NONE),
        ("a", ORIGIN_IS_NONE),
        ("*", ORIGIN_IS_NONE),
        ("http://", ORIGIN_IS_NONE),
        ("http://*", ORIGIN_IS_NONE),
        ("://a", ORIGIN_IS_NONE),
        ("1http://a", ORIGIN_IS_NONE),
        ("http://a:99999", ORIGIN_IS_NONE),
        ("http://user@a", ORIGIN_IS_NONE),
        ("null", ORIGIN_IS_NULL),
        ("http://a/", ORIGIN_HAS_PATH),
        ("http://a/b", ORIGIN_HAS_PATH),
        ("http://a?b", ORIGIN_HAS_PATH),
    ];
    for (text, error) in refused {
        assert_eq!(AllowedOrigin::parse(text), Err(error), "{text}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn without_rules_only_addresses_and_localhost_are_allowed() {
    let rules = HttpRules::default();
    let host = |text: &'static str| Authority::parse(text.as_bytes()).unwrap().host;
    assert!(rules.allow_host(&host("10.0.0.1")) && rules.allow_host(&host("[::]")));
    assert!(rules.allow_host(&host("localhost")) && !rules.allow_host(&host("vms.example.org")));
    assert!(
        !rules.allow_origin(b"http://localhost") && !rules.allow_origin(b"null") && !rules.allow_origin(b"")
    );
}

//! What is shown of texts that were refused: whoever mixes up settings may have written the URL of a
//! database, password and all, where a path, a number or a name belongs, and what is shown ends in a log.
//!
//! Every refused value, path, name and argument is shown through [`redact`], and through nothing else. A
//! refused store is not shown at all.

use std::borrow::Cow;

/// What of a refused text can be shown. Rather hides too much than too little.
pub(crate) fn redact(text: &str) -> Cow<'_, str> {
    if !may_hold_password(text) {
        return text.into();
    }
    match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://…").into(),
        _ => "…".into(),
    }
}

/// Whether `name` has nothing but letters, digits and underscores in it, as names of settings do.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether `text` looks like the address of a database, or a part of one.
pub(super) fn may_hold_password(text: &str) -> bool {
    let is_listener = |before: &str| before == "tcp" || before.ends_with(" tcp");
    let is_url = text.match_indices("://").any(|(at, _)| !is_listener(&text[..at]));
    is_url || text.contains('@') || text.to_ascii_lowercase().contains("password")
}

fn is_scheme(text: &str) -> bool {
    let is_short = text.len() <= SCHEME_BYTES_MAX;
    is_short && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !text.is_empty()
}

/// As long as any that people would write by mistake, `postgresql` among them.
const SCHEME_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_passwords_are_redacted() {
        let hidden = [
            ("postgresql://herd:secretpw@127.0.0.1/herd", "postgresql://…"),
            ("postgresql://h/d?user=u&secretpw", "postgresql://…"),
            ("tcp://herd:secretpw@h:1", "tcp://…"),
            ("tcp://127.0.0.1:1 mysql://secretpw", "tcp://…"),
            ("x postgresql://secretpw", "…"),
            ("herd:secretpw@127.0.0.1/herd", "…"),
            ("postgresql:herd:secretpw@h", "…"),
            ("host=h Password=secretpw", "…"),
            ("secretpw://h", "secretpw://…"),
            ("herd:secretpw://h", "…"),
            ("://secretpw", "…"),
        ];
        for (text, expected) in hidden {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_unchanged() {
        for text in ["", "many\n", "/etc/vmherd.conf", "tcp://127.0.0.1:x", "tcp://a:1 tcp://b:1", "a=b"] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn plain_names_exclude_urls() {
        assert!(is_plain_name("VMHERD_LISTN") && is_plain_name("a1"));
        for name in ["", "VMHERD_STORE:", "a b", "a-b", "é", "a@b"] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}

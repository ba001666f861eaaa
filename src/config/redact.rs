//! Redaction of rejected texts. A user who mixes up settings may write a database URL with its password where a
//! path, a number or a name belongs, and error messages end up in logs.
//!
//! Every rejected value, path, name and argument passes through [`redact`]. A rejected store is not shown at all.

use std::borrow::Cow;

/// The part of a rejected text that is safe to show. If in doubt, hides it.
pub fn redact(text: &str) -> Cow<'_, str> {
    if !may_hold_password(text) {
        return text.into();
    }
    match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => format!("{scheme}://…").into(),
        _ => "…".into(),
    }
}

/// Whether `name` consists of letters, digits and underscores only, like the names of settings.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether `text` looks like a database URL or a part of one.
pub fn may_hold_password(text: &str) -> bool {
    let is_listener = |before: &str| {
        ["tcp", "sealed"].iter().any(|scheme| {
            before.strip_suffix(scheme).is_some_and(|start| start.is_empty() || start.ends_with(' '))
        })
    };
    let is_url = text.match_indices("://").any(|(at, _)| !is_listener(&text[..at]));
    is_url || text.contains('@') || text.to_ascii_lowercase().contains("password")
}

fn is_scheme(text: &str) -> bool {
    let is_short = text.len() <= SCHEME_BYTES_MAX;
    is_short && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !text.is_empty()
}

/// The length of `postgresql`, the longest scheme expected here.
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

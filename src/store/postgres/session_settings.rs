//! The settings of every session: our timeouts, and `options` of the URL.
//!
//! They are set in SQL and not as startup parameters, since PgBouncer refuses connections with unknown ones.

/// Parses `options` of a URL in libpq's syntax: `-c NAME=VALUE` or `--NAME=VALUE`, with a backslash before
/// white space in a value. `None` if it contains anything else.
pub(super) fn parse_options(options: &str) -> Option<Vec<(String, String)>> {
    let mut words = split_words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("-c"), word.strip_prefix("--")) {
            (Some(""), _) => words.next()?,
            (Some(rest), _) | (_, Some(rest)) => rest.to_owned(),
            (None, None) => return None,
        };
        let (name, value) = setting.split_once('=').filter(|(name, _)| !name.is_empty())?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Some(settings)
}

/// A statement that applies `settings`, in order, until the session ends.
pub(super) fn set_config_sql(settings: impl IntoIterator<Item = (String, String)>) -> String {
    let call = |(name, value): (String, String)| {
        format!("pg_catalog.set_config({}, {}, false)", literal(&name), literal(&value))
    };
    let calls = settings.into_iter().map(call);
    format!("SELECT {}", calls.collect::<Vec<_>>().join(", "))
}

fn split_words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            character if character.is_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// Quotes `text` for SQL, independent of `standard_conforming_strings`.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_use_libpq_syntax() {
        let read = |text| {
            let settings = parse_options(text)?;
            let texts = settings.iter().map(|(name, value)| format!("{name}={value}"));
            Some(texts.collect::<Vec<_>>().join(";"))
        };
        for (text, expected) in [
            ("", Some("")),
            ("  -c a=b", Some("a=b")),
            ("-ca=b -c c=d\t--e-f=g=h", Some("a=b;c=d;e_f=g=h")),
            (r#"-csearch_path="My\ Herd",public -c x="#, Some(r#"search_path="My Herd",public;x="#)),
            (r"-c a=\\b\ c", Some(r"a=\b c")),
            ("-c", None),
            ("-c a", None),
            ("-c =b", None),
            ("-B 5", None),
            ("a=b", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn setting_values_are_escaped() {
        let settings = [("a", "it's"), ("b", r"\'")];
        let sql = set_config_sql(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let call = |name, value| format!("pg_catalog.set_config(E'{name}', E'{value}', false)");
        assert_eq!(sql, format!("SELECT {}, {}", call("a", "it''s"), call("b", r"\\''")));
    }
}

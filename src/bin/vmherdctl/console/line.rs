//! Splits a line into words, as a shell does: by white space, with quotes and backslashes.

/// The words of `line`. The error says what is wrong with it.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    // A word may be empty, if it is quoted.
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some(end) if end == character => break,
                        Some('\\') if character == '"' => text.extend(characters.next()),
                        Some(other) => text.push(other),
                        None => return Err(format!("the quote {character} has no end")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            character if character.is_whitespace() => words.extend(word.take()),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    Ok(words)
}

/// `word` such that it is split as one.
pub fn quote(word: &str) -> String {
    let is_special = |character: char| character.is_whitespace() || "'\"\\".contains(character);
    if !word.is_empty() && !word.contains(is_special) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in word.chars() {
        if "\"\\".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_in_a_shell() {
        for (line, words) in [
            ("vms", &["vms"][..]),
            ("  update  --ram 2G ", &["update", "--ram", "2G"]),
            (r#"raw '{"command": "ping"}'"#, &["raw", r#"{"command": "ping"}"#]),
            (r#"a "b \" c" d\ e '' f'g'h"#, &["a", "b \" c", "d e", "", "fgh"]),
            ("", &[]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert_eq!(split("raw '{").unwrap_err(), "the quote ' has no end");
    }

    #[test]
    fn quoted_words_are_split_as_one() {
        for word in ["web-1", "", "a b", "a\"b", "a'b", "a\\b", "名前"] {
            assert_eq!(split(&quote(word)).unwrap(), [word]);
        }
    }
}

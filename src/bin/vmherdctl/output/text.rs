//! The width of text on a terminal: wide characters take two columns, combining ones none.

use unicode_width::UnicodeWidthChar;

/// The columns that `text` takes. It has no control characters.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// `text` in lines of at most `columns`, which is at least 2. Breaks at spaces where it can, and never between a
/// character and those that combine with it.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let word_width = width(word.trim_end_matches(' '));
        if used > 0 && used + word_width > columns {
            start_line(&mut lines, &mut used);
        }
        for character in word.chars() {
            let char_width = char_width(character);
            if used + char_width > columns {
                if character == ' ' {
                    continue;
                }
                start_line(&mut lines, &mut used);
            }
            if let Some(line) = lines.last_mut() {
                line.push(character);
            }
            used += char_width;
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end_matches(' ').len());
    }
    lines
}

/// The beginning of `text`, of at most `columns`.
pub fn fit_text(text: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = |character: &char| {
        used += char_width(*character);
        used <= columns
    };
    text.chars().take_while(fits).collect()
}

fn start_line(lines: &mut Vec<String>, used: &mut usize) {
    lines.push(String::new());
    *used = 0;
}

fn char_width(character: char) -> usize {
    character.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_combining_characters_are_measured() {
        for (text, expected) in [("web-1", 5), ("名前", 4), ("e\u{301}", 1), ("", 0), ("🦀", 2), ("नमस्ते", 4)]
        {
            assert_eq!(width(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_break_at_spaces_or_anywhere() {
        assert_eq!(wrap("1=100G 2=200G", 8), ["1=100G", "2=200G"]);
        assert_eq!(wrap("1=100G 2=200G", 13), ["1=100G 2=200G"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("名前名", 3), ["名", "前", "名"]);
        assert_eq!(wrap("abe\u{301}f", 3), ["abe\u{301}", "f"]);
        assert_eq!(wrap("", 3), [""]);
        for line in wrap("a long text of many words, and averyveryverylongone at that", 7) {
            assert!(width(&line) <= 7, "{line}");
        }
    }
}

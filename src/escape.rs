//! Escaping of untrusted text: text from a client, a file or a command line can't hide in a line, change how
//! the rest of it is displayed, or control a terminal.
//!
//! The log, the host's tools and all error messages use this, and names of VMs are checked by the same rule.

use std::fmt::{self, Write};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Whether `character` is invisible or changes how others are displayed: control and format characters, Unicode's
/// line and paragraph separators, and ignorable characters.
pub fn is_invisible(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    let category = character.general_category();
    matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    ) || is_ignorable(character)
}

/// Writes `character`, escaped if it is invisible: as `\n`, `\r`, `\t`, or by its number: `\u200b`, `\U000e0041`.
pub fn write_escaped(character: char, output: &mut impl Write) -> fmt::Result {
    match character {
        '\n' => output.write_str("\\n"),
        '\r' => output.write_str("\\r"),
        '\t' => output.write_str("\\t"),
        _ if !is_invisible(character) => output.write_char(character),
        '\u{0}'..='\u{ffff}' => write!(output, "\\u{:04x}", character as u32),
        _ => write!(output, "\\U{:08x}", character as u32),
    }
}

/// Displays its content with invisible characters escaped.
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(EscapingWriter(f), "{}", self.0)
    }
}

/// A writer that escapes its input.
struct EscapingWriter<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for EscapingWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| write_escaped(character, self.0))
    }
}

/// Characters of other categories without a glyph: Unicode's `Default_Ignorable_Code_Point` outside the format
/// characters, code points reserved for it, and the blank braille pattern.
fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2065}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{16fe4}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_and_reordering_characters_are_escaped() {
        let cases = [
            ("a\u{200b}b", "a\\u200bb"),
            ("\u{202e}\u{2066}\u{200e}", "\\u202e\\u2066\\u200e"),
            ("\u{e0041}\u{fe0f}\u{3164}", "\\U000e0041\\ufe0f\\u3164"),
            ("\u{feff}\u{ad}\u{2060}\u{61c}", "\\ufeff\\u00ad\\u2060\\u061c"),
            ("\n\r\t\0\u{1b}[0m\u{7f}\u{9b}", "\\n\\r\\t\\u0000\\u001b[0m\\u007f\\u009b"),
            ("\u{2028}\u{2029}", "\\u2028\\u2029"),
        ];
        for (text, expected) in cases {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }

    #[test]
    fn ordinary_text_is_unchanged() {
        let text = "web-1 é e\u{301} Größe 名前 שלום नमस्ते 🦀 \"\\\u{a0}";
        assert_eq!(Escaped(text).to_string(), text);
    }
}

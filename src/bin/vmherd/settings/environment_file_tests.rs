//! The syntax of settings files, as systemd.exec(5) describes it for EnvironmentFile=.

use super::*;

fn parse(text: &str) -> SettingsFile {
    let (file, error) = SettingsFile::parse(Path::new("/f"), text.as_bytes());
    assert_eq!(error, None, "{text:?}");
    file
}

fn error(text: &[u8]) -> (usize, &'static str) {
    let SyntaxError { line, why } = SettingsFile::parse(Path::new("/f"), text).1.expect("no settings file");
    (line, why)
}

#[test]
fn values_are_parsed_like_systemd() {
    let cases = [
        ("A=b", "b"),
        ("A=b\n", "b"),
        ("A=b\r\n", "b"),
        ("  A = b  \n", "b"),
        ("\tA\t=\tb\t\n", "b"),
        ("A=one two  three", "one two  three"),
        ("A=a=b=c", "a=b=c"),
        ("A=b#c ;d", "b#c ;d"),
        ("A=# no comment", "# no comment"),
        // Unquoted: a backslash keeps what follows, quotes inside are themselves.
        (r"A=a\ ", "a "),
        (r"A=a\\b", r"a\b"),
        (r"A=\'a", "'a"),
        (r#"A=\"a b\""#, r#""a b""#),
        (r"A=a\nb", "anb"),
        (r#"A=it's "so""#, r#"it's "so""#),
        (r"A=a\", "a"),
        ("A=a\\\nb", "ab"),
        ("A=a \\\n b \n", "a  b"),
        ("A=a\\\r\nb", "ab"),
        ("A=\\\nb", "b"),
        ("A=a\\\n\nB=c", "a"),
        // Single quotes: everything verbatim, across lines too.
        ("A='a b '", "a b "),
        (r"A='a\nb\'", r"a\nb\"),
        ("A='a\nb'", "a\nb"),
        ("A='a\\\nb'", "a\\\nb"),
        (r#"A='"'"#, "\""),
        ("A='# x'", "# x"),
        // Double quotes: the escapes of a shell, and no others.
        (r#"A="a b ""#, "a b "),
        (r#"A="\"\\\`\$""#, "\"\\`$"),
        (r#"A="a\nb\'\ ""#, r"a\nb\'\ "),
        ("A=\"a\nb\"", "a\nb"),
        ("A=\"a\\\nb\"", "ab"),
        ("A=\"a\\\r\nb\"", "ab"),
        ("A=\"it's\"", "it's"),
        ("A=\"$HOME\"", "$HOME"),
        // Parts side by side; blanks between them go.
        ("A='a'\"b\"", "ab"),
        ("A='a' \"b\" ", "ab"),
        ("A='a' b c ", "ab c"),
        ("A=\"a\"'b'c'd'", "abc'd'"),
        ("A=é𝄞", "é𝄞"),
    ];
    for (text, expected) in cases {
        let file = parse(text);
        let value = file.entry("A").unwrap_or_else(|| panic!("{text:?}: {file:?}"));
        assert_eq!((value.text.expose(), value.line), (expected, 1), "{text:?}");
    }
}

#[test]
fn comments_and_empty_lines_are_skipped() {
    let file = parse("# A=1\n; A=2\n  # A=3\n\n \t\r\n#\n;");
    assert_eq!((file.names().count(), file.warnings.len()), (0, 0), "{file:?}");
    // A comment is one line, whatever it ends with.
    assert_eq!(parse("# c \\\nA=1").entry("A").map(|value| value.line), Some(2));
}

#[test]
fn empty_value_is_unset() {
    for text in ["A=", "A= ", "A=''", "A=\"\"", "A=' '", "A"] {
        assert_eq!(parse(text).entry("A"), None, "{text:?}");
    }
}

#[test]
fn entry_line_is_the_line_of_its_name() {
    let file = parse("\n# c\nA='x\ny\n'\nB=x\\\ny\r\nC=1\n\n  D = 4");
    let lines: Vec<(&str, usize)> = file.names().collect();
    assert_eq!(lines, [("A", 3), ("B", 6), ("C", 8), ("D", 10)]);
}

#[test]
fn lines_without_value_and_duplicates_are_recorded() {
    let file = parse("A=1\nthis is no assignment\nA=2\n");
    assert_eq!(file.lines_without_value, [2]);
    assert_eq!(file.warnings, ["/f:3: \"A\" replaces what line 1 says"]);
    assert_eq!(file.entry("A").map(|value| value.text.expose()), Some("2"), "the last one counts");
}

#[test]
fn syntax_errors_name_their_line() {
    let quote = "opens a quote that nothing closes";
    assert_eq!(error(b"A=1\nB='x\ny\n"), (2, quote));
    assert_eq!(error(b"\nA=\"x\\"), (2, quote));
    assert_eq!(error(b"A=\"x\\\""), (1, quote));
    assert_eq!(error(b"A=1\nB=\xff"), (2, "is not valid UTF-8"));
    assert_eq!(error(b"A=1\n\nB=a\0").0, 3);
    assert_eq!(error("\u{feff}A=1".as_bytes()).0, 1);
    assert_eq!(error("A='\n\u{feff}".as_bytes()).0, 2);
    assert_eq!(error(b"A=\0\nB=\xff"), (1, "holds a NUL or a byte order mark, which no setting may"));
}

#[test]
fn prefix_before_an_error_is_parsed() {
    for rest in [&b"B='x"[..], b"B=\xff\nC=1", b"B=\0\nC=1", b"\n\nB=x\0"] {
        let (file, mistake) = SettingsFile::parse(Path::new("/f"), &[b"A=1\n", rest].concat());
        let names: Vec<(&str, usize)> = file.names().collect();
        assert_eq!((names, mistake.is_some()), (vec![("A", 1)], true), "{rest:?}");
    }
}

#[test]
fn every_truncation_parses_or_fails_without_leaking_values() {
    let text = "A='a\\'\"b\\\"c\\\nd\" e\\ f \\\n g\r\n# c\n;\nB = \"$x\"y'z'\nC\n";
    for (end, _) in text.char_indices() {
        let (file, _) = SettingsFile::parse(Path::new("/f"), &text.as_bytes()[..end]);
        assert!(!format!("{file:?}").contains("$x"), "{file:?}");
    }
}

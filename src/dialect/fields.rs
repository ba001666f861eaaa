//! Reads JSON one level at a time and reports errors in it.
//!
//! A value is a slice of the request that is known to be valid JSON. Nothing here recurses, so nesting costs no stack;
//! only strings with escapes are copied. Error messages quote the request only up to a limit, and never a secret.

use std::borrow::Cow;
use std::fmt;

use super::json::{after_text, for_each_field};
use crate::limits;
use crate::model::{BadField, Secret};
use crate::sys;

/// The known fields of an object, and its unknown or duplicate keys.
pub(super) struct JsonFields<'a> {
    path: JsonPath,
    names: FieldNames,
    /// The first value of each known field, in the order of the names; empty for one that is absent.
    values: [&'a str; NAMES_MAX],
    /// Which are present.
    given: FieldSet,
    /// Unknown and duplicate keys; rarely present.
    key_errors: Option<Box<KeyErrors<'a>>>,
}

/// Names of the known fields of an object; the compiler checks that there are at most [`NAMES_MAX`].
#[derive(Clone, Copy)]
pub(super) struct FieldNames(&'static [&'static str]);

/// Some of the known fields: a bit for each, the lowest for the first.
#[derive(Clone, Copy)]
pub(super) struct FieldSet(u8);

/// The fields that an object may have, in the order in which error messages name them.
#[derive(Clone, Copy)]
pub(super) struct AllowedFields {
    names: &'static [&'static str],
    set: FieldSet,
}

#[derive(Default)]
struct KeyErrors<'a> {
    repeated: Vec<&'static str>,
    /// The first few unknown keys, verbatim, without quotes.
    unknown: Vec<&'a str>,
    unknown_count: usize,
}

/// The path of an object in a request, for error messages.
#[derive(Clone, Copy)]
pub(super) enum JsonPath {
    /// The request or its data: their fields have no prefix.
    Root,
    /// An entry of a list: the list's name and the index.
    Entry(&'static str, usize),
}

/// Why a valid JSON string is rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StringError {
    /// It contains U+0000.
    Nul,
    /// It contains half of a surrogate pair.
    LoneSurrogate,
}

/// Displays a value in an error message: numbers and strings verbatim up to a limit, objects and lists by type.
pub(super) struct Excerpt<'a>(pub(super) &'a str);

/// Displays only the type of a value, for values that may be secret.
pub(super) struct Redacted<'a>(pub(super) &'a str);

impl FieldNames {
    /// These names.
    pub(super) const fn new<const COUNT: usize>(names: &'static [&'static str; COUNT]) -> FieldNames {
        const { assert!(COUNT <= NAMES_MAX, "an object has more names than NAMES_MAX") };
        FieldNames(names)
    }

    /// Whether `name` is one of them.
    pub(super) const fn contains(self, name: &str) -> bool {
        let mut index = 0;
        while index < self.0.len() {
            if is_equal(self.0[index].as_bytes(), name.as_bytes()) {
                return true;
            }
            index += 1;
        }
        false
    }

    /// The set of `names`, which are known: in a constant, the compiler checks this.
    pub(super) const fn set(self, names: &[&str]) -> FieldSet {
        let (mut set, mut index) = (0, 0);
        while index < names.len() {
            let mut position = 0;
            while !is_equal(self.0[position].as_bytes(), names[index].as_bytes()) {
                position += 1;
            }
            set |= 1 << position;
            index += 1;
        }
        FieldSet(set)
    }

    /// The known fields that an object may have.
    pub(super) const fn allow(self, names: &'static [&'static str]) -> AllowedFields {
        AllowedFields { names, set: self.set(names) }
    }

    /// The position of the name that equals `key`.
    fn position(self, key: &str) -> Option<usize> {
        // Names of one length rarely begin alike, and a comparison of texts is a call.
        let key = key.as_bytes();
        self.0
            .iter()
            .map(|name| name.as_bytes())
            .position(|name| name.len() == key.len() && name.first() == key.first() && name == key)
    }

    /// The same for a key in quotes, which may have escapes. A key that does not decode is unknown.
    fn position_of_key(self, quoted: &str) -> Option<usize> {
        let verbatim = self.position(&quoted[1..quoted.len() - 1]);
        verbatim.or_else(|| self.position(&string(quoted).ok()?.filter(|key| matches!(key, Cow::Owned(_)))?))
    }
}

const fn is_equal(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([first, rest @ ..], [others, others_rest @ ..]) = (one, other) {
        if *first != *others {
            return false;
        }
        (one, other) = (rest, others_rest);
    }
    one.is_empty() && other.is_empty()
}

impl<'a> JsonFields<'a> {
    /// An object without fields; `names` are the known ones.
    pub(super) fn empty(path: JsonPath, names: FieldNames) -> JsonFields<'a> {
        JsonFields { path, names, values: [""; NAMES_MAX], given: FieldSet(0), key_errors: None }
    }

    /// Adds the fields of the object `text`.
    pub(super) fn fill(&mut self, text: &'a str) {
        for_each_field(text, |key, value| self.add(key, value));
    }

    /// The first value of the field `name`.
    pub(super) fn value(&self, name: &'static str) -> Option<&'a str> {
        let position = self.names.position(name);
        debug_assert!(position.is_some(), "`name` is a known field");
        position.map(|position| self.values[position]).filter(|value| !value.is_empty())
    }

    /// The value of a field that `check_missing` has found.
    pub(super) fn value_or_null(&self, name: &'static str) -> &'a str {
        self.value(name).unwrap_or("null")
    }

    /// Whether the field `name` occurs more than once.
    pub(super) fn is_repeated(&self, name: &'static str) -> bool {
        self.key_errors.as_ref().is_some_and(|faults| faults.repeated.contains(&name))
    }

    /// The value of the field `name`; an error if it occurs more than once.
    pub(super) fn unique_value(&self, name: &'static str) -> Result<Option<&'a str>, BadField> {
        match self.is_repeated(name) {
            true => Err(self.path.repeated(name)),
            false => Ok(self.value(name)),
        }
    }

    /// An error if any field occurs more than once.
    pub(super) fn check_repeated(&self) -> Result<(), BadField> {
        let Some(faults) = &self.key_errors else { return Ok(()) };
        match self.names.0.iter().find(|name| faults.repeated.contains(name)) {
            Some(name) => Err(self.path.repeated(name)),
            None => Ok(()),
        }
    }

    /// An error if there are fields other than the allowed ones.
    pub(super) fn check_unknown(&self, allowed: AllowedFields) -> Result<(), BadField> {
        let misplaced = FieldSet(self.given.0 & !allowed.set.0);
        if self.key_errors.is_none() && misplaced.0 == 0 {
            return Ok(());
        }
        let (unknown, unknown_count) = match &self.key_errors {
            Some(faults) => (&faults.unknown[..], faults.unknown_count),
            None => (&[][..], 0),
        };
        let misplaced: Vec<&'static str> = self.given(misplaced).collect();
        if unknown_count == 0 && misplaced.is_empty() {
            return Ok(());
        }
        let count = unknown_count + misplaced.len();
        let mut named: Vec<&str> = unknown.iter().copied().chain(misplaced).collect();
        named.truncate(limits::UNKNOWN_FIELDS_NAMED_MAX);
        let quoted: Vec<String> = named.iter().map(|key| format!("\"{}\"", Truncated(key))).collect();
        let rest = match count - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let plural = if count == 1 { "" } else { "s" };
        let allowed = allowed.names.join(", ");
        Err(BadField(format!(
            "{}unknown field{plural} {}{rest}; allowed: {allowed}",
            self.path,
            quoted.join(", ")
        )))
    }

    /// An error if any of `names` is missing.
    pub(super) fn check_missing(&self, names: &[&'static str]) -> Result<(), BadField> {
        if names.iter().all(|name| self.value(name).is_some()) {
            return Ok(());
        }
        let missing: Vec<&str> = names.iter().filter(|name| self.value(name).is_none()).copied().collect();
        let plural = if missing.len() == 1 { "" } else { "s" };
        Err(BadField(format!("{}missing field{plural}: {}", self.path, missing.join(", "))))
    }

    /// Adds a field: its key with the quotes, and its value.
    pub(super) fn add(&mut self, key: &'a str, value: &'a str) {
        match self.names.position_of_key(key) {
            Some(position) if self.values[position].is_empty() => {
                self.values[position] = value;
                self.given.0 |= 1 << position;
            }
            Some(position) => {
                let (faults, name) = (self.key_errors.get_or_insert_default(), self.names.0[position]);
                if !faults.repeated.contains(&name) {
                    faults.repeated.push(name);
                }
            }
            None => {
                let faults = self.key_errors.get_or_insert_default();
                if faults.unknown.len() < limits::UNKNOWN_FIELDS_NAMED_MAX {
                    faults.unknown.push(&key[1..key.len() - 1]);
                }
                faults.unknown_count += 1;
            }
        }
    }

    /// The fields that are present, of those in `among`.
    pub(super) fn given(&self, among: FieldSet) -> impl Iterator<Item = &'static str> {
        let set = self.given.0 & among.0;
        let names = self.names.0.iter().enumerate();
        names.filter(move |(position, _)| set >> position & 1 == 1).map(|(_, name)| *name)
    }
}

impl JsonPath {
    /// The error for an invalid value of `name`: the value and the allowed ones.
    pub(super) fn invalid(self, name: &str, was: impl fmt::Display, allowed: impl fmt::Display) -> BadField {
        BadField(format!("{}: {was} is not allowed; it must be {allowed}", self.path(name)))
    }

    fn repeated(self, name: &str) -> BadField {
        BadField(format!("{}: the same field may not stand twice", self.path(name)))
    }

    fn path(self, name: &str) -> String {
        match self {
            JsonPath::Root => name.to_string(),
            JsonPath::Entry(list, index) => format!("{list}[{index}].{name}"),
        }
    }
}

/// The prefix of error messages about an object's keys.
impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonPath::Root => Ok(()),
            JsonPath::Entry(list, index) => write!(f, "{list}[{index}]: "),
        }
    }
}

/// Whether `value` is an object.
pub(super) fn is_object(value: &str) -> bool {
    value.starts_with('{')
}

/// Parses an integer from 1 to `max`: digits only, no point, no exponent.
pub(super) fn integer<N: TryFrom<u64> + From<u8> + PartialOrd>(value: &str, max: N) -> Option<N> {
    let number = N::try_from(value.parse::<u64>().ok()?).ok()?;
    (N::from(1)..=max).contains(&number).then_some(number)
}

/// Decodes a string; `None` if `value` is not a string.
pub(super) fn string(value: &str) -> Result<Option<Cow<'_, str>>, StringError> {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Ok(None);
    };
    // Of what ends a text, only a backslash is inside a string.
    if after_text(inner.as_bytes(), 0) == inner.len() {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    unescape(inner).map(|text| Some(Cow::Owned(text)))
}

/// Decodes a string; `bad` makes the error from a description of the value.
pub(super) fn read_string<E>(value: &str, bad: impl Fn(&dyn fmt::Display) -> E) -> Result<Cow<'_, str>, E> {
    string(value).map_err(|fault| bad(&fault))?.ok_or_else(|| bad(&Excerpt(value)))
}

/// As [`string`], but wipes the intermediate copy.
pub(super) fn secret(value: &str) -> Result<Option<Secret>, StringError> {
    let Some(text) = string(value)? else { return Ok(None) };
    let secret = Secret::new(&text);
    if let Cow::Owned(copy) = text {
        sys::wipe(&mut copy.into_bytes());
    }
    Ok(Some(secret))
}

/// As [`read_string`], for a secret: `bad` never gets the value.
pub(super) fn read_secret<E>(value: &str, bad: impl Fn(&dyn fmt::Display) -> E) -> Result<Secret, E> {
    secret(value).map_err(|fault| bad(&fault))?.ok_or_else(|| bad(&Redacted(value)))
}

/// Reads a token; `null` and the empty string count as absent.
pub(super) fn read_token(value: &str) -> Result<Option<Secret>, BadField> {
    if matches!(value, "null" | "\"\"") {
        return Ok(None);
    }
    read_secret(value, |was| JsonPath::Root.invalid("token", was, "a string or null")).map(Some)
}

/// Replaces the escapes of a JSON string (RFC 8259, section 7). Written by hand because the text may be a password:
/// there is one copy, which never reallocates, so that it can be wiped.
fn unescape(inner: &str) -> Result<String, StringError> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        let unescaped = match character {
            '\\' => match rest.next() {
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => unescape_unicode(&mut rest)?,
                // Quote, slash or backslash: valid JSON has no other escapes.
                Some(itself) => itself,
                None => break,
            },
            character => character,
        };
        text.push(unescaped);
    }
    Ok(text)
}

/// Decodes a `\u` escape or a surrogate pair; the first `\u` has been consumed.
fn unescape_unicode(rest: &mut std::str::Chars<'_>) -> Result<char, StringError> {
    let first = hexadecimal(rest);
    if first == 0 {
        return Err(StringError::Nul);
    }
    let has_second = (0xd800..0xdc00).contains(&first) && rest.as_str().starts_with("\\u");
    let second = has_second.then(|| {
        rest.nth(1);
        hexadecimal(rest)
    });
    let mut characters = char::decode_utf16([first].into_iter().chain(second));
    characters.next().and_then(Result::ok).ok_or(StringError::LoneSurrogate)
}

/// Decodes four hexadecimal digits; valid JSON guarantees them.
fn hexadecimal(rest: &mut std::str::Chars<'_>) -> u16 {
    rest.take(4).fold(0, |number, digit| number << 4 | digit.to_digit(16).unwrap_or(0) as u16)
}

impl fmt::Display for StringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StringError::Nul => "a string with \\u0000",
            StringError::LoneSurrogate => "a string with half of a surrogate pair",
        })
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_bytes().first() {
            Some(b'{') => f.write_str("an object"),
            Some(b'[') => f.write_str("a list"),
            _ => Truncated(self.0).fmt(f),
        }
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_bytes().first() {
            Some(b'"') => f.write_str("a string"),
            Some(b'-' | b'0'..=b'9') => f.write_str("a number"),
            _ => Excerpt(self.0).fmt(f),
        }
    }
}

/// A text truncated to the limit for error messages.
struct Truncated<'a>(&'a str);

impl fmt::Display for Truncated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(limits::ECHOED_CHARS_MAX) {
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

/// The largest number of known fields of any object.
const NAMES_MAX: usize = 7;

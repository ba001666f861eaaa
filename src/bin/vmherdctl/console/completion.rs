//! Completion: commands, their options, the values of these, and names of VMs.

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::WORDS;
use super::line::{quote, split};
use crate::parser;

/// The completion of a console, with the names that it knows.
#[derive(Default)]
pub struct Completion {
    names: Vec<String>,
}

impl Completion {
    pub fn set_names(&mut self, names: &[String]) {
        if self.names != names {
            self.names = names.to_vec();
        }
    }

    /// The words that may be at the end of `line`, where `begun` is the beginning of one.
    fn candidates(&self, line: &str, begun: &str) -> Vec<String> {
        let Ok(words) = split(line) else { return Vec::new() };
        let mut parser = &parser::console();
        let mut words = words.iter().map(String::as_str).peekable();
        if words.peek() == Some(&"help") {
            words.next();
        }
        let is_first = words.peek().is_none();
        let mut previous = None;
        for word in words {
            match parser.find_subcommand(word) {
                Some(command) => parser = command,
                None => previous = Some(word),
            }
        }
        let mut found: Vec<String> = Vec::new();
        let option = previous.and_then(|word| {
            let name = word.strip_prefix("--")?;
            let option = parser.get_arguments().find(|argument| argument.get_long() == Some(name))?;
            option.get_action().takes_values().then_some(option)
        });
        if let Some(option) = option {
            found.extend(option.get_possible_values().iter().map(|value| value.get_name().to_owned()));
        } else if parser.has_subcommands() {
            found.extend(parser.get_subcommands().map(|command| command.get_name().to_owned()));
            let own = WORDS.iter().filter(|_| is_first && line.is_empty());
            found.extend(own.map(|(word, _)| (*word).to_owned()));
        } else if begun.starts_with('-') {
            let longs = parser.get_arguments().filter_map(clap::Arg::get_long);
            found.extend(longs.map(|long| format!("--{long}")));
        } else {
            found.extend(self.names.iter().map(|name| quote(name)));
        }
        found.retain(|word| word.starts_with(begun));
        found.sort_unstable();
        found
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, end: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let line = &line[..end];
        let start = line
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + line[space..].chars().next().map_or(0, char::len_utf8));
        let mut candidates = self.candidates(line[..start].trim_end(), &line[start..]);
        if let [only] = &mut candidates[..] {
            only.push(' ');
        }
        Ok((start, candidates))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}
impl Validator for Completion {}
impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> Vec<String> {
        let completion = Completion { names: vec!["web-1".into(), "web-2".into(), "db\"1".into()] };
        let start = line.rfind(' ').map_or(0, |space| space + 1);
        completion.candidates(line[..start].trim_end(), &line[start..])
    }

    #[test]
    fn commands_options_and_names_are_completed() {
        for (line, expected) in [
            ("pi", &["ping"][..]),
            ("ex", &["exit"]),
            ("help pi", &["ping"]),
            ("metrics p", &["plot", "put"]),
            ("vms --auth", &["--authenticated"]),
            ("vms --format j", &["json"]),
            ("authenticate web", &["web-1", "web-2"]),
            ("authenticate \"", &["\"db\\\"1\""]),
            ("nonsense-", &[]),
        ] {
            assert_eq!(complete(line), expected, "{line}");
        }
        assert!(complete("").len() > 15);
    }
}

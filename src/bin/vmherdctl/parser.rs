//! The parser of the command line, made from the table of commands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, value_parser};

use crate::arguments::{duration, option};
use crate::command_table::{COMMANDS, Command, FAMILIES, GROUPS};
use crate::failure::{CLASSES, Failure};
use crate::output::{FORMATS, wrap};

/// A command with its arguments. Without a command: the console.
pub struct Parsed {
    pub command: Option<&'static Command>,
    pub matches: ArgMatches,
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum NotParsed {
    /// Help or the version was asked for.
    Text(String),
    Failure(Failure),
}

/// Parses the arguments of the program, without its name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, NotParsed> {
    let matches = program().try_get_matches_from(arguments)?;
    Ok(select(matches))
}

/// Parses the words of a line of the console.
pub fn parse_line(words: &[&str]) -> Result<(&'static Command, ArgMatches), NotParsed> {
    let Parsed { command, matches } = select(console().try_get_matches_from(words)?);
    let command = command.ok_or_else(|| NotParsed::Failure(Failure::usage("say which command")))?;
    Ok((command, matches))
}

/// The command that the first words of a line name.
pub fn find(words: &[&str]) -> Option<&'static Command> {
    let begins = |path: &str| path.split(' ').zip(words).all(|(one, other)| one == *other);
    COMMANDS.iter().find(|command| begins(command.path) || command.aliases.iter().any(|alias| begins(alias)))
}

fn select(matches: ArgMatches) -> Parsed {
    let Some((first, matches)) = matches.subcommand() else { return Parsed { command: None, matches } };
    let (path, matches) = match matches.subcommand() {
        Some((second, matches)) => (format!("{first} {second}"), matches),
        None => (first.to_owned(), matches),
    };
    let command = COMMANDS.iter().find(|command| command.path == path);
    Parsed { command, matches: matches.clone() }
}

/// The parser of the program.
pub fn program() -> clap::Command {
    let program = with_commands(clap::Command::new("vmherdctl"), &[])
        .no_binary_name(true)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Talks to a vmherd server. Without a command: a console.")
        .override_usage("vmherdctl [OPTIONS] [COMMAND]")
        .help_template("{about}\n\n{usage-heading} {usage}{after-help}\nOptions:\n{options}\n")
        .after_help(overview().trim_start().to_owned())
        .bin_name("vmherdctl")
        .disable_help_subcommand(true);
    program.args(
        [&connection_options()[..], &output_options()].concat().into_iter().map(|option| option.global(true)),
    )
}

/// The parser of the console's lines.
pub fn console() -> clap::Command {
    let parser = clap::Command::new("vmherdctl").multicall(true).disable_help_subcommand(true);
    with_commands(parser, &output_options())
}

/// The commands, for the console's help. It has `words` of its own.
pub fn console_overview(words: &[(&str, &str)]) -> String {
    let own = words.iter().map(|(word, about)| format!("  {word:NAME_COLUMNS$}  {about}\n"));
    format!("{}\nConsole:\n{}", commands_overview(), own.collect::<String>())
}

/// Adds every command to `parser`, each with the arguments `shared`.
fn with_commands(parser: clap::Command, shared: &[Arg]) -> clap::Command {
    let in_group = |group: Option<&str>| {
        let commands = COMMANDS.iter().filter(move |command| command.words().0 == group);
        commands.map(|command| subcommand(command).args(shared)).collect::<Vec<_>>()
    };
    let group = |(name, about): &(&'static str, &'static str)| {
        clap::Command::new(*name)
            .about(*about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
            .subcommands(in_group(Some(name)))
    };
    parser.subcommands(in_group(None)).subcommands(GROUPS.iter().map(group))
}

fn subcommand(command: &'static Command) -> clap::Command {
    let columns: Vec<&str> = command.schema.columns.iter().map(|column| column.name).collect();
    let columns = format!("Columns: {}", columns.join(", "));
    let paragraphs = [command.details, &columns].into_iter().filter(|text| !text.is_empty());
    let paragraphs: Vec<String> = paragraphs.map(|text| wrap(text, HELP_COLUMNS).join("\n")).collect();
    clap::Command::new(command.words().1)
        .visible_aliases(command.aliases)
        .about(command.about)
        .after_help(paragraphs.join("\n\n"))
        .args((command.arguments)())
}

/// The options that say where the server is and who asks.
fn connection_options() -> [Arg; 6] {
    let path = || value_parser!(PathBuf);
    [
        option("server", "ADDRESS", "HOST:PORT or unix:PATH [VMHERD_SERVER]"),
        option("state-dir", "DIR", "That daemon's own socket [VMHERD_STATE_DIR]").value_parser(path()),
        option("timeout", "TIME", "The time for a reply [default: 10s]").value_parser(duration()),
        option("vm", "NAME", "Log in as this VM [VMHERD_PASSWORD]"),
        option("password-file", "FILE", "Its first line is the password; -: stdin").value_parser(path()),
        option("token-file", "FILE", "Log in with this token [VMHERD_TOKEN]")
            .value_parser(path())
            .conflicts_with("vm"),
    ]
}

/// The options that say how to print.
fn output_options() -> [Arg; 2] {
    [
        option("format", "FORMAT", "table, compact, csv or json [default: table]")
            .value_parser(FORMATS.map(|(name, _)| name))
            .hide_possible_values(true),
        option("columns", "COLUMNS", "Print these columns: a,b").short('c').value_delimiter(','),
    ]
}

/// The commands and exit codes, for the program's help.
fn overview() -> String {
    let mut text = commands_overview();
    text.push_str(&format!("\nAgent:\n  {:NAME_COLUMNS$}  {AGENT_ABOUT}\n", "agent"));
    text.push_str("\nExit codes: 0: done\n");
    for (_, code, name, meaning) in CLASSES {
        text.push_str(&format!("  {code} {name:13}  {meaning}\n"));
    }
    text
}

fn commands_overview() -> String {
    let mut text = String::new();
    let names = |command: &Command| [&[command.path], command.aliases].concat().join(", ");
    for (family, heading) in FAMILIES {
        text.push_str(&format!("\n{heading}:\n"));
        for command in COMMANDS.iter().filter(|command| command.family == family) {
            let names = names(command);
            let gap =
                if names.len() > NAME_COLUMNS { format!("\n  {:NAME_COLUMNS$}", "") } else { String::new() };
            text.push_str(&format!("  {names:NAME_COLUMNS$}{gap}  {}\n", command.about));
        }
    }
    text
}

impl From<clap::Error> for NotParsed {
    fn from(error: clap::Error) -> NotParsed {
        use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
        let text = error.render().to_string();
        match error.kind() {
            DisplayHelp | DisplayVersion => NotParsed::Text(format!("{}\n", text.trim_end())),
            DisplayHelpOnMissingArgumentOrSubcommand => {
                NotParsed::Failure(Failure::usage("say which command").or_hint("vmherdctl --help lists them"))
            }
            _ => NotParsed::Failure(usage_failure(&text)),
        }
    }
}

/// The parser's message as a sentence and a hint.
fn usage_failure(text: &str) -> Failure {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut paragraphs = paragraphs.filter(|paragraph| !paragraph.is_empty());
    let failure = Failure::usage(paragraphs.next().unwrap_or_default());
    let rest: Vec<String> = paragraphs.filter(|paragraph| !paragraph.starts_with("For more")).collect();
    if rest.is_empty() { failure } else { failure.or_hint(rest.join("; ").trim_start_matches("tip: ")) }
}

/// What the agent does, which has a parser of its own.
pub const AGENT_ABOUT: &str = "Keep this VM logged in, and put its metrics";
/// The width of the help.
const HELP_COLUMNS: usize = 80;
/// The width of the names in the list of commands.
const NAME_COLUMNS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_makes_a_valid_parser() {
        program().debug_assert();
        console().debug_assert();
        for command in COMMANDS {
            let (group, _) = command.words();
            let is_known = group.is_none_or(|group| GROUPS.iter().any(|(name, _)| *name == group));
            assert!(
                is_known && FAMILIES.iter().any(|(family, _)| *family == command.family),
                "{}",
                command.path
            );
        }
    }

    /// Programs depend on the keys and the columns: the page has them.
    #[test]
    fn the_page_has_every_command_with_its_columns() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/vmherdctl.md");
        let page = std::fs::read_to_string(page).unwrap();
        for command in COMMANDS {
            let name = format!("`{}`", command.path);
            let is_its_row = |row: &&str| row.split('|').nth(1).is_some_and(|cell| cell.contains(&name));
            let row = page.lines().find(is_its_row).unwrap_or_else(|| panic!("no row of {}", command.path));
            let columns: Vec<String> =
                command.schema.columns.iter().map(|column| format!("`{}`", column.name)).collect();
            let is_same =
                ["as `vms`", "as `update`"].iter().any(|same| row.ends_with(&format!("| {same} |")));
            assert!(is_same || row.ends_with(&format!("| {} |", columns.join(", "))), "{row}");
            let rows = if command.schema.shape == crate::output::Shape::Rows { ", rows" } else { "" };
            assert!(row.contains(&format!("| `{}`{rows} |", command.schema.name)), "{row}");
        }
        for (_, code, name, meaning) in CLASSES {
            assert!(page.contains(&format!("| {code} | `{name}` | {meaning}")), "{name}");
        }
    }

    #[test]
    fn an_error_is_a_sentence_with_a_hint() {
        let failure = |words: &[&str]| match parse(words.iter().map(OsString::from)) {
            Err(NotParsed::Failure(failure)) => failure,
            _ => panic!("{words:?} is no error"),
        };
        let unknown = failure(&["pingg"]);
        assert_eq!(unknown.message, "unrecognized subcommand 'pingg'");
        assert!(unknown.hint.unwrap_or_default().starts_with("a similar subcommand exists: 'ping'"));
        let invalid = failure(&["update", "--ram", "2GB"]).message;
        assert!(invalid.starts_with("invalid value '2GB' for '--ram <SIZE>': the units are"), "{invalid}");
        assert_eq!(failure(&["metrics"]).message, "say which command");
    }
}

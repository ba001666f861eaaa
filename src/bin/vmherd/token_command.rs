//! `vmherd token …`: manages access tokens directly in the store, even while a daemon uses it. These operations are not
//! available over the network.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use vmherd::{AccessToken, AccessTokenId, Escaped, NameError, VmName, redact};

use crate::date::rfc3339;
use crate::limits;
use crate::open_registry::open_registry;
use crate::settings::{self, Arguments, Flag, Takes, ToolSettings};
use crate::tool::{Tool, ToolError};

/// Runs `vmherd token`; `args` are the arguments after those two words.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(args, TokenCommand::parse, TokenCommand::execute)
}

/// A command of `vmherd token`.
#[derive(Clone, PartialEq, Eq, Debug)]
enum TokenCommand {
    Add { reader: Option<VmName>, is_enabled: bool },
    List,
    SetEnabled(AccessTokenId, bool),
    Remove(AccessTokenId),
}

impl TokenCommand {
    fn parse(arguments: &Arguments) -> Result<TokenCommand, ToolError> {
        let words: Vec<&str> = arguments.positionals.iter().map(String::as_str).collect();
        let (is_disabled, reader) = (arguments.has("disabled"), arguments.values("reader").next());
        let command = match words[..] {
            ["add"] => {
                let reader = reader.map(parse_reader).transpose()?;
                return Ok(TokenCommand::Add { reader, is_enabled: !is_disabled });
            }
            ["list"] => TokenCommand::List,
            ["enable", id] => TokenCommand::SetEnabled(parse_id(id)?, true),
            ["disable", id] => TokenCommand::SetEnabled(parse_id(id)?, false),
            ["remove", id] => TokenCommand::Remove(parse_id(id)?),
            [] => return Err(TOOL.usage_error("say what to do: add, list, enable, disable or remove")),
            ["enable" | "disable" | "remove"] => {
                return Err(TOOL.usage_error("say which token: its id is missing"));
            }
            ["add" | "list", extra, ..] | ["enable" | "disable" | "remove", _, extra, ..] => {
                return Err(TOOL.unexpected(extra));
            }
            [other, ..] => {
                return Err(TOOL.usage_error(&format!("there is no command {:?}", redact(other))));
            }
        };
        match (is_disabled, reader) {
            (true, _) => Err(TOOL.usage_error("--disabled is for add only")),
            (false, Some(_)) => Err(TOOL.usage_error("--reader is for add only")),
            (false, None) => Ok(command),
        }
    }

    fn execute(self, settings: ToolSettings) -> Result<(), ToolError> {
        let mut registry = open_registry(&TOOL, &settings, matches!(self, TokenCommand::Add { .. }))?;
        let mut output = BufWriter::new(io::stdout().lock());
        match self {
            TokenCommand::List => output.write_all(table(&registry.access_tokens()?).as_bytes())?,
            TokenCommand::Add { reader, is_enabled } => {
                let (AccessTokenId(id), token) = match &reader {
                    Some(name) => registry.add_reader_token(name, is_enabled)?,
                    None => registry.add_access_token(is_enabled)?,
                };
                let of = reader.map(|name| format!(" of the reader {}", Escaped(&name))).unwrap_or_default();
                let state = if is_enabled { "" } else { ", disabled" };
                writeln!(
                    output,
                    "added access token {id}{of}{state}; it is not shown again:\n{}",
                    token.expose()
                )?;
            }
            TokenCommand::SetEnabled(id, is_enabled) => {
                registry.enable_access_token(id, is_enabled)?;
                writeln!(output, "{} access token {}", state(is_enabled), id.0)?;
            }
            TokenCommand::Remove(id) => {
                registry.remove_access_token(id)?;
                writeln!(output, "removed access token {}", id.0)?;
            }
        }
        Ok(output.flush()?)
    }
}

/// A line for each token, after the heading.
fn table(tokens: &[AccessToken]) -> String {
    let heading = ["ID", "CREATED", "STATE", "READER"].map(String::from);
    let rows = tokens.iter().map(|token| {
        let reader = token.reader_name.as_ref().map(|name| Escaped(name).to_string()).unwrap_or_default();
        [token.id.0.to_string(), rfc3339(token.created_at.0), state(token.is_enabled).to_owned(), reader]
    });
    let rows: Vec<[String; 4]> = [heading].into_iter().chain(rows).collect();
    let width = rows.iter().map(|[id, ..]| id.len()).max().unwrap_or_default();
    let line = |[id, created, state, reader]: &[String; 4]| {
        let line = format!("{id:>width$}  {created:20}  {state:8}  {reader}");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

fn state(is_enabled: bool) -> &'static str {
    if is_enabled { "enabled" } else { "disabled" }
}

fn parse_id(text: &str) -> Result<AccessTokenId, ToolError> {
    let id = settings::parse_number(text).and_then(|number| i64::try_from(number).ok());
    id.map(AccessTokenId).ok_or_else(|| {
        TOOL.usage_error(&format!("{:?} is not the id of an access token, which is a number", redact(text)))
    })
}

fn parse_reader(text: &str) -> Result<VmName, ToolError> {
    VmName::parse_new(text).map_err(|error| {
        let beginning: String = redact(text).chars().take(limits::ECHOED_CHARS_MAX).collect();
        TOOL.usage_error(&format!(
            "--reader: {beginning:?} is not a valid name: it is {error}; allowed are {}",
            NameError::ALLOWED
        ))
    })
}

pub static TOOL: Tool = Tool {
    program: "vmherd token",
    flags: &[
        Flag { name: "reader", takes: Takes::Value, is_repeatable: false },
        Flag { name: "disabled", takes: Takes::Nothing, is_repeatable: false },
    ],
    settings: &["store", "store-file", "state-dir"],
    warns: true,
    help: HELP,
};

const HELP: &str = "\
Adds, lists and removes access tokens directly in the store, even while a daemon
uses it. Clients send theirs with each verb where --sealed-tokens demands one.
With the token of a reader a client may read everything and change nothing.

  vmherd token add                 prints a new token, once, and its id
  vmherd token add --reader grafana
  vmherd token list                ids, times, which are enabled, readers
  vmherd token disable 7           not valid from the next request on
  vmherd token enable 7
  vmherd token remove 7

The store has only the SHA-256 of each token.

  --reader NAME                a token of this reader, for add
  --disabled                   not valid yet, for add
  --help                       this text
";

#[cfg(test)]
mod tests {
    use vmherd::custom_store::UnixSeconds;

    use super::*;

    fn read(args: &[&str]) -> Result<Option<TokenCommand>, ToolError> {
        let parsed = TOOL.parse(args.iter().map(OsString::from), TokenCommand::parse)?;
        Ok(parsed.map(|(command, _)| command))
    }

    #[test]
    fn commands_are_parsed() {
        let id = AccessTokenId(7);
        let reader = VmName::parse_new("grafana").ok();
        for (args, command) in [
            (&["add"][..], TokenCommand::Add { reader: None, is_enabled: true }),
            (&["--disabled", "add"], TokenCommand::Add { reader: None, is_enabled: false }),
            (&["add", "--reader", "grafana"], TokenCommand::Add { reader, is_enabled: true }),
            (&["list", "--store", "memory:"], TokenCommand::List),
            (&["enable", "7"], TokenCommand::SetEnabled(id, true)),
            (&["disable", "7"], TokenCommand::SetEnabled(id, false)),
            (&["remove", "7"], TokenCommand::Remove(id)),
        ] {
            assert_eq!(read(args).unwrap(), Some(command), "{args:?}");
        }
        for help in [&["--help"][..], &["add", "--help"]] {
            assert_eq!(read(help).unwrap(), None, "{help:?}");
        }
    }

    #[test]
    fn usage_errors_say_what_is_wrong() {
        for (args, expected) in [
            (&[][..], "say what to do: add, list, enable, disable or remove"),
            (&["ad"], "there is no command \"ad\""),
            (&["remove"], "say which token: its id is missing"),
            (&["list", "x"], "unexpected argument \"x\""),
            (&["add", "x"], "unexpected argument \"x\""),
            (&["enable", "7", "8"], "unexpected argument \"8\""),
            (&["enable", "-7"], "there is no flag \"-7\""),
            (&["enable", "7x"], "\"7x\" is not the id of an access token, which is a number"),
            (&["remove", "9223372036854775808"], "\"9223372036854775808\" is not the id of an access token"),
            (&["enable", "--disabled", "7"], "--disabled is for add only"),
            (&["list", "--reader", "x"], "--reader is for add only"),
            (&["add", "--reader", "a b"], "--reader: \"a b\" is not a valid name: it is a text with U+0020"),
            (&["add", "--reader"], "--reader needs a value"),
            (&["list", "--vms-max", "7"], "there is no flag \"--vms-max\""),
        ] {
            match read(args) {
                Err(failure) if failure.exit_code == 2 => {
                    assert!(failure.to_string().starts_with(expected), "{failure}");
                }
                other => panic!("{args:?} gave {other:?}"),
            }
        }
    }

    #[test]
    fn a_list_is_aligned() {
        let token = |id, created_at, is_enabled, reader: Option<&str>| AccessToken {
            id: AccessTokenId(id),
            created_at: UnixSeconds(created_at),
            is_enabled,
            reader_name: reader.map(|name| VmName::parse(name).expect("a name")),
        };
        let tokens = [
            token(9, 951_782_400, true, None),
            token(100, 1_735_689_599, false, Some("grafana")),
            token(101, 1_735_689_599, true, Some("a\u{202e}b")),
        ];
        let lines = [
            " ID  CREATED               STATE     READER\n",
            "  9  2000-02-29T00:00:00Z  enabled\n",
            "100  2024-12-31T23:59:59Z  disabled  grafana\n",
            "101  2024-12-31T23:59:59Z  enabled   a\\u202eb\n",
        ];
        assert_eq!(table(&tokens), lines.concat());
        assert_eq!(table(&[]), "ID  CREATED               STATE     READER\n");
    }

    #[test]
    fn the_help_text_has_every_command_and_flag() {
        let text = TOOL.help();
        assert!(text.lines().count() <= 48 && text.lines().all(|line| line.len() <= 80), "{text}");
        for command in ["add", "list", "enable", "disable", "remove"] {
            assert!(
                text.contains(&format!("\n  vmherd token {command} "))
                    || text.contains(&format!("\n  vmherd token {command} 7\n")),
                "{command}"
            );
        }
        for flag in TOOL.all_flags() {
            assert!(text.contains(&format!("\n  --{} ", flag.name)), "--{} is missing", flag.name);
        }
    }
}

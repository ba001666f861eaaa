//! `vmherd vm create|stop|console|log`: the VMs that this host's daemon runs.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use vmherd::client::Client;
use vmherd::{ContainerId, Escaped, redact};

use crate::console;
use crate::limits;
use crate::own_socket;
use crate::settings::{Arguments, Flag, Takes};
use crate::tool::{Tool, ToolError};

/// The words that select a command here.
pub const COMMANDS: [&str; 4] = ["create", "stop", "console", "log"];

/// Runs one of [`COMMANDS`]; `args` are the arguments after `vmherd vm`.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(args, Command::parse, |command, settings| command.execute(&settings.config.state_dir))
}

/// A command.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Command {
    Create { as_json: bool },
    Stop(String),
    Console(ContainerId),
    Log(ContainerId),
}

impl Command {
    fn parse(arguments: &Arguments) -> Result<Command, ToolError> {
        let words: Vec<&str> = arguments.positionals.iter().map(String::as_str).collect();
        let as_json = arguments.has("json");
        let command = match words[..] {
            ["create"] => return Ok(Command::Create { as_json }),
            ["stop", name] => Command::Stop(name.to_owned()),
            ["console", name] => Command::Console(parse_id(name)?),
            ["log", name] => Command::Log(parse_id(name)?),
            ["create", extra, ..] | [_, _, extra, ..] => return Err(TOOL.unexpected(extra)),
            _ => return Err(TOOL.usage_error("say which VM: its name is missing")),
        };
        if as_json { Err(TOOL.usage_error("--json is for create only")) } else { Ok(command) }
    }

    fn execute(self, state_dir: &Path) -> Result<(), ToolError> {
        match self {
            Command::Create { as_json } => {
                let create = |client: &mut Client| client.verb("CREATE", Value::Null);
                let data = own_socket::ask(state_dir, limits::VM_WAIT, create)?;
                let text = if as_json { format!("{data}\n") } else { table(&data) };
                Ok(io::stdout().write_all(text.as_bytes())?)
            }
            Command::Stop(name) => {
                own_socket::ask(state_dir, limits::VM_WAIT, |client| client.stop(&name))?;
                Ok(writeln!(io::stdout(), "stopped {}", Escaped(&name))?)
            }
            Command::Console(id) => {
                let path = state_dir.join("vms").join(id.to_string()).join("console");
                console::run(&path).map_err(|error| no_file(id, "runs no VM", &path, &error))
            }
            Command::Log(id) => print_log(id, &state_dir.join("vm-logs")),
        }
    }
}

/// The fields of a new VM, a line each.
fn table(data: &Value) -> String {
    let line = |name: &&str| {
        let value = &data[*name];
        format!("{name:22}  {}\n", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    FIELDS.iter().map(line).collect()
}

/// What the answer to CREATE has.
const FIELDS: [&str; 6] = [
    "container_uuid",
    "container_username",
    "container_password",
    "container_listen_port",
    "container_iso_sha256",
    "client_token",
];

/// Prints the serial log of a VM, which stays when the VM ends. A terminal gets no control characters.
fn print_log(id: ContainerId, directory: &Path) -> Result<(), ToolError> {
    let newer = directory.join(format!("{id}.log"));
    let text = fs::read(&newer).map_err(|error| no_file(id, "has no log of a VM", &newer, &error))?;
    let text = [fs::read(newer.with_extension("log.1")).unwrap_or_default(), text].concat();
    let mut output = io::stdout().lock();
    if !output.is_terminal() {
        return Ok(output.write_all(&text)?);
    }
    for line in String::from_utf8_lossy(&text).lines() {
        writeln!(output, "{}", Escaped(line.trim_end_matches('\r')))?;
    }
    Ok(())
}

/// The error for a file of the VM `id` that can't be used.
fn no_file(id: ContainerId, what: &str, path: &Path, error: &io::Error) -> ToolError {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ToolError::new(
            1,
            format!("the daemon of this state directory {what} {id} (there is no {path}); see --state-dir"),
        ),
        io::ErrorKind::PermissionDenied => {
            ToolError::new(77, format!("{path} is for root and the daemon's own user only"))
        }
        _ => ToolError::new(1, format!("{path}: {error}")),
    }
}

fn parse_id(text: &str) -> Result<ContainerId, ToolError> {
    ContainerId::parse(text).ok_or_else(|| {
        TOOL.usage_error(&format!(
            "{:?} is not the name of a VM that a daemon runs, which is a UUID",
            redact(text)
        ))
    })
}

pub static TOOL: Tool = Tool {
    program: "vmherd vm",
    flags: &[Flag { name: "json", takes: Takes::Nothing, is_repeatable: false }],
    settings: &["state-dir"],
    warns: false,
    help: HELP,
};

const HELP: &str = "\
Starts and ends the VMs that this host's daemon runs (--vm-image), and shows
their serial console. Only root and the daemon's user may.

  vmherd vm create                 start one; prints how to log in to it
  vmherd vm stop NAME              end it
  vmherd vm console NAME           its serial console; Ctrl-] leaves it
  vmherd vm log NAME               what was on its console, also after its end

NAME is the VM's name in the lists: its container_uuid.
Exit code 69: no daemon answers; 77: not permitted; 1: other failures.

  --json                       one JSON object, for create
  --help                       this text
";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "01234567-89ab-4cde-bfed-0123456789ab";

    fn parse(words: &[&str]) -> Result<Command, String> {
        let parsed = TOOL.parse(words.iter().map(OsString::from), Command::parse);
        parsed.map(|parsed| parsed.expect("no help").0).map_err(|error| error.to_string())
    }

    #[test]
    fn commands_are_parsed() {
        let id = ContainerId::parse(ID).unwrap();
        assert_eq!(parse(&["create", "--json"]), Ok(Command::Create { as_json: true }));
        assert_eq!(parse(&["stop", "web-1"]), Ok(Command::Stop("web-1".into())));
        assert_eq!(parse(&["console", ID]), Ok(Command::Console(id)));
        assert_eq!(parse(&["log", ID]), Ok(Command::Log(id)));
        for (words, wanted) in [
            (&["create", "x"][..], "unexpected argument \"x\""),
            (&["log", ID, "x"], "unexpected argument \"x\""),
            (&["stop"], "say which VM: its name is missing"),
            (&["log", "--json", ID], "--json is for create only"),
            (
                &["log", "../../etc"],
                "\"../../etc\" is not the name of a VM that a daemon runs, which is a UUID",
            ),
        ] {
            let error = parse(words).unwrap_err();
            assert_eq!(error, format!("{wanted}; see vmherd vm --help"));
        }
    }

    #[test]
    fn fields_are_lines() {
        let text = table(&json!({"container_uuid": "a", "container_listen_port": 22200}));
        assert!(text.starts_with("container_uuid          a\n"), "{text}");
        assert!(text.contains("\ncontainer_listen_port   22200\n"), "{text}");
    }

    #[test]
    fn the_help_text_has_every_command_and_flag() {
        let text = TOOL.help();
        for command in COMMANDS {
            assert!(text.contains(&format!("\n  vmherd vm {command} ")), "{command}: {text}");
        }
        for flag in TOOL.all_flags() {
            assert!(text.contains(&format!("\n  --{} ", flag.name)), "{}: {text}", flag.name);
        }
    }
}

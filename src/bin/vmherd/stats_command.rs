//! `vmherd stats`: prints the counters of this host's daemon, requested over its own socket.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use vmherd::client::Client;

use crate::limits;
use crate::own_socket;
use crate::settings::{Arguments, Flag, Takes};
use crate::tool::{Tool, ToolError};

/// Runs `vmherd stats`; `args` are the arguments after those two words.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(args, parse, |format, settings| {
        let counters = own_socket::ask(&settings.config.state_dir, limits::STATS_WAIT, Client::stats)?;
        Ok(io::stdout().write_all(format(&Counters(counters)).as_bytes())?)
    })
}

/// The output format.
fn parse(arguments: &Arguments) -> Result<fn(&Counters) -> String, ToolError> {
    match arguments.positionals.first() {
        Some(stray) => Err(TOOL.unexpected(stray)),
        None if arguments.has("json") => Ok(Counters::to_json),
        None => Ok(Counters::to_table),
    }
}

/// The counters in the daemon's order.
struct Counters(Vec<(String, u64)>);

impl Counters {
    fn to_table(&self) -> String {
        let name_width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let value_width = self.0.iter().map(|(_, value)| value.to_string().len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in &self.0 {
            // Writing to a String never fails.
            let _ = writeln!(text, "{name:name_width$}  {value:>value_width$}");
        }
        text
    }

    fn to_json(&self) -> String {
        let members: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{}:{value}", serde_json::Value::from(&**name)))
            .collect();
        format!("{{{}}}\n", members.join(","))
    }
}

pub static TOOL: Tool = Tool {
    program: "vmherd stats",
    flags: &[Flag { name: "json", takes: Takes::Nothing, is_repeatable: false }],
    settings: &["state-dir"],
    warns: false,
    help: HELP,
};

const HELP: &str = "\
Prints the counters of this host's daemon since its start. Only root and the
daemon's user may ask.

  vmherd stats
  vmherd stats --json | python3 -m json.tool
  vmherd stats --state-dir /var/lib/vmherd         the system's daemon

Exit code 69: no daemon answers; 77: not permitted; 1: other failures.

  --json                       one JSON object instead of a table
  --help                       this text
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_keep_their_order_in_a_table_and_as_json() {
        let counters = Counters(vec![("b".into(), 1), ("a".into(), 200)]);
        assert_eq!(counters.to_table(), "b    1\na  200\n");
        assert_eq!(counters.to_json(), "{\"b\":1,\"a\":200}\n");
    }

    #[test]
    fn the_help_text_has_every_flag() {
        let text = TOOL.help();
        for flag in TOOL.all_flags() {
            assert!(text.contains(&format!("\n  --{} ", flag.name)), "{}: {text}", flag.name);
        }
    }
}

//! `vmherd stats`: prints the counters of this host's daemon, requested over its own socket.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::process::ExitCode;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits;
use crate::own_socket::OwnSocket;
use crate::settings::{Arguments, Flag, Takes};
use crate::tool::{Tool, ToolError};

/// Runs `vmherd stats`; `args` are the arguments after those two words.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(args, parse, |format, settings| {
        let socket = OwnSocket::new(&settings.config.state_dir);
        let reply = socket.ask(REQUEST, limits::STATS_WAIT)?;
        let counters = parse_reply(&reply).map_err(|why| socket.invalid(&why))?;
        Ok(io::stdout().write_all(format(&counters).as_bytes())?)
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
#[derive(Debug)]
struct Counters(Vec<(String, u64)>);

/// The counters in the daemon's reply, or what is wrong with it.
fn parse_reply(line: &str) -> Result<Counters, String> {
    let invalid = |error: serde_json::Error| format!("it is not a reply: {error}");
    let reply: HashMap<String, &RawValue> = serde_json::from_str(line).map_err(invalid)?;
    let member = |name: &str| reply.get(name).map_or("null", |value| value.get());
    let message: Option<String> = serde_json::from_str(member("message")).map_err(invalid)?;
    let counters: Option<Counters> = serde_json::from_str(member("data")).map_err(invalid)?;
    match (message, counters) {
        (None, Some(counters)) => Ok(counters),
        (message, _) => Err(message.unwrap_or_else(|| "it has no counters".into())),
    }
}

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

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counters, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Counters;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counters, A::Error> {
                let mut counters = Vec::new();
                while let Some(counter) = map.next_entry()? {
                    counters.push(counter);
                }
                Ok(Counters(counters))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

const REQUEST: &[u8] = b"{\"command\": \"stats\", \"data\": {}}\n";

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

    const REPLY: &str = "{\"status\":\"success\",\"message\":null,\"data\":{\"b\":1,\"a\":200}}\n";

    #[test]
    fn counters_keep_their_order_in_a_table_and_as_json() {
        let counters = parse_reply(REPLY).unwrap();
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

    #[test]
    fn invalid_replies_are_errors() {
        for bad in ["", "[]", "{\"data\":{\"a\":-1}}", "{\"data\":{\"a\":\"x\"}}", "{\"data\":7}"] {
            let why = parse_reply(bad).unwrap_err();
            assert!(why.starts_with("it is not a reply: "), "{bad}: {why}");
        }
        let refusal = "{\"status\":\"error\",\"message\":\"Unknown command\",\"data\":{}}";
        assert_eq!(parse_reply(refusal).unwrap_err(), "Unknown command");
    }
}

//! `vmherd stats`: prints the counters of this host's daemon, requested over its own socket.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use vmherd::{SOCKET_NAME, redact};

use crate::diagnostic::print_diagnostic;
use crate::limits;
use crate::settings::{
    self, Arguments, ConfigError, Environment, Flag, ParsedSources, StateDirSetting, Takes,
};
use crate::settings_file::read_settings_file;

/// Runs `vmherd stats`; `args` are the arguments after those two words.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let shown = render(args, &Environment::collect(environment));
    match shown.and_then(|text| io::stdout().write_all(text.as_bytes()).map_err(StatsError::Output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StatsError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            print_diagnostic("vmherd stats", format_args!("{failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The reason there are no counters.
#[derive(Debug)]
enum StatsError {
    Config(ConfigError),
    /// No daemon listens on the socket.
    NoDaemon(PathBuf),
    /// The socket belongs to another user.
    NotAllowed(PathBuf),
    /// The daemon did not answer, or its answer is invalid.
    Answer(PathBuf, String),
    Output(io::Error),
}

/// The counters in the daemon's order.
struct Counters(Vec<(String, u64)>);

/// The relevant fields of the daemon's reply.
struct StatsReply {
    message: Option<String>,
    counters: Option<Counters>,
}

fn render(args: impl IntoIterator<Item = OsString>, environment: &Environment) -> Result<String, StatsError> {
    let flags: Vec<Flag> = StateDirSetting::flags().chain(FLAGS).collect();
    let arguments = Arguments::read(args, &flags)?;
    if arguments.has("help") {
        return Ok(help());
    }
    if let Some(stray) = arguments.positionals.first() {
        let text = format!("unexpected argument {:?}; see vmherd stats --help", redact(stray));
        return Err(ConfigError::Usage(text).into());
    }
    let sources = ParsedSources::read(&arguments, environment, read_settings_file)?;
    let StateDirSetting(state_dir) = StateDirSetting::read(&sources)?;
    let socket = state_dir.join(SOCKET_NAME);
    let line = request_statistics(&socket)?;
    let wrong = |why: String| StatsError::Answer(socket.clone(), why);
    let reply: StatsReply =
        serde_json::from_str(&line).map_err(|error| wrong(format!("it is no reply: {error}")))?;
    match reply {
        StatsReply { message: None, counters: Some(counters) } if arguments.has("json") => {
            Ok(counters.to_json())
        }
        StatsReply { message: None, counters: Some(counters) } => Ok(counters.to_table()),
        StatsReply { message, .. } => Err(wrong(message.unwrap_or_else(|| "it has no counters".into()))),
    }
}

/// Sends the request and returns the reply line.
fn request_statistics(socket: &PathBuf) -> Result<String, StatsError> {
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => StatsError::NoDaemon(socket.clone()),
        io::ErrorKind::PermissionDenied => StatsError::NotAllowed(socket.clone()),
        _ => StatsError::Answer(socket.clone(), error.to_string()),
    })?;
    let wait = Some(limits::STATS_WAIT);
    let mut line = String::new();
    let asked = stream
        .set_read_timeout(wait)
        .and_then(|()| stream.set_write_timeout(wait))
        .and_then(|()| stream.write_all(REQUEST))
        .and_then(|()| BufReader::new(stream.take(limits::STATS_BYTES_MAX)).read_line(&mut line));
    match asked {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let seconds = limits::STATS_WAIT.as_secs();
            Err(StatsError::Answer(socket.clone(), format!("nothing came for {seconds} s")))
        }
        Err(error) => Err(StatsError::Answer(socket.clone(), error.to_string())),
        Ok(_) if !line.ends_with('\n') => Err(StatsError::Answer(socket.clone(), "it broke off".into())),
        Ok(_) => Ok(line),
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

impl<'de> Deserialize<'de> for StatsReply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StatsReply, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = StatsReply;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StatsReply, A::Error> {
                let mut reply = StatsReply { message: None, counters: None };
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "message" => reply.message = map.next_value()?,
                        "data" => reply.counters = Some(map.next_value()?),
                        _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
                    }
                }
                Ok(reply)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl StatsError {
    /// 69 and 77 are `EX_UNAVAILABLE` and `EX_NOPERM` of sysexits.h.
    fn exit_code(&self) -> u8 {
        match self {
            StatsError::Config(error) => error.exit_code(),
            StatsError::NoDaemon(_) => 69,
            StatsError::NotAllowed(_) => 77,
            StatsError::Answer(..) | StatsError::Output(_) => 1,
        }
    }
}

impl fmt::Display for StatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatsError::Config(error) => error.fmt(f),
            StatsError::NoDaemon(socket) => write!(
                f,
                "no daemon answers on {}; start one, or give the state directory of a running one with \
                 --state-dir (the system service uses /var/lib/vmherd)",
                socket.display()
            ),
            StatsError::NotAllowed(socket) => {
                write!(f, "{} is for root and the daemon's own user only", socket.display())
            }
            StatsError::Answer(socket, why) => {
                write!(f, "invalid answer on {}: {why}", socket.display())
            }
            StatsError::Output(error) => error.fmt(f),
        }
    }
}

impl From<ConfigError> for StatsError {
    fn from(error: ConfigError) -> StatsError {
        StatsError::Config(error)
    }
}

fn help() -> String {
    let mut text = String::from(HELP);
    settings::push_state_dir_help(&mut text);
    text
}

const REQUEST: &[u8] = b"{\"command\": \"stats\", \"data\": {}}\n";

const FLAGS: [Flag; 2] = [
    Flag { name: "json", takes: Takes::Nothing, is_repeatable: false },
    Flag { name: "help", takes: Takes::Nothing, is_repeatable: true },
];

const HELP: &str = "\
Prints the counters of this host's daemon since its start. Only root and the
daemon's user may ask.

  vmherd stats
  vmherd stats --json | python3 -m json.tool
  vmherd stats --state-dir /var/lib/vmherd         the system's daemon

Exit code 69: no daemon answers; 77: not permitted; 1: other failures.

  --json                       one JSON object instead of a table
  --help                       this text

These settings of the daemon apply here too, also as VMHERD_STATE_DIR etc.:

";

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "{\"status\":\"success\",\"message\":null,\"data\":{\"b\":1,\"a\":200}}\n";

    #[test]
    fn counters_keep_their_order_in_a_table_and_as_json() {
        let reply: StatsReply = serde_json::from_str(REPLY).unwrap();
        let counters = reply.counters.unwrap();
        assert_eq!(counters.to_table(), "b    1\na  200\n");
        assert_eq!(counters.to_json(), "{\"b\":1,\"a\":200}\n");
    }

    #[test]
    fn the_help_text_has_every_flag() {
        let text = help();
        for flag in StateDirSetting::flags().chain(FLAGS) {
            assert!(text.contains(&format!("\n  --{} ", flag.name)), "{}: {text}", flag.name);
        }
    }

    #[test]
    fn invalid_replies_are_errors() {
        for bad in ["", "[]", "{\"data\":{\"a\":-1}}", "{\"data\":{\"a\":\"x\"}}", "{\"data\":7}"] {
            assert!(serde_json::from_str::<StatsReply>(bad).is_err(), "{bad}");
        }
        let refusal = "{\"status\":\"error\",\"message\":\"Unknown command\",\"data\":{}}";
        assert_eq!(
            serde_json::from_str::<StatsReply>(refusal).unwrap().message.as_deref(),
            Some("Unknown command")
        );
    }
}

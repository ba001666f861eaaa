//! What the host's tools have in common: the way from a command line to the settings that apply, and the errors.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use vmherd::redact;

use crate::diagnostic::print_diagnostic;
use crate::settings::{
    Arguments, ConfigError, Environment, Flag, ParsedSources, Setting, Takes, ToolSettings,
    describe_settings, tool_settings,
};
use crate::settings_file::read_settings_file;
use crate::sys::signals::Signal;

/// One of the host's tools.
pub struct Tool {
    /// The words that run it, such as `vmherd vm`.
    pub program: &'static str,
    /// Its flags that are not settings of the daemon, without `--help`.
    pub flags: &'static [Flag],
    /// The settings of the daemon that apply to it.
    pub settings: &'static [&'static str],
    /// Whether it warns of unknown settings.
    pub warns: bool,
    /// Its help text, without the settings of the daemon.
    pub help: &'static str,
}

/// The reason a tool failed.
#[derive(Debug)]
pub struct ToolError {
    why: String,
    /// The exit code. Zero: the reader of the output has ended, such as `head`, which is no failure.
    pub exit_code: u8,
}

impl Tool {
    /// Runs the tool; `args` are the arguments after [`Tool::program`]. Calls `parse` with the command line, then
    /// `execute` with its result and the settings. `--help` prints the help text instead.
    pub fn run<C>(
        &self,
        args: impl IntoIterator<Item = OsString>,
        parse: impl FnOnce(&Arguments) -> Result<C, ToolError>,
        execute: impl FnOnce(C, ToolSettings) -> Result<(), ToolError>,
    ) -> ExitCode {
        let result = self.parse(args, parse).and_then(|parsed| match parsed {
            None => Ok(io::stdout().write_all(self.help().as_bytes())?),
            Some((command, arguments)) => execute(command, self.read_settings(&arguments)?),
        });
        match result {
            Ok(()) | Err(ToolError { exit_code: 0, .. }) => ExitCode::SUCCESS,
            Err(error) => {
                print_diagnostic(self.program, format_args!("{error}"));
                ExitCode::from(error.exit_code)
            }
        }
    }

    /// Parses a command line; `None`: it asks for help.
    pub fn parse<C>(
        &self,
        args: impl IntoIterator<Item = OsString>,
        parse: impl FnOnce(&Arguments) -> Result<C, ToolError>,
    ) -> Result<Option<(C, Arguments)>, ToolError> {
        let (arguments, error) = Arguments::read(args, &self.all_flags());
        if let Some(error) = error {
            return Err(error.into());
        }
        if arguments.has("help") {
            return Ok(None);
        }
        Ok(Some((parse(&arguments)?, arguments)))
    }

    /// Every flag that the tool accepts.
    pub fn all_flags(&self) -> Vec<Flag> {
        let help = Flag { name: "help", takes: Takes::Nothing, is_repeatable: true };
        let settings = tool_settings(self.settings).map(Setting::as_flag);
        settings.chain(self.flags.iter().copied()).chain([help]).collect()
    }

    /// The text of `--help`.
    pub fn help(&self) -> String {
        format!("{}{SETTINGS_HEADING}{}", self.help, describe_settings(tool_settings(self.settings)))
    }

    /// An error in the command line.
    pub fn usage_error(&self, text: &str) -> ToolError {
        ConfigError::Usage(format!("{text}; see {} --help", self.program)).into()
    }

    /// The error for one argument too many.
    pub fn unexpected(&self, argument: &str) -> ToolError {
        self.usage_error(&format!("unexpected argument {:?}", redact(argument)))
    }

    fn read_settings(&self, arguments: &Arguments) -> Result<ToolSettings, ConfigError> {
        let environment = Environment::collect(env::vars_os());
        let sources = ParsedSources::read(arguments, &environment, read_settings_file)?;
        if self.warns {
            for warning in sources.warnings().into_iter().chain(sources.file_errors()) {
                self.warn(format_args!("{warning}"));
            }
        }
        ToolSettings::read(self.settings, &sources)
    }

    /// Prints a warning.
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        print_diagnostic(self.program, format_args!("warning: {text}"));
    }
}

impl ToolError {
    /// A failure with the exit code `exit_code`.
    pub fn new(exit_code: u8, why: String) -> ToolError {
        ToolError { why, exit_code }
    }

    /// The end by `signal`, with the exit code of a shell for a process that a signal ended.
    pub fn of_signal(signal: Signal, what: &str) -> ToolError {
        ToolError::new(128 + signal.number() as u8, format!("{signal}: {what}"))
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<ConfigError> for ToolError {
    fn from(error: ConfigError) -> ToolError {
        ToolError::new(error.exit_code(), error.to_string())
    }
}

impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> ToolError {
        ToolError::new(u8::from(error.kind() != io::ErrorKind::BrokenPipe), error.to_string())
    }
}

const SETTINGS_HEADING: &str = "
These settings of the daemon apply here too, also as VMHERD_STATE_DIR etc.:

";

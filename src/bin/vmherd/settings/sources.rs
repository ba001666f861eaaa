//! The sources of settings, in order of precedence: command line, environment, settings file, default.
//!
//! Sources are kept for reloads: arguments and variables stay the same, files may have changed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use vmherd::redact;

use super::arguments::Arguments;
use super::config_error::ConfigError;
use super::environment::{Environment, unknown_setting};
use super::environment_file::SettingsFile;
use super::origin::Origin;
use super::partial::{LogFormat, PartialConfig};
use super::setting::Setting;
use super::table::{SETTINGS, find};
use super::values::is_blank;

/// Reads a whole file.
pub type ReadFile = fn(&Path) -> io::Result<Vec<u8>>;

/// A command line (without the program name), an environment, and a function that reads files.
#[derive(Clone)]
pub struct Sources {
    pub(super) args: Vec<OsString>,
    pub(super) variables: Vec<(OsString, OsString)>,
    pub(super) read_file: ReadFile,
}

/// Parsed sources, for look-ups of values.
pub struct ParsedSources<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) environment: &'a Environment,
    pub(super) file: Option<SettingsFile>,
    pub(super) read_file: ReadFile,
}

/// The values of one setting and their origin.
pub(super) struct SourcedValues {
    pub(super) origin: Origin,
    pub(super) texts: Vec<String>,
}

impl Sources {
    /// Sources that can be parsed repeatedly.
    pub fn new(
        args: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        read_file: ReadFile,
    ) -> Sources {
        Sources { args: args.into_iter().collect(), variables: variables.into_iter().collect(), read_file }
    }

    /// The requested log format, found even if the sources have errors, so that those errors use it.
    pub fn log_format(&self) -> LogFormat {
        let from_file = || {
            let path = PathBuf::from(self.raw_value("config")?);
            let (file, _) = SettingsFile::parse_prefix(&path, &(self.read_file)(&path).ok()?);
            file.entry("VMHERD_LOG_FORMAT").map(|value| value.text.clone())
        };
        match self.raw_value("log-format").or_else(from_file).as_deref() {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        }
    }

    /// The value of `flag` on the command line or in the environment, without validation.
    fn raw_value(&self, flag: &str) -> Option<String> {
        let long = format!("--{flag}");
        let joined = format!("{long}=");
        let mut args = self.args.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = args.next() {
            if arg == long.as_str() {
                match args.next() {
                    Some(value) if !value.starts_with("--") => return Some(value.into()),
                    // The value is missing; `parse` will report that.
                    _ => break,
                }
            }
            if let Some(value) = arg.strip_prefix(&joined) {
                return Some(value.into());
            }
        }
        let name = find(flag)?.variable_name()?;
        let (_, value) = self.variables.iter().find(|(variable, _)| *variable == name.as_str())?;
        value.to_str().filter(|value| !is_blank(value)).map(String::from)
    }
}

impl<'a> ParsedSources<'a> {
    /// Reads the settings file, if one is named.
    pub fn read(
        arguments: &'a Arguments,
        environment: &'a Environment,
        read_file: ReadFile,
    ) -> Result<ParsedSources<'a>, ConfigError> {
        let mut parsed = ParsedSources { arguments, environment, file: None, read_file };
        let setting = find("config").expect("it is in the table");
        let SourcedValues { origin, texts } = parsed.values(setting)?;
        if let Some(text) = texts.first() {
            setting.set(&mut PartialConfig::default(), text, &origin)?;
            let path = Path::new(text);
            let failed =
                |error| ConfigError::Value(format!("{origin}: can't read {}: {error}", redact(text)));
            let file = SettingsFile::parse(path, &read_file(path).map_err(failed)?);
            parsed.file = Some(file.map_err(|error| {
                ConfigError::Value(format!("{}:{}: this {}", path.display(), error.line, error.why))
            })?);
        }
        Ok(parsed)
    }

    /// The values of `setting` from the first source that has any.
    pub(super) fn values(&self, setting: &'static Setting) -> Result<SourcedValues, ConfigError> {
        if self.arguments.has(setting.flag) {
            let mut texts: Vec<String> = self.arguments.values(setting.flag).map(String::from).collect();
            if texts.is_empty() {
                texts.push("yes".into());
            }
            return Ok(SourcedValues { origin: Origin::Flag(setting.flag), texts });
        }
        if let Some(name) = setting.variable_name() {
            if let Some(text) = self.environment.text(&name)? {
                let texts = setting.split_values(text);
                return Ok(SourcedValues { texts, origin: Origin::Variable(name) });
            }
            if let Some(file) = self.file.as_ref().filter(|_| setting.is_allowed_in_file())
                && let Some(entry) = file.entry(&name)
            {
                let texts = setting.split_values(&entry.text);
                return Ok(SourcedValues { texts, origin: Origin::File(file.location(entry.line), name) });
            }
        }
        let texts = setting.default_text().into_iter().collect();
        Ok(SourcedValues { texts, origin: Origin::Default(setting.flag) })
    }

    /// Warnings: unknown variables, and duplicates in the settings file.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.environment.unknown_settings();
        warnings.extend(self.file.iter().flat_map(|file| file.warnings.iter().cloned()));
        warnings
    }

    /// Lines of the settings file that have no effect, which their author does not expect; ordered by line.
    pub fn file_errors(&self) -> Vec<String> {
        let Some(file) = &self.file else { return Vec::new() };
        let without_value = file.lines_without_value.iter().map(|line| (*line, NO_VALUE.to_owned()));
        let names = file.names().filter_map(|(name, line)| {
            let known = SETTINGS.iter().find(|setting| setting.variable_name().as_deref() == Some(name));
            let what = match known {
                Some(setting) if setting.is_allowed_in_file() => return None,
                Some(_) => format!("{name:?} is valid in the environment only"),
                None => unknown_setting(name).unwrap_or_else(|| NO_NAME.into()),
            };
            Some((line, what))
        });
        let mut mistakes: Vec<(usize, String)> = without_value.chain(names).collect();
        mistakes.sort();
        mistakes.into_iter().map(|(line, what)| format!("{}: {what}", file.location(line))).collect()
    }
}

/// The message does not repeat the line: with a `:` for the `=` the value is part of it.
const NO_VALUE: &str = "there is no = on this line; a line is NAME=VALUE";
const NO_NAME: &str = "the text before the = is not a setting's name; a line is NAME=VALUE";

//! The sources of settings, in order of precedence: command line, environment, settings file, default.
//!
//! Sources are kept for reloads: arguments and variables stay the same, files may have changed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use vmherd::redact;

use super::arguments::{Arguments, Flag};
use super::config_error::ConfigError;
use super::environment::{Environment, unknown_setting};
use super::environment_file::{SettingsFile, SyntaxError};
use super::origin::Origin;
use super::partial::{LogFormat, PartialConfig};
use super::setting::Setting;
use super::table::{SETTINGS, find};

/// Reads a whole file.
pub type ReadFile = fn(&Path) -> io::Result<Vec<u8>>;

/// A command line (without the program name), an environment, and a function that reads files.
pub struct Sources {
    pub(super) arguments: Arguments,
    /// The first error in the command line.
    pub(super) usage_error: Option<ConfigError>,
    pub(super) environment: Environment,
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
        let flags: Vec<Flag> = SETTINGS.iter().map(Setting::as_flag).collect();
        let (arguments, usage_error) = Arguments::read(args, &flags);
        Sources { arguments, usage_error, environment: Environment::collect(variables), read_file }
    }

    /// The requested log format, found even if the sources have errors, so that those errors use it.
    pub fn log_format(&self) -> LogFormat {
        let Sources { arguments, environment, read_file, .. } = self;
        let mut sources = ParsedSources { arguments, environment, file: None, read_file: *read_file };
        if let Some(path) = sources.text("config").map(PathBuf::from)
            && let Ok(bytes) = read_file(&path)
        {
            sources.file = Some(SettingsFile::parse(&path, &bytes).0);
        }
        match sources.text("log-format").as_deref() {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        }
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
            let (file, error) = SettingsFile::parse(path, &read_file(path).map_err(failed)?);
            if let Some(SyntaxError { line, why }) = error {
                return Err(ConfigError::Value(format!("{}: this {why}", file.location(line))));
            }
            parsed.file = Some(file);
        }
        Ok(parsed)
    }

    /// The first value of the setting `flag`, without validation.
    fn text(&self, flag: &str) -> Option<String> {
        self.values(find(flag)?).ok()?.texts.into_iter().next()
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
                let texts = setting.split_values(entry.text.expose());
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

//! Where settings come from: the command line before the environment, the environment before the settings
//! file, the file before what the table has.
//!
//! Sources are kept to be read again: the arguments and variables stay as they were, files may have changed.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::arguments::{Arguments, Flag};
use super::environment::{Environment, unknown_setting};
use super::environment_file::SettingsFile;
use super::partial::PartialConfig;
use super::redact::redact;
use super::setting::Setting;
use super::settings::SETTINGS;
use super::values::is_blank;
use super::{ConfigError, LogFormat};

/// Reads a whole file, or says why it can't be.
pub type ReadFile = fn(&Path) -> io::Result<Vec<u8>>;

/// A command line (without the program's name), an environment, and the means to read files.
#[derive(Clone)]
pub struct Sources {
    pub(super) args: Vec<OsString>,
    pub(super) variables: Vec<(OsString, OsString)>,
    pub(super) read_file: ReadFile,
}

/// Sources that have been read, to look values up in.
pub(crate) struct ParsedSources<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) environment: &'a Environment,
    pub(super) file: Option<SettingsFile>,
    pub(super) read_file: ReadFile,
}

/// Who has the say on a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Flag(&'static str),
    Variable(String),
    /// `FILE:LINE`, and the name that stands there.
    File(String, String),
    Default(&'static str),
}

/// The texts given for one setting and who gave them.
pub(super) struct SourcedValues {
    pub(super) origin: Origin,
    pub(super) texts: Vec<String>,
}

impl Sources {
    /// Sources to be read, now and perhaps again.
    pub fn new(
        args: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        read_file: ReadFile,
    ) -> Sources {
        Sources { args: args.into_iter().collect(), variables: variables.into_iter().collect(), read_file }
    }

    /// The log format that is asked for, as far as that can be told where anything else may be wrong.
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

    /// What the command line or the environment have for `flag`, read without any care.
    fn raw_value(&self, flag: &str) -> Option<String> {
        let long = format!("--{flag}");
        let joined = format!("{long}=");
        let mut args = self.args.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = args.next() {
            if arg == long.as_str() {
                match args.next() {
                    Some(value) if !value.starts_with("--") => return Some(value.into()),
                    // It is missing, and that will be the mistake to be told of.
                    _ => break,
                }
            }
            if let Some(value) = arg.strip_prefix(&joined) {
                return Some(value.into());
            }
        }
        let name = SETTINGS.iter().find(|setting| setting.flag == flag)?.variable_name()?;
        let (_, value) = self.variables.iter().find(|(variable, _)| *variable == name.as_str())?;
        value.to_str().filter(|value| !is_blank(value)).map(String::from)
    }
}

impl<'a> ParsedSources<'a> {
    /// Reads the settings file, if one is named.
    pub(crate) fn read(
        arguments: &'a Arguments,
        environment: &'a Environment,
        read_file: ReadFile,
    ) -> Result<ParsedSources<'a>, ConfigError> {
        let mut parsed = ParsedSources { arguments, environment, file: None, read_file };
        let setting = SETTINGS.iter().find(|setting| setting.flag == CONFIG).expect("it is in the table");
        let SourcedValues { origin, texts } = parsed.values(setting)?;
        if let Some(text) = texts.first() {
            setting.set(&mut PartialConfig::new(), text, &origin)?;
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

    /// Every flag that says where settings come from.
    pub(crate) fn flags() -> impl Iterator<Item = Flag> {
        ParsedSources::settings().map(Setting::as_flag)
    }

    pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| setting.flag == CONFIG)
    }

    /// What is given for `setting`, by the first who says anything.
    pub(super) fn values(&self, setting: &'static Setting) -> Result<SourcedValues, ConfigError> {
        if self.arguments.has(setting.flag) {
            let mut texts: Vec<String> = self.arguments.values(setting.flag).map(String::from).collect();
            if texts.is_empty() {
                texts.push("yes".into());
            }
            return Ok(SourcedValues { origin: Origin::Flag(setting.flag), texts });
        }
        let Some(name) = setting.variable_name() else { return Ok(SourcedValues::from_default(setting)) };
        if let Some(text) = self.environment.text(&name)? {
            return Ok(SourcedValues { texts: setting.split_values(text), origin: Origin::Variable(name) });
        }
        let in_file = self.file.as_ref().filter(|_| setting.is_allowed_in_file());
        if let Some((file, value)) = in_file.and_then(|file| Some((file, file.entry(&name)?))) {
            return Ok(SourcedValues {
                texts: setting.split_values(&value.text),
                origin: Origin::File(file.location(value.line), name),
            });
        }
        Ok(SourcedValues::from_default(setting))
    }

    /// A warning for each name in the environment that looks like a setting and is none, and for what the
    /// settings file says twice.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.environment.unknown_settings();
        warnings.extend(self.file.iter().flat_map(|file| file.warnings.iter().cloned()));
        warnings
    }

    /// What the settings file says in vain, which whoever wrote it takes for said: in the order of its lines.
    pub(crate) fn file_errors(&self) -> Vec<String> {
        let Some(file) = &self.file else { return Vec::new() };
        let without_value = file.lines_without_value.iter().map(|line| (*line, NO_VALUE.to_owned()));
        let names = file.names().filter_map(|(name, line)| {
            let known = SETTINGS.iter().find(|setting| setting.variable_name().as_deref() == Some(name));
            let what = match known {
                Some(setting) if setting.is_allowed_in_file() => return None,
                Some(_) => format!("{name:?} counts in the environment only"),
                None => unknown_setting(name).unwrap_or_else(|| NO_NAME.into()),
            };
            Some((line, what))
        });
        let mut mistakes: Vec<(usize, String)> = without_value.chain(names).collect();
        mistakes.sort();
        mistakes.into_iter().map(|(line, what)| format!("{}: {what}", file.location(line))).collect()
    }
}

impl SourcedValues {
    fn from_default(setting: &'static Setting) -> SourcedValues {
        SourcedValues {
            origin: Origin::Default(setting.flag),
            texts: setting.default.text().into_iter().collect(),
        }
    }
}

impl Origin {
    /// Whether somebody has said something.
    pub(super) fn is_explicit(&self) -> bool {
        !matches!(self, Origin::Default(_))
    }

    /// As it is shown beside a setting's name.
    pub(super) fn label(&self) -> &str {
        match self {
            Origin::Flag(_) => "flag",
            Origin::Variable(_) => "environment",
            Origin::File(location, _) => location,
            Origin::Default(_) => "default",
        }
    }
}

impl fmt::Display for Origin {
    /// As an error begins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) | Origin::Default(flag) => write!(f, "--{flag}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::File(location, name) => write!(f, "{location}: {name}"),
        }
    }
}

/// The flag that names the settings file.
const CONFIG: &str = "config";
/// It is not repeated: a `:` where a `=` belongs makes a value part of it.
const NO_VALUE: &str = "there is no = on this line; a line is NAME=VALUE";
const NO_NAME: &str = "what stands before the = is no setting's name; a line is NAME=VALUE";

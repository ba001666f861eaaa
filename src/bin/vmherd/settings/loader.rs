//! The way of the settings: from their sources through the table to a checked configuration.

use std::path::Path;

use vmherd::{Config, InvalidSetting, Location, redact};
#[cfg(feature = "qemu")]
use vmherd::{GuestNetwork, ListenAddress};

use super::config_error::ConfigError;
use super::environment::Environment;
use super::help::help;
use super::origin::Origin;
use super::partial::{LogSettings, PartialConfig};
use super::report::Report;
use super::setting::Setting;
use super::sources::{ParsedSources, SourcedValues, Sources};
use super::table::{SETTINGS, tool_settings};
#[cfg(feature = "qemu")]
use super::vm_settings::VmSettings;

/// What a command line asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Invocation {
    /// Print a text, after warnings.
    Print { warnings: Vec<String>, text: String },
    /// Run the daemon.
    Run(Box<Resolved>),
}

/// Valid settings, with their origins and warnings.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// The configuration of the server.
    pub config: Config,
    /// The settings of the log.
    pub log: LogSettings,
    /// The settings of the VMs that the daemon runs; `None`: it runs none.
    #[cfg(feature = "qemu")]
    pub vms: Option<VmSettings>,
    /// Each setting's value and origin.
    pub report: Report,
    /// Warnings, such as unknown variables.
    pub warnings: Vec<String>,
}

/// The settings that one of the host's tools reads: only those that it needs, so that an error in the rest does not
/// lock an operator out.
#[derive(Clone, PartialEq, Debug)]
pub struct ToolSettings {
    /// The configuration; settings that were not read have their defaults.
    pub config: Config,
    /// Whether the store is the default one, in the state directory. If not, the state directory is not known.
    pub is_default_store: bool,
}

impl Sources {
    /// Parses command line, environment and settings file, and validates all settings.
    pub fn parse(&self) -> Result<Invocation, ConfigError> {
        let Sources { arguments, usage_error, environment, read_file } = self;
        if let Some(error) = usage_error {
            return Err(error.clone());
        }
        let print = |warnings, text| Ok(Invocation::Print { warnings, text });
        if arguments.has("help") {
            return print(Vec::new(), help());
        }
        if arguments.has("version") {
            return print(Vec::new(), concat!("vmherd ", env!("CARGO_PKG_VERSION"), "\n").into());
        }
        if let Some(stray) = arguments.positionals.first() {
            let text = format!("unexpected argument {:?}; see vmherd --help", redact(stray));
            return Err(ConfigError::Usage(text));
        }
        let sources = ParsedSources::read(arguments, environment, *read_file)?;
        if let Some(mistake) = sources.file_errors().into_iter().next() {
            return Err(ConfigError::Value(mistake));
        }
        let (partial, mut report) = load(SETTINGS.iter(), &sources)?;
        let (log, is_check) = (partial.log.clone(), partial.is_check);
        #[cfg(feature = "qemu")]
        let (vms, has_vm_settings) = (partial.vms.clone(), partial.vms != VmSettings::default());
        let config = with_places(partial, environment, true)?;
        #[cfg(feature = "qemu")]
        let vms = vms.check(&config, &report)?;
        report.set_computed("store", config.store.to_string());
        report.set_computed("state-dir", config.state_dir.display().to_string());
        report.set_computed("auth-workers", config.auth_workers.to_string());
        let listen_origin = report.origin("listen").map_or_else(String::new, Origin::to_string);
        config.check(&listen_origin).map_err(|error| ConfigError::Value(error.to_string()))?;
        let warnings = sources.warnings();
        #[cfg(feature = "qemu")]
        let warnings = match vms {
            None if has_vm_settings => [warnings, unused_vm_settings(&report)].concat(),
            _ => warnings,
        };
        if is_check {
            return print(warnings, "the configuration is valid\n".into());
        }
        if arguments.has("show-config") {
            return print(warnings, report.to_string());
        }
        Ok(Invocation::Run(Box::new(Resolved {
            config,
            log,
            #[cfg(feature = "qemu")]
            vms,
            report,
            warnings,
        })))
    }
}

#[cfg(feature = "qemu")]
impl VmSettings {
    /// The settings with their places, if there is an image.
    fn check(mut self, config: &Config, report: &Report) -> Result<Option<VmSettings>, ConfigError> {
        let Some(image) = self.image.clone() else { return Ok(None) };
        self.qemu.image = image;
        self.qemu.state_dir = config.state_dir.clone();
        let name = |flag| report.origin(flag).map_or_else(String::new, Origin::to_string);
        if self.enroll {
            let why = match (self.qemu.network, enrollment_address(config)) {
                (GuestNetwork::Restricted, _) => "VMs reach the daemon only with --vm-network open",
                (_, None) => "VMs reach the daemon only at a TCP port that --listen names",
                (GuestNetwork::Open, address) => {
                    self.qemu.enrollment_address = address;
                    ""
                }
            };
            if !why.is_empty() {
                return Err(ConfigError::Value(format!("{}: {why}", name("vm-enroll"))));
            }
        }
        let (ports, vms) = (self.qemu.ports.len(), self.running_max);
        if ports < vms as usize {
            return Err(ConfigError::Value(format!(
                "{}: {ports} ports are too few for {vms} VMs ({})",
                name("vm-ports"),
                name("vms-running-max")
            )));
        }
        Ok(Some(self))
    }
}

/// The first TCP listener, as a VM of this host reaches it: loopback addresses of the host are one address there.
#[cfg(feature = "qemu")]
fn enrollment_address(config: &Config) -> Option<String> {
    config.listen.iter().find_map(|listener| match &listener.address {
        ListenAddress::Tcp(address) if address.port() == 0 => None,
        ListenAddress::Tcp(address) if address.ip().is_loopback() || address.ip().is_unspecified() => {
            Some(format!("10.0.2.2:{}", address.port()))
        }
        ListenAddress::Tcp(address) => Some(address.to_string()),
        ListenAddress::Unix(_) | ListenAddress::Sealed(_) => None,
    })
}

/// Warnings about settings of VMs where there are none.
#[cfg(feature = "qemu")]
fn unused_vm_settings(report: &Report) -> Vec<String> {
    let origins = SETTINGS
        .iter()
        .filter(|setting| setting.is_of_vms())
        .filter_map(|setting| report.origin(setting.flag));
    let explicit = origins.filter(|origin| origin.is_explicit());
    explicit
        .map(|origin| format!("{origin} has no effect: the daemon runs no VMs without --vm-image"))
        .collect()
}

impl ToolSettings {
    /// Reads the settings with the names `flags`, and leaves the others alone, even invalid ones.
    pub fn read(flags: &[&str], sources: &ParsedSources<'_>) -> Result<ToolSettings, ConfigError> {
        let (partial, _) = load(tool_settings(flags), sources)?;
        let is_default_store = partial.store.is_none();
        Ok(ToolSettings { config: with_places(partial, sources.environment, false)?, is_default_store })
    }
}

/// Loads each of `settings` from its source, with its origin; the others keep their defaults.
fn load(
    settings: impl Iterator<Item = &'static Setting>,
    sources: &ParsedSources<'_>,
) -> Result<(PartialConfig, Report), ConfigError> {
    let (mut partial, mut report) = (PartialConfig::default(), Report::default());
    for setting in settings {
        let SourcedValues { origin, texts } = sources.values(setting)?;
        if origin.is_explicit() {
            texts.iter().try_for_each(|text| setting.set(&mut partial, text, &origin))?;
        }
        report.add(setting, &texts.join(" "), origin);
    }
    load_store_file(&mut partial, &mut report, sources)?;
    Ok((partial, report))
}

/// Loads the store from the first line of the store file, if one is set.
fn load_store_file(
    partial: &mut PartialConfig,
    report: &mut Report,
    sources: &ParsedSources<'_>,
) -> Result<(), ConfigError> {
    let Some(path) = &partial.store_file else { return Ok(()) };
    let origin = report.origin("store-file").map_or_else(String::new, Origin::to_string);
    if let Some(other) = report.origin("store").filter(|other| other.is_explicit()) {
        return Err(ConfigError::Value(format!(
            "{other} and {origin}: only one of them may say where the store is"
        )));
    }
    let wrong = |why| ConfigError::Value(format!("{origin}: the first line of {} {why}", path.display()));
    let bytes = (sources.read_file)(path).map_err(|error| {
        ConfigError::Value(format!("{origin}: can't read {}: {error}", redact(&path.to_string_lossy())))
    })?;
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = str::from_utf8(first).map_err(|_| wrong("is not valid UTF-8".into()))?.trim();
    let store = text.parse().map_err(|error: InvalidSetting| wrong(error.to_string()))?;
    report.replace("store", text, Origin::File(format!("{}:1", path.display()), "VMHERD_STORE".into()));
    partial.store = Some(store);
    Ok(())
}

/// The configuration with its store, and with its state directory if `needs_state_dir` or the store is in it.
fn with_places(
    partial: PartialConfig,
    environment: &Environment,
    needs_state_dir: bool,
) -> Result<Config, ConfigError> {
    let PartialConfig { mut config, store, state_dir, .. } = partial;
    if needs_state_dir || store.is_none() {
        config.state_dir = state_dir.map_or_else(|| environment.default_state_dir(), Ok)?;
    }
    config.store = store.unwrap_or_else(|| default_store(&config.state_dir));
    Ok(config)
}

#[cfg(feature = "sqlite")]
pub(super) fn default_store(state_dir: &Path) -> Location {
    Location::Sqlite(state_dir.join("vmherd.sqlite3"))
}

#[cfg(not(feature = "sqlite"))]
pub(super) fn default_store(_state_dir: &Path) -> Location {
    Location::Memory
}

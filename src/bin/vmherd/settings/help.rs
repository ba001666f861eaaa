//! Texts generated from the table of settings: the help text and an example of a settings file.

use std::fmt::Write;

#[cfg(test)]
use super::setting::Reload;
use super::setting::{DefaultValue, Kind, Setting};
use super::table::SETTINGS;
use super::{ParsedSources, StateDirSetting, StoreSelection, StoreSettings};

/// The text of `vmherd --help`: examples first, then every setting.
pub fn help() -> String {
    let mut text = String::from(INTRODUCTION);
    for setting in SETTINGS {
        push_line(&mut text, setting);
    }
    text.push('\n');
    text.push_str(STATE_DIR_NOTE);
    text.push_str(NOTES);
    text
}

/// A settings file with every setting commented out, with its default: `systemd/vmherd.conf`.
#[cfg(test)]
pub fn settings_as_file() -> String {
    let mut text = String::from(FILE_INTRODUCTION);
    for setting in SETTINGS.iter().filter(|setting| setting.is_allowed_in_file()) {
        let Some(name) = setting.variable_name() else { continue };
        let allowed = match setting.allowed() {
            allowed if allowed == setting.help => String::new(),
            allowed => format!("; allowed: {allowed}"),
        };
        // Writing to a String never fails.
        let _ = writeln!(text, "\n# {}{allowed}", setting.help);
        if setting.flag == "listen" {
            text.push_str(LISTEN_NOTE);
        }
        let default = match setting.default {
            DefaultValue::Computed(words) => {
                let _ = writeln!(text, "# default: {words}");
                String::new()
            }
            _ => setting.default.display_text(),
        };
        if setting.reload == Reload::Restart {
            text.push_str("# a change needs a restart\n");
        }
        let _ = writeln!(text, "#{name}={default}");
    }
    text.push('\n');
    STATE_DIR_NOTE.lines().for_each(|line| text.extend(["# ", line, "\n"]));
    text
}

/// Appends help for the state directory, for `vmherd stats`.
pub fn push_state_dir_help(text: &mut String) {
    ParsedSources::settings().chain(StateDirSetting::table()).for_each(|setting| push_line(text, setting));
    text.push('\n');
    text.push_str(STATE_DIR_NOTE);
}

/// Appends help for the location of the store, for `vmherd backup`.
pub fn push_store_selection_help(text: &mut String) {
    ParsedSources::settings().chain(StoreSelection::table()).for_each(|setting| push_line(text, setting));
    text.push('\n');
    text.push_str(STATE_DIR_NOTE);
}

/// Appends help for the settings of the store, for `vmherd vm`.
pub fn push_store_settings_help(text: &mut String) {
    ParsedSources::settings().chain(StoreSettings::table()).for_each(|setting| push_line(text, setting));
    text.push('\n');
    text.push_str(STATE_DIR_NOTE);
}

fn push_line(text: &mut String, setting: &Setting) {
    let flag = format!("--{} {}", setting.flag, setting.placeholder);
    let shown = match setting.kind {
        Kind::Switch { .. } | Kind::InfoFlag => String::new(),
        _ => format!(" [{}]", setting.default.display_text()),
    };
    let _ = writeln!(text, "  {:FLAG_WIDTH$}{}{shown}", flag.trim_end(), setting.help);
}

impl DefaultValue {
    /// The default for people: its value, or a description of a computed default.
    pub(super) fn display_text(&self) -> String {
        match self {
            DefaultValue::Computed(words) => (*words).into(),
            preset => preset.text().unwrap_or_default(),
        }
    }
}

/// Width of the column of flags: the longest flag and two spaces.
const FLAG_WIDTH: usize = 29;

const INTRODUCTION: &str = "\
A registry of virtual machines and their metrics, over TCP and unix sockets.

  vmherd                                   on 127.0.0.1:8888, VMs in a file
  vmherd --store memory: --log debug       to try it out: not persistent
  vmherd --listen 'tcp://0.0.0.0:8888?open=metrics' --allow-plaintext
  vmherd vm list, stats, backup FILE       tools for this host; see their --help

Each setting has a default in brackets and an environment variable: VMHERD_LOG
for --log. Precedence: flag, variable, the same name in the --config file.

";

#[cfg(test)]
const FILE_INTRODUCTION: &str = "\
# Settings of vmherd, one NAME=VALUE per line: the names of the environment
# variables, in the syntax of systemd's EnvironmentFile=. Flags and environment
# variables override this file. vmherd --config FILE --check-config checks it,
# --show-config prints the settings in effect, SIGHUP (systemctl reload vmherd)
# reloads it.
#
# Times are written like 500ms, 10s, 5m, 1h or 1d.
";

#[cfg(test)]
const LISTEN_NOTE: &str = "\
# The addresses of vmherd.socket are not set here; change them with systemctl
# edit vmherd.socket, with an empty ListenStream= first.
";

const STATE_DIR_NOTE: &str = "\
DIR is $STATE_DIRECTORY, $XDG_STATE_HOME/vmherd or ~/.local/state/vmherd.
";

const NOTES: &str = "\
T, MIN, MAX are times: 500ms, 10s, 5m, 1h, 1d, or none where that makes sense.
Anonymous clients may use what ?open= lists: action, metrics, convert, verb or
none. The default is all on this host, tunnels included (docs/security.md).
Exit code 2: invalid command line; 78: invalid setting; 1: other failures.
";

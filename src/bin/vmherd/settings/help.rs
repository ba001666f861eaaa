//! Texts generated from the table of settings: the help text and an example of a settings file.

#[cfg(test)]
use super::setting::DefaultValue;
use super::setting::{Kind, Setting};
use super::table::SETTINGS;

/// The text of `vmherd --help`: examples first, then every setting.
pub fn help() -> String {
    format!("{INTRODUCTION}{}{NOTES}", describe_settings(SETTINGS.iter()))
}

/// Help for `settings`, a line for each.
pub fn describe_settings<'a>(settings: impl Iterator<Item = &'a Setting>) -> String {
    let lines: String = settings.map(help_line).collect();
    format!("{lines}\n{STATE_DIR_NOTE}")
}

/// A settings file with every setting commented out, with its default: `systemd/vmherd.conf`.
#[cfg(test)]
pub fn settings_as_file() -> String {
    use std::fmt::Write;

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
            _ => setting.displayed_default(),
        };
        if setting.needs_restart {
            text.push_str("# a change needs a restart\n");
        }
        let _ = writeln!(text, "#{name}={default}");
    }
    text.push('\n');
    STATE_DIR_NOTE.lines().for_each(|line| text.extend(["# ", line, "\n"]));
    text
}

fn help_line(setting: &Setting) -> String {
    let flag = format!("--{} {}", setting.flag, setting.placeholder);
    let shown = match setting.kind {
        Kind::Switch(_) | Kind::InfoFlag => String::new(),
        _ => format!(" [{}]", setting.displayed_default()),
    };
    format!("  {:FLAG_WIDTH$}{}{shown}\n", flag.trim_end(), setting.help)
}

/// Width of the column of flags: the longest flag and two spaces.
const FLAG_WIDTH: usize = 29;

const INTRODUCTION: &str = "\
A registry of virtual machines and their metrics, over TCP and unix sockets.

  vmherd                                   on 127.0.0.1:8888, VMs in a file
  vmherd --store memory: --log debug       to try it out: not persistent
  vmherd --listen 'tcp://0.0.0.0:8888?open=metrics' --allow-plaintext
  vmherd vm, token, keys, stats, backup    tools for this host; see their --help

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
Anonymous clients may use what ?open= lists: action, metrics, convert, verb,
page or none. Default: all on this host, tunnels included (docs/security.md).
Exit code 2: invalid command line; 78: invalid setting; 1: other failures.
";

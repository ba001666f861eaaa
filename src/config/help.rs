//! The settings as people read them: the help text and the table of a manual.

use std::fmt::Write;

use super::StoreSettings;
use super::settings::{Kind, Preset, SETTINGS, Setting};

/// What `vmherd --help` says: examples first, then every setting.
pub fn help() -> String {
    let mut text = String::from(INTRODUCTION);
    for setting in &SETTINGS {
        push_line(&mut text, setting);
    }
    text.push('\n');
    text.push_str(STATE_DIR_NOTE);
    text.push_str(NOTES);
    text
}

/// Every setting with what it may be, as a table in Markdown.
pub fn settings_as_markdown() -> String {
    let mut text = String::from("| setting | default | allowed | what for |\n| --- | --- | --- | --- |\n");
    for setting in SETTINGS.iter().filter(|setting| !matches!(setting.kind, Kind::Question)) {
        let cells = [
            format!("`--{}`", setting.flag),
            setting.preset.shown(),
            setting.allowed(),
            setting.help.to_string(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        // Writing to a String never fails.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

/// The lines of the settings that count for the tools of the host, too.
pub(crate) fn push_store_settings(text: &mut String) {
    StoreSettings::table().for_each(|setting| push_line(text, setting));
    text.push('\n');
    text.push_str(STATE_DIR_NOTE);
}

fn push_line(text: &mut String, setting: &Setting) {
    let flag = format!("--{} {}", setting.flag, setting.placeholder);
    let shown = match setting.kind {
        Kind::Switch { .. } | Kind::Question => String::new(),
        _ => format!(" [{}]", setting.preset.shown()),
    };
    let _ = writeln!(text, "  {:FLAG_WIDTH$}{}{shown}", flag.trim_end(), setting.help);
}

impl Preset {
    fn shown(&self) -> String {
        match self {
            Preset::Words(words) => (*words).into(),
            preset => preset.text().unwrap_or_default(),
        }
    }
}

/// Characters of the column of flags; the longest one and two spaces fit.
const FLAG_WIDTH: usize = 29;

const INTRODUCTION: &str = "\
Knows a herd of virtual machines: a registry over TCP and unix sockets.

  vmherd                                   on 127.0.0.1:8888, VMs in a file
  vmherd --store memory: --log debug       to try it: nothing is kept
  vmherd --listen 'tcp://[::1]:9000' --listen unix:/run/vmherd/socket
  vmherd --listen 'tcp://0.0.0.0:8888?open=metrics' --allow-plaintext
  vmherd vm add web-1 --ram 2048 --cpu 2   register a VM, on this host itself
  vmherd vm --help                         also: vm list, vm remove, vm passwd

Each setting has a default in brackets and an environment variable: VMHERD_LOG
is --log, VMHERD_STATE_DIR is --state-dir; a flag goes first.

";

const STATE_DIR_NOTE: &str = "\
DIR is $STATE_DIRECTORY, else $XDG_STATE_HOME/vmherd, else
~/.local/state/vmherd.
";

const NOTES: &str = "\
T is a time like 500ms, 10s, 5m, 1h or 1d, or none where that makes sense.
Anonymous clients on this host may use everything that ?open= can name (action,
metrics, convert, verb); others only what it names.
Exit code 2: a mistake on the command line; 78: in a setting; 1: other failures.
";

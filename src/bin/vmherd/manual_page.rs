//! The manual page vmherd(8) and the completions of shells, written from the tables of settings and tools.

use std::mem;

use clap::{Arg, ArgAction, Command};
use roff::{Inline, Roff, bold, italic, roman};

use crate::settings::{Flag, SECTIONS, Setting, Takes, find_setting};
use crate::tool::Tool;
use crate::written_file::{expect_current, expect_current_completions};
use crate::{backup_command, keys_command, running_vm_command, stats_command, token_command, vm_command};

static TOOLS: [(&Tool, &str); 6] = [
    (&vm_command::TOOL, "Virtual machines in the store"),
    (&running_vm_command::TOOL, "Virtual machines that the daemon runs"),
    (&token_command::TOOL, "Access tokens"),
    (&keys_command::TOOL, "The key pair of sealed listeners"),
    (&stats_command::TOOL, "The daemon's counters"),
    (&backup_command::TOOL, "A copy of the store"),
];

#[test]
fn the_manual_page_is_current() {
    expect_current("docs/man/vmherd.8", &page());
}

#[test]
fn completion_by_shells_is_current() {
    expect_current_completions(&command_line());
}

fn page() -> String {
    let mut page = Roff::new();
    let version = concat!("vmherd ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["vmherd", "8", "", version, "System Administration"]);
    page.control("SH", ["NAME"]).text([roman("vmherd - registry of virtual machines")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("vmherd"), roman(" ["), bold("--"), italic("SETTING VALUE"), roman("]...")]);
    for tool in ["vm", "token", "keys", "stats", "backup"] {
        page.control("br", []).text([
            bold(format!("vmherd {tool}")),
            roman(" ["),
            bold("--help"),
            roman("]"),
        ]);
    }
    page.control("SH", ["DESCRIPTION"]);
    push_paragraphs(&mut page, DESCRIPTION);
    page.control("SH", ["SETTINGS"]);
    push_paragraphs(&mut page, SETTINGS_INTRODUCTION);
    for (heading, entries) in SECTIONS {
        page.control("SS", [*heading]);
        for (flag, explanation) in *entries {
            push_setting(&mut page, find_setting(flag).expect("it is in the table"), explanation);
        }
    }
    page.control("SH", ["TOOLS"]);
    for (tool, what) in TOOLS {
        page.control("SS", [what]).control("nf", []);
        for line in tool.help.lines() {
            page.text([roman(line)]);
        }
        page.control("fi", []);
    }
    for (heading, entries) in [("SIGNALS", SIGNALS), ("FILES", FILES), ("EXIT STATUS", EXIT_CODES)] {
        page.control("SH", [heading]);
        for (term, explanation) in entries {
            page.control("TP", []).text([bold(*term)]).text(inlines(explanation));
        }
    }
    page.control("SH", ["SEE ALSO"]).text([
        bold("vmherdctl"),
        roman("(1), "),
        bold("systemd.exec"),
        roman("(5), and the pages in /usr/local/share/doc/vmherd."),
    ]);
    page.to_roff()
}

fn push_setting(page: &mut Roff, setting: &Setting, explanation: &str) {
    let as_flag = setting.as_flag();
    let mut heading = vec![bold(format!("--{}", as_flag.name))];
    if !setting.placeholder.is_empty() {
        heading.extend([roman(" "), italic(setting.placeholder)]);
    }
    page.control("TP", []).text(heading).text(inlines(explanation));
    if let Some(name) = setting.variable_name() {
        let (default, allowed) = (setting.displayed_default(), setting.allowed());
        page.control("br", [])
            .text([bold(name), roman(format!(", default: {default}; allowed: {allowed}."))]);
    }
}

fn push_paragraphs(page: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n") {
        page.control("PP", []).text(inlines(&paragraph.replace('\n', " ")));
    }
}

/// Text with Markdown's `code` in bold, and `[text](link)` as its text.
fn inlines(markdown: &str) -> Vec<Inline> {
    let mut without_links = String::new();
    let mut rest = markdown;
    while let Some((before, after)) = rest.split_once('[') {
        without_links.push_str(before);
        match after.split_once("](").and_then(|(text, after)| Some((text, after.split_once(')')?.1))) {
            Some((text, after)) if !text.contains('[') => {
                without_links.push_str(text);
                rest = after;
            }
            _ => {
                without_links.push('[');
                rest = after;
            }
        }
    }
    without_links.push_str(rest);
    let mut is_code = true;
    let parts = without_links.split('`').map(|part| {
        is_code = !is_code;
        if is_code { bold(part) } else { roman(part) }
    });
    parts.collect()
}

/// The command line, as the crate that writes completions takes it.
fn command_line() -> Command {
    let settings = SECTIONS.iter().flat_map(|(_, entries)| *entries);
    let settings = settings.map(|(flag, _)| find_setting(flag).expect("it is in the table"));
    let mut command =
        program("vmherd").args(settings.map(|setting| arg(setting.as_flag()).help(setting.help)));
    for (tool, what) in TOOLS {
        let name = tool.program.strip_prefix("vmherd ").expect("it is a command of vmherd");
        let args = tool.all_flags().into_iter().map(arg);
        command = match command.find_subcommand(name).is_some() {
            false => command.subcommand(program(name).about(what).args(args)),
            true => command.mut_subcommand(name, |mut tool| {
                for arg in args {
                    if tool.get_arguments().all(|known| known.get_id() != arg.get_id()) {
                        tool = mem::take(&mut tool).arg(arg);
                    }
                }
                tool
            }),
        };
    }
    command
}

fn program(name: &'static str) -> Command {
    Command::new(name).disable_help_flag(true).disable_help_subcommand(true)
}

fn arg(flag: Flag) -> Arg {
    let action = match flag.takes {
        Takes::Nothing => ArgAction::SetTrue,
        _ if flag.is_repeatable => ArgAction::Append,
        _ => ArgAction::Set,
    };
    Arg::new(flag.name).long(flag.name).action(action)
}

const DESCRIPTION: &str = "\
vmherd is a registry of virtual machines. VMs register, report their RAM, CPUs and disks, and send metrics; clients ask \
which VMs exist, which are connected and how they are doing. It listens on 127.0.0.1:8888 by default, for JSON, lines of \
text, HTTP and WebSocket on one port, and keeps its data in one file or in PostgreSQL.

Without a command, vmherd runs the daemon in the foreground. The commands are tools for the host that it runs on.";

const SETTINGS_INTRODUCTION: &str = "\
A setting is a flag, an environment variable, or a line of the file that `--config` names. A flag takes precedence over \
the environment, the environment over the file, the file over the default.

Times are written `500ms`, `10s`, `5m`, `1h` or `1d`, sizes `512KiB`, `64MiB` or `1GiB`; `none` turns a limit off where it \
is allowed. DIR is `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/vmherd`, else `~/.local/state/vmherd`.";

type Entries = &'static [(&'static str, &'static str)];

const SIGNALS: Entries = &[
    ("SIGTERM, SIGINT", "Stop: requests under way are answered first. A second one stops at once."),
    ("SIGHUP", "Read the settings file again."),
];

const FILES: Entries = &[
    ("DIR/vmherd.sqlite3", "The store, unless `--store` names another."),
    ("DIR/vmherd.sock", "The daemon's own socket, for root and the daemon's user."),
    ("/etc/vmherd/vmherd.conf", "The settings of the service."),
];

const EXIT_CODES: Entries = &[
    ("0", "Success, or a stop by a signal."),
    ("1", "Any failure that has no code of its own."),
    ("2", "The command line is invalid."),
    ("69", "A tool found no daemon."),
    ("77", "A tool is not permitted."),
    ("78", "A setting is invalid."),
];

//! The manual page vmherdctl(1) and the completions of shells, written from the table of commands.

use clap::{Arg, Command as Parser};
use roff::{Roff, bold, italic, roman};

use crate::agent;
use crate::command_table::{COMMANDS, FAMILIES};
use crate::failure::CLASSES;
use crate::parser::program;
use crate::written_file::{expect_current, expect_current_completions};

#[test]
fn the_manual_page_is_current() {
    expect_current("docs/man/vmherdctl.1", &page());
}

#[test]
fn completion_by_shells_is_current() {
    let agent = agent::parser().name("agent").no_binary_name(false);
    expect_current_completions(&program().no_binary_name(false).subcommand(agent));
}

fn page() -> String {
    let mut page = Roff::new();
    page.control(
        "TH",
        ["vmherdctl", "1", "", concat!("vmherd ", env!("CARGO_PKG_VERSION")), "User Commands"],
    );
    page.control("SH", ["NAME"]).text([roman("vmherdctl - client of a vmherd server")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([
        bold("vmherdctl"),
        roman(" ["),
        italic("OPTION"),
        roman("]... ["),
        italic("COMMAND"),
        roman("]"),
    ]);
    page.control("br", []).text([bold("vmherdctl agent"), roman(" ["), italic("OPTION"), roman("]...")]);
    page.control("SH", ["DESCRIPTION"]).text([roman(DESCRIPTION)]);
    let program = program();
    page.control("SH", ["OPTIONS"]);
    push_arguments(&mut page, program.get_arguments());
    page.control("SH", ["COMMANDS"]);
    for (family, heading) in FAMILIES {
        page.control("SS", [heading]);
        for command in COMMANDS.iter().filter(|command| command.family == family) {
            let mut names = vec![bold(command.path)];
            for alias in command.aliases {
                names.extend([roman(", "), bold(*alias)]);
            }
            page.control("TP", []).text(names).text([roman(format!("{}.", command.about))]);
            if !command.details.is_empty() {
                page.text([roman(command.details)]);
            }
            page.control("RS", []);
            push_arguments(&mut page, (command.arguments)().iter());
            page.control("RE", []);
        }
    }
    push_agent(&mut page, &agent::parser());
    page.control("SH", ["ENVIRONMENT"]);
    push_terms(&mut page, ENVIRONMENT);
    page.control("SH", ["FILES"]);
    push_terms(&mut page, FILES);
    page.control("SH", ["EXIT STATUS"]).control("TP", []).text([bold("0")]).text([roman("Done.")]);
    for (_, code, name, meaning) in CLASSES {
        page.control("TP", []).text([bold(code.to_string()), roman(format!(" {name}"))]);
        page.text([roman(format!("{meaning}."))]);
    }
    page.control("SH", ["SEE ALSO"]).text([bold("vmherd"), roman("(8), "), bold("ssh"), roman("(1)")]);
    page.to_roff()
}

fn push_agent(page: &mut Roff, parser: &Parser) {
    page.control("SH", ["AGENT"]);
    let about = parser.get_about().map(ToString::to_string).unwrap_or_default();
    page.text([bold("vmherdctl agent"), roman(format!(": {about}"))]);
    push_arguments(page, parser.get_arguments());
    let after = parser.get_after_help().map(ToString::to_string).unwrap_or_default();
    for paragraph in after.split("\n\n") {
        page.control("PP", []).text([roman(paragraph.replace('\n', " "))]);
    }
}

fn push_arguments<'a>(page: &mut Roff, arguments: impl Iterator<Item = &'a Arg>) {
    for argument in arguments.filter(|argument| !argument.is_hide_set()) {
        let value = argument.get_value_names().unwrap_or_default().first().map(ToString::to_string);
        let value = value.filter(|_| argument.is_positional() || argument.get_action().takes_values());
        let short = argument.get_short().map(|short| bold(format!("-{short}")));
        let long = argument.get_long().map(|long| bold(format!("--{long}")));
        let mut heading = Vec::new();
        for name in [short, long].into_iter().flatten() {
            if !heading.is_empty() {
                heading.push(roman(", "));
            }
            heading.push(name);
        }
        if let Some(value) = value {
            let separator = if heading.is_empty() { "" } else { " " };
            heading.extend([roman(separator), italic(value)]);
        }
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        page.control("TP", []).text(heading).text([roman(format!("{help}."))]);
    }
}

fn push_terms(page: &mut Roff, terms: &[(&str, &str)]) {
    for (term, explanation) in terms {
        page.control("TP", []).text([bold(*term)]).text([roman(*explanation)]);
    }
}

const DESCRIPTION: &str = "\
vmherdctl runs one command on a vmherd server and prints the result as a table, tab-separated, as CSV or as JSON. Without a \
command it is a console: a prompt with history and completion on one connection, on which a login lasts. As an agent it \
reports the metrics of its host for as long as it runs.";

const ENVIRONMENT: &[(&str, &str)] = &[
    ("VMHERD_SERVER", "The server, as --server."),
    ("VMHERD_STATE_DIR", "The state directory of the daemon on this host, as --state-dir."),
    ("VMHERD_PASSWORD", "The password for --vm."),
    ("VMHERD_TOKEN", "A token to log in with."),
    ("VMHERD_AGENT_NAME, ...", "The options of the agent."),
    ("NO_COLOR", "Print nothing in bold."),
    ("COLUMNS", "The width of tables."),
];

const FILES: &[(&str, &str)] = &[
    (
        "~/.local/state/vmherdctl/vms.json",
        "The credentials of the VMs that create has made, for their user only.",
    ),
    ("~/.local/state/vmherdctl/known_hosts/", "The keys of their SSH servers."),
    ("~/.local/state/vmherdctl/history", "The lines of the console, without secrets."),
];

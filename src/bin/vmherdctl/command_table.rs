//! The table of commands. The parser of the command line, the help, the console and its completion come from it.

use clap::{Arg, ArgMatches};

use crate::commands::{
    containers, convert, host, lists, login, metrics, operator, raw, ssh, top, update, wait,
};
use crate::failure::Failure;
use crate::output::{Output, Schema};
use crate::session::Session;
use crate::settings::Destination;

/// A command.
pub struct Command {
    /// Its words: `vms`, or `metrics put` in a group.
    pub path: &'static str,
    /// Other names of the same command.
    pub aliases: &'static [&'static str],
    pub family: Family,
    /// One line for lists of commands, without a full stop.
    pub about: &'static str,
    /// More for its own help; may be empty.
    pub details: &'static str,
    pub arguments: fn() -> Vec<Arg>,
    pub schema: &'static Schema,
    /// The server that it talks to unless one is given.
    pub destination: Destination,
    /// Whether it logs in with `--vm` or a token before it runs.
    pub logs_in: bool,
    /// Whether people may type a secret after it by mistake: the console keeps such a line only if it is valid.
    pub asks_secret: bool,
    pub run: fn(&mut Session, &ArgMatches) -> Result<Output, Failure>,
}

/// The sections of the help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Connection,
    Vms,
    Document,
    Metrics,
    Containers,
    Other,
    Operator,
}

/// The families with their headings, in the order of the help.
pub const FAMILIES: [(Family, &str); 7] = [
    (Family::Connection, "Connection and login"),
    (Family::Vms, "VMs"),
    (Family::Document, "VMs, by the names of the protocol's first client"),
    (Family::Metrics, "Metrics"),
    (Family::Containers, "VMs that the server runs"),
    (Family::Other, "Other requests"),
    (Family::Operator, "For root and the daemon's user, on the server's host"),
];

impl Command {
    /// What most commands have in common.
    pub const DEFAULT: Command = Command {
        path: "",
        aliases: &[],
        family: Family::Connection,
        about: "",
        details: "",
        arguments: Vec::new,
        schema: &login::PING,
        destination: Destination::Server,
        logs_in: false,
        asks_secret: false,
        run: login::ping,
    };

    /// The group of a command with two words, and its last word.
    pub fn words(&self) -> (Option<&'static str>, &'static str) {
        match self.path.split_once(' ') {
            Some((group, word)) => (Some(group), word),
            None => (None, self.path),
        }
    }
}

/// The groups of commands, each with a line for lists.
pub const GROUPS: &[(&str, &str)] =
    &[("metrics", "Store, fetch and draw metrics"), ("vm", "Manage VMs, as the operator")];

/// Every command, in the order of the help.
pub static COMMANDS: &[Command] = &[
    Command {
        path: "ping",
        about: "Check the connection to the server",
        schema: &login::PING,
        run: login::ping,
        ..Command::DEFAULT
    },
    Command {
        path: "register",
        about: "Register a new VM",
        details: "The new password is asked for on the terminal, twice.",
        arguments: login::register_arguments,
        schema: &login::REGISTERED,
        asks_secret: true,
        run: login::register,
        ..Command::DEFAULT
    },
    Command {
        path: "authenticate",
        about: "Log in as a VM, and print a token",
        details: "The token is valid for a day; give it to other commands with --token-file.",
        arguments: login::authenticate_arguments,
        schema: &login::TOKEN,
        asks_secret: true,
        run: login::authenticate,
        ..Command::DEFAULT
    },
    Command {
        path: "logout",
        about: "End the login and its tokens",
        schema: &login::LOGGED_OUT,
        logs_in: true,
        run: login::logout,
        ..Command::DEFAULT
    },
    Command {
        path: "vms",
        family: Family::Vms,
        about: "List VMs: all of them, or those in a state",
        arguments: lists::vms_arguments,
        schema: &lists::VMS,
        logs_in: true,
        run: lists::vms,
        ..Command::DEFAULT
    },
    Command {
        path: "top",
        family: Family::Vms,
        about: "Show the VMs and the server's state, live",
        details: "Asks the daemon's own socket if it is there and no server and no login is given. q ends it, the arrows \
                  scroll, s changes the order.",
        arguments: top::arguments,
        schema: &top::TOP,
        destination: Destination::OwnSocketOrServer,
        run: top::top,
        ..Command::DEFAULT
    },
    Command {
        path: "disks",
        family: Family::Vms,
        about: "List all disks",
        schema: &lists::DISKS,
        logs_in: true,
        run: lists::disks,
        ..Command::DEFAULT
    },
    Command {
        path: "update",
        family: Family::Vms,
        about: "Change the RAM, CPUs or disks of the VM",
        details: "--disk ID=SIZE changes that disk. --disk SIZE, without an id, replaces the list of disks: give it for \
                  each disk that the VM is to have.",
        arguments: update::update_arguments,
        schema: &update::UPDATED,
        logs_in: true,
        run: update::update,
        ..Command::DEFAULT
    },
    Command {
        path: "list_active",
        family: Family::Document,
        about: "List the open connections, and the VMs on them",
        schema: &lists::VMS,
        logs_in: true,
        run: lists::active,
        ..Command::DEFAULT
    },
    Command {
        path: "list_auth",
        aliases: &["list_authenticated"],
        family: Family::Document,
        about: "List the connections that VMs are logged in on",
        schema: &lists::VMS,
        logs_in: true,
        run: lists::authenticated,
        ..Command::DEFAULT
    },
    Command {
        path: "list_all",
        family: Family::Document,
        about: "List all VMs, as vms",
        schema: &lists::VMS,
        logs_in: true,
        run: lists::all,
        ..Command::DEFAULT
    },
    Command {
        path: "list_all_disks",
        family: Family::Document,
        about: "List all disks, as disks",
        schema: &lists::DISKS,
        logs_in: true,
        run: lists::disks,
        ..Command::DEFAULT
    },
    Command {
        path: "update_ram",
        family: Family::Document,
        about: "Change the RAM of the VM",
        arguments: update::update_ram_arguments,
        schema: &update::UPDATED,
        logs_in: true,
        run: update::update_ram,
        ..Command::DEFAULT
    },
    Command {
        path: "update_ram_cpu_disks",
        family: Family::Document,
        about: "Change the RAM, CPUs and disks of the VM",
        arguments: update::update_ram_cpu_disks_arguments,
        schema: &update::UPDATED,
        logs_in: true,
        run: update::update_ram_cpu_disks,
        ..Command::DEFAULT
    },
    Command {
        path: "metrics put",
        family: Family::Metrics,
        about: "Store a point, or many from standard input",
        arguments: metrics::put_arguments,
        schema: &metrics::STORED,
        logs_in: true,
        run: metrics::put,
        ..Command::DEFAULT
    },
    Command {
        path: "metrics get",
        family: Family::Metrics,
        about: "Fetch the points of a key, or all",
        arguments: metrics::get_arguments,
        schema: &metrics::POINTS,
        logs_in: true,
        run: metrics::get,
        ..Command::DEFAULT
    },
    Command {
        path: "metrics plot",
        family: Family::Metrics,
        about: "Draw the points of a key",
        details: "Other formats than table print the points, as metrics get.",
        arguments: metrics::plot_arguments,
        schema: &metrics::POINTS,
        logs_in: true,
        run: metrics::plot,
        ..Command::DEFAULT
    },
    Command {
        path: "stat",
        family: Family::Containers,
        about: "Show the server's version, uptime and room for VMs",
        schema: &containers::SERVER,
        logs_in: true,
        run: containers::stat,
        ..Command::DEFAULT
    },
    Command {
        path: "create",
        family: Family::Containers,
        about: "Start a VM, and keep its credentials",
        details: "The credentials are kept in $XDG_STATE_HOME/vmherdctl/vms.json (~/.local/state/vmherdctl), for destroy \
                  and wait.",
        arguments: containers::create_arguments,
        schema: &containers::CREATED,
        logs_in: true,
        run: containers::create,
        ..Command::DEFAULT
    },
    Command {
        path: "destroy",
        family: Family::Containers,
        about: "End VMs that create has started",
        arguments: containers::destroy_arguments,
        schema: &containers::DESTROYED,
        logs_in: true,
        run: containers::destroy,
        ..Command::DEFAULT
    },
    Command {
        path: "ssh",
        family: Family::Containers,
        about: "Open a shell in a VM that create has started",
        details: "Runs the system's SSH client with the credentials that create has kept, and has its exit code.",
        arguments: ssh::arguments,
        schema: &ssh::SSH,
        run: ssh::ssh,
        ..Command::DEFAULT
    },
    Command {
        path: "wait",
        family: Family::Containers,
        about: "Wait until a VM is online, offline or ready for SSH",
        details: "A VM is online while a connection is logged in as it.",
        arguments: wait::arguments,
        schema: &wait::WAITED,
        logs_in: true,
        run: wait::wait,
        ..Command::DEFAULT
    },
    Command {
        path: "convert",
        family: Family::Other,
        about: "Convert packed text to entities",
        details: "The server answers after some seconds.",
        arguments: convert::arguments,
        schema: &convert::PARAMETERS,
        logs_in: true,
        run: convert::convert,
        ..Command::DEFAULT
    },
    Command {
        path: "raw",
        family: Family::Other,
        about: "Send JSON requests of any dialect, and print the replies",
        details: "Give passwords on standard input: other users see the arguments of a program.",
        arguments: raw::arguments,
        schema: &raw::REPLIES,
        logs_in: true,
        asks_secret: true,
        run: raw::raw,
        ..Command::DEFAULT
    },
    Command {
        path: "vm list",
        family: Family::Operator,
        about: "List VMs, and when they were online",
        arguments: operator::list_arguments,
        schema: &lists::VMS,
        destination: Destination::OwnSocket,
        run: operator::list,
        ..Command::DEFAULT
    },
    Command {
        path: "vm show",
        family: Family::Operator,
        about: "Show one VM",
        arguments: operator::name_arguments,
        schema: &operator::VM,
        destination: Destination::OwnSocket,
        run: operator::show,
        ..Command::DEFAULT
    },
    Command {
        path: "vm add",
        family: Family::Operator,
        about: "Add a VM",
        details: "The new password is asked for on the terminal, twice.",
        arguments: operator::add_arguments,
        schema: &operator::ADDED,
        destination: Destination::OwnSocket,
        asks_secret: true,
        run: operator::add,
        ..Command::DEFAULT
    },
    Command {
        path: "vm set",
        family: Family::Operator,
        about: "Change the RAM, CPUs or disks of a VM",
        arguments: operator::set_arguments,
        schema: &update::UPDATED,
        destination: Destination::OwnSocket,
        run: operator::set,
        ..Command::DEFAULT
    },
    Command {
        path: "vm passwd",
        family: Family::Operator,
        about: "Change the password of a VM",
        details: "Its tokens are no longer valid.",
        arguments: operator::name_arguments,
        schema: &operator::PASSWORD,
        destination: Destination::OwnSocket,
        asks_secret: true,
        run: operator::passwd,
        ..Command::DEFAULT
    },
    Command {
        path: "vm remove",
        family: Family::Operator,
        about: "Remove VMs",
        arguments: operator::names_arguments,
        schema: &operator::REMOVED,
        destination: Destination::OwnSocket,
        run: operator::remove,
        ..Command::DEFAULT
    },
    Command {
        path: "token",
        family: Family::Operator,
        about: "Manage the access tokens of verbs and of readers",
        details: "Runs vmherd token on the store of the state directory, and has its exit code.",
        arguments: host::token_arguments,
        schema: &host::PROGRAM,
        destination: Destination::OwnSocket,
        run: host::token,
        ..Command::DEFAULT
    },
    Command {
        path: "console",
        family: Family::Operator,
        about: "Open the serial console of a VM that the server runs",
        details: "Runs vmherd vm console, and has its exit code. Ctrl-] leaves it.",
        arguments: host::console_arguments,
        schema: &host::PROGRAM,
        destination: Destination::OwnSocket,
        run: host::console,
        ..Command::DEFAULT
    },
    Command {
        path: "stats",
        family: Family::Operator,
        about: "Show the server's counters",
        schema: &operator::COUNTERS,
        destination: Destination::OwnSocket,
        run: operator::stats,
        ..Command::DEFAULT
    },
];

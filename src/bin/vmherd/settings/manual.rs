//! `docs/settings.md`, made from the table of settings: `make docs` writes it, a test compares it.
//!
//! Compiled into the tests only: the explanations are for the page, the daemon never prints them.

use std::fmt::Write;

use super::setting::{Kind, Setting};
use super::table::{SETTINGS, find};
use crate::written_file::expect_current;

#[test]
fn the_page_of_settings_is_current() {
    expect_current("docs/settings.md", &manual());
}

#[test]
fn the_page_shows_names_defaults_and_limits() {
    let manual = manual();
    for part in [
        "\n### --auth-queue N\n\nThe number of",
        "\n- environment: `VMHERD_AUTH_QUEUE`\n- default: 256\n- allowed: 1 to 65536\n",
        "\n- default: 5m\n- allowed: 10ms to 365d or none\n",
    ] {
        assert!(manual.contains(part), "{part}\nis not in\n{manual}");
    }
}

/// The page, in Markdown: every setting under one of the headings. Panics if a setting has no explanation or
/// an explanation has no setting.
fn manual() -> String {
    let explained: Vec<&str> =
        SECTIONS.iter().flat_map(|(_, entries)| *entries).map(|entry| entry.0).collect();
    for setting in SETTINGS {
        let count = explained.iter().filter(|flag| **flag == setting.flag).count();
        assert_eq!(count, 1, "src/bin/vmherd/settings/manual.rs explains --{} so often", setting.flag);
    }
    let mut text = String::from(INTRODUCTION);
    for (heading, entries) in SECTIONS {
        // Writing to a String never fails.
        let _ = writeln!(text, "\n## {heading}");
        for (flag, explanation) in *entries {
            push_entry(&mut text, find(flag).unwrap_or_else(|| panic!("no setting --{flag}")), explanation);
        }
    }
    text
}

fn push_entry(text: &mut String, setting: &Setting, explanation: &str) {
    let placeholder = if setting.placeholder.is_empty() { "" } else { " " };
    let _ = writeln!(text, "\n### --{}{placeholder}{}\n", setting.flag, setting.placeholder);
    push_wrapped(text, explanation);
    text.push('\n');
    let Some(name) = setting.variable_name() else {
        text.push_str("- a flag only\n");
        return;
    };
    let _ = writeln!(text, "- environment: `{name}`");
    let _ = writeln!(text, "- default: {}", setting.displayed_default());
    let _ = writeln!(text, "- allowed: {}", setting.allowed());
    if let Kind::Text { is_repeatable: true, .. } = setting.kind {
        text.push_str("- may be repeated; in the environment and the file separated by spaces\n");
    }
    if setting.is_reported() && setting.needs_restart {
        text.push_str("- a change needs a restart\n");
    }
}

/// The words of `paragraph` in lines of at most [`WIDTH`] bytes.
fn push_wrapped(text: &mut String, paragraph: &str) {
    let mut line_bytes = 0;
    for word in paragraph.split_whitespace() {
        let is_first = line_bytes == 0;
        let fits = line_bytes + 1 + word.len() <= WIDTH;
        line_bytes = if fits { line_bytes + 1 + word.len() } else { word.len() };
        if !is_first {
            text.push(if fits { ' ' } else { '\n' });
        }
        text.push_str(word);
    }
    text.push('\n');
}

/// Bytes of a line of an explanation.
const WIDTH: usize = 115;

const INTRODUCTION: &str = "\
# Settings

<!-- Written by `make docs` from the table of settings. Do not edit this page. -->

Every setting is a flag, an environment variable and a line of the settings file. `--auth-queue 100`,
`VMHERD_AUTH_QUEUE=100` in the environment and `VMHERD_AUTH_QUEUE=100` in the file given by `--config` mean the
same. A flag takes precedence over the environment, the environment over the file, the file over the default.

- `vmherd --check-config` checks the settings and exits. `vmherd --show-config` lists each value and its source.
- SIGHUP (`systemctl reload vmherd`) makes the daemon read the file again. Most settings take effect at once; the
  log names those that need a restart. If one of the new values is invalid, all old values stay in force.
- An unknown name in the file is an error, an unknown `VMHERD_` variable in the environment a warning.
- Times are written `500ms`, `10s`, `5m`, `1h` or `1d`, sizes `512KiB`, `64MiB` or `1GiB`. `none` turns a limit off
  where it is allowed.
- DIR below is `$STATE_DIRECTORY` (set by systemd), else `$XDG_STATE_HOME/vmherd`, else `~/.local/state/vmherd`.

Exit code 2 is an error on the command line, 78 an invalid setting, 1 any other failure.
";

type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// Every setting with its explanation in Markdown, under headings.
pub static SECTIONS: &[Section] = &[
    (
        "Listeners and clients",
        &[
            (
                "listen",
                "An address to listen on. `?open=` names the requests that anonymous clients may send; without it \
                 a listener on loopback or a unix socket opens all of them, any other listener none. See \
                 [Security](security.md). The daemon also listens on `vmherd.sock` in its state directory and on \
                 the sockets that systemd passes to it.",
            ),
            (
                "allow-plaintext",
                "Allows `--listen` addresses that other hosts can reach. vmherd does not encrypt: passwords, tokens \
                 and metrics cross the network as they are. Use it on networks that no other party can read; \
                 elsewhere, use [a tunnel or proxy](security.md).",
            ),
            (
                "sealed-onetime-keys",
                "Makes a new key pair for `sealed://` listeners at each start, instead of keeping one in \
                 `sealed_key.pem` in the state directory (`vmherd keys`). Clients that remember the fingerprint of the \
                 server then notice another one after each start.",
            ),
            (
                "sealed-tokens",
                "Demands an access token for each verb on `sealed://` listeners, as `access_token` among its parameters. \
                 `vmherd token` adds and removes access tokens. Other listeners demand none.",
            ),
            (
                "allow",
                "An address or a network whose clients may connect, or `any`. A client is admitted or refused by the \
                 first of these rules that applies: a `--deny` entry that is its address or a network with it refuses \
                 it; such an `--allow` entry admits it; `--deny any` refuses it; `--allow` without `any` refuses it. \
                 Otherwise it is admitted. `any` is not a network: `0.0.0.0/0` contains every IPv4 address, `::/0` \
                 every IPv6 address, and IPv4-mapped IPv6 addresses are those of IPv4. The lists apply to all \
                 listeners but unix sockets, and to the address that connects: behind [a proxy](security.md#tunnels-and-proxies) that \
                 is the proxy's. A refused client of HTTP gets `Refused request`, any other is disconnected without a \
                 reply. A change applies to new connections; open ones stay. Each list has at most 1024 entries. See \
                 [Security](security.md#addresses).",
            ),
            (
                "deny",
                "An address or a network whose clients may not connect, or `any`: then only clients may whose \
                 addresses or networks are `--allow` entries. See `--allow`.",
            ),
            (
                "http-host",
                "A host name that `Host` may contain, besides IP addresses and `localhost`. Other requests get 403: \
                 the rule keeps web pages from reaching the daemon through a name of their own (DNS rebinding).",
            ),
            (
                "http-origin",
                "An origin whose pages may use the daemon from a browser. They get CORS headers and may send \
                 `Authorization` and `Content-Type`. Requests from other foreign origins get 403.",
            ),
            (
                "connections-max",
                "The number of open connections. When it is reached, a new connection replaces one that has never \
                 sent anything, then the one that has been idle for longest without having authenticated. \
                 `vmherd.sock` has eight connections of its own. A low `LimitNOFILE` lowers this limit; the log says so.",
            ),
            (
                "buffers-max",
                "Memory for unfinished requests and for replies that clients have not taken, all connections \
                 together. When it is reached, the connections that hold most and have not authenticated are \
                 closed with `busy: clients have filled the memory that there is for requests`; authenticated \
                 connections wait. A list for a connection that has not authenticated waits for at most 10 s and \
                 gets `busy` then.",
            ),
            (
                "requests-per-connection",
                "The number of requests with a `request_id` that one connection may have open. One more gets `busy`.",
            ),
            ("requests-max", "The same limit for all connections together."),
        ],
    ),
    (
        "Timeouts",
        &[
            (
                "first-request-timeout",
                "How long a connection may stay open without sending anything. It is long, because people open `nc` \
                 first and then look for what to paste.",
            ),
            (
                "request-timeout",
                "The time from the first byte of a request to its last. A slow request gets an error, and its \
                 connection is closed.",
            ),
            (
                "idle-timeout",
                "The time between two requests, from when the reply to the first one is sent. A value set here \
                 applies to all connections. By default a connection may be idle for 1 h, an HTTP connection for \
                 75 s, and an authenticated raw JSON or WebSocket connection for any time: TCP keep-alive finds \
                 dead peers.",
            ),
            (
                "write-timeout",
                "How long a client may take nothing of a reply that is due to it. Then its connection is closed.",
            ),
        ],
    ),
    (
        "Registration and logins",
        &[
            (
                "registration",
                "Whether clients may register VMs. By default registration is open on loopback and unix sockets and \
                 closed on other listeners. `vmherd vm add` on the host always works.",
            ),
            ("vms-max", "The number of VMs in the store. One more gets `VM limit reached`."),
            ("token-lifetime", "How long a token that `authenticate` returns is valid."),
            (
                "login-failures",
                "The number of wrong passwords from one address (IPv6: one /64; unix socket: one user), or for one \
                 VM, before further logins by password are delayed. `none` turns the delay off. Tokens are never \
                 delayed.",
            ),
            (
                "login-delay-max",
                "The longest delay of a login after wrong passwords. `none` turns the delay off.",
            ),
            (
                "auth-workers",
                "Threads that hash passwords. They run at a lower priority than the other threads.",
            ),
            (
                "auth-queue",
                "The number of logins and registrations that may wait for such a thread. One more gets `busy`.",
            ),
            (
                "argon2-memory",
                "Memory of one password hash (argon2id), in KiB. A stored hash that is weaker than the three argon2 \
                 settings is replaced at the next login of its VM.",
            ),
            ("argon2-passes", "Passes over that memory."),
            ("argon2-lanes", "Lanes of that memory."),
        ],
    ),
    (
        "Store and metrics",
        &[
            (
                "store",
                "Where the VMs, tokens and metrics are: a SQLite file, a [PostgreSQL](../sql/README.md) database, or \
                 `memory:`, which keeps nothing after a stop. Use `--store-file` for a URL with a password.",
            ),
            (
                "store-file",
                "A file whose first line is the value of `--store`. It keeps the password of a database out of \
                 arguments and environments.",
            ),
            (
                "state-dir",
                "The directory of the daemon's lock, of its own socket `vmherd.sock` and of the default store.",
            ),
            (
                "store-connections",
                "The most connections that the daemon opens to PostgreSQL. With few of them its threads take turns. \
                 See [PostgreSQL](../sql/README.md).",
            ),
            ("read-queue", "The number of reads that may wait for the store. One more gets `busy`."),
            ("write-queue", "The number of writes that may wait for the store. One more gets `busy`."),
            (
                "metrics-durability",
                "When a `put` is answered `ok`: `store` when the store has committed it, `memory` when it is in the \
                 daemon's memory, which is written to the store within a second. See \
                 [Metrics](protocols.md#metrics).",
            ),
            (
                "metrics-retention",
                "Removes points whose timestamp is older than this. A key without points is removed as well.",
            ),
            #[cfg(feature = "page")]
            (
                "metrics-points",
                "Adds the latest point of each key to what [Prometheus](prometheus.md) reads: up to 100 000 lines for each \
                 scrape.",
            ),
            (
                "conversion-delay",
                "The delay of a [conversion](protocols.md#conversions), drawn at random for each one from this \
                 range. `0` answers at once.",
            ),
        ],
    ),
    (
        "Virtual machines on this host",
        &[
            (
                "vm-image",
                "The image that the verb `CREATE` boots a VM from: an ISO image, or that of a disk in the format \
                 qcow2 or raw. Without this setting the daemon runs no VMs. The image must have an SSH server, and \
                 cloud-init or something else that reads a NoCloud seed: [VMs](vms.md). A VM writes to a copy that \
                 is gone when it ends.",
            ),
            (
                "vms-running-max",
                "The number of VMs that run at a time. One more gets `Unavailable (Running containers maximum amount \
                 was reached)`. At most as many boot at a time as the host has processors.",
            ),
            (
                "vm-ports",
                "The ports of this host at which the VMs' SSH servers are reached, one each. There must be as many \
                 as `--vms-running-max`, and some more where other programs use this range.",
            ),
            (
                "vm-address",
                "The address at which these ports listen. `0.0.0.0` lets other hosts reach the VMs; their users \
                 have random passwords of 120 characters.",
            ),
            ("vm-memory", "Memory of a VM in MiB."),
            ("vm-cpus", "Processors of a VM."),
            (
                "vm-accel",
                "What runs the code of VMs. `kvm` is the processor, through `/dev/kvm`: the daemon does not start \
                 if its user may not use that. `tcg` is QEMU: some ten times slower. `auto` takes kvm where the \
                 user may use it.",
            ),
            (
                "vm-network",
                "What VMs reach besides their own SSH port. `restricted`: nothing. `open`: what the host reaches, \
                 and the services on its loopback addresses, this daemon among them: there a VM counts as a program \
                 on this host.",
            ),
            (
                "vm-user-data",
                "A file with user-data for cloud-init, which every VM gets besides its user: it begins with the line \
                 `#cloud-config`, or with `#!` if it is a script.",
            ),
            (
                "vm-enroll",
                "Gives each VM a token with which a program in it authenticates as this VM, in the file \
                 `/etc/vmherd/enrollment.json` for root, with the address of the daemon: that of the first TCP \
                 listener. The token is valid when the VM is in the lists, and as long as it lives.",
            ),
            (
                "vm-ready-timeout",
                "The time from the start of QEMU until the SSH server of the VM greets; then `CREATE` is answered. \
                 After it the VM is ended, `CREATE` fails, and the last lines of its serial console are in the log. \
                 A `CREATE` waits for as long before that while others boot.",
            ),
            (
                "vm-stop-timeout",
                "The time that VMs get to power off when the daemon stops, all at once. Then QEMU is told to quit, \
                 and killed a second later. A stop may take this much longer.",
            ),
            ("vm-life-max", "The time after which a VM is ended."),
            (
                "vm-idle-timeout",
                "The time without a connection to its SSH port after which a VM is ended. It is looked at every five \
                 seconds.",
            ),
            ("vm-reboot", "Lets VMs reboot. By default a reboot ends the VM, as a power-off does."),
            (
                "vms-survive",
                "Leaves the VMs running when the daemon stops or crashes. The next daemon on the same state directory \
                 takes them over. By default they are ended, and those of a daemon that has crashed with it.",
            ),
            ("vm-machine", "QEMU's machine type."),
            ("vm-qemu", "QEMU: a path, or a name that is found as the shell does."),
            (
                "vm-qemu-arg",
                "One more argument for QEMU. Write it as `--vm-qemu-arg=-cpu --vm-qemu-arg=max`.",
            ),
        ],
    ),
    (
        "Log and settings file",
        &[
            (
                "config",
                "A settings file: lines of `NAME=VALUE` in the syntax of systemd's `EnvironmentFile=`. \
                 `systemd/vmherd.conf` is one with every setting, commented out.",
            ),
            (
                "log",
                "Which log lines are written, in the syntax of `RUST_LOG`: a level, or levels for targets, such as \
                 `warn,vmherd=debug`. The [audit log](operations.md#audit-log) is a target of its own.",
            ),
            (
                "log-addresses",
                "How log lines show the addresses of clients. `full`: as they are, with the port. `hashed`: as seven \
                 hexadecimal digits of a keyed hash; the key is random and new at each start of the daemon, so an \
                 address has the same digits until then, and is not to be found from them. `none`: as `-`. `hashed` \
                 and `none` show no port. [fail2ban](operations.md#audit-log) needs `full`. Replies, such as the \
                 lists, show addresses as they are.",
            ),
            ("log-format", "`text`, or one JSON object a line. The log goes to standard error."),
        ],
    ),
    (
        "Questions",
        &[
            ("check-config", "Checks the settings, says whether they are valid, and exits."),
            ("show-config", "Prints each setting, its value and its source, and exits."),
            ("version", "Prints the version and exits."),
            ("help", "Prints a summary of the settings and exits."),
        ],
    ),
];

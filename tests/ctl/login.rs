//! Passwords and tokens: where they come from, and what is left of them.

use serde_json::json;

use crate::common::{Daemon, PASSWORD};
use crate::support::User;

#[test]
fn passwords_come_from_a_file_a_variable_or_standard_input() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    let file = user.file("password", &format!("{PASSWORD}\r\nsecond line\n"));
    user.output(&["register", "a", "--ram", "1", "--cpu", "1", "--password-file", &file]);
    user.output(&["vms", "--vm", "a", "--password-file", &file]);
    let ran = user.run_with_input(&["vms", "--vm", "a", "--password-file", "-"], &format!("{PASSWORD}\n"));
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    let user = user.with_password();
    user.output(&["vms", "--vm", "a"]);
}

#[test]
fn a_token_serves_other_commands_until_logout() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    user.register("web-1", &[]);
    let with_password = User::of(&daemon).with_password();
    let document = with_password.json(&["authenticate", "web-1"]);
    assert_eq!(document["login"]["vm_id"], "web-1");
    let token = with_password.output(&["authenticate", "web-1", "-c", "token", "--format", "compact"]);
    assert_eq!(token.trim_end().len(), 64, "{token}");

    let file = user.file("token", &token);
    assert_eq!(user.json(&["vms", "--token-file", &file])["vms"][0]["vm_id"], "web-1");
    let of_variable = User::of(&daemon).env("VMHERD_TOKEN", token.trim_end());
    assert_eq!(of_variable.json(&["list_auth"])["vms"][0]["vm_id"], "web-1");
    of_variable.output(&["logout"]);
    let (code, text) = user.failure(&["vms", "--token-file", &file]);
    assert_eq!(code, 4);
    assert!(text.contains("\nhint: get a new token: vmherdctl authenticate NAME\n"), "{text}");
}

/// A VM has 64 tokens at most: commands that log in by password must not use them up.
#[test]
fn one_command_leaves_no_token_behind() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    let token = user.json(&["authenticate", "web-1"])["login"]["token"].clone();
    for _ in 0..65 {
        user.output(&["vms", "--vm", "web-1"]);
    }
    let mut client = daemon.client();
    client.succeed("list", json!({"list_type": "all_vms", "token": token}));
}

#[test]
fn without_a_terminal_there_is_no_prompt() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    user.register("web-1", &[]);
    // In a session of its own there is no terminal to open.
    let mut command = std::process::Command::new("setsid");
    let inner = user.command(&["vms", "--vm", "web-1"]);
    command.arg("--wait").arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = crate::common::run(&mut command);
    assert_eq!((ran.code(), &*ran.stdout), (Some(2), ""), "{ran:?}");
    assert!(ran.stderr.contains("hint: give it with --password-file FILE or VMHERD_PASSWORD"), "{ran:?}");
}

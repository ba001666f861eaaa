//! The console in a real terminal, and on input that is none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use crate::common::{DEADLINE, Daemon, PASSWORD, wait_until};
use crate::support::User;
use crate::terminal::Terminal;

#[test]
fn a_vm_is_registered_by_questions_and_logs_in() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    let terminal = Terminal::console(&user);
    terminal.enter("ping");
    terminal.wait_for("PONG from tcp://");
    terminal.enter("register");
    for (question, answer) in [
        ("VM ID:", "web-1"),
        ("New password of web-1:", PASSWORD),
        ("Repeat the password:", PASSWORD),
        ("RAM (512M, 2G):", "2GB"),
        ("the units are M, G, T and P (MiB, GiB, TiB, PiB)\nRAM (512M, 2G):", "2G"),
        ("CPUs:", "4"),
        ("Number of disks:", "2"),
        ("Size of disk 1 (100G, 1.5T):", "100"),
        ("Size of disk 2 (100G, 1.5T):", "1.5T"),
    ] {
        terminal.wait_for(question);
        terminal.enter(answer);
    }
    terminal.wait_for("registered web-1");
    terminal.enter("list_all");
    terminal.wait_for("You have to authenticate to run this operation");
    terminal.wait_for("hint: authenticate NAME logs in");
    terminal.enter("zzz");
    terminal.wait_for("hint: help lists the commands");
    terminal.enter("authenticate");
    terminal.wait_for_line("VM ID:");
    terminal.enter("web-1");
    terminal.wait_for("Password of web-1:");
    terminal.enter(PASSWORD);
    terminal.wait_for_line("web-1>");
    // The connection stays: no command needs the password again.
    terminal.enter("list_all");
    terminal.wait_for("web-1   2G     4  1=100G 2=1536G");
    terminal.enter("list_auth -c vm_id --format json");
    terminal.wait_for("{\"vms\":[{\"vm_id\":\"web-1\"}]}");
    terminal.enter("logout");
    terminal.wait_for("VM (web-1) logged out successfully");
    terminal.wait_for_line("vmherd>");
    let screen = terminal.screen();
    assert!(!screen.contains(PASSWORD), "{screen}");
    terminal.enter("exit");
    terminal.wait_for_end();
}

#[test]
fn keys_edit_complete_recall_and_end() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    user.register("web-1", &[]);
    user.register("other", &[]);
    let terminal = Terminal::console(&user);
    terminal.type_text("pi");
    terminal.press("Tab");
    terminal.wait_for_line("vmherd> ping");
    terminal.press("C-c");
    terminal.wait_for_line("vmherd>");
    // A password that is not given leaves the terminal as it was.
    terminal.enter("authenticate web-1");
    terminal.wait_for("Password of web-1:");
    terminal.press("C-c");
    terminal.wait_for("vmherdctl: interrupted; nothing was changed");
    terminal.enter("authenticate web-1");
    terminal.wait_for_line("Password of web-1:");
    terminal.enter(PASSWORD);
    terminal.wait_for_line("web-1>");
    terminal.enter("vms");
    terminal.wait_for("other  512M");
    terminal.type_text("authenticate ot");
    terminal.press("Tab");
    terminal.wait_for_line("web-1> authenticate other");
    terminal.press("C-c");
    terminal.wait_for_line("web-1>");
    terminal.press("Up");
    terminal.wait_for_line("web-1> vms");
    terminal.press("C-c");
    terminal.wait_for_line("web-1>");
    terminal.enter("help vms");
    terminal.wait_for("Usage: vms [OPTIONS]");
    terminal.press("C-d");
    terminal.wait_for_end();

    let terminal = Terminal::console(&user);
    terminal.press("Up");
    terminal.wait_for_line("vmherd> help vms");
}

/// Passwords that are typed where they belong, and where they do not.
#[test]
fn secrets_are_in_no_history_and_no_argument() {
    let daemon = Daemon::start();
    let user = User::of(&daemon);
    user.register("web-1", &[]);
    let terminal = Terminal::console(&user);
    terminal.enter(&format!("authenticate web-1 {PASSWORD}"));
    terminal.wait_for("unexpected argument");
    terminal.enter(&format!("raw '{{\"command\": \"authenticate\", \"data\": {{\"vm_id\": \"web-1\", \"password\": \"{PASSWORD}\"}}}}'"));
    terminal.wait_for("Authentication successful");
    terminal.enter("authenticate web-1");
    terminal.wait_for("Password of web-1:");
    terminal.enter(PASSWORD);
    terminal.wait_for_line("web-1>");

    let arguments = fs::read_dir("/proc").expect("processes").filter_map(|entry| {
        let folder = entry.ok()?.path();
        let program = fs::read_link(folder.join("exe")).ok()?;
        let is_ours = program.ends_with("vmherdctl");
        is_ours.then(|| fs::read(folder.join("cmdline")).unwrap_or_default())
    });
    let arguments: Vec<String> =
        arguments.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
    assert!(!arguments.is_empty(), "the console runs");
    assert!(arguments.iter().all(|line| !line.contains(PASSWORD)), "{arguments:?}");

    terminal.enter("exit");
    terminal.wait_for_end();
    let file = user.path("vmherdctl/history");
    assert_eq!(fs::metadata(&file).expect("the history").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&file).expect("text"), "authenticate web-1\n");
}

#[test]
fn a_lost_connection_is_made_again_with_the_login() {
    let builder = Daemon::builder();
    let socket = builder.state_dir().join("clients.sock");
    let mut daemon = builder.only_on(format!("unix:{}", socket.display())).start();
    let user = User::at(&format!("unix:{}", socket.display()));
    let wait_for_server = || {
        wait_until("the server accepts", DEADLINE, || UnixStream::connect(&socket).is_ok());
    };
    wait_for_server();
    user.register("web-1", &[]);
    let terminal = Terminal::console(&user);
    terminal.enter("authenticate web-1");
    terminal.wait_for("Password of web-1:");
    terminal.enter(PASSWORD);
    terminal.wait_for_line("web-1>");
    daemon.restart();
    wait_for_server();
    terminal.enter("list_auth -c vm_id --format json");
    terminal.wait_for("{\"vms\":[{\"vm_id\":\"web-1\"}]}");
    daemon.stop();
    terminal.enter("vms");
    terminal.wait_for("cannot connect to unix:");
    daemon.restart();
    wait_for_server();
    terminal.enter("vms --format csv -c ram");
    terminal.wait_for("512");
}

#[test]
fn a_script_of_commands_needs_no_terminal() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    let script = "authenticate web-1\nupdate --ram 1G\n\nvms --format compact -c vm_id,ram\n";
    let ran = user.run_with_input(&[], script);
    assert_eq!((ran.code(), &*ran.stderr), (Some(0), ""), "{}", ran.stdout);
    assert_eq!(ran.stdout, "logged in as web-1\nupdated the VM\nweb-1\t1024\n");
    let ran = user.run_with_input(&["--format", "json"], "ping\nvms\n");
    assert_eq!(ran.code(), Some(4), "of the last command: {ran:?}");
    assert!(
        ran.stdout.starts_with("{\"ping\":") && ran.stderr.starts_with("{\"code\":\"denied\""),
        "{ran:?}"
    );
    let ran = user.run_with_input(&[], "exit\nping\n");
    assert_eq!((ran.code(), &*ran.stdout), (Some(0), ""));
}

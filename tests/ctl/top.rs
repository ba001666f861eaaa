//! `top` in a real terminal: what it shows, its keys, servers that go and come, and the terminal after it.

use serde_json::json;

use crate::common::{DEADLINE, Daemon, send_signal, wait_until};
use crate::hostile::{EVIL, server, success};
use crate::support::{User, names};
use crate::terminal::Terminal;

const FAST: [&str; 3] = ["top", "--interval", "0.1s"];

/// Waits until a line of the screen begins with these words.
#[track_caller]
fn wait_for_row(terminal: &Terminal, words: &[&str]) {
    wait_until(&format!("a line {words:?}"), DEADLINE, || {
        terminal
            .screen()
            .lines()
            .any(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()))
    });
}

/// The first words of the rows.
fn rows(terminal: &Terminal) -> Vec<String> {
    let screen = terminal.screen();
    let rows = screen.lines().skip_while(|line| !line.starts_with("NAME")).skip(1);
    rows.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[track_caller]
fn wait_for_rows(terminal: &Terminal, expected: &[&str]) {
    wait_until(&format!("the rows are {expected:?}"), DEADLINE, || rows(terminal) == expected);
}

/// A daemon with VMs, of the RAM in MiB, and its operator, who names no server.
fn herd(vms: &[(&str, &str)]) -> (Daemon, User) {
    let daemon = Daemon::start();
    let state_dir = daemon.state_dir().display().to_string();
    let operator = User::at("").env("VMHERD_STATE_DIR", &state_dir);
    for (name, ram) in vms {
        let size = ["--ram", ram, "--cpu", "2", "--disk", "100G", "--no-password"];
        operator.output(&[&["vm", "add", name], &size[..]].concat());
    }
    (daemon, operator)
}

#[test]
fn the_operator_sees_a_vm_log_in() {
    let (daemon, operator) = herd(&[("a", "512"), ("b", "1024")]);
    let mut client = daemon.client();
    client.register("late", &[1]);
    let terminal = Terminal::start(&operator, 80, &FAST);
    terminal.wait_for("3 VMs, 0 online, 2 connections, ");
    terminal.wait_for("requests/s");
    terminal.wait_for(&format!("vmherd {}  up ", env!("CARGO_PKG_VERSION")));
    wait_for_row(&terminal, &["a", "offline", "-", "512M", "2", "1=100G"]);
    wait_for_rows(&terminal, &["a", "b", "late"]);
    client.authenticate("late");
    wait_for_row(&terminal, &["late", "online"]);
    // Online first; then by name; then by RAM.
    wait_for_rows(&terminal, &["late", "a", "b"]);
    terminal.press("s");
    wait_for_rows(&terminal, &["a", "b", "late"]);
    terminal.press("s");
    terminal.wait_for("by ram;");
    let ram_first = rows(&terminal);
    assert!(ram_first.iter().position(|name| name == "b") < ram_first.iter().position(|name| name == "a"));
    drop(client);
    wait_for_row(&terminal, &["late", "offline"]);
}

#[test]
fn others_see_who_is_online() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &["100"]);
    user.register("web-2", &["100"]);
    let arguments = [&FAST[..], &["--vm", "web-1"]].concat();
    let terminal = Terminal::start(&user, 80, &arguments);
    terminal.wait_for("2 VMs, 1 online, 1 connections");
    wait_for_row(&terminal, &["web-1", "online"]);
    wait_for_row(&terminal, &["web-2", "offline", "-"]);
    assert!(!terminal.screen().contains("requests/s"));
}

#[test]
fn rows_fit_the_screen_and_scroll() {
    let names: Vec<String> = (0..60).map(|number| format!("vm-{number:02}-{}", "x".repeat(60))).collect();
    let vms: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "512")).collect();
    let (_daemon, operator) = herd(&vms);
    let terminal = Terminal::start(&operator, 40, &FAST);
    wait_until("a full screen", DEADLINE, || rows(&terminal).len() == 26);
    let first = |terminal: &Terminal| rows(terminal)[0][..5].to_owned();
    assert_eq!(first(&terminal), "vm-00");
    let screen = terminal.screen();
    assert!(screen.lines().all(|line| line.chars().count() <= 40) && screen.contains("offline"), "{screen}");
    terminal.press("Down");
    wait_until("a row further", DEADLINE, || first(&terminal) == "vm-01");
    terminal.press("NPage");
    wait_until("a page further", DEADLINE, || first(&terminal) == "vm-27");
    terminal.press("NPage");
    wait_until("the end", DEADLINE, || first(&terminal) == "vm-34");
    terminal.resize(110, 10);
    wait_until("the new size", DEADLINE, || rows(&terminal).len() == 6);
    terminal.press("PPage");
    wait_until("a page back", DEADLINE, || first(&terminal) == "vm-28");
    wait_until("the name is whole", DEADLINE, || rows(&terminal)[0].len() == 66);
}

#[test]
fn a_lost_server_is_named_until_it_is_back() {
    let (mut daemon, operator) = herd(&[("a", "512")]);
    let terminal = Terminal::start(&operator, 80, &FAST);
    wait_for_rows(&terminal, &["a"]);
    daemon.stop();
    terminal.wait_for("trying again: ");
    assert_eq!(rows(&terminal), ["a"], "the last rows stay");
    daemon.restart();
    wait_until("it is back", DEADLINE, || !terminal.screen().contains("trying again"));
    daemon.client().register("b", &[1]);
    wait_for_rows(&terminal, &["a", "b"]);
}

#[test]
fn names_of_a_hostile_server_are_escaped() {
    let vm = json!({"vm_id": EVIL, "ram": EVIL, "cpu": [EVIL], "disks": EVIL});
    let data = json!({"all_vms": [vm], "active_vms": [{"vm_info": vm}]});
    let user = server(&success(data));
    let terminal = Terminal::start(&user, 40, &FAST);
    terminal.wait_for("a\\u001b]0;x");
    let screen = terminal.screen();
    assert!(screen.contains("1 VMs, 1 online, 1 connections"), "nothing is cleared: {screen}");
    assert!(!screen.contains(['\u{9b}', '\u{202e}', '\u{2028}']), "{screen}");
}

#[test]
fn the_console_goes_on_after_it() {
    let (_daemon, operator) = herd(&[("a", "512")]);
    let terminal = Terminal::console(&operator);
    for key in ["q", "Escape", "C-c"] {
        terminal.enter("top");
        wait_for_row(&terminal, &["a", "offline"]);
        assert_eq!(terminal.property("#{alternate_on} #{cursor_flag}"), "1 0");
        terminal.press(key);
        terminal.wait_for_line("vmherd>");
        assert_eq!(terminal.property("#{alternate_on} #{cursor_flag} #{wrap_flag}"), "0 1 1", "{key}");
        assert!(!terminal.screen().contains("offline"), "{}", terminal.screen());
    }
    terminal.enter("exit");
    terminal.wait_for_end();
}

#[test]
fn signals_end_it_and_restore_the_terminal() {
    let (_daemon, operator) = herd(&[("a", "512")]);
    for (signal, end) in [("TERM", "signal 15"), ("INT", "status 0")] {
        let terminal = Terminal::start(&operator, 80, &FAST);
        wait_for_rows(&terminal, &["a"]);
        send_signal(signal, terminal.property("#{pane_pid}").parse().expect("a process"));
        let ended = "#{?pane_dead_signal,signal #{pane_dead_signal},status #{pane_dead_status}}";
        let tmux = terminal.property("#{pid}").parse().expect("a process");
        wait_until(&format!("{signal} ends it: {end}"), DEADLINE, || {
            // tmux 3.3 now and then misses the signal that a child has ended.
            send_signal("CHLD", tmux);
            terminal.property(ended) == end
        });
        assert_eq!(terminal.property("#{alternate_on}"), "0", "{signal}");
    }
}

#[test]
fn without_a_terminal_there_is_one_table_at_most() {
    let (_daemon, operator) = herd(&[("a", "512")]);
    let (code, text) = operator.failure(&["top"]);
    assert_eq!(code, 2);
    assert!(text.contains("must be a terminal\nhint: top --once"), "{text}");
    assert_eq!(operator.failure(&["top", "--format", "json"]).0, 2);
    let table = operator.output(&["top", "--once"]);
    assert_eq!(table, "NAME  STATE    SINCE   RAM  CPUS  DISKS\na     offline      -  512M     2  1=100G\n");
    let document = operator.json(&["top", "--once"]);
    assert_eq!(names(&document["vms"][0]), ["cpu", "disks", "ram", "since", "state", "vm_id"]);
}

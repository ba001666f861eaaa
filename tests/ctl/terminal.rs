//! The program in a real terminal, which tmux provides: its width, its attributes, and progress.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{DEADLINE, Daemon, require, run, wait_until};
use crate::support::User;

/// A terminal in which the program runs.
pub struct Terminal {
    socket: PathBuf,
    settings: String,
}

impl Terminal {
    /// The console of `user`.
    #[track_caller]
    pub fn console(user: &User) -> Terminal {
        let terminal = Terminal::start(user, 60, &[]);
        terminal.wait_for("vmherd> ");
        terminal
    }

    /// The program with these arguments, in a terminal of so many columns that stays when it has ended.
    #[track_caller]
    pub fn start(user: &User, columns: u16, arguments: &[&str]) -> Terminal {
        require("tmux", "tmux");
        let settings = if arguments.is_empty() {
            ""
        } else {
            "set -g remain-on-exit on
"
        };
        let settings = user.file("tmux.conf", settings);
        // A server that is ending would still have the socket of an earlier terminal.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let socket = user.path(&format!("tmux-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let terminal = Terminal { socket, settings };
        let program = user.command(arguments);
        let columns = columns.to_string();
        let mut tmux =
            terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", "30", "env", "-i", "TERM=screen"]);
        for (name, value) in program.get_envs() {
            tmux.arg(format!("{}={}", name.to_string_lossy(), value.unwrap_or_default().to_string_lossy()));
        }
        tmux.arg(program.get_program()).args(program.get_args());
        run(&mut tmux).expect_success();
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.env_remove("TMUX").arg("-f").arg(&self.settings).arg("-S").arg(&self.socket).args(arguments);
        tmux
    }

    /// Types `text` as it is.
    pub fn type_text(&self, text: &str) {
        run(&mut self.tmux(&["send-keys", "-l", "--", text])).expect_success();
    }

    /// Presses a key by tmux's name of it.
    pub fn press(&self, key: &str) {
        run(&mut self.tmux(&["send-keys", key])).expect_success();
    }

    pub fn enter(&self, line: &str) {
        self.type_text(line);
        self.press("Enter");
    }

    /// What the terminal shows, with the sequences of its attributes.
    fn attributes(&self) -> String {
        run(&mut self.tmux(&["capture-pane", "-p", "-e", "-S", "-1000"])).stdout
    }

    /// What the terminal shows, the lines that have left it included.
    pub fn screen(&self) -> String {
        run(&mut self.tmux(&["capture-pane", "-p", "-J", "-S", "-1000"])).stdout
    }

    /// What tmux knows of the terminal, in its format.
    pub fn property(&self, format: &str) -> String {
        run(&mut self.tmux(&["display-message", "-p", format])).stdout.trim_end().to_owned()
    }

    pub fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        run(&mut self.tmux(&["resize-window", "-x", &columns, "-y", &lines])).expect_success();
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("the terminal shows {text:?}"), DEADLINE, || self.screen().contains(text));
    }

    /// Waits for `text` as the last line.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) {
        wait_until(&format!("the last line is {text:?}"), DEADLINE, || {
            self.screen().trim_end().lines().last().is_some_and(|line| line.trim_end() == text)
        });
    }

    /// Waits for the end of the console, and of its terminal.
    #[track_caller]
    pub fn wait_for_end(&self) {
        wait_until("the console ends", DEADLINE, || run(&mut self.tmux(&["has-session"])).code() != Some(0));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── the terminal ──\n{}──", self.screen());
        }
        let _ = self.tmux(&["kill-server"]).output();
    }
}

#[test]
fn tables_fit_the_terminal() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    let name = "n".repeat(60);
    user.register(&name, &["100", "200", "300", "400"]);
    let terminal = Terminal::start(&user, 40, &["vms", "--vm", &name]);
    terminal.wait_for("4=400G");
    let screen = run(&mut terminal.tmux(&["capture-pane", "-p", "-S", "-1000"])).stdout;
    // A line that the terminal had to break would begin in the first column.
    let lines: Vec<&str> = screen.lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(lines[0].starts_with("NAME") && lines[1].starts_with("nnnnnnnn"), "{screen}");
    assert!(lines.iter().all(|line| line.starts_with(['N', 'n', ' ', 'P'])), "{screen}");
}

#[test]
fn headings_are_bold_unless_colours_are_unwanted() {
    let daemon = Daemon::start();
    let user = User::of(&daemon).with_password();
    user.register("web-1", &[]);
    let arguments = ["vms", "--vm", "web-1"];
    let terminal = Terminal::start(&user, 80, &arguments);
    terminal.wait_for("web-1");
    assert!(terminal.attributes().contains("\u{1b}[1mNAME"), "{:?}", terminal.attributes());
    drop(terminal);
    let user = user.env("NO_COLOR", "1");
    let terminal = Terminal::start(&user, 80, &arguments);
    terminal.wait_for("web-1");
    assert!(!terminal.attributes().contains("\u{1b}[1mNAME"), "{:?}", terminal.attributes());
}

#[test]
fn a_slow_server_is_named_while_it_is_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let user = User::at(&silent.local_addr().expect("an address").to_string());
    let terminal = Terminal::start(&user, 60, &["ping", "--timeout", "2.5s"]);
    terminal.wait_for("waiting for the server 1 s");
    terminal.wait_for("vmherdctl: no reply in time");
    let screen = terminal.screen();
    assert!(!screen.contains("waiting"), "it is gone when it is over: {screen}");
}

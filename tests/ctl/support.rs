//! Runs `vmherdctl` with an environment of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::common::{Daemon, Finished, PASSWORD, TempDir, run_with_input};

/// A user of `vmherdctl`, with a state directory and files of their own.
pub struct User {
    server: String,
    home: TempDir,
    environment: Vec<(String, String)>,
}

impl User {
    /// Of the daemon's TCP listener.
    pub fn of(daemon: &Daemon) -> User {
        User::at(&format!("tcp://{}", daemon.address()))
    }

    /// On the daemon's host, with the rights of the operator.
    pub fn operator(daemon: &Daemon) -> User {
        User::at(&format!("unix:{}", daemon.own_socket().display()))
    }

    pub fn at(server: &str) -> User {
        User { server: server.to_owned(), home: TempDir::new(), environment: Vec::new() }
    }

    /// With another environment variable.
    pub fn env(mut self, name: &str, value: &str) -> User {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whose password is the usual one.
    pub fn with_password(self) -> User {
        self.env("VMHERD_PASSWORD", PASSWORD)
    }

    /// A file of the user.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The program with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherdctl"));
        command.args(arguments).env_clear().env("VMHERD_SERVER", &self.server);
        command.env("XDG_STATE_HOME", self.home.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with_input(arguments, "")
    }

    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Finished {
        run_with_input(&mut self.command(arguments), input.as_bytes())
    }

    /// What a command prints, which must succeed and say nothing on standard error.
    #[track_caller]
    pub fn output(&self, arguments: &[&str]) -> String {
        let finished = self.run(arguments);
        assert_eq!((finished.code(), &*finished.stderr), (Some(0), ""), "{arguments:?}: {}", finished.stdout);
        finished.stdout
    }

    /// The document of a command with `--format json`.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.output(&[arguments, &["--format", "json"]].concat());
        assert_eq!(text.lines().count(), 1, "one document: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The exit code and the text on standard error of a command that must fail and print nothing.
    #[track_caller]
    pub fn failure(&self, arguments: &[&str]) -> (i32, String) {
        let finished = self.run(arguments);
        assert_eq!(finished.stdout, "", "{arguments:?}: {}", finished.stderr);
        let code = finished.code().expect("an exit code");
        assert_ne!(code, 0, "{arguments:?}");
        (code, finished.stderr)
    }

    /// Registers a VM with the usual password.
    #[track_caller]
    pub fn register(&self, name: &str, disks: &[&str]) {
        let mut arguments = vec!["register", name, "--ram", "512", "--cpu", "4"];
        arguments.extend(disks.iter().flat_map(|disk| ["--disk", disk]));
        let mut command = self.command(&arguments);
        run_with_input(command.env("VMHERD_PASSWORD", PASSWORD), b"").expect_success();
    }
}

/// The names of an object, in order.
pub fn names(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

//! A library that makes syncs to the disk fail on demand.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::{Builder, Daemon, TempDir, require, run};

/// A library that makes syncs fail on demand.
pub struct Fault {
    folder: TempDir,
}

impl Fault {
    /// Compiles it.
    pub fn new() -> Fault {
        require("cc", "gcc");
        let folder = TempDir::new();
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/common/sync_error.c");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        run(command.arg(folder.path().join("fault.so")).arg(source).arg("-ldl")).expect_success();
        Fault { folder }
    }

    /// A daemon with the library.
    pub fn daemon(&self) -> Builder {
        let daemon = Daemon::builder();
        self.environment().into_iter().fold(daemon, |daemon, (name, value)| daemon.env(name, value))
    }

    /// The variables with which a program loads it.
    pub fn environment(&self) -> [(&str, PathBuf); 2] {
        [("LD_PRELOAD", self.folder.path().join("fault.so")), ("FAULT_TRIGGER", self.trigger())]
    }

    /// From now on syncs of files whose path ends with `suffix` fail.
    pub fn begin(&self, suffix: &str) {
        let new = self.trigger().with_extension("new");
        fs::write(&new, suffix).expect("a file");
        fs::rename(new, self.trigger()).expect("a file");
    }

    /// Of the syncs of such files the one with this number fails, counted from 1 in each daemon.
    pub fn begin_at(&self, suffix: &str, number: usize) {
        self.begin(&format!("{suffix}\n{number}"));
    }

    /// Syncs work again; how many failed since the beginning.
    pub fn end(&self) -> usize {
        fs::remove_file(self.trigger()).expect("it had begun");
        self.hits()
    }

    /// How many syncs failed since the beginning.
    pub fn hits(&self) -> usize {
        fs::read_to_string(self.folder.path().join("trigger.hits")).map_or(0, |hits| hits.lines().count())
    }

    fn trigger(&self) -> PathBuf {
        self.folder.path().join("trigger")
    }
}

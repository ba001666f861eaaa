//! A daemon whose clocks the test sets ahead.

// Each test binary takes what it needs of this.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::{Builder, Daemon, TempDir, require, run};

/// A library that sets a daemon's clocks.
pub struct FalseClock {
    folder: TempDir,
}

impl FalseClock {
    #[track_caller]
    pub fn new() -> FalseClock {
        require("cc", "gcc");
        let clock = FalseClock { folder: TempDir::new() };
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/common/clock.c");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        run(command.arg(clock.file("clock.so")).arg(source)).expect_success();
        clock.set_wall_ahead(0);
        clock.set_monotonic_ahead(0);
        clock
    }

    /// A daemon with these clocks.
    pub fn daemon(&self) -> Builder {
        Daemon::builder()
            .env("LD_PRELOAD", self.file("clock.so"))
            .env("WALL_AHEAD", self.file("wall"))
            .env("MONOTONIC_AHEAD", self.file("monotonic"))
    }

    /// From now on the wall clock is ahead by so many seconds.
    pub fn set_wall_ahead(&self, seconds: i64) {
        self.set("wall", seconds);
    }

    /// From now on the monotonic clock is ahead by so many seconds; it must not go back. Threads that sleep notice it
    /// when they wake.
    pub fn set_monotonic_ahead(&self, seconds: i64) {
        self.set("monotonic", seconds);
    }

    fn set(&self, name: &str, seconds: i64) {
        fs::write(self.file("new"), seconds.to_string()).expect("a file");
        fs::rename(self.file("new"), self.file(name)).expect("a file");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

//! Files of the repository that are written from tables in the code: `make docs` writes them, tests compare them.

use std::path::Path;
use std::{env, fs};

use clap::Command;
use clap_complete::{Shell, generate};

/// Compares the file at `path`, from the top of the repository, with `expected`; under `make docs` writes it first.
#[track_caller]
pub fn expect_current(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("VMHERD_WRITE_DOCS").is_some() {
        fs::write(&file, expected).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} differs from the tables in the code: run `make docs`");
}

/// Compares the completions of `command` in `docs/completions`, under the names that the shells look for.
#[track_caller]
pub fn expect_current_completions(command: &Command) {
    let program = command.get_name();
    for (shell, file) in [
        (Shell::Bash, program.to_owned()),
        (Shell::Zsh, format!("_{program}")),
        (Shell::Fish, format!("{program}.fish")),
    ] {
        let mut text = Vec::new();
        generate(shell, &mut command.clone(), program, &mut text);
        let text = String::from_utf8(text).expect("completions are text");
        expect_current(&format!("docs/completions/{file}"), &text);
    }
}

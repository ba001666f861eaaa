//! `vmherd keys`: shows or makes the key pair of sealed listeners.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;

use vmherd::{Escaped, KeyFile, KeyPair, RsaKeyPair, redact};

use crate::settings::{Arguments, Flag, Takes};
use crate::tool::{Tool, ToolError};

/// What to do.
enum Command {
    Show,
    New { bits: usize },
}

/// Runs `vmherd keys`; `args` are the arguments after those two words.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(args, parse, |command, settings| {
        let directory = settings.config.state_dir;
        let file = KeyFile::of_state_dir(&directory);
        let path = Escaped(file.path().display());
        let key_pair = match command {
            Command::Show => file
                .read()
                .map_err(|error| ToolError::new(1, format!("{path} can't be used: {error}")))?
                .ok_or_else(|| {
                    ToolError::new(1, format!("there is no {path}: vmherd keys new, or the daemon, makes it"))
                })?,
            Command::New { bits } => {
                let failed = |why: String| ToolError::new(1, format!("{path} can't be made: {why}"));
                let made = RsaKeyPair::generate(bits).map_err(|error| failed(error.to_string()))?;
                let written = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
                written.and_then(|()| file.write(&made)).map_err(|error| failed(error.to_string()))?;
                made
            }
        };
        let mut output = io::stdout();
        writeln!(output, "{}", key_pair.fingerprint())?;
        writeln!(output, "{} bits, {path}", key_pair.bits())?;
        if let Command::New { .. } = command {
            writeln!(output, "A daemon that runs already uses it from its next start.")?;
        } else {
            write!(output, "{}", key_pair.public_key_pem())?;
        }
        Ok(())
    })
}

fn parse(arguments: &Arguments) -> Result<Command, ToolError> {
    let bits = arguments.values("bits").next();
    match (&arguments.positionals[..], bits) {
        ([], _) => Err(TOOL.usage_error("say what to do: show or new")),
        ([_, extra, ..], _) => Err(TOOL.unexpected(extra)),
        ([command], None) if command == "show" => Ok(Command::Show),
        ([command], Some(_)) if command == "show" => Err(TOOL.usage_error("--bits is for new only")),
        ([command], bits) if command == "new" => {
            let allowed = |bits: &usize| RsaKeyPair::BITS.contains(bits);
            match bits.map_or(Ok(BITS), str::parse).ok().filter(allowed) {
                Some(bits) => Ok(Command::New { bits }),
                None => Err(TOOL.usage_error("--bits must be 2048, 3072, 4096 or 8192")),
            }
        }
        ([unknown], _) => Err(TOOL.usage_error(&format!("unknown command {:?}", redact(unknown)))),
    }
}

/// The default of `--bits`: what clients expect.
const BITS: usize = 4096;

pub static TOOL: Tool = Tool {
    program: "vmherd keys",
    flags: &[Flag { name: "bits", takes: Takes::Value, is_repeatable: false }],
    settings: &["state-dir"],
    warns: false,
    help: HELP,
};

const HELP: &str = "\
The key pair of sealed listeners: sealed_key.pem in the state directory.

  vmherd keys show              its fingerprint, its file, the public key
  vmherd keys new [--bits N]    make a new one, which replaces the one there;
                                N is 2048, 3072, 4096 (the default) or 8192

The fingerprint is the SHA-256 of the public key in PEM, as clients show it.
The daemon makes the key pair at its first start with --listen sealed://…, and
reads it at each start. Clients that remember the fingerprint notice a new one.
";

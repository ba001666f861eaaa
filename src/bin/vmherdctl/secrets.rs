//! Passwords and tokens: from a file, a variable or the terminal; never from the command line, which others can see.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use vmherd::{Escaped, Secret, wipe};

use crate::failure::Failure;
use crate::limits;
use crate::settings::{Settings, variable};
use crate::sys::without_interrupts;

/// The password of the VM `vm_id`, to log in.
pub fn read_password(settings: &Settings, vm_id: &str) -> Result<Secret, Failure> {
    match given_password(settings)? {
        Some(password) => Ok(password),
        None => prompt(&format!("Password of {}: ", Escaped(vm_id))),
    }
}

/// A new password for the VM `vm_id`; on the terminal it is typed twice.
pub fn read_new_password(settings: &Settings, vm_id: &str) -> Result<Secret, Failure> {
    let password = match given_password(settings)? {
        Some(password) => check_new(password)?,
        None => {
            // The rule is checked before the password is typed again.
            let password = check_new(prompt(&format!("New password of {}: ", Escaped(vm_id)))?)?;
            let repeated = prompt("Repeat the password: ")?;
            if repeated.expose() != password.expose() {
                return Err(Failure::usage("the two passwords differ; nothing was changed"));
            }
            password
        }
    };
    Ok(password)
}

/// The token to send, if one is given.
pub fn given_token(settings: &Settings) -> Result<Option<Secret>, Failure> {
    match &settings.token_file {
        Some(path) => read_file("--token-file", path).map(Some),
        None => Ok(variable("VMHERD_TOKEN")?.map(|token| Secret::new(token.trim()))),
    }
}

fn given_password(settings: &Settings) -> Result<Option<Secret>, Failure> {
    match &settings.password_file {
        Some(path) => read_file("--password-file", path).map(Some),
        None => Ok(variable("VMHERD_PASSWORD")?.as_deref().map(Secret::new)),
    }
}

/// The first line of a file; `-` is standard input.
pub fn read_file(option: &str, path: &Path) -> Result<Secret, Failure> {
    let failure = |what: String| Failure::usage(format!("{option} {}: {what}", path.display()));
    // The capacity never grows, because a reallocation would leave a copy in freed memory.
    let mut bytes = Vec::with_capacity(limits::SECRET_FILE_BYTES_MAX as usize + 1);
    let input: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path).map_err(|error| failure(error.to_string()))?),
    };
    let read = input.take(limits::SECRET_FILE_BYTES_MAX).read_to_end(&mut bytes);
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let secret = match (read, std::str::from_utf8(line)) {
        (Err(error), _) => Err(failure(error.to_string())),
        (_, Err(_)) => Err(failure("it is not valid UTF-8".into())),
        (_, Ok("")) => Err(failure("its first line is empty".into())),
        (_, Ok(text)) => Ok(Secret::new(text)),
    };
    wipe(&mut bytes);
    secret
}

fn prompt(question: &str) -> Result<Secret, Failure> {
    // The package interrupts the process for Ctrl-C before it turns the echo on again.
    let typed = without_interrupts(|| rpassword::prompt_password(question));
    let typed = typed.map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => Failure::failed("interrupted; nothing was changed"),
        _ => Failure::usage(format!("there is no terminal to ask for a password: {error}"))
            .or_hint("give it with --password-file FILE or VMHERD_PASSWORD"),
    })?;
    let mut bytes = typed.into_bytes();
    let secret = std::str::from_utf8(&bytes).map(Secret::new);
    let secret = secret.map_err(|_| Failure::usage("the password is not valid UTF-8"));
    wipe(&mut bytes);
    secret
}

/// The server's rules for a new password.
fn check_new(password: Secret) -> Result<Secret, Failure> {
    let (least, most) = limits::PASSWORD_BYTES.into_inner();
    match password.expose().len() {
        length if limits::PASSWORD_BYTES.contains(&length) => Ok(password),
        _ => Err(Failure::usage(format!("a password has {least} to {most} bytes"))),
    }
}

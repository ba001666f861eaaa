//! What the agent authenticates with: a token that it keeps, a token that was put there, a password.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limits;

/// Where the credentials are. Files are read when they are needed, so that a changed one counts at the next login.
pub struct Credentials {
    state_dir: PathBuf,
    token_file: Option<PathBuf>,
    password_file: Option<PathBuf>,
}

impl Credentials {
    /// Keeps the token in `state_dir`, which exists.
    pub fn new(
        state_dir: PathBuf,
        token_file: Option<PathBuf>,
        password_file: Option<PathBuf>,
    ) -> Credentials {
        Credentials { state_dir, token_file, password_file }
    }

    /// The tokens to try, in order: the kept one, then that of the token file.
    pub fn tokens(&self) -> io::Result<Vec<String>> {
        let kept = read_secret(&self.kept())?;
        let given = self.token_file.as_deref().map(read_secret).transpose()?.flatten();
        let mut tokens: Vec<String> = kept.into_iter().chain(given).collect();
        tokens.dedup();
        Ok(tokens)
    }

    /// The password; `None` if there is none.
    pub fn password(&self) -> io::Result<Option<String>> {
        self.password_file.as_deref().map_or(Ok(None), read_secret)
    }

    /// Keeps `token` for the next logins, also after a restart.
    pub fn keep(&self, token: &str) -> io::Result<()> {
        let new = self.state_dir.join(NEW_TOKEN);
        // Left by a crash, and possibly with another mode.
        remove(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(token.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, self.kept())?;
        File::open(&self.state_dir)?.sync_all()
    }

    /// The time since a token was kept; `None` if none is.
    pub fn kept_age(&self) -> Option<Duration> {
        fs::metadata(self.kept()).ok()?.modified().ok()?.elapsed().ok()
    }

    /// Forgets `token`, which the server has refused, if it is the kept one.
    pub fn forget(&self, token: &str) -> io::Result<()> {
        match read_secret(&self.kept())? {
            Some(kept) if kept == token => remove(&self.kept()),
            _ => Ok(()),
        }
    }

    fn kept(&self) -> PathBuf {
        self.state_dir.join(TOKEN)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The secret in a file, its first line; `None` if the file is missing or the line is empty. An error names the file.
fn read_secret(path: &Path) -> io::Result<Option<String>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(named)?,
    };
    let mut text = String::new();
    let length = file.take(limits::SECRET_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(named)?;
    if length as u64 > limits::SECRET_FILE_BYTES_MAX {
        return Err(named(io::Error::other("it is too long for a secret")));
    }
    Ok(text.lines().next().filter(|secret| !secret.is_empty()).map(str::to_owned))
}

/// The name of the file with the kept token, and of the one that is to replace it.
const TOKEN: &str = "token";
const NEW_TOKEN: &str = "token.new";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn kept_tokens_come_before_given_ones() {
        let directory = std::env::temp_dir().join(format!("vmherd-credentials-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (given, password) = (directory.join("given"), directory.join("password"));
        let credentials = Credentials::new(directory.clone(), Some(given.clone()), Some(password.clone()));
        assert_eq!((credentials.tokens().unwrap(), credentials.password().unwrap()), (vec![], None));
        fs::write(&given, "one\r\n").unwrap();
        fs::write(&password, " pass word \nmore\n").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["one"]);
        assert_eq!(credentials.password().unwrap().as_deref(), Some(" pass word "));

        fs::write(directory.join(NEW_TOKEN), "left by a crash").unwrap();
        credentials.keep("two").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["two", "one"]);
        let mode = fs::metadata(directory.join(TOKEN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(credentials.kept_age().is_some_and(|age| age < Duration::from_secs(60)));
        credentials.forget("one").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["two", "one"], "the file is not the agent's");
        credentials.forget("two").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["one"]);

        fs::write(&password, "x".repeat(limits::SECRET_FILE_BYTES_MAX as usize + 1)).unwrap();
        let error = credentials.password().unwrap_err().to_string();
        assert!(error.contains("/password: ") && !error.contains("xx"), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }
}

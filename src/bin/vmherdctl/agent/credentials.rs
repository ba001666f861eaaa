//! What the agent authenticates with: a token that it keeps, a token that was put there, a password.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use vmherd::client::ServerAddress;

use super::limits;

/// Where the credentials are. Files are read when they are needed, so that a changed one counts at the next login.
pub struct Credentials {
    state_dir: PathBuf,
    server: ServerAddress,
    /// The name of the VM.
    name: String,
    token_file: Option<PathBuf>,
    password_file: Option<PathBuf>,
}

/// A file with a token: its first line is the token, or the JSON object that a server gives to a VM that it runs, in
/// `/etc/vmherd/enrollment.json`.
#[derive(Default)]
pub struct TokenFile {
    token: Option<String>,
    /// The address of the server, and the name of the VM.
    pub address: Option<String>,
    pub vm_id: Option<String>,
}

impl TokenFile {
    /// Reads the file; it may be missing or empty.
    pub fn read(path: &Path) -> io::Result<TokenFile> {
        let token = read_secret(path)?;
        let Some(object) = token.as_deref().filter(|token| token.starts_with('{')) else {
            return Ok(TokenFile { token, ..TokenFile::default() });
        };
        // The error names no part of the file.
        let object: Value = serde_json::from_str(object).map_err(|_| {
            io::Error::new(ErrorKind::InvalidData, format!("{}: this is no token", path.display()))
        })?;
        let text = |name: &str| object[name].as_str().map(str::to_owned);
        Ok(TokenFile { token: text("token"), address: text("address"), vm_id: text("vm_id") })
    }
}

impl Credentials {
    /// The credentials of the VM `name` for `server`; its token is kept in `state_dir`, which exists.
    pub fn new(
        state_dir: PathBuf,
        server: ServerAddress,
        name: String,
        token_file: Option<PathBuf>,
        password_file: Option<PathBuf>,
    ) -> Credentials {
        Credentials { state_dir, server, name, token_file, password_file }
    }

    /// The tokens to try, in order: the kept one, unless it is of another VM or server, then that of the token file.
    pub fn tokens(&self) -> io::Result<Vec<String>> {
        let kept = self.read_kept()?;
        let given = self.token_file.as_deref().map(TokenFile::read).transpose()?.unwrap_or_default();
        let mut tokens: Vec<String> = kept.into_iter().chain(given.token).collect();
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
        write!(file, "{token}\n{}\n{}\n", self.name, self.server)?;
        file.sync_all()?;
        fs::rename(&new, self.kept())?;
        File::open(&self.state_dir)?.sync_all()
    }

    /// The time since a token was kept; `None` if none is. A token from the future, before the clock was set back, is of
    /// unknown age, and counts as old.
    pub fn kept_age(&self) -> Option<Duration> {
        let modified = fs::metadata(self.kept()).ok()?.modified().ok()?;
        Some(modified.elapsed().unwrap_or(Duration::MAX))
    }

    /// Forgets `token`, which the server has refused, if it is the kept one.
    pub fn forget(&self, token: &str) -> io::Result<()> {
        match self.read_kept()? {
            Some(kept) if kept == token => remove(&self.kept()),
            _ => Ok(()),
        }
    }

    /// The kept token: the first line of its file, if the second one is the name of the VM and the third one the address
    /// of the server. Another server must not get it.
    fn read_kept(&self) -> io::Result<Option<String>> {
        let text = read_text(&self.kept())?;
        let mut lines = text.lines();
        let token = lines.next().map(str::to_owned);
        Ok(token.filter(|_| lines.eq([self.name.as_str(), &self.server.to_string()])))
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
    let text = read_text(path)?;
    Ok(text.lines().next().filter(|secret| !secret.is_empty()).map(str::to_owned))
}

/// The text of a small file; empty if it is missing.
fn read_text(path: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        file => file.map_err(named)?,
    };
    let mut text = String::new();
    let length = file.take(limits::SECRET_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(named)?;
    if length as u64 > limits::SECRET_FILE_BYTES_MAX {
        return Err(named(io::Error::other("it is too long for a secret")));
    }
    Ok(text)
}

/// The name of the file with the kept token, and of the one that is to replace it.
const TOKEN: &str = "token";
const NEW_TOKEN: &str = "token.new";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    #[test]
    fn kept_tokens_come_before_given_ones() {
        let directory = std::env::temp_dir().join(format!("vmherd-credentials-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (given, password) = (directory.join("given"), directory.join("password"));
        let of = |server: &str, name: &str| {
            let server = server.parse().unwrap();
            Credentials::new(
                directory.clone(),
                server,
                name.into(),
                Some(given.clone()),
                Some(password.clone()),
            )
        };
        let credentials = of("10.0.2.2:8888", "web-1");
        assert_eq!((credentials.tokens().unwrap(), credentials.password().unwrap()), (vec![], None));
        fs::write(&given, "one\r\n").unwrap();
        fs::write(&password, " pass word \nmore\n").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["one"]);
        assert_eq!(credentials.password().unwrap().as_deref(), Some(" pass word "));

        fs::write(&given, r#"{"address": "10.0.2.2:8888", "vm_id": "an id", "token": "one"}"#).unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["one"]);
        let file = TokenFile::read(&given).unwrap();
        assert_eq!((file.address.as_deref(), file.vm_id.as_deref()), (Some("10.0.2.2:8888"), Some("an id")));
        fs::write(&given, r#"{"token": "one""#).unwrap();
        let error = credentials.tokens().unwrap_err().to_string();
        assert!(error.ends_with("/given: this is no token"), "{error}");
        fs::write(&given, "one\n").unwrap();

        fs::write(directory.join(NEW_TOKEN), "left by a crash").unwrap();
        credentials.keep("two").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["two", "one"]);
        let mode = fs::metadata(directory.join(TOKEN)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(credentials.kept_age().is_some_and(|age| age < Duration::from_secs(60)));
        credentials.forget("one").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["two", "one"], "the file is not the agent's");
        assert_eq!(of("10.0.2.2:8888", "web-2").tokens().unwrap(), ["one"], "a token of another VM");
        let elsewhere = of("10.0.2.3:8888", "web-1");
        assert_eq!(elsewhere.tokens().unwrap(), ["one"], "a token of another server");
        elsewhere.forget("two").unwrap();
        assert_eq!(of("tcp://10.0.2.2:8888", "web-1").tokens().unwrap(), ["two", "one"], "the same server");
        let file = File::open(directory.join(TOKEN)).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        assert!(
            credentials.kept_age().is_some_and(|age| age > 2 * limits::TOKEN_AGE_MAX),
            "the future is old"
        );
        credentials.forget("two").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["one"]);
        fs::write(directory.join(TOKEN), "two\nweb-1\n").unwrap();
        assert_eq!(credentials.tokens().unwrap(), ["one"], "a token of an unknown server");

        fs::write(&password, "x".repeat(limits::SECRET_FILE_BYTES_MAX as usize + 1)).unwrap();
        let error = credentials.password().unwrap_err().to_string();
        assert!(error.contains("/password: ") && !error.contains("xx"), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }
}

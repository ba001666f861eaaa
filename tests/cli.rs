//! The program as a process: its output, its exit codes, and `vmherd vm` on a store in a file.

use std::ffi::OsStr;
use std::fs;
#[cfg(feature = "sqlite")]
use std::io::Write;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A state directory that is removed with this.
struct StateDir(PathBuf);

impl StateDir {
    fn new() -> StateDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vmherd-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a new directory");
        StateDir(path)
    }

    /// The program with `args`, an empty environment, and this as its state directory.
    fn vmherd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmherd"));
        command.args(args).env_clear().env("VMHERD_STATE_DIR", &self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.vmherd(args).output().expect("the program runs"))
    }

    /// Runs `vmherd vm` with cheap hashes and `input` on its standard input.
    #[cfg(feature = "sqlite")]
    fn vm(&self, args: &[&str], input: &str) -> Ran {
        let args: Vec<&str> = std::iter::once("vm").chain(args.iter().copied()).collect();
        let mut command = self.vmherd(&args);
        command.env("VMHERD_ARGON2_MEMORY", "64").env("VMHERD_ARGON2_PASSES", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        // A program that fails early does not read it.
        let _ = child.stdin.take().expect("it is a pipe").write_all(input.as_bytes());
        Ran::from(child.wait_with_output().expect("the program ends"))
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with the test, also with one that fails.
struct Process(Child);

impl Process {
    fn spawn(mut command: Command) -> Process {
        Process(command.stderr(Stdio::piped()).spawn().expect("the program runs"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// The result of a run.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    output: String,
    errors: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).expect("what it says is text");
        Ran { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
    }
}

impl Ran {
    #[track_caller]
    fn succeeds(self, output: &str) {
        assert_eq!((self.code, self.output.as_str(), self.errors.as_str()), (Some(0), output, ""));
    }

    /// One line on standard error that holds `part`, nothing on standard output, and the exit code.
    #[track_caller]
    fn fails(self, code: i32, part: &str) {
        assert_eq!((self.code, self.output.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.errors.contains(part) && self.errors.lines().count() == 1, "{self:?}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let dir = StateDir::new();
    for help in ["--help", "-h"] {
        let ran = dir.run(&[help]);
        assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""));
        assert!(ran.output.contains("\n  --listen ADDRESS ") && ran.output.lines().count() <= 80);
    }
    dir.run(&["--version"]).succeeds(concat!("vmherd ", env!("CARGO_PKG_VERSION"), "\n"));
    let ran = dir.run(&["vm", "--help"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.output.contains("vmherd vm passwd"), "{}", ran.output);
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_closed_standard_output_causes_no_panic() {
    let dir = StateDir::new();
    for args in [&["--help"][..], &["vm", "--help"]] {
        let mut child =
            dir.vmherd(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
        drop(child.stdout.take());
        let ran = Ran::from(child.wait_with_output().expect("the program ends"));
        assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_configuration_can_be_checked() {
    let dir = StateDir::new();
    dir.run(&["--check-config"]).succeeds("the configuration is valid\n");
    dir.run(&["--check-config", "--vms-max=0"]).fails(78, "--vms-max: \"0\" must be a whole number, 1 to ");
    let output = dir.vmherd(&["--check-config"]).env("VMHERD_LISTN", "x").output().expect("the program runs");
    let ran = Ran::from(output);
    assert_eq!((ran.code, ran.output.as_str()), (Some(0), "the configuration is valid\n"));
    assert!(ran.errors.contains("VMHERD_LISTEN"), "{}", ran.errors);
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_buffer_limit_below_2_mib_is_refused() {
    let dir = StateDir::new();
    for size in ["2MiB", "2048KiB", "2097152"] {
        dir.run(&["--check-config", "--buffers-max", size]).succeeds("the configuration is valid\n");
    }
    for size in ["2097151", "2047KiB", "1MiB", "0"] {
        let part = format!("--buffers-max: \"{size}\" must be a size like 512KiB, 64MiB or 1GiB, 2MiB to ");
        for mode in [&["--check-config"][..], &["--listen=tcp://127.0.0.1:0"]] {
            dir.run(&[mode, &["--buffers-max", size]].concat()).fails(78, &part);
        }
    }
}

#[test]
fn each_kind_of_mistake_has_an_exit_code() {
    let dir = StateDir::new();
    dir.run(&["--lisen", "unix:/x"]).fails(2, "did you mean --listen?");
    dir.run(&["--log"]).fails(2, "--log needs a value");
    dir.run(&["--vms-max=1", "--vms-max=2"]).fails(2, "--vms-max is given twice");
    dir.run(&["start"]).fails(2, "unexpected argument \"start\"");
    dir.run(&["--listen", "8888"]).fails(78, "--listen: \"8888\" must be tcp://");
    dir.run(&["--listen", "tcp://0.0.0.0:0"]).fails(78, "--allow-plaintext");
    dir.run(&["--store", "nowhere"]).fails(78, "--store: ");
    for filter in ["vmherd=loud", "notice", "vmhred=debug", "vmherd::adit=off", ""] {
        dir.run(&["--log", filter, "--check-config"]).fails(78, "--log: ");
    }
    dir.run(&["vm"]).fails(2, "add, list, show, set, remove or passwd");
    dir.run(&["token"]).fails(2, "add, list, enable, disable or remove");
    dir.run(&["token", "list", "--store", "memory:"]).fails(78, "inside the daemon's process");
    dir.run(&["vm", "list", "--store", "memory:"]).fails(78, "inside the daemon's process");
    dir.run(&["vm", "list", "--vms-max", "x"]).fails(78, "--vms-max: ");
    dir.run(&["vm", "add", "a", "--ram=1"]).fails(2, "--cpu is missing");
}

#[test]
fn arguments_that_are_not_utf8_are_a_usage_error() {
    let dir = StateDir::new();
    let bad = OsStr::from_bytes(b"\xff");
    for args in [&[bad][..], &[OsStr::new("--log"), bad], &[OsStr::new("vm"), bad]] {
        let output = dir.vmherd(&[]).args(args).output().expect("the program runs");
        Ran::from(output).fails(2, "is not valid UTF-8");
    }
}

#[cfg(feature = "sealed")]
#[test]
fn a_key_pair_is_made_shown_and_replaced() {
    let dir = StateDir::new();
    let file = dir.0.join("sealed_key.pem").display().to_string();
    dir.run(&["keys", "show"])
        .fails(1, &format!("there is no {file}: vmherd keys new, or the daemon, makes it"));
    let mut fingerprints = Vec::new();
    for bits in ["2048", "3072", "4096"] {
        let made = dir.run(&["keys", "new", "--bits", bits]);
        let lines: Vec<_> = made.output.lines().collect();
        let note = "A daemon that runs already uses it from its next start.";
        assert_eq!(lines[1..], [&format!("{bits} bits, {file}"), note], "{made:?}");
        let shown = dir.run(&["keys", "show"]);
        assert!(shown.output.starts_with(&lines[..2].join("\n")), "{shown:?}");
        assert!(shown.output.contains("\n-----BEGIN PUBLIC KEY-----\n"), "{shown:?}");
        assert!(!shown.output.contains("PRIVATE"), "{shown:?}");
        fingerprints.push(lines[0].to_owned());
    }
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 3, "{fingerprints:?}");
    fs::write(&file, "no key").unwrap();
    dir.run(&["keys", "show"]).fails(1, &format!("{file} can't be used: "));
    dir.run(&["keys"]).fails(2, "show or new");
    dir.run(&["keys", "new", "--bits", "1024"]).fails(2, "--bits must be 2048, 3072, 4096 or 8192");
    dir.run(&["keys", "show", "--bits", "4096"]).fails(2, "--bits is for new only");
    assert_eq!(fs::read_to_string(&file).unwrap(), "no key");
}

#[test]
fn an_uncreatable_state_directory_is_a_failure() {
    let dir = StateDir::new();
    fs::write(dir.0.join("file"), "").unwrap();
    let below_file = dir.0.join("file/state");
    let args = ["--listen=tcp://127.0.0.1:0", "--state-dir", below_file.to_str().unwrap()];
    for level in ["--log=warn", "--log=off"] {
        dir.run(&[&args[..], &[level]].concat()).fails(1, "file/state");
    }
}

#[test]
fn the_daemon_prints_its_address_and_stops_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let dir = StateDir::new();
        let mut daemon = Process::spawn(dir.vmherd(&["--listen=tcp://127.0.0.1:0", "--store=memory:"]));
        let mut log = BufReader::new(daemon.0.stderr.take().expect("it is a pipe")).lines();
        let mut line_with = |part: &str| {
            let line = log.find(|line| line.as_ref().is_ok_and(|line| line.contains(part)));
            line.unwrap_or_else(|| panic!("nothing said {part:?}")).expect("it is text")
        };
        let line = line_with("listening on tcp://127.0.0.1:");
        let port = line.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        assert!(port.is_some_and(|port| port != 0), "{line}");
        line_with(&format!("listening on unix:{}/vmherd.sock", dir.0.display()));
        kill(signal, daemon.0.id());
        assert!(line_with(&format!("SIG{signal}")).contains("INFO "));
        assert_eq!(daemon.0.wait().expect("the program ends").code(), Some(0));
    }
}

#[test]
fn the_log_can_be_json() {
    let dir = StateDir::new();
    let output = dir
        .vmherd(&["--listen=tcp://127.0.0.1:0", "--log-format=json", "--state-dir=/dev/null/x"])
        .output()
        .expect("the program runs");
    let ran = Ran::from(output);
    assert_eq!(ran.code, Some(1));
    for line in ran.errors.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("each line is an object");
        assert!(["time", "level", "target", "message"].iter().all(|key| object[key].is_string()), "{line}");
    }
    assert!(ran.errors.contains("/dev/null/x"), "{}", ran.errors);
}

#[cfg(feature = "sqlite")]
#[test]
fn vms_are_added_listed_given_passwords_and_removed() {
    let dir = StateDir::new();
    dir.vm(&["list"], "").fails(1, "there is no store sqlite:");
    dir.vm(&["add", "web-1", "--ram=2048", "--cpu=2", "--disk=20", "--disk=100"], "correct horse\n")
        .succeeds("added web-1\n");
    dir.vm(&["add", "b", "--ram=1", "--cpu=1"], "correct horse").succeeds("added b\n");
    let head = "NAME   ID  STATE  LAST SEEN  RAM  CPU  DISKS\n";
    let (web, b) =
        ("web-1   1  -      -           2G    2  20G,100G\n", "b       2  -      -           1M    1  -\n");
    dir.vm(&["list"], "").succeeds(&[head, web, b].concat());
    dir.vm(&["add", "web-1", "--ram=1", "--cpu=1"], "correct horse\n").fails(1, "already registered");
    dir.vm(&["add", "c", "--ram=1", "--cpu=1", "--vms-max=2"], "correct horse\n").fails(1, "--vms-max");
    dir.vm(&["passwd", "b"], "battery staple\n")
        .succeeds("changed the password of b; its tokens are no longer valid\n");
    dir.vm(&["remove", "b"], "").succeeds("removed b\n");
    dir.vm(&["remove", "b"], "").fails(3, "there is no VM b");
    dir.vm(&["passwd", "b"], "battery staple\n").fails(3, "there is no VM b");
    dir.vm(&["list"], "").succeeds(&[head, web].concat());
    dir.vm(&["set", "web-1", "--ram=4G", "--disk=2=1T"], "").succeeds("changed web-1\n");
    dir.vm(&["set", "web-1", "--disk=3=1T"], "")
        .fails(3, "web-1 has no disk 3; its disks: vmherd vm show web-1");
    dir.vm(&["set", "b", "--cpu=3"], "").fails(3, "there is no VM b");
    let shown = dir.vm(&["show", "web-1"], "");
    assert!(
        shown.output.ends_with(
            "\nRAM              4G\nCPUs             2\ndisk 1           20G\ndisk 2           1T\n"
        ),
        "{shown:?}"
    );
    dir.vm(&["show", "b"], "").fails(3, "there is no VM b");
}

#[cfg(feature = "sqlite")]
#[test]
fn access_tokens_are_added_listed_enabled_disabled_and_removed() {
    let dir = StateDir::new();
    dir.run(&["token", "list"]).fails(1, "there is no store sqlite:");
    let add = |args: &[&str], head: &str| {
        let ran = dir.run(&[&["token", "add"], args].concat());
        assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""), "{ran:?}");
        let token =
            ran.output.strip_prefix(head).and_then(|rest| rest.strip_suffix('\n')).expect(&ran.output);
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        assert!([64, 124].contains(&token.len()) && token.bytes().all(is_digit), "{ran:?}");
        token.to_owned()
    };
    let tokens = [
        add(&[], "added access token 1; it is not shown again:\n"),
        add(&["--disabled"], "added access token 2, disabled; it is not shown again:\n"),
        add(&["--reader", "r"], "added access token 3 of the reader r; it is not shown again:\n"),
    ];
    assert_ne!(tokens[0], tokens[1]);
    let states = || -> Vec<String> {
        let ran = dir.run(&["token", "list"]);
        assert!(ran.code == Some(0) && tokens.iter().all(|token| !ran.output.contains(token)), "{ran:?}");
        let rows = ran.output.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.map(|row| [&row[..1], &row[2..]].concat().join(" ")).collect()
    };
    assert_eq!(states(), ["1 enabled", "2 disabled", "3 enabled r"]);
    dir.run(&["token", "enable", "2"]).succeeds("enabled access token 2\n");
    dir.run(&["token", "disable", "1"]).succeeds("disabled access token 1\n");
    assert_eq!(states(), ["1 disabled", "2 enabled", "3 enabled r"]);
    dir.run(&["token", "remove", "2"]).succeeds("removed access token 2\n");
    for command in ["enable", "disable", "remove"] {
        dir.run(&["token", command, "2"]).fails(1, "there is no access token of that id");
    }
    add(&[], "added access token 4; it is not shown again:\n");
    assert_eq!(states(), ["1 disabled", "3 enabled r", "4 enabled"]);
    for entry in fs::read_dir(&dir.0).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let has = |token: &String| bytes.windows(token.len()).any(|window| window == token.as_bytes());
        assert!(!tokens.iter().any(has), "a token is in a file");
    }
}

/// Names from before confusable ones were refused: they are printed escaped, and matched byte for byte.
#[cfg(feature = "sqlite")]
#[test]
fn an_old_name_is_printed_escaped_and_matched_verbatim() {
    let dir = StateDir::new();
    let new = "web\u{200b}\u{202e}\u{e0041}";
    dir.vm(&["add", new, "--ram=1", "--cpu=1"], "correct horse\n").fails(2, "U+200B");
    dir.vm(&["add", "e\u{301}", "--ram=1", "--cpu=1"], "correct horse\n").fails(2, "not in NFC, with U+0301");
    dir.vm(&["add", "a", "--ram=1", "--cpu=1"], "correct horse\n").succeeds("added a\n");
    let store = rusqlite::Connection::open(dir.0.join("vmherd.sqlite3")).unwrap();
    assert_eq!(store.execute("UPDATE vms SET name = ?1", [new]).unwrap(), 1);
    drop(store);
    let shown = "web\\u200b\\u202e\\U000e0041";
    let ran = dir.vm(&["list"], "");
    assert!(ran.output.lines().any(|line| line.starts_with(&format!("{shown} "))), "{ran:?}");
    dir.vm(&["passwd", "web"], "battery staple\n").fails(3, "there is no VM web");
    dir.vm(&["passwd", new], "battery staple\n")
        .succeeds(&format!("changed the password of {shown}; its tokens are no longer valid\n"));
    dir.vm(&["remove", new], "").succeeds(&format!("removed {shown}\n"));
}

#[test]
fn untrusted_text_is_escaped_in_errors() {
    let dir = StateDir::new();
    let state = "--state-dir=/dev/null/\u{202e}\u{200b}\u{1b}[31mx";
    let shown = "/dev/null/\\u202e\\u200b\\u001b[31mx";
    dir.run(&["vm", "list", state, "--store", "sqlite:/dev/null/\u{202e}\u{3164}"])
        .fails(1, "\\u202e\\u3164");
    dir.run(&["stats", state]).fails(1, shown);
    let ran = dir.run(&["--show-config", state]);
    assert!(ran.output.contains(shown), "{ran:?}");
    let ran = dir.run(&[state, "--listen=tcp://127.0.0.1:0", "--log=off"]);
    assert!(ran.code == Some(1) && ran.errors.contains(shown), "{ran:?}");
    let ran = dir.run(&[state, "--listen=tcp://127.0.0.1:0"]);
    assert!(ran.code == Some(1) && ran.errors.contains(shown), "{ran:?}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_password_has_the_limits_of_the_protocol_and_is_stored_as_a_hash_only() {
    let dir = StateDir::new();
    let add = ["add", "a", "--ram=1", "--cpu=1"];
    for (input, part) in [("", "is empty"), ("short\n", "too short"), (&*"x".repeat(1025), "too long")] {
        dir.vm(&add, input).fails(1, part);
    }
    dir.vm(&add, "correct horse\n").succeeds("added a\n");
    for entry in fs::read_dir(&dir.0).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(13).any(|window| window == b"correct horse"), "the password is in a file");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn the_store_can_be_named() {
    let dir = StateDir::new();
    let elsewhere = StateDir::new();
    let store = format!("sqlite:{}", elsewhere.0.join("mine.db").display());
    dir.vm(&["add", "a", "--ram=1", "--cpu=1", "--store", &store], "correct horse\n").succeeds("added a\n");
    assert!(elsewhere.0.join("mine.db").exists());
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0, "nothing was made in the state directory");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_new_state_directory_is_accessible_to_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = StateDir::new();
    let state = dir.0.join("deep/state");
    let state_text = state.to_str().unwrap();
    dir.vm(&["list", "--state-dir", state_text], "").fails(1, "there is no store sqlite:");
    assert!(!state.exists(), "looking makes nothing");
    let ran = dir.vm(&["add", "a", "--ram=1", "--cpu=1", "--state-dir", state_text], "correct horse\n");
    assert_eq!((ran.code, &*ran.output), (Some(0), "added a\n"), "{ran:?}");
    let is_told = ran.errors.contains("for a daemon of another user, chown -R USER");
    assert!(is_told || ran.errors.is_empty(), "{ran:?}");
    let mode = fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[cfg(feature = "sqlite")]
#[test]
fn vms_are_managed_while_a_daemon_runs() {
    let dir = StateDir::new();
    let settings = ["--listen=tcp://127.0.0.1:0", "--argon2-memory=64", "--argon2-passes=1"];
    let mut daemon = Process::spawn(dir.vmherd(&settings));
    let mut log = BufReader::new(daemon.0.stderr.take().expect("it is a pipe")).lines();
    let line = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("listening on tcp://")));
    let address = line.expect("it listens").unwrap().rsplit_once("tcp://").unwrap().1.to_owned();
    dir.vm(&["add", "a", "--ram=1", "--cpu=1"], "correct horse\n").succeeds("added a\n");
    let stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut replies = BufReader::new(&stream).lines();
    let mut ask = |password: &str| {
        let data = format!(r#"{{"vm_id":"a","password":"{password}"}}"#);
        writeln!(&stream, r#"{{"command":"authenticate","data":{data}}}"#).unwrap();
        let reply = replies.next().expect("a reply").unwrap();
        serde_json::from_str::<serde_json::Value>(&reply).expect("it is JSON")["status"].clone()
    };
    assert_eq!(ask("correct horse"), "success");
    dir.vm(&["passwd", "a"], "battery staple\n")
        .succeeds("changed the password of a; its tokens are no longer valid\n");
    assert_eq!(ask("correct horse"), "error");
    assert_eq!(ask("battery staple"), "success");
    dir.vm(&["remove", "a"], "").succeeds("removed a\n");
    assert_eq!(ask("battery staple"), "error");
    kill("TERM", daemon.0.id());
    assert_eq!(daemon.0.wait().expect("the program ends").code(), Some(0));
}

fn kill(signal: &str, process: u32) {
    let status = Command::new("kill").args(["-s", signal, &process.to_string()]).status();
    assert!(status.expect("kill can be run").success());
}

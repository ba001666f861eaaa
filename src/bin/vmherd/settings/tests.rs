//! Settings from the command line and the environment: syntax, precedence, and the messages about usage.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use vmherd::{Config, ListenAddress, Location};

use super::help::help;
use super::loader::default_store;
use super::sources::ReadFile;
use super::*;

pub(super) fn parse_in(args: &[&str], environment: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
    let mut variables: Vec<(OsString, OsString)> = vec![("HOME".into(), "/home/me".into())];
    variables.extend(environment.iter().map(|(name, value)| (name.into(), value.into())));
    parse_variables(args, variables)
}

fn parse_variables(args: &[&str], variables: Vec<(OsString, OsString)>) -> Result<Invocation, ConfigError> {
    Sources::new(args.iter().map(OsString::from), variables, NO_FILE).parse()
}

/// The result of a command line that asks for `text`, without warnings.
pub(super) fn printed(text: &str) -> Result<Invocation, ConfigError> {
    Ok(Invocation::Print { warnings: Vec::new(), text: text.into() })
}

const NO_FILE: ReadFile = |_| panic!("no file is named");

pub(super) fn run(args: &[&str]) -> Config {
    run_in(args, &[])
}

pub(super) fn run_in(args: &[&str], environment: &[(&str, &str)]) -> Config {
    resolve(args, environment).config
}

pub(super) fn resolve(args: &[&str], environment: &[(&str, &str)]) -> Resolved {
    match parse_in(args, environment) {
        Ok(Invocation::Run(resolved)) => *resolved,
        other => panic!("{args:?} with {environment:?} gave {other:?}"),
    }
}

fn usage_error(args: &[&str]) -> String {
    match parse_in(args, &[]) {
        Err(error @ ConfigError::Usage(_)) if error.exit_code() == 2 => error.to_string(),
        other => panic!("{args:?} gave {other:?}"),
    }
}

pub(super) fn value_error(args: &[&str], environment: &[(&str, &str)]) -> String {
    match parse_in(args, environment) {
        Err(error @ ConfigError::Value(_)) if error.exit_code() == 78 => error.to_string(),
        other => panic!("{args:?} with {environment:?} gave {other:?}"),
    }
}

pub(super) fn tcp(text: &str) -> ListenAddress {
    ListenAddress::Tcp(text.parse().unwrap())
}

#[test]
fn flag_overrides_variable() {
    assert_eq!(run_in(&["--vms-max", "1"], &[("VMHERD_VMS_MAX", "2")]).vms_max, 1);
    let environment = [("VMHERD_LISTEN", "tcp://127.0.0.1:1 tcp://127.0.0.1:2")];
    assert_eq!(run_in(&["--listen", "tcp://127.0.0.1:3"], &environment).listen.len(), 1);
}

#[test]
fn empty_variable_is_unset() {
    let environment = [("VMHERD_VMS_MAX", ""), ("VMHERD_LISTEN", " "), ("VMHERD_STORE", "")];
    assert_eq!(run_in(&[], &environment), run(&[]));
}

#[test]
fn variable_list_replaces_the_default() {
    let config = run_in(&[], &[("VMHERD_LISTEN", " tcp://127.0.0.1:1\n\tunix:/x ")]);
    let addresses: Vec<String> = config.listen.iter().map(|listen| listen.address.to_string()).collect();
    assert_eq!(addresses, ["tcp://127.0.0.1:1", "unix:/x"]);
}

#[test]
fn usage_errors_say_what_is_wrong() {
    let cases: &[(&[&str], &str)] = &[
        (&["--lisen", "x"], "there is no flag \"--lisen\"; did you mean --listen?"),
        (&["--auth-workres=3"], "there is no flag \"--auth-workres\"; did you mean --auth-workers?"),
        (&["--first"], "there is no flag \"--first\"; did you mean --first-request-timeout?"),
        (&["--quux"], "there is no flag \"--quux\"; see --help"),
        (&["-x"], "there is no flag \"-x\"; see --help"),
        (&["--vms-max=1", "--vms-max", "2"], "--vms-max is given twice"),
        (&["--allow-plaintext", "--allow-plaintext"], "--allow-plaintext is given twice"),
        (&["--help=yes"], "--help takes no value"),
        (&["start"], "unexpected argument \"start\"; see vmherd --help"),
        (&["--", "--log"], "unexpected argument \"--log\"; see vmherd --help"),
        (&["-"], "unexpected argument \"-\"; see vmherd --help"),
        (&[""], "unexpected argument \"\"; see vmherd --help"),
    ];
    for (args, expected) in cases {
        assert_eq!(usage_error(args), *expected);
    }
    for args in [&["--log"][..], &["--log", "--help"], &["--listen", "unix:/x", "--listen"]] {
        assert!(usage_error(args).contains(" needs a value"), "{args:?}");
    }
}

#[test]
fn invalid_utf8_is_an_error() {
    let bad = || OsString::from_vec(b"--store=\xff".to_vec());
    let error = Sources::new([bad()], [], NO_FILE).parse().unwrap_err();
    assert_eq!(error, ConfigError::Usage("--store: its value is not valid UTF-8".into()));
    let stray = OsString::from_vec(b"x\xff".to_vec());
    let error = Sources::new([stray], [], NO_FILE).parse().unwrap_err();
    assert_eq!(error, ConfigError::Usage("argument \"x\u{fffd}\" is not valid UTF-8".into()));
    let error = Sources::new([OsString::from("--store"), bad()], [], NO_FILE).parse().unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let error = Sources::new([], [("VMHERD_LOG".into(), bad())], NO_FILE).parse().unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().starts_with("VMHERD_LOG: "), "{error}");
}

#[test]
fn info_flags_ignore_bad_settings() {
    assert_eq!(parse_in(&["--help", "--vms-max", "x"], &[]), printed(&help()));
    assert_eq!(parse_in(&["-h"], &[("VMHERD_LOG", "=")]), printed(&help()));
    let version = format!("vmherd {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(parse_in(&["--version"], &[]), printed(&version));
    assert_eq!(parse_in(&["-V"], &[]), printed(&version));
    assert_eq!(parse_in(&["--check-config"], &[]), printed("the configuration is valid\n"));
    value_error(&["--check-config", "--vms-max", "x"], &[]);
}

#[test]
fn state_dir_follows_systemd_and_xdg() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("STATE_DIRECTORY", "/var/lib/v"), ("XDG_STATE_HOME", "/xdg")], "/var/lib/v"),
        (&[("STATE_DIRECTORY", "/var/lib/v:/var/lib/w")], "/var/lib/v"),
        (&[("XDG_STATE_HOME", "/xdg")], "/xdg/vmherd"),
        (&[("XDG_STATE_HOME", "relative")], "/home/me/.local/state/vmherd"),
        (&[("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "")], "/home/me/.local/state/vmherd"),
        (&[("VMHERD_STATE_DIR", "/said"), ("STATE_DIRECTORY", "/var/lib/v")], "/said"),
    ];
    for (environment, expected) in cases {
        assert_eq!(run_in(&[], environment).state_dir, PathBuf::from(expected), "{environment:?}");
    }
    let homeless = parse_variables(&[], Vec::new()).unwrap_err();
    assert!(
        homeless.exit_code() == 78 && homeless.to_string().contains("--state-dir DIRECTORY"),
        "{homeless}"
    );
}

#[test]
fn unknown_variable_is_a_warning() {
    // The last ones are for another program, or of vmherdctl.
    let environment =
        [("VMHERD_LISTN", "x"), ("VMHERD_QUUX", "x"), ("VMHERDING", "x"), ("VMHERD_SERVER", "x")];
    let Ok(Invocation::Run(resolved)) = parse_in(&[], &environment) else { panic!("does not run") };
    assert_eq!(
        resolved.warnings,
        [
            "environment variable \"VMHERD_LISTN\" is not a setting; did you mean VMHERD_LISTEN?",
            "environment variable \"VMHERD_QUUX\" is not a setting; see vmherd --help",
        ]
    );
}

#[test]
fn connection_limit_reserves_descriptors() {
    let config = run(&[]);
    assert_eq!(config.connections_within(1 << 20), 16_384);
    assert_eq!(config.connections_within(1024), 1024 - 224 - 8 - 1);
    assert_eq!(config.connections_within(64), 32, "half of few");
    assert_eq!(config.connections_within(0), 1);
    assert_eq!(config.connections_within(u64::MAX), 16_384);
}

#[test]
fn tools_ignore_unrelated_settings() {
    let names = ["store", "state-dir", "vms-max", "argon2-memory", "argon2-passes"];
    let flags: Vec<Flag> = tool_settings(&names).map(Setting::as_flag).collect();
    let (arguments, error) = Arguments::read(["--state-dir", "/x"].map(OsString::from), &flags);
    assert_eq!(error, None);
    let variables = [("VMHERD_LISTEN", "nonsense"), ("VMHERD_ARGON2_MEMORY", "64"), ("VMHERD_VMS_MAX", "5")];
    let environment = Environment::collect(variables.map(|(name, value)| (name.into(), value.into())));
    let read = |arguments| {
        ToolSettings::read(&names, &ParsedSources::read(arguments, &environment, NO_FILE).unwrap()).unwrap()
    };
    let ToolSettings { config, is_default_store } = read(&arguments);
    assert_eq!((config.store, is_default_store), (default_store(Path::new("/x")), true));
    assert_eq!(config.state_dir, PathBuf::from("/x"));
    assert_eq!((config.vms_max, config.argon2.memory_kib, config.argon2.passes), (5, 64, 2));
    let (arguments, error) = Arguments::read(["--store", "memory:"].map(OsString::from), &flags);
    assert_eq!(error, None);
    let ToolSettings { config, is_default_store } = read(&arguments);
    assert_eq!((config.store, is_default_store), (Location::Memory, false));
}

//! What the command line and the environment can say, and what is said about it when they say it wrong.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use super::arguments::nearest;
use super::draft::Draft;
use super::settings::Kind;
use super::values::{duration, duration_text, is_log_filter};
use super::*;

fn parse_in(args: &[&str], environment: &[(&str, &str)]) -> Result<Parsed, ConfigError> {
    let mut variables: Vec<(OsString, OsString)> = vec![("HOME".into(), "/home/me".into())];
    variables.extend(environment.iter().map(|(name, value)| (name.into(), value.into())));
    Config::parse(args.iter().map(OsString::from), variables)
}

fn run(args: &[&str]) -> Config {
    run_in(args, &[])
}

fn run_in(args: &[&str], environment: &[(&str, &str)]) -> Config {
    match parse_in(args, environment) {
        Ok(Parsed::Run(config, _)) => *config,
        other => panic!("{args:?} with {environment:?} gave {other:?}"),
    }
}

fn usage_error(args: &[&str]) -> String {
    match parse_in(args, &[]) {
        Err(error @ ConfigError::Usage(_)) if error.exit_code() == 2 => error.to_string(),
        other => panic!("{args:?} gave {other:?}"),
    }
}

fn value_error(args: &[&str], environment: &[(&str, &str)]) -> String {
    match parse_in(args, environment) {
        Err(error @ ConfigError::Value(_)) if error.exit_code() == 78 => error.to_string(),
        other => panic!("{args:?} with {environment:?} gave {other:?}"),
    }
}

fn tcp(text: &str) -> ListenAddress {
    ListenAddress::Tcp(text.parse().unwrap())
}

#[test]
fn nothing_said_gives_the_defaults() {
    let config = run(&[]);
    assert_eq!(config.listen, [Listen { address: tcp("127.0.0.1:8888"), opens: Opens::ALL }]);
    assert_eq!(config.state_dir, PathBuf::from("/home/me/.local/state/vmherd"));
    assert_eq!(config.store, default_store(&config.state_dir));
    assert_eq!(
        config.timeouts,
        Timeouts {
            first_request: Some(Duration::from_secs(300)),
            request: Duration::from_secs(10),
            idle_anonymous: Some(Duration::from_secs(3600)),
            idle_authenticated: None,
            write: Duration::from_secs(10),
        }
    );
    assert_eq!(config.registration, None);
    assert_eq!(config.vms_max, 1_000_000);
    assert_eq!(config.token_lifetime, Duration::from_secs(24 * 3600));
    assert!((1..=4).contains(&config.auth_workers));
    assert_eq!((config.auth_queue, config.read_queue, config.write_queue), (256, 4096, 4096));
    assert_eq!(config.connections_max, 16_384);
    assert_eq!((config.requests_per_connection, config.requests_max), (16_384, 1_048_576));
    assert_eq!(config.argon2, Cost { memory_kib: 19_456, passes: 2, lanes: 1 });
    assert_eq!((config.log.as_str(), config.log_format), ("info", LogFormat::Text));
}

#[cfg(feature = "sqlite")]
#[test]
fn the_default_store_is_a_file_in_the_state_directory() {
    assert_eq!(run(&["--state-dir", "/x"]).store, Location::Sqlite("/x/vmherd.sqlite3".into()));
}

#[test]
fn every_setting_arrives_by_flag_with_either_spelling_and_by_environment() {
    type Look = fn(&Config) -> String;
    let cases: &[(&str, &str, Look, &str)] = &[
        ("listen", "tcp://[::1]:0", |c| format!("{}", c.listen[0].address), "tcp://[::1]:0"),
        ("store", "memory:", |c| format!("{:?}", c.store), "Memory"),
        ("state-dir", "/x y", |c| c.state_dir.display().to_string(), "/x y"),
        ("first-request-timeout", "none", |c| format!("{:?}", c.timeouts.first_request), "None"),
        ("request-timeout", "1.5s", |c| format!("{:?}", c.timeouts.request), "1.5s"),
        ("idle-timeout", "5m", |c| format!("{:?}", c.timeouts.idle_authenticated), "Some(300s)"),
        ("write-timeout", "7", |c| format!("{:?}", c.timeouts.write), "7s"),
        ("registration", "closed", |c| format!("{:?}", c.registration), "Some(false)"),
        ("vms-max", "3", |c| c.vms_max.to_string(), "3"),
        ("token-lifetime", "2d", |c| format!("{:?}", c.token_lifetime), "172800s"),
        ("auth-workers", "3", |c| c.auth_workers.to_string(), "3"),
        ("auth-queue", "3", |c| c.auth_queue.to_string(), "3"),
        ("read-queue", "3", |c| c.read_queue.to_string(), "3"),
        ("write-queue", "3", |c| c.write_queue.to_string(), "3"),
        ("connections-max", "3", |c| c.connections_max.to_string(), "3"),
        ("requests-per-connection", "3", |c| c.requests_per_connection.to_string(), "3"),
        ("requests-max", "3", |c| c.requests_max.to_string(), "3"),
        ("argon2-memory", "64", |c| c.argon2.memory_kib.to_string(), "64"),
        ("argon2-passes", "3", |c| c.argon2.passes.to_string(), "3"),
        ("argon2-lanes", "3", |c| c.argon2.lanes.to_string(), "3"),
        ("log", "warn,vmherd::os=debug", |c| c.log.clone(), "warn,vmherd::os=debug"),
        ("log-format", "json", |c| format!("{:?}", c.log_format), "Json"),
    ];
    for (flag, value, look, expected) in cases {
        let long = format!("--{flag}");
        let joined = format!("--{flag}={value}");
        let variable = format!("VMHERD_{}", flag.to_uppercase().replace('-', "_"));
        let variable_value = if *flag == "state-dir" { "/x y" } else { value };
        assert_eq!(look(&run(&[&long, value])), *expected, "{long} {value}");
        assert_eq!(look(&run(&[&joined])), *expected, "{joined}");
        assert_eq!(look(&run_in(&[], &[(&variable, variable_value)])), *expected, "{variable}");
    }
    let switches = ["allow-plaintext", "check-config"];
    let questions = ["help", "version"];
    let not_tried = SETTINGS.iter().map(|setting| setting.flag).find(|flag| {
        !cases.iter().any(|case| case.0 == *flag) && !switches.contains(flag) && !questions.contains(flag)
    });
    assert_eq!(not_tried, None);
}

#[test]
fn a_flag_goes_before_the_environment() {
    assert_eq!(run_in(&["--vms-max", "1"], &[("VMHERD_VMS_MAX", "2")]).vms_max, 1);
    let environment = [("VMHERD_LISTEN", "tcp://127.0.0.1:1 tcp://127.0.0.1:2")];
    assert_eq!(run_in(&["--listen", "tcp://127.0.0.1:3"], &environment).listen.len(), 1);
}

#[test]
fn a_variable_set_to_nothing_counts_as_not_set() {
    let environment = [("VMHERD_VMS_MAX", ""), ("VMHERD_LISTEN", " "), ("VMHERD_STORE", "")];
    assert_eq!(run_in(&[], &environment), run(&[]));
}

#[test]
fn a_list_in_the_environment_is_separated_by_white_space_and_replaces_the_default() {
    let config = run_in(&[], &[("VMHERD_LISTEN", " tcp://127.0.0.1:1\n\tunix:/x ")]);
    let addresses: Vec<String> = config.listen.iter().map(|listen| listen.address.to_string()).collect();
    assert_eq!(addresses, ["tcp://127.0.0.1:1", "unix:/x"]);
}

#[test]
fn switches_take_yes_and_no_by_any_of_their_names() {
    let public = "tcp://192.0.2.1:1";
    for yes in ["1", "true", "yes"] {
        run_in(&["--listen", public], &[("VMHERD_ALLOW_PLAINTEXT", yes)]);
        let check = parse_in(&[], &[("VMHERD_CHECK_CONFIG", yes)]);
        assert!(matches!(check, Ok(Parsed::Check(_))), "{check:?}");
    }
    for no in ["0", "false", "no"] {
        value_error(&["--listen", public], &[("VMHERD_ALLOW_PLAINTEXT", no)]);
    }
    run(&["--listen", public, "--allow-plaintext"]);
    value_error(&["--listen", public, "--allow-plaintext=no"], &[("VMHERD_ALLOW_PLAINTEXT", "1")]);
    let wrong = value_error(&[], &[("VMHERD_ALLOW_PLAINTEXT", "on")]);
    assert_eq!(wrong, "VMHERD_ALLOW_PLAINTEXT: \"on\" must be 1, true, yes, 0, false or no");
}

#[test]
fn a_given_idle_timeout_replaces_both_defaults() {
    let timeouts = run(&["--idle-timeout", "10s"]).timeouts;
    let given = Some(Duration::from_secs(10));
    assert_eq!((timeouts.idle_anonymous, timeouts.idle_authenticated), (given, given));
    let timeouts = run(&["--idle-timeout", "none"]).timeouts;
    assert_eq!((timeouts.idle_anonymous, timeouts.idle_authenticated), (None, None));
}

#[test]
fn limits_hold_at_both_ends() {
    for setting in &SETTINGS {
        let (least, most, below, above) = match &setting.kind {
            Kind::Number { allowed, .. } => {
                let (least, most) = (*allowed.start(), *allowed.end());
                (least.to_string(), most.to_string(), (least - 1).to_string(), (most + 1).to_string())
            }
            Kind::Time { allowed, .. } | Kind::TimeOrNone { allowed, .. } => {
                let millisecond = Duration::from_millis(1);
                let (least, most) = (*allowed.start(), *allowed.end());
                let (below, above) = (least - millisecond, most + millisecond);
                (duration_text(least), duration_text(most), duration_text(below), duration_text(above))
            }
            _ => continue,
        };
        for text in [least, most] {
            run(&[&format!("--{}={text}", setting.flag)]);
        }
        for text in [below.as_str(), above.as_str(), "", "x", "-1", "+5", "1e3", "99999999999999999999999"] {
            let error = value_error(&[&format!("--{}={text}", setting.flag)], &[]);
            let names_all = error.starts_with(&format!("--{}: {text:?} must be ", setting.flag))
                && error.ends_with(&setting.allowed());
            assert!(names_all, "{error}");
        }
    }
}

#[test]
fn only_some_times_may_be_none() {
    value_error(&["--request-timeout", "none"], &[]);
    value_error(&["--write-timeout", "none"], &[]);
    value_error(&["--token-lifetime", "none"], &[]);
}

#[test]
fn a_bad_value_names_the_setting_the_value_and_what_is_allowed() {
    let cases = [
        (["--auth-queue", "0"], "--auth-queue: \"0\" must be a whole number, 1 to 65536"),
        (["--registration", "ajar"], "--registration: \"ajar\" must be open or closed"),
        (["--log-format", "xml"], "--log-format: \"xml\" must be text or json"),
        (["--state-dir", ""], "--state-dir: \"\" must be a path"),
        (
            ["--request-timeout", "1w"],
            "--request-timeout: \"1w\" must be a time like 500ms, 10s, 5m, 1h or 1d, 10ms to 365d",
        ),
    ];
    for (args, expected) in cases {
        assert_eq!(value_error(&args, &[]), expected);
    }
    let error = value_error(&[], &[("VMHERD_AUTH_QUEUE", "many\n")]);
    assert_eq!(error, "VMHERD_AUTH_QUEUE: \"many\\n\" must be a whole number, 1 to 65536");
    for bad in ["", "x", "memory", "mysql:"] {
        let error = value_error(&["--store", bad], &[]);
        assert!(error.starts_with(&format!("--store: {bad:?} ")) && error.contains("memory:"), "{error}");
    }
}

#[test]
fn a_password_in_a_bad_value_is_not_repeated() {
    for url in ["mysql://me:secret@host/db", "postgresql://host/db?password=secret"] {
        let error = value_error(&[], &[("VMHERD_STORE", url)]);
        let (scheme, _) = url.split_once("://").unwrap();
        assert!(error.starts_with(&format!("VMHERD_STORE: \"{scheme}://…\" is no store")), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn usage_errors_say_what_is_wrong() {
    let cases: &[(&[&str], &str)] = &[
        (&["--lisen", "x"], "there is no flag \"--lisen\"; is --listen meant?"),
        (&["--auth-workres=3"], "there is no flag \"--auth-workres\"; is --auth-workers meant?"),
        (&["--first"], "there is no flag \"--first\"; is --first-request-timeout meant?"),
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
fn bytes_that_are_no_text_are_an_error() {
    let bad = || OsString::from_vec(b"--store=\xff".to_vec());
    let error = Config::parse([bad()], []).unwrap_err();
    assert_eq!(error, ConfigError::Usage("argument \"--store=\\xFF\" is not valid UTF-8".into()));
    let error = Config::parse([OsString::from("--store"), bad()], []).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let error = Config::parse([], [("VMHERD_LOG".into(), bad())]).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().starts_with("VMHERD_LOG: "), "{error}");
}

#[test]
fn questions_are_answered_before_settings_are_read() {
    assert_eq!(parse_in(&["--help", "--vms-max", "x"], &[]), Ok(Parsed::Help));
    assert_eq!(parse_in(&["-h"], &[("VMHERD_LOG", "=")]), Ok(Parsed::Help));
    assert_eq!(parse_in(&["--version"], &[]), Ok(Parsed::Version));
    assert_eq!(parse_in(&["-V"], &[]), Ok(Parsed::Version));
    assert_eq!(parse_in(&["--check-config"], &[]), Ok(Parsed::Check(Vec::new())));
    value_error(&["--check-config", "--vms-max", "x"], &[]);
}

#[test]
fn listeners_read_as_they_are_written() {
    let some = |names: &str| Opens {
        action: names.contains('a'),
        metrics: names.contains('m'),
        convert: names.contains('c'),
        verb: names.contains('v'),
    };
    let cases = [
        ("tcp://127.0.0.1:8888", tcp("127.0.0.1:8888"), Opens::ALL),
        ("tcp://127.9.9.9:0", tcp("127.9.9.9:0"), Opens::ALL),
        ("tcp://localhost:80", tcp("127.0.0.1:80"), Opens::ALL),
        ("tcp://[::1]:0", tcp("[::1]:0"), Opens::ALL),
        ("tcp://[::ffff:127.0.0.1]:9", tcp("[::ffff:127.0.0.1]:9"), Opens::ALL),
        ("tcp://127.0.0.1:1?open=", tcp("127.0.0.1:1"), Opens::NONE),
        ("tcp://127.0.0.1:1?open=verb", tcp("127.0.0.1:1"), some("v")),
        ("tcp://0.0.0.0:8888", tcp("0.0.0.0:8888"), Opens::NONE),
        ("tcp://0.0.0.0:8888?open=metrics,convert", tcp("0.0.0.0:8888"), some("mc")),
        ("tcp://[::]:1?open=action,metrics,convert,verb", tcp("[::]:1"), Opens::ALL),
        ("unix:/run/x", ListenAddress::Unix("/run/x".into()), Opens::ALL),
        ("unix:x y?open=action", ListenAddress::Unix("x y".into()), some("a")),
    ];
    for (text, address, opens) in cases {
        let config = run(&["--allow-plaintext", "--listen", text]);
        assert_eq!(config.listen, [Listen { address, opens }], "{text}");
    }
}

#[test]
fn what_is_no_listener_is_refused() {
    let bad = [
        "",
        "8888",
        "127.0.0.1:8888",
        "tcp:127.0.0.1:1",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://:1",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:+1",
        "tcp://localhost:+1",
        "tcp://::1:1",
        "tcp://example.org:1",
        "tcp://localhost",
        "tcp://127.0.0.1:1/",
        "tcp://127.0.0.1:1?",
        "http:127.0.0.1:1",
        "tcp://127.0.0.1:1?open",
        "tcp://127.0.0.1:1?open=all",
        "tcp://127.0.0.1:1?open=verb,",
        "unix:",
        "tcp://127.0.0.1:1?open=verb&open=action",
        " tcp://127.0.0.1:1",
    ];
    for text in bad {
        let error = value_error(&["--listen", text], &[]);
        assert!(error.starts_with(&format!("--listen: {text:?} ")) && error.contains("must"), "{error}");
    }
    let path_of = |bytes: usize| format!("unix:/{}", "p".repeat(bytes - 1));
    run(&["--listen", &path_of(107)]);
    value_error(&["--listen", &path_of(108)], &[]);
    value_error(&["--listen", "unix:a\0b"], &[]);
}

#[test]
fn listeners_beyond_this_host_need_to_be_allowed() {
    for text in [
        "tcp://0.0.0.0:7",
        "tcp://[::]:7",
        "tcp://192.168.1.1:7",
        "tcp://[fe80::1]:7",
        "tcp://[::ffff:8.8.8.8]:7",
    ] {
        let error = value_error(&["--listen", text], &[]);
        for part in
            ["--listen: tcp://", "--listen tcp://127.0.0.1:7", "--allow-plaintext", "VMHERD_ALLOW_PLAINTEXT"]
        {
            assert!(error.contains(part), "{error}");
        }
    }
    let error = value_error(&["--check-config"], &[("VMHERD_LISTEN", "tcp://0.0.0.0:7")]);
    assert!(error.starts_with("VMHERD_LISTEN: tcp://0.0.0.0:7 "), "{error}");
}

#[test]
fn listeners_are_not_repeated_and_not_too_many() {
    let error = value_error(&["--listen=tcp://127.0.0.1:5", "--listen=tcp://localhost:5"], &[]);
    assert_eq!(error, "--listen: tcp://127.0.0.1:5 stands there twice");
    run(&["--listen=tcp://127.0.0.1:0", "--listen=tcp://127.0.0.1:0"]);
    run_in(&[], &[("VMHERD_LISTEN", &"tcp://127.0.0.1:0 ".repeat(63))]);
    value_error(&[], &[("VMHERD_LISTEN", &"tcp://127.0.0.1:0 ".repeat(64))]);
}

#[test]
fn the_state_directory_is_where_the_system_keeps_state() {
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
    let homeless = Config::parse([], []).unwrap_err();
    assert!(
        homeless.exit_code() == 78 && homeless.to_string().contains("--state-dir DIRECTORY"),
        "{homeless}"
    );
}

#[test]
fn a_state_directory_too_long_for_its_socket_is_refused() {
    let longest = format!("/{}", "d".repeat(107 - "//vmherd.sock".len()));
    run(&["--state-dir", &longest]);
    let error = value_error(&["--state-dir", &format!("{longest}d")], &[]);
    assert!(error.starts_with("--state-dir: ") && error.contains("108 bytes"), "{error}");
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let environment = [("VMHERD_LISTN", "x"), ("VMHERD_QUUX", "x"), ("VMHERDING", "x"), ("PATH", "/")];
    let Ok(Parsed::Run(_, warnings)) = parse_in(&[], &environment) else { panic!("does not run") };
    assert_eq!(
        warnings,
        [
            "environment variable \"VMHERD_LISTN\" is no setting; is VMHERD_LISTEN meant?",
            "environment variable \"VMHERD_QUUX\" is no setting; see vmherd --help",
        ]
    );
}

#[test]
fn log_filters_are_what_env_logger_takes() {
    for good in [
        "info",
        "OFF",
        "warn,vmherd=debug",
        "mio",
        "vmherd::os=trace,",
        "a-b_c=error/some text",
        "",
        " info , mio=warn ",
    ] {
        assert!(is_log_filter(good), "{good:?}");
    }
    for bad in
        ["vmherd=loud", "a=b=c", "a/b/c", "=info", "inof", "debgu", "warning", "two words", "info;warn"]
    {
        assert!(!is_log_filter(bad), "{bad:?}");
    }
    let error = value_error(&["--log", "vmherd=loud"], &[]);
    assert!(error.starts_with("--log: \"vmherd=loud\" must be off, error"), "{error}");
}

#[test]
fn times_read_as_they_are_written() {
    let cases = [
        ("0", 0),
        ("1", 1000),
        ("250ms", 250),
        ("1.5s", 1500),
        ("0.1s", 100),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("1.5d", 129_600_000),
    ];
    for (text, milliseconds) in cases {
        assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        let time = Duration::from_millis(milliseconds);
        assert_eq!(duration(&duration_text(time)), Some(time), "{text}");
    }
    for text in [
        "",
        "s",
        "1 s",
        "1S",
        "1.2.3s",
        ".5s",
        "-1s",
        "+1s",
        "1e3s",
        "inf",
        "nan",
        "1us",
        "1h30m",
        &"9".repeat(400),
    ] {
        assert_eq!(duration(text), None, "{text}");
    }
}

#[test]
fn the_help_text_fits_two_screens_and_has_every_setting() {
    let text = help();
    assert!(text.lines().count() <= 48, "{} lines", text.lines().count());
    for line in text.lines() {
        assert!(line.len() <= 80 && line.is_ascii(), "{} bytes: {line}", line.len());
    }
    let settings = text.find("\n  --listen ").expect("the settings");
    assert!(
        text.find("vmherd --store memory:").is_some_and(|examples| examples < settings),
        "examples come first"
    );
    for setting in &SETTINGS {
        let line = text.lines().find(|line| line.starts_with(&format!("  --{} ", setting.flag)));
        let line = line.unwrap_or_else(|| panic!("no line for --{}", setting.flag));
        assert!(line.contains(setting.help), "{line}");
        assert!(line[2..].contains("  "), "no space between the columns: {line}");
    }
}

#[test]
fn the_examples_of_the_help_text_work() {
    let text = help();
    let examples = text.lines().filter_map(|line| line.strip_prefix("  vmherd "));
    let mut tried = 0;
    for example in examples.filter(|example| !example.starts_with("vm ")) {
        let command = example.split("  ").next().unwrap_or_default();
        let args: Vec<String> =
            command.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
        run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tried += 1;
    }
    assert_eq!(tried, 4);
}

#[test]
fn every_preset_is_allowed() {
    for setting in &SETTINGS {
        if let Some(text) = setting.preset.text() {
            let arguments = Arguments::default();
            let environment = Environment::collect([]);
            let mut draft = Draft::read([].into_iter(), &arguments, &environment).unwrap();
            assert_eq!(setting.place(&mut draft, &text), Ok(()), "--{}", setting.flag);
        }
    }
}

#[test]
fn the_manual_has_a_row_for_each_setting() {
    let table = settings_as_markdown();
    assert_eq!(table.lines().count(), 2 + SETTINGS.len() - 2, "a head, and no row for --help and --version");
    assert!(table.contains("| `--auth-queue` | 256 | 1 to 65536 | logins that may wait |\n"), "{table}");
    assert!(table.contains("| `--first-request-timeout` | 5m | 10ms to 365d or none |"), "{table}");
}

#[test]
fn connections_leave_descriptors_for_the_rest() {
    let config = run(&[]);
    assert_eq!(config.connections_that_fit(1 << 20), 16_384);
    assert_eq!(config.connections_that_fit(1024), 1024 - 64 - 1);
    assert_eq!(config.connections_that_fit(64), 32, "half of few");
    assert_eq!(config.connections_that_fit(0), 1);
    assert_eq!(config.connections_that_fit(u64::MAX), 16_384);
}

#[test]
fn tools_read_only_what_counts_for_the_store() {
    let flags: Vec<Flag> = StoreSettings::flags().collect();
    let arguments = Arguments::read(["--state-dir", "/x"].map(OsString::from), &flags).unwrap();
    let variables = [("VMHERD_LISTEN", "nonsense"), ("VMHERD_ARGON2_MEMORY", "64"), ("VMHERD_VMS_MAX", "5")];
    let environment = Environment::collect(variables.map(|(name, value)| (name.into(), value.into())));
    let settings = StoreSettings::read(&arguments, &environment).unwrap();
    assert_eq!(settings.store, default_store(Path::new("/x")));
    assert_eq!(settings.state_dir, Some(PathBuf::from("/x")));
    assert_eq!((settings.vms_max, settings.argon2.memory_kib, settings.argon2.passes), (5, 64, 2));
    let arguments = Arguments::read(["--store", "memory:"].map(OsString::from), &flags).unwrap();
    let settings = StoreSettings::read(&arguments, &environment).unwrap();
    assert_eq!((settings.store, settings.state_dir), (Location::Memory, None));
}

#[test]
fn the_nearest_word_is_a_slip_or_a_beginning() {
    let words = ["listen", "log", "log-format", "auth-queue", "auth-workers"];
    let near = |word| nearest(word, words.into_iter());
    assert_eq!(near("lsiten"), Some("listen"));
    assert_eq!(near("lgo"), Some("log"));
    assert_eq!(near("log-for"), Some("log-format"));
    assert_eq!(near("auth"), None, "two begin so");
    assert_eq!(near("xyz"), None);
    assert_eq!(near(&"x".repeat(1 << 20)), None);
}

//! The precedence of sources, the messages about mistakes in files, and the reports of settings.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use vmherd::Location;

use super::help::settings_as_file;
use super::loader::default_store;
use super::table::SETTINGS;
use super::values::mask_passwords;
use super::*;

thread_local! {
    /// The files of this thread's tests.
    static FILES: RefCell<BTreeMap<PathBuf, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

fn read_fake(path: &Path) -> io::Result<Vec<u8>> {
    FILES.with_borrow(|files| files.get(path).cloned()).ok_or(io::ErrorKind::NotFound.into())
}

fn file(path: &str, text: &str) {
    FILES.with_borrow_mut(|files| files.insert(path.into(), text.into()));
}

fn sources(args: &[&str], environment: &[(&str, &str)]) -> Sources {
    let mut variables: Vec<(OsString, OsString)> = vec![("HOME".into(), "/home/me".into())];
    variables.extend(environment.iter().map(|(name, value)| (name.into(), value.into())));
    Sources::new(args.iter().map(OsString::from), variables, read_fake)
}

fn resolved(args: &[&str], environment: &[(&str, &str)]) -> Resolved {
    match sources(args, environment).parse() {
        Ok(Invocation::Run(resolved)) => *resolved,
        other => panic!("{args:?} with {environment:?} gave {other:?}"),
    }
}

/// With the settings file `text`.
fn resolved_in(text: &str) -> Resolved {
    file("/f", text);
    resolved(&["--config", "/f"], &[])
}

fn refused(args: &[&str], environment: &[(&str, &str)]) -> String {
    match sources(args, environment).parse() {
        Err(error @ ConfigError::Value(_)) if error.exit_code() == 78 => error.to_string(),
        other => panic!("{args:?} with {environment:?} gave {other:?}"),
    }
}

/// The value and the origin that a report shows for `flag`.
fn shown(report: &Report, flag: &str) -> (String, String) {
    let text = report.to_string();
    let name = format!("--{flag} ");
    let line = text.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{flag}: {text}"));
    let rest = line[name.len()..].trim();
    let (value, origin) = rest.rsplit_once("  ").unwrap_or_else(|| panic!("no origin: {line:?}"));
    (value.trim().into(), origin.into())
}

#[test]
fn flag_overrides_environment_overrides_file() {
    file("/f", "VMHERD_VMS_MAX=1\nVMHERD_AUTH_QUEUE=1\nVMHERD_READ_QUEUE=1\n");
    let environment = [("VMHERD_VMS_MAX", "2"), ("VMHERD_AUTH_QUEUE", "2"), ("VMHERD_CONFIG", "/f")];
    let Resolved { config, report, warnings, .. } = resolved(&["--vms-max", "3"], &environment);
    assert_eq!((config.vms_max, config.auth_queue, config.read_queue, config.write_queue), (3, 2, 1, 4096));
    assert_eq!(shown(&report, "vms-max"), ("3".into(), "flag".into()));
    assert_eq!(shown(&report, "auth-queue"), ("2".into(), "environment".into()));
    assert_eq!(shown(&report, "read-queue"), ("1".into(), "/f:3".into()));
    assert_eq!(shown(&report, "write-queue"), ("4096".into(), "default".into()));
    assert_eq!(shown(&report, "config"), ("/f".into(), "environment".into()));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn config_flag_overrides_config_variable() {
    file("/f", "VMHERD_VMS_MAX=1");
    file("/g", "VMHERD_VMS_MAX=2");
    assert_eq!(resolved(&["--config=/g"], &[("VMHERD_CONFIG", "/f")]).config.vms_max, 2);
}

#[test]
fn empty_variable_falls_back_to_the_file() {
    file("/f", "VMHERD_VMS_MAX=1\nVMHERD_AUTH_QUEUE=\n");
    let config = resolved(&["--config=/f"], &[("VMHERD_VMS_MAX", "")]).config;
    assert_eq!((config.vms_max, config.auth_queue), (1, 256));
}

#[test]
fn file_lists_are_separated_by_white_space() {
    let Resolved { config, report, .. } = resolved_in("VMHERD_LISTEN='tcp://127.0.0.1:1\n unix:/x'");
    assert!(config.is_listen_explicit);
    assert_eq!(config.listen.len(), 2);
    assert_eq!(shown(&report, "listen"), ("tcp://127.0.0.1:1 unix:/x".into(), "/f:1".into()));
    assert!(!resolved_in("").config.is_listen_explicit);
}

#[test]
fn bad_file_value_error_names_line_value_and_allowed() {
    file("/etc/v.conf", "# c\nVMHERD_AUTH_QUEUE='many\n'\n");
    assert_eq!(
        refused(&["--config", "/etc/v.conf"], &[]),
        "/etc/v.conf:2: VMHERD_AUTH_QUEUE: \"many\\n\" must be a whole number, 1 to 65536"
    );
    file("/f", "\nVMHERD_LISTEN=tcp://0.0.0.0:1");
    assert!(
        refused(&["--config=/f"], &[]).starts_with("/f:2: VMHERD_LISTEN: tcp://0.0.0.0:1 can be reached")
    );
    file("/f", "VMHERD_STORE=nosql://u:hunter2@h/d");
    let error = refused(&["--config=/f"], &[]);
    assert!(error.starts_with("/f:1: VMHERD_STORE: this is no store"), "{error}");
    // A variable in the environment hides the invalid line.
    file("/f", "VMHERD_AUTH_QUEUE=many");
    resolved(&["--config=/f"], &[("VMHERD_AUTH_QUEUE", "7")]);
}

#[test]
fn unreadable_file_is_an_error() {
    let error = refused(&["--config", "/nowhere"], &[]);
    assert!(error.starts_with("--config: can't read /nowhere: "), "{error}");
    assert!(refused(&[], &[("VMHERD_CONFIG", "/nowhere")]).starts_with("VMHERD_CONFIG: can't read"));
    file("/f", "VMHERD_LOG=debug\nVMHERD_STORE='");
    assert_eq!(refused(&["--config=/f"], &[]), "/f:2: this opens a quote that nothing closes");
}

#[test]
fn path_settings_reject_database_urls() {
    for text in ["postgresql://u:hunter2@h/d", "u:hunter2@h/d", "host=h password=hunter2"] {
        for name in ["VMHERD_CONFIG", "VMHERD_STORE_FILE", "VMHERD_STATE_DIR"] {
            let error = refused(&[], &[(name, text)]);
            assert!(error.contains("…\" must be a path; one with @"), "{error}");
            assert!(error.starts_with(&format!("{name}: ")) && !error.contains("hunter2"), "{error}");
        }
    }
    let paths = ["/home/me@example.net/state", "./me@home", "relative", "tcp:x", "/a://b"];
    for path in paths {
        assert_eq!(resolved(&["--state-dir", path], &[]).config.state_dir, Path::new(path));
    }
}

#[test]
fn invalid_names_are_reported_by_line_only() {
    let text = "VMHERD_STORE: postgresql://u:hunter2@h/d?sslmode=x\n";
    file("/f", &text.repeat(2));
    assert_eq!(
        refused(&["--config=/f"], &[]),
        "/f:2: the text before the = is not a setting's name; a line is NAME=VALUE"
    );
    let name = "VMHERD_STORE: postgresql://u:hunter2@h/d";
    let warnings = resolved(&[], &[(name, "x")]).warnings;
    assert_eq!(warnings, ["the environment has a variable that begins with VMHERD_ and is not a setting"]);
}

#[test]
fn ineffective_file_lines_are_refused() {
    let cases = [
        ("VMHERD_LISTN=x\nPATH=/\n", "/f:1: \"VMHERD_LISTN\" is not a setting; did you mean VMHERD_LISTEN?"),
        ("\nPATH=/\nVMHERD_A=\n", "/f:2: \"PATH\" is not a setting; see vmherd --help"),
        (
            "VMHERD_REGISTRATON=closed",
            "/f:1: \"VMHERD_REGISTRATON\" is not a setting; did you mean VMHERD_REGISTRATION?",
        ),
        ("VMHERD_CHECK_CONFIG=yes", "/f:1: \"VMHERD_CHECK_CONFIG\" is valid in the environment only"),
        ("VMHERD_CONFIG=/g", "/f:1: \"VMHERD_CONFIG\" is valid in the environment only"),
        (
            "VMHERD_LOG=info\nVMHERD_REGISTRATION closed\n",
            "/f:2: there is no = on this line; a line is NAME=VALUE",
        ),
    ];
    for (text, error) in cases {
        file("/f", text);
        assert_eq!(refused(&["--config=/f"], &[]), error);
    }
    assert_eq!(
        resolved_in("VMHERD_LOG=info\nVMHERD_LOG=warn\n").warnings,
        ["/f:2: \"VMHERD_LOG\" replaces what line 1 says"]
    );
}

#[test]
fn store_is_read_from_the_store_file() {
    file("/s", "memory:\r\nwhat follows does not matter: \u{1}");
    let environment = [("VMHERD_STORE_FILE", "/s")];
    let Resolved { config, report, .. } = resolved(&[], &environment);
    assert_eq!(config.store, Location::Memory);
    assert_eq!(shown(&report, "store"), ("memory:".into(), "/s:1".into()));
    assert_eq!(shown(&report, "store-file"), ("/s".into(), "environment".into()));
    assert_eq!(resolved_in("VMHERD_STORE_FILE=/s").config.store, Location::Memory);

    let error = refused(&["--store-file=/nowhere"], &[]);
    assert!(error.starts_with("--store-file: can't read /nowhere: "), "{error}");
    file("/s", "nosql://u:hunter2@h/d\n");
    let error = refused(&["--store-file=/s"], &[]);
    let is_good = error.starts_with("--store-file: the first line of /s is no store: ");
    assert!(is_good && !error.contains("hunter2"), "{error}");
    file("/s", "");
    refused(&["--store-file=/s"], &[]);
}

#[test]
fn store_and_store_file_conflict() {
    file("/s", "memory:");
    assert_eq!(
        refused(&["--store", "memory:"], &[("VMHERD_STORE_FILE", "/s")]),
        "--store and VMHERD_STORE_FILE: only one of them may say where the store is"
    );
    file("/f", "VMHERD_STORE=memory:");
    let error = refused(&["--config=/f", "--store-file=/s"], &[]);
    assert!(error.starts_with("/f:1: VMHERD_STORE and --store-file: only one"), "{error}");
}

#[test]
fn tools_read_the_same_files_but_only_their_settings() {
    file("/f", "VMHERD_STORE_FILE=/s\nVMHERD_STATE_DIR=/d\nVMHERD_LISTEN=nonsense\n");
    file("/s", "memory:");
    let flags: Vec<Flag> =
        tool_settings(&["store", "store-file", "state-dir"]).map(Setting::as_flag).collect();
    let (arguments, error) = Arguments::read(["--config", "/f"].map(OsString::from), &flags);
    assert_eq!(error, None);
    let environment = Environment::collect([]);
    let sources = ParsedSources::read(&arguments, &environment, read_fake).unwrap();
    let store = ToolSettings::read(&["store", "store-file", "state-dir"], &sources).unwrap().config.store;
    assert_eq!(store, Location::Memory);
    file("/s", "nonsense");
    let state_dir = ToolSettings::read(&["state-dir"], &sources).unwrap().config.state_dir;
    assert_eq!(state_dir, Path::new("/d"));
}

#[test]
fn show_config_lists_every_setting() {
    let args = ["--state-dir=/x y\n", "--listen=unix:/a"];
    let report = resolved(&args, &[]).report;
    let text = report.to_string();
    let shows = Invocation::Print { warnings: Vec::new(), text: text.clone() };
    assert_eq!(sources(&[&args[..], &["--show-config"]].concat(), &[]).parse(), Ok(shows));
    assert_eq!(text.lines().count(), 1 + SETTINGS.iter().filter(|setting| setting.is_reported()).count());
    assert!(text.starts_with("SETTING ") && text.lines().next().is_some_and(|head| head.ends_with("FROM")));
    assert_eq!(shown(&report, "state-dir"), ("/x y\\n".into(), "flag".into()));
    assert_eq!(shown(&report, "idle-timeout").0, "1h, HTTP 75s, logged in none");
    let report = resolved(&[], &[]).report;
    let state = "/home/me/.local/state/vmherd";
    assert_eq!(shown(&report, "state-dir"), (state.into(), "default".into()));
    assert_eq!(shown(&report, "store").0, default_store(Path::new(state)).to_string());
    assert!(shown(&report, "auth-workers").0.parse::<usize>().is_ok());
}

#[test]
fn passwords_are_masked() {
    let cases = [
        ("postgresql://u:hunter2@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:hun@ter2@h:5,i:6/d?x=y", "postgresql://u:***@h:5,i:6/d?x=y"),
        ("postgresql://u:hun/te?r2@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h/d?user=u&password=hunter2&x=y", "postgresql://h/d?user=u&password=***&x=y"),
        ("postgresql://h/d?PASSWORD=hunter2", "postgresql://h/d?PASSWORD=***"),
        (
            "postgresql://h/d?sslpassword=hunter2&password=hunter2",
            "postgresql://h/d?sslpassword=***&password=***",
        ),
        ("postgresql://h/d?password=hunter2&user=a@b", "postgresql://h/d?password=***&user=a@b"),
        ("postgresql:///d?user=u&password=hunter2@x", "postgresql:///d?user=u&password=***"),
        (
            "postgresql://u:hunter2@%2Fvar%2Frun/d?passfile=/p",
            "postgresql://u:***@%2Fvar%2Frun/d?passfile=***",
        ),
        ("tcp://127.0.0.1:1?open=verb", "tcp://127.0.0.1:1?open=verb"),
        ("tcp://[::1]:1 unix:/a:b", "tcp://[::1]:1 unix:/a:b"),
        ("memory:", "memory:"),
    ];
    for (text, expected) in cases {
        assert_eq!(mask_passwords(text), expected);
    }
}

#[test]
fn changes_say_whether_they_need_a_restart() {
    let started = resolved_in("VMHERD_VMS_MAX=1\nVMHERD_STORE=memory:\n").report;
    let second = resolved_in("VMHERD_VMS_MAX=2\nVMHERD_AUTH_WORKERS=64\nVMHERD_STORE=memory:").report;
    let texts = |report: &Report, latest: &Report| -> Vec<String> {
        report.changes(&started, latest).into_iter().map(|change| change.text).collect()
    };
    let workers = shown(&started, "auth-workers").0;
    let waits = format!("--auth-workers is 64 instead of {workers} (/f:2) after a restart only");
    assert_eq!(texts(&second, &started), ["--vms-max is 2 instead of 1 (/f:1)", &waits]);
    assert_eq!(texts(&second, &second), [waits], "a change that waits for a restart is reported each time");
    assert_eq!(texts(&started, &second), ["--vms-max is 1 instead of 2 (/f:1)"], "nothing waits any more");
    assert!(started.changes(&started, &started).is_empty());
}

#[test]
fn changed_store_file_is_reported_without_password() {
    file("/s", "memory:");
    let before = resolved(&["--store-file=/s"], &[]).report;
    file("/s", "memory: ");
    assert!(resolved(&["--store-file=/s"], &[]).report.changes(&before, &before).is_empty());
    let mut after = before.clone();
    let origin = before.origin("store").unwrap().clone();
    after.replace("store", "postgresql://u:hunter2@h/d", origin.clone());
    let changes = after.changes(&before, &before);
    let says_new_store = changes[0].text.starts_with("--store is postgresql://u:***@h/d instead of memory:");
    assert!(changes[0].needs_restart && says_new_store, "{changes:?}");
    let mut other = after.clone();
    other.replace("store", "postgresql://u:hunter3@h/d", origin);
    assert_eq!(other.changes(&after, &after).len(), 1, "a password is a change, too");
    assert!(!format!("{other:?} {other}").contains("hunter"), "{other:?}");
}

#[test]
fn log_format_is_found_despite_other_errors() {
    use LogFormat::{Json, Text};
    file("/f", "VMHERD_LOG_FORMAT=json\nVMHERD_LISTEN=nonsense");
    file("/broken", "VMHERD_LOG_FORMAT=json\nA='");
    file("/broken-above", "A='\nVMHERD_LOG_FORMAT=json\n");
    file("/nul", "VMHERD_LOG_FORMAT=json\nA=b\0");
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], LogFormat);
    let cases: &[Case] = &[
        (&["--nonsense", "--log-format", "json"], &[], Json),
        (&["--log-format=json", "--log-format=json"], &[], Json),
        (&["--log-format"], &[], Text),
        (&["--log-format"], &[("VMHERD_LOG_FORMAT", "json")], Json),
        (&["--log-format", "--check-config"], &[("VMHERD_LOG_FORMAT", "json")], Json),
        (&["--config=/f", "--log-format"], &[], Json),
        (&["--config"], &[("VMHERD_CONFIG", "/f")], Json),
        (&["--log-format=xml"], &[], Text),
        (&["stray"], &[("VMHERD_LOG_FORMAT", "json")], Json),
        (&["--log-format=text"], &[("VMHERD_LOG_FORMAT", "json")], Text),
        (&["--config", "/f"], &[], Json),
        (&["--config=/f"], &[("VMHERD_LOG_FORMAT", "text")], Text),
        (&[], &[("VMHERD_CONFIG", "/f")], Json),
        (&["--config", "/broken"], &[], Json),
        (&["--config", "/broken-above"], &[], Text),
        (&["--config", "/nul"], &[], Json),
        (&["--config", "/nowhere"], &[], Text),
        (&[], &[], Text),
    ];
    for (args, environment, expected) in cases {
        assert_eq!(sources(args, environment).log_format(), *expected, "{args:?} {environment:?}");
    }
}

#[test]
fn example_file_lists_every_setting_commented_out() {
    let text = settings_as_file();
    assert_eq!(resolved_in(&text).config, resolved(&[], &[]).config);
    // Without the comment signs it sets the defaults.
    let lines = text
        .lines()
        .map(|line| line.strip_prefix("#VMHERD_").map_or(line.into(), |line| format!("VMHERD_{line}")));
    let said = resolved_in(&lines.collect::<Vec<_>>().join("\n"));
    let mut expected = resolved(&[], &[]).config;
    expected.is_listen_explicit = true;
    assert_eq!(said.config, expected);
    assert!(said.warnings.is_empty(), "{:?}", said.warnings);
    for setting in SETTINGS.iter().filter(|setting| setting.is_allowed_in_file()) {
        let name = format!("\n#{}=", setting.variable_name().expect("it has a name"));
        assert_eq!(text.matches(&name).count(), 1, "{name}");
    }
}

// The example is the default build's.
#[cfg(all(feature = "sqlite", feature = "http", feature = "qemu", feature = "sealed"))]
#[test]
fn the_example_file_is_current() {
    crate::written_file::expect_current("systemd/vmherd.conf", &settings_as_file());
}

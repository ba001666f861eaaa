//! The table of settings: names, defaults, limits, and the messages about invalid values.

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "sqlite")]
use vmherd::Location;
use vmherd::{AnonymousAccess, Config, ListenerSpec, PasswordCost};

use super::help::help;
use super::loader::default_store;
use super::partial::{LogSettings, PartialConfig};
use super::setting::Kind;
use super::table::SETTINGS;
use super::tests::{parse_in, printed, run, run_in, tcp, value_error};
use super::*;

#[test]
fn no_input_gives_the_defaults() {
    let config = run(&[]);
    assert_eq!(
        config.listen,
        [ListenerSpec {
            address: tcp("127.0.0.1:8888"),
            anonymous_access: AnonymousAccess::ALL,
            first_generation: false
        }]
    );
    assert_eq!(config.state_dir, PathBuf::from("/home/me/.local/state/vmherd"));
    assert_eq!(config.store, default_store(&config.state_dir));
    let timeouts = config.timeouts;
    let seconds = Duration::from_secs;
    assert_eq!((timeouts.first_request, timeouts.request), (Some(seconds(300)), seconds(10)));
    assert_eq!((timeouts.idle_anonymous, timeouts.idle_authenticated), (Some(seconds(3600)), None));
    assert_eq!((timeouts.idle_http, timeouts.write), (Some(seconds(75)), seconds(10)));
    assert_eq!(config.registration, None);
    assert_eq!(config.vms_max, 1_000_000);
    assert_eq!(config.token_lifetime, Duration::from_secs(24 * 3600));
    assert_eq!((config.logins.failures, config.logins.delay_max), (Some(5), Some(Duration::from_secs(6))));
    assert!((1..=4).contains(&config.auth_workers));
    assert_eq!((config.auth_queue, config.read_queue, config.write_queue), (256, 4096, 4096));
    assert_eq!(config.connections_max, 16_384);
    assert_eq!((config.requests_per_connection, config.requests_max), (16_384, 1_048_576));
    assert_eq!(config.argon2, PasswordCost { memory_kib: 19_456, passes: 2, lanes: 1 });
}

#[cfg(feature = "sqlite")]
#[test]
fn the_default_store_is_a_file_in_the_state_directory() {
    assert_eq!(run(&["--state-dir", "/x"]).store, Location::Sqlite("/x/vmherd.sqlite3".into()));
}

#[test]
fn every_setting_works_as_flag_and_as_variable() {
    type Look = fn(&Config) -> String;
    let cases: &[(&str, &str, Look, &str)] = &[
        ("listen", "tcp://[::1]:0", |c| format!("{}", c.listen[0].address), "tcp://[::1]:0"),
        ("allow", "::/0", |c| format!("{:?}", c.allow), "[AddressRule(V6 { network: 0, mask: 0 })]"),
        ("deny", "any", |c| format!("{:?}", c.deny), "[AddressRule(Any)]"),
        ("store", "memory:", |c| format!("{:?}", c.store), "Memory"),
        ("state-dir", "/x y", |c| c.state_dir.display().to_string(), "/x y"),
        ("first-request-timeout", "none", |c| format!("{:?}", c.timeouts.first_request), "None"),
        ("request-timeout", "1.5s", |c| format!("{:?}", c.timeouts.request), "1.5s"),
        ("idle-timeout", "5m", |c| format!("{:?}", c.timeouts.idle_authenticated), "Some(300s)"),
        ("write-timeout", "7", |c| format!("{:?}", c.timeouts.write), "7s"),
        ("registration", "closed", |c| format!("{:?}", c.registration), "Some(false)"),
        ("vms-max", "3", |c| c.vms_max.to_string(), "3"),
        ("login-failures", "none", |c| format!("{:?}", c.logins.failures), "None"),
        ("login-delay-max", "2s", |c| format!("{:?}", c.logins.delay_max), "Some(2s)"),
        ("token-lifetime", "2d", |c| format!("{:?}", c.token_lifetime), "172800s"),
        #[cfg(feature = "http")]
        ("http-host", "vms.example.org", hosts, "[AllowedHost(\"vms.example.org\")]"),
        #[cfg(feature = "http")]
        ("http-origin", "https://a.b:1", origins, "[AllowedOrigin(\"https://a.b:1\")]"),
        ("log-addresses", "hashed", |c| format!("{:?}", c.log_addresses), "Hashed"),
        ("conversion-delay", "0.5..2", |c| format!("{:?}", c.conversion_delay), "500ms..=2s"),
        ("metrics-durability", "memory", |c| format!("{:?}", c.metrics_durability), "Memory"),
        ("metrics-retention", "30d", |c| format!("{:?}", c.metrics_retention), "Some(2592000s)"),
        ("auth-workers", "3", |c| c.auth_workers.to_string(), "3"),
        ("auth-queue", "3", |c| c.auth_queue.to_string(), "3"),
        ("read-queue", "3", |c| c.read_queue.to_string(), "3"),
        ("write-queue", "3", |c| c.write_queue.to_string(), "3"),
        ("store-connections", "3", |c| c.store_connections.to_string(), "3"),
        ("connections-max", "3", |c| c.connections_max.to_string(), "3"),
        ("requests-per-connection", "3", |c| c.requests_per_connection.to_string(), "3"),
        ("buffers-max", "3MiB", |c| c.buffers_bytes_max.to_string(), "3145728"),
        ("requests-max", "3", |c| c.requests_max.to_string(), "3"),
        ("argon2-memory", "64", |c| c.argon2.memory_kib.to_string(), "64"),
        ("argon2-passes", "3", |c| c.argon2.passes.to_string(), "3"),
        ("argon2-lanes", "3", |c| c.argon2.lanes.to_string(), "3"),
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
    let switches =
        ["allow-plaintext", "sealed-onetime-keys", "sealed-tokens", "metrics-points", "check-config"];
    let questions = ["help", "version", "show-config"];
    // Those of VMs have tests of their own.
    let others = ["config", "store-file", "log", "log-format", "vms-running-max", "vms-survive"];
    let not_tried = SETTINGS.iter().map(|setting| setting.flag).find(|flag| {
        let is_elsewhere = [&switches[..], &questions, &others].concat().contains(flag);
        !cases.iter().any(|case| case.0 == *flag) && !is_elsewhere && !flag.starts_with("vm-")
    });
    assert_eq!(not_tried, None);
}

#[cfg(feature = "http")]
fn hosts(config: &Config) -> String {
    field_of_http(config, "hosts: ")
}

#[cfg(feature = "http")]
fn origins(config: &Config) -> String {
    field_of_http(config, "origins: ")
}

/// A list of rules for HTTP, which only `Debug` shows.
#[cfg(feature = "http")]
fn field_of_http(config: &Config, name: &str) -> String {
    let text = format!("{config:?}");
    let (_, list) = text.split_once(name).expect("it is a field");
    format!("{}]", list.split_once(']').expect("it is a list").0)
}

#[test]
fn settings_of_the_log_work_as_flag_and_as_variable() {
    let log = |args: &[&str], environment: &[(&str, &str)]| match parse_in(args, environment) {
        Ok(Invocation::Run(resolved)) => (resolved.log.filter, resolved.log.format),
        other => panic!("{args:?} with {environment:?} gave {other:?}"),
    };
    let filter = "warn,vmherd::service=debug";
    assert_eq!(log(&[], &[]), ("info".into(), LogFormat::Text));
    let expected = (filter.into(), LogFormat::Json);
    assert_eq!(log(&["--log", filter, "--log-format", "json"], &[]), expected);
    assert_eq!(log(&[&format!("--log={filter}"), "--log-format=json"], &[]), expected);
    assert_eq!(log(&[], &[("VMHERD_LOG", filter), ("VMHERD_LOG_FORMAT", "json")]), expected);
}

#[test]
fn switches_accept_all_spellings() {
    let public = "tcp://192.0.2.1:1";
    for yes in ["1", "true", "yes"] {
        run_in(&["--listen", public], &[("VMHERD_ALLOW_PLAINTEXT", yes)]);
        let check = parse_in(&[], &[("VMHERD_CHECK_CONFIG", yes)]);
        assert_eq!(check, printed("the configuration is valid\n"));
    }
    for no in ["0", "false", "no"] {
        value_error(&["--listen", public], &[("VMHERD_ALLOW_PLAINTEXT", no)]);
    }
    run(&["--listen", public, "--allow-plaintext"]);
    #[cfg(feature = "sealed")]
    assert!(run(&["--sealed-tokens"]).sealed_tokens && !run(&[]).sealed_tokens);
    value_error(&["--listen", public, "--allow-plaintext=no"], &[("VMHERD_ALLOW_PLAINTEXT", "1")]);
    let wrong = value_error(&[], &[("VMHERD_ALLOW_PLAINTEXT", "on")]);
    assert_eq!(wrong, "VMHERD_ALLOW_PLAINTEXT: \"on\" must be 1, true, yes, 0, false or no");
}

#[test]
fn idle_timeout_replaces_both_defaults() {
    let timeouts = run(&["--idle-timeout", "10s"]).timeouts;
    let given = Some(Duration::from_secs(10));
    assert_eq!((timeouts.idle_anonymous, timeouts.idle_authenticated), (given, given));
    let timeouts = run(&["--idle-timeout", "none"]).timeouts;
    assert_eq!((timeouts.idle_anonymous, timeouts.idle_authenticated), (None, None));
}

#[test]
fn limits_are_inclusive() {
    for setting in SETTINGS {
        let [least, most, below, above] = match &setting.kind {
            Kind::Number(quantity) => {
                let (least, most) = (*quantity.allowed.start(), *quantity.allowed.end());
                [least, most, least - 1, most + 1].map(quantity.format)
            }
            Kind::Time(quantity) => {
                let (least, most) = (*quantity.allowed.start(), *quantity.allowed.end());
                let millisecond = Duration::from_millis(1);
                [least, most, least - millisecond, most + millisecond].map(quantity.format)
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
fn only_some_durations_may_be_none() {
    value_error(&["--request-timeout", "none"], &[]);
    value_error(&["--write-timeout", "none"], &[]);
    value_error(&["--token-lifetime", "none"], &[]);
}

#[test]
fn bad_value_error_names_setting_value_and_allowed() {
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
        assert!(error.starts_with("--store: this is no store: ") && error.contains("memory:"), "{error}");
    }
}

#[test]
fn bad_value_error_hides_password() {
    for url in ["mysql://me:secret@host/db", "postgresql://host/db?password=secret"] {
        let error = value_error(&[], &[("VMHERD_STORE", url)]);
        assert!(error.starts_with("VMHERD_STORE: this is no store"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn too_long_state_dir_is_refused() {
    let longest = format!("/{}", "d".repeat(107 - "//vmherd.sock".len()));
    run(&["--state-dir", &longest]);
    let error = value_error(&["--state-dir", &format!("{longest}d")], &[]);
    assert!(error.starts_with("--state-dir: ") && error.contains("108 bytes"), "{error}");
}

#[test]
fn the_help_text_fits_three_screens_and_has_every_setting() {
    let text = help();
    assert!(text.lines().count() <= 80, "{} lines", text.lines().count());
    for line in text.lines() {
        assert!(line.len() <= 80 && line.is_ascii(), "{} bytes: {line}", line.len());
    }
    let settings = text.find("\n  --listen ").expect("the settings");
    assert!(
        text.find("vmherd --store memory:").is_some_and(|examples| examples < settings),
        "examples come first"
    );
    for setting in SETTINGS {
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
    let is_tool = |example: &&str| example.starts_with("vm, token,");
    for example in examples.filter(|example| !is_tool(example)) {
        let command = example.split("  ").next().unwrap_or_default();
        let args: Vec<String> =
            command.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
        run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tried += 1;
    }
    assert_eq!(tried, 3);
}

#[test]
fn every_default_is_allowed() {
    for setting in SETTINGS {
        if let Some(text) = setting.default_text() {
            let mut partial = PartialConfig::default();
            assert_eq!(setting.try_set(&mut partial, &text), Ok(()), "--{}", setting.flag);
        }
    }
}

#[test]
fn defaults_of_the_table_are_those_of_the_library() {
    assert_eq!(run(&["--state-dir=vmherd", "--store=memory:"]), Config::default());
    let mut partial = PartialConfig::default();
    let defaults = SETTINGS.iter().filter_map(|setting| Some((setting, setting.default_text()?)));
    defaults.for_each(|(setting, text)| setting.try_set(&mut partial, &text).unwrap());
    partial.config.is_listen_explicit = false;
    assert_eq!((partial.config, partial.log), (Config::default(), LogSettings::default()));
}

//! Parsers of single values: listeners, times and log filters; suggestions for misspelt names.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vmherd::{AccessGroup, AnonymousAccess, ListenAddress, ListenerSpec};

use super::arguments::nearest;
use super::tests::{run, run_in, tcp, value_error};
use super::values::{format_duration, is_log_filter, parse_duration, parse_duration_range};
use super::*;

#[test]
fn listeners_are_parsed() {
    let some = |access: &[AccessGroup]| access.iter().copied().collect();
    let cases = [
        ("tcp://127.0.0.1:8888", tcp("127.0.0.1:8888"), AnonymousAccess::ALL),
        ("tcp://127.9.9.9:0", tcp("127.9.9.9:0"), AnonymousAccess::ALL),
        ("tcp://localhost:80", tcp("127.0.0.1:80"), AnonymousAccess::ALL),
        ("tcp://[::1]:0", tcp("[::1]:0"), AnonymousAccess::ALL),
        ("tcp://[::ffff:127.0.0.1]:9", tcp("127.0.0.1:9"), AnonymousAccess::ALL),
        ("tcp://127.0.0.1:1?open=none", tcp("127.0.0.1:1"), AnonymousAccess::NONE),
        ("tcp://127.0.0.1:1?open=", tcp("127.0.0.1:1"), AnonymousAccess::NONE),
        ("unix:vms.sock?open=none", ListenAddress::Unix("vms.sock".into()), AnonymousAccess::NONE),
        ("tcp://127.0.0.1:1?open=verb", tcp("127.0.0.1:1"), some(&[AccessGroup::Verb])),
        ("tcp://0.0.0.0:8888", tcp("0.0.0.0:8888"), AnonymousAccess::NONE),
        (
            "tcp://0.0.0.0:8888?open=metrics,convert",
            tcp("0.0.0.0:8888"),
            some(&[AccessGroup::Metrics, AccessGroup::Convert]),
        ),
        ("tcp://[::]:1?open=action,metrics,convert,verb,page", tcp("[::]:1"), AnonymousAccess::ALL),
        ("unix:/run/x", ListenAddress::Unix("/run/x".into()), AnonymousAccess::ALL),
        ("unix:x y?open=action", ListenAddress::Unix("x y".into()), some(&[AccessGroup::Action])),
    ];
    for (text, address, anonymous_access) in cases {
        let config = run(&["--allow-plaintext", "--listen", text]);
        let first_generation = false;
        assert_eq!(config.listen, [ListenerSpec { address, anonymous_access, first_generation }], "{text}");
    }
}

#[test]
#[cfg(feature = "sealed")]
fn sealed_listeners_open_the_verbs_and_need_no_other_setting() {
    let anonymous_access = [AccessGroup::Verb].into_iter().collect();
    for (text, address, first_generation) in [
        ("sealed://0.0.0.0:6150", "0.0.0.0:6150", false),
        ("sealed://localhost:0", "127.0.0.1:0", false),
        ("sealed://[::1]:6150?generation1", "[::1]:6150", true),
    ] {
        let address = ListenAddress::Sealed(address.parse().unwrap());
        let config = run(&["--listen", text]);
        assert_eq!(config.listen, [ListenerSpec { address, anonymous_access, first_generation }], "{text}");
    }
    for text in
        ["sealed://localhost", "sealed://a:1", "sealed://[::1]:1?open=verb", "sealed://[::1]:1?generation2"]
    {
        assert!(
            value_error(&["--listen", text], &[])
                .contains("or sealed://ADDRESS:PORT, and perhaps ?generation1")
        );
    }
    let both = ["--listen", "tcp://127.0.0.1:1", "--listen", "sealed://127.0.0.1:1"];
    assert!(value_error(&both, &[]).contains("can't both be listened on"));
}

#[test]
fn invalid_listeners_are_refused() {
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
        "tcp://127.0.0.1:1?open=none,metrics",
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
fn remote_listeners_need_allow_plaintext() {
    for text in [
        "tcp://0.0.0.0:7",
        "tcp://[::]:7",
        "tcp://192.168.1.1:7",
        "tcp://[fe80::1%2]:7",
        "tcp://[::ffff:8.8.8.8]:7",
    ] {
        let error = value_error(&["--listen", text], &[]);
        for part in [
            "--listen: tcp://",
            "--listen tcp://127.0.0.1:7;",
            "tunnel or proxy",
            "--listen tcp://127.0.0.1:7?open=none --registration closed",
            "docs/security.md",
            "--allow-plaintext",
            "VMHERD_ALLOW_PLAINTEXT",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    let error = value_error(&["--check-config"], &[("VMHERD_LISTEN", "tcp://0.0.0.0:7")]);
    assert!(error.starts_with("VMHERD_LISTEN: tcp://0.0.0.0:7 "), "{error}");
}

#[test]
fn duplicate_and_excess_listeners_are_refused() {
    let error = value_error(&["--listen=tcp://127.0.0.1:5", "--listen=tcp://localhost:5"], &[]);
    assert_eq!(error, "--listen: tcp://127.0.0.1:5 is listed twice");
    let error = value_error(&["--state-dir=/s", "--listen=unix:/s/vmherd.sock"], &[]);
    assert!(error.contains("the daemon's own socket"), "{error}");
    run(&["--listen=tcp://127.0.0.1:0", "--listen=tcp://127.0.0.1:0"]);
    run_in(&[], &[("VMHERD_LISTEN", &"tcp://127.0.0.1:0 ".repeat(63))]);
    value_error(&[], &[("VMHERD_LISTEN", &"tcp://127.0.0.1:0 ".repeat(64))]);
}

#[test]
fn log_filter_syntax_matches_env_logger() {
    for good in [
        "info",
        "OFF",
        "warn,vmherd=debug",
        "mio",
        "vmherd::service=trace,",
        "info,vmherd::audit=warn",
        "vmherd::store::sqlite=error/some text",
        " info , mio=warn ",
    ] {
        assert!(is_log_filter(good), "{good:?}");
    }
    for bad in [
        "vmherd=loud",
        "a=b=c",
        "a/b/c",
        "=info",
        "inof",
        "debgu",
        "warning",
        "two words",
        "info;warn",
        "notice",
        "verbose",
        "critical",
        "vmhred=debug",
        "vmherd::adit=off",
        "info,vmherd::=off",
        "",
        ",",
        "/text",
    ] {
        assert!(!is_log_filter(bad), "{bad:?}");
    }
    let error = value_error(&["--log", "vmherd=loud"], &[]);
    assert!(error.starts_with("--log: \"vmherd=loud\" must be off, error"), "{error}");
}

#[test]
fn every_module_is_a_log_target() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let daemon = source.join("bin/vmherd");
    let of_daemon = names_in(&daemon).filter(|(path, _)| {
        // Of the daemon's modules, only those that log.
        let text = fs::read_to_string(path).unwrap_or_default();
        ["error!(", "warn!(", "info!(", "debug!("].iter().any(|call| text.contains(call))
    });
    let all = names_in(&source).chain(of_daemon).map(|(_, name)| name);
    let mut parts: Vec<String> =
        all.filter(|name| !["bin", "lib"].contains(&name.as_str())).chain(["audit".to_owned()]).collect();
    parts.sort();
    assert_eq!(parts.join(" "), values::LOG_MODULES);
}

/// The files and folders in `folder`, and the names of their modules.
fn names_in(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (path, name)
    })
}

#[test]
fn durations_are_parsed() {
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
        assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        let time = Duration::from_millis(milliseconds);
        assert_eq!(parse_duration(&format_duration(time)), Some(time), "{text}");
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
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn duration_ranges_are_parsed() {
    let milliseconds = |text: &str| {
        parse_duration_range(text).map(|range| (range.start().as_millis(), range.end().as_millis()))
    };
    let good = [("1s..5s", (1000, 5000)), ("500ms..2", (500, 2000)), ("0", (0, 0)), ("3s", (3000, 3000))];
    for (text, wanted) in good {
        assert_eq!(milliseconds(text), Some(wanted), "{text}");
    }
    for text in ["", "..", "1s..", "..5s", "5s..1s", "1s...5s", "1s..2s..3s", "none", "-1..5", "a..b"] {
        assert_eq!(milliseconds(text), None, "{text}");
    }
    assert!(value_error(&["--conversion-delay", "1s..2h"], &[]).contains("1h at most"));
}

#[test]
fn nearest_finds_typos_and_prefixes() {
    let words = ["listen", "log", "log-format", "auth-queue", "auth-workers"];
    let near = |word| nearest(word, words.into_iter());
    assert_eq!(near("lsiten"), Some("listen"));
    assert_eq!(near("lgo"), Some("log"));
    assert_eq!(near("log-for"), Some("log-format"));
    assert_eq!(near("auth"), None, "two begin so");
    assert_eq!(near("xyz"), None);
    assert_eq!(near(&"x".repeat(1 << 20)), None);
}

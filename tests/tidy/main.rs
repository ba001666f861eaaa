//! Checks the rules of the structure: the layers and their imports, no cycles of imports, the few files that may name
//! certain external crates, heads and lengths of files, and the dependencies of the smallest build.
//!
//! A module's tests are at the end of its file, in `mod tests`. Long ones are in a file beside it: `foo_tests.rs` for
//! `foo.rs`, and `tests.rs` for `mod.rs`, with its parts in the folder `tests/`.

mod import_cycles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use import_cycles::Modules;

/// From the bottom up. A module imports from earlier rows, and from its own row only where the row allows it.
const LAYERS: &[(&[&str], Siblings)] = &[
    (&["sys", "limits", "clock", "ids", "buffer", "log_limiter", "escape", "assets"], Siblings::Allowed),
    (&["model"], Siblings::Allowed),
    (&["embed"], Siblings::Allowed),
    (&["qemu", "crypto"], Siblings::Forbidden),
    (&["framing", "dialect"], Siblings::Forbidden),
    (&["session", "store", "client"], Siblings::Forbidden),
    (&["work"], Siblings::Allowed),
    (&["app", "worker"], Siblings::Forbidden),
    (&["dispatch"], Siblings::Allowed),
    (&["reactor"], Siblings::Allowed),
    (&["config"], Siblings::Allowed),
    (&["server", "registry"], Siblings::Forbidden),
];

#[derive(Clone, Copy, PartialEq)]
enum Siblings {
    Allowed,
    Forbidden,
}

/// A text, and the only files and folders whose code may hold it.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    ("mio::", &["src/reactor/mio_net.rs", "src/sys/epoll.rs", "src/qemu"]),
    ("argon2::", &["src/work"]),
    ("rusqlite::", &["src/store"]),
    ("postgres::", &["src/store"]),
    ("unicode_normalization::", &["src/model/name.rs"]),
    ("unicode_properties::", &["src/escape.rs"]),
    ("httparse::", &["src/framing/http"]),
    ("aws_lc_rs::", &["src/crypto"]),
    ("libc::", &["src/sys", "src/bin/vmherd/sys", "src/bin/vmherdctl/sys.rs"]),
    ("sysinfo::", &["src/bin/vmherdctl/agent/host.rs"]),
    ("unsafe ", &["src/sys", "src/bin/vmherd/sys", "src/bin/vmherdctl/sys.rs"]),
    ("env_logger::", &["src/bin/vmherd/logging.rs"]),
    // The user's program; the daemon has none of its packages.
    ("clap::", &["src/bin/vmherdctl", "src/bin/vmherd/manual_page.rs", "src/bin/common/written_file.rs"]),
    ("rpassword::", &["src/bin/vmherdctl/secrets.rs"]),
    ("rustyline::", &["src/bin/vmherdctl/console"]),
    ("unicode_width::", &["src/bin/vmherdctl/output"]),
    ("socket2::", &["src/reactor/mio_net.rs", "src/server/bind.rs", "src/client/connection.rs"]),
    // No part of the server uses the client library.
    ("crate::client", &["src/lib.rs"]),
    (
        "Instant::now(",
        &[
            "src/clock.rs",
            "src/bin/vmherd/signal_loop.rs",
            "src/bin/vmherdctl/time.rs",
            "src/bin/vmherdctl/agent",
        ],
    ),
    ("SystemTime::now(", &["src/clock.rs", "src/bin/vmherd/sys/process.rs", "src/bin/vmherdctl/time.rs"]),
    // In the store: an attempt to connect may hang forever and must not block a worker; the watcher of a served file
    // must run while the workers wait for that file.
    (
        "thread::Builder",
        &[
            "src/worker",
            "src/server",
            "src/bin/vmherd",
            "src/bin/vmherdctl/agent/mod.rs",
            "src/bin/vmherdctl/progress.rs",
            "src/qemu",
            "src/store/postgres/hosts.rs",
            "src/store/sqlite/served_file.rs",
        ],
    ),
    // A log line shows a client's address through `src/model/logged_address.rs` only.
    (
        "Peer::Tcp(",
        &[
            "src/model",
            "src/app/presence.rs",
            "src/dialect/command/server.rs",
            "src/embed/client.rs",
            "tests/simulation/net.rs",
        ],
    ),
    ("Source::V4(", &["src/model"]),
    ("Source::V6(", &["src/model"]),
    ("thread::spawn", &[]),
    // The daemon's program sees what any other program sees.
    ("vmherd::internals", &["tests/simulation"]),
    // Waiting for locks and servers: on worker threads only.
    ("thread::sleep", &["src/store"]),
];

/// What must not be left in any Rust file. A test may be ignored for a stated reason.
const LEFT_OVERS: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX", "#[ignore]"];

/// The folders of all Rust files.
const FOLDERS: &[&str] = &["src", "tests", "benches", "examples", "fuzz/src", "fuzz/fuzz_targets"];

/// Folders with test files that are about all their modules together.
const TESTS_OF_A_FOLDER: &[&str] = &["src/framing/http/"];

/// Lines above which a file is two ideas.
const FILE_LINES_MAX: usize = 450;

/// The packages that mio, postgres, serde, serde_json, argon2, log and env_logger bring in, themselves
/// included: `cargo tree -e normal` of a crate that depends on those seven and nothing else.
const PACKAGES_OF_THE_SMALLEST_BUILD: &str = "argon2 async-trait base64 base64ct blake2 block-buffer byteorder \
    bytes cfg-if chacha20 cmov const-oid cpufeatures crypto-common ctutils digest env_filter env_logger \
    fallible-iterator futures-channel futures-core futures-sink futures-task futures-util getrandom hmac \
    hybrid-array itoa libc lock_api log md-5 memchr mio parking_lot parking_lot_core password-hash \
    percent-encoding phc phf phf_shared pin-project-lite postgres postgres-protocol postgres-types \
    proc-macro2 quote rand rand_core scopeguard serde serde_core serde_derive serde_json sha2 siphasher \
    smallvec socket2 stringprep syn tinyvec tokio tokio-postgres tokio-util typenum unicode-bidi \
    unicode-ident unicode-normalization unicode-properties whoami zmij";

#[test]
fn each_layer_names_modules() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_there = |name: &&str| {
        sources.join(format!("{name}.rs")).is_file() || sources.join(name).join("mod.rs").is_file()
    };
    let gone: Vec<_> = LAYERS.iter().flat_map(|(names, _)| *names).filter(|name| !is_there(name)).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn imports_go_downwards() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(own) = module(&file.path) else { continue };
        let own_layer = layer(&own).unwrap_or_else(|| panic!("{own} ({}) is in no layer", file.path));
        for imported in imports(&file.code) {
            let Some(layer) = layer(&imported) else {
                wrong.push(format!("{}: {imported} is in no layer", file.path));
                continue;
            };
            let is_own_row = layer == own_layer && imported != own;
            if layer > own_layer || is_own_row && LAYERS[layer].1 == Siblings::Forbidden {
                wrong.push(format!("{}: {own} imports {imported}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn imports_form_no_cycle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| {
        let text = fs::read_to_string(root.join(path)).ok()?;
        let is_left_out = path.starts_with("src/") && is_test_file(path);
        Some(if is_left_out { String::new() } else { code(&text) })
    };
    let mut crates = vec!["src/lib.rs".to_owned()];
    crates.extend(rust_files("src/bin").into_iter().filter(|path| path.ends_with("/main.rs")));
    crates.extend(rust_files("benches").into_iter().filter(|path| path.ends_with("/main.rs")));
    let is_test_crate = |path: &String| path.ends_with("/main.rs") || path.matches('/').count() == 1;
    crates.extend(rust_files("tests").into_iter().filter(is_test_crate));
    assert!(crates.len() > 10, "not all crates are found: {crates:?}");
    let cycles: Vec<_> = crates.iter().flat_map(|root| Modules::of_crate(root, &read).cycles()).collect();
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn external_crates_are_named_only_in_their_files() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (text, places) in NAMED_ONLY_IN {
            let is_there = file.code.lines().any(|line| holds_word(line, text));
            if is_there && !places.iter().any(|place| Path::new(&file.path).starts_with(place)) {
                wrong.push(format!("{} names {text}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_has_a_head_and_a_bounded_length() {
    let mut wrong = Vec::new();
    for file in sources() {
        if !file.text.starts_with("//!") {
            wrong.push(format!("{} does not open with what it is", file.path));
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in FOLDERS.iter().copied().flat_map(rust_files) {
        let lines = fs::read_to_string(root.join(&path)).expect("a source file is text").lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{path} has {lines} lines"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_left_over() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for path in FOLDERS.iter().copied().flat_map(rust_files) {
        let text = fs::read_to_string(root.join(&path)).expect("a source file is text");
        // The table itself is none.
        for line in text.lines().filter(|line| !line.starts_with("const LEFT_OVERS")) {
            let left_over = LEFT_OVERS.iter().find(|left_over| holds_whole_word(line, left_over));
            wrong.extend(left_over.map(|left_over| format!("{path} holds {left_over}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn long_tests_are_beside_their_module() {
    let paths: BTreeSet<String> = sources().into_iter().map(|file| file.path).collect();
    let misplaced: Vec<_> = paths
        .iter()
        .filter(|path| !TESTS_OF_A_FOLDER.iter().any(|folder| path.starts_with(folder)))
        .filter(|path| {
            let module = path.strip_suffix("_tests.rs").or_else(|| path.strip_suffix("/tests.rs"));
            module.is_some_and(|module| {
                !paths.contains(&format!("{module}.rs")) && !paths.contains(&format!("{module}/mod.rs"))
            })
        })
        .collect();
    assert!(misplaced.is_empty(), "{misplaced:#?}");
}

#[test]
fn the_smallest_build_adds_no_package() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--no-default-features", "-e", "normal", "--prefix", "none"])
        .args(["--no-dedupe", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("package names are text");
    let allowed: BTreeSet<&str> = PACKAGES_OF_THE_SMALLEST_BUILD.split_whitespace().collect();
    let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let added: Vec<_> =
        packages.iter().filter(|name| **name != "vmherd" && !allowed.contains(*name)).collect();
    assert!(packages.len() > 10, "the tree can't be that small: {packages:?}");
    assert!(added.is_empty(), "{added:?}");
}

struct Source {
    /// From the package's folder on.
    path: String,
    text: String,
    /// Without comments, and without the tests at the end.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = rust_files("src");
    found.extend(rust_files("tests/simulation"));
    assert!(found.len() > 20, "the sources are not where they were");
    let sources = found.into_iter().map(|path| {
        let text = fs::read_to_string(root.join(&path)).expect("a source file is text");
        let code = if is_test_file(&path) { String::new() } else { code(&text) };
        Source { path, text, code }
    });
    sources.collect()
}

/// The paths of the Rust files below `folder`, both from the package's folder on.
fn rust_files(folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join(folder), &mut found);
    let below = |path: PathBuf| path.strip_prefix(root).expect("it is below").to_string_lossy().into_owned();
    found.into_iter().map(below).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Files that hold tests of a module and nothing else.
fn is_test_file(path: &str) -> bool {
    path.contains("/contract")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || path.contains("/tests/")
}

fn code(text: &str) -> String {
    let production = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = production.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The library's top-level module that a file belongs to; none for the crate's root, and for the daemon's program,
/// which sees only what is public.
fn module(path: &str) -> Option<String> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "bin"].contains(&first)).then(|| first.to_owned())
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(modules, _)| modules.contains(&module))
}

/// The top-level modules that code names as `crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut imported = BTreeSet::new();
    for (at, root) in code.match_indices("crate::") {
        let rest = &code[at + root.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split_once("};").map_or(group, |(group, _)| group);
            imported.extend(group_heads(group));
        } else {
            imported.insert(identifier(rest));
        }
    }
    imported.retain(|name| !name.is_empty());
    imported
}

/// The first names of the paths in a group of imports, nested groups left out.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                heads.push(identifier(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether `line` holds `text` where no longer word ends in it.
fn holds_word(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| !line[..at].ends_with(is_of_a_word))
}

/// The same, where no longer word begins with its end either.
fn holds_whole_word(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let rest = &line[at + text.len()..];
        let goes_on = text.ends_with(is_of_a_word) && rest.starts_with(is_of_a_word);
        !goes_on && !line[..at].ends_with(is_of_a_word)
    })
}

fn is_of_a_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

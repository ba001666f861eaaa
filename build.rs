//! Packs the files of the web page, in `assets/`, for `src/assets.rs`: with the feature `page` only.
//!
//! Each file is compressed by `gzip`, which is part of every Debian, and named after its content, so that browsers may
//! keep it for ever. A file refers to another as `{{NAME}}`, which becomes the other's path.
//! The shell, `index.html`, is neither compressed nor renamed: its path is `/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, thread};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=assets");
    if env::var_os("CARGO_FEATURE_PAGE").is_none() {
        return;
    }
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut waiting = sources(Path::new("assets"));
    // The paths of the files that are done.
    let mut done: BTreeMap<String, String> = BTreeMap::new();
    let mut table = String::from("&[\n");
    while !waiting.is_empty() {
        let is_ready = |text: &str| waiting.keys().all(|name| !text.contains(&reference(name)));
        let Some(name) = waiting.iter().find(|(_, text)| is_ready(text)).map(|(name, _)| name.clone()) else {
            panic!("assets: a circle of references in {:?}", waiting.keys());
        };
        let mut text = waiting.remove(&name).expect("it was just found");
        for (name, path) in &done {
            text = text.replace(&reference(name), path);
        }
        if name == SHELL {
            assert!(!text.contains("{{"), "assets: {SHELL} names a file that does not exist");
            fs::write(output.join(SHELL), text).expect("OUT_DIR can be written");
            continue;
        }
        let (stem, extension) = name.rsplit_once('.').expect("a source has an extension");
        let path = format!("/ui/{stem}.{:016x}.{extension}", fnv1a(text.as_bytes()));
        let packed = output.join(format!("{name}.gz"));
        fs::write(&packed, gzip(text.into_bytes())).expect("OUT_DIR can be written");
        let content_type = content_type(extension).expect("only known types are read");
        writeln!(
            table,
            "Asset {{ name: {name:?}, path: {path:?}, content_type: {content_type:?}, \
             packed: include_bytes!({packed:?}) }},",
        )
        .expect("a String takes all");
        done.insert(name, path);
    }
    table += "]\n";
    fs::write(output.join("assets.rs"), table).expect("OUT_DIR can be written");
}

/// The files in `folder` that the page consists of, by name. Others, such as licences, are left out.
fn sources(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("assets/ can be read") {
        let path = entry.expect("assets/ can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("names are ASCII").to_owned();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if name == SHELL || content_type(extension).is_some() {
            found.insert(name, fs::read_to_string(&path).expect("assets are UTF-8"));
        }
    }
    found
}

/// How a file refers to the file `name`.
fn reference(name: &str) -> String {
    format!("{{{{{name}}}}}")
}

fn content_type(extension: &str) -> Option<&'static str> {
    match extension {
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// The same bytes on each machine: without a name or time.
fn gzip(content: Vec<u8>) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-9n")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip can be run");
    let mut input = gzip.stdin.take().expect("it is a pipe");
    let writer = thread::spawn(move || input.write_all(&content).expect("gzip reads all"));
    let output = gzip.wait_with_output().expect("gzip ends");
    writer.join().expect("gzip has read all");
    assert!(output.status.success(), "gzip failed");
    output.stdout
}

/// FNV-1a: distinguishes versions of a file; a collision harms only its author.
fn fnv1a(content: &[u8]) -> u64 {
    content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

const SHELL: &str = "index.html";

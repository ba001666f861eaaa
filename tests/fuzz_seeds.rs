//! The seeds and findings of fuzzing, as tests: see `fuzz/`, whose files are compiled here too.
#![cfg(all(feature = "http", feature = "websocket", feature = "sealed"))]

use std::fs;
use std::path::Path;

#[path = "common/codec.rs"]
mod codec;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/decisions.rs"]
mod decisions;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/dialects.rs"]
mod dialects;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/framings.rs"]
mod framings;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/readers.rs"]
mod readers;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/replies.rs"]
mod replies;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/sealed.rs"]
mod sealed;
#[allow(unreachable_pub)]
#[path = "../fuzz/src/sessions.rs"]
mod sessions;

/// A target: takes any bytes, and panics where an invariant is broken.
type Target = fn(&[u8]);

/// Each target, and the folder of its inputs.
const TARGETS: [(&str, Target); 11] = [
    ("raw_json", framings::raw_json),
    ("text", framings::text),
    ("http", framings::http),
    ("websocket", framings::websocket),
    ("command", dialects::command),
    ("action", dialects::action),
    ("verb", dialects::verb),
    ("conversion", dialects::conversion),
    ("session", sessions::session),
    ("sealed", sealed::sealed),
    ("readers", readers::readers),
];

#[test]
fn every_seed_input_passes() {
    for (target, run) in TARGETS {
        let inputs = inputs(target);
        assert!(inputs.len() >= 5, "{target} has few inputs");
        for (name, bytes) in inputs {
            println!("{target}/{name}");
            run(&bytes);
            // Also prefixes of an input, as a slow client would send it.
            for end in 0..bytes.len().min(BEGINNINGS_MAX) {
                run(&bytes[..end]);
            }
        }
    }
}

#[test]
fn every_folder_of_inputs_belongs_to_a_target() {
    let folders = fs::read_dir(folder()).expect("the folder is there");
    for entry in folders {
        let name = entry.expect("an entry can be read").file_name();
        assert!(TARGETS.iter().any(|(target, _)| name == *target), "{name:?} is run by no target");
    }
}

/// The inputs of a target, by name.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join(target)).expect("every target has a folder");
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("an entry can be read");
            let bytes = fs::read(entry.path()).expect("an input can be read");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    inputs.sort();
    inputs
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

/// Prefixes of an input that are tried.
const BEGINNINGS_MAX: usize = 300;

//! The Python module in `clients/python`; `metrics.rs` runs its example with the daemon.

use std::fs;
use std::path::Path;

use crate::common::{Daemon, TempDir};
use crate::programs::{python_alone, succeed};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python");

#[test]
fn the_module_passes_its_own_tests() {
    let ran = succeed(python_alone().args(["-m", "unittest"]).current_dir(FOLDER));
    assert!(ran.stderr.ends_with("\nOK\n") && !ran.stderr.contains("Exception in thread"), "{ran:?}");
}

/// Without a network.
#[test]
fn pip_installs_the_module() {
    let (folder, home) = (TempDir::new(), TempDir::new());
    let mut pip = python_alone();
    pip.args([
        "-m",
        "pip",
        "install",
        "--no-index",
        "--no-compile",
        "--disable-pip-version-check",
        "--target",
    ]);
    succeed(pip.arg(folder.path()).arg(FOLDER).env("HOME", home.path()).env("PYTHONDONTWRITEBYTECODE", "1"));
    let version =
        "import importlib.metadata, vmherd; print(importlib.metadata.version('vmherd'), vmherd.__file__)";
    let printed = succeed(python_alone().args(["-c", version]).env("PYTHONPATH", folder.path())).stdout;
    let file = folder.path().join("vmherd.py");
    assert_eq!(printed, format!("{} {}\n", env!("CARGO_PKG_VERSION"), file.display()));
    let source = Path::new(FOLDER).join("vmherd.py");
    assert_eq!(fs::read(file).expect("the module"), fs::read(source).expect("the module's source"));
}

#[test]
fn the_examples_of_the_pages_run() {
    for page in ["docs/clients.md", "clients/python/README.md"] {
        let daemon = Daemon::start();
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect(page);
        let (_, rest) = text.split_once("```python\n").expect("an example");
        let (example, _) = rest.split_once("```").expect("its end");
        assert!(example.contains("8888"), "{page}: it names the port");
        let example = example.replace("8888", &daemon.address().port().to_string());
        let ran = succeed(python_alone().args(["-c", &example]).env("PYTHONPATH", FOLDER));
        assert!(ran.stdout.starts_with("{'palm.cpu': [(1150864247, 0.5)]}\n"), "{page}: {ran:?}");
        assert!(ran.stdout.contains("\n{}\n"), "{page}: {ran:?}");
    }
}

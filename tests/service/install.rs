//! The files of `make install`, and systemd's checks of the units.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Finished, TempDir, require, run};

/// The users' program, which is built with the feature `cli`.
const CTL: Option<&str> = option_env!("CARGO_BIN_EXE_vmherdctl");

/// The unit of its agent.
const AGENT_UNIT: Option<&str> = if CTL.is_some() { Some("vmherd-agent.service") } else { None };

/// A root directory for an installation.
struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(TempDir::new())
    }

    fn make(&self, target: &str, prefix: Option<&str>) -> Finished {
        let mut command = Command::new("make");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["--no-print-directory", target]);
        command.arg(format!("DESTDIR={}", self.0.path().display()));
        command.arg(concat!("BINARY=", env!("CARGO_BIN_EXE_vmherd")));
        command.arg(format!("CTL={}", CTL.unwrap_or_default()));
        command.args(prefix.map(|prefix| format!("PREFIX={prefix}")));
        command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        run(&mut command).expect_success()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Every file, from the root on, sorted.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect(self.0.path(), self.0.path(), &mut files);
        files.sort();
        files
    }

    /// Adds the system's units and the programs of all units, which the checks need.
    fn add_system(&self) {
        fs::create_dir_all(self.path("lib/systemd")).unwrap();
        fs::create_dir_all(self.path("bin")).unwrap();
        let units = ["/lib/systemd/system", "/usr/lib/systemd/system"];
        let units = units.into_iter().find(|path| Path::new(path).is_dir()).expect("systemd's units");
        run(Command::new("cp").args(["-a", units]).arg(self.path("lib/systemd/"))).expect_success();
        fs::copy("/bin/kill", self.path("bin/kill")).expect("/bin/kill is there");
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            files.push(format!("/{}", path.strip_prefix(root).unwrap().display()));
        }
    }
}

fn installed(prefix: &str) -> Vec<String> {
    let mut files: Vec<String> = [
        "bin/vmherd",
        "lib/systemd/system/vmherd.service",
        "lib/systemd/system/vmherd.socket",
        "lib/sysusers.d/vmherd.conf",
        "share/bash-completion/completions/vmherd",
        "share/doc/vmherd/LICENSE-APACHE",
        "share/doc/vmherd/LICENSE-MIT",
        "share/doc/vmherd/CHANGELOG.md",
        "share/doc/vmherd/CONTRIBUTING.md",
        "share/doc/vmherd/README.md",
        "share/doc/vmherd/docs/agent.md",
        "share/doc/vmherd/docs/architecture.md",
        "share/doc/vmherd/docs/benchmarks.md",
        "share/doc/vmherd/docs/clients.md",
        "share/doc/vmherd/docs/embedding.md",
        "share/doc/vmherd/docs/fail2ban/filter.conf",
        "share/doc/vmherd/docs/fail2ban/jail.conf",
        "share/doc/vmherd/docs/grafana.json",
        "share/doc/vmherd/docs/operations.md",
        "share/doc/vmherd/docs/page.md",
        "share/doc/vmherd/docs/prometheus.md",
        "share/doc/vmherd/docs/protocols.md",
        "share/doc/vmherd/docs/sealed.md",
        "share/doc/vmherd/docs/security.md",
        "share/doc/vmherd/docs/settings.md",
        "share/doc/vmherd/docs/vmherdctl.md",
        "share/doc/vmherd/docs/vms.md",
        "share/doc/vmherd/sql/README.md",
        "share/doc/vmherd/store-credential.conf",
        "share/doc/vmherd/systemd/README.md",
        "share/doc/vmherd/vmherd.conf",
        "share/fish/vendor_completions.d/vmherd.fish",
        "share/man/man8/vmherd.8",
        "share/zsh/site-functions/_vmherd",
    ]
    .map(|file| format!("{prefix}/{file}"))
    .into();
    files.push("/etc/vmherd/vmherd.conf".into());
    let of_ctl = [
        "bin/vmherdctl",
        "lib/systemd/system/vmherd-agent.service",
        "share/bash-completion/completions/vmherdctl",
        "share/fish/vendor_completions.d/vmherdctl.fish",
        "share/man/man1/vmherdctl.1",
        "share/zsh/site-functions/_vmherdctl",
    ];
    files.extend(CTL.iter().flat_map(|_| of_ctl).map(|file| format!("{prefix}/{file}")));
    files.sort();
    files
}

#[test]
fn everything_is_installed_under_the_prefix_and_removed_again() {
    for prefix in [None, Some("/usr"), Some("/opt/herd")] {
        let tree = Tree::new();
        tree.make("install", prefix);
        let prefix_text = prefix.unwrap_or("/usr/local");
        assert_eq!(tree.files(), installed(prefix_text));
        let service = tree.text(&format!("{prefix_text}/lib/systemd/system/vmherd.service"));
        assert!(service.contains(&format!("\nExecStart={prefix_text}/bin/vmherd --config ")), "{service}");
        assert_eq!(service.contains("/usr/local"), prefix_text == "/usr/local", "{service}");
        run(Command::new(tree.path(&format!("{prefix_text}/bin/vmherd"))).arg("--version")).expect_success();
        tree.make("uninstall", prefix);
        assert_eq!(tree.files(), Vec::<String>::new());
    }
}

#[test]
fn bash_completes_flags_and_tools() {
    let tree = Tree::new();
    tree.make("install", None);
    let completions = tree.path("/usr/local/share/bash-completion/completions/vmherd");
    for (words, expected) in
        [("vmherd --lis", "--listen"), ("vmherd ba", "backup"), ("vmherd stats --js", "--json")]
    {
        let script = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE='{words}'; \
             COMP_POINT=${{#COMP_LINE}}; _vmherd vmherd \"${{COMP_WORDS[COMP_CWORD]}}\" \
             \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[*]}}\"",
            completions.display()
        );
        let ran = run(Command::new("bash").args(["--norc", "-c", &script])).expect_success();
        assert_eq!(ran.stdout, format!("{expected}\n"), "{words}");
    }
}

#[test]
fn an_existing_settings_file_is_kept() {
    let tree = Tree::new();
    tree.make("install", None);
    fs::write(tree.path("/etc/vmherd/vmherd.conf"), "VMHERD_VMS_MAX=7\n").unwrap();
    tree.make("install", None);
    assert_eq!(tree.text("/etc/vmherd/vmherd.conf"), "VMHERD_VMS_MAX=7\n");
    tree.make("uninstall", None);
    assert_eq!(tree.files(), ["/etc/vmherd/vmherd.conf"]);
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    require("systemd-analyze", "systemd");
    for with_credential in [false, true] {
        let tree = Tree::new();
        tree.make("install", Some("/usr"));
        tree.add_system();
        if with_credential {
            let folder = tree.path("etc/systemd/system/vmherd.service.d");
            fs::create_dir_all(&folder).unwrap();
            let example = tree.path("usr/share/doc/vmherd/store-credential.conf");
            fs::copy(example, folder.join("store-credential.conf")).unwrap();
        }
        let mut command = Command::new("systemd-analyze");
        command.arg(format!("--root={}", tree.0.path().display()));
        command.args(["verify", "vmherd.service", "vmherd.socket"]).args(AGENT_UNIT);
        let ran = run(&mut command);
        assert_eq!((ran.code(), ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    }
}

#[test]
fn the_units_have_low_exposure_scores() {
    require("systemd-analyze", "systemd");
    let tree = Tree::new();
    tree.make("install", Some("/usr"));
    for (unit, max) in [("vmherd.service", 1.5)].into_iter().chain(AGENT_UNIT.map(|unit| (unit, 1.2))) {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager"]);
        command.arg(format!("--threshold={}", 10.0 * max));
        command.arg(tree.path(&format!("/usr/lib/systemd/system/{unit}")));
        let ran = run(&mut command);
        let line =
            ran.stdout.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_default();
        let level = line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
        assert!(level.is_some_and(|level| level <= max) && ran.code() == Some(0), "{unit}: {ran:?}");
    }
}

#[test]
fn the_user_is_made_by_sysusers() {
    require("systemd-sysusers", "systemd");
    let tree = Tree::new();
    tree.make("install", Some("/usr"));
    let mut command = Command::new("systemd-sysusers");
    command.arg(format!("--root={}", tree.0.path().display()));
    command.arg("--dry-run").arg(tree.path("/usr/lib/sysusers.d/vmherd.conf"));
    let ran = run(&mut command).expect_success();
    assert!(ran.stderr.contains("Creating user 'vmherd'") || ran.stdout.contains("vmherd"), "{ran:?}");
}

//! The documentation is tested: the shell blocks of its pages run, in their order, and so does their SQL; links and file
//! names exist. A block that is not run is `console` or `text`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use vmherd::internals::model::{MetricKey, MetricValue, NewPoint, Point};
use vmherd::internals::store::{Location, Write};

#[path = "common/postgres.rs"]
mod postgres;
#[allow(unreachable_pub)]
#[path = "common/temporary.rs"]
mod temporary;

use postgres::Cluster;

#[test]
fn the_readme_runs() {
    let (first, again) = run_beside_daemon("README.md", &report_command());
    for output in [&first, &again] {
        assert!(output.contains("db-1"), "the host's own list shows what it added: {output}");
        assert!(output.contains("connections_open "), "the host's counters: {output}");
        assert!(output.contains("== report\nok\n\n"), "the VM's report is stored: {output}");
    }
    assert!(again.contains("VM is already registered"), "it is the same store: {again}");

    let is_reply = |line: &&str| line.starts_with("{\"status\":");
    let replies: Vec<&str> = first.lines().filter(is_reply).collect();
    assert_eq!(replies.len(), 7, "{first}");
    for reply in &replies {
        assert!(reply.starts_with("{\"status\":\"success\""), "{reply}");
    }
    assert!(replies[5].contains("\"ram\":1024"), "the update shows in the list: {}", replies[5]);
}

/// The command of the timer in a VM, with the daemon on this host. Prints the point that is then stored.
fn report_command() -> String {
    let [unit] = &blocks("docs/agent.md", "ini")[..] else { panic!("one block of units") };
    let (_, command) = unit.split_once("\nExecStart=").expect("a command");
    let (command, _) = command.split_once("\n#").expect("another unit");
    let command = command.replace("\\\n", " ").replace("%H", "palm").replace("%%", "%").replace("$$", "$");
    assert!(command.contains(" 192.168.122.1 8888"), "{command}");
    let command = command.replace("192.168.122.1", "127.0.0.1");
    format!("echo '== report'\n{command}\necho 'get palm.load' | nc -N 127.0.0.1 8888 | grep '^palm.load '\n")
}

#[test]
fn the_settings_of_the_readme_are_valid() {
    let blocks = blocks("README.md", "text");
    let settings = blocks.iter().find(|block| block.starts_with("VMHERD_")).expect("a block of settings");
    let folder = temporary::TempDir::new();
    let file = folder.path().join("vmherd.conf");
    fs::write(&file, settings).expect("a file");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_vmherd"));
    let ran = daemon.arg("--check-config").arg("--config").arg(file).output().expect("the daemon");
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn the_page_on_protocols_runs() {
    // Made before, while the network to fetch the package from is there.
    let python = Command::new("tests/python").current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let python = String::from_utf8(python.expect("a shell").stdout).expect("a path");
    let python = Path::new(python.trim()).parent().expect("a folder").display().to_string();
    let (first, again) = run_beside_daemon("docs/protocols.md", &format!("PATH={python}:$PATH\n"));
    assert!(again.contains("VM is already registered"), "it is the same store: {again}");
    assert!(again.contains("{\"connected_vms\":[{\"id\":3,"), "another VM each time: {again}");
    for shown in [
        "{\"request_id\":7,\"status\":\"success\",\"message\":\"PONG\",",
        "{\"request_id\":\"a\",\"status\":\"success\",\"message\":\"PONG\",",
        "\"Save the vm_id for authentication\",\"data\":{\"auth_id\":\"web-1\"}}\n",
        "{\"status\":\"success\",\"message\":\"VM info updated successfully\",\"data\":{}}\n",
        "\"vm_info\":{\"vm_id\":\"web-1\",\"ram\":1024,\"cpu\":4,\"disks\":[{\"id\":1,\"vm_id\":\"web-1\",\"disk_size\":150}",
        "\"message\":\"unknown field \\\"memory\\\"; allowed: ram, cpu, disks, token\",\"data\":{}}\n",
        "{\"all_vms\":[{\"id\":1,\"connected_since\":null,\"last_seen\":",
        "{\"all_vms\":[{\"id\":1,\"ram\":1024,\"cpu\":4,\"disks\":[",
        "]},{\"id\":2,\"ram\":2048,\"cpu\":2,\"disks\":[{\"id\":3,\"size\":100},{\"id\":4,\"size\":200}]}]}\n",
        "{\"status\":\"connected and authenticated\"}\n{\"status\":\"vm updated\"}\n",
        "{\"connected_vms\":[{\"id\":2,\"ram\":1028,\"cpu\":2,\"disks\":[{\"id\":3,\"size\":100},{\"id\":4,\"size\":200}]}]}\n\
         {\"status\":\"logged out\"}\n",
        "{\"all_disks\":[{\"id\":1,\"vm_id\":\"web-1\",",
        "ok\n\nok\n\nok\nweb-1.cpu 10.6 1501864247\nweb-1.cpu 15.3 1501864259\n\n",
        "{\"status\":\"success\",\"message\":\"ok\",\"data\":{}}\n",
        "{\"status\":\"success\",\"message\":null,\"data\":{\"web-1.load\":[[1501864300,2.0]]}}\n",
        "\nok\n",
        "{\"request_id\":\"01\",\"data\":{\"Hub\":{\"name\":\"qwe\",\"id\":\"123\"},\"Device\":{\"name\":\"wqe\",\"id\":\"234\"}}}\n",
    ] {
        assert!(first.contains(shown), "{shown} is not in {first}");
    }
    let pongs = first.matches("\"message\":\"PONG\"").count();
    assert_eq!(pongs, 4, "by HTTP, WebSocket and twice with an id: {first}");
}

/// The conversation on the page is that with a daemon on an empty store.
#[test]
fn the_conversation_in_metrics_text_is_as_shown() {
    let blocks = blocks("docs/protocols.md", "console");
    let lines = blocks.iter().find_map(|block| block.strip_prefix("$ telnet 127.0.0.1 8888\n"));
    let lines = lines.expect("a conversation");
    let (requests, replies): (Vec<&str>, Vec<&str>) =
        lines.lines().partition(|line| line.starts_with("put ") || line.starts_with("get "));
    let script = format!(
        "{}printf '%s\\n' {} | nc -N 127.0.0.1 8888\n",
        daemon_on_empty_store("vmherd"),
        requests.iter().map(|request| format!("'{request}'")).collect::<Vec<_>>().join(" "),
    );
    assert_eq!(run_apart(&script), replies.join("\n") + "\n");
}

/// Runs the shell blocks of a page in their order, all after the one that starts the daemon twice, each time after
/// `extra`. What each of the two times printed.
fn run_beside_daemon(path: &str, extra: &str) -> (String, String) {
    let blocks = shell_blocks(path);
    let start = blocks.iter().position(|block| block.trim() == "vmherd").expect("a block starts the daemon");
    let (before, after) = (blocks[..start].concat(), blocks[start + 1..].concat());
    // The blocks work again, with the data of the first time in the store.
    let script = format!(
        "sudo() {{ \"$@\"; }}\n\
         export DESTDIR=$folder\n\
         {before}\n\
         {}\n\
         echo '== first time'\n{extra}{after}\n\
         echo '== once more'\n{extra}{after}\n",
        daemon_on_empty_store(&blocks[start]),
    );
    let output = run_apart(&script);
    let (_, output) = output.split_once("== first time\n").expect("it was run");
    let (first, again) = output.split_once("== once more\n").expect("it was run twice");
    (first.to_owned(), again.to_owned())
}

#[test]
#[cfg(feature = "cli")]
fn the_page_on_vmherdctl_runs() {
    let output = run_with_ctl("vmherd --conversion-delay 0", "docs/vmherdctl.md");
    let table = blocks("docs/vmherdctl.md", "text").remove(0);
    assert!(output.contains(&table), "the table is as shown: {output}");
    for shown in [
        "registered web-2\n",
        "updated the VM\n",
        "logged out successfully\n",
        "25 | ",
        "Hub     name  qwe\n",
    ] {
        assert!(output.contains(shown), "{shown}: {output}");
    }
}

#[test]
#[cfg(feature = "cli")]
fn the_page_on_the_agent_runs() {
    let output = run_with_ctl("vmherd", "docs/agent.md");
    let points = output.lines().filter(|line| line.starts_with("web-1.load ")).count();
    assert!((2..=5).contains(&points), "{output}");
}

/// Runs the shell blocks of a page on `vmherdctl` beside a daemon that `command` starts.
#[cfg(feature = "cli")]
fn run_with_ctl(command: &str, path: &str) -> String {
    let (daemon, blocks) = (daemon_on_empty_store(command), shell_blocks(path).join("\n"));
    let link = format!("ln -s '{}' \"$folder/vmherdctl\"", env!("CARGO_BIN_EXE_vmherdctl"));
    run_apart(&format!("{daemon}{link}\ncp -r systemd \"$folder\"\ncd \"$folder\"\n{blocks}"))
}

/// Starts the daemon by `command`; the program is the one that the page has installed, or that of the tests.
fn daemon_on_empty_store(command: &str) -> String {
    format!(
        "ln -s '{}' \"$folder/vmherd\"\n\
         PATH=$folder/usr/local/bin:$folder:$PATH\n\
         ip link set lo up\n\
         export XDG_STATE_HOME=$folder/state\n\
         unset STATE_DIRECTORY\n\
         {} >\"$folder/log\" 2>&1 &\n\
         tries=0\n\
         until nc -z 127.0.0.1 8888 2>/dev/null; do\n\
             tries=$((tries + 1))\n\
             if [ $tries -gt 600 ]; then cat \"$folder/log\"; exit 1; fi\n\
             sleep 0.1\n\
         done\n",
        env!("CARGO_BIN_EXE_vmherd"),
        command.trim(),
    )
}

/// Runs `script` in a network of its own, where port 8888 is free; a daemon that it starts ends with it.
fn run_apart(script: &str) -> String {
    let namespaces = ["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    run(Command::new("unshare").args(namespaces).arg("bash"), script)
}

#[test]
fn the_page_on_the_service_runs() {
    let blocks = shell_blocks("systemd/README.md").join("\n");
    let script = format!(
        "sudo() {{ \"$@\"; }}\n\
         export DESTDIR=$folder\n\
         PATH=$folder/usr/local/bin:$PATH\n\
         {blocks}\n\
         test -x \"$DESTDIR/usr/local/bin/vmherd\"\n\
         test -e \"$DESTDIR/etc/vmherd/vmherd.conf\"\n"
    );
    let output = run(&mut Command::new("bash"), &script);
    assert!(output.contains("the configuration is valid"), "{output}");
    assert!(output.contains("--auth-queue"), "the settings are shown: {output}");
}

#[test]
fn the_page_on_postgresql_runs() {
    let cluster = Cluster::start();
    let script = beside_cluster(&cluster, &shell_blocks("sql/README.md"));
    let output = run(&mut Command::new("bash"), &script);
    assert!(output.contains("the configuration is valid"), "{output}");
    assert!(output.contains("LAST SEEN") && output.contains("(0 rows)"), "tables, and empty ones: {output}");
}

/// The page copies all data from SQLite to PostgreSQL, to the last bit.
#[test]
#[cfg(feature = "sqlite")]
fn the_page_on_operations_runs_and_moves_a_store() {
    let cluster = Cluster::start();
    let state = temporary::TempDir::new();
    std::fs::create_dir(state.path().join("vmherd")).expect("a folder");
    let values = [0.1, -0.0, 5e-324, f64::MAX, 1.0 / 3.0, -2.5e17];
    let points: Vec<NewPoint> = values
        .iter()
        .enumerate()
        .map(|(index, value)| point("palm.cpu", 100 + index as i64, *value))
        .collect();
    put_points(&format!("sqlite:{}", state.path().join("vmherd/vmherd.sqlite3").display()), &points);
    // Those that set up the database, without those that query its tables.
    let mut blocks = shell_blocks("sql/README.md");
    blocks.truncate(2);
    blocks.extend(shell_blocks("docs/operations.md"));
    let script = format!(
        "export XDG_STATE_HOME='{}'\n\
         unset STATE_DIRECTORY\n\
         vmherd() {{ '{program}' \"$@\"; }}\n\
         for name in gone db-1; do\n\
             echo 'a good password' | vmherd vm add $name --ram 2048 --cpu 2 --disk 20 --disk 30\n\
         done\n\
         vmherd vm remove gone\n\
         {}\n\
         echo 'a good password' | vmherd vm add db-2 --ram 1 --cpu 1 --disk 5 --store-file store-url\n",
        state.path().display(),
        beside_cluster(&cluster, &blocks),
        program = env!("CARGO_BIN_EXE_vmherd"),
    );
    let output = run(&mut Command::new("bash"), &script);
    assert!(output.contains("\ndb-1 "), "the VM is listed: {output}");

    let mut client = cluster.client("herd");
    let mut numbers =
        |sql: &str| -> Vec<i64> { client.query(sql, &[]).expect(sql).iter().map(|row| row.get(0)).collect() };
    assert_eq!(numbers("SELECT id FROM vms ORDER BY id"), [2, 3], "no number is given again");
    assert_eq!(numbers("SELECT id FROM disks ORDER BY id"), [3, 4, 5]);
    assert_eq!(numbers("SELECT vms FROM vm_total"), [2]);
    assert_eq!(numbers("SELECT series FROM series_total"), [1]);
    let moved: Vec<(i64, f64)> = client
        .query("SELECT second, value FROM points ORDER BY second", &[])
        .expect("points")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let bits = |value: f64| value.to_bits();
    assert_eq!(moved.iter().map(|(second, _)| *second).collect::<Vec<_>>(), [100, 101, 102, 103, 104, 105]);
    assert_eq!(moved.into_iter().map(|(_, value)| bits(value)).collect::<Vec<_>>(), values.map(bits));
}

/// A script of `blocks` in a folder of its own, with the role and the commands of the tests' cluster: it has a socket
/// only, and its superuser another name.
fn beside_cluster(cluster: &Cluster, blocks: &[String]) -> String {
    let blocks = blocks.join("\n").replace("@127.0.0.1/", &format!("@{}/", cluster.host()));
    assert!(blocks.contains(&cluster.host()), "the page connects to this host");
    format!(
        "sudo() {{ shift 2; PGHOST='{}' PGUSER=vmherd PGDATABASE=postgres \"$@\"; }}\n\
         vmherd() {{ '{}' \"$@\"; }}\n\
         cd \"$folder\"\n\
         {blocks}\n",
        cluster.socket().parent().expect("a folder").display(),
        env!("CARGO_BIN_EXE_vmherd"),
    )
}

fn point(key: &str, second: i64, value: f64) -> NewPoint {
    NewPoint {
        key: MetricKey::parse(key).expect(key),
        point: Point { timestamp: second, value: MetricValue::new(value).expect("a number") },
    }
}

/// Puts `points` into the store at `location`.
fn put_points(location: &str, points: &[NewPoint]) {
    let location = Location::parse(location).expect(location);
    let points = Arc::new(points.to_vec());
    let write = Write::Put { login: None, points, keys_max: 10, is_atomic: true };
    let mut store =
        vmherd::internals::store::open(&location).and_then(|factory| factory.connect()).expect("a store");
    assert!(store.write(&[&write])[0].is_ok());
}

/// Grafana fills in the time range before it queries the database.
#[test]
fn the_queries_for_grafana_run() {
    let blocks = blocks("sql/README.md", "sql");
    let [of_postgres, of_sqlite] = &blocks[..] else { panic!("two queries: {blocks:?}") };
    let points = [("palm.cpu", 100), ("palm.cpu", 90), ("eardrum.cpu", 95), ("palm.cpu", 99)]
        .map(|(key, second)| point(key, second, 0.5));
    let put = |location: &str| put_points(location, &points);
    let expected = [("palm.cpu".to_owned(), 0.5), ("palm.cpu".to_owned(), 0.5)];

    let cluster = Cluster::start();
    let database = cluster.database();
    put(&database.url());
    let sql = of_postgres.replace("$__unixEpochFrom()", "95").replace("$__unixEpochTo()", "100");
    let rows = database.client().query(&sql, &[]).expect(&sql);
    let found: Vec<(String, f64)> = rows.iter().map(|row| (row.get("metric"), row.get("value"))).collect();
    assert_eq!(found, expected);
    query_sqlite(&of_sqlite.replace("$__from", "95000").replace("$__to", "100000"), put, &expected);
}

#[cfg(feature = "sqlite")]
fn query_sqlite(sql: &str, put: impl Fn(&str), expected: &[(String, f64)]) {
    let folder = temporary::TempDir::new();
    let path = folder.path().join("vmherd.sqlite3");
    put(&format!("sqlite:{}", path.display()));
    let connection = rusqlite::Connection::open(path).expect("a file");
    let mut statement = connection.prepare(sql).expect(sql);
    let rows = statement.query_map([], |row| Ok((row.get("metric")?, row.get("value")?))).expect(sql);
    let found: Vec<(String, f64)> = rows.collect::<Result<_, _>>().expect(sql);
    assert_eq!(found, expected);
}

#[cfg(not(feature = "sqlite"))]
fn query_sqlite(_sql: &str, _put: impl Fn(&str), _expected: &[(String, f64)]) {}

/// Links between the pages and the files that they name exist, headings included.
#[test]
fn links_and_files_of_the_pages_exist() {
    let mut missing = Vec::new();
    for path in PAGES {
        let text = page(path);
        let folder = Path::new(path).parent().expect("a file");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { Path::new(path).to_owned() } else { folder.join(file) };
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let has_heading = || {
                let text = fs::read_to_string(&file).unwrap_or_default();
                text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
            };
            if !file.exists() || !heading.is_empty() && !has_heading() {
                missing.push(format!("{path}: {target}"));
            }
        }
        for name in text.split('`').skip(1).step_by(2) {
            let is_source =
                ["src/", "tests/", "fuzz/", "sql/", "systemd/"].iter().any(|top| name.starts_with(top));
            if is_source && !name.contains(' ') && !Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists()
            {
                missing.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|char| char.is_alphanumeric() || "-_".contains(*char)).collect()
}

const PAGES: &[&str] = &[
    "docs/agent.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "clients/python/README.md",
    "docs/architecture.md",
    "docs/benchmarks.md",
    "docs/clients.md",
    "docs/embedding.md",
    "docs/operations.md",
    "docs/page.md",
    "docs/prometheus.md",
    "docs/protocols.md",
    "docs/sealed.md",
    "docs/security.md",
    "docs/settings.md",
    "docs/vmherdctl.md",
    "docs/vms.md",
    "sql/README.md",
    "src/lib.rs",
    "systemd/README.md",
];

fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The shell blocks of a page, in order.
fn shell_blocks(path: &str) -> Vec<String> {
    blocks(path, "sh")
}

/// The blocks of a page that are in `language`, in order.
fn blocks(path: &str, language: &str) -> Vec<String> {
    let page = page(path);
    let start = format!("```{language}\n");
    let blocks = page.split(&start).skip(1);
    let blocks: Vec<String> =
        blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect();
    assert!(!blocks.is_empty(), "{path} has blocks of {language}");
    blocks
}

/// Runs `script` in the package's folder, with `$folder` for its files; what it printed.
fn run(shell: &mut Command, script: &str) -> String {
    let script = format!(
        "set -euo pipefail\n\
         folder=$(mktemp -d)\n\
         trap 'rm -rf \"$folder\"' EXIT\n\
         {script}"
    );
    let ran = shell
        .args(["-c", &script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("MAKEFLAGS")
        .output()
        .expect("a shell, and unshare: tests/prerequisites installs it");
    let output = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{output}\n{}", String::from_utf8_lossy(&ran.stderr));
    output
}

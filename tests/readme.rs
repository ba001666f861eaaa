//! The pages' shell blocks do what they say, in their order, and so does their SQL; a page's other blocks are for
//! eyes only.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use vmherd::model::{MetricKey, MetricValue, NewPoint, Point};
use vmherd::store::{Location, Write};

#[path = "common/postgres.rs"]
mod postgres;
#[cfg(feature = "sqlite")]
#[allow(unreachable_pub)]
#[path = "common/temporary.rs"]
mod temporary;

use postgres::Cluster;

#[test]
fn the_first_conversation_and_the_rest_of_the_readme_run() {
    let blocks = shell_blocks("README.md");
    let (start, others) = blocks.split_first().expect("the README has shell blocks");
    assert_eq!(start.trim(), "make run", "the first block starts the daemon");
    // Made before, while there is a network to fetch the package from.
    let python = Command::new("tests/python").current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let python = String::from_utf8(python.expect("a shell").stdout).expect("a path");
    let python = Path::new(python.trim()).parent().expect("a folder").display().to_string();
    let mut script = format!("export PATH={python}:$PATH\n");
    script.push_str(
        "ip link set lo up\n\
         export XDG_STATE_HOME=$folder\n\
         unset STATE_DIRECTORY\n\
         make run >\"$folder/log\" 2>&1 &\n\
         tries=0\n\
         until nc -z 127.0.0.1 8888 2>/dev/null; do\n\
             tries=$((tries + 1))\n\
             if [ $tries -gt 6000 ]; then cat \"$folder/log\"; exit 1; fi\n\
             sleep 0.1\n\
         done\n",
    );
    for (number, block) in others.iter().enumerate() {
        script.push_str(&format!("echo '== block {}'\n{block}\n", number + 2));
    }
    // Whatever the store holds already, what was pasted once can be pasted again.
    script.push_str("echo '== once more'\n");
    for block in others {
        script.push_str(&format!("{block}\n"));
    }
    // A network of their own, where port 8888 is free, and an end of the daemon with the script.
    let namespaces = ["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let output = run(Command::new("unshare").args(namespaces).arg("bash"), &script);

    let (output, again) = output.split_once("== once more\n").expect("it was run twice");
    assert!(again.contains("VM is already registered"), "it is the same store: {again}");
    assert!(again.contains("{\"connected_vms\":[{\"id\":4,"), "another VM each time: {again}");

    let conversation = output.split("== block 3").next().unwrap_or_default();
    let replies: Vec<&str> = conversation.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(replies.len(), 7, "{conversation}");
    for reply in &replies {
        assert!(reply.starts_with("{\"status\":\"success\""), "{reply}");
    }
    assert!(replies[5].contains("\"ram\":1024"), "the update shows in the list: {}", replies[5]);
    assert!(output.contains("db-1"), "the host's own list shows what it added: {output}");
    for shown in [
        "{\"status\":\"connected and authenticated\"}\n{\"status\":\"vm updated\"}\n",
        "{\"connected_vms\":[{\"id\":2,\"ram\":1028,\"cpu\":2,\"disks\":[{\"id\":3,\"size\":100},{\"id\":4,\"size\":200}]}]}\n",
        "{\"all_disks\":[{\"id\":1,\"vm_id\":\"web-1\",",
        "ok\n\nok\n\nok\nweb-1.cpu 10.6 1501864247\nweb-1.cpu 15.3 1501864259\n\n",
        "{\"status\":\"success\",\"message\":\"ok\",\"data\":{}}\n",
        "{\"status\":\"success\",\"message\":null,\"data\":{\"web-1.load\":[[1501864300,2.0]]}}\n",
        "\nok\n",
        "{\"request_id\":\"01\",\"data\":{\"Hub\":{\"name\":\"qwe\",\"id\":\"123\"},\"Device\":{\"name\":\"wqe\",\"id\":\"234\"}}}\n",
    ] {
        assert!(output.contains(shown), "{shown} is not in {output}");
    }
    let pongs = output.matches("\"message\":\"PONG\"").count();
    assert_eq!(pongs, 3, "by nc, curl and WebSocket: {output}");
}

#[test]
fn the_page_on_the_service_runs() {
    let blocks = shell_blocks("systemd/README.md").join("\n");
    let script = format!(
        "export DESTDIR=$folder\n\
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
    // The tests' cluster has a socket only, and its superuser another name.
    let blocks = shell_blocks("sql/README.md").join("\n");
    let blocks = blocks.replace("@127.0.0.1/", &format!("@{}/", cluster.host()));
    assert!(blocks.contains(&cluster.host()), "the page connects to this host");
    let script = format!(
        "sudo() {{ shift 2; PGHOST='{}' PGUSER=vmherd PGDATABASE=postgres \"$@\"; }}\n\
         ln -s \"$PWD/target\" \"$folder/target\"\n\
         cd \"$folder\"\n\
         {blocks}\n",
        cluster.socket().parent().expect("a folder").display(),
    );
    let output = run(&mut Command::new("bash"), &script);
    assert!(output.contains("the configuration is valid"), "{output}");
    assert!(output.contains("RAM MiB") && output.contains("(0 rows)"), "tables, and empty ones: {output}");
}

/// Grafana sets the bounds of the time before it asks the database.
#[test]
fn the_queries_for_grafana_run() {
    let blocks = blocks("sql/README.md", "sql");
    let [of_postgres, of_sqlite] = &blocks[..] else { panic!("two queries: {blocks:?}") };
    let new = |key: &str, second| NewPoint {
        key: MetricKey::parse(key).expect(key),
        point: Point { timestamp: second, value: MetricValue::new(0.5).expect("a number") },
    };
    let points = [new("palm.cpu", 100), new("palm.cpu", 90), new("eardrum.cpu", 95), new("palm.cpu", 99)];
    let put = |location: &str| {
        let location = Location::parse(location).expect(location);
        let points = Arc::new(points.to_vec());
        let write = Write::Put { login: None, points, keys_max: 10, is_atomic: true };
        let mut store =
            vmherd::store::open(&location).and_then(|factory| factory.connect()).expect("a store");
        assert!(store.write(&[write])[0].is_ok());
    };
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

#[test]
fn the_settings_are_those_of_the_program() {
    let table = vmherd::config::settings_as_markdown();
    assert!(page("README.md").contains(&table), "the README's table of settings should be:\n{table}");
}

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

//! The store in PostgreSQL: in a cluster of this run's own, on the server's core with its clients.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, Statement};
use vmherd::internals::clock::unix_now;
use vmherd::internals::limits::POSTGRES_WRITERS;
use vmherd::internals::model::Secret;

use super::seeded_store::{HASH, SeededStore, TOKEN};
use super::stored::{Compared, list_load, rate_of, registration_lines, token_load};
use crate::figures::{Line, Samples, short};
use crate::points::{Drawn, METRICS, Points, key};
use crate::process::{Cores, Folder, Server, installed};
use crate::sys;

#[path = "../../../tests/common/postgres.rs"]
mod cluster;
pub use cluster::Cluster;

/// Whether there are programs to run a cluster with.
pub fn is_there() -> bool {
    cluster::find_programs().is_some()
}

/// Whether PostgreSQL's own load generator is there.
pub fn has_pgbench() -> bool {
    pgbench().is_some()
}

fn pgbench() -> Option<std::path::PathBuf> {
    let beside_server = cluster::find_programs().map(|folder| folder.join("pgbench"));
    beside_server.filter(|program| program.exists()).or_else(|| installed("pgbench"))
}

/// A cluster on the server's core that syncs as in production; none where PostgreSQL is not installed.
pub fn start(cores: &Cores) -> Option<Cluster> {
    if !is_there() {
        return None;
    }
    sys::pin(&cores.server);
    let cluster = Cluster::start();
    sys::pin(&cores.all);
    let database = cluster.database();
    let mut client = database.client();
    for setting in ["fsync", "full_page_writes"] {
        client.batch_execute(&format!("ALTER SYSTEM SET {setting} = on")).expect("its owner may");
    }
    client.batch_execute("SELECT pg_reload_conf()").expect("its owner may");
    drop(client);
    drop(database);
    Some(cluster)
}

/// Requests authenticated by tokens.
pub fn tokens(cores: &Cores) -> Vec<Line> {
    let Some(cluster) = start(cores) else { return Vec::new() };
    let database = cluster.database();
    let seeded = SeededStore::in_postgres(database.url(), 1000, 2);
    database.client().batch_execute("VACUUM ANALYZE").expect("its owner may");
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let hash = vmherd::internals::app::token::hash(&Secret::new(TOKEN)).0;
    let literal: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let script = LOOK_UP.replace("$1", &format!("'\\x{literal}'")).replace("$2", &unix_now().0.to_string());
    let mut pgbench = Pgbench::new(&seeded.location, 64, &format!("{script};"));
    let load = token_load(&server);
    let compared = Compared::measure(cores, &load, |_| {
        pgbench.measure();
        rate_of(load.connections, || {
            let (mut client, look_up) = prepared(&seeded.location, LOOK_UP);
            move || {
                let hash = vmherd::internals::app::token::hash(&Secret::new(TOKEN));
                let rows = client.query(&look_up, &[&&hash.0[..], &unix_now().0]).expect("rows");
                assert_eq!(rows[0].get::<_, String>(2), "vm-0000000");
            }
        })
    });
    let figure = "token authentication, PostgreSQL, 64 connections";
    vec![compared.line(figure, 0.9, "64 connections", &pgbench.words(&compared))]
}

const LOOK_UP: &str = "SELECT vms.id, vms.epoch, vms.name FROM tokens JOIN vms ON vms.id = tokens.vm \
                       WHERE tokens.hash = $1 AND tokens.expires > $2";

/// Lists of a hundred VMs.
pub fn lists(cores: &Cores) -> Vec<Line> {
    let Some(cluster) = start(cores) else { return Vec::new() };
    let database = cluster.database();
    let seeded = SeededStore::in_postgres(database.url(), 100, 2);
    database.client().batch_execute("VACUUM ANALYZE").expect("its owner may");
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let script = format!("{};\n{LIST};", IS_CURRENT.replace("$1", "1").replace("$2", "0"));
    let mut pgbench = Pgbench::new(&seeded.location, 50, &script);
    let load = list_load(&server);
    let compared = Compared::measure(cores, &load, |_| {
        pgbench.measure();
        rate_of(load.connections, || {
            let (mut client, is_current) = prepared(&seeded.location, IS_CURRENT);
            let list = client.prepare(LIST).expect("a statement");
            move || {
                assert_eq!(client.query(&is_current, &[&1_i64, &0_i64]).expect("rows").len(), 1);
                let rows = client.query(&list, &[]).expect("rows");
                let names = rows.iter().map(|row| row.get::<_, &str>(1).to_owned());
                assert_eq!(names.collect::<Vec<_>>().len(), 200);
            }
        })
    });
    let figure = "list of all 100 VMs, PostgreSQL, 50 connections";
    vec![compared.line(figure, 0.8, "50 connections", &pgbench.words(&compared))]
}

const IS_CURRENT: &str = "SELECT 1 FROM vms WHERE id = $1 AND epoch = $2";
/// A row for each disk, as the store's.
const LIST: &str = "SELECT v.id, v.name, v.ram_mib, v.cpus, d.id, d.size_gib \
                    FROM vms v LEFT JOIN disks d ON d.vm = v.id ORDER BY v.id, d.id";

/// Registrations through the store's own interface, one in each commit and 64, beside bare statements.
pub fn registrations(cores: &Cores) -> Vec<Line> {
    let Some(cluster) = start(cores) else { return Vec::new() };
    let (database, bare_database) = (cluster.database(), cluster.database());
    let seeded = SeededStore::in_postgres(database.url(), 1000, 2);
    let bare_seeded = SeededStore::in_postgres(bare_database.url(), 1000, 2);
    let mut store = seeded.open();
    let (mut bare, statement) = prepared(&bare_seeded.location, REGISTER);
    sys::pin(&cores.server);
    let lines = registration_lines("PostgreSQL", 0.7, &mut *store, seeded.vms, |number, count| {
        bare_register(&mut bare, &statement, number, count);
    });
    sys::pin(&cores.all);
    lines
}

/// All of a number of VMs, in one statement and so in one transaction.
const REGISTER: &str = "
    WITH added AS (
        INSERT INTO vms (name, ram_mib, cpus, password_hash, registered_at)
        SELECT name, 512, 4, $2, $3 FROM unnest($1::text[]) AS new (name) RETURNING id)
    INSERT INTO disks (vm, size_gib) SELECT id, size FROM added, unnest($4::bigint[]) AS size";

fn bare_register(client: &mut Client, statement: &Statement, number: usize, count: usize) {
    let names: Vec<String> = (number..number + count).map(|number| format!("vm-{number:07}")).collect();
    let sizes = vec![100_i64; 2];
    let rows = client.execute(statement, &[&names, &HASH, &unix_now().0, &sizes]).expect("new VMs");
    assert_eq!(rows, 2 * count as u64);
}

fn prepared(url: &str, sql: &str) -> (Client, Statement) {
    let mut client = Client::connect(url, NoTls).expect("a connection");
    let statement = client.prepare(sql).expect("a statement");
    (client, statement)
}

/// The rates of PostgreSQL's own load generator with the same statements.
struct Pgbench {
    url: String,
    connections: usize,
    script: Folder,
    rates: Samples,
}

impl Pgbench {
    fn new(url: &str, connections: usize, statements: &str) -> Pgbench {
        let script = Folder::new_state();
        std::fs::write(script.path().join("script"), statements).expect("a file can be written");
        Pgbench { url: url.to_owned(), connections, script, rates: Samples::default() }
    }

    /// Runs on the core of the calling thread.
    fn measure(&mut self) {
        let Some(program) = pgbench() else { return };
        let output = Command::new(program)
            .args(["-n", "-M", "prepared", "-T", "1", "-c", &self.connections.to_string(), "-f"])
            .arg(self.script.path().join("script"))
            .arg(&self.url)
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        let error = String::from_utf8_lossy(&output.stderr);
        self.rates.push(rate.unwrap_or_else(|| panic!("pgbench says no rate: {text}{error}")));
    }

    fn words(&self, compared: &Compared) -> String {
        match self.rates.is_empty() {
            true => String::new(),
            false => format!(
                "; {:.2} × pgbench -M prepared ({}/s)",
                compared.own().ratio(&self.rates).median(),
                short(self.rates.median())
            ),
        }
    }
}

/// Loops that put points with nothing around the statements.
pub struct Upserts {
    url: String,
    /// The store's number of each series.
    ids: Vec<i64>,
    /// Of each thread.
    points: Vec<Points>,
    /// Points that wait for their reply at a time.
    due: usize,
}

impl Upserts {
    /// Puts the points of so many hosts, each so many at once.
    pub fn new(url: &str, hosts: usize, depth: usize) -> Upserts {
        let mut client = Client::connect(url, NoTls).expect("a connection");
        let mut add = |series| {
            let sql = "INSERT INTO series (key) VALUES ($1) RETURNING id";
            client.query_one(sql, &[&key(series)]).expect("a new series").get(0)
        };
        let ids = (0..hosts * METRICS.len()).map(&mut add).collect();
        // Each thread has its own seconds, so that none waits for another's row.
        let points =
            (0..POSTGRES_WRITERS as i64).map(|at| Points::new(hosts, depth, 1_000_000_000 * (1 + at)));
        Upserts { url: url.to_owned(), ids, points: points.collect(), due: hosts * depth }
    }

    /// The most points that any loop commits in a second, `batch` at once, and which it is; each runs for `time`.
    pub fn fastest(&mut self, batch: usize, time: Duration) -> (f64, &'static str) {
        // More would have more points on their way than the daemon's clients have.
        let most = (self.due / batch).clamp(1, POSTGRES_WRITERS);
        let mut fastest = (0.0, "");
        for (threads, copies, name) in [
            (1, false, "upserts of arrays"),
            (1, true, "COPY and upserts"),
            (most, false, "upserts of arrays on as many connections as have work"),
        ] {
            let (url, ids) = (&self.url, &self.ids);
            let rate: f64 = thread::scope(|scope| {
                let points = self.points[..threads].iter_mut();
                let run = |points| scope.spawn(move || upserts(url, ids, points, copies, batch, time));
                let each: Vec<_> = points.map(run).collect();
                each.into_iter().map(|thread| thread.join().expect("it ends")).sum()
            });
            if rate > fastest.0 {
                fastest = (rate, name);
            }
        }
        fastest
    }
}

/// How many points one connection commits in a second.
fn upserts(url: &str, ids: &[i64], points: &mut Points, copies: bool, batch: usize, time: Duration) -> f64 {
    let (mut client, upsert) = prepared(url, UPSERT);
    client.batch_execute(TEMPORARY).expect("a table");
    let from_copy = client.prepare(UPSERT_COPIED).expect("a statement");
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < time {
        let drawn: Vec<Drawn> = points.by_ref().take(batch).collect();
        if copies {
            let mut transaction = client.transaction().expect("a transaction");
            let mut copy = transaction.copy_in("COPY new FROM STDIN").expect("it takes rows");
            let mut text = String::new();
            for Drawn { series, second, value } in drawn {
                writeln!(text, "{}\t{second}\t{value}", ids[series]).expect("a String takes everything");
            }
            copy.write_all(text.as_bytes()).expect("it takes rows");
            copy.finish().expect("it takes rows");
            transaction.execute(&from_copy, &[]).expect("points");
            transaction.commit().expect("a commit");
        } else {
            let series: Vec<i64> = drawn.iter().map(|point| ids[point.series]).collect();
            let seconds: Vec<i64> = drawn.iter().map(|point| point.second).collect();
            let values: Vec<f64> = drawn.iter().map(|point| point.value).collect();
            client.execute(&upsert, &[&series, &seconds, &values]).expect("points");
        }
        count += batch;
    }
    count as f64 / begin.elapsed().as_secs_f64()
}

const UPSERT: &str = "INSERT INTO points (series, second, value)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::double precision[])
    ON CONFLICT (series, second) DO UPDATE SET value = excluded.value";
const TEMPORARY: &str = "CREATE TEMPORARY TABLE new (series bigint, second bigint, value double precision)
    ON COMMIT DELETE ROWS";
const UPSERT_COPIED: &str = "INSERT INTO points (series, second, value) SELECT series, second, value FROM new
    ON CONFLICT (series, second) DO UPDATE SET value = excluded.value";

//! Requests that need the store, beside loops that only run the same statements.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use vmherd::internals::clock::unix_now;
use vmherd::internals::model::Secret;
use vmherd::internals::store::{Store, Write, Written};

use super::seeded_store::{HASH, SeededStore, TOKEN, register};
use super::{ROUNDS, TIME, load};
use crate::figures::{Line, Samples, Verdict, short};
use crate::load::Load;
use crate::process::{Cores, Server};
use crate::sys;

/// A request that a token authenticates and that then changes nothing: its cost is that of the lookup.
pub fn token_request() -> String {
    TOKEN_REQUEST.replace("{spread}", TOKEN)
}
pub const TOKEN_REQUEST: &str = "{\"command\": \"update\", \"data\": {\"token\": \"{spread}\"}}\n";
/// One that changes a row each time.
pub const UPDATE_REQUEST: &str =
    "{\"command\": \"update\", \"data\": {\"token\": \"{spread}\", \"ram\": {small}}}\n";
pub const TOKEN_ANSWER: &str = "{\"status\":\"error\",\"message\":\"No fields for update\"";

/// Requests authenticated by tokens.
pub fn tokens(cores: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(1000, 2);
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let compared = Compared::measure(cores, &token_load(&server), |_| {
        rate_of(1, || {
            let connection = seeded.bare();
            move || look_up(&connection)
        })
    });
    vec![compared.line("token authentication, SQLite, 64 connections", 0.9, "one thread", "")]
}

/// 64 connections that are authenticated by a token, again and again.
pub fn token_load(server: &Server) -> Load {
    Load { connections: 64, ..load(server, &token_request(), TOKEN_ANSWER) }
}

/// 50 connections that list all VMs, again and again.
pub fn list_load(server: &Server) -> Load {
    let request = "{\"command\": \"list\", \"data\": {\"list_type\": \"all_vms\"}}\n";
    let answer = "{\"status\":\"success\",\"message\":null,\"data\":{\"all_vms\":[{\"vm_id\":\"vm-0000000\"";
    Load { connections: 50, prelude: Some(token_request()), ..load(server, request, answer) }
}

/// The rates on one core of the daemon, of a loop of the same statements without sockets and text, and of sockets alone
/// with answers of the same size.
pub struct Compared {
    own: Samples,
    own_cpu_us: Samples,
    bare: Samples,
    sockets: Samples,
}

impl Compared {
    /// Runs `load` and `bare`, which returns its rate a second, on the same core by turns.
    pub fn measure(cores: &Cores, load: &Load, mut bare: impl FnMut(usize) -> f64) -> Compared {
        let sockets = Server::answering(cores, load.answer_bytes());
        let beside = Load {
            address: sockets.address,
            server: sockets.id(),
            answer: "x".into(),
            prelude: None,
            ..load.clone()
        };
        let empty = Samples::default;
        let mut compared = Compared { own: empty(), own_cpu_us: empty(), bare: empty(), sockets: empty() };
        for round in 0..ROUNDS {
            let own = cores.measure(load);
            compared.own.push(own.rate);
            compared.own_cpu_us.push(own.cpu_us);
            sys::pin(&cores.server);
            compared.bare.push(bare(round));
            sys::pin(&cores.all);
            compared.sockets.push(cores.measure(&beside).rate);
        }
        compared
    }

    /// The daemon's rates.
    pub fn own(&self) -> &Samples {
        &self.own
    }

    /// As a line of the table; `others` are what else was measured beside it.
    pub fn line(&self, figure: &str, wanted: f64, bare: &str, others: &str) -> Line {
        let ratio = self.own.ratio(&self.bare);
        let both: Samples = self.bare.zip(&self.sockets, |bare, sockets| 1.0 / (1.0 / bare + 1.0 / sockets));
        Line {
            figure: figure.into(),
            wanted: format!("{wanted} × bare loop"),
            measured: format!("{}/s ({} µs CPU)", self.own, short(self.own_cpu_us.median())),
            beside: format!(
                "{:.2} × a bare loop of the same statements, {bare}, on the same core ({}/s); {:.2} × that \
                 loop and bare sockets ({}/s){others}",
                ratio.median(),
                short(self.bare.median()),
                self.own.ratio(&both).median(),
                short(both.median()),
            ),
            verdict: Verdict::at_least(wanted, &ratio),
        }
    }
}

/// The lookup of a token.
fn look_up(connection: &Connection) {
    let hash = vmherd::internals::app::token::hash(&Secret::new(TOKEN));
    let sql = "SELECT vms.id, vms.epoch, vms.name FROM tokens CROSS JOIN vms ON vms.id = tokens.vm
               WHERE tokens.hash = ?1 AND tokens.expires > ?2";
    let mut statement = connection.prepare_cached(sql).expect("a statement");
    let name: String =
        statement.query_row(params![hash.0, unix_now().0], |row| row.get(2)).expect("it is there");
    assert_eq!(name, "vm-0000000");
}

/// Lists of a hundred VMs.
pub fn lists(cores: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(100, 2);
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let compared = Compared::measure(cores, &list_load(&server), |_| {
        rate_of(1, || {
            let connection = seeded.bare();
            move || list(&connection, 100)
        })
    });
    vec![compared.line("list of all 100 VMs, SQLite, 50 connections", 0.8, "one thread", "")]
}

/// The statements of a list of so many VMs.
fn list(connection: &Connection, vms: usize) {
    let sql = "SELECT 1 FROM vms WHERE id = ?1 AND epoch = ?2";
    assert!(connection.prepare_cached(sql).and_then(|mut one| one.exists([1, 0])).expect("a statement"));
    let sql = "SELECT id, name, ram_mib, cpus FROM vms WHERE id > ?1 ORDER BY id";
    let mut statement = connection.prepare_cached(sql).expect("a statement");
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, u32>(2)?, row.get::<_, u16>(3)?))
    };
    let found: Vec<_> = statement.query_map([0], row).expect("rows").flatten().collect();
    let sql = "SELECT vm, id, size_gib FROM disks WHERE vm > ?1 ORDER BY vm, id";
    let mut statement = connection.prepare_cached(sql).expect("a statement");
    let row =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let disks: Vec<_> = statement.query_map([0], row).expect("rows").flatten().collect();
    assert_eq!((found.len(), disks.len()), (vms, 2 * vms));
}

/// A list of a million disks, to one client.
pub fn disks(cores: &Cores) -> Vec<Line> {
    long_list(cores, "1 M disks", (1000, 1000), "all_disks", scan_and_format_disks)
}

/// A list of a hundred thousand VMs, to one client.
pub fn herd(cores: &Cores) -> Vec<Line> {
    long_list(cores, "100 000 VMs", (100_000, 1), "all_vms", scan_and_format_vms)
}

/// The time of the list `name` from a store with so many VMs and disks of each, and the daemon's memory, beside `bare`, which
/// returns how many bytes it makes.
fn long_list(
    cores: &Cores,
    what: &str,
    (vms, disks): (usize, usize),
    name: &str,
    bare: fn(&Connection) -> usize,
) -> Vec<Line> {
    let seeded = SeededStore::new(vms, disks);
    let server = Server::vmherd(cores, &seeded.location, &[]);
    let request = format!("{{\"command\": \"list\", \"data\": {{\"list_type\": \"{name}\"}}}}\n");
    let answer = format!("{{\"status\":\"success\",\"message\":null,\"data\":{{\"{name}\":[{{\"");
    let load = Load { prelude: Some(token_request()), ..load(&server, &request, &answer) };
    let (mut own, mut others, mut growth) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..ROUNDS {
        server.reset_peak();
        let before = server.status_kib("VmHWM");
        own.push(cores.measure(&load).p50_us / 1e6);
        growth.push((server.status_kib("VmHWM") - before) as f64 / 1024.0);
        sys::pin(&cores.server);
        let begin = Instant::now();
        let bytes = bare(&seeded.bare());
        others.push(begin.elapsed().as_secs_f64());
        sys::pin(&cores.all);
        if round == 0 {
            let around = load.answer_bytes() - bytes;
            assert!(around < 100, "the daemon and the loop make the same, but for {around} bytes");
        }
    }
    let ratio = own.ratio(&others);
    vec![
        Line {
            figure: format!("list of {what}, SQLite, one client: time"),
            wanted: "≤ 1.3 × scan and formatting".into(),
            measured: format!("{own} s"),
            beside: format!("{:.2} × one scan, formatted ({} s)", ratio.median(), short(others.median())),
            verdict: Verdict::at_most(1.3, &ratio),
        },
        Line {
            figure: "the same: growth of the daemon's memory, the first time".into(),
            wanted: "< 4 MiB".into(),
            measured: format!("{:.1} MiB", growth.first()),
            beside: format!("in later rounds {:.1} MiB", growth.median()),
            verdict: Verdict::exact(growth.first() < 4.0),
        },
    ]
}

/// The same of every VM with its disk.
fn scan_and_format_vms(connection: &Connection) -> usize {
    let sql = "SELECT vms.name, vms.ram_mib, vms.cpus, disks.id, disks.size_gib
               FROM vms LEFT JOIN disks ON disks.vm = vms.id WHERE vms.id > 0 ORDER BY vms.id, disks.id";
    let mut statement = connection.prepare(sql).expect("a statement");
    let mut rows = statement.query([]).expect("rows");
    let (mut bytes, mut text) = (0, Vec::new());
    while let Some(row) = rows.next().expect("a row") {
        let name = row.get_ref_unwrap(0).as_str().expect("a text");
        let numbers: [i64; 4] = [1, 2, 3, 4].map(|at| row.get_unwrap(at));
        text.extend_from_slice(b"{\"vm_id\":");
        serde_json::to_writer(&mut text, name).expect("a text");
        for (key, number) in [",\"ram\":", ",\"cpu\":", ",\"disks\":[{\"id\":"].iter().zip(&numbers) {
            text.extend_from_slice(key.as_bytes());
            serde_json::to_writer(&mut text, number).expect("a number");
        }
        text.extend_from_slice(b",\"vm_id\":");
        serde_json::to_writer(&mut text, name).expect("a text");
        text.extend_from_slice(b",\"disk_size\":");
        serde_json::to_writer(&mut text, &numbers[3]).expect("a number");
        text.extend_from_slice(b"}]},");
        if text.len() > 32 << 10 {
            bytes += text.len();
            text.clear();
        }
    }
    bytes + text.len()
}

/// Reads every disk in one statement and formats its entry of the list; the total bytes.
fn scan_and_format_disks(connection: &Connection) -> usize {
    let sql = "SELECT disks.id, disks.size_gib, vms.name FROM disks CROSS JOIN vms ON vms.id = disks.vm
               WHERE disks.id > 0 ORDER BY disks.id";
    let mut statement = connection.prepare(sql).expect("a statement");
    let mut rows = statement.query([]).expect("rows");
    let (mut bytes, mut text) = (0, Vec::new());
    while let Some(row) = rows.next().expect("a row") {
        let (id, size): (i64, i64) = (row.get_unwrap(0), row.get_unwrap(1));
        let name = row.get_ref_unwrap(2).as_str().expect("a text");
        text.extend_from_slice(b"{\"id\":");
        serde_json::to_writer(&mut text, &id).expect("a number");
        text.extend_from_slice(b",\"vm_id\":");
        serde_json::to_writer(&mut text, name).expect("a text");
        text.extend_from_slice(b",\"disk_size\":");
        serde_json::to_writer(&mut text, &size).expect("a number");
        text.extend_from_slice(b"},");
        if text.len() > 32 << 10 {
            bytes += text.len();
            text.clear();
        }
    }
    bytes + text.len()
}

/// Registrations through the store's own interface, one in each commit and 64, beside bare statements.
pub fn registrations(_: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(1000, 2);
    let (mut store, bare_seeded) = (seeded.open(), SeededStore::new(1000, 2));
    let bare = bare_seeded.bare_writer();
    registration_lines("SQLite", 0.85, &mut *store, seeded.vms, |number, count| {
        bare_register(&bare, number, count)
    })
}

/// Measures registrations in `store`, which has so many `vms`, and in another one by `bare`, which gets the number of the
/// first new VM and their count; `wanted` is the share of its rate with 64 in each commit.
pub fn registration_lines(
    name: &str,
    wanted: f64,
    store: &mut dyn Store,
    vms: usize,
    mut bare: impl FnMut(usize, usize),
) -> Vec<Line> {
    let mut number = vms;
    let mut measured: [[Samples; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (batch, samples) in [1, 64].into_iter().zip(&mut measured) {
            // By turns, commit by commit: the time that a disk takes to sync changes from one moment to the next.
            let (mut times, mut count) = ([Duration::ZERO; 2], 0);
            while times[0] + times[1] < 2 * TIME {
                let now = unix_now();
                let writes: Vec<Write> = (0..batch).map(|at| register(number + at, 2, now)).collect();
                let writes: Vec<&Write> = writes.iter().collect();
                let begin = Instant::now();
                let written = store.write(&writes);
                times[0] += begin.elapsed();
                assert!(written.iter().all(|one| matches!(one, Ok(Written::Registered(_)))));
                let begin = Instant::now();
                bare(number, batch);
                times[1] += begin.elapsed();
                number += batch;
                count += batch;
            }
            for (samples, time) in samples.iter_mut().zip(times) {
                samples.push(count as f64 / time.as_secs_f64());
            }
        }
    }
    let [single, shared] = &measured;
    let gain = shared[0].ratio(&single[0]);
    let line = |what: &str, wanted: f64, samples: &[Samples; 2]| Line {
        figure: format!("registrations without hashing, {name}, {what}"),
        wanted: format!("{wanted} × bare statements"),
        measured: format!("{}/s", samples[0]),
        beside: format!(
            "{:.2} × bare statements ({}/s)",
            samples[0].ratio(&samples[1]).median(),
            short(samples[1].median())
        ),
        verdict: Verdict::at_least(wanted, &samples[0].ratio(&samples[1])),
    };
    vec![
        line("one in each commit", 0.9, single),
        line("64 in each", wanted, shared),
        Line {
            figure: "the same: 64 in each commit".into(),
            wanted: "5 × one in each".into(),
            measured: format!("{gain} ×"),
            beside: String::new(),
            verdict: Verdict::at_least(5.0, &gain),
        },
    ]
}

/// Registers `count` VMs with the fewest statements that there are for it, in one transaction.
fn bare_register(connection: &Connection, number: usize, count: usize) {
    connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
    for number in number..number + count {
        let sql =
            "INSERT INTO vms (name, ram_mib, cpus, password_hash, registered_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut statement = connection.prepare_cached(sql).expect("a statement");
        let name = format!("vm-{number:07}");
        statement.execute(params![name, 512, 4, HASH, unix_now().0]).expect("a new VM");
        let id = connection.last_insert_rowid();
        for _ in 0..2 {
            let sql = "INSERT INTO disks (vm, size_gib) VALUES (?1, ?2)";
            let mut statement = connection.prepare_cached(sql).expect("a statement");
            statement.execute(params![id, 100]).expect("a new disk");
        }
    }
    connection.execute_batch("COMMIT").expect("a commit");
}

/// Changes through sockets: 64 clients whose changes share commits, and one alone.
pub fn updates(cores: &Cores) -> Vec<Line> {
    let seeded = SeededStore::new(1000, 2);
    let server = Server::vmherd_on(cores, &cores.all, &seeded.location, &[]);
    let request = "{\"command\": \"update\", \"data\": {\"ram\": {small}}}\n";
    let updates = |connections| Load {
        connections,
        prelude: Some(token_request()),
        ..load(&server, request, "{\"status\":\"success\"")
    };
    let (mut one, mut many) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        let before = server.written_bytes();
        let alone = cores.measure(&updates(1)).rate;
        // SQLite writes nothing where nothing changes; this would then measure no commit.
        let bytes = (server.written_bytes() - before) as f64;
        assert!(bytes > 4096.0 * alone * TIME.as_secs_f64(), "{bytes} bytes for {alone} commits a second");
        one.push(alone);
        many.push(cores.measure(&updates(64)).rate);
    }
    let gain = many.ratio(&one);
    vec![Line {
        figure: "updates by 64 clients, SQLite, through sockets".into(),
        wanted: "5 × one client".into(),
        measured: format!("{many}/s"),
        beside: format!("{:.1} × one client ({}/s)", gain.median(), short(one.median())),
        verdict: Verdict::at_least(5.0, &gain),
    }]
}

/// How often in a second `threads` threads run the function that `make` returns.
pub fn rate_of<F: FnMut()>(threads: usize, make: impl Fn() -> F + Sync) -> f64 {
    thread::scope(|scope| {
        let each = (0..threads).map(|_| scope.spawn(|| per_second(1, make())));
        let each: Vec<_> = each.collect();
        each.into_iter().map(|thread| thread.join().expect("it ends")).sum()
    })
}

/// The rate of `run`, each call of which counts as `batch`.
pub fn per_second(batch: usize, mut run: impl FnMut()) -> f64 {
    run();
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < TIME {
        run();
        count += batch;
    }
    count as f64 / begin.elapsed().as_secs_f64()
}

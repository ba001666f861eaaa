//! Passwords: how many a second, and how they affect other clients.

use std::thread;
use std::time::Duration;

use vmherd::internals::limits;
use vmherd::internals::model::Secret;
use vmherd::internals::sys::process::set_thread_niceness;
use vmherd::internals::work::password::{Cost, Hasher};

use super::ping::{PING, PONG};
use super::stored::per_second;
use super::{ROUNDS, load};
use crate::figures::{Line, Samples, Verdict, short};
use crate::load::Load;
use crate::meter::Outcome;
use crate::process::{self, Cores, Folder, Server};

const REGISTER: &str = "{\"command\": \"register\", \"data\": {\"vm_id\": \"vm-{n}\", \"ram\": 512, \"cpu\": 4, \
                        \"password\": \"securePass123\", \"disks\": []}}\n";
pub const KNOWN: &str = "{\"command\": \"register\", \"data\": {\"vm_id\": \"known\", \"ram\": 512, \"cpu\": 4, \
                     \"password\": \"securePass123\", \"disks\": []}}\n";
pub const AUTHENTICATE: &str =
    "{\"command\": \"authenticate\", \"data\": {\"vm_id\": \"known\", \"password\": \"securePass123\"}}\n";

pub const SUCCESS: &str = "{\"status\":\"success\"";

/// Registrations and logins on the store in memory, beside as many threads that only hash.
pub fn hashes(cores: &Cores) -> Vec<Line> {
    let threads = cores.all.len().min(limits::AUTH_WORKERS_MAX);
    let server = Server::vmherd_on(cores, &cores.all, "memory:", &[]);
    server.ask(KNOWN);
    let (mut registered, mut authenticated, mut bare) =
        (Hashing::default(), Hashing::default(), Hashing::default());
    for _ in 0..ROUNDS {
        registered.add(cores.measure(&sixteen(&server, REGISTER)));
        bare_hashes(threads, &mut bare);
        authenticated.add(cores.measure(&sixteen(&server, AUTHENTICATE)));
    }
    let line = |what: &str, own: &Hashing| {
        let ratio = own.rate.ratio(&bare.rate);
        Line {
            figure: format!("{what}, memory store"),
            wanted: "0.95 × bare argon2 threads".into(),
            measured: format!("{}/s ({} ms CPU)", own.rate, short(own.cpu_ms.median())),
            beside: format!(
                "{:.2} × {threads} threads that only hash: {}/s ({} ms CPU); by processor time {:.2} ×",
                ratio.median(),
                bare.rate,
                short(bare.cpu_ms.median()),
                bare.cpu_ms.ratio(&own.cpu_ms).median(),
            ),
            verdict: Verdict::of_limit(0.95, &ratio),
        }
    };
    vec![line("register", &registered), line("authenticate", &authenticated)]
}

/// Hashes in a second, and the processor time of each, which other load does not change.
#[derive(Default)]
struct Hashing {
    rate: Samples,
    cpu_ms: Samples,
}

impl Hashing {
    fn add(&mut self, outcome: Outcome) {
        self.rate.push(outcome.rate);
        self.cpu_ms.push(outcome.cpu_us / 1e3);
    }
}

/// The same of as many threads that only hash, at the priority of the daemon's.
fn bare_hashes(threads: usize, measured: &mut Hashing) {
    let cost = Cost {
        memory_kib: limits::ARGON2_MEMORY_KIB,
        passes: limits::ARGON2_PASSES,
        lanes: limits::ARGON2_LANES,
    };
    let hash = || {
        set_thread_niceness(limits::AUTH_NICENESS).expect("stepping back is allowed");
        let (mut hasher, password) = (Hasher::new(cost), Secret::new("securePass123"));
        let mut count = 0.0;
        let rate = per_second(1, || {
            count += 1.0;
            drop(hasher.hash(&password).expect("a hash"));
        });
        (rate, process::own_thread_time().as_secs_f64() * 1e3 / count)
    };
    thread::scope(|scope| {
        let each: Vec<_> = (0..threads).map(|_| scope.spawn(hash)).collect();
        let each: Vec<_> = each.into_iter().map(|thread| thread.join().expect("it ends")).collect();
        measured.rate.push(each.iter().map(|(rate, _)| rate).sum());
        measured.cpu_ms.push(each.iter().map(|(_, cpu_ms)| cpu_ms).sum::<f64>() / threads as f64);
    });
}

/// Latency of pings while all hashing threads are busy.
pub fn ping_meanwhile(cores: &Cores) -> Vec<Line> {
    let server = Server::vmherd_on(cores, &cores.all, "memory:", &[]);
    server.ask(KNOWN);
    let (mut idle, mut busy, mut hashing) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        idle.push(cores.measure(&load(&server, PING, PONG)).p99_us);
        let logins = cores.begin(&Load { time: Duration::from_secs(60), ..sixteen(&server, AUTHENTICATE) });
        server.wait_for_processor_time(Duration::from_millis(100));
        let pings = cores.measure(&load(&server, PING, PONG));
        busy.push(pings.p99_us);
        hashing.push(pings.busy);
        drop(logins);
    }
    let ratio = busy.ratio(&idle);
    vec![Line {
        figure: "ping p99 while all auth threads are busy".into(),
        wanted: "< 5 ms and < 3 × idle".into(),
        measured: format!("{busy} µs"),
        beside: format!(
            "{:.1} × idle ({} µs); the daemon ran on {:.1} of {} cores meanwhile",
            ratio.median(),
            short(idle.median()),
            hashing.median(),
            cores.all.len(),
        ),
        verdict: match hashing.iter().all(|&running| running >= 0.9 * cores.all.len() as f64) {
            true => Verdict::at_most(5000.0, &busy).and(Verdict::at_most(3.0, &ratio)),
            // Other processes had the cores, so pings did not compete with the hashing threads.
            false => Verdict::Unclear,
        },
    }]
}

/// Latency of failed logins after the cost of hashes was changed: of a VM whose hash has the old cost, of one whose hash
/// has the new cost, and of an unknown name.
pub fn failed_logins(cores: &Cores) -> Vec<Line> {
    let folder = Folder::new_data();
    let store = format!("sqlite:{}", folder.path().join("vmherd.db").display());
    let old = Server::vmherd_on(cores, &cores.server, &store, &["--argon2-memory", "9728"]);
    old.ask(&REGISTER.replace("vm-{n}", "old"));
    drop(old);
    let server = Server::vmherd_on(cores, &cores.server, &store, &["--login-failures", "none"]);
    server.ask(&REGISTER.replace("vm-{n}", "new"));
    let names = ["unknown", "old", "new"];
    let (mut times, mut cpu_ms) = (names.map(|_| Samples::default()), names.map(|_| Samples::default()));
    for _ in 0..ROUNDS {
        for ((name, times), cpu_ms) in names.iter().zip(&mut times).zip(&mut cpu_ms) {
            let login = AUTHENTICATE.replace("known", name).replace("securePass123", "notThePassword");
            let outcome = cores.measure(&load(&server, &login, "{\"status\":\"error\""));
            times.push(outcome.p50_us / 1e3);
            cpu_ms.push(outcome.cpu_us / 1e3);
        }
    }
    let [unknown, old, new] = &times;
    let (old_ratio, new_ratio) = (old.ratio(unknown), new.ratio(unknown));
    let is_equal = |ratio: &Samples| Verdict::at_least(1.0 / 1.1, ratio).and(Verdict::at_most(1.1, ratio));
    vec![Line {
        figure: "failed login after the argon2 memory was doubled, p50".into(),
        wanted: "within 10 % of an unknown name's".into(),
        measured: format!("unknown {unknown} ms, old cost {old} ms, new cost {new} ms"),
        beside: format!(
            "{:.2} × (old cost) and {:.2} × (new cost) an unknown name's; by processor time {:.2} × and {:.2} ×",
            old_ratio.median(),
            new_ratio.median(),
            cpu_ms[1].ratio(&cpu_ms[0]).median(),
            cpu_ms[2].ratio(&cpu_ms[0]).median(),
        ),
        verdict: is_equal(&old_ratio).and(is_equal(&new_ratio)),
    }]
}

fn sixteen(server: &Server, request: &str) -> Load {
    Load { connections: 16, ..load(server, request, SUCCESS) }
}

//! More work than the daemon can do: puts and logins of some clients do not hold up those of others.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

#[cfg(feature = "sqlite")]
use serde_json::Value;
use serde_json::json;

#[cfg(feature = "sqlite")]
use crate::common::Client;
use crate::common::{Daemon, PASSWORD, request, wait_until};
use crate::overload::{alone, statistic};
use crate::swarm::Swarm;

/// A deadline: many times what a busy machine needs.
const LONG: Duration = Duration::from_secs(120);
/// Requests of the healthy client.
const ASKED: usize = 15;

/// It is never refused. How many points of others are written meanwhile depends on the machine; the test prints it, and
/// a benchmark measures the time.
#[test]
fn an_update_completes_while_others_put() {
    const CLIENTS: usize = 120;
    /// Lines of one put, as many as it may have.
    const POINTS: usize = 4096;
    let _alone = alone();
    let daemon = Daemon::start();
    let mut healthy = daemon.client();
    healthy.register("healthy", &[1]);
    healthy.authenticate("healthy");
    let attack = Attack::default();
    thread::scope(|scope| {
        let over = attack.begin(scope, 2, |swarm| {
            let connect = |client: usize| {
                swarm.connect(daemon.address(), b"");
                let line = |at| format!("put {client}.{} 1 {}\n", at % 10, 1000 + at);
                (0..POINTS).map(line).collect()
            };
            (0..CLIENTS).map(connect).collect()
        });
        wait_until("the attack is under way", LONG, || attack.answers() > (3 * CLIENTS * POINTS) as u64);
        let mut operator = daemon.operator();
        let mut meanwhile: Vec<u64> = (0..ASKED)
            .map(|_| {
                let before = statistic(&mut operator, "points_put");
                let reply = healthy.call(request("update", json!({"ram": 512})));
                assert_eq!(reply["status"], "success", "{reply}");
                statistic(&mut operator, "points_put") - before
            })
            .collect();
        meanwhile.sort_unstable();
        eprintln!("points that were written while an update waited: {meanwhile:?}");
        drop(over);
    });
}

/// The weight of one commit, in points.
#[cfg(feature = "sqlite")]
const COMMIT_WEIGHT_MAX: usize = vmherd::internals::limits::POINTS_PER_COMMIT_MAX;

/// The order in which keys are created shows in which order puts are written.
#[cfg(feature = "sqlite")]
#[test]
fn a_put_of_one_point_overtakes_puts_of_many() {
    const POINTS: usize = 1000;
    let heavy = |client| put(&format!("heavy-{client}"), POINTS);
    expect_overtaken("requests_put", heavy, COMMIT_WEIGHT_MAX / POINTS, &put("light", 1), position_of_light);
}

/// With fewer points, but longer keys, the others weigh more.
#[cfg(feature = "sqlite")]
#[test]
fn a_put_of_short_keys_overtakes_puts_of_more_bytes() {
    use vmherd::internals::limits::{BYTES_PER_WEIGHT_UNIT, METRIC_KEY_BYTES_MAX};
    const POINTS: usize = 1000;
    const WEIGHT: usize = POINTS + POINTS * METRIC_KEY_BYTES_MAX / BYTES_PER_WEIGHT_UNIT;
    const LIGHT_POINTS: usize = POINTS + POINTS / 2;
    let heavy = |client| put(&format!("heavy-{client:0>width$}", width = METRIC_KEY_BYTES_MAX - 6), POINTS);
    let light = put("light", LIGHT_POINTS);
    expect_overtaken("requests_put", heavy, COMMIT_WEIGHT_MAX / WEIGHT, &light, position_of_light);
}

/// VMs are numbered in the order in which they are written.
#[cfg(feature = "sqlite")]
#[test]
fn a_vm_with_one_disk_overtakes_vms_with_many() {
    const DISKS: usize = 1000;
    let add = |disks: usize| json!({"action": "add_vm", "ram": 1, "cpu": 1, "disks": vec![1; disks]});
    let before_light = |_: &Daemon, light: &Value| light["vm_id"].as_u64().expect("a number") as usize - 1;
    expect_overtaken("requests_add_vm", |_| add(DISKS), COMMIT_WEIGHT_MAX / DISKS, &add(1), before_light);
}

/// Of writes that wait together the lightest is done first: at most `before_max` of many heavy ones, which the writer had
/// taken already, are done before a light one that comes last. `before_light` counts them. `counter` counts the requests.
#[cfg(feature = "sqlite")]
#[track_caller]
fn expect_overtaken(
    counter: &str,
    heavy: impl Fn(usize) -> Value,
    before_max: usize,
    light: &Value,
    before_light: impl Fn(&Daemon, &Value) -> usize,
) {
    const CLIENTS: usize = 32;
    let heavy: Vec<String> = (0..CLIENTS).map(|client| heavy(client).to_string()).collect();
    let _alone = alone();
    wait_until("an attempt without a timeout of the lock", LONG, || {
        let daemon = Daemon::start();
        let (mut last, mut operator) = (daemon.client(), daemon.operator());
        last.ping();
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.client()).collect();
        let store = rusqlite::Connection::open(daemon.state_dir().join("vmherd.sqlite3")).expect("the store");
        store.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        clients.iter_mut().zip(&heavy).for_each(|(client, heavy)| client.send(heavy));
        wait_until("all heavy requests wait", LONG, || statistic(&mut operator, counter) == CLIENTS as u64);
        last.send(&light.to_string());
        wait_until("the light request waits", LONG, || statistic(&mut operator, counter) > CLIENTS as u64);
        store.execute_batch("ROLLBACK").expect("the lock is released");
        let light = last.reply();
        let mut replies = clients.iter_mut().map(Client::reply).chain([light.clone()]);
        if let Some(error) = replies.find(|reply| reply["status"] == "error" || reply.get("error").is_some())
        {
            eprintln!("{error}");
            return false;
        }
        let before = before_light(&daemon, &light);
        eprintln!("{before} of {CLIENTS} heavy requests were done before the light one");
        assert!(before <= before_max, "{before} of {CLIENTS}, {before_max} at most");
        true
    });
}

/// The request to put so many points of a key.
#[cfg(feature = "sqlite")]
fn put(key: &str, count: usize) -> Value {
    let point = |second| json!({"key": key, "value": 1, "timestamp": second});
    request("put", json!({"points": (1..=count).map(point).collect::<Vec<_>>()}))
}

/// The number of keys that were created before the key `light`.
#[cfg(feature = "sqlite")]
fn position_of_light(daemon: &Daemon, _: &Value) -> usize {
    let points = daemon.client().call_text("get *");
    let mut keys: Vec<&str> = points.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
    keys.dedup();
    keys.iter().position(|key| *key == "light").expect("the key is there")
}

#[test]
fn one_source_does_not_starve_logins_of_others() {
    let _alone = alone();
    let daemon = with_one_hashing_thread();
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    for vm in ["other", "healthy"] {
        expect_prompt_logins(&daemon, vm, &[source; 300]);
        daemon.wait_for_counter("auth_queued", |queued| queued == 0);
    }
}

#[test]
fn many_logins_of_one_vm_do_not_starve_other_vms() {
    let _alone = alone();
    let daemon = with_one_hashing_thread();
    let sources: Vec<IpAddr> = (1..=200).map(|host| IpAddr::V4(Ipv4Addr::new(127, 0, 1, host))).collect();
    expect_prompt_logins(&daemon, "other", &sources);
}

/// A daemon that knows the VMs `healthy` and `other`.
fn with_one_hashing_thread() -> Daemon {
    let daemon = Daemon::builder().with_costly_hashes().args(["--auth-workers", "1"]).start();
    daemon.client().register("healthy", &[1]);
    daemon.client().register("other", &[1]);
    daemon
}

/// Logins of the VM `healthy` wait for few hashes while clients at `sources` log in as `vm` without a pause.
#[track_caller]
fn expect_prompt_logins(daemon: &Daemon, vm: &str, sources: &[IpAddr]) {
    /// Hashes that may be done while a login waits: the running one, its own, one more of the other account, and some
    /// that come and go between its request and the counting.
    const HASHES_MEANWHILE_MAX: u64 = 6;
    let login = request("authenticate", json!({"vm_id": vm, "password": PASSWORD})).to_string();
    let attack = Attack::default();
    thread::scope(|scope| {
        let over = attack.begin(scope, 1, |swarm| {
            for source in sources {
                swarm.connect_from(*source, daemon.address(), b"");
            }
            vec![login; sources.len()]
        });
        let mut operator = daemon.operator();
        let queued_min = sources.len() as u64 * 2 / 3;
        wait_until("the queue is full", LONG, || statistic(&mut operator, "auth_queued") > queued_min);
        let mut meanwhile: Vec<u64> = (0..ASKED)
            .map(|_| {
                let mut client = daemon.client();
                let before = statistic(&mut operator, "auth_batches_done");
                client.authenticate("healthy");
                statistic(&mut operator, "auth_batches_done") - before
            })
            .collect();
        meanwhile.sort_unstable();
        eprintln!("hashes that were done while a login waited: {meanwhile:?}");
        assert!(meanwhile[ASKED / 2] <= HASHES_MEANWHILE_MAX, "{meanwhile:?}");
        drop(over);
    });
}

/// Clients that repeat their requests as soon as they are answered.
#[derive(Default)]
struct Attack {
    is_over: AtomicBool,
    answers: AtomicU64,
}

/// Ends an attack.
struct Over<'a>(&'a Attack);

impl Attack {
    /// Starts it: `connect` makes the connections and returns the text that each sends again whenever all of it is
    /// answered. Each line of the text gets an answer of so many `lines`.
    fn begin<'a, 'scope>(
        &'a self,
        scope: &'scope thread::Scope<'scope, '_>,
        lines: usize,
        connect: impl FnOnce(&mut Swarm) -> Vec<String> + Send + 'scope,
    ) -> Over<'a>
    where
        'a: 'scope,
    {
        scope.spawn(move || {
            let mut swarm = Swarm::new();
            let requests = connect(&mut swarm);
            let due: Vec<usize> = requests.iter().map(|request| request.lines().count()).collect();
            for (index, request) in requests.iter().enumerate() {
                swarm.send(index, request.as_bytes());
            }
            while !self.is_over.load(Ordering::Relaxed) {
                let mut came = Vec::new();
                swarm.turn(Duration::from_millis(50), |index| came.push(index));
                for index in came {
                    let received = &mut swarm.members[index].received;
                    let count = received.iter().filter(|byte| **byte == b'\n').count();
                    if count >= due[index] * lines {
                        received.clear();
                        self.answers.fetch_add(due[index] as u64, Ordering::Relaxed);
                        swarm.send(index, requests[index].as_bytes());
                    }
                }
            }
            swarm.reset();
        });
        Over(self)
    }

    fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

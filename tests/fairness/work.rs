//! More work than there is time for: puts without an end, logins without an end.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::common::{Daemon, PASSWORD, request, wait_until};
use crate::load::{alone, statistic};
use crate::swarm::Swarm;

/// Until something has happened: many times what it takes on a machine that does much else.
const LONG: Duration = Duration::from_secs(120);
/// What the healthy client asks for.
const ASKED: usize = 15;

/// It is never refused. How many points of others are written meanwhile depends on how fast the machine is; it is
/// printed, and a benchmark measures the time.
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

#[test]
fn one_source_does_not_starve_logins_of_others() {
    const CLIENTS: usize = 300;
    /// Hashes that may be done while a login waits: the one under way, its own, one more of the other source, and
    /// some that come and go between its asking and the counting.
    const HASHES_MEANWHILE_MAX: u64 = 6;
    let _alone = alone();
    let daemon = Daemon::builder().with_costly_hashes().args(["--auth-workers", "1"]).start();
    daemon.client().register("healthy", &[1]);
    daemon.client().register("other", &[1]);
    for vm in ["other", "healthy"] {
        let login = request("authenticate", json!({"vm_id": vm, "password": PASSWORD})).to_string();
        let attack = Attack::default();
        thread::scope(|scope| {
            let over = attack.begin(scope, 1, |swarm| {
                let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
                (0..CLIENTS).for_each(|_| {
                    swarm.connect_from(source, daemon.address(), b"");
                });
                vec![login.clone(); CLIENTS]
            });
            let mut operator = daemon.operator();
            wait_until("the queue is full", LONG, || statistic(&mut operator, "auth_queued") > 200);
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
        daemon.wait_for_counter("auth_queued", |queued| queued == 0);
    }
}

#[test]
fn many_logins_of_one_vm_do_not_starve_other_vms() {
    const SOURCES: u8 = 200;
    const HASHES_MEANWHILE_MAX: u64 = 6;
    let _alone = alone();
    let daemon = Daemon::builder().with_costly_hashes().args(["--auth-workers", "1"]).start();
    daemon.client().register("healthy", &[1]);
    daemon.client().register("other", &[1]);
    let login = request("authenticate", json!({"vm_id": "other", "password": PASSWORD})).to_string();
    let attack = Attack::default();
    thread::scope(|scope| {
        let over = attack.begin(scope, 1, |swarm| {
            (1..=SOURCES).for_each(|source| {
                let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, source));
                swarm.connect_from(source, daemon.address(), b"");
            });
            vec![login.clone(); SOURCES.into()]
        });
        let mut operator = daemon.operator();
        wait_until("all wait", LONG, || statistic(&mut operator, "auth_queued") > 150);
        let mut meanwhile: Vec<u64> = (0..ASKED)
            .map(|_| {
                let mut client = daemon.client();
                let before = statistic(&mut operator, "auth_batches_done");
                client.authenticate("healthy");
                statistic(&mut operator, "auth_batches_done") - before
            })
            .collect();
        meanwhile.sort_unstable();
        assert!(meanwhile[ASKED / 2] <= HASHES_MEANWHILE_MAX, "{meanwhile:?}");
        drop(over);
    });
}

/// Clients that ask again as soon as they are answered.
#[derive(Default)]
struct Attack {
    is_over: AtomicBool,
    answers: AtomicU64,
}

/// Ends an attack.
struct Over<'a>(&'a Attack);

impl Attack {
    /// Has `connect` make connections, and say what each sends again and again, when all of the last is answered. Each
    /// line of it gets an answer of so many `lines`.
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
